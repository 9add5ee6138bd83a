"""What the Numba spellings ask of their arrays: float32, contiguous, writable, not tiny."""

from typing import Any

import numpy as np

Array = Any
F32 = np.dtype(np.float32)


def flat(x: Array) -> Array:
    """x as a contiguous 1-d array. Numba has read-only arrays as a type of their own: a copy."""
    return _ready(x).reshape(-1)


def rows(x: Array) -> Array:
    """x of shape (..., C), C > 0, as a contiguous (N, C)."""
    return _ready(x).reshape(-1, x.shape[-1])


def _ready(x: Array) -> Array:
    x = np.ascontiguousarray(x)
    return x if x.flags.writeable else x.copy()
