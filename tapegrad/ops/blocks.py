"""Elementwise ops over nests of short rows, a block of many rows at a time.

A row of three elements takes longer to begin than to compute. Here rows that lie one after another along the last outer
axis of a nest are one long row, a block: an operand that is not contiguous over them is copied to working memory first,
once for all blocks that read the same. Blocks run through the kernels that the op has for contiguous arrays, found by
their addresses, so that no op needs kernels of its own for them.

The adjoint of an operand that is broadcast is the sum over all blocks that read it: eight rows are added to each other,
and what they give is added up in float64 (`engine.mathematics.sums`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine.kernels import Kernel
from ..engine.language import apart, call, cast, device, doubles_at, frame, held, read, wide, write
from ..engine.mathematics.sums import COLUMNS, add_eight_rows, add_row, add_to_total, clear_totals, exact_sum, total_at
from ..engine.row import At, Input, Nest, Output, Row
from ..engine.tiles.tile import stack
from ..engine.walks.walk import TABLES
from .nest import alike_rows, column_stride, row_of, row_offset
from .reduction import SUM, Sum
from .table import Op
from .templates import Binary

#: elements of a block, at most
BLOCK = 1024
#: elements of a row below which a nest runs in blocks, and of a block at least
SHORT, FEWEST = 64, 128

_P = Binary.places["p"]  # in `Blocked` too

# working memory, from `stack` on: totals, the blocks of both operands, and their contributions to an adjoint
_A, _B, _GIVEN = 2 * COLUMNS, 2 * COLUMNS + BLOCK, 2 * COLUMNS + 2 * BLOCK


class Blocked(Row):
    y: Output
    a: Input
    b: Input
    p: float
    forward: int  # where the address of the kernel over contiguous operands is, of the row `Binary`
    adjoint: int
    reads: int  # bits: whether the adjoint of a reads a, and b; whether that of b does
    nest: Nest = Nest.over("a", "b")


def in_blocks(loops: Sequence[int]) -> bool:
    """Whether a nest runs in blocks.

    >>> in_blocks((10000, 4, 1, 10000, 1, 4, 1, 0))
    True
    """
    rows, columns, outer = loops[:3]
    return rows > 1 and columns < SHORT and loops[2 + outer] * columns >= FEWEST


def blocked_words(op: Op, dtype: np.dtype, words: tuple[int, ...]) -> tuple[int, ...]:
    """The attributes of `op.blocked`, given those of `op`."""
    forward, adjoint = TABLES[dtype]
    reads = sum(1 << 2 * j + k - 1 for j, operands in enumerate(op.saves) for k in operands if k)
    return (words[0], forward + op.opcode, adjoint + op.opcode, reads, *words[1:])


@device
def rows_along(op: Any, at: At[Nest]) -> int:
    """Extent of the last outer axis of a nest."""
    return op[at.extents + at.outer - 1] if at.outer > 0 else 1


@device
def row_stride(op: Any, at: At[Nest], operand: int) -> int:
    """Stride of `operand` along the last outer axis."""
    outer = at.outer
    return op[at.extents + 2 * outer + operand * (outer + 1)] if outer > 0 else 0


@device
def gather(f: Any, to: int, x: int, step: int, along: int, rows: int, columns: int) -> int:
    """Copy rows `step` apart, of elements `along` apart, to contiguous memory."""
    apart()
    if step == 0:
        for k in range(columns):
            f[to + k] = f[x + k * along]
        made, whole = columns, rows * columns
        while made < whole:  # twice as many each time
            n = min(made, whole - made)
            for k in range(n):
                write(f, to + made + k, read(f, to + k))
            made += n
        return 0
    for k in range(columns):
        source, target = x + k * along, to + k
        for r in range(rows):
            write(f, target + r * columns, read(f, source + r * step))
    return 0


@device
def seen(op: Any, at: At[Nest], operand: int, f: Any, x: int, rows: int, kept: Any, to: int) -> int:
    """Where `rows` rows of `operand` from `x` on are contiguous: there, or copied to `to`.

    `kept` tells where what `to` holds was copied from, and how many rows.
    """
    apart()
    if column_stride(op, at, operand) == 1 and row_stride(op, at, operand) == at.columns:
        return x
    if kept[2 * operand] != x or kept[2 * operand + 1] < rows:
        gather(f, to, x, row_stride(op, at, operand), column_stride(op, at, operand), rows, at.columns)
        kept[2 * operand] = x
        kept[2 * operand + 1] = rows
    return to


@device
def begun(op: Blocked, row: Any) -> int:
    """Fill in what is the same in the rows of all blocks."""
    inner: Binary = row
    for word in range(_P):
        inner[word] = 0
    inner[_P] = op[_P]
    inner.nest.rows = 1
    inner.nest.outer = 0
    inner[inner.nest.extents] = 1
    inner[inner.nest.extents + 1] = 1
    return 0


def blocked_forward(op: Blocked, f: Any, i: Any, b: Any) -> int:
    """y = op(a, b)."""
    nest, columns, extent = op.nest, op.nest.columns, rows_along(op, op.nest)
    inner: Binary = frame()
    kept, scratch, most = frame(), stack(f), max(BLOCK // columns, 1)
    kept[0], kept[2] = -1, -1
    begun(op, inner)
    for first in range(0, op.nest.rows, extent):
        to_a, to_b = op.a + row_offset(op, nest, 0, first), op.b + row_offset(op, nest, 1, first)
        for begin in range(0, extent, most):
            n = min(most, extent - begin)
            inner.y = op.y + (first + begin) * columns
            inner.a = seen(op, nest, 0, f, to_a + begin * row_stride(op, nest, 0), n, kept, scratch + _A)
            inner.b = seen(op, nest, 1, f, to_b + begin * row_stride(op, nest, 1), n, kept, scratch + _B)
            inner.nest.columns = n * columns
            status = call(i[op.forward], inner, f, i, b)
            if status != 0:
                return status
    return 0


@device
def contributed(op: Blocked, row: Any, kept: Any, f: Any, i: Any, b: Any, scratch: int, operand: int, first: int,
                n: int, to: int, store: bool) -> int:
    """Run the adjoint of `operand` over `n` rows from `first` on, into contiguous memory `to`."""
    apart()
    inner: Binary = row
    reads, at = op.reads >> 2 * operand, first * op.nest.columns
    inner[0] = 2 << operand if store else 0
    inner.y = op.y + at
    inner[2] = op.g + at
    inner[2 + 2 * (1 + operand)] = to
    if reads & 1 != 0:
        inner.a = seen(op, op.nest, 0, f, op.a + row_offset(op, op.nest, 0, first), n, kept, scratch + _A)
    if reads & 2 != 0:
        inner.b = seen(op, op.nest, 1, f, op.b + row_offset(op, op.nest, 1, first), n, kept, scratch + _B)
    inner.nest.columns = n * op.nest.columns
    return call(i[op.adjoint], inner, f, i, b)


@device
def put(f: Any, at: int, value: Any, store: bool) -> int:
    """f[at] = value, a float64, or += value."""
    f[at] = cast(value, f) if store else f[at] + cast(value, f)
    return 0


@device
def give_sums(f: Any, d: int, step: int, x: int, rows: int, columns: int, scale: Any, store: bool) -> int:
    """Accumulate `scale` (a float64) times the sums of contiguous short rows."""
    apart()
    zero = wide(cast(0.0, f))
    if columns == 2:
        for r in range(rows):
            total = zero + wide(read(f, x + 2 * r)) + wide(read(f, x + 2 * r + 1))
            before = cast(0.0, f) if store else held(f, d + r * step)
            write(f, d + r * step, before + cast(total * scale, f))
    elif columns == 3:
        for r in range(rows):
            total = zero + wide(read(f, x + 3 * r)) + wide(read(f, x + 3 * r + 1)) + wide(read(f, x + 3 * r + 2))
            before = cast(0.0, f) if store else held(f, d + r * step)
            write(f, d + r * step, before + cast(total * scale, f))
    elif columns == 4:
        for r in range(rows):
            total = (zero + wide(read(f, x + 4 * r)) + wide(read(f, x + 4 * r + 1)) + wide(read(f, x + 4 * r + 2))
                     + wide(read(f, x + 4 * r + 3)))
            before = cast(0.0, f) if store else held(f, d + r * step)
            write(f, d + r * step, before + cast(total * scale, f))
    else:
        for r in range(rows):
            put(f, d + r * step, exact_sum(f, x + r * columns, columns) * scale, store)
    return 0


@device
def spread(f: Any, d: int, step: int, along: int, x: int, rows: int, columns: int, scale: Any, store: bool) -> int:
    """Accumulate `scale` times contiguous rows into rows `step` apart, of elements `along` apart."""
    apart()
    zero = cast(0.0, f)
    if step == columns and along == 1:
        for k in range(rows * columns):
            write(f, d + k, (zero if store else held(f, d + k)) + scale * read(f, x + k))
        return 0
    for k in range(columns):
        for r in range(rows):
            at = d + k * along + r * step  # rows of a view may overlap
            f[at] = (zero if store else f[at]) + scale * f[x + r * columns + k]
    return 0


@device
def fold(f: Any, totals: Any, x: int, rows: int, columns: int) -> int:
    """Add contiguous rows to as many totals as an eighth of them has elements, and to the first of these."""
    apart()
    eighth = rows // 8 * columns
    add_eight_rows(f, totals, eighth, 1, x, x + eighth, x + 2 * eighth, x + 3 * eighth, x + 4 * eighth,
                   x + 5 * eighth, x + 6 * eighth, x + 7 * eighth)
    for r in range(x + 8 * eighth, x + rows * columns, columns):
        add_row(f, totals, columns, r, 1)
    return 0


@device
def give_rows(f: Any, totals: Any, width: int, columns: int, d: int, along: int, scale: Any, store: bool) -> int:
    """Accumulate `width` totals of rows that are all of the same elements, `along` apart."""
    apart()
    for first in range(columns, width, columns):
        for k in range(columns):
            add_to_total(f, totals, k, total_at(f, totals, first + k))
    if along == 0:
        for k in range(1, columns):
            add_to_total(f, totals, 0, total_at(f, totals, k))
    for k in range(1 if along == 0 else columns):
        put(f, d + k * along, total_at(f, totals, k) * scale, store)
    return 0


@device
def sum_blocks(op: Any, at: At[Nest], row: Any, f: Any, i: Any, b: Any, operand: int, to: int, scale: Any, store: bool,
               sums: bool) -> int:
    """to = scale times the sum of what belongs to each element of `operand`, or += it; returns a status.

    That is what the op's adjoint contributes through the row `row`; of a `Sum`, whose operand is 0, elements of x.
    `scale` is a float64.
    """
    apart()
    columns, extent = at.columns, rows_along(op, at)
    step, along, alike = row_stride(op, at, operand), column_stride(op, at, operand), alike_rows(op, at, operand)
    kept, scratch = frame(), stack(f)
    totals, given, most = doubles_at(f, scratch), scratch + _GIVEN, max(BLOCK // columns, 1)
    kept[0], kept[2] = -1, -1
    if step == 0:
        width = max(min(most, extent) // 8, 1) * columns
        for place in range(at.rows // alike):
            clear_totals(f, totals, width)
            for other in range(0, alike, extent):
                for begin in range(0, extent, most):
                    n, first = min(most, extent - begin), row_of(op, at, operand, place, other + begin, alike)
                    x = given
                    if sums:
                        x = seen(op, at, 1, f, op[Sum.x] + row_offset(op, at, 1, first), n, kept, scratch + _B)
                    else:
                        status = contributed(op, row, kept, f, i, b, scratch, operand, first, n, given, True)
                        if status != 0:
                            return status
                    fold(f, totals, x, n, columns)
            d = to + row_offset(op, at, operand, row_of(op, at, operand, place, 0, alike))
            give_rows(f, totals, width, columns, d, along, scale, store)
        return 0
    direct = alike == 1 and along == 1 and step == columns and not sums
    if alike > 1:
        most = max(COLUMNS // columns, 1)
    for place in range(at.rows // (alike * extent)):
        for begin in range(0, extent, most):
            n, own = min(most, extent - begin), place * extent + begin
            d = to + row_offset(op, at, operand, row_of(op, at, operand, own, 0, alike))
            if alike > 1:
                clear_totals(f, totals, n if along == 0 else n * columns)
            for other in range(alike):
                first, x = row_of(op, at, operand, own, other, alike), d if direct else given
                if sums:
                    x = seen(op, at, 1, f, op[Sum.x] + row_offset(op, at, 1, first), n, kept, scratch + _B)
                else:
                    status = contributed(op, row, kept, f, i, b, scratch, operand, first, n, x, store or not direct)
                    if status != 0:
                        return status
                if alike > 1:
                    add_rows(f, totals, x, n, columns, along)
                elif along == 0:
                    give_sums(f, d, step, x, n, columns, scale, store)
                elif not direct:
                    spread(f, d, step, along, x, n, columns, cast(scale, f), store)
            if alike > 1:
                give_block(f, totals, n, columns, d, step, along, scale, store)
    return 0


@device
def add_rows(f: Any, totals: Any, x: int, rows: int, columns: int, along: int) -> int:
    """Add contiguous rows to totals: of each element, or where `along` is 0 of each row."""
    apart()
    if along != 0:
        return add_row(f, totals, rows * columns, x, 1)
    for r in range(rows):
        add_to_total(f, totals, r, exact_sum(f, x + r * columns, columns))
    return 0


@device
def give_block(f: Any, totals: Any, rows: int, columns: int, d: int, step: int, along: int, scale: Any,
               store: bool) -> int:
    """Accumulate totals of rows `step` apart, of elements `along` apart; of one where that is 0."""
    apart()
    width = 1 if along == 0 else columns
    for r in range(rows):
        for k in range(width):
            put(f, d + r * step + k * along, total_at(f, totals, r * width + k) * scale, store)
    return 0


def blocked_adjoint(op: Blocked, f: Any, i: Any, b: Any) -> int:
    """da and db, one after the other."""
    inner: Binary = frame()
    begun(op, inner)
    if op.nest.rows * op.nest.columns == 0:
        return 0
    for operand in range(2):
        d = op.d.a if operand == 0 else op.d.b
        inner.d.a, inner.d.b = 0, 0
        if d != 0:
            status = sum_blocks(op, op.nest, inner, f, i, b, operand, d, wide(cast(1.0, f)),
                                op.mode >> (1 + operand) & 1 != 0, False)
            if status != 0:
                return status
    return 0


BLOCKED_FORWARD = Kernel("blocked.forward", blocked_forward)
BLOCKED_ADJOINT = Kernel("blocked.adjoint", blocked_adjoint)


# ------------------------------------------------------------------ sums


def blocked_sum_forward(op: Sum, f: Any, i: Any, b: Any) -> int:
    """y = scale * sum x."""
    return sum_blocks(op, op.nest, op, f, i, b, 0, op.y, op.scale, True, True)


def blocked_sum_adjoint(op: Sum, f: Any, i: Any, b: Any) -> int:
    """dx += scale * g."""
    nest, columns, extent = op.nest, op.nest.columns, rows_along(op, op.nest)
    kept, to, most = frame(), stack(f) + _A, max(BLOCK // columns, 1)
    kept[0] = -1
    for first in range(0, op.nest.rows, extent):
        g, dx = op.g + row_offset(op, nest, 0, first), op.d.x + row_offset(op, nest, 1, first)
        for begin in range(0, extent, most):
            n = min(most, extent - begin)
            spread(f, dx + begin * row_stride(op, nest, 1), row_stride(op, nest, 1), column_stride(op, nest, 1),
                   seen(op, nest, 0, f, g + begin * row_stride(op, nest, 0), n, kept, to), n, columns,
                   cast(op.scale, f), op.stores.x)
    return 0


#: of short rows
BLOCKED_SUM = Op("sum", blocked_sum_forward, blocked_sum_adjoint, row=Sum, saves={}, stores=True, doc=SUM.doc,
                 form="blocked", composition=SUM.composition, batching="nest")
