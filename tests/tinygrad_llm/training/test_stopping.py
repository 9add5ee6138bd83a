"""Real processes, really killed and interrupted, through the command line."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from tinygrad_llm.training.log import read_log

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

TLLM = [sys.executable, "-m", "tinygrad_llm"]
STEPS = 60


def tllm(cache, *arguments):
    """A process of `tllm`."""
    # The formulas need no compilation, which would be most of the time here.
    environment = {
        **os.environ, "TINYGRAD_LLM_KERNELS": "numpy", "OPENBLAS_NUM_THREADS": "1",
        "TINYGRAD_LLM_CACHE": str(cache), "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    return subprocess.Popen(
        [*TLLM, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment,
    )  # fmt: skip


@pytest.fixture
def start(tmp_path):
    """start("train", ...) -> the process; all that are left are killed at the end."""
    processes = []

    def run(*arguments):
        processes.append(tllm(tmp_path / "cache", *arguments))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def whole(tmp_path_factory, some_text):
    """The folder of the run that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole")
    text = folder / "text.txt"
    text.write_text(some_text)
    finished(tllm(folder / "cache", *settings(text, folder / "run")))
    return folder / "run"


@pytest.fixture
def expected(whole, state_of):
    return state_of(whole)


def settings(text_file, out, **more):
    values = {
        "data": text_file, "out": out, "n-layer": 1, "n-head": 2, "n-embd": 16, "context": 8,
        "batch-size": 3, "dropout": 0.2, "accumulation": 2, "steps": STEPS, "warmup-steps": 5,
        "eval-interval": 20, "eval-tokens": 40, "checkpoint-interval": 3, "log-interval": 1, **more,
    }  # fmt: skip
    return ["train", *(str(x) for name, value in values.items() for x in (f"--{name}", value))]


def wait_for_step(process, folder, step):
    """Until the log has a step; what a process that ended early said."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if any(e["event"] == "step" and e["step"] >= step for e in read_log(folder / "log.jsonl")):
            return
        if process.poll() is not None:
            pytest.fail(process.stderr.read())
        time.sleep(0.005)
    pytest.fail("it hangs")


def finished(process):
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    return out


def test_killed_at_random_moments(start, text_file, tmp_path, state_of, expected):
    draw = random.Random(11)
    folder = tmp_path / "killed"
    process = start(*settings(text_file, folder))
    steps = []
    for target in (1, 15, 30, 40):
        wait_for_step(process, folder, target)
        time.sleep(draw.random() * 0.03)  # in a step, an evaluation, or while writing
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
        steps.append(max(e["step"] for e in read_log(folder / "log.jsonl")))
        process = start("train", "--resume", folder)
    out = finished(process)
    assert "going on from step" in out
    assert steps == sorted(set(steps))
    assert steps[-1] < STEPS
    assert state_of(folder) == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_says_how_to_go_on(number, start, text_file, tmp_path, state_of, expected):
    folder = tmp_path / "a run"  # a name that the shell would take apart
    process = start(*settings(text_file, folder))
    wait_for_step(process, folder, 10)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    last = json.loads((folder / "last" / "trainer_state.json").read_text())["step"]
    assert err.splitlines()[-1] == (
        f"Stopped at step {last} of {STEPS}, saved. Go on with: tllm train --resume '{folder}'"
    )
    assert last >= 10
    assert last == max(e["step"] for e in read_log(folder / "log.jsonl"))  # nothing was lost
    finished(start("train", "--resume", folder))
    assert state_of(folder) == expected


def test_a_second_ctrl_c_stops_at_once(start, text_file, tmp_path, state_of, expected):
    """A step that takes very long: here because of a part that a user has put in."""
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import time\nfrom pathlib import Path\n"
        "import tinygrad_llm.functional as F\noriginal, calls = F.gelu, 0\n"
        "def gelu(x, approximate='none'):\n"
        "    here = Path(__file__).parent\n"
        "    if (here / 'be slow').exists():\n"
        "        (here / 'is slow').touch()\n        time.sleep(30)\n"
        "    return original(x, approximate=approximate)\n"
    )
    folder = tmp_path / "run"
    process = start(*settings(text_file, folder), "--part", f"gelu={slow}")
    wait_for_step(process, folder, 4)
    (tmp_path / "be slow").touch()
    while not (tmp_path / "is slow").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    while "Ctrl-C again stops at once" not in (line := process.stderr.readline()):
        assert line  # else it has ended
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, err = process.communicate(timeout=25)
    assert time.monotonic() - began < 25
    assert process.returncode == 130
    last = json.loads((folder / "last" / "trainer_state.json").read_text())["step"]
    assert f"the last good checkpoint, of step {last}, is {folder / 'last'}" in err
    assert f"Go on with: tllm train --resume {folder}" in err
    (tmp_path / "be slow").unlink()
    finished(start("train", "--resume", folder))  # the part is remembered
    assert state_of(folder) == expected  # in which the part is the engine's own


def test_signals_that_a_background_job_ignores_stay_ignored(start, text_file, tmp_path):
    folder = tmp_path / "run"
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as `nohup` and `&` do
    try:
        process = start(*settings(text_file, folder, steps=40))
    finally:
        signal.signal(signal.SIGINT, previous)
    wait_for_step(process, folder, 2)
    process.send_signal(signal.SIGINT)
    finished(process)
