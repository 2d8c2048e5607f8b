"""Sums by index: many contributions to few places, which have totals (see `engine.mathematics.sums`).

A running sum loses a digit for every factor of ten in its number of terms. Here all places that may get a contribution
have a total, as far as that fits on the stack. Where there are more places than `PLACES`, or fewer than `OFTEN`
contributions for each, contributions are added as they come, but for hot rows: some of the indices are looked at
before, and the rows that are found often among those have totals. Of an embedding in float32 these lie in scratch; of
float64 sums they lie on the stack, and what a hot row has got is moved there every so often.
"""

from __future__ import annotations

from typing import Any

from ..engine.language import apart, cast, device, device_pair, doubles_at, read, wide, write
from ..engine.mathematics.sums import add_to_total, clear_totals, grown, parts_of_total, restored, total_at
from ..engine.row import At, Nest
from ..engine.tiles.tile import stack
from .nest import alike_rows, column_stride, row_offset

_WIDEST = 2**55 - 1
#: of a sum that has no place for all totals: contributions from which on hot rows are looked for, how many stand for
#: one that is looked at, and how often a hot row is found at least
MANY, SAMPLED, FOUND = 1024, 8, 8
#: of float64 sums: contributions that are looked at, and hot rows, at most; contributions to a hot row that are added
#: up before they are added to its total, about; those to a wide row
LOOKED, FEW, TOGETHER, RUN = 512, 32, 64, 32
#: totals at most; columns of a row that are summed together at least, lest all is read too often; contributions to a
#: place at least, on average
PLACES, NARROW, OFTEN = 2048, 16, 8


@device
def outside(index: int) -> int:
    """Status 1 of an index that is out of range, which the message names; what 56 bits do not hold is cut."""
    return min(max(index, -_WIDEST - 1), _WIDEST) * 256 + 1


@device
def wrapped(index: int, extent: int) -> int:
    """A negative index counted from the end; -1 if it is out of range."""
    at = index + extent if index < 0 else index
    return at if 0 <= at < extent else -1


@device
def are_within(i: Any, index: int, count: int, extent: int) -> bool:
    """Whether so many indices from `index` on are within an extent."""
    wrong = 0
    for j in range(count):
        wrong |= 1 if wrapped(i[index + j], extent) < 0 else 0
    return wrong == 0


@device
def take_elements(f: Any, i: Any, y: int, x: int, index: int, count: int, extent: int) -> int:
    """y[j] = x[index[j]], of indices within the extent."""
    apart()
    for j in range(count):
        at = i[index + j]
        write(f, y + j, read(f, x + (at + extent if at < 0 else at)))
    return 0


@device
def columns_together(count: int, rows: int, n: int) -> int:
    """How many columns of `rows` rows of `n` elements, to which `count` are added, have totals at once; 0: none."""
    if rows == 0 or n == 0 or count < OFTEN * rows:
        return 0
    columns = min(n, PLACES // rows)
    return columns if columns >= min(n, NARROW) else 0


def _add_rows_single(f: Any, i: Any, to: int, source: int, index: int, count: int, rows: int, n: int,
                     skipped: int) -> int:
    together = columns_together(count, rows, n)
    if together == 0:
        return add_as_they_come(f, i, to, source, index, count, rows, n, n, skipped)
    return add_to_few_rows(f, i, to, source, index, count, rows, n, skipped, together, stack(f))


def _add_rows_double(f: Any, i: Any, to: int, source: int, index: int, count: int, rows: int, n: int,
                     skipped: int) -> int:
    """to[index[j], :] += source[j, :], but where index[j] is `skipped`."""
    together, scratch = columns_together(count, rows, n), stack(f)
    if together != 0 and n < NARROW:
        return add_to_few_rows(f, i, to, source, index, count, rows, n, skipped, together, scratch)
    if together != 0:
        return add_to_wide_rows(f, i, to, source, index, count, rows, n, skipped, together, scratch)
    hot = find_hot_rows(f, i, scratch, index, count, rows, skipped)
    if hot == 0:
        return add_as_they_come(f, i, to, source, index, count, rows, n, n, skipped)
    together = min(n, PLACES // 2 // hot)
    for left in range(0, n, together):
        columns = min(together, n - left)
        begin_hot(f, hot, columns, scratch)
        for first in range(0, count, TOGETHER):
            add_as_they_come(f, i, to + left, source + first * n + left, index + first, min(TOGETHER, count - first),
                             rows, n, columns, skipped)
            move_hot(f, i, to + left, n, columns, 1, hot, scratch, first // TOGETHER + 1)
        give_hot(f, i, to + left, n, columns, 1, hot, scratch)
    return 0


add_rows_by_index = device_pair("add_rows_by_index", _add_rows_single, _add_rows_double)


@device
def add_as_they_come(f: Any, i: Any, to: int, source: int, index: int, count: int, rows: int, n: int, columns: int,
                     skipped: int) -> int:
    """The first `columns` columns of `add_rows_by_index`, without totals."""
    apart()
    for j in range(count):
        if i[index + j] != skipped:
            x, y = source + j * n, to + wrapped(i[index + j], rows) * n
            for k in range(columns):
                write(f, y + k, f[y + k] + read(f, x + k))
    return 0


@device
def add_to_few_rows(f: Any, i: Any, to: int, source: int, index: int, count: int, rows: int, n: int, skipped: int,
                    together: int, scratch: int) -> int:
    """`add_rows_by_index`, `together` columns at a time, where all rows have totals."""
    apart()
    totals = doubles_at(f, scratch)
    for left in range(0, n, together):
        columns = min(together, n - left)
        clear_totals(f, totals, rows * columns)
        for j in range(count):
            if i[index + j] != skipped:
                x, place = source + j * n + left, wrapped(i[index + j], rows) * columns
                for k in range(columns):
                    add_to_total(f, totals, place + k, wide(read(f, x + k)))
        for row in range(rows):
            for k in range(columns):
                f[to + row * n + left + k] += cast(total_at(f, totals, row * columns + k), f)
    return 0


# ------------------------------------------------------------------ wide rows of float64 sums
# `RUN` contributions to a row are added up on the stack, and the run is added to the row, which is its own total: one
# addition in the loop over columns rather than a compensated one. What the total has lost stands `PLACES` behind the
# run, and how long the runs are, behind all.


@device
def add_to_wide_rows(f: Any, i: Any, to: int, source: int, index: int, count: int, rows: int, n: int, skipped: int,
                     together: int, scratch: int) -> int:
    """`add_to_few_rows` of rows of `NARROW` elements and more."""
    apart()
    for left in range(0, n, together):
        columns = min(together, n - left)
        begin_runs(f, i, rows, columns, scratch)
        for j in range(count):
            if i[index + j] != skipped:
                x, row = source + j * n + left, wrapped(i[index + j], rows)
                run = scratch + row * columns
                for k in range(columns):
                    write(f, run + k, f[run + k] + read(f, x + k))
                count_run(f, i, to + row * n + left, columns, row, scratch)
        end_runs(f, to + left, n, rows, columns, scratch)
    return 0


@device
def begin_runs(f: Any, i: Any, rows: int, columns: int, scratch: int) -> int:
    """Begin the runs of rows of `columns` elements."""
    for row in range(rows):
        i[scratch + 2 * PLACES + row] = 0
    for k in range(rows * columns):
        f[scratch + k], f[scratch + PLACES + k] = 0.0, 0.0
    return 0


@device
def count_run(f: Any, i: Any, y: int, columns: int, row: int, scratch: int) -> int:
    """Count a contribution to the run of a row, which lies at `y`."""
    length = scratch + 2 * PLACES + row
    i[length] += 1
    if i[length] == RUN:
        i[length] = 0
        end_run(f, y, columns, scratch + row * columns)
    return 0


@device
def end_run(f: Any, y: int, columns: int, run: int) -> int:
    """Add a run to its row."""
    for k in range(columns):
        total, lost = grown(f, f[y + k], f[run + PLACES + k], f[run + k])
        f[y + k], f[run + PLACES + k], f[run + k] = total, lost, 0.0
    return 0


@device
def end_runs(f: Any, to: int, n: int, rows: int, columns: int, scratch: int) -> int:
    """End all runs, and restore what was lost."""
    for row in range(rows):
        y, run = to + row * n, scratch + row * columns
        end_run(f, y, columns, run)
        for k in range(columns):
            f[y + k] = restored(f, f[y + k], f[run + PLACES + k])
    return 0


# ------------------------------------------------------------------ hot rows of float64 sums
# Of `LOOKED` indices at most a table is made: beside each row's number, how often it was found. The list of those that
# were found `FOUND` times then stands in its place: number and period. Contributions are added as they come, and after
# `TOGETHER` of them, `period` times, what such a row holds is moved to its totals, in the other half of the stack. A
# period is as long as `TOGETHER` contributions to the row take, but where indices are sorted these come all at once: so
# it is no longer than it takes to move four rows each time.


@device
def may_be_hot(f: Any, count: int) -> bool:
    """Whether hot rows are looked for among `count` contributions."""
    return count >= MANY and parts_of_total(f) == 2


@device
def look_up(i: Any, table: int, count: int) -> int:
    """Begin the table; one of how many of `count` contributions is to be looked at, 0: none."""
    if count < MANY:
        return 0
    for place in range(2 * LOOKED):
        i[table + 2 * place] = -1
    return max(2 * SAMPLED, (count + LOOKED - 1) // LOOKED)


@device
def looked_at(k: int, every: int) -> int:
    """The contribution that is looked at as number `k`."""
    return k * every + (k * 0x9E3779B1 >> 11) % every


@device
def count_row(i: Any, table: int, row: int) -> int:
    """Count a row that was found."""
    at = place_of_row(i, table, 2 * LOOKED, row)
    i[at + 1] = i[at + 1] + 1 if i[at] >= 0 else 1
    i[at] = row
    return 0


@device
def list_hot(i: Any, table: int, looked: int) -> int:
    """Make the list of the table of so many that were looked at; how many rows are hot."""
    hot, longest = 0, 1
    for at in range(table, table + 4 * LOOKED, 2):
        row, found = i[at], i[at + 1]
        if row >= 0 and found >= FOUND and FEW * found >= looked:
            i[table + 2 * hot], i[table + 2 * hot + 1] = row, found
            hot += 1
    while 4 * longest < hot:
        longest *= 2
    for at in range(table + 1, table + 2 * hot, 2):
        period = 1
        while period < longest and 2 * period * i[at] <= looked:
            period *= 2
        i[at] = period
    return hot


@device
def find_hot_rows(f: Any, i: Any, table: int, index: int, count: int, rows: int, skipped: int) -> int:
    """List the hot rows; how many there are."""
    apart()
    every = look_up(i, table, count)
    if every == 0:
        return 0
    for k in range(count // every):
        row = i[index + looked_at(k, every)]
        if row != skipped:
            count_row(i, table, wrapped(row, rows))
    return list_hot(i, table, count // every)


@device
def begin_hot(f: Any, hot: int, columns: int, scratch: int) -> int:
    """Begin the totals of hot rows of `columns` elements."""
    return clear_totals(f, doubles_at(f, scratch + PLACES), hot * columns)


@device
def move_hot(f: Any, i: Any, to: int, n: int, columns: int, step: int, hot: int, scratch: int, time: int) -> int:
    """Add what the hot rows whose period divides `time` hold to their totals, and clear them.

    Row r is at ``to + r n``, and from one of its `columns` to the next it is `step`.
    """
    apart()
    totals = doubles_at(f, scratch + PLACES)
    for own in range(hot):
        if time & (i[scratch + 2 * own + 1] - 1) == 0:
            y = to + i[scratch + 2 * own] * n
            for k in range(columns):
                add_to_total(f, totals, own * columns + k, f[y + k * step])
                f[y + k * step] = 0.0
    return 0


@device
def give_hot(f: Any, i: Any, to: int, n: int, columns: int, step: int, hot: int, scratch: int) -> int:
    """Set the hot rows to their totals."""
    move_hot(f, i, to, n, columns, step, hot, scratch, 0)
    totals = doubles_at(f, scratch + PLACES)
    for own in range(hot):
        for k in range(columns):
            f[to + i[scratch + 2 * own] * n + k * step] = total_at(f, totals, own * columns + k)
    return 0


# ------------------------------------------------------------------ hot rows of an embedding in float32


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
def number_hot_rows(i: Any, table: int, places: int, index: int, count: int, skipped: int) -> int:
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
    hot = number_hot_rows(i, table, places, index, count, skipped)
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


def _no_elements(op: Any, f: Any, i: Any, at: At[Nest], extent: int, stride: int, to: int, index: int, source: int,
                 other: int, least: int, scratch: int) -> int:
    return 0


def _add_elements(op: Any, f: Any, i: Any, at: At[Nest], extent: int, stride: int, to: int, index: int, source: int,
                  other: int, least: int, scratch: int) -> int:
    """`add_by_index`, by indices from `least` on, as they come, but for hot slices: what one index is for.

    A slice goes along the columns, or is one element; then a long row is a sum by itself.
    """
    apart()
    rows, columns, along, by = at.rows, at.columns, column_stride(op, at, 0), column_stride(op, at, 1)
    step, block = 1, 1 if along == 0 and columns >= MANY else rows
    if other >= 0:
        step = column_stride(op, at, other)
    for first in range(0, rows, block):
        hot, across, chunk = find_hot_slices(op, i, at, extent, stride, index, first, block, scratch), columns, columns
        if hot != 0 and along == 0:
            chunk = TOGETHER
        elif hot != 0:
            across = min(columns, PLACES // 2 // hot)
        for left in range(0, columns, across):
            right, time, since = min(left + across, columns), 0, 0
            width = right - left if along != 0 else 1
            begin_hot(f, hot, width, scratch)
            for row in range(first, first + block):
                y, chosen = to + row_offset(op, at, 0, row), index + row_offset(op, at, 1, row)
                x = source + row * columns
                if other >= 0:
                    x = source + row_offset(op, at, other, row)
                for begin in range(left, right, chunk):
                    for k in range(begin, min(begin + chunk, right)):
                        place = i[chosen + k * by]
                        if place < least or place >= extent:
                            return outside(place)
                        f[y + k * along + wrapped(place, extent) * stride] += f[x + k * step]
                    since += 1 if along != 0 else min(chunk, right - begin)
                    if hot != 0 and since >= TOGETHER:
                        time, since = time + 1, 0
                        move_hot(f, i, to + left * along, 1, width, along, hot, scratch, time)
            give_hot(f, i, to + left * along, 1, width, along, hot, scratch)
    return 0


@device
def find_hot_slices(op: Any, i: Any, at: At[Nest], extent: int, stride: int, index: int, first: int, block: int,
                    table: int) -> int:
    """List the hot slices of rows from `first` on; how many there are."""
    apart()
    by, count = column_stride(op, at, 1), block * at.columns
    every = look_up(i, table, count)
    if every == 0:
        return 0
    for number in range(count // every):
        k = looked_at(number, every)
        row = first + k // at.columns
        chosen = i[index + row_offset(op, at, 1, row) + k % at.columns * by]
        count_row(i, table, row_offset(op, at, 0, row) + wrapped(chosen, extent) * stride)
    return list_hot(i, table, count // every)


add_elements = device_pair("add_elements", _no_elements, _add_elements)


@device
def add_by_index(op: Any, f: Any, i: Any, at: At[Nest], extent: int, stride: int, together: int, to: int, index: int,
                 source: int, other: int) -> int:
    """to += source by index along the axis of `stride`; `source` is that of operand `other`, or contiguous: -1."""
    totals, rows, columns = doubles_at(f, stack(f)), at.rows, at.columns
    along, by, step = column_stride(op, at, 0), column_stride(op, at, 1), 1
    if other >= 0:
        step = column_stride(op, at, other)
    width, one = (columns, 1) if along != 0 else (1, 0)
    for first in range(0, rows, together):
        clear_totals(f, totals, extent * width)
        for row in range(first, first + together):
            place, x = index + row_offset(op, at, 1, row), source + row * columns
            if other >= 0:
                x = source + row_offset(op, at, other, row)
            for k in range(columns):
                add_to_total(f, totals, wrapped(i[place + k * by], extent) * width + k * one, wide(f[x + k * step]))
        y = to + row_offset(op, at, 0, first)
        for e in range(extent):
            for k in range(width):
                f[y + e * stride + k * along] += cast(total_at(f, totals, e * width + k), f)
    return 0
