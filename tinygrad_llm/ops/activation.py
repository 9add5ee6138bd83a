"""Smooth activations as fused operations. relu, tanh and sigmoid are in `elementwise`."""

import math
from typing import Any

import numpy as np

from tinygrad_llm.autograd import Array, Function
from tinygrad_llm.device import kernel


class Gelu(Function):
    """x Phi(x), exactly (approximate="none") or by its "tanh" approximation."""

    def forward(self, x: Array, approximate: str = "none") -> Array:
        self.x, self.approximate = x, approximate
        return kernel("gelu", "gelu_forward", x)(x, approximate)

    def backward(self, dout: Array) -> Array:
        return kernel("gelu", "gelu_backward", dout)(dout, self.x, self.approximate)


class Erf(Function):
    """The error function, 2/sqrt(pi) * integral_0^x exp(-t^2) dt."""

    def forward(self, x: Array) -> Array:
        self.x = x
        return kernel("gelu", "erf_forward", x)(x)

    def backward(self, dout: Array) -> Array:
        return dout * np.exp(-self.x * self.x) * (2 / math.sqrt(math.pi))


class Silu(Function):
    """x sigmoid(x), also called swish."""

    def forward(self, x: Array) -> Array:
        self.x = x
        return kernel("gelu", "silu_forward", x)(x)

    def backward(self, dout: Array) -> Array:
        return kernel("gelu", "silu_backward", dout)(dout, self.x)


class Swiglu(Function):
    """silu(gate) * up; gate and up have one shape."""

    def forward(self, gate: Array, up: Array) -> Array:
        self.gate, self.up = gate, up
        return kernel("gelu", "swiglu_forward", gate)(gate, up)

    def backward(self, dout: Array) -> Any:
        return kernel("gelu", "swiglu_backward", dout)(dout, self.gate, self.up)


class Softplus(Function):
    """log(1 + exp(x)), whose slope is sigmoid(x). Only exp(-|x|), which cannot overflow, is used.

    Composed of relu and abs it would have the wrong slope at 0, where both have a corner.
    """

    def forward(self, x: Array) -> Array:
        self.x = x
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))

    def backward(self, dout: Array) -> Array:
        # sigmoid(x) = (1 + tanh(x/2)) / 2
        return dout * (0.5 * (1 + np.tanh(0.5 * self.x)))
