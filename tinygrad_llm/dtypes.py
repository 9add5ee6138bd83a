"""dtypes by their PyTorch names, and which one the result of a mixed operation has.

A dtype is NumPy's own object, so `x.dtype == np.float32` and `tinygrad_llm.float32` agree.
"""

import builtins
from typing import Any

import numpy as np

float16 = half = np.dtype(np.float16)
float32 = float = np.dtype(np.float32)  # noqa: A001  (PyTorch's name)
float64 = double = np.dtype(np.float64)
uint8 = np.dtype(np.uint8)
int8 = np.dtype(np.int8)
int16 = short = np.dtype(np.int16)
int32 = int = np.dtype(np.int32)  # noqa: A001
int64 = long = np.dtype(np.int64)
bool = np.dtype(np.bool_)  # noqa: A001

DEFAULT = float32

_CATEGORY = {"b": 0, "u": 1, "i": 1, "f": 2}


def category(dtype: np.dtype) -> builtins.int:
    """0 for bool, 1 for integers, 2 for floats."""
    return _CATEGORY[dtype.kind]


def resolve(dtype: Any) -> np.dtype:
    """A dtype of ours from a dtype, a NumPy type, a Python type or a name such as "float32".

    Python's own `float` is float64, as in PyTorch; only Python's numbers become float32.
    """
    try:
        resolved = np.dtype(dtype) if dtype is not None else None
    except TypeError:
        resolved = None
    if resolved is None or resolved.kind not in _CATEGORY or resolved.itemsize > 8:
        raise TypeError(f"dtype={dtype!r} is not accepted; use a float, integer or bool dtype")
    return resolved


def is_floating(dtype: np.dtype) -> builtins.bool:
    return dtype.kind == "f"


def promote(a: Any, b: Any) -> np.dtype:
    """The dtype of `a + b` for two arrays, by PyTorch's rules.

    The higher category (bool < integer < float) wins; within a category the wider dtype, but a
    0-d array does not widen an array with dimensions (it stands for a number).
    """
    if a.dtype == b.dtype:
        return a.dtype
    rank_a, rank_b = category(a.dtype), category(b.dtype)
    if rank_a != rank_b:
        # An integer never widens a float, unlike in NumPy (int64 + float32 -> float64).
        return a.dtype if rank_a > rank_b else b.dtype
    if (a.ndim == 0) != (b.ndim == 0):
        return a.dtype if a.ndim else b.dtype
    return np.promote_types(a.dtype, b.dtype)
