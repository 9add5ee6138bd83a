"""`tllm info`: one file, several files, no config, and what is no checkpoint."""

import json
import re

import numpy as np
import pytest

from tinygrad_llm.cli import main
from tinygrad_llm.pretrained.safetensors import save_file

CONFIG = {"architectures": ["GPT2LMHeadModel"], "n_layer": 2, "n_head": 3, "note": "grün"}


@pytest.fixture
def checkpoint(tmp_path):
    tensors = {"wte.weight": np.ones((7, 6), "f4"), "ln_f.weight": np.ones(6, "f2")}
    save_file(tensors, tmp_path / "model.safetensors", {"step": "12"})
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def test_parameters_size_and_configuration(checkpoint, capsys):
    assert main(["info", str(checkpoint), "--tensors"]) == 0
    out = capsys.readouterr().out
    assert "GPT2LMHeadModel" in out
    assert "48 in 2 tensors (F16, F32)" in out
    assert f"{(checkpoint / 'model.safetensors').stat().st_size:,} bytes" in out
    assert "n_layer" in out
    assert '"grün"' in out
    assert "[7, 6]" in out
    assert "crc32" not in out


def test_a_file_alone(checkpoint, tmp_path, capsys):
    (checkpoint / "config.json").unlink()
    assert main(["info", str(checkpoint / "model.safetensors")]) == 0
    assert "unknown (no config.json says)" in capsys.readouterr().out


def test_a_checkpoint_in_several_files(tmp_path, capsys):
    parts = {"a": np.ones((2, 5), "f4")}, {"b": np.ones(3, "f4")}
    for number, part in enumerate(parts):
        save_file(part, tmp_path / f"model-{number}.safetensors")
    index = {"weight_map": {"a": "model-0.safetensors", "b": "model-1.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert main(["info", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "13 in 2 tensors" in out
    assert "in 2 files" in out


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda d: d / "nowhere", "there is no such folder"),
        (lambda d: d, "holds neither a checkpoint nor a run with one; it holds notes.txt"),
        (lambda d: d / "notes.txt", "notes.txt: is no checkpoint: it does not begin as"),
    ],
    ids=["missing", "other folder", "other file"],
)
def test_what_is_no_checkpoint_gets_a_reason(tmp_path, capsys, make, message):
    (tmp_path / "notes.txt").write_text("these are not weights at all")
    assert main(["info", str(make(tmp_path))]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "[]", "\udcff"], ids=["cut", "list", "bytes"])
def test_a_broken_config_is_named(checkpoint, capsys, text):
    (checkpoint / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert main(["info", str(checkpoint)]) == 2
    err = capsys.readouterr().err
    assert "config.json" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("name", ["gpt", "lstm-bpe", "ngram"])
def test_a_run_is_its_best_checkpoint(runs, name, tllm):
    result = tllm("info", runs[name])
    assert result.code == 0
    place = runs[name] / ("last" if name == "ngram" else "best")
    assert result.out.splitlines()[0].split() == ["checkpoint", str(place)]
    assert "bits per character" in result.out
    assert "sha256" not in result.out
    assert "(format)" not in result.out
    assert re.search(r"^loss +\d+\.\d{4}$", result.out, re.MULTILINE)


def test_a_long_name_moves_the_column(checkpoint, capsys):
    long = "scale_attn_by_inverse_layer_idx"
    (checkpoint / "config.json").write_text(json.dumps({**CONFIG, long: False}))
    assert main(["info", str(checkpoint)]) == 0
    _, _, rows = capsys.readouterr().out.partition("config.json\n")
    lines = rows.splitlines()
    place = lines[-1].index("false")
    assert lines[-1].split() == [long, "false"]
    assert {line[place - 1] for line in lines} == {" "}
    assert all(line[place] != " " for line in lines)
