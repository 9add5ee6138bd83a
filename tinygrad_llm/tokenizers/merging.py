"""Encoding one pretoken: start from its bytes and apply the merges, earliest learned first.

ranks: (left id, right id) -> when the pair was learned; merged: rank -> id of the joined token.
Among equal pairs the leftmost goes first. Both functions do the same; a test holds them equal.
"""

import heapq
from itertools import pairwise

Ranks = dict[tuple[int, int], int]

# Where the heap begins to pay. Nearly all pretokens are shorter: a word and its space.
LONG = 24


def merge(ids: list[int], ranks: Ranks, merged: list[int]) -> list[int]:
    """Merge until no pair of neighbours is in `ranks`. Changes `ids`; returns the result."""
    if len(ids) > LONG:
        return merge_long(ids, ranks, merged)
    never = len(merged)
    pair_ranks = [ranks.get(pair, never) for pair in pairwise(ids)]
    while pair_ranks:
        rank = min(pair_ranks)
        if rank == never:
            break
        i = pair_ranks.index(rank)  # the leftmost
        ids[i : i + 2] = [merged[rank]]
        del pair_ranks[i]
        if i > 0:
            pair_ranks[i - 1] = ranks.get((ids[i - 1], ids[i]), never)
        if i < len(pair_ranks):
            pair_ranks[i] = ranks.get((ids[i], ids[i + 1]), never)
    return ids


def merge_long(ids: list[int], ranks: Ranks, merged: list[int]) -> list[int]:
    """The same for n ids in O(n log n), where the search for the minimum would make it O(n^2).

    The ids are a doubly linked list, the candidate pairs a heap. A merge leaves the heap entries
    of the two old neighbours behind; they are recognised when they come up, by their rank.
    """
    n = len(ids)
    before = list(range(-1, n - 1))
    after = list(range(1, n + 1))
    # An entry is the one integer rank * n + position: by rank, then leftmost, and quick to compare.
    heap = [ranks[pair] * n + i for i, pair in enumerate(pairwise(ids)) if pair in ranks]
    heapq.heapify(heap)
    while heap:
        rank, i = divmod(heapq.heappop(heap), n)
        j = after[i]
        # An id of -1 was merged into its left neighbour.
        if j == n or ids[i] < 0 or ranks.get((ids[i], ids[j])) != rank:
            continue
        ids[i] = merged[rank]
        ids[j] = -1
        k = after[i] = after[j]
        if k < n:
            before[k] = i
            right = ranks.get((ids[i], ids[k]))
            if right is not None:
                heapq.heappush(heap, right * n + i)
        h = before[i]
        if h >= 0:
            left = ranks.get((ids[h], ids[i]))
            if left is not None:
                heapq.heappush(heap, left * n + h)
    return [token_id for token_id in ids if token_id >= 0]
