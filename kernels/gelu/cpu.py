"""Smooth activations in one pass over memory. Formulas and names: reference.py.

Both forms of GELU are x times a sigmoid: (1 + tanh(u)) / 2 = sigmoid(2u), which for negative u does
not subtract nearly equal numbers as the left side does.
"""

from typing import Any

import numpy as np

from .._arrays import F32, flat
from .._jit import compiled, instead_of
from .._scalar import HALF, ONE, TWO, ZERO, exp, f32, helper, sigmoid
from .._threads import share
from . import reference
from .erf import _TANH_SERIES

Array = Any

SMALL = 2048  # elements below which calling NumPy ten times is no slower
GRAIN = 1 << 16  # elements a thread is woken for

_ROOT = f32(reference.ROOT)
_CUBIC = f32(reference.ROOT * reference.CUBIC)
_SLOPE = f32(3 * reference.ROOT * reference.CUBIC)
_FAR, _BEYOND = f32(40), f32(10)  # tanh is 1 long before; powers of a large x would overflow
_S0, _S1, _S2, _S3, _S4, _S5, _S6 = (f32(c) for c in reversed(_TANH_SERIES))
_UNARY = "void(float32[::1], float32[::1], intp, intp)"
_BINARY = "void(float32[::1], float32[::1], float32[::1], intp, intp)"


@helper(fastmath={"contract"})
def _bounded_square(x, bound):  # type: ignore[no-untyped-def]
    size = abs(x)
    size = bound if size > bound else size
    return size * size


@helper(fastmath={"contract"})
def _phi(x):  # type: ignore[no-untyped-def]
    """The normal distribution function, by atanh(erf(x / sqrt 2)) / x; see erf.py."""
    q = _bounded_square(x, _BEYOND)
    p = _S6
    p = p * q + _S5
    p = p * q + _S4
    p = p * q + _S3
    p = p * q + _S2
    p = p * q + _S1
    p = p * q + _S0
    return sigmoid(TWO * x * p)


@compiled(_UNARY)
def _gelu_tanh(x, out, first, last):  # type: ignore[no-untyped-def]
    x, out = x[first:last], out[first:last]
    for i in range(x.size):
        v = x[i]
        out[i] = v * sigmoid(TWO * v * (_ROOT + _CUBIC * _bounded_square(v, _FAR)))


@compiled(_BINARY)
def _gelu_tanh_backward(dout, x, dx, first, last):  # type: ignore[no-untyped-def]
    dout, x, dx = dout[first:last], x[first:last], dx[first:last]
    for i in range(x.size):
        v = x[i]
        square = _bounded_square(v, _FAR)
        z = TWO * v * (_ROOT + _CUBIC * square)
        # s = sigmoid(|z|), and sigmoid(-|z|) = 1 - s as e * s: subtracting would lose its digits.
        e = exp(-abs(z))
        s = ONE / (ONE + e)
        inner = TWO * v * (_ROOT + _SLOPE * square)
        dx[i] = dout[i] * ((e * s if z < ZERO else s) + e * s * s * inner)


@compiled(_UNARY)
def _gelu_exact(x, out, first, last):  # type: ignore[no-untyped-def]
    x, out = x[first:last], out[first:last]
    for i in range(x.size):
        out[i] = x[i] * _phi(x[i])


@compiled(_BINARY)
def _gelu_exact_backward(dout, x, dx, first, last):  # type: ignore[no-untyped-def]
    dout, x, dx = dout[first:last], x[first:last], dx[first:last]
    for i in range(x.size):
        v = x[i]
        density = HALF * _ROOT * exp(-HALF * _bounded_square(v, _FAR))  # exp(-x^2/2) / sqrt(2 pi)
        dx[i] = dout[i] * (_phi(v) + v * density)


@compiled(_UNARY)
def _silu(x, out, first, last):  # type: ignore[no-untyped-def]
    x, out = x[first:last], out[first:last]
    for i in range(x.size):
        out[i] = x[i] * sigmoid(x[i])


@compiled(_BINARY)
def _silu_backward(dout, x, dx, first, last):  # type: ignore[no-untyped-def]
    dout, x, dx = dout[first:last], x[first:last], dx[first:last]
    for i in range(x.size):
        s = sigmoid(x[i])
        dx[i] = dout[i] * (s * (ONE + x[i] * (ONE - s)))


@compiled(_BINARY)
def _swiglu(gate, up, out, first, last):  # type: ignore[no-untyped-def]
    gate, up, out = gate[first:last], up[first:last], out[first:last]
    for i in range(gate.size):
        out[i] = gate[i] * sigmoid(gate[i]) * up[i]


@compiled("void(float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], intp, intp)")
def _swiglu_backward(dout, gate, up, dgate, dup, first, last):  # type: ignore[no-untyped-def]
    dout, gate, up = dout[first:last], gate[first:last], up[first:last]
    dgate, dup = dgate[first:last], dup[first:last]
    for i in range(gate.size):
        s = sigmoid(gate[i])
        dup[i] = dout[i] * (s * gate[i])
        dgate[i] = dout[i] * (s * (ONE + gate[i] * (ONE - s)) * up[i])


def _left_to_numpy(x: Array) -> bool:
    return x.dtype != F32 or x.size < SMALL


def _elementwise(kernel: Any, *arrays: Array) -> Array:
    out = np.empty(arrays[0].shape, F32)
    flats = [flat(a) for a in arrays] + [out.reshape(-1)]
    share(lambda first, last: kernel(*flats, first, last), out.size, GRAIN)
    return out


@instead_of(reference.gelu_forward)
def gelu_forward(x: Array, approximate: str = "none") -> Array:
    if _left_to_numpy(x):
        return reference.gelu_forward(x, approximate)
    return _elementwise(_gelu_tanh if approximate == "tanh" else _gelu_exact, x)


@instead_of(reference.gelu_backward)
def gelu_backward(dout: Array, x: Array, approximate: str = "none") -> Array:
    if _left_to_numpy(x):
        return reference.gelu_backward(dout, x, approximate)
    kernel = _gelu_tanh_backward if approximate == "tanh" else _gelu_exact_backward
    return _elementwise(kernel, dout, x)


@instead_of(reference.silu_forward)
def silu_forward(x: Array) -> Array:
    if _left_to_numpy(x):
        return reference.silu_forward(x)
    return _elementwise(_silu, x)


@instead_of(reference.silu_backward)
def silu_backward(dout: Array, x: Array) -> Array:
    if _left_to_numpy(x):
        return reference.silu_backward(dout, x)
    return _elementwise(_silu_backward, dout, x)


@instead_of(reference.swiglu_forward)
def swiglu_forward(gate: Array, up: Array) -> Array:
    if _left_to_numpy(gate):
        return reference.swiglu_forward(gate, up)
    return _elementwise(_swiglu, gate, up)


@instead_of(reference.swiglu_backward)
def swiglu_backward(dout: Array, gate: Array, up: Array) -> tuple[Array, Array]:
    if _left_to_numpy(gate):
        return reference.swiglu_backward(dout, gate, up)
    dgate, dup = np.empty(gate.shape, F32), np.empty(up.shape, F32)
    flats = [flat(dout), flat(gate), flat(up), dgate.reshape(-1), dup.reshape(-1)]
    share(lambda first, last: _swiglu_backward(*flats, first, last), gate.size, GRAIN)
    return dgate, dup
