"""The picture of a history: losses and the learning rate over the steps."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np

from ...errors import MissingExtraError

_STEP, _SMOOTH, _VALIDATION, _RATE, _INK = "#a9b6d0", "#3b4a6b", "#d1495b", "#7a9e7e", "#222222"
_POINTS = 2000  # of a line; of more, what lies between least and greatest is filled
_WINDOWS = 50


def plot(loss: np.ndarray, epoch: np.ndarray, lr: np.ndarray, validation: Sequence[tuple[int, float]],
         path: str | PathLike[str], title: str | None) -> None:
    """See `History.plot`."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("plot() needs matplotlib: pip install 'tapegrad[viz]'") from None
    figure = Figure(figsize=(9, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    loss = np.asarray(loss, np.float64)
    _steps(axes, loss)
    axes.plot(np.arange(len(loss)), smoothed(loss), color=_SMOOTH, lw=1.8, label="smoothed")
    if validation:
        at, values = zip(*validation)
        axes.plot(np.array(at) - 1, values, "o-" if len(at) < 60 else "-", color=_VALIDATION, lw=1.4, ms=3.5,
                  label="validation")
    shown = np.concatenate([loss, [value for _, value in validation]])
    shown = shown[np.isfinite(shown)]
    if shown.size and shown.min() > 0 and shown.max() > 10 * shown.min():
        axes.set_yscale("log")
    axes.set_ylabel("loss")
    axes.set_title(title or "Loss of training")
    axes.legend(frameon=False, fontsize=9)
    below.plot(np.arange(len(lr)), lr, color=_RATE, lw=1.5)
    rates = lr[np.isfinite(lr)]
    if rates.size and rates.min() > 0 and rates.max() > 30 * rates.min():
        below.set_yscale("log")
    elif rates.size:
        below.set_ylim(0, 1.15 * max(rates.max(), 1e-300))
    below.set(ylabel="learning rate", xlabel="step", xlim=(0, max(len(loss) - 1, 1)))
    _mark_epochs(axes, epoch)
    for each in (axes, below):
        each.spines[["top", "right"]].set_visible(False)
    figure.align_ylabels()
    figure.savefig(path, dpi=130)


def _steps(axes: Any, loss: np.ndarray) -> None:
    """The loss of each step; of very many, the range between the least and the greatest of neighbours."""
    n = len(loss)
    if n <= _POINTS:
        axes.plot(np.arange(n), loss, color=_STEP, lw=0.9, label="each step", marker="o" if n == 1 else None)
        return
    begins = np.unique(np.linspace(0, n - 1, _POINTS // 2).astype(int))
    axes.fill_between(begins, np.fmin.reduceat(loss, begins), np.fmax.reduceat(loss, begins), color=_STEP, lw=0.5,
                      label="each step")


def _mark_epochs(axes: Any, epoch: np.ndarray) -> None:
    """The ends of the epochs, along the top, if they can be told apart."""
    ends = np.flatnonzero(np.diff(epoch)) + 0.5
    if 0 < len(ends) <= 60:
        top = axes.secondary_xaxis("top")
        top.set_xticks(ends, [""] * len(ends))
        top.tick_params(length=3, color=_INK)
        top.spines[:].set_visible(False)
        axes.annotate(f"{len(ends) + 1} epochs", (1.0, 1.015), xycoords="axes fraction", ha="right", va="bottom",
                      fontsize=8, color="#555555")


def smoothed(loss: np.ndarray) -> np.ndarray:
    """Means of neighbours, with weights that fall exponentially over about a fiftieth of all; NaN is left out.

    >>> smoothed(np.array([2.0, 2.0, np.nan, 2.0])).tolist()
    [2.0, 2.0, 2.0, 2.0]
    """
    from scipy.signal import lfilter

    decay = 1.0 - 1.0 / max(5.0, len(loss) / _WINDOWS)
    known = np.isfinite(loss)

    def both_sides(values: np.ndarray) -> np.ndarray:
        before, after = (lfilter([1.0], [1.0, -decay], each) for each in (values, values[::-1]))
        return before + after[::-1] - values

    total, weight = both_sides(np.where(known, loss, 0.0)), both_sides(known.astype(np.float64))
    return np.divide(total, weight, out=np.full(len(loss), np.nan), where=weight > 0)
