"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from tinygrad_llm.autograd import Array
from tinygrad_llm.optim.optimizer import Group, Optimizer, check_number
from tinygrad_llm.tensor import Tensor


class SGD(Optimizer):
    """p <- p - lr * g, where g may be smoothed over the steps.

    weight_decay adds weight_decay * p to the gradient. momentum keeps a velocity
    v <- momentum * v + (1 - dampening) * g (the first v is g) and steps along it; nesterov along
    g + momentum * v, the gradient after the coming step (Sutskever et al., 2013, as PyTorch does).
    """

    buffers: ClassVar[tuple[str, ...]] = ("momentum_buffer",)

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ):
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
        }
        super().__init__(params, defaults)

    def _check(self, group: Group) -> None:
        check_number("SGD", "lr", group["lr"], 0, math.inf)
        check_number("SGD", "momentum", group["momentum"], 0, math.inf)
        check_number("SGD", "dampening", group["dampening"], -math.inf, math.inf)
        check_number("SGD", "weight_decay", group["weight_decay"], 0, math.inf)
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise ValueError(
                f"SGD: nesterov=True needs momentum > 0 and dampening=0, not "
                f"momentum={group['momentum']}, dampening={group['dampening']}"
            )

    def _update(self, p: Tensor, grad: Array, state: dict[str, Any], group: Group) -> None:
        lr, momentum = group["lr"], group["momentum"]
        g = self._spare_like(p.array)
        np.multiply(p.array, group["weight_decay"], out=g)
        g += grad
        if not momentum:
            parts = [(g, lr)]
        else:
            if state.get("momentum_buffer") is None:
                velocity = g.copy()
                state["momentum_buffer"] = Tensor.from_op(velocity)
            else:
                velocity = state["momentum_buffer"].array
                velocity *= momentum
                if group["dampening"]:
                    g *= 1 - group["dampening"]
                velocity += g
            parts = [(g, lr), (velocity, lr * momentum)] if group["nesterov"] else [(velocity, lr)]
        for direction, rate in parts:
            np.multiply(direction, rate, out=g)  # g itself comes first, if at all
            p.array -= g
