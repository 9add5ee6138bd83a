"""What every optimiser shares: groups of parameters, state by parameter, saving and restoring."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from tinygrad_llm import autograd
from tinygrad_llm.autograd import Array, Variable
from tinygrad_llm.errors import CheckpointError
from tinygrad_llm.tensor import Tensor

Group = dict[str, Any]


class Optimizer:
    """Base of all. Subclasses give `defaults` to __init__, and write `_check` and `_update`.

    params: tensors, (name, tensor) pairs, or dicts {"params": ..., "lr": ...} whose entries replace
    the defaults for their tensors. `param_groups` is the list of those dicts, and may be changed
    between steps; `state[p]` holds what is remembered about p. Parameters without gradient are
    skipped: neither changed nor given a state.
    """

    # What state[p] may hold: name -> Tensor or int.
    buffers: ClassVar[tuple[str, ...]] = ()

    _spare: Array = np.empty(0)

    def __init__(self, params: Any, defaults: dict[str, Any]):
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self.state: dict[Tensor, dict[str, Any]] = defaultdict(dict)
        groups = _listed(type(self).__name__, params)
        if not groups:
            raise ValueError(f"{type(self).__name__}: params is empty, there is nothing to train")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: Group) -> None:
        """Take in more parameters, with their own settings."""
        name = type(self).__name__
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise TypeError(f"{name}: a group is a dict with 'params', not {param_group!r:.80}")
        unknown = set(param_group) - set(self.defaults) - {"params", "initial_lr"}
        if unknown:
            raise ValueError(
                f"{name}: unknown setting {sorted(unknown)[0]!r} in a group; "
                f"known are {', '.join(self.defaults)}"
            )
        given = param_group["params"]
        tensors = [given] if isinstance(given, Variable) else _listed(name, given)
        tensors = [t[1] if isinstance(t, tuple) and len(t) == 2 else t for t in tensors]
        taken = {id(p) for group in self.param_groups for p in group["params"]}
        for i, tensor in enumerate(tensors):
            if not isinstance(tensor, Variable):
                raise TypeError(f"{name}: params[{i}] is no tensor, but {type(tensor).__name__}")
            if tensor.grad_fn is not None:
                raise ValueError(
                    f"{name}: params[{i}] is the result of an operation; only leaves are trained"
                )
            if id(tensor) in taken:
                raise ValueError(
                    f"{name}: params[{i}] of shape {tensor.array.shape} is given twice; a tied "
                    f"parameter belongs into one group, once"
                )
            taken.add(id(tensor))
        group = {"params": tensors, **self.defaults}
        group.update((k, v) for k, v in param_group.items() if k != "params")
        self._check(group)
        self.param_groups.append(group)

    def _check(self, group: Group) -> None:
        """Raise ValueError, naming the setting, if one makes no sense."""

    def _update(self, p: Tensor, grad: Array, state: dict[str, Any], group: Group) -> None:
        """Change p.array in place, given its gradient."""
        raise NotImplementedError(f"{type(self).__name__}._update is not written")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient. closure: computes the loss again."""
        loss = None
        if closure is not None:
            with autograd.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if p.grad.array.shape != p.array.shape:
                    raise ValueError(
                        f"{type(self).__name__}.step: the gradient has shape {p.grad.shape}, its "
                        f"parameter {p.shape}"
                    )
                self._update(p, p.grad.array, self.state[p], group)
                # A graph that still needs the old values must find out.
                p.mark_changed(f"{type(self).__name__}.step")
        return loss

    def _spare_like(self, array: Array) -> Array:
        """Memory of array's shape and dtype, kept between the steps and overwritten each time."""
        if self._spare.size < array.size or self._spare.dtype != array.dtype:
            self._spare = np.empty(array.size, array.dtype)
        return self._spare[: array.size].reshape(array.shape)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; with set_to_none=False, keep their memory and fill it with 0."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    if set_to_none:
                        p.grad = None
                    else:
                        p.grad.array[...] = 0

    def state_dict(self) -> dict[str, Any]:
        """PyTorch's form: {"state": {index: {...}}, "param_groups": [{..., "params": [index]}]}.

        Parameters are numbered through the groups. The tensors are the optimiser's own, so save
        or copy them before the next step.
        """
        index: dict[int, int] = {}
        for group in self.param_groups:
            for p in group["params"]:
                index[id(p)] = len(index)
        return {
            "state": {index[id(p)]: dict(kept) for p, kept in self.state.items() if kept},
            "param_groups": [
                {**group, "params": [index[id(p)] for p in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put back (copies of) what state_dict() gave, floats cast to the parameter's dtype.

        CheckpointError if it does not fit, and then nothing was changed.
        """
        name = type(self).__name__
        try:
            saved_state, saved_groups = state_dict["state"], list(state_dict["param_groups"])
        except (KeyError, TypeError):
            raise CheckpointError(
                f"{name}.load_state_dict: expected a dict with 'state' and 'param_groups'"
            ) from None
        counts = [len(group["params"]) for group in self.param_groups]
        saved_counts = [len(group["params"]) for group in saved_groups]
        if counts != saved_counts:
            raise CheckpointError(
                f"{name}.load_state_dict: the saved groups have {saved_counts} parameters, these "
                f"have {counts}"
            )
        by_index = {
            i: p
            for saved, group in zip(saved_groups, self.param_groups, strict=True)
            for i, p in zip(saved["params"], group["params"], strict=True)
        }
        groups = [
            {**group, **_like(saved, group), "params": group["params"]}
            for saved, group in zip(saved_groups, self.param_groups, strict=True)
        ]
        state: dict[Tensor, dict[str, Any]] = defaultdict(dict)
        for key, entries in saved_state.items():
            if int(key) not in by_index:
                raise CheckpointError(f"{name}.load_state_dict: state {key} is of no parameter")
            p = by_index[int(key)]
            state[p] = {n: self._loaded(key, n, value, p) for n, value in entries.items()}
        for group in groups:
            try:
                self._check(group)
            except (ValueError, TypeError) as error:
                raise CheckpointError(f"{name}.load_state_dict: {error}") from None
        self.state = state
        for group, loaded in zip(self.param_groups, groups, strict=True):
            group.update(loaded)

    def _loaded(self, index: Any, entry: str, value: Any, p: Tensor) -> Any:
        """One entry of a saved state, checked and copied."""
        where = f"{type(self).__name__}.load_state_dict: state {index}, {entry!r}"
        if entry not in self.buffers:
            raise CheckpointError(
                f"{where}: this optimiser has {', '.join(map(repr, self.buffers)) or 'no state'}; "
                f"was it saved by another one?"
            )
        if value is None:
            return None
        array = value.array if isinstance(value, Variable) else np.asarray(value)
        if entry == "step":
            if array.size != 1 or not array.item() >= 0:
                raise CheckpointError(f"{where}: {value!r} is no number of steps")
            return int(array.item())
        if array.shape != p.shape:
            raise CheckpointError(f"{where} has shape {array.shape}, its parameter {p.shape}")
        return Tensor.from_op(np.array(array, dtype=p.dtype))

    def __repr__(self) -> str:
        lines = []
        for i, group in enumerate(self.param_groups):
            settings = ", ".join(f"{k}={v}" for k, v in group.items() if k != "params")
            count = sum(p.array.size for p in group["params"])
            tensors = len(group["params"])
            lines.append(f"  group {i}: {tensors} tensors, {count:,} numbers, {settings}")
        return "\n".join([f"{type(self).__name__}(", *lines, ")"])


def _listed(name: str, params: Any) -> list[Any]:
    if isinstance(params, (Variable, dict)):
        raise TypeError(f"{name}: params must be a list of tensors or groups, not a single one")
    if isinstance(params, (set, frozenset)):
        raise TypeError(f"{name}: params is a set, which has no order, and the state is numbered")
    try:
        return list(params)
    except TypeError:
        raise TypeError(
            f"{name}: params must be a list of tensors (model.parameters()), not "
            f"{type(params).__name__}"
        ) from None


def _like(saved: Group, group: Group) -> Group:
    """The saved settings, with a tuple where JSON has made a list of one."""
    return {
        key: tuple(value) if isinstance(group.get(key), tuple) else copy.deepcopy(value)
        for key, value in saved.items()
        if key != "params"
    }


def check_number(name: str, argument: str, value: Any, low: float, below: float) -> None:
    """Raise unless value is a number in [low, below); NaN is in no interval."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"{name}: {argument}={value!r} must be a number")
    if not low <= value < below:
        limit = "finite" if below == float("inf") else f"less than {below:g}"
        raise ValueError(f"{name}: {argument}={value!r} must be at least {low:g} and {limit}")
