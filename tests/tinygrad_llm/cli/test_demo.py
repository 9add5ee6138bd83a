"""`tllm demo`: the main job, small enough for a test."""

import json
import re

import matplotlib.image
import pytest

from tinygrad_llm.errors import DataError
from tinygrad_llm.training import Run, demo
from tinygrad_llm.training.evaluation import Evaluation
from tinygrad_llm.training.log import read_log


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    """The demo's own settings but for the sizes, which would take a minute."""
    original = demo.gpt_config

    def small(source, folder, steps):
        config = original(source, folder, steps)
        config.n_layer, config.n_embd, config.n_head, config.context = 1, 16, 2, 8
        return config

    monkeypatch.setattr(demo, "gpt_config", small)


def test_the_main_job(tllm, text, tmp_path):
    out = tmp_path / "a demo"
    result = tllm("demo", "--data", text, "--out", out, "--steps", 6)
    assert result.code == 0, result.err
    assert result.err == ""
    parts = re.split(r"^(?=\d\. )", result.out, flags=re.MULTILINE)
    counting, learning, writing, comparing = parts[1:]
    bits = re.search(r"counted in [\d.]+ s: ([\d.]+) bits", counting)[1]
    assert re.search(r"Before training it writes:\n\n(  \| .*\n)+", learning)
    assert "step 6: validation loss" in learning
    assert len(re.findall(r"^  \| ", writing, re.MULTILINE)) >= 2
    table = comparing.partition("parameters")[2].splitlines()[1:3]
    rows = {line.split()[0]: line.split() for line in table}
    assert rows["n-gram"][1] == bits
    evaluations = [e for e in read_log(out / "log.jsonl") if e["event"] == "evaluation"]
    assert rows["GPT"][1] == f"{evaluations[-1]['bits_per_character']:.3f}"
    assert rows["GPT"][3] == str(evaluations[-1]["tokens"])
    ratio = float(rows["GPT"][1]) / float(bits)
    winner = "A draw" if abs(ratio - 1) < 0.01 else "The GPT" if ratio < 1 else "The n-gram"
    assert winner in comparing.partition("GPT  ")[2]
    assert "Done in" in comparing
    narrow = comparing.replace(str(out), "runs/demo")
    assert max(len(line) for line in narrow.splitlines()) <= 88
    # What it says is there, is; and what it says to type, works.
    assert matplotlib.image.imread(out / "loss.png").ndim == 3
    assert (out / "last" / "model.safetensors").exists()
    for line in comparing.splitlines():
        if line.startswith("  tllm ") and "YOUR-TEXT" not in line:
            command = line.partition("#")[0].strip()
            result = tllm(*shell_words(command)[1:])
            assert result.code == 0, result.err


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (1.70, "The GPT wins: it needs 15% fewer bits. The n-gram looks at 5 characters, "),
        (2.20, "The n-gram wins: the GPT needs 10% more bits. The n-gram looks at 5 characters, "),
        (2.01, "A draw, within one per cent. The n-gram looks at 5 characters, "),
        (1.99, "A draw, within one per cent. "),
    ],
)
def test_the_verdict_is_that_of_the_numbers(bits, words, tmp_path):
    runs = []
    for config, result in (
        (demo.ngram_config("default", tmp_path), 2.0),
        (demo.gpt_config("default", tmp_path, 3), bits),
    ):
        model = type("M", (), {"num_parameters": lambda self: 12_345})()
        evaluation = Evaluation(1.0, result, 2.7, 100, 350)
        runs.append(Run(tmp_path, config, model, None, evaluation, 1.0))
    text = demo.verdict(*runs)
    assert text.startswith(words)
    window = runs[1].config.context * 3.5
    assert f"in 12,345 counts; the GPT looks at about {window:.0f} characters, through" in text


def shell_words(command):
    import shlex

    return shlex.split(command)


def test_again_it_replaces_what_it_made_but_not_what_was_trained_on(tllm, text, tmp_path):
    command = ["demo", "--data", text, "--out", tmp_path / "demo", "--steps", 3]
    assert tllm(*command).code == 0
    assert tllm(*command).code == 0
    assert tllm("train", "--resume", tmp_path / "demo", "--steps", 5).code == 0
    result = tllm(*command)
    assert result.code == 2
    assert "holds a run that was trained on since; choose another folder" in result.err
    assert tllm(*command, "--overwrite").code == 0


def test_it_does_not_replace_another_run(tllm, runs, text):
    result = tllm("demo", "--data", text, "--out", runs["gpt"])
    assert result.code == 2
    assert "holds a run that the demo did not make" in result.err


def test_a_text_without_latin_letters(tllm, tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("春が来た。猫は屋根の上で眠る。\n犬が走る、海は青い。" * 60)
    result = tllm("demo", "--data", path, "--out", tmp_path / "run", "--steps", 2)
    assert result.code == 0, result.err


@pytest.mark.parametrize("content", [b"", b"\0\1\2" * 50, b"\xff" * 50, b"short"])
def test_a_text_that_is_none(tllm, tmp_path, content):
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    result = tllm("demo", "--data", path, "--out", tmp_path / "run")
    assert result.code == 2
    assert result.err.startswith("Error: ")


def test_the_number_of_steps_follows_from_the_machines_speed(tllm, text, tmp_path, monkeypatch):
    assert demo.steps_that_fit(0.001, 70) == demo.STEPS
    assert demo.steps_that_fit(0.2, 70) == 300  # 300 x 0.2 s x 1.05 = 63 s of the 64 that are left
    assert demo.steps_that_fit(9.0, 70) == 100  # never so few that nothing is learned
    seen = []
    monkeypatch.setattr(demo, "STEPS", 4)
    monkeypatch.setattr(demo, "steps_that_fit", lambda *given: seen.append(given) or 2)
    result = tllm("demo", "--data", text, "--out", tmp_path / "run")
    assert result.code == 0
    assert re.search(r"A step takes \d+ ms here: 2 steps, not 4\.", result.out)
    ((step_time, left),) = seen
    assert 0 < step_time < 1
    assert 0 < left < demo.SECONDS
    assert json.loads((tmp_path / "run" / "demo.json").read_text()) == {"steps": 2}


def test_timing_does_not_change_the_run(tllm, text, tmp_path, monkeypatch):
    """Its steps are of a rehearsal, on other weights."""
    monkeypatch.setattr(demo, "STEPS", 3)
    assert tllm("demo", "--data", text, "--out", tmp_path / "timed").code == 0
    assert tllm("demo", "--data", text, "--out", tmp_path / "given", "--steps", 3).code == 0
    one, other = (
        (tmp_path / name / "last" / "model.safetensors").read_bytes() for name in ("timed", "given")
    )
    assert one == other


def test_the_text_the_untrained_gpt_writes_is_that_of_the_runs_first_weights(text, tmp_path):
    config = demo.gpt_config(str(text), tmp_path, 3)
    rehearsal = demo.Rehearsal(config)
    assert rehearsal.text("the", 5) == demo.Rehearsal(config).text("the", 5)
    with pytest.raises(DataError):
        demo.Rehearsal(demo.gpt_config(str(tmp_path / "nowhere.txt"), tmp_path, 3))
