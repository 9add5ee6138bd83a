"""Text on its way in: reading it in blocks, and refusing what is not text."""

import codecs
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from tinygrad_llm.errors import DataError, TokenizerError

BLOCK_BYTES = 1 << 13


def read_blocks(path: str | os.PathLike[str], size: int = BLOCK_BYTES) -> Iterator[str]:
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
            f"{where}: the text has a lone surrogate, U+{code:04X}, at character "
            f"{offset + error.start}; it is half of a character and has no UTF-8 form. Read the "
            f'text with errors="replace", or give the bytes to encode_bytes'
        ) from None


def checked(texts: Iterable[str], where: str) -> Iterator[str]:
    """Pass `texts` on, each one checked."""
    offset = 0
    for text in texts:
        check_text(text, where, offset)
        offset += len(text)
        yield text
