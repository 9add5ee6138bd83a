"""How gradients walk back from a loss to the leaves behind it.

Why in topological order? A value used twice receives two gradients, and their sum must be complete
before it is passed on. In `b = a + a; c = b + b`:

    Add of c   the root, 0 consumers: runs first, dc = 1
      |  |
    Add of b   2 consumers: waits for both reports, db = 1 + 1 = 2
      |  |
      a        a leaf, not counted: adds up what comes, da = 2 + 2 = 4

A node may therefore run only when every consumer of its output has reported. Counting consumers
first, and then releasing a node when its count reaches zero (Kahn, 1962), does just that, without
recursion and in linear time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_llm.autograd.changes import changes
from tinygrad_llm.autograd.function import Array, Function, Variable
from tinygrad_llm.autograd.grad_mode import watch


class _Waiting:
    """A node that waits for its gradients.

    consumers: how many have yet to report. gradients: what has come so far for each output.
    ours: whether the gradient so far is an array that only this walk holds: a sum that it made, or
    a new array from backward. Adding to it in place then changes no value that anything else reads.
    """

    __slots__ = ("consumers", "gradients", "ours")

    def __init__(self, outputs: int):
        self.consumers = 0
        self.gradients: list[Array | None] = [None] * outputs
        self.ours: list[bool] = [False] * outputs


class _Wanted:
    """Gradients that `grad` asks for, by identity of the leaf or node, and its output slot."""

    def __init__(self, variables: Sequence[Variable]):
        self.keys = [(id(x.grad_fn or x), x.slot) for x in variables]
        self.found: dict[tuple[int, int], Array | None] = dict.fromkeys(self.keys)

    def collect(self, source: Any, slot: int, gradient: Array | None) -> None:
        key = (id(source), slot)
        if gradient is not None and key in self.found:
            known = self.found[key]
            self.found[key] = gradient.copy() if known is None else _as_array(known + gradient)


def grad(
    output: Variable,
    inputs: Variable | Sequence[Variable],
    grad_output: Any = None,
    retain_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Any, ...]:
    """d(output)/d(input) for every one of `inputs`, as tensors; no `.grad` is touched.

    inputs may be leaves or results of operations. grad_output: what to start from, of output's
    shape; 1 if left out. allow_unused: None for an input that output does not depend on.
    Raises RuntimeError if such an input is not allowed, if something requires no gradient, or if
    output has several elements and no grad_output; ValueError for a grad_output of another shape.
    """
    variables = [inputs] if isinstance(inputs, Variable) else list(inputs)
    for i, x in enumerate((output, *variables)):
        if not x.requires_grad:
            name = f"inputs[{i - 1}]" if i else "output"
            raise RuntimeError(f"grad: {name} does not require a gradient")
    if grad_output is None and output.array.size != 1:
        raise RuntimeError(f"grad: output of shape {output.array.shape} needs a grad_output")
    if grad_output is None:
        start = np.ones_like(output.array)
    else:
        start = grad_output.array if isinstance(grad_output, Variable) else np.asarray(grad_output)
        start = start.astype(output.array.dtype, copy=False)
    if start.shape != output.array.shape:
        raise ValueError(f"grad: grad_output is {start.shape}, output {output.array.shape}")
    wanted = _Wanted(variables)
    backward(output, start, retain_graph, wanted)
    found = [wanted.found[key] for key in wanted.keys]
    for i, gradient in enumerate(found):
        if gradient is None and not allow_unused:
            raise RuntimeError(
                f"grad: output does not depend on inputs[{i}]; allow_unused=True gives None for it"
            )
    return tuple([None if gradient is None else output.from_op(gradient) for gradient in found])


def backward(
    root: Variable, gradient: Array, retain_graph: bool = False, wanted: _Wanted | None = None
) -> None:
    """Add d(root)/d(leaf) times `gradient` to the `grad` of every leaf behind `root`.

    wanted: leave `grad` alone, and collect there the gradients of what it names instead.
    """
    if root.grad_fn is None:
        if wanted is None:
            root.accumulate_grad(gradient, fresh=False)
        else:
            wanted.collect(root, -1, gradient)
        return
    waiting = _count_consumers(root.grad_fn)
    waiting[root.grad_fn].gradients[root.slot] = gradient
    ready = [root.grad_fn]
    while ready:
        node = ready.pop()
        edges = node.edges
        douts = waiting.pop(node).gradients
        if len(douts) > 1 or node.hooks is not None:
            _complete(node, douts)
        if wanted is not None:
            for slot, dout in enumerate(douts):
                wanted.collect(node, slot, dout)
        # A node that no gradient reached still reports, or those behind it would wait for ever.
        gradients = (None,) * len(edges) if douts[0] is None else _gradients(node, douts)
        for position, edge in enumerate(edges):
            if edge is None:
                continue
            target, slot = edge
            dx = gradients[position]
            if slot < 0:
                if dx is not None:
                    array = target.array
                    dx = _checked(node, position, dx, array.shape, array.dtype)
                    if wanted is None:
                        target.accumulate_grad(dx, _is_fresh(dx, douts))
                    else:
                        wanted.collect(target, -1, dx)
                continue
            place = waiting[target]
            if dx is not None:
                shape, dtype = target.outputs[slot]
                if type(dx) is not np.ndarray or dx.shape != shape or dx.dtype is not dtype:
                    dx = _checked(node, position, dx, shape, dtype)
                known = place.gradients[slot]
                if known is None:
                    place.gradients[slot] = dx
                    place.ours[slot] = _is_fresh(dx, douts)
                elif place.ours[slot]:
                    known += dx
                else:
                    place.gradients[slot] = _as_array(known + dx)
                    place.ours[slot] = True
            place.consumers -= 1
            if not place.consumers:
                ready.append(target)
        if not retain_graph:
            node.release()


def _count_consumers(root: Function) -> dict[Function, _Waiting]:
    """For every node behind `root`: from how many places a gradient will arrive."""
    waiting = {root: _Waiting(len(root.outputs))}
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
            if edge is None or edge[1] < 0:
                continue
            target = edge[0]
            place = waiting.get(target)
            if place is None:
                place = waiting[target] = _Waiting(len(target.outputs))
                stack.append(target)
            place.consumers += 1
    return waiting


def _complete(node: Function, douts: list[Array | None]) -> None:
    """Zeros for outputs that no gradient reached (unless none did); hooks applied."""
    like = next((dout for dout in douts if dout is not None), None)
    if like is None:
        return
    for slot, dout in enumerate(douts):
        if dout is None:
            shape, dtype = node.outputs[slot]
            douts[slot] = np.zeros_like(like, shape=shape, dtype=dtype)
    if node.hooks is not None:
        for slot, hooks in node.hooks.items():
            for hook in list(hooks):
                replaced = hook(douts[slot])
                if replaced is not None:
                    douts[slot] = replaced


def _gradients(node: Function, douts: list[Array | None]) -> tuple[Array | None, ...]:
    """What node.backward returns, one per argument."""
    if node.born != changes.now:
        node.check_unchanged()
    observer = watch.observer
    gradients = node.backward(*douts) if observer is None else observer.backward(node, douts)
    if type(gradients) is not tuple:
        gradients = (gradients,)
    missing = len(node.edges) - len(gradients)
    if not missing:
        return gradients
    if missing < 0 or any(edge is not None for edge in node.edges[len(gradients) :]):
        raise RuntimeError(
            f"{type(node).__name__}.backward returned {len(gradients)} gradient(s) "
            f"for {len(node.edges)} argument(s)"
        )
    return gradients + (None,) * missing


def _checked(
    node: Function, position: int, dx: Array, shape: tuple[int, ...], dtype: np.dtype
) -> Array:
    """dx as an array of the shape and dtype of what it belongs to."""
    dx = _as_array(dx)
    if dx.shape != shape and node.broadcasts:
        dx = unbroadcast(dx, shape)
    if dx.shape != shape or dx.dtype != dtype:
        raise RuntimeError(
            f"{type(node).__name__}.backward: the gradient of {node.argument(position)} is "
            f"{dx.dtype}{list(dx.shape)}, but the argument is {dtype}{list(shape)}"
        )
    return dx


def _is_fresh(dx: Array, douts: list[Array | None]) -> bool:
    """Whether the walk alone holds dx: it is no view, and not the gradient that came in."""
    return dx.base is None and dx is not douts[0] and all(dx is not dout for dout in douts[1:])


def _as_array(x: Any) -> Array:
    """NumPy turns the 0-d results of arithmetic into scalars; make them arrays again."""
    return np.asarray(x) if isinstance(x, np.generic) else x


def unbroadcast(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Sum `gradient` over the axes along which an array of `shape` was broadcast.

    (5, 2, 3) to (2, 1): sum over axis 0, which is new, and over the last, which was stretched.
    """
    if gradient.shape == shape:
        return gradient
    extra = gradient.ndim - len(shape)
    if extra:
        gradient = gradient.sum(axis=tuple(range(extra)))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and gradient.shape[i] != 1)
    if stretched:
        gradient = gradient.sum(axis=stretched, keepdims=True)
    return _as_array(gradient)
