"""A sketch drawn by matplotlib, over a layered layout."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...errors import MissingExtraError
from .layers import Gaps, Layout, layered
from .sketch import ADJOINT, DERIVATIVE, FAINT, FILLS, FRAMES, INK, PALE, VALUE, Box, Line, Sketch, bars, figure

_BAR, _TALL, _ROW = 5.0, 16.0, 20.0  # points: a bar of a histogram, the highest, and a row of a box
_PAD, _FRAME, _HEAD = 7.0, 9.0, 14.0
_DETAIL = 12.0  # what a second line below a label takes


def draw(sketch: Sketch, path: Path) -> None:
    """Draw to a file of the format that its suffix names."""
    try:
        import networkx  # noqa: F401
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.collections import PolyCollection
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("plot() needs graphviz (the command dot), or matplotlib and networkx: "
                                "pip install 'tapegrad[viz]'") from None
    flat = sketch.is_scalar
    sizes = {box.key: _size(box) for box in sketch.boxes}
    extents = {k: size if flat else size[::-1] for k, size in sizes.items()}
    deepest = max([len(box.module) for box in sketch.boxes], default=0)
    gaps = Gaps(54.0 if flat else 30.0, 18.0, _FRAME, _FRAME if flat else _FRAME + _HEAD)
    layout = layered(extents, [(line.source, line.target) for line in sketch.lines],
                     {box.key: box.module for box in sketch.boxes}, sketch.below(), gaps)
    turn = _turned(layout, flat)
    margin = 16.0 + _FRAME * deepest
    wide, tall = (layout.along, layout.across) if flat else (layout.across, layout.along)
    wide, tall = wide + 2 * margin, tall + 2 * margin + _HEAD * deepest + (26.0 if sketch.title else 0.0)
    figure_ = Figure(figsize=(wide / 72, tall / 72))
    FigureCanvasAgg(figure_)
    axes = figure_.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    top = -margin - _HEAD * deepest - (26.0 if sketch.title else 0.0)
    axes.set(xlim=(-margin, wide - margin), ylim=(top + tall, top))
    if sketch.title:
        _text(axes, 0.5 * wide - margin, top + 20.0, sketch.title, ha="center", fontsize=13, color=INK)
    places = {k: turn(at) for k, at in layout.places.items()}
    _frames(axes, sketch, places, sizes)
    for line in sketch.lines:
        _line(axes, line, places, sizes, [turn(at) for at in layout.ways[line.source, line.target]], flat,
              {box.key: box for box in sketch.boxes})
    rectangles: dict[str, list[Any]] = {}
    for box in sketch.boxes:
        if box.is_scalar:
            _scalar(axes, box, places[box.key])
        else:
            _tensor(axes, box, places[box.key], sizes[box.key], rectangles)
    for colour, corners in rectangles.items():
        axes.add_collection(PolyCollection(corners, fc=colour, ec="none", zorder=4), autolim=False)
    figure_.savefig(path, dpi=min(130.0, 60_000 * 72 / max(wide, tall)))


def _turned(layout: Layout, flat: bool) -> Any:
    """From (along, across) to (x, y), y downwards."""
    return (lambda at: at) if flat else (lambda at: at[::-1])


@lru_cache(4096)
def _width(text: str, size: float, weight: str = "normal") -> float:
    """The width of a text, in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    return text_to_path.get_text_width_height_descent(text, FontProperties(size=size, weight=weight), ismath=False)[0]


def _size(box: Box) -> tuple[float, float]:
    """Width and height, in points; a scalar's with its numbers."""
    if box.is_scalar:
        return max(_width(box.label, 10) + 2 * _PAD, _width(figure(box.value), 9), _width(figure(box.adjoint), 9),
                   26.0), 24.0 + 2 * 14.0
    head = [_width(box.label, 9.5, "bold") + 8, _width(box.detail, 8)]
    rows = [max(head) if box.kind == "fold" else sum(head)]
    for quantity in (box.value, box.adjoint):
        if quantity is not None:
            rows.append(_BAR * len(bars(quantity)) + 8 + _width(figure(quantity), 8))
    return max(rows) + 2 * _PAD, 16.0 + _ROW * (len(rows) - 1) + _PAD + _DETAIL * (box.kind == "fold")


def _text(axes: Any, x: float, y: float, text: str, **style: Any) -> None:
    axes.text(x, y, text, parse_math=False, **style)  # names may hold a $


def _rounded(axes: Any, x: float, y: float, wide: float, tall: float, order: float, **style: Any) -> None:
    from matplotlib.patches import FancyBboxPatch

    radius = min(6.0, 0.4 * min(wide, tall))
    axes.add_patch(FancyBboxPatch((x + radius, y + radius), wide - 2 * radius, tall - 2 * radius, zorder=order,
                                  boxstyle=f"round,pad={radius}", mutation_aspect=1.0, **style))


def _scalar(axes: Any, box: Box, place: tuple[float, float]) -> None:
    x, y = place
    own = max(_width(box.label, 10) + 2 * _PAD, 26.0)
    _rounded(axes, x - 0.5 * own, y - 12.0, own, 24.0, 3, fc=FILLS[box.kind], ec=INK, lw=0.9)
    _text(axes, x, y, box.label, ha="center", va="center_baseline", fontsize=10, color=INK, zorder=4)
    _text(axes, x, y - 15.0, figure(box.value), ha="center", va="bottom", fontsize=9, color=VALUE, zorder=4)
    _text(axes, x, y + 15.0, figure(box.adjoint), ha="center", va="top", fontsize=9, color=ADJOINT, zorder=4)


def _tensor(axes: Any, box: Box, place: tuple[float, float], size: tuple[float, float],
            rectangles: dict[str, list[Any]]) -> None:
    """A box with its figures; the bars of its histograms are added to `rectangles`, by colour."""
    (x, y), (wide, tall) = place, size
    left, at = x - 0.5 * wide + _PAD, y - 0.5 * tall + 13.0
    _rounded(axes, x - 0.5 * wide, y - 0.5 * tall, wide, tall, 3, fc=FILLS[box.kind], ec=INK, lw=0.9)
    _text(axes, left, at, box.label, fontsize=9.5, color=INK, weight="bold", zorder=4)
    after = 0.0 if box.kind == "fold" else _width(box.label, 9.5, "bold") + 8
    at += _DETAIL * (box.kind == "fold")
    _text(axes, left + after, at, box.detail, fontsize=8, color=FAINT, zorder=4)
    for quantity, colour in ((box.value, VALUE), (box.adjoint, ADJOINT)):
        if quantity is None:
            continue
        at += _ROW
        heights = bars(quantity)
        for k, height in enumerate(heights):
            x, high = left + _BAR * k, max(_TALL * height, 1.0)
            rectangles.setdefault(colour if height else PALE, []).append(
                [(x, at), (x + _BAR - 1.0, at), (x + _BAR - 1.0, at - high), (x, at - high)])
        _text(axes, left + (_BAR * len(heights) + 6 if heights else 0.0), at - 3.0, figure(quantity), fontsize=8,
                  color=colour, zorder=4)


def _line(axes: Any, line: Line, places: Any, sizes: Any, ways: Sequence[tuple[float, float]], flat: bool,
          boxes: dict[int, Box]) -> None:
    """A curve from the end of one box to the beginning of the other, by way of points; the label on its first half."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    def end(k: int, side: float) -> tuple[float, float]:
        (x, y), (wide, tall), box = places[k], sizes[k], boxes[k]
        if not flat:
            return x, y + 0.5 * side * tall
        own = max(_width(box.label, 10) + 2 * _PAD, 26.0) if box.is_scalar else wide
        return x + 0.5 * side * own, y

    points = [end(line.source, 1.0), *ways, end(line.target, -1.0)]
    corners, codes = [points[0]], [Curve.MOVETO]
    for (x, y), (u, v) in zip(points, points[1:]):
        half = 0.5 * ((u - x) if flat else (v - y))
        corners += [(x + half, y), (u - half, v), (u, v)] if flat else [(x, y + half), (u, v - half), (u, v)]
        codes += [Curve.CURVE4] * 3
    axes.add_patch(FancyArrowPatch(path=Curve(corners, codes), arrowstyle="-|>", mutation_scale=8, lw=0.9, shrinkA=0,
                                   shrinkB=0, color=INK if line.wanted else FAINT,
                                   ls="-" if line.wanted else (0, (4, 3)), zorder=2))
    if line.label:
        (x, y), (u, v) = points[0], points[1]
        _text(axes, 0.5 * (x + u), 0.5 * (y + v), line.label, ha="center", va="center", fontsize=8.5, color=DERIVATIVE,
                  zorder=2.5, bbox={"fc": "white", "ec": "none", "pad": 1.2})


def _frames(axes: Any, sketch: Sketch, places: Any, sizes: Any) -> None:
    """Frames around modules; one that would take in a box of others is left out."""

    def edge(k: int, axis: int, side: float) -> float:
        return places[k][axis] + side * sizes[k][axis]

    paths = {box.module[:depth] for box in sketch.boxes for depth in range(1, len(box.module) + 1)}
    for path in sorted(paths, key=len):
        inside = [box for box in sketch.boxes if box.module[:len(path)] == path]
        x, u = (f([edge(b.key, 0, side) for b in inside]) for f, side in ((min, -0.5), (max, 0.5)))
        y, v = (f([edge(b.key, 1, side) for b in inside]) for f, side in ((min, -0.5), (max, 0.5)))
        levels = max(len(box.module) for box in inside) - len(path) + 1
        x, y = x - _FRAME * levels, y - (_FRAME + _HEAD) * levels
        u, v = u + _FRAME * levels, v + _FRAME * levels
        others = [box for box in sketch.boxes if box.module[:len(path)] != path]
        if any(x < edge(b.key, 0, 0.5) and edge(b.key, 0, -0.5) < u and y < edge(b.key, 1, 0.5)
               and edge(b.key, 1, -0.5) < v for b in others):
            continue
        _rounded(axes, x, y, u - x, v - y, 0.1 * len(path), fc=FRAMES[min(len(path), len(FRAMES)) - 1], ec=PALE, lw=0.9)
        _text(axes, x + 7.0, y + 11.0, sketch.frame(path[-1]), fontsize=8, color=FAINT, zorder=1)
