"""A picture of how a step's gradients go to the other ranks."""

from __future__ import annotations

from os import PathLike
from typing import Any

from ..errors import ArgumentError, MissingExtraError
from ..program.running.communication import Communication

__all__ = ["plot"]

_WALK, _SUM, _LEFT = "#6d7fa6", "#edae49", "#d1495b"
_UNITS = ((1e-3, "ms"), (0.0, "µs"))


def plot(self: Communication, path: str | PathLike[str], title: str | None = None) -> None:
    """Draw the walk and the buckets over time, as planned and as in the last step.

    Parameters
    ----------
    path : path
        File to write; its suffix gives the format (png, svg, pdf).
    title : str, optional

    Raises
    ------
    ArgumentError
        Nothing is sent: the step runs in one process.
    MissingExtraError
        Without matplotlib (``pip install 'tapegrad[viz]'``).
    """
    if self.network is None:
        raise ArgumentError("there is nothing to draw: the step runs in one process, which sends nothing")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("plot() needs matplotlib: pip install 'tapegrad[viz]'") from None
    panels = [("planned", self.walk, self.end, [(b.planned.begun, b.planned.ended) for b in self.buckets])]
    if self.walked is not None and self.ended is not None:
        panels.append(("in the last step, measured", self.walked, self.ended,
                       [(b.sent or 0.0, b.arrived or 0.0) for b in self.buckets]))
    rows = len(self.buckets) + 1
    figure = Figure(figsize=(10, 0.9 + len(panels) * (0.9 + 0.32 * rows)), layout="constrained")
    FigureCanvasAgg(figure)
    for k, (name, walk, end, bars) in enumerate(panels):
        axes = figure.add_subplot(len(panels), 1, k + 1)
        _draw(axes, self, name, walk, end, bars)
        if k == 0:
            handles, labels = axes.get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    one = "bucket" if len(self.buckets) == 1 else "buckets"
    figure.suptitle(title or f"Gradients of a step over {self.ranks} ranks: {self.nbytes:,} bytes ({self.dtype}) in "
                             f"{len(self.buckets)} {one}", fontsize=11)
    figure.savefig(path, dpi=130)


def _draw(axes: Any, report: Communication, name: str, walk: float, end: float,
          bars: list[tuple[float, float]]) -> None:
    """One timeline."""
    scale, unit = next((1e3, u) if u == "ms" else (1e6, u) for least, u in _UNITS if end >= least)
    axes.barh(0, scale * walk, height=0.6, color=_WALK, label="walks (and, as measured, the update before)")
    for row, (begun, ended) in enumerate(bars, 1):
        beside = max(min(ended, walk), begun)
        axes.barh(row, scale * (beside - begun), left=scale * begun, height=0.6, color=_SUM,
                  label="sum under way beside the walk" if row == 1 else None)
        axes.barh(row, scale * (ended - beside), left=scale * beside, height=0.6, color=_LEFT,
                  label="sum that the step waits for" if row == 1 else None)
    axes.axvline(scale * walk, color="#222222", lw=0.8, ls=":")
    labels = [f"{_short(b.parameters)} ({b.nbytes / 1000:,.1f} kB)" for b in report.buckets]
    axes.set(yticks=range(len(bars) + 1), yticklabels=["walk", *labels], xlim=(0, 1.02 * scale * end), xlabel=unit)
    axes.set_title(name, loc="left", fontsize=10)
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=8, length=0)
    axes.spines[["top", "right"]].set_visible(False)


def _short(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
