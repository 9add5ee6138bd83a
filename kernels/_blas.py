"""The number of threads of the BLAS inside NumPy, where it can be told: OpenBLAS in NumPy's wheels.

OpenBLAS's own threads wait for work by spinning. As long as nobody else wants the cores that costs
nothing; beside another busy process every product takes several times as long.
"""

import ctypes
import functools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_in_use = threading.Lock()
_before_ours = 0


@functools.cache
def _switch() -> tuple[Any, Any] | None:
    """(get, set) of the number of threads; None if this NumPy has another BLAS."""
    root = Path(np.__file__).parent
    for folder in (root.parent / "numpy.libs", root / ".dylibs"):
        for path in sorted(folder.glob("*openblas*")) if folder.is_dir() else ():
            try:
                library = ctypes.PyDLL(str(path))  # loaded already: this finds it
            except OSError:
                continue
            for name in ("scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads"):
                try:
                    return getattr(library, name.format("get")), getattr(
                        library, name.format("set")
                    )
                except AttributeError:
                    continue
    return None


def available() -> bool:
    return _switch() is not None


def with_one_thread(work: Callable[[], Any]) -> bool:
    """Run work() while BLAS keeps to the calling threads. False, and not run, if that cannot be:
    with another BLAS, or while another thread is in here."""
    global _before_ours
    switch = _switch()
    if switch is None or not _in_use.acquire(blocking=False):
        return False
    get, put = switch
    _before_ours = get()
    try:
        put(1)
        work()
    finally:
        put(_before_ours)
        _in_use.release()
    return True


def _after_fork() -> None:
    """The child has only the thread that forked: nobody is in with_one_thread."""
    global _in_use
    if _in_use.locked():
        _in_use = threading.Lock()
        switch = _switch()
        if switch is not None:
            switch[1](_before_ours)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
