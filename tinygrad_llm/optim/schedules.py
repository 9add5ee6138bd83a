"""Learning rates that change with the step: functions step -> rate, for step 0, 1, 2, ...

With the default lr=1.0 they give factors, as LambdaLR wants them. Why warm-up: Adam's running means
rest on few gradients at first, and its steps are as large as ever. Why decay: a noisy gradient
makes the weights circle around the minimum at a distance that the rate sets.
"""

from __future__ import annotations

import math
from collections.abc import Callable


def constant(step: int, lr: float = 1.0, warmup_steps: int = 0) -> float:
    """lr; before it, a linear warm-up."""
    return lr * _warmup(step, warmup_steps)


def warmup_linear(
    step: int, warmup_steps: int, total_steps: int, lr: float = 1.0, min_lr: float = 0.0
) -> float:
    """Up to lr in warmup_steps, then on a straight line down to min_lr at total_steps (BERT's)."""
    warm = _warmup(step, warmup_steps)
    if step < warmup_steps:
        return lr * warm
    return min_lr + (lr - min_lr) * (1 - _progress(step, warmup_steps, total_steps))


def warmup_cosine(
    step: int, warmup_steps: int, total_steps: int, lr: float = 1.0, min_lr: float = 0.0
) -> float:
    """Up to lr in warmup_steps, then half a cosine down to min_lr at total_steps (nanoGPT's).

    Loshchilov & Hutter, "SGDR", 2017; Brown et al., "Language Models are Few-Shot Learners", 2020.
    """
    warm = _warmup(step, warmup_steps)
    if step < warmup_steps:
        return lr * warm
    progress = _progress(step, warmup_steps, total_steps)
    return min_lr + (lr - min_lr) * 0.5 * (1 + math.cos(math.pi * progress))


def warmup_stable_decay(
    step: int,
    warmup_steps: int,
    total_steps: int,
    decay_steps: int,
    lr: float = 1.0,
    min_lr: float = 0.0,
) -> float:
    """Warm-up, then lr until decay_steps before the end, then linearly to min_lr.

    One long run can so be ended, by a decay, wherever one likes (Hu et al., "MiniCPM", 2024).
    """
    warm = _warmup(step, warmup_steps)
    if step < warmup_steps:
        return lr * warm
    start = max(warmup_steps, total_steps - decay_steps)
    return min_lr + (lr - min_lr) * (1 - _progress(step, start, total_steps))


def inverse_square_root(step: int, warmup_steps: int, lr: float = 1.0) -> float:
    """Up to lr in warmup_steps, then lr * sqrt(warmup_steps / step): needs no last step."""
    _check(step, warmup_steps)
    count, warmup = step + 1, max(1, warmup_steps)
    return lr * min(count / warmup, math.sqrt(warmup / count))


def noam(step: int, dim: int, warmup_steps: int, factor: float = 1.0) -> float:
    """The rate of Vaswani et al., "Attention Is All You Need", 2017, for a model of width dim."""
    _check(step, warmup_steps)
    count, warmup = step + 1, max(1, warmup_steps)
    return factor * dim**-0.5 * min(count**-0.5, count * warmup**-1.5)


def step_decay(step: int, step_size: int, gamma: float = 0.1, lr: float = 1.0) -> float:
    """lr, times gamma after every step_size steps."""
    if step_size < 1:
        raise ValueError(f"step_decay: step_size={step_size} must be at least 1")
    return lr * gamma ** (step // step_size)


def exponential(step: int, gamma: float, lr: float = 1.0) -> float:
    """lr * gamma^step."""
    return lr * gamma**step


def learning_rate(
    schedule: str,
    step: int,
    *,
    peak: float,
    lowest: float = 0.0,
    warmup_steps: int = 0,
    steps: int,
) -> float:
    """The customary ones by name, for a run of `steps` steps: what a configuration file says.

    "constant", "linear", "cosine", "wsd" (decay in the last fifth) or "inverse-sqrt".
    """
    if schedule == "constant":
        return constant(step, peak, warmup_steps)
    if schedule == "linear":
        return warmup_linear(step, warmup_steps, steps, peak, lowest)
    if schedule == "cosine":
        return warmup_cosine(step, warmup_steps, steps, peak, lowest)
    if schedule == "wsd":
        return warmup_stable_decay(step, warmup_steps, steps, -(-steps // 5), peak, lowest)
    if schedule == "inverse-sqrt":
        return max(lowest, inverse_square_root(step, warmup_steps, peak))
    raise ValueError(
        f"schedule={schedule!r} is not known; use 'constant', 'linear', 'cosine', 'wsd' or "
        f"'inverse-sqrt'"
    )


def _warmup(step: int, warmup_steps: int) -> float:
    """A line that is above 0 at once (a step of size 0 is wasted) and 1 just after the warm-up."""
    _check(step, warmup_steps)
    return min(1.0, (step + 1) / (warmup_steps + 1))


def _check(step: int, warmup_steps: int) -> None:
    for argument, value in (("step", step), ("warmup_steps", warmup_steps)):
        if not value >= 0:
            raise ValueError(f"schedule: {argument}={value!r} must be a number >= 0")


def _progress(step: int, start: int, end: int) -> float:
    """0 up to start, 1 from end on, and a line between."""
    return min(1.0, max(0.0, (step - start) / (end - start))) if end > start else 1.0


SCHEDULES: dict[str, Callable[..., float]] = {
    function.__name__: function
    for function in (
        constant,
        warmup_linear,
        warmup_cosine,
        warmup_stable_decay,
        inverse_square_root,
        noam,
        step_decay,
        exponential,
    )
}
