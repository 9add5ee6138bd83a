"""`tllm train`: train a model, or go on with a run."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from tinygrad_llm.errors import ConfigError

_TYPES = {"int": int, "float": float, "str": str}


def _settings(function: Callable[..., Any]) -> Callable[..., Any]:
    """An option for every field of TrainConfig: --n-layer 6, --no-bias, ..."""
    from tinygrad_llm.training.config import TrainConfig

    for f in reversed(fields(TrainConfig)):
        name = "--" + f.name.replace("_", "-")
        text = f"{f.metadata['help']} [{f.default}]" if f.default != "" else f.metadata["help"]
        if f.type == "bool":
            option = click.option(f"{name}/--no-{name[2:]}", f.name, default=None, help=text)
        else:
            option = click.option(name, f.name, type=_TYPES[str(f.type)], default=None, help=text)
        function = option(function)
    return function


@click.command("train")
@click.option("--config", type=click.Path(path_type=Path), help="A TOML file of settings.")
@click.option(
    "--resume", type=click.Path(path_type=Path), help="Go on with the run in this folder."
)
@click.option("--overwrite", is_flag=True, help="Replace a run that is in the folder already.")
@click.option("--profile", type=int, metavar="N", help="Time N steps by operation, and stop.")
@_settings
def command(
    config: Path | None, resume: Path | None, overwrite: bool, profile: int | None, **settings: Any
) -> None:
    """Train a model on a text; settings come from --config and from the options below."""
    from tinygrad_llm import training
    from tinygrad_llm.training.progress import display

    given = {name: value for name, value in settings.items() if value is not None}
    if resume is not None:
        refused = sorted(given.keys() - {"steps"}) + (["config"] if config else [])
        if refused:
            raise ConfigError(
                f"--resume goes on with the settings of the run; --{refused[0].replace('_', '-')} "
                f"cannot be changed (only --steps can)"
            )
        run = training.resume(resume, display(), steps=given.get("steps"))
    else:
        settled = (
            training.TrainConfig.from_toml(config, given)
            if config
            else training.TrainConfig.from_dict(given)
        )
        if profile:
            click.echo(profile_steps(settled, profile))
            return
        run = training.train(settled, display(), overwrite=overwrite)
    click.echo(f"\nTrained in {run.seconds:.1f} s. Kept in {run.folder}: last/ and best/ are "
               f"checkpoints, log.jsonl and loss.png the curve.")  # fmt: skip
    click.echo(f'Next: tllm generate {run.folder} --prompt "The "')


def profile_steps(config: Any, steps: int) -> str:
    """A table of where the time of a training step goes."""
    import time

    from tinygrad_llm import data, rng
    from tinygrad_llm.training import Trainer, profile
    from tinygrad_llm.training.run import build, make_tokenizer

    if config.model == "ngram":
        raise ConfigError("--profile: an n-gram is trained by counting, it has no steps")
    tokenizer = make_tokenizer(config)
    corpus = data.prepare(config.data, tokenizer, config.validation)
    rng.manual_seed(config.seed)
    trainer = Trainer(config, build(config, tokenizer.vocab_size), corpus)
    trainer.model.train()
    for _ in range(3):  # the first steps allocate what the later ones reuse
        trainer.train_step()
    optimizer_step = trainer.optimizer.step
    with profile() as watching:

        def timed_step() -> None:
            started = time.perf_counter()
            optimizer_step()
            watching.section("optimiser", time.perf_counter() - started)

        trainer.optimizer.step = timed_step  # type: ignore[method-assign]
        for _ in range(steps):
            trainer.train_step()
    return watching.table(steps)
