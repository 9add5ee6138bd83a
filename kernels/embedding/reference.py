"""Rows of a table by number, and the way back: every row gets the sum of its uses' gradients."""

from typing import Any

import numpy as np

from .._blocks import as_rows, row_blocks

Array = Any


def embedding_forward(ids: Array, weight: Array) -> Array:
    """ids: (...) integers in [0, V), weight: (V, C) -> out: (..., C)."""
    return weight.take(ids, axis=0)


def embedding_backward(dout: Array, ids: Array, num_embeddings: int) -> Array:
    """dout: (..., C), ids: (...) -> dweight: (V, C), V = num_embeddings.

    Added one after another in the order of ids, so that the result is always the same to the bit.
    `np.add.at` is quick only for 1-d arrays: the numbers of the single elements are spelled out.
    """
    if dout.dtype == np.float16:
        wide = embedding_backward(dout.astype(np.float32), ids, num_embeddings)
        return wide.astype(np.float16)
    columns = dout.shape[-1]
    dweight = np.zeros((num_embeddings, columns), dout.dtype)  # (V, C)
    flat, douts, idss = dweight.reshape(-1), as_rows(dout), ids.reshape(-1)
    for rows in row_blocks(*douts.shape):
        first = idss[rows, None].astype(np.int64) * columns  # (n, 1)
        np.add.at(flat, (first + np.arange(columns)).reshape(-1), douts[rows].reshape(-1))
    return dweight
