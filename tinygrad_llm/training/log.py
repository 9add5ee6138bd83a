"""What a run leaves behind to be read: JSON lines for programs, a curve for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tinygrad_llm.files import atomic_write

Entry = dict[str, Any]


class RunLog:
    """log.jsonl: a line per logged step, evaluation and sample, each with its "step"."""

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, **entry: Any) -> None:
        # Appended and closed each time: whatever happens, all earlier lines are on the disk.
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop what a killed run wrote after the checkpoint from which it goes on."""
        kept = [entry for entry in read_log(self.path) if entry.get("step", 0) <= step]
        with atomic_write(self.path) as file:
            file.writelines(json.dumps(entry, ensure_ascii=False) + "\n" for entry in kept)


def read_log(path: str | Path) -> list[Entry]:
    """The entries; a last line that a kill cut short is left out."""
    path = Path(path)
    if not path.exists():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:
            break
    return entries


def plot_loss(
    entries: list[Entry],
    path: str | Path,
    title: str = "",
    baselines: dict[str, float] | None = None,
) -> None:
    """Draw training and validation loss against the step, in nats per token, as a PNG.

    baselines: horizontal lines, label -> nats per token (say, of an n-gram).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # no pyplot: it would keep state and want a screen

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    steps = [(e["step"], e["loss"]) for e in entries if e["event"] == "step"]
    if steps:
        axes.plot(*zip(*steps, strict=True), color="0.75", linewidth=0.8, label="training batch")
    evaluations = [(e["step"], e["loss"]) for e in entries if e["event"] == "evaluation"]
    if evaluations:
        axes.plot(
            *zip(*evaluations, strict=True), "o-", color="C0", markersize=3, label="validation"
        )
        step, loss = evaluations[-1]
        axes.annotate(f"{loss:.3f}", (step, loss), textcoords="offset points", xytext=(-4, 8),
                      ha="right", color="C0")  # fmt: skip
    for color, (label, loss) in enumerate((baselines or {}).items(), 1):
        axes.axhline(
            loss, color=f"C{color}", linestyle="--", linewidth=1, label=f"{label} {loss:.3f}"
        )
    axes.set(xlabel="step", ylabel="loss (nats per token)", title=title)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format="png", dpi=120)
