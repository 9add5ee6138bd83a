"""Cross entropy of logits against class numbers, with its reduction, as one operation.

The formulas for one row, forward and backward, stand in `kernels/cross_entropy/reference.py`.
"""

import math

import numpy as np

from tinygrad_llm.autograd import Array, Function
from tinygrad_llm.device import kernel


class CrossEntropy(Function):
    """logits: (C,), (N, C) or (N, C, d1, ...), targets: the same without C, weight: (C,) or None.

    reduction: "none", "sum" or "mean"; the mean divides by the sum of the targets' weights.
    """

    def forward(
        self,
        logits: Array,
        targets: Array,
        weight: Array | None,
        ignore_index: int,
        label_smoothing: float,
        reduction: str,
    ) -> Array:
        self.shape = logits.shape
        self.logits = self.as_rows(logits)  # (rows, C)
        self.targets = targets.reshape(-1)  # (rows,)
        self.weight, self.settings = weight, (ignore_index, label_smoothing)
        loss, self.logsumexp = kernel("cross_entropy", "cross_entropy_forward", logits)(
            self.logits, self.targets, weight, *self.settings
        )
        self.divisor: float | None = None
        if reduction == "none":
            return loss.reshape(targets.shape).astype(logits.dtype, copy=False)
        if reduction == "sum":
            self.divisor = 1.0
        else:
            used = self.targets != ignore_index
            counts = used if weight is None else weight[self.targets[used]]
            self.divisor = float(counts.sum())
        # Nothing to average is 0/0: nan, as in PyTorch.
        mean = loss.sum() / self.divisor if self.divisor else loss.dtype.type(math.nan)
        return np.asarray(mean, dtype=logits.dtype)

    def as_rows(self, logits: Array) -> Array:
        if logits.ndim == 2:
            return logits
        if logits.ndim == 1:
            return logits.reshape(1, -1)
        classes = logits.shape[1]
        return np.moveaxis(logits, 1, -1).reshape(logits.size // max(classes, 1), classes)

    def backward(self, dout: Array) -> Array:
        rows = self.targets.size
        if self.divisor is None:
            dloss = dout.reshape(-1)
        else:
            # One number for all rows. Without a divisor all rows are ignored: theirs is 0 anyway.
            each = dout.astype(self.logsumexp.dtype) / (self.divisor or 1.0)
            dloss = np.broadcast_to(each, rows)
        # loss = log(sum_j exp(x_j)) - x_y, without weights and smoothing, for a row x of target y.
        # The logarithm's derivative by x_c is softmax(x)_c: dx_c = dloss (softmax(x)_c - 1[c = y]).
        dlogits = kernel("cross_entropy", "cross_entropy_backward", dout)(
            dloss, self.logits, self.targets, self.logsumexp, self.weight, *self.settings
        )
        if len(self.shape) == 2:
            return dlogits
        if len(self.shape) == 1:
            return dlogits.reshape(self.shape)
        n, classes, *others = self.shape
        return np.moveaxis(dlogits.reshape(n, *others, classes), -1, 1)
