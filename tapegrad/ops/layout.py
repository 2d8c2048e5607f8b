"""Ops that move elements: where, concatenate, take, put, pad, conversions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..engine.language import cast, device, device_pair, doubles_at, plus, read, wide
from ..engine.mathematics.sums import (
    BLOCK,
    COLUMNS,
    add_row,
    clear_totals,
    give_totals,
    grown,
    restored,
)
from ..engine.mathematics.sums import ROWS as TOGETHER
from ..engine.row import Aux, Input, Nest, Output, Row, Words, boolean, contiguous, int64
from ..engine.tiles.tile import stack
from ..errors import IndexRangeError
from .indexed import add_rows_by_index, are_within, outside, take_elements, wrapped
from .nest import alike_rows, column_stride, is_summed, row_of, row_offset
from .table import Errors, Op, Shares, kernel_of

# ------------------------------------------------------------------ where


class Where(Row):
    y: Output
    condition: Input = boolean
    u: Input
    v: Input
    nest: Nest = Nest.over("condition", "u", "v")


@device
def where_forward(op: Where, f: Any, i: Any, b: Any) -> int:
    """y = u if c else v, c the condition."""
    columns = op.nest.columns
    sc, su, sv = column_stride(op, op.nest, 0), column_stride(op, op.nest, 1), column_stride(op, op.nest, 2)
    for row in range(op.nest.rows):
        y, c = op.y + row * columns, op.condition + row_offset(op, op.nest, 0, row)
        u, v = op.u + row_offset(op, op.nest, 1, row), op.v + row_offset(op, op.nest, 2, row)
        for k in range(columns):
            f[y + k] = f[u + k * su] if b[c + k * sc] != 0 else f[v + k * sv]
    return 0


@device
def kept(f: Any, b: Any, g: int, c: int, chosen: int) -> Any:
    """An element of g if its condition is `chosen`, else 0."""
    return read(f, g) if (1 if read(b, c) != 0 else 0) == chosen else cast(0.0, f)


@device
def kept_sum(f: Any, b: Any, g: int, c: int, n: int, step: int, chosen: int) -> Any:
    """Sum of the elements of g whose condition is `chosen`, as a float64; eight at a time by pairwise summation."""
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


def _kept_total_double(f: Any, b: Any, g: int, c: int, n: int, step: int, chosen: int) -> Any:
    """`kept_sum`, in blocks where terms are float64s."""
    total = wide(cast(0.0, f))
    lost = total
    for first in range(0, n, BLOCK):
        part = kept_sum(f, b, g + first, c + first * step, min(BLOCK, n - first), step, chosen)
        total, lost = grown(f, total, lost, part)
    return restored(f, total, lost)


kept_total = device_pair("kept_total", kept_sum, _kept_total_double)


@device
def where_sums(op: Where, f: Any, b: Any, operand: int, target: int, chosen: int) -> int:
    """`where_pass` of an operand that is broadcast: eight terms in the tape's dtype, those sums in float64."""
    rows, columns = op.nest.rows, op.nest.columns
    sc, sd = column_stride(op, op.nest, 0), column_stride(op, op.nest, operand)
    alike, zero, one = alike_rows(op, op.nest, operand), cast(0.0, f), wide(cast(1.0, f))
    totals, parts = doubles_at(f, stack(f)), stack(f) + 2 * COLUMNS
    if rows * columns == 0:
        return 0
    for place in range(rows // alike):
        d, total = target + row_offset(op, op.nest, operand, row_of(op, op.nest, operand, place, 0, alike)), wide(zero)
        lost = total
        if sd == 0:
            for r in range(alike):
                row = row_of(op, op.nest, operand, place, r, alike)
                part = kept_total(f, b, op.g + row * columns, op.condition + row_offset(op, op.nest, 0, row), columns,
                                  sc, chosen)
                total, lost = grown(f, total, lost, part)
            f[d] += cast(restored(f, total, lost), f)
            continue
        for begin in range(0, columns, COLUMNS):
            n = min(COLUMNS, columns - begin)
            clear_totals(f, totals, n)
            for r in range(alike):
                row = row_of(op, op.nest, operand, place, r, alike)
                g, c = op.g + row * columns + begin, op.condition + row_offset(op, op.nest, 0, row) + begin * sc
                for k in range(n):
                    holds = 1 if b[c + k * sc] != 0 else 0
                    before = zero if r % TOGETHER == 0 else f[parts + k]
                    f[parts + k] = before + (f[g + k] if holds == chosen else zero)
                if r % TOGETHER == TOGETHER - 1 or r == alike - 1:
                    add_row(f, totals, n, parts, 1)
            give_totals(f, totals, n, one, d + begin * sd, sd, True)
    return 0


@device
def where_pass(op: Where, f: Any, b: Any, operand: int, target: int, chosen: int) -> int:
    """d += g where the condition is `chosen`."""
    columns = op.nest.columns
    sc, sd = column_stride(op, op.nest, 0), column_stride(op, op.nest, operand)
    if is_summed(op, op.nest, operand):
        return where_sums(op, f, b, operand, target, chosen)
    for row in range(op.nest.rows):
        g, c = op.g + row * columns, op.condition + row_offset(op, op.nest, 0, row)
        d = target + row_offset(op, op.nest, operand, row)
        for k in range(columns):
            holds = 1 if b[c + k * sc] != 0 else 0
            f[d + k * sd] += f[g + k] if holds == chosen else cast(0.0, f)
    return 0


def where_adjoint(op: Where, f: Any, i: Any, b: Any) -> int:
    if op.d.u != 0:
        where_pass(op, f, b, 1, op.d.u, 1)
    if op.d.v != 0:
        where_pass(op, f, b, 2, op.d.v, 0)
    return 0


WHERE = Op("where", where_forward, where_adjoint, row=Where, saves={"u": "condition", "v": "condition"}, in_turn=True,
           doc="a where the condition holds, else b",
           composition={"u": lambda r, g, t: t.where(r.condition, g, 0.0),
                        "v": lambda r, g, t: t.where(r.condition, 0.0, g)},
           tangent={"u": lambda r, d, t: t.where(r.condition, d, 0.0),
                    "v": lambda r, d, t: t.where(r.condition, 0.0, d)}, batching="nest")


# ------------------------------------------------------------------ conversions and copies of other dtypes


class Conversion(Row):
    y: Output
    x: Input
    nest: Nest = Nest.over("x")


_CONVERSION = """
def convert(op: Conversion, f, i, b):
    columns, step = op.nest.columns, column_stride(op, op.nest, 0)
    for row in range(op.nest.rows):
        y, x = op.y + row * columns, op.x + row_offset(op, op.nest, 0, row)
        for k in range(columns):
            {element}
    return 0
"""


def conversion(name: str, element: str, doc: str) -> Op:
    """Define an op that does `element` for each element ``x + k * step``."""
    scope = {"cast": cast, "column_stride": column_stride, "row_offset": row_offset, "Conversion": Conversion}
    return Op(name, partial(kernel_of, _CONVERSION.format(element=element), "convert", scope), row=Conversion, doc=doc,
              batching="nest")


FROM_INT64 = conversion("from_int64", "f[y + k] = cast(i[x + k * step], f)", "int64 to float")
FROM_BOOL = conversion("from_bool", "f[y + k] = 1.0 if b[x + k * step] != 0 else 0.0", "bool to float, 0 or 1")
COPY_INT64 = conversion("copy_int64", "i[y + k] = i[x + k * step]", "contiguous int64")
COPY_BOOL = conversion("copy_bool", "b[y + k] = b[x + k * step]", "contiguous bool")
TO_INT64 = conversion("to_int64", "i[y + k] = int(f[x + k * step])", "float to int64, without the fraction")
TO_BOOL = conversion("to_bool", "b[y + k] = 1 if f[x + k * step] != 0.0 else 0", "float to bool: not zero")


# ------------------------------------------------------------------ concatenate

#: inputs of one concatenate instruction; absent ones have width 0
JOINED = 8


class Widths(Words, count=JOINED):
    """Of the inputs."""


class Concatenate(Row):
    y: Output
    x0: Input = contiguous
    x1: Input = contiguous
    x2: Input = contiguous
    x3: Input = contiguous
    x4: Input = contiguous
    x5: Input = contiguous
    x6: Input = contiguous
    x7: Input = contiguous
    rows: int
    width: int  # of y
    widths: Widths


@device
def concatenate_forward(op: Concatenate, f: Any, i: Any, b: Any) -> int:
    """y[r, :] = x0[r, :] x1[r, :] ..."""
    width = op.width
    at = 0
    for j in range(JOINED):
        if at == width:
            break
        n = op[op.widths + j]
        for row in range(op.rows):
            y, x = op.y + row * width + at, op[op.place.x0 + 2 * j] + row * n
            if y != x:  # else it was computed in place
                for k in range(n):
                    f[y + k] = f[x + k]
        at += n
    return 0


def concatenate_adjoint(op: Concatenate, f: Any, i: Any, b: Any) -> int:
    """dx_j += its columns of g."""
    width, zero = op.width, cast(0.0, f)
    at = 0
    for j in range(JOINED):
        if at == width:
            break
        n = op[op.widths + j]
        if op[op.place.x0 + 1 + 2 * j] != 0:
            store = op.mode >> (j + 1) & 1 != 0
            for row in range(op.rows):
                g, dx = op.g + row * width + at, op[op.place.x0 + 1 + 2 * j] + row * n
                if g != dx:
                    for k in range(n):
                        f[dx + k] = (zero if store else f[dx + k]) + f[g + k]
        at += n
    return 0


def joined_parts(row: list[int]) -> Shares:
    """Aliases: the inputs, if the axis is the first with more than one element."""
    first = Concatenate.places["widths"]
    widths, one = row[first:first + JOINED], row[Concatenate.places["rows"]] == 1
    return Shares(parts=tuple((1 + j, sum(widths[:j])) for j in range(JOINED) if widths[j] and one))


def concatenate_to(j: int) -> Callable:
    """dx_j = its columns of dY."""

    def contribution(r: Any, g: Any, t: Any) -> Any:
        first = sum([r.widths[k] for k in range(j)])
        return t.reshape(t.reshape(g, (r.rows, r.width))[:, first:first + r.widths[j]], r.shape_of(f"x{j}"))

    return contribution


def concatenate_each(r: Any, t: Any) -> Any:
    """As many rows for each of the batch."""
    widths = {f"x{j}": r.widths[j] for j in range(JOINED)}
    return t.concatenate([t.reshape(r.whole(x), (r.size * r.rows, n)) for x, n in widths.items() if n], 1)


CONCATENATE = Op("concatenate", concatenate_forward, concatenate_adjoint, row=Concatenate, saves={}, stores=True,
                 doc="arrays side by side along an axis", shares=joined_parts, in_turn=True,
                 composition={f"x{j}": concatenate_to(j) for j in range(JOINED)}, batching=concatenate_each)


# ------------------------------------------------------------------ take and put


#: errors of ops that index an axis of so many elements
OUT_OF_RANGE: Errors = {1: (IndexRangeError, "index {index} is out of range for an axis of extent {extent}")}


class Take(Row):
    y: Output
    x: Input = contiguous
    index: Input = contiguous | int64
    outer: int
    count: int
    extent: int
    inner: int


@device
def take_forward(op: Take, f: Any, i: Any, b: Any) -> int:
    """y[o, j, :] = x[o, index[j], :]."""
    count, extent, inner = op.count, op.extent, op.inner
    if inner == 1 and are_within(i, op.index, count, extent):
        for o in range(op.outer):
            take_elements(f, i, op.y + o * count, op.x + o * extent, op.index, count, extent)
        return 0
    for o in range(op.outer):
        for j in range(count):
            at = wrapped(i[op.index + j], extent)
            if at < 0:
                return outside(i[op.index + j])
            y, x = op.y + (o * count + j) * inner, op.x + (o * extent + at) * inner
            for k in range(inner):
                f[y + k] = f[x + k]
    return 0


def take_adjoint(op: Take, f: Any, i: Any, b: Any) -> int:
    """dx[o, index[j], :] += g[o, j, :]."""
    count, extent, inner = op.count, op.extent, op.inner
    for o in range(op.outer):
        add_rows_by_index(f, i, op.d.x + o * extent * inner, op.g + o * count * inner, op.index, count, extent, inner,
                          extent)
    return 0


def take_to(r: Any, g: Any, t: Any) -> Any:
    """dx[o, index[j], :] = sum g[o, j, :]."""
    return t.reshape(t.index_add(np.zeros((r.outer, r.extent, r.inner)), 1, t.reshape(r.index, (r.count,)),
                                 t.reshape(g, (r.outer, r.count, r.inner))), r.shape_of("x"))


def take_by(r: Any, d: Any, t: Any) -> Any:
    """dy[o, j, :] = d[o, index[j], :]."""
    return t.reshape(t.take(t.reshape(d, (r.outer, r.extent, r.inner)), t.reshape(r.index, (r.count,)), 1), r.shape)


TAKE = Op("take", take_forward, take_adjoint, row=Take, saves={"x": "index"}, errors=OUT_OF_RANGE,
          doc="slices of an axis, by index", composition={"x": take_to}, tangent={"x": take_by}, batching="rows index")


class Put(Row):
    y: Output
    x: Input = contiguous
    index: Input = contiguous | int64
    v: Input = contiguous
    owner: Aux  # which j wrote an element last, or -1
    outer: int
    count: int
    extent: int
    inner: int
    adds: bool


def put_forward(op: Put, f: Any, i: Any, b: Any) -> int:
    """y = x with y[o, index[j], :] set to v[o, j, :], or v added."""
    count, extent, inner, whole, source = op.count, op.extent, op.inner, op.y, op.x
    for k in range(op.outer * extent * inner):
        f[whole + k] = f[source + k]
    for e in range(extent if op.adds == 0 else 0):
        i[op.owner + e] = -1
    for j in range(count):
        at = wrapped(i[op.index + j], extent)
        if at < 0:
            return outside(i[op.index + j])
        if op.adds == 0:
            i[op.owner + at] = j
            for o in range(op.outer):
                y, v = op.y + (o * extent + at) * inner, op.v + (o * count + j) * inner
                for k in range(inner):
                    f[y + k] = f[v + k]
    for o in range(op.outer if op.adds != 0 else 0):
        add_rows_by_index(f, i, whole + o * extent * inner, op.v + o * count * inner, op.index, count, extent, inner,
                          extent)
    return 0


def put_adjoint(op: Put, f: Any, i: Any, b: Any) -> int:
    """dx += g except where it was overwritten; dv += g there (the last writer of an element gets it)."""
    count, extent, inner, adds = op.count, op.extent, op.inner, op.adds != 0
    for o in range(op.outer):
        if op.d.x != 0:
            for e in range(extent):
                if adds or i[op.owner + e] < 0:
                    at = (o * extent + e) * inner
                    for k in range(inner):
                        f[op.d.x + at + k] += f[op.g + at + k]
        if op.d.v != 0:
            for j in range(count):
                at = wrapped(i[op.index + j], extent)
                if adds or i[op.owner + at] == j:
                    for k in range(inner):
                        f[op.d.v + (o * count + j) * inner + k] += f[op.g + (o * extent + at) * inner + k]
    return 0


def put_through(r: Any, g: Any, t: Any) -> Any:
    """g, 0 where it was overwritten: of dx and of its tangent."""
    if r.adds:
        return g
    whole = t.reshape(g, (r.outer, r.extent, r.inner))
    return t.reshape(t.scatter_along(whole, 1, *_put_index(r, t), 0.0, True, False), r.shape)


def put_to_v(r: Any, g: Any, t: Any) -> Any:
    """dv[o, j, :] = g[o, index[j], :], of what was overwritten later 0."""
    whole = t.reshape(g, (r.outer, r.extent, r.inner))
    if r.adds:
        return t.reshape(t.take(whole, t.reshape(r.index, (r.count,)), 1), r.shape_of("v"))
    return t.reshape(t.gather_along(whole, 1, *_put_index(r, t), True, True), r.shape_of("v"))


def put_by_v(r: Any, d: Any, t: Any) -> Any:
    """Zeros with d put as v is."""
    nothing, d = np.zeros((r.outer, r.extent, r.inner)), t.reshape(d, (r.outer, r.count, r.inner))
    if r.adds:
        return t.reshape(t.index_add(nothing, 1, t.reshape(r.index, (r.count,)), d), r.shape)
    return t.reshape(t.scatter_along(nothing, 1, *_put_index(r, t), d, True, False), r.shape)


def _put_index(r: Any, t: Any) -> tuple[Any, tuple[int, int, int]]:
    """The index of slices, and the shape in which there is one for each element."""
    return t.reshape(r.index, (1, r.count, 1)), (r.outer, r.count, r.inner)


PUT = Op("put", put_forward, put_adjoint, row=Put, saves={"x": "owner index", "v": "index owner"},
         errors=OUT_OF_RANGE, doc="a copy with slices of an axis replaced or added to",
         composition={"x": put_through, "v": put_to_v}, tangent={"x": put_through, "v": put_by_v},
         batching="rows index")


class Ravel(Row):
    y: Output
    before: Input = contiguous | int64
    index: Input = contiguous | int64
    count: int
    extent: int


def ravel_forward(op: Ravel, f: Any, i: Any, b: Any) -> int:
    """y = before extent + index."""
    for k in range(op.count):
        at = wrapped(i[op.index + k], op.extent)
        if at < 0:
            return outside(i[op.index + k])
        i[op.y + k] = i[op.before + k] * op.extent + at
    return 0


RAVEL = Op("ravel_index", ravel_forward, row=Ravel, errors=OUT_OF_RANGE, doc="two indices made one")


# ------------------------------------------------------------------ pad


class Pad(Row):
    y: Output
    x: Input
    value: float
    elements: int  # of y
    offset: int  # of x in y
    nest: Nest = Nest.over("y", "x")


def pad_forward(op: Pad, f: Any, i: Any, b: Any) -> int:
    """x, padded with a value."""
    value, whole = op.value, op.y
    for k in range(op.elements):
        f[whole + k] = value
    columns, to, step = op.nest.columns, column_stride(op, op.nest, 0), column_stride(op, op.nest, 1)
    for row in range(op.nest.rows):
        y, x = op.y + op.offset + row_offset(op, op.nest, 0, row), op.x + row_offset(op, op.nest, 1, row)
        for k in range(columns):
            f[y + k * to] = f[x + k * step]
    return 0


def pad_adjoint(op: Pad, f: Any, i: Any, b: Any) -> int:
    """dx += the inner part of g."""
    columns, to, step = op.nest.columns, column_stride(op, op.nest, 0), column_stride(op, op.nest, 1)
    for row in range(op.nest.rows):
        g, dx = op.g + op.offset + row_offset(op, op.nest, 0, row), op.d.x + row_offset(op, op.nest, 1, row)
        for k in range(columns):
            f[dx + k * step] += f[g + k * to]
    return 0


PAD = Op("pad", pad_forward, pad_adjoint, row=Pad, saves={}, doc="a constant frame around an array",
         composition={"x": lambda r, g, t: r.read_as(g, "y", r.shape_of("x"), r.offset)},
         tangent={"x": lambda r, d, t: t.reshape(r.placed_as(d, "y", r.elements, r.offset), r.shape)}, batching="nest")
