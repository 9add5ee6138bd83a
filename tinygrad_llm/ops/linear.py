"""The linear layer as one operation: one product of all rows, the bias added in place."""

from typing import Any

from tinygrad_llm.autograd import Array, Function
from tinygrad_llm.device import kernel


class Linear(Function):
    """x: (..., K), weight: (N, K), bias: (N,) or None -> x weight^T + bias: (..., N)."""

    def forward(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        self.x, self.weight = x, weight
        return kernel("matmul", "linear_forward", x)(x, weight, bias)

    def backward(self, dout: Array) -> Any:
        return kernel("matmul", "linear_backward", dout)(
            dout, self.x, self.weight, tuple(self.needs_grad[:3])
        )
