"""The operations: each a Function with forward and backward by hand, arrays in, arrays out.

Argument checking that several share is in `_args`; everything else is one class per operation.
"""

from tinygrad_llm.ops._args import as_dim, as_dims, as_shape, check_indices, reduced_dims
from tinygrad_llm.ops.activation import Erf, Gelu, Silu, Softplus, Swiglu
from tinygrad_llm.ops.arithmetic import Add, Div, Maximum, Minimum, Mul, Pow, Remainder, Sub, Where
from tinygrad_llm.ops.attention import Attention
from tinygrad_llm.ops.dropout import Dropout
from tinygrad_llm.ops.elementwise import (
    Abs,
    Cast,
    Clamp,
    Clone,
    Cos,
    Exp,
    Log,
    Neg,
    Relu,
    Rsqrt,
    Sigmoid,
    Sin,
    Sqrt,
    Tanh,
)
from tinygrad_llm.ops.embedding import Embedding
from tinygrad_llm.ops.indexing import Gather, GetItem, Index, MaskedFill, ScatterAdd, SetItem
from tinygrad_llm.ops.linear import Linear
from tinygrad_llm.ops.loss import CrossEntropy
from tinygrad_llm.ops.matmul import Einsum, MatMul
from tinygrad_llm.ops.norm import LayerNorm, RMSNorm
from tinygrad_llm.ops.reduce import Amax, Amin, Cumsum, LogSumExp, Mean, Norm, Std, Sum, Var
from tinygrad_llm.ops.rotary import Rotary
from tinygrad_llm.ops.shape import (
    Cat,
    Expand,
    Flip,
    Pad,
    Permute,
    Repeat,
    Reshape,
    Split,
    Stack,
    Transpose,
    Tril,
    Triu,
    Unbind,
)
from tinygrad_llm.ops.softmax import LogSoftmax, Softmax

__all__ = [
    "Abs",
    "Add",
    "Amax",
    "Amin",
    "Attention",
    "Cast",
    "Cat",
    "Clamp",
    "Clone",
    "Cos",
    "CrossEntropy",
    "Cumsum",
    "Div",
    "Dropout",
    "Einsum",
    "Embedding",
    "Erf",
    "Exp",
    "Expand",
    "Flip",
    "Gather",
    "Gelu",
    "GetItem",
    "Index",
    "LayerNorm",
    "Linear",
    "Log",
    "LogSoftmax",
    "LogSumExp",
    "MaskedFill",
    "MatMul",
    "Maximum",
    "Mean",
    "Minimum",
    "Mul",
    "Neg",
    "Norm",
    "Pad",
    "Permute",
    "Pow",
    "RMSNorm",
    "Relu",
    "Remainder",
    "Repeat",
    "Reshape",
    "Rotary",
    "Rsqrt",
    "ScatterAdd",
    "SetItem",
    "Sigmoid",
    "Silu",
    "Sin",
    "Softmax",
    "Softplus",
    "Split",
    "Sqrt",
    "Stack",
    "Std",
    "Sub",
    "Sum",
    "Swiglu",
    "Tanh",
    "Transpose",
    "Tril",
    "Triu",
    "Unbind",
    "Var",
    "Where",
    "as_dim",
    "as_dims",
    "as_shape",
    "check_indices",
    "reduced_dims",
]
