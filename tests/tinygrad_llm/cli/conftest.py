"""Commands run in this process, and tiny runs of every family to run them on."""

import io
import random
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tinygrad_llm import cli

FAMILIES = ("gpt", "mlp", "rnn", "lstm", "gru", "ngram")
TINY = ["--n-layer", 1, "--n-head", 2, "--n-embd", 8, "--n-hidden", 8, "--context", 8,
        "--batch-size", 3, "--steps", 3, "--eval-tokens", 40, "--order", 3]  # fmt: skip


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _apart(tmp_path_factory, monkeypatch):
    """Tokens are cached in the tests' own folder, and nobody waits for pictures."""
    monkeypatch.setenv("TINYGRAD_LLM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setattr("tinygrad_llm.training.recorder.plot_loss", lambda *_: None)


@pytest.fixture
def tllm(capsys, monkeypatch):
    """tllm("generate", folder, stdin=...) -> what the command returned and printed."""

    def run(*arguments, stdin: str | bytes = "") -> Result:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
        capsys.readouterr()
        code = cli.main(list(map(str, arguments)))
        result = Result(code, *capsys.readouterr())
        assert "Traceback" not in result.err + result.out
        assert "This is a bug" not in result.err, result.err
        return result

    return run


def some_text() -> str:
    draw = random.Random(7)
    words = ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "one", "dog", "red", "house"]
    return "".join(draw.choice(words) + draw.choice("     \n.") for _ in range(600))


@pytest.fixture(scope="session")
def text(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("text") / "words.txt"
    path.write_text(some_text(), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def runs(tmp_path_factory, text) -> dict[str, Path]:
    """A run of every family, with characters ("gpt") and with byte pairs ("gpt-bpe")."""
    parent = tmp_path_factory.mktemp("runs")
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYGRAD_LLM_CACHE", str(parent / "cache"))
        patch.setattr("tinygrad_llm.training.recorder.plot_loss", lambda *_: None)
        for model in FAMILIES:
            for name, more in ((model, []), (f"{model}-bpe", ["--tokenizer", "bpe"])):
                made[name] = parent / name
                arguments = ["--data", text, "--model", model, "--out", made[name], *TINY, *more]
                arguments += ["--vocab-size", "270"]
                assert cli.main(["train", *map(str, arguments)]) == 0
    return made
