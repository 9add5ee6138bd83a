"""x[...], and picking by index tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_llm import ops
from tinygrad_llm.autograd import Variable
from tinygrad_llm.tensor._base import TensorBase, as_array

if TYPE_CHECKING:
    from tinygrad_llm.tensor.core import Tensor


def _part(part: Any) -> Any:
    """One entry of an index: an int, slice, None or Ellipsis, or an index array."""
    if part is None or part is Ellipsis or isinstance(part, (int, slice)):
        if isinstance(part, slice) and part.step is not None and part.step <= 0:
            raise ValueError(f"indexing: step {part.step} must be positive; use flip")
        # True and False are masks without axes, not the numbers 1 and 0.
        return np.asarray(part) if isinstance(part, bool) else part
    if isinstance(part, (list, tuple, range)):
        values = [p.array if isinstance(p, Variable) else p for p in part]
        part = np.asarray(values, dtype=None if values else np.int64)
    elif isinstance(part, Variable):
        part = part.array
    kind = part.dtype.kind if isinstance(part, (np.ndarray, np.generic)) else None
    if kind is None or kind not in "biu":
        given = type(part).__name__ if kind is None else part.dtype
        raise IndexError(
            f"{given} is no index; use integers, slices, None, ..., and integer or bool tensors"
        )
    return int(part) if part.ndim == 0 and kind != "b" else np.asarray(part)


def as_index(index: Any) -> ops.Index:
    """What a user wrote between the brackets, in the two steps of ops.Index."""
    if type(index) is int or (type(index) is slice and index.step is None):  # as usual
        return ops.Index((index, Ellipsis), None)
    basic: list[Any] = []
    advanced: list[Any] = []
    picking = False
    for part in index if isinstance(index, tuple) else (index,):
        p = _part(part)
        if hasattr(p, "dtype"):
            picking = True
            # A mask stands for as many axes as it has itself.
            basic += [slice(None)] * (p.ndim if p.dtype.kind == "b" else 1)
            advanced.append(p)
        else:
            basic.append(p)
            if not isinstance(p, int):  # an integer takes its axis away
                advanced.append(Ellipsis if p is Ellipsis else slice(None))
    if Ellipsis not in basic:
        basic.append(Ellipsis)
    return ops.Index(tuple(basic), tuple(advanced) if picking else None)


class Indexing(TensorBase):
    def __getitem__(self, index: Any) -> Tensor:
        try:
            return ops.GetItem.apply(self, index=as_index(index))
        except IndexError as error:
            raise IndexError(f"indexing shape {self.shape}: {error}") from None

    def __iter__(self) -> Any:
        if not self.ndim:
            raise TypeError("iteration over a 0-d tensor: it has no axis")
        return iter(self.unbind(0))  # type: ignore[attr-defined]

    def __contains__(self, value: Any) -> bool:
        return bool(np.any(self.array == as_array("in", value)))

    def gather(self, dim: int, index: Tensor) -> Tensor:
        """out[i][j] = self[index[i][j]][j] for dim 0; index is int64, at most as large as self."""
        axis = self._check_index_tensor("gather", dim, index)
        return ops.Gather.apply(self, index, dim=axis)

    def scatter_add(self, dim: int, index: Tensor, src: Tensor) -> Tensor:
        """A copy with out[index[i][j]][j] += src[i][j] for dim 0; repeated places add up."""
        axis = self._check_index_tensor("scatter_add", dim, index)
        if not isinstance(src, TensorBase) or src.dtype != self.dtype:
            given = getattr(src, "dtype", type(src).__name__)
            raise TypeError(f"scatter_add: src is {given}, self is {self.dtype}")
        if src.ndim != index.ndim or any(a > b for a, b in zip(index.shape, src.shape)):
            raise ValueError(f"scatter_add: index {index.shape} is larger than src {src.shape}")
        return ops.ScatterAdd.apply(self, index, src, dim=axis)

    def _check_index_tensor(self, name: str, dim: int, index: Tensor) -> int:
        axis = ops.as_dim(name, dim, self.shape)
        _require_integers(name, index)
        if index.ndim != self.ndim:
            raise ValueError(f"{name}: index {index.shape} has not as many axes as {self.shape}")
        for i, (n, limit) in enumerate(zip(index.shape, self.shape, strict=True)):
            if i != axis and n > limit:
                raise ValueError(
                    f"{name}: index {index.shape} is larger than {self.shape} along dim {i}"
                )
        ops.check_indices(name, index.array, self.shape[axis] if self.ndim else 1, axis)
        return axis

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """The slices along dim that a 1-d integer tensor names, in its order."""
        axis = ops.as_dim("index_select", dim, self.shape)
        _require_integers("index_select", index)
        if index.ndim > 1 or not self.ndim:
            raise ValueError(
                f"index_select: index of shape {index.shape} into shape {self.shape} is not "
                f"accepted; use a 1-d index into a tensor of 1 or more axes"
            )
        places = index.array.reshape(-1)
        ops.check_indices("index_select", places, self.shape[axis], axis)
        every = (slice(None),) * axis
        return ops.GetItem.apply(self, index=ops.Index((Ellipsis,), (*every, places)))

    def take_along_dim(self, indices: Tensor, dim: int | None = None) -> Tensor:
        """As gather, but self and indices are broadcast against each other except along dim."""
        _require_integers("take_along_dim", indices)
        if dim is None:
            return self.flatten().gather(0, indices.flatten())  # type: ignore[attr-defined]
        axis = ops.as_dim("take_along_dim", dim, self.shape)
        if indices.ndim != self.ndim:
            raise ValueError(
                f"take_along_dim: indices {indices.shape} has not as many axes as {self.shape}"
            )
        if not self.ndim:
            return self.gather(0, indices)
        try:
            common = np.broadcast_shapes(
                *(s[:axis] + (1,) + s[axis + 1 :] for s in (self.shape, indices.shape))
            )
        except ValueError:
            raise ValueError(
                f"take_along_dim: shapes {self.shape} and {indices.shape} cannot be broadcast "
                f"together in the axes other than {axis}"
            ) from None
        values, places = (
            t.expand(common[:axis] + (t.shape[axis],) + common[axis + 1 :])  # type: ignore
            for t in (self, indices)
        )
        return values.gather(axis, places)

    def masked_fill(self, mask: Tensor, value: Any) -> Tensor:
        """A copy with `value` wherever the bool tensor `mask` is True; both are broadcast.

        value: a number, or a 0-d tensor (which gets the gradient of all it was written to).
        """
        flags = as_array("masked_fill", mask)
        if flags.dtype.kind != "b":
            raise TypeError(f"masked_fill: mask must be bool, not {flags.dtype}")
        if isinstance(value, TensorBase):
            if value.ndim:
                raise ValueError(f"masked_fill: value must be a number or 0-d, not {value.shape}")
            value = value._cast(self.dtype)
        try:
            return ops.MaskedFill.apply(self, flags, value)
        except ValueError as error:
            if "broadcast" not in str(error):
                raise
            raise ValueError(
                f"masked_fill: mask {flags.shape} and {self.shape} cannot be broadcast together"
            ) from None

    def masked_select(self, mask: Tensor) -> Tensor:
        """The elements where mask (broadcast to self) is True, as one axis."""
        flags = as_array("masked_select", mask)
        if flags.dtype.kind != "b":
            raise TypeError(f"masked_select: mask must be bool, not {flags.dtype}")
        shape = np.broadcast_shapes(flags.shape, self.shape)
        return self.expand(shape)[self.from_op(np.broadcast_to(flags, shape))]  # type: ignore

    def nonzero(self) -> Tensor:
        """(n, ndim) int64: where the elements are not zero."""
        return self.from_op(np.argwhere(self.array).astype(np.int64))


def _require_integers(name: str, index: Any) -> None:
    if not isinstance(index, TensorBase) or index.dtype.kind not in "iu":
        given = getattr(index, "dtype", type(index).__name__)
        raise TypeError(f"{name}: index must be an integer tensor, not {given}")
