"""The linear layer, out = x weight^T + bias, as one matrix product of all rows (NumPy hands it to
BLAS). weight is (out features, in features), as PyTorch and the checkpoints have it.
"""

from typing import Any

import numpy as np

Array = Any
ALL = (True, True, True)


def _rows(x: Array) -> Array:
    """(..., K) -> (N, K); a view where the strides allow."""
    columns = x.shape[-1]
    return x.reshape(x.size // columns if columns else _count(x.shape[:-1]), columns)


def _count(shape: tuple[int, ...]) -> int:
    n = 1
    for size in shape:
        n *= size
    return n


def _product(a: Array, b: Array, shape: tuple[int, ...]) -> Array:
    """a: (M, K), b: (K, N) -> (M, N), stored under `shape`."""
    out = np.empty(shape, a.dtype)
    if a.dtype == np.float16:  # BLAS has no float16, and without BLAS products are slow
        out[...] = (a.astype(np.float32) @ b.astype(np.float32)).reshape(shape)
    else:
        np.matmul(a, b, out=out.reshape(a.shape[0], b.shape[1]))
    return out


def linear_forward(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """x: (..., K), weight: (N, K), bias: (N,) or None -> out: (..., N)."""
    shape = (*x.shape[:-1], weight.shape[0])
    out = _product(_rows(x), weight.T, shape)  # (..., N)
    if bias is not None:
        out += bias
    return out


def linear_backward(
    dout: Array, x: Array, weight: Array, needs: tuple[bool, bool, bool] = ALL
) -> tuple[Array | None, Array | None, Array | None]:
    """dout: (..., N), x: (..., K), weight: (N, K) -> dx: (..., K), dweight: (N, K), dbias: (N,).

    needs: which of the three to compute.
    """
    dx = dweight = dbias = None
    douts = _rows(dout)  # (M, N), M rows in all
    if needs[0]:
        dx = _product(douts, weight, x.shape)  # (..., K)
    if needs[1]:
        dweight = _product(douts.T, _rows(x), weight.shape)  # (N, K)
    if needs[2]:
        ones = np.ones((1, douts.shape[0]), dout.dtype)  # (1, M): BLAS sums columns fastest
        dbias = _product(ones, douts, dout.shape[-1:])  # (N,)
    return dx, dweight, dbias
