"""What a run is: one flat dataclass, read from a file and overridden on the command line."""

from __future__ import annotations

import difflib
import json
import math
import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import ConfigError

MODELS = ("gpt", "mlp", "rnn", "lstm", "gru", "ngram")
ACTIVATIONS = ("relu", "sigmoid", "tanh", "gelu")
SCHEDULES = ("cosine", "linear", "wsd", "constant", "inverse-sqrt")
SMOOTHINGS = ("laplace", "add-k", "interpolation", "kneser-ney", "modified-kneser-ney")
_RECURRENT = ("rnn", "lstm", "gru")
_NEURAL = ("gpt", "mlp", *_RECURRENT)
# Models that a setting is for, where that is not all of them.
USED_BY = {
    "n_layer": ("gpt", *_RECURRENT),
    "n_head": ("gpt",),
    "n_embd": _NEURAL,
    "n_hidden": ("mlp", *_RECURRENT),
    "activation": ("mlp",),
    "bias": ("gpt",),
    "order": ("ngram", "mlp"),
    "smoothing": ("ngram",),
    **dict.fromkeys(
        (
            "context", "dropout", "steps", "batch_size", "accumulation", "learning_rate",
            "min_learning_rate", "warmup_steps", "schedule", "weight_decay", "beta1", "beta2",
            "grad_clip", "eval_interval", "checkpoint_interval", "log_interval",
        ),
        _NEURAL,
    ),
}  # fmt: skip
# What a model starts from where it differs from the fields' defaults, which are GPT's.
DEFAULTS = {
    "mlp": {"order": 9, "n_embd": 32},
    **{cell: {"n_layer": 1} for cell in _RECURRENT},
}


def _about(text: str, default: Any, otherwise: str = "") -> Any:
    """otherwise: what is used if nothing is given, where the default does not say it."""
    return field(default=default, metadata={"help": text, "otherwise": otherwise or str(default)})


@dataclass
class TrainConfig:
    """Every setting of a run; `help` of a field is what the command line prints."""

    # What is read
    data: str = _about("a corpus by name, a text file or a folder", "default")
    validation: float = _about("share of the text held out, from its end", 0.1)
    tokenizer: str = _about("one of char, bpe, or a folder with a saved tokenizer", "char")
    vocab_size: int = _about("entries of a bpe vocabulary trained on the text", 512)

    # The model
    model: str = _about(f"one of {', '.join(MODELS)}", "gpt")
    context: int = _about("tokens the model sees at once", 64)
    n_layer: int = _about("blocks (gpt) or recurrent layers", 4)
    n_head: int = _about("attention heads (gpt)", 4)
    n_embd: int = _about("width of the model", 128)
    n_hidden: int = _about("width of the hidden layer (mlp, rnn, lstm, gru)", 256)
    activation: str = _about(f"of the mlp: {', '.join(ACTIVATIONS)}", "tanh")
    dropout: float = _about("share of activations dropped in training", 0.0)
    bias: bool = _about("biases in linear layers and layer norms (gpt)", True)
    order: int = _about("tokens of an n-gram, the predicted one included (ngram, mlp)", 6)
    smoothing: str = _about(f"of the n-gram: {', '.join(SMOOTHINGS)}", "modified-kneser-ney")

    # The loop
    steps: int = _about("optimiser steps", 2000)
    batch_size: int = _about("windows in a batch", 12)
    accumulation: int = _about("batches whose gradients are added up for one step", 1)
    learning_rate: float = _about("after warm-up", 1e-3)
    min_learning_rate: float = _about("at the last step", 1e-4)
    warmup_steps: int = _about(
        "over which the learning rate grows from 0", None, "(100, or a tenth of fewer than 1000)"
    )
    schedule: str = _about(f"one of {', '.join(SCHEDULES)}", "cosine")
    weight_decay: float = _about("of matrices (AdamW)", 0.1)
    beta1: float = _about("of AdamW", 0.9)
    beta2: float = _about("of AdamW", 0.99)
    grad_clip: float = _about("longest gradient; 0 does not clip", 1.0)
    seed: int = _about("of weights, batches, dropout and samples", 1337)

    # What is seen and kept
    eval_interval: int = _about("steps between evaluations", 250)
    eval_tokens: int = _about("validation tokens used; 0 is all of them", 0)
    sample_tokens: int = _about("tokens sampled at each evaluation; 0 for none", 0)
    checkpoint_interval: int = _about("steps between checkpoints; 0 for only the last", 250)
    log_interval: int = _about("steps between lines of log.jsonl", 10)
    out: str = _about("folder of the run", "", "runs/DATA-MODEL")
    parts: list[str] = field(
        default_factory=list,
        metadata={"help": "your own parts, NAME=FILE:OBJECT, such as softmax=mine.py:softmax"},
    )

    def __post_init__(self) -> None:
        if self.warmup_steps is None:
            # Settled here, so that a run that goes on to more steps keeps the warm-up it had.
            self._check_type("steps", "int")
            self.warmup_steps = min(100, self.steps // 10)
        for f in fields(self):
            self._check_type(f.name, f.type)
        at_least = {
            "context": 1, "n_layer": 1, "n_head": 1, "n_embd": 1, "n_hidden": 1, "order": 1,
            "steps": 0, "batch_size": 1, "accumulation": 1, "vocab_size": 1, "seed": 0,
            "warmup_steps": 0, "eval_interval": 1, "eval_tokens": 0, "sample_tokens": 0,
            "checkpoint_interval": 0, "log_interval": 1, "learning_rate": 0.0,
            "min_learning_rate": 0.0, "weight_decay": 0.0, "grad_clip": 0.0, "dropout": 0.0,
            "beta1": 0.0, "beta2": 0.0, "validation": 0.0,
        }  # fmt: skip
        for name, lowest in at_least.items():
            value = getattr(self, name)
            if not (value >= lowest and math.isfinite(value)):
                self._refuse(name, f"at least {lowest:g}, and finite")
        for name in ("dropout", "beta1", "beta2", "validation"):
            if not getattr(self, name) < 1:
                self._refuse(name, "less than 1")
        for name, known in (
            ("model", MODELS), ("activation", ACTIVATIONS), ("schedule", SCHEDULES),
            ("smoothing", SMOOTHINGS),
        ):  # fmt: skip
            if getattr(self, name) not in known:
                self._refuse(name, "one of " + ", ".join(known))
        if self.seed >= 2**64:
            self._refuse("seed", "less than 2**64")
        if self.model == "gpt" and self.n_embd % self.n_head:
            self._refuse("n_embd", f"a multiple of n_head={self.n_head}")
        if self.model == "mlp" and self.order < 2:
            self._refuse("order", "at least 2: one token to look at, one to predict")
        if not self.validation > 0:
            self._refuse("validation", "more than 0: something must be held out to measure on")
        if self.schedule != "constant" and self.min_learning_rate > self.learning_rate:
            self._refuse("min_learning_rate", f"at most learning_rate={self.learning_rate:g}")

    def _check_type(self, name: str, wanted: Any) -> None:
        value = getattr(self, name)
        if wanted == "float" and type(value) is int:
            setattr(self, name, float(value))
        elif wanted == "list[str]":
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                self._refuse(name, "a list of texts")
        elif type(value).__name__ != wanted:
            self._refuse(name, f"of type {wanted}")

    def _refuse(self, name: str, accepted: str) -> None:
        raise ConfigError(f"{name}={getattr(self, name)!r} is not accepted; it must be {accepted}")

    @property
    def folder(self) -> Path:
        """Where the run is kept."""
        return Path(self.out or f"runs/{Path(self.data).resolve().stem or 'text'}-{self.model}")

    @property
    def data_name(self) -> str:
        """The corpus's name, or the last part of the path."""
        return Path(self.data).name or self.data

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of step 0, 1, ... steps-1: linear warm-up, then the schedule."""
        from tinygrad_llm.optim import schedules

        return schedules.learning_rate(
            self.schedule, step, peak=self.learning_rate, lowest=self.min_learning_rate,
            warmup_steps=self.warmup_steps, steps=self.steps,
        )  # fmt: skip

    def without_effect(self, names: Iterable[str]) -> list[str]:
        """Those of the settings that this run does not use, each with the reason, as lines."""
        lines = []
        for name in names:
            if self.model not in USED_BY.get(name, (self.model,)):
                lines.append(f"{name} has no effect with model={self.model}")
            elif name == "vocab_size" and self.tokenizer != "bpe":
                lines.append(f"{name} has no effect with tokenizer={self.tokenizer}")
            elif name == "min_learning_rate" and self.schedule == "constant":
                lines.append(f"{name} has no effect with schedule={self.schedule}")
        return lines

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any], source: str = "configuration") -> TrainConfig:
        """Settings that are not given are the model's defaults.

        Raises ConfigError for a name that is no setting, with the nearest that is one.
        """
        known = [f.name for f in fields(cls)]
        for name, value in values.items():
            if isinstance(value, dict):
                raise ConfigError(
                    f"{source}: [{name}] is a table; settings are plain lines, name = value"
                )
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"settings: {', '.join(known)}"
                raise ConfigError(f"{source}: {name!r} is no setting of a run; {hint}")
        return cls(**{**DEFAULTS.get(str(values.get("model")), {}), **values})

    @classmethod
    def from_file(cls, path: str | Path, overrides: dict[str, Any] | None = None) -> TrainConfig:
        """Read a TOML file, or a run's config.json; `overrides` (from the command line) win."""
        return cls.from_dict({**read_settings(path), **(overrides or {})}, source=str(path))


def read_settings(path: str | Path) -> dict[str, Any]:
    """The names and values in a .json file, such as a run's config.json, or else in a TOML file."""
    is_json = Path(path).suffix.lower() == ".json"
    try:
        text = Path(path).read_text(encoding="utf-8")
        values = json.loads(text) if is_json else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # both readers', and that of UTF-8
        like = '{"n_layer": 4}' if is_json else "lines such as: n_layer = 4"
        raise ConfigError(
            f"{path} is not {'JSON' if is_json else 'TOML'} ({error}). It should have {like}"
        ) from error
    if not isinstance(values, dict):
        raise ConfigError(f'{path} is not a table of names and values, such as {{"n_layer": 4}}')
    return values
