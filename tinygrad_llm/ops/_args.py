"""Checking the arguments that many operations share; the messages name argument and shape."""

import operator
from typing import Any

Shape = tuple[int, ...]


def as_dim(name: str, dim: Any, shape: Shape, new: bool = False) -> int:
    """dim in 0..len(shape)-1. A negative one counts from the end; a 0-d tensor has 0 and -1.

    new: the dim is the place of an axis to be added, so there is one more.
    """
    try:
        given = operator.index(dim)
    except TypeError:
        raise TypeError(f"{name}: dim={dim!r} is not accepted; use an integer") from None
    n = len(shape) + 1 if new else len(shape) or 1
    if not -n <= given < n:
        raise IndexError(
            f"{name}: dim={given} is out of range for shape {shape}; use {-n} to {n - 1}"
        )
    return given % n


def as_dims(name: str, dim: Any, shape: Shape) -> tuple[int, ...]:
    """One dim, several, or None for all, as a tuple of distinct axes."""
    if dim is None:
        return tuple(range(len(shape)))
    if isinstance(dim, (tuple, list)):
        dims = tuple([as_dim(name, d, shape) for d in dim])
        if len(set(dims)) != len(dims):
            raise ValueError(f"{name}: dim={tuple(dim)} names an axis of shape {shape} twice")
        return dims
    return (as_dim(name, dim, shape),)


def reduced_dims(name: str, dim: Any, shape: Shape) -> tuple[int, ...]:
    """The axes that a reduction takes away, for NumPy: all for None and for () (as in PyTorch).

    A 0-d array has no axis 0, though PyTorch lets one name it.
    """
    every = tuple(range(len(shape)))
    if dim is None:
        return every
    dims = as_dims(name, dim, shape)
    return dims or every if shape else ()


def as_shape(name: str, sizes: Any, allow_minus_one: bool = False) -> Shape:
    """A shape given as f(2, 3) or f((2, 3))."""
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = tuple(sizes[0])
    try:
        shape = tuple([operator.index(n) for n in sizes])
    except TypeError:
        raise TypeError(f"{name}: shape={tuple(sizes)!r} is not accepted; use integers") from None
    lowest = -1 if allow_minus_one else 0
    if any(n < lowest for n in shape) or shape.count(-1) > 1:
        raise ValueError(
            f"{name}: shape={shape} is not accepted; sizes are at least 0"
            + (", and one of them may be -1" if allow_minus_one else "")
        )
    return shape


def check_indices(name: str, index: Any, size: int, dim: int) -> None:
    """Raise IndexError, naming the first offender, unless all of `index` lie in [0, size)."""
    if index.size and (int(index.min()) < 0 or int(index.max()) >= size):
        bad = index[(index < 0) | (index >= size)].ravel()[0]
        raise IndexError(f"{name}: index {bad} is out of range for dim {dim} of size {size}")
