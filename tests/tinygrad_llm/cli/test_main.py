"""The shell around every command: what users see when something goes wrong, and how fast it is."""

import os
import signal
import subprocess
import sys
import time

import click
import pytest

import tinygrad_llm
from tinygrad_llm import cli
from tinygrad_llm.errors import UserError

TLLM = [sys.executable, "-m", "tinygrad_llm"]


def _run(*arguments, **more):
    return subprocess.run(
        [*TLLM, *arguments], capture_output=True, text=True, timeout=60, check=False, **more
    )


@pytest.fixture
def failing(monkeypatch):
    """A command `fail` that raises what it is told to."""

    def install(error: BaseException):
        @click.command("fail")
        def fail() -> None:
            raise error

        monkeypatch.setitem(cli.tllm.commands, "fail", fail)
        return cli.main(["fail"])

    return install


def test_a_users_error_is_its_message_and_nothing_else(failing, capsys):
    assert failing(UserError("corpus.txt: is empty; give a file with text")) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "Error: corpus.txt: is empty; give a file with text\n")


def test_a_full_disk_names_the_file(failing, capsys):
    assert failing(OSError(28, "No space left on device", "m.safetensors")) == 2
    assert capsys.readouterr().err == "Error: No space left on device: m.safetensors\n"


def test_a_missing_package_says_what_to_install(failing, capsys):
    assert failing(ModuleNotFoundError("No module named 'regex'", name="regex")) == 2
    assert capsys.readouterr().err == (
        "Error: this needs the package regex, which is not installed: pip install regex\n"
    )


def test_too_little_memory_is_no_bug(failing, capsys):
    assert failing(MemoryError("Unable to allocate 9 GiB")) == 2
    assert capsys.readouterr().err == "Error: not enough memory. Unable to allocate 9 GiB\n"


def test_ctrl_c_says_what_the_command_says(failing, capsys):
    assert failing(KeyboardInterrupt("Saved step 7; go on with tllm train --resume")) == 130
    assert capsys.readouterr().err.strip() == "Saved step 7; go on with tllm train --resume"
    assert failing(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err.strip() == "Interrupted."


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("oh"), ModuleNotFoundError("no", name="tinygrad_llm.nowhere")]
)
def test_a_bug_of_ours_leaves_its_traceback_in_a_file(
    failing, capsys, tmp_path, monkeypatch, error
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert failing(error) == 70
    err = capsys.readouterr().err
    assert err.startswith(f"Error: {type(error).__name__}: ")
    assert "Traceback" not in err
    (log,) = tmp_path.iterdir()
    assert str(log) in err
    assert "Traceback" in log.read_text()
    assert "in fail" in log.read_text()


def test_debug_shows_the_traceback_at_once(monkeypatch, capsys):
    @click.command("fail")
    def fail() -> None:
        raise UserError("no")

    monkeypatch.setitem(cli.tllm.commands, "fail", fail)
    assert cli.main(["--debug", "fail"]) == 2
    assert "in fail" in capsys.readouterr().err


def test_a_typo_in_a_command_gets_the_right_one():
    result = _run("docter")
    assert result.returncode == 2
    assert "Did you mean 'doctor'?" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(os.name != "posix", reason="signals and pipes of POSIX")
def test_a_reader_that_leaves_is_no_error():
    command = " ".join(TLLM) + " doctor"
    # The pipe is closed before anything is written.
    result = subprocess.run(
        ["bash", "-c", f"{command} | true; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stderr == ""
    assert result.returncode in (0, 1)


@pytest.mark.skipif(os.name != "posix", reason="signals and pipes of POSIX")
def test_ctrl_c_in_a_real_process_is_one_line(tmp_path):
    script = (
        "import click, sys, time\n"
        "from tinygrad_llm import cli\n"
        "@cli.tllm.command('wait')\n"
        "def wait():\n"
        "    print('ready', flush=True); time.sleep(60)\n"
        "sys.exit(cli.main(['wait']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.split() == ["Interrupted."]


def test_help_is_quick_and_imports_no_heavy_room():
    script = (
        "import sys; from tinygrad_llm import cli; cli.main(['--help'])\n"
        "heavy = {'numba', 'matplotlib', 'rich', 'regex', 'torch', 'tinygrad_llm.tokenizers'}\n"
        "print('IMPORTED', sorted(heavy & set(sys.modules)))"
    )
    best = 9.0
    for _ in range(3):  # the best of three: a busy machine is no reason to fail
        start = time.perf_counter()
        result = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
        )
        best = min(best, time.perf_counter() - start)
    assert "IMPORTED []" in result.stdout
    assert best < 1.0  # 0.5 s on a quiet machine


def _commands(group: click.Group, path=()):
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))


ALL_COMMANDS = [path for path, _ in _commands(cli.tllm)]


@pytest.mark.parametrize("path", [(), *ALL_COMMANDS], ids=" ".join)
def test_every_command_explains_itself_within_80_columns(path, capsys):
    assert cli.main([*path, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: {' '.join(('tllm', *path))} ")
    assert max(map(len, text.splitlines())) <= 80
    command = dict(_commands(cli.tllm))[path] if path else cli.tllm
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{parameter.name} has no help"


def test_the_version_is_the_package_s(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"tllm, version {tinygrad_llm.__version__}\n"


def test_no_colour_codes_in_a_pipe():
    result = _run("doctor", env={**os.environ, "NO_COLOR": "1"})
    assert "\x1b" not in result.stdout + result.stderr


def test_every_option_is_described_alike():
    """A sentence, and the default as click shows it."""
    context = click.Context(cli.tllm)
    commands = [cli.tllm.get_command(context, name) for name in cli.tllm.list_commands(context)]
    commands += [sub for c in commands if isinstance(c, click.Group) for sub in c.commands.values()]
    options = [o for c in commands for o in c.params if isinstance(o, click.Option)]
    assert len(options) > 50
    for option in options:
        text, _, default = option.help.partition("  [default: ")
        assert text[0].isupper(), option.help
        assert text.endswith("."), option.help
        assert "[" not in text, option.help
        assert not default or default.endswith("]"), option.help
