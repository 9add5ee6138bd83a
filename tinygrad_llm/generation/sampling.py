"""From logits to the next token: what sharpens, cuts and punishes a distribution, and the draw.

Every processor is a function of scores (B, V), the logits or log-probabilities of V tokens, and
returns new ones; a token that is ruled out gets -inf. Names, order and meaning are those of
Hugging Face's `transformers`, down to ties. `process` applies them in that order.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

_BINS, _BINS_PER_NAT = 1024, 40  # of the histogram in _nucleus: it reaches down to exp(-25)


def temperature(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Below 1 the likely become likelier (towards 0: greedy), above 1 all become more equal.

    Ackley, Hinton & Sejnowski, "A learning algorithm for Boltzmann machines" (1985).
    """
    return scores / temperature


def repetition_penalty(
    scores: np.ndarray,
    input_ids: np.ndarray,
    penalty: float,
    padding: np.ndarray | None = None,
) -> np.ndarray:
    """Make the tokens that are in input_ids (B, T) less likely (penalty > 1), each once.

    padding (B,): so many ids at the start of each row do not count.
    Keskar et al., "CTRL" (2019), section 4.1, divide the score of such a token by the penalty.
    That would make a negative score better, which is therefore multiplied.
    """
    if padding is not None:
        # A padding id counts as the first real one, which is penalised anyway.
        first = input_ids[np.arange(len(input_ids)), padding]
        padded = np.arange(input_ids.shape[1]) < padding[:, None]
        input_ids = np.where(padded, first[:, None], input_ids)
    seen = np.take_along_axis(scores, input_ids, axis=1)  # (B, T)
    seen = np.where(seen < 0, seen * penalty, seen / penalty)
    result = scores.copy()
    # An id that occurs twice is written twice, with the same value.
    np.put_along_axis(result, input_ids, seen, axis=1)
    return result


def top_k(scores: np.ndarray, k: int, min_tokens_to_keep: int = 1) -> np.ndarray:
    """Keep the k likeliest tokens, and those that tie with the last of them.

    Fan, Lewis & Dauphin, "Hierarchical Neural Story Generation" (2018).
    """
    vocab_size = scores.shape[-1]
    k = max(k, min_tokens_to_keep)
    if k >= vocab_size:
        return scores
    # Partitioning finds the k-th without sorting the others: O(V), not O(V log V).
    kth = np.partition(scores, vocab_size - k, axis=-1)[:, vocab_size - k, None]  # (B, 1)
    return np.where(scores < kth, -np.inf, scores)


def top_p(scores: np.ndarray, p: float, min_tokens_to_keep: int = 1) -> np.ndarray:
    """Keep the nucleus: the fewest tokens, likeliest first, whose probabilities reach p.

    Holtzman et al., "The Curious Case of Neural Text Degeneration" (2020).
    """
    probabilities = softmax(scores)
    result = np.full_like(scores, -np.inf)
    for row in range(len(scores)):
        kept = _nucleus(scores[row], probabilities[row], p, min_tokens_to_keep)
        result[row, kept] = scores[row, kept]
    return result


def _nucleus(
    scores: np.ndarray, probabilities: np.ndarray, p: float, min_tokens_to_keep: int
) -> np.ndarray:
    """Which of scores (V,) to keep: indices, in no order.

    Seen from the other end: the unlikeliest tokens go that together make up no more than 1 - p.
    Sorting all V tokens would tell, but where the edge is, shows already in a histogram: bins of
    scores are in or out as a whole, but for one, whose tokens are sorted. O(V), not O(V log V).

    By hand, for p = 0.9; below: the probability of a token and of all less likely ones.

        score          3      2      1      0
        probability    0.644  0.237  0.087  0.032
        below          1.000  0.356  0.119  0.032
        below > 0.1    keep   keep   keep   drop
        bin            0      40     80     120    (3 - score) * 40; the edge is bin 80
    """
    removable = probabilities.dtype.type(1 - p)
    bins = np.minimum((scores.max() - scores) * _BINS_PER_NAT, _BINS - 1).astype(np.int64)
    mass = np.bincount(bins, probabilities, _BINS)  # float64; the likeliest bin first
    below_bins = np.cumsum(mass[::-1])[::-1]  # of each bin and all less likely ones
    # Rounded before it is compared, so that 0.1 + 0.1 is no more than 1 - 0.8.
    edge = np.count_nonzero(below_bins.astype(probabilities.dtype) > removable) - 1
    at_edge = np.flatnonzero(bins == edge)
    order = at_edge[np.argsort(scores[at_edge], kind="stable")]  # least likely first
    tail = below_bins[edge + 1] if edge + 1 < _BINS else 0.0
    below = tail + np.cumsum(probabilities[order], dtype=np.float64)
    keep = order[below.astype(probabilities.dtype) > removable]
    keep = np.append(np.flatnonzero(bins < edge), keep)
    if len(keep) < min_tokens_to_keep:
        return np.argsort(scores, kind="stable")[-min_tokens_to_keep:]
    return keep


def min_p(scores: np.ndarray, p: float, min_tokens_to_keep: int = 1) -> np.ndarray:
    """Keep the tokens at least p times as likely as the likeliest: many if unsure, few if sure.

    Nguyen et al., "Turning Up the Heat: Min-p Sampling for Creative and Coherent LLM Outputs"
    (2024).
    """
    probabilities = softmax(scores)
    keep = probabilities >= p * probabilities.max(axis=-1, keepdims=True)
    if min_tokens_to_keep > 1:
        for row, kept in zip(scores, keep, strict=True):
            kept[best(row, min_tokens_to_keep)] = True
    return np.where(keep, scores, -np.inf)


def process(
    scores: np.ndarray,
    input_ids: np.ndarray,
    config: Any,
    padding: np.ndarray | None = None,
    min_tokens_to_keep: int = 1,
) -> np.ndarray:
    """All processors that a GenerationConfig asks for, in Hugging Face's order.

    The order matters: the temperature comes before the cuts, as it changes what a nucleus is.
    """
    if config.repetition_penalty != 1:
        scores = repetition_penalty(scores, input_ids, config.repetition_penalty, padding)
    if config.do_sample:
        if config.temperature != 1:
            scores = temperature(scores, config.temperature)
        if config.top_k:
            scores = top_k(scores, config.top_k, min_tokens_to_keep)
        if config.top_p is not None and config.top_p < 1:
            scores = top_p(scores, config.top_p, min_tokens_to_keep)
        if config.min_p is not None:
            scores = min_p(scores, config.min_p, min_tokens_to_keep)
    return scores


def softmax(scores: np.ndarray) -> np.ndarray:
    """exp(scores), normalised along the last axis; the maximum is subtracted against overflow."""
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def log_softmax(scores: np.ndarray) -> np.ndarray:
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def sample(
    probabilities: np.ndarray, generator: np.random.Generator | Sequence[np.random.Generator]
) -> np.ndarray:
    """Draw one token for each row of probabilities (B, V): (B,) int64.

    generator: one for all rows, or one for each, so that a row's draw depends on no other row.
    By inversion: a uniform number falls on the ladder of cumulated probabilities. Rows need not
    sum to exactly 1. A token of probability 0 is never drawn.
    """
    ladder = np.cumsum(probabilities, axis=-1, dtype=np.float64)  # (B, V)
    total = ladder[:, -1:]
    if not (np.isfinite(total).all() and (total > 0).all()):
        raise ValueError(
            "sample: probabilities must be finite, at least 0, and not all 0 in any row"
        )
    if isinstance(generator, np.random.Generator):
        uniform = generator.random(len(probabilities))  # [0, 1)
    else:
        uniform = np.array([g.random() for g in generator])
    # The height is below the top, also when rounded, as uniform is at most 1 - 2**-53.
    return np.argmax(ladder > uniform[:, None] * total, axis=-1)


def best(scores: np.ndarray, count: int) -> np.ndarray:
    """The indices of the `count` greatest of scores (N,), greatest first; ties: lowest index."""
    count = min(count, len(scores))
    kth = np.partition(scores, len(scores) - count)[len(scores) - count]
    candidates = np.flatnonzero(scores >= kth)
    return candidates[np.argsort(-scores[candidates], kind="stable")][:count]
