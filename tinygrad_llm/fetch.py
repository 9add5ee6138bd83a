"""Downloading a file once: checked, resumable, and kept in a cache for the next run.

A file is looked for in three places, and its SHA-256 is checked in each:

1. the folder that TINYGRAD_LLM_DATA names, where somebody put copies by hand (never written to);
2. the cache folder: TINYGRAD_LLM_CACHE, or tinygrad_llm below the user's cache folder;
3. its public address, from where it is downloaded into the cache.
"""

import errno
import http.client
import os
import re
import secrets
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from tinygrad_llm.errors import FetchError
from tinygrad_llm.files import sha256_of

ProgressCallback = Callable[[int, int | None], None]
"""Called with (bytes so far, bytes in all or None where the server did not say)."""

_CHUNK = 1 << 16
_RETRYABLE = {408, 425, 429, 500, 502, 503, 504}  # the statuses that say: try again later


class _Interrupted(Exception):
    """An attempt that failed in a way that the next attempt may mend."""


def fetch(
    url: str,
    sha256: str | None,
    name: str,
    *,
    progress: ProgressCallback | bool = False,
    timeout: float = 20.0,
    attempts: int = 4,
) -> Path:
    """The path of a local, checked copy of `url`, which is downloaded if there is none.

    sha256: 64 hex digits, or None for a file whose checksum nobody has published.
    name: where the file lies below the data folder and the cache, with "/" between folders.
    progress: True draws a bar on standard error (one plain line where that is no terminal).
    timeout: seconds without a byte before an attempt is given up. attempts: in all, so that the
    call ends; each one goes on where the last stopped (HTTP Range), and so does the next call.
    Raises FetchError, which says where to put the file by hand.
    """
    sha256 = _checked_sha256(sha256)
    found = find_local(name, sha256)
    if found is not None:
        return found
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"fetch: url={url!r} is not accepted; it must begin with http(s)://")
    if attempts < 1:
        raise ValueError(f"fetch: attempts={attempts} is not accepted; use at least 1")
    path = cached_path(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _part_of(path) as part:
            if progress is True:
                with progress_bar(path.name) as report:
                    _download(url, part, sha256, report, timeout, attempts)
            else:
                _download(url, part, sha256, progress or _say_nothing, timeout, attempts)
            os.replace(part, path)
    except FetchError as error:
        raise FetchError(f"{error}. {_by_hand(path, sha256, url)}") from error.__cause__
    except OSError as error:
        room = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise FetchError(
            f"cannot write {path}: {room}. "
            "Set TINYGRAD_LLM_CACHE to a folder that can be written and has room"
        ) from error
    return path


def find_local(name: str, sha256: str | None) -> Path | None:
    """The copy in the data folder or in the cache, checked; None where there is none.

    A wrong file in the data folder is an error, because a person put it there. A wrong file in
    the cache counts as none: it is ours, and a download replaces it.
    """
    sha256 = _checked_sha256(sha256)
    folder = os.environ.get("TINYGRAD_LLM_DATA")
    local = Path(folder).expanduser() / _relative(name) if folder else None
    if local is not None and local.is_file():
        actual = _digest(local)
        if sha256 not in (None, actual):
            raise FetchError(
                f"{local} is not the file that was published: its sha256 is {actual}, expected "
                f"{sha256}. Replace it, or remove it to have it downloaded"
            )
        return local
    path = cached_path(name)
    if path.is_file() and sha256 in (None, _digest(path)):
        return path
    return None


def cache_folder() -> Path:
    """Where downloads and other things that can be made again are kept."""
    if chosen := os.environ.get("TINYGRAD_LLM_CACHE"):
        return Path(chosen).expanduser().absolute()
    variable = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    base = Path(os.environ.get(variable, ""))
    # The XDG specification says that a path that is not absolute is to be ignored.
    return (base if base.is_absolute() else Path.home() / ".cache") / "tinygrad_llm"


def cached_path(name: str) -> Path:
    """Where the file of that name lies in the cache, whether or not it is there."""
    return cache_folder() / _relative(name)


@contextmanager
def progress_bar(label: str) -> Iterator[ProgressCallback]:
    """A bar by rich on a terminal; elsewhere one plain line when all is done."""
    try:
        from rich import console, progress

        screen = console.Console(stderr=True)
    except ImportError:
        screen = None
    if screen is not None and screen.is_terminal:
        with progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
            console=screen,
        ) as bar:
            task = bar.add_task(f"fetching {label}", total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    last = 0

    def remember(done: int, total: int | None) -> None:
        nonlocal last
        last = done

    yield remember
    print(f"fetched {label}: {last:,} bytes", file=sys.stderr)


def _say_nothing(done: int, total: int | None) -> None:
    pass


def _download(
    url: str,
    part: Path,
    sha256: str | None,
    report: ProgressCallback,
    timeout: float,
    attempts: int,
) -> None:
    """Fill `part` with the whole file, or raise FetchError; what has arrived is kept."""
    reason = ""
    for attempt in range(attempts):
        if attempt:
            time.sleep(min(0.25 * 2 ** (attempt - 1), 8.0))
        resumed = part.exists() and part.stat().st_size > 0
        try:
            _one_attempt(url, part, report, timeout)
        except _Interrupted as error:
            reason = str(error)
            continue
        actual = _digest(part)
        if sha256 in (None, actual):
            return
        part.unlink()  # a wrong beginning would spoil every later attempt
        reason = f"what arrived has sha256 {actual}"
        if not resumed:
            break  # a whole download that is wrong will be wrong again
    raise FetchError(f"could not fetch {url}: {reason}")


def _one_attempt(url: str, part: Path, report: ProgressCallback, timeout: float) -> None:
    start = part.stat().st_size if part.exists() else 0
    # "identity", because a compressed transfer has neither the length nor the ranges of the file.
    headers = {"User-Agent": "tinygrad-llm", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:  # nothing lies beyond our bytes: all there, or not ours
            if error.headers.get("Content-Range") == f"bytes */{start}":
                return
            part.unlink()
            raise _Interrupted("the unfinished download did not fit the file") from error
        message = f"the server answered {error.code} {error.reason}"
        if error.code in _RETRYABLE:
            raise _Interrupted(message) from error
        raise FetchError(f"could not fetch {url}: {message}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(f"no connection ({getattr(error, 'reason', error)})") from error
    with response:
        if response.status != 206:
            start = 0  # the server ignored the range and sends all
        total = _total_bytes(response, start)
        with open(part, "r+b" if start else "wb") as file:
            file.seek(start)
            done = _copy(response, file, start, total, report)
            file.truncate()
    if total is not None and done != total:
        raise _Interrupted(f"the connection ended after {done:,} of {total:,} bytes")


def _copy(
    response: http.client.HTTPResponse,
    file: IO[bytes],
    done: int,
    total: int | None,
    report: ProgressCallback,
) -> int:
    """Copy the body in pieces, and return the size of the file so far."""
    report(done, total)
    while True:
        try:
            # read1, not read: what has come before a cut is given to us and not thrown away.
            chunk = response.read1(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _Interrupted(f"the connection broke after {done:,} bytes ({error})") from error
        if not chunk:
            return done
        file.write(chunk)
        done += len(chunk)
        report(done, total)


def _total_bytes(response: http.client.HTTPResponse, start: int) -> int | None:
    if start and not (response.headers["Content-Range"] or "").startswith(f"bytes {start}-"):
        raise _Interrupted("the server sent another range than the one asked for")
    length = response.headers["Content-Length"]
    return start + int(length) if length and length.isdigit() else None


@contextmanager
def _part_of(path: Path) -> Iterator[Path]:
    """The unfinished download beside `path`: kept for later if it fails, and ours alone.

    Two processes that wrote into one file would spoil it, so whoever comes second downloads into
    a file of its own, which nobody could go on with.
    """
    part = path.with_name(path.name + ".part")
    try:
        import fcntl
    except ImportError:  # Windows: the checksum still catches two writers
        yield part
        return
    with open(part, "ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shared = False
        except OSError:
            part = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
            shared = True
        try:
            yield part
        finally:
            if part.exists() and (shared or part.stat().st_size == 0):
                part.unlink()


def _digest(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise FetchError(f"cannot read {path}: {error.strerror or error}") from error


def _checked_sha256(sha256: str | None) -> str | None:
    if sha256 is None:
        return None
    if not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise ValueError(f"fetch: sha256={sha256!r} is not accepted; it has 64 hex digits, or None")
    return sha256.lower()


def _relative(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if not name or "\\" in name or ":" in name or path.is_absolute() or ".." in path.parts:
        raise ValueError(
            f"fetch: name={name!r} is not accepted; it is a path below the cache folder, as a/b.txt"
        )
    return path


def _by_hand(path: Path, sha256: str | None, url: str) -> str:
    expected = f" (expected sha256 {sha256})" if sha256 else ""
    return f"Without a network: get {url} elsewhere and put the file by hand at {path}{expected}"
