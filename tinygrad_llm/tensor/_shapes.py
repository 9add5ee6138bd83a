"""Reshaping, moving, repeating and joining."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_llm import ops
from tinygrad_llm.tensor._base import TensorBase

if TYPE_CHECKING:
    from tinygrad_llm.tensor.core import Tensor


class Shapes(TensorBase):
    def reshape(self, *shape: Any) -> Tensor:
        """The same values in another shape; one size may be -1. A view where possible."""
        sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        try:
            if sizes and min(sizes) < -1:  # NumPy takes any negative size for -1
                raise ValueError
            return ops.Reshape.apply(self, shape=sizes)
        except (ValueError, TypeError):
            self._target("reshape", shape)  # says it in our words
            raise

    def view(self, *shape: Any) -> Tensor:
        """As reshape, but refuses to copy: for a tensor whose memory does not allow it."""
        target = self._target("view", shape)
        result = ops.Reshape.apply(self, shape=target)
        if self.numel() and not np.may_share_memory(result.array, self.array):
            raise ValueError(
                f"view: shape {self.shape} with strides {self.stride()} cannot be seen as "
                f"{target} without copying; use reshape"
            )
        return result

    def _target(self, name: str, shape: Any) -> tuple[int, ...]:
        """The shape that was asked for, its -1 replaced by what is left for that axis."""
        sizes = ops.as_shape(name, shape, allow_minus_one=True)
        n, known = self.array.size, math.prod(sizes)
        if known == n and -1 not in sizes:
            return sizes
        if -1 in sizes and known and n % -known == 0:
            return tuple([n // -known if size == -1 else size for size in sizes])
        raise ValueError(f"{name}: {n} elements of shape {self.shape} do not fit into {sizes}")

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Make one axis of the axes start_dim to end_dim, both included."""
        if not self.ndim:
            return self.reshape(1)
        first = ops.as_dim("flatten", start_dim, self.shape)
        last = ops.as_dim("flatten", end_dim, self.shape)
        if first > last:
            raise ValueError(f"flatten: start_dim={start_dim} comes after end_dim={end_dim}")
        n = math.prod(self.shape[first : last + 1])
        return self.reshape(*self.shape[:first], n, *self.shape[last + 1 :])

    def unflatten(self, dim: int, sizes: Sequence[int]) -> Tensor:
        """Split one axis into several; one size may be -1."""
        axis = self._axis("unflatten", dim)
        n = self.shape[axis]
        known = -math.prod(sizes)
        filled = [n // known if s == -1 and known > 0 else s for s in sizes]
        if math.prod(filled) != n or min(filled, default=0) < 0:
            raise ValueError(f"unflatten: sizes {tuple(sizes)} do not multiply to {n}")
        return self.reshape(*self.shape[:axis], *filled, *self.shape[axis + 1 :])

    def permute(self, *places: Any, dims: Any = None) -> Tensor:
        """Reorder the axes: permute(2, 0, 1), permute((2, 0, 1)) or permute(dims=...). A view."""
        dims = places if dims is None else dims
        order = dims[0] if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims
        order = ops.as_dims("permute", tuple(order), self.array.shape)
        if len(order) != self.ndim:
            raise ValueError(f"permute: dims={tuple(dims)} for {self.ndim} axes {self.shape}")
        return ops.Permute.apply(self, dims=order)

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """Exchange two axes."""
        try:
            return ops.Transpose.apply(self, dim0=dim0, dim1=dim1)
        except (IndexError, TypeError):
            for dim in (dim0, dim1):
                ops.as_dim("transpose", dim, self.shape)  # says it in our words
            return self  # type: ignore[return-value]  # a 0-d tensor: dims 0 and -1 are allowed

    swapaxes = transpose

    @property
    def T(self) -> Tensor:  # noqa: N802
        """All axes in reverse order."""
        return ops.Permute.apply(self, dims=tuple(reversed(range(self.ndim))))

    @property
    def mT(self) -> Tensor:  # noqa: N802
        """The last two axes exchanged."""
        return self.transpose(-1, -2)

    def t(self) -> Tensor:
        if self.ndim > 2:
            raise ValueError(f"t: shape {self.shape} has more than 2 axes; use transpose")
        return self.T

    def expand(self, *shape: Any) -> Tensor:
        """Repeat axes of length 1 without copying; -1 keeps a size."""
        sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        new = len(sizes) - self.ndim
        target = [self.shape[i - new] if n == -1 and i >= new else n for i, n in enumerate(sizes)]
        fits = new >= 0 and all(
            old in (1, wanted) for old, wanted in zip(self.shape, target[new:], strict=True)
        )
        if not fits or any(n < 0 for n in target):
            raise ValueError(
                f"expand: shape {self.shape} cannot be expanded to {tuple(sizes)}; only axes of "
                f"size 1 grow, and new ones stand in front"
            )
        return ops.Expand.apply(self, shape=tuple(target))

    def expand_as(self, other: Tensor) -> Tensor:
        return self.expand(other.shape)

    def repeat(self, *repeats: Any) -> Tensor:
        """Tile: repeats[i] copies along axis i; more repeats than axes add axes in front."""
        counts = ops.as_shape("repeat", repeats)
        if len(counts) < self.ndim:
            raise ValueError(f"repeat: {counts} has fewer entries than shape {self.shape} axes")
        return ops.Repeat.apply(self, repeats=counts)

    def repeat_interleave(self, repeats: int, dim: int | None = None) -> Tensor:
        """Each slice along dim (or each element, flattened) `repeats` times in a row."""
        if dim is None:
            return self.flatten().repeat_interleave(repeats, 0)
        axis = ops.as_dim("repeat_interleave", dim, self.shape)
        spread = self.unsqueeze(axis + 1)
        shape = list(spread.shape)
        shape[axis + 1] = repeats
        return spread.expand(shape).flatten(axis, axis + 1)

    def flip(self, *places: Any, dims: Any = None) -> Tensor:
        """Turn the named axes round: a copy."""
        dims = places if dims is None else dims
        order = dims[0] if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims
        return ops.Flip.apply(self, dims=ops.as_dims("flip", tuple(order), self.shape))

    def squeeze(self, dim: int | tuple[int, ...] | None = None) -> Tensor:
        """Drop axes of length 1: all, or those named (others are left alone)."""
        dims = ops.as_dims("squeeze", dim, self.shape)
        kept = tuple(n for i, n in enumerate(self.shape) if i not in dims or n != 1)
        return ops.Reshape.apply(self, shape=kept)

    def unsqueeze(self, dim: int) -> Tensor:
        """A new axis of length 1 at place dim."""
        axis = ops.as_dim("unsqueeze", dim, self.shape, new=True)
        return ops.Reshape.apply(self, shape=(*self.shape[:axis], 1, *self.shape[axis:]))

    def split(self, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
        """Pieces of that size (the last may be smaller), or of the sizes listed: views."""
        axis = self._axis("split", dim)
        n = self.shape[axis]
        if hasattr(split_size, "__index__"):
            split_size = operator.index(split_size)
            if split_size <= 0 and not (split_size == 0 == n):
                raise ValueError(f"split: split_size={split_size} must be positive")
            count = -(-n // split_size) if n else 1
            sizes = [min(split_size, n - i * split_size) for i in range(count)]
        else:
            sizes = list(split_size)
            if sum(sizes) != n or min(sizes, default=0) < 0:
                raise ValueError(
                    f"split: sizes {sizes} do not add up to {n}, the size of dim {dim}"
                )
        return ops.Split.apply(self, sizes=sizes, dim=axis)

    def chunk(self, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        """At most `chunks` pieces of equal size, the last perhaps smaller."""
        if chunks < 1:
            raise ValueError(f"chunk: chunks={chunks} must be at least 1")
        n = self.shape[self._axis("chunk", dim)]
        if n == 0:
            return self.split([0] * chunks, dim)
        return self.split(-(-n // chunks), dim)

    def unbind(self, dim: int = 0) -> tuple[Tensor, ...]:
        """The slices along dim, without it."""
        return ops.Unbind.apply(self, dim=self._axis("unbind", dim))

    def narrow(self, dim: int, start: int, length: int) -> Tensor:
        """The `length` slices along dim from `start` on: a view."""
        axis = self._axis("narrow", dim)
        n = self.shape[axis]
        start = start + n if start < 0 else start
        if not (0 <= start and 0 <= length and start + length <= n):
            raise IndexError(f"narrow: {length} from {start} on is out of range for {n} slices")
        index = (slice(None),) * axis + (slice(start, start + length), Ellipsis)
        return ops.GetItem.apply(self, index=ops.Index(index, None))

    def select(self, dim: int, index: int) -> Tensor:
        """The slice number `index` along dim, without that axis: a view."""
        axis = self._axis("select", dim)
        return self[(slice(None),) * axis + (index,)]  # type: ignore[index]

    def _axis(self, name: str, dim: int) -> int:
        """as_dim for what cannot be done to a 0-d tensor."""
        if not self.array.ndim:
            raise IndexError(f"{name}: a 0-d tensor has no axis")
        return ops.as_dim(name, dim, self.array.shape)

    def tril(self, diagonal: int = 0) -> Tensor:
        self._require_matrix("tril")
        return ops.Tril.apply(self, k=diagonal)

    def triu(self, diagonal: int = 0) -> Tensor:
        self._require_matrix("triu")
        return ops.Triu.apply(self, k=diagonal)

    def _require_matrix(self, name: str) -> None:
        if self.ndim < 2:
            raise ValueError(f"{name}: shape {self.shape} has fewer than 2 axes")

    def pad(self, pad: Sequence[int], value: float = 0.0) -> Tensor:
        """pad: (before, after) of the last axis, then of the one before it, and so on."""
        if len(pad) % 2 or len(pad) > 2 * self.ndim:
            raise ValueError(
                f"pad: pad={tuple(pad)} must hold (before, after) for at most {self.ndim} axes"
            )
        pairs = [(int(pad[i]), int(pad[i + 1])) for i in range(0, len(pad), 2)]
        widths = [(0, 0)] * (self.ndim - len(pairs)) + pairs[::-1]
        for axis, (before, after) in enumerate(widths):
            if self.shape[axis] + min(before, 0) + min(after, 0) < 0:
                raise ValueError(
                    f"pad: {(before, after)} cuts off more than axis {axis} of {self.shape} has"
                )
        return ops.Pad.apply(self, widths=tuple(widths), value=value)

    def contiguous(self) -> Tensor:
        """self, or a copy whose memory lies in the order of its axes."""
        if self.is_contiguous():
            return self  # type: ignore[return-value]
        return ops.Clone.apply(self)
