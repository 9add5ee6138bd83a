"""A live bar on a terminal, plain lines in a pipe, times and tables that can be read."""

import io
import os
import re
import subprocess
import sys

import pytest

from tinygrad_llm.training import progress

posix = pytest.mark.skipif(os.name != "posix", reason="terminals of POSIX")

SHOW = """
import sys, time
from tinygrad_llm.training.progress import display
d = display()
d.say("before it starts: data [bold]and[/bold] :smile:")
d.start(10, 40)
for step in range(11, 41):
    time.sleep(0.02)
    d.step(step, 4.0 - step / 20, 1000.0 * step)
    if step == 20:
        d.say("step 20: validation " + "x" * 100)
d.stop()
d.say("after it stopped")
"""


def in_a_terminal(command, columns=80):
    """What a process writes to a terminal of that many columns, and its exit status."""
    import pty
    import struct

    main, terminal = pty.openpty()
    import fcntl
    import termios

    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns)}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment
    ) as process:
        os.close(terminal)
        written = b""
        while True:
            try:
                block = os.read(main, 1 << 16)
            except OSError:  # Linux's way to say that the other end is closed
                break
            if not block:
                break
            written += block
        status = process.wait(timeout=60)
    os.close(main)
    return written.decode(), status


def plain(text):
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


@posix
def test_a_bar_on_a_terminal():
    written, status = in_a_terminal([sys.executable, "-c", SHOW])
    assert status == 0
    assert "\x1b[" in written  # it is redrawn in place
    text = plain(written)
    assert "before it starts: data [bold]and[/bold] :smile:" in text
    assert re.search(r"step 10/40 .*loss - .* tokens/s", text)
    last = [line for line in re.split(r"[\r\n]+", text) if "step 40/40" in line][-1]
    assert re.search(r"step 40/40 \S+ +loss 2\.000 +[\d,]+ tokens/s +\S+ +left", last)
    assert len(last.rstrip()) <= 80
    assert "x" * 100 in text.replace("\r\n", "\n")  # a long line is the terminal's to break
    assert text.rstrip().endswith("after it stopped")


@posix
def test_a_bar_in_a_narrow_terminal_keeps_to_its_line():
    written, status = in_a_terminal([sys.executable, "-c", SHOW], columns=40)
    assert status == 0
    bars = [line for line in re.split(r"[\r\n]+", plain(written)) if line.startswith("step ")]
    assert bars
    assert all(len(line.rstrip()) <= 40 for line in bars if "validation" not in line)


def test_lines_in_a_pipe():
    result = subprocess.run(
        [sys.executable, "-c", SHOW], capture_output=True, text=True, check=True, timeout=60
    )
    assert "\x1b" not in result.stdout
    lines = result.stdout.splitlines()
    assert lines[0] == "before it starts: data [bold]and[/bold] :smile:"
    assert lines[-1] == "after it stopped"


def test_a_line_every_few_seconds_with_the_time_left(monkeypatch):
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    out = io.StringIO()
    shown = progress.Plain(out, every=5.0)
    shown.start(20, 100)
    for step in range(21, 101):
        now += 1.0
        shown.step(step, 2.5, 12345.6)
    lines = out.getvalue().splitlines()
    assert len(lines) == 16
    assert lines[0] == "step 25/100  loss 2.5000  12,346 tokens/s  1:15 left"
    assert lines[-1] == "step 100/100  loss 2.5000  12,346 tokens/s  0 s left"


def test_without_rich_there_are_lines(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert isinstance(progress.display(), progress.Plain)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (0.4, "0 s"), (12.3, "12 s"), (59.6, "1:00"), (185, "3:05"), (3723, "1:02:03")],
)
def test_durations(seconds, text):
    assert progress.duration(seconds) == text


def test_tables():
    rows = [("n-gram", "1.84", 5), ("GPT", "10.1", 1234)]
    assert progress.table(rows, ("model", "bits", "n")) == (
        "model   bits     n\nn-gram  1.84     5\nGPT     10.1  1234"
    )


def test_silence(capsys):
    silent = progress.Silent()
    silent.start(0, 3)
    silent.step(1, 2.0, 3.0)
    silent.say("no")
    silent.stopping()
    silent.stop()
    assert capsys.readouterr() == ("", "")


@posix
@pytest.mark.parametrize("model", ["mlp", "ngram"])
def test_the_command_on_a_terminal(model, text_file, tmp_path, monkeypatch):
    """Training, and going on with a run, where the bar is asked for things before it has begun."""
    monkeypatch.setenv("TINYGRAD_LLM_KERNELS", "numpy")
    out = tmp_path / "run"
    tllm = [sys.executable, "-m", "tinygrad_llm", "train"]
    settings = ["--steps", "4", "--context", "8", "--n-embd", "4", "--sample-tokens", "9"]
    settings += ["--model", model, "--data", str(text_file), "--out", str(out)]
    for arguments in (settings, ["--resume", str(out), "--steps", "6"]):
        written, status = in_a_terminal([*tllm, *arguments])
        text = plain(written)
        assert status == 0, text
        assert "Traceback" not in text
        assert "bits per character" in text
        if model != "ngram":
            assert f"step {arguments[-1] if '--resume' in arguments else 4}/" in text
            assert "  | " in text  # the samples


@posix
def test_ctrl_c_on_a_terminal(text_file, tmp_path, monkeypatch):
    """The terminal sends the signal, and what is said is below the bar."""
    monkeypatch.setenv("TINYGRAD_LLM_KERNELS", "numpy")
    script = (
        "import os, signal, sys, threading\n"
        "from tinygrad_llm import cli\n"
        "from tinygrad_llm.training.loop import Trainer\n"
        "original = Trainer.train_step\n"
        "def step(self):\n"
        "    if self.step == 5:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    return original(self)\n"
        "Trainer.train_step = step\n"
        "sys.exit(cli.main(sys.argv[1:]))\n"
    )
    settings = ["--steps", "400", "--context", "8", "--n-embd", "4", "--model", "mlp"]
    written, status = in_a_terminal(
        [sys.executable, "-c", script, "train", *settings, "--data", str(text_file),
         "--out", str(tmp_path / "run")]
    )  # fmt: skip
    text = plain(written)
    assert status == 130
    assert progress.STOPPING in text
    last = text.rstrip().replace("\r\n", "\n").splitlines()[-1]
    assert last.startswith("Stopped at step 6 of 400, saved. Go on with: tllm train --resume")


def test_the_time_left_does_not_count_the_steps_that_compile(monkeypatch):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    out = io.StringIO()
    shown = progress.Plain(out, every=5.0)
    shown.start(0, 103)
    for step in range(1, 104):
        now += 20.0 if step == 1 else 1.0
        shown.step(step, 2.5, 100.0)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("step 1/103 ")
    assert [line.rpartition("  ")[2] for line in lines[1:3]] == ["1:37 left", "1:32 left"]


def test_the_bar_forgets_them_too():
    pytest.importorskip("rich")
    bar = progress.Bar()
    bar.start(5, 100)
    try:
        for step in range(6, 9):
            bar.step(step, 2.0, 1.0)
        bar.step(9, 2.0, 5000.0)
        assert bar.speed == 5000.0
        (task,) = bar.progress.tasks
        assert (task.completed, task.total, task.fields["loss"]) == (9, 100, "2.000")
        assert len(task._progress) <= 1  # the samples of its speed
    finally:
        bar.stop()
