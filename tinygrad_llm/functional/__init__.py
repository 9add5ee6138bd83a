"""What users call: functions of tensors with PyTorch's names, arguments and meanings.

`import tinygrad_llm.functional as F`. Arguments are checked here; `ops` and the kernels below trust
what they are given. `composed` has the textbook formulas of the fused ones.
"""

from tinygrad_llm.functional import composed
from tinygrad_llm.functional.activation import (
    erf,
    gelu,
    log_softmax,
    logsigmoid,
    relu,
    sigmoid,
    silu,
    softmax,
    softplus,
    swiglu,
    tanh,
)
from tinygrad_llm.functional.attention import (
    apply_rotary,
    rotary_tables,
    scaled_dot_product_attention,
)
from tinygrad_llm.functional.layers import dropout, embedding, linear, one_hot, pad
from tinygrad_llm.functional.loss import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    mse_loss,
    nll_loss,
)
from tinygrad_llm.functional.normalization import (
    cosine_similarity,
    layer_norm,
    normalize,
    rms_norm,
)

__all__ = [
    "apply_rotary",
    "binary_cross_entropy_with_logits",
    "composed",
    "cosine_similarity",
    "cross_entropy",
    "dropout",
    "embedding",
    "erf",
    "gelu",
    "layer_norm",
    "linear",
    "log_softmax",
    "logsigmoid",
    "mse_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "relu",
    "rms_norm",
    "rotary_tables",
    "scaled_dot_product_attention",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "swiglu",
    "tanh",
]
