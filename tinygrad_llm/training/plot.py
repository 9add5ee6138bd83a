"""The loss curve of a run, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinygrad_llm.files import atomic_write

_TRAINING, _VALIDATION, _BASELINE = "0.72", "#1f6feb", "#d1495b"


def plot_loss(
    entries: list[dict[str, Any]],
    path: str | Path,
    title: str = "",
    baselines: dict[str, float] | None = None,
) -> None:
    """Draw the losses of a log (see `read_log`) against the step, as a PNG.

    The left axis has nats per token, as the log; the right one bits per character, in which models
    with other tokenizers can be compared. baselines: label -> bits per character.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # no pyplot: it would keep state and want a screen
    from matplotlib.ticker import MaxNLocator

    steps = [(e["step"], e["loss"]) for e in entries if e.get("event") == "step"]
    evaluations = [e for e in entries if e.get("event") == "evaluation" and e["loss"] > 0]
    figure = Figure(figsize=(7, 4.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if steps:
        axes.plot(*zip(*steps, strict=True), color=_TRAINING, linewidth=1, label="training batch")
    if evaluations:
        last = evaluations[-1]
        axes.plot(
            [e["step"] for e in evaluations], [e["loss"] for e in evaluations],
            "o-", color=_VALIDATION, markersize=3.5,
            label=f"validation, {last['loss']:.3f} at the end",
        )  # fmt: skip
        ratio = last["bits_per_character"] / last["loss"]
        for label, bits in (baselines or {}).items():
            axes.axhline(
                bits / ratio, color=_BASELINE, linestyle="--", linewidth=1,
                label=f"{label} ({bits:.2f} bits per character)",
            )  # fmt: skip
        right = axes.secondary_yaxis(
            "right", functions=(lambda loss: loss * ratio, lambda bits: bits / ratio)
        )
        right.set_ylabel("bits per character")
        right.spines["right"].set_visible(False)
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats per token)")
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlim(
        0, 1.02 * max([step for step, _ in steps] + [e["step"] for e in evaluations] + [1])
    )
    axes.grid(axis="y", color="0.93")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if steps or evaluations:
        axes.legend(frameon=False, loc="upper right")
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format="png")
