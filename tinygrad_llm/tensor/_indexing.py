"""x[...], x[...] = value, and picking by index tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_llm import ops
from tinygrad_llm.autograd import Variable
from tinygrad_llm.tensor._base import TensorBase, as_array

if TYPE_CHECKING:
    from tinygrad_llm.tensor.core import Tensor


def _part(part: Any) -> Any:
    """One entry of an index, as NumPy wants it."""
    if isinstance(part, Variable):
        part = part.array
    elif isinstance(part, (list, range)):
        part = np.asarray(part, dtype=np.int64 if not len(part) else None)
    if isinstance(part, slice):
        if part.step is not None and part.step <= 0:
            raise ValueError(f"indexing: step {part.step} must be positive; use flip")
    elif isinstance(part, np.ndarray) and part.dtype.kind not in "biu":
        raise IndexError(f"indexing: an index tensor is integer or bool, not {part.dtype}")
    elif isinstance(part, float):
        raise IndexError(f"indexing: {part!r} is no index; use an integer")
    return part


def _as_index(index: Any) -> Any:
    return tuple(_part(p) for p in index) if isinstance(index, tuple) else _part(index)


class Indexing(TensorBase):
    def __getitem__(self, index: Any) -> Tensor:
        try:
            return ops.GetItem.apply(self, index=_as_index(index))
        except IndexError as error:
            raise IndexError(f"indexing shape {self.shape}: {error}") from None

    def __iter__(self) -> Any:
        if not self.ndim:
            raise TypeError("iteration over a 0-d tensor: it has no axis")
        return iter(self.unbind(0))  # type: ignore[attr-defined]

    def gather(self, dim: int, index: Tensor) -> Tensor:
        """out[i][j] = self[index[i][j]][j] for dim 0; index is int64, at most as large as self."""
        axis = self._check_index_tensor("gather", dim, index)
        return ops.Gather.apply(self, index, dim=axis)

    def scatter_add(self, dim: int, index: Tensor, src: Tensor) -> Tensor:
        """A copy with out[index[i][j]][j] += src[i][j] for dim 0."""
        axis = self._check_index_tensor("scatter_add", dim, index)
        if src.dtype != self.dtype:
            raise TypeError(f"scatter_add: src is {src.dtype}, self is {self.dtype}")
        if src.ndim != index.ndim or any(
            a > b for a, b in zip(index.shape, src.shape, strict=True)
        ):
            raise ValueError(f"scatter_add: index {index.shape} is larger than src {src.shape}")
        return ops.ScatterAdd.apply(self, index, src, dim=axis)

    def _check_index_tensor(self, name: str, dim: int, index: Tensor) -> int:
        axis = ops.as_dim(name, dim, self.shape)
        if not isinstance(index, TensorBase) or index.dtype.kind not in "iu":
            given = getattr(index, "dtype", type(index).__name__)
            raise TypeError(f"{name}: index must be an integer tensor, not {given}")
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
        if index.ndim > 1 or index.dtype.kind not in "iu":
            raise TypeError(
                f"index_select: index must be a 1-d integer tensor, not {index.dtype} "
                f"of shape {index.shape}"
            )
        ops.check_indices("index_select", index.array, self.shape[axis], axis)
        return ops.GetItem.apply(self, index=(slice(None),) * axis + (index.array.reshape(-1),))

    def take_along_dim(self, indices: Tensor, dim: int | None = None) -> Tensor:
        """As gather, but self and indices are broadcast against each other except along dim."""
        if dim is None:
            return self.flatten().gather(0, indices.flatten())  # type: ignore[attr-defined]
        axis = ops.as_dim("take_along_dim", dim, self.shape)
        front = np.broadcast_shapes(
            *(s[:axis] + (1,) + s[axis + 1 :] for s in (self.shape, indices.shape))
        )
        shapes = [front[:axis] + (t.shape[axis],) + front[axis + 1 :] for t in (self, indices)]
        return self.expand(shapes[0]).gather(axis, indices.expand(shapes[1]))  # type: ignore

    def masked_fill(self, mask: Tensor, value: Any) -> Tensor:
        """A copy with `value` wherever the bool tensor `mask` (broadcast to self) is True."""
        flags = as_array("masked_fill", mask)
        if flags.dtype != bool:
            raise TypeError(f"masked_fill: mask must be bool, not {flags.dtype}")
        try:
            flags = np.broadcast_to(flags, self.shape)
        except ValueError:
            raise ValueError(
                f"masked_fill: mask {flags.shape} cannot be broadcast to {self.shape}"
            ) from None
        number = value.item() if isinstance(value, TensorBase) else value  # type: ignore
        return ops.MaskedFill.apply(self, flags, value=number)

    def masked_select(self, mask: Tensor) -> Tensor:
        """The elements where mask is True, as one axis."""
        flags = np.broadcast_to(as_array("masked_select", mask), self.shape)
        return ops.GetItem.apply(self, index=flags)

    def nonzero(self) -> Tensor:
        """(n, ndim) int64: where the elements are not zero."""
        return self.from_op(np.argwhere(self.array).astype(np.int64))
