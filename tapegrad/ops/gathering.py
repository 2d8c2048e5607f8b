"""Gather and scatter along an axis, by an index each."""

from __future__ import annotations

from typing import Any

from ..engine.language import cast, device
from ..engine.row import Aux, Input, Nest, Output, Row, contiguous, int64
from .indexed import add_by_index, rows_together, wrapped
from .layout import OUT_OF_RANGE, outside
from .nest import column_stride, row_offset
from .table import Op


@device
def position(index: int, extent: int, wraps: int) -> int:
    """Place of an index, -1 if it is out of range; negative ones count from the end where `wraps`."""
    return wrapped(index, extent) if wraps != 0 or index >= 0 else -1


class Gather(Row):
    """Its nest is that of x without the axis, and of the index."""

    y: Output
    x: Input
    index: Input = int64
    extent: int  # of the axis
    stride: int  # of x along it
    wraps: bool  # whether negative indices count from the end
    nest: Nest = Nest.over("x", "index")


def gather_forward(op: Gather, f: Any, i: Any, b: Any) -> int:
    """y = x at the place of y, with index along the axis."""
    columns, extent, stride = op.nest.columns, op.extent, op.stride
    along, by = column_stride(op, op.nest, 0), column_stride(op, op.nest, 1)
    for row in range(op.nest.rows):
        y, x = op.y + row * columns, op.x + row_offset(op, op.nest, 0, row)
        index = op.index + row_offset(op, op.nest, 1, row)
        for k in range(columns):
            at = position(i[index + k * by], extent, op.wraps)
            if at < 0:
                return outside(i[index + k * by])
            f[y + k] = f[x + k * along + at * stride]
    return 0


def gather_adjoint(op: Gather, f: Any, i: Any, b: Any) -> int:
    """dx += g at the elements that y was read from."""
    columns, extent, stride = op.nest.columns, op.extent, op.stride
    together = rows_together(op, op.nest, extent)
    if together != 0:
        return add_by_index(op, f, i, op.nest, extent, stride, together, op.d.x, op.index, op.g, -1)
    along, by = column_stride(op, op.nest, 0), column_stride(op, op.nest, 1)
    for row in range(op.nest.rows):
        g, dx = op.g + row * columns, op.d.x + row_offset(op, op.nest, 0, row)
        index = op.index + row_offset(op, op.nest, 1, row)
        for k in range(columns):
            f[dx + k * along + wrapped(i[index + k * by], extent) * stride] += f[g + k]
    return 0


GATHER = Op("gather", gather_forward, gather_adjoint, row=Gather, saves={"x": "index"}, errors=OUT_OF_RANGE,
            doc="an element for each index along an axis")


class Scatter(Row):
    """Its nest is that of y without the axis, of the index and of the source."""

    y: Output
    x: Input = contiguous
    index: Input = int64
    s: Input
    owner: Aux  # which element of s was written last to an element of y, or -1
    elements: int  # of y
    extent: int  # of the axis
    stride: int  # of y along it
    adds: bool
    nest: Nest = Nest.over("y", "index", "s")


def scatter_forward(op: Scatter, f: Any, i: Any, b: Any) -> int:
    """y = x with s written, or added, at the place of s with index along the axis."""
    columns, extent, stride, adds, owner = op.nest.columns, op.extent, op.stride, op.adds != 0, op.owner
    along, by, step = column_stride(op, op.nest, 0), column_stride(op, op.nest, 1), column_stride(op, op.nest, 2)
    for k in range(op.elements):
        f[op.y + k] = f[op.x + k]
    if not adds:
        for k in range(op.elements):
            i[owner + k] = -1
    together = rows_together(op, op.nest, extent) if adds else 0
    for row in range(op.nest.rows):
        to, index = row_offset(op, op.nest, 0, row), op.index + row_offset(op, op.nest, 1, row)
        s = row_offset(op, op.nest, 2, row)
        for k in range(columns):
            at = i[index + k * by]
            if at < 0 or at >= extent:
                return outside(at)
            place, value = to + k * along + at * stride, f[op.s + s + k * step]
            if not adds:
                f[op.y + place] = value
                i[owner + place] = row * columns + k
            elif together == 0:
                f[op.y + place] += value
    if together != 0:
        add_by_index(op, f, i, op.nest, extent, stride, together, op.y, op.index, op.s, 2)
    return 0


def scatter_adjoint(op: Scatter, f: Any, i: Any, b: Any) -> int:
    """dx += g except where it was overwritten; ds += g there (the last writer of an element gets it)."""
    columns, stride, adds, owner, store = op.nest.columns, op.stride, op.adds != 0, op.owner, op.stores.x
    if op.d.x != 0:
        zero = cast(0.0, f)
        for k in range(op.elements):
            kept = f[op.g + k] if adds or i[owner + k] < 0 else zero
            f[op.d.x + k] = kept + (zero if store else f[op.d.x + k])
    if op.d.s != 0:
        along, by, step = column_stride(op, op.nest, 0), column_stride(op, op.nest, 1), column_stride(op, op.nest, 2)
        for row in range(op.nest.rows):
            to, index = row_offset(op, op.nest, 0, row), op.index + row_offset(op, op.nest, 1, row)
            ds = row_offset(op, op.nest, 2, row)
            for k in range(columns):
                place = to + k * along + i[index + k * by] * stride
                if adds or i[owner + place] == row * columns + k:
                    f[op.d.s + ds + k * step] += f[op.g + place]
    return 0


SCATTER = Op("scatter", scatter_forward, scatter_adjoint, row=Scatter, saves={"x": "owner", "s": "index owner"},
             stores=True, errors=OUT_OF_RANGE, doc="a copy with elements replaced, or added to, by an index each")
