"""The recurrent language model: a state of fixed size that is carried from token to token.

Mikolov et al., "Recurrent neural network based language model", Interspeech 2010. It has no window:
in principle the state can hold anything that was ever read; in practice, what the gradient reached.
Training on pieces of a long text, one after the other, with the state carried over but not its
history, is truncated backpropagation through time (Williams & Peng 1990):

    state = None
    for inputs, labels in pieces:
        out = model(inputs, labels=labels, past_key_values=state, use_cache=True)
        out.loss.backward()
        state = out.past_key_values.detach()
"""

import dataclasses
from typing import Any, ClassVar

import numpy as np

from tinygrad_llm import nn
from tinygrad_llm.models.base import (
    CausalLMOutput,
    LanguageModel,
    ModelConfig,
    as_mask,
    shifted_loss,
    start_small,
)
from tinygrad_llm.models.recurrent import GATES, Recurrent, RecurrentState
from tinygrad_llm.tensor import Tensor


@dataclasses.dataclass
class RNNConfig(ModelConfig):
    vocab_size: int = 256
    n_embd: int = 128
    n_hidden: int = 256
    n_layer: int = 1
    cell: str = "rnn"  # "rnn" (Elman's), "lstm" or "gru"
    dropout: float = 0.0  # of the embeddings, between layers, and of the last states
    tie_word_embeddings: bool = False  # one matrix to read and to write; needs n_embd == n_hidden
    n_positions: int | None = None  # the window it is trained on; longer texts are no problem

    model_type: ClassVar[str] = "rnn"
    free: ClassVar[frozenset[str]] = frozenset({"dropout", "n_positions"})

    def __post_init__(self) -> None:
        self.require_sizes("vocab_size", "n_embd", "n_hidden", "n_layer")
        self.require_one_of("cell", GATES)
        self.require_probabilities("dropout")
        if self.tie_word_embeddings:
            ok = self.n_embd == self.n_hidden
            self.require("tie_word_embeddings", ok, "False, or the same n_embd and n_hidden")
        if self.n_positions is not None:
            self.require_sizes("n_positions")


class RNNLanguageModel(LanguageModel):
    """Embedding, recurrent layers, and a matrix from the state to the logits."""

    config_class: ClassVar[type[ModelConfig]] = RNNConfig

    def __init__(self, config: RNNConfig):
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.dropout = nn.Dropout(config.dropout)
        self.rnn = Recurrent(
            config.cell, config.n_embd, config.n_hidden, config.n_layer, config.dropout
        )
        self.output = nn.Linear(config.n_hidden, config.vocab_size)
        if config.tie_word_embeddings:
            self.output.weight = self.embedding.weight
        start_small(self.output)
        # Remember until told otherwise. Without gates a state fades (or grows) by the matrix at
        # every step: let it keep lengths at first (Saxe et al. 2014). Forget gates that start half
        # closed lose everything within a few steps (Jozefowicz et al. 2015).
        for layer in range(config.n_layer):
            if config.cell == "rnn":
                nn.init.orthogonal_(getattr(self.rnn, f"weight_hh_l{layer}"))
            elif config.cell == "lstm":
                bias = getattr(self.rnn, f"bias_ih_l{layer}").array  # (4H,): i, f, g, o
                bias[config.n_hidden : 2 * config.n_hidden] += 1

    def forward(
        self,
        input_ids: Any,
        labels: Any = None,
        attention_mask: Any = None,
        position_ids: Any = None,
        past_key_values: RecurrentState | None = None,
        use_cache: bool = False,
    ) -> CausalLMOutput:
        """The logits (B, T, V), and with labels (B, T) the loss of predicting labels[:, 1:].

        attention_mask: (B, tokens in the state + T), 0 for padding on the left. past_key_values:
        the state to begin with; use_cache: return the state to go on with. Gradients flow through
        it, until `detach()`. position_ids has no use here.
        """
        ids = self.check_ids(input_ids)
        batch, length = ids.shape
        state = past_key_values
        past = 0 if state is None else state.length
        keep = as_mask(attention_mask, batch, past + length)
        if keep is not None:
            keep = keep[:, past:]
        x = self.dropout(self.embedding(Tensor(ids)))  # (B, T, E)
        x, state = self.rnn(x, state, keep)  # (B, T, H)
        logits = self.output(self.dropout(x))  # (B, T, V)
        return CausalLMOutput(
            loss=None if labels is None else shifted_loss(logits, labels),
            logits=logits,
            past_key_values=state if use_cache else None,
        )

    def new_cache(self, batch_size: int, max_length: int | None = None) -> RecurrentState:
        return self.rnn.zero_state(batch_size)

    def last_logits(self, input_ids: np.ndarray, attention_mask: Any, cache: Any) -> Tensor:
        past = 0 if cache is None else cache.length
        keep = as_mask(attention_mask, len(input_ids), past + input_ids.shape[1])
        x = self.embedding(Tensor(input_ids))
        x, state = self.rnn(x, cache, None if keep is None else keep[:, past:])
        if cache is not None:
            cache.h, cache.c, cache.length = state.h, state.c, state.length
        return self.output(x[:, -1])

    def matrices(self) -> list[Tensor]:
        return [*super().matrices(), *(p for p in self.rnn.parameters() if p.ndim == 2)]
