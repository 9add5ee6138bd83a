"""Softmax and its logarithm along any axis; the kernels work along the last.

The formulas, forward and backward, stand in `kernels/softmax/reference.py`.
"""

from typing import Any

from tinygrad_llm.autograd import Array, Function
from tinygrad_llm.device import kernel


def along_last(function: Any, dim: int, *arrays: Array) -> Array:
    """Call a kernel with axis `dim` of every array at the end, and put it back.

    A swap is enough: the kernel treats all other axes alike. A 0-d array counts as one element.
    """
    x = arrays[0]
    if x.ndim == 0:
        return function(*(a.reshape(1) for a in arrays)).reshape(())
    if dim == x.ndim - 1:
        return function(*arrays)
    return function(*(a.swapaxes(dim, -1) for a in arrays)).swapaxes(dim, -1)


class Softmax(Function):
    def forward(self, x: Array, dim: int) -> Array:
        self.dim = dim
        self.out = along_last(kernel("softmax", "softmax_forward", x), dim, x)
        return self.out

    def backward(self, dout: Array) -> Array:
        # d out_i / d x_j = out_i (1[i = j] - out_j); summed over i with dout_i:
        # dx = out * (dout - sum(dout * out))
        function = kernel("softmax", "softmax_backward", dout)
        return along_last(function, self.dim, dout, self.out)


class LogSoftmax(Function):
    def forward(self, x: Array, dim: int) -> Array:
        self.dim = dim
        self.out = along_last(kernel("softmax", "log_softmax_forward", x), dim, x)
        return self.out

    def backward(self, dout: Array) -> Array:
        # d out_i / d x_j = 1[i = j] - softmax(x)_j; summed over i with dout_i:
        # dx = dout - exp(out) * sum(dout)
        function = kernel("softmax", "log_softmax_backward", dout)
        return along_last(function, self.dim, dout, self.out)
