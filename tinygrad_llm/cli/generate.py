"""`tllm generate`: let a trained model write."""

import secrets
import sys
from pathlib import Path
from typing import Any

import click

from tinygrad_llm.cli.options import part_option
from tinygrad_llm.errors import ConfigError, TokenizerError, UserError

# How the settings of `generation`, which its messages name, are spelled here.
_SPELLING = {
    "num_return_sequences": "--samples",
    "num_beams": "--beams",
    "max_new_tokens": "--tokens",
    "do_sample=True": "sampling",
    "do_sample=False": "--greedy",
    "repetition_penalty": "--repetition-penalty",
    "length_penalty": "--length-penalty",
    "temperature": "--temperature",
    "top_k": "--top-k",
    "top_p": "--top-p",
    "min_p": "--min-p",
    "stop_strings": "--stop",
    "seed": "--seed",
}


@click.command("generate")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--prompt",
    show_default="the start of a text",
    help="What the text begins with; - reads it from standard input.",
)
@click.option("--tokens", default=200, show_default=True, help="How many tokens to add.")
@click.option("--greedy", is_flag=True, help="Always take the likeliest token.")
@click.option("--temperature", type=float, help="Below 1 is safer, above wilder.  [default: 1.0]")
@click.option("--top-k", type=int, help="Sample among the k likeliest tokens.")
@click.option("--top-p", type=float, help="Sample among the likeliest that make up p together.")
@click.option("--min-p", type=float, help="Drop what is less than min-p times the likeliest.")
@click.option("--repetition-penalty", default=1.0, show_default=True, help="Above 1, repeats less.")
@click.option("--beams", default=1, show_default=True, help="Beam search with so many beams.")
@click.option(
    "--length-penalty",
    type=float,
    help="For --beams: the greater, the longer the text.  [default: 1.0]",
)
@click.option("--samples", default=1, show_default=True, help="How many texts to write.")
@click.option("--stop", multiple=True, help="End before this text; repeatable.")
@click.option("--seed", type=int, show_default="a new one", help="The same one, the same text.")
@click.option("--no-cache", is_flag=True, help="Recompute everything for each token (slow).")
@part_option
def command(
    checkpoint: Path,
    prompt: str | None,
    beams: int,
    samples: int,
    parts: tuple[str, ...],
    **options: Any,
) -> None:
    """Continue a prompt.

    CHECKPOINT is a checkpoint folder, or a run folder, whose best checkpoint is taken. The text
    is drawn at random from what the model thinks likely, unless --greedy or --beams is given.
    """
    from tinygrad_llm.training.own_parts import own_parts

    settings = _settings(beams, samples, **options)
    if prompt == "-":
        prompt = _standard_input()
    with own_parts(parts):
        _write(checkpoint, prompt, beams, samples, settings)


def _write(
    checkpoint: Path, prompt: str | None, beams: int, samples: int, settings: dict[str, Any]
) -> None:
    from tinygrad_llm import generation
    from tinygrad_llm.cli.checkpoint import load

    model, tokenizer, _ = load(checkpoint)
    start = prompt or first_text(tokenizer)
    try:
        tokenizer.encode(start)
    except TokenizerError as error:
        reason = str(error).removeprefix("encode: ").partition("; ")[0]
        raise TokenizerError(f"--prompt: {reason}") from error
    try:
        if beams == samples == 1:
            pieces = generation.stream(model, start, tokenizer=tokenizer, **settings)
            click.echo(prompt or "", nl=False)
            for piece in pieces:
                click.echo(piece, nl=False)
                sys.stdout.flush()
            click.echo()
            return
        texts = generation.generate_text(
            model, tokenizer, start, num_beams=beams, num_return_sequences=samples, **settings
        )
    except ConfigError as error:
        raise ConfigError(_respelled(str(error))) from error
    for number, text in enumerate(texts, 1):
        if samples > 1:
            click.echo(f"-- {number} " + "-" * 40)
        click.echo((prompt or "") + text)


def _settings(
    beams: int,
    samples: int,
    *,
    tokens: int,
    greedy: bool,
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None,
    repetition_penalty: float,
    length_penalty: float | None,
    stop: tuple[str, ...],
    seed: int | None,
    no_cache: bool,
) -> dict[str, Any]:
    """The arguments of `generation.generate`; contradictions are a UsageError."""
    sampling = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    sampling = {name: value for name, value in sampling.items() if value is not None}
    search = "--greedy" if greedy else "--beams" if beams > 1 else ""
    if greedy and beams > 1:
        raise click.UsageError("--greedy and --beams contradict each other: give one.")
    if greedy and samples > 1:
        raise click.UsageError("--greedy finds one text: leave it out for --samples.")
    if search and sampling:
        name = _SPELLING[next(iter(sampling))]
        raise click.UsageError(f"{name} is for sampling, and {search} does not sample: give one.")
    if length_penalty is not None and beams == 1:
        raise click.UsageError("--length-penalty is for beam search: give --beams as well.")
    if length_penalty is not None:
        sampling["length_penalty"] = length_penalty
    return {
        "max_new_tokens": tokens,
        "do_sample": not search,
        "repetition_penalty": repetition_penalty,
        "use_cache": not no_cache,
        "stop_strings": list(stop) or None,
        "seed": secrets.randbelow(2**32) if seed is None else seed,
        **sampling,
    }


def first_text(tokenizer: Any) -> str:
    """What to begin with when there is no prompt: the end-of-text mark, or a new line.

    Either is what stands before the beginning of a text; it is not printed.
    """
    for text in ("<|endoftext|>", "\n"):
        if text in tokenizer.special_tokens or text.encode() in tokenizer.vocab.values():
            return text
    return tokenizer.decode([0])


def _standard_input() -> str:
    """Without the last line end, which `echo` adds and nobody meant."""
    data = sys.stdin.buffer.read()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"the prompt on standard input is not UTF-8 text (byte 0x{data[error.start]:02x})"
        ) from error
    return text.removesuffix("\n").removesuffix("\r")


def _respelled(message: str) -> str:
    for name, option in _SPELLING.items():
        message = message.replace(name, option)
    message = message.removesuffix(", or None")  # which nobody can give here
    return message.removeprefix("generate: ").removeprefix("stream: ")
