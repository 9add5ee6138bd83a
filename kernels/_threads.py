"""A few threads of our own that sleep between tasks: `share(work, size, grain)`.

Numba's and OpenMP's threads wait by spinning, and so do those of NumPy's BLAS; where a matrix
product and a kernel take turns, as in every training step, the waiting threads of one take the
cores from the other, and a step takes ten times as long. Environment variables that forbid the
spinning are read when NumPy is loaded, which is too late for a library. So kernels are compiled for
one thread and without the interpreter's lock, and ordinary Python threads call them on slices; they
wait on a lock, asleep. Waking one takes about 20 microseconds: `grain` says when that pays.
"""

import itertools
import os
import threading
from collections.abc import Callable
from typing import Any

Work = Callable[[int, int], Any]


class _Pool:
    """`size` threads, the caller among them. One task at a time."""

    def __init__(self, size: int):
        self.busy = threading.Lock()
        self.task: tuple[Callable[[int], Any], Any, int] | None = None
        self.errors: list[BaseException] = []
        self.closed = False
        self.workers = []  # a lock that starts it and a lock that says it is done, per worker
        for _ in range(size - 1):
            locks = threading.Lock(), threading.Lock()
            for lock in locks:
                lock.acquire()
            thread = threading.Thread(target=self._work, args=locks, daemon=True)
            thread.name = "tinygrad_llm kernel"
            try:
                thread.start()
            except RuntimeError:  # the system gives us no more: make do with those we have
                break
            self.workers.append(locks)

    def _work(self, go: Any, done: Any) -> None:
        while True:
            go.acquire()
            if self.closed:
                return
            try:
                self._take()
            except BaseException as error:  # noqa: BLE001  (raised again in the caller's thread)
                self.errors.append(error)
            done.release()

    def _take(self) -> None:
        """Do one piece after another until none is left."""
        if self.task is not None:
            work, numbers, pieces = self.task
            for number in numbers:
                if number >= pieces:
                    break
                work(number)

    def run(self, work: Callable[[int], Any], pieces: int) -> None:
        """work(0), ..., work(pieces - 1), each once, in any order and on any thread."""
        self.task = work, itertools.count(), pieces  # next() on a count is atomic
        self.errors.clear()
        awake = self.workers[: pieces - 1]
        for go, _ in awake:
            go.release()
        try:
            self._take()
        finally:
            for _, done in awake:
                done.acquire()
            self.task = None
        if self.errors:
            raise self.errors[0]

    def close(self) -> None:
        self.closed = True
        for go, _ in self.workers:
            go.release()


def _default() -> int:
    """OMP_NUM_THREADS, as NumPy's BLAS has it, or the cores this process may use."""
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if given.isdigit() and int(given) > 0:
        return int(given)
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), _quota())
    return os.cpu_count() or 1


def _quota(file: str = "/sys/fs/cgroup/cpu.max") -> int:
    """How many cores' worth of time a container gets, however many cores it sees (Linux)."""
    try:
        with open(file, encoding="ascii") as lines:
            share, period = lines.read().split()
        return max(1, round(int(share) / int(period)))
    except (OSError, ValueError):  # no such file, or "max": no limit
        return 1 << 20


_size = _default()
_pool: _Pool | None = None
_making = threading.Lock()


def get_num_threads() -> int:
    return _size


def set_num_threads(count: int) -> None:
    """How many threads the kernels may use. Results do not depend on it."""
    global _size
    if count < 1:
        raise ValueError(f"set_num_threads: count={count} must be at least 1")
    _size = count
    _forget(close=True)


def _forget(close: bool = False) -> None:
    global _pool
    old, _pool = _pool, None
    if close and old is not None:
        with old.busy:
            old.close()


def _after_fork() -> None:
    """Threads do not survive a fork, and a lock may have been held by one of them."""
    global _making
    _making = threading.Lock()
    _forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _the_pool() -> _Pool:
    global _pool
    with _making:
        if _pool is None:
            _pool = _Pool(_size)
        return _pool


def run(work: Callable[[int], Any], pieces: int) -> None:
    """work(0), ..., work(pieces - 1) on the threads; one after another if they are taken.

    They are taken when a second thread of the user's calls a kernel, or a piece calls `run` itself.
    """
    if pieces > 1 and _size > 1:
        pool = _pool or _the_pool()
        if pool.busy.acquire(blocking=False):
            try:
                pool.run(work, pieces)
            except KeyboardInterrupt:
                # A worker may still be at it: its locks can no longer be trusted.
                _forget()
                raise
            finally:
                pool.busy.release()
            return
    for number in range(pieces):
        work(number)


def share(work: Work, size: int, grain: int) -> None:
    """work(first, last) on slices that cover range(size), each at least `grain` long.

    Where size counts elements, not rows (grain is large), all slices but the last are a multiple of
    64 long: the same elements then share a vector register whatever the number of slices, and
    results do not depend on it.
    """
    pieces = min(size // grain, 2 * _size) if _size > 1 else 1
    if pieces <= 1:
        work(0, size)
        return
    multiple = 64 if grain >= 64 else 1
    step = -(-size // (pieces * multiple)) * multiple
    pieces = -(-size // step)
    run(lambda i: work(i * step, min(size, (i + 1) * step)), pieces)
