"""`tllm data`: what is known, what is here, and what a wrong name gets."""

from pathlib import Path

import pytest

from tinygrad_llm.cli import data, main


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TINYGRAD_LLM_CACHE", str(tmp_path / "cache"))


def test_list_says_what_is_where(capsys, monkeypatch):
    monkeypatch.delenv("TINYGRAD_LLM_DATA", raising=False)
    assert main(["data", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    states = {line.split()[0]: line for line in lines if not line.startswith(" ")}
    assert "embedded" in states["default"]
    assert "not fetched" in states["tinyshakespeare"]
    assert states["tinyshakespeare"].endswith("1.1 MB")


def test_get_prints_nothing_but_the_path(capsys):
    assert main(["data", "get", "default"]) == 0
    path = Path(capsys.readouterr().out.rstrip("\n"))
    assert len(path.read_text(encoding="utf-8")) > 100_000


def test_get_reads_the_local_copy(capsys, data_folder):
    assert main(["data", "get", "tinyshakespeare"]) == 0
    expected = data_folder / "tinyshakespeare" / "input.txt"
    assert capsys.readouterr().out == f"{expected}\n"


def test_a_typo_gets_the_right_name(capsys):
    assert main(["data", "get", "tinyshakespear"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "did you mean 'tinyshakespeare'" in err


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_115_394, "1.1 MB"),
        (5 * 10**12, "5000.0 GB"),
    ],
)
def test_sizes_as_people_say_them(size, text):
    assert data._readable(size) == text
