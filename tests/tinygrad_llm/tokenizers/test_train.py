import random
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import DataError, TokenizerError
from tinygrad_llm.tokenizers import GPT2_PATTERN, Tokenizer, train_bpe, train_bpe_from_text
from tinygrad_llm.tokenizers.train import learn_merges

END = "<|endoftext|>"


def train_slowly(text, vocab_size, special=(), pattern=GPT2_PATTERN):
    """The definition: count every pair of the whole text anew for each merge."""
    if special:
        marks = sorted(special, key=len, reverse=True)
        texts = regex.split("|".join(map(regex.escape, marks)), text)
    else:
        texts = [text]
    words = [
        [bytes([byte]) for byte in piece.encode()]
        for part in texts
        for piece in regex.findall(pattern, part)
    ]
    tokens = [bytes([byte]) for byte in range(256)]
    merges = []
    while len(tokens) + len(special) < vocab_size:
        counts = Counter(pair for word in words for pair in pairwise(word))
        if not counts:
            break
        best = max(counts, key=lambda pair: (counts[pair], pair))
        merges.append(best)
        joint = best[0] + best[1]
        if joint not in tokens:
            tokens.append(joint)
        for word in words:
            i = 0
            while i < len(word) - 1:
                if (word[i], word[i + 1]) == best:
                    word[i : i + 2] = [joint]
                i += 1
    tokens += [mark.encode() for mark in special]
    return dict(enumerate(tokens)), merges


def test_an_example_by_hand():
    # Counts: "lo" 3, "ow" 3, "we" 1, "er" 1. The tie goes to the greater pair, (o, w); then
    # (l, ow) 3 times; then a tie of once each: (we, r) does not exist yet, (w, e) lost its w,
    # (low, e) and (e, r) are left, and (low, e) is the greater.
    vocab, merges = train_bpe_from_text("low\nlow\nlower", 259)
    assert merges == [(b"o", b"w"), (b"l", b"ow"), (b"low", b"e")]
    assert vocab[255] == b"\xff"
    assert [vocab[i] for i in range(256, 259)] == [b"ow", b"low", b"lowe"]


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ({b"ab": 1, b"ac": 1}, (b"a", b"c")),
        ({b"ab": 2, b"ac": 1}, (b"a", b"b")),  # the count comes first
        ({b"ba": 1, b"ca": 1}, (b"c", b"a")),
        ({b"\x7fa": 1, b"\x80a": 1}, (b"\x80", b"a")),  # bytes have no sign
    ],
)
def test_ties_go_to_the_greatest_pair(words, first):
    assert learn_merges(words, 257)[1] == [first]


def test_ties_between_a_token_and_its_beginning():
    # First (a, b) is merged. Then (ab, x) and (a, x) are equally frequent: b"ab" is the greater.
    merges = learn_merges({b"ab": 5, b"abx": 2, b"ax": 2}, 258)[1]
    assert merges == [(b"a", b"b"), (b"ab", b"x")]


def test_overlapping_pairs_merge_from_the_left():
    tokens, merges = learn_merges({b"aaaaa": 1}, 258)
    assert merges == [(b"a", b"a"), (b"aa", b"aa")]
    assert tokens[256:] == [b"aa", b"aaaa"]


@given(
    text=st.lists(st.sampled_from([*"abc  \n1.", "ab", "aaa", END, "<x>", "\u00e9"])).map("".join),
    n_merges=st.integers(0, 30),
)
def test_equals_the_definition(text, n_merges):
    special = ["<x>", END, "<x>" + END]
    vocab_size = 256 + len(special) + n_merges
    if not text:
        return
    expected = train_slowly(text, vocab_size, special)
    assert train_bpe_from_text(text, vocab_size, special) == expected


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_definition_until_nothing_is_left(seed):
    rng = random.Random(seed)
    letters = "ab" if seed % 2 else "abcd"
    text = " ".join("".join(rng.choices(letters, k=rng.randint(1, 12))) for _ in range(60))
    vocab, merges = train_bpe_from_text(text, 5000)
    assert (vocab, merges) == train_slowly(text, 5000)
    assert len(vocab) < 5000
    # Every word became one token: there was nothing left to merge.
    assert {word.encode() for word in regex.findall(GPT2_PATTERN, text)} <= set(vocab.values())


def test_equals_the_definition_on_english(english):
    assert train_bpe_from_text(english[:6000], 340) == train_slowly(english[:6000], 340)


@given(st.dictionaries(st.text("ab", min_size=1, max_size=9).map(str.encode), st.integers(1, 5)))
def test_no_two_merges_make_one_token(words):
    tokens, merges = learn_merges(words, 400)
    assert len(tokens) == len(set(tokens)) == 256 + len(merges)


def test_special_tokens_take_no_part(english):
    text = english[:20_000].replace(". ", f".{END}")
    vocab, merges = train_bpe_from_text(text, 400, [END])
    assert vocab[399] == END.encode()
    learned = [token for token in vocab.values() if token != END.encode()]
    assert not any(b"<|" in token or b"|>" in token for token in learned)
    # Nor is anything learned across them: the same as training on what lies between.
    words = Counter(w for part in text.split(END) for w in regex.findall(GPT2_PATTERN, part))
    expected = learn_merges({word.encode(): count for word, count in words.items()}, 399)[1]
    assert merges == expected


def test_the_longer_special_token_wins():
    vocab, merges = train_bpe_from_text("<a><b>xyxy<a>", 260, ["<a>", "<a><b>"])
    assert merges[0] == (b"x", b"y")
    assert vocab[len(vocab) - 2] == b"<a>"
    assert vocab[len(vocab) - 1] == b"<a><b>"


def test_repeated_special_tokens_count_once():
    vocab, _ = train_bpe_from_text("ab", 257, ["<a>", "<a>"])
    assert len(vocab) == 257


def test_from_a_file_equals_from_text(tmp_path, english):
    text = english[:50_000].replace("\n", "\r\n") + "\u4e2d\u6587 \U0001f600"
    path = tmp_path / "corpus.txt"
    path.write_bytes(text.encode())
    vocab, merges = train_bpe(path, 350, [END])
    assert (vocab, merges) == train_bpe_from_text(text, 350, [END])
    assert (vocab, merges) == train_bpe_from_text(iter(text.splitlines(keepends=True)), 350, [END])
    assert train_bpe(str(path), 350, [END])[1] == merges
    assert b"\r\n" in vocab.values()


def test_does_not_depend_on_the_hash_seed_or_the_order_of_words():
    words = {f"w{i % 7}{'ab' * (i % 5)}{i}".encode(): i % 4 + 1 for i in range(200)}
    shuffled = list(words.items())
    random.Random(1).shuffle(shuffled)
    assert learn_merges(words, 400) == learn_merges(dict(shuffled), 400)


def test_progress_is_told():
    seen = []
    train_bpe_from_text("abcabc abab", 260, progress=lambda *step: seen.append(step))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_custom_pattern():
    text = "a b a b a b"
    assert (b"a", b" ") not in train_bpe_from_text(text, 300)[1]
    assert (b"a", b" ") in train_bpe_from_text(text, 300, pattern=r"[\s\S]+")[1]


@pytest.mark.parametrize(
    ("vocab_size", "special"), [(255, []), (0, []), (-1, []), (257, ["a", "b"])]
)
def test_vocab_size_too_small(vocab_size, special):
    with pytest.raises(
        TokenizerError, match=rf"vocab_size={vocab_size}.* {256 + len(special)} are"
    ):
        train_bpe_from_text("text", vocab_size, special)


def test_smallest_vocabulary_has_no_merges():
    vocab, merges = train_bpe_from_text("text text", 257, ["<a>"])
    assert (len(vocab), merges) == (257, [])


@pytest.mark.parametrize("vocab_size", [300.0, "300", None])
def test_vocab_size_of_a_wrong_kind(vocab_size):
    with pytest.raises(TokenizerError, match="vocab_size="):
        train_bpe_from_text("text", vocab_size)


@pytest.mark.parametrize("special", [[""], [b"<a>"], [None]])
def test_bad_special_tokens(special):
    with pytest.raises(TokenizerError, match="special_tokens"):
        train_bpe_from_text("text", 300, special)


def test_special_tokens_given_as_one_string():
    with pytest.raises(TypeError, match="list of str"):
        train_bpe_from_text("text", 300, END)


@pytest.mark.parametrize("texts", ["", [], ["", ""]])
def test_no_text(texts):
    with pytest.raises(DataError, match="empty"):
        train_bpe_from_text(texts, 300)


def test_bad_files(tmp_path):
    path = tmp_path / "corpus.txt"
    with pytest.raises(DataError, match=r"corpus\.txt: cannot be read"):
        train_bpe(path, 300)
    path.touch()
    with pytest.raises(DataError, match=r"corpus\.txt: .*empty"):
        train_bpe(path, 300)
    path.write_bytes(b"good text \xff")
    with pytest.raises(DataError, match=r"corpus\.txt: not UTF-8 .*offset 10"):
        train_bpe(path, 300)


def test_only_special_tokens_is_a_text_with_nothing_to_learn():
    vocab, merges = train_bpe_from_text(END * 3, 300, [END])
    assert (len(vocab), merges) == (257, [])


def test_130_kb_to_500_entries_in_a_third_of_a_second(english):
    train_bpe_from_text(english, 300)  # warm up: `regex` compiles its pattern once
    times = []
    for _ in range(5):
        start = time.process_time()  # our own seconds, not those of a busy neighbour
        vocab, _ = train_bpe_from_text(english, 500, [END])
        times.append(time.process_time() - start)
    assert len(vocab) == 500
    assert min(times) < 1 / 3, f"{times}"  # 0.1 s on two cores of 2023


@pytest.mark.parametrize("letters", ["a", "acgt"])
def test_a_text_without_spaces_takes_no_quadratic_time(letters):
    text = "".join(random.Random(4).choices(letters, k=200_000))
    start = time.process_time()
    vocab, _ = train_bpe_from_text(text, 500)
    assert time.process_time() - start < 15  # 1 s here; counting all anew for each merge: 40 s
    assert max(map(len, vocab.values())) > 4


@pytest.mark.slow
def test_5_mb_to_10_000_entries_in_well_under_a_minute(english):
    # All the English there is, and the standard library's source: every Python has them.
    import pydoc_data.topics

    text = "".join(pydoc_data.topics.topics.values())
    for path in sorted(Path(pydoc_data.__file__).parents[1].glob("*/*.py")):
        text += path.read_text("utf-8", errors="ignore")
        if len(text) > 5_000_000:
            break
    start = time.process_time()
    vocab, _ = train_bpe_from_text(text[:5_000_000], 10_000)
    assert time.process_time() - start < 30  # 3 s here
    assert len(vocab) == 10_000


def test_what_was_trained_can_be_used(english):
    vocab, merges = train_bpe_from_text(english, 500, [END])
    tokenizer = Tokenizer(vocab, merges, [END])
    ids = tokenizer.encode(english + END)
    assert ids[-1] == 499
    assert len(ids) < 0.6 * len(english)
    assert tokenizer.decode(ids) == english + END
