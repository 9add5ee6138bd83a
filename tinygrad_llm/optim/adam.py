"""Adam and AdamW: steps whose size depends on the gradient's sign more than on its size."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from tinygrad_llm import device
from tinygrad_llm.autograd import Array
from tinygrad_llm.optim.optimizer import Group, Optimizer, check_number
from tinygrad_llm.tensor import Tensor


class _Adaptive(Optimizer):
    """Two running means for each parameter: of the gradient, and of its square."""

    buffers: ClassVar[tuple[str, ...]] = ("step", "exp_avg", "exp_avg_sq")

    def _check(self, group: Group) -> None:
        name = type(self).__name__
        check_number(name, "lr", group["lr"], 0, math.inf)
        betas = group["betas"]
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise ValueError(f"{name}: betas={betas!r} must be two numbers")
        for i, beta in enumerate(betas):
            check_number(name, f"betas[{i}]", beta, 0, 1)
        check_number(name, "eps", group["eps"], 0, math.inf)
        check_number(name, "weight_decay", group["weight_decay"], 0, math.inf)

    def _adamw_step(
        self, p: Tensor, grad: Array, state: dict[str, Any], group: Group, weight_decay: float
    ) -> None:
        if not state:
            state["step"] = 0
            state["exp_avg"] = Tensor.from_op(np.zeros_like(p.array))
            state["exp_avg_sq"] = Tensor.from_op(np.zeros_like(p.array))
        state["step"] += 1
        beta1, beta2 = group["betas"]
        device.kernel("adamw", "adamw_step", p.array)(
            p.array,
            grad,
            state["exp_avg"].array,
            state["exp_avg_sq"].array,
            state["step"],
            group["lr"],
            beta1,
            beta2,
            group["eps"],
            weight_decay,
        )


class AdamW(_Adaptive):
    """Adam with decoupled weight decay: p shrinks by lr * weight_decay, whatever its gradient.

    Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019. The formula stands in
    kernels/adamw/reference.py. `decay_groups` makes the customary two groups.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ):
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    def _update(self, p: Tensor, grad: Array, state: dict[str, Any], group: Group) -> None:
        self._adamw_step(p, grad, state, group, group["weight_decay"])


class Adam(_Adaptive):
    """Kingma & Ba, "Adam: A Method for Stochastic Optimization", 2015.

    weight_decay adds weight_decay * p to the gradient, so the decay is adapted along with it.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    def _update(self, p: Tensor, grad: Array, state: dict[str, Any], group: Group) -> None:
        if group["weight_decay"]:
            decayed = self._spare_like(p.array)
            np.multiply(p.array, group["weight_decay"], out=decayed)
            decayed += grad
            grad = decayed
        self._adamw_step(p, grad, state, group, 0.0)
