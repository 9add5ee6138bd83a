"""Reductions, and the orderings that go with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_llm import ops
from tinygrad_llm.tensor._base import TensorBase

if TYPE_CHECKING:
    from tinygrad_llm.tensor.core import Tensor

Dim = int | tuple[int, ...] | list[int] | None


class ValuesIndices(NamedTuple):
    """Values, and where along the axis they stood (int64)."""

    values: Any
    indices: Any


class Reductions(TensorBase):
    def sum(self, dim: Dim = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
        """Integers and bools are added up in int64."""
        x = self if dtype is None else self._cast(np.dtype(dtype))
        return ops.Sum.apply(x, dims=ops.as_dims("sum", dim, self.shape), keepdim=keepdim)

    def mean(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        self._require_floating("mean")
        return ops.Mean.apply(self, dims=ops.as_dims("mean", dim, self.shape), keepdim=keepdim)

    def var(self, dim: Dim = None, correction: float = 1, keepdim: bool = False) -> Tensor:
        """Divides by n - correction: 1 is the unbiased estimate, 0 what layer norm uses."""
        self._require_floating("var")
        dims = ops.as_dims("var", dim, self.shape)
        return ops.Var.apply(self, dims=dims, keepdim=keepdim, correction=correction)

    def std(self, dim: Dim = None, correction: float = 1, keepdim: bool = False) -> Tensor:
        self._require_floating("std")
        dims = ops.as_dims("std", dim, self.shape)
        return ops.Std.apply(self, dims=dims, keepdim=keepdim, correction=correction)

    def amax(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """Equal largest values share the gradient."""
        dims = self._nonempty("amax", dim)
        return ops.Amax.apply(self, dims=dims, keepdim=keepdim)

    def amin(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        dims = self._nonempty("amin", dim)
        return ops.Amin.apply(self, dims=dims, keepdim=keepdim)

    def max(self, dim: Any = None, keepdim: bool = False) -> Any:
        """The largest of all; max(dim) gives values and indices; max(other) is maximum."""
        return self._extremum("max", dim, keepdim)

    def min(self, dim: Any = None, keepdim: bool = False) -> Any:
        """The smallest of all; min(dim) gives values and indices; min(other) is minimum."""
        return self._extremum("min", dim, keepdim)

    def _extremum(self, name: str, dim: Any, keepdim: bool) -> Any:
        if isinstance(dim, TensorBase):
            return self.maximum(dim) if name == "max" else self.minimum(dim)  # type: ignore
        if dim is None:
            return self.amax() if name == "max" else self.amin()
        axis = ops.as_dim(name, dim, self.shape)
        indices = self.argmax(axis, True) if name == "max" else self.argmin(axis, True)
        values = self.gather(axis, indices)  # type: ignore[attr-defined]
        if not keepdim and self.ndim:
            values, indices = values.squeeze(axis), indices.squeeze(axis)  # type: ignore
        return ValuesIndices(values, indices)

    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """Where the largest value stands (the first of equals), int64; over all: its flat index."""
        return self._arg("argmax", np.argmax, dim, keepdim)

    def argmin(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        return self._arg("argmin", np.argmin, dim, keepdim)

    def _arg(self, name: str, function: Any, dim: int | None, keepdim: bool) -> Tensor:
        dims = self._nonempty(name, dim)
        if dim is None or not self.ndim:
            flat = np.asarray(function(self.array))
            return self.from_op(flat.reshape((1,) * self.ndim) if keepdim else flat)
        return self.from_op(function(self.array, axis=dims[0], keepdims=keepdim))

    def logsumexp(self, dim: Dim, keepdim: bool = False) -> Tensor:
        """log(sum(exp(x))) without overflow."""
        dims = self._nonempty("logsumexp", dim)
        return ops.LogSumExp.apply(self._floating(), dims=dims, keepdim=keepdim)

    def cumsum(self, dim: int) -> Tensor:
        return ops.Cumsum.apply(self, dim=ops.as_dim("cumsum", dim, self.shape))

    def any(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        dims = ops.as_dims("any", dim, self.shape)
        return self.from_op(self.array.any(axis=ops.axes(dims, self.shape), keepdims=keepdim))

    def all(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        dims = ops.as_dims("all", dim, self.shape)
        return self.from_op(self.array.all(axis=ops.axes(dims, self.shape), keepdims=keepdim))

    def norm(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """Euclidean length."""
        return (self * self).sum(dim, keepdim).sqrt()

    def argsort(self, dim: int = -1, descending: bool = False) -> Tensor:
        """Indices that sort along dim; equal values keep their order. NaN counts as largest."""
        axis = ops.as_dim("argsort", dim, self.shape)
        if not self.ndim:
            return self.from_op(np.zeros((), np.int64))
        if not descending:
            return self.from_op(np.argsort(self.array, axis=axis, kind="stable"))
        # Sorted backwards and read backwards, so that equal values keep their order here too.
        backwards = np.argsort(np.flip(self.array, axis), axis=axis, kind="stable")
        return self.from_op(self.shape[axis] - 1 - np.flip(backwards, axis))

    def sort(self, dim: int = -1, descending: bool = False) -> ValuesIndices:
        indices = self.argsort(dim, descending)
        return ValuesIndices(self.gather(dim, indices), indices)  # type: ignore[attr-defined]

    def topk(
        self, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
    ) -> ValuesIndices:
        """The k largest (or smallest) along dim, always in order."""
        axis = ops.as_dim("topk", dim, self.shape)
        n = self.shape[axis] if self.ndim else 1
        if not 0 <= k <= n:
            raise ValueError(f"topk: k={k} is out of range for dim {dim} of shape {self.shape}")
        if not self.ndim:
            return ValuesIndices(self, self.from_op(np.zeros((), np.int64)))
        if 0 < k < n // 8:
            # Select first, then sort only what was selected: linear in n.
            keys = self.array if not largest else np.negative(self.array)
            chosen = np.sort(np.argpartition(keys, k - 1, axis=axis).take(range(k), axis), axis)
            order = np.argsort(np.take_along_axis(keys, chosen, axis), axis=axis, kind="stable")
            indices = self.from_op(np.take_along_axis(chosen, order, axis))
        else:
            indices = self.argsort(axis, descending=largest).narrow(axis, 0, k)  # type: ignore
        return ValuesIndices(self.gather(axis, indices), indices)  # type: ignore[attr-defined]

    def _require_floating(self, name: str) -> None:
        if self.dtype.kind != "f":
            raise TypeError(f"{name}: dtype {self.dtype} is not floating point; use x.float()")

    def _nonempty(self, name: str, dim: Dim) -> tuple[int, ...]:
        dims = ops.as_dims(name, dim, self.shape)
        if not self.numel() and any(self.shape[d] == 0 for d in dims):
            raise IndexError(f"{name}: shape {self.shape} has no element to choose along dim={dim}")
        return ops.axes(dims, self.shape)
