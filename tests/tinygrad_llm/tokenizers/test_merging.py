import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.tokenizers.merging import LONG, merge, merge_long


def merge_slowly(ids, ranks, merged):
    """What BPE says, word for word: of all pairs there are, merge the earliest, leftmost one."""
    ids = list(ids)
    while True:
        found = [(ranks[pair], i) for i, pair in enumerate(zip(ids, ids[1:])) if pair in ranks]
        if not found:
            return ids
        rank, i = min(found)
        ids[i : i + 2] = [merged[rank]]


def random_merges(rng, n_bytes, n_merges):
    """Merges over the ids 0 to n_bytes - 1, in an order that no training would give."""
    ranks, merged = {}, []
    ids = list(range(n_bytes))
    while len(merged) < n_merges:
        pair = rng.choice(ids), rng.choice(ids)
        if pair not in ranks:
            ranks[pair] = len(merged)
            merged.append(len(ids))
            ids.append(len(ids))
    shuffled = rng.sample(range(n_merges), n_merges)
    ranks = {pair: shuffled[rank] for pair, rank in ranks.items()}
    return ranks, [merged[shuffled.index(rank)] for rank in range(n_merges)]


@given(seed=st.integers(0, 10**6), length=st.integers(0, 3 * LONG))
def test_both_ways_equal_the_definition(seed, length):
    rng = random.Random(seed)
    n_bytes = rng.randint(1, 4)
    ranks, merged = random_merges(rng, n_bytes, rng.randint(0, min(12, n_bytes**2)))
    ids = [rng.randrange(n_bytes) for _ in range(length)]
    expected = merge_slowly(ids, ranks, merged)
    assert merge(list(ids), ranks, merged) == expected
    assert merge_long(list(ids), ranks, merged) == expected


def test_leftmost_of_equal_pairs():
    ranks, merged = {(0, 0): 0}, [1]
    assert merge([0, 0, 0], ranks, merged) == [1, 0]
    assert merge_long([0, 0, 0], ranks, merged) == [1, 0]


@pytest.mark.parametrize("function", [merge, merge_long])
@pytest.mark.parametrize("ids", [[], [0]])
def test_nothing_to_merge(function, ids):
    assert function(list(ids), {(0, 0): 0}, [1]) == ids


@pytest.mark.parametrize("text", ["a" * 200_000, "ab" * 100_000])
def test_time_does_not_grow_with_the_square(small, text):
    start = time.process_time()
    ids = small.encode(text)
    # 0.3 s here; a search for the minimum at each merge would take hours.
    assert time.process_time() - start < 10
    assert small.decode(ids) == text


def test_a_long_pretoken_of_random_letters(small):
    rng = random.Random(5)
    text = "".join(rng.choice("abcdefgh") for _ in range(200_000))
    start = time.process_time()
    ids = small.encode(text)
    assert time.process_time() - start < 10
    assert small.decode(ids) == text
    # Merges depend on what is near, so the beginning can be checked with the slow definition.
    head = [small._byte_ids[byte] for byte in text[:400].encode()]
    expected = merge_slowly(head, small._ranks, small._merged)
    assert ids[: len(expected) - 10] == expected[:-10]
