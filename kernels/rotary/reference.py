"""Rotary position embedding (Su et al., "RoFormer", 2021).

Features are taken in pairs, and pair i of a query or key at position t is turned by the angle
t * base^(-2i/D): the product of a query and a key then depends on how far apart they stand. There
are two conventions for which features make a pair, and checkpoints differ:

    interleaved  (x_0, x_1), (x_2, x_3), ...          RoFormer, GPT-J, Meta's Llama
    half-split   (x_0, x_D/2), (x_1, x_D/2+1), ...    GPT-NeoX, Hugging Face's Llama
"""

from typing import Any

import numpy as np

Array = Any


def _halves(x: Array, width: int, interleaved: bool) -> tuple[Array, Array]:
    """x: (..., D) -> views of the first and second members of the pairs, (..., width/2) each."""
    if interleaved:
        return x[..., 0:width:2], x[..., 1:width:2]
    return x[..., : width // 2], x[..., width // 2 : width]


def _rotate(x: Array, cos: Array, sin: Array, interleaved: bool, direction: int) -> Array:
    width = 2 * cos.shape[-1]  # features beyond are left as they are (GPT-J, GPT-NeoX)
    out = np.empty(x.shape, x.dtype)  # (..., D)
    a, b = _halves(x, width, interleaved)  # (..., width/2)
    out_a, out_b = _halves(out, width, interleaved)
    cos, sin = cos.astype(x.dtype, copy=False), sin.astype(x.dtype, copy=False)
    if direction < 0:
        sin = -sin
    np.multiply(a, cos, out=out_a)
    out_a -= b * sin
    np.multiply(b, cos, out=out_b)
    out_b += a * sin
    out[..., width:] = x[..., width:]
    return out


def rotary_forward(x: Array, cos: Array, sin: Array, interleaved: bool = False) -> Array:
    """x: (..., T, D), cos and sin: (T, R/2) or any shape that broadcasts -> out: (..., T, D)."""
    return _rotate(x, cos, sin, interleaved, +1)


def rotary_backward(dout: Array, cos: Array, sin: Array, interleaved: bool = False) -> Array:
    """dout: (..., T, D) -> dx: (..., T, D): a rotation is undone by the opposite angle."""
    return _rotate(dout, cos, sin, interleaved, -1)
