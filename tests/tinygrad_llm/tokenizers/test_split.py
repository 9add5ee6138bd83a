import itertools
import random
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.tokenizers import GPT2_PATTERN, CharTokenizer, split
from tinygrad_llm.tokenizers.split import Splitter

GPT4_PATTERN = (  # cl100k's, which takes line ends together with what precedes them
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def flat(parts):
    """Pretokens as str and special tokens as (str,), in one list: where parts end is no matter."""
    result = []
    for pretokens, special in parts:
        result += pretokens
        if special is not None:
            result.append((special,))
    return result


def cut(text, sizes):
    """`text` in pieces of these sizes, over and over."""
    start = 0
    for size in itertools.cycle(sizes):
        if start >= len(text):
            return
        yield text[start : start + size]
        start += size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello world!! It's 2024", ["Hello", " world", "!!", " It", "'s", " 2024"]),
        ("a   b", ["a", "  ", " b"]),  # the last space goes with the word
        ("a  \n\n b", ["a", "  \n\n", " b"]),
        ("a \n", ["a", " \n"]),
        ("don't DON'T we'll", ["don", "'t", " DON", "'", "T", " we", "'ll"]),
        ("x=1;\ty", ["x", "=", "1", ";", "\t", "y"]),
        ("a\u3000\u3000b", ["a", "\u3000", "\u3000", "b"]),  # Unicode's white space
        ("a\x85b", ["a", "\x85", "b"]),
        ("a\x1c!b", ["a", "\x1c!", "b"]),  # white space for `re` and str.isspace only
        ("e\u0301a", ["e", "\u0301", "a"]),  # a combining mark is no letter
        ("", []),
    ],
)
def test_gpt2_pattern(text, expected):
    assert list(Splitter(GPT2_PATTERN, []).split(text)) == [(expected, None)]


@pytest.mark.parametrize(
    ("special", "text", "expected"),
    [
        (["<a>"], "x<a>y", ["x", ("<a>",), "y"]),
        (["<a>"], "<a><a>", [("<a>",), ("<a>",)]),
        (["<a>", "<a><b>"], "<a><b><a>", [("<a><b>",), ("<a>",)]),  # the longest, in any order
        (["<a><b>", "<a>"], "<a><b><a>", [("<a><b>",), ("<a>",)]),
        (["ab", "bcd"], "abcd", [("ab",), "cd"]),  # but the first in the text before all
        (["."], "a.b", ["a", (".",), "b"]),  # no regular expression
        (["<a>"], "x  <a> y", ["x", "  ", ("<a>",), " y"]),  # before it the text is at its end
        (["<a>"], "<A>", ["<", "A", ">"]),
    ],
)
def test_special_tokens(special, text, expected):
    assert flat(Splitter(GPT2_PATTERN, special).split(text)) == expected
    assert flat(Splitter(GPT2_PATTERN, special).stream(text, block=1)) == expected


TRICKY = st.lists(
    st.sampled_from(
        [*"aab1! \n\r'\u3000\xa0\u0301<", *["  ", "'r", "e", "<a", "<a>", "<b>", "xyz"]]
    ),
    max_size=40,
).map("".join)


@pytest.mark.parametrize("pattern", [GPT2_PATTERN, GPT4_PATTERN])
@given(
    text=TRICKY,
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    block=st.integers(1, 12),
    special=st.lists(st.sampled_from(["<a>", "<a><b>", "<b>", "a1", "!", "xyz", " "]), unique=True),
)
def test_stream_equals_split_wherever_it_is_cut(pattern, text, sizes, block, special):
    splitter = Splitter(pattern, special)
    expected = flat(splitter.split(text))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(split, "MARGIN", 0)  # the two held pretokens alone must do
        assert flat(splitter.stream(cut(text, sizes), block)) == expected
        assert flat(splitter.stream([text], block)) == expected


@pytest.mark.parametrize("pattern", [GPT2_PATTERN, GPT4_PATTERN])
def test_stream_cut_at_each_place(pattern, monkeypatch):
    monkeypatch.setattr(split, "MARGIN", 0)
    text = "a'll  we're\r\n\n x 'd!'s 12345 \u3000\u3000'v e\u0301 <a><b><a>  \n \n<b"
    splitter = Splitter(pattern, ["<a>", "<a><b>"])
    expected = flat(splitter.split(text))
    for i in range(1, len(text)):
        assert flat(splitter.stream([text[:i], text[i:]], block=i)) == expected, text[:i]


@given(data=st.data(), block=st.integers(1, 12))
def test_stream_of_nasty_text(nasty, data, block):
    text = data.draw(nasty)
    splitter = Splitter(GPT2_PATTERN, ["<|endoftext|>", "<|endoftext|><|endoftext|>"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(split, "MARGIN", 0)
        assert flat(splitter.stream(text, block)) == flat(splitter.split(text))


def test_margin_serves_a_pattern_that_looks_far_ahead():
    pattern = r"begin[a-z ]{0,200}end|\w+|\W+"
    text = ("begin " + "word " * 30 + "end. " + "begin " + "word " * 60) * 20
    splitter = Splitter(pattern, [])
    assert flat(splitter.stream([text], block=64)) == flat(splitter.split(text))
    assert len([piece for piece in flat(splitter.split(text)) if piece.endswith("end")]) == 20


@pytest.mark.parametrize("pattern", [r"\w+", r"\d", r"(?i)[a-m]+", r"a(?=b)", "[^a]"])
@given(text=st.text("abAB12 \n!", max_size=20))
def test_what_the_pattern_leaves_out_is_not_lost(pattern, text):
    splitter = Splitter(pattern, [])
    [(pieces, _)] = splitter.split(text)
    assert "".join(pieces) == text
    assert "".join(flat(splitter.stream(text, block=3))) == text
    # Each stretch that is left out is one piece, as Hugging Face's "Isolated" split has it.
    matches = re.findall(pattern, text)
    left_out = [gap for gap in re.split(pattern, text) if gap]
    assert sorted(pieces) == sorted(matches + left_out)


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        (r"(\w+)|\s", "capturing group"),
        (r"\w*", "empty string"),
        (r"(?x) \w+ # words", "verbose"),
        (r"[a-", "no regular expression"),
        (None, "no regular expression"),
    ],
)
def test_bad_patterns(pattern, says):
    with pytest.raises(TokenizerError, match=says):
        Splitter(pattern, [])


def test_without_regex_only_bpe_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "regex", None)
    assert CharTokenizer.train("ab").encode("ba") == [1, 0]
    with pytest.raises(ImportError, match="pip install regex"):
        Splitter(GPT2_PATTERN, [])


class Counting:
    """A pattern that keeps the length of each text it is asked to cut."""

    def __init__(self, pattern):
        self.pattern = pattern
        self.lengths = []

    def findall(self, text):
        self.lengths.append(len(text))
        return self.pattern.findall(text)


def test_stream_holds_a_bounded_part_of_the_text():
    splitter = Splitter(GPT2_PATTERN, ["<|endoftext|>"])
    counting = splitter._pretoken = Counting(splitter._pretoken)
    rng = random.Random(3)
    text = "".join(rng.choice("ab cd\n'1") for _ in range(100_000))
    flat(splitter.stream([text], block=2000))
    assert max(counting.lengths) < 2 * 2000
    assert sum(counting.lengths) < 1.3 * len(text)  # little is cut twice


@pytest.mark.parametrize("sizes", [[1], [7, 50]])
@pytest.mark.parametrize("letter", ["a", " ", "!", "\n"])
def test_a_pretoken_without_end_is_linear(letter, sizes):
    splitter = Splitter(GPT2_PATTERN, [])
    counting = splitter._pretoken = Counting(splitter._pretoken)
    text = letter * 50_000
    assert flat(splitter.stream(cut(text, sizes), block=100)) == [text]
    assert sum(counting.lengths) < 4 * len(text)
