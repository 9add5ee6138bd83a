"""AdamW (Kingma & Ba, "Adam", 2015; Loshchilov & Hutter, "Decoupled Weight Decay", 2019).

    m <- beta1 m + (1 - beta1) g                 running mean of the gradient
    v <- beta2 v + (1 - beta2) g^2               running mean of its square
    p <- p - lr wd p - lr m^ / (sqrt(v^) + eps)  with m^ = m / (1 - beta1^t), v^ = v / (1 - beta2^t)

m and v start at 0 and are too small by the factors 1 - beta^t at step t = 1, 2, ...; hence the
hats. The decay wd is apart from the gradient: put into g, it would be divided by sqrt(v^), and
weights with large gradients would hardly decay.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .._blocks import flat_blocks

Array = Any


def adamw_step(
    param: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> None:
    """Update param, exp_avg (m) and exp_avg_sq (v) in place; all have one shape. step: from 1."""
    rate = lr / (1 - beta1**step)
    root = math.sqrt(1 - beta2**step)
    for p, g, m, v in _blocks(param, grad, exp_avg, exp_avg_sq):
        if weight_decay:
            p *= 1 - lr * weight_decay
        # One spare block is all the memory this takes.
        spare = np.multiply(g, 1 - beta1, dtype=m.dtype)
        m *= beta1
        m += spare
        np.multiply(g, g, out=spare, dtype=m.dtype)
        spare *= 1 - beta2
        v *= beta2
        v += spare
        np.sqrt(v, out=spare)
        spare /= root
        spare += eps
        np.divide(m, spare, out=spare)
        spare *= rate
        p -= spare


def _blocks(*arrays: Array) -> Iterable[tuple[Array, ...]]:
    """The arrays in pieces that fit into the cache; as they are if they cannot be flattened."""
    if not all(a.flags.c_contiguous for a in arrays):
        return [arrays]
    flat = [a.reshape(-1) for a in arrays]
    return (tuple(a[part] for a in flat) for part in flat_blocks(arrays[0].size))


def grad_norm(grads: Iterable[Array]) -> float:
    """The Euclidean norm of all the elements of all the arrays together.

    Blocks are summed in the arrays' precision and added up in double: 40 million squares in float32
    would lose the last ones. Squares too large or too small for that are taken again in double.
    """
    total = 0.0
    for grad in grads:
        flat = grad.ravel(order="K")  # a view where possible: the order does not matter
        for part in flat_blocks(flat.size):
            block = flat[part]
            with np.errstate(all="ignore"):
                square = float(np.dot(block, block)) if block.itemsize > 2 else math.inf
            if not 1e-20 < square < math.inf:
                block = block.astype(np.float64)
                square = float(np.dot(block, block))
            total += square
    return math.sqrt(total)
