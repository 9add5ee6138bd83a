"""A schedule that sets the rates of an optimiser's groups, and remembers where it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_llm.errors import CheckpointError
from tinygrad_llm.optim.optimizer import Optimizer


class LRScheduler:
    """Base: after `step()` number t, each group's lr is get_lr()'s for `last_epoch` = t.

    Call it after the optimiser's step. `base_lrs`: the rates that the groups had at first.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{type(self).__name__}: expected an Optimizer, not {type(optimizer).__name__}"
            )
        self.optimizer = optimizer
        self.last_epoch = last_epoch
        # A second scheduler starts from what the first one started from.
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.step()

    def get_lr(self) -> list[float]:
        """The rate of each group at `last_epoch`."""
        raise NotImplementedError(f"{type(self).__name__}.get_lr is not written")

    def get_last_lr(self) -> list[float]:
        """The rates in force."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def step(self) -> None:
        self.last_epoch += 1
        self._set()

    def _set(self) -> None:
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = lr

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, for a JSON file. The schedule itself is code, and not saved."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there; the rates are set at once."""
        try:
            last_epoch, base_lrs = int(state_dict["last_epoch"]), list(state_dict["base_lrs"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{type(self).__name__}.load_state_dict: expected a dict with the number "
                f"'last_epoch' and the list 'base_lrs' ({error!r})"
            ) from None
        if len(base_lrs) != len(self.base_lrs):
            raise CheckpointError(
                f"{type(self).__name__}.load_state_dict: {len(base_lrs)} groups were saved, the "
                f"optimiser has {len(self.base_lrs)}"
            )
        self.last_epoch, self.base_lrs = last_epoch, base_lrs
        self._set()


class LambdaLR(LRScheduler):
    """lr = base_lr * lr_lambda(t): one function, or one for each group.

    functools.partial(warmup_cosine, warmup_steps=100, total_steps=2000) makes one from a schedule.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ):
        groups = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != groups:
            raise ValueError(
                f"LambdaLR: lr_lambda holds {len(self.lr_lambdas)} functions for {groups} groups"
            )
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [
            base * function(self.last_epoch)
            for base, function in zip(self.base_lrs, self.lr_lambdas, strict=True)
        ]
