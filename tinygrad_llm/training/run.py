"""From a configuration to a trained model in a folder, and on from where a run was stopped."""

from __future__ import annotations

import dataclasses
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygrad_llm import data, rng
from tinygrad_llm.data import corpora
from tinygrad_llm.errors import CheckpointError, ConfigError, TokenizerError, TrainingError
from tinygrad_llm.files import write_json
from tinygrad_llm.models.ngram import NGram
from tinygrad_llm.training import checkpoints
from tinygrad_llm.training.config import TrainConfig
from tinygrad_llm.training.evaluation import Evaluation, evaluate
from tinygrad_llm.training.loop import Stopped, Trainer
from tinygrad_llm.training.own_parts import own_parts, split_part
from tinygrad_llm.training.parts import build, check_lengths, end_of_text, make_tokenizer
from tinygrad_llm.training.progress import Display, Silent
from tinygrad_llm.training.recorder import Recorder

__all__ = ["Run", "build", "make_tokenizer", "resume", "train"]

CONFIG = "config.json"


@dataclass(frozen=True)
class Run:
    """What came out: the model, its tokenizer, the last evaluation, and where all is kept."""

    folder: Path
    config: TrainConfig
    model: Any
    tokenizer: Any
    evaluation: Evaluation | None  # None if a resumed run had nothing left to do
    seconds: float  # of the steps (or the counting), without evaluations

    @property
    def checkpoint(self) -> Path:
        return self.folder / checkpoints.LAST


def train(config: TrainConfig, display: Display | None = None, overwrite: bool = False) -> Run:
    """Train a model from the beginning, in `config.folder`.

    Raises ConfigError if that folder holds a run already and `overwrite` is not given. What can be
    wrong with the settings or the text is found before anything in the folder is touched.
    """
    with own_parts(config.parts):
        return _train(config, display or Silent(), overwrite)


def _train(config: TrainConfig, display: Display, overwrite: bool) -> Run:
    folder = config.folder
    _check_folder(config, overwrite)
    tokenizer, corpus = _prepare(config, None, display)
    check_lengths(config, corpus)
    rng.manual_seed(config.seed)
    model = build(config, tokenizer.vocab_size, end_of_text(tokenizer))
    checkpoints.remove(folder)
    for name in ("log.jsonl", "loss.png"):
        (folder / name).unlink(missing_ok=True)
    write_json(folder / CONFIG, _anywhere(config).to_dict())
    kind = "counts to make" if config.model == "ngram" else f"{model.num_parameters():,} parameters"
    display.say(f"model: {config.model}, {kind}; kept in {folder}")
    recorder = Recorder(config, model, tokenizer, corpus, display)
    if config.model == "ngram":
        return _count(config, model, tokenizer, corpus, recorder)
    return _run(Trainer(config, model, corpus, recorder), recorder)


def resume(folder: str | Path, display: Display | None = None, steps: int | None = None) -> Run:
    """Go on with the run in `folder` from its last checkpoint, as if it had never stopped.

    steps: train to this step instead of the configured one (which changes the schedule).
    """
    config = _read_config(Path(folder), steps)
    with own_parts(config.parts):
        return _resume(config, display or Silent())


def _resume(config: TrainConfig, display: Display) -> Run:
    folder = config.folder
    checkpoints.recover(folder)
    last = folder / checkpoints.LAST
    if not last.exists() or config.model == "ngram":
        # Killed before the first checkpoint; and an n-gram is counted again in a moment.
        why = "an n-gram has no steps" if last.exists() else "there is no checkpoint to go on from"
        display.say(f"starting from the beginning: {why}")
        return _train(config, display, overwrite=True)
    with _damaged(folder):
        model, tokenizer = checkpoints.load_model(last)
    same = build(config, tokenizer.vocab_size, end_of_text(tokenizer))
    _check_same_model(folder, same, model)
    _, corpus = _prepare(config, tokenizer, display)
    recorder = Recorder(config, model, tokenizer, corpus, display)
    trainer = Trainer(config, model, corpus, recorder)
    with _damaged(folder):
        checkpoints.load_state(last, trainer, recorder.corpus_digest)
    if trainer.step > config.steps:
        raise ConfigError(
            f"{folder} is at step {trainer.step} already; steps={config.steps} is not accepted, "
            f"it must be at least that"
        )
    write_json(folder / CONFIG, config.to_dict())  # the new number of steps, for the next resume
    recorder.log.forget_after(trainer.step)
    recorder.saved_step = trainer.step
    if trainer.step == config.steps:
        display.say(
            f"The run is complete: step {trainer.step} of {config.steps}. To train on: "
            f"tllm train --resume {shlex.quote(str(folder))} --steps {2 * config.steps}"
        )
    else:
        display.say(f"going on from step {trainer.step} of {config.steps}")
    return _run(trainer, recorder)


@contextmanager
def _damaged(folder: Path) -> Iterator[None]:
    """What is wrong with last/ is told with what is left to do."""
    try:
        yield
    except (CheckpointError, TokenizerError) as error:
        best = checkpoints.complete(folder, checkpoints.BEST)
        use = f"tllm generate {shlex.quote(str(best))} can still be used; to " if best else "To "
        raise CheckpointError(
            f"{error}. The run cannot go on from {folder / checkpoints.LAST}. {use}train anew, "
            f"repeat its tllm train with --overwrite"
        ) from error


def _prepare(config: TrainConfig, tokenizer: Any, display: Display) -> tuple[Any, data.TokenCorpus]:
    """The tokenizer (a new one if None) and the tokens of the text."""
    display.say(f"data: {config.data_name}")
    if tokenizer is None:
        tokenizer = make_tokenizer(config)
    corpus = data.prepare(
        config.data, tokenizer, config.validation, progress=_every_few_seconds(display)
    )
    characters = corpus.n_train_characters + corpus.n_validation_characters
    display.say(
        f"  {characters:,} characters, {len(corpus.train) + len(corpus.validation):,} tokens of "
        f"{tokenizer.vocab_size:,} kinds, the last {100 * config.validation:.4g}% held out"
    )
    return tokenizer, corpus


def _every_few_seconds(display: Display) -> Callable[[int, int], None]:
    shown = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal shown
        if time.monotonic() - shown > 3:
            shown = time.monotonic()
            display.say(f"  encoding, {done / total:.0%}")

    return progress


def _check_folder(config: TrainConfig, overwrite: bool) -> None:
    folder = config.folder
    inside = Path(config.data).is_dir() and Path(config.data).resolve() in folder.resolve().parents
    if inside and config.data not in corpora.names() and config.tokenizer != "char":
        raise ConfigError(
            f"{folder} is inside of {config.data}, so merges.txt of the saved tokenizer would "
            f"become a part of the text; choose a folder outside (--out)"
        )
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; choose another folder (--out)")
    if (folder / "model.safetensors").exists():
        raise ConfigError(f"{folder} is a checkpoint, not a run; choose another folder (--out)")
    if overwrite:
        return
    if (folder / CONFIG).exists() or checkpoints.complete(folder, checkpoints.LAST):
        raise ConfigError(
            f"{folder} holds a run already. Go on with it "
            f"(tllm train --resume {shlex.quote(str(folder))}), choose another folder (--out), or "
            f"replace it (--overwrite)"
        )


def _read_config(folder: Path, steps: int | None) -> TrainConfig:
    if not folder.is_dir():
        what = "is a file; a run is a folder" if folder.exists() else "there is no such folder"
        raise CheckpointError(f"{folder}: {what}")
    if (folder / checkpoints.STATE).exists():
        folder = folder.parent  # a checkpoint was named instead of its run
    if not (folder / CONFIG).exists():
        raise CheckpointError(f"{folder} holds no run to go on with: there is no {CONFIG} in it")
    values = checkpoints.read_json(folder / CONFIG)
    config = TrainConfig.from_dict(values, source=str(folder / CONFIG))
    changes: dict[str, Any] = {} if steps is None else {"steps": steps}
    return dataclasses.replace(config, out=str(folder), **changes)


def _anywhere(config: TrainConfig) -> TrainConfig:
    """The same, with paths that mean the same wherever the run is resumed from."""
    changes: dict[str, Any] = {}
    if config.data not in corpora.names():
        changes["data"] = str(Path(config.data).resolve())
    if config.tokenizer not in ("char", "bpe"):
        changes["tokenizer"] = str(Path(config.tokenizer).resolve())
    if config.parts:
        split = [split_part(part) for part in config.parts]
        changes["parts"] = [f"{name}={path.resolve()}:{what}" for name, path, what in split]
    return dataclasses.replace(config, **changes)


def _check_same_model(folder: Path, configured: Any, loaded: Any) -> None:
    wanted, found = configured.config.to_dict(), loaded.config.to_dict()
    for field, value in wanted.items():
        if found.get(field) != value:
            raise CheckpointError(
                f"{folder / CONFIG} asks for a model with {field}={value!r}, but the one in "
                f"{folder / checkpoints.LAST} has {field}={found.get(field)!r}"
            )


def _run(trainer: Trainer, recorder: Recorder) -> Run:
    config, display = trainer.config, recorder.display
    again = f"tllm train --resume {shlex.quote(str(config.folder))}"
    display.start(trainer.step, config.steps)
    try:
        trainer.run()
    except Stopped:
        raise KeyboardInterrupt(
            f"Stopped at step {trainer.step} of {config.steps}, saved. Go on with: {again}"
        ) from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"Stopped at once, at step {trainer.step} of {config.steps}; "
            f"{_kept(recorder)}. Go on with: {again}"
        ) from None
    except TrainingError as error:
        recorder.log.write(event="error", step=trainer.step, message=str(error))
        raise TrainingError(f"{error}. The run was stopped; {_kept(recorder)}") from None
    except OSError as error:
        error.add_note(f"{_kept(recorder)}. Go on with: {again}")
        raise
    finally:
        display.stop()
        recorder.draw()
    return Run(
        config.folder, config, trainer.model, recorder.tokenizer, recorder.evaluation,
        trainer.seconds,
    )  # fmt: skip


def _kept(recorder: Recorder) -> str:
    if recorder.saved_step is None:
        return "no checkpoint for going on was written yet"
    last = recorder.config.folder / checkpoints.LAST
    return f"the last good checkpoint, of step {recorder.saved_step}, is {last}"


def _count(
    config: TrainConfig, model: NGram, tokenizer: Any, corpus: data.TokenCorpus, recorder: Recorder
) -> Run:
    """An n-gram is trained by counting: one pass, no steps."""
    started = time.perf_counter()
    model.fit(corpus.train)
    seconds = time.perf_counter() - started
    result = evaluate(model, corpus, config.context, limit=config.eval_tokens)
    recorder("evaluation", step=0, result=result, improved=False, seconds=seconds)
    checkpoints.save_model(
        config.folder / checkpoints.LAST, model, tokenizer,
        loss=result.loss, bits_per_character=result.bits_per_character,
    )  # fmt: skip
    return Run(config.folder, config, model, tokenizer, result, seconds)
