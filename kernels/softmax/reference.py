"""Softmax over the last axis, forward and backward, in NumPy.

softmax(x)_i = exp(x_i) / sum_j exp(x_j). A constant added to every x_i cancels, so the largest is
subtracted first: no exponent is above 0 and nothing overflows. float16 is computed in float32.
"""

from typing import Any

import numpy as np

from .._blocks import as_rows, row_blocks

Array = Any


def _shifted_exp(x: Array, out: Array) -> Array:
    """exp(x - max(x)) of each row of x: (N, C), written to out; returns the maxima (N, 1)."""
    largest = x.max(axis=1, keepdims=True)  # (N, 1)
    np.subtract(x, largest, out=out)  # (N, C)
    np.exp(out, out=out)  # (N, C)
    return largest


def softmax_forward(x: Array) -> Array:
    """x: (..., C) -> out: (..., C). A row of nothing but -inf gives nan, as 0/0 does."""
    if x.dtype == np.float16:
        return softmax_forward(x.astype(np.float32)).astype(np.float16)
    out = np.empty(x.shape, x.dtype)  # (..., C)
    xs, outs = as_rows(x), as_rows(out)  # (N, C)
    for rows in row_blocks(*xs.shape):
        e = outs[rows]  # (n, C)
        _shifted_exp(xs[rows], e)
        e /= e.sum(axis=1, keepdims=True)
    return out


def softmax_backward(dout: Array, out: Array) -> Array:
    """dout, out: (..., C) -> dx: (..., C).

    By the quotient rule d out_i / d x_j = out_i (1[i = j] - out_j). The chain rule sums over i:
    dx_j = sum_i dout_i out_i (1[i = j] - out_j) = dout_j out_j - out_j sum_i dout_i out_i,
    hence dx = out * (dout - sum(dout * out)).
    """
    if dout.dtype == np.float16:
        return softmax_backward(dout.astype(np.float32), out.astype(np.float32)).astype(np.float16)
    dx = np.empty(out.shape, out.dtype)  # (..., C)
    douts, outs, dxs = as_rows(dout), as_rows(out), as_rows(dx)  # (N, C)
    for rows in row_blocks(*outs.shape):
        dot = np.vecdot(douts[rows], outs[rows])[:, None]  # (n, 1)
        np.subtract(douts[rows], dot, out=dxs[rows])  # (n, C)
        dxs[rows] *= outs[rows]
    return dx


def log_softmax_forward(x: Array) -> Array:
    """x: (..., C) -> out: (..., C), log of softmax without ever taking the log of a tiny number."""
    if x.dtype == np.float16:
        return log_softmax_forward(x.astype(np.float32)).astype(np.float16)
    out = np.empty(x.shape, x.dtype)  # (..., C)
    xs, outs = as_rows(x), as_rows(out)  # (N, C)
    for rows in row_blocks(*xs.shape):
        o = outs[rows]  # (n, C)
        largest = _shifted_exp(xs[rows], o)  # (n, 1)
        log_sum = np.log(o.sum(axis=1, keepdims=True))  # (n, 1)
        # Two subtractions: adding largest to log_sum first would round log_sum away at 1e4.
        np.subtract(xs[rows], largest, out=o)
        o -= log_sum
    return out


def log_softmax_backward(dout: Array, out: Array) -> Array:
    """dout, out: (..., C) -> dx: (..., C).

    out_i = x_i - log(sum_j exp(x_j)), and the derivative of that logarithm by x_j is softmax_j, so
    d out_i / d x_j = 1[i = j] - softmax_j. Summed over i with dout_i, and with softmax = exp(out):
    dx = dout - exp(out) * sum(dout).
    """
    if dout.dtype == np.float16:
        wide = log_softmax_backward(dout.astype(np.float32), out.astype(np.float32))
        return wide.astype(np.float16)
    dx = np.empty(out.shape, out.dtype)  # (..., C)
    douts, outs, dxs = as_rows(dout), as_rows(out), as_rows(dx)  # (N, C)
    for rows in row_blocks(*outs.shape):
        d = dxs[rows]  # (n, C)
        np.exp(outs[rows], out=d)
        d *= douts[rows].sum(axis=1, keepdims=True)
        np.subtract(douts[rows], d, out=d)
    return dx
