"""Reading a user's text files: UTF-8, in pieces, with an error that says what is wrong where."""

import codecs
import difflib
import os
from collections.abc import Iterator
from pathlib import Path

from tinygrad_llm.errors import DataError
from tinygrad_llm.tokenizers.text import read_blocks

TEXT_SUFFIXES = frozenset(
    f".{kind}"
    for kind in ("txt", "text", "md", "markdown", "rst", "org", "tex")
    + ("py", "c", "h", "cpp", "cu", "js", "ts", "java", "go", "rs", "sh")
)
"""The files of a folder that count as text; others are left alone."""

_BLOCK = 1 << 20  # bytes


def iter_path(path: str | os.PathLike[str]) -> Iterator[str]:
    """The text of a file, or of all text files below a folder in sorted order, in pieces.

    Memory stays bounded by about a megabyte. Line ends are kept as they are; a byte order mark is
    not. Between two files of a folder there is at least one line end.
    Raises DataError for a path that is missing, unreadable, empty, binary or not UTF-8, and for a
    folder without text. As in any generator, nothing happens before the first piece is taken.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} does not exist{_nearest(path)}")
    files = text_files(path) if path.is_dir() else [path]
    last = "\n"
    for file in files:
        if not last.endswith("\n"):
            yield "\n"
        last = "\n"
        for piece in _iter_file(file):
            yield piece
            last = piece


def text_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The text files below a folder (see TEXT_SUFFIXES), sorted by path, hidden ones left out."""
    folder = Path(folder)

    def unreadable(error: OSError) -> None:
        raise DataError(f"cannot read {error.filename}: {error.strerror}") from error

    found = []
    # os.walk does not follow links to folders, so a link to a parent is no endless loop.
    for parent, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(parent, name)
            for name in files
            if not name.startswith(".") and Path(name).suffix.lower() in TEXT_SUFFIXES
        ]
    if not found:
        kinds = " ".join(sorted(TEXT_SUFFIXES))
        raise DataError(f"the folder {folder} has no text files; these count as text: {kinds}")
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def _iter_file(path: Path) -> Iterator[str]:
    _refuse_binary(path)
    empty = blank = True
    for text in read_blocks(path, _BLOCK):
        if "\0" in text:
            raise DataError(f"{path} is a binary file, not text: it has zero bytes")
        if empty:
            text = text.removeprefix("\ufeff")  # the mark that Windows editors put first
        empty = empty and not text
        blank = blank and not text.strip()
        if text:
            yield text
    if blank:
        raise DataError(f"{path} {'is empty' if empty else 'holds nothing but white space'}")


def _refuse_binary(path: Path) -> None:
    """Say "binary" of a picture or an archive, which would otherwise be "not UTF-8"."""
    try:
        with open(path, "rb") as file:
            head = file.read(1 << 13)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{path} is UTF-16. Save it as UTF-8: iconv -f utf-16 -t utf-8")
    zero = head.find(b"\0")
    if zero >= 0:
        raise DataError(f"{path} is a binary file, not text: byte {zero:,} is zero")


def _nearest(path: Path) -> str:
    """What is there instead: the nearest names in the same folder, or the parent that is not."""
    folder = path.absolute().parent
    if not folder.is_dir():
        return f", and neither does the folder {folder}"
    try:
        names = os.listdir(folder)
    except OSError:
        return ""  # a folder that may be entered but not listed has nothing to suggest
    return did_you_mean(path.name, names)


def did_you_mean(name: str, known: list[str]) -> str:
    """A clause for an error message: `; did you mean 'a' or 'b'`, or nothing."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(map(repr, near))}" if near else ""
