import inspect
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.tokenizers import Tokenizer, bpe

END = "<|endoftext|>"
BYTES = {i: bytes([i]) for i in range(256)}


def tiny(*merges, special=()):
    """The 256 bytes and these merges, written as "left right"."""
    pairs = [tuple(part.encode() for part in merge.split()) for merge in merges]
    vocab = {**BYTES, **{256 + i: left + right for i, (left, right) in enumerate(pairs)}}
    return Tokenizer(vocab, pairs, special)


def test_merges_apply_in_the_order_learned():
    tokenizer = tiny("b c", "a b", "a bc")
    assert tokenizer.encode("abc") == [258]
    assert tokenizer.encode("ab") == [257]
    assert tokenizer.encode("abab") == [257, 257]
    assert tiny("a b", "b c").encode("abc") == [256, ord("c")]


def test_merges_do_not_cross_pretokens():
    tokenizer = tiny("a b", "b !", "a 1")
    assert tokenizer.encode("ab!a1") == [256, ord("!"), ord("a"), ord("1")]


def test_a_token_that_its_own_bytes_do_not_merge_into():
    # (b, c) is taken first, so the token "abc" = (ab, c) is never reached, although it is there.
    tokenizer = tiny("b c", "a b", "ab c")
    expected = [ord("a"), 256]
    for _ in range(3):
        assert tokenizer.encode("abc") == expected
        assert list(tokenizer.encode_iterable(["abc"])) == expected
    assert tokenizer.encode("ab ab") == [257, ord(" "), 257]


def test_empty_text(small):
    assert small.encode("") == []
    assert small.decode([]) == ""
    assert small.encode_bytes(b"") == []
    assert list(small.encode_iterable([])) == list(small.encode_iterable(["", ""])) == []


@given(data=st.data())
def test_any_text_comes_back(small, nasty, data):
    text = data.draw(nasty)
    ids = small.encode(text)
    assert small.decode(ids) == text
    assert small.decode_bytes(ids) == text.encode()
    assert small.encode_bytes(text.encode()) == ids
    assert list(small.encode_iterable([text])) == list(small.encode_iterable(text)) == ids


@given(st.binary(max_size=40))
def test_any_bytes_come_back(data):
    tokenizer = tiny("\x00 \x00", "a b")
    assert tokenizer.decode_bytes(tokenizer.encode_bytes(data)) == data


def test_only_bytes_are_bytes(small):
    assert small.encode_bytes(bytearray(b"ab")) == small.encode_bytes(memoryview(b"ab"))
    with pytest.raises(TypeError, match="data is str"):
        small.encode_bytes("ab")


def test_all_bytes_and_pairs_of_bytes_come_back(small):
    data = bytes(range(256)) + bytes(b for i in range(256) for b in (i, 255 - i))
    assert small.decode_bytes(small.encode_bytes(data)) == data


def test_broken_utf8_is_replaced_in_text_only(small):
    ids = small.encode("\u4e2d")
    assert small.decode(ids[:1]) == "\ufffd"
    assert small.decode_bytes(ids[:1]) == b"\xe4"
    assert small.decode([0x61, 0xFF, 0x62]) == "a\ufffdb"


def test_lone_surrogate_is_an_error_with_its_place(small):
    with pytest.raises(TokenizerError, match=r"encode: character 2 .*U\+DE00"):
        small.encode("ab\ude00")
    with pytest.raises(TokenizerError, match=r"character 20002 .*U\+D800"):
        list(small.encode_iterable(["ab" * 10_000, "cd\ud800"]))
    # Also when the same half character was seen as a bad byte before.
    assert small.decode_bytes(small.encode_bytes(b"ab \xff")) == b"ab \xff"
    with pytest.raises(TokenizerError, match=r"character 3 .*U\+DCFF"):
        small.encode("ab \udcff")


@pytest.mark.parametrize("text", [b"ab", None, ["ab"], 3])
def test_only_str_is_encoded(small, text):
    with pytest.raises(TypeError, match="text is"):
        small.encode(text)


class TestSpecialTokens:
    def test_they_are_one_token(self, small):
        assert small.special_tokens == {END: 498, "<|pad|>": 499}
        assert small.encode(f"a{END}<|pad|>b") == [97, 498, 499, 98]
        assert small.decode([97, 498, 98]) == f"a{END}b"

    def test_new_ones_get_the_next_ids(self):
        tokenizer = tiny("a b", special=["<x>", "<y>"])
        assert tokenizer.special_tokens == {"<x>": 257, "<y>": 258}
        assert tokenizer.vocab_size == 259
        assert tokenizer.vocab[258] == b"<y>"

    def test_what_is_given_is_not_changed(self):
        vocab, merges, special = dict(BYTES), [], ["<x>"]
        Tokenizer(vocab, merges, special)
        assert (vocab, merges, special) == (BYTES, [], ["<x>"])

    def test_the_longest_wins_in_any_order(self):
        for special in (["<x>", "<x><x>"], ["<x><x>", "<x>"]):
            tokenizer = tiny(special=special)
            ids = tokenizer.special_tokens
            assert tokenizer.encode("<x><x><x>") == [ids["<x><x>"], ids["<x>"]]
            assert list(tokenizer.encode_iterable("<x><x><x>")) == [ids["<x><x>"], ids["<x>"]]

    def test_none_given_none_recognised(self, english):
        tokenizer = Tokenizer.train(english[:1000], 260)
        assert tokenizer.special_tokens == {}
        assert tokenizer.encode(END) == list(END.encode())

    def test_in_the_vocabulary_but_not_declared(self):
        tokenizer = Tokenizer({**BYTES, 256: END.encode()}, [])
        assert tokenizer.encode(END) == list(END.encode())
        assert tokenizer.decode([256]) == END

    def test_outside_ascii(self):
        tokenizer = tiny(special=["<\uff5cfin\uff5c>", "\u00e9"])
        assert tokenizer.encode("\u00e9a<\uff5cfin\uff5c>") == [257, 97, 256]
        assert tokenizer.decode([256, 257]) == "<\uff5cfin\uff5c>\u00e9"

    def test_allowed_special(self, small):
        text = f"{END}<|pad|>"
        assert small.encode(text, allowed_special="all") == [498, 499]
        assert small.encode(text, allowed_special=[END])[0] == 498
        assert 499 not in small.encode(text, allowed_special={END})
        for none in ("none", []):
            ids = small.encode(text, allowed_special=none)
            assert max(ids) < 498
            assert small.decode(ids) == text
            assert list(small.encode_iterable([text], allowed_special=none)) == ids

    def test_allowed_special_that_is_not_there(self, small):
        with pytest.raises(TokenizerError, match=r"'<x>' is not a special token.*endoftext"):
            small.encode("text", allowed_special={"<x>"})
        with pytest.raises(TypeError, match="list of str"):
            small.encode("text", allowed_special=END)

    def test_a_dict_gives_the_ids(self):
        tokenizer = Tokenizer(BYTES, [], {"<x>": 300, "a": 301})
        assert tokenizer.encode("<x>ab") == [300, 301, 98]
        assert tokenizer.vocab_size == 302
        assert tokenizer.encode("a", allowed_special="none") == [97]
        first = Tokenizer({i + 1: bytes([i]) for i in range(256)}, [], {"a": 0})
        assert first.encode("ab") == [0, 99]
        assert first.encode("ab", allowed_special="none") == [98, 99]
        for bad in (-1, 10**12, "5", 1.0):
            with pytest.raises(TokenizerError, match="is not accepted; ids are integers"):
                Tokenizer(BYTES, [], {"<x>": bad})
        with pytest.raises(TokenizerError, match=r"id 97 was given to '<x>'.* b'a'"):
            Tokenizer(BYTES, [], {"<x>": 97})

    @pytest.mark.parametrize("bad", ["", b"<x>", None, "\ud800"])
    def test_bad_ones(self, bad):
        with pytest.raises(TokenizerError, match="special_tokens: "):
            tiny(special=["<y>", bad])


class TestIterable:
    def test_is_a_generator(self, small):
        read = []

        def lines():
            for i in range(100_000):
                read.append(i)
                yield "hello world\n"

        ids = small.encode_iterable(lines())
        assert inspect.isgenerator(ids)
        assert read == []
        next(ids)
        assert len(read) < 2_000

    @pytest.mark.parametrize("size", [1, 7, 1000, 10**6])
    def test_equals_encode_wherever_the_text_is_cut(self, small, english, size):
        text = (english[:30_000] + END).replace("\n", "  \n\n ")
        parts = [text[i : i + size] for i in range(0, len(text), size)]
        assert list(small.encode_iterable(parts)) == small.encode(text)

    def test_of_an_open_file_and_of_a_path(self, small, english, tmp_path):
        path = tmp_path / "text.txt"
        path.write_bytes(english.encode())
        expected = small.encode(english)
        with open(path, encoding="utf-8") as file:
            assert list(small.encode_iterable(file)) == expected
        assert list(small.encode_file(path)) == expected

    @pytest.mark.parametrize("ends", ["\n", " "])  # " ": a file that is one single line
    def test_memory_is_bounded(self, english, tmp_path, ends):
        path = tmp_path / "text.txt"
        text = english.replace("\n", ends)
        words = " ".join(f"{i:x}" for i in range(50_000))  # all different: the cache must not grow
        path.write_text(text + words, encoding="utf-8")
        tokenizer = Tokenizer.train(english[:20_000], 500)
        next(tokenizer.encode_file(path))  # what is imported and compiled once
        tokenizer._stream_cache.clear()
        tracemalloc.start()
        try:
            count = sum(1 for _ in tokenizer.encode_file(path))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert count > 200_000
        assert peak < 1_000_000, f"{peak:,} bytes"


@pytest.mark.parametrize("bad", [500, -1, 10**12])
def test_id_out_of_range_names_id_and_size(small, bad):
    with pytest.raises(TokenizerError, match=rf"ids\[2\] is {bad}, .* 500 tokens \(ids 0 to 499\)"):
        small.decode([1, 2, bad])
    with pytest.raises(TokenizerError, match=rf"ids\[0\] is {bad}, "):
        small.decode_bytes(np.array([bad, 2]))


def test_id_in_a_gap_of_the_vocabulary():
    tokenizer = Tokenizer({**BYTES, 300: b"ab"}, [(b"a", b"b")])
    assert tokenizer.vocab_size == 301
    assert tokenizer.encode("ab") == [300]
    with pytest.raises(TokenizerError, match=r"ids\[0\] is 280, which is not in the vocabulary"):
        tokenizer.decode([280])


def test_ids_from_arrays(small):
    ids = small.encode("hello there")
    assert small.decode(np.array(ids, dtype=np.uint16)) == "hello there"
    assert small.decode(iter(ids)) == "hello there"
    assert small.decode(ids[0]) == small.decode([ids[0]])


@pytest.mark.parametrize(
    "bad", [[[1, 2]], np.zeros((2, 2), int), np.array([1.5]), ["a"], "12", [None]]
)
def test_ids_that_are_no_flat_integers(small, bad):
    with pytest.raises(TypeError, match="integers"):
        small.decode(bad)


def test_cache_is_bounded_and_changes_nothing(english, monkeypatch):
    monkeypatch.setattr(bpe, "CACHE_SIZE", 10)
    tokenizer = Tokenizer.train(english, 400)
    ids = tokenizer.encode(english)
    assert len(tokenizer._cache) <= 10
    assert tokenizer.encode(english) == ids
    assert tokenizer.decode(ids) == english
    monkeypatch.setattr(bpe, "STREAM_CACHE_SIZE", 10)
    tokenizer = Tokenizer.train(english, 400)
    assert list(tokenizer.encode_iterable([english])) == ids
    assert len(tokenizer._stream_cache) <= 10


def test_long_pretokens_are_not_cached(small):
    small.encode("x" * 10_000)
    assert max(map(len, small._cache)) <= bpe.CACHE_LONGEST


def test_order_of_the_bytes_is_free():
    # GPT-2 numbers the bytes in another order; here they come last and backwards.
    vocab = {0: b"ab", **{256 - i: bytes([i]) for i in range(256)}}
    tokenizer = Tokenizer(vocab, [(b"a", b"b")])
    assert tokenizer.encode("abc") == [0, 256 - ord("c")]


@pytest.mark.parametrize(
    ("vocab", "merges", "says"),
    [
        ({}, [], "256 of the 256 single bytes"),
        ({i: bytes([i]) for i in range(200)}, [], "56 of the 256 single bytes .*0xc8"),
        ({**BYTES, 256: b"ab"}, [(b"a", b"c")], r"merges\[0\] is .* b'ac' is not in the vocab"),
        ({**BYTES, 256: b"abc"}, [(b"ab", b"c")], r"merges\[0\] is .* b'ab' is not in the vocab"),
        ({**BYTES, 256: b"ab"}, [(b"a", b"b")] * 2, r"merges\[1\] is .* merges\[0\]"),
        ({**BYTES, 256: b"a"}, [], "b'a' has two ids, 97 and 256"),
        ({**BYTES, 256: "ab"}, [], "256: 'ab'"),
        ({**BYTES, "256": b"ab"}, [], "'256': b'ab'"),
        ({**BYTES, -1: b"ab"}, [], "-1: b'ab'"),
        ({**BYTES, 10**12: b"ab"}, [], "1000000000000: b'ab' .* to 16777215"),
    ],
)
def test_bad_vocab_and_merges(vocab, merges, says):
    with pytest.raises(TokenizerError, match=says):
        Tokenizer(vocab, merges)


def test_train_takes_text_or_texts(english):
    assert (
        Tokenizer.train(english[:999], 280).merges == Tokenizer.train([english[:999]], 280).merges
    )


def test_survives_being_sent_to_another_process(small, english):
    copy = pickle.loads(pickle.dumps(small))  # noqa: S301 - our own
    assert copy.encode(english[:5000] + END) == small.encode(english[:5000] + END)


def test_repr(small):
    assert repr(small) == "Tokenizer(vocab_size=500, special_tokens=['<|endoftext|>', '<|pad|>'])"
