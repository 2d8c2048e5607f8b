"""A sketch drawn by graphviz's ``dot``."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from html import escape
from pathlib import Path

from .sketch import ADJOINT, DERIVATIVE, FAINT, FILLS, FRAMES, INK, PALE, VALUE, Box, Sketch, bars, figure

_SECONDS = 60
_TALL = 18  # points of the highest bar
_FONT = "DejaVu Sans,Verdana,Helvetica"


def drawn(sketch: Sketch, path: Path) -> bool:
    """Draw to a file of the format that its suffix names; False if there is no ``dot``, or it cannot."""
    command = shutil.which("dot")
    if command is None:
        return False
    form = path.suffix[1:].lower()
    try:
        done = subprocess.run([command, f"-T{form}", *(["-Gdpi=110"] if form == "png" else [])],
                              input=source(sketch).encode(), capture_output=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    if done.returncode or not done.stdout:
        return False
    path.write_bytes(done.stdout)
    return True


def source(sketch: Sketch) -> str:
    """The sketch in graphviz's language."""
    flat = sketch.is_scalar
    title = f", labelloc=t, label=<{_text(sketch.title, INK, 15)}>" if sketch.title else ""
    ends = ("e", "w") if flat else ("s", "n")
    lines = ["digraph {",
             f'graph [rankdir={"LR" if flat else "TB"}, ranksep={0.7 if flat else 0.32}, nodesep=0.25, pad=0.25, '
             f'fontname="{_FONT}"{title}];',
             f'node [shape=none, margin=0, fontname="{_FONT}", fontsize=11];',
             f'edge [fontname="{_FONT}", fontsize=10, fontcolor="{DERIVATIVE}", color="{INK}", arrowsize=0.6];']
    lines += _frames(sketch)
    leaves = {box.key for box in sketch.boxes if box.kind in ("parameter", "constant")}
    for line in sketch.lines:
        style = "" if line.wanted else f', style=dashed, color="{FAINT}"'
        label = f'label=<{_text(" " + line.label + " ", DERIVATIVE, 10)}>' if line.label else 'label=""'
        lines.append(f"n{line.source}:m:{ends[0]} -> n{line.target}:m:{ends[1]} "
                     f"[{label}{style}, weight={1 if line.source in leaves else 8}];")
    lines += [f"n{first}:m:{ends[0]} -> n{leaf}:m:{ends[1]} [style=invis, weight=1];" for first, leaf in sketch.below()]
    return "\n".join([*lines, "}"])


def _frames(sketch: Sketch) -> Iterator[str]:
    """Boxes within the frames of their modules."""
    inside: dict[tuple[str, ...], list[Box]] = {}
    for box in sketch.boxes:
        for depth in range(len(box.module) + 1):
            inside.setdefault(box.module[:depth], [])
        inside[box.module].append(box)
    number, flat = {path: k for k, path in enumerate(inside)}, sketch.is_scalar

    def within(path: tuple[str, ...]) -> Iterator[str]:
        if path:
            fill = FRAMES[min(len(path), len(FRAMES)) - 1]
            title = _text(sketch.frame(path[-1]), FAINT, 10)
            yield (f'subgraph cluster_{number[path]} {{ label=<{title}>; labeljust=l; '
                   f'style="rounded,filled"; fillcolor="{fill}"; color="{PALE}"; margin=9;')
        for box in inside[path]:
            yield f"n{box.key} [label=<{_scalar(box, flat) if box.is_scalar else _tensor(box)}>];"
        for inner in inside:
            if len(inner) == len(path) + 1 and inner[:-1] == path:
                yield from within(inner)
        if path:
            yield "}"

    yield from within(())


def _text(text: str, colour: str, size: float, bold: bool = False) -> str:
    shown = escape(text) or " "
    return f'<FONT COLOR="{colour}" POINT-SIZE="{size}">{f"<B>{shown}</B>" if bold else shown}</FONT>'


def _scalar(box: Box, flat: bool) -> str:
    """The value above, the adjoint below; lines from left to right meet the box between them."""
    fill, whole, middle = FILLS[box.kind], "" if flat else ' PORT="m"', ' PORT="m"' if flat else ""
    return (f'<TABLE{whole} BORDER="0" CELLBORDER="0" CELLSPACING="1" CELLPADDING="1">'
            f'<TR><TD>{_text(figure(box.value), VALUE, 11)}</TD></TR>'
            f'<TR><TD{middle}><TABLE BORDER="1" COLOR="{INK}" STYLE="ROUNDED" BGCOLOR="{fill}" CELLBORDER="0" '
            f'CELLPADDING="5"><TR><TD>{_text(box.label, INK, 12)}</TD></TR></TABLE></TD></TR>'
            f'<TR><TD>{_text(figure(box.adjoint), ADJOINT, 11)}</TD></TR></TABLE>')


def _tensor(box: Box) -> str:
    """Label and shape; histogram and norm of the value, then of the adjoint."""
    head = [_text(box.label, INK, 12, bold=True), _text(box.detail, FAINT, 10)]
    rows = [f'<TR><TD ALIGN="LEFT">{line}</TD></TR>' for line in (head if box.kind == "fold" else ["  ".join(head)])]
    for quantity, colour in ((box.value, VALUE), (box.adjoint, ADJOINT)):
        if quantity is not None:
            heights = bars(quantity)
            cells = f'<TD>{_histogram(heights, colour)}</TD>' if heights else ""
            rows.append(f'<TR><TD ALIGN="LEFT"><TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1"><TR>'
                        f'{cells}<TD>{_text(figure(quantity), colour, 10)}</TD></TR></TABLE></TD></TR>')
    return (f'<TABLE PORT="m" BORDER="1" COLOR="{INK}" STYLE="ROUNDED" BGCOLOR="{FILLS[box.kind]}" CELLBORDER="0" '
            f'CELLSPACING="1" CELLPADDING="2">{"".join(rows)}</TABLE>')


def _histogram(heights: list[float], colour: str) -> str:
    """A row of cells, each a bar on the ground."""
    cells = []
    for height in heights:
        tall = max(round(_TALL * height), 1)
        above = f'<TR><TD FIXEDSIZE="TRUE" WIDTH="4" HEIGHT="{_TALL - tall}"></TD></TR>' if tall < _TALL else ""
        cells.append(f'<TD FIXEDSIZE="TRUE" WIDTH="5" HEIGHT="{_TALL}" CELLPADDING="0"><TABLE BORDER="0" '
                     f'CELLBORDER="0" CELLSPACING="0" CELLPADDING="0">{above}<TR><TD FIXEDSIZE="TRUE" WIDTH="4" '
                     f'HEIGHT="{tall}" BGCOLOR="{colour if height else PALE}"></TD></TR></TABLE></TD>')
    return (f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"><TR>{"".join(cells)}</TR></TABLE>')
