"""Kernels that are compiled when they are first called, and what happens if that fails.

    @compiled("void(float32[::1], float32[::1], intp, intp)")
    def _gelu(x, out, first, last): ...

    @instead_of(reference.gelu_forward)
    def gelu_forward(x, approximate="none"): ...     # prepares arrays and calls _gelu on slices

A machine that cannot compile (no cache folder, a broken LLVM) gets the reference and one notice.
"""

import functools
import hashlib
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

Function = Callable[..., Any]
_noticed: set[str] = set()
_compiling = threading.RLock()


class CompilationError(Exception):
    """Numba could not compile a kernel."""


def notice(subject: str, message: str) -> None:
    """Warn about a subject once a process."""
    if subject not in _noticed:
        _noticed.add(subject)
        warnings.warn(message, RuntimeWarning, stacklevel=3)


@functools.cache
def _stamp() -> str:
    """A hash of all kernel sources. Numba's own stamp knows the one file of a function only and
    would go on using old machine code when a helper in another file has changed."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class Kernel:
    """A function to be compiled by Numba for one signature, when first called."""

    def __init__(self, function: Function, signature: str, options: dict[str, Any]):
        functools.update_wrapper(self, function)
        self.function, self.signature, self.options = function, signature, options
        self.run: Function = self._first

    def __call__(self, *args: Any) -> Any:
        return self.run(*args)

    def _first(self, *args: Any) -> Any:
        with _compiling:  # the threads of one task arrive together: the first compiles for all
            if self.run == self._first:
                self.compile()
        return self.run(*args)

    def compile(self) -> Any:
        """The Numba dispatcher, compiled (or read from the cache folder)."""
        try:
            dispatcher = self._dispatcher(cache=True)
        except (OSError, RuntimeError) as error:
            notice(
                "cache",
                f"kernels cannot be kept between runs, and each run compiles them anew: {error}. "
                f"Set NUMBA_CACHE_DIR to a folder that can be written.",
            )
            dispatcher = self._dispatcher(cache=False)
        self.run = dispatcher
        return dispatcher

    def _dispatcher(self, cache: bool) -> Any:
        try:
            dispatcher = numba.njit(**self.options)(self.function)
            if cache:
                dispatcher.enable_caching()
                dispatcher._cache._cache_file._source_stamp = _stamp()
            dispatcher.compile(self.signature)
            dispatcher.disable_compile()
        except (numba.core.errors.NumbaError, AttributeError) as error:
            raise CompilationError(f"{self.function.__name__}: {error}") from error
        return dispatcher


def compiled(signature: str, **options: Any) -> Callable[[Function], Kernel]:
    """Compile lazily, for one thread and without the interpreter's lock (see _threads.py).

    fastmath: `contract` lets a * b + c be one instruction, with one rounding less. Kernels with
    sums add `reassoc`, so that a sum can be taken in several lanes. Nothing assumes that there are
    no NaNs or infinities.
    """
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}} | options
    return lambda function: Kernel(function, signature, options)


def instead_of(reference: Function) -> Callable[[Function], Function]:
    """The decorated function stands in for `reference`, which is used if it cannot be compiled."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            nonlocal function
            try:
                return function(*args, **kwargs)
            except CompilationError as error:
                notice(
                    "compiler", f"kernels cannot be compiled, NumPy's formulas are used: {error}"
                )
                function = reference
                return reference(*args, **kwargs)

        return checked

    return decorate
