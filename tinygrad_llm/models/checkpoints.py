"""Models by name, and models in folders: build, save, load.

A checkpoint is a folder with config.json (the fields of the configuration and `model_type`) and
model.safetensors. GPT-2's is Hugging Face's own form, so `transformers` reads it too.
"""

import json
import os
from pathlib import Path
from typing import Any

from tinygrad_llm import nn
from tinygrad_llm.errors import CheckpointError, ConfigError
from tinygrad_llm.files import write_json
from tinygrad_llm.models.base import LanguageModel
from tinygrad_llm.models.gpt import GPT2LMHeadModel
from tinygrad_llm.models.mlp import MLPLanguageModel
from tinygrad_llm.models.ngram import NGram
from tinygrad_llm.models.rnn import RNNLanguageModel
from tinygrad_llm.pretrained import folder as files
from tinygrad_llm.pretrained.safetensors import save_file

AnyModel = LanguageModel | NGram

# model_type, as in config.json -> class
registry: dict[str, type[Any]] = {
    "ngram": NGram,
    "mlp": MLPLanguageModel,
    "rnn": RNNLanguageModel,
    "gpt2": GPT2LMHeadModel,
}

# Other names that `build` knows, and what they stand for.
aliases: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt": ("gpt2", {}),
    "lstm": ("rnn", {"cell": "lstm"}),
    "gru": ("rnn", {"cell": "gru"}),
}


def build(model_type: str, **config: Any) -> Any:
    """A new model: build("gpt2", vocab_size=65, n_positions=64, n_layer=4, ...).

    Raises ConfigError for a type or a field that does not exist, or a value that makes no sense.
    """
    name, preset = aliases.get(model_type, (model_type, {}))
    if name not in registry:
        known = ", ".join([*registry, *aliases])
        raise ConfigError(f"model_type={model_type!r} is not known; use one of {known}")
    cls = registry[name]
    config = {**preset, **config}
    if cls is NGram:
        try:
            return NGram(**config)
        except TypeError as error:  # an argument that does not exist, or is missing
            raise ConfigError(f"ngram: {error}") from error
    return cls(cls.config_class.from_dict(config))


def save(model: AnyModel, folder: str | os.PathLike[str]) -> None:
    """Write config.json and model.safetensors; each file is whole, or as it was before.

    The weights carry the configuration that they belong to. So if a kill between the two files
    leaves a new one beside an old one, `load` sees whether they fit.
    """
    if isinstance(model, NGram):
        model.save(folder)
        return
    config = {"architectures": [type(model).__name__], **model.config.to_dict()}
    tensors, stored = {}, set()
    for name, tensor in model.state_dict().items():
        if id(tensor.array) not in stored:  # a tied one under its first name only
            stored.add(id(tensor.array))
            tensors[name] = tensor.array
    metadata = {"config": json.dumps(model.config.to_dict())}
    save_file(model.to_checkpoint(tensors), Path(folder) / files.WEIGHTS, metadata)
    write_json(Path(folder) / files.CONFIG, config)


def load(folder: str | os.PathLike[str]) -> Any:
    """The model in a folder, whatever its type, in evaluation mode.

    Raises CheckpointError, which names the file and the tensor or the field of the configuration.
    """
    path = Path(folder) / files.CONFIG
    model_type = files.read_config(folder).get("model_type")
    if not isinstance(model_type, str) or model_type not in registry:
        raise CheckpointError(
            f"{path}: model_type={model_type!r} is not known; known are {', '.join(registry)}"
        )
    return registry[model_type].load(folder)


def load_model(cls: type[Any], folder: str | os.PathLike[str]) -> Any:
    """A neural model of class `cls` from a folder; see `load`."""
    path = Path(folder) / files.CONFIG
    values = files.read_config(folder)
    expected = cls.config_class.model_type
    # OpenAI's first folders on the hub had no model_type.
    if values.get("model_type", expected) != expected:
        raise CheckpointError(
            f"{path}: model_type={values['model_type']!r}, but {cls.__name__} is {expected!r}"
        )
    try:
        config = cls.config_class.from_dict(values, strict=False)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error
    _check_same_save(path, config, files.read_metadata(folder))
    tensors = cls.from_checkpoint(files.read_tensors(folder))
    with nn.init.skip_init():  # every weight is about to be overwritten
        model = cls(config)
    try:
        model.load_state_dict(tensors)
    except CheckpointError as error:
        raise CheckpointError(
            f"{folder}: the tensors in {files.WEIGHTS} do not fit {files.CONFIG}\n{error}"
        ) from error
    return model.eval()


def check_vocabulary(model: Any, tokenizer: Any) -> None:
    """Raise a CheckpointError unless the tokenizer's ids are those that the model knows.

    A model may have some more: vocabularies are padded to a multiple of up to 128 for speed.
    """
    config = model.config
    ours = config["vocab_size"] if isinstance(config, dict) else config.vocab_size
    theirs = tokenizer.vocab_size
    if not theirs <= ours <= -(-theirs // 128) * 128:
        raise CheckpointError(
            f"the tokenizer has {theirs} tokens, but the model's vocab_size is {ours}: they do not "
            f"belong together. Use the tokenizer that the model was trained with"
        )


def _check_same_save(path: Path, config: Any, metadata: dict[str, str]) -> None:
    """The fields that a checkpoint's meaning depends on are those that the weights were saved with.

    A wrong shape shows by itself; a wrong number of heads would only make the model talk nonsense.
    """
    if "config" not in metadata:
        return  # a file of another program's
    try:
        saved = json.loads(metadata["config"])
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.parent / files.WEIGHTS}: metadata: {error}") from error
    for field, value in config.to_dict().items():
        if field not in config.free and isinstance(saved, dict) and saved.get(field) != value:
            raise CheckpointError(
                f"{path}: {field}={value!r}, but {files.WEIGHTS} was saved with "
                f"{field}={saved.get(field)!r}: the two files do not belong together"
            )
