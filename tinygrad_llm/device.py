"""Which array module an operation runs on, and which spelling of a kernel it gets.

A kernel folder `kernels/NAME/` holds the same functions in up to four files: `reference` (the NumPy
formula), `cpu` (Numba), `numba_cuda`, `cuda`. Each file is one spelling: an implementation of the
same kernel, with the same arguments and results. `kernel("softmax", "softmax_forward", x)` picks
the best spelling that exists for x's device; `use_kernels("numpy")` or TINYGRAD_LLM_KERNELS forces
one.
"""

import contextlib
import importlib
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinygrad_llm import memory

memory.keep_freed()

# Order of preference; a spelling that lacks a function, or cannot be imported, passes it on.
_ORDER = {
    "auto": ("cpu", "reference"),
    "cpu": ("cpu", "reference"),
    "numpy": ("reference",),
}
_found: dict[tuple[str, str, str], Callable[..., Any]] = {}
_replaced: dict[str, Callable[..., Any]] = {}
_noticed: set[str] = set()


def _checked_spelling(spelling: str) -> str:
    if spelling not in _ORDER:
        raise ValueError(
            f"kernels={spelling!r} is not known; use one of {', '.join(map(repr, _ORDER))}"
        )
    return spelling


_spelling = _checked_spelling(os.environ.get("TINYGRAD_LLM_KERNELS", "auto"))


def kernel(operation: str, function: str, array: Any = None) -> Callable[..., Any]:
    """The function of that name in the folder `kernels/operation`, in the spelling in force."""
    if _replaced and function in _replaced:
        return _replaced[function]
    key = (operation, function, _spelling)
    try:
        return _found[key]
    except KeyError:
        _found[key] = _find(operation, function)
        return _found[key]


def _find(operation: str, function: str) -> Callable[..., Any]:
    for spelling in _ORDER[_spelling]:
        name = f"tinygrad_llm.kernels.{operation}.{spelling}"
        try:
            found = getattr(importlib.import_module(name), function, None)
        except (ImportError, OSError) as error:
            culprit = getattr(error, "name", None) or ""
            if culprit == name:
                continue  # this operation has no such spelling
            if spelling == "reference" or culprit.startswith("tinygrad_llm"):
                raise
            _notice(spelling, error)
            continue
        if found is not None:
            return found
    raise LookupError(f"no spelling of {operation}.{function} in {_ORDER[_spelling]}")


def _notice(spelling: str, error: Exception) -> None:
    """Say once that a spelling cannot be used, and what would help."""
    if spelling not in _noticed:
        _noticed.add(spelling)
        remedy = "pip install -U numba" if spelling == "cpu" else "see `tllm doctor`"
        warnings.warn(
            f"the {spelling} kernels cannot be used ({error}); NumPy's formulas are, which are "
            f"slower. Remedy: {remedy}. TINYGRAD_LLM_KERNELS=numpy silences this notice.",
            RuntimeWarning,
            stacklevel=4,
        )


@contextlib.contextmanager
def use_kernels(spelling: str) -> Iterator[None]:
    """Within the block, force a spelling: "auto", "cpu" (fused Numba) or "numpy" (formulas)."""
    global _spelling
    previous, _spelling = _spelling, _checked_spelling(spelling)
    try:
        yield
    finally:
        _spelling = previous


@contextlib.contextmanager
def replace_kernel(function: str, replacement: Callable[..., Any]) -> Iterator[None]:
    """Within the block, run `replacement` wherever the kernel `function` would run."""
    previous = _replaced.get(function)
    _replaced[function] = replacement
    try:
        yield
    finally:
        if previous is None:
            del _replaced[function]
        else:
            _replaced[function] = previous


def device_of(array: Any) -> str:
    """ "cpu" or "cuda"."""
    return "cpu" if isinstance(array, np.ndarray) else "cuda"


def array_module(array: Any) -> Any:
    """numpy for an array on the CPU, cupy for one on the GPU."""
    return np if isinstance(array, np.ndarray) else importlib.import_module("cupy")


def resolve(device: str | None) -> str:
    """Check a `device=` argument. None is the CPU."""
    if device is None or device == "cpu":
        return "cpu"
    if device == "cuda" or str(device).startswith("cuda:"):
        raise RuntimeError(
            f"device={device!r}: no GPU support in this installation yet; use device='cpu'"
        )
    raise ValueError(f"device={device!r} is not known; use 'cpu' or 'cuda'")
