"""Reductions, and the orderings that go with them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_llm import dtypes, ops
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
        x = self if dtype is None else self._cast(dtypes.resolve(dtype))
        dims = ops.reduced_dims("sum", dim, self.array.shape)
        return ops.Sum.apply(x, dims=dims, keepdim=keepdim)

    def mean(self, dim: Dim = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
        x = self if dtype is None else self._cast(dtypes.resolve(dtype))
        x._require_floating("mean")
        dims = ops.reduced_dims("mean", dim, self.array.shape)
        return ops.Mean.apply(x, dims=dims, keepdim=keepdim)

    def var(
        self,
        dim: Dim = None,
        unbiased: bool = True,
        keepdim: bool = False,
        *,
        correction: float | None = None,
    ) -> Tensor:
        """Divides by n - correction: 1 (unbiased) is the default, 0 is what layer norm uses."""
        return self._spread_of("var", ops.Var, dim, unbiased, keepdim, correction)

    def std(
        self,
        dim: Dim = None,
        unbiased: bool = True,
        keepdim: bool = False,
        *,
        correction: float | None = None,
    ) -> Tensor:
        """The square root of var."""
        return self._spread_of("std", ops.Std, dim, unbiased, keepdim, correction)

    def _spread_of(
        self, name: str, function: Any, dim: Any, unbiased: bool, keepdim: bool, correction: Any
    ) -> Tensor:
        self._require_floating(name)
        if isinstance(dim, bool):  # x.var(False): PyTorch's first argument may be `unbiased`
            dim, unbiased = None, dim
        dims = ops.reduced_dims(name, dim, self.shape)
        correction = int(unbiased) if correction is None else correction
        return function.apply(self, dims=dims, keepdim=keepdim, correction=correction)

    def amax(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """Equal largest values share the gradient."""
        dims = self._nonempty("amax", dim)
        return ops.Amax.apply(self, dims=dims, keepdim=keepdim)

    def amin(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """Equal smallest values share the gradient."""
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
        indices = self._arg(name, np.argmax if name == "max" else np.argmin, axis, True)
        values = self.gather(axis, indices)  # type: ignore[attr-defined]
        if not keepdim and self.ndim:
            values, indices = values.squeeze(axis), indices.squeeze(axis)  # type: ignore
        return ValuesIndices(values, indices)

    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """Where the largest value stands (the first of equals), int64; over all: its flat index."""
        return self._arg("argmax", np.argmax, dim, keepdim)

    def argmin(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """Where the smallest value stands (the first of equals), int64."""
        return self._arg("argmin", np.argmin, dim, keepdim)

    def _arg(self, name: str, function: Any, dim: int | None, keepdim: bool) -> Tensor:
        dims = self._nonempty(name, dim)
        if dim is None or not self.ndim:
            flat = np.asarray(function(self.array))
            return self.from_op(flat.reshape((1,) * self.ndim) if keepdim else flat)
        return self.from_op(function(self.array, axis=dims[0], keepdims=keepdim))

    def logsumexp(self, dim: Dim, keepdim: bool = False) -> Tensor:
        """log(sum(exp(x))) without overflow."""
        dims = ops.reduced_dims("logsumexp", dim, self.shape)
        return ops.LogSumExp.apply(self._floating(), dims=dims, keepdim=keepdim)

    def softmax(self, dim: int) -> Tensor:
        """exp(x) / sum(exp(x)) along dim: positive, with the sum 1."""
        self._require_floating("softmax")
        return ops.Softmax.apply(self, dim=ops.as_dim("softmax", dim, self.shape))

    def log_softmax(self, dim: int) -> Tensor:
        """log(softmax(x)), without the log of a tiny number."""
        self._require_floating("log_softmax")
        return ops.LogSoftmax.apply(self, dim=ops.as_dim("log_softmax", dim, self.shape))

    def cumsum(self, dim: int) -> Tensor:
        """Element i is the sum of elements 0 to i."""
        return ops.Cumsum.apply(self, dim=ops.as_dim("cumsum", dim, self.shape))

    def any(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """Whether any element is not zero."""
        dims = ops.reduced_dims("any", dim, self.shape)
        return self.from_op(self.array.any(axis=dims, keepdims=keepdim))

    def all(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """Whether no element is zero."""
        dims = ops.reduced_dims("all", dim, self.shape)
        return self.from_op(self.array.all(axis=dims, keepdims=keepdim))

    def norm(self, p: float = 2, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """(sum |x|^p)^(1/p): 2 is the Euclidean length, math.inf the largest |x|."""
        self._require_floating("norm")
        if p == 2:
            dims = ops.reduced_dims("norm", dim, self.shape)
            return ops.Norm.apply(self, dims=dims, keepdim=keepdim)
        size = ops.Abs.apply(self)
        if p == 1:
            return size.sum(dim, keepdim)
        if p == math.inf:
            return size.amax(dim, keepdim)
        if not p > 0:
            raise ValueError(f"norm: p={p!r} is not accepted; use a number > 0 or math.inf")
        return (size**p).sum(dim, keepdim) ** (1 / p)

    def argsort(self, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
        """Indices that sort along dim; equal values keep their order. NaN counts as largest."""
        axis = ops.as_dim("argsort", dim, self.shape)
        return self.from_op(_argsort(self.array, axis, descending))

    def sort(self, dim: int = -1, descending: bool = False, stable: bool = True) -> ValuesIndices:
        """Values in order, and where they stood; equal values keep their order."""
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
        chosen = _topk(self.array, k, axis, largest) if self.ndim else np.zeros((), np.int64)
        indices = self.from_op(chosen)
        return ValuesIndices(self.gather(axis, indices), indices)  # type: ignore[attr-defined]

    def _nonempty(self, name: str, dim: Dim) -> tuple[int, ...]:
        dims = ops.reduced_dims(name, dim, self.shape)
        if not self.numel() and any(self.shape[d] == 0 for d in dims):
            raise IndexError(f"{name}: shape {self.shape} has no element to choose along dim={dim}")
        return dims


def _argsort(x: np.ndarray, axis: int, descending: bool) -> np.ndarray:
    if not x.ndim:
        return np.zeros((), np.int64)
    if not descending:
        return np.argsort(x, axis=axis, kind="stable")
    # Sorted backwards and read backwards, so that equal values keep their order here too.
    backwards = np.argsort(np.flip(x, axis), axis=axis, kind="stable")
    return x.shape[axis] - 1 - np.flip(backwards, axis)


def _topk(x: np.ndarray, k: int, axis: int, largest: bool) -> np.ndarray:
    n = x.shape[axis]
    if not 0 < k < n // 8:
        return _argsort(x, axis, largest).take(range(k), axis)
    # Select first, then sort only what was selected: linear in n. NaN sorts as the largest.
    place, part = (n - k, range(n - k, n)) if largest else (k - 1, range(k))
    chosen = np.argpartition(x, place, axis=axis).take(part, axis)
    chosen.sort(axis)  # of equals, the earlier one comes first
    order = _argsort(np.take_along_axis(x, chosen, axis), axis, largest)
    return np.take_along_axis(chosen, order, axis)
