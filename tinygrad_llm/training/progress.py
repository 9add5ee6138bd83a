"""What a person sees while a run goes on: a bar on a terminal, plain lines in a pipe."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol, TextIO


class Display(Protocol):
    """What the run tells the screen."""

    def start(self, first_step: int, steps: int) -> None: ...

    def step(self, step: int, loss: float, tokens_per_second: float) -> None: ...

    def say(self, text: str) -> None:
        """A line that stays."""

    def stop(self) -> None: ...


class Silent:
    """Shows nothing."""

    def start(self, first_step: int, steps: int) -> None: ...

    def step(self, step: int, loss: float, tokens_per_second: float) -> None: ...

    def say(self, text: str) -> None: ...

    def stop(self) -> None: ...


class Plain:
    """A line every few seconds, for pipes and log files."""

    def __init__(self, stream: TextIO | None = None, every: float = 5.0):
        self.stream, self.every = stream, every

    def start(self, first_step: int, steps: int) -> None:
        self.first, self.steps = first_step, steps
        self.started = self.shown = time.monotonic()

    def step(self, step: int, loss: float, tokens_per_second: float) -> None:
        now = time.monotonic()
        if now - self.shown >= self.every:
            self.shown = now
            left = (now - self.started) / (step - self.first) * (self.steps - step)
            self.say(
                f"step {step}/{self.steps}  loss {loss:.4f}  {tokens_per_second:,.0f} tokens/s  "
                f"{duration(left)} left"
            )

    def say(self, text: str) -> None:
        print(text, file=self.stream or sys.stdout, flush=True)

    def stop(self) -> None: ...


class Bar:
    """A live progress bar: loss, tokens per second, time left."""

    def start(self, first_step: int, steps: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.progress = Progress(
            TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
            BarColumn(bar_width=None),
            TextColumn("loss {task.fields[loss]}"),
            TextColumn("{task.fields[speed]} tokens/s"),
            TimeRemainingColumn(),
        )
        self.task = self.progress.add_task("", total=steps, completed=first_step, loss="", speed="")
        self.progress.start()

    def step(self, step: int, loss: float, tokens_per_second: float) -> None:
        self.progress.update(
            self.task, completed=step, loss=f"{loss:.4f}", speed=f"{tokens_per_second:,.0f}"
        )

    def say(self, text: str) -> None:
        self.progress.console.print(text, markup=False, highlight=False)

    def stop(self) -> None:
        self.progress.stop()


def display() -> Display:
    """A bar on a terminal; lines elsewhere, or where rich is not installed."""
    if sys.stdout.isatty():
        try:
            import rich.progress  # noqa: F401
        except ModuleNotFoundError:
            return Plain()
        return Bar()
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
