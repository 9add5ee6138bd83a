"""GPT-2's files: `vocab.json` (encoder.json) and `merges.txt` (vocab.bpe).

vocab.json is {token: id}; merges.txt has one merge a line, its two parts parted by a space. Tokens
are bytes, and files like these cannot hold bytes, so each byte is written as one visible character.
"""

import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import TokenizerError

Vocab = dict[int, bytes]
Merges = list[tuple[bytes, bytes]]

HEADER = "#version"  # of merges.txt; a merge may begin with "#" too, so only this is skipped


def byte_alphabet() -> list[str]:
    """The character that stands for each of the 256 bytes, as OpenAI chose them.

    Visible characters of Latin-1 stand for themselves; the others, in order, are U+0100, U+0101,
    ... So the space is U+0120, the G with a dot that begins most tokens of GPT-2.
    """
    visible = [chr(byte).isprintable() and byte != ord(" ") for byte in range(256)]
    others = iter(range(256, 512))
    return [chr(byte) if visible[byte] else chr(next(others)) for byte in range(256)]


CHAR_OF_BYTE = byte_alphabet()
BYTE_OF_CHAR = {char: byte for byte, char in enumerate(CHAR_OF_BYTE)}


def spell(token: bytes) -> str:
    """A token as the files write it: b" the" -> "\u0120the"."""
    return "".join(CHAR_OF_BYTE[byte] for byte in token)


def unspell(text: str, where: str) -> bytes:
    """The reverse; `where` names the file and line for the error."""
    if not isinstance(text, str):
        raise TokenizerError(f"{where}: {text!r} is not a token; a string is expected")
    try:
        return bytes([BYTE_OF_CHAR[char] for char in text])
    except KeyError as error:
        char = error.args[0]
        raise TokenizerError(
            f"{where}: {text!r} has {char!r} (U+{ord(char):04X}), which is not in GPT-2's byte "
            f"alphabet; if it is a special token, give it in special_tokens"
        ) from None


def read_vocab(path: str | os.PathLike[str], special_tokens: Collection[str] = ()) -> Vocab:
    """Read vocab.json. Special tokens stand in it as they are, not in the byte alphabet."""
    return vocab_from_json(read_json(path), str(path), special_tokens)


def vocab_from_json(content: Any, where: str, special_tokens: Collection[str] = ()) -> Vocab:
    """{token: id} as {id: bytes}."""
    if not isinstance(content, dict):
        raise TokenizerError(f"{where}: a JSON object {{token: id}} is expected")
    vocab: Vocab = {}
    for text, token_id in content.items():
        if not isinstance(token_id, int) or isinstance(token_id, bool) or token_id < 0:
            raise TokenizerError(f"{where}: token {text!r} has the id {token_id!r}, not an integer")
        token = text.encode() if text in special_tokens else unspell(text, where)
        if token_id in vocab:
            raise TokenizerError(
                f"{where}: the id {token_id} belongs to two tokens, {vocab[token_id]!r} and "
                f"{token!r}"
            )
        vocab[token_id] = token
    return vocab


def read_merges(
    path: str | os.PathLike[str], vocab: Vocab, special_tokens: Collection[str] = ()
) -> Merges:
    """Read merges.txt and see that it fits `vocab`: neither may have what the other lacks."""
    # Not splitlines(): some characters of the alphabet would end a line for it.
    lines = read_text(path).rstrip("\r\n").split("\n")
    known = set(vocab.values())
    merges: Merges = []
    for number, line in enumerate(lines, start=1):
        if number == 1 and (line.startswith(HEADER) or not line.strip("\r")):
            continue
        where = f"{path}, line {number}"
        merge = merge_from_text(line.rstrip("\r"), where)
        for token in (*merge, merge[0] + merge[1]):
            if token not in known:
                raise TokenizerError(
                    f"{where}: the merge {line!r} needs the token {spell(token)!r}, which is not "
                    f"in the vocabulary"
                )
        merges.append(merge)
    special = {mark.encode() for mark in special_tokens}
    lost = [i for i in unmade(vocab, merges) if vocab[i] not in special]
    lost = [i for i in lost if not looks_special(vocab[i])]
    if lost:
        raise TokenizerError(
            f"{path}: no merge makes {len(lost)} of the tokens in the vocabulary (the first is "
            f"{spell(vocab[lost[0]])!r}, id {lost[0]}); the file seems to be cut short. If they "
            f"are special tokens, give them in special_tokens"
        )
    return merges


def merge_from_text(text: str, where: str) -> tuple[bytes, bytes]:
    """The two parts of a merge as merges.txt has it."""
    parts = text.split(" ")
    if len(parts) != 2 or not all(parts):
        raise TokenizerError(f"{where}: {text!r} is not a merge; two tokens and a space expected")
    return unspell(parts[0], where), unspell(parts[1], where)


def unmade(vocab: Vocab, merges: Iterable[tuple[bytes, bytes]]) -> list[int]:
    """The ids, in order, of tokens that are neither a byte nor made by a merge."""
    made = {left + right for left, right in merges}
    return [i for i, token in sorted(vocab.items()) if len(token) != 1 and token not in made]


def looks_special(token: bytes) -> bool:
    """Whether a token that no merge makes may be a special one: <|endoftext|>, <s>, [MASK]."""
    return re.fullmatch(rb"<.+>|\[.+\]", token) is not None


def vocab_to_json(vocab: Mapping[int, bytes], special_tokens: Mapping[str, int]) -> dict[str, int]:
    """{id: bytes} as the {token: id} of vocab.json, in the order of the ids."""
    names = {token_id: mark for mark, token_id in special_tokens.items()}
    content: dict[str, int] = {}
    for token_id, token in sorted(vocab.items()):
        text = names.get(token_id) or spell(token)
        if text in content:
            raise TokenizerError(
                f"vocab.json: ids {content[text]} and {token_id} would both be written {text!r}; "
                f"choose another name for the special token"
            )
        content[text] = token_id
    return content


def merges_to_text(merges: Iterable[tuple[bytes, bytes]]) -> str:
    """The content of merges.txt."""
    lines = [f"{spell(left)} {spell(right)}\n" for left, right in merges]
    return f"{HEADER}: 0.2\n" + "".join(lines)


def read_text(path: str | os.PathLike[str]) -> str:
    """A small UTF-8 file as it is, or a TokenizerError that says what is wrong with it."""
    try:
        return Path(path).read_bytes().decode()
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{path}: not UTF-8 text (at byte {error.start})") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise TokenizerError(f"{path}: cannot be read ({reason})") from error


def read_json(path: str | os.PathLike[str]) -> Any:
    """A JSON file, or a TokenizerError that names the place where it breaks off."""
    text = read_text(path)
    try:
        return json.loads(text)
    except ValueError as error:
        raise TokenizerError(f"{path}: not valid JSON, or cut short ({error})") from error
