"""`tllm eval`: the same numbers as in training, for every family, on any text."""

import json
import math
import re
import shutil

import pytest

from tinygrad_llm.training.log import read_log

ALL = [f"{model}{kind}" for model in ("gpt", "mlp", "rnn", "lstm", "gru", "ngram")
       for kind in ("", "-bpe")]  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_every_family_is_evaluated(name, tllm, runs):
    result = tllm("eval", runs[name], "--json")
    assert result.code == 0
    values = json.loads(result.out, parse_constant=pytest.fail)
    assert values["tokens"] <= values["characters"]
    bits = values["loss"] * values["tokens"] / values["characters"] / math.log(2)
    assert values["bits_per_character"] == pytest.approx(bits)
    assert values["perplexity"] == pytest.approx(math.exp(values["loss"]))
    assert values["data"].endswith("words.txt")
    readable = tllm("eval", runs[name]).out
    assert re.search(rf"^loss +{values['loss']:.4f} nats per token$", readable, re.MULTILINE)
    bits = f"{values['bits_per_character']:.4f}"
    assert re.search(rf"^bits per character +{bits}$", readable, re.MULTILINE)


@pytest.mark.parametrize("name", ["gpt", "lstm-bpe", "ngram"])
def test_it_is_what_training_measured(name, tllm, runs, tmp_path, text):
    """Of the same checkpoint, on the same share of the same text, in the same windows."""
    config = json.loads((runs[name] / "config.json").read_text())
    config = {**config, "out": str(tmp_path / "run"), "validation": 0.23, "eval_tokens": 0}
    toml = tmp_path / "run.toml"
    toml.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in config.items()))
    assert tllm("train", "--config", toml).code == 0
    entries = read_log(tmp_path / "run" / "log.jsonl")
    last = [e for e in entries if e["event"] == "evaluation"][-1]
    values = json.loads(tllm("eval", tmp_path / "run" / "last", "--json").out)
    assert values["loss"] == pytest.approx(last["loss"], rel=1e-6)
    assert values["tokens"] == last["tokens"]
    assert values["validation"] == 0.23


def test_another_text_and_share(tllm, runs, tmp_path, text):
    other = tmp_path / "other.txt"
    other.write_text("the dog sat on a red mat.\n" * 40)
    values = json.loads(tllm("eval", runs["gpt"], "--data", other, "--json").out)
    assert values["characters"] == 104  # a tenth of it
    values = json.loads(
        tllm("eval", runs["gpt"], "--data", other, "--validation", 0.5, "--json").out
    )
    assert values["characters"] == 520


@pytest.mark.parametrize("name", ["gpt", "lstm-bpe", "ngram"])
@pytest.mark.parametrize(("tokens", "context"), [(1, 8), (37, 5), (40, 8)])
def test_as_many_tokens_as_asked_for(name, tokens, context, tllm, runs):
    values = json.loads(
        tllm("eval", runs[name], "--tokens", tokens, "--context", context, "--json").out
    )
    assert values["tokens"] == tokens
    bits = values["loss"] * tokens / values["characters"] / math.log(2)
    assert values["bits_per_character"] == pytest.approx(bits)
    if name != "lstm-bpe":
        assert values["characters"] == tokens


def test_a_checkpoint_that_has_left_its_run(tllm, runs, tmp_path):
    """No run's settings are there to say what text it is of; and a stranger's are none."""
    shutil.copytree(runs["gpt-bpe"] / "last", tmp_path / "model")
    (tmp_path / "config.json").write_text('{"data": "nowhere"}')
    values = json.loads(tllm("eval", tmp_path / "model", "--tokens", 100, "--json").out)
    assert values["data"] == "default"


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("gpt", ["--validation", 0], "--validation=0.0 is not accepted; use more than 0"),
        ("gpt", ["--validation", 1], "--validation=1.0 is not accepted"),
        ("gpt", ["--validation", "nan"], "--validation=nan is not accepted"),
        ("gpt", ["--validation", 1e-17], "too few to hold out"),
        ("gpt", ["--context", 9], "--context=9 is more than the model's 8 positions"),
        ("gpt", ["--context", 0], "0 is not in the range x>=1"),
        ("gpt", ["--tokens", -1], "-1 is not in the range x>=0"),
        ("gpt", ["--data", "nowhere.txt"], "neither a corpus nor a file here"),
        ("gpt", ["--data", "default"], r"is not among the 17 characters of this tokenizer"),
    ],
)
def test_what_a_user_gets_wrong_is_one_message(tllm, runs, name, arguments, message):
    result = tllm("eval", runs[name], *arguments)
    assert result.code == 2
    assert result.out == ""
    assert re.search(message, result.err), result.err


@pytest.mark.parametrize("name", ["mlp", "lstm", "ngram"])
def test_models_without_positions_take_any_window(name, tllm, runs):
    assert tllm("eval", runs[name], "--context", 33).code == 0


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_truncated_checkpoint(name, tllm, runs, tmp_path):
    shutil.copytree(runs["gpt"] / "last", tmp_path / "model")
    path = tmp_path / "model" / name
    path.write_bytes(path.read_bytes()[:-20])
    for command in ("eval", "generate"):
        result = tllm(command, tmp_path / "model")
        assert result.code == 2
        assert name in result.err
        if name == "model.safetensors":
            assert re.search(r"is truncated: tensor '[\w.]+' ends at byte", result.err)
    path.unlink()
    result = tllm("eval", tmp_path / "model")
    assert result.code == 2
    assert result.err.startswith("Error: ")


def test_a_tokenizer_that_was_swapped(tllm, runs, tmp_path):
    shutil.copytree(runs["gpt-bpe"] / "last", tmp_path / "model")
    shutil.copy(runs["gpt"] / "last" / "tokenizer.json", tmp_path / "model" / "tokenizer.json")
    result = tllm("generate", tmp_path / "model")
    assert result.code == 2
    assert re.search("tokenizer has 17 tokens, but the model's vocab_size is 270", result.err)
