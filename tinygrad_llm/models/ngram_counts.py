"""Counting n-grams with sorted arrays: no dictionary, and no Python loop over the text.

The k-grams of one length k are a `Level`, sorted. A gram is named by its place in its level, and
its key is

    key = (place of its first k - 1 tokens in the level before) * vocab_size + its last token

so that a key fits in 64 bits whatever k is, the grams that share their first k - 1 tokens (their
"context") lie side by side, and looking one up is a binary search. Level 0 would have one gram,
the empty one, at place 0: it is the context of every single token.
"""

import itertools
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Level:
    """All distinct k-grams of a text for one k, and how often each occurs."""

    keys: np.ndarray  # (n,) int64, strictly increasing
    counts: np.ndarray  # (n,) int64, all >= 1
    vocab_size: int
    n_contexts: int  # the number of grams in the level before

    @property
    def contexts(self) -> np.ndarray:
        """(n,) int64: the place of each gram's first k - 1 tokens in the level before."""
        return self.keys // self.vocab_size

    @property
    def tokens(self) -> np.ndarray:
        """(n,) int64: the last token of each gram."""
        return self.keys % self.vocab_size

    def find(self, contexts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """The places of grams given by context and last token, int64; -1 where there is none."""
        keys = contexts * self.vocab_size + tokens  # negative where the context is -1
        places = np.searchsorted(self.keys, keys)
        places[places == len(self.keys)] = 0  # past the end: compare with any other key
        return np.where(self.keys[places] == keys, places, -1)

    def sum_by_context(self, values: np.ndarray) -> np.ndarray:
        """(n_contexts,) float64: the sum of `values` (n,) over the grams of each context."""
        return np.bincount(self.contexts, values, minlength=self.n_contexts)

    def starts(self) -> np.ndarray:
        """(n_contexts + 1,): the grams of context c are those at starts[c] : starts[c + 1]."""
        return np.searchsorted(self.keys, np.arange(self.n_contexts + 1) * self.vocab_size)


def count(ids: np.ndarray, order: int, vocab_size: int) -> list[Level]:
    """The levels 1 .. order of ids, int64, of shape (N,) with N >= order."""
    levels = []
    contexts = np.zeros(len(ids), np.int64)  # of ids[k - 1 :]: the k - 1 tokens before each
    n_contexts = 1
    for k in range(1, order + 1):
        keys = contexts * vocab_size + ids[k - 1 :]  # (N - k + 1,)
        keys, places, counts = np.unique(keys, return_inverse=True, return_counts=True)
        levels.append(Level(keys, counts, vocab_size, n_contexts))
        contexts, n_contexts = places[:-1], len(keys)
    return levels


def suffixes(levels: list[Level]) -> list[np.ndarray]:
    """For each level, where each gram without its first token is found in the level before.

    For "the cat sat" that is the place of "cat sat". Everything counted has one.
    """
    places = [np.zeros(len(levels[0].keys), np.int64)]  # of single tokens: the empty gram
    for before, level in itertools.pairwise(levels):
        # "the cat sat" is "the cat" and "sat"; drop "the" from "the cat", then look up "cat sat".
        places.append(before.find(places[-1][level.contexts], level.tokens))
    return places
