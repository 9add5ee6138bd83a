"""Scaled dot-product attention as one operation that never keeps the matrix of probabilities."""

import math
from typing import Any

import numpy as np

from tinygrad_llm.autograd import Array, Function, unbroadcast
from tinygrad_llm.device import kernel


def _four(x: Array) -> Array:
    """(..., H, T, D) -> (B, H, T, D); missing axes in front count as 1."""
    if x.ndim == 4:
        return x
    batch = math.prod(x.shape[:-3])
    return x.reshape(batch, *(1,) * max(0, 3 - x.ndim), *x.shape[-3:])


class Attention(Function):
    """softmax(scale q k^T + mask) v. q: (..., H, Tq, D), k: (..., G, Tk, D), v: (..., G, Tk, E)."""

    def forward(
        self,
        q: Array,
        k: Array,
        v: Array,
        mask: Array | None,
        causal: bool,
        offset: int,
        scale: float | None,
        dropout_p: float,
        seed: int,
        stream: int,
    ) -> Array:
        self.shapes = q.shape, k.shape, v.shape
        self.q, self.k, self.v = _four(q), _four(k), _four(v)
        self.mask = mask
        self.wide_mask: tuple[int, ...] | None = None
        self.mask_shape: tuple[int, ...] = ()
        if mask is not None:
            self.mask_shape = mask.shape
            if q.ndim > 4 and mask.ndim > 3:  # several batch axes to broadcast against
                wide = (*q.shape[:-2], *mask.shape[-2:])
                self.wide_mask = np.broadcast_shapes(mask.shape, wide)
                self.mask = _four(np.broadcast_to(mask, self.wide_mask))
        self.settings = causal, offset, scale, dropout_p, seed, stream
        self.out, self.logsumexp = kernel("attention", "attention_forward", q)(
            self.q, self.k, self.v, self.mask, *self.settings
        )
        if q.ndim == 4:
            return self.out
        return self.out.reshape(*q.shape[:-1], v.shape[-1])

    def backward(self, dout: Array) -> Any:
        dq, dk, dv, dmask = kernel("attention", "attention_backward", dout)(
            _four(dout),
            self.q,
            self.k,
            self.v,
            self.out,
            self.logsumexp,
            self.mask,
            *self.settings,
            self.needs_grad[3],
        )
        if dmask is not None and self.wide_mask is not None:
            dmask = unbroadcast(dmask.reshape(self.wide_mask), self.mask_shape)
        gradients = zip((dq, dk, dv), self.shapes, strict=True)
        return *(d if d.shape == shape else d.reshape(shape) for d, shape in gradients), dmask
