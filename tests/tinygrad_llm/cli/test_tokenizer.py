"""`tllm tokenizer`: a file goes through a pipe of encode and decode without losing a byte."""

import io
import shlex
import subprocess
import sys

import pytest

from tinygrad_llm.cli import main, tokenizer
from tinygrad_llm.tokenizers import load

TLLM = [sys.executable, "-m", "tinygrad_llm", "tokenizer"]
TEXT = "To be, or not to be, that is the question.\r\nSein oder Nichtsein 中\n\n" * 5


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8", newline="")
    special = ["--special", "<|endoftext|>"]
    arguments = ["train", str(folder / "text.txt"), "--out", str(folder / "bpe")]
    assert main(["tokenizer", *arguments, "--vocab-size", "280", *special]) == 0
    return folder / "bpe"


def _run(*arguments, given=b""):
    return subprocess.run(
        [*TLLM, *map(str, arguments)], input=given, capture_output=True, timeout=60, check=False
    )


def test_train_writes_what_load_reads(trained):
    loaded = load(trained)
    assert loaded.vocab_size == 280
    assert "<|endoftext|>" in loaded.special_tokens
    assert loaded.decode(loaded.encode(TEXT)) == TEXT


def test_characters(tmp_path, capsys):
    (tmp_path / "text.txt").write_text("abracadabra")
    arguments = [str(tmp_path / "text.txt"), "--out", str(tmp_path / "c"), "--kind", "characters"]
    assert main(["tokenizer", "train", *arguments]) == 0
    assert "5 tokens" in capsys.readouterr().out
    assert main(["tokenizer", "encode", str(tmp_path / "c"), "cab"]) == 0
    assert capsys.readouterr().out == "2 0 1\n"


def test_encode_prints_the_ids(trained, capsys):
    assert main(["tokenizer", "encode", str(trained), "to be"]) == 0
    ids = [int(word) for word in capsys.readouterr().out.split()]
    assert ids == load(trained).encode("to be")
    assert main(["tokenizer", "decode", str(trained), *map(str, ids)]) == 0
    assert capsys.readouterr().out == "to be"


def test_encode_shows_the_tokens(trained, capsys):
    assert main(["tokenizer", "encode", str(trained), "or not\xff", "--tokens"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split()[0]) for line in lines] == load(trained).encode("or not\xff")
    assert lines[0].split(None, 1)[1] == "'o'"
    assert lines[-1].split(None, 1)[1] == r"b'\xbf'"  # half of a character


@pytest.mark.parametrize("text", ["abracadabra", " ,\n;", "To be, or not to be"])
def test_the_command_that_comes_next_works_as_it_stands(tmp_path, capsys, text):
    (tmp_path / "text.txt").write_text(text)
    out = str(tmp_path / "with a space")
    arguments = [str(tmp_path / "text.txt"), "--kind", "characters", "--out", out]
    assert main(["tokenizer", "train", *arguments]) == 0
    begun, _, command = capsys.readouterr().out.rpartition("Next: tllm ")
    assert begun
    assert main(shlex.split(command)) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 1


@pytest.mark.parametrize("block", [1, 3, 1 << 14])
def test_a_pipe_of_encode_and_decode_loses_nothing(trained, monkeypatch, capsysbinary, block):
    monkeypatch.setattr(tokenizer, "_BLOCK", block)
    given = TEXT.encode()
    for direction in ("encode", "decode"):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))
        assert main(["tokenizer", direction, str(trained)]) == 0
        given = capsysbinary.readouterr().out
    assert given == TEXT.encode()


def test_a_real_pipe(trained):
    command = " ".join(TLLM)
    script = f'{command} encode "$0" | {command} decode "$0"'
    result = subprocess.run(
        ["bash", "-c", script, str(trained)],
        input=TEXT.encode(),
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert (result.stdout, result.stderr) == (TEXT.encode(), b"")


def test_a_reader_that_leaves_early_is_no_error(trained):
    script = f'yes | {" ".join(TLLM)} encode "$0" | head -c 20; exit ${{PIPESTATUS[1]}}'
    result = subprocess.run(
        ["bash", "-c", script, str(trained)], capture_output=True, timeout=60, check=False
    )
    assert (len(result.stdout), result.stderr, result.returncode) == (20, b"", 1)


def test_fewer_tokens_than_asked_for_are_admitted(tmp_path, capsys):
    (tmp_path / "text.txt").write_text("aaaa")
    arguments = [str(tmp_path / "text.txt"), "--out", str(tmp_path / "t")]
    assert main(["tokenizer", "train", *arguments]) == 0
    assert "258 tokens, not 1,024: no pair was left to merge" in capsys.readouterr().out


def test_blocks_of_words_are_cut_between_words(monkeypatch):
    pieces = ["12 3", "4 5", "6", "", " 7\n8", "9"]
    monkeypatch.setattr(tokenizer, "_standard_input", lambda: iter(pieces))
    words = [word for text in tokenizer._whole_words() for word in text.split()]
    assert words == ["12", "34", "56", "7", "89"]


def test_ids_as_python_prints_them(trained, capsys):
    ids = load(trained).encode("not")
    assert main(["tokenizer", "decode", str(trained), *str(ids).split()]) == 0
    assert capsys.readouterr().out == "not"


@pytest.mark.parametrize(
    ("arguments", "given", "message"),
    [
        (["decode", "TRAINED", "3", "x7"], b"", "'x7' is no token id"),
        (["decode", "TRAINED", "280"], b"", "280"),
        (["decode", "TRAINED", "--", "-1"], b"", "-1"),
        (["encode", "TRAINED"], b"caf\xe9", "not UTF-8 text (byte 0xe9)"),
        (["encode", "TRAINED", "a", "--file", "b"], b"", "not both"),
        (["encode", "nowhere", "a"], b"", "nowhere"),
        (["encode", "TRAINED", "--file", "nowhere.txt"], b"", "nowhere.txt"),
        (["train", "nowhere.txt", "--out", "o"], b"", "nowhere.txt"),
        (["train", "default", "--out", "o", "--vocab-size", "9"], b"", "vocab_size=9"),
    ],
)
def test_what_is_wrong_gets_a_reason(trained, arguments, given, message):
    result = _run(*[trained if word == "TRAINED" else word for word in arguments], given=given)
    assert result.returncode == 2
    assert message in result.stderr.decode()
    assert "Traceback" not in result.stderr.decode()


def test_no_pairs_are_merged_before_an_error(tmp_path, capsys):
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "empty.txt").write_text("")
    for source, size in (("text.txt", 9), ("nowhere.txt", 300), ("empty.txt", 300)):
        arguments = [
            str(tmp_path / source),
            "--out",
            str(tmp_path / "t"),
            "--vocab-size",
            str(size),
        ]
        assert main(["tokenizer", "train", *arguments]) == 2
        assert capsys.readouterr().err.startswith("Error: ")
    arguments = [str(tmp_path / "text.txt"), "--out", str(tmp_path / "t"), "--vocab-size", "270"]
    assert main(["tokenizer", "train", *arguments]) == 0
    assert "Merging pairs" in capsys.readouterr().err


def test_a_text_in_the_place_of_a_tokenizer(tmp_path, capsys):
    (tmp_path / "book.txt").write_text(TEXT)
    for command in ("encode", "decode"):
        assert main(["tokenizer", command, str(tmp_path / "book.txt"), "1"]) == 2
        err = capsys.readouterr().err
        assert "book.txt is a file; the folder of a tokenizer is expected" in err
