"""What a person sees while a run goes on: a bar on a terminal, plain lines in a pipe."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Protocol, TextIO

STOPPING = "Stopping after this step, with a checkpoint. Ctrl-C again stops at once, without one."
SLOW_STEPS = 3  # the first ones compile and allocate: they say nothing of the time that is left


class Display(Protocol):
    """What the run tells the screen. `say` and `stop` may come before `start`."""

    def start(self, first_step: int, steps: int) -> None: ...

    def step(self, step: int, loss: float, tokens_per_second: float) -> None: ...

    def say(self, text: str) -> None:
        """Lines that stay."""

    def stopping(self) -> None:
        """Called from a signal handler: the user has asked to stop."""

    def stop(self) -> None: ...


class Silent:
    """Shows nothing."""

    def start(self, first_step: int, steps: int) -> None: ...

    def step(self, step: int, loss: float, tokens_per_second: float) -> None: ...

    def say(self, text: str) -> None: ...

    def stopping(self) -> None: ...

    def stop(self) -> None: ...


class Plain:
    """A line every few seconds, for pipes and log files."""

    def __init__(self, stream: TextIO | None = None, every: float = 5.0):
        self.stream, self.every = stream, every

    def start(self, first_step: int, steps: int) -> None:
        self.first, self.steps = first_step, steps
        self.counted = first_step  # the time left is judged by the steps since this one
        self.started = self.shown = time.monotonic()

    def step(self, step: int, loss: float, tokens_per_second: float) -> None:
        now = time.monotonic()
        if now - self.shown >= self.every:
            self.shown = now
            left = (now - self.started) / (step - self.counted) * (self.steps - step)
            self.say(
                f"step {step}/{self.steps}  loss {loss:.4f}  {tokens_per_second:,.0f} tokens/s  "
                f"{duration(left)} left"
            )
        if step == self.first + SLOW_STEPS:
            self.counted, self.started = step, now

    def say(self, text: str) -> None:
        print(text, file=self.stream or sys.stdout, flush=True)

    def stopping(self) -> None:
        _write_from_a_handler(STOPPING)

    def stop(self) -> None: ...


class Bar:
    """A live progress bar: loss, tokens per second, time left."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(highlight=False, markup=False, emoji=False)
        self.progress: Any = None

    def start(self, first_step: int, steps: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.progress = Progress(
            TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
            BarColumn(bar_width=None),
            TextColumn("loss {task.fields[loss]}"),
            TextColumn("{task.fields[speed]} tokens/s"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=self.console,
            expand=True,
            refresh_per_second=4,
        )
        self.speed, self.first = 0.0, first_step
        self.task = self.progress.add_task(
            "", total=steps, completed=first_step, loss="-", speed="-"
        )
        self.progress.start()

    def step(self, step: int, loss: float, tokens_per_second: float) -> None:
        # A mean over about ten steps: single ones jump too much to be read.
        self.speed += (tokens_per_second - self.speed) * (0.1 if self.speed else 1.0)
        self.progress.update(
            self.task, completed=step, loss=f"{loss:.3f}", speed=f"{self.speed:,.0f}"
        )
        if step == self.first + SLOW_STEPS:
            self.speed = 0.0
            self.progress.reset(self.task, completed=step)  # forgets how long they took

    def say(self, text: str) -> None:
        # soft_wrap: the terminal breaks long lines, and the text that is copied has none.
        self.console.print(text, soft_wrap=True)

    def stopping(self) -> None:
        _write_from_a_handler(STOPPING)

    def stop(self) -> None:
        if self.progress is not None:
            self.progress.stop()


def _write_from_a_handler(text: str) -> None:
    # Not print: the handler may have interrupted one, and streams cannot be entered twice.
    os.write(2, f"\n{text}\n".encode())


def display() -> Display:
    """A bar on a terminal; lines elsewhere, or where rich is not installed."""
    if sys.stdout.isatty():
        try:
            return Bar()
        except ModuleNotFoundError:
            return Plain()
    return Plain()


def duration(seconds: float) -> str:
    """12 s, 3:05, 1:02:03."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def table(rows: list[tuple[Any, ...]], header: tuple[str, ...]) -> str:
    """Columns aligned with spaces; the first to the left, the others to the right."""
    cells = [header, *[tuple(str(c) for c in row) for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            c.ljust(w) if i == 0 else c.rjust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )
