"""How good is a model? Its loss on held-out text, and that in bits per character."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tinygrad_llm.data import TokenCorpus, bits_per_character, evaluation_batches
from tinygrad_llm.generation.context import Inference
from tinygrad_llm.models.ngram import NGram

MOST_LOGITS = 1 << 23  # in one batch; 32 MB, and a few times that while it is computed


@dataclass(frozen=True)
class Evaluation:
    """loss: mean nats per token over `tokens` tokens, which stand for `characters` characters."""

    loss: float
    bits_per_character: float
    perplexity: float
    tokens: int
    characters: float


def evaluate(
    model: Any,
    corpus: TokenCorpus,
    context: int,
    batch_size: int | None = None,
    limit: int = 0,
) -> Evaluation:
    """The loss over the validation text, every token once a target.

    Windows of `context` tokens do not overlap, so a neural model sees on average half of it; an
    n-gram always sees its order - 1 tokens. batch_size: windows at once; as many as fit well into
    memory if left out. limit: so many tokens, from the start; 0 for all.
    """
    ids = corpus.validation[: limit or None]
    if isinstance(model, NGram):
        loss, tokens = model.evaluate(ids, context=corpus.train[-model.order :]), len(ids)
        return _evaluation(loss, tokens, corpus)
    if batch_size is None:
        batch_size = min(max(MOST_LOGITS // (context * model.config.vocab_size), 1), 64)
    total, tokens = 0.0, 0
    before = int(corpus.train[-1])  # so that the first token is predicted as well
    with Inference(model):
        for inputs, targets in evaluation_batches(ids, batch_size, context, before=before):
            # Summed in Python's float64, whatever the model computes in.
            total += model.loss(inputs, targets).item() * targets.size
            tokens += targets.size
    return _evaluation(total / tokens, tokens, corpus)


def _evaluation(loss: float, tokens: int, corpus: TokenCorpus) -> Evaluation:
    # Of a part of the text only the average number of characters per token is known.
    characters = corpus.n_validation_characters * tokens / len(corpus.validation)
    return Evaluation(
        loss=loss,
        bits_per_character=bits_per_character(loss, tokens, characters),
        perplexity=math.exp(min(loss, 700.0)),  # e^710 is no float64
        tokens=tokens,
        characters=characters,
    )
