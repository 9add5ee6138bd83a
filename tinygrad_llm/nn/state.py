"""The state of a module by name, and putting a saved one back: all of it, or nothing."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_llm.autograd import Array, Variable
from tinygrad_llm.errors import CheckpointError
from tinygrad_llm.nn.walk import walk
from tinygrad_llm.tensor import Tensor

if TYPE_CHECKING:
    from tinygrad_llm.nn.module import Module


class IncompatibleKeys(NamedTuple):
    """What load_state_dict(strict=False) did not find, and what it found no place for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def named_tensors(module: Module, prefix: str = "") -> dict[str, Tensor]:
    """Every parameter and buffer under each of its names."""
    found: dict[str, Tensor] = {}
    for name, value in walk(module, prefix):
        if isinstance(value, Variable):
            if found.setdefault(name, value) is not value:  # type: ignore[arg-type]
                raise ValueError(
                    f"{type(module).__name__}: two tensors have the name {name!r} "
                    f"(do the keys of a dict contain a dot, or is one a number and a text?)"
                )
    return found


def load(module: Module, given: Mapping[str, Any], strict: bool) -> IncompatibleKeys:
    """See Module.load_state_dict."""
    if not isinstance(given, Mapping):
        raise TypeError(
            f"load_state_dict: state_dict is a dict of name -> tensor, not {type(given).__name__}"
        )
    own = named_tensors(module)
    arrays = {name: _array(name, value) for name, value in given.items() if name in own}
    filled = {id(own[name]) for name in arrays}
    missing = [name for name, tensor in own.items() if id(tensor) not in filled]
    unexpected = [name for name in given if name not in own]

    problems = []
    if strict and missing:
        problems.append(_listed("missing", missing))
    if strict and unexpected:
        # Comparing names is slow for hundreds of them, and then a hint for each helps nobody.
        hints = missing if len(unexpected) * len(missing) < 1000 else []
        problems.append(_listed("unexpected", [_with_hint(name, hints) for name in unexpected]))
    different = [
        f"{name}: {array.shape} was given, the module has {own[name].shape}"
        for name, array in arrays.items()
        if array.shape != own[name].shape
    ]
    if different:
        problems.append(_listed("of another shape", different))
    if not different:
        problems += _contradictions(own, arrays)
    fixed = [name for name in arrays if not own[name].array.flags.writeable]
    if fixed:
        problems.append(_listed("in read-only memory", fixed))
    if problems:
        raise CheckpointError(
            f"load_state_dict: the state does not fit {type(module).__name__}; nothing was "
            f"changed.\n" + "\n".join(problems)
        )
    for name, array in arrays.items():
        own[name].array[...] = array
        own[name].mark_changed("load_state_dict")
    return IncompatibleKeys(missing, unexpected)


def _array(name: str, value: Any) -> Array:
    array = value.array if isinstance(value, Variable) else np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"load_state_dict: {name} is no tensor or array of numbers, but "
            f"{type(value).__name__} of dtype {array.dtype}"
        )
    return array


def _contradictions(own: dict[str, Tensor], arrays: dict[str, Array]) -> list[str]:
    """Tied here, but different there: one of the two would be lost without a word."""
    first: dict[int, str] = {}
    problems = []
    for name, array in arrays.items():
        other = first.setdefault(id(own[name]), name)
        if other != name and array is not arrays[other]:
            floating = array.dtype.kind == "f" and arrays[other].dtype.kind == "f"
            if not np.array_equal(array, arrays[other], equal_nan=floating):
                problems.append(
                    f"  {other} and {name} are one tensor here (tied), but hold different values"
                )
    return problems


def _listed(what: str, names: list[str]) -> str:
    return "\n".join([f"  {what} ({len(names)}):", *(f"    {name}" for name in names)])


def _with_hint(name: str, candidates: list[str]) -> str:
    close = difflib.get_close_matches(name, candidates, n=1)
    return f"{name} (did you mean {close[0]}?)" if close else name
