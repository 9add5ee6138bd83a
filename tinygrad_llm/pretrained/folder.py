"""A checkpoint folder as Hugging Face lays it out: config.json beside the tensors.

The tensors are in model.safetensors, or in several files ("shards") which
model.safetensors.index.json lists: {"weight_map": {tensor name: file name}}.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_llm.errors import CheckpointError
from tinygrad_llm.pretrained.safetensors import load_file, read_header

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def read_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The entries of config.json. Raises CheckpointError, which names the file."""
    return _read_object(_existing(folder, CONFIG))


def read_tensors(folder: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Every tensor of the checkpoint, from one file or from shards."""
    folder = Path(folder)
    if (folder / WEIGHTS).exists() or not (folder / INDEX).exists():
        return load_file(_existing(folder, WEIGHTS))
    weight_map = _read_object(folder / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{folder / INDEX}: there is no table 'weight_map' in it")
    shards: dict[str, list[str]] = {}
    for name, shard in weight_map.items():
        # A file of a stranger must not be able to point anywhere else on the disk.
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise CheckpointError(f"{folder / INDEX}: {name!r} is in {shard!r}, no file beside it")
        shards.setdefault(shard, []).append(name)
    tensors: dict[str, np.ndarray] = {}
    for shard, names in shards.items():
        tensors |= load_file(_existing(folder, shard), names)
    return tensors


def read_metadata(folder: str | os.PathLike[str]) -> dict[str, str]:
    """What the file of the tensors says about itself; nothing, if there are several files."""
    path = Path(folder) / WEIGHTS
    return read_header(path).metadata if path.exists() else {}


def _existing(folder: str | os.PathLike[str], name: str) -> Path:
    """The path of a file of the folder; a CheckpointError that tells what is wrong, if missing."""
    folder = Path(folder)
    path = folder / name
    if path.is_file():
        return path
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: there is no such folder; a checkpoint is a folder")
    if name == WEIGHTS and any((folder / pickled).exists() for pickled in _PICKLED):
        raise CheckpointError(
            f"{folder}: its weights are pickled ({_PICKLED[0]}), which can run any program when "
            f"opened; save them as {WEIGHTS} with transformers: model.save_pretrained(folder)"
        )
    raise CheckpointError(f"{folder}: there is no {name} in it; is it a checkpoint folder?")


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # bad UTF-8 is a ValueError too
        raise CheckpointError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: holds {type(value).__name__}, not a table of entries")
    return value
