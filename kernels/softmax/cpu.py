"""Softmax and its logarithm, a row at a time while it is in the cache. Formulas: reference.py."""

import math
from typing import Any

import numpy as np

from .._arrays import F32, rows
from .._jit import compiled, instead_of
from .._scalar import ONE, ZERO, exp, f32, largest
from .._threads import share
from . import reference

Array = Any

SMALL = 1024  # elements below which NumPy is no slower
GRAIN = 1 << 15  # elements a thread is woken for
_SUMS = {"contract", "reassoc"}
_UNARY = "void(float32[:, ::1], float32[:, ::1], intp, intp)"
_BINARY = "void(float32[:, ::1], float32[:, ::1], float32[:, ::1], intp, intp)"


@compiled(_UNARY, fastmath=_SUMS)
def _softmax(x, out, first, last):  # type: ignore[no-untyped-def]
    for row in range(first, last):
        xs, o = x[row], out[row]  # (C,)
        most = largest(xs)
        total = ZERO
        for i in range(xs.size):
            e = exp(xs[i] - most)
            o[i] = e
            total += e
        scale = ONE / total
        for i in range(xs.size):
            o[i] *= scale


@compiled(_BINARY, fastmath=_SUMS)
def _softmax_backward(dout, out, dx, first, last):  # type: ignore[no-untyped-def]
    for row in range(first, last):
        d, o, dxs = dout[row], out[row], dx[row]  # (C,)
        dot = ZERO
        for i in range(d.size):
            dot += d[i] * o[i]
        for i in range(d.size):
            dxs[i] = (d[i] - dot) * o[i]


@compiled(_UNARY, fastmath=_SUMS)
def _log_softmax(x, out, first, last):  # type: ignore[no-untyped-def]
    for row in range(first, last):
        xs, o = x[row], out[row]  # (C,)
        most = largest(xs)
        total = ZERO
        for i in range(xs.size):
            shifted = xs[i] - most
            o[i] = shifted
            total += exp(shifted)
        log_total = f32(math.log(total))
        for i in range(xs.size):
            o[i] -= log_total


@compiled(_BINARY, fastmath=_SUMS)
def _log_softmax_backward(dout, out, dx, first, last):  # type: ignore[no-untyped-def]
    for row in range(first, last):
        d, o, dxs = dout[row], out[row], dx[row]  # (C,)
        total = ZERO
        for i in range(d.size):
            total += d[i]
        for i in range(d.size):
            dxs[i] = d[i] - exp(o[i]) * total


def _row_by_row(kernel: Any, *arrays: Array) -> Array:
    out = np.empty(arrays[0].shape, F32)  # (..., C)
    matrices = [rows(a) for a in (*arrays, out)]  # (N, C)
    count, columns = matrices[0].shape
    share(lambda first, last: kernel(*matrices, first, last), count, 1 + GRAIN // columns)
    return out


def _left_to_numpy(x: Array) -> bool:
    return x.dtype != F32 or x.size < SMALL


@instead_of(reference.softmax_forward)
def softmax_forward(x: Array) -> Array:
    return reference.softmax_forward(x) if _left_to_numpy(x) else _row_by_row(_softmax, x)


@instead_of(reference.softmax_backward)
def softmax_backward(dout: Array, out: Array) -> Array:
    if _left_to_numpy(dout):
        return reference.softmax_backward(dout, out)
    return _row_by_row(_softmax_backward, dout, out)


@instead_of(reference.log_softmax_forward)
def log_softmax_forward(x: Array) -> Array:
    return reference.log_softmax_forward(x) if _left_to_numpy(x) else _row_by_row(_log_softmax, x)


@instead_of(reference.log_softmax_backward)
def log_softmax_backward(dout: Array, out: Array) -> Array:
    if _left_to_numpy(dout):
        return reference.log_softmax_backward(dout, out)
    return _row_by_row(_log_softmax_backward, dout, out)
