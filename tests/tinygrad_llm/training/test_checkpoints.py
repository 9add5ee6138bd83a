"""Whatever happens while a checkpoint is written, a complete one can be read afterwards."""

import errno
import json
import os
import shutil
import signal
import sys

import numpy as np
import pytest

from tinygrad_llm import rng, tokenizers
from tinygrad_llm.errors import CheckpointError
from tinygrad_llm.pretrained.safetensors import load_file, save_file
from tinygrad_llm.training import Trainer, checkpoints, resume, train
from tinygrad_llm.training.parts import build

LAST = checkpoints.LAST
posix = pytest.mark.skipif(os.name != "posix", reason="processes and signals of POSIX")


@pytest.fixture
def before_and_after(configure, tmp_path, state_of):
    """A run folder with the checkpoint of step 2, and a trainer that is at step 3."""
    config = configure(steps=2)
    run = train(config)
    trainer = Trainer(config, run.model, _corpus(config, run.tokenizer))
    checkpoints.load_state(run.checkpoint, trainer, checkpoints.corpus_digest(trainer.corpus))
    trainer.model.train()
    trainer.train_step()
    trainer.step += 1

    def save(folder):
        checkpoints.save_state(folder / LAST, trainer, run.tokenizer, "digest")

    old = state_of(config.folder / LAST)
    other = tmp_path / "other"
    save(other)
    return config.folder, save, old, state_of(other / LAST)


def _corpus(config, tokenizer):
    from tinygrad_llm import data

    return data.prepare(config.data, tokenizer, config.validation)


def in_a_child(task) -> int:
    """Run task() in a copy of this process; its exit status, or minus the signal's number."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            task()
            status = 0
        except OSError:
            status = 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def check(folder, old, new, state_of, save):
    """A reader finds a whole checkpoint at once; so does a resume, which also cleans up."""
    found = checkpoints.complete(folder, LAST)
    assert (found is None) == (old is None) or state_of(found) == new
    if found is not None:
        assert state_of(found) in (old, new)
        checkpoints.load_model(found)
    checkpoints.recover(folder)
    if old is not None or (folder / LAST).exists():
        assert state_of(folder / LAST) in (old, new)
    assert {path.name for path in folder.glob(".*")} == set()
    save(folder)
    assert state_of(folder / LAST) == new


@posix
@pytest.mark.parametrize("with_old", [True, False], ids=["second", "first"])
def test_killed_before_any_operation_on_files(with_old, before_and_after, state_of, tmp_path):
    run, save, old, new = before_and_after
    if not with_old:
        old = None
    saw_old, saw_new = 0, 0
    for number in range(1000):
        folder = tmp_path / f"killed{number}"
        folder.mkdir()
        if with_old:
            shutil.copytree(run / LAST, folder / LAST)

        def task(folder=folder, number=number):
            left = number

            def hook(event, arguments):
                nonlocal left
                if event in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"):
                    if left == 0:
                        os._exit(9)
                    left -= 1

            sys.addaudithook(hook)
            save(folder)

        status = in_a_child(task)
        found = checkpoints.complete(folder, LAST)
        saw_new += found is not None and state_of(found) == new
        saw_old += found is not None and state_of(found) == old
        check(folder, old, new, state_of, save)
        shutil.rmtree(folder)
        if status == 0:
            break
        assert status == 9
    assert number > 20  # seven files: each opened and renamed, and the folders around them
    assert saw_new > 1
    assert saw_old > 20 if with_old else saw_old == 0


@posix
@pytest.mark.parametrize("how", ["killed", "full"])
def test_in_the_middle_of_a_file(how, before_and_after, state_of, tmp_path):
    """No file may grow beyond a limit: the system kills the process there, or fails its write."""
    import resource

    run, save, old, new = before_and_after
    sizes = sorted(len(value) for value in new.values() if isinstance(value, bytes))
    for limit in (0, 1, *(size - 1 for size in sizes), 10 * sizes[-1]):
        folder = tmp_path / f"{how}{limit}"
        folder.mkdir()
        shutil.copytree(run / LAST, folder / LAST)

        def task(folder=folder, limit=limit):
            if how == "killed":
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            save(folder)

        status = in_a_child(task)
        complete = limit > sizes[-1]
        assert status == (0 if complete else -signal.SIGXFSZ if how == "killed" else 2)
        assert state_of(folder / LAST) == (new if complete else old)
        if how == "full":  # a process that lives on has cleaned up after itself
            assert [path.name for path in folder.iterdir()] == [LAST]
        check(folder, old, new, state_of, save)
        shutil.rmtree(folder)


def test_the_disk_is_full_at_any_write(before_and_after, state_of, monkeypatch):
    run, save, old, new = before_and_after
    expected = {path.name for path in run.iterdir()}
    real = open
    for number in (*range(20), *range(20, 10_000, 31)):  # most writes are scraps of JSON
        left = number

        class Full:
            def __init__(self, file):
                self.file = file

            def __enter__(self):
                return self

            def __exit__(self, *error):
                return self.file.__exit__(*error)

            def __getattr__(self, name):
                return getattr(self.file, name)

            def write(self, data):
                nonlocal left
                if left == 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.file.name)
                left -= 1
                return self.file.write(data)

        def opened(path, mode="r", **more):
            file = real(path, mode, **more)
            return Full(file) if "x" in mode or "w" in mode else file

        monkeypatch.setattr("tinygrad_llm.files.open", opened, raising=False)
        try:
            save(run)
        except OSError:
            assert state_of(run / LAST) == old
            assert {path.name for path in run.iterdir()} == expected
        else:
            break
    assert number > 10
    assert state_of(run / LAST) == new


def test_a_full_disk_ends_the_run_with_the_checkpoint_before(configure, monkeypatch, state_of):
    config = configure(checkpoint_interval=2, eval_interval=100)
    real = checkpoints.save_state

    def full(folder, trainer, *more):
        if trainer.step == 4:
            monkeypatch.setattr(checkpoints, "save_file", no_space)
        real(folder, trainer, *more)

    def no_space(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "optimizer.safetensors")

    monkeypatch.setattr(checkpoints, "save_state", full)
    with pytest.raises(OSError, match="No space") as caught:
        train(config)
    (note,) = caught.value.__notes__
    assert "of step 2, is" in note
    assert f"tllm train --resume {config.folder}" in note
    monkeypatch.undo()
    monkeypatch.setattr("tinygrad_llm.training.recorder.plot_loss", lambda *_: None)
    whole = configure(checkpoint_interval=2, eval_interval=100)
    train(whole)
    resume(config.folder)
    assert state_of(config.folder) == state_of(whole.folder)


@posix
def test_a_second_save_after_a_kill_between_the_two_renames(before_and_after, state_of):
    run, save, old, new = before_and_after
    (run / LAST).rename(run / ".last.old")
    shutil.copytree(run / ".last.old", run / ".last.new")
    assert checkpoints.complete(run, LAST) == run / ".last.new"
    shutil.rmtree(run / ".last.new")
    assert checkpoints.complete(run, LAST) == run / ".last.old"
    save(run)
    assert state_of(run / LAST) == new


# -- a checkpoint that was changed --


@pytest.fixture
def run(configure):
    return train(configure(steps=2))


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
def test_a_truncated_file_names_a_tensor(run, name):
    path = run.checkpoint / name
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(CheckpointError, match=rf"{name}: is truncated: tensor '.+' ends at byte"):
        resume(run.folder, steps=4)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
def test_an_altered_byte_names_its_tensor(run, name):
    path = run.checkpoint / name
    data = bytearray(path.read_bytes())
    data[-3] ^= 16
    path.write_bytes(data)
    tensor = list(load_names(path))[-1]
    with pytest.raises(CheckpointError, match=rf"tensor '{tensor}' was altered"):
        resume(run.folder, steps=4)


def load_names(path):
    from tinygrad_llm.pretrained.safetensors import read_header

    tensors = read_header(path).tensors
    return sorted(tensors, key=lambda name: tensors[name].end)


def test_optimiser_tensors_that_do_not_fit_are_named(run):
    path = run.checkpoint / "optimizer.safetensors"
    tensors = load_file(path)
    step = {"step": "2"}
    name = "transformer.h.0.attn.c_attn.weight.exp_avg"
    save_file({**tensors, name: np.zeros((3, 2), np.float32)}, path, step)
    with pytest.raises(CheckpointError, match=rf"{name} has shape \(3, 2\), the parameter \(48, "):
        resume(run.folder, steps=4)
    save_file({k: v for k, v in tensors.items() if k != name}, path, step)
    with pytest.raises(CheckpointError, match=f"there is no {name}"):
        resume(run.folder, steps=4)
    save_file({**tensors, "nobody.exp_avg": np.zeros(2)}, path, step)
    with pytest.raises(CheckpointError, match=r"nobody\.exp_avg belongs to no parameter"):
        resume(run.folder, steps=4)
    save_file(tensors, path, {"step": "1"})
    with pytest.raises(CheckpointError, match="not of the same step"):
        resume(run.folder, steps=4)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"optimizer\.safetensors: cannot be read"):
        resume(run.folder, steps=4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ("[1]", "is not a table"),
        ("{}", "does not hold a run's state: no corpus_sha256.*--overwrite"),
        ("\xff", "cannot be read"),
    ],
)
def test_a_state_that_is_none(run, text, message):
    (run.checkpoint / "trainer_state.json").write_bytes(text.encode("latin1"))
    with pytest.raises(CheckpointError, match=message):
        resume(run.folder, steps=4)


@pytest.mark.parametrize("key", ["step", "best", "rng", "seconds"])
@pytest.mark.parametrize("value", ["gone", "seven", None, [], {}])
def test_a_state_with_a_value_that_makes_no_sense(run, key, value):
    path = run.checkpoint / "trainer_state.json"
    state = json.loads(path.read_text())
    if value == "gone":
        del state[key]
    else:
        state[key] = value
    path.write_text(json.dumps(state))
    if (key, value) == ("best", None):
        resume(run.folder, steps=4)  # no evaluation was finite yet
        return
    with pytest.raises(CheckpointError, match=r"trainer_state\.json"):
        resume(run.folder, steps=4)


def test_a_tokenizer_that_was_swapped(run, tmp_path):
    """Of another size; and of the same size, where only the texts of the ids differ."""
    own = run.tokenizer
    tokenizers.CharTokenizer(map(chr, range(32, 232))).save(run.checkpoint)
    with pytest.raises(CheckpointError, match="the tokenizer has 200 tokens, but the model's voc"):
        checkpoints.load_model(run.checkpoint)
    tokenizers.CharTokenizer(own.characters[::-1]).save(run.checkpoint)
    with pytest.raises(CheckpointError, match="not the one that this model was saved with"):
        checkpoints.load_model(run.checkpoint)
    own.save(run.checkpoint)
    checkpoints.load_model(run.checkpoint)
    (run.checkpoint / "checkpoint.json").unlink()  # another program's checkpoints have none
    checkpoints.load_model(run.checkpoint)


def test_a_configuration_that_does_not_fit_the_weights(run):
    path = run.checkpoint / "config.json"
    config = json.loads(path.read_text())
    for field, value in {"n_embd": 32, "n_head": 4, "n_layer": 2, "vocab_size": 30}.items():
        path.write_text(json.dumps({**config, field: value}))
        with pytest.raises(CheckpointError, match=field):
            checkpoints.load_model(run.checkpoint)
    path.write_text(json.dumps({**config, "model_type": "gpt3"}))
    with pytest.raises(CheckpointError, match="model_type='gpt3' is not known; known are"):
        checkpoints.load_model(run.checkpoint)


def test_the_optimisers_state_goes_by_the_names_of_the_parameters(run, configure):
    """Not by their order, which a later version may change."""
    config = run.config
    rng.manual_seed(1)
    corpus = _corpus(config, run.tokenizer)
    trainer = Trainer(config, build(config, run.tokenizer.vocab_size), corpus)
    for group in trainer.optimizer.param_groups:
        group["params"].reverse()
    checkpoints.load_state(run.checkpoint, trainer, checkpoints.corpus_digest(corpus))
    saved = load_file(run.checkpoint / "optimizer.safetensors")
    for name, parameter in trainer.model.named_parameters():
        state = trainer.optimizer.state[parameter]
        assert state["step"] == 2
        np.testing.assert_array_equal(state["exp_avg"].array, saved[f"{name}.exp_avg"])
        np.testing.assert_array_equal(state["exp_avg_sq"].array, saved[f"{name}.exp_avg_sq"])
