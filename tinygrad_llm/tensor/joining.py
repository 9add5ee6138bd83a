"""Functions of several tensors that are nobody's method: cat, stack, where, einsum."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_llm import dtypes, ops
from tinygrad_llm.tensor._arithmetic import _shape_error
from tinygrad_llm.tensor._base import as_array, operands
from tinygrad_llm.tensor.core import Tensor


def _common(name: str, tensors: Sequence[Any]) -> list[Tensor]:
    """All as tensors of one dtype."""
    if isinstance(tensors, Tensor) or not len(tensors):
        raise ValueError(f"{name}: expected a non-empty list or tuple of tensors")
    given = [t if isinstance(t, Tensor) else Tensor(t) for t in tensors]
    widest = functools.reduce(
        lambda dtype, t: dtypes.promote(np.empty(1, dtype), np.empty(1, t.dtype)),
        given,
        given[0].dtype,
    )
    return [t._cast(widest) for t in given]


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join along an existing axis; the other sizes must agree."""
    given = _common("cat", tensors)
    axis = ops.as_dim("cat", dim, given[0].shape)
    for i, t in enumerate(given):
        if t.ndim != given[0].ndim or any(
            a != b
            for d, (a, b) in enumerate(zip(t.shape, given[0].shape, strict=True))
            if d != axis
        ):
            raise ValueError(
                f"cat: tensor {i} has shape {t.shape}, which must equal {given[0].shape} "
                f"except along dim {axis}"
            )
    if not given[0].ndim:
        raise ValueError("cat: 0-d tensors have no axis to join along; use stack")
    return ops.Cat.apply(*given, dim=axis)


concat = concatenate = cat


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join along a new axis at place dim; the shapes must be equal."""
    given = _common("stack", tensors)
    for i, t in enumerate(given):
        if t.shape != given[0].shape:
            raise ValueError(f"stack: tensor {i} has shape {t.shape}, not {given[0].shape}")
    return ops.Stack.apply(*given, dim=ops.as_dim("stack", dim, (*given[0].shape, 1)))


def where(condition: Any, input: Any, other: Any) -> Tensor:
    """input where the bool tensor `condition` is True, other elsewhere; all are broadcast."""
    flags = as_array("where", condition)
    if flags.dtype != bool:
        raise TypeError(f"where: condition must be bool, not {flags.dtype}")
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        input = Tensor(input)
    a, b = operands("where", input, other)
    dtype = (a if isinstance(a, Tensor) else b).dtype
    # np.where, unlike arithmetic, lets a Python number widen: give it the dtype already.
    a, b = (x if isinstance(x, Tensor) else Tensor(np.asarray(x, dtype)) for x in (a, b))
    try:
        return ops.Where.apply(flags, a, b)
    except ValueError as error:
        raise _shape_error("where", a, b, error) from None


def einsum(equation: str, *tensors: Any) -> Tensor:
    """Einstein's sum, e.g. einsum("bid,bjd->bij", q, k)."""
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    return ops.Einsum.apply(*_common("einsum", given), equation=equation)


def maximum(input: Tensor, other: Any) -> Tensor:
    return input.maximum(other)


def minimum(input: Tensor, other: Any) -> Tensor:
    return input.minimum(other)


def matmul(input: Tensor, other: Any) -> Tensor:
    return input.matmul(other)
