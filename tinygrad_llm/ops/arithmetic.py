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
        self.a = a if self.needs_grad[1] else None
        self.b = b if self.needs_grad[0] else None
        return a * b

    def backward(self, dout: Array) -> Any:
        da = dout * self.b if self.needs_grad[0] else None
        db = dout * self.a if self.needs_grad[1] else None
        return da, db


class Div(Function):
    broadcasts = True

    def forward(self, a: Array, b: Array) -> Array:
        self.a = a if self.needs_grad[1] else None
        self.b = b
        return a / b

    def backward(self, dout: Array) -> Any:
        da = dout / self.b
        db = -da * self.a / self.b if self.needs_grad[1] else None
        return da if self.needs_grad[0] else None, db


class Pow(Function):
    broadcasts = True

    def forward(self, a: Array, b: Array) -> Array:
        self.a, self.b = a, b
        self.out = a**b
        return self.out

    def backward(self, dout: Array) -> Any:
        da = db = None
        if self.needs_grad[0]:
            # d/da a^0 is 0 even at a = 0, where a^(b-1) is infinite.
            exponent = np.asarray(self.b)
            slope = np.where(exponent == 0, 0, self.a ** np.where(exponent == 0, 1, exponent - 1))
            da = (dout * (slope * self.b)).astype(dout.dtype, copy=False)
        if self.needs_grad[1]:
            # d/db a^b = a^b log a; at a = 0 that is 0 for b >= 0 (the limit), not 0 * -inf.
            base = np.asarray(self.a)
            defined = (base != 0) | (np.asarray(self.b) < 0)
            log = np.log(np.where(defined, base, 1))
            db = (dout * self.out * log).astype(dout.dtype, copy=False)
        return da, db


class Remainder(Function):
    """Python's and PyTorch's %: the result has the sign of the divisor."""

    broadcasts = True

    def forward(self, a: Array, b: Array) -> Array:
        self.quotient = np.floor_divide(a, b) if self.needs_grad[1] else None
        return np.remainder(a, b)

    def backward(self, dout: Array) -> Any:
        return dout, -dout * self.quotient if self.needs_grad[1] else None


class _Extremum(Function):
    """max or min of two; where they are equal each gets half, as in PyTorch."""

    broadcasts = True

    def share(self, a: Array, b: Array) -> Array:
        """1 where a is the result, 1/2 on a tie, 0 elsewhere."""
        raise NotImplementedError

    def backward(self, dout: Array) -> Any:
        share = self.share(self.a, self.b).astype(dout.dtype)
        return dout * share, dout * (1 - share) if self.needs_grad[1] else None


class Maximum(_Extremum):
    def forward(self, a: Array, b: Array) -> Array:
        self.a, self.b = a, b
        return np.maximum(a, b)

    def share(self, a: Array, b: Array) -> Array:
        return ((a > b) * 1.0 + (a >= b)) / 2


class Minimum(_Extremum):
    def forward(self, a: Array, b: Array) -> Array:
        self.a, self.b = a, b
        return np.minimum(a, b)

    def share(self, a: Array, b: Array) -> Array:
        return ((a < b) * 1.0 + (a <= b)) / 2


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
