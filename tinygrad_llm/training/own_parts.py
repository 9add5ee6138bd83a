"""A student's part from a file, for a whole run: "softmax=mine.py:my_softmax"."""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tinygrad_llm import replace as replacing
from tinygrad_llm.errors import ConfigError, UserError
from tinygrad_llm.replace import find, replace


def split_part(text: str) -> tuple[str, Path, str]:
    """ "softmax=mine.py:my_softmax" -> ("softmax", Path("mine.py"), "my_softmax").

    Without ":OBJECT" the object has the part's own name.
    """
    name, found, place = text.partition("=")
    path, colon, attribute = place.rpartition(":")
    if not colon or not path.endswith(".py"):
        path, attribute = place, name.rpartition(".")[2]
    if not (found and name and path and attribute):
        raise ConfigError(
            f"part {text!r} is not accepted; use NAME=FILE:OBJECT, such as softmax=mine.py:softmax"
        )
    return name, Path(path), attribute


@contextlib.contextmanager
def own_parts(parts: Sequence[str]) -> Iterator[None]:
    """Within the block, the parts from the files are in the places of the engine's.

    Raises ConfigError for a file or name that is not there; an error that happens inside of such a
    file becomes a UserError that says where.
    """
    files: dict[Path, Any] = {}
    with contextlib.ExitStack() as stack:
        for text in parts:
            name, path, attribute = split_part(text)
            find(name)  # a wrong name is told before anything of the file is run
            path = path.resolve()
            if path not in files:
                files[path] = _load(path, len(files))
            stack.enter_context(replace(name, _attribute(files[path], path, attribute)))
        if not files:
            yield
            return
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            place = _place_in(error, files)
            if place is None and _raised_in_replace(error):  # it was called, or it returned, wrong
                place = f"a part from {', '.join(map(str, files))}"
            if place is None:
                raise
            raise UserError(f"{place}: {type(error).__name__}: {error}") from error


def _load(path: Path, number: int) -> Any:
    name = f"_part_{number}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ConfigError(f"part: there is no Python file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # as import does; dataclasses, for one, look there
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a student's file does wrong
        line = f"line {error.lineno}" if isinstance(error, SyntaxError) else ""
        place = _place_in(error, [path]) or f"{path}, {line}".rstrip(", ")
        raise UserError(f"{place}: {type(error).__name__}: {error}") from error
    return module


def _attribute(module: Any, path: Path, attribute: str) -> Any:
    if hasattr(module, attribute):
        return getattr(module, attribute)
    names = [name for name in vars(module) if not name.startswith("__")]
    near = difflib.get_close_matches(attribute, names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ConfigError(f"part: {path} defines no {attribute}{hint}")


def _place_in(error: BaseException, files: Any) -> str | None:
    """The last line of one of the files that led to the error."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename) in files:
            return f"{frame.filename}, line {frame.lineno}, in {frame.name}"
    return None


def _raised_in_replace(error: BaseException) -> bool:
    return traceback.extract_tb(error.__traceback__)[-1].filename == replacing.__file__
