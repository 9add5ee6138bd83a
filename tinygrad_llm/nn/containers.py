"""Modules in a row. For anything else, plain lists and dicts of modules do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tinygrad_llm.nn.module import Module


class Sequential(Module):
    """Each module's output is the next one's input. Named "0", "1", ... or by a dict's keys."""

    def __init__(self, *modules: Any):
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named = dict(modules[0])
        else:
            named = {str(i): module for i, module in enumerate(modules)}
        for name, module in named.items():
            if not isinstance(module, Module):
                raise TypeError(
                    f"Sequential: {name!r} is no Module, but {type(module).__name__}; give "
                    f"Sequential(a, b, ...), and Sequential(*layers) for a list"
                )
            if not name or name.startswith("_") or "." in name or hasattr(type(self), name):
                raise ValueError(f"Sequential: {name!r} cannot be the name of a module")
            setattr(self, name, module)

    def _modules(self) -> dict[str, Module]:
        return {name: value for name, value in vars(self).items() if isinstance(value, Module)}

    def forward(self, x: Any) -> Any:
        for module in self:
            x = module(x)
        return x

    def append(self, module: Module) -> Sequential:
        """Add a module at the end."""
        if not isinstance(module, Module):
            raise TypeError(f"append: expected a Module, not {type(module).__name__}")
        setattr(self, str(len(self)), module)
        return self

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules().values())

    def __len__(self) -> int:
        return len(self._modules())

    def __getitem__(self, index: int | slice) -> Any:
        modules = self._modules()
        if isinstance(index, slice):
            return Sequential(dict(list(modules.items())[index]))
        if not -len(modules) <= index < len(modules):
            raise IndexError(f"index {index} is out of range for {len(modules)} modules")
        return list(modules.values())[index]


class ModuleList(list):
    """A list. PyTorch needs this class to find the modules in it; here any list will do."""


class ModuleDict(dict):
    """A dict. PyTorch needs this class to find the modules in it; here any dict will do."""
