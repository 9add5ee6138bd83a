"""Activations and dropout as modules: what stands between linear maps."""

from __future__ import annotations

from collections.abc import Callable

import tinygrad_llm.functional as F
from tinygrad_llm.nn.module import Module
from tinygrad_llm.tensor import Tensor


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x)


class GELU(Module):
    """x * P(Z < x) for a standard normal Z; approximate="tanh" is the formula that GPT-2 uses."""

    def __init__(self, approximate: str = "none"):
        if approximate not in ("none", "tanh"):
            raise ValueError(f"GELU: approximate={approximate!r}; use 'none' or 'tanh'")
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """x * sigmoid(x), also called swish."""

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, x: Tensor) -> Tensor:
        return F.sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Tensor) -> Tensor:
        return F.tanh(x)


class Softmax(Module):
    """exp(x) / sum(exp(x)) along dim."""

    def __init__(self, dim: int):
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(x, dim=self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Dropout(Module):
    """In training, zero each element with probability p and divide the others by 1 - p.

    Srivastava et al., "Dropout", JMLR 2014.
    """

    def __init__(self, p: float = 0.5):
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p={p} must be a probability, from 0 to 1")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def by_name(name: str) -> Callable[[Tensor], Tensor]:
    """An activation by its name in configurations; "gelu_new" is Hugging Face's name for tanh."""
    table: dict[str, Callable[[Tensor], Tensor]] = {
        "relu": F.relu,
        "gelu": F.gelu,
        "gelu_new": gelu_tanh,
        "gelu_pytorch_tanh": gelu_tanh,
        "silu": F.silu,
        "swish": F.silu,
        "tanh": F.tanh,
        "sigmoid": F.sigmoid,
    }
    if name not in table:
        known = ", ".join(map(repr, table))
        raise ValueError(f"activation={name!r} is not known; use one of {known}")
    return table[name]


def gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")
