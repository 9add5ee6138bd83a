"""Checkpoints of a run, such that a kill at any moment leaves a complete one.

A checkpoint folder holds the model (`config.json`, `model.safetensors`), its tokenizer, what is
said of them (`checkpoint.json`), and, in `last/`, what it takes to go on: `optimizer.safetensors`
and `trainer_state.json`. A new one is written beside the old one and replaces it as a whole.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_llm import data, models, tokenizers
from tinygrad_llm.errors import CheckpointError, DataError
from tinygrad_llm.files import (
    complete_folder,
    recover_folder,
    remove_folder,
    replace_folder,
    sha256_of,
    write_json,
)
from tinygrad_llm.pretrained.safetensors import load_file, read_header, save_file

if TYPE_CHECKING:
    from tinygrad_llm.training.loop import Trainer

LAST, BEST = "last", "best"
ABOUT, STATE, OPTIMIZER = "checkpoint.json", "trainer_state.json", "optimizer.safetensors"


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


def complete(run: Path, name: str) -> Path | None:
    """Where the checkpoint `name` of a run can be read, whatever was killed; changes nothing."""
    return complete_folder(run / name, _being_written(run / name))


def recover(run: Path) -> None:
    """Clean up what a killed run may have left half done."""
    for name in (LAST, BEST):
        recover_folder(run / name, _being_written(run / name))


def remove(run: Path) -> None:
    """Delete the checkpoints of a run."""
    recover(run)  # else what a killed run had set aside would come back one day
    for name in (LAST, BEST):
        remove_folder(run / name)


def _being_written(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.new")


# -- the model and its tokenizer: all that `generate`, `eval` and `info` need --


def save_model(folder: Path, model: Any, tokenizer: Any, **about: Any) -> None:
    """Write a checkpoint that can be used, but not trained on. about: for checkpoint.json."""
    write_checkpoint(folder, lambda new: _write_model(new, model, tokenizer, about))


def load_model(folder: Path) -> tuple[Any, Any]:
    """(model, tokenizer) of a checkpoint, ours or Hugging Face's, once they are seen to fit."""
    model, tokenizer = models.load(folder), tokenizers.load(folder)
    models.check_vocabulary(model, tokenizer)
    about = folder / ABOUT
    saved_with = read_json(about).get("tokenizer_sha256") if about.exists() else None
    if saved_with is not None and saved_with != _tokenizer_digest(folder):
        raise CheckpointError(
            f"{folder}: tokenizer.json is not the one that this model was saved with, so the ids "
            f"would mean other texts. Put the right one back, or use another checkpoint"
        )
    return model, tokenizer


def _write_model(folder: Path, model: Any, tokenizer: Any, about: dict[str, Any]) -> None:
    models.save(model, folder)
    tokenizer.save(folder)
    write_json(folder / ABOUT, {**about, "tokenizer_sha256": _tokenizer_digest(folder)})


def _tokenizer_digest(folder: Path) -> str | None:
    path = folder / "tokenizer.json"
    return sha256_of(path) if path.exists() else None


# -- what it takes to go on as if nothing had happened --


def save_state(folder: Path, trainer: Trainer, tokenizer: Any, corpus_digest: str) -> None:
    """Write a checkpoint from which training goes on."""

    def write(new: Path) -> None:
        _write_model(new, trainer.model, tokenizer, {"step": trainer.step})
        step = {"step": str(trainer.step)}
        save_file(_optimizer_tensors(trainer), new / OPTIMIZER, step)
        write_json(new / STATE, {**trainer.state_dict(), "corpus_sha256": corpus_digest})

    write_checkpoint(folder, write)


def load_state(folder: Path, trainer: Trainer, corpus_digest: str) -> None:
    """Put optimiser and trainer where `save_state` left them; the model is loaded already."""
    state = read_json(folder / STATE)
    if "corpus_sha256" not in state:
        raise CheckpointError(f"{folder / STATE} does not hold a run's state: no corpus_sha256")
    if state["corpus_sha256"] != corpus_digest:
        raise DataError(
            f"{folder}: the text, or how it is split, is not what the run was trained on so far, "
            f"so it cannot go on as if nothing had happened. Put the old text back, or train anew"
        )
    try:
        trainer.load_state_dict(state)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise CheckpointError(f"{folder / STATE} does not hold a run's state: {error!r}") from error
    path = folder / OPTIMIZER
    if read_header(path).metadata.get("step") != str(trainer.step):
        raise CheckpointError(f"{path} and {STATE} are not of the same step")
    tensors = load_file(path)
    optimizer = trainer.optimizer
    names = {id(p): name for name, p in trainer.model.named_parameters()}
    current = optimizer.state_dict()
    in_order = [p for group in optimizer.param_groups for p in group["params"]]
    state_of: dict[int, dict[str, Any]] = {}
    for index, parameter in enumerate(in_order):
        name = names[id(parameter)]
        state_of[index] = {}
        for buffer in optimizer.buffers:
            value = tensors.pop(f"{name}.{buffer}", None)
            if value is None:
                if trainer.step:
                    raise CheckpointError(f"{path}: there is no {name}.{buffer}")
                continue
            if value.ndim and value.shape != parameter.shape:
                raise CheckpointError(
                    f"{path}: {name}.{buffer} has shape {value.shape}, the parameter "
                    f"{parameter.shape}"
                )
            state_of[index][buffer] = value
    if tensors:
        raise CheckpointError(f"{path}: {next(iter(tensors))} belongs to no parameter")
    optimizer.load_state_dict({**current, "state": state_of})


def _optimizer_tensors(trainer: Trainer) -> dict[str, np.ndarray]:
    """The state of each parameter, by the parameter's name; a count is a 0-d array."""
    return {
        f"{name}.{buffer}": np.asarray(getattr(value, "array", value))
        for name, parameter in trainer.model.named_parameters()
        for buffer, value in trainer.optimizer.state.get(parameter, {}).items()
    }


def corpus_digest(corpus: data.TokenCorpus) -> str:
    """A SHA-256 of all tokens, in their two parts."""
    digest = hashlib.sha256()
    for part in (corpus.train, corpus.validation):
        digest.update(f"{len(part)} {part.dtype.str} ".encode())
        for start in range(0, len(part), 1 << 20):  # memory-mapped: never all of it at once
            digest.update(np.ascontiguousarray(part[start : start + (1 << 20)]).data)
    return digest.hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """A file of ours with a table of values. Raises CheckpointError, which names the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # bad UTF-8 is a ValueError too
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is not a table of names and values")
    return value
