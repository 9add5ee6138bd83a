"""Token ids in one memory-mapped file: two bytes each for most vocabularies, never all in memory.

The file begins with 1,024 bytes that a person can read (`head -c 1024 FILE`): a line with the
format's name, a line of JSON, and spaces. The ids follow, little-endian. One file, and not two,
so that the ids and what is said of them can never come apart.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from tinygrad_llm.errors import DataError
from tinygrad_llm.files import atomic_write

_MAGIC = b"tinygrad_llm tokens 1\n"
_HEADER = 1024  # bytes; a multiple of every page-friendly alignment
_CHUNK = 1 << 20  # ids


def write_tokens(
    path: str | os.PathLike[str],
    ids: Iterable[int] | np.ndarray,
    vocab_size: int,
    **about: str | int,
) -> dict[str, Any]:
    """Write ids of any number, from an array or a generator, in bounded memory.

    The old file stays until the new one is complete. `about` is kept in the header (which text,
    which tokenizer) and comes back from `token_header`. Returns the header.
    Raises DataError for an id outside 0 .. vocab_size - 1, with its position.
    """
    if not 1 <= vocab_size <= 2**32:
        raise ValueError(f"write_tokens: vocab_size={vocab_size} is not accepted; use 1 .. 2**32")
    dtype = np.dtype("<u2") if vocab_size <= 2**16 else np.dtype("<u4")
    digest = hashlib.sha256()
    count = 0
    with atomic_write(path, "wb") as file:
        file.write(bytes(_HEADER))  # filled in at the end, when the number is known
        for chunk in _chunks(ids):
            check_ids(chunk, vocab_size, "write_tokens", count)
            packed = chunk.astype(dtype).tobytes()
            digest.update(packed)
            file.write(packed)
            count += len(chunk)
        header = about | {
            "dtype": dtype.str,
            "count": count,
            "vocab_size": vocab_size,
            "sha256": digest.hexdigest(),
        }
        packed = _MAGIC + json.dumps(header).encode() + b"\n"
        if len(packed) > _HEADER:
            raise ValueError(f"write_tokens: about={about} is too long for the header")
        file.seek(0)
        file.write(packed.ljust(_HEADER - 1) + b"\n")
    return header


def read_tokens(path: str | os.PathLike[str], *, verify: bool = True) -> np.memmap:
    """The ids as a read-only, memory-mapped array of shape (count,), uint16 or uint32.

    verify: also read every byte once, to check the SHA-256 and the range of the ids (about a
    second for a gigabyte). Raises DataError for a file that is missing, truncated, altered, of
    another kind, or that has an id outside the vocabulary.
    """
    header = token_header(path)
    dtype, count = np.dtype(header["dtype"]), header["count"]
    actual = (os.path.getsize(path) - _HEADER) / dtype.itemsize
    if actual != count:
        what = "truncated" if actual < count else "too long"
        raise DataError(f"{path} is {what}: it holds {actual:,g} of {count:,} token ids")
    if count == 0:
        raise DataError(f"{path} holds no token ids")
    tokens = np.memmap(path, dtype, mode="r", offset=_HEADER, shape=(count,))
    if verify:
        digest = hashlib.sha256()
        for start in range(0, count, _CHUNK):
            chunk = np.asarray(tokens[start : start + _CHUNK])
            check_ids(chunk, header["vocab_size"], os.fspath(path), start)
            digest.update(chunk.data)
        if digest.hexdigest() != header["sha256"]:
            raise DataError(f"{path} was altered: its ids do not have the sha256 of its header")
    return tokens


def token_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What the header says: dtype, count, vocab_size, sha256, and what was given to write_tokens.

    Raises DataError for a file that is missing or not one of ours.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(_HEADER)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if not head.startswith(_MAGIC):
        raise DataError(f"{path} is not a file of token ids (write_tokens makes them)")
    try:
        header = json.loads(head[len(_MAGIC) :])
        known = header["dtype"] in ("<u2", "<u4")
        sound = all(isinstance(header[key], int) and header[key] >= 0 for key in _NUMBERS)
        sound = sound and isinstance(header["sha256"], str)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} has a header that cannot be read; write it again") from error
    if len(head) < _HEADER or not (known and sound):
        raise DataError(f"{path} has a header that cannot be read; write it again")
    return header


_NUMBERS = ("count", "vocab_size")


def check_ids(ids: np.ndarray, vocab_size: int, where: str, start: int = 0) -> None:
    """Raise DataError if an id is outside 0 .. vocab_size - 1; `start` is the place of ids[0]."""
    if not np.issubdtype(ids.dtype, np.integer):
        raise TypeError(f"{where}: token ids must be integers, not {ids.dtype}")
    if ids.size and (ids.min() < 0 or ids.max() >= vocab_size):
        flat = ids.reshape(-1)
        place = int(np.argmax((flat < 0) | (flat >= vocab_size)))
        raise DataError(
            f"{where}: token id {flat[place]} at position {start + place:,} is outside the "
            f"vocabulary 0 .. {vocab_size - 1}"
        )


def _chunks(ids: Iterable[int] | np.ndarray) -> Iterator[np.ndarray]:
    if isinstance(ids, np.ndarray):
        if ids.ndim != 1:
            raise ValueError(f"write_tokens: ids must have one dimension, not shape {ids.shape}")
        for start in range(0, len(ids), _CHUNK):
            yield ids[start : start + _CHUNK]
        return
    iterator = iter(ids)
    while len(chunk := np.fromiter(islice(iterator, _CHUNK), np.int64)):
        yield chunk
