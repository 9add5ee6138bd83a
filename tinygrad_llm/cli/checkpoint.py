"""From what a user names to a model with its tokenizer: shared by the commands that read one."""

from pathlib import Path
from typing import Any

from tinygrad_llm.errors import CheckpointError


def checkpoint_folder(path: Path) -> Path:
    """A checkpoint folder, or the best (else the last) one of a run folder."""
    if (path / "model.safetensors").exists() or (path / "model.safetensors.index.json").exists():
        return path
    for name in ("best", "last"):
        if (path / name / "model.safetensors").exists():
            return path / name
    if not path.exists():
        raise CheckpointError(f"{path}: there is no such folder")
    raise CheckpointError(f"{path} holds neither a checkpoint nor a run with one")


def load(path: Path) -> tuple[Any, Any, Path]:
    """(model, tokenizer, folder)."""
    from tinygrad_llm import models, tokenizers

    folder = checkpoint_folder(path)
    model, tokenizer = models.load(folder), tokenizers.load(folder)
    models.check_vocabulary(model, tokenizer)
    return model, tokenizer, folder
