"""Sums by index: many contributions to few places, which are added up in float64.

A running sum of float32 loses a digit for every factor of ten in its number of terms. Here all places that may get a
contribution have a total in float64, as far as that fits on the stack; where there are more places than `PLACES`, or
fewer than `OFTEN` contributions for each, contributions are added to float32 as they come.
"""

from __future__ import annotations

from typing import Any

from ..engine.jit import cast, device, doubles_at, read, wide, write
from ..engine.row import At, Nest
from ..engine.sums import clear_totals
from ..engine.tile import stack
from .nest import alike_rows, column_stride, row_offset

#: totals at most; columns of a row that are summed together at least, lest all is read too often; contributions to a
#: place at least, on average
PLACES, NARROW, OFTEN = 2048, 16, 8


@device
def wrapped(index: int, extent: int) -> int:
    """A negative index counted from the end; -1 if it is out of range."""
    at = index + extent if index < 0 else index
    return at if 0 <= at < extent else -1


@device
def columns_together(count: int, rows: int, n: int) -> int:
    """How many columns of `rows` rows of `n` elements, to which `count` are added, have totals at once; 0: none."""
    if rows == 0 or n == 0 or count < OFTEN * rows:
        return 0
    columns = min(n, PLACES // rows)
    return columns if columns >= min(n, NARROW) else 0


@device
def add_rows_by_index(f: Any, i: Any, to: int, source: int, index: int, count: int, rows: int, n: int, together: int,
                      skipped: int) -> int:
    """to[index[j], :] += source[j, :], `together` columns at a time, but where index[j] is `skipped`."""
    totals = doubles_at(f, stack(f))
    for left in range(0, n, together):
        columns = min(together, n - left)
        clear_totals(f, totals, rows * columns)
        for j in range(count):
            if i[index + j] != skipped:
                x, place = source + j * n + left, wrapped(i[index + j], rows) * columns
                for k in range(columns):
                    write(totals, place + k, totals[place + k] + wide(read(f, x + k)))
        for row in range(rows):
            for k in range(columns):
                f[to + row * n + left + k] += cast(totals[row * columns + k], f)
    return 0


# Elements by an index each, over a nest whose first operand is what is added to, without the axis that is indexed, and
# the second the index.


@device
def rows_together(op: Any, at: At[Nest], extent: int) -> int:
    """How many rows of a nest add to the same places and have totals for them at once; 0: none."""
    rows, columns, along = at.rows, at.columns, column_stride(op, at, 0)
    alike = alike_rows(op, at, 0) == rows
    width, together = columns if along != 0 else 1, rows if alike else 1
    fits = extent > 0 and extent * width <= PLACES and together * columns >= OFTEN * extent * width
    return together if fits and (alike or along == 0) else 0


@device
def add_by_index(op: Any, f: Any, i: Any, at: At[Nest], extent: int, stride: int, together: int, to: int, index: int,
                 source: int, other: int) -> int:
    """to += source by index along the axis of `stride`; `source` is that of operand `other`, or contiguous: -1."""
    totals, rows, columns = doubles_at(f, stack(f)), at.rows, at.columns
    along, by, step = column_stride(op, at, 0), column_stride(op, at, 1), 1
    if other >= 0:
        step = column_stride(op, at, other)
    width, apart = (columns, 1) if along != 0 else (1, 0)
    for first in range(0, rows, together):
        clear_totals(f, totals, extent * width)
        for row in range(first, first + together):
            place, x = index + row_offset(op, at, 1, row), source + row * columns
            if other >= 0:
                x = source + row_offset(op, at, other, row)
            for k in range(columns):
                totals[wrapped(i[place + k * by], extent) * width + k * apart] += wide(f[x + k * step])
        y = to + row_offset(op, at, 0, first)
        for e in range(extent):
            for k in range(width):
                f[y + e * stride + k * along] += cast(totals[e * width + k], f)
    return 0
