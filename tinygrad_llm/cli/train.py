"""`tllm train`: train a model, or go on with a run."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from tinygrad_llm.cli.options import part_option
from tinygrad_llm.training.config import TrainConfig, read_settings

_TYPES = {"int": int, "float": float, "str": str}


def _settings(function: Callable[..., Any]) -> Callable[..., Any]:
    """An option for every field of TrainConfig: --n-layer 6, --no-bias, ..."""
    for f in reversed(fields(TrainConfig)):
        name = "--" + f.name.replace("_", "-")
        text = f.metadata["help"]
        text = f"{text[:1].upper()}{text[1:]}."
        if f.metadata.get("otherwise"):  # as click prints it
            text += f"  [default: {f.metadata['otherwise']}]"
        if f.name == "parts":
            option = part_option
        elif f.type == "bool":
            option = click.option(f"{name}/--no-{name[2:]}", f.name, default=None, help=text)
        else:
            option = click.option(name, f.name, type=_TYPES[str(f.type)], default=None, help=text)
        function = option(function)
    return function


@click.command("train")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Settings: a TOML file, or a run's config.json.",
)
@click.option(
    "--resume", type=click.Path(path_type=Path), help="Go on with the run in this folder."
)
@click.option("--overwrite", is_flag=True, help="Replace a run that is in the folder already.")
@click.option("--profile", type=click.IntRange(min=1), metavar="N",
              help="Time N steps by operation, and stop.")  # fmt: skip
@_settings
def command(
    config: Path | None,
    resume: Path | None,
    overwrite: bool,
    profile: int | None,
    **settings: Any,
) -> None:
    """Train a model on a text.

    Settings come from the options below, and from lines like n_layer = 6 in the file that --config
    names; an option goes before the file.

    \b
    tllm train --data book.txt --steps 1000
    tllm train --data tinyshakespeare --model lstm
    tllm train --resume runs/book-gpt
    """
    from tinygrad_llm import training
    from tinygrad_llm.training.progress import display

    given = {name: value for name, value in settings.items() if value not in (None, ())}
    if "parts" in given:
        given["parts"] = list(given["parts"])
    if resume is not None:
        _refuse_with_resume(given, config=config, overwrite=overwrite, profile=profile)
        _tell(training.resume(resume, display(), steps=given.get("steps")))
        return
    written = {} if config is None else read_settings(config)
    settled = TrainConfig.from_dict({**written, **given}, source=str(config or "configuration"))
    # A run's config.json names every setting; only a choice of the user's is worth a word.
    chosen = given if config and config.suffix.lower() == ".json" else {**written, **given}
    for line in settled.without_effect(chosen):
        click.echo(f"Note: {line}", err=True)
    if profile:
        from tinygrad_llm.training.profiling import profile_steps

        click.echo(profile_steps(settled, profile).table(profile))
        return
    _tell(training.train(settled, display(), overwrite=overwrite))


def _refuse_with_resume(given: dict[str, Any], **others: Any) -> None:
    refused = sorted(given.keys() - {"steps"}) + [name for name, value in others.items() if value]
    if refused:
        raise click.UsageError(
            f"--resume goes on with the settings of the run: --{refused[0].replace('_', '-')} "
            f"cannot be changed, only --steps can."
        )


def _tell(run: Any) -> None:
    """What came out, and what to type next."""
    from tinygrad_llm.cli.checkpoint import suggest_generate

    if run.evaluation is not None:
        click.echo(
            f"\nTrained in {run.seconds:.1f} s: validation loss {run.evaluation.loss:.4f} nats per "
            f"token, {run.evaluation.bits_per_character:.3f} bits per character."
        )
    if run.config.model == "ngram":
        click.echo(f"Kept in {run.folder}: last/ is the checkpoint.")
    else:
        click.echo(
            f"Kept in {run.folder}: best/ and last/ are checkpoints, log.jsonl and loss.png the "
            f"curve."
        )
    click.echo(f"Next: {suggest_generate(run.folder, run.tokenizer)}")
