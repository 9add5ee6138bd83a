"""Function: one operation, its forward and its backward, and its place in the graph."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from tinygrad_llm.autograd.changes import changes
from tinygrad_llm.autograd.grad_mode import mode, watch

Array = Any  # numpy.ndarray or cupy.ndarray: the engine never asks which


class Variable:
    """An array and where its gradient goes: the part of a Tensor that the engine needs to know.

    A leaf (`grad_fn` is None) collects its gradient in `grad`; any other variable was made by the
    Function `grad_fn`, as its output number `slot`.
    """

    array: Array
    requires_grad: bool = False
    grad: Any = None
    grad_fn: Function | None = None
    slot: int = -1  # of a leaf
    name: str | None = None
    born: int = 0  # on the clock of changes.py: when array and history were last known to agree

    def accumulate_grad(self, gradient: Array, fresh: bool) -> None:
        """Add to `grad`. fresh: nobody else holds `gradient`, so it may be kept, not copied."""
        raise NotImplementedError

    @staticmethod
    def from_op(array: Array) -> Any:
        """The tensor that an operation returns."""
        raise NotImplementedError


class Function:
    """One operation, forward and backward by hand. The instance is the context.

    Subclasses write, on plain arrays:

        forward(self, *arrays, **options) -> array, or a tuple of arrays
        backward(self, dout) -> one gradient per argument of forward (None where none is due)

    and keep what backward needs as attributes of self. `self.needs_grad[i]` says in both whether
    argument i wants a gradient. backward may return `dout` itself, a view of it, or new arrays;
    never the same new array for two arguments, and never an array that it saved: the walk adds to
    new arrays in place.
    """

    # True for elementwise operations: their gradients have the shape of the output, and the
    # engine sums them back to the shape of each input. This is the one place that does so.
    broadcasts: ClassVar[bool] = False

    needs_grad: list[bool] = []
    edges: Any = ()  # per argument: (Function, its output slot), (leaf Variable, -1), or None
    outputs: Any = ()  # per output: (shape, dtype)
    born = 0  # on the clock of changes.py: when forward ran
    hooks: dict[int, list[Callable[[Array], Array | None]]] | None = None
    freed = False

    def forward(self, *arrays: Any, **options: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}.forward is not written")

    def backward(self, *dout: Array) -> Any:
        raise NotImplementedError(f"{type(self).__name__}.backward is not written")

    @classmethod
    def apply(cls, *inputs: Any, **options: Any) -> Any:
        """Run forward on the arrays behind the tensors in `inputs`; record it if needed.

        inputs: tensors and plain values, in forward's order. Returns a tensor, or a tuple of them.
        Raises TypeError if none of the inputs is a tensor.
        """
        node = cls()
        recording = mode.enabled
        needed = False
        like = None
        arrays = []
        node.needs_grad = needs = []
        edges: list[Any] = []
        for x in inputs:
            if isinstance(x, Variable):
                like = x
                arrays.append(x.array)
                if recording and x.requires_grad:
                    needed = True
                    needs.append(True)
                    edges.append((x.grad_fn or x, x.slot))
                    continue
            else:
                arrays.append(x)
            needs.append(False)
            edges.append(None)
        if like is None:
            raise TypeError(f"{cls.__name__}.apply: at least one argument must be a tensor")
        if recording and changes.recorded:
            for x in inputs:
                if isinstance(x, Variable):
                    changes.check_history(x)

        if watch.observer is None:
            out = node.forward(*arrays, **options)
        else:
            out = watch.observer.forward(node, arrays, options)
        if type(out) is not tuple:
            result = like.from_op(out)
            if needed:
                node.edges = edges
                node.born = changes.now
                array = result.array
                node.outputs = ((array.shape, array.dtype),)
                if array.dtype.kind == "f":  # indices and masks carry no gradient
                    result.requires_grad = True
                    result.grad_fn = node
                    result.slot = 0
            return result

        results = tuple([like.from_op(array) for array in out])
        if needed:
            node.edges = edges
            node.born = changes.now
            node.outputs = tuple([(x.array.shape, x.array.dtype) for x in results])
            for slot, x in enumerate(results):
                if x.array.dtype.kind == "f":
                    x.requires_grad, x.grad_fn, x.slot = True, node, slot
        return results

    def saved(self) -> list[tuple[str, Array]]:
        """The arrays kept for backward, with their attributes' names."""
        found = []
        for name, value in self.__dict__.items():
            for entry in value if isinstance(value, (list, tuple)) else (value,):
                if hasattr(entry, "dtype") and hasattr(entry, "base"):
                    found.append((name, entry))
        return found

    def check_unchanged(self) -> None:
        """Raise if a saved array was changed in place between forward and backward."""
        for name, array in self.saved():
            how = changes.since(array, self.born)
            if how is None:
                continue
            if name in inspect.signature(type(self).forward).parameters:
                name = f"its input {name!r}"
            else:
                name = f"its output {name!r}" if name.startswith("out") else repr(name)
            raise RuntimeError(
                f"backward: {type(self).__name__} needs {name} of shape {array.shape} as it was in "
                f"the forward pass, but it was changed in place since then ({how}). Write the "
                f"change out of place (y = x + 1 instead of x += 1), or make it after backward()."
            )

    def argument(self, position: int) -> str:
        """The name of an argument of forward, for messages."""
        names = [
            name for name in inspect.signature(type(self).forward).parameters if name != "self"
        ]
        return repr(names[min(position, len(names) - 1)])

    def release(self) -> None:
        """Forget the saved arrays and the graph behind, so that memory falls during the walk."""
        self.__dict__ = {"freed": True}
