"""Checkpoints of a run, such that a kill at any moment leaves a complete one.

A checkpoint folder holds the model (`config.json`, `model.safetensors`), its tokenizer, and, in
`last/`, what it takes to go on: `optimizer.safetensors` and `trainer_state.json`. A new one is
written beside the old one, which it then replaces as a whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_llm import models
from tinygrad_llm.errors import CheckpointError
from tinygrad_llm.files import recover_folder, replace_folder, write_json
from tinygrad_llm.pretrained.safetensors import load_file, save_file
from tinygrad_llm.training.loop import Trainer

LAST, BEST = "last", "best"


def write_checkpoint(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill an empty folder, then put it in the place of `folder`."""
    new = _being_written(folder)
    recover_folder(folder, new)
    new.mkdir(parents=True)
    try:
        write(new)
    except BaseException:
        # A full disk, or a second Ctrl-C: the previous checkpoint is untouched.
        shutil.rmtree(new, ignore_errors=True)
        raise
    replace_folder(new, folder)


def recover(run: Path) -> None:
    """Clean up what a killed run may have left half done."""
    for name in (LAST, BEST):
        recover_folder(run / name, _being_written(run / name))


def _being_written(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.new")


def save_model(folder: Path, model: Any, tokenizer: Any) -> None:
    """All that `generate`, `eval` and `info` need."""

    def write(new: Path) -> None:
        models.save(model, new)
        tokenizer.save(new)

    write_checkpoint(folder, write)


def save_state(folder: Path, trainer: Trainer, tokenizer: Any) -> None:
    """All that it takes to go on as if nothing had happened."""

    def write(new: Path) -> None:
        models.save(trainer.model, new)
        tokenizer.save(new)
        save_file(_optimizer_tensors(trainer), new / "optimizer.safetensors")
        write_json(new / "trainer_state.json", trainer.state_dict())

    write_checkpoint(folder, write)


def load_state(folder: Path, trainer: Trainer) -> None:
    """Put optimiser and trainer where `save_state` left them; the model is loaded already."""
    path = folder / "trainer_state.json"
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        trainer.load_state_dict(state)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    tensors = load_file(folder / "optimizer.safetensors")
    state_of = trainer.optimizer.state
    for name, parameter in trainer.model.named_parameters():
        for key in [k for k in tensors if k.rpartition(".")[0] == name]:
            value = tensors.pop(key)
            entry = state_of.setdefault(parameter, {})
            # A number, such as the step count, was stored as a 0-d array.
            entry[key.rpartition(".")[2]] = value.item() if value.ndim == 0 else value
            if value.ndim and value.shape != parameter.shape:
                raise CheckpointError(
                    f"{folder / 'optimizer.safetensors'}: {key} has shape {value.shape}, but the "
                    f"parameter {parameter.shape}"
                )
    if tensors:
        raise CheckpointError(
            f"{folder / 'optimizer.safetensors'}: {next(iter(tensors))} belongs to no parameter"
        )


def _optimizer_tensors(trainer: Trainer) -> dict[str, np.ndarray]:
    """The state of each parameter, by the parameter's name."""
    tensors = {}
    for name, parameter in trainer.model.named_parameters():
        for key, value in trainer.optimizer.state.get(parameter, {}).items():
            tensors[f"{name}.{key}"] = np.asarray(getattr(value, "array", value))
    return tensors
