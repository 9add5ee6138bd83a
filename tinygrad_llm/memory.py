"""Freed memory is kept for the next array, not given back to the system.

A training step makes and frees hundreds of arrays. The allocator of Linux (glibc) hands large ones,
and whatever is free at the end of its heap, straight back to the system; the next step asks for as
much again and gets fresh pages, each with a fault and 4 kB of zeros to write. In nanoGPT's CPU
setting that is 7,500 faults and a quarter of the time of every step. Told to keep up to a gigabyte,
the allocator asks once.

A user's own settings win: MALLOC_... and GLIBC_TUNABLES are left alone, TINYGRAD_LLM_KEEP_MEMORY=0
switches this off. Other systems have other allocators, and nothing is done there.
"""

import ctypes
import os
import sys

_KEPT = 1 << 30  # bytes
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # numbers of the settings in glibc's malloc.h


def keep_freed() -> bool:
    """Tell the C library's allocator so; whether it was told."""
    own = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if sys.platform != "linux" or own or os.environ.get("TINYGRAD_LLM_KEEP_MEMORY") == "0":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # a C library without it, such as musl
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _KEPT) and mallopt(_M_TRIM_THRESHOLD, _KEPT))
