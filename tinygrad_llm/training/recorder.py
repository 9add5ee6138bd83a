"""What the loop reports becomes lines of the log, checkpoints, and what is on the screen."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from tinygrad_llm import data
from tinygrad_llm.generation import generate
from tinygrad_llm.training import checkpoints
from tinygrad_llm.training.config import TrainConfig
from tinygrad_llm.training.evaluation import Evaluation
from tinygrad_llm.training.log import RunLog, read_log
from tinygrad_llm.training.loop import Trainer
from tinygrad_llm.training.plot import plot_loss
from tinygrad_llm.training.progress import Display


class Recorder:
    """Called with an event and its values, as `Trainer` does."""

    def __init__(
        self,
        config: TrainConfig,
        model: Any,
        tokenizer: Any,
        corpus: data.TokenCorpus,
        display: Display,
    ):
        self.config, self.model, self.tokenizer, self.display = config, model, tokenizer, display
        self.corpus = corpus
        self.log = RunLog(config.folder / "log.jsonl")
        self.evaluation: Evaluation | None = None
        self.saved_step: int | None = None  # of the last checkpoint

    def __call__(self, event: str, **values: Any) -> None:
        answers: dict[str, Callable[..., None]] = {
            "step": self._step,
            "evaluation": self._evaluation,
            "checkpoint": self._checkpoint,
            "stopping": self.display.stopping,
        }
        answers[event](**values)

    @cached_property
    def corpus_digest(self) -> str:
        return checkpoints.corpus_digest(self.corpus)

    def _step(
        self, step: int, loss: float, grad_norm: float, lr: float, seconds: float, tokens: int
    ) -> None:
        speed = tokens / max(seconds, 1e-9)
        self.display.step(step, loss, speed)
        if step % self.config.log_interval == 0 or step in (1, self.config.steps):
            self.log.write(
                event="step", step=step, loss=loss, grad_norm=grad_norm, lr=lr,
                tokens_per_second=round(speed),
            )  # fmt: skip

    def _evaluation(
        self, step: int, result: Evaluation, improved: bool, seconds: float | None
    ) -> None:
        self.evaluation = result
        self.log.write(
            event="evaluation", step=step, loss=result.loss, tokens=result.tokens,
            bits_per_character=result.bits_per_character,
            seconds=None if seconds is None else round(seconds, 2),
        )  # fmt: skip
        self.display.say(
            f"step {step}: validation loss {result.loss:.4f}, "
            f"{result.bits_per_character:.3f} bits per character"
        )
        if improved:
            checkpoints.save_model(
                self.config.folder / checkpoints.BEST, self.model, self.tokenizer,
                step=step, loss=result.loss, bits_per_character=result.bits_per_character,
            )  # fmt: skip
        if self.config.sample_tokens:
            # Samples begin as the held-out text does.
            prompt = [int(self.corpus.validation[0])]
            text = sample(
                self.model, self.tokenizer, prompt, self.config.sample_tokens, self.config.seed
            )
            self.log.write(event="sample", step=step, text=text)
            self.display.say(quoted(text))

    def _checkpoint(self, trainer: Trainer) -> None:
        folder = self.config.folder / checkpoints.LAST
        checkpoints.save_state(folder, trainer, self.tokenizer, self.corpus_digest)
        self.saved_step = trainer.step

    def draw(self) -> None:
        """The loss curve. That it cannot be drawn is no reason to lose a run's result."""
        entries = read_log(self.log.path)
        title = f"{self.config.model} on {self.config.data_name}"
        try:
            if entries:
                plot_loss(entries, self.config.folder / "loss.png", title)
        except (ImportError, OSError) as error:
            self.display.say(f"loss.png was not drawn: {error}")


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


def quoted(text: str) -> str:
    """Text of a model's, with a line at its left that tells it from ours."""
    return "\n".join(f"  | {line}" for line in text.split("\n"))
