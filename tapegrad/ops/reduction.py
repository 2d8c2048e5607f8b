"""Sums over any axes, and ops along the last axis of contiguous rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..engine import vecmath as m
from ..engine.jit import cast, device, real
from .nest import column_stride, row_offset
from .table import EVERY, Op

BLOCK = 1024  # elements summed in one go, so that rounding grows with the number of blocks, not of elements
INFINITY = math.inf


@device
def block_sum(f: Any, at: int, n: int, step: int) -> Any:
    """Sum of `n` elements from `at` on."""
    part = cast(0.0, f)
    if step == 1:
        for k in range(n):
            part += f[at + k]
    else:
        for k in range(n):
            part += f[at + k * step]
    return part


@device
def total_of(f: Any, x: int, n: int, step: int) -> Any:
    """Sum of `n` elements from `x` on, in blocks."""
    total = cast(0.0, f)
    for first in range(0, n, BLOCK):
        total += block_sum(f, x + first * step, min(BLOCK, n - first), step)
    return total


def sum_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y = scale * sum x. Words: 1 y, 3 x, 5 scale, 6 elements of y, 7 nest of (y, x)."""
    scale, count, columns, out = real(op, 5, f), op[6], op[8], op[1]
    for k in range(count):
        f[out + k] = 0.0
    to, step = column_stride(op, 7, 0), column_stride(op, 7, 1)
    for row in range(op[7]):
        y, x = out + row_offset(op, 7, 0, row), op[3] + row_offset(op, 7, 1, row)
        if to == 0:
            f[y] += total_of(f, x, columns, step)
        elif to == 1 and step == 1:
            for k in range(columns):
                f[y + k] += f[x + k]
        else:
            for k in range(columns):
                f[y + k * to] += f[x + k * step]
    if scale != 1.0:
        for k in range(count):
            f[out + k] *= scale
    return 0


def sum_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dx += scale * g."""
    scale, columns, store, zero = real(op, 5, f), op[8], op[0] & 2 != 0, cast(0.0, f)
    to, step = column_stride(op, 7, 0), column_stride(op, 7, 1)
    for row in range(op[7]):
        g, dx = op[2] + row_offset(op, 7, 0, row), op[4] + row_offset(op, 7, 1, row)
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


SUM = Op("sum", sum_forward, sum_adjoint, ((),), stores=True, doc="sum over axes, times a number (mean: 1/n)",
         strided=EVERY)


# The same of one contiguous row that comes in strips of whole blocks: to the bit, for the blocks are added in order.


def block_sums_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """Sums of the blocks of x. Words: 1 y, 3 x, 5 elements of x."""
    for first in range(0, op[5], BLOCK):
        f[op[1] + first // BLOCK] = block_sum(f, op[3] + first, min(BLOCK, op[5] - first), 1)
    return 0


def ordered_sum_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y = scale * sum x, one element after the other. Words: 1 y, 3 x, 5 scale, 6 elements of x."""
    total = cast(0.0, f)
    for k in range(op[6]):
        total = m.minus(total, -f[op[3] + k])
    f[op[1]] = total * real(op, 5, f)
    return 0


BLOCK_SUMS = Op("block_sums", block_sums_forward, doc="sums of the blocks that a sum is made of")
ORDERED_SUM = Op("ordered_sum", ordered_sum_forward, doc="sum from the first to the last, times a number")


# ------------------------------------------------------------------ rows
# Words: 1 y, 2 g, 3 x, 4 dx, 5 rows, 6 elements of a row n, 7 attribute p. The adjoint of a row is a device function
# ``rule(f, y, g, x, k, ...)``; mode bit 1 stores.

ROWS: dict[str, Op] = {}


def rows(name: str, forward: Callable, adjoint: Callable, saves: tuple[int, ...], reduces: bool, doc: str) -> Op:
    """Define an op over rows: ``forward(f, y, x, n, p)`` and ``adjoint(f, y, g, x, dx, n, p, store)``.

    A reducing op has one output element a row, the others `n`.
    """
    device(forward)
    device(adjoint)

    def run(op: Any, f: Any, i: Any, b: Any) -> int:
        n, p = op[6], real(op, 7, f)
        out = 1 if reduces else n
        for row in range(op[5]):
            forward(f, op[1] + row * out, op[3] + row * n, n, p)
        return 0

    def run_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
        n, p = op[6], real(op, 7, f)
        out = 1 if reduces else n
        for row in range(op[5]):
            adjoint(f, op[1] + row * out, op[2] + row * out, op[3] + row * n, op[4] + row * n, n, p, op[0] & 2 != 0)
        return 0

    op = ROWS[name] = Op(name, run, run_adjoint, (saves,), stores=True, doc=doc)
    return op


@device
def accumulate(f: Any, at: int, value: Any, store: bool) -> int:
    """f[at] += value, or = value."""
    f[at] = value if store else f[at] + value
    return 0


@device
def greatest(f: Any, x: int, n: int) -> Any:
    """Greatest of a row; NaN if it holds one."""
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
    """The gradient shared equally among the elements that equal the result."""
    ties = cast(0.0, f)
    best = f[y]
    for k in range(n):
        v = f[x + k]
        ties += 1.0 if v == best or (v != v and best != best) else 0.0
    share = f[g] / ties
    for k in range(n):
        v = f[x + k]
        accumulate(f, dx + k, share if v == best or (v != v and best != best) else cast(0.0, f), store)
    return 0


def prod_row(f: Any, y: int, x: int, n: int, p: Any) -> int:
    result = cast(1.0, f)
    for k in range(n):
        result *= f[x + k]
    f[y] = result
    return 0


def prod_row_adjoint(f: Any, y: int, g: int, x: int, dx: int, n: int, p: Any, store: bool) -> int:
    """dx_k += g * product of the others: y / x_k where that is safe, else multiplied out (zeros, overflow)."""
    result = f[y]
    size = m.abs(result)
    safe = size > 1e-30 and size < 1e30
    for k in range(n):
        others = cast(1.0, f)
        if safe:
            others = result / f[x + k]
        else:
            for j in range(n):
                others *= f[x + j] if j != k else cast(1.0, f)
        accumulate(f, dx + k, f[g] * others, store)
    return 0


def var_row(f: Any, y: int, x: int, n: int, p: Any) -> int:
    """Sum of squared deviations from the mean (two passes), divided by p."""
    mean = total_of(f, x, n, 1) / cast(n, f)
    total = cast(0.0, f)
    for k in range(n):
        d = f[x + k] - mean
        total += d * d
    f[y] = total / p
    return 0


def var_row_adjoint(f: Any, y: int, g: int, x: int, dx: int, n: int, p: Any, store: bool) -> int:
    mean = total_of(f, x, n, 1) / cast(n, f)
    slope = 2.0 * f[g] / p
    for k in range(n):
        accumulate(f, dx + k, slope * (f[x + k] - mean), store)
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
    total = cast(0.0, f)
    for k in range(n):
        total += m.exp(f[x + k] - top)
    f[y] = top + m.log(total)
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
    total = cast(0.0, f)
    for k in range(n):
        e = m.exp(f[x + k] - top)
        f[y + k] = e
        total += e
    scale = 1.0 / total
    for k in range(n):
        f[y + k] *= scale
    return 0


def softmax_row_adjoint(f: Any, y: int, g: int, x: int, dx: int, n: int, p: Any, store: bool) -> int:
    """dx += y (g - sum g y)."""
    inner = cast(0.0, f)
    for k in range(n):
        inner += f[g + k] * f[y + k]
    for k in range(n):
        accumulate(f, dx + k, f[y + k] * (f[g + k] - inner), store)
    return 0


def log_softmax_row(f: Any, y: int, x: int, n: int, p: Any) -> int:
    """x - max - ln sum e^(x - max)."""
    if n == 0:
        return 0
    top = greatest(f, x, n)
    total = cast(0.0, f)
    for k in range(n):
        total += m.exp(f[x + k] - top)
    shift = m.log(total)
    for k in range(n):
        f[y + k] = m.minus(m.minus(f[x + k], top), shift)
    return 0


def log_softmax_row_adjoint(f: Any, y: int, g: int, x: int, dx: int, n: int, p: Any, store: bool) -> int:
    """dx += g - e^y sum g."""
    inner = total_of(f, g, n, 1)
    for k in range(n):
        accumulate(f, dx + k, f[g + k] - m.exp(f[y + k]) * inner, store)
    return 0


def cumsum_row(f: Any, y: int, x: int, n: int, p: Any) -> int:
    total = cast(0.0, f)
    for k in range(n):
        total += f[x + k]
        f[y + k] = total
    return 0


def cumsum_row_adjoint(f: Any, y: int, g: int, x: int, dx: int, n: int, p: Any, store: bool) -> int:
    """dx_k += sum of g from k on."""
    total = cast(0.0, f)
    for back in range(n):
        k = n - 1 - back
        total += f[g + k]
        accumulate(f, dx + k, total, store)
    return 0


def cumprod_row(f: Any, y: int, x: int, n: int, p: Any) -> int:
    product = cast(1.0, f)
    for k in range(n):
        product *= f[x + k]
        f[y + k] = product
    return 0


def cumprod_row_adjoint(f: Any, y: int, g: int, x: int, dx: int, n: int, p: Any, store: bool) -> int:
    """dx_k += y_(k-1) s_k, s_k = g_k + x_(k+1) s_(k+1): no division, so that zeros are as good as other numbers."""
    rest, one = cast(0.0, f), cast(1.0, f)
    for back in range(n):
        k = n - 1 - back
        rest += f[g + k]
        accumulate(f, dx + k, rest * (f[y + k - 1] if k > 0 else one), store)
        rest *= f[x + k]
    return 0


rows("max", max_row, tie_row, (0, 1), True, "greatest; ties share the gradient equally")
rows("min", min_row, tie_row, (0, 1), True, "least; ties share the gradient equally")
rows("prod", prod_row, prod_row_adjoint, (0, 1), True, "product")
rows("var", var_row, var_row_adjoint, (1,), True, "sum (x - mean)^2 / p")
rows("logsumexp", logsumexp_row, logsumexp_row_adjoint, (0, 1), True, "ln sum e^x")
rows("softmax", softmax_row, softmax_row_adjoint, (0,), False, "e^x / sum e^x")
rows("log_softmax", log_softmax_row, log_softmax_row_adjoint, (0,), False, "ln softmax")
rows("cumsum", cumsum_row, cumsum_row_adjoint, (), False, "running sum")
rows("cumprod", cumprod_row, cumprod_row_adjoint, (0, 1), False, "running product")
