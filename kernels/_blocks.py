"""Work on one cacheful at a time: a formula of ten NumPy calls then reads memory once, not ten."""

from collections.abc import Iterator
from typing import Any

import numpy as np

BLOCK = 1 << 15  # elements: 128 kB of float32, so that a few such blocks fit into a core's cache


def as_rows(x: Any) -> Any:
    """x of shape (..., C) as a contiguous (N, C); a view where x is contiguous already."""
    columns = x.shape[-1]
    rows = x.size // columns if columns else 0
    return np.ascontiguousarray(x).reshape(rows, columns)


def row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Slices that cut `rows` rows of `columns` elements into blocks of about BLOCK elements."""
    step = max(1, BLOCK // max(columns, 1))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def flat_blocks(size: int) -> Iterator[slice]:
    """Slices that cut `size` elements into blocks of BLOCK."""
    for start in range(0, size, BLOCK):
        yield slice(start, min(start + BLOCK, size))
