"""A picture of a memory report."""

from __future__ import annotations

from os import PathLike

import numpy as np

from ..errors import MissingExtraError
from ..program.planning.report import MemoryReport

#: stacked areas from below: name, label, colour (distinguishable in greyscale and by the colour-blind)
_STANDING = (("parameter_bytes", "parameters", "#3b4a6b"), ("gradient_bytes", "gradients", "#6d7fa6"),
             ("optimizer_bytes", "optimiser state", "#a9b6d0"), ("constant_bytes", "constants", "#d4dbe8"))
_MOVING = (("data", "batch", "#7a9e7e"), ("kept", "kept for the reverse walk", "#d1495b"),
           ("temporary", "other values", "#edae49"), ("recomputed", "computed again", "#8e5572"),
           ("adjoint", "adjoints", "#f3d9a4"))
_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "bytes"))
_MOST_TICKS = 16


def plot(report: MemoryReport, path: str | PathLike[str], title: str | None = None) -> None:
    """Draw live bytes over the instructions, forward and reverse, by kind, with the peak marked.

    Parameters
    ----------
    path : path
        File to write; its suffix gives the format (png, svg, pdf).
    title : str, optional

    Raises
    ------
    MissingExtraError
        Without matplotlib (``pip install 'tapegrad[viz]'``).
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("plot() needs matplotlib: pip install 'tapegrad[viz]'") from None
    n = len(report.instructions)
    scale, unit = next((s, u) for s, u in _UNITS if report.peak_bytes >= s or s == 1)
    end = n + len(report.reverse)
    edges = np.arange(end + 1)
    figure = Figure(figsize=(11, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    base = np.zeros(end + 1)
    for name, label, colour in _STANDING:
        if getattr(report, name) * 500 >= report.peak_bytes:
            top = base + getattr(report, name) / scale
            axes.fill_between(edges, base, top, color=colour, label=f"{label} ({_size(getattr(report, name))})", lw=0)
            base = top
        else:
            base = base + getattr(report, name) / scale
    for kind, label, colour in _MOVING:
        line = report.timeline[kind]
        top = base + np.append(line, line[-1:]) / scale
        if line.any():
            axes.fill_between(edges, base, top, step="post", color=colour,
                              label=f"{label} (at most {_size(int(line.max()))})", lw=0)
        base = top
    axes.step(edges, base, where="post", color="#222222", lw=0.8)
    _mark_peak(report, axes, base, scale)
    axes.axvline(n, color="#222222", lw=0.8, ls=":")
    highest = 1.24 * max(base.max(), report.peak_bytes / scale)
    axes.set(xlim=(0, end), ylim=(0, highest), ylabel=unit, title=title or "Memory of one training step")
    for centre, word in ((0.5 * n, "forward →"), (0.5 * (n + end), "reverse →")):
        axes.text(centre, 0.985 * highest, word, ha="center", va="top", color="#555555")
    _name_instructions(report, axes)
    axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
    figure.savefig(path, dpi=130)


setattr(MemoryReport, "plot", plot)


def _mark_peak(report: MemoryReport, axes: object, base: np.ndarray, scale: int) -> None:
    at = report.peak_time
    instruction, direction = report.at(at)
    where = f"{'second run' if direction == 'again' else direction} of #{instruction.number} {instruction.op}"
    if instruction.layer:
        where += f", layer {instruction.layer}"
    axes.axhline(report.peak_bytes / scale, color="#d1495b", lw=0.8, ls="--")  # type: ignore[attr-defined]
    axes.plot([at + 0.5], [base[at]], "o", color="#222222", ms=5)  # type: ignore[attr-defined]
    side = "left" if 2 * at < len(report.instructions) + len(report.reverse) else "right"
    axes.annotate(  # type: ignore[attr-defined]
        f"peak {_size(report.peak_bytes)} in the {where}\n(lower bound {_size(report.lower_bound_bytes)})",
        (at + 0.5, base[at]), xytext=(8 if side == "left" else -8, 8), textcoords="offset points", ha=side,
        va="bottom", fontsize=9, bbox={"fc": "white", "ec": "none", "pad": 1})


def _name_instructions(report: MemoryReport, axes: object) -> None:
    """Ops and layers below the axis, as many as there is room for."""
    end = len(report.instructions) + len(report.reverse)
    ticks = list(range(0, end, max(1, -(-end // (2 * _MOST_TICKS)))))
    names = []
    for t in ticks:
        i = report.at(t)[0]
        names.append(f"{i.layer} {i.op}" if i.layer and i.layer != i.op else i.op)
    axes.set_xticks([t + 0.5 for t in ticks], names, rotation=60, ha="right",  # type: ignore[attr-defined]
                    rotation_mode="anchor", fontsize=7 if len(ticks) > 12 else 9)


def _size(nbytes: int) -> str:
    scale, unit = next((s, u) for s, u in _UNITS if nbytes >= s or s == 1)
    return f"{nbytes / scale:,.4g} {unit}" if scale > 1 else f"{nbytes:,} bytes"
