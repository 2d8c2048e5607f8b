"""Reductions over any axes, and ops along the last axis of contiguous rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..engine.language import cast, device, doubles_at, frame, plus, wide
from ..engine.mathematics import vecmath as m
from ..engine.mathematics.sums import (
    BLOCK,
    COLUMNS,
    add_eight_rows,
    add_row,
    block_sum,
    clear_totals,
    exact_sum,
    give_totals,
    row_total,
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
    if step == 0:
        for first in range(0, places, COLUMNS):
            n = min(COLUMNS, places - first)
            clear_totals(f, totals, n)
            for r in range(alike):
                for k in range(n):
                    x = source + source_at(op, at, other, row_of(op, at, operand, first + k, r, alike))
                    totals[k] += total_of(f, x, columns, along)
            for k in range(n):
                y = to + row_offset(op, at, operand, row_of(op, at, operand, first + k, 0, alike))
                f[y] = (f[y] if add else zero) + cast(totals[k] * scale, f)
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


_SUM = {"x": lambda r, g, t: r.read_as(g, "y", r.shape_of("x")) * r.scale}
SUM = Op("sum", sum_forward, sum_adjoint, row=Sum, saves={}, stores=True,
         doc="sum over axes, times a number (mean: 1/n)", composition=_SUM)
#: of one row without gaps to one number
ROW_SUM = Op("sum", row_sum_forward, row_sum_adjoint, row=Sum, saves={}, stores=True, doc=SUM.doc, form="row",
             composition=_SUM)


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
    for k in range(op.blocks):
        total += sums[k]
    f[op.y] = cast(total * op.scale, f)
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


def rows(name: str, forward: Callable, adjoint: Callable, saves: str, reduces: bool, doc: str) -> Op:
    """Define an op over rows: ``forward(f, y, x, n, p)`` and ``adjoint(f, y, g, x, dx, n, p, store)``.

    A reducing op has one output element a row, the others `n`.
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

    op = ROWS[name] = Op(name, run, run_adjoint, row=Along, saves={"x": saves}, stores=True, doc=doc)
    return op


@device
def accumulate(f: Any, at: int, value: Any, store: bool) -> int:
    """f[at] += value, or = value."""
    f[at] = value if store else f[at] + value
    return 0


@device
def exponential_sum(f: Any, x: int, n: int, top: Any) -> Any:
    """Sum of e^(x - top), as a float64."""
    total = wide(cast(0.0, f))
    for first in range(0, n, SUMMED):
        part = cast(0.0, f)
        for k in range(x + first, x + min(first + SUMMED, n)):
            part = plus(part, m.exp(f[k] - top))
        total += wide(part)
    return total


@device
def product_sum(f: Any, x: int, z: int, n: int) -> Any:
    """Sum of x z, as a float64."""
    total = wide(cast(0.0, f))
    for first in range(0, n, SUMMED):
        part = cast(0.0, f)
        for k in range(first, min(first + SUMMED, n)):
            part = plus(part, f[x + k] * f[z + k])
        total += wide(part)
    return total


@device
def deviation_sum(f: Any, g: Any, x: int, n: int, mean: Any, rstd: Any) -> Any:
    """Sum of g (x - mean) rstd, as a float64."""
    total = wide(cast(0.0, f))
    for first in range(0, n, SUMMED):
        part = cast(0.0, f)
        for k in range(first, min(first + SUMMED, n)):
            part = plus(part, f[g + k] * ((f[x + k] - mean) * rstd))
        total += wide(part)
    return total


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


def prod_row(f: Any, y: int, x: int, n: int, p: Any) -> int:
    result = wide(cast(1.0, f))  # a product may leave the range of float32 and return to it
    for k in range(n):
        result *= wide(f[x + k])
    f[y] = cast(result, f)
    return 0


def prod_row_adjoint(f: Any, y: int, g: int, x: int, dx: int, n: int, p: Any, store: bool) -> int:
    """dx_k += g * product of the others: y / x_k where that is safe, else multiplied out (zeros, overflow)."""
    result = f[y]
    size = m.abs(result)
    safe = size > 1e-30 and size < 1e30
    for k in range(n):
        others = wide(cast(1.0, f))
        if safe:
            others = wide(result / f[x + k])
        else:
            for j in range(n):
                others *= wide(f[x + j]) if j != k else 1.0
        accumulate(f, dx + k, cast(wide(f[g]) * others, f), store)
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
    for first in range(0, n, SUMMED):
        part = cast(0.0, f)
        for k in range(x + first, x + min(first + SUMMED, n)):
            d = f[k] - mean
            part = plus(part, d * d)
        total += wide(part)
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


def logsumexp_row(f: Any, y: int, x: int, n: int, p: Any) -> int:
    """max + ln sum e^(x - max)."""
    if n == 0:
        f[y] = -INFINITY
        return 0
    top = greatest(f, x, n)
    if m.abs(top) == INFINITY:
        f[y] = top
        return 0
    f[y] = top + m.log(cast(exponential_sum(f, x, n, top), f))
    return 0


def logsumexp_row_adjoint(f: Any, y: int, g: int, x: int, dx: int, n: int, p: Any, store: bool) -> int:
    result = f[y]
    for k in range(n):
        share = m.exp(f[x + k] - result)
        accumulate(f, dx + k, f[g] * (0.0 if result == -INFINITY else share), store)
    return 0


def softmax_row(f: Any, y: int, x: int, n: int, p: Any) -> int:
    """e^(x - max) / sum."""
    if n == 0:
        return 0
    top = greatest(f, x, n)
    total = wide(cast(0.0, f))
    for first in range(0, n, SUMMED):
        part = cast(0.0, f)
        for k in range(first, min(first + SUMMED, n)):
            e = m.exp(f[x + k] - top)
            f[y + k] = e
            part = plus(part, e)
        total += wide(part)
    scale = 1.0 / cast(total, f)
    for k in range(n):
        f[y + k] *= scale
    return 0


def softmax_row_adjoint(f: Any, y: int, g: int, x: int, dx: int, n: int, p: Any, store: bool) -> int:
    """dx += y (g - sum g y)."""
    inner = cast(product_sum(f, g, y, n), f)
    for k in range(n):
        accumulate(f, dx + k, f[y + k] * (f[g + k] - inner), store)
    return 0


def log_softmax_row(f: Any, y: int, x: int, n: int, p: Any) -> int:
    """x - max - ln sum e^(x - max)."""
    if n == 0:
        return 0
    top = greatest(f, x, n)
    shift = m.log(cast(exponential_sum(f, x, n, top), f))
    for k in range(n):
        f[y + k] = (f[x + k] - top) - shift
    return 0


def log_softmax_row_adjoint(f: Any, y: int, g: int, x: int, dx: int, n: int, p: Any, store: bool) -> int:
    """dx += g - e^y sum g."""
    inner = cast(row_total(f, g, n), f)
    for k in range(n):
        accumulate(f, dx + k, f[g + k] - m.exp(f[y + k]) * inner, store)
    return 0


def cumsum_row(f: Any, y: int, x: int, n: int, p: Any) -> int:
    total = wide(cast(0.0, f))
    for k in range(n):
        total += wide(f[x + k])
        f[y + k] = cast(total, f)
    return 0


def cumsum_row_adjoint(f: Any, y: int, g: int, x: int, dx: int, n: int, p: Any, store: bool) -> int:
    """dx_k += sum of g from k on."""
    total = wide(cast(0.0, f))
    for back in range(n):
        k = n - 1 - back
        total += wide(f[g + k])
        accumulate(f, dx + k, cast(total, f), store)
    return 0


def cumprod_row(f: Any, y: int, x: int, n: int, p: Any) -> int:
    product = wide(cast(1.0, f))
    for k in range(n):
        product *= wide(f[x + k])
        f[y + k] = cast(product, f)
    return 0


def cumprod_row_adjoint(f: Any, y: int, g: int, x: int, dx: int, n: int, p: Any, store: bool) -> int:
    """dx_k += y_(k-1) s_k, s_k = g_k + x_(k+1) s_(k+1): no division, so that zeros are not special."""
    rest, one = wide(cast(0.0, f)), cast(1.0, f)
    for back in range(n):
        k = n - 1 - back
        rest += wide(f[g + k])
        accumulate(f, dx + k, cast(rest * wide(f[y + k - 1] if k > 0 else one), f), store)
        rest *= wide(f[x + k])
    return 0


rows("max", max_row, tie_row, "y x", True, "greatest; ties share the gradient equally")
rows("min", min_row, tie_row, "y x", True, "least; ties share the gradient equally")
rows("prod", prod_row, prod_row_adjoint, "y x", True, "product")
rows("var", var_row, var_row_adjoint, "x", True, "sum (x - mean)^2 / p")
rows("std", std_row, std_row_adjoint, "y x", True, "root of sum (x - mean)^2 / p; slope 0 where all are equal")
rows("logsumexp", logsumexp_row, logsumexp_row_adjoint, "y x", True, "ln sum e^x")
rows("softmax", softmax_row, softmax_row_adjoint, "y", False, "e^x / sum e^x")
rows("log_softmax", log_softmax_row, log_softmax_row_adjoint, "y", False, "ln softmax")
rows("cumsum", cumsum_row, cumsum_row_adjoint, "", False, "running sum")
rows("cumprod", cumprod_row, cumprod_row_adjoint, "y x", False, "running product")
