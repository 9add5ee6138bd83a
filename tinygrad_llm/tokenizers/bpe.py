"""Byte-level BPE: the tokenizer of GPT-2 and of most language models since."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.tokenizers.base import BaseTokenizer
from tinygrad_llm.tokenizers.merging import merge
from tinygrad_llm.tokenizers.split import GPT2_PATTERN, Part, Splitter
from tinygrad_llm.tokenizers.text import check_text
from tinygrad_llm.tokenizers.train import check_special_tokens, train_bpe_from_text

# Pretokens whose ids are remembered: about 200 bytes each.
CACHE_SIZE = 1 << 15  # `encode` holds the whole text anyway
STREAM_CACHE_SIZE = 1 << 11  # `encode_iterable` is to stay below 1 MB
CACHE_LONGEST = 32  # in characters; longer pretokens hardly ever come twice
GREATEST_ID = (1 << 24) - 1  # far above any vocabulary; an embedding has a row for each id


class Tokenizer(BaseTokenizer):
    """Text -> UTF-8 bytes -> merged byte pairs -> ids. Any text can be encoded, none is lost.

    vocab: id -> bytes; all 256 single bytes are among them.
    merges: the pairs in the order learned; both parts and their joint are in the vocabulary.
    special_tokens: marks that are never split and take part in no merge. Those that are not in
        the vocabulary get the next free ids. Where several fit, the longest wins.
        (A dict gives each its id.)
    pattern: cuts text into the pretokens that merges do not cross, in the syntax of `regex`.
        For `encode_iterable` it must not look further ahead than `split.MARGIN` characters.
    """

    def __init__(
        self,
        vocab: dict[int, bytes],
        merges: Iterable[tuple[bytes, bytes]],
        special_tokens: Iterable[str] | Mapping[str, int] | None = None,
        pattern: str = GPT2_PATTERN,
    ):
        vocab = dict(vocab)
        _check_vocab(vocab)
        special = _number_special_tokens(special_tokens or (), vocab)
        self._ids = _invert(vocab, special)
        self._byte_ids = _byte_ids(self._ids)
        super().__init__(vocab, special)
        self.merges = list(merges)
        self.pattern = pattern
        self._splitter = Splitter(pattern, special)

        self._ranks: dict[tuple[int, int], int] = {}  # (left id, right id) -> rank
        self._merged: list[int] = []  # rank -> id
        for rank, (left, right) in enumerate(self.merges):
            for token in (left, right, left + right):
                if token not in self._ids:
                    raise TokenizerError(
                        f"merges[{rank}] is ({left!r}, {right!r}), but {token!r} is not in the "
                        f"vocabulary"
                    )
            pair = self._ids[left], self._ids[right]
            if pair in self._ranks:
                raise TokenizerError(
                    f"merges[{rank}] is ({left!r}, {right!r}), as merges[{self._ranks[pair]}] is"
                )
            self._ranks[pair] = rank
            self._merged.append(self._ids[left + right])
        # Whether a token's own bytes merge into just that token (0 is unknown, 1 yes, 2 no). It
        # nearly always does; then a word that is a token is found at once, in bounded memory.
        self._whole = bytearray(self.vocab_size)
        self._cache = _Cache(self, CACHE_SIZE)
        self._stream_cache = _Cache(self, STREAM_CACHE_SIZE)

    @classmethod
    def from_files(
        cls,
        vocab_path: str | os.PathLike[str],
        merges_path: str | os.PathLike[str],
        special_tokens: Iterable[str] | None = None,
    ) -> "Tokenizer":
        """Read GPT-2's file form: `vocab.json` (or encoder.json) and `merges.txt` (vocab.bpe)."""
        from tinygrad_llm.tokenizers.gpt2_form import read_merges, read_vocab

        special = check_special_tokens(special_tokens or ())
        vocab = read_vocab(vocab_path, special)
        return cls(vocab, read_merges(merges_path, vocab, special), special)

    @classmethod
    def train(
        cls,
        text: str | Iterable[str],
        vocab_size: int,
        special_tokens: Iterable[str] | None = None,
        pattern: str = GPT2_PATTERN,
    ) -> "Tokenizer":
        """Learn from a string or strings; see `train_bpe`, which learns from a file."""
        special = check_special_tokens(special_tokens or ())
        vocab, merges = train_bpe_from_text(text, vocab_size, special, pattern)
        return cls(vocab, merges, special, pattern)

    def encode(self, text: str, allowed_special: str | Collection[str] = "all") -> list[int]:
        """The ids of `text`.

        allowed_special: which special tokens are recognised: "all", "none" or some of them. The
            others are text like any other, which is what a user's input should be.
        """
        check_text(text, "encode")
        return list(self._to_ids(self._splitter_for(allowed_special).split(text), self._cache))

    def encode_iterable(
        self, texts: Iterable[str], allowed_special: str | Collection[str] = "all"
    ) -> Iterator[int]:
        splitter = self._splitter_for(allowed_special)
        return self._to_ids(splitter.stream(texts), self._stream_cache)

    def encode_bytes(self, data: bytes) -> list[int]:
        """The ids of any bytes, UTF-8 or not; `decode_bytes` gives the same bytes back."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"encode_bytes: data is {type(data).__name__}, bytes is accepted")
        # surrogateescape (PEP 383) carries a bad byte through the pattern as one character.
        text = str(data, "utf-8", "surrogateescape")
        return list(self._to_ids(self._splitter.split(text), self._cache))

    def _to_ids(self, parts: Iterable[Part], cache: "_Cache") -> Iterator[int]:
        for pretokens, special in parts:
            yield from chain.from_iterable(map(cache.__getitem__, pretokens))
            if special is not None:
                yield self.special_tokens[special]

    def _merge(self, pretoken: str) -> tuple[int, ...]:
        data = pretoken.encode("utf-8", "surrogateescape")
        token_id = self._ids.get(data)
        if token_id is not None and self._whole[token_id] == 1:
            return (token_id,)
        ids = tuple(merge([self._byte_ids[byte] for byte in data], self._ranks, self._merged))
        if token_id is not None:
            self._whole[token_id] = 1 if ids == (token_id,) else 2
        return ids

    def _splitter_for(self, allowed: str | Collection[str]) -> Splitter:
        if allowed == "all":
            return self._splitter
        names = [] if allowed == "none" else check_special_tokens(allowed)
        for name in names:
            if name not in self.special_tokens:
                raise TokenizerError(
                    f"allowed_special: {name!r} is not a special token of this tokenizer, which "
                    f"has {list(self.special_tokens)}"
                )
        return Splitter(self.pattern, names)


class _Cache(dict[str, tuple[int, ...]]):
    """pretoken -> ids. A dict finds what it knows without running any Python code."""

    def __init__(self, tokenizer: Tokenizer, size: int):
        super().__init__()
        self.tokenizer = tokenizer
        self.size = size

    def __missing__(self, pretoken: str) -> tuple[int, ...]:
        ids = self.tokenizer._merge(pretoken)
        if len(pretoken) <= CACHE_LONGEST:
            if len(self) >= self.size:
                self.clear()
            self[pretoken] = ids
        return ids


def _check_vocab(vocab: Mapping[int, bytes]) -> None:
    for token_id, token in vocab.items():
        good_id = isinstance(token_id, int) and 0 <= token_id <= GREATEST_ID
        if not good_id or not isinstance(token, bytes):
            raise TokenizerError(
                f"vocab: the entry {token_id!r}: {token!r} is not accepted; ids are integers from "
                f"0 to {GREATEST_ID} and tokens are bytes"
            )


def _number_special_tokens(
    special_tokens: Iterable[str] | Mapping[str, int], vocab: dict[int, bytes]
) -> dict[str, int]:
    """The id of each special token. Those that `vocab` lacks are added to it."""
    given = dict(special_tokens) if isinstance(special_tokens, Mapping) else {}
    known = {token: token_id for token_id, token in vocab.items()}
    numbered = {}
    for mark in check_special_tokens(special_tokens):
        token = mark.encode()
        token_id = given.get(mark, known.get(token))
        if token_id is None:
            token_id = max(vocab, default=-1) + 1
        _check_vocab({token_id: token})
        if vocab.setdefault(token_id, token) != token:
            raise TokenizerError(
                f"special_tokens: id {token_id} was given to {mark!r}, but in the vocabulary it is "
                f"{vocab[token_id]!r}"
            )
        numbered[mark] = token_id
    return numbered


def _invert(vocab: dict[int, bytes], special: dict[str, int]) -> dict[bytes, int]:
    """bytes -> id of the ordinary tokens, and of the special tokens that are like no other."""
    ids: dict[bytes, int] = {}
    marks = set(special.values())
    for token_id, token in sorted(vocab.items(), key=lambda item: (item[0] in marks, item[0])):
        first = ids.setdefault(token, token_id)
        if first != token_id and token_id not in marks:
            raise TokenizerError(f"vocab: {token!r} has two ids, {first} and {token_id}")
    return ids


def _byte_ids(ids: dict[bytes, int]) -> list[int]:
    missing = [byte for byte in range(256) if bytes([byte]) not in ids]
    if missing:
        raise TokenizerError(
            f"vocab: {len(missing)} of the 256 single bytes are not in it (the first is "
            f"0x{missing[0]:02x}), so that not every text could be encoded"
        )
    return [ids[bytes([byte])] for byte in range(256)]
