"""Layer and RMS normalisation, a row at a time while it is in the cache. Formulas: reference.py.

dweight and dbias are sums over all rows. They are taken over blocks of rows that depend on the
shape alone, then over the blocks in order: the same result on any number of threads.
"""

import math
from typing import Any

import numpy as np

from .._arrays import F32, flat, rows
from .._jit import compiled, instead_of
from .._scalar import ONE, ZERO, f32
from .._threads import run, share
from . import reference

Array = Any
BOTH, ALL = reference.BOTH, reference.ALL

SMALL = 1024  # elements below which NumPy is no slower
GRAIN = 1 << 16  # elements a thread is woken for
BLOCKS = 32  # at most so many partial sums of dweight and dbias
_SUMS = {"contract", "reassoc"}
_M, _V = "float32[:, ::1]", "float32[::1]"  # a matrix and a vector


@compiled(f"void({_M}, {_V}, {_V}, float64, {_M}, {_V}, {_V}, intp, intp)", fastmath=_SUMS)
def _layer_norm(x, weight, bias, eps, out, mean, rstd, first, last):  # type: ignore[no-untyped-def]
    columns = f32(x.shape[1])
    for row in range(first, last):
        xs, o = x[row], out[row]  # (C,)
        total = ZERO
        for i in range(xs.size):
            total += xs[i]
        m = total / columns
        square = ZERO
        for i in range(xs.size):
            square += (xs[i] - m) * (xs[i] - m)
        r = ONE / math.sqrt(square / columns + f32(eps))
        for i in range(xs.size):
            o[i] = (xs[i] - m) * r * weight[i] + bias[i]
        mean[row], rstd[row] = m, r


@compiled(f"void({_M}, {_M}, {_V}, {_V}, {_V}, {_M}, {_V}, {_V}, intp, intp)", fastmath=_SUMS)
def _layer_norm_backward(  # type: ignore[no-untyped-def]
    dout, x, weight, mean, rstd, dx, dweight, dbias, first, last
):
    columns = f32(x.shape[1])
    for row in range(first, last):
        d, xs, dxs, m, r = dout[row], x[row], dx[row], mean[row], rstd[row]
        total, dot = ZERO, ZERO
        for i in range(xs.size):
            y = (xs[i] - m) * r
            dbias[i] += d[i]
            dweight[i] += d[i] * y
            total += d[i] * weight[i]
            dot += d[i] * weight[i] * y
        total /= columns
        dot /= columns
        for i in range(xs.size):
            dxs[i] = r * (d[i] * weight[i] - total - (xs[i] - m) * r * dot)


@compiled(f"void({_M}, {_V}, float64, {_M}, {_V}, intp, intp)", fastmath=_SUMS)
def _rms_norm(x, weight, eps, out, rstd, first, last):  # type: ignore[no-untyped-def]
    columns = f32(x.shape[1])
    for row in range(first, last):
        xs, o = x[row], out[row]  # (C,)
        square = ZERO
        for i in range(xs.size):
            square += xs[i] * xs[i]
        r = ONE / math.sqrt(square / columns + f32(eps))
        for i in range(xs.size):
            o[i] = xs[i] * r * weight[i]
        rstd[row] = r


@compiled(f"void({_M}, {_M}, {_V}, {_V}, {_M}, {_V}, intp, intp)", fastmath=_SUMS)
def _rms_norm_backward(dout, x, weight, rstd, dx, dweight, first, last):  # type: ignore[no-untyped-def]
    columns = f32(x.shape[1])
    for row in range(first, last):
        d, xs, dxs, r = dout[row], x[row], dx[row], rstd[row]
        dot = ZERO
        for i in range(xs.size):
            y = xs[i] * r
            dweight[i] += d[i] * y
            dot += d[i] * weight[i] * y
        dot /= columns
        for i in range(xs.size):
            dxs[i] = r * (d[i] * weight[i] - xs[i] * r * dot)


def _left_to_numpy(x: Array) -> bool:
    return x.dtype != F32 or x.size < SMALL


def _or(vector: Array | None, otherwise: float, columns: int) -> Array:
    """A weight of ones or a bias of zeros where there is none."""
    return np.full(columns, otherwise, F32) if vector is None else flat(vector)


def _blocks(count: int, columns: int) -> tuple[int, int]:
    """How many blocks of how many rows: at least GRAIN elements in each."""
    step = max(-(-count // BLOCKS), 1 + GRAIN // columns)
    return -(-count // step), step


@instead_of(reference.layer_norm_forward)
def layer_norm_forward(
    x: Array, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5
) -> tuple[Array, Array, Array]:
    if _left_to_numpy(x):
        return reference.layer_norm_forward(x, weight, bias, eps)
    out, mean = np.empty(x.shape, F32), np.empty(x.shape[:-1], F32)
    rstd = np.empty(x.shape[:-1], F32)
    xs, outs, means, rstds = rows(x), rows(out), mean.reshape(-1), rstd.reshape(-1)
    count, columns = xs.shape
    w, b = _or(weight, 1, columns), _or(bias, 0, columns)

    def work(first: int, last: int) -> None:
        _layer_norm(xs, w, b, eps, outs, means, rstds, first, last)

    share(work, count, 1 + GRAIN // columns)
    return out, mean, rstd


@instead_of(reference.layer_norm_backward)
def layer_norm_backward(
    dout: Array,
    x: Array,
    weight: Array | None,
    mean: Array,
    rstd: Array,
    needs: tuple[bool, bool, bool] = ALL,
) -> tuple[Array | None, Array | None, Array | None]:
    if _left_to_numpy(x) or not needs[0]:
        return reference.layer_norm_backward(dout, x, weight, mean, rstd, needs)
    dx = np.empty(x.shape, F32)
    douts, xs, dxs, means, rstds = rows(dout), rows(x), rows(dx), flat(mean), flat(rstd)
    count, columns = xs.shape
    w = _or(weight, 1, columns)
    blocks, step = _blocks(count, columns)
    dweight, dbias = np.zeros((2, blocks, columns), F32)

    def work(block: int) -> None:
        first, last = block * step, min(count, (block + 1) * step)
        sums = dweight[block], dbias[block]
        _layer_norm_backward(douts, xs, w, means, rstds, dxs, *sums, first, last)

    run(work, blocks)
    return dx, dweight.sum(axis=0) if needs[1] else None, dbias.sum(axis=0) if needs[2] else None


@instead_of(reference.rms_norm_forward)
def rms_norm_forward(
    x: Array, weight: Array | None = None, eps: float = 1e-6
) -> tuple[Array, Array]:
    if _left_to_numpy(x):
        return reference.rms_norm_forward(x, weight, eps)
    out, rstd = np.empty(x.shape, F32), np.empty(x.shape[:-1], F32)
    xs, outs, rstds = rows(x), rows(out), rstd.reshape(-1)
    count, columns = xs.shape
    w = _or(weight, 1, columns)

    def work(first: int, last: int) -> None:
        _rms_norm(xs, w, eps, outs, rstds, first, last)

    share(work, count, 1 + GRAIN // columns)
    return out, rstd


@instead_of(reference.rms_norm_backward)
def rms_norm_backward(
    dout: Array, x: Array, weight: Array | None, rstd: Array, needs: tuple[bool, bool] = BOTH
) -> tuple[Array | None, Array | None]:
    if _left_to_numpy(x) or not needs[0]:
        return reference.rms_norm_backward(dout, x, weight, rstd, needs)
    dx = np.empty(x.shape, F32)
    douts, xs, dxs, rstds = rows(dout), rows(x), rows(dx), flat(rstd)
    count, columns = xs.shape
    w = _or(weight, 1, columns)
    blocks, step = _blocks(count, columns)
    dweight = np.zeros((blocks, columns), F32)

    def work(block: int) -> None:
        first, last = block * step, min(count, (block + 1) * step)
        _rms_norm_backward(douts, xs, w, rstds, dxs, dweight[block], first, last)

    run(work, blocks)
    return dx, dweight.sum(axis=0) if needs[1] else None
