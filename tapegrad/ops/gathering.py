"""Gather and scatter along an axis, by an index each."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.language import cast, device
from ..engine.row import Aux, Input, Nest, Output, Row, contiguous, int64
from ..engine.tiles.tile import stack
from .indexed import add_by_index, add_elements, may_be_hot, rows_together, wrapped
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
    axis: int
    wraps: bool  # whether negative indices count from the end
    nest: Nest = Nest.over("x", "index")


@device
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
    if may_be_hot(f, op.nest.rows * columns):
        return add_elements(op, f, i, op.nest, extent, stride, op.d.x, op.index, op.g, -1, -extent, stack(f))
    along, by = column_stride(op, op.nest, 0), column_stride(op, op.nest, 1)
    for row in range(op.nest.rows):
        g, dx = op.g + row * columns, op.d.x + row_offset(op, op.nest, 0, row)
        index = op.index + row_offset(op, op.nest, 1, row)
        for k in range(columns):
            f[dx + k * along + wrapped(i[index + k * by], extent) * stride] += f[g + k]
    return 0


def gather_to(r: Any, g: Any, t: Any) -> Any:
    """dx at the place of y, with index along the axis = sum g."""
    return t.scatter_along(np.zeros(r.shape_of("x")), r.axis, r.index, r.shape, g, r.wraps, True)


def gather_each(r: Any, t: Any) -> Any:
    """One more axis before the one that is indexed."""
    last = r.call.op is GATHER_LAST
    x = r.x if r.has_axis("x") else r.whole("x") if last else t.expand_dims(r.x, 0)
    return t.gather_along(x, r.axis + 1, r.index, (r.size, *r.call.shape), r.wraps, last)


GATHER = Op("gather", gather_forward, gather_adjoint, row=Gather, saves={"x": "index"}, errors=OUT_OF_RANGE,
            doc="an element for each index along an axis", composition={"x": gather_to}, batching=gather_each,
            tangent={"x": lambda r, d, t: t.gather_along(d, r.axis, r.index, r.shape, r.wraps)})


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
    axis: int
    wraps: bool  # whether negative indices count from the end
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
    if adds and together == 0 and may_be_hot(f, op.nest.rows * columns):
        return add_elements(op, f, i, op.nest, extent, stride, op.y, op.index, op.s, 2, 0, stack(f))
    for row in range(op.nest.rows):
        to, index = row_offset(op, op.nest, 0, row), op.index + row_offset(op, op.nest, 1, row)
        s = row_offset(op, op.nest, 2, row)
        for k in range(columns):
            at = position(i[index + k * by], extent, op.wraps)
            if at < 0:
                return outside(i[index + k * by])
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
                place = to + k * along + wrapped(i[index + k * by], op.extent) * stride
                if adds or i[owner + place] == row * columns + k:
                    f[op.d.s + ds + k * step] += f[op.g + place]
    return 0


def scatter_through(r: Any, g: Any, t: Any) -> Any:
    """g, 0 where it was overwritten: of dx and of its tangent."""
    return g if r.adds else t.scatter_along(g, r.axis, r.index, r.shape_of("index"), 0.0, r.wraps, False)


def scatter_to_s(r: Any, g: Any, t: Any) -> Any:
    """ds = g at the place of s with index along the axis, of what was overwritten later 0."""
    return t.gather_along(g, r.axis, r.index, r.shape_of("s"), r.wraps, not r.adds)


def scatter_by_s(r: Any, d: Any, t: Any) -> Any:
    """Zeros with d put as s is."""
    return t.scatter_along(np.zeros(r.shape), r.axis, r.index, r.shape_of("index"), d, r.wraps, r.adds)


def scatter_each(r: Any, t: Any) -> Any:
    """One more axis before the one that is indexed."""
    shape = r.call.inputs[1].shape
    return t.scatter_along(r.whole("x"), r.axis + 1, r.index, (r.size, *shape), r.s, r.wraps, r.adds)


SCATTER = Op("scatter", scatter_forward, scatter_adjoint, row=Scatter, saves={"x": "owner index", "s": "index owner"},
             stores=True, errors=OUT_OF_RANGE, doc="a copy with elements replaced, or added to, by an index each",
             composition={"x": scatter_through, "s": scatter_to_s}, batching=scatter_each,
             tangent={"x": scatter_through, "s": scatter_by_s})


class GatherLast(Row):
    """Its nest is that of x without the axis, and of the index."""

    y: Output
    x: Input = contiguous
    index: Input = int64
    owner: Aux  # which element of y read an element of x last, or -1
    elements: int  # of x
    extent: int  # of the axis
    stride: int  # of x along it
    axis: int
    wraps: bool  # whether negative indices count from the end
    nest: Nest = Nest.over("x", "index")


def gather_last_forward(op: GatherLast, f: Any, i: Any, b: Any) -> int:
    """y = x at the place of y, with index along the axis, if no later element of y has that place; else 0."""
    columns, extent, stride, owner, zero = op.nest.columns, op.extent, op.stride, op.owner, cast(0.0, f)
    along, by = column_stride(op, op.nest, 0), column_stride(op, op.nest, 1)
    for k in range(op.elements):
        i[owner + k] = -1
    for last in range(2):
        for row in range(op.nest.rows):
            to, index = row_offset(op, op.nest, 0, row), op.index + row_offset(op, op.nest, 1, row)
            for k in range(columns):
                at = position(i[index + k * by], extent, op.wraps)
                if at < 0:
                    return outside(i[index + k * by])
                place, y = to + k * along + at * stride, row * columns + k
                if last == 0:
                    i[owner + place] = y
                else:
                    f[op.y + y] = f[op.x + place] if i[owner + place] == y else zero
    return 0


def gather_last_adjoint(op: GatherLast, f: Any, i: Any, b: Any) -> int:
    """dx += g at the place that it was read from."""
    columns, extent, stride, owner = op.nest.columns, op.extent, op.stride, op.owner
    along, by = column_stride(op, op.nest, 0), column_stride(op, op.nest, 1)
    for row in range(op.nest.rows):
        to, index = row_offset(op, op.nest, 0, row), op.index + row_offset(op, op.nest, 1, row)
        for k in range(columns):
            place, y = to + k * along + wrapped(i[index + k * by], extent) * stride, row * columns + k
            if i[owner + place] == y:
                f[op.d.x + place] += f[op.g + y]
    return 0


def gather_last_to(r: Any, g: Any, t: Any) -> Any:
    """Zeros with g written at the places."""
    return t.scatter_along(np.zeros(r.shape_of("x")), r.axis, r.index, r.shape, g, r.wraps, False)


GATHER_LAST = Op("gather_last", gather_last_forward, gather_last_adjoint, row=GatherLast, saves={"x": "index owner"},
                 errors=OUT_OF_RANGE, doc="what each element written by an index gets of the adjoint",
                 composition={"x": gather_last_to}, batching=gather_each,
                 tangent={"x": lambda r, d, t: t.gather_along(d, r.axis, r.index, r.shape, r.wraps, True)})
