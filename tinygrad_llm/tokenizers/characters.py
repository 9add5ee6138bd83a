"""The simplest tokenizer: one id for each character. Small vocabulary, long sequences."""

from collections.abc import Iterable, Iterator

from tinygrad_llm.errors import DataError, TokenizerError
from tinygrad_llm.tokenizers.base import BaseTokenizer
from tinygrad_llm.tokenizers.text import blocks, check_text


class CharTokenizer(BaseTokenizer):
    """Characters numbered in the order given.

    characters: every character that can be encoded, each once.
    unk: what stands for any other character: one of `characters`, or a name of its own such as
        "<unk>", which is put after them. Without it an unseen character is an error.

    >>> CharTokenizer.train("hello").encode("hole")
    [1, 3, 2, 0]
    """

    def __init__(self, characters: Iterable[str], unk: str | None = None):
        self.characters = list(characters)
        self.unk = unk
        if not self.characters:
            raise TokenizerError("CharTokenizer: characters is empty")
        if unk is not None and unk not in self.characters:
            if not isinstance(unk, str) or not unk:
                raise TokenizerError(f"CharTokenizer: unk={unk!r} is not accepted; give a name")
            self.characters.append(unk)
        self._ids: dict[str, int] = {}
        for i, char in enumerate(self.characters):
            if not isinstance(char, str) or (len(char) != 1 and char != unk):
                raise TokenizerError(f"CharTokenizer: characters[{i}] is {char!r}, not a character")
            check_text(char, f"CharTokenizer: characters[{i}]")
            if char in self._ids:
                raise TokenizerError(
                    f"CharTokenizer: {char!r} is given twice, at {self._ids[char]} and {i}"
                )
            self._ids[char] = i
        self._unk_id = None if unk is None else self._ids[unk]
        super().__init__(
            {i: char.encode() for i, char in enumerate(self.characters)}, special_tokens={}
        )

    @classmethod
    def train(cls, text: str | Iterable[str], unk: str | None = None) -> "CharTokenizer":
        """Number the characters of `text` (or of many texts), sorted by code point."""
        seen: set[str] = set()
        for part in blocks([text] if isinstance(text, str) else text, "CharTokenizer.train"):
            seen.update(part)
        if not seen:
            raise DataError("CharTokenizer.train: the text is empty")
        return cls(sorted(seen), unk)

    def encode(self, text: str) -> list[int]:
        return list(self.encode_iterable([text]))

    def encode_iterable(self, texts: Iterable[str]) -> Iterator[int]:
        offset, line = 0, 1
        for text in blocks(texts, "encode"):
            yield from self._encode(text, offset, line)
            offset += len(text)
            line += text.count("\n")

    def _encode(self, text: str, offset: int, line: int) -> list[int]:
        """The ids of `text`, before which came `offset` characters; it starts on line `line`."""
        if self._unk_id is not None:
            return [self._ids.get(char, self._unk_id) for char in text]
        try:
            return [self._ids[char] for char in text]
        except KeyError as error:
            char = error.args[0]
            position = text.index(char)
            line += text.count("\n", 0, position)
            raise TokenizerError(
                f"encode: {char!r} (U+{ord(char):04X}), at offset {offset + position} on line "
                f"{line}, is not among the {len(self.characters)} characters of this tokenizer; "
                f'train it on text that has it, or give CharTokenizer(..., unk="<unk>")'
            ) from None
