"""Dropout in one pass: the mask is made in registers and never touches memory. See bits.py."""

from typing import Any

import numpy as np

from .._arrays import F32, flat
from .._jit import compiled, instead_of
from .._scalar import ZERO, f32, kept
from .._threads import share
from . import reference
from .bits import stream_key, threshold

Array = Any

SMALL = 2048  # elements below which NumPy is no slower
GRAIN = 1 << 16  # elements a thread is woken for
_V = "float32[::1]"


@compiled(f"void({_V}, {_V}, float64, uint32, uint32, uint32, intp, intp)")
def _dropout(x, out, scale, key0, key1, limit, first, last):  # type: ignore[no-untyped-def]
    x, out = x[first:last], out[first:last]
    scale, start = f32(scale), np.uint32(first)
    for i in range(x.size):
        # A product, not a choice: what is dropped of inf or nan is nan, as in the reference.
        out[i] = x[i] * scale * (f32(1) if kept(start, np.uint32(i), key0, key1, limit) else ZERO)


@instead_of(reference.dropout_forward)
def dropout_forward(x: Array, p: float, seed: int, stream: int) -> Array:
    if x.dtype != F32 or x.size < SMALL or x.size >= 1 << 32 or p >= 1:
        return reference.dropout_forward(x, p, seed, stream)
    out = np.empty(x.shape, F32)
    xs, outs = flat(x), out.reshape(-1)
    key = [np.uint32(k) for k in stream_key(seed, stream)]
    limit, scale = np.uint32(threshold(p)), 1 / (1 - p)
    share(lambda a, b: _dropout(xs, outs, scale, *key, limit, a, b), x.size, GRAIN)
    return out


def dropout_backward(dout: Array, p: float, seed: int, stream: int) -> Array:
    return dropout_forward(dout, p, seed, stream)
