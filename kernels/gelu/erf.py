"""The error function for NumPy, which has none: erf(x) = 2/sqrt(pi) * integral_0^x exp(-t^2) dt."""

import math
from typing import Any

import numpy as np

Array = Any

# float64: W. J. Cody, "Rational Chebyshev approximations for the error function", Mathematics of
# Computation 23 (1969): three intervals, each a quotient of two polynomials, to 18 digits.
# Coefficients from the highest power down.
_NEAR_0 = (  # |x| <= 0.46875: erf(x) = x p(x^2) / q(x^2)
    (
        1.85777706184603153e-1,
        3.16112374387056560e0,
        1.13864154151050156e2,
        3.77485237685302021e2,
        3.20937758913846947e3,
    ),
    (
        1.0,
        2.36012909523441209e1,
        2.44024637934444173e2,
        1.28261652607737228e3,
        2.84423683343917062e3,
    ),
)
_MIDDLE = (  # to 4: erfc(x) = exp(-x^2) p(x) / q(x)
    (
        2.15311535474403846e-8,
        5.64188496988670089e-1,
        8.88314979438837594e0,
        6.61191906371416295e1,
        2.98635138197400131e2,
        8.81952221241769090e2,
        1.71204761263407058e3,
        2.05107837782607147e3,
        1.23033935479799725e3,
    ),
    (
        1.0,
        1.57449261107098347e1,
        1.17693950891312499e2,
        5.37181101862009858e2,
        1.62138957456669019e3,
        3.29079923573345963e3,
        4.36261909014324716e3,
        3.43936767414372164e3,
        1.23033935480374942e3,
    ),
)
_FAR = (  # beyond: erfc(x) = exp(-x^2) / x * (1/sqrt(pi) - z p(z) / q(z)), z = 1/x^2
    (
        1.63153871373020978e-2,
        3.05326634961232344e-1,
        3.60344899949804439e-1,
        1.25781726111229246e-1,
        1.60837851487422766e-2,
        6.58749161529837803e-4,
    ),
    (
        1.0,
        2.56852019228982242e0,
        1.87295284992346725e0,
        5.27905102951428412e-1,
        6.05183413124413191e-2,
        2.33520497626869185e-3,
    ),
)

# float32: one expression without branches. atanh(erf(x / sqrt 2)) / x is so smooth that a
# polynomial in x^2 follows it; this one was fitted (iteratively reweighted least squares) to keep
# the relative error of its tanh below 1e-7 everywhere. Its first two terms, 0.79788 (1 + 0.0455
# x^2), are nearly those of the famous "tanh approximation" of GELU.
_TANH_SERIES = (
    1.56769835e-09,
    -1.25268265e-07,
    3.87316223e-06,
    -5.47821250e-05,
    -3.39106526e-05,
    3.63343479e-02,
    7.97884637e-01,
)


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    """Horner's rule, highest power first."""
    out = x * coefficients[0]
    for c in coefficients[1:-1]:
        out += c
        out *= x
    out += coefficients[-1]
    return out


def _quotient(pair: tuple[tuple[float, ...], tuple[float, ...]], x: Array) -> Array:
    return _polynomial(pair[0], x) / _polynomial(pair[1], x)


def _erf_float64(x: Array) -> Array:
    size = np.abs(x)
    out = np.where(np.isnan(x), x, 1.0)  # erf is 1 in float64 beyond 6
    near = size <= 0.46875
    out[near] = size[near] * _quotient(_NEAR_0, size[near] * size[near])
    middle = (size > 0.46875) & (size <= 4)
    y = size[middle]
    out[middle] = 1 - np.exp(-y * y) * _quotient(_MIDDLE, y)
    far = (size > 4) & (size < 6)
    y = size[far]
    z = 1 / (y * y)
    out[far] = 1 - np.exp(-y * y) / y * (1 / math.sqrt(math.pi) - z * _quotient(_FAR, z))
    return np.copysign(out, x)


def erf_of_ratio(x: Array) -> Array:
    """erf(x / sqrt 2) = P(|normal variable| < x), signed: the heart of the exact GELU. x: 1-d."""
    if x.dtype == np.float64:
        return _erf_float64(x / math.sqrt(2))
    if x.dtype == np.float16:
        return erf_of_ratio(x.astype(np.float32)).astype(np.float16)
    # tanh is 1 in float32 long before |x| = 10; the powers of a large x would overflow.
    squared = np.minimum(np.abs(x), 10)
    squared *= squared
    out = _polynomial(_TANH_SERIES, squared)
    out *= x
    return np.tanh(out, out=out)


def erf(x: Array) -> Array:
    """erf of each element of a floating-point array; within 1e-15 (float64), 3e-7 (float32)."""
    if x.ndim == 0:
        return erf(x.reshape(1)).reshape(())
    return _erf_float64(x) if x.dtype == np.float64 else erf_of_ratio(x * math.sqrt(2))
