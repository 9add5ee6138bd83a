"""The loss curve: what is drawn, that no text lies on another one, and that a run survives it."""

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from tinygrad_llm.training import recorder, train
from tinygrad_llm.training.plot import plot_loss

ENTRIES = [
    *({"event": "step", "step": s, "loss": 4.0 - s / 20} for s in range(1, 41)),
    *({"event": "evaluation", "step": s, "loss": 4.1 - s / 20, "bits_per_character": 8.2 - s / 10}
      for s in range(0, 41, 10)),
    {"event": "sample", "step": 40, "text": "abc"},
    {"event": "error", "step": 40, "message": "no"},
]  # fmt: skip


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures = []
    original = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: (figures.append(self), original(self, *a, **k))
    )
    return figures


def test_a_run_has_a_picture(configure, pictures, drawn):
    config = configure()
    train(config)
    picture = matplotlib.image.imread(config.folder / "loss.png")
    assert picture.shape[:2] == (504, 840)
    assert np.unique(picture.reshape(-1, picture.shape[2]), axis=0).shape[0] > 100
    (figure,) = drawn
    assert figure.axes[0].get_title(loc="left") == "gpt on text.txt"


def test_curves_axes_and_baselines(tmp_path, drawn):
    plot_loss(ENTRIES, tmp_path / "loss.png", "a title", {"6-gram": 3.0})
    axes = drawn[0].axes[0]
    training, validation, baseline = axes.get_lines()
    np.testing.assert_array_equal(training.get_xdata(), range(1, 41))
    np.testing.assert_allclose(validation.get_ydata(), [4.1, 3.6, 3.1, 2.6, 2.1])
    # 2 bits per character are 1 nat per token here: the baseline of 3 bits lies at 1.5 nats.
    assert baseline.get_ydata()[0] == pytest.approx(1.5)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "loss (nats per token)")
    (right,) = axes.child_axes
    assert right.get_ylabel() == "bits per character"
    low, high = axes.get_ylim()
    assert right.get_ylim() == pytest.approx((2 * low, 2 * high))
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == [
        "training batch", "validation, 2.100 at the end", "6-gram (3.00 bits per character)"
    ]  # fmt: skip


def shown(axis):
    """The labels of the ticks within the axis; others exist, but are not drawn."""
    low, high = axis.get_view_interval()
    ticks = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
    return [label for place, label in ticks if low <= place <= high]


def test_no_text_lies_on_another_one_and_all_are_inside(tmp_path, drawn):
    plot_loss(ENTRIES, tmp_path / "loss.png", "gpt on a text with quite a long name", {"n": 3.0})
    figure = drawn[0]
    axes = figure.axes[0]
    (right,) = axes.child_axes
    texts = [
        axes.xaxis.label, axes.yaxis.label, right.yaxis.label, axes._left_title,
        *axes.get_legend().get_texts(),
        *shown(axes.xaxis), *shown(axes.yaxis), *shown(right.yaxis),
    ]  # fmt: skip
    boxes = [text.get_window_extent() for text in texts]
    assert len(boxes) > 15
    page = figure.bbox
    for box in boxes:
        assert page.x0 - 1 <= box.x0 < box.x1 <= page.x1 + 1
        assert page.y0 - 1 <= box.y0 < box.y1 <= page.y1 + 1
    for i, one in enumerate(boxes):
        for other in boxes[i + 1 :]:
            assert not one.overlaps(other)


@pytest.mark.parametrize("entries", [[], ENTRIES[:1], ENTRIES[40:41], ENTRIES[-2:]])
def test_a_run_that_has_hardly_begun(tmp_path, entries):
    plot_loss(entries, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("error", [ImportError("No module named 'matplotlib'"), OSError("full")])
def test_a_picture_that_fails_costs_no_run(configure, monkeypatch, error):
    def fail(*_):
        raise error

    said = []
    monkeypatch.setattr(recorder, "plot_loss", fail)
    config = configure()
    display = type("D", (recorder.Display,), {"say": lambda self, text: said.append(text),
                   "stopping": None})()  # fmt: skip
    assert train(config, display).evaluation is not None
    assert said[-1] == f"loss.png was not drawn: {error}"
