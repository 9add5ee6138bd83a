"""Writing files so that a killed process or a full disk never leaves half a file behind."""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; rename it onto `path` only if the block succeeds.

    mode: "w" (UTF-8 text, line ends written as given) or "wb". Errors of the block, a full disk
    included, leave the old file as it was and no temporary file behind.
    """
    if mode not in ("w", "wb"):
        raise ValueError(f'atomic_write: mode={mode!r} is not accepted; use "w" or "wb"')
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The same folder is the same file system: only there is a rename atomic.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    text = {"encoding": "utf-8", "newline": ""} if mode == "w" else {}
    try:
        # "x": never write into a file of somebody else's; the usual permissions come by umask.
        with open(temporary, mode.replace("w", "x"), **text) as file:  # type: ignore[call-overload]
            yield file
            file.flush()
            os.fsync(file.fileno())  # else a power cut could keep the new name and lose the bytes
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, atomically."""
    with atomic_write(path) as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's bytes, in hex, read in bounded memory."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def replace_folder(new: str | os.PathLike[str], folder: str | os.PathLike[str]) -> None:
    """Put the complete folder `new` in the place of `folder`.

    No system can exchange two folders in one step everywhere, so there are two renames. After a
    kill between them `complete_folder` says which to read, and `recover_folder` finishes the work.
    """
    new, folder = Path(new), Path(folder)
    old = _set_aside(folder)
    _sync_names(new)  # its files must be there before the old folder may go
    if folder.exists():
        remove_folder(old)
        os.rename(folder, old)
    os.rename(new, folder)
    _sync_names(folder.parent)
    remove_folder(old)


def complete_folder(folder: str | os.PathLike[str], new: str | os.PathLike[str]) -> Path | None:
    """Where the newest complete state of `folder` is, after any `replace_folder(new, folder)`.

    The old folder is only set aside once the new one is complete, so both can be trusted when
    `folder` is missing; a lone `new` was still being written. None if there is nothing.
    """
    new, folder = Path(new), Path(folder)
    old = _set_aside(folder)
    if folder.exists():
        return folder
    if not old.exists():
        return None
    return new if new.exists() else old


def recover_folder(folder: str | os.PathLike[str], new: str | os.PathLike[str]) -> None:
    """Finish or undo a `replace_folder(new, folder)` that was killed; else change nothing."""
    new, folder = Path(new), Path(folder)
    complete = complete_folder(folder, new)
    if complete is not None and complete != folder:
        os.rename(complete, folder)
    remove_folder(_set_aside(folder))
    remove_folder(new)


def remove_folder(folder: str | os.PathLike[str]) -> None:
    """Delete a folder; a kill on the way leaves it whole, or under a name that nobody reads."""
    folder = Path(folder)
    doomed = folder.with_name(f".{folder.name.lstrip('.')}.doomed")
    shutil.rmtree(doomed, ignore_errors=True)  # of a kill before
    if folder.exists():
        os.rename(folder, doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def _set_aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def _sync_names(folder: Path) -> None:
    """Make sure that a folder's entries survive a power cut, where the system can be asked to."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems know no such thing
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
