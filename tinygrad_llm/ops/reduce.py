"""Reductions over one, several or all axes. `dims` is a tuple of axes, already checked."""

from typing import Any

import numpy as np

from tinygrad_llm.autograd import Array, Function
from tinygrad_llm.ops._args import axes


def _expanded(reduced: Array, dims: tuple[int, ...], keepdim: bool) -> Array:
    """Give a reduced array its axes of length 1 back, so that it broadcasts against the input."""
    return reduced if keepdim or not reduced.ndim and not dims else np.expand_dims(reduced, dims)


def _count(shape: tuple[int, ...], dims: tuple[int, ...]) -> int:
    return int(np.prod([shape[d] for d in dims], dtype=np.int64)) if dims else 1


class _Reduction(Function):
    """Holds what every backward here starts from: the output gradient, spread over the input."""

    def reduce(self, x: Array, dims: tuple[int, ...], keepdim: bool) -> tuple[int, ...]:
        self.shape, self.keepdim = x.shape, keepdim
        self.dims = axes(dims, x.shape)
        return self.dims

    def spread(self, reduced: Array) -> Array:
        return _expanded(reduced, self.dims, self.keepdim)


class Sum(_Reduction):
    def forward(self, x: Array, dims: tuple[int, ...], keepdim: bool = False) -> Array:
        self.reduce(x, dims, keepdim)
        if x.dtype.kind == "f":
            # float16 would round at every addition: NumPy accumulates in the dtype it is given.
            wide = np.float32 if x.dtype == np.float16 else None
            out = x.sum(axis=self.dims, keepdims=keepdim, dtype=wide)
            return out.astype(x.dtype) if wide else out
        return x.sum(axis=self.dims, keepdims=keepdim, dtype=np.int64)

    def backward(self, dout: Array) -> Array:
        return np.broadcast_to(self.spread(dout), self.shape)


class Mean(_Reduction):
    def forward(self, x: Array, dims: tuple[int, ...], keepdim: bool = False) -> Array:
        self.reduce(x, dims, keepdim)
        self.n = _count(x.shape, self.dims)
        if self.n == 0:
            return np.full_like(x, np.nan, shape=x.sum(axis=self.dims, keepdims=keepdim).shape)
        return x.mean(axis=self.dims, keepdims=keepdim)

    def backward(self, dout: Array) -> Array:
        return np.broadcast_to(self.spread(dout / self.n), self.shape)


class Var(_Reduction):
    """Mean squared distance from the mean, dividing by n - correction (1: unbiased, 0: biased)."""

    def forward(
        self, x: Array, dims: tuple[int, ...], keepdim: bool = False, correction: float = 1
    ) -> Array:
        self.reduce(x, dims, keepdim)
        self.n = _count(x.shape, self.dims) - correction
        if _count(x.shape, self.dims) == 0:
            return np.full_like(x, np.nan, shape=x.sum(axis=self.dims, keepdims=keepdim).shape)
        self.centred = x - x.mean(axis=self.dims, keepdims=True)
        total = np.square(self.centred).sum(axis=self.dims, keepdims=keepdim)
        with np.errstate(divide="ignore", invalid="ignore"):
            # One value has no unbiased variance: 0 / 0 is nan, as in PyTorch.
            return total / total.dtype.type(max(self.n, 0))

    def backward(self, dout: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = dout * dout.dtype.type(2) / dout.dtype.type(max(self.n, 0))
            return self.spread(scale) * self.centred


class Std(Var):
    def forward(
        self, x: Array, dims: tuple[int, ...], keepdim: bool = False, correction: float = 1
    ) -> Array:
        self.out = np.sqrt(super().forward(x, dims, keepdim, correction))
        return self.out

    def backward(self, dout: Array) -> Array:
        # d sqrt(v) = dv / (2 sqrt(v)). Equal values: v = 0, whose slope is taken as 0.
        safe = np.where(self.out == 0, 1, 2 * self.out).astype(dout.dtype)
        return super().backward(np.where(self.out == 0, 0, dout / safe).astype(dout.dtype))


class Amax(_Reduction):
    """The largest value; among equal ones the gradient is shared evenly."""

    def forward(self, x: Array, dims: tuple[int, ...], keepdim: bool = False) -> Array:
        self.reduce(x, dims, keepdim)
        self.x = x
        self.out = self.extremum(x, keepdim)
        return self.out

    def extremum(self, x: Array, keepdim: bool) -> Array:
        return x.max(axis=self.dims, keepdims=keepdim)

    def backward(self, dout: Array) -> Array:
        chosen = self.x == self.spread(self.out)
        count = chosen.sum(axis=self.dims, keepdims=True).astype(dout.dtype)
        return self.spread(dout) * chosen / count


class Amin(Amax):
    def extremum(self, x: Array, keepdim: bool) -> Array:
        return x.min(axis=self.dims, keepdims=keepdim)


class LogSumExp(_Reduction):
    """log(sum(exp(x))), with the maximum taken out so that nothing overflows."""

    def forward(self, x: Array, dims: tuple[int, ...], keepdim: bool = False) -> Array:
        self.reduce(x, dims, keepdim)
        self.x = x
        largest = x.max(axis=self.dims, keepdims=True)
        # All -inf: -inf - -inf would be nan where the answer is -inf.
        largest = np.where(np.isinf(largest), x.dtype.type(0), largest)
        with np.errstate(divide="ignore"):
            out = np.log(np.exp(x - largest).sum(axis=self.dims, keepdims=True)) + largest
        self.out = out if keepdim else out.squeeze(self.dims)
        return self.out

    def backward(self, dout: Array) -> Array:
        out = self.spread(self.out)
        finite = np.where(np.isinf(out), out.dtype.type(0), out)
        return self.spread(dout) * np.exp(self.x - finite)


class Cumsum(Function):
    def forward(self, x: Array, dim: int) -> Array:
        self.dim = dim
        if not x.ndim:
            return x.copy()
        return np.cumsum(x, axis=dim, dtype=x.dtype if x.dtype.kind == "f" else np.int64)

    def backward(self, dout: Array) -> Any:
        if not dout.ndim:
            return dout
        # Element i is part of every later sum: add up from the end.
        return np.flip(
            np.cumsum(np.flip(dout, self.dim), axis=self.dim, dtype=dout.dtype), self.dim
        )
