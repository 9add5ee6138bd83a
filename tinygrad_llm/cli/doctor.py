"""`tllm doctor`: what this machine offers, a line each, and the remedy for what it lacks."""

import ctypes
import importlib
import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click


class Finding(NamedTuple):
    """One line: its subject, whether it is well, what was found, and the remedy if it is not."""

    subject: str
    state: str  # "ok"; "missing": something optional; "problem": something that is needed
    text: str


@click.command("doctor")
def command() -> None:
    """What this machine offers, and the remedy for what it lacks."""
    problems = 0
    for check in (_python, _numpy, _numba, _packages, _gpu, _memory, _folders):
        for subject, state, text in check():
            click.echo(f"{state:8}{subject:12}{text}")
            problems += state == "problem"
    click.get_current_context().exit(1 if problems else 0)


def cpu_count() -> int:
    """The cores this process may use, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _python() -> Iterator[Finding]:
    where = f"{platform.system()} {platform.machine()}, {cpu_count()} cores"
    yield Finding("Python", "ok", f"{platform.python_version()}, {where}")


def _numpy() -> Iterator[Finding]:
    import numpy as np

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    threads = _blas_threads(Path(np.__file__).parent)
    text = f"{np.__version__}, BLAS {blas['name']} {blas['version']}, {threads}"
    if int(np.__version__.split(".")[0]) >= 2:
        yield Finding("NumPy", "ok", text)
    else:
        yield Finding("NumPy", "problem", f"{text}; needs 2 or later: pip install -U numpy")


def _blas_threads(numpy_folder: Path) -> str:
    """Asked of the OpenBLAS that comes with NumPy's wheels; other BLAS do not say."""
    for folder in (numpy_folder.parent / "numpy.libs", numpy_folder / ".dylibs"):
        for library in folder.glob("*openblas*"):
            loaded = ctypes.CDLL(str(library))  # it is loaded already: this is the same one
            for name in ("scipy_openblas_get_num_threads64_", "scipy_openblas_get_num_threads"):
                if hasattr(loaded, name):
                    count = getattr(loaded, name)()
                    return f"{count} thread{'s' if count != 1 else ''}"
    return "threads unknown"


def _numba() -> Iterator[Finding]:
    try:
        numba = importlib.import_module("numba")
    except ImportError as error:
        # Not only where it is missing: Numba refuses a NumPy that is newer than it knows.
        yield Finding("Numba", "missing", f"{error}; slower kernels serve: pip install -U numba")
        return
    yield Finding("Numba", "ok", f"{numba.__version__}, {numba.get_num_threads()} threads")


def _packages() -> Iterator[Finding]:
    from importlib.metadata import PackageNotFoundError, version

    uses = {"regex": "the GPT-2 tokenizer", "matplotlib": "pictures", "rich": "progress bars"}
    for name, use in uses.items():
        try:
            yield Finding(name, "ok", version(name))
        except PackageNotFoundError:
            yield Finding(name, "missing", f"needed for {use}: pip install {name}")


def _gpu() -> Iterator[Finding]:
    driver = _has_nvidia_driver()
    if importlib.util.find_spec("cupy") is None:
        if driver:
            text = 'NVIDIA driver, but no CuPy: pip install "tinygrad-llm[cuda13]"'
        else:
            text = "no NVIDIA driver, no CuPy; nothing to do, the CPU serves"
        yield Finding("GPU", "missing", text)
        return
    import cupy

    if not cupy.is_available():
        reason = "CuPy cannot use the driver" if driver else "no NVIDIA driver"
        yield Finding("GPU", "missing", f"CuPy {cupy.__version__}, but {reason}: see nvidia-smi")
        return
    # A device is there; without NVRTC the first kernel would fail all the same.
    try:
        compiler = ".".join(map(str, cupy.cuda.nvrtc.getVersion()))
    except Exception as error:  # noqa: BLE001 - CuPy's and the loader's errors have no common base
        remedy = 'pip install "tinygrad-llm[cuda13]"'
        yield Finding("GPU", "problem", f"CuPy finds no NVRTC ({error}): {remedy}")
        return
    for number in range(cupy.cuda.runtime.getDeviceCount()):
        properties = cupy.cuda.runtime.getDeviceProperties(number)
        memory = properties["totalGlobalMem"] / 2**30
        name = properties["name"].decode()
        text = f"{name}, {memory:.0f} GiB, CuPy {cupy.__version__}, NVRTC {compiler}"
        yield Finding("GPU", "ok", text)


def _has_nvidia_driver() -> bool:
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _memory() -> Iterator[Finding]:
    total, free = _memory_bytes()
    if total is None:
        yield Finding("memory", "ok", "unknown on this system")
        return
    text = f"{total / 2**30:.1f} GiB" + (f", {free / 2**30:.1f} free" if free is not None else "")
    if total < 2 * 2**30:
        text += "; small: take smaller models and batches"
    yield Finding("memory", "ok", text)


def _memory_bytes() -> tuple[int | None, int | None]:
    """Total and available bytes; None where the system has no simple way to say."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = (line.split() for line in meminfo.read_text().splitlines())
        kilobytes = {fields[0].rstrip(":"): int(fields[1]) for fields in lines}
        total = 1024 * kilobytes["MemTotal"]
        free = 1024 * kilobytes.get("MemAvailable", kilobytes["MemFree"])
        limit = Path("/sys/fs/cgroup/memory.max")  # a container's own, lower limit
        if limit.exists() and (text := limit.read_text().strip()).isdigit() and int(text) < total:
            used = int(Path("/sys/fs/cgroup/memory.current").read_text())
            return int(text), min(free, int(text) - used)
        return total, free
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), None
    return None, None


def _folders() -> Iterator[Finding]:
    from tinygrad_llm.fetch import cache_folder

    cache = cache_folder()
    # It need not exist yet: what counts is the nearest folder above that does.
    above = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if above.is_dir() and os.access(above, os.W_OK):
        yield Finding("cache", "ok", str(cache))
    else:
        remedy = "set TINYGRAD_LLM_CACHE to a folder that can be written"
        yield Finding("cache", "problem", f"{cache} cannot be written; {remedy}")
    data = os.environ.get("TINYGRAD_LLM_DATA")
    if not data:
        text = "downloads on demand; TINYGRAD_LLM_DATA may name your copies"
        yield Finding("data", "missing", text)
    elif Path(data).expanduser().is_dir():
        yield Finding("data", "ok", data)
    else:
        remedy = "correct or unset TINYGRAD_LLM_DATA"
        yield Finding("data", "problem", f"{data} is no folder; {remedy}")
