"""Whether operations are recorded: `no_grad` and its relatives, per thread."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any


class _Watch:
    """Who sees every operation run, if anybody does (training.profile); one for all threads."""

    observer: Any = None


class _Mode(threading.local):
    """Per thread: whether operations are recorded."""

    enabled = True


watch = _Watch()
mode = _Mode()


class _GradMode:
    """Switches recording for a `with` block, or for a function that it decorates."""

    def __init__(self, enabled: bool):
        self.enabled = enabled
        self.previous: list[bool] = []

    def __enter__(self) -> None:
        self.previous.append(mode.enabled)
        mode.enabled = self.enabled

    def __exit__(self, *error: object) -> None:
        mode.enabled = self.previous.pop()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        # A new switch for every call: threads that share the function do not share the state.
        enabled = self.enabled

        @functools.wraps(function)
        def switched(*args: Any, **kwargs: Any) -> Any:
            with _GradMode(enabled):
                return function(*args, **kwargs)

        @functools.wraps(function)
        def switched_generator(*args: Any, **kwargs: Any) -> Any:
            # Calling a generator function runs nothing yet: switch around every step instead.
            source = function(*args, **kwargs)
            sent = None
            try:
                while True:
                    with _GradMode(enabled):
                        try:
                            value = source.send(sent)
                        except StopIteration as stop:
                            return stop.value
                    sent = yield value
            finally:
                source.close()

        return switched_generator if inspect.isgeneratorfunction(function) else switched


class no_grad(_GradMode):  # noqa: N801  (PyTorch's name)
    """`with no_grad():` computes values only; nothing is saved for a backward pass.

    Also a decorator, `@no_grad()` or `@no_grad`, of functions and generators.
    """

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        return super().__new__(cls) if function is None else cls()(function)

    def __init__(self) -> None:
        super().__init__(False)


inference_mode = no_grad


class enable_grad(_GradMode):  # noqa: N801
    """Undo an outer `no_grad` for a block or a decorated function."""

    def __init__(self) -> None:
        super().__init__(True)


class set_grad_enabled(_GradMode):  # noqa: N801
    """Switch recording from here on; as a `with` block, until its end."""

    def __init__(self, enabled: bool):
        super().__init__(bool(enabled))
        self.before = mode.enabled
        mode.enabled = self.enabled

    def __enter__(self) -> None:
        self.previous.append(self.before)
        mode.enabled = self.enabled

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        mode.enabled = self.before  # decorating a function is no switch by itself
        return super().__call__(function)


def is_grad_enabled() -> bool:
    return mode.enabled
