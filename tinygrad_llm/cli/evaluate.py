"""`tllm eval`: how well does a model predict a text?"""

from pathlib import Path
from typing import Any

import click

from tinygrad_llm.cli.options import part_option


@click.command("eval")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--data", "source", show_default="that of the run",
              help="A corpus, file or folder.")  # fmt: skip
@click.option("--validation", type=float, show_default="that of the run, or 0.1",
              help="Share of its end to measure on.")  # fmt: skip
@click.option("--context", type=click.IntRange(min=1), show_default="all it can",
              help="Tokens seen at once.")  # fmt: skip
@click.option("--tokens", type=click.IntRange(min=0), default=0, show_default=True,
              help="Measure on so many, from its start; 0 is all of them.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
@part_option
def command(
    checkpoint: Path,
    source: str | None,
    validation: float | None,
    context: int | None,
    tokens: int,
    as_json: bool,
    parts: tuple[str, ...],
) -> None:
    """Loss, perplexity and bits per character of a model on held-out text.

    CHECKPOINT is a checkpoint folder, or a run folder, whose best checkpoint is taken. Models with
    different tokenizers can be compared in bits per character, on the same text.
    """
    import json
    from dataclasses import asdict

    from tinygrad_llm import data
    from tinygrad_llm.cli.checkpoint import load, run_settings
    from tinygrad_llm.errors import ConfigError
    from tinygrad_llm.training import evaluate
    from tinygrad_llm.training.own_parts import own_parts

    with own_parts(parts):
        model, tokenizer, folder = load(checkpoint)
    settings = run_settings(folder)
    source = source or settings.get("data", "default")
    validation = settings.get("validation", 0.1) if validation is None else validation
    if not 0 < validation < 1:
        raise ConfigError(
            f"--validation={validation} is not accepted; use more than 0 and less than 1"
        )
    corpus = data.prepare(source, tokenizer, validation)
    with own_parts(parts):
        result = evaluate(model, corpus, _context(model, context, settings), limit=tokens)
    if as_json:
        values = {"checkpoint": str(folder), "data": str(source), "validation": validation}
        click.echo(json.dumps({**values, **asdict(result)}))
        return
    rows = [
        ("checkpoint", folder),
        ("data", f"{source}, the last {100 * validation:.4g}% of it"),
        ("tokens", f"{result.tokens:,} for {result.characters:,.0f} characters"),
        ("loss", f"{result.loss:.4f} nats per token"),
        ("perplexity", f"{result.perplexity:,.2f}"),
        ("bits per character", f"{result.bits_per_character:.4f}"),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"{name:{width}}  {value}")


def _context(model: Any, asked: int | None, settings: dict[str, Any]) -> int:
    """How many tokens a window has: what was asked for, else what the model was trained with."""
    from tinygrad_llm.errors import ConfigError

    trained_with = getattr(model.config, "n_positions", None)
    # Where the field is free, the model works on longer texts than it was trained on.
    limit = trained_with if "n_positions" not in getattr(model.config, "free", ()) else None
    if asked and limit and asked > limit:
        raise ConfigError(f"--context={asked} is more than the model's {trained_with} positions")
    return asked or trained_with or settings.get("context", 64)
