"""The training loop."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_llm import data, optim, rng
from tinygrad_llm.errors import TrainingError
from tinygrad_llm.training.config import TrainConfig
from tinygrad_llm.training.evaluation import Evaluation, evaluate


class Stopped(KeyboardInterrupt):  # noqa: N818 - it is no error
    """The user asked to stop, and the step was finished and saved."""


class Trainer:
    """Trains `model` on `corpus` as `config` says, from step `self.step` on.

    What is to be seen or kept is told to `report(event, **values)`, with the events "step",
    "evaluation", "checkpoint" and "stopping"; the loop itself knows neither files nor screen.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: Any,
        corpus: data.TokenCorpus,
        report: Callable[..., None] = lambda event, **values: None,
    ):
        self.config, self.model, self.corpus, self.report = config, model, corpus, report
        self.parameters = list(model.parameters())
        self.optimizer = optim.AdamW(
            optim.decay_groups(model, config.weight_decay),
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
        )
        self.step = 0
        self.best = math.inf
        self.seconds = 0.0  # spent on steps, those before a resume included
        self.stop_requested = False

    def run(self) -> None:
        """Train to the last step.

        Raises TrainingError if the loss or a weight is no longer a number, and Stopped, after a
        checkpoint, if the user asked for it.
        """
        config = self.config
        self.model.train()
        # NumPy need not warn of an overflow: what comes of it is looked for, and told, here.
        with self._stopping_politely(), np.errstate(all="ignore"):
            if self.step == 0:
                self.evaluate()
            while self.step < config.steps:
                started = time.perf_counter()
                loss, norm, learning_rate = self.train_step()
                self.step += 1
                seconds = time.perf_counter() - started
                self.seconds += seconds
                self.report(
                    "step", step=self.step, loss=loss, grad_norm=norm, lr=learning_rate,
                    seconds=seconds, tokens=self.tokens_per_step,
                )  # fmt: skip
                last = self.step == config.steps
                if last or self.step % config.eval_interval == 0:
                    self.evaluate()
                due = config.checkpoint_interval and self.step % config.checkpoint_interval == 0
                if last or due or self.stop_requested:
                    self.save()
                if self.stop_requested and not last:
                    raise Stopped

    @property
    def tokens_per_step(self) -> int:
        return self.config.batch_size * self.config.context * self.config.accumulation

    def train_step(self) -> tuple[float, float, float]:
        """One update of the weights: (loss, length of the gradient, learning rate)."""
        config = self.config
        learning_rate = config.learning_rate_at(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate

        self.optimizer.zero_grad()
        total = 0.0
        for micro in range(config.accumulation):
            inputs, targets = data.batch(  # (B, T) each
                self.corpus.train, config.batch_size, config.context,
                seed=config.seed, step=self.step * config.accumulation + micro,
            )  # fmt: skip
            loss = self.model.loss(inputs, targets)
            total += loss.item() / config.accumulation
            # Gradients add up over the batches, so each counts for its share of the mean.
            (loss / config.accumulation if config.accumulation > 1 else loss).backward()
        norm = optim.clip_grad_norm_(self.parameters, config.grad_clip or math.inf)
        if not (math.isfinite(total) and math.isfinite(norm)):
            # Before the optimiser's step: the weights are still those of the step before.
            raise TrainingError(
                f"step {self.step + 1}: the loss is {total:g}, the length of its gradient "
                f"{norm:g}{_remedy(config)}"
            )
        self.optimizer.step()
        return total, norm, learning_rate

    def evaluate(self) -> Evaluation:
        """Measure on the validation text, and remember whether it was never better."""
        result = evaluate(
            self.model, self.corpus, self.config.context, limit=self.config.eval_tokens
        )
        if not math.isfinite(result.loss):
            raise TrainingError(
                f"step {self.step}: the validation loss is {result.loss:g}{_remedy(self.config)}"
            )
        improved = result.loss < self.best
        self.best = min(self.best, result.loss)
        self.report(
            "evaluation", step=self.step, result=result, improved=improved, seconds=self.seconds
        )
        return result

    def save(self) -> None:
        """Ask for a checkpoint, if this one deserves to replace the last."""
        for name, parameter in self.model.named_parameters():
            # A finite gradient can still make a step that overflows; the next loss would tell.
            if not np.isfinite(parameter.array).all():
                raise TrainingError(
                    f"step {self.step}: {name} holds values that are not finite"
                    f"{_remedy(self.config)}"
                )
        self.report("checkpoint", trainer=self)

    # What a checkpoint holds beside weights and optimiser. Batches follow from seed and step.

    def state_dict(self) -> dict[str, Any]:
        """Numbers for a JSON file."""
        return {
            "step": self.step,
            "best": self.best if math.isfinite(self.best) else None,
            "seconds": self.seconds,
            "rng": rng.state.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises KeyError, TypeError, ValueError for what state_dict cannot have given."""
        step, best, seconds = state["step"], state["best"], state["seconds"]
        if type(step) is not int or step < 0:
            raise ValueError(f"step={step!r} is no number of steps")
        self.step = step
        self.best = math.inf if best is None else best + 0.0  # a TypeError for what is no number
        self.seconds = seconds + 0.0
        rng.state.load_state_dict(state["rng"])

    @contextmanager
    def _stopping_politely(self) -> Iterator[None]:
        """The first Ctrl-C (or SIGTERM) lets the step end and a checkpoint be written."""

        def ask(number: int, frame: Any) -> None:
            self.stop_requested = True
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a second one means it
            self.report("stopping")

        self.stop_requested = False
        previous: dict[int, Any] = {}
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:  # nohup and the like
                    previous[number] = signal.signal(number, ask) or signal.SIG_DFL
        except ValueError:
            # Only the main thread may set handlers; elsewhere nobody can press Ctrl-C either.
            previous = {}
        try:
            yield
        finally:
            for asked, handler in previous.items():
                signal.signal(asked, handler)


def _remedy(config: TrainConfig) -> str:
    rate = config.learning_rate
    return f". Most often the learning rate is too high: try --learning-rate {rate / 10:g}"
