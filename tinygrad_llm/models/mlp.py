"""The neural n-gram: the next token from the last order - 1 tokens, through a small network.

Bengio et al., "A Neural Probabilistic Language Model", JMLR 2003. An n-gram table knows nothing of
two contexts that are alike but not equal. Here every token has a vector; contexts whose vectors
are near get similar predictions, and what is learned of one is known of all its neighbours.
"""

import dataclasses
from typing import Any, ClassVar

import numpy as np

import tinygrad_llm.functional as F
from tinygrad_llm import nn
from tinygrad_llm.models.base import (
    CausalLMOutput,
    LanguageModel,
    ModelConfig,
    as_mask,
    shifted_loss,
    start_small,
)
from tinygrad_llm.tensor import Tensor

ACTIVATIONS = {"tanh": F.tanh, "relu": F.relu, "sigmoid": F.sigmoid, "gelu": F.gelu}


@dataclasses.dataclass
class MLPConfig(ModelConfig):
    """order is the n of n-gram: the model looks at order - 1 tokens, and predicts one."""

    vocab_size: int = 256
    order: int = 9
    n_embd: int = 32
    n_hidden: int = 256
    activation: str = "tanh"  # Bengio's; relu, sigmoid and gelu to compare
    direct: bool = False  # Bengio's W: also connect the embeddings to the output directly
    dropout: float = 0.0  # of the hidden layer
    n_positions: int | None = None  # the window it is trained on; longer texts are no problem

    model_type: ClassVar[str] = "mlp"
    free: ClassVar[frozenset[str]] = frozenset({"dropout", "n_positions"})

    def __post_init__(self) -> None:
        self.require_sizes("vocab_size", "order", "n_embd", "n_hidden")
        self.require("order", self.order >= 2, "at least 2: one token to look at, one to predict")
        self.require_one_of("activation", ACTIVATIONS)
        self.require_probabilities("dropout")
        if self.n_positions is not None:
            self.require_sizes("n_positions")


class MLPLanguageModel(LanguageModel):
    """embed the last order - 1 tokens, put the vectors side by side, one hidden layer, logits."""

    config_class: ClassVar[type[ModelConfig]] = MLPConfig

    def __init__(self, config: MLPConfig):
        self.config = config
        looked_at = (config.order - 1) * config.n_embd
        # One more row than tokens, for "before the beginning".
        self.embedding = nn.Embedding(config.vocab_size + 1, config.n_embd)
        self.hidden = nn.Linear(looked_at, config.n_hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.n_hidden, config.vocab_size)
        self.direct = nn.Linear(looked_at, config.vocab_size, bias=False) if config.direct else None
        self._activation = ACTIVATIONS[config.activation]
        start_small(self.output)
        if self.direct is not None:
            start_small(self.direct)

    def forward(
        self,
        input_ids: Any,
        labels: Any = None,
        attention_mask: Any = None,
        position_ids: Any = None,
        past_key_values: None = None,
        use_cache: bool = False,
    ) -> CausalLMOutput:
        """The logits (B, T, V), and with labels (B, T) the loss of predicting labels[:, 1:].

        attention_mask: (B, T), 0 for padding, which is as if there were nothing. position_ids,
        past_key_values and use_cache are taken as by the other models, and have no use here.
        """
        ids = self.check_ids(input_ids)
        batch, length = ids.shape
        keep = as_mask(attention_mask, batch, length)
        if keep is not None:
            ids = np.where(keep, ids, self.config.vocab_size)
        x = self.embedding(Tensor(self.windows(ids)))  # (B, T, order - 1, E)
        x = x.reshape(batch, length, self.hidden.weight.shape[1])
        logits = self.output(self.dropout(self._activation(self.hidden(x))))  # (B, T, V)
        if self.direct is not None:
            logits = logits + self.direct(x)
        return CausalLMOutput(None if labels is None else shifted_loss(logits, labels), logits)

    def windows(self, ids: np.ndarray) -> np.ndarray:
        """The last order - 1 ids of every position: (B, T) -> (B, T, order - 1)."""
        nothing = np.full((len(ids), self.config.order - 2), self.config.vocab_size, ids.dtype)
        padded = np.concatenate([nothing, ids], axis=1)
        return np.lib.stride_tricks.sliding_window_view(padded, self.config.order - 1, axis=1)

    def last_logits(self, input_ids: np.ndarray, attention_mask: Any, cache: Any) -> Tensor:
        # All that counts: the time of a token is the same however long the text is.
        seen = slice(-(self.config.order - 1), None)
        mask = as_mask(attention_mask, *input_ids.shape)
        keep = None if mask is None else mask[:, seen]
        return self(input_ids[:, seen], attention_mask=keep).logits[:, -1]
