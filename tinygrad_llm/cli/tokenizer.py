"""`tllm tokenizer`: train one; text -> ids and back, for files and pipes of any size."""

import io
import shlex
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinygrad_llm.errors import DataError, TokenizerError

if TYPE_CHECKING:
    from tinygrad_llm.tokenizers import Tokenizer
    from tinygrad_llm.tokenizers.base import BaseTokenizer

_BLOCK = 1 << 14  # characters or ids that are in memory at once


@click.group("tokenizer")
def command() -> None:
    """Train a tokenizer; encode and decode text with it."""


@command.command("train")
@click.argument("source")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option(
    "--kind",
    type=click.Choice(["bpe", "characters"]),
    default="bpe",
    show_default=True,
    help="Byte-level BPE as GPT-2's, or a token for each character.",
)
@click.option("--vocab-size", default=1024, show_default=True, help="Number of tokens (BPE).")
@click.option("--special", multiple=True, help="A token that is never split; repeatable (BPE).")
def train(source: str, out: Path, kind: str, vocab_size: int, special: tuple[str, ...]) -> None:
    """Learn a tokenizer from SOURCE: a data set's name, a text file, or a folder of them."""
    from tinygrad_llm.data import iter_text
    from tinygrad_llm.tokenizers import CharTokenizer

    start = time.perf_counter()
    tokenizer: BaseTokenizer
    if kind == "characters":
        tokenizer = CharTokenizer.train(iter_text(source))
    else:
        tokenizer = _train_bpe(iter_text(source), vocab_size, special)
    tokenizer.save(out)
    size = f"{tokenizer.vocab_size:,} tokens"
    if kind == "bpe" and tokenizer.vocab_size < vocab_size:
        size += f", not {vocab_size:,}: no pair was left to merge"
    click.echo(f"{out}: {size} ({time.perf_counter() - start:.1f} s)")
    text = _example(tokenizer)
    click.echo(f"Next: tllm tokenizer encode {shlex.quote(str(out))} {shlex.quote(text)} --tokens")


def _example(tokenizer: "BaseTokenizer") -> str:
    """A text to try it on: one of characters cannot encode what its text did not have."""
    text = "To be, or not to be"
    try:
        tokenizer.encode(text)
    except TokenizerError:
        known = tokenizer.decode(range(tokenizer.vocab_size))
        return "".join(filter(str.isalnum, known))[:12] or known[:1]
    return text


def _train_bpe(texts: Iterable[str], vocab_size: int, special: tuple[str, ...]) -> "Tokenizer":
    from tinygrad_llm.tokenizers import Tokenizer, train_bpe_from_text

    wanted = max(vocab_size - 256 - len(special), 0)
    bar = click.progressbar(length=wanted, label="Merging pairs", file=sys.stderr)
    with ExitStack() as shown:

        def progress(done: int, _: int) -> None:
            if not bar.pos:  # only now: the text may be none, and the size too small
                shown.enter_context(bar)
            bar.update(done - bar.pos)

        vocab, merges = train_bpe_from_text(texts, vocab_size, special, progress=progress)
    return Tokenizer(vocab, merges, special)


@command.command("encode")
@click.argument("tokenizer", type=click.Path(path_type=Path))
@click.argument("text", required=False)
@click.option("--file", type=click.Path(path_type=Path), help="Read this file, not TEXT.")
@click.option("--tokens", "show_tokens", is_flag=True, help="A token a line: its id and its text.")
def encode(tokenizer: Path, text: str | None, file: Path | None, show_tokens: bool) -> None:
    """Print the ids of TEXT, of a file, or of standard input.

    TOKENIZER is a folder with tokenizer.json, or with vocab.json and merges.txt.
    """
    from tinygrad_llm.tokenizers import load

    if text is not None and file is not None:
        raise click.UsageError("Give TEXT or --file, not both.")
    loaded = load(tokenizer)
    if file is not None:
        ids = loaded.encode_file(file)
    else:
        ids = loaded.encode_iterable(_standard_input() if text is None else [text])
    separator = ""
    while block := list(islice(ids, _BLOCK)):
        if show_tokens:
            for token_id in block:
                click.echo(f"{token_id:>8}  {_shown(loaded.decode_bytes([token_id]))}")
        else:
            click.echo(separator + " ".join(map(str, block)), nl=False)
            separator = " "
    if not show_tokens:
        click.echo()


@command.command("decode")
@click.argument("tokenizer", type=click.Path(path_type=Path))
@click.argument("ids", nargs=-1)
def decode(tokenizer: Path, ids: tuple[str, ...]) -> None:
    """Print the text of IDS, or of the ids on standard input.

    In a pipe the bytes come out exactly: what `encode` read from a file is what `decode` writes.
    """
    from tinygrad_llm.tokenizers import load

    loaded = load(tokenizer)
    words = iter(ids) if ids else (word for text in _whole_words() for word in text.split())
    numbers = (_number(word) for word in words)
    end = b""
    while block := list(islice(numbers, _BLOCK)):
        end = loaded.decode_bytes(block)
        click.echo(end, nl=False)
    if sys.stdout.isatty() and not end.endswith(b"\n"):
        click.echo()


def _shown(token: bytes) -> str:
    """A token in quotes; one that is only a part of a character as its bytes, b'...'."""
    try:
        return repr(token.decode())
    except UnicodeDecodeError:
        return repr(token)


def _number(word: str) -> int:
    try:
        return int(word.strip("[],"))  # as Python prints a list, too
    except ValueError as error:
        raise TokenizerError(f"decode: {word!r} is no token id; give whole numbers") from error


def _standard_input() -> Iterator[str]:
    """Standard input as UTF-8 in blocks, line ends as they are."""
    stream = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", newline="")
    try:
        while text := stream.read(_BLOCK):
            yield text
    except UnicodeDecodeError as error:
        raise DataError(
            f"standard input is not UTF-8 text (byte 0x{error.object[error.start]:02x}); convert "
            "it first, for example with: iconv -f latin1 -t utf-8"
        ) from error
    finally:
        stream.detach()  # else standard input would be closed with it


def _whole_words() -> Iterator[str]:
    """Standard input in blocks that end between two words."""
    begun = ""
    for text in _standard_input():
        text = begun + text
        cut = max(text.rfind(" "), text.rfind("\n")) + 1
        begun = text[cut:]
        yield text[:cut]
    yield begun
