"""Text on its way in: reading it in blocks, and refusing what is not text."""

import codecs
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from tinygrad_llm.errors import DataError, TokenizerError

BLOCK = 1 << 13  # characters (or bytes, of a file) that are looked at together


def read_blocks(path: str | os.PathLike[str], size: int = BLOCK) -> Iterator[str]:
    """Yield a UTF-8 file in pieces of about `size` bytes, line ends unchanged.

    Lines would not do: a file without line ends would arrive in one piece.
    """
    path = Path(path)
    # Not str.decode on each block: a block may end inside a character.
    decoder = codecs.getincrementaldecoder("utf-8")()
    read = 0
    try:
        with open(path, "rb") as file:
            while block := file.read(size):
                start = read - len(decoder.getstate()[0])
                read += len(block)
                yield _decode(decoder, block, start, path)
            _decode(decoder, b"", read - len(decoder.getstate()[0]), path, final=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(f"{path}: cannot be read ({reason})") from error


def _decode(
    decoder: codecs.IncrementalDecoder, block: bytes, start: int, path: Path, final: bool = False
) -> str:
    try:
        return decoder.decode(block, final)
    except UnicodeDecodeError as error:
        offset = start + error.start
        raise DataError(
            f"{path}: not UTF-8 text (byte 0x{error.object[error.start]:02x} at offset {offset}); "
            f"convert the file first, for example with: iconv -f latin1 -t utf-8"
        ) from error


def check_text(text: str, where: str, offset: int = 0) -> None:
    """Refuse what is not a str, and lone surrogates, which no UTF-8 text can hold.

    where: named in the error; offset: how many characters came before `text`.
    """
    if not isinstance(text, str):
        remedy = ""
        if isinstance(text, bytes | bytearray):
            remedy = "; decode it first, or open the file in text mode"
        raise TypeError(f"{where}: text is {type(text).__name__}, str is accepted{remedy}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise TokenizerError(
            f"{where}: character {offset + error.start} of the text is a lone surrogate, "
            f"U+{code:04X}: half of a character, which has no UTF-8 form. Read the text with "
            f'errors="replace", or give its bytes to encode_bytes'
        ) from None


def blocks(texts: Iterable[str], where: str, size: int = BLOCK) -> Iterator[str]:
    """Pass `texts` on, checked, and those that are longer than `size` in pieces."""
    if isinstance(texts, bytes | bytearray):
        raise TypeError(f"{where}: {type(texts).__name__} is given; strings are accepted")
    offset = 0
    for text in texts:
        if not isinstance(text, str):
            check_text(text, where)
        for start in range(0, len(text), size):
            block = text[start : start + size]
            check_text(block, where, offset + start)
            yield block
        offset += len(text)
