"""Tensor, how to make one, what can be done with it, and how to check a gradient."""

from tinygrad_llm.tensor import functions
from tinygrad_llm.tensor.core import Tensor
from tinygrad_llm.tensor.creation import (
    arange,
    as_tensor,
    empty,
    empty_like,
    eye,
    from_numpy,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    rand,
    rand_like,
    randint,
    randn,
    randn_like,
    randperm,
    tensor,
    zeros,
    zeros_like,
)
from tinygrad_llm.tensor.functions import *  # noqa: F403
from tinygrad_llm.tensor.gradcheck import GradcheckError, gradcheck
from tinygrad_llm.tensor.joining import cat, concat, concatenate, einsum, stack, where

__all__ = [
    "GradcheckError",
    "Tensor",
    "arange",
    "as_tensor",
    "cat",
    "concat",
    "concatenate",
    "einsum",
    "empty",
    "empty_like",
    "eye",
    "from_numpy",
    "full",
    "full_like",
    "gradcheck",
    "linspace",
    "ones",
    "ones_like",
    "rand",
    "rand_like",
    "randint",
    "randn",
    "randn_like",
    "randperm",
    "stack",
    "tensor",
    "where",
    "zeros",
    "zeros_like",
]
__all__ += functions.__all__
