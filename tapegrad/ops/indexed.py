"""Sums by index: many contributions to few places, which are added up in float64.

A running sum of float32 loses a digit for every factor of ten in its number of terms. Here all places that may get a
contribution have a total in float64, as far as that fits on the stack. Where there are more places than `PLACES`, or
fewer than `OFTEN` contributions for each, contributions are added to float32 as they come, but for rows that get many:
one index of each eight is looked at before, and the rows that are found often among those have totals in scratch.
"""

from __future__ import annotations

from typing import Any

from ..engine.language import cast, device, doubles_at, read, wide, write
from ..engine.mathematics.sums import clear_totals
from ..engine.row import At, Nest
from ..engine.tiles.tile import stack
from .nest import alike_rows, column_stride, row_offset

#: of a sum that has no place for all totals: contributions from which on rows that get many are looked for, how many
#: stand for one that is looked at, and how often such a row is found at least
MANY, SAMPLED, FOUND = 1024, 8, 8
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


def places_of_hot(count: int) -> int:
    """Places of a table of the rows that are looked at, of `count` contributions: a power of two, half are empty."""
    return 1 << (2 * (count // SAMPLED) - 1).bit_length()


def hot_elements(count: int, rows: int, n: int, itemsize: int) -> int:
    """Elements of scratch for rows of `n` elements, of `rows`, that get many of `count` contributions; 0: none do.

    Only of float32 sums are there better ones.
    """
    if itemsize == 8 or count < MANY or n == 0 or columns_together(count, rows, n) != 0:
        return 0
    return (16 * places_of_hot(count) + 8 * min(count // (SAMPLED * FOUND), rows) * n) // itemsize


@device
def place_of_row(i: Any, table: int, places: int, row: int) -> int:
    """Where a row stands in the table, or would."""
    place = (row * 0x9E3779B1 >> 7) & (places - 1)
    while i[table + 2 * place] != row and i[table + 2 * place] >= 0:
        place = (place + 1) & (places - 1)
    return table + 2 * place


@device
def find_hot_rows(i: Any, table: int, places: int, index: int, count: int, skipped: int) -> int:
    """How many rows are found often, and in the table, beside each row's number, that of its totals, or -1."""
    for place in range(places):
        i[table + 2 * place] = -1
    for k in range(count // SAMPLED):
        row = i[index + k * SAMPLED + (k * 0x9E3779B1 >> 11) % SAMPLED]
        if row != skipped:
            at = place_of_row(i, table, places, row)
            i[at + 1] = i[at + 1] + 1 if i[at] >= 0 else 1
            i[at] = row
    hot = 0
    for place in range(places):
        often = i[table + 2 * place] >= 0 and i[table + 2 * place + 1] >= FOUND
        i[table + 2 * place + 1] = hot if often else -1
        hot += 1 if often else 0
    return hot


@device
def add_to_hot_rows(f: Any, i: Any, to: int, source: int, index: int, count: int, n: int, scratch: int, places: int,
                    skipped: int) -> int:
    """to[index[j], :] += source[j, :] but where index[j] is `skipped`, of float32; hot rows have totals in float64."""
    table, totals = scratch // 2, doubles_at(f, scratch + 4 * places)
    hot = find_hot_rows(i, table, places, index, count, skipped)
    clear_totals(f, totals, hot * n)
    for j in range(count):
        row, x, own = i[index + j], source + j * n, -1
        if row == skipped:
            continue
        if hot != 0:
            at = place_of_row(i, table, places, row)
            own = i[at + 1] if i[at] >= 0 else -1
        if own >= 0:
            for k in range(n):
                write(totals, own * n + k, totals[own * n + k] + wide(read(f, x + k)))
        else:
            for k in range(n):
                write(f, to + row * n + k, f[to + row * n + k] + read(f, x + k))
    if hot != 0:
        for place in range(places):
            row, own = i[table + 2 * place], i[table + 2 * place + 1]
            if own >= 0:
                for k in range(n):
                    f[to + row * n + k] += cast(totals[own * n + k], f)
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
