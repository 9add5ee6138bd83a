"""A language-model engine to read from the first line to the last: NumPy, by hand, and fast."""

from tinygrad_llm.autograd import (
    Function,
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from tinygrad_llm.device import use_kernels
from tinygrad_llm.dtypes import (
    bool,
    double,
    float,
    float16,
    float32,
    float64,
    half,
    int,
    int8,
    int16,
    int32,
    int64,
    long,
    short,
    uint8,
)
from tinygrad_llm.rng import manual_seed
from tinygrad_llm.tensor import *  # noqa: F403
from tinygrad_llm.tensor import __all__ as _tensor_names
from tinygrad_llm.tensor.functions import *  # noqa: F403

__version__ = "0.1.0"

__all__ = [
    "Function",
    "bool",
    "double",
    "enable_grad",
    "float",
    "float16",
    "float32",
    "float64",
    "half",
    "inference_mode",
    "int",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_grad_enabled",
    "long",
    "manual_seed",
    "no_grad",
    "set_grad_enabled",
    "short",
    "uint8",
    "use_kernels",
    *_tensor_names,
]
