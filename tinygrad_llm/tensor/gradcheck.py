"""Is a backward right? Compare it with finite differences, along random directions.

For f(x) with gradient g, the slope along a direction v is g . v, and also
(f(x + h v) - f(x - h v)) / 2h up to O(h^2). Two evaluations test all entries of g at once, where
entry by entry would take two for each (HIPS autograd's check_grads does the same).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_llm.autograd import Function, no_grad
from tinygrad_llm.tensor.core import Tensor


class GradcheckError(AssertionError):
    """The gradient and the finite difference disagree."""


def gradcheck(
    function: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    eps: float = 1e-6,
    atol: float = 1e-6,
    rtol: float = 1e-5,
    directions: int = 2,
    seed: int = 0,
) -> bool:
    """Check d function / d input for every input that requires a gradient; True, or an error.

    function: takes the inputs, returns a tensor or a tuple of them, the same every time. inputs:
    float64 tensors (others are passed on as they are), away from kinks such as relu's at 0. The
    error names the argument and gives both numbers.
    """
    given = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    checked = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError("gradcheck: no input requires a gradient")
    for i in checked:
        if given[i].dtype != np.float64:
            raise TypeError(
                f"gradcheck: input {i} is {given[i].dtype}; finite differences need float64"
            )
    rng = np.random.default_rng(seed)
    outputs = _floating(function(*given))
    for out in outputs:
        if out.dtype != np.float64:
            raise TypeError(f"gradcheck: the output is {out.dtype}; its rounding hides the slope")
    weights = [rng.standard_normal(out.shape) for out in outputs]
    gradients = _gradients(outputs, weights, given, checked)

    def weighted(arrays: list[np.ndarray]) -> float:
        """The outputs as one number, with every element counting differently."""
        values = list(given)
        for i, array in zip(checked, arrays, strict=True):
            values[i] = Tensor(array, requires_grad=False)
        with no_grad():
            results = _floating(function(*values))
        terms = [float((w * r.array).sum()) for w, r in zip(weights, results, strict=True)]
        return math.fsum(terms)

    start = [given[i].array.copy() for i in checked]
    for position, i in enumerate(checked):
        for _ in range(directions):
            v = rng.standard_normal(given[i].shape)
            up, down = list(start), list(start)
            up[position] = start[position] + eps * v
            down[position] = start[position] - eps * v
            numeric = (weighted(up) - weighted(down)) / (2 * eps)
            analytic = float((gradients[position] * v).sum())
            if not abs(numeric - analytic) <= atol + rtol * max(abs(numeric), abs(analytic)):
                raise GradcheckError(
                    f"gradcheck: argument {_name(function, i)} of shape {given[i].shape}: backward "
                    f"gives a slope of {analytic:.9g}, the finite difference {numeric:.9g} (ratio "
                    f"{analytic / numeric if numeric else float('nan'):.6g})"
                )
    return True


def _name(function: Callable[..., Any], i: int) -> str:
    """The name of argument number i, as far as Python knows it."""
    cls = getattr(function, "__self__", None)
    if isinstance(cls, type) and issubclass(cls, Function):  # of `apply`, forward has the names
        names = list(inspect.signature(cls.forward).parameters.values())[1:]
    else:
        try:
            names = list(inspect.signature(function).parameters.values())
        except (ValueError, TypeError):
            names = []
    if i < len(names) and names[i].kind is not inspect.Parameter.VAR_POSITIONAL:
        return repr(names[i].name)
    return str(i)


def _floating(outputs: Any) -> list[Tensor]:
    several = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    return [out for out in several if isinstance(out, Tensor) and out.dtype.kind == "f"]


def _gradients(
    outputs: list[Tensor], weights: list[np.ndarray], given: list[Any], checked: list[int]
) -> list[np.ndarray]:
    saved = [given[i].grad for i in checked]
    for i in checked:
        given[i].grad = None
    total: Any = None
    for out, w in zip(outputs, weights, strict=True):
        term = (out * Tensor(w)).sum()
        total = term if total is None else total + term
    if total is not None and total.requires_grad:
        total.backward()
    gradients = []
    for i, before in zip(checked, saved, strict=True):
        grad = given[i].grad
        gradients.append(np.zeros(given[i].shape) if grad is None else grad.array)
        given[i].grad = before
    return gradients
