"""Initial values, in place, by PyTorch's names. Random ones follow `manual_seed`.

Why it matters: y = W x sums fan_in terms, so its variance is fan_in * var(W) * mean(x^2). With
var(W) = 1 / fan_in the size of the activations is the same in every layer; with twice that it
doubles, and after fifty layers is infinite. Xavier balances this with the same argument for the
gradients, which flow through W transposed; Kaiming adds the factor 2 for ReLU, which drops half.
Glorot & Bengio, "Understanding the difficulty of training deep feedforward networks", 2010;
He et al., "Delving deep into rectifiers", 2015; Saxe et al., "Exact solutions ...", 2014.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from tinygrad_llm import rng
from tinygrad_llm.autograd import Array
from tinygrad_llm.tensor import Tensor

T = TypeVar("T", bound=Tensor)


class _Mode(threading.local):
    """Per thread: whether random values are drawn."""

    random = True


_mode = _Mode()


@contextlib.contextmanager
def skip_init() -> Iterator[None]:
    """Within the block, draw no random initial values: weights of new layers stay 0.

    For a model that is about to be loaded, or that has initial values of its own: drawing 124
    million numbers takes seconds.
    """
    previous, _mode.random = _mode.random, False
    try:
        yield
    finally:
        _mode.random = previous


_GAINS = {
    **dict.fromkeys(("linear", "identity", "sigmoid"), 1.0),
    "tanh": 5.0 / 3,
    "relu": math.sqrt(2.0),
    "selu": 0.75,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By how much more weights must spread before this activation, to keep the variance.

    param: the negative slope, for "leaky_relu" (default 0.01).
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in _GAINS:
        raise ValueError(
            f"calculate_gain: nonlinearity={nonlinearity!r} is not known; use one of "
            f"{', '.join(map(repr, [*_GAINS, 'leaky_relu']))}"
        )
    return _GAINS[nonlinearity]


def _write(tensor: T, values: Any) -> T:
    tensor.array[...] = values
    tensor.mark_changed("nn.init")
    return tensor


def _draw(tensor: T, values: Callable[[], Any]) -> T:
    return _write(tensor, values()) if _mode.random else tensor


def _draw_dtype(tensor: Tensor) -> Any:
    """float64 for float64, float32 for all below: half the time and memory."""
    return np.float64 if tensor.dtype == np.float64 else np.float32


def _normal(tensor: Tensor) -> Array:
    return rng.state.generator.standard_normal(tensor.shape, dtype=_draw_dtype(tensor))


def uniform_(tensor: T, a: float = 0.0, b: float = 1.0) -> T:
    """Uniform in [a, b)."""
    if not a <= b:
        raise ValueError(f"uniform_: a={a} is greater than b={b}")

    def values() -> Array:
        drawn = rng.state.generator.random(tensor.shape, dtype=_draw_dtype(tensor))
        drawn *= b - a
        drawn += a
        return drawn

    return _draw(tensor, values)


def normal_(tensor: T, mean: float = 0.0, std: float = 1.0) -> T:
    """Normal with that mean and standard deviation."""
    if not std >= 0:
        raise ValueError(f"normal_: std={std} is negative")

    def values() -> Array:
        drawn = _normal(tensor)
        drawn *= std
        if mean:
            drawn += mean
        return drawn

    return _draw(tensor, values)


def trunc_normal_(
    tensor: T, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
) -> T:
    """Normal, but what falls outside [a, b] is drawn again. a and b are values, not multiples."""
    if not std > 0:
        raise ValueError(f"trunc_normal_: std={std} must be positive")
    # Redrawing ends soon only if the interval holds a fair part of the distribution.
    if not (a < b and a <= mean + 2 * std and b >= mean - 2 * std):
        raise ValueError(
            f"trunc_normal_: [a, b] = [{a}, {b}] lies more than two standard deviations from "
            f"mean={mean} (std={std}), or is empty"
        )

    def values() -> Array:
        drawn = _normal(tensor) * std + mean
        outside = (drawn < a) | (drawn > b)
        while outside.any():
            drawn[outside] = rng.state.generator.standard_normal(int(outside.sum())) * std + mean
            outside = (drawn < a) | (drawn > b)
        return drawn

    return _draw(tensor, values)


def constant_(tensor: T, val: float) -> T:
    return _write(tensor, val)


def zeros_(tensor: T) -> T:
    return _write(tensor, 0)


def ones_(tensor: T) -> T:
    return _write(tensor, 1)


def eye_(tensor: T) -> T:
    """1 on the diagonal of a matrix, 0 elsewhere."""
    if tensor.ndim != 2:
        raise ValueError(f"eye_: shape {tensor.shape} is no matrix")
    return _write(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


def _fans(name: str, tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out): how many terms a sum has, forward and backward. weight is (out, in, ..)"""
    if tensor.ndim < 2:
        raise ValueError(f"{name}: shape {tensor.shape} has no fan in and out; give (out, in)")
    each = math.prod(tensor.shape[2:])
    return tensor.shape[1] * each, tensor.shape[0] * each


def xavier_uniform_(tensor: T, gain: float = 1.0) -> T:
    """Uniform with variance gain^2 * 2 / (fan_in + fan_out)."""
    bound = gain * math.sqrt(6.0 / max(1, sum(_fans("xavier_uniform_", tensor))))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: T, gain: float = 1.0) -> T:
    """Normal with variance gain^2 * 2 / (fan_in + fan_out)."""
    return normal_(tensor, 0, gain * math.sqrt(2.0 / max(1, sum(_fans("xavier_normal_", tensor)))))


def _kaiming_std(name: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{name}: mode={mode!r} is not known; use 'fan_in' or 'fan_out'")
    fan = _fans(name, tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(1, fan))


def kaiming_uniform_(
    tensor: T, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> T:
    """Uniform with variance gain^2 / fan. a: the negative slope of leaky_relu."""
    std = _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    # A uniform variable in [-b, b] has the variance b^2 / 3.
    return uniform_(tensor, -math.sqrt(3.0) * std, math.sqrt(3.0) * std)


def kaiming_normal_(
    tensor: T, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> T:
    """Normal with variance gain^2 / fan. a: the negative slope of leaky_relu."""
    return normal_(tensor, 0, _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity))


def orthogonal_(tensor: T, gain: float = 1.0) -> T:
    """Rows (or columns, whichever are fewer) that are orthonormal, times gain."""
    _fans("orthogonal_", tensor)
    rows = tensor.shape[0]
    columns = math.prod(tensor.shape[1:])

    def values() -> Array:
        matrix = rng.state.generator.standard_normal((max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(matrix)
        q *= np.sign(np.diagonal(r))  # makes q uniform over all rotations (Mezzadri, 2007)
        q = q.T if rows < columns else q
        return gain * q.reshape(tensor.shape)

    return _draw(tensor, values)
