"""Turning pairs of features by angles that grow with the position."""

from tinygrad_llm.autograd import Array, Function
from tinygrad_llm.device import kernel


class Rotary(Function):
    """x: (..., T, D), cos and sin: (T, R/2) or broadcastable; they get no gradient."""

    def forward(self, x: Array, cos: Array, sin: Array, interleaved: bool = False) -> Array:
        self.cos, self.sin, self.interleaved = cos, sin, interleaved
        return kernel("rotary", "rotary_forward", x)(x, cos, sin, interleaved)

    def backward(self, dout: Array) -> Array:
        return kernel("rotary", "rotary_backward", dout)(dout, self.cos, self.sin, self.interleaved)
