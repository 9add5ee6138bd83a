"""From counts to probabilities that leave something for what was never seen.

Every method here has one form. With h the context of a token w, and h' the context without its
first token,

    p_k(w | h) = gain(h w) + keep(h) * p_(k-1)(w | h')          p_0(w) = 1 / vocab_size

where gain is zero for what was not counted, and keep is the share of probability that the context
passes down. The methods differ only in how they make gain and keep from the counts.

Sources: F. Jelinek and R. L. Mercer, "Interpolated estimation of Markov source parameters from
sparse data" (1980); R. Kneser and H. Ney, "Improved backing-off for m-gram language modeling"
(1995); S. F. Chen and J. Goodman, "An empirical study of smoothing techniques for language
modeling" (1998, TR-10-98), from which the discounts of Kneser-Ney are taken.
"""

from dataclasses import dataclass

import numpy as np

from tinygrad_llm.models.ngram_counts import Level, suffixes

N_BUCKETS = 16  # of contexts by the logarithm of how often they were seen


@dataclass(frozen=True)
class Smoothed:
    """One level's part of the formula above."""

    gain: np.ndarray  # (n grams,) float64
    keep: np.ndarray  # (n contexts,) float64


def add_k(levels: list[Level], k: float) -> list[Smoothed]:
    """As if each token had been seen k more times in each context (k = 1 is Laplace's).

    p(w | h) = (c(h w) + k) / (c(h) + k V): what is passed down goes to all tokens alike, so the
    lower levels play no part (the model then skips them).
    """
    smoothed = []
    for level in levels:
        total = level.sum_by_context(level.counts) + k * level.vocab_size
        gain = level.counts / total[level.contexts]
        smoothed.append(Smoothed(gain, k * level.vocab_size / total))
    return smoothed


def interpolation(levels: list[Level], weights: np.ndarray) -> list[Smoothed]:
    """Jelinek-Mercer: weight * c(h w) / c(h) + (1 - weight) * p(w | h').

    weights: (order, N_BUCKETS), from `estimate_weights`: contexts seen more often deserve more.
    """
    smoothed = []
    for level, weight in zip(levels, weights, strict=True):
        total = level.sum_by_context(level.counts)
        share = weight[_bucket(total)]  # (n contexts,)
        # A context that only ended the text was never followed by anything.
        share = np.where(total > 0, share, 0.0)
        gain = level.counts * (share / np.maximum(total, 1))[level.contexts]
        smoothed.append(Smoothed(gain, 1 - share))
    return smoothed


def estimate_weights(levels: list[Level], heldout: np.ndarray, steps: int = 30) -> np.ndarray:
    """The weights (order, N_BUCKETS) that make held-out ids (N,) most probable, level by level.

    Expectation maximisation: how likely was each token drawn from this level and not from the
    ones below? The mean of that over a bucket is its next weight. A bucket without data keeps 1/2.
    """
    weights = np.full((len(levels), N_BUCKETS), 0.5)
    lower = np.full(len(heldout), 1 / levels[0].vocab_size)  # p_(k-1) of each held-out token
    contexts = np.zeros(len(heldout), np.int64)
    for k, level in enumerate(levels):
        total = level.sum_by_context(level.counts)
        grams = level.find(contexts, heldout[k:])
        known = (contexts >= 0) & (total[contexts] > 0)  # else this level has nothing to say
        here = np.where(grams >= 0, level.counts[grams], 0)[known] / total[contexts[known]]
        below = lower[k:][known]
        bucket = _bucket(total[contexts[known]])
        number = np.bincount(bucket, minlength=N_BUCKETS)
        for _ in range(steps):
            weight = weights[k, bucket]
            drawn = weight * here / (weight * here + (1 - weight) * below)
            sums = np.bincount(bucket, drawn, minlength=N_BUCKETS)
            # Never quite 1, or one unseen token would have no probability at all.
            mean = np.clip(sums / np.maximum(number, 1), 0, 0.999)
            weights[k] = np.where(number > 0, mean, weights[k])
        weight = weights[k, bucket]
        lower[k:][known] = weight * here + (1 - weight) * below
        contexts = grams[:-1]
    return weights


def kneser_ney(levels: list[Level], modified: bool) -> list[Smoothed]:
    """Interpolated Kneser-Ney: subtract a discount from each count, and pass down its sum.

    Below the highest level a gram counts not how often it occurs but in how many different
    contexts: "Francisco" is frequent, yet only after "San". modified: discounts of their own for
    counts of 1, 2, and 3 or more.
    """
    after = suffixes(levels)
    smoothed = []
    for k, level in enumerate(levels):
        if k + 1 < len(levels):
            # N1+(. h w), the number of distinct tokens seen before the gram. It is 0 for a gram
            # that stands only at the very beginning of the text.
            counts = np.bincount(after[k + 1], minlength=len(level.keys))
        else:
            counts = level.counts
        cut = discounts(counts, modified)[np.minimum(counts, 3)]  # never more than the count
        total = level.sum_by_context(counts)
        some = np.maximum(total, 1)
        passed_down = np.where(total > 0, level.sum_by_context(cut) / some, 1.0)
        smoothed.append(Smoothed((counts - cut) / some[level.contexts], passed_down))
    return smoothed


def discounts(counts: np.ndarray, modified: bool) -> np.ndarray:
    """What to subtract from counts of 0, 1, 2, and 3 or more: (4,) float64.

    With n_i the number of grams that were counted i times (Chen and Goodman, equation 26):
    D = n1 / (n1 + 2 n2);  modified: D_i = i - (i + 1) D n_(i+1) / n_i.
    Where the text is too small or too regular to tell (some n_i is zero), 1/2, 1 and 3/2 serve.
    """
    n = np.bincount(np.minimum(counts, 5), minlength=6).astype(float)
    if not n[1] or not n[2]:
        return np.array([0, 0.5, 1, 1.5]) if modified else np.array([0, 0.5, 0.5, 0.5])
    base = n[1] / (n[1] + 2 * n[2])
    if not modified:
        return np.array([0, base, base, base])
    found = [0.0]
    for i, fallback in ((1, 0.5), (2, 1.0), (3, 1.5)):
        value = i - (i + 1) * base * n[i + 1] / n[i] if n[i] and n[i + 1] else fallback
        found.append(value if 0 < value <= i else fallback)
    return np.array(found)


def _bucket(totals: np.ndarray) -> np.ndarray:
    return np.minimum(np.log2(np.maximum(totals, 1)), N_BUCKETS - 1).astype(np.int64)
