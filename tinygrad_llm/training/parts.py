"""From a configuration to what it names: the tokenizer and the untrained model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinygrad_llm import data, models, tokenizers
from tinygrad_llm.data.batches import split_point
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.models.ngram import NGram
from tinygrad_llm.training.config import TrainConfig


def make_tokenizer(config: TrainConfig) -> Any:
    """The tokenizer a configuration names, trained on its text if it is a new one.

    The characters of the whole text are known, or the held-out part could not be encoded. Byte
    pairs are learned from the training part alone: nothing held out may help to predict it.
    """
    if config.tokenizer == "char":
        return tokenizers.CharTokenizer.train(data.iter_text(config.data))
    if config.tokenizer == "bpe":
        return tokenizers.Tokenizer.train(training_text(config), config.vocab_size)
    if not Path(config.tokenizer).exists():
        raise ConfigError(
            f"tokenizer={config.tokenizer!r} is not accepted; it must be char, bpe, or a folder "
            f"with a saved tokenizer (tllm tokenizer train makes one)"
        )
    return tokenizers.load(config.tokenizer)


def training_text(config: TrainConfig) -> Iterator[str]:
    """The text without its held-out end, in pieces."""
    left = split_point(sum(map(len, data.iter_text(config.data))), config.validation)
    for piece in data.iter_text(config.data):
        if left <= 0:
            return
        yield piece[:left]
        left -= len(piece)


def end_of_text(tokenizer: Any) -> int | None:
    """The id of the mark that ends a text, if the tokenizer has one."""
    return getattr(tokenizer, "special_tokens", {}).get("<|endoftext|>")


def build(config: TrainConfig, vocab_size: int, end_of_text: int | None = None) -> Any:
    """The untrained model that a configuration describes.

    end_of_text: kept in the checkpoint, so that generation ends there (GPT-2's default, 50256,
    would be any other token here, or none).
    """
    if config.model == "ngram":
        return NGram(config.order, vocab_size, config.smoothing)
    if config.model == "gpt":
        return models.build(
            "gpt2", vocab_size=vocab_size, n_positions=config.context, n_embd=config.n_embd,
            n_layer=config.n_layer, n_head=config.n_head, resid_pdrop=config.dropout,
            embd_pdrop=config.dropout, attn_pdrop=config.dropout, bias=config.bias,
            bos_token_id=end_of_text, eos_token_id=end_of_text,
        )  # fmt: skip
    if config.model == "mlp":
        return models.build(
            "mlp", vocab_size=vocab_size, n_positions=config.context, order=config.order,
            n_embd=config.n_embd, n_hidden=config.n_hidden, activation=config.activation,
            dropout=config.dropout,
        )  # fmt: skip
    return models.build(
        "rnn", cell=config.model, vocab_size=vocab_size, n_positions=config.context,
        n_embd=config.n_embd, n_hidden=config.n_hidden, n_layer=config.n_layer,
        dropout=config.dropout,
    )  # fmt: skip


def check_lengths(config: TrainConfig, corpus: data.TokenCorpus) -> None:
    """Before anything is built: a text that is too short should not cost a minute to find out."""
    setting = "order" if config.model == "ngram" else "context"
    needed = config.order if config.model == "ngram" else config.context + 1
    if len(corpus.train) < needed:
        raise ConfigError(
            f"the training part of {config.data} has {len(corpus.train):,} tokens, but "
            f"{setting}={getattr(config, setting)} needs at least {needed:,}. Use a longer text or "
            f"a smaller {setting}"
        )
