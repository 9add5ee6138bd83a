"""Put your own part in: a softmax, a layer, an optimiser, a tokenizer, in place of the engine's.

    with replace("softmax", my_softmax):  # a function of tensors, called as the engine's is
        train(config)                     # a GPT that attends with my_softmax

A part is one function or class that a room (a folder of the package) offers, or one function of a
kernel. It is named as users import it: "softmax" (of functional), "nn.LayerNorm", "optim.AdamW",
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

    `mine` is called as the original is, but arguments that are at their defaults are left out if it
    does not take them. Raises ConfigError for a name that is no part, with the nearest one.
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
            mine = _adapted(part, mine)
            stack.enter_context(_everywhere(part.name, part.original, mine))
        operation = part.name.removesuffix("_forward").removesuffix("_backward")
        if operation in _FUSED and part.room in ("functional", "kernels"):
            stack.enter_context(_composed(operation))
        yield


def find(name: str) -> Part:
    """The part that a name stands for: "room.name", or the name alone. Else ConfigError."""
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


def _adapted(part: Part, mine: Any) -> Any:
    """`mine` with what the engine may rely on: its arguments fit, functions return tensors."""
    from tinygrad_llm.tensor import Tensor

    fit = _fitting(inspect.signature(part.original), mine)
    if part.name == "scaled_dot_product_attention":
        fit = _without_offset(fit, mine)
    if inspect.isclass(mine):

        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
            args, kwargs = fit(args, kwargs)
            mine.__init__(self, *args, **kwargs)

        names = {"__init__": __init__, "__module__": mine.__module__, "__doc__": mine.__doc__}
        return type(mine.__name__, (mine,), {**names, "__qualname__": mine.__qualname__})

    @functools.wraps(mine)
    def adapted(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = fit(args, kwargs)
        result = mine(*args, **kwargs)
        first = result[0] if isinstance(result, tuple) and result else result
        if part.room == "functional" and not isinstance(first, Tensor):
            raise TypeError(
                f"{part.name}: the function put in its place returned {type(first).__name__}, not "
                f"a Tensor. Compute with the tensors' own operations, so that gradients flow; "
                f"functions of plain arrays replace the kernels {part.name}_forward and _backward"
            )
        return result

    return adapted


def _fitting(known: inspect.Signature, mine: Any) -> Callable[[Any, Any], tuple[Any, Any]]:
    """A function (args, kwargs) -> the same without those that are at their defaults anyway, if
    `mine` does not take them: an exercise need not have every option of the engine's."""
    try:
        taken = inspect.signature(mine).parameters.values()
    except ValueError:  # some builtins have none
        taken = known.parameters.values()
    any_name = any(p.kind is p.VAR_KEYWORD for p in taken)
    names = {p.name for p in taken}
    places = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in taken)
    if any(p.kind is p.VAR_POSITIONAL for p in taken):
        places = len(known.parameters) + 1
    defaults = {name: p.default for name, p in known.parameters.items()}
    order = list(defaults)

    def is_default(name: str, value: Any) -> bool:
        plain = value is None or isinstance(value, bool | int | float | str)
        return plain and name in defaults and value == defaults[name]

    def fit(args: Any, kwargs: Any) -> tuple[Any, Any]:
        while places < len(args) <= len(order) and is_default(order[len(args) - 1], args[-1]):
            args = args[:-1]
        if not any_name:
            kwargs = {k: v for k, v in kwargs.items() if k in names or not is_default(k, v)}
        return args, kwargs

    return fit


def _without_offset(fit: Any, mine: Any) -> Any:
    """PyTorch's attention has no causal_offset, which the KV cache needs; a mask says the same."""
    import numpy as np

    from tinygrad_llm.tensor import Tensor

    if "causal_offset" in inspect.signature(mine).parameters:
        return fit

    def fit_attention(args: Any, kwargs: Any) -> tuple[Any, Any]:
        query, key, value, *others = args
        options = {**dict(zip(("attn_mask", "dropout_p", "is_causal"), others)), **kwargs}
        offset = options.pop("causal_offset", 0)
        if offset and options.get("is_causal"):
            # Query i sees the keys up to i + offset: all of them, if it is one new token.
            places = np.arange(key.shape[-2]) <= np.arange(query.shape[-2])[:, None] + offset
            mask = options.get("attn_mask")
            if not places.all():
                if mask is None or mask.dtype == np.bool_:
                    seen = places if mask is None else mask.array & places
                else:
                    seen = np.where(places, mask.array, mask.array.dtype.type(-np.inf))
                options["attn_mask"] = Tensor(seen)
            options["is_causal"] = False
        return fit((query, key, value), options)

    return fit_attention


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
