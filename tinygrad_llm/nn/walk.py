"""Finding the tensors of a module: everything it can reach through attributes, lists and dicts.

There is no registration. `self.layers = [Block(), Block()]` is enough, and the way to a tensor is
its name: "layers.1.attn.q_proj.weight" (after tinygrad's `get_state_dict`). Within a module its own
tensors come first and its children after them, each in the order of assignment, as in PyTorch, so
that numbered things (the state of an optimiser) agree with PyTorch's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tinygrad_llm.autograd import Variable
from tinygrad_llm.tensor import Tensor


class Parameter(Tensor):
    """A tensor that is trained. `data` is shared, not copied."""

    def __init__(self, data: Any, requires_grad: bool = True, dtype: Any = None):
        super().__init__(data, dtype=dtype, requires_grad=requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class ModuleBase:
    """What this file needs to know of a Module: that its attributes are to be looked into."""


Holder = ModuleBase | list | tuple | dict


def is_parameter(value: Any) -> bool:
    """A Parameter (also a frozen one), or any other leaf that wants a gradient."""
    return isinstance(value, Parameter) or (isinstance(value, Variable) and value.requires_grad)


def walk(root: Holder, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every module and tensor behind `root`, as (dotted path, value), parents before children.

    What is reachable on two paths comes twice, with both names: tied weights have two names. But a
    way back up (`child.parent = self`) is no name, or there would be infinitely many.
    """
    graph = _Graph(root)
    stack = [(prefix, root)]
    while stack:
        path, holder = stack.pop()
        if isinstance(holder, ModuleBase):
            yield path, holder
        below = []
        for name, value in graph.entries[id(holder)]:
            longer = f"{path}.{name}" if path else name
            if isinstance(value, Variable):
                yield longer, value
            elif not graph.leads_back(holder, value):
                below.append((longer, value))
        stack.extend(reversed(below))


def _entries(holder: Holder) -> list[tuple[str, Any]]:
    """What lies directly in a module, list, tuple or dict: tensors, and things to look into.

    Attributes that begin with "_" are the module's private business: not state.
    """
    pairs: Any
    if isinstance(holder, ModuleBase):
        pairs = (pair for pair in vars(holder).items() if not pair[0].startswith("_"))
    elif isinstance(holder, dict):
        pairs = ((str(key), value) for key, value in holder.items())
    else:
        pairs = ((str(i), value) for i, value in enumerate(holder))
    found: list[tuple[str, Any]] = []
    for name, value in pairs:
        if isinstance(value, (ModuleBase, list, tuple, dict)):
            found.append((name, value))
        elif isinstance(value, Variable):
            # The result of an operation, kept for a look, is no state.
            if value.grad_fn is None:
                found.append((name, value))
        elif isinstance(value, (set, frozenset)) and any(
            isinstance(member, (ModuleBase, Variable)) for member in value
        ):
            raise TypeError(
                f"{type(holder).__name__}.{name}: a set has no order, so what lies in it has no "
                f"name; put layers and parameters into a list or dict"
            )
    return found


class _Graph:
    """Which holder leads to which, and how far each is from the root."""

    def __init__(self, root: Holder):
        self.entries: dict[int, list[tuple[str, Any]]] = {}
        self.depth = {id(root): 0}
        level = [root]
        while level:  # breadth first: depth is the length of the shortest way
            following = []
            for holder in level:
                self.entries[id(holder)] = _entries(holder)
                for _, value in self.entries[id(holder)]:
                    if not isinstance(value, Variable) and id(value) not in self.depth:
                        self.depth[id(value)] = self.depth[id(holder)] + 1
                        following.append(value)
            level = following

    def leads_back(self, holder: Holder, value: Holder) -> bool:
        """Whether the step from holder to value closes a circle.

        Every circle has a step that does not lead away from the root; without those steps none is
        left. A shared layer is also reached by such a step, but does not lead back to where we are.
        """
        return self.depth[id(value)] <= self.depth[id(holder)] and self._reaches(value, holder)

    def _reaches(self, start: Holder, goal: Holder) -> bool:
        seen = {id(start)}
        stack = [start]
        while stack:
            holder = stack.pop()
            if holder is goal:
                return True
            for _, value in self.entries[id(holder)]:
                if not isinstance(value, Variable) and id(value) not in seen:
                    seen.add(id(value))
                    stack.append(value)
        return False
