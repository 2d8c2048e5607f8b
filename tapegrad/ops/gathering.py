"""Elements picked out along an axis by an index each, and elements put there."""

from __future__ import annotations

from typing import Any

from ..engine.jit import cast, device
from .indexed import add_by_index, rows_together, wrapped
from .layout import out_of_range, outside
from .nest import column_stride, row_offset
from .table import EVERY, Op


@device
def position(index: int, extent: int, wraps: int) -> int:
    """Place of an index, -1 if it is out of range; negative ones count from the end where `wraps`."""
    return wrapped(index, extent) if wraps != 0 or index >= 0 else -1


# Words of gather: 1 y, 2 g, 3 x, 4 dx, 5 index, 7 extent of the axis, 8 stride of x along it, 9 whether negative
# indices count from the end, 10 nest of (x without the axis, index).


def gather_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y = x at the place of y, with index along the axis."""
    columns, extent, stride = op[11], op[7], op[8]
    along, by = column_stride(op, 10, 0), column_stride(op, 10, 1)
    for row in range(op[10]):
        y, x, index = op[1] + row * columns, op[3] + row_offset(op, 10, 0, row), op[5] + row_offset(op, 10, 1, row)
        for k in range(columns):
            at = position(i[index + k * by], extent, op[9])
            if at < 0:
                return outside(i[index + k * by])
            f[y + k] = f[x + k * along + at * stride]
    return 0


def gather_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dx += g where y was read from."""
    columns, extent, stride = op[11], op[7], op[8]
    together = rows_together(op, 10, extent)
    if together != 0:
        return add_by_index(op, f, i, 10, extent, stride, together, op[4], op[5], op[2], -1)
    along, by = column_stride(op, 10, 0), column_stride(op, 10, 1)
    for row in range(op[10]):
        g, dx, index = op[2] + row * columns, op[4] + row_offset(op, 10, 0, row), op[5] + row_offset(op, 10, 1, row)
        for k in range(columns):
            f[dx + k * along + wrapped(i[index + k * by], extent) * stride] += f[g + k]
    return 0


GATHER = Op("gather", gather_forward, gather_adjoint, ((2,), ()), errors=out_of_range(7),
            doc="an element for each index along an axis", strided=EVERY)

# Words of scatter: 1 y, 2 g, 3 x, 4 dx, 5 index, 7 source s, 8 ds, 9 owner (which element of s was written last to an
# element of y, or -1), 11 elements of y, 12 extent of the axis, 13 stride of y along it, 14 whether to add,
# 15 nest of (y without the axis, index, s).


def scatter_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y = x with s written, or added, at the place of s with index along the axis."""
    columns, extent, stride, adds, owner = op[16], op[12], op[13], op[14] != 0, op[9]
    along, by, step = column_stride(op, 15, 0), column_stride(op, 15, 1), column_stride(op, 15, 2)
    for k in range(op[11]):
        f[op[1] + k] = f[op[3] + k]
    if not adds:
        for k in range(op[11]):
            i[owner + k] = -1
    together = rows_together(op, 15, extent) if adds else 0
    for row in range(op[15]):
        to, index, s = row_offset(op, 15, 0, row), op[5] + row_offset(op, 15, 1, row), row_offset(op, 15, 2, row)
        for k in range(columns):
            at = i[index + k * by]
            if at < 0 or at >= extent:
                return outside(at)
            place, value = to + k * along + at * stride, f[op[7] + s + k * step]
            if not adds:
                f[op[1] + place] = value
                i[owner + place] = row * columns + k
            elif together == 0:
                f[op[1] + place] += value
    if together != 0:
        add_by_index(op, f, i, 15, extent, stride, together, op[1], op[5], op[7], 2)
    return 0


def scatter_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dx += g except where it was overwritten; ds += g there (the last writer of an element gets it)."""
    columns, stride, adds, owner, store = op[16], op[13], op[14] != 0, op[9], op[0] & 2 != 0
    if op[4] != 0:
        zero = cast(0.0, f)
        for k in range(op[11]):
            kept = f[op[2] + k] if adds or i[owner + k] < 0 else zero
            f[op[4] + k] = kept + (zero if store else f[op[4] + k])
    if op[8] != 0:
        along, by, step = column_stride(op, 15, 0), column_stride(op, 15, 1), column_stride(op, 15, 2)
        for row in range(op[15]):
            to, index, ds = row_offset(op, 15, 0, row), op[5] + row_offset(op, 15, 1, row), row_offset(op, 15, 2, row)
            for k in range(columns):
                place = to + k * along + i[index + k * by] * stride
                if adds or i[owner + place] == row * columns + k:
                    f[op[8] + ds + k * step] += f[op[2] + place]
    return 0


SCATTER = Op("scatter", scatter_forward, scatter_adjoint, ((4,), (), (2, 4)), stores=True, errors=out_of_range(12),
             doc="a copy with elements replaced, or added to, by an index each", strided=0b1100)
