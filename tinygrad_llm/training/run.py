"""From a configuration to a trained model in a folder, and on from where a run was stopped."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_llm import data, models, rng, tokenizers
from tinygrad_llm.errors import CheckpointError, ConfigError, TrainingError
from tinygrad_llm.files import write_json
from tinygrad_llm.generation import generate
from tinygrad_llm.models.ngram import NGram
from tinygrad_llm.training import resume as checkpoints
from tinygrad_llm.training.config import TrainConfig
from tinygrad_llm.training.evaluate import Evaluation, evaluate
from tinygrad_llm.training.log import RunLog, plot_loss, read_log
from tinygrad_llm.training.loop import Trainer
from tinygrad_llm.training.progress import Display, Silent


@dataclass(frozen=True)
class Run:
    """What came out: the model, its tokenizer, the last evaluation, and where all is kept."""

    folder: Path
    config: TrainConfig
    model: Any
    tokenizer: Any
    evaluation: Evaluation | None
    seconds: float

    @property
    def checkpoint(self) -> Path:
        return self.folder / checkpoints.LAST


def train(config: TrainConfig, display: Display | None = None, overwrite: bool = False) -> Run:
    """Train a model from the beginning, in `config.folder`.

    Raises ConfigError if that folder holds a run already and `overwrite` is not given.
    """
    folder = config.folder
    if (folder / "config.json").exists() or (folder / checkpoints.LAST).exists():
        if not overwrite:
            raise ConfigError(
                f"{folder} holds a run already. Go on with it (tllm train --resume {folder}), "
                f"choose another folder (--out), or replace it (--overwrite)"
            )
        for name in (checkpoints.LAST, checkpoints.BEST):
            shutil.rmtree(folder / name, ignore_errors=True)
    tokenizer = make_tokenizer(config)
    corpus = data.prepare(config.data, tokenizer, config.validation)
    _check_lengths(config, corpus)
    rng.manual_seed(config.seed)
    model = build(config, tokenizer.vocab_size)
    write_json(folder / "config.json", config.to_dict())
    (folder / "log.jsonl").unlink(missing_ok=True)
    return _run(config, model, tokenizer, corpus, display or Silent(), resumed=False)


def resume(folder: str | Path, display: Display | None = None, steps: int | None = None) -> Run:
    """Go on with the run in `folder` from its last checkpoint, as if it had never stopped.

    steps: train to this step instead of the configured one (which changes the schedule).
    """
    folder = Path(folder)
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} holds no run to go on with: {error}") from error
    config = TrainConfig.from_dict(values, source=str(folder / "config.json"))
    config = dataclasses.replace(config, out=str(folder), steps=steps or config.steps)
    checkpoints.recover(folder)
    last = folder / checkpoints.LAST
    if not last.exists():
        return train(config, display, overwrite=True)  # killed before the first checkpoint
    tokenizer = tokenizers.load(last)
    corpus = data.prepare(config.data, tokenizer, config.validation)
    model = models.load(last)
    return _run(config, model, tokenizer, corpus, display or Silent(), resumed=True)


def build(config: TrainConfig, vocab_size: int) -> Any:
    """The untrained model that a configuration describes."""
    if config.model == "ngram":
        return NGram(config.order, vocab_size, config.smoothing)
    if config.model == "gpt":
        return models.build(
            "gpt2", vocab_size=vocab_size, n_positions=config.context, n_embd=config.n_embd,
            n_layer=config.n_layer, n_head=config.n_head, resid_pdrop=config.dropout,
            embd_pdrop=config.dropout, attn_pdrop=config.dropout, bias=config.bias,
        )  # fmt: skip
    if config.model == "mlp":
        return models.build(
            "mlp", vocab_size=vocab_size, n_positions=config.context, order=config.order,
            n_embd=config.n_embd, n_hidden=config.n_hidden, activation=config.activation,
            dropout=config.dropout,
        )  # fmt: skip
    return models.build(
        "rnn", cell=config.model, vocab_size=vocab_size, n_positions=config.context,
        n_embd=config.n_embd, n_hidden=config.n_hidden, n_layer=config.n_layer,
        dropout=config.dropout,
    )  # fmt: skip


def make_tokenizer(config: TrainConfig) -> Any:
    """The tokenizer a configuration names, trained on its text if it is a new one."""
    if config.tokenizer == "char":
        return tokenizers.CharTokenizer.train(data.iter_text(config.data))
    if config.tokenizer == "bpe":
        return tokenizers.Tokenizer.train(data.iter_text(config.data), config.vocab_size)
    return tokenizers.load(config.tokenizer)


def _check_lengths(config: TrainConfig, corpus: data.TokenCorpus) -> None:
    """Before anything is built: a text that is too short should not cost a minute to find out."""
    needed = config.order if config.model == "ngram" else config.context + 1
    if len(corpus.train) < needed:
        raise ConfigError(
            f"the training text of {config.data} has {len(corpus.train)} tokens, but "
            f"{'order' if config.model == 'ngram' else 'context'} asks for at least {needed}"
        )


def _run(
    config: TrainConfig,
    model: Any,
    tokenizer: Any,
    corpus: data.TokenCorpus,
    display: Display,
    resumed: bool,
) -> Run:
    recorder = Recorder(config, model, tokenizer, corpus, display)
    if config.model == "ngram":
        return _count(config, model, tokenizer, corpus, recorder)
    trainer = Trainer(config, model, corpus, recorder)
    if resumed:
        checkpoints.load_state(config.folder / checkpoints.LAST, trainer)
        recorder.log.forget_after(trainer.step)
        display.say(f"going on from step {trainer.step} of {config.steps}")
    display.start(trainer.step, config.steps)
    try:
        trainer.run()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"Stopped at step {trainer.step}, saved. "
            f"Go on with: tllm train --resume {config.folder}"
        ) from None
    except TrainingError as error:
        recorder.log.write(event="error", step=trainer.step, message=str(error))
        kept = config.folder / checkpoints.LAST
        raise TrainingError(
            f"{error}. " + (f"The last good checkpoint is {kept}" if kept.exists() else
                            "There was no checkpoint yet")
        ) from None  # fmt: skip
    finally:
        display.stop()
        recorder.draw()
    return Run(config.folder, config, model, tokenizer, recorder.evaluation, trainer.seconds)


def _count(
    config: TrainConfig, model: NGram, tokenizer: Any, corpus: data.TokenCorpus, recorder: Recorder
) -> Run:
    """An n-gram is trained by counting: one pass, no steps."""
    started = time.perf_counter()
    model.fit(corpus.train)
    seconds = time.perf_counter() - started
    result = evaluate(model, corpus, config.context, limit=config.eval_tokens)
    recorder("evaluation", step=0, result=result, improved=True, trainer=None)
    checkpoints.save_model(config.folder / checkpoints.LAST, model, tokenizer)
    return Run(config.folder, config, model, tokenizer, result, seconds)


class Recorder:
    """Turns what the loop reports into the log, the checkpoints and the screen."""

    def __init__(
        self,
        config: TrainConfig,
        model: Any,
        tokenizer: Any,
        corpus: data.TokenCorpus,
        display: Display,
    ):
        self.config, self.model, self.tokenizer, self.display = config, model, tokenizer, display
        self.prompt = [int(corpus.validation[0])]  # samples begin as the held-out text does
        self.log = RunLog(config.folder / "log.jsonl")
        self.evaluation: Evaluation | None = None

    def __call__(self, event: str, **values: Any) -> None:
        {"step": self.step, "evaluation": self.evaluated, "checkpoint": self.checkpoint}[event](
            **values
        )

    def step(
        self, step: int, loss: float, grad_norm: float, lr: float, seconds: float, tokens: int
    ) -> None:
        speed = tokens / seconds
        self.display.step(step, loss, speed)
        if step % self.config.log_interval == 0 or step in (1, self.config.steps):
            self.log.write(
                event="step", step=step, loss=loss, grad_norm=grad_norm, lr=lr,
                tokens_per_second=round(speed),
            )  # fmt: skip

    def evaluation_line(self, step: int, result: Evaluation) -> str:
        return (
            f"step {step}: validation loss {result.loss:.4f}, "
            f"{result.bits_per_character:.3f} bits per character"
        )

    def evaluated(self, step: int, result: Evaluation, improved: bool, trainer: Any) -> None:
        self.evaluation = result
        self.log.write(
            event="evaluation", step=step, loss=result.loss, tokens=result.tokens,
            bits_per_character=result.bits_per_character,
            seconds=None if trainer is None else round(trainer.seconds, 2),
        )  # fmt: skip
        self.display.say(self.evaluation_line(step, result))
        if improved:
            checkpoints.save_model(
                self.config.folder / checkpoints.BEST, self.model, self.tokenizer
            )
        if self.config.sample_tokens:
            text = sample(
                self.model, self.tokenizer, self.prompt, self.config.sample_tokens, self.config.seed
            )
            self.log.write(event="sample", step=step, text=text)
            self.display.say(text)

    def checkpoint(self, trainer: Trainer) -> None:
        checkpoints.save_state(self.config.folder / checkpoints.LAST, trainer, self.tokenizer)

    def draw(self) -> None:
        entries = read_log(self.log.path)
        if entries:
            plot_loss(entries, self.config.folder / "loss.png", title=str(self.config.folder))


def sample(
    model: Any,
    tokenizer: Any,
    prompt: list[int],
    tokens: int,
    seed: int,
    temperature: float = 1.0,
) -> str:
    """Text that continues the ids `prompt`; the random state of the run is not touched."""
    ids = generate(
        model, np.array([prompt]), max_new_tokens=tokens, do_sample=True,
        temperature=temperature, seed=seed,
    )  # fmt: skip
    return tokenizer.decode(ids[0])
