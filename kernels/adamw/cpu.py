"""AdamW in one pass over parameter, gradient and both means; the formula stands in reference.py."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .._arrays import F32, flat
from .._jit import compiled, instead_of
from .._scalar import f32
from .._threads import run, share
from . import reference

Array = Any

GRAIN = 1 << 16  # elements a thread is woken for
BLOCK = 1 << 18  # elements of one partial sum: fixed, so that the sum is always the same
_V = "float32[::1]"
_NUMBERS = ", ".join(["float64"] * 6)


@compiled(f"void({_V}, {_V}, {_V}, {_V}, {_NUMBERS}, intp, intp)")
def _step(p, g, m, v, rate, keep, beta1, beta2, inverse_root, eps, first, last):  # type: ignore[no-untyped-def]
    p, g, m, v = p[first:last], g[first:last], m[first:last], v[first:last]
    rate, keep, inverse_root, eps = f32(rate), f32(keep), f32(inverse_root), f32(eps)
    new1, new2 = f32(1 - beta1), f32(1 - beta2)
    beta1, beta2 = f32(beta1), f32(beta2)
    for i in range(p.size):
        d = g[i]
        mean = beta1 * m[i] + new1 * d
        square = beta2 * v[i] + new2 * (d * d)
        m[i] = mean
        v[i] = square
        p[i] = keep * p[i] - rate * (mean / (math.sqrt(square) * inverse_root + eps))


@compiled(f"float64({_V}, intp, intp)", fastmath={"contract", "reassoc"})
def _sum_of_squares(x, first, last):  # type: ignore[no-untyped-def]
    """In double: 40 million squares in float32 would lose the last ones; large ones overflow."""
    x = x[first:last]
    total = 0.0
    for i in range(x.size):
        d = np.float64(x[i])
        total += d * d
    return total


@instead_of(reference.adamw_step)
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
    ours = (param, exp_avg, exp_avg_sq)
    if grad.dtype != F32 or not all(
        a.dtype == F32 and a.flags.c_contiguous and a.flags.writeable for a in ours
    ):
        reference.adamw_step(
            param, grad, exp_avg, exp_avg_sq, step, lr, beta1, beta2, eps, weight_decay
        )
        return
    p, m, v = (a.reshape(-1) for a in ours)
    numbers = (
        lr / (1 - beta1**step),
        1 - lr * weight_decay,
        float(beta1),
        float(beta2),
        1 / math.sqrt(1 - beta2**step),
        float(eps),
    )
    g = flat(grad)
    share(lambda first, last: _step(p, g, m, v, *numbers, first, last), p.size, GRAIN)


@instead_of(reference.grad_norm)
def grad_norm(grads: Iterable[Array]) -> float:
    total = 0.0
    for grad in grads:
        if grad.dtype != F32:
            total += reference.grad_norm([grad]) ** 2
            continue
        x = flat(grad.ravel(order="K"))  # a view where possible: the order does not matter
        blocks = -(-x.size // BLOCK)
        if blocks == 1:
            total += _sum_of_squares(x, 0, x.size)
            continue
        partial = [0.0] * blocks

        def work(i: int, x: Array = x, partial: list[float] = partial) -> None:
            partial[i] = _sum_of_squares(x, i * BLOCK, min(x.size, (i + 1) * BLOCK))

        run(work, blocks)
        total += sum(partial)
    return math.sqrt(total)
