"""Put your own part in: a softmax, a layer, an optimiser, a tokenizer, in place of the engine's.

    with replace("softmax", my_softmax):  # a function of tensors, called as the engine's is
        train(config)                     # a GPT that attends with my_softmax

A part is named as users import it: "softmax" (of functional), "nn.LayerNorm", "optim.AdamW",
"tokenizers.CharTokenizer"; or as the function of a kernel, "softmax_forward", which works on plain
arrays and needs its "softmax_backward". Functions reach every model. Classes, and activations that
a model chose by name, go into the models that are built within the block, and stay in them.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

from tinygrad_llm import device
from tinygrad_llm.errors import ConfigError

ROOMS = ("functional", "nn", "optim", "tokenizers")
# Fused operations have the parts of their formula built in. When one of these is replaced, the
# composition that calls it runs instead: part -> the fused operation.
_FUSED = {
    "softmax": "scaled_dot_product_attention",
    "dropout": "scaled_dot_product_attention",
    "log_softmax": "cross_entropy",
    "silu": "swiglu",
}


class Part(NamedTuple):
    """Where a part is: a room ("functional", ..., or "kernels"), its name there, and itself."""

    room: str
    name: str
    original: Any


@contextlib.contextmanager
def replace(name: str, mine: Any) -> Iterator[None]:
    """Within the block, use `mine` wherever the engine would use the part called `name`.

    `mine` is called exactly as the original, except that arguments at their defaults are left out
    if it does not take them. Raises ConfigError for a name that is no part, with the nearest.
    """
    part = find(name)
    if not callable(mine):
        raise ConfigError(f"replace: {mine!r} cannot be called, so it cannot stand for {name}")
    with contextlib.ExitStack() as stack:
        if part.room == "kernels":
            stack.enter_context(device.replace_kernel(part.name, mine))
        else:
            if inspect.isclass(part.original) != inspect.isclass(mine):
                kinds = ("function", "class")
                wanted = kinds[inspect.isclass(part.original)]
                raise ConfigError(f"replace: {name} is a {wanted}, so a {wanted} must replace it")
            if part.room == "functional":
                mine = _adapted(part, mine)
            stack.enter_context(_everywhere(part.name, part.original, mine))
        operation = part.name.removesuffix("_forward").removesuffix("_backward")
        if operation in _FUSED and part.room in ("functional", "kernels"):
            stack.enter_context(_composed(operation))
        yield


def find(name: str) -> Part:
    """The part that a name stands for: "room.name", or the name alone."""
    parts = {f"{part.room}.{part.name}": part for part in _all_parts()}
    known = parts.get(name.replace("F.", "functional.", 1) if name.startswith("F.") else name)
    if known is not None:
        return known
    for part in parts.values():  # the rooms come in the order of ROOMS, then the kernels
        if part.name == name:
            return part
    names = [*parts, *(part.name for part in parts.values())]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"parts are in {', '.join(ROOMS)}, kernels"
    raise ConfigError(f"replace: {name!r} is no part of the engine; {hint}")


def _all_parts() -> Iterator[Part]:
    for room in ROOMS:
        module = importlib.import_module(f"tinygrad_llm.{room}")
        for name in module.__all__:
            value = getattr(module, name)
            if callable(value):
                yield Part(room, name, value)
    kernels = importlib.import_module("tinygrad_llm.kernels")
    for folder in pkgutil.iter_modules(kernels.__path__):
        if not folder.ispkg or folder.name.startswith("_"):
            continue
        reference = importlib.import_module(f"{kernels.__name__}.{folder.name}.reference")
        for name, value in vars(reference).items():
            if inspect.isfunction(value) and value.__module__ == reference.__name__:
                if not name.startswith("_"):
                    yield Part("kernels", name, value)


@contextlib.contextmanager
def _everywhere(name: str, original: Any, mine: Any) -> Iterator[None]:
    """Put `mine` into every table of the engine that holds `original`, and take it out again."""
    for room in ("models", "generation"):  # so that all who import a part have done so
        importlib.import_module(f"tinygrad_llm.{room}")
    before = {id(module) for module in _engine()}
    places = [
        (table, key)
        for module in _engine()
        for table in _tables(module)
        for key, value in table.items()
        if value is original
    ]
    for table, key in places:
        table[key] = mine
    try:
        yield
    finally:
        for table, key in places:
            table[key] = original
        for module in _engine():  # one that was imported within the block has taken mine
            if id(module) not in before and vars(module).get(name) is mine:
                setattr(module, name, original)


def _engine() -> list[ModuleType]:
    modules = list(sys.modules.items())
    return [m for name, m in modules if m is not None and name.startswith("tinygrad_llm.")]


def _tables(module: ModuleType) -> list[dict[Any, Any]]:
    """A module's names, and its own dicts of functions (activations by name)."""
    own = [value for key, value in vars(module).items() if type(value) is dict and key[:1] != "_"]
    return [vars(module), *own]


def _adapted(part: Part, mine: Callable[..., Any]) -> Callable[..., Any]:
    """`mine` with what the engine may rely on: its arguments fit, and it returns tensors."""
    from tinygrad_llm.tensor import Tensor

    known = inspect.signature(part.original)
    try:
        taken = inspect.signature(mine)
    except ValueError:  # a builtin, which has none
        taken = known
    any_keyword = any(p.kind is p.VAR_KEYWORD for p in taken.parameters.values())

    @functools.wraps(mine)
    def adapted(*args: Any, **kwargs: Any) -> Any:
        for key in [k for k in kwargs if k not in taken.parameters and not any_keyword]:
            default = known.parameters[key].default if key in known.parameters else ...
            if kwargs[key] is default or (default is not None and kwargs[key] == default):
                del kwargs[key]
        result = mine(*args, **kwargs)
        first = result[0] if isinstance(result, tuple) and result else result
        if not isinstance(first, Tensor):
            raise TypeError(
                f"{part.name}: the function put in its place returned {type(first).__name__}, not "
                f"a Tensor. Compute with the tensors' own operations, so that gradients flow; "
                f"functions of plain arrays replace the kernels {part.name}_forward and _backward"
            )
        return result

    return adapted


@contextlib.contextmanager
def _composed(operation: str) -> Iterator[None]:
    """Run the composition of the fused operation that would pass `operation` by."""
    import tinygrad_llm.functional as F

    name = _FUSED[operation]
    original = getattr(F, name)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_everywhere(name, original, _COMPOSITIONS[name](original)))
        if operation in ("softmax", "log_softmax"):
            # The replacement, or the fused one, which calls the kernels.
            stack.enter_context(_attribute(F.composed, operation, getattr(F, operation)))
        yield


@contextlib.contextmanager
def _attribute(module: Any, name: str, value: Any) -> Iterator[None]:
    previous = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, previous)


def _attention(original: Any) -> Any:
    import tinygrad_llm.functional as F

    @functools.wraps(original)
    def attention(
        query: Any,
        key: Any,
        value: Any,
        attn_mask: Any = None,
        dropout_p: float = 0.0,
        *others: Any,
        return_weights: bool = False,
        **options: Any,
    ) -> Any:
        # To be able to return the weights, the engine computes them with softmax.
        out, weights = original(
            query, key, value, attn_mask, 0.0, *others, return_weights=True, **options
        )
        if dropout_p:
            weights = F.dropout(weights, dropout_p, True)
            shared = query.shape[-3] // value.shape[-3] if query.ndim > 2 else 1
            out = weights @ (value if shared == 1 else value.repeat_interleave(shared, -3))
        return (out, weights) if return_weights else out

    return attention


def _cross_entropy(original: Any) -> Any:
    import tinygrad_llm.functional as F

    @functools.wraps(original)
    def cross_entropy(input: Any, target: Any, weight: Any = None, **options: Any) -> Any:
        plain = input.ndim == 2 and target.ndim == 1 and target.dtype.kind in "iu"
        if not plain or options.get("reduction", "mean") != "mean":
            return original(input, target, weight, **options)
        options.pop("reduction", None)
        return F.composed.cross_entropy(input, target, weight, **options)

    return cross_entropy


def _swiglu(original: Any) -> Any:
    import tinygrad_llm.functional as F

    @functools.wraps(original)
    def swiglu(gate: Any, up: Any) -> Any:
        return F.silu(gate) * up

    return swiglu


_COMPOSITIONS = {
    "scaled_dot_product_attention": _attention,
    "cross_entropy": _cross_entropy,
    "swiglu": _swiglu,
}
