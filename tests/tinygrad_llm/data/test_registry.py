"""Named data sets: listing says the truth, getting checks, and a task can add its own."""

import hashlib
from pathlib import Path

import pytest

from tinygrad_llm.data import corpora, registry
from tinygrad_llm.data.registry import DataSet, RemoteFile
from tinygrad_llm.errors import DataError, FetchError


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TINYGRAD_LLM_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(registry, "_data_sets", dict(registry._data_sets))
    return tmp_path / "data", tmp_path / "cache"


def put(folder: Path, name: str, content: bytes):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def entry(name, content):
    digest = hashlib.sha256(content).hexdigest()
    return RemoteFile(name, "http://127.0.0.1:9/" + name, digest, len(content))


def state(name):
    return {line.name: line for line in corpora.available()}[name].state


def test_what_is_known():
    lines = {line.name: line for line in corpora.available()}
    assert list(lines)[:3] == ["default", "stdlib", "tinyshakespeare"]
    shakespeare = lines["tinyshakespeare"]
    assert shakespeare.size == 1_115_394
    assert shakespeare.source == "https://github.com/karpathy/char-rnn"
    assert lines["default"].state == "embedded"
    for name in lines:
        for file in corpora.find(name).files:
            assert file.url.startswith("https://")
            assert len(file.sha256) == 64


def test_a_task_registers_its_own(folders):
    data, cache = folders
    files = (entry("pets/train.tsv", b"cat\n"), entry("pets/test.tsv", b"dog\n"))
    pets = DataSet("pets", "two animals", "here", "CC0", files, kind="classify")
    assert corpora.register(pets) is pets
    corpora.register(pets)  # a module may be imported twice
    assert state("pets") == "not fetched"
    put(cache, "pets/train.tsv", b"cat\n")
    assert state("pets") == "not fetched"
    put(cache, "pets/test.tsv", b"dog\n")
    assert state("pets") == "cached"
    put(data, "pets/train.tsv", b"cat\n")
    put(data, "pets/test.tsv", b"dog\n")
    assert state("pets") == "local"
    assert corpora.get_files("pets") == {
        "train.tsv": data / "pets/train.tsv",
        "test.tsv": data / "pets/test.tsv",
    }
    with pytest.raises(DataError, match=r"'pets' has 2 files \(train.tsv, test.tsv\)"):
        corpora.get("pets")
    put(data, "pets/test.tsv", b"rat\n")
    with pytest.raises(FetchError, match="is not the file that was published"):
        corpora.get_files("pets")
    with pytest.raises(ValueError, match="a data set named 'pets' already"):
        corpora.register(DataSet("pets", "others", "here", "CC0", files[:1]))
    with pytest.raises(ValueError, match="needs either files or make"):
        corpora.register(DataSet("nothing", "", "", ""))


def test_get_writes_embedded_text(folders):
    _, cache = folders
    path = corpora.get("default")
    assert path == cache / "default.txt"
    assert path.read_bytes().decode() == corpora.load_text("default")
    path.write_text("altered, or of another Python")
    assert corpora.get("default").read_bytes().decode() == corpora.load_text("default")


def test_unknown_names_suggest(folders):
    with pytest.raises(DataError, match=r"named 'stdlip'; did you mean 'stdlib'. Data sets: def"):
        corpora.get("stdlip")
