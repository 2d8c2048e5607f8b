"""The picture of a sweep."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import MissingExtraError
from .results import Row
from .space import cell

_RUN, _MEAN, _BEST = "#8fa3cc", "#3b4a6b", "#d1495b"
_MOST_PANELS = 11
_ACROSS = 4


def draw(rows: Sequence[Row], settings: Sequence[str], best: Sequence[int], metric: str, mode: str,
         path: str | os.PathLike[str], title: str) -> None:
    """See `Sweep.plot`; `rows` are those with a finite metric, `best` the numbers of the best run or runs."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("plot() needs matplotlib: pip install 'tapegrad[viz]'") from None
    panels = [*settings[:_MOST_PANELS], None]
    down = -(-len(panels) // _ACROSS)
    across = -(-len(panels) // down)
    figure = Figure(figsize=(max(3.1 * across, 6.0), 2.8 * down + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    values = np.array([row[metric] for row in rows], np.float64)
    marked = np.array([row["run"] in best for row in rows])
    grid = figure.subplots(down, across, sharey=True, squeeze=False)
    for axes, name in zip(grid.flat, panels):
        if name is None:
            _over_runs(axes, rows, values, mode)
        else:
            _over_setting(axes, [cell(row[name]) for row in rows], values, marked)
            axes.set_xlabel(name)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, lw=0.6)
    for axes in grid.flat[len(panels):]:
        axes.set_visible(False)
    for row_of_axes in grid:
        row_of_axes[0].set_ylabel(metric)
    if values.min() > 0 and values.max() > 10 * values.min():
        grid.flat[0].set_yscale("log")
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=130)


def _over_setting(axes: Any, given: list[Any], values: np.ndarray, marked: np.ndarray) -> None:
    """The metric over one setting; over few values of it with their means."""
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in given)
    distinct = sorted(set(given)) if numbers else list(dict.fromkeys(given))
    few = len(distinct) <= min(max(len(given) // 2, 1), 8) and all(isinstance(value, int) for value in distinct)
    if numbers and not few:
        at = np.array(given, np.float64)
        if at.min() > 0 and at.max() > 20 * at.min():
            axes.set_xscale("log")
    else:
        place = {value: k for k, value in enumerate(distinct)}
        spread = np.random.default_rng(0).uniform(-0.12, 0.12, len(given))  # so that equal ones can be told apart
        at = np.array([place[value] for value in given]) + spread
        words = [f"{value:.3g}" if isinstance(value, float) else str(value)[:14] for value in distinct]
        long = max(map(len, words)) * len(words) > 32
        axes.set_xticks(range(len(distinct)), words, rotation=35 if long else 0, ha="right" if long else "center")
        axes.set_xlim(-0.6, len(distinct) - 0.4)
        for value, k in place.items():
            mean = values[[each == value for each in given]].mean()
            axes.plot([k - 0.25, k + 0.25], [mean, mean], color=_MEAN, lw=2)
    axes.plot(at, values, "o", color=_RUN, ms=4.5, alpha=0.8, mew=0)
    axes.plot(at[marked], values[marked], "o", color=_BEST, ms=7, mew=0)


def _over_runs(axes: Any, rows: Sequence[Row], values: np.ndarray, mode: str) -> None:
    """The metric over the numbers of the runs, and the best so far."""
    runs = np.array([row["run"] for row in rows])
    so_far = (np.minimum if mode == "min" else np.maximum).accumulate(values)
    axes.plot(runs, values, "o", color=_RUN, ms=4.5, alpha=0.8, mew=0)
    axes.step(runs, so_far, where="post", color=_BEST, lw=1.6)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("run (line: the best so far)")
