"""Reverse-mode differentiation: what an operation is, and how gradients walk back through them.

Every operation is a `Function`. Applying one computes its output and, if any input wants a
gradient, leaves the instance behind as a node of a graph whose edges point to the operations (or
leaves) its inputs came from. `backward` walks that graph from the loss, once.

Why in topological order? A value used twice receives two gradients, and their sum must be complete
before it is passed on: da = 4 in `b = a + a; c = b + b`. A node may therefore run only when every
consumer of its output has reported. Counting consumers first, and then releasing a node when its
count reaches zero (Kahn, 1962), does just that, without recursion and in linear time.
Survey of the field: Baydin et al., "Automatic Differentiation in Machine Learning", JMLR 2018.
"""

import contextlib
import inspect
import threading
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

Array = Any  # numpy.ndarray or cupy.ndarray: the engine never asks which


class _Mode(threading.local):
    """Per thread: whether operations are recorded, and who watches them (see training.profile)."""

    enabled = True
    observer: Any = None


mode = _Mode()


class set_grad_enabled(contextlib.ContextDecorator):  # noqa: N801  (PyTorch's name)
    """Within the block (or the decorated function), record operations or do not."""

    def __init__(self, enabled: bool):
        self.enabled = enabled
        self.previous: list[bool] = []

    def __enter__(self) -> None:
        self.previous.append(mode.enabled)
        mode.enabled = self.enabled

    def __exit__(self, *error: object) -> None:
        mode.enabled = self.previous.pop()


def no_grad() -> set_grad_enabled:
    """`with no_grad():` computes values only; nothing is saved for a backward pass."""
    return set_grad_enabled(False)


def enable_grad() -> set_grad_enabled:
    """Undo an outer `no_grad` for a block."""
    return set_grad_enabled(True)


def is_grad_enabled() -> bool:
    return mode.enabled


class Variable:
    """An array and where its gradient goes: the part of a Tensor that this file needs to know.

    A leaf (`grad_fn` is None) collects its gradient in `grad`; any other variable was made by the
    Function `grad_fn`, as its output number `slot`.
    """

    array: Array
    requires_grad: bool = False
    grad: Any = None
    grad_fn: "Function | None" = None
    slot: int = 0
    name: str | None = None
    # [number of in-place changes, the array last changed, has views]; views share their base's.
    version: list[Any]

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
    argument i wants a gradient. backward may return `dout` itself, a view of it, or new arrays,
    each once; never an array that it saved, since gradients are added to in place.
    """

    # True for elementwise operations: their gradients have the shape of the output, and the
    # engine sums them back to the shape of each input. This is the one place that does so.
    broadcasts: ClassVar[bool] = False

    needs_grad: tuple[bool, ...] = ()
    edges: Any = ()  # per argument: (Function or leaf Variable, output slot), or None
    outputs: Any = ()  # per output: (shape, dtype)
    versions: Any = ()  # per tensor among arguments and outputs: (version list, count, position)
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
        """
        node = cls()
        recording = mode.enabled
        arrays, needs = [], []
        like = None
        for x in inputs:
            if isinstance(x, Variable):
                like = x
                arrays.append(x.array)
                needs.append(recording and x.requires_grad)
            else:
                arrays.append(x)
                needs.append(False)
        node.needs_grad = needs  # type: ignore[assignment]
        if mode.observer is None:
            out = node.forward(*arrays, **options)
        else:
            out = mode.observer.forward(node, arrays, options)
        if like is None:
            raise TypeError(f"{cls.__name__}.apply: at least one argument must be a tensor")

        several = type(out) is tuple
        results = [like.from_op(a) for a in out] if several else [like.from_op(out)]
        for result in results:
            _share_version(result, inputs)
        if True in needs:
            node._record(inputs, needs, results)
        return tuple(results) if several else results[0]

    def _record(self, inputs: tuple[Any, ...], needs: list[bool], results: list[Any]) -> None:
        self.edges = [
            ((x.grad_fn or x), x.slot) if need else None
            for x, need in zip(inputs, needs, strict=True)
        ]
        self.versions = [
            (x.version, x.version[0], i) for i, x in enumerate(inputs) if isinstance(x, Variable)
        ]
        outputs = []
        for slot, result in enumerate(results):
            array = result.array
            outputs.append((array.shape, array.dtype))
            self.versions.append((result.version, result.version[0], -1))
            if array.dtype.kind in "fc":  # indices and masks carry no gradient
                result.requires_grad = True
                result.grad_fn = self
                result.slot = slot
        self.outputs = outputs

    def _check_unchanged(self) -> None:
        """Raise if a saved array was changed in place between forward and backward."""
        for version, count, position in self.versions:
            if version[0] == count:
                continue
            changed = _owner(version[1])
            for attribute, saved in self.__dict__.items():
                if hasattr(saved, "dtype") and _owner(saved) is changed:
                    what = "its output" if position < 0 else f"its input {self._argument(position)}"
                    raise RuntimeError(
                        f"backward: {type(self).__name__} needs {what} (saved as {attribute!r}, "
                        f"shape {saved.shape}), but that tensor was changed in place "
                        f"{version[0] - count} time(s) after it was used. Write the change out of "
                        f"place (y = x + 1 instead of x += 1), or make it after backward()."
                    )

    def _argument(self, position: int) -> str:
        names = [p for p in inspect.signature(type(self).forward).parameters if p != "self"]
        return repr(names[min(position, len(names) - 1)])

    def _release(self) -> None:
        """Forget the saved arrays and the graph behind, so that memory falls during the walk."""
        self.__dict__.clear()
        self.freed = True


def _owner(array: Array) -> Array:
    base = getattr(array, "base", None)
    return array if base is None else base


def _share_version(result: Any, inputs: tuple[Any, ...]) -> None:
    """A view counts in-place changes together with the tensor whose memory it shows."""
    if result.array.base is not None:
        owner = _owner(result.array)
        for x in inputs:
            if isinstance(x, Variable) and _owner(x.array) is owner:
                x.version[2] = True
                result.version = x.version
                return


def unbroadcast(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Sum `gradient` over the axes along which an array of `shape` was broadcast."""
    extra = gradient.ndim - len(shape)
    if extra:
        gradient = gradient.sum(axis=tuple(range(extra)))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and gradient.shape[i] != 1)
    return gradient.sum(axis=stretched, keepdims=True) if stretched else gradient


def _count_consumers(root: Function) -> dict[Function, int]:
    """For every node behind `root`: from how many places a gradient will arrive."""
    waiting = {root: 0}
    stack = [root]
    while stack:
        node = stack.pop()
        if node.freed:
            raise RuntimeError(
                "backward: this part of the graph was already walked and its saved values are "
                "freed. Call backward(retain_graph=True) the first time to walk it twice, or run "
                "the forward pass again."
            )
        for edge in node.edges:
            if edge is not None and isinstance(edge[0], Function):
                if edge[0] not in waiting:
                    waiting[edge[0]] = 0
                    stack.append(edge[0])
                waiting[edge[0]] += 1
    return waiting


def backward(root: Variable, gradient: Array, retain_graph: bool = False) -> None:
    """Add d(root)/d(leaf) times `gradient` to the `grad` of every leaf behind `root`."""
    if root.grad_fn is None:
        root.accumulate_grad(gradient, fresh=False)
        return
    waiting = _count_consumers(root.grad_fn)
    # For a node that waits: [gradient, may it be added to in place] for each of its outputs.
    arrived: dict[Function, list[Any]] = {root.grad_fn: [None] * len(root.grad_fn.outputs)}
    arrived[root.grad_fn][root.slot] = (gradient, False)
    ready = [root.grad_fn]
    while ready:
        node = ready.pop()
        holder = arrived.pop(node, None)
        # A node that no gradient reached still reports, or those behind it would wait for ever.
        douts = () if holder is None else _outgoing(node, holder)
        gradients = _gradients(node, douts) if douts else (None,) * len(node.edges)
        for position, edge in enumerate(node.edges):
            if edge is None:
                continue
            dx = gradients[position]
            target, slot = edge
            if dx is not None:
                dx, fresh = _checked(node, position, target, slot, dx, douts)
                if isinstance(target, Function):
                    holder = arrived.get(target)
                    if holder is None:
                        holder = arrived[target] = [None] * len(target.outputs)
                    holder[slot] = _sum(holder[slot], dx, fresh)
                else:
                    target.accumulate_grad(dx, fresh)
            if isinstance(target, Function):
                waiting[target] -= 1
                if waiting[target] == 0:
                    ready.append(target)
        if not retain_graph:
            node._release()


def _gradients(node: Function, douts: list[Array]) -> tuple[Array | None, ...]:
    """What node.backward returns, one per argument."""
    node._check_unchanged()
    if mode.observer is None:
        gradients = node.backward(*douts)
    else:
        gradients = mode.observer.backward(node, douts)
    if type(gradients) is not tuple:
        gradients = (gradients,)
    missing = len(node.edges) - len(gradients)
    if missing < 0 or any(edge is not None for edge in node.edges[len(gradients) :]):
        raise RuntimeError(
            f"{type(node).__name__}.backward returned {len(gradients)} gradient(s) "
            f"for {len(node.edges)} argument(s)"
        )
    return gradients + (None,) * missing if missing else gradients


def _outgoing(node: Function, holder: list[Any]) -> list[Array]:
    """The gradient of each output: zeros where nothing came, hooks applied."""
    douts = []
    for slot, entry in enumerate(holder):
        if entry is None:
            shape, dtype = node.outputs[slot]
            like = next(e[0] for e in holder if e is not None)
            dout = np.zeros_like(like, shape=shape, dtype=dtype)
        else:
            dout = entry[0]
        if node.hooks is not None:
            for hook in list(node.hooks.get(slot, ())):
                replaced = hook(dout)
                dout = dout if replaced is None else replaced
        douts.append(dout)
    return douts


def _checked(
    node: Function, position: int, target: Any, slot: int, dx: Array, douts: list[Array]
) -> tuple[Array, bool]:
    """dx as an array of the shape and dtype of what it belongs to, and whether it is ours alone."""
    if isinstance(dx, np.generic):
        dx = np.asarray(dx)  # NumPy turns 0-d arrays into scalars
    if isinstance(target, Function):
        shape, dtype = target.outputs[slot]
    else:
        shape, dtype = target.array.shape, target.array.dtype
    if dx.shape != shape and node.broadcasts:
        dx = unbroadcast(dx, shape)
        if isinstance(dx, np.generic):
            dx = np.asarray(dx)
    if dx.shape != shape or dx.dtype != dtype:
        raise RuntimeError(
            f"{type(node).__name__}.backward: the gradient of {node._argument(position)} is "
            f"{dx.dtype}{list(dx.shape)}, but the argument is {dtype}{list(shape)}"
        )
    return dx, dx.base is None and not any(dx is dout for dout in douts)


def _sum(entry: Any, dx: Array, fresh: bool) -> tuple[Array, bool]:
    if entry is None:
        return dx, fresh
    total, ours = entry
    if ours:
        total += dx
        return total, True
    return total + dx, True
