"""Accurate long sums: blocks in the tape's dtype, their sums in float64.

A running sum loses a digit for every factor of ten in the number of its terms. Here eight terms are added to each
other, which rounds three times, and what they give is added up in float64, at the cost of one conversion and one
addition for eight terms: the error of a sum of millions is that of a sum of eight. Totals of float64 terms are
compensated. The order depends on the extents alone, so that results are the same to the bit whatever the number of
threads.
"""

from __future__ import annotations

from typing import Any

from ..language import apart, cast, device, device_pair, doubles_at, held, plus, read, wide, write
from ..tiles.tile import stack

#: elements of a row that are summed at once; a row in strips of whole blocks has the same sum
BLOCK = 1024
#: columns that are summed at once, and rows of a `part` of such a sum
COLUMNS, ROWS = 512, 8


# ------------------------------------------------------------------ totals
# A total is a float64. That of float64 terms is compensated: what rounding takes from it is added up in another that
# follows it (Sum2 of T. Ogita, S. M. Rump and S. Oishi, Accurate sum and dot product, 2005), so that a total takes two
# elements of either dtype. They lie at `totals`, from `doubles_at`.


def _one(f: Any) -> int:
    return 1


def _two(f: Any) -> int:
    """How many float64s a total of terms in the dtype of `f` is."""
    return 2


def _grown_single(f: Any, total: Any, lost: Any, value: Any) -> Any:
    return total + value, lost


def _grown_double(f: Any, total: Any, lost: Any, value: Any) -> Any:
    """A total, and what it has lost, after another term; all are float64s."""
    after = total + value
    own = after - total
    return after, lost + ((total - (after - own)) + (value - own))


def _restored_single(f: Any, total: Any, lost: Any) -> Any:
    return total


def _restored_double(f: Any, total: Any, lost: Any) -> Any:
    """A total with what it has lost, which is NaN where it is infinite."""
    return total + lost if lost == lost else total


parts_of_total = device_pair("parts_of_total", _one, _two)
grown = device_pair("grown", _grown_single, _grown_double)
restored = device_pair("restored", _restored_single, _restored_double)


@device
def clear_totals(f: Any, totals: Any, n: int) -> int:
    """Begin `n` totals."""
    zero = wide(cast(0.0, f))
    for k in range(n * parts_of_total(f)):
        totals[k] = zero
    return 0


def _add_single(f: Any, totals: Any, k: int, value: Any) -> int:
    write(totals, k, held(totals, k) + value)
    return 0


def _add_double(f: Any, totals: Any, k: int, value: Any) -> int:
    """Add a float64 to total number `k`."""
    total, lost = grown(f, held(totals, 2 * k), held(totals, 2 * k + 1), value)
    write(totals, 2 * k, total)
    write(totals, 2 * k + 1, lost)
    return 0


def _total_single(f: Any, totals: Any, k: int) -> Any:
    return totals[k]


def _total_double(f: Any, totals: Any, k: int) -> Any:
    """Total number `k`."""
    return restored(f, totals[2 * k], totals[2 * k + 1])


add_to_total = device_pair("add_to_total", _add_single, _add_double)
total_at = device_pair("total_at", _total_single, _total_double)


# ------------------------------------------------------------------ rows


@device
def eight(f: Any, x: int, step: int) -> Any:
    """Pairwise sum of eight elements: exact where they are equal."""
    return (((read(f, x) + read(f, x + step)) + (read(f, x + 2 * step) + read(f, x + 3 * step)))
            + ((read(f, x + 4 * step) + read(f, x + 5 * step)) + (read(f, x + 6 * step) + read(f, x + 7 * step))))


@device
def block_sum(f: Any, at: int, n: int) -> Any:
    """Sum of `n` elements from `at` on, at most `BLOCK`, as a float64."""
    return whole_block_sum(f, at) if n == BLOCK else exact_sum(f, at, n)


@device
def whole_block_sum(f: Any, at: int) -> Any:
    """`block_sum` of `BLOCK` elements."""
    part = cast(0.0, f)
    for k in range(at, at + BLOCK // 8):  # several accumulators for each vector lane, which are then summed pairwise
        part = plus(part, eight(f, k, BLOCK // 8))
    return wide(part)


@device
def exact_sum(f: Any, at: int, n: int) -> Any:
    """`block_sum`, and exact if all are equal."""
    total, each = wide(cast(0.0, f)), n // 8
    for k in range(at, at + each):
        total = plus(total, wide(eight(f, k, each)))
    for k in range(at + 8 * each, at + n):
        total += wide(f[k])
    return total


@device
def row_total(f: Any, x: int, n: int) -> Any:
    """Sum of `n` elements from `x` on, as a float64."""
    apart()  # as a function of its own: so many loops would keep LLVM from vectorising the caller's
    total, left = wide(cast(0.0, f)), n
    lost = total
    while left >= BLOCK:
        total, lost = grown(f, total, lost, whole_block_sum(f, x + n - left))
        left -= BLOCK
    if left > 0:
        total, lost = grown(f, total, lost, exact_sum(f, x + n - left, left))
    return restored(f, total, lost)


@device
def total_of(f: Any, x: int, n: int, step: int) -> Any:
    """`row_total` of elements with stride `step`."""
    if step == 1:
        return row_total(f, x, n)
    total = wide(cast(0.0, f))
    lost = total
    for first in range(0, n, BLOCK):
        at, count, part = x + first * step, min(BLOCK, n - first), wide(cast(0.0, f))
        each = count // 8
        for k in range(each):
            part = plus(part, wide(eight(f, at + k * step, each * step)))
        for k in range(8 * each, count):
            part += wide(f[at + k * step])
        total, lost = grown(f, total, lost, part)
    return restored(f, total, lost)


# ------------------------------------------------------------------ rows on top of each other
# Totals are at most COLUMNS.


@device
def add_row(f: Any, totals: Any, n: int, x: int, step: int) -> int:
    """Accumulate a row of `n` elements into the totals."""
    for k in range(n):
        add_to_total(f, totals, k, wide(read(f, x + k * step)))
    return 0


@device
def add_eight_rows(f: Any, totals: Any, n: int, step: int, a: int, b: int, c: int, d: int, p: int, q: int, r: int,
                   s: int) -> int:
    """Add eight rows, which begin at `a` to `s`."""
    for k in range(n):
        j = k * step
        above = (read(f, a + j) + read(f, b + j)) + (read(f, c + j) + read(f, d + j))
        below = (read(f, p + j) + read(f, q + j)) + (read(f, r + j) + read(f, s + j))
        add_to_total(f, totals, k, wide(above + below))
    return 0


@device
def give_totals(f: Any, totals: Any, n: int, scale: Any, to: int, step: int, add: bool) -> int:
    """Store the totals times `scale`, a float64, into `n` elements, or accumulate them."""
    if add:
        for k in range(n):
            write(f, to + k * step, held(f, to + k * step) + cast(total_at(f, totals, k) * scale, f))
    else:
        for k in range(n):
            write(f, to + k * step, cast(total_at(f, totals, k) * scale, f))
    return 0


@device
def sum_rows(f: Any, to: int, a: int, row: int, rows: int, columns: int, scale: Any, add: bool) -> int:
    """`scale` (a float64) times the sum of `rows` rows of `columns` elements with row stride `row`; or +=."""
    if 0 < rows < ROWS and scale == 1.0:
        for r in range(rows):
            if r == 0 and not add:
                for k in range(columns):
                    write(f, to + k, read(f, a + k))
            else:
                for k in range(columns):
                    write(f, to + k, held(f, to + k) + read(f, a + r * row + k))
        return 0
    totals = doubles_at(f, stack(f))
    for left in range(0, columns, COLUMNS):
        n, whole = min(COLUMNS, columns - left), rows // ROWS * ROWS
        clear_totals(f, totals, n)
        for r in range(0, whole, ROWS):
            x = a + left + r * row
            add_eight_rows(f, totals, n, 1, x, x + row, x + 2 * row, x + 3 * row, x + 4 * row, x + 5 * row,
                           x + 6 * row, x + 7 * row)
        for r in range(whole, rows):
            add_row(f, totals, n, a + left + r * row, 1)
        give_totals(f, totals, n, scale, to + left, 1, add)
    return 0
