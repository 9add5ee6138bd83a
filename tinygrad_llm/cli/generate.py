"""`tllm generate`: let a trained model write."""

import sys
from pathlib import Path

import click

from tinygrad_llm.errors import ConfigError


@click.command("generate")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--prompt", help="What the text begins with; - reads it from standard input.")
@click.option("--tokens", default=200, show_default=True, help="How many tokens to add.")
@click.option("--greedy", is_flag=True, help="Always take the likeliest token.")
@click.option("--temperature", default=1.0, show_default=True, help="Below 1 safer, above wilder.")
@click.option("--top-k", type=int, help="Sample among the k likeliest tokens.")
@click.option("--top-p", type=float, help="Sample among the likeliest that make up p together.")
@click.option("--min-p", type=float, help="Drop what is less than min-p times the likeliest.")
@click.option("--repetition-penalty", default=1.0, show_default=True, help="Above 1 repeats less.")
@click.option("--beams", default=1, show_default=True, help="Beam search with so many beams.")
@click.option("--length-penalty", default=1.0, show_default=True, help="Of beam search.")
@click.option("--samples", default=1, show_default=True, help="How many texts to write.")
@click.option("--stop", multiple=True, help="End at this text; repeatable.")
@click.option("--seed", type=int, help="The same seed gives the same text.")
@click.option("--no-cache", is_flag=True, help="Recompute everything for each token (slow).")
def command(
    checkpoint: Path,
    prompt: str | None,
    tokens: int,
    greedy: bool,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None,
    repetition_penalty: float,
    beams: int,
    length_penalty: float,
    samples: int,
    stop: tuple[str, ...],
    seed: int | None,
    no_cache: bool,
) -> None:
    """Continue a prompt with the model in CHECKPOINT (a checkpoint or a run folder)."""
    import numpy as np

    from tinygrad_llm import generation
    from tinygrad_llm.cli.checkpoint import load

    model, tokenizer, _ = load(checkpoint)
    if prompt == "-":
        prompt = sys.stdin.read()
    ids = tokenizer.encode(prompt) if prompt else [first_token(tokenizer)]
    if not ids:
        raise ConfigError("--prompt is empty; leave it out to begin with a new line")
    sampling = {} if greedy or beams > 1 else {
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p,
    }  # fmt: skip
    seed = int(np.random.SeedSequence().entropy % 2**32) if seed is None else seed  # type: ignore
    settings = {
        "max_new_tokens": tokens, "do_sample": not greedy and beams == 1,
        "repetition_penalty": repetition_penalty, "use_cache": not no_cache,
        "stop_strings": list(stop) or None, "tokenizer": tokenizer, "seed": seed, **sampling,
    }  # fmt: skip
    try:
        if samples == 1 and beams == 1:
            click.echo(prompt or "", nl=False)
            for piece in generation.stream(model, np.array([ids]), **settings):
                click.echo(piece, nl=False)
                sys.stdout.flush()
            click.echo()
            return
        out = generation.generate(
            model, np.array([ids]), num_beams=beams, length_penalty=length_penalty,
            num_return_sequences=samples, **settings,
        )  # fmt: skip
    except ValueError as error:  # settings that contradict each other; the message says which
        raise ConfigError(str(error)) from error
    for number, row in enumerate(out, 1):
        if samples > 1:
            click.echo(f"-- {number} " + "-" * 40)
        click.echo(tokenizer.decode(row))


def first_token(tokenizer: object) -> int:
    """What to begin with when there is no prompt: the end-of-text mark, a new line, or token 0."""
    special = getattr(tokenizer, "special_tokens", {})
    if "<|endoftext|>" in special:
        return special["<|endoftext|>"]
    vocab = getattr(tokenizer, "vocab", {})
    return next((i for i, text in vocab.items() if text == b"\n"), 0)
