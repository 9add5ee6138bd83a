"""The gradient of a table of embeddings: each thread owns some rows of it and looks at all ids.

So every row is summed in the order of the ids, and the result is the same to the bit on any number
of threads. The lookup itself is NumPy's `take` (reference.py).
"""

from typing import Any

import numpy as np

from .._arrays import F32, rows
from .._jit import compiled, instead_of
from .._threads import share
from . import reference

Array = Any

GRAIN = 1 << 15  # elements of dout a thread is woken for


@compiled("void(float32[:, ::1], int64[::1], float32[:, ::1], intp, intp)")
def _scatter_add(dout, ids, dweight, first, last):  # type: ignore[no-untyped-def]
    for i in range(ids.size):
        if first <= ids[i] < last:
            row, d = dweight[ids[i]], dout[i]  # (C,)
            for j in range(d.size):
                row[j] += d[j]


@instead_of(reference.embedding_backward)
def embedding_backward(dout: Array, ids: Array, num_embeddings: int) -> Array:
    if dout.dtype != F32 or not dout.size:
        return reference.embedding_backward(dout, ids, num_embeddings)
    dweight = np.zeros((num_embeddings, dout.shape[-1]), F32)  # (V, C)
    douts, flat_ids = rows(dout), np.array(ids, np.int64).reshape(-1)  # (N, C), (N,)
    pieces = max(1, dout.size // GRAIN)

    def work(first: int, last: int) -> None:
        _scatter_add(douts, flat_ids, dweight, first, last)

    share(work, num_embeddings, max(1, num_embeddings // pieces))
    return dweight
