"""Normalisation over the last `ndim` axes, which weight and bias have too.

The formulas, forward and backward, stand in `kernels/layer_norm/reference.py`.
"""

import math
from typing import Any

from tinygrad_llm.autograd import Array, Function
from tinygrad_llm.device import kernel


def _joined(x: Array | None, ndim: int) -> Array | None:
    """The last `ndim` axes as one: (..., a, b) -> (..., a * b)."""
    if x is None or ndim == 1:
        return x
    lead = x.shape[: x.ndim - ndim]
    return x.reshape(*lead, math.prod(x.shape[x.ndim - ndim :]))


class LayerNorm(Function):
    """(x - mean) / sqrt(var + eps) * weight + bias; weight and bias may be None."""

    def forward(
        self, x: Array, weight: Array | None, bias: Array | None, ndim: int, eps: float
    ) -> Array:
        self.shape, self.trailing = x.shape, x.shape[x.ndim - ndim :]
        self.x, self.weight = _joined(x, ndim), _joined(weight, ndim)
        out, self.mean, self.rstd = kernel("layer_norm", "layer_norm_forward", x)(
            self.x, self.weight, _joined(bias, ndim), eps
        )
        return out if ndim == 1 else out.reshape(self.shape)

    def backward(self, dout: Array) -> Any:
        # y = (x - mean) * rstd, g = dout * weight: dx = rstd * (g - mean(g) - y * mean(g * y)).
        # Over all rows: dweight = sum(dout * y), dbias = sum(dout).
        dx, dweight, dbias = kernel("layer_norm", "layer_norm_backward", dout)(
            _joined(dout, len(self.trailing)),
            self.x,
            self.weight,
            self.mean,
            self.rstd,
            tuple(self.needs_grad[:3]),
        )
        if len(self.trailing) == 1:
            return dx, dweight, dbias
        return (
            None if dx is None else dx.reshape(self.shape),
            None if dweight is None else dweight.reshape(self.trailing),
            None if dbias is None else dbias.reshape(self.trailing),
        )


class RMSNorm(Function):
    """x / sqrt(mean(x^2) + eps) * weight; weight may be None."""

    def forward(self, x: Array, weight: Array | None, ndim: int, eps: float) -> Array:
        self.shape, self.trailing = x.shape, x.shape[x.ndim - ndim :]
        self.x, self.weight = _joined(x, ndim), _joined(weight, ndim)
        out, self.rstd = kernel("layer_norm", "rms_norm_forward", x)(self.x, self.weight, eps)
        return out if ndim == 1 else out.reshape(self.shape)

    def backward(self, dout: Array) -> Any:
        # y = x * rstd, g = dout * weight: dx = rstd * (g - y * mean(g * y)).
        # Over all rows: dweight = sum(dout * y).
        dx, dweight = kernel("layer_norm", "rms_norm_backward", dout)(
            _joined(dout, len(self.trailing)),
            self.x,
            self.weight,
            self.rstd,
            tuple(self.needs_grad[:2]),
        )
        if len(self.trailing) == 1:
            return dx, dweight
        return (
            None if dx is None else dx.reshape(self.shape),
            None if dweight is None else dweight.reshape(self.trailing),
        )
