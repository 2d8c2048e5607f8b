"""The pictures of a report, drawn by matplotlib; on a page their colours are those of its theme."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from ... import History
from ..evaluation.importance import Importance
from ..evaluation.scores import Calibration

__all__ = ["calibration_curve", "draw", "importance_bars", "learning_curve", "residuals", "scatter", "themed"]

#: on a page each becomes the variable of that name
COLOURS = {
    "ink": "#21262e",
    "muted": "#69717d",
    "grid": "#dfe3e8",
    "first": "#2f6fb3",
    "second": "#cf4a5f",
    "fill": "#a9c4e4",
}
_MOST_POINTS = 3000
_MOST_COLUMNS = 30


def draw(paint: Callable[[Any], None], path: Path | io.BytesIO, size: tuple[float, float], kind: str) -> None:
    """Have a figure painted, and write it.

    Parameters
    ----------
    paint : callable
        Given the axes.
    path : path or file
    size : (float, float)
        Width and height, inches.
    kind : {"svg", "png", "pdf"}
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    colours = {"text.color": "ink", "axes.labelcolor": "muted", "axes.edgecolor": "muted", "xtick.color": "muted",
               "ytick.color": "muted", "xtick.labelcolor": "ink", "ytick.labelcolor": "ink", "grid.color": "grid"}
    style: dict[str, Any] = {name: COLOURS[colour] for name, colour in colours.items()}
    style |= {"svg.fonttype": "none", "svg.hashsalt": "tapegrad", "axes.spines.top": False, "axes.spines.right": False,
              "axes.grid": True, "grid.linewidth": 0.7, "axes.axisbelow": True, "font.size": 9.5,
              "legend.frameon": False, "legend.labelcolor": COLOURS["ink"]}
    with matplotlib.rc_context(cast("Any", style)):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        paint(figure.subplots())
        figure.savefig(path, format=kind, dpi=130, transparent=kind == "svg",
                       metadata={"Date": None} if kind == "svg" else None)


def themed(paint: Callable[[Any], None], size: tuple[float, float], title: str) -> str:
    """The figure as SVG for a page, in the page's colours, as wide as its place."""
    file = io.BytesIO()
    draw(paint, file, size, "svg")
    svg = file.getvalue().decode("utf-8")
    svg = svg[svg.index("<svg"):]
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    # names of parts are unique within a picture, and have to be within the page
    place = re.sub(r"\W+", "-", title.lower())
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{place}-\1"', svg)
    svg = re.sub(r'(href="#|url\(#)([^")]+)', rf"\1{place}-\2", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)


def learning_curve(history: History, best: np.ndarray | None) -> Callable[[Any], None]:
    """The mean loss of each epoch, on training and validation rows, and the epochs whose weights were kept."""

    def paint(axes: Any) -> None:
        trained = history.epoch_loss()
        epochs = np.arange(1, len(trained) + 1)
        mark = "o" if len(trained) == 1 else None
        axes.plot(epochs, trained, color=COLOURS["first"], lw=1.8, label="training rows", marker=mark)
        shown = trained
        if history.validation:
            losses = np.array([loss for _, loss in history.validation])
            axes.plot(epochs[:len(losses)], losses, color=COLOURS["second"], lw=1.8, label="validation rows",
                      marker=mark)
            shown = np.concatenate([shown, losses])
        if best is not None and (best > 0).all():
            for k, epoch in enumerate(np.unique(best)):
                axes.axvline(epoch, color=COLOURS["muted"], lw=1, ls=":", label="weights kept" if k == 0 else None)
        if shown.min() > 0 and shown.max() > 20 * shown.min():
            axes.set_yscale("log")
        axes.set(xlabel="epoch", ylabel="loss")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend()

    return paint


def calibration_curve(found: Calibration) -> Callable[[Any], None]:
    """The share that is right over the probability that was given, with the rows of each bin."""

    def paint(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color=COLOURS["muted"], lw=1, ls="--", label="as probable as said")
        axes.bar(found.confidence, found.rows / found.rows.sum(), width=0.03, color=COLOURS["fill"],
                 label="share of the rows")
        axes.plot(found.confidence, found.accuracy, "o-", color=COLOURS["first"], lw=1.8, ms=5, label="share right")
        axes.set(xlabel="probability of the chosen class", xlim=(0, 1.02), ylim=(0, 1.05))
        axes.legend(loc="upper left")

    return paint


def scatter(actual: np.ndarray, predicted: np.ndarray, name: str) -> Callable[[Any], None]:
    """Predicted over actual values."""

    def paint(axes: Any) -> None:
        chosen = np.random.default_rng(0).permutation(len(actual))[:_MOST_POINTS]
        low, high = min(actual.min(), predicted.min()), max(actual.max(), predicted.max())
        axes.plot([low, high], [low, high], color=COLOURS["muted"], lw=1, ls="--")
        axes.plot(actual[chosen], predicted[chosen], "o", color=COLOURS["first"], ms=3.5, alpha=0.6, mew=0)
        axes.set(xlabel=f"{_short(name)}, actual", ylabel="predicted")

    return paint


def residuals(actual: np.ndarray, predicted: np.ndarray) -> Callable[[Any], None]:
    """How often errors of each size occur."""

    def paint(axes: Any) -> None:
        axes.hist(predicted - actual, bins=min(40, max(8, len(actual) // 8)), color=COLOURS["first"], alpha=0.8)
        axes.axvline(0, color=COLOURS["muted"], lw=1, ls="--")
        axes.set(xlabel="predicted - actual", ylabel="rows")

    return paint


def importance_bars(found: Importance) -> tuple[Callable[[Any], None], tuple[float, float]]:
    """What shuffling a column costs, for the first thirty; and the size of the picture, inches."""
    count = min(len(found.columns), _MOST_COLUMNS)

    def paint(axes: Any) -> None:
        places = np.arange(count)[::-1]
        axes.barh(places, found.mean[:count], xerr=found.deviation[:count], color=COLOURS["first"], height=0.65,
                  error_kw={"ecolor": COLOURS["muted"], "lw": 1})
        axes.set_yticks(places, [_short(name) for name in found.columns[:count]])
        axes.set_ylim(-0.6, count - 0.4)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        rises = found.score == "log_loss"
        axes.set_xlabel(f"{'rise of the log loss' if rises else 'fall of R²'} when the column is shuffled")

    return paint, (8.0, 0.9 + 0.27 * count)


def _short(name: str) -> str:
    name = " ".join(name.split()).replace("$", r"\$")
    return name if len(name) <= 40 else name[:37] + "..."
