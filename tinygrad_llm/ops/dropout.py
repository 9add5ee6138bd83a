"""Dropout; backward makes the mask again from its (seed, stream)."""

from tinygrad_llm.autograd import Array, Function
from tinygrad_llm.device import kernel


class Dropout(Function):
    def forward(self, x: Array, p: float, seed: int, stream: int) -> Array:
        self.settings = p, seed, stream
        return kernel("dropout", "dropout_forward", x)(x, *self.settings)

    def backward(self, dout: Array) -> Array:
        return kernel("dropout", "dropout_backward", dout)(dout, *self.settings)
