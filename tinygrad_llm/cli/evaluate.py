"""`tllm eval`: how well does a model predict a text?"""

from pathlib import Path

import click


@click.command("eval")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--data", "source", help="A corpus, file or folder [that of the run].")
@click.option(
    "--validation", default=0.1, show_default=True, help="Share of its end to measure on."
)
@click.option("--context", type=int, help="Tokens the model sees at once [all it can].")
@click.option("--tokens", default=0, help="Stop after about so many; 0 for all.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def command(
    checkpoint: Path,
    source: str | None,
    validation: float,
    context: int | None,
    tokens: int,
    as_json: bool,
) -> None:
    """Loss, perplexity and bits per character of the model in CHECKPOINT on held-out text."""
    import json
    from dataclasses import asdict

    from tinygrad_llm import data
    from tinygrad_llm.cli.checkpoint import load
    from tinygrad_llm.errors import ConfigError
    from tinygrad_llm.training import evaluate

    model, tokenizer, folder = load(checkpoint)
    if not 0 < validation < 1:
        raise ConfigError(
            f"--validation={validation} is not accepted; use more than 0, less than 1"
        )
    source = source or _trained_on(folder)
    longest = getattr(model.config, "n_positions", 0) if not isinstance(model.config, dict) else 0
    if context is not None and context < 1:
        raise ConfigError(f"--context={context} is not accepted; use at least 1")
    if context and longest and context > longest:
        raise ConfigError(f"--context={context} is more than the {longest} positions of the model")
    corpus = data.prepare(source, tokenizer, validation)
    result = evaluate(model, corpus, context or longest or 64, limit=tokens)
    if as_json:
        click.echo(json.dumps({"checkpoint": str(folder), "data": source, **asdict(result)}))
        return
    rows = [
        ("checkpoint", folder),
        ("data", f"{source}, the last {validation:.0%}"),
        ("tokens", f"{result.tokens:,} for {result.characters:,.0f} characters"),
        ("loss", f"{result.loss:.4f} nats per token"),
        ("perplexity", f"{result.perplexity:,.2f}"),
        ("bits per character", f"{result.bits_per_character:.4f}"),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"{name:{width}}  {value}")


def _trained_on(folder: Path) -> str:
    """The text that the run around a checkpoint was trained on, else the default corpus."""
    import json

    config = folder.parent / "config.json"
    if config.is_file():
        return json.loads(config.read_text(encoding="utf-8")).get("data", "default")
    return "default"
