"""What every tokenizer can do, whatever its units are: text -> ids -> text."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.tokenizers.text import read_blocks


class BaseTokenizer(ABC):
    """The face that data, models and generation see. Subclasses: CharTokenizer, Tokenizer.

    vocab: the bytes that each id stands for.
    special_tokens: marks such as <|endoftext|>, each with its id.
    """

    def __init__(self, vocab: dict[int, bytes], special_tokens: dict[str, int]):
        self.vocab = vocab
        self.special_tokens = special_tokens
        self._vocab_size = max(vocab) + 1

    @property
    def vocab_size(self) -> int:
        """One more than the greatest id: the number of rows that an embedding needs."""
        return self._vocab_size

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """The ids of `text`."""

    @abstractmethod
    def encode_iterable(self, texts: Iterable[str]) -> Iterator[int]:
        """The ids of all `texts` joined, one by one, without ever holding the whole text.

        `texts` is an open text file or any other source of strings; where it is cut makes no
        difference: the ids are those of `encode("".join(texts))`.
        """

    def encode_file(self, path: str | os.PathLike[str]) -> Iterator[int]:
        """The ids of a UTF-8 text file of any size, line ends as they are, in bounded memory."""
        return self.encode_iterable(read_blocks(path))

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of `ids`: nothing is lost, even where they are not whole characters."""
        ids = _as_list(ids)
        try:
            return b"".join(map(self.vocab.__getitem__, ids))
        except (KeyError, TypeError):  # an id of no token; a list within the list
            raise self._bad_id(ids) from None

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`. Bytes that are not UTF-8 become U+FFFD, the replacement character.

        A model may well stop in the middle of a character; that must not be an error.
        """
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the tokenizer into `folder`; `tinygrad_llm.tokenizers.load(folder)` reads it."""
        from tinygrad_llm.tokenizers.saving import save  # it knows the subclasses, so not above

        save(self, folder)

    def _bad_id(self, ids: list[Any]) -> Exception:
        for position, token_id in enumerate(ids):
            if not isinstance(token_id, int):
                return TypeError(
                    f"decode: ids[{position}] is {token_id!r}; a flat sequence of integers is "
                    f"accepted"
                )
            if token_id not in self.vocab:
                return TokenizerError(
                    f"decode: ids[{position}] is {token_id}, which is not in the vocabulary of "
                    f"{self.vocab_size} tokens (ids 0 to {self.vocab_size - 1})"
                )
        raise AssertionError("all ids are good")

    def __repr__(self) -> str:
        special = f", special_tokens={list(self.special_tokens)}" if self.special_tokens else ""
        return f"{type(self).__name__}(vocab_size={self.vocab_size}{special})"


def _as_list(ids: Any) -> list[Any]:
    """`ids` as a list of Python integers, also from an array, a Tensor or a single id."""
    if isinstance(ids, str | bytes):
        raise TypeError(f"decode: ids is {type(ids).__name__}; a sequence of integers is accepted")
    if hasattr(ids, "tolist"):
        ids = ids.tolist()
    elif isinstance(ids, Iterable):
        # NumPy integers among them equal Python's and are looked up alike, but print otherwise.
        ids = [token_id.item() if hasattr(token_id, "item") else token_id for token_id in ids]
    return ids if isinstance(ids, list) else [ids]
