"""Runs that take a moment: a short text, one layer of width 16, windows of 8 tokens."""

import json
import random
from pathlib import Path

import pytest

from tinygrad_llm.training import TrainConfig

# Family -> settings that make it tiny, with dropout where it has any.
FAMILIES = {
    "gpt": {"n_layer": 1, "n_head": 2, "n_embd": 16, "dropout": 0.2},
    "mlp": {"order": 4, "n_embd": 6, "n_hidden": 10, "dropout": 0.2},
    "rnn": {"n_layer": 2, "n_embd": 6, "n_hidden": 10, "dropout": 0.2},
    "lstm": {"n_layer": 2, "n_embd": 6, "n_hidden": 10, "dropout": 0.2},
    "gru": {"n_layer": 2, "n_embd": 6, "n_hidden": 10, "dropout": 0.2},
}


@pytest.fixture(scope="session")
def some_text() -> str:
    """Words in which there is something to learn: each is one of a few, spelled the same."""
    draw = random.Random(7)
    words = ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "one", "dog", "red", "house"]
    text = ""
    while len(text) < 3000:
        text += draw.choice(words) + draw.choice("     \n.")
    return text[:3000]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LLM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch, request):
    """Drawing takes longer than a tiny run does."""
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr("tinygrad_llm.training.recorder.plot_loss", lambda *_: None)


@pytest.fixture
def pictures():
    """Ask for it to have loss.png drawn."""


@pytest.fixture
def text_file(tmp_path, some_text) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(some_text, encoding="utf-8")
    return path


@pytest.fixture
def configure(tmp_path, text_file):
    """configure("gpt", steps=3) -> the configuration of a tiny run, each in its own folder."""
    made = 0

    def make(model: str = "gpt", **settings) -> TrainConfig:
        nonlocal made
        made += 1
        values = {
            "data": str(text_file), "model": model, "context": 8, "batch_size": 3, "steps": 6,
            "warmup_steps": 2, "learning_rate": 3e-3, "min_learning_rate": 3e-4,
            "eval_interval": 2, "eval_tokens": 40, "checkpoint_interval": 3, "log_interval": 1,
            "out": str(tmp_path / f"run{made}"), "seed": 5,
            **FAMILIES.get(model, {}), **settings,
        }  # fmt: skip
        return TrainConfig.from_dict(values)

    return make


def _comparable(entry: dict) -> dict:
    return {k: v for k, v in entry.items() if k not in ("seconds", "tokens_per_second")}


@pytest.fixture
def state_of():
    """All that a run has come to, without what a clock says."""

    def read(folder: Path) -> dict:
        folder = Path(folder)
        found = {}
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.name == "trainer_state.json":
                found[name] = _comparable(json.loads(path.read_text()))
            elif path.name == "log.jsonl":
                lines = path.read_text(encoding="utf-8").split("\n")[:-1]
                found[name] = [_comparable(json.loads(line)) for line in lines]
            elif path.is_file() and path.name not in ("loss.png", "config.json"):
                found[name] = path.read_bytes()
        return found

    return read
