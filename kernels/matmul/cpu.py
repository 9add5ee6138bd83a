"""The linear layer on our own threads: each calls BLAS, on one thread, for a slice of the result.

Products and kernels then share the same few threads, which sleep when there is nothing to do (see
_threads.py); on an idle machine that is as fast as BLAS's own threads, beside other processes it is
several times faster. Bias and slice meet while the slice is in the cache, and the products of the
backward pass go out together. How a product is cut depends on its shape alone, so that results do
not depend on the number of threads. Without OpenBLAS: reference.py.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import _blas, _threads
from . import reference

Array = Any
ALL = reference.ALL

SMALL = 1 << 18  # multiply-adds that BLAS keeps to one thread anyway
# So many multiply-adds are cut into so many pieces: few, as each piece makes BLAS copy the operand
# that is not cut into its own layout once more.
CUTS = ((1 << 22, 2), (1 << 27, 4), (1 << 29, 8), (1 << 32, 16))
_Task = Callable[[], Any]


def _pieces(work: int) -> int:
    return max((pieces for least, pieces in CUTS if work >= least), default=1)


def _product(a: Array, b: Array, out: Array, bias: Array | None = None) -> list[_Task]:
    """a: (M, K), b: (K, N), out: (M, N) -> tasks that together make out = a b + bias."""
    m, n = out.shape
    pieces = _pieces(m * n * a.shape[1])
    # The operand that is not cut is read by all: let it be the smaller one.
    by_rows = m >= n
    step = -(-(m if by_rows else n) // (pieces * 64)) * 64

    def task(start: int) -> _Task:
        part = slice(start, start + step)

        def run() -> None:
            if by_rows:
                here = np.matmul(a[part], b, out=out[part])
            else:
                here = np.matmul(a, b[:, part], out=out[:, part])
            if bias is not None:
                here += bias if by_rows else bias[part]

        return run

    return [task(start) for start in range(0, m if by_rows else n, step)]


def _run(tasks: list[_Task]) -> bool:
    return _blas.with_one_thread(lambda: _threads.run(lambda i: tasks[i](), len(tasks)))


def _left_to_numpy(x: Array, weight: Array) -> bool:
    n, k = weight.shape
    return (
        x.dtype not in (np.float32, np.float64)
        or x.dtype != weight.dtype
        or x.size * n <= SMALL
        or not k
        or _threads.get_num_threads() == 1
        or not _blas.available()
    )


def linear_forward(x: Array, weight: Array, bias: Array | None = None) -> Array:
    if not _left_to_numpy(x, weight):
        xs = x.reshape(-1, x.shape[-1])  # (M, K)
        out = np.empty((*x.shape[:-1], weight.shape[0]), x.dtype)  # (..., N)
        if _run(_product(xs, weight.T, out.reshape(len(xs), -1), bias)):
            return out
    return reference.linear_forward(x, weight, bias)


def linear_backward(
    dout: Array, x: Array, weight: Array, needs: tuple[bool, bool, bool] = ALL
) -> tuple[Array | None, Array | None, Array | None]:
    if _left_to_numpy(x, weight):
        return reference.linear_backward(dout, x, weight, needs)
    dx = dweight = dbias = None
    xs, douts = x.reshape(-1, x.shape[-1]), dout.reshape(-1, dout.shape[-1])  # (M, K), (M, N)
    tasks: list[_Task] = []
    if needs[0]:
        dx = np.empty(x.shape, x.dtype)
        tasks += _product(douts, weight, dx.reshape(xs.shape))
    if needs[1]:
        dweight = np.empty(weight.shape, x.dtype)
        tasks += _product(douts.T, xs, dweight)
    if needs[2]:
        dbias = np.empty(weight.shape[0], x.dtype)
        ones = np.ones((1, len(douts)), x.dtype)  # (1, M): BLAS sums columns fastest
        tasks.append(lambda: np.matmul(ones, douts, out=dbias[None]))
    if _run(tasks):
        return dx, dweight, dbias
    return reference.linear_backward(dout, x, weight, needs)
