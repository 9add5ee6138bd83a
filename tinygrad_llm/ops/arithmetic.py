"""Operations of two tensors, element by element. An operand may also be a Python number.

Gradients have the shape of the output here; the engine sums them over broadcast axes
(autograd.unbroadcast), and tensor operands arrive with one common dtype (Tensor casts them).
"""

from typing import Any

import numpy as np

from tinygrad_llm.autograd import Array, Function


class Add(Function):
    broadcasts = True

    def forward(self, a: Array, b: Array) -> Array:
        return a + b

    def backward(self, dout: Array) -> Any:
        return dout, dout


class Sub(Function):
    broadcasts = True

    def forward(self, a: Array, b: Array) -> Array:
        return a - b

    def backward(self, dout: Array) -> Any:
        return dout, -dout if self.needs_grad[1] else None


class Mul(Function):
    broadcasts = True

    def forward(self, a: Array, b: Array) -> Array:
        # Keep each factor only if the other one wants a gradient.
        if self.needs_grad[1]:
            self.a = a
        if self.needs_grad[0]:
            self.b = b
        return a * b

    def backward(self, dout: Array) -> Any:
        da = dout * self.b if self.needs_grad[0] else None
        db = dout * self.a if self.needs_grad[1] else None
        return da, db


class Div(Function):
    broadcasts = True

    def forward(self, a: Array, b: Array) -> Array:
        if self.needs_grad[1]:
            self.a = a
        self.b = b
        return a / b

    def backward(self, dout: Array) -> Any:
        da = dout / self.b
        # d(a / b) / db = -(a / b) / b: dividing twice does not overflow where b * b would.
        db = -dout * (self.a / self.b / self.b) if self.needs_grad[1] else None
        return da if self.needs_grad[0] else None, db


class Pow(Function):
    broadcasts = True

    def forward(self, a: Array, b: Array) -> Array:
        self.a, self.b = a, b
        out = a**b
        if self.needs_grad[1]:
            self.out = out
        return out

    def backward(self, dout: Array) -> Any:
        da = dout * self._slope() if self.needs_grad[0] else None
        db = None
        if self.needs_grad[1]:
            # d/db a^b = a^b log a; at a = 0 that is 0 for b >= 0 (the limit), not 0 * -inf.
            base = np.asarray(self.a, dout.dtype)
            at_zero = (base == 0) & (self.b >= 0)
            with np.errstate(divide="ignore", invalid="ignore"):
                db = np.where(at_zero, dout.dtype.type(0), dout * self.out * np.log(base))
        return da, db

    def _slope(self) -> Array:
        """b a^(b-1), and 0 for b = 0: even at a = 0, where a^(b-1) is infinite."""
        a, b = self.a, self.b
        with np.errstate(divide="ignore", invalid="ignore"):
            if isinstance(b, (int, float)):
                return b * a ** (b - 1) if b != 0 else np.zeros_like(a)
            return np.where(b == 0, b.dtype.type(0), b * a ** (b - 1))


class Remainder(Function):
    """Python's and PyTorch's %: the result has the sign of the divisor."""

    broadcasts = True

    def forward(self, a: Array, b: Array) -> Array:
        if self.needs_grad[1]:
            self.quotient = np.floor_divide(a, b)
        return np.remainder(a, b)

    def backward(self, dout: Array) -> Any:
        return dout, -dout * self.quotient if self.needs_grad[1] else None


class _Extremum(Function):
    """max or min of two; where they are equal each gets half, as in PyTorch."""

    broadcasts = True
    a: Array
    b: Array

    def backward(self, dout: Array) -> Any:
        zero = dout.dtype.type(0)
        half = np.where(self.a == self.b, dout / 2, dout)
        da = np.where(self.loses(self.a, self.b), zero, half) if self.needs_grad[0] else None
        db = np.where(self.loses(self.b, self.a), zero, half) if self.needs_grad[1] else None
        return da, db

    def loses(self, a: Array, b: Array) -> Array:
        """Where a is not the result (and not NaN, which is a result)."""
        raise NotImplementedError


class Maximum(_Extremum):
    def forward(self, a: Array, b: Array) -> Array:
        self.a, self.b = a, b
        return np.maximum(a, b)

    def loses(self, a: Array, b: Array) -> Array:
        return a < b


class Minimum(_Extremum):
    def forward(self, a: Array, b: Array) -> Array:
        self.a, self.b = a, b
        return np.minimum(a, b)

    def loses(self, a: Array, b: Array) -> Array:
        return a > b


class Where(Function):
    broadcasts = True

    def forward(self, condition: Array, a: Array, b: Array) -> Array:
        self.condition = condition
        return np.where(condition, a, b)

    def backward(self, dout: Array) -> Any:
        zero = dout.dtype.type(0)
        da = np.where(self.condition, dout, zero) if self.needs_grad[1] else None
        db = np.where(self.condition, zero, dout) if self.needs_grad[2] else None
        return None, da, db
