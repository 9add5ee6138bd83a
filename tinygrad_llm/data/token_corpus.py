"""A text made ready for training: split, turned into tokens once, and cached for the next run."""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from tinygrad_llm.data.batches import bits_per_character, evaluation_batches, split_point
from tinygrad_llm.data.corpora import iter_text
from tinygrad_llm.data.tokens import read_tokens, write_tokens
from tinygrad_llm.errors import DataError
from tinygrad_llm.fetch import cache_folder


class TextEncoder(Protocol):
    """What `prepare` needs of a tokenizer; those of `tinygrad_llm.tokenizers` have it."""

    @property
    def vocab_size(self) -> int: ...

    def encode_iterable(self, texts: Iterable[str], /) -> Iterator[int]: ...


@dataclass(frozen=True)
class TokenCorpus:
    """The tokens of a text, split in two, and how many characters each part stands for."""

    train: np.ndarray  # (n,) uint16 or uint32, memory-mapped
    validation: np.ndarray
    n_train_characters: int
    n_validation_characters: int
    vocab_size: int

    def evaluation_batches(
        self, batch_size: int, context: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Every validation token once as a target, the first one after the last of training."""
        before = int(self.train[-1])
        return evaluation_batches(self.validation, batch_size, context, before=before)

    def bits_per_character(self, mean_loss: float) -> float:
        """From the mean nats per token over the whole validation text."""
        return bits_per_character(mean_loss, len(self.validation), self.n_validation_characters)


def prepare(
    source: str | os.PathLike[str],
    tokenizer: TextEncoder,
    validation: float = 0.1,
    *,
    folder: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TokenCorpus:
    """Read a text (see `iter_text`), split it, and encode it, or find all that in the cache.

    The text is split by characters and then encoded, so that models with different tokenizers
    are held to the same validation text. Text and tokens are never in memory as a whole.
    folder: where the tokens are kept; by default a folder in the cache. They are found again by
    the SHA-256 of the text and the fingerprint of the tokenizer; damaged ones are made anew, and
    so are those of a tokenizer that is not ours, whose code may have changed since.
    progress: called with (characters done, characters in all) while encoding.
    """
    digest, n_characters = hashlib.sha256(), 0
    for piece in iter_text(source):
        digest.update(piece.encode())
        n_characters += len(piece)
    cut = split_point(n_characters, validation)
    if cut < 1 or (validation > 0 and cut == n_characters):
        raise DataError(f"{source} has {n_characters} characters, too few to hold out a part")
    about = {"text": digest.hexdigest(), "tokenizer": fingerprint(tokenizer)}
    folder = cache_folder() / "tokens" if folder is None else Path(folder)
    key = f"{about['text'][:16]}-{about['tokenizer'][:16]}"
    ours = type(tokenizer).__module__.startswith("tinygrad_llm.")
    parts: list[np.ndarray] = []
    for start, stop in ((0, cut), (cut, n_characters)):

        def encode(start: int = start, stop: int = stop) -> Iterator[int]:
            pieces = _between(iter_text(source), start, stop)
            return tokenizer.encode_iterable(_reported(pieces, start, n_characters, progress))

        path = folder / f"{key}-{start}-{stop}.tokens"
        if stop == start:
            parts.append(np.empty(0, np.uint16))
        else:
            parts.append(_tokens(path, encode, tokenizer.vocab_size, about, reuse=ours))
    train, held_out = parts
    return TokenCorpus(train, held_out, cut, n_characters - cut, tokenizer.vocab_size)


def fingerprint(tokenizer: TextEncoder) -> str:
    """A SHA-256 of all that decides how a tokenizer of ours encodes: equal for equal ones."""
    kind = type(tokenizer)
    digest = hashlib.sha256(f"{kind.__module__}.{kind.__qualname__}".encode())
    for name in ("vocab", "special_tokens", "merges", "pattern", "unk"):
        value = getattr(tokenizer, name, None)
        digest.update(repr(sorted(value.items()) if isinstance(value, dict) else value).encode())
    return digest.hexdigest()


def _tokens(
    path: Path,
    encode: Callable[[], Iterator[int]],
    vocab_size: int,
    about: dict[str, str],
    reuse: bool,
) -> np.ndarray:
    with suppress(DataError):  # missing or damaged: write_tokens replaces it
        if reuse:
            return read_tokens(path)
    try:
        write_tokens(path, encode(), vocab_size, **about)
    except OSError as error:
        # A cache is a convenience: on a full or read-only disk the run goes on without it.
        warnings.warn(f"tokens are not cached, {path.parent}: {error.strerror}", stacklevel=3)
        return np.fromiter(encode(), np.uint16 if vocab_size <= 2**16 else np.uint32)
    return read_tokens(path, verify=False)


def _between(pieces: Iterator[str], start: int, stop: int) -> Iterator[str]:
    """The characters start .. stop - 1 of a text in pieces."""
    position = 0
    for piece in pieces:
        part = piece[max(start - position, 0) : max(stop - position, 0)]
        if part:
            yield part
        position += len(piece)
        if position >= stop:
            return


def _reported(
    pieces: Iterator[str], done: int, total: int, progress: Callable[[int, int], None] | None
) -> Iterator[str]:
    for piece in pieces:
        yield piece
        done += len(piece)
        if progress is not None:
            progress(done, total)
