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


def walkable(x: Array) -> Array:
    """x with neighbouring last elements and no backward steps: a copy only if need be."""
    steps = x.strides
    good = steps[-1] == x.itemsize and min(steps) >= 0 and x.flags.aligned
    return x if good else np.ascontiguousarray(x)


def room_like(like: Array, shape: tuple[int, ...]) -> Array:
    """An array with its axes in memory as those of `like`; plain where `like` repeats an axis."""
    made = np.empty_like(like, shape=shape)
    return made if made.strides[-1] == made.itemsize else np.empty(shape, like.dtype)


def addresses(*arrays: Array) -> list[Any]:
    """Each 4-d array as its address and the steps of its first three axes, in elements; zeros for
    None. Such an array needs no copy and no type of its own. The caller keeps the arrays alive."""
    given: list[Any] = []
    for x in arrays:
        if x is None:
            given += [0, (0, 0, 0)]
        else:
            b, h, t, _ = x.strides
            given += [x.__array_interface__["data"][0], (b // 4, h // 4, t // 4)]
    return given
