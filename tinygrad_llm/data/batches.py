"""From a long row of tokens to (inputs, targets), and from losses to bits per character."""

import math
from collections.abc import Iterator

import numpy as np

from tinygrad_llm.errors import DataError


def split(tokens: np.ndarray, validation: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """The first part for training and the rest for validation, as views: (train, validation).

    validation: the share that is held out. It is the end, and not a random choice, because
    neighbouring tokens tell much of each other.
    """
    cut = split_point(len(tokens), validation)
    return tokens[:cut], tokens[cut:]


def split_point(length: int, validation: float) -> int:
    """Where the held-out end begins: nanoGPT's int(length * (1 - validation))."""
    if not 0 <= validation < 1:
        raise ValueError(f"split: validation={validation} is not accepted; use 0 <= share < 1")
    return int(length * (1 - validation))


def batch(
    tokens: np.ndarray, batch_size: int, context: int, seed: int, step: int
) -> tuple[np.ndarray, np.ndarray]:
    """Random windows of the text: (inputs, targets), int64, each of shape (batch_size, context).

    targets[:, t] is the token that follows inputs[:, t]. The batch depends on (seed, step) alone,
    so that a resumed run sees the same batches without any state having been saved.
    Raises DataError if the text is shorter than context + 1 tokens.
    """
    if batch_size < 1 or context < 1:
        raise ValueError(f"batch: {batch_size=} and {context=} must be at least 1")
    if not (0 <= seed < 2**64 and 0 <= step < 2**64):
        raise ValueError(f"batch: {seed=} and {step=} must be from 0 to 2**64 - 1")
    choices = len(tokens) - context  # of a beginning that leaves room for the last target
    if choices < 1:
        raise DataError(
            f"the text has {len(tokens):,} tokens, too few for a context of {context:,}: at least "
            f"{context + 1:,} are needed. Use a longer text or a shorter context"
        )
    # A counter-based generator (Salmon et al. 2011) keyed by (seed, step) needs no warming up.
    # Its raw numbers are the same in every NumPy; those of Generator.integers need not be.
    random = np.random.Philox(key=np.array([seed, step], np.uint64))
    starts = (random.random_raw(batch_size) % np.uint64(choices)).astype(np.int64)  # (B,)
    windows = np.asarray(tokens)[starts[:, None] + np.arange(context + 1)].astype(np.int64)
    return windows[:, :-1], windows[:, 1:]  # (B, T) each


def evaluation_batches(
    tokens: np.ndarray, batch_size: int, context: int, *, before: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All of a text in order, each token exactly once a target: (inputs, targets), int64, (B, T).

    before: the token that stands before the text (the last one of the training text), so that
    the first token is predicted as well; without it the first token is only an input.
    Windows do not overlap. The last batches may have fewer rows, and the very last window fewer
    columns, so a mean over the text must weigh each batch by targets.size.
    Raises DataError if there is nothing to predict.
    """
    if batch_size < 1 or context < 1:
        raise ValueError(f"evaluation_batches: {batch_size=} and {context=} must be at least 1")
    first = 0 if before is None else -1
    n_targets = len(tokens) - 1 - first
    if n_targets < 1:
        raise DataError(f"a text of {len(tokens)} tokens has nothing to predict")
    return _evaluation_batches(tokens, batch_size, context, before, n_targets)


def _evaluation_batches(
    tokens: np.ndarray, batch_size: int, context: int, before: int | None, n_targets: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    first = 0 if before is None else -1  # the index of the first input
    done = 0
    while done < n_targets:
        left = n_targets - done
        rows, columns = (
            (min(batch_size, left // context), context) if left >= context else (1, left)
        )
        start = first + done
        piece = np.asarray(tokens[max(start, 0) : start + rows * columns + 1]).astype(np.int64)
        if start < 0:
            piece = np.concatenate([[before], piece])
        yield piece[:-1].reshape(rows, columns), piece[1:].reshape(rows, columns)
        done += rows * columns


def bits_per_character(mean_loss: float, n_tokens: int, n_characters: float) -> float:
    """The loss in bits per character of text, the axis on which all models are compared.

    mean_loss: nats per token, over n_tokens predicted tokens, which stand for n_characters. A
    tokenizer that makes fewer tokens has more to say with each, so nats per token of different
    tokenizers cannot be compared; the information in the same text can.
    """
    if not n_characters > 0:
        raise ValueError(f"bits_per_character: n_characters={n_characters} must be above 0")
    return mean_loss * n_tokens / (n_characters * math.log(2))
