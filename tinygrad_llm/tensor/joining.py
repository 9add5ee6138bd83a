"""Functions of several tensors that are nobody's method: cat, stack, where, einsum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_llm import dtypes, ops
from tinygrad_llm.tensor._arithmetic import shape_error
from tinygrad_llm.tensor._base import as_array, operands
from tinygrad_llm.tensor.core import Tensor


def _common(name: str, tensors: Any) -> list[Tensor]:
    """All as tensors of one dtype."""
    if isinstance(tensors, Tensor) or not hasattr(tensors, "__len__") or not len(tensors):
        raise TypeError(f"{name}: expected a non-empty list or tuple of tensors")
    given = [t if isinstance(t, Tensor) else Tensor(t) for t in tensors]
    first = given[0].dtype
    if all(t.dtype == first for t in given):
        return given
    widest = first
    for t in given:
        widest = dtypes.promote(np.empty(1, widest), np.empty(1, t.dtype))
    return [t._cast(widest) for t in given]


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join along an existing axis; the other sizes must agree."""
    given = _common("cat", tensors)
    shape = given[0].shape
    if not shape:
        raise ValueError("cat: 0-d tensors have no axis to join along; use stack")
    axis = ops.as_dim("cat", dim, shape)
    for i, t in enumerate(given):
        if t.shape[:axis] + t.shape[axis + 1 :] != shape[:axis] + shape[axis + 1 :] or (
            t.ndim != len(shape)
        ):
            raise ValueError(
                f"cat: tensor {i} has shape {t.shape}, which must equal {shape} except along "
                f"dim {axis}"
            )
    return ops.Cat.apply(*given, dim=axis)


concat = concatenate = cat


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join along a new axis at place dim; the shapes must be equal."""
    given = _common("stack", tensors)
    for i, t in enumerate(given):
        if t.shape != given[0].shape:
            raise ValueError(f"stack: tensor {i} has shape {t.shape}, not {given[0].shape}")
    return ops.Stack.apply(*given, dim=ops.as_dim("stack", dim, given[0].shape, new=True))


def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """input where the bool tensor `condition` is True, other elsewhere; all are broadcast.

    Without input and other: where condition is not zero, one index tensor per axis.
    """
    flags = as_array("where", condition)
    if input is None and other is None:
        return tuple(Tensor(places) for places in np.atleast_1d(flags).nonzero())
    if flags.dtype.kind != "b":
        raise TypeError(f"where: condition must be bool, not {flags.dtype}")
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        input = Tensor(input)
    a, b = operands("where", input, other)
    dtype = (a if isinstance(a, Tensor) else b).dtype
    a, b = (x if isinstance(x, Tensor) else Tensor(np.asarray(x, dtype)) for x in (a, b))
    try:
        return ops.Where.apply(flags, a, b)
    except ValueError as error:
        raise shape_error("where", (flags, a, b), error) from None


def einsum(equation: str, *tensors: Any) -> Tensor:
    """Einstein's sum, e.g. einsum("bid,bjd->bij", q, k)."""
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    return ops.Einsum.apply(*_common("einsum", given), equation=equation)
