"""Cross entropy of logits against class numbers, one loss a row.

loss = -log softmax(x)_y = log(sum_j exp(x_j)) - x_y. The probabilities are never stored: backward
makes them again from the log-sum-exp of each row, which is all that forward saves. With a weight w
per class and label smoothing s (Szegedy et al. 2016), as PyTorch defines the two together:

    loss = (1 - s) w_y (lse - x_y)  +  s/C sum_c w_c (lse - x_c)

A row whose target is ignore_index has loss 0 and gradient 0. float16 is computed in float32, and
losses and logsumexp are then float32.
"""

from typing import Any

import numpy as np

from .._blocks import as_rows, row_blocks

Array = Any


def cross_entropy_forward(
    logits: Array,
    targets: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> tuple[Array, Array]:
    """logits: (N, C), targets: (N,) integers, weight: (C,) or None -> loss: (N,), logsumexp: (N,).

    Targets are ignore_index or in [0, C); the caller has checked them.
    """
    logits = as_rows(logits)  # (N, C)
    wide = np.float32 if logits.dtype == np.float16 else logits.dtype
    count, classes = logits.shape
    loss, logsumexp = np.empty(count, wide), np.empty(count, wide)  # (N,)
    smooth = label_smoothing / classes if classes else 0.0
    for rows in row_blocks(count, classes):
        x, y = logits[rows], targets[rows]  # (n, C), (n,)
        used = y != ignore_index  # (n,)
        y = np.where(used, y, 0)
        largest = x.max(axis=1, keepdims=True)  # (n, 1)
        e = np.subtract(x, largest, dtype=wide)  # (n, C)
        np.exp(e, out=e)
        lse = np.log(e.sum(axis=1))  # (n,)
        lse += largest[:, 0]
        nll = lse - x[np.arange(len(y)), y]  # (n,)
        if weight is not None:
            nll *= weight[y]
        if label_smoothing:
            nll *= 1 - label_smoothing
            np.subtract(lse[:, None], x, out=e)  # (n, C): -log softmax
            nll += smooth * (e.sum(axis=1) if weight is None else e @ weight.astype(wide))
        nll[~used] = 0
        loss[rows], logsumexp[rows] = nll, lse
    return loss, logsumexp


def cross_entropy_backward(
    dloss: Array,
    logits: Array,
    targets: Array,
    logsumexp: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Array:
    """dloss, targets, logsumexp: (N,), logits: (N, C) -> dlogits: (N, C).

    d lse / d x_c = exp(x_c) / sum_j exp(x_j) = softmax(x)_c, and d x_y / d x_c = 1[c = y]. Without
    weights and smoothing, therefore: dlogits_c = dloss (softmax(x)_c - 1[c = y]). With them:

        dlogits_c = dloss ((1 - s) w_y (softmax(x)_c - 1[c = y])
                           + s/C (softmax(x)_c sum_k w_k - w_c))
    """
    logits = as_rows(logits)  # (N, C)
    wide = logsumexp.dtype
    count, classes = logits.shape
    dlogits = np.empty(logits.shape, logits.dtype)  # (N, C)
    smooth = label_smoothing / classes if classes else 0.0
    for rows in row_blocks(count, classes):
        y = targets[rows]  # (n,)
        used = y != ignore_index  # (n,)
        y = np.where(used, y, 0)
        d = dloss[rows].astype(wide, copy=False)  # (n,)
        at_target = d * (1 - label_smoothing)  # (n,): how strongly the target class pulls
        if weight is not None:
            at_target *= weight[y]
        total = at_target  # (n,): the pulls of all classes together
        if label_smoothing:
            total = at_target + d * (smooth * (classes if weight is None else weight.sum()))
        same = logits.dtype == wide
        p = np.subtract(logits[rows], logsumexp[rows, None], out=dlogits[rows] if same else None)
        np.exp(p, out=p)  # (n, C): softmax
        p *= total[:, None]
        if label_smoothing:
            every = d * smooth  # (n,)
            p -= every[:, None] if weight is None else np.multiply.outer(every, weight)
        p[np.arange(len(y)), y] -= at_target
        p[~used] = 0
        if not same:
            dlogits[rows] = p
    return dlogits
