"""The operations: each a Function with forward and backward by hand, arrays in, arrays out.

Argument checking that several share is in `_args`; everything else is one class per operation.
"""

from tinygrad_llm.ops._args import as_dim, as_dims, as_shape, axes, check_indices
from tinygrad_llm.ops.arithmetic import Add, Div, Maximum, Minimum, Mul, Pow, Remainder, Sub, Where
from tinygrad_llm.ops.elementwise import (
    Abs,
    Assign,
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
from tinygrad_llm.ops.indexing import GetItem, Gather, MaskedFill, ScatterAdd, SetItem
from tinygrad_llm.ops.matmul import Einsum, MatMul
from tinygrad_llm.ops.reduce import Amax, Amin, Cumsum, LogSumExp, Mean, Std, Sum, Var
from tinygrad_llm.ops.shape import (
    Cat,
    Expand,
    Flip,
    Pad,
    Permute,
    Repeat,
    Reshape,
    Stack,
    Tril,
    Triu,
)

__all__ = [name for name in dir() if not name.startswith("_")]
