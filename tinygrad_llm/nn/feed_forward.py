"""What each token does by itself, between two attentions."""

from __future__ import annotations

from typing import Any

import tinygrad_llm.functional as F
from tinygrad_llm.nn import activation as activations
from tinygrad_llm.nn.activation import Dropout
from tinygrad_llm.nn.linear import Linear
from tinygrad_llm.nn.module import Module
from tinygrad_llm.tensor import Tensor


class FeedForward(Module):
    """Wide, bent, and back: dropout(f(x W1^T)) W2^T, (..., dim) -> (..., dim).

    hidden_dim: 4 * dim if None. activation: a name ("gelu", "gelu_new", "relu", "silu", ...).
    """

    def __init__(
        self,
        dim: int,
        hidden_dim: int | None = None,
        activation: str = "gelu",
        dropout: float = 0.0,
        bias: bool = True,
        dtype: Any = None,
    ):
        hidden_dim = 4 * dim if hidden_dim is None else hidden_dim
        self.linear1 = Linear(dim, hidden_dim, bias=bias, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(hidden_dim, dim, bias=bias, dtype=dtype)
        self.activation = activation
        activations.by_name(activation)  # an unknown name is an error here, not in use

    def forward(self, x: Tensor) -> Tensor:
        hidden = activations.by_name(self.activation)(self.linear1(x))  # (..., hidden_dim)
        return self.linear2(self.dropout(hidden))

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}"


class SwiGLU(Module):
    """(silu(x W_gate^T) * x W_up^T) W_down^T, (..., dim) -> (..., dim), as in Llama.

    One half says what, the other how much of it. hidden_dim: if None, 8/3 dim rounded up to
    a multiple of `multiple_of`, so that three matrices have the parameters of a FeedForward's two.
    Shazeer, "GLU Variants Improve Transformer", 2020.
    """

    def __init__(
        self,
        dim: int,
        hidden_dim: int | None = None,
        dropout: float = 0.0,
        bias: bool = False,
        multiple_of: int = 64,
        dtype: Any = None,
    ):
        if hidden_dim is None:
            if multiple_of < 1:
                raise ValueError(f"SwiGLU: multiple_of={multiple_of} must be at least 1")
            hidden_dim = -(-8 * dim // (3 * multiple_of)) * multiple_of
        self.gate_proj = Linear(dim, hidden_dim, bias=bias, dtype=dtype)
        self.up_proj = Linear(dim, hidden_dim, bias=bias, dtype=dtype)
        self.down_proj = Linear(hidden_dim, dim, bias=bias, dtype=dtype)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.dropout(F.swiglu(self.gate_proj(x), self.up_proj(x))))
