"""Keeping gradients within bounds before a step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinygrad_llm import device
from tinygrad_llm.autograd import Array, Variable


def _gradients(parameters: Any) -> list[Array]:
    given = [parameters] if isinstance(parameters, Variable) else list(parameters)
    return [p.grad.array for p in given if p.grad is not None]


def grad_norm(parameters: Any, norm_type: float = 2.0) -> float:
    """The norm of all gradients, as if they were one long vector; 0.0 if there is none."""
    gradients = _gradients(parameters)
    if norm_type == 2:
        return device.kernel("adamw", "grad_norm")(gradients)
    sizes = [np.abs(g, dtype=np.float64) for g in gradients if g.size]
    if norm_type == math.inf:
        return max((float(size.max()) for size in sizes), default=0.0)
    if not norm_type > 0:
        raise ValueError(f"grad_norm: norm_type={norm_type} must be positive, or inf")
    return sum(float((size**norm_type).sum()) for size in sizes) ** (1 / norm_type)


def clip_grad_norm_(
    parameters: Any,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> float:
    """Scale all gradients, in place and by one factor, so that their norm is at most max_norm.

    Returns the norm before. If it is not finite the gradients are left as they are (scaling would
    make all of them NaN), or with error_if_nonfinite RuntimeError is raised: so
    `math.isfinite(clip_grad_norm_(...))` says whether to take the step.
    Pascanu et al., "On the difficulty of training recurrent neural networks", 2013.
    """
    if not max_norm >= 0:
        raise ValueError(f"clip_grad_norm_: max_norm={max_norm!r} must be a number >= 0")
    parameters = [parameters] if isinstance(parameters, Variable) else list(parameters)
    total = grad_norm(parameters, norm_type)
    if not math.isfinite(total):
        if error_if_nonfinite:
            raise RuntimeError(
                f"clip_grad_norm_: the norm of the gradients is {total}; {_culprits(parameters)}"
            )
        return total
    factor = max_norm / (total + 1e-6)  # PyTorch's: never divides by 0
    if factor < 1:
        for gradient in _gradients(parameters):
            gradient *= factor
    return total


def clip_grad_value_(parameters: Any, clip_value: float) -> None:
    """Bring each element of the gradients into [-clip_value, clip_value], in place."""
    if not clip_value >= 0:
        raise ValueError(f"clip_grad_value_: clip_value={clip_value!r} must be a number >= 0")
    for gradient in _gradients(parameters):
        np.clip(gradient, -clip_value, clip_value, out=gradient)


def _culprits(parameters: Iterable[Any]) -> str:
    """Which parameters have a gradient that is not finite."""
    bad = [
        f"number {i} (shape {p.shape})"
        for i, p in enumerate(parameters)
        if p.grad is not None and not np.isfinite(p.grad.array).all()
    ]
    return "not finite: " + ", ".join(bad[:3]) + (", ..." if len(bad) > 3 else "")
