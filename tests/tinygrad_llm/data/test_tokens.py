"""Tokens on disk: what comes back is what went in, or a DataError says what happened to it."""

import tracemalloc

import numpy as np
import pytest

from tinygrad_llm.data import read_tokens, write_tokens
from tinygrad_llm.data import tokens as room
from tinygrad_llm.data.tokens import token_header
from tinygrad_llm.errors import DataError


@pytest.mark.parametrize(
    ("vocab_size", "dtype"),
    [(2, "<u2"), (65_536, "<u2"), (65_537, "<u4"), (2**32, "<u4")],
)
@pytest.mark.parametrize("n", [1, 2, 999, 1000, 1001])
def test_round_trip(tmp_path, monkeypatch, vocab_size, dtype, n):
    monkeypatch.setattr(room, "_CHUNK", 100)
    ids = np.random.default_rng(n).integers(0, vocab_size, n)
    ids[-1] = vocab_size - 1
    header = write_tokens(tmp_path / "array", ids, vocab_size, characters=7)
    write_tokens(tmp_path / "generator", (int(i) for i in ids), vocab_size, characters=7)
    assert (tmp_path / "array").read_bytes() == (tmp_path / "generator").read_bytes()
    tokens = read_tokens(tmp_path / "array")
    assert isinstance(tokens, np.memmap)
    assert tokens.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(tokens, ids)
    assert token_header(tmp_path / "array") == header
    assert header["count"] == n
    assert header["characters"] == 7
    with pytest.raises(ValueError, match="read-only"):
        tokens[0] = 0


def test_memory_stays_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "_CHUNK", 10_000)
    tracemalloc.start()
    try:
        write_tokens(tmp_path / "a", (i % 500 for i in range(300_000)), 500)
        read_tokens(tmp_path / "a")
        assert tracemalloc.get_traced_memory()[1] < 400_000  # as int64 it would be 2.4 MB
    finally:
        tracemalloc.stop()


def test_a_failed_write_keeps_the_old_tokens(tmp_path):
    write_tokens(tmp_path / "a", [1, 2, 3], 4)

    def interrupted():
        yield 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_tokens(tmp_path / "a", interrupted(), 4)
    np.testing.assert_array_equal(read_tokens(tmp_path / "a"), [1, 2, 3])
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(("bad", "place"), [(5, 3), (-1, 0), (70_000, 249)])
def test_ids_outside_the_vocabulary_are_not_written(tmp_path, monkeypatch, bad, place):
    monkeypatch.setattr(room, "_CHUNK", 100)
    ids = np.arange(250) % 5
    ids[place] = bad
    message = f"token id {bad} at position {place} is outside the vocabulary 0 .. 4"
    for given in (ids, iter(ids.tolist())):
        with pytest.raises(DataError, match=message):
            write_tokens(tmp_path / "a", given, 5)
    assert not list(tmp_path.iterdir())


def test_ids_outside_the_vocabulary_are_found_on_reading(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "_CHUNK", 100)
    path = tmp_path / "a"
    write_tokens(path, np.arange(250) % 5, 5)
    content = bytearray(path.read_bytes())
    content[room._HEADER + 2 * 249] = 9
    path.write_bytes(content)
    with pytest.raises(DataError, match="token id 9 at position 249 is outside"):
        read_tokens(path)


def test_damage_is_named(tmp_path):
    path = tmp_path / "a"
    write_tokens(path, np.arange(1000), 1000)
    content = path.read_bytes()
    for damaged, message in [
        (content[:-1], "is truncated: it holds 999.5 of 1,000 token ids"),
        (content[:-200], "is truncated: it holds 900 of 1,000 token ids"),
        (content + b"ab", "is too long: it holds 1,001 of 1,000 token ids"),
        (content[:500], "has a header that cannot be read"),
        (content[:1000] + b"#" + content[1001:], "has a header that cannot be read"),
        (content.replace(b'"count": 1000', b'"count": -100'), "has a header that cannot be read"),
        (content.replace(b"<u2", b"<f2"), "has a header that cannot be read"),
        (content[:-2] + b"\0\0", "was altered"),
        (b"", "is not a file of token ids"),
        (b"just text", "is not a file of token ids"),
    ]:
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=message) as caught:
            read_tokens(path)
        assert str(path) in str(caught.value)
    with pytest.raises(DataError, match="No such file"):
        read_tokens(tmp_path / "missing")


def test_verify_can_be_left_out(tmp_path):
    path = tmp_path / "a"
    write_tokens(path, np.arange(1000), 1000)
    content = path.read_bytes()
    path.write_bytes(content[:-2] + b"\0\0")
    assert read_tokens(path, verify=False)[-1] == 0
    path.write_bytes(content[:-2])
    with pytest.raises(DataError, match="truncated"):
        read_tokens(path, verify=False)


def test_the_header_can_be_read_by_people(tmp_path):
    write_tokens(tmp_path / "a", [3, 1], 5, tokenizer="abc")
    lines = (tmp_path / "a").read_bytes()[:1024].decode("ascii").split("\n")
    assert lines[0] == "tinygrad_llm tokens 1"
    assert '"tokenizer": "abc"' in lines[1]


def test_mistakes_in_arguments(tmp_path):
    path = tmp_path / "a"
    with pytest.raises(ValueError, match="vocab_size=0"):
        write_tokens(path, [0], 0)
    with pytest.raises(ValueError, match=r"not shape \(2, 2\)"):
        write_tokens(path, np.zeros((2, 2), int), 5)
    with pytest.raises(TypeError, match="must be integers, not float64"):
        write_tokens(path, np.zeros(2), 5)
    with pytest.raises(ValueError, match="too long for the header"):
        write_tokens(path, [0], 5, text="x" * 1000)
    assert not list(tmp_path.iterdir())
    write_tokens(path, [], 5)
    with pytest.raises(DataError, match="holds no token ids"):
        read_tokens(path)
