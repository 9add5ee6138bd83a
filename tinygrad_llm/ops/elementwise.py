"""Operations of one tensor, element by element. x is floating point (Tensor casts integers)."""

from typing import Any

import numpy as np

from tinygrad_llm.autograd import Array, Function


class Neg(Function):
    def forward(self, x: Array) -> Array:
        return -x

    def backward(self, dout: Array) -> Array:
        return -dout


class Abs(Function):
    def forward(self, x: Array) -> Array:
        self.x = x
        return np.abs(x)

    def backward(self, dout: Array) -> Array:
        return dout * np.sign(self.x)  # 0 at 0, one of the subgradients


class Exp(Function):
    def forward(self, x: Array) -> Array:
        self.out = np.exp(x)
        return self.out

    def backward(self, dout: Array) -> Array:
        return dout * self.out


class Log(Function):
    def forward(self, x: Array) -> Array:
        self.x = x
        return np.log(x)

    def backward(self, dout: Array) -> Array:
        return dout / self.x


class Sqrt(Function):
    def forward(self, x: Array) -> Array:
        self.out = np.sqrt(x)
        return self.out

    def backward(self, dout: Array) -> Array:
        return dout / (2 * self.out)


class Rsqrt(Function):
    """1 / sqrt(x); its slope is -1/2 of its own cube."""

    def forward(self, x: Array) -> Array:
        self.out = 1 / np.sqrt(x)
        return self.out

    def backward(self, dout: Array) -> Array:
        return dout * (-0.5 * self.out * self.out * self.out)


class Sin(Function):
    def forward(self, x: Array) -> Array:
        self.x = x
        return np.sin(x)

    def backward(self, dout: Array) -> Array:
        return dout * np.cos(self.x)


class Cos(Function):
    def forward(self, x: Array) -> Array:
        self.x = x
        return np.cos(x)

    def backward(self, dout: Array) -> Array:
        return dout * -np.sin(self.x)


class Tanh(Function):
    def forward(self, x: Array) -> Array:
        self.out = np.tanh(x)
        return self.out

    def backward(self, dout: Array) -> Array:
        return dout * (1 - self.out * self.out)


class Sigmoid(Function):
    """1 / (1 + exp(-x)), with only exp(-|x|), which cannot overflow."""

    def forward(self, x: Array) -> Array:
        e = np.exp(-np.abs(x))
        self.out = np.where(x >= 0, x.dtype.type(1), e) / (1 + e)
        return self.out

    def backward(self, dout: Array) -> Array:
        return dout * (self.out * (1 - self.out))


class Relu(Function):
    """max(x, 0); the slope at 0 is taken as 0. Not a number stays not a number."""

    def forward(self, x: Array) -> Array:
        self.out = np.maximum(x, 0)
        return self.out

    def backward(self, dout: Array) -> Array:
        return dout * (self.out > 0)


class Clamp(Function):
    """min and max are numbers, or None; at the bounds the slope is 1."""

    def forward(self, x: Array, min: Any = None, max: Any = None) -> Array:
        self.x, self.min, self.max = x, min, max
        return np.clip(x, min, max)

    def backward(self, dout: Array) -> Array:
        inside = True if self.min is None else self.x >= self.min
        if self.max is not None:
            inside = inside & (self.x <= self.max)
        return dout * inside


class Cast(Function):
    """Another dtype; the gradient is cast back."""

    def forward(self, x: Array, dtype: np.dtype) -> Array:
        self.dtype = x.dtype
        return x.astype(dtype)

    def backward(self, dout: Array) -> Array:
        return dout.astype(self.dtype)


class Clone(Function):
    def forward(self, x: Array) -> Array:
        return x.copy()

    def backward(self, dout: Array) -> Array:
        return dout
