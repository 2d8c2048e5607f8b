"""A picture of a monitored run: norms by layer and step, and the updates."""

from __future__ import annotations

import math
import textwrap
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import MissingExtraError
from .figures import Finding, Monitored, Sample
from .watch import Layer

INK, FAINT = "#222222", "#555555"
VALUE, ADJOINT, GRADIENT = "#3b4a6b", "#d1495b", "#8e5572"
#: of lines, in turn
LINES = ("#3b4a6b", "#d1495b", "#edae49", "#7a9e7e", "#8e5572", "#6d7fa6", "#c98b6b", "#555555")
_PANELS = (("values", VALUE), ("adjoints", ADJOINT), ("weights' gradients", GRADIENT))
_MARKS = {"nan": "N", "infinite": "∞", "vanishing": "v", "exploding": "^", "dead": "d", "saturated": "s"}
_MOST_LABELS, _MOST_LINES, _COLUMNS = 48, 8, 120


def plot(monitor: Monitored, path: str | PathLike[str]) -> None:
    """See `Monitor.plot`."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("plot() needs matplotlib: pip install 'tapegrad[viz]'") from None
    samples = of_one_recording(monitor)
    layers = samples[-1].watch.layers
    height = min(max(0.24 * len(layers), 1.6), 9.0)
    findings = [_wrapped(finding) for finding in monitor.findings()[:8]]
    lines = sum(text.count("\n") + 1 for text in findings)
    figure = Figure(figsize=(12, height + 3.6 + 0.17 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 6, height_ratios=(height, 2.3))
    for k, (what, colour) in enumerate(_PANELS):
        axes = figure.add_subplot(grid[0, 2 * k:2 * k + 2])
        _norms(figure, axes, samples, layers, what, colour)
        if k:
            axes.set_yticklabels([])
    _losses(figure.add_subplot(grid[1, :3]), monitor)
    _ratios(figure.add_subplot(grid[1, 3:]), samples, layers)
    text = "\n".join(findings)
    used = {flag for sample in samples for flags in sample.flags for flag in flags}
    marks = ", ".join(f"{_MARKS[flag]} {flag}" for flag in _MARKS if flag in used)
    figure.suptitle("Training, layer by layer" + (f"   (marks: {marks})" if marks else ""), fontsize=12, color=INK)
    if text:
        figure.supxlabel(text, x=0.01, ha="left", fontsize=8.5, color=ADJOINT)
    figure.savefig(path, dpi=130)


def of_one_recording(monitor: Monitored) -> list[Sample]:
    """The samples of the recording that most of them are of: a last, smaller batch has one of its own."""
    monitor.latest()
    every = [sample.watch for sample in monitor.samples]
    most = max(every, key=every.count) if len(set(map(id, every))) > 1 else every[0]
    return [sample for sample in monitor.samples if sample.watch is most]


def _wrapped(finding: Finding, width: int = 165) -> str:
    """A finding in lines, with the name of the user's file alone."""
    if finding.place is not None:
        finding = replace(finding, place=replace(finding.place, file=Path(finding.place.file).name))
    return "\n".join(textwrap.wrap(str(finding), width, subsequent_indent="    "))


def _norms(figure: Any, axes: Any, samples: list[Sample], layers: list[Layer], what: str, colour: str) -> None:
    """Root mean squares (norms over the root of the number of elements) by layer and step, on a logarithmic scale."""
    from matplotlib.colors import LinearSegmentedColormap, LogNorm
    from matplotlib.ticker import LogLocator, NullFormatter

    shown = samples if len(samples) <= _COLUMNS else [
        samples[k] for k in np.unique(np.linspace(0, len(samples) - 1, _COLUMNS).round().astype(int))]
    numbers = np.array([[_figure(sample, layer, what) for sample in shown] for layer in layers])
    whole = np.array([math.prod(layer.shape) > 1 for layer in layers])  # the loss has a scale of its own
    compared = numbers[whole] if whole.any() else numbers
    finite = compared[np.isfinite(compared) & (compared > 0)]
    low, high = (finite.min(), finite.max()) if finite.size else (1.0, 1.0)
    if high < 10 * low:
        low, high = low / 4, high * 4
    colours = LinearSegmentedColormap.from_list(what, ["#fbfaf7", "#efe6d3", colour])
    with np.errstate(invalid="ignore"):
        image = np.ma.masked_where(~np.isfinite(numbers), np.where(numbers > 0, numbers, low))
    steps = [sample.step for sample in shown]
    edges = np.concatenate([[steps[0] - 0.5], 0.5 * (np.array(steps[1:]) + steps[:-1]), [steps[-1] + 0.5]])
    if len(steps) > 1:
        edges[0], edges[-1] = 1.5 * steps[0] - 0.5 * steps[1], 1.5 * steps[-1] - 0.5 * steps[-2]
    drawn = axes.pcolormesh(edges, np.arange(len(layers) + 1) - 0.5, image, cmap=colours,
                            norm=LogNorm(max(low, 1e-300), high))
    bar = figure.colorbar(drawn, ax=axes, location="bottom", pad=0.02, aspect=40, shrink=0.9)
    bar.ax.tick_params(labelsize=7)
    bar.ax.xaxis.set_major_locator(LogLocator(numticks=7))
    bar.ax.xaxis.set_minor_formatter(NullFormatter())
    bar.outline.set_visible(False)
    axes.set_ylim(len(layers) - 0.5, -0.5)
    every = max(1, -(-len(layers) // _MOST_LABELS))
    places = list(range(0, len(layers), every))
    axes.set_yticks(places, [_name(layers[k]) for k in places], fontsize=8 if len(places) < 30 else 6)
    axes.tick_params(axis="x", labelsize=7)
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    axes.set_title({"values": "values", "adjoints": "adjoints dL/d·"}.get(what, what) + ", root mean square",
                   fontsize=10, color=colour)
    if len(shown) * len(layers) <= 2400:
        _marks(axes, shown, layers, what, numbers, low, high)


def _marks(axes: Any, samples: list[Sample], layers: list[Layer], what: str, numbers: np.ndarray, low: float,
           high: float) -> None:
    """Letters where a layer is flagged, in the panel that the flag is about."""
    about = {"values": ("nan", "infinite", "dead", "saturated"), "adjoints": ("vanishing", "exploding")}.get(what, ())
    last: dict[int, int] = {}
    apart = max(1, len(samples) // 24)
    for j, sample in enumerate(samples):
        for k, flags in enumerate(sample.flags):
            text = "".join(_MARKS[flag] for flag in flags if flag in about)
            if text and j - last.get(k, -apart) >= apart:
                last[k] = j
                dark = np.isfinite(numbers[k, j]) and numbers[k, j] > low ** 0.3 * high ** 0.7
                axes.text(sample.step, k, text, ha="center", va="center", fontsize=7, clip_on=True,
                          color="#ffffff" if dark else INK)


def _figure(sample: Sample, layer: Layer, what: str) -> float:
    if what == "values":
        row = layer.value
    elif what == "adjoints":
        row = layer.adjoint
    else:
        size = sum(math.prod(p.shape) for p in layer.parameters)
        return sample.gradient(layer) / math.sqrt(size) if size else math.nan
    return math.nan if row is None else sample.norm(row) / math.sqrt(max(int(sample.watch.sizes[row]), 1))


def _name(layer: Layer) -> str:
    name = layer.name if layer.place.op in layer.name else f"{layer.name} {layer.place.op}"
    return name if len(name) <= 28 else f"…{name[-27:]}"


def _losses(axes: Any, monitor: Monitored) -> None:
    steps, losses = monitor.steps, [sample.loss for sample in monitor.samples]
    axes.plot(steps, losses, "o-" if len(steps) < 60 else "-", color=INK, ms=2.5, lw=1)
    _plain(axes, "loss at the steps looked into", losses)


def _ratios(axes: Any, samples: list[Sample], layers: list[Layer]) -> None:
    """Update-to-weight ratios: of as many weights as can be told apart, matrices first."""
    parameters = sorted((p for layer in layers for p in layer.parameters), key=lambda p: len(p.shape) < 2)
    matrices = max(sum(len(p.shape) > 1 for p in parameters), min(_MOST_LINES, len(parameters)))
    chosen = [parameters[k] for k in np.unique(np.linspace(0, matrices - 1, _MOST_LINES).astype(int))]
    order = [p for layer in layers for p in layer.parameters if p in chosen]
    steps, every = [sample.step for sample in samples], []
    for colour, parameter in zip(LINES, order):
        ratios = [sample.ratio(parameter) for sample in samples]
        every += ratios
        axes.plot(steps, ratios, color=colour, lw=1.2, label=parameter.name,
                  ls="-" if len(parameter.shape) > 1 else "--")
    left = len(parameters) - len(order)
    _plain(axes, "norm of the update over that of the weight" + (f" ({left} more not drawn)" if left else ""), every)
    if order:
        axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _plain(axes: Any, title: str, numbers: list[float]) -> None:
    axes.set_title(title, fontsize=10, color=INK)
    positive = [v for v in numbers if math.isfinite(v) and v > 0]
    if positive and max(positive) > 5 * min(positive):
        axes.set_yscale("log")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.set_xlabel("step", fontsize=8, color=FAINT)
