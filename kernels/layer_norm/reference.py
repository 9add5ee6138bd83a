"""Layer normalisation (Ba, Kiros and Hinton 2016) and RMS normalisation (Zhang and Sennrich 2019).

Both work on the last axis, of C elements. What forward returns beside `out` is what backward needs:
one mean and one reciprocal standard deviation a row. float16 is computed in float32, and then mean
and rstd are float32.
"""

from typing import Any

import numpy as np

from .._blocks import as_rows, row_blocks

Array = Any
BOTH = (True, True)
ALL = (True, True, True)


def _wide(*arrays: Array | None) -> Any:
    """float16 arrays as float32."""
    return [a if a is None else a.astype(np.float32, copy=False) for a in arrays]


def layer_norm_forward(
    x: Array, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5
) -> tuple[Array, Array, Array]:
    """out = (x - mean) / sqrt(var + eps) * weight + bias, var being the mean squared distance.

    x: (..., C), weight and bias: (C,) or None -> out: (..., C), mean and rstd: (...).
    """
    if x.dtype == np.float16:
        x, weight, bias = _wide(x, weight, bias)
        wide, mean, rstd = layer_norm_forward(x, weight, bias, eps)
        return wide.astype(np.float16), mean, rstd
    out = np.empty(x.shape, x.dtype)  # (..., C)
    mean = np.empty(x.shape[:-1], x.dtype)  # (...)
    rstd = np.empty(x.shape[:-1], x.dtype)  # (...)
    xs, outs, means, rstds = as_rows(x), as_rows(out), mean.reshape(-1), rstd.reshape(-1)
    columns = x.shape[-1]
    ones = np.ones(columns, x.dtype)  # (C,): a dot product with it is the fastest sum of a row
    for rows in row_blocks(*xs.shape):
        m = np.vecdot(xs[rows], ones)  # (n,)
        m /= columns
        centred = np.subtract(xs[rows], m[:, None], out=outs[rows])  # (n, C)
        # From the centred values: mean(x^2) - mean^2 would cancel when |mean| is large.
        r = np.vecdot(centred, centred)  # (n,)
        r /= columns
        r += eps
        np.sqrt(r, out=r)
        np.divide(1, r, out=r)
        centred *= r[:, None]
        if weight is not None:
            centred *= weight
        if bias is not None:
            centred += bias
        means[rows], rstds[rows] = m, r
    return out, mean, rstd


def layer_norm_backward(
    dout: Array,
    x: Array,
    weight: Array | None,
    mean: Array,
    rstd: Array,
    needs: tuple[bool, bool, bool] = ALL,
) -> tuple[Array | None, Array | None, Array | None]:
    """dout, x: (..., C), mean and rstd: (...) -> dx: (..., C), dweight and dbias: (C,).

    Let y = (x - mean) * rstd and g = dout * weight, the gradient of y. Within a row
    d mean / d x_j = 1/C and d rstd / d x_j = -rstd^2 y_j / C, so that
    d y_i / d x_j = rstd (1[i = j] - 1/C - y_i y_j / C). Summed over i with g_i:
    dx = rstd * (g - mean(g) - y * mean(g * y)). Over all rows: dweight = sum(dout * y) and
    dbias = sum(dout). needs: which of the three to compute; the others are None.
    """
    if x.dtype == np.float16:
        dout, x, weight = _wide(dout, x, weight)
        wide = layer_norm_backward(dout, x, weight, mean, rstd, needs)
        return tuple(a if a is None else a.astype(np.float16) for a in wide)  # type: ignore[return-value]
    columns = x.shape[-1]
    dx = np.empty(x.shape, x.dtype) if needs[0] else None  # (..., C)
    dweight = np.zeros(columns, x.dtype) if needs[1] else None  # (C,)
    dbias = np.zeros(columns, x.dtype) if needs[2] else None  # (C,)
    xs, douts = as_rows(x), as_rows(dout)  # (N, C)
    means, rstds = mean.reshape(-1, 1), rstd.reshape(-1, 1)  # (N, 1)
    ones = np.ones(columns, x.dtype)  # (C,)
    for rows in row_blocks(*xs.shape):
        g = douts[rows]  # (n, C)
        if dbias is not None:
            dbias += g.sum(axis=0)
        if dx is None and dweight is None:
            continue
        y = np.subtract(xs[rows], means[rows])  # (n, C)
        y *= rstds[rows]
        if dweight is not None:
            dweight += np.einsum("nc,nc->c", g, y)
        if dx is None:
            continue
        d = as_rows(dx)[rows]  # (n, C)
        if weight is not None:
            g = np.multiply(g, weight, out=d)
        mean_g = np.vecdot(g, ones)[:, None] / columns  # (n, 1)
        mean_gy = np.vecdot(g, y)[:, None] / columns  # (n, 1)
        y *= mean_gy
        np.subtract(g, y, out=d)
        d -= mean_g
        d *= rstds[rows]
    return dx, dweight, dbias


def rms_norm_forward(
    x: Array, weight: Array | None = None, eps: float = 1e-6
) -> tuple[Array, Array]:
    """out = x / sqrt(mean(x^2) + eps) * weight: no mean is taken away, no bias added.

    x: (..., C), weight: (C,) or None -> out: (..., C), rstd: (...).
    """
    if x.dtype == np.float16:
        x, weight = _wide(x, weight)
        wide, rstd = rms_norm_forward(x, weight, eps)
        return wide.astype(np.float16), rstd
    out = np.empty(x.shape, x.dtype)  # (..., C)
    rstd = np.empty(x.shape[:-1], x.dtype)  # (...)
    xs, outs, rstds = as_rows(x), as_rows(out), rstd.reshape(-1)
    for rows in row_blocks(*xs.shape):
        r = np.vecdot(xs[rows], xs[rows])  # (n,)
        r /= x.shape[-1]
        r += eps
        np.sqrt(r, out=r)
        np.divide(1, r, out=r)
        o = np.multiply(xs[rows], r[:, None], out=outs[rows])  # (n, C)
        if weight is not None:
            o *= weight
        rstds[rows] = r
    return out, rstd


def rms_norm_backward(
    dout: Array, x: Array, weight: Array | None, rstd: Array, needs: tuple[bool, bool] = BOTH
) -> tuple[Array | None, Array | None]:
    """dout, x: (..., C), rstd: (...) -> dx: (..., C), dweight: (C,).

    Let y = x * rstd and g = dout * weight, the gradient of y. As d rstd / d x_j = -rstd^2 y_j / C,
    d y_i / d x_j = rstd (1[i = j] - y_i y_j / C). Summed over i with g_i:
    dx = rstd * (g - y * mean(g * y)). Over all rows: dweight = sum(dout * y). needs: which of the
    two to compute; the other is None.
    """
    if x.dtype == np.float16:
        dout, x, weight = _wide(dout, x, weight)
        wide = rms_norm_backward(dout, x, weight, rstd, needs)
        return tuple(a if a is None else a.astype(np.float16) for a in wide)  # type: ignore[return-value]
    dx = np.empty(x.shape, x.dtype) if needs[0] else None  # (..., C)
    dweight = np.zeros(x.shape[-1], x.dtype) if needs[1] else None  # (C,)
    xs, douts, rstds = as_rows(x), as_rows(dout), rstd.reshape(-1, 1)
    for rows in row_blocks(*xs.shape):
        g = douts[rows]  # (n, C)
        y = np.multiply(xs[rows], rstds[rows])  # (n, C)
        if dweight is not None:
            dweight += np.einsum("nc,nc->c", g, y)
        if dx is None:
            continue
        d = as_rows(dx)[rows]  # (n, C)
        if weight is not None:
            g = np.multiply(g, weight, out=d)
        y *= np.vecdot(g, y)[:, None] / x.shape[-1]
        np.subtract(g, y, out=d)
        d *= rstds[rows]
    return dx, dweight
