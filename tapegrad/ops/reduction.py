"""Reductions over any axes, and ops along the last axis of contiguous rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine.language import cast, device, doubles_at, frame, plus, wide
from ..engine.mathematics import vecmath as m
from ..engine.mathematics.sums import (
    BLOCK,
    COLUMNS,
    add_eight_rows,
    add_row,
    add_to_total,
    block_sum,
    clear_totals,
    exact_sum,
    give_totals,
    grown,
    restored,
    row_total,
    total_at,
    total_of,
)
from ..engine.mathematics.sums import ROWS as TOGETHER
from ..engine.row import At, Input, Nest, Output, Row, contiguous, double
from ..engine.tiles.tile import stack
from .nest import alike_rows, column_stride, row_of, row_offset
from .table import Op

INFINITY = math.inf
SUMMED = 512  # elements of a row that are summed in its dtype, if a formula is evaluated on the fly
SMALL, LARGE = 1e-30, 1e30  # squares whose sum lies between neither overflow nor underflow, in either dtype


@device
def source_at(op: Any, at: At[Nest], other: int, row: int) -> int:
    """Offset of a row of operand `other`, or for -1 of a contiguous one."""
    return row_offset(op, at, other, row) if other >= 0 else row * at.columns


@device
def sum_nest(op: Any, f: Any, at: At[Nest], operand: int, to: int, source: int, other: int, scale: Any,
             add: bool) -> int:
    """to = scale * the sum of `source` over all elements that `operand` of the nest `at` broadcasts to, or +=.

    `to` is the operand's memory, `source` that of operand `other`, or contiguous memory for -1; `scale` is a float64.
    """
    rows, columns = at.rows, at.columns
    if rows * columns == 0:
        return 0
    alike, step, along = alike_rows(op, at, operand), column_stride(op, at, operand), 1
    places, totals, zero, shift = rows // alike, doubles_at(f, stack(f)), cast(0.0, f), frame()
    if other >= 0:
        along = column_stride(op, at, other)
    if step == 0 and alike == 1:
        for place in range(places):
            total = total_of(f, source + source_at(op, at, other, place), columns, along)
            y = to + row_offset(op, at, operand, place)
            f[y] = (f[y] if add else zero) + cast(total * scale, f)
        return 0
    if step == 0:
        for first in range(0, places, COLUMNS):
            n = min(COLUMNS, places - first)
            clear_totals(f, totals, n)
            for r in range(alike):
                for k in range(n):
                    x = source + source_at(op, at, other, row_of(op, at, operand, first + k, r, alike))
                    add_to_total(f, totals, k, total_of(f, x, columns, along))
            for k in range(n):
                y = to + row_offset(op, at, operand, row_of(op, at, operand, first + k, 0, alike))
                f[y] = (f[y] if add else zero) + cast(total_at(f, totals, k) * scale, f)
        return 0
    for place in range(places):
        y = to + row_offset(op, at, operand, row_of(op, at, operand, place, 0, alike))
        for left in range(0, columns, COLUMNS):
            n = min(COLUMNS, columns - left)
            clear_totals(f, totals, n)
            for first in range(0, alike, TOGETHER):
                count = min(TOGETHER, alike - first)
                for r in range(count):
                    shift[r] = source + left * along + source_at(op, at, other,
                                                                 row_of(op, at, operand, place, first + r, alike))
                if count == TOGETHER:
                    add_eight_rows(f, totals, n, along, shift[0], shift[1], shift[2], shift[3], shift[4], shift[5],
                                   shift[6], shift[7])
                else:
                    for r in range(count):
                        add_row(f, totals, n, shift[r], along)
            give_totals(f, totals, n, scale, y + left * step, step, add)
    return 0


class Sum(Row):
    y: Output
    x: Input
    scale: double
    elements: int  # of y
    nest: Nest = Nest.over("y", "x")


def sum_forward(op: Sum, f: Any, i: Any, b: Any) -> int:
    """y = scale * sum x."""
    if op.nest.rows * op.nest.columns == 0:
        empty = cast(op.scale, f) * 0.0  # the mean of nothing is NaN
        for k in range(op.elements):
            f[op.y + k] = empty
    return sum_nest(op, f, op.nest, 0, op.y, op.x, 1, op.scale, False)


def sum_adjoint(op: Sum, f: Any, i: Any, b: Any) -> int:
    """dx += scale * g."""
    scale, columns, store, zero = cast(op.scale, f), op.nest.columns, op.stores.x, cast(0.0, f)
    to, step = column_stride(op, op.nest, 0), column_stride(op, op.nest, 1)
    for row in range(op.nest.rows):
        g, dx = op.g + row_offset(op, op.nest, 0, row), op.d.x + row_offset(op, op.nest, 1, row)
        if to == 0 and step == 1:
            value = scale * f[g]
            for k in range(columns):
                before = zero if store else f[dx + k]
                f[dx + k] = before + value
        else:
            for k in range(columns):
                before = zero if store else f[dx + k * step]
                f[dx + k * step] = before + scale * f[g + k * to]
    return 0


def row_sum_forward(op: Sum, f: Any, i: Any, b: Any) -> int:
    """y = scale * sum x."""
    f[op.y] = cast(row_total(f, op.x, op.nest.columns) * op.scale, f)
    return 0


def row_sum_adjoint(op: Sum, f: Any, i: Any, b: Any) -> int:
    """dx += scale * g."""
    value, dx = cast(op.scale, f) * f[op.g], op.d.x
    if op.stores.x:
        for k in range(dx, dx + op.nest.columns):
            f[k] = cast(0.0, f) + value
    else:
        for k in range(dx, dx + op.nest.columns):
            f[k] += value
    return 0


def sum_to_x(r: Any, g: Any, t: Any) -> Any:
    """dx = scale * g."""
    g = r.read_as(g, "y", r.shape_of("x"))
    return g if r.scale == 1.0 else g * r.scale


_SUM = {"x": sum_to_x}
SUM = Op("sum", sum_forward, sum_adjoint, row=Sum, saves={}, stores=True,
         doc="sum over axes, times a number (mean: 1/n)", composition=_SUM, batching="nest")
#: of one row without gaps to one number
ROW_SUM = Op("sum", row_sum_forward, row_sum_adjoint, row=Sum, saves={}, stores=True, doc=SUM.doc, form="row",
             composition=_SUM, batching="nest")


# The same of one contiguous row in strips of whole blocks: equal to the bit, for the blocks are added in order.


class BlockSums(Row):
    y: Output
    x: Input = contiguous
    elements: int  # of x


class OrderedSum(Row):
    y: Output
    x: Input = contiguous  # float64s, of whatever dtype the row is
    scale: double
    blocks: int


def block_sums_forward(op: BlockSums, f: Any, i: Any, b: Any) -> int:
    """Sums of the blocks of x, which are float64s."""
    sums = doubles_at(f, op.y)
    for first in range(0, op.elements, BLOCK):
        sums[first // BLOCK] = block_sum(f, op.x + first, min(BLOCK, op.elements - first))
    return 0


def ordered_sum_forward(op: OrderedSum, f: Any, i: Any, b: Any) -> int:
    """y = scale * sum x, x float64s, from first to last."""
    total, sums = wide(cast(0.0, f)), doubles_at(f, op.x)
    lost = total
    for k in range(op.blocks):
        total, lost = grown(f, total, lost, sums[k])
    f[op.y] = cast(restored(f, total, lost) * op.scale, f)
    return 0


BLOCK_SUMS = Op("block_sums", block_sums_forward, row=BlockSums, doc="sums of the blocks that a sum is made of")
ORDERED_SUM = Op("ordered_sum", ordered_sum_forward, row=OrderedSum,
                 doc="sum from the first to the last, times a number")


# ------------------------------------------------------------------ rows


class Along(Row):
    """The rows of an op along an axis; `p` is its own."""

    y: Output
    x: Input = contiguous
    rows: int
    n: int  # elements of a row
    p: float


ROWS: dict[str, Op] = {}


class InRows:
    """An instruction of an op along an axis whose operands are seen as matrices, for its composition."""

    def __init__(self, r: Any, t: Any, width: int) -> None:
        self._r, self._t, self._width = r, t, width

    @property
    def x(self) -> Any:
        return self._t.reshape(self._r.x, (self._r.rows, self._r.n))

    @property
    def y(self) -> Any:
        return self._t.reshape(self._r.y, (self._r.rows, self._width))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._r, name)


def rows(name: str, forward: Callable, adjoint: Callable, saves: str, reduces: bool, doc: str,
         contribution: Callable | None = None, tangent: Callable | None = None,
         weights: Callable | None = None) -> Op:
    """Define an op over rows: ``forward(f, y, x, n, p)`` and ``adjoint(f, y, g, x, dx, n, p, store)``.

    A reducing op has one output element a row, the others `n`. Its composition is over matrices (rows, n) or
    (rows, 1): ``contribution(r, g, t)`` and ``tangent(r, d, t)``, of a reducing op else ``g w`` and ``sum d w`` with
    the slopes ``w = weights(r, t)``, None for 0.
    """
    device(forward)
    device(adjoint)

    def run(op: Along, f: Any, i: Any, b: Any) -> int:
        n, p = op.n, op.p
        out = 1 if reduces else n
        for row in range(op.rows):
            forward(f, op.y + row * out, op.x + row * n, n, p)
        return 0

    def run_adjoint(op: Along, f: Any, i: Any, b: Any) -> int:
        n, p = op.n, op.p
        out = 1 if reduces else n
        for row in range(op.rows):
            adjoint(f, op.y + row * out, op.g + row * out, op.x + row * n, op.d.x + row * n, n, p, op.stores.x)
        return 0

    def over_rows(rule: Callable, forwards: bool) -> Callable:
        def found(r: Any, moved: Any, t: Any) -> Any:
            width = 1 if reduces else r.n
            given = t.reshape(moved, (r.rows, r.n if forwards else width))
            result = rule(InRows(r, t, width), given, t)
            return 0 if result is None else t.reshape(result, r.shape if forwards else r.shape_of("x"))

        return found

    if weights is not None:
        contribution, tangent = weighted(weights)
    op = ROWS[name] = Op(name, run, run_adjoint, row=Along, saves={"x": saves}, stores=True, doc=doc, batching="rows",
                         composition={"x": over_rows(contribution, False)} if contribution else None,
                         tangent={"x": over_rows(tangent, True)} if tangent else None)
    return op


def weighted(weights: Callable) -> tuple[Callable, Callable]:
    """dx = g w and dy = sum w d, where a row's slopes w are not 0 altogether."""

    def contribution(r: Any, g: Any, t: Any) -> Any:
        w = weights(r, t)
        return None if w is None else g * w

    def tangent(r: Any, d: Any, t: Any) -> Any:
        w = weights(r, t)
        return None if w is None else t.sum(d * w, 1)

    return contribution, tangent


@device
def accumulate(f: Any, at: int, value: Any, store: bool) -> int:
    """f[at] += value, or = value."""
    f[at] = value if store else f[at] + value
    return 0


@device
def exponential_sum(f: Any, x: int, n: int, top: Any) -> Any:
    """Sum of e^(x - top), as a float64."""
    total = wide(cast(0.0, f))
    lost = total
    for first in range(0, n, SUMMED):
        part = cast(0.0, f)
        for k in range(x + first, x + min(first + SUMMED, n)):
            part = plus(part, m.exp(f[k] - top))
        total, lost = grown(f, total, lost, wide(part))
    return restored(f, total, lost)


@device
def product_sum(f: Any, x: int, z: int, n: int) -> Any:
    """Sum of x z, as a float64."""
    total = wide(cast(0.0, f))
    lost = total
    for first in range(0, n, SUMMED):
        part = cast(0.0, f)
        for k in range(first, min(first + SUMMED, n)):
            part = plus(part, f[x + k] * f[z + k])
        total, lost = grown(f, total, lost, wide(part))
    return restored(f, total, lost)


@device
def deviation_sum(f: Any, g: Any, x: int, n: int, mean: Any, rstd: Any) -> Any:
    """Sum of g (x - mean) rstd, as a float64."""
    total = wide(cast(0.0, f))
    lost = total
    for first in range(0, n, SUMMED):
        part = cast(0.0, f)
        for k in range(first, min(first + SUMMED, n)):
            part = plus(part, f[g + k] * ((f[x + k] - mean) * rstd))
        total, lost = grown(f, total, lost, wide(part))
    return restored(f, total, lost)


@device
def greatest(f: Any, x: int, n: int) -> Any:
    """Maximum of a row; NaN if it holds one."""
    best = m.order(f[x])
    for k in range(1, n):
        v = m.order(f[x + k])
        best = m.where(v > best, v, best)
    return m.from_order(best)


def max_row(f: Any, y: int, x: int, n: int, p: Any) -> int:
    f[y] = greatest(f, x, n)
    return 0


def min_row(f: Any, y: int, x: int, n: int, p: Any) -> int:
    best = m.order(-f[x])
    for k in range(1, n):
        v = m.order(-f[x + k])
        best = m.where(v > best, v, best)
    f[y] = -m.from_order(best)
    return 0


def tie_row(f: Any, y: int, g: int, x: int, dx: int, n: int, p: Any, store: bool) -> int:
    """The gradient, shared equally among the elements that equal the result."""
    ties, best = 0, f[y]
    for k in range(n):
        v = f[x + k]
        ties += 1 if v == best or (v != v and best != best) else 0
    share = f[g] / cast(ties, f)
    for k in range(n):
        v = f[x + k]
        accumulate(f, dx + k, share if v == best or (v != v and best != best) else cast(0.0, f), store)
    return 0


@device
def mean_of(f: Any, x: int, n: int) -> Any:
    """Mean of a row, corrected by the mean of the residuals; exact for equal numbers."""
    mean = cast(exact_sum(f, x, n) / wide(n), f)
    if n > 0 and m.abs(f[x] - mean) <= m.abs(mean) * 1e-6:
        rest = wide(cast(0.0, f))
        for k in range(x, x + n):
            rest = plus(rest, wide(f[k] - mean))
        mean += cast(rest / wide(n), f)
    return mean


@device
def square_deviation(f: Any, x: int, n: int, mean: Any) -> Any:
    """Sum of (x - mean)^2 as a float64, also where the squares overflow or underflow in the dtype of `f`."""
    total = wide(cast(0.0, f))
    lost = total
    for first in range(0, n, SUMMED):
        part = cast(0.0, f)
        for k in range(x + first, x + min(first + SUMMED, n)):
            d = f[k] - mean
            part = plus(part, d * d)
        total, lost = grown(f, total, lost, wide(part))
    total = restored(f, total, lost)
    if total > SMALL and total < LARGE:
        return total
    total = wide(cast(0.0, f))
    for k in range(x, x + n):
        d = wide(f[k]) - wide(mean)
        total = plus(total, d * d)
    return total


def var_row(f: Any, y: int, x: int, n: int, p: Any) -> int:
    """Sum of squared deviations from the mean (two passes), divided by p."""
    f[y] = cast(square_deviation(f, x, n, mean_of(f, x, n)) / wide(p), f)
    return 0


def var_row_adjoint(f: Any, y: int, g: int, x: int, dx: int, n: int, p: Any, store: bool) -> int:
    mean, slope = mean_of(f, x, n), 2.0 * f[g] / p
    for k in range(n):
        accumulate(f, dx + k, slope * (f[x + k] - mean), store)
    return 0


def std_row(f: Any, y: int, x: int, n: int, p: Any) -> int:
    """The root of `var_row`'s value, whose range is that of x."""
    f[y] = cast(m.sqrt(square_deviation(f, x, n, mean_of(f, x, n)) / wide(p)), f)
    return 0


def std_row_adjoint(f: Any, y: int, g: int, x: int, dx: int, n: int, p: Any, store: bool) -> int:
    """dx += g (x - mean) / (p y), and 0 where all are equal, as PyTorch has it."""
    mean, deviation, zero = mean_of(f, x, n), f[y], cast(0.0, f)
    slope = f[g] / p
    for k in range(n):
        accumulate(f, dx + k, zero if deviation == 0.0 else slope * ((f[x + k] - mean) / deviation), store)
    return 0


def of_ties(r: Any, t: Any) -> tuple[Any, Any]:
    """Which elements equal the result, and how many: all NaN where one is."""
    ties = t.logical_or(t.equal(r.x, r.y), t.not_equal(r.x, r.x))
    return ties, t.sum(t.where(ties, np.ones(1, r.x.dtype), 0.0), 1, keepdims=True)


def to_ties(r: Any, g: Any, t: Any) -> Any:
    """dx = g shared among the ties."""
    ties, count = of_ties(r, t)
    return t.where(ties, g / count, 0.0)


def by_ties(r: Any, d: Any, t: Any) -> Any:
    """dy = the mean of d over the ties."""
    ties, count = of_ties(r, t)
    return t.sum(t.where(ties, d / count, 0.0), 1)


def deviations(r: Any, t: Any) -> Any:
    """x - mean."""
    return r.x - t.mean(r.x, 1, keepdims=True)


def var_slopes(r: Any, t: Any) -> Any:
    """2 (x - mean) / p."""
    return deviations(r, t) * (2.0 / r.p if r.p else INFINITY)


def std_slopes(r: Any, t: Any) -> Any:
    """(x - mean) / (p y), and 0 where all are equal."""
    alike = t.equal(r.y, 0.0)
    return t.where(alike, 0.0, deviations(r, t) / t.where(alike, 1.0, r.y)) * (1.0 / r.p if r.p else INFINITY)


MAX = rows("max", max_row, tie_row, "y x", True, "greatest; ties share the gradient equally", to_ties, by_ties)
MIN = rows("min", min_row, tie_row, "y x", True, "least; ties share the gradient equally", to_ties, by_ties)
VAR = rows("var", var_row, var_row_adjoint, "x", True, "sum (x - mean)^2 / p", weights=var_slopes)
STD = rows("std", std_row, std_row_adjoint, "y x", True,
           "root of sum (x - mean)^2 / p; slope 0 where all are equal", weights=std_slopes)
