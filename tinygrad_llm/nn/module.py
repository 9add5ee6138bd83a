"""Module: the base of every layer and model. A plain class; nothing needs to be registered."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Self

from tinygrad_llm import device as devices
from tinygrad_llm import dtypes
from tinygrad_llm.autograd import Variable
from tinygrad_llm.nn import state
from tinygrad_llm.nn.summary import summary as _summary
from tinygrad_llm.nn.walk import ModuleBase, Parameter, is_parameter, walk
from tinygrad_llm.tensor import Tensor


class Module(ModuleBase):
    """Something with parameters that can be called. Subclasses write `__init__` and `forward`.

    Parameters and layers are found in the attributes, also inside lists, tuples and dicts, and are
    named by the way to them. Other tensors among the attributes are buffers: saved, not trained.
    What begins with "_" is not looked into. `super().__init__()` may be called, or forgotten.
    """

    training: bool = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}.forward is not written")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    if not TYPE_CHECKING:  # or mypy would believe that every attribute exists

        def __getattr__(self, name: str) -> NoReturn:
            """Only called for what does not exist: say so, and what may have been meant."""
            owner = type(self)
            if any(name in vars(base) for base in owner.__mro__):
                # A property failed inside; let its own error be seen, not one about the property.
                object.__getattribute__(self, name)
            hint = "" if name.startswith("__") else _hint(name, dir(self))
            raise AttributeError(
                f"{owner.__name__} has no attribute {name!r}{hint}", name=name, obj=self
            )

    # -- what it is made of --

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Every module, this one first, each once and by its first name."""
        return _once((p, v) for p, v in walk(self, prefix) if isinstance(v, Module))

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly below, those in lists included ("layers.0")."""
        parts = [(p, v) for p, v in walk(self) if isinstance(v, Module)]
        return _once(group[0] for group in _grouped(parts))

    def children(self) -> Iterator[Module]:
        return (module for _, module in self.named_children())

    def named_parameters(
        self, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter). One that is reachable on several paths (tied) comes once."""
        found = ((p, v) for p, v in walk(self, prefix) if is_parameter(v))
        return _once(found) if remove_duplicate else found

    def parameters(self) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Tensors that are saved but not trained."""
        return _once(
            (p, v) for p, v in walk(self, prefix) if isinstance(v, Variable) and not is_parameter(v)
        )

    def buffers(self) -> Iterator[Tensor]:
        return (buffer for _, buffer in self.named_buffers())

    def get_submodule(self, target: str) -> Module:
        """The module at a path, e.g. "transformer.h.0"; "" is this one."""
        found = {p: v for p, v in walk(self) if isinstance(v, Module)}
        return found[target] if target in found else _no_such("submodule", target, found)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path, e.g. "transformer.wte.weight"."""
        found = dict(self.named_parameters(remove_duplicate=False))
        return found[target] if target in found else _no_such("parameter", target, found)

    def num_parameters(self, trainable_only: bool = False) -> int:
        """How many numbers are learned; tied parameters count once."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad or not trainable_only)

    def summary(self) -> str:
        """A table: path, type, parameter shapes and counts of every module; totals; bytes."""
        return _summary(self)

    # -- state --

    def state_dict(self, prefix: str = "") -> dict[str, Tensor]:
        """Every parameter and buffer by name, sharing memory with this module.

        A tied tensor stands under each of its names, as in PyTorch.
        """
        return {name: tensor.detach() for name, tensor in state.named_tensors(self, prefix).items()}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True
    ) -> state.IncompatibleKeys:
        """Overwrite parameters and buffers by name (cast to their dtype); all, or none.

        state_dict: tensors or arrays. A shape that differs is an error, and if `strict` so is a
        name that is missing or unexpected; CheckpointError lists them all, and nothing was changed.
        One name of a tied tensor is enough.
        """
        return state.load(self, state_dict, strict)

    # -- switches --

    def train(self, mode: bool = True) -> Self:
        """Behave as in training (dropout on)."""
        if not isinstance(mode, bool):
            raise TypeError(f"train: mode must be True or False, not {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Behave as in use (dropout off)."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze (False) or unfreeze all parameters."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; with set_to_none=False, keep their memory and fill it with 0."""
        for parameter in self.parameters():
            if parameter.grad is not None:
                if set_to_none:
                    parameter.grad = None
                else:
                    parameter.grad.array[...] = 0

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call `function` on every module, children before parents."""
        for module in reversed(list(self.modules())):
            function(module)
        return self

    def to(self, *targets: Any, dtype: Any = None, device: str | None = None) -> Self:
        """Move all tensors, and cast the floating-point ones, in place: to(float64), to("cpu")."""
        for target in targets:
            if isinstance(target, Tensor):
                dtype, device = target.dtype, target.device
            elif isinstance(target, str) and target.split(":")[0] in ("cpu", "cuda"):
                device = target
            else:
                dtype = target
        devices.resolve(device)
        if dtype is None:
            return self
        dtype = dtypes.resolve(dtype)
        if dtype.kind != "f":
            raise TypeError(f"to: a module is cast to a floating-point dtype, not {dtype}")
        for tensor in state.named_tensors(self).values():
            for x in (tensor, tensor.grad):
                if x is not None and x.dtype.kind == "f":
                    x.array = x.array.astype(dtype, copy=False)
        return self

    def float(self) -> Self:
        return self.to(dtypes.float32)

    def double(self) -> Self:
        return self.to(dtypes.float64)

    def half(self) -> Self:
        return self.to(dtypes.float16)

    # -- looks --

    def extra_repr(self) -> str:
        """What repr says between the parentheses."""
        return ""

    def __repr__(self) -> str:
        return _described([(p, v) for p, v in walk(self) if isinstance(v, Module)])


def _described(parts: list[tuple[str, Module]]) -> str:
    """parts: a module and all below it, parents first. Children are indented, as in PyTorch."""
    module = parts[0][1]
    lines = [module.extra_repr()] if module.extra_repr() else []
    groups = _grouped(parts)
    if groups:
        skip = len(parts[0][0]) + 1 if parts[0][0] else 0
        lines += [f"({group[0][0][skip:]}): {_described(group)}" for group in groups]
        body = "\n".join(lines).replace("\n", "\n  ")
        return f"{type(module).__name__}(\n  {body}\n)"
    return f"{type(module).__name__}({''.join(lines)})"


def _grouped(parts: list[tuple[str, Module]]) -> list[list[tuple[str, Module]]]:
    """For each child of parts[0]: the child and all below it."""
    groups: list[list[tuple[str, Module]]] = []
    for path, module in parts[1:]:
        if groups and path.startswith(groups[-1][0][0] + "."):
            groups[-1].append((path, module))
        else:
            groups.append([(path, module)])
    return groups


def _once(pairs: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Each value only where it comes first."""
    seen: set[int] = set()
    for path, value in pairs:
        if id(value) not in seen:
            seen.add(id(value))
            yield path, value


def _hint(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _no_such(kind: str, target: str, known: Iterable[str]) -> NoReturn:
    raise AttributeError(f"no {kind} {target!r}{_hint(target, known)}")
