"""Where the time of a training step goes: by operation, forward and backward."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tinygrad_llm import autograd, data, rng
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.training.config import TrainConfig
from tinygrad_llm.training.loop import Trainer
from tinygrad_llm.training.own_parts import own_parts
from tinygrad_llm.training.parts import build, check_lengths, make_tokenizer


@dataclass
class Row:
    """Of one operation: how often it ran, and the seconds it took."""

    calls: int = 0
    forward: float = 0.0
    backward: float = 0.0

    @property
    def total(self) -> float:
        return self.forward + self.backward


@dataclass
class Profile:
    """Watches every Function while `profile()` is active. Seconds are summed over all steps."""

    rows: dict[str, Row] = field(default_factory=dict)
    seconds: float = 0.0

    def forward(self, node: Any, arrays: list[Any], options: dict[str, Any]) -> Any:
        started = time.perf_counter()
        out = node.forward(*arrays, **options)
        row = self.rows.setdefault(type(node).__name__, Row())
        row.calls += 1
        row.forward += time.perf_counter() - started
        return out

    def backward(self, node: Any, douts: list[Any]) -> Any:
        started = time.perf_counter()
        gradients = node.backward(*douts)
        self.rows.setdefault(type(node).__name__, Row()).backward += time.perf_counter() - started
        return gradients

    def section(self, name: str, seconds: float) -> None:
        """Time of something that is no operation, e.g. the optimiser."""
        row = self.rows.setdefault(name, Row())
        row.calls += 1
        row.forward += seconds

    def table(self, steps: int = 1) -> str:
        """Milliseconds per step, the most expensive first; the rest is what no operation took."""
        lines = [f"{'operation':<28}{'calls':>7}{'forward':>10}{'backward':>10}{'share':>8}"]
        scale = 1e3 / steps
        for name, row in sorted(self.rows.items(), key=lambda item: -item[1].total):
            lines.append(
                f"{name:<28}{row.calls / steps:>7.0f}{row.forward * scale:>10.2f}"
                f"{row.backward * scale:>10.2f}{row.total / self.seconds:>8.1%}"
            )
        rest = self.seconds - sum(row.total for row in self.rows.values())
        lines.append(f"{'graph, loop and the rest':<28}{'':>7}{rest * scale:>10.2f}{'':>10}"
                     f"{rest / self.seconds:>8.1%}")  # fmt: skip
        lines.append(f"{'a step, in ms':<28}{'':>7}{self.seconds * scale:>10.2f}")
        return "\n".join(lines)

    def to_dict(self, steps: int = 1) -> dict[str, Any]:
        """Milliseconds per step, for a results file."""
        return {
            name: {
                "calls": row.calls / steps,
                "forward_ms": row.forward * 1e3 / steps,
                "backward_ms": row.backward * 1e3 / steps,
            }
            for name, row in sorted(self.rows.items(), key=lambda item: -item[1].total)
        }


@contextmanager
def profile() -> Iterator[Profile]:
    """`with profile() as p:` then `print(p.table(steps))`. Sees the operations of all threads."""
    previous, watching = autograd.watch.observer, Profile()
    autograd.watch.observer = watching
    started = time.perf_counter()
    try:
        yield watching
    finally:
        watching.seconds += time.perf_counter() - started
        autograd.watch.observer = previous


def profile_steps(config: TrainConfig, steps: int, warm_up: int = 3) -> Profile:
    """Train for some steps, as `tllm train` would, and say where their time went."""
    if config.model == "ngram":
        raise ConfigError("--profile: an n-gram is trained by counting, it has no steps")
    with own_parts(config.parts):
        return _profile_steps(config, steps, warm_up)


def _profile_steps(config: TrainConfig, steps: int, warm_up: int) -> Profile:
    tokenizer = make_tokenizer(config)
    corpus = data.prepare(config.data, tokenizer, config.validation)
    check_lengths(config, corpus)
    rng.manual_seed(config.seed)
    trainer = Trainer(config, build(config, tokenizer.vocab_size), corpus)
    trainer.model.train()
    for _ in range(warm_up):  # the first steps compile and allocate what the later ones reuse
        trainer.train_step()
        trainer.step += 1
    with profile() as watching:
        optimizer_step = trainer.optimizer.step

        def timed_step() -> None:
            started = time.perf_counter()
            optimizer_step()
            watching.section("optimiser", time.perf_counter() - started)

        trainer.optimizer.step = timed_step  # type: ignore[method-assign,assignment]
        for _ in range(steps):
            trainer.train_step()
            trainer.step += 1
    return watching
