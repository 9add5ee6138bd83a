"""An optimiser's state as one dict of arrays (for a safetensors file) and one of JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_llm.autograd import Array, Variable
from tinygrad_llm.errors import CheckpointError


def flatten_state(state_dict: Mapping[str, Any]) -> tuple[dict[str, Array], dict[str, Any]]:
    """Optimizer.state_dict() -> (arrays by name, the rest).

    {"state": {0: {"step": 7, "exp_avg": t}}, ...} -> {"0.exp_avg": array}, {"state": {"0":
    {"step": 7}}, ...}. The arrays are the optimiser's own: write them before the next step.
    """
    arrays: dict[str, Array] = {}
    rest: dict[str, dict[str, Any]] = {}
    for index, entries in state_dict["state"].items():
        rest[str(index)] = {}
        for name, value in entries.items():
            if isinstance(value, Variable):
                arrays[f"{index}.{name}"] = value.array
            else:
                rest[str(index)][name] = value
    return arrays, {"state": rest, "param_groups": state_dict["param_groups"]}


def unflatten_state(arrays: Mapping[str, Any], rest: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of flatten_state, also after a way through files: what load_state_dict takes."""
    if "param_groups" not in rest or "state" not in rest:
        raise CheckpointError("optimiser state: 'state' and 'param_groups' are missing")
    state = {int(index): dict(entries) for index, entries in rest["state"].items()}
    for key, array in arrays.items():
        index, _, name = key.partition(".")
        if not index.isdigit() or int(index) not in state or not name:
            raise CheckpointError(
                f"optimiser state: array {key!r} has no place; names are like '0.exp_avg'"
            )
        state[int(index)][name] = np.asarray(array)
    return {"state": state, "param_groups": rest["param_groups"]}
