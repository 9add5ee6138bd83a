"""GPT-2: a stack of blocks in which every token looks back at the tokens before it.

The architecture of Radford et al., "Language Models are Unsupervised Multitask Learners" (2019),
after Vaswani et al., "Attention Is All You Need" (2017). Names of classes, fields and parameters
are those of Hugging Face's `transformers`, so that its checkpoints load by name and ours there.

Letters in the shapes: B sequences of T tokens; S tokens that can be attended to, which are those in
the cache and the T new ones; C channels (n_embd) in H heads of size D = C / H; V entries of the
vocabulary.
"""

import dataclasses
import math
import os
from typing import Any, ClassVar

import numpy as np

import tinygrad_llm.functional as F
from tinygrad_llm import nn
from tinygrad_llm.autograd import is_grad_enabled, set_grad_enabled
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.generation.cache import KVCache
from tinygrad_llm.models.base import (
    CausalLMOutput,
    LanguageModel,
    ModelConfig,
    as_mask,
    shifted_loss,
)
from tinygrad_llm.pretrained import gpt2 as names
from tinygrad_llm.tensor import Tensor

ACTIVATIONS = {
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),  # what GPT-2 was trained with
    "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "gelu": F.gelu,
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": F.tanh,
    "sigmoid": F.sigmoid,
}


@dataclasses.dataclass
class GPT2Config(ModelConfig):
    """Hugging Face's fields and defaults, which are the smallest GPT-2 (124 million parameters)."""

    vocab_size: int = 50257
    n_positions: int = 1024  # the longest sequence
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None  # width of the feed-forward layer; None is 4 * n_embd
    activation_function: str = "gelu_new"
    resid_pdrop: float = 0.1  # dropout: of what a block adds to the residual stream,
    embd_pdrop: float = 0.1  # of the embeddings,
    attn_pdrop: float = 0.1  # of the attention weights
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    scale_attn_weights: bool = True  # divide the scores by sqrt(D)
    scale_attn_by_inverse_layer_idx: bool = False  # and by the number of the layer
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256
    pad_token_id: int | None = None
    tie_word_embeddings: bool = True  # one matrix to read and to write tokens
    bias: bool = True  # nanoGPT's: False leaves the biases of all layers out

    model_type: ClassVar[str] = "gpt2"
    free: ClassVar[frozenset[str]] = frozenset(
        {"resid_pdrop", "embd_pdrop", "attn_pdrop", "initializer_range"}
        | {"bos_token_id", "eos_token_id", "pad_token_id"}
    )

    def __post_init__(self) -> None:
        self.require_sizes("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")
        if self.n_inner is not None:
            self.require_sizes("n_inner")
        self.require("n_head", self.n_embd % self.n_head == 0, f"a divisor of n_embd={self.n_embd}")
        self.require_one_of("activation_function", ACTIVATIONS)
        self.require_probabilities("resid_pdrop", "embd_pdrop", "attn_pdrop")

    @classmethod
    def from_dict(cls, values: Any, strict: bool = True) -> "GPT2Config":
        if values.get("add_cross_attention"):
            raise ConfigError("GPT2Config: add_cross_attention=True is not accepted; use False")
        return super().from_dict(values, strict)


class GPT2Attention(nn.Module):
    """Each token asks all earlier ones (query . key) and takes a weighted mean of their values."""

    def __init__(self, config: GPT2Config, layer: int):
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)
        self.attn_pdrop = config.attn_pdrop
        self.n_head = config.n_head
        self.layer = layer
        # The dot product of two random vectors of size D has variance D: divided by sqrt(D), the
        # softmax neither saturates nor flattens, whatever the size of a head.
        self.scale = (config.n_embd // config.n_head) ** -0.5 if config.scale_attn_weights else 1.0
        if config.scale_attn_by_inverse_layer_idx:
            self.scale /= layer + 1

    def forward(
        self,
        x: Tensor,
        keep: Tensor | None = None,
        cache: KVCache | None = None,
        attentions: list[Tensor] | None = None,
    ) -> Tensor:
        """x: (B, T, C) -> (B, T, C). keep: (B, 1, 1, S), False for padding, which nobody sees."""
        batch, length, width = x.shape
        heads = (batch, length, self.n_head, width // self.n_head)
        # One product for all three; the heads become a batch axis, as each attends on its own.
        q, k, v = self.c_attn(x).split(width, dim=2)  # (B, T, C) each
        q, k, v = (part.reshape(heads).transpose(1, 2) for part in (q, k, v))  # (B, H, T, D)
        past = 0  # tokens in front of those of x
        if cache is not None:
            past = cache.length
            k, v = (Tensor(a) for a in cache.update(k.array, v.array, self.layer))  # (B, H, S, D)
        y = F.scaled_dot_product_attention(
            q,
            k,
            v,
            keep,
            dropout_p=self.attn_pdrop if self.training else 0.0,
            is_causal=True,  # token t sees those up to past + t, or training would be cheating
            causal_offset=past,
            scale=self.scale,
            return_weights=attentions is not None,
        )  # (B, H, T, D)
        if attentions is not None:
            y, weights = y
            attentions.append(weights)  # (B, H, T, S)
        y = y.transpose(1, 2).reshape(batch, length, width)  # the heads side by side again
        return self.resid_dropout(self.c_proj(y))


class GPT2MLP(nn.Module):
    """Two linear layers with a non-linearity between, applied to each token on its own."""

    def __init__(self, config: GPT2Config):
        inner = config.n_inner or 4 * config.n_embd
        self.c_fc = nn.Linear(config.n_embd, inner, bias=config.bias)
        self.c_proj = nn.Linear(inner, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.resid_pdrop)
        self._act = ACTIVATIONS[config.activation_function]

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, T, C) -> (B, T, C)."""
        return self.dropout(self.c_proj(self._act(self.c_fc(x))))


class GPT2Block(nn.Module):
    """Attention, then feed-forward, each added to the residual stream that it reads from.

    Layer norm comes before each (pre-norm) and leaves the stream itself alone, so that gradients
    reach the first layer undamped (Xiong et al., "On Layer Normalization in the Transformer
    Architecture", 2020); the first Transformer had it after.
    """

    def __init__(self, config: GPT2Config, layer: int):
        self.ln_1 = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon, bias=config.bias)
        self.attn = GPT2Attention(config, layer)
        self.ln_2 = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon, bias=config.bias)
        self.mlp = GPT2MLP(config)

    def forward(self, x: Tensor, *attending: Any) -> Tensor:
        x = x + self.attn(self.ln_1(x), *attending)
        return x + self.mlp(self.ln_2(x))


class GPT2Model(nn.Module):
    """The blocks between the embeddings and the last layer norm: ids (B, T) -> (B, T, C)."""

    def __init__(self, config: GPT2Config):
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = [GPT2Block(config, layer) for layer in range(config.n_layer)]
        self.ln_f = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon, bias=config.bias)

    def forward(
        self,
        input_ids: np.ndarray,
        attention_mask: Any = None,
        position_ids: Any = None,
        cache: KVCache | None = None,
        hidden_states: list[Tensor] | None = None,
        attentions: list[Tensor] | None = None,
    ) -> Tensor:
        """Lists that are given are filled with the states and the weights of every layer."""
        batch, length = input_ids.shape
        past = 0 if cache is None else cache.length
        if past + length > self.config.n_positions:
            raise ValueError(
                f"input_ids: {past + length} tokens ({past} of them in the cache) do not fit into "
                f"n_positions={self.config.n_positions}; give fewer, or only the last ones"
            )
        mask = as_mask(attention_mask, batch, past + length)
        keep = None if mask is None else Tensor(mask[:, None, None, :])  # (B, 1, 1, S)
        if position_ids is None:
            position_ids = np.arange(past, past + length)  # (T,), the same for every row
        x = self.drop(self.wte(Tensor(input_ids)) + self.wpe(as_tensor(position_ids)))  # (B, T, C)
        for block in self.h:
            if hidden_states is not None:
                hidden_states.append(x)
            x = block(x, keep, cache, attentions)
        x = self.ln_f(x)
        if hidden_states is not None:
            hidden_states.append(x)
        return x


class GPT2LMHeadModel(LanguageModel):
    """GPT2Model with the matrix that turns its output into logits.

    >>> model = GPT2LMHeadModel(GPT2Config(vocab_size=65, n_positions=64, n_embd=128, n_head=4))
    >>> model.loss(inputs, targets).backward()
    """

    config_class: ClassVar[type[ModelConfig]] = GPT2Config

    def __init__(self, config: GPT2Config):
        self.config = config
        self.transformer = GPT2Model(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            # Press & Wolf, "Using the Output Embedding to Improve Language Models" (2017)
            self.lm_head.weight = self.transformer.wte.weight  # (V, C)
        self.initialize()

    def initialize(self) -> None:
        """GPT-2's: small normal weights, no bias, and residual branches that start smaller yet."""
        std = self.config.initializer_range
        for name, parameter in self.named_parameters():
            if name.endswith("c_proj.weight"):
                # 2 n_layer branches add to the residual stream: so scaled, their sum's variance
                # does not grow with the depth (GPT-2's paper, section 2.3).
                nn.init.normal_(parameter, std=std / math.sqrt(2 * self.config.n_layer))
            elif parameter.ndim == 2:
                nn.init.normal_(parameter, std=std)
            elif name.endswith(".bias"):
                nn.init.zeros_(parameter)

    def forward(
        self,
        input_ids: Any,
        labels: Any = None,
        attention_mask: Any = None,
        position_ids: Any = None,
        past_key_values: KVCache | None = None,
        use_cache: bool = False,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> CausalLMOutput:
        """The logits (B, T, V), and with labels (B, T) the loss of predicting labels[:, 1:].

        attention_mask: (B, S), 0 for padding. position_ids: (B, T); left out, they count from 0
        over all columns, padding included. past_key_values: a cache of tokens seen before, to
        which those of input_ids are added. With a cache no gradients are recorded.
        """
        ids = self.check_ids(input_ids)
        if use_cache and past_key_values is None:
            past_key_values = self.new_cache(len(ids))
        states: list[Tensor] | None = [] if output_hidden_states else None
        attentions: list[Tensor] | None = [] if output_attentions else None
        # The cache holds plain arrays: a gradient through them would be lost without a word.
        with set_grad_enabled(is_grad_enabled() and past_key_values is None):
            x = self.transformer(
                ids, attention_mask, position_ids, past_key_values, states, attentions
            )  # (B, T, C)
            logits = self.lm_head(x)  # (B, T, V)
            return CausalLMOutput(
                loss=None if labels is None else shifted_loss(logits, labels),
                logits=logits,
                past_key_values=past_key_values,
                hidden_states=None if states is None else tuple(states),
                attentions=None if attentions is None else tuple(attentions),
            )

    def new_cache(self, batch_size: int, max_length: int | None = None) -> KVCache:
        return KVCache(self.config.n_layer, batch_size, max_length)

    def last_logits(self, input_ids: np.ndarray, attention_mask: Any, cache: Any) -> Tensor:
        position_ids = None
        if attention_mask is not None:
            # Padding on the left takes no place: the first real token stands at position 0.
            position_ids = np.cumsum(np.asarray(attention_mask) != 0, axis=1) - 1
            position_ids = position_ids.clip(min=0)[:, -input_ids.shape[1] :]
        x = self.transformer(input_ids, attention_mask, position_ids, cache)
        return self.lm_head(x[:, -1])  # (B, V): only the last predicts the next token

    def flops_per_token(self, context: int | None = None) -> int:
        # Beside the weights: queries . keys and weights . values, with each of `context` tokens
        # (PaLM's count, Chowdhery et al. 2022, appendix B: causal masking is not subtracted).
        attention = 12 * self.config.n_layer * self.config.n_embd
        return super().flops_per_token() + attention * (context or self.config.n_positions)

    @classmethod
    def to_checkpoint(cls, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return names.to_hugging_face(tensors)

    @classmethod
    def from_checkpoint(cls, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return names.from_hugging_face(tensors)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> "GPT2LMHeadModel":
        """Load a local folder that we or `transformers` saved, in evaluation mode."""
        return cls.load(folder)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write a folder that `GPT2LMHeadModel.from_pretrained` of `transformers` reads as well."""
        self.save(folder)


def as_tensor(ids: Any) -> Tensor:
    return ids if isinstance(ids, Tensor) else Tensor(np.asarray(ids))
