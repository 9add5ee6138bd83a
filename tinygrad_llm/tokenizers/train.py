"""Training byte-level BPE: merge the most frequent pair of neighbours, again and again.

Sennrich, Haddow and Birch 2016 (merges), Radford et al. 2019 (on bytes). The obvious program
counts all pairs of the whole text for every merge. This one
- counts each different pretoken once, with how often it occurs (English repeats itself);
- keeps the pair counts, and after a merge mends only those that it changed;
- finds the best pair in a heap whose entries may be out of date (see `learn_merges`).

Example: "low lower" has the pretokens "low" and " lower", each once. The pairs "l o" and "o w"
occur twice, " l", "w e" and "e r" once. Of the two, "o w" is the greater (o > l): the first merge
is "ow". Now "l o" and "o w" are gone, "w e" has become "ow e", and "l ow" occurs twice: the second
merge is "low".
"""

import heapq
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from itertools import pairwise

from tinygrad_llm.errors import DataError, TokenizerError
from tinygrad_llm.tokenizers.split import GPT2_PATTERN, Splitter
from tinygrad_llm.tokenizers.text import check_text, read_blocks

Vocab = dict[int, bytes]
Merges = list[tuple[bytes, bytes]]
Progress = Callable[[int, int], None]  # called with (merges made, merges wanted)


def train_bpe(
    path: str | os.PathLike[str],
    vocab_size: int,
    special_tokens: Iterable[str] | None = None,
    pattern: str = GPT2_PATTERN,
    progress: Progress | None = None,
) -> tuple[Vocab, Merges]:
    """Learn a vocabulary of `vocab_size` tokens from a UTF-8 text file of any size.

    Ids 0 to 255 are the bytes, then come the merges in the order learned, then the special
    tokens. The text is cut at special tokens, which take no part in the counting. Of equally
    frequent pairs the greatest (as a pair of bytes objects) is merged. When no pair is left
    the vocabulary stays smaller than asked.

    Returns (vocab, merges), which is what `Tokenizer(vocab, merges, special_tokens)` takes. Raises
    TokenizerError for a vocab_size below 256 + special tokens, DataError for an empty text.
    """
    return _train(read_blocks(path), f"{path}", vocab_size, special_tokens, pattern, progress)


def train_bpe_from_text(
    text: str | Iterable[str],
    vocab_size: int,
    special_tokens: Iterable[str] | None = None,
    pattern: str = GPT2_PATTERN,
    progress: Progress | None = None,
) -> tuple[Vocab, Merges]:
    """`train_bpe` on a string, or on strings which are taken as one long text."""
    texts = [text] if isinstance(text, str) else text
    return _train(texts, "train_bpe_from_text", vocab_size, special_tokens, pattern, progress)


def _train(
    texts: Iterable[str],
    source: str,
    vocab_size: int,
    special_tokens: Iterable[str] | None,
    pattern: str,
    progress: Progress | None,
) -> tuple[Vocab, Merges]:
    special = check_special_tokens(special_tokens or ())
    smallest = 256 + len(special)
    if not isinstance(vocab_size, int) or vocab_size < smallest:
        raise TokenizerError(
            f"vocab_size={vocab_size!r} is too small: at least {smallest} are needed for the 256 "
            f"bytes and {len(special)} special tokens"
        )
    counts: Counter[str] = Counter()
    empty = True
    for pretokens, mark in Splitter(pattern, special).stream(texts):
        counts.update(pretokens)
        empty = empty and not pretokens and mark is None
    if empty:
        raise DataError(f"{source}: there is no text to train on; it is empty")
    words = {pretoken.encode(): count for pretoken, count in counts.items()}
    tokens, merges = learn_merges(words, vocab_size - len(special), progress)
    tokens += [mark.encode() for mark in special]
    return dict(enumerate(tokens)), merges


def check_special_tokens(special_tokens: Iterable[str]) -> list[str]:
    """The special tokens without repetitions; an error for what cannot be one."""
    if isinstance(special_tokens, str):
        raise TypeError(f"special_tokens={special_tokens!r} is a str; a list of str is accepted")
    special = list(dict.fromkeys(special_tokens))
    for mark in special:
        if not isinstance(mark, str) or not mark:
            raise TokenizerError(f"special_tokens: {mark!r} is not accepted; give a non-empty str")
        check_text(mark, "special_tokens")
    return special


def learn_merges(
    words: dict[bytes, int], n_tokens: int, progress: Progress | None = None
) -> tuple[list[bytes], Merges]:
    """Merge until there are `n_tokens` tokens or nothing is left to merge.

    words: each different pretoken with its count. Returns all tokens, the 256 bytes first, and
    the merges.

    Inside, a word is a str with one character for each token: chr(id). `str.split` then finds the
    places to merge, by the rule that BPE wants: from the left, not overlapping.
    """
    tokens = [bytes([byte]) for byte in range(256)]
    order = [_descending(token) for token in tokens]
    merges: Merges = []

    spelled = [word.decode("latin-1") for word in words]  # byte b is chr(b)
    counts = list(words.values())
    pair_counts: dict[tuple[str, str], int] = defaultdict(int)
    where: dict[tuple[str, str], set[int]] = defaultdict(set)  # pair -> words that have (had) it
    for i, word in enumerate(spelled):
        for pair in pairwise(word):
            pair_counts[pair] += counts[i]
            where[pair].add(i)

    def entry(pair: tuple[str, str]) -> tuple[int, str, str, tuple[str, str]]:
        left, right = map(ord, pair)
        return -pair_counts[pair], order[left], order[right], pair

    # The least entry is the most frequent, greatest pair. A merge takes from the counts of pairs
    # that were there, and these are not mended in the heap: an entry that is too high comes up too
    # early, is seen to be wrong, and goes back in its place.
    heap = [entry(pair) for pair in pair_counts]
    heapq.heapify(heap)
    while len(tokens) < n_tokens and heap:
        count, _, _, pair = heapq.heappop(heap)
        if pair_counts[pair] != -count:
            if pair_counts[pair]:
                heapq.heappush(heap, entry(pair))
            continue

        left, right = pair
        merges.append((tokens[ord(left)], tokens[ord(right)]))
        # This token is not there yet: wherever its bytes stand alone, the same merges have been
        # made, so that no second pair can spell it.
        new = chr(len(tokens))
        tokens.append(b"".join(merges[-1]))
        order.append(_descending(tokens[-1]))
        if progress:
            progress(len(merges), n_tokens - 256)

        change: dict[tuple[str, str], int] = defaultdict(int)
        for i in where.pop(pair):
            parts = spelled[i].split(left + right)  # the pair stands between the parts
            spelled[i] = new.join(parts)
            for k, (before, after) in enumerate(pairwise(parts)):
                # "aaa", merging "a a": parts "", "a". The merge at k = 0 has nothing to its left.
                # "aaaa": parts "", "", "". The merge at k = 1 has the one at k = 0 to its left.
                if before or k:
                    # Where a part is empty, the neighbour is another (left, right), now new.
                    change[before[-1:] or right, left] -= counts[i]
                    change[before[-1:] or new, new] += counts[i]
                    where[before[-1:] or new, new].add(i)
                if after:
                    change[right, after[0]] -= counts[i]
                    change[new, after[0]] += counts[i]
                    where[new, after[0]].add(i)
        for changed, difference in change.items():
            pair_counts[changed] += difference
            if difference > 0:  # a pair with the new token
                heapq.heappush(heap, entry(changed))
    return tokens, merges


_COMPLEMENT = bytes(255 - byte for byte in range(256))


def _descending(token: bytes) -> str:
    """A sort key that puts greater bytes objects first, for a heap, which gives the least.

    Each byte b is complemented (255 - b); the end mark, greater than any byte, puts b"ab" before
    b"a".
    """
    return token.translate(_COMPLEMENT).decode("latin-1") + chr(256)
