"""`tllm`: a thin shell over the rooms below. One file a command; nothing here computes anything.

A command imports the rooms it needs when it runs, so that `tllm --help` answers at once.
"""

import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Sequence

import click

from tinygrad_llm import __version__
from tinygrad_llm.cli import data, demo, doctor, evaluate, generate, info, tokenizer, train
from tinygrad_llm.errors import UserError

USER_ERROR, BUG, INTERRUPTED = 2, 70, 130  # exit codes; 70 is EX_SOFTWARE, 130 is 128 + SIGINT


class _InOrder(click.Group):
    """Lists its commands as they were added: in the order of a first visit."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tllm")
@click.option("--debug", is_flag=True, help="Show the whole traceback when something goes wrong.")
def tllm(debug: bool) -> None:
    """A language-model engine to read from the first line to the last."""


tllm.add_command(demo.command)
tllm.add_command(train.command)
tllm.add_command(generate.command)
tllm.add_command(evaluate.command)
tllm.add_command(tokenizer.command)
tllm.add_command(data.command)
tllm.add_command(info.command)
tllm.add_command(doctor.command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `tllm` with these arguments (default: the process's own) and return the exit code.

    Nothing that a user typed ends in a traceback: 2 for what the user can mend, with the message
    alone; 130 for Ctrl-C; 70 for a bug of ours, with the place of the traceback.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning  # type: ignore[assignment]
        return _run(arguments)


def _run(arguments: list[str]) -> int:
    try:
        code = tllm.main(arguments, prog_name="tllm", standalone_mode=False)
        sys.stdout.flush()  # here, where a closed pipe can still be caught
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as stop:
        # The training loop says in the exception how to go on; click wraps it in an Abort.
        reasons = (stop.__cause__ or stop).args
        click.echo(reasons[0] if reasons else "Interrupted.", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader left, as `head` does. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1  # as click does where it sees it first
    except Exception as error:  # noqa: BLE001 - the outermost place: all become a message
        if "--debug" in arguments:
            traceback.print_exc()
        else:
            click.echo(f"Error: {_explained(error)}", err=True)
        return USER_ERROR if _is_users(error) else BUG


def _show_warning(message: Warning | str, *where: object) -> None:
    click.echo(f"Warning: {message}", err=True)


def _is_users(error: Exception) -> bool:
    """Whether it is the user who can mend it: an input, the disk, memory, a missing package."""
    if isinstance(error, ModuleNotFoundError):
        return not (error.name or "").startswith("tinygrad_llm")
    return isinstance(error, UserError | OSError | MemoryError)


def _explained(error: Exception) -> str:
    """One line on what went wrong and what to do; more only if notes were added on the way."""
    notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
    return _reason(error) + notes


def _reason(error: Exception) -> str:
    match error:
        case UserError():
            return str(error)
        case ModuleNotFoundError(name=name) if _is_users(error):
            return f"this needs the package {name}, which is not installed: pip install {name}"
        case OSError():
            where = f": {error.filename}" if error.filename else ""
            return f"{error.strerror or error}{where}"
        case MemoryError():
            return f"not enough memory. {error}".strip()
    descriptor, path = tempfile.mkstemp(prefix="tllm-", suffix=".log", text=True)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("".join(traceback.format_exception(error)))
    return (
        f"{type(error).__name__}: {error}\n"
        f"This is a bug in tinygrad_llm, please report it with the traceback in {path}"
    )
