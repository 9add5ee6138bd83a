"""Settings: from Python, TOML and JSON; what is wrong with one is said in words that help."""

import dataclasses
import json
import math
import tomllib

import pytest

from tinygrad_llm import optim
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.models import ngram
from tinygrad_llm.training import TrainConfig
from tinygrad_llm.training.config import MODELS, SMOOTHINGS, USED_BY


def test_a_file_and_what_wins_over_it(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('model = "lstm"\nn_embd = 24  # a comment\nlearning_rate = 1\ndropout = 0.25\n')
    config = TrainConfig.from_file(path, {"n_embd": 32})
    assert (config.model, config.n_embd, config.dropout) == ("lstm", 32, 0.25)
    assert (config.learning_rate, type(config.learning_rate)) == (1.0, float)
    assert config.n_layer == 1  # the default of recurrent models, not of GPT
    assert TrainConfig.from_dict(config.to_dict()) == config


def test_every_field_says_what_it_is():
    for field in dataclasses.fields(TrainConfig):
        assert field.metadata["help"], field.name


@pytest.mark.parametrize("model", ["gpt", "mlp", "rnn", "lstm", "gru", "ngram"])
def test_defaults_of_every_family_are_accepted(model):
    config = TrainConfig.from_dict({"model": model})
    assert config.model == model
    assert tomllib.loads("a = 1")  # the reader that from_file uses is the standard library's


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("n_layer", 0, "n_layer=0 is not accepted; it must be at least 1"),
        ("n_layer", 2.0, "n_layer=2.0 is not accepted; it must be of type int"),
        ("n_layer", True, "n_layer=True is not accepted; it must be of type int"),
        ("n_layer", "4", "n_layer='4' is not accepted; it must be of type int"),
        ("bias", 1, "bias=1 is not accepted; it must be of type bool"),
        ("data", 5, "data=5 is not accepted; it must be of type str"),
        ("dropout", 1.0, r"dropout=1\.0 is not accepted; it must be less than 1"),
        ("dropout", -0.1, r"dropout=-0\.1 is not accepted; it must be at least 0"),
        ("learning_rate", math.nan, "learning_rate=nan is not accepted"),
        ("learning_rate", math.inf, "learning_rate=inf is not accepted; .* finite"),
        ("model", "gtp", "model='gtp' is not accepted; it must be one of gpt, mlp, rnn"),
        ("schedule", "cos", "schedule='cos' is not accepted; it must be one of cosine, linear"),
        ("n_head", 3, "n_embd=128 is not accepted; it must be a multiple of n_head=3"),
        ("validation", 0.0, "validation=0.0 is not accepted; it must be more than 0"),
        ("seed", -1, "seed=-1 is not accepted"),
        ("seed", 2**64, r"less than 2\*\*64"),
        ("steps", -1, "steps=-1 is not accepted"),
        ("learning_rate", 1e-5, "min_learning_rate=0.0001 is not accepted; .* at most learning_r"),
        ("parts", "softmax=a.py", "parts='softmax=a.py' is not accepted; it must be a list"),
        ("parts", [1], r"parts=\[1\] is not accepted"),
        ("n_layers", 4, "'n_layers' is no setting of a run; did you mean n_layer"),
        ("zzz", 4, "'zzz' is no setting of a run; settings: data, validation"),
        ("model", {"n_layer": 3}, r"\[model\] is a table; settings are plain lines"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_accepted(name, value, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig.from_dict({name: value})


def test_a_constant_rate_needs_no_lowest_one():
    config = TrainConfig(schedule="constant", learning_rate=1e-5)
    assert config.learning_rate_at(config.steps - 1) == 1e-5


@pytest.mark.parametrize(
    ("steps", "warm_up"), [(0, 0), (9, 0), (60, 6), (999, 99), (1000, 100), (2000, 100)]
)
def test_a_short_run_is_not_all_warm_up(steps, warm_up):
    config = TrainConfig(steps=steps)
    assert config.warmup_steps == warm_up
    assert TrainConfig(steps=steps, warmup_steps=150).warmup_steps == 150  # what is asked for
    # A run that goes on to more steps keeps it, and so the learning rates that it had.
    assert dataclasses.replace(config, steps=5 * steps).warmup_steps == warm_up
    if steps:
        peak = max(config.learning_rate_at(step) for step in range(steps))
        assert peak > 0.9 * config.learning_rate


def test_steps_that_are_no_number_are_refused_before_the_warm_up():
    with pytest.raises(ConfigError, match="steps='9' is not accepted; it must be of type int"):
        TrainConfig.from_dict({"steps": "9"})


def test_the_smoothings_are_those_of_the_model():
    assert ngram.SMOOTHINGS == SMOOTHINGS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"n_layer 4", "is not TOML .* lines such as: n_layer = 4"),
        (b"\xff\xfe", "is not TOML"),
        (b"n_layer = 0", "n_layer=0 is not accepted"),
        (b"n_leyer = 1", r"run\.toml: 'n_leyer' is no setting of a run; did you mean n_layer"),
        (b"[model]\nn_layer = 1", r"run\.toml: \[model\] is a table"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, content, message):
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        TrainConfig.from_file(path)


def test_the_configuration_of_a_run_is_a_file_of_settings(tmp_path):
    path = tmp_path / "config.json"
    config = TrainConfig(model="lstm", n_layer=2, steps=70, parts=["softmax=mine.py:softmax"])
    path.write_text(json.dumps(config.to_dict()))
    assert TrainConfig.from_file(path) == config
    assert TrainConfig.from_file(path, {"n_layer": 3}).n_layer == 3
    for content, message in (
        ("n_layer = 4", r'config\.json is not JSON .* It should have {"n_layer": 4}'),
        ("[4]", "is not a table of names and values"),
        ('{"n_leyer": 4}', r"config\.json: 'n_leyer' is no setting of a run; did you mean n_layer"),
    ):
        path.write_text(content)
        with pytest.raises(ConfigError, match=message):
            TrainConfig.from_file(path)


def test_settings_that_a_run_does_not_use():
    names = {f.name for f in dataclasses.fields(TrainConfig)}
    assert USED_BY.keys() <= names
    unused = {
        model: {line.split()[0] for line in TrainConfig(model=model).without_effect(names)}
        for model in MODELS
    }
    assert unused["gpt"] == {"n_hidden", "activation", "order", "smoothing", "vocab_size"}
    assert unused["mlp"] == {"n_layer", "n_head", "bias", "smoothing", "vocab_size"}
    assert unused["lstm"] == {"n_head", "activation", "bias", "order", "smoothing", "vocab_size"}
    assert {"steps", "learning_rate", "n_embd"} <= unused["ngram"]
    assert not {"order", "smoothing", "eval_tokens", "data"} & unused["ngram"]
    config = TrainConfig(tokenizer="bpe", schedule="constant")
    assert config.without_effect(["vocab_size", "min_learning_rate", "steps"]) == [
        "min_learning_rate has no effect with schedule=constant"
    ]


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*nowhere\.toml: No such file"):
        TrainConfig.from_file(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigError, match="cannot read .*: Is a directory|Permission denied"):
        TrainConfig.from_file(tmp_path)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "wsd", "constant", "inverse-sqrt"])
def test_the_schedule_rises_to_the_peak_and_ends_low(schedule):
    config = TrainConfig(
        schedule=schedule, steps=50, warmup_steps=9, learning_rate=0.3, min_learning_rate=0.01
    )
    rates = [config.learning_rate_at(step) for step in range(50)]
    assert rates[:9] == sorted(rates[:9])
    assert rates[0] > 0
    assert max(rates) == pytest.approx(0.3)
    assert min(rates[9:]) >= 0.01
    expected = optim.learning_rate(schedule, 30, peak=0.3, lowest=0.01, warmup_steps=9, steps=50)
    assert rates[30] == expected
    if schedule in ("cosine", "linear", "wsd"):
        assert rates[-1] < 0.05


def test_where_a_run_is_kept(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "novels").mkdir()
    assert TrainConfig().folder.as_posix() == "runs/default-gpt"
    assert TrainConfig(data="books/war.txt", model="lstm").folder.as_posix() == "runs/war-lstm"
    assert TrainConfig(data="novels/").folder.as_posix() == "runs/novels-gpt"
    assert TrainConfig(data=".").folder.as_posix() == f"runs/{tmp_path.name}-gpt"
    assert TrainConfig(out="here").folder.as_posix() == "here"
    assert TrainConfig(data="books/war.txt").data_name == "war.txt"
