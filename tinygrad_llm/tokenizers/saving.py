"""Saving any tokenizer to a folder, and loading whichever kind is there."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.files import atomic_write, write_json
from tinygrad_llm.tokenizers.base import BaseTokenizer
from tinygrad_llm.tokenizers.bpe import Tokenizer
from tinygrad_llm.tokenizers.characters import CharTokenizer
from tinygrad_llm.tokenizers.gpt2_form import (
    looks_special,
    merges_to_text,
    read_json,
    read_merges,
    read_vocab,
    unmade,
    vocab_to_json,
)
from tinygrad_llm.tokenizers.json_form import (
    bpe_from_json,
    bpe_to_json,
    characters_from_json,
    characters_to_json,
)

# A kind of tokenizer is known by its model's name in tokenizer.json. A new one (WordPiece) is a
# new class and a line here and in `save`.
READERS: dict[str, Callable[[dict[str, Any], str], BaseTokenizer]] = {
    "BPE": bpe_from_json,
    "WordLevel": characters_from_json,
}

GPT2_NAMES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))


def save(tokenizer: BaseTokenizer, folder: str | os.PathLike[str]) -> None:
    """Write `tokenizer.json`, and for BPE also `vocab.json` and `merges.txt`, into `folder`."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise TokenizerError(f"save: {folder} is a file; the name of a folder is accepted")
    if isinstance(tokenizer, Tokenizer):
        content = bpe_to_json(tokenizer)
        vocab = vocab_to_json(tokenizer.vocab, tokenizer.special_tokens)
        write_json(folder / "vocab.json", vocab)
        with atomic_write(folder / "merges.txt") as file:
            file.write(merges_to_text(tokenizer.merges))
    elif isinstance(tokenizer, CharTokenizer):
        content = characters_to_json(tokenizer)
    else:
        raise TypeError(f"save: there is no file form for a {type(tokenizer).__name__}")
    # Last, because it is what `load` reads: until then the old tokenizer is whole.
    write_json(folder / "tokenizer.json", content)


def load(folder: str | os.PathLike[str]) -> BaseTokenizer:
    """Read the tokenizer in `folder`: a `tokenizer.json`, or GPT-2's pair of files.

    The pair of files does not say which tokens are special: those of `added_tokens.json` are, and
    those that no merge makes and that look it, such as <|endoftext|>.
    The path of a tokenizer.json itself is accepted too.
    """
    folder = Path(folder)
    if folder.is_file() and folder.suffix.lower() != ".json":
        raise TokenizerError(
            f"load: {folder} is a file; the folder of a tokenizer is expected, such as "
            f"tllm tokenizer train makes"
        )
    path = folder if folder.is_file() else folder / "tokenizer.json"
    if path.is_file():
        return _load_json(path)
    for names in GPT2_NAMES:
        vocab_path, merges_path = (folder / name for name in names)
        if vocab_path.is_file() or merges_path.is_file():
            return _load_gpt2(vocab_path, merges_path)
    expected = " or ".join(" with ".join(names) for names in (("tokenizer.json",), *GPT2_NAMES))
    raise TokenizerError(f"load: {folder} holds no tokenizer; {expected} is expected")


def _load_json(path: Path) -> BaseTokenizer:
    content = read_json(path)
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict):
        raise TokenizerError(f'{path}: no tokenizer.json, for it has no "model"')
    kind = model.get("type", "BPE" if "merges" in model else None)
    if not isinstance(kind, str) or kind not in READERS:
        raise TokenizerError(
            f"{path}: a tokenizer of the kind {kind!r} cannot be read; {list(READERS)} can"
        )
    return READERS[kind](content, str(path))


def _load_gpt2(vocab_path: Path, merges_path: Path) -> Tokenizer:
    added_path = vocab_path.with_name("added_tokens.json")
    special: dict[str, int] = read_json(added_path) if added_path.is_file() else {}
    if not isinstance(special, dict):
        raise TokenizerError(f"{added_path}: a JSON object {{token: id}} is expected")
    vocab = read_vocab(vocab_path, special)
    merges = read_merges(merges_path, vocab, special)
    for token_id in unmade(vocab, merges):
        if looks_special(vocab[token_id]):
            special.setdefault(vocab[token_id].decode(), token_id)
    try:
        return Tokenizer(vocab, merges, special)
    except TokenizerError as error:
        raise TokenizerError(f"{vocab_path}: {error}") from error
