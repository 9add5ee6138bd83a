"""Telling a model where a token stands: attention by itself sees a set, not a sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_llm.functional as F
from tinygrad_llm.autograd import Array, Variable
from tinygrad_llm.nn import init
from tinygrad_llm.nn.module import Module
from tinygrad_llm.nn.walk import Parameter
from tinygrad_llm.tensor import Tensor, zeros


def _positions(name: str, x: Tensor, position_ids: Any) -> Array:
    """(T,) or (B, T) integers: those given, or 0 ... T-1. x: (..., T, C)."""
    length = x.shape[-2]
    if position_ids is None:
        return np.arange(length)
    given = position_ids.array if isinstance(position_ids, Variable) else np.asarray(position_ids)
    if given.dtype.kind not in "iu" or given.ndim not in (1, 2) or given.shape[-1] != length:
        raise ValueError(
            f"{name}: position_ids are {given.dtype} of shape {given.shape}, but must be integers "
            f"of shape ({length},) or (B, {length})"
        )
    if given.size and given.min() < 0:
        raise IndexError(f"{name}: position_ids holds {given.min()}; positions start at 0")
    return given


class LearnedPositions(Module):
    """x + weight[position]: a vector for each position, learned (GPT-2, BERT). (B, T, C)."""

    def __init__(self, num_positions: int, dim: int, dtype: Any = None):
        self.num_positions = num_positions
        self.weight = Parameter(zeros(num_positions, dim, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Small against the tokens, as GPT-2 has it."""
        init.normal_(self.weight, std=0.02)

    def forward(self, x: Tensor, position_ids: Any = None) -> Tensor:
        positions = _positions("LearnedPositions", x, position_ids)
        if positions.size and positions.max() >= self.num_positions:
            raise IndexError(
                f"LearnedPositions: position {positions.max()} is out of range; "
                f"num_positions={self.num_positions} is the longest sequence"
            )
        return x + F.embedding(Tensor(positions), self.weight)

    def extra_repr(self) -> str:
        return f"{self.num_positions}, {self.weight.shape[1]}"


class SinusoidalPositions(Module):
    """x + waves of many lengths, for any position: (B, T, C).

    Feature 2i is sin(t / base^(2i/C)) and feature 2i+1 the cosine, so that a shift of t is
    a rotation of each pair. Vaswani et al., "Attention Is All You Need", 2017, section 3.5.
    """

    def __init__(self, dim: int, base: float = 10000.0):
        self.dim, self.base = dim, base
        self._table = np.zeros((0, dim))  # grows as needed; private, so no part of the state

    def table(self, length: int) -> Array:
        """(length, dim) float64: the waves for the first positions."""
        if length > len(self._table):
            t = np.arange(max(length, 2 * len(self._table)))[:, None]
            angle = t * self.base ** (-np.arange(0, self.dim, 2) / self.dim)  # (T, ceil(C/2))
            table = np.empty((len(t), self.dim))
            table[:, 0::2] = np.sin(angle)
            table[:, 1::2] = np.cos(angle[:, : self.dim // 2])
            self._table = table
        return self._table[:length]

    def forward(self, x: Tensor, position_ids: Any = None) -> Tensor:
        positions = _positions("SinusoidalPositions", x, position_ids)
        length = int(positions.max()) + 1 if positions.size else 0
        return x + Tensor(self.table(length)[positions].astype(x.dtype))

    def extra_repr(self) -> str:
        return f"{self.dim}, base={self.base:g}"


class RotaryPositions(Module):
    """Turns queries and keys by an angle that grows with the position: (B, H, T, D), same shape.

    The product of a query and a key then depends on their distance. dim: how many features of each
    head turn (even; the others stay as they are). interleaved: features 2i and 2i+1 make a pair
    (GPT-J, Meta's Llama), else i and i + dim/2 (GPT-NeoX, Hugging Face's Llama).
    Su et al., "RoFormer", 2021.
    """

    def __init__(self, dim: int, base: float = 10000.0, interleaved: bool = False):
        if dim < 2 or dim % 2:
            raise ValueError(f"RotaryPositions: dim={dim} must be even: features turn in pairs")
        self.dim, self.base, self.interleaved = dim, base, interleaved
        # cos and sin for the first positions; grow as needed, and are no part of the state.
        self._tables: Any = (np.zeros((0, dim // 2), np.float32),) * 2

    def tables(self, length: int, dtype: Any) -> tuple[Array, Array]:
        """cos and sin of the angles of the first positions: (length, dim/2) each."""
        if length > len(self._tables[0]) or self._tables[0].dtype != dtype:
            longer = max(length, 2 * len(self._tables[0]))
            cos, sin = F.rotary_tables(longer, self.dim, self.base, dtype)
            self._tables = cos.array, sin.array
        return self._tables[0][:length], self._tables[1][:length]

    def forward(self, x: Tensor, position_ids: Any = None) -> Tensor:
        if x.ndim != 4 or x.shape[-1] < self.dim:
            raise ValueError(
                f"RotaryPositions: x of shape {x.shape} is not (B, H, T, D) with D >= "
                f"dim={self.dim}"
            )
        positions = _positions("RotaryPositions", x, position_ids)
        cos, sin = self.tables(int(positions.max()) + 1 if positions.size else 0, x.dtype)
        if position_ids is not None:
            cos, sin = cos[positions], sin[positions]  # (.., T, dim/2)
        if positions.ndim == 2:
            cos, sin = cos[:, None], sin[:, None]  # (B, 1, T, dim/2): the same in every head
        return F.apply_rotary(x, cos, sin, interleaved=self.interleaved)

    def extra_repr(self) -> str:
        return f"{self.dim}, base={self.base:g}, interleaved={self.interleaved}"
