"""`tllm info`: what a checkpoint holds, read from its header alone."""

import json
from pathlib import Path
from typing import Any

import click

from tinygrad_llm.errors import CheckpointError

_INDEX = "model.safetensors.index.json"  # lists the files of a checkpoint in several


@click.command("info")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--tensors", "show_tensors", is_flag=True, help="List every tensor.")
def command(checkpoint: Path, show_tensors: bool) -> None:
    """What a checkpoint holds: configuration, parameters, size.

    CHECKPOINT is a checkpoint folder, a run folder, whose best checkpoint is taken, or a
    .safetensors file. Only the headers are read, so this is quick for any size.
    """
    from tinygrad_llm.cli.checkpoint import checkpoint_folder
    from tinygrad_llm.pretrained.safetensors import TensorInfo, read_header

    if not checkpoint.is_file():
        checkpoint = checkpoint_folder(checkpoint)
    files = _weight_files(checkpoint)
    headers = [read_header(file) for file in files]
    tensors: dict[str, TensorInfo] = {}
    for file, header in zip(files, headers, strict=True):
        for name in header.tensors.keys() & tensors.keys():
            raise CheckpointError(f"{file}: tensor {name!r} is in another file of the checkpoint")
        tensors |= header.tensors
    config = _read_config(checkpoint, "config.json")

    parameters = sum(tensor.size for tensor in tensors.values())
    size = sum(file.stat().st_size for file in files)
    dtypes = sorted({tensor.dtype for tensor in tensors.values()})
    _row("checkpoint", checkpoint)
    _row("model", _model_name(config))
    _row("parameters", f"{parameters:,} in {len(tensors)} tensors ({', '.join(dtypes) or 'none'})")
    _row("size", f"{size:,} bytes" + (f" in {len(files)} files" if len(files) > 1 else ""))
    for key, text in headers[0].metadata.items() if headers else ():
        # Our checksums, and what others write there, "pt" (PyTorch), are of no interest; the
        # configuration is printed below.
        if not key.startswith("tinygrad_llm.") and key not in ("config", "format"):
            _row(f"({key})", text)
    for key, value in _read_config(checkpoint, "checkpoint.json").items():
        if key != "tokenizer_sha256":
            _row(key.replace("_", " "), f"{value:.4f}" if isinstance(value, float) else value)
    if config:
        click.echo("\nconfig.json")
        width = max(26, *(len(key) + 2 for key in config))
        for key, value in config.items():
            _row(f"  {key}", json.dumps(value, ensure_ascii=False), width)
    if show_tensors:
        click.echo("\ntensors")
        for name, tensor in tensors.items():
            click.echo(f"  {name:48} {tensor.dtype:5} {list(tensor.shape)}")


def _row(name: str, value: object, width: int = 26) -> None:
    click.echo(f"{name:{width}} {value}")


def _model_name(config: dict[str, Any]) -> str:
    names = config.get("architectures") or [config.get("model_type")]
    return ", ".join(str(name) for name in names if name) or "unknown (no config.json says)"


def _weight_files(checkpoint: Path) -> list[Path]:
    if checkpoint.is_file():
        return [checkpoint]
    single, index = checkpoint / "model.safetensors", checkpoint / _INDEX
    if single.is_file():
        return [single]
    if index.is_file():
        table = _read_json(index).get("weight_map")
        if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
            raise CheckpointError(f"{index}: has no weight_map of tensor names to file names")
        return [checkpoint / name for name in sorted(set(table.values()))]
    raise CheckpointError(f"{checkpoint}: holds no {single.name}")


def _read_config(checkpoint: Path, name: str) -> dict[str, Any]:
    path = (checkpoint if checkpoint.is_dir() else checkpoint.parent) / name
    return _read_json(path) if path.is_file() else {}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: is not a table of names and values")
    return value
