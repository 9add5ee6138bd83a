"""A language-model engine to read from the first line to the last: NumPy, by hand, and fast.

Each folder of the package is a room: all that belongs to one subject (`nn`, `optim`, ...), which
imports only from the rooms below it. `README.md` lists them from the bottom up.
"""

import importlib
from typing import TYPE_CHECKING

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

# `tg.nn.Linear` works without an import of its own, and the rooms are loaded when they are used.
_ROOMS = (
    "data",
    "fetch",
    "functional",
    "generation",
    "models",
    "nn",
    "optim",
    "pretrained",
    "tokenizers",
    "training",
)

if not TYPE_CHECKING:  # or every typing mistake would count as a room

    def __getattr__(name):
        if name in _ROOMS:
            return importlib.import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
