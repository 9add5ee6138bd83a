"""`tllm train`: settings from everywhere, every family, and what a user can get wrong."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from tinygrad_llm.training.log import read_log

TINY = ["--n-layer", 1, "--n-head", 2, "--n-embd", 8, "--context", 8, "--batch-size", 3,
        "--steps", 3, "--eval-tokens", 40]  # fmt: skip
ALL = [f"{model}{kind}" for model in ("gpt", "mlp", "rnn", "lstm", "gru", "ngram")
       for kind in ("", "-bpe")]  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_every_family_is_trained_by_the_same_command(name, runs):
    folder = runs[name]
    config = json.loads((folder / "config.json").read_text())
    assert config["model"] == name.removesuffix("-bpe")
    assert os.path.isabs(config["data"])
    files = {path.name for path in (folder / "last").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= files
    assert ("optimizer.safetensors" in files) == (config["model"] != "ngram")
    assert [e["event"] for e in read_log(folder / "log.jsonl")].count("evaluation") >= 1


def test_what_is_printed_is_what_comes_next(tllm, text, tmp_path):
    out = tmp_path / "a run"
    result = tllm("train", "--data", text, "--out", out, *TINY)
    assert result.code == 0
    assert result.err == ""
    lines = result.out.splitlines()
    assert lines[0] == "data: words.txt"
    assert re.fullmatch(r"  [\d,]+ characters, [\d,]+ tokens of 17 kinds, the last 10% held out",
                        lines[1])  # fmt: skip
    assert re.fullmatch(rf"model: gpt, [\d,]+ parameters; kept in {out}", lines[2])
    assert lines[3].startswith("step 0: validation loss ")
    assert lines[-3].startswith("Trained in ")
    assert "bits per character" in lines[-3]
    assert lines[-1] == f"Next: tllm generate '{out}'"  # the text has no capital T for a prompt
    assert tllm("generate", out).code == 0


def test_settings_from_a_file_and_from_options(tllm, text, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text(f'data = "{text}"\nmodel = "gru"\nn_hidden = 12\nsteps = 2\ncontext = 8\n'
                      f'eval_tokens = 40\n')  # fmt: skip
    assert tllm("train", "--config", config, "--n-hidden", 10, "--out", tmp_path / "run").code == 0
    kept = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (kept["model"], kept["n_hidden"], kept["steps"]) == ("gru", 10, 2)
    assert kept["n_layer"] == 1  # the family's default
    model = json.loads((tmp_path / "run" / "last" / "config.json").read_text())
    assert (model["cell"], model["n_hidden"]) == ("gru", 10)


def test_a_setting_without_effect_is_told_if_it_was_given(tllm, text, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text(f'data = "{text}"\nmodel = "lstm"\nactivation = "relu"\n')
    small = ["--n-hidden", 8, "--n-embd", 8, "--context", 8, "--steps", 1, "--eval-tokens", 9]
    result = tllm("train", "--config", config, "--n-head", 4, "--vocab-size", 300, *small,
                  "--out", tmp_path / "run")  # fmt: skip
    assert result.code == 0
    assert sorted(result.err.splitlines()) == [
        "Note: activation has no effect with model=lstm",
        "Note: n_head has no effect with model=lstm",
        "Note: vocab_size has no effect with tokenizer=char",
    ]
    # A run's own file names every setting, which is nobody's choice.
    again = tllm("train", "--config", tmp_path / "run" / "config.json", "--smoothing", "laplace",
                 "--out", tmp_path / "again")  # fmt: skip
    assert again.code == 0
    assert again.err == "Note: smoothing has no effect with model=lstm\n"
    weights = [(tmp_path / run / "last" / "model.safetensors").read_bytes()
               for run in ("run", "again")]  # fmt: skip
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--n-layers", 3], "No such option.*--n-layers.*Did you mean.*--n-layer"),
        (["--n-layer", "three"], "Invalid value for '--n-layer': 'three' is not a valid integer"),
        (["--n-layer", 0], "n_layer=0 is not accepted; it must be at least 1"),
        (["--dropout", "much"], "'much' is not a valid float"),
        (["--learning-rate", "nan"], "learning_rate=nan is not accepted"),
        (["--model", "gtp"], "model='gtp' is not accepted; it must be one of gpt, mlp"),
        (
            ["--model", "ngram", "--smoothing", "none"],
            "smoothing='none' is not accepted; it must be one of lap",
        ),
        (["--data", "nowhere.txt"], "neither a corpus nor a file here"),
        (["--data", "/no/such/folder/x.txt"], "does not exist, and neither does the folder"),
        (["--data", "defualt"], "did you mean 'default'"),
        (["--tokenizer", "bpee"], "tokenizer='bpee' is not accepted; it must be char, bpe"),
        (["--tokenizer", "bpe", "--vocab-size", 100], "vocab_size"),
        (["--context", 100_000], "context=100000 needs at least 100,001"),
        (["--config", "nowhere.toml"], r"cannot read nowhere\.toml: No such file"),
        (["--resume", "nowhere"], "nowhere: there is no such folder"),
        (["--profile", 0], "0 is not in the range x>=1"),
        (["--profile", 1, "--model", "ngram"], "trained by counting"),
        (["extra"], "unexpected extra argument"),
        (["--seed", -1], "seed=-1 is not accepted"),
        (["--out", "/dev/null"], "/dev/null is a file; choose another folder"),
        (["--out", "/dev/null/below"], "Not a directory"),
        (["--part", "softmax"], "part 'softmax' is not accepted; use NAME=FILE:OBJECT"),
        (["--part", "softmax=nowhere.py"], "there is no Python file .*nowhere.py"),
        (["--part", "sofmax=nowhere.py"], "'sofmax' is no part of the engine; did you mean 'soft"),
    ],
)
def test_what_a_user_gets_wrong_is_one_message(tllm, text, tmp_path, arguments, message,
                                               monkeypatch):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    given = [] if {"--data", "--resume", "--config"} & set(map(str, arguments)) else [
        "--data", text]  # fmt: skip
    result = tllm("train", *given, *arguments)
    assert result.code == 2
    assert re.search(message, result.err), result.err
    assert len(result.err.splitlines()) <= 4
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x00\x01\x02" * 99, "is a binary file"),
        (b"caf\xe9 " * 99, "not UTF-8"),
        (b"abc", "too few|needs at least"),
    ],
)
def test_a_file_that_is_no_text(tllm, tmp_path, content, message):
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    result = tllm("train", "--data", path, "--out", tmp_path / "run", *TINY)
    assert result.code == 2
    assert re.search(message, result.err)
    assert not (tmp_path / "run").exists()


def test_a_folder_of_texts(tllm, tmp_path, text):
    (tmp_path / "books" / "more").mkdir(parents=True)
    shutil.copy(text, tmp_path / "books" / "one.txt")
    shutil.copy(text, tmp_path / "books" / "more" / "two.md")
    out = tmp_path / "run"
    assert tllm("train", "--data", tmp_path / "books", "--out", out, *TINY).code == 0
    assert tllm("eval", out, "--json").code == 0


def test_a_saved_tokenizer(tllm, tmp_path, text, runs):
    """The one of another run, or of `tllm tokenizer train`."""
    out = tmp_path / "run"
    tokenizer = runs["gpt-bpe"] / "last"
    assert tllm("train", "--data", text, "--tokenizer", tokenizer, "--out", out, *TINY).code == 0
    same = [(folder / "tokenizer.json").read_bytes() for folder in (tokenizer, out / "last")]
    assert same[0] == same[1]


def test_a_run_is_not_overwritten_unawares(tllm, text, tmp_path):
    out = tmp_path / "run"
    first = ["train", "--data", text, "--out", out, *TINY]
    assert tllm(*first).code == 0
    before = (out / "last" / "model.safetensors").read_bytes()
    result = tllm(*first, "--seed", 2)
    assert result.code == 2
    assert f"tllm train --resume {out}" in result.err
    assert "--overwrite" in result.err
    assert (out / "last" / "model.safetensors").read_bytes() == before
    assert tllm(*first, "--seed", 2, "--overwrite").code == 0
    assert (out / "last" / "model.safetensors").read_bytes() != before


def test_resume_from_the_command_line(tllm, text, tmp_path):
    out = tmp_path / "run"
    assert tllm("train", "--data", text, "--out", out, *TINY).code == 0
    result = tllm("train", "--resume", out)
    assert result.code == 0
    assert "The run is complete: step 3 of 3. To train on: tllm train --resume" in result.out
    result = tllm("train", "--resume", out / "last", "--steps", 5)
    assert result.code == 0
    assert "going on from step 3 of 5" in result.out
    assert "step 5: validation loss" in result.out
    for refused in (["--n-layer", 2], ["--overwrite"], ["--config", "x.toml"], ["--no-bias"],
                    ["--profile", 3], ["--part", "a=b.py"]):  # fmt: skip
        result = tllm("train", "--resume", out, *refused)
        assert result.code == 2
        assert f"{refused[0].replace('--no-', '--').replace('part', 'part')}" in result.err
        assert "cannot be changed, only --steps can" in result.err


def test_a_damaged_checkpoint_is_told_with_what_is_left(tllm, text, tmp_path):
    out = tmp_path / "run"
    first = ["train", "--data", text, "--out", out, *TINY]
    assert tllm(*first).code == 0
    weights = out / "last" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-20])
    result = tllm("train", "--resume", out, "--steps", 5)
    assert result.code == 2
    assert "is truncated" in result.err
    assert f"tllm generate {out / 'best'} can still be used" in result.err
    assert "--overwrite" in result.err
    assert tllm("generate", out / "best", "--tokens", 2).code == 0
    assert tllm(*first, "--overwrite").code == 0
    for name in ("best", "last"):
        shutil.rmtree(out / name)
    (out / "last").mkdir()
    result = tllm("train", "--resume", out)
    assert result.code == 2
    assert "can still be used" not in result.err
    assert "--overwrite" in result.err


def test_profile(tllm, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = tllm("train", "--data", text, *TINY, "--profile", 2)
    assert result.code == 0
    assert result.out.splitlines()[0].split() == [
        "operation", "calls", "forward", "backward", "share",
    ]  # fmt: skip
    for name in ("Attention", "Linear", "optimiser", "a step, in ms"):
        assert name in result.out
    assert not (tmp_path / "runs").exists()  # nothing is trained


# -- a student's part --

SOFTMAX = """
from pathlib import Path

def {name}(x, dim):
    with open(Path(__file__).with_suffix(".calls"), "a") as file:
        file.write("x")
    e = (x - x.detach().amax(dim, keepdim=True)).exp()
    return e / e.sum(dim, keepdim=True)
"""


def test_a_students_softmax_powers_the_run(tllm, text, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(SOFTMAX.format(name="my_softmax"))
    out = tmp_path / "run"
    result = tllm("train", "--data", text, "--out", out, *TINY, "--part",
                  f"softmax={mine}:my_softmax")  # fmt: skip
    assert result.code == 0, result.err
    calls = mine.with_suffix(".calls")
    trained = len(calls.read_text())
    assert trained >= 3 + 2  # each step, and each batch of the evaluations
    # The run remembers it; a checkpoint alone does not need it, but can be given it.
    assert tllm("train", "--resume", out, "--steps", 4).code == 0
    resumed = len(calls.read_text())
    assert resumed > trained
    assert tllm("generate", out, "--tokens", 3).code == 0
    assert len(calls.read_text()) == resumed
    given = ["--part", f"softmax={mine}:my_softmax"]
    assert tllm("generate", out, "--tokens", 3, *given).code == 0
    generated = len(calls.read_text())
    assert generated >= resumed + 3
    assert tllm("eval", out, "--tokens", 40, *given).code == 0
    assert len(calls.read_text()) > generated


def test_the_name_of_the_object_may_be_left_out(tllm, text, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(SOFTMAX.format(name="softmax"))
    out = tmp_path / "run"
    assert tllm("train", "--data", text, "--out", out, *TINY, "--part", f"softmax={mine}").code == 0
    assert mine.with_suffix(".calls").exists()


PARTS = """
from tinygrad_llm import nn, optim, tokenizers

class MyNorm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x) * 1.01

class MyAdamW(optim.AdamW):
    def step(self):
        for group in self.param_groups:
            group["lr"] *= 0.5
        return super().step()

class Backwards(tokenizers.CharTokenizer):
    def __init__(self, characters):
        super().__init__(sorted(characters, reverse=True))
"""


@pytest.mark.parametrize(
    "part", ["nn.LayerNorm={}:MyNorm", "optim.AdamW={}:MyAdamW",
             "tokenizers.CharTokenizer={}:Backwards"]
)  # fmt: skip
def test_layers_optimisers_and_tokenizers_from_a_file(tllm, text, tmp_path, part):
    """They change the run, from a TOML file too, and a resumed one goes on with them."""
    mine = tmp_path / "mine.py"
    mine.write_text(PARTS)
    config = tmp_path / "run.toml"
    config.write_text(f'parts = ["{part.format(mine)}"]\ndata = "{text}"\n')
    runs = {}
    for name, given in {
        "plain": ["--data", text], "mine": ["--config", config], "resumed": ["--config", config],
    }.items():  # fmt: skip
        out = runs[name] = tmp_path / name
        more = ["--checkpoint-interval", 2, "--schedule", "constant"]
        steps = ["--steps", 2 if name == "resumed" else 4]
        result = tllm("train", *given, "--out", out, *TINY, *steps, *more)
        assert result.code == 0, result.err
    assert tllm("train", "--resume", runs["resumed"], "--steps", 4).code == 0
    plain, own, resumed = (
        (out / "last" / "model.safetensors").read_bytes() for out in runs.values()
    )
    assert plain != own
    assert own == resumed


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def softmax(x, dim):\n    return x / nothing\n",
         r"mine\.py, line 2, in softmax: NameError: name 'nothing' is not defined"),
        ("def softmax(x, dim):\n    return x.array\n", "returned ndarray, not a Tensor"),
        ("def softmax(x):\n    return x\n", "TypeError: softmax.. takes 1 positional argument"),
        ("def sotfmax(x, dim):\n    return x\n", "defines no softmax; did you mean sotfmax"),
        ("import nowhere\n", r"mine\.py, line 1, in <module>: ModuleNotFoundError"),
        ("def softmax(x, dim)\n", r"mine\.py, line 1: SyntaxError"),
        ("softmax = 3\n", "3 cannot be called"),
        ("class softmax: pass\n", "softmax is a function, so a function must replace it"),
    ],
)  # fmt: skip
def test_a_students_mistake_is_told_with_its_line(tllm, text, tmp_path, source, message):
    mine = tmp_path / "mine.py"
    mine.write_text(source)
    out = tmp_path / "run"
    result = tllm("train", "--data", text, "--out", out, *TINY, "--part", f"softmax={mine}")
    assert result.code == 2
    assert re.search(message, result.err), result.err


def test_importing_the_commands_imports_no_engine():
    """The options are TrainConfig's fields, and must not bring the training room along."""
    script = (
        "import sys; from tinygrad_llm import cli; cli.main(['train', '--help'])\n"
        "rooms = ('nn', 'optim', 'models', 'data', 'tokenizers', 'generation', 'functional',\n"
        "         'fetch', 'pretrained', 'training.loop', 'training.run')\n"
        "heavy = [f'tinygrad_llm.{room}' for room in rooms]\n"
        "heavy += ['numba', 'matplotlib', 'rich', 'regex', 'urllib.request', 'ssl']\n"
        "print('IMPORTED', [name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert "--n-layer" in result.stdout
    assert result.stdout.endswith("IMPORTED []\n")
