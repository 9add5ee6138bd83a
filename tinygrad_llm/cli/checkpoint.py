"""From what a user names to a model with its tokenizer: shared by the commands that read one."""

import shlex
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import CheckpointError

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


def checkpoint_folder(path: Path) -> Path:
    """A checkpoint folder, or the best (else the last) one of a run folder."""
    from tinygrad_llm.training import checkpoints

    if _is_checkpoint(path):
        return path
    if not path.exists():
        raise CheckpointError(f"{path}: there is no such folder")
    for name in (checkpoints.BEST, checkpoints.LAST):
        folder = checkpoints.complete(path, name)
        if folder is not None and _is_checkpoint(folder):
            return folder
    raise CheckpointError(f"{path} holds neither a checkpoint nor a run with one{_inside(path)}")


def load(path: Path) -> tuple[Any, Any, Path]:
    """(model, tokenizer, folder)."""
    from tinygrad_llm.training import checkpoints

    folder = checkpoint_folder(path)
    model, tokenizer = checkpoints.load_model(folder)
    return model, tokenizer, folder


def run_settings(folder: Path) -> dict[str, Any]:
    """The settings of the run that a checkpoint belongs to; nothing if there is none."""
    from tinygrad_llm.training import checkpoints

    config = folder.parent / "config.json"
    values = checkpoints.read_json(config) if config.is_file() else {}
    return values if {"data", "validation", "model"} <= values.keys() else {}


def suggest_generate(folder: Path, tokenizer: Any, options: str = "") -> str:
    """A command that works as it stands: not every text has the characters of a prompt."""
    from tinygrad_llm.errors import TokenizerError

    prompt = "The"  # and no space: byte pairs have it at the beginning of the next word
    try:
        tokenizer.encode(prompt)
    except TokenizerError:
        return f"tllm generate {shlex.quote(str(folder))}{options}"
    return f'tllm generate {shlex.quote(str(folder))} --prompt "{prompt}"{options}'


def _is_checkpoint(folder: Path) -> bool:
    return any((folder / name).exists() for name in _WEIGHTS)


def _inside(path: Path) -> str:
    """What is there instead: the runs in a folder of runs, which is easily named, or files."""
    if not path.is_dir():
        return "; it is a file"
    runs = sorted(config.parent.name for config in path.glob("*/config.json"))
    if runs:
        return f"; did you mean {' or '.join(str(path / name) for name in runs[:3])}?"
    names = sorted(entry.name for entry in path.iterdir())
    return f"; it holds {', '.join(names[:5]) or 'nothing'}{', ...' if len(names) > 5 else ''}"
