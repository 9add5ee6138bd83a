"""Reductions over one, several or all axes. `dims` is a tuple of axes, already checked."""

import math
from typing import Any

import numpy as np

from tinygrad_llm.autograd import Array, Function

Dims = tuple[int, ...]


class _Reduction(Function):
    """What every reduction notes of its input, and what its backward starts from."""

    def note(self, x: Array, dims: Dims, keepdim: bool) -> None:
        self.shape, self.dims, self.keepdim = x.shape, dims, keepdim

    def count(self) -> int:
        """How many elements meet in one output element."""
        return math.prod([self.shape[d] for d in self.dims])

    def spread(self, reduced: Array) -> Array:
        """Give a reduced array its axes of length 1 back: it then broadcasts against the input."""
        if self.keepdim or not self.dims:
            return reduced
        return reduced.reshape([1 if i in self.dims else n for i, n in enumerate(self.shape)])

    def total(self, x: Array, divisor: float = 1) -> Array:
        """The sum, divided. NumPy adds up in the dtype of x: float16 would round at every step."""
        if x.dtype.itemsize == 2:
            wide = x.sum(axis=self.dims, keepdims=self.keepdim, dtype=np.float32)
            return (wide / np.float32(divisor)).astype(x.dtype)
        out = x.sum(axis=self.dims, keepdims=self.keepdim)
        return out if divisor == 1 else out / divisor

    def fill(self, reduced: Array) -> Array:
        """Every input element gets the value of the output element that it went into."""
        out = np.empty_like(reduced, shape=self.shape)
        out[...] = self.spread(reduced)
        return out


class Sum(_Reduction):
    def forward(self, x: Array, dims: Dims, keepdim: bool = False) -> Array:
        self.note(x, dims, keepdim)
        if x.dtype.kind != "f":
            return x.sum(axis=dims, keepdims=keepdim, dtype=np.int64)
        return self.total(x)

    def backward(self, dout: Array) -> Array:
        return self.fill(dout)


class Mean(_Reduction):
    def forward(self, x: Array, dims: Dims, keepdim: bool = False) -> Array:
        self.note(x, dims, keepdim)
        self.n = self.count() or math.nan  # the mean of nothing is nan, as in PyTorch
        return self.total(x, self.n)

    def backward(self, dout: Array) -> Array:
        return self.fill(dout / self.n)


class Var(_Reduction):
    """Mean squared distance from the mean, dividing by n - correction (1: unbiased, 0: biased)."""

    def forward(self, x: Array, dims: Dims, keepdim: bool = False, correction: float = 1) -> Array:
        self.note(x, dims, keepdim)
        # One value has no unbiased variance: 0 / 0 is nan, as in PyTorch.
        self.n = max(self.count() - correction, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = x.sum(axis=dims, keepdims=True) / x.dtype.type(self.count())
            self.centred = x - mean
            total = np.square(self.centred).sum(axis=dims, keepdims=keepdim)
            return total / x.dtype.type(self.n)

    def backward(self, dout: Array) -> Array:
        # The mean moves with x as well, but the distances from it sum to zero: no second term.
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.spread(dout * dout.dtype.type(2) / dout.dtype.type(self.n)) * self.centred


class Std(Var):
    def forward(self, x: Array, dims: Dims, keepdim: bool = False, correction: float = 1) -> Array:
        self.out = np.sqrt(super().forward(x, dims, keepdim, correction))
        return self.out

    def backward(self, dout: Array) -> Array:
        # d sqrt(v) = dv / (2 sqrt(v)). Equal values: v = 0, where the slope is taken as 0.
        zero = self.out == 0
        slope = np.where(zero, dout.dtype.type(0), dout / np.where(zero, 1, 2 * self.out))
        return super().backward(slope.astype(dout.dtype, copy=False))


class Norm(_Reduction):
    """sqrt(sum(x^2)); its slope x / norm is taken as 0 where the norm is 0."""

    def forward(self, x: Array, dims: Dims, keepdim: bool = False) -> Array:
        self.note(x, dims, keepdim)
        self.x = x
        self.out = np.sqrt(np.square(x).sum(axis=dims, keepdims=keepdim))
        return self.out

    def backward(self, dout: Array) -> Array:
        out = self.spread(np.asarray(self.out))
        return self.spread(dout) * (self.x / np.where(out == 0, out.dtype.type(1), out))


class Amax(_Reduction):
    """The largest value; among equal ones the gradient is shared evenly."""

    def forward(self, x: Array, dims: Dims, keepdim: bool = False) -> Array:
        self.note(x, dims, keepdim)
        self.x = x
        self.out = np.asarray(self.extremum(x, dims, keepdim))
        return self.out

    def extremum(self, x: Array, dims: Dims, keepdim: bool) -> Array:
        return x.max(axis=dims, keepdims=keepdim)

    def backward(self, dout: Array) -> Array:
        chosen = self.x == self.spread(self.out)
        count = chosen.sum(axis=self.dims, keepdims=True, dtype=dout.dtype)
        return self.spread(dout) * (chosen / count)


class Amin(Amax):
    def extremum(self, x: Array, dims: Dims, keepdim: bool) -> Array:
        return x.min(axis=dims, keepdims=keepdim)


class LogSumExp(_Reduction):
    """log(sum(exp(x))), with the maximum taken out so that nothing overflows."""

    def forward(self, x: Array, dims: Dims, keepdim: bool = False) -> Array:
        self.note(x, dims, keepdim)
        largest = x.max(axis=dims, keepdims=True, initial=-np.inf)
        # All -inf: -inf - -inf would be nan where the answer is -inf.
        largest = np.where(np.isinf(largest), x.dtype.type(0), largest)
        with np.errstate(divide="ignore", over="ignore"):
            e = np.exp(x - largest)
            total = e.sum(axis=dims, keepdims=True)
            out = np.log(total) + largest
        if self.needs_grad[0]:
            # The slope is softmax. exp(x - out) would be it too, but rounded as coarsely as out.
            self.slope = e / np.where(total == 0, x.dtype.type(1), total)
        return out if keepdim else out.squeeze(dims)

    def backward(self, dout: Array) -> Array:
        return self.spread(dout) * self.slope


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
        return np.flip(np.flip(dout, self.dim).cumsum(self.dim, dtype=dout.dtype), self.dim)
