"""Smooth activations, elementwise: GELU (Hendrycks and Gimpel 2016), SiLU and SwiGLU.

    gelu(x) = x Phi(x), Phi the distribution function of the normal law
    silu(x) = x sigmoid(x)
    swiglu(gate, up) = silu(gate) up   (Shazeer, "GLU variants improve Transformer", 2020)

backward takes the input, not the output: a slope cannot be read off the output of a function that
is not monotone. float16 is computed in float32.
"""

import math
from typing import Any

import numpy as np

from .._blocks import flat_blocks
from .erf import erf as erf_forward
from .erf import erf_of_ratio

__all__ = [
    "erf_forward",
    "gelu_backward",
    "gelu_forward",
    "silu_backward",
    "silu_forward",
    "swiglu_backward",
    "swiglu_forward",
]

Array = Any

ROOT = math.sqrt(2 / math.pi)
CUBIC = 0.044715  # Hendrycks and Gimpel's fit; GPT-2 was trained with it


def _flat(*arrays: Array) -> list[Array]:
    """Each as a contiguous 1-d array, float16 widened to float32."""
    wide = np.float32 if arrays[0].dtype == np.float16 else arrays[0].dtype
    return [np.ascontiguousarray(a, dtype=wide).reshape(-1) for a in arrays]


def _tanh_argument(x: Array) -> tuple[Array, Array]:
    """sqrt(2/pi) (x + 0.044715 x^3) as x * p, and x^2; x is held within +-40, where tanh is 1."""
    squared = np.clip(x, -40, 40)  # the powers of a large x would overflow
    squared *= squared
    p = np.multiply(squared, CUBIC * ROOT)
    p += ROOT
    p *= x
    return p, squared


def _gelu_block(x: Array, approximate: str, out: Array) -> None:
    """x: (n,) -> out: (n,) = x/2 (1 + erf(x/sqrt 2)), or with tanh(...) in the place of erf."""
    if approximate == "tanh":
        t, _ = _tanh_argument(x)
        np.tanh(t, out=t)
    else:
        t = erf_of_ratio(x)
    t += 1
    t *= 0.5  # (n,): Phi(x)
    np.multiply(t, x, out=out)


def _gelu_slope(x: Array, approximate: str) -> Array:
    """x: (n,) -> (n,): d gelu / dx = Phi(x) + x Phi'(x)."""
    if approximate == "tanh":
        t, squared = _tanh_argument(x)
        np.tanh(t, out=t)
        inner = squared  # d argument / dx = sqrt(2/pi) (1 + 3 * 0.044715 x^2), times x
        inner *= 3 * CUBIC * ROOT
        inner += ROOT
        inner *= x
        density = np.multiply(t, t)
        np.subtract(1, density, out=density)  # d tanh = 1 - tanh^2
        density *= inner
    else:
        t = erf_of_ratio(x)
        density = np.clip(x, -40, 40)
        density *= density
        density *= -0.5
        np.exp(density, out=density)
        density *= x
        density *= ROOT  # 2 x exp(-x^2/2) / sqrt(2 pi)
    t += 1
    t += density
    t *= 0.5
    return t


def gelu_forward(x: Array, approximate: str = "none") -> Array:
    """x: any shape -> out: the same. approximate: "none" (exact) or "tanh"."""
    out = np.empty(x.shape, x.dtype)
    (xs,), outs = _flat(x), out.reshape(-1)
    for block in flat_blocks(x.size):
        if outs.dtype == xs.dtype:
            _gelu_block(xs[block], approximate, outs[block])
        else:
            wide = np.empty_like(xs[block])
            _gelu_block(xs[block], approximate, wide)
            outs[block] = wide
    return out


def gelu_backward(dout: Array, x: Array, approximate: str = "none") -> Array:
    """dout, x: any shape -> dx: the same."""
    dx = np.empty(x.shape, x.dtype)
    (xs, douts), dxs = _flat(x, dout), dx.reshape(-1)
    for block in flat_blocks(x.size):
        slope = _gelu_slope(xs[block], approximate)
        np.multiply(slope, douts[block], out=dxs[block], casting="same_kind")
    return dx


def _sigmoid(x: Array) -> Array:
    """x: (n,) -> 1 / (1 + exp(-x)). exp may overflow to inf: its reciprocal is the right 0."""
    out = np.negative(x)
    with np.errstate(over="ignore"):
        np.exp(out, out=out)
    out += 1
    return np.divide(1, out, out=out)


def _silu_slope(x: Array, sigmoid: Array) -> Array:
    """x, sigmoid(x): (n,) -> (n,): sigmoid (1 + x (1 - sigmoid))."""
    slope = np.subtract(1, sigmoid)
    slope *= x
    slope += 1
    slope *= sigmoid
    return slope


def silu_forward(x: Array) -> Array:
    """x: any shape -> out: the same."""
    out = np.empty(x.shape, x.dtype)
    (xs,), outs = _flat(x), out.reshape(-1)
    for block in flat_blocks(x.size):
        np.multiply(xs[block], _sigmoid(xs[block]), out=outs[block], casting="same_kind")
    return out


def silu_backward(dout: Array, x: Array) -> Array:
    """dout, x: any shape -> dx: the same."""
    dx = np.empty(x.shape, x.dtype)
    (xs, douts), dxs = _flat(x, dout), dx.reshape(-1)
    for block in flat_blocks(x.size):
        slope = _silu_slope(xs[block], _sigmoid(xs[block]))
        np.multiply(slope, douts[block], out=dxs[block], casting="same_kind")
    return dx


def swiglu_forward(gate: Array, up: Array) -> Array:
    """gate, up: the same shape -> out = silu(gate) * up."""
    out = np.empty(gate.shape, gate.dtype)
    (gates, ups), outs = _flat(gate, up), out.reshape(-1)
    for block in flat_blocks(gate.size):
        s = _sigmoid(gates[block])
        s *= gates[block]
        np.multiply(s, ups[block], out=outs[block], casting="same_kind")
    return out


def swiglu_backward(dout: Array, gate: Array, up: Array) -> tuple[Array, Array]:
    """dout, gate, up: the same shape -> dgate, dup."""
    dgate, dup = np.empty(gate.shape, gate.dtype), np.empty(up.shape, up.dtype)
    gates, ups, douts = _flat(gate, up, dout)
    dgates, dups = dgate.reshape(-1), dup.reshape(-1)
    for block in flat_blocks(gate.size):
        s = _sigmoid(gates[block])
        slope = _silu_slope(gates[block], s)
        slope *= ups[block]
        np.multiply(slope, douts[block], out=dgates[block], casting="same_kind")
        s *= gates[block]
        np.multiply(s, douts[block], out=dups[block], casting="same_kind")
    return dgate, dup
