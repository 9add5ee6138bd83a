"""Dropout (Srivastava et al. 2014): zero elements with probability p, divide the rest by 1 - p.

The mask is a function of (seed, stream, position), see bits.py: backward makes it again.
"""

from typing import Any

import numpy as np

from .._blocks import flat_blocks
from .bits import positions, random_bits, stream_key, threshold

Array = Any


def dropout_forward(x: Array, p: float, seed: int, stream: int) -> Array:
    """x: any shape, 0 <= p <= 1 -> out: the same. Position: the C-order index of the element."""
    if p >= 1:
        return np.zeros(x.shape, x.dtype)
    key, limit = stream_key(seed, stream), np.uint32(threshold(p))
    out = np.empty(x.shape, x.dtype)
    xs, outs = np.ascontiguousarray(x).reshape(-1), out.reshape(-1)
    for block in flat_blocks(x.size):
        kept = random_bits(positions(block.start, block.stop), key) >= limit
        np.multiply(xs[block], 1 / (1 - p), out=outs[block])
        outs[block] *= kept
    return out


def dropout_backward(dout: Array, p: float, seed: int, stream: int) -> Array:
    """dout: any shape -> dx: the same. The mask is linear: what it did to x, it does to dout."""
    return dropout_forward(dout, p, seed, stream)
