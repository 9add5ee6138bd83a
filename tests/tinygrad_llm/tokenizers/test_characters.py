import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import DataError, TokenizerError
from tinygrad_llm.tokenizers import CharTokenizer


def test_ids_are_the_sorted_characters():
    tokenizer = CharTokenizer.train("hello")
    assert tokenizer.characters == ["e", "h", "l", "o"]
    assert tokenizer.encode("hole") == [1, 3, 2, 0]
    assert tokenizer.decode([1, 3, 2, 0]) == "hole"
    assert tokenizer.vocab_size == 4


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_round_trip(text):
    tokenizer = CharTokenizer.train(text)
    ids = tokenizer.encode(text)
    assert len(ids) == len(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(ids) == text.encode()
    assert list(tokenizer.encode_iterable(iter(text))) == ids


def test_train_on_many_texts():
    assert CharTokenizer.train(iter(["ba", "", "cb"])).characters == ["a", "b", "c"]


def test_empty_text_encodes_to_nothing():
    tokenizer = CharTokenizer.train("ab")
    assert tokenizer.encode("") == []
    assert tokenizer.decode([]) == ""
    assert list(tokenizer.encode_iterable([])) == []


def test_unseen_character_is_named_with_its_place():
    tokenizer = CharTokenizer.train("ab\n")
    with pytest.raises(TokenizerError, match=r"'\xe9' \(U\+00E9\), at offset 5 on line 3"):
        tokenizer.encode("a\nb\na\xe9")
    with pytest.raises(TokenizerError, match=r"U\+00E9\), at offset 5 on line 3"):
        list(tokenizer.encode_iterable(["a\nb", "\na", "\xe9"]))


def test_unseen_character_in_a_text_longer_than_a_block():
    tokenizer = CharTokenizer.train("ab\n")
    with pytest.raises(TokenizerError, match="at offset 40000 on line 20001"):
        tokenizer.encode("a\n" * 20_000 + "x")


def test_unk_with_a_name_of_its_own():
    tokenizer = CharTokenizer.train("ab", unk="<unk>")
    assert tokenizer.vocab_size == 3
    assert tokenizer.encode("axb") == [0, 2, 1]
    assert tokenizer.decode([0, 2, 1]) == "a<unk>b"


def test_unk_among_the_characters():
    tokenizer = CharTokenizer("?ab", unk="?")
    assert tokenizer.vocab_size == 3
    assert tokenizer.encode("axb") == [1, 0, 2]
    first = CharTokenizer(["<unk>", "a"], unk="<unk>")
    assert first.encode("ba") == [0, 1]


@pytest.mark.parametrize("bad", [4, -1, 10**9])
def test_id_out_of_range_names_id_and_size(bad):
    tokenizer = CharTokenizer.train("hello")
    with pytest.raises(TokenizerError, match=rf"ids\[1\] is {bad}.* 4 tokens \(ids 0 to 3\)"):
        tokenizer.decode([0, bad])


def test_ids_from_arrays():
    tokenizer = CharTokenizer.train("hello")
    assert tokenizer.decode(np.array([1, 3], dtype=np.uint16)) == "ho"
    assert tokenizer.decode(iter([np.int64(1), 3])) == "ho"
    assert tokenizer.decode(np.array(1)) == "h"
    assert tokenizer.decode(1) == "h"


@pytest.mark.parametrize("bad", [[[0, 1]], np.zeros((2, 2), int), [None], ["a"], "ab", [0.5]])
def test_ids_that_are_no_flat_integers(bad):
    with pytest.raises(TypeError, match="integers"):
        CharTokenizer.train("hello").decode(bad)


@pytest.mark.parametrize(
    ("characters", "unk", "says"),
    [
        ("", None, "empty"),
        ("aba", None, "twice, at 0 and 2"),
        (["a", "bc"], None, r"characters\[1\] is 'bc'"),
        (["a", ""], None, r"characters\[1\]"),
        (["a", 5], None, r"characters\[1\] is 5"),
        (["\ud800"], None, "surrogate"),
        ("ab", "", "unk=''"),
        ("ab", 3, "unk=3"),
    ],
)
def test_bad_arguments(characters, unk, says):
    with pytest.raises(TokenizerError, match=says):
        CharTokenizer(characters, unk)


def test_nothing_to_train_on():
    with pytest.raises(DataError, match="empty"):
        CharTokenizer.train("")
    with pytest.raises(DataError, match="empty"):
        CharTokenizer.train(["", ""])


def test_text_that_is_no_text():
    tokenizer = CharTokenizer.train("ab")
    with pytest.raises(TypeError, match="bytes"):
        tokenizer.encode(b"ab")
    with pytest.raises(TokenizerError, match=r"character 2 .*U\+D83D"):
        tokenizer.encode("ab\ud83d")
