"""What all neural language models share: how they are configured, called, and asked for a token.

A language model maps ids (B, T) to logits (B, T, V): for every position, how likely each token is
to come next, given the tokens up to that position and none after it.
"""

import dataclasses
import difflib
import math
import os
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

import tinygrad_llm.functional as F
from tinygrad_llm import nn
from tinygrad_llm.autograd import no_grad
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.tensor import Tensor


@dataclasses.dataclass
class CausalLMOutput:
    """What a model returns, with Hugging Face's field names."""

    loss: Tensor | None  # a number: mean nats per token, when labels were given
    logits: Tensor  # (B, T, V)
    past_key_values: Any = None  # the cache, when one was asked for
    hidden_states: tuple[Tensor, ...] | None = None  # each (B, T, C): embeddings, then every layer
    attentions: tuple[Tensor, ...] | None = None  # each (B, heads, T, S), one a layer


@dataclasses.dataclass
class ModelConfig:
    """What it takes to build a model. Subclasses add fields and check them in __post_init__."""

    model_type: ClassVar[str] = ""
    # Fields that do not change what a trained model computes: these may be edited in a checkpoint.
    free: ClassVar[frozenset[str]] = frozenset()

    def to_dict(self) -> dict[str, Any]:
        return {"model_type": self.model_type, **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], strict: bool = True) -> Any:
        """Build from the entries of a config.json.

        strict: a name that is no field is a ConfigError; otherwise it is passed over, as other
        programs add fields of their own.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        unknown = [name for name in values if name not in names and name != "model_type"]
        if strict and unknown:
            close = difflib.get_close_matches(str(unknown[0]), names, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(names)}"
            raise ConfigError(f"{cls.__name__}: there is no field {unknown[0]!r}; {hint}")
        try:
            return cls(**{name: values[name] for name in names if name in values})
        except TypeError as error:  # a field without a default is missing
            raise ConfigError(f"{cls.__name__}: {error}") from error

    def require(self, field: str, ok: bool, accepted: str) -> None:
        """Raise a ConfigError that names the field, unless ok."""
        if not ok:
            value = getattr(self, field)
            raise ConfigError(
                f"{type(self).__name__}: {field}={value!r} is not accepted; use {accepted}"
            )

    def require_sizes(self, *fields: str) -> None:
        for field in fields:
            value = getattr(self, field)
            self.require(field, type(value) is int and value >= 1, "an integer of at least 1")

    def require_probabilities(self, *fields: str) -> None:
        for field in fields:
            value = getattr(self, field)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            self.require(field, number and 0 <= value < 1, "a number from 0 up to, not with, 1")

    def require_one_of(self, field: str, choices: Any) -> None:
        # A list or dict from a JSON file can be looked up in no table: only text is a choice.
        value = getattr(self, field)
        self.require(field, isinstance(value, str) and value in choices, ", ".join(choices))


class LanguageModel(nn.Module):
    """Base of the neural language models; subclasses write `forward` and `config_class`."""

    config_class: ClassVar[type[ModelConfig]]
    config: Any

    @property
    def model_type(self) -> str:
        return self.config.model_type

    def loss(self, inputs: Any, targets: Any) -> Tensor:
        """Mean nats per token, where targets (B, T) already are the tokens after inputs (B, T).

        A target of -100 is left out of the mean.
        """
        targets = as_ids("targets", targets)
        logits = self(inputs).logits  # (B, T, V)
        if targets.shape != logits.shape[:2]:
            raise ValueError(
                f"loss: targets have shape {targets.shape}, the inputs {logits.shape[:2]}"
            )
        return cross_entropy(logits, targets)

    def new_cache(self, batch_size: int, max_length: int | None = None) -> Any:
        """What `next_token_logits` keeps between calls; None if nothing is worth keeping."""
        return None

    def last_logits(self, input_ids: np.ndarray, attention_mask: Any, cache: Any) -> Tensor:
        """The logits (B, V) after the last id. Subclasses leave out what that does not need."""
        out = self(input_ids, attention_mask=attention_mask, past_key_values=cache)
        return out.logits[:, -1]

    def next_token_logits(
        self, input_ids: Any, attention_mask: Any = None, cache: Any = None
    ) -> np.ndarray:
        """The logits of the token that comes next: (B, V). Nothing is recorded for a backward pass.

        input_ids: (B, T); with a cache, only the ids that it has not seen. attention_mask: 0 for
        padding, which stands on the left, else 1; (B, tokens in the cache + T).
        """
        ids = self.check_ids(input_ids)
        with no_grad():
            return self.last_logits(ids, attention_mask, cache).array

    def generate(self, input_ids: Any, **options: Any) -> Any:
        """Continue input_ids (B, T); see `tinygrad_llm.generation.generate` for the options."""
        from tinygrad_llm.generation import generate

        return generate(self, input_ids, **options)

    def flops_per_token(self, context: int | None = None) -> int:
        """Floating-point operations of one training step, per token: forward and backward.

        Every weight of a matrix product costs a multiplication and an addition forward, and twice
        that backward: for the gradient of its input and for its own (Kaplan et al., "Scaling Laws
        for Neural Language Models", 2020, section 2.1). A forward pass alone is a third.
        """
        return 6 * sum(matrix.numel() for matrix in self.matrices())

    def matrices(self) -> list[Tensor]:
        """The weights (out, in) that every token is multiplied with; embeddings are looked up."""
        return [layer.weight for layer in self.modules() if isinstance(layer, nn.Linear)]

    def check_ids(self, input_ids: Any) -> np.ndarray:
        """input_ids as an array (B, T), T >= 1, every id below the vocabulary's size."""
        ids = as_ids("input_ids", input_ids)
        if ids.shape[1] == 0:
            raise ValueError(f"input_ids: shape {ids.shape} holds no token; give at least one")
        vocab_size = self.config.vocab_size
        if ids.size and (int(ids.min()) < 0 or int(ids.max()) >= vocab_size):
            row, column = np.argwhere((ids < 0) | (ids >= vocab_size))[0]
            raise IndexError(
                f"input_ids: id {ids[row, column]} at [{row}, {column}] is outside the vocabulary "
                f"of {vocab_size} (0 to {vocab_size - 1})"
            )
        return ids

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write config.json and model.safetensors into `folder`; see `models.save`."""
        from tinygrad_llm.models.checkpoints import save

        save(self, folder)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Any:
        """Read what `save` wrote, in evaluation mode; see `models.load`."""
        from tinygrad_llm.models.checkpoints import load_model

        return load_model(cls, folder)

    # Checkpoints may hold the tensors under other names or transposed: where this is so, a model
    # says here how to come and go. Both take and return {name: array}.

    @classmethod
    def to_checkpoint(cls, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return tensors

    @classmethod
    def from_checkpoint(cls, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return tensors


def as_ids(name: str, ids: Any) -> np.ndarray:
    """Integer ids from a tensor, array or nested list, as an array of shape (B, T)."""
    array = ids.array if isinstance(ids, Tensor) else np.asarray(ids)
    if array.ndim != 2:
        raise ValueError(
            f"{name}: shape {array.shape} is not accepted; use (batch, time), one row a sequence"
        )
    if array.dtype.kind not in "iu":
        if array.size:
            raise TypeError(f"{name}: dtype {array.dtype} is not accepted; ids are integers")
        array = array.astype(np.int64)  # an empty list is float64 to NumPy
    return array


def as_mask(attention_mask: Any, batch: int, length: int) -> np.ndarray | None:
    """attention_mask as bools (batch, length); None where nothing is masked."""
    if attention_mask is None:
        return None
    mask = attention_mask.array if isinstance(attention_mask, Tensor) else attention_mask
    mask = np.asarray(mask) != 0
    if mask.shape != (batch, length):
        raise ValueError(
            f"attention_mask: shape {mask.shape} is not accepted; use {(batch, length)}: one entry "
            f"for every token, those in the cache included"
        )
    return None if mask.all() else mask


def cross_entropy(logits: Tensor, targets: np.ndarray) -> Tensor:
    """The mean of -log p(target) over logits (B, T, V) and targets (B, T); -100 is left out."""
    flat = logits.reshape(math.prod(logits.shape[:2]), logits.shape[2])  # (B * T, V)
    return F.cross_entropy(flat, Tensor(targets.reshape(-1)))


def start_small(output: nn.Linear) -> None:
    """Near-equal logits at first: the loss starts at ln V, and nothing has to be unlearned."""
    nn.init.normal_(output.weight, std=0.02)
    if output.bias is not None:
        nn.init.zeros_(output.bias)


def shifted_loss(logits: Tensor, labels: Any) -> Tensor:
    """The loss of Hugging Face's `labels` (B, T): the logits at t are held against label t + 1."""
    labels = as_ids("labels", labels)
    if labels.shape != logits.shape[:2]:
        raise ValueError(f"labels: shape {labels.shape} does not fit the ids {logits.shape[:2]}")
    return cross_entropy(logits[:, :-1], labels[:, 1:])
