"""Cross entropy over a vocabulary of any size, a row at a time. Formulas: reference.py.

Weights per class and label smoothing are left to the reference.
"""

import math
from typing import Any

import numpy as np

from .._arrays import F32, flat, rows
from .._jit import compiled, instead_of
from .._scalar import ZERO, exp, f32, largest
from .._threads import share
from . import reference

Array = Any

SMALL = 1024  # elements below which NumPy is no slower
GRAIN = 1 << 15  # elements a thread is woken for
_M, _V, _I = "float32[:, ::1]", "float32[::1]", "int64[::1]"


@compiled(f"void({_M}, {_I}, int64, {_V}, {_V}, intp, intp)", fastmath={"contract", "reassoc"})
def _forward(logits, targets, ignore, loss, logsumexp, first, last):  # type: ignore[no-untyped-def]
    for row in range(first, last):
        x, y = logits[row], targets[row]  # (C,)
        most = largest(x)
        total = ZERO
        for i in range(x.size):
            total += exp(x[i] - most)
        log_total = f32(math.log(total))
        logsumexp[row] = log_total + most
        # most - x[y] is exact where the two are near; the small log is not rounded away at 1e4.
        loss[row] = ZERO if y == ignore else log_total + (most - x[y])


@compiled(f"void({_V}, {_M}, {_I}, {_V}, int64, {_M}, intp, intp)")
def _backward(dloss, logits, targets, logsumexp, ignore, dlogits, first, last):  # type: ignore[no-untyped-def]
    for row in range(first, last):
        x, dx, y = logits[row], dlogits[row], targets[row]  # (C,)
        if y == ignore:
            dx[:] = ZERO
            continue
        d, lse = dloss[row], logsumexp[row]
        for i in range(x.size):
            dx[i] = d * exp(x[i] - lse)
        dx[y] -= d


def _left_to_numpy(logits: Array, weight: Array | None, label_smoothing: float) -> bool:
    plain = weight is None and not label_smoothing
    return not plain or logits.dtype != F32 or logits.size < SMALL


@instead_of(reference.cross_entropy_forward)
def cross_entropy_forward(
    logits: Array,
    targets: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> tuple[Array, Array]:
    if _left_to_numpy(logits, weight, label_smoothing):
        return reference.cross_entropy_forward(
            logits, targets, weight, ignore_index, label_smoothing
        )
    xs, ys = rows(logits), _labels(targets)
    count, classes = xs.shape
    loss, logsumexp = np.empty(count, F32), np.empty(count, F32)  # (N,)

    def work(first: int, last: int) -> None:
        _forward(xs, ys, ignore_index, loss, logsumexp, first, last)

    share(work, count, 1 + GRAIN // classes)
    return loss, logsumexp


@instead_of(reference.cross_entropy_backward)
def cross_entropy_backward(
    dloss: Array,
    logits: Array,
    targets: Array,
    logsumexp: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Array:
    if _left_to_numpy(logits, weight, label_smoothing):
        return reference.cross_entropy_backward(
            dloss, logits, targets, logsumexp, weight, ignore_index, label_smoothing
        )
    xs, ys = rows(logits), _labels(targets)  # (N, C), (N,)
    ds, lses = np.array(dloss, F32), flat(logsumexp)  # (N,)
    count, classes = xs.shape
    dlogits = np.empty(xs.shape, F32)

    def work(first: int, last: int) -> None:
        _backward(ds, xs, ys, lses, ignore_index, dlogits, first, last)

    share(work, count, 1 + GRAIN // classes)
    return dlogits


def _labels(targets: Array) -> Array:
    return np.array(targets, np.int64)  # (N,), a few numbers: a copy costs nothing
