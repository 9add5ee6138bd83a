"""Where a text ends: stop strings, which do not care where one token ends and the next begins."""

import codecs
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


class StopStrings:
    """Tells from the ids of a text whether its last token completed a stop string.

    Compared are bytes, since a token of byte-level BPE may be a part of a character.
    """

    def __init__(self, tokenizer: Any, stops: Sequence[str]):
        if not hasattr(tokenizer, "decode_bytes"):
            raise TypeError(
                f"generate: stop_strings need a tokenizer with decode_bytes(ids) -> bytes, such as "
                f"those of tinygrad_llm.tokenizers; tokenizer is {type(tokenizer).__name__}"
            )
        self._decode = tokenizer.decode_bytes
        self._stops = [stop.encode() for stop in stops]
        self._longest = max(map(len, self._stops))

    def completed_by(self, ids: np.ndarray) -> bool:
        """ids (T,): the text without its prompt, T >= 1. The work does not grow with T."""
        data = self._decode([int(ids[-1])])
        # A stop string that ends in the last token begins no earlier than this.
        needed = len(data) + self._longest - 1
        for token in ids[-2::-1]:
            if len(data) >= needed:
                break
            data = self._decode([int(token)]) + data
        return any(stop in data for stop in self._stops)


def cut(text: str, stops: Iterable[str]) -> str:
    """The text before the first stop string in it."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text


class TextPieces:
    """Tokens in, pieces of text out, as soon as they are certain.

    Certain are whole characters, however many tokens they span, that can no longer be the start
    of a stop string. Joined, the pieces are the text up to the first stop string. Bytes that are
    no UTF-8 become U+FFFD, as in `tokenizer.decode`.
    """

    def __init__(self, tokenizer: Any, stops: Sequence[str] = ()):
        if not hasattr(tokenizer, "decode_bytes"):
            raise TypeError(
                f"streaming text needs a tokenizer with decode_bytes(ids) -> bytes, such as those "
                f"of tinygrad_llm.tokenizers; tokenizer is {type(tokenizer).__name__}"
            )
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = stops
        self._held = ""
        self.stopped = False

    def put(self, ids: Iterable[int]) -> str:
        """What has become certain with these ids: often one token's text, sometimes nothing."""
        return self._release(self._decoder.decode(self._tokenizer.decode_bytes(ids)))

    def end(self) -> str:
        """The rest, if the text ends here."""
        return self._release(self._decoder.decode(b"", True)) + self._flush()

    def _release(self, text: str) -> str:
        if self.stopped:
            return ""
        self._held += text
        before = cut(self._held, self._stops)
        if len(before) < len(self._held):
            self.stopped = True
            self._held = ""
            return before
        certain = len(self._held) - self._possible_start()
        released, self._held = self._held[:certain], self._held[certain:]
        return released

    def _possible_start(self) -> int:
        """The length of the longest end of what is held that begins a stop string."""
        longest = min(max(map(len, self._stops), default=1) - 1, len(self._held))
        for length in range(longest, 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stops):
                return length
        return 0

    def _flush(self) -> str:
        held, self._held = self._held, ""
        return held
