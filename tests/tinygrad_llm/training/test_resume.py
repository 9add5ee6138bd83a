"""A run that was stopped at any step goes on as if nothing had happened, bit for bit."""

import itertools

import numpy as np
import pytest

from tinygrad_llm import rng
from tinygrad_llm.errors import CheckpointError, ConfigError, DataError
from tinygrad_llm.training import TrainConfig, resume, train
from tinygrad_llm.training.recorder import Recorder

EXACT = {"accumulation": 2, "sample_tokens": 5}


class Killed(BaseException):
    """Stands for the power going off: nothing of the engine catches or cleans up after it."""


@pytest.fixture
def killed_at(monkeypatch):
    """killed_at(n): the n-th report of the loop is the last; it is written only if n is odd.

    Reports are steps, evaluations and checkpoints. killed_at(None) kills no more.
    """
    last: int | None = None
    counter = itertools.count()
    original = Recorder.__call__

    def report(self, event, **values):
        now = next(counter)
        if now == last and now % 2 == 0:
            raise Killed
        original(self, event, **values)
        if now == last:
            raise Killed

    def arrange(number):
        nonlocal last, counter
        last, counter = number, itertools.count()

    monkeypatch.setattr(Recorder, "__call__", report)
    return arrange


def finish(config, killed_at):
    killed_at(None)
    rng.manual_seed(99)  # what another process would start with
    resume(config.folder)


@pytest.mark.parametrize("model", ["gpt", "mlp", "rnn", "lstm", "gru"])
def test_killed_at_any_moment_the_continued_run_equals_the_uninterrupted_one(
    model, configure, state_of, killed_at
):
    whole = configure(model, **EXACT)
    train(whole)
    expected = state_of(whole.folder)
    assert expected["last/trainer_state.json"]["step"] == 6
    for number in itertools.count():
        config = configure(model, **EXACT)
        killed_at(number)
        try:
            train(config)
        except Killed:
            finish(config, killed_at)
            assert state_of(config.folder) == expected, f"killed at report {number}"
        else:
            break
    assert number > 10  # 6 steps, 4 evaluations, 2 checkpoints


def test_killed_again_and_again(configure, state_of, killed_at):
    settings = {**EXACT, "checkpoint_interval": 1, "steps": 8}
    whole = configure(**settings)
    train(whole)
    config = configure(**settings)
    killed_at(4)
    with pytest.raises(Killed):
        train(config)
    for _ in range(30):
        killed_at(4)  # gets one step further each time
        try:
            resume(config.folder)
        except Killed:
            continue
        break
    assert state_of(config.folder) == state_of(whole.folder)


def test_dropout_is_really_drawn_anew_from_where_it_stopped(configure, state_of, killed_at):
    """The test above must be able to fail: a forgotten random state shows."""
    whole = configure(**EXACT)
    train(whole)
    config = configure(**EXACT)
    killed_at(8)
    with pytest.raises(Killed):
        train(config)
    path = config.folder / "last" / "trainer_state.json"
    text = path.read_text()
    assert '"streams"' in text
    path.write_text(text.replace('"streams": ', '"streams": 1'))
    finish(config, killed_at)
    assert state_of(config.folder) != state_of(whole.folder)


def test_evaluations_and_samples_do_not_disturb_the_run(configure, state_of):
    often = configure(eval_interval=1, sample_tokens=7, log_interval=1)
    never = configure(eval_interval=100, sample_tokens=0, log_interval=1)
    train(often)
    train(never)
    for name in ("last/model.safetensors", "last/optimizer.safetensors"):
        assert state_of(often.folder)[name] == state_of(never.folder)[name]
    losses = [
        [e["loss"] for e in state_of(c.folder)["log.jsonl"] if e["event"] == "step"]
        for c in (often, never)
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 6


def test_a_bpe_tokenizer_is_that_of_the_checkpoint(configure, state_of, killed_at):
    settings = {**EXACT, "tokenizer": "bpe", "vocab_size": 270}
    whole = configure(**settings)
    train(whole)
    config = configure(**settings)
    killed_at(8)
    with pytest.raises(Killed):
        train(config)
    finish(config, killed_at)
    assert state_of(config.folder) == state_of(whole.folder)


def test_an_ngram_is_counted_again(configure, state_of):
    config = configure("ngram", order=3)
    first = train(config)
    before = state_of(config.folder)
    again = resume(config.folder)
    assert state_of(config.folder) == before
    assert again.evaluation == first.evaluation


def test_more_steps_go_on_from_the_last_one_and_stay(configure):
    config = configure(steps=4)
    train(config)
    longer = resume(config.folder, steps=7)
    assert longer.config.steps == 7
    # The new number of steps decides the schedule, so the next resume must know it.
    assert resume(config.folder).config.steps == 7
    with pytest.raises(ConfigError, match="at step 7 already; steps=5 is not accepted"):
        resume(config.folder, steps=5)


def test_a_complete_run_is_left_as_it_is(configure, state_of):
    config = configure()
    train(config)
    before = state_of(config.folder)
    run = resume(config.folder)
    assert run.evaluation is None
    assert state_of(config.folder) == before


def test_a_run_is_resumed_from_another_folder(configure, monkeypatch, tmp_path, text_file):
    monkeypatch.chdir(tmp_path)
    config = configure(data=text_file.name, out="here", steps=3)
    train(config)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert resume(tmp_path / "here", steps=5).config.steps == 5
    assert resume(tmp_path / "here" / "last", steps=6).folder == tmp_path / "here"


def test_what_does_not_belong_to_the_run_is_refused(configure, text_file, tmp_path):
    with pytest.raises(CheckpointError, match="no such folder"):
        resume(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"no config\.json in it"):
        resume(tmp_path)
    config = configure()
    train(config)
    path = config.folder / "config.json"
    saved = path.read_text()
    path.write_text(saved.replace('"n_embd": 16', '"n_embd": 32'))
    with pytest.raises(CheckpointError, match="n_embd=32, but the one in .*last has n_embd=16"):
        resume(config.folder)
    path.write_text(saved.replace('"n_embd"', '"n_embed"'))
    with pytest.raises(ConfigError, match="'n_embed' is no setting of a run; did you mean n_embd"):
        resume(config.folder)
    path.write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read"):
        resume(config.folder)
    path.write_text(saved)
    text_file.write_text("X" + text_file.read_text()[1:])
    with pytest.raises((CheckpointError, ValueError), match="text|characters"):
        resume(config.folder, steps=9)


def test_a_changed_text_is_noticed(configure, text_file):
    config = configure()
    train(config)
    text = text_file.read_text()
    text_file.write_text(text[::-1])  # the same characters, and as many
    with pytest.raises(DataError, match="the text, or how it is split, is not what the run"):
        resume(config.folder, steps=9)


def test_train_does_not_touch_a_run_that_is_there(configure, state_of):
    config = configure()
    train(config)
    before = state_of(config.folder)
    with pytest.raises(ConfigError, match="holds a run already.*--resume.*--out.*--overwrite"):
        train(config)
    # Not even with overwrite, if the new run cannot begin.
    impossible = TrainConfig.from_dict({**config.to_dict(), "context": 10_000})
    with pytest.raises(ConfigError, match="has 2,700 tokens, but context=10000 needs"):
        train(impossible, overwrite=True)
    assert state_of(config.folder) == before
    again = TrainConfig.from_dict({**config.to_dict(), "seed": 6})
    train(again, overwrite=True)
    assert state_of(config.folder) != before
    with pytest.raises(ConfigError, match="is a checkpoint, not a run"):
        train(TrainConfig.from_dict({**config.to_dict(), "out": str(config.folder / "last")}))


def test_overwriting_leaves_nothing_of_the_old_run(configure, state_of):
    """Also what a killed save of the old run had set aside must not come back."""
    config = configure()
    train(config)
    expected = state_of(config.folder)
    (config.folder / "last").rename(config.folder / ".last.old")
    (config.folder / "extra.txt").write_text("mine")
    train(config, overwrite=True)
    assert state_of(config.folder) == {**expected, "extra.txt": b"mine"}
    assert not [path for path in config.folder.iterdir() if path.name.startswith(".")]


def test_the_weights_after_a_resume_are_those_of_the_file(configure):
    config = configure(steps=3)
    first = train(config)
    again = resume(config.folder)
    for name, tensor in first.model.state_dict().items():
        np.testing.assert_array_equal(tensor.array, again.model.state_dict()[name].array)


@pytest.mark.slow
def test_with_matrices_that_are_worth_several_threads(configure, state_of, killed_at, text_file):
    """In tiny runs BLAS and the kernels use one; sums must not depend on who comes first."""
    text_file.write_text(text_file.read_text() * 5)
    settings = {"n_layer": 2, "n_embd": 128, "n_head": 4, "context": 64, "batch_size": 8,
                "accumulation": 2, "steps": 8}  # fmt: skip
    whole = configure(**settings)
    train(whole)
    for number in (5, 9, 12):
        config = configure(**settings)
        killed_at(number)
        with pytest.raises(Killed):
            train(config)
        finish(config, killed_at)
        assert state_of(config.folder) == state_of(whole.folder)
