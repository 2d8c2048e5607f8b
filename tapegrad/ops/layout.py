"""Ops that move elements: selecting, joining, padding, converting."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..engine.jit import cast, device, doubles_at, plus, read, real, wide
from ..engine.sums import COLUMNS, add_row, clear_totals, give_totals
from ..engine.sums import ROWS as TOGETHER
from ..engine.tile import stack
from ..errors import IndexRangeError
from .indexed import add_rows_by_index, columns_together, wrapped
from .nest import alike_rows, column_stride, row_of, row_offset
from .table import EVERY, Errors, Op, Shares, kernel_of

# ------------------------------------------------------------------ where


def where_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y = u if c else v. Words: 1 y, 3 c, 5 u, 7 v, 9 nest of (c, u, v)."""
    columns = op[10]
    sc, su, sv = column_stride(op, 9, 0), column_stride(op, 9, 1), column_stride(op, 9, 2)
    for row in range(op[9]):
        y, c = op[1] + row * columns, op[3] + row_offset(op, 9, 0, row)
        u, v = op[5] + row_offset(op, 9, 1, row), op[7] + row_offset(op, 9, 2, row)
        for k in range(columns):
            f[y + k] = f[u + k * su] if b[c + k * sc] != 0 else f[v + k * sv]
    return 0


@device
def kept(f: Any, b: Any, g: int, c: int, chosen: int) -> Any:
    """An element of g if its condition is `chosen`, else 0."""
    return read(f, g) if (1 if read(b, c) != 0 else 0) == chosen else cast(0.0, f)


@device
def kept_sum(f: Any, b: Any, g: int, c: int, n: int, step: int, chosen: int) -> Any:
    """Sum of those of `n` elements of g whose condition is `chosen`, as a float64; eight are added up pair by pair."""
    total, part = wide(cast(0.0, f)), n // 8
    for k in range(part):
        x, at, on, by = g + k, c + k * step, part * step, part
        above = ((kept(f, b, x, at, chosen) + kept(f, b, x + by, at + on, chosen))
                 + (kept(f, b, x + 2 * by, at + 2 * on, chosen) + kept(f, b, x + 3 * by, at + 3 * on, chosen)))
        below = ((kept(f, b, x + 4 * by, at + 4 * on, chosen) + kept(f, b, x + 5 * by, at + 5 * on, chosen))
                 + (kept(f, b, x + 6 * by, at + 6 * on, chosen) + kept(f, b, x + 7 * by, at + 7 * on, chosen)))
        total = plus(total, wide(above + below))
    for k in range(8 * part, n):
        total = plus(total, wide(kept(f, b, g + k, c + k * step, chosen)))
    return total


@device
def where_sums(op: Any, f: Any, b: Any, operand: int, target: int, chosen: int) -> int:
    """`where_pass` of an operand that is broadcast: eight terms in the tape's dtype, those sums in float64."""
    rows, columns, sc, sd = op[9], op[10], column_stride(op, 9, 0), column_stride(op, 9, operand)
    alike, zero, one = alike_rows(op, 9, operand), cast(0.0, f), wide(cast(1.0, f))
    totals, parts = doubles_at(f, stack(f)), stack(f) + 2 * COLUMNS
    if rows * columns == 0:
        return 0
    for place in range(rows // alike):
        d, total = target + row_offset(op, 9, operand, row_of(op, 9, operand, place, 0, alike)), wide(zero)
        if sd == 0:
            for r in range(alike):
                row = row_of(op, 9, operand, place, r, alike)
                total += kept_sum(f, b, op[2] + row * columns, op[3] + row_offset(op, 9, 0, row), columns, sc, chosen)
            f[d] += cast(total, f)
            continue
        for begin in range(0, columns, COLUMNS):
            n = min(COLUMNS, columns - begin)
            clear_totals(f, totals, n)
            for r in range(alike):
                row = row_of(op, 9, operand, place, r, alike)
                g, c = op[2] + row * columns + begin, op[3] + row_offset(op, 9, 0, row) + begin * sc
                for k in range(n):
                    holds = 1 if b[c + k * sc] != 0 else 0
                    before = zero if r % TOGETHER == 0 else f[parts + k]
                    f[parts + k] = before + (f[g + k] if holds == chosen else zero)
                if r % TOGETHER == TOGETHER - 1 or r == alike - 1:
                    add_row(f, totals, n, parts, 1)
            give_totals(f, totals, n, one, d + begin * sd, sd, True)
    return 0


@device
def where_pass(op: Any, f: Any, b: Any, operand: int, target: int, chosen: int) -> int:
    """d += g where the condition is `chosen`."""
    columns = op[10]
    sc, sd = column_stride(op, 9, 0), column_stride(op, 9, operand)
    if sd == 0 or alike_rows(op, 9, operand) > 8:
        return where_sums(op, f, b, operand, target, chosen)
    for row in range(op[9]):
        g, c = op[2] + row * columns, op[3] + row_offset(op, 9, 0, row)
        d = target + row_offset(op, 9, operand, row)
        for k in range(columns):
            holds = 1 if b[c + k * sc] != 0 else 0
            f[d + k * sd] += f[g + k] if holds == chosen else cast(0.0, f)
    return 0


def where_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    if op[6] != 0:
        where_pass(op, f, b, 1, op[6], 1)
    if op[8] != 0:
        where_pass(op, f, b, 2, op[8], 0)
    return 0


WHERE = Op("where", where_forward, where_adjoint, ((), (1,), (1,)), in_turn=True, strided=EVERY,
           doc="a where the condition holds, else b")


# ------------------------------------------------------------------ conversions and copies of other dtypes


_CONVERSION = """
def convert(op, f, i, b):
    columns, step = op[6], column_stride(op, 5, 0)
    for row in range(op[5]):
        y, x = op[1] + row * columns, op[3] + row_offset(op, 5, 0, row)
        for k in range(columns):
            {element}
    return 0
"""


def conversion(name: str, element: str, doc: str) -> Op:
    """Define an op that does `element` for each element ``x + k * step``. Words: 1 y, 3 x, 5 nest of (x)."""
    scope = {"cast": cast, "column_stride": column_stride, "row_offset": row_offset}
    return Op(name, partial(kernel_of, _CONVERSION.format(element=element), "convert", scope), doc=doc,
              strided=EVERY)


FROM_INT64 = conversion("from_int64", "f[y + k] = cast(i[x + k * step], f)", "int64 to float")
FROM_BOOL = conversion("from_bool", "f[y + k] = 1.0 if b[x + k * step] != 0 else 0.0", "bool to float, 0 or 1")
COPY_INT64 = conversion("copy_int64", "i[y + k] = i[x + k * step]", "contiguous int64")
COPY_BOOL = conversion("copy_bool", "b[y + k] = b[x + k * step]", "contiguous bool")
TO_BOOL = conversion("to_bool", "b[y + k] = 1 if f[x + k * step] != 0.0 else 0", "float to bool: not zero")


# ------------------------------------------------------------------ concatenate

#: inputs of one concatenate instruction; absent ones have width 0
JOINED = 8


def concatenate_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y[r, :] = x1[r, :] x2[r, :] ... Words: 1 y, 3, 5, ... inputs, 19 rows, 20 width of y, 21 widths."""
    width = op[20]
    at = 0
    for j in range(JOINED):
        if at == width:
            break
        n = op[21 + j]
        for row in range(op[19]):
            y, x = op[1] + row * width + at, op[3 + 2 * j] + row * n
            if y != x:  # else it was computed there
                for k in range(n):
                    f[y + k] = f[x + k]
        at += n
    return 0


def concatenate_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dx_j += its columns of g."""
    width, zero = op[20], cast(0.0, f)
    at = 0
    for j in range(JOINED):
        if at == width:
            break
        n = op[21 + j]
        if op[4 + 2 * j] != 0:
            store = op[0] >> (j + 1) & 1 != 0
            for row in range(op[19]):
                g, dx = op[2] + row * width + at, op[4 + 2 * j] + row * n
                if g != dx:
                    for k in range(n):
                        f[dx + k] = (zero if store else f[dx + k]) + f[g + k]
        at += n
    return 0


def joined_parts(row: list[int]) -> Shares:
    """The inputs, where the axis is the first of more than one element."""
    widths = row[21:21 + JOINED]
    return Shares(parts=tuple((1 + j, sum(widths[:j])) for j in range(JOINED) if widths[j] and row[19] == 1))


CONCATENATE = Op("concatenate", concatenate_forward, concatenate_adjoint, ((),) * JOINED, stores=True,
                 doc="arrays side by side along an axis", shares=joined_parts, in_turn=True)


# ------------------------------------------------------------------ take and put

_WIDEST = 2**55 - 1


@device
def outside(index: int) -> int:
    """Status 1 of an index that is out of range, which the message names; what 56 bits do not hold is cut."""
    return min(max(index, -_WIDEST - 1), _WIDEST) * 256 + 1


def out_of_range(extent: int) -> Errors:
    """Errors of an op whose word number `extent` is the extent of the axis that is indexed."""
    return {1: (IndexRangeError, f"index {{index}} is out of range for an axis of extent {{words[{extent}]}}")}


def take_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y[o, j, :] = x[o, index[j], :]. Words: 1 y, 3 x, 5 index, 7 outer, 8 count, 9 extent, 10 inner."""
    count, extent, inner = op[8], op[9], op[10]
    for o in range(op[7]):
        for j in range(count):
            at = wrapped(i[op[5] + j], extent)
            if at < 0:
                return outside(i[op[5] + j])
            y, x = op[1] + (o * count + j) * inner, op[3] + (o * extent + at) * inner
            for k in range(inner):
                f[y + k] = f[x + k]
    return 0


def take_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dx[o, index[j], :] += g[o, j, :]."""
    count, extent, inner = op[8], op[9], op[10]
    together = columns_together(count, extent, inner)
    if together != 0:
        for o in range(op[7]):
            add_rows_by_index(f, i, op[4] + o * extent * inner, op[2] + o * count * inner, op[5], count, extent, inner,
                              together, extent)
        return 0
    for o in range(op[7]):
        for j in range(count):
            g = op[2] + (o * count + j) * inner
            dx = op[4] + (o * extent + wrapped(i[op[5] + j], extent)) * inner
            for k in range(inner):
                f[dx + k] += f[g + k]
    return 0


TAKE = Op("take", take_forward, take_adjoint, ((2,), ()), errors=out_of_range(9), doc="slices of an axis, by index")


def put_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y = x with y[o, index[j], :] set to v[o, j, :], or v added. Words: 1 y, 3 x, 5 index, 7 v, 9 owner (which j wrote
    an element last, or -1), 11 outer, 12 count, 13 extent, 14 inner, 15 whether to add."""
    count, extent, inner, whole, source = op[12], op[13], op[14], op[1], op[3]
    for k in range(op[11] * extent * inner):
        f[whole + k] = f[source + k]
    for e in range(extent):
        i[op[9] + e] = -1
    together = columns_together(count, extent, inner) if op[15] != 0 else 0
    for j in range(count):
        at = wrapped(i[op[5] + j], extent)
        if at < 0:
            return outside(i[op[5] + j])
        i[op[9] + at] = j
        for o in range(op[11] if together == 0 else 0):
            y, v = op[1] + (o * extent + at) * inner, op[7] + (o * count + j) * inner
            for k in range(inner):
                f[y + k] = f[v + k] + (f[y + k] if op[15] != 0 else cast(0.0, f))
    for o in range(op[11] if together != 0 else 0):
        add_rows_by_index(f, i, whole + o * extent * inner, op[7] + o * count * inner, op[5], count, extent, inner,
                          together, extent)
    return 0


def put_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dx += g except where it was overwritten; dv += g there (the last writer of an element gets it)."""
    count, extent, inner, adds = op[12], op[13], op[14], op[15] != 0
    for o in range(op[11]):
        if op[4] != 0:
            for e in range(extent):
                if adds or i[op[9] + e] < 0:
                    at = (o * extent + e) * inner
                    for k in range(inner):
                        f[op[4] + at + k] += f[op[2] + at + k]
        if op[8] != 0:
            for j in range(count):
                at = wrapped(i[op[5] + j], extent)
                if adds or i[op[9] + at] == j:
                    for k in range(inner):
                        f[op[8] + (o * count + j) * inner + k] += f[op[2] + (o * extent + at) * inner + k]
    return 0


PUT = Op("put", put_forward, put_adjoint, ((4,), (), (2, 4)), errors=out_of_range(13),
         doc="a copy with slices of an axis replaced or added to")


def ravel_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y = y0 extent + index. Words: 1 y, 3 y0, 5 index, 7 count, 8 extent."""
    for k in range(op[7]):
        at = wrapped(i[op[5] + k], op[8])
        if at < 0:
            return outside(i[op[5] + k])
        i[op[1] + k] = i[op[3] + k] * op[8] + at
    return 0


RAVEL = Op("ravel_index", ravel_forward, errors=out_of_range(8), doc="two indices made one")


# ------------------------------------------------------------------ pad


def pad_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """A frame of a value around x. Words: 1 y, 3 x, 5 value, 6 elements of y, 7 offset of x in y, 8 nest of (y, x)."""
    value, whole = real(op, 5, f), op[1]
    for k in range(op[6]):
        f[whole + k] = value
    columns, to, step = op[9], column_stride(op, 8, 0), column_stride(op, 8, 1)
    for row in range(op[8]):
        y, x = op[1] + op[7] + row_offset(op, 8, 0, row), op[3] + row_offset(op, 8, 1, row)
        for k in range(columns):
            f[y + k * to] = f[x + k * step]
    return 0


def pad_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dx += the inner part of g."""
    columns, to, step = op[9], column_stride(op, 8, 0), column_stride(op, 8, 1)
    for row in range(op[8]):
        g, dx = op[2] + op[7] + row_offset(op, 8, 0, row), op[4] + row_offset(op, 8, 1, row)
        for k in range(columns):
            f[dx + k * step] += f[g + k * to]
    return 0


PAD = Op("pad", pad_forward, pad_adjoint, ((),), doc="a constant frame around an array", strided=EVERY)
