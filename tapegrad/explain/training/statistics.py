"""Statistics of many arrays in one compiled call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...engine.kernels import Kernel
from ...engine.language import cast, device, doubles_at, held, plus, read, wide, words_at, write
from ...engine.mathematics import vecmath as m
from ...engine.row import Part, Words
from ...engine.storage import address_of
from ...engine.threads.team import share, team_address

#: bins of a histogram
BINS = 16
#: elements that all sums go over before the next; counted in the tape's dtype, which is exact
_BLOCK = 2048
#: elements of a histogram, and of the evenly spaced pieces of a larger array that it is of
MOST, _PIECE = 2048, 128
#: places in an array's results: sums of squares, of elements and of squared differences, extremes, counts, then bins
SQUARES, SUM, CHANGE, LEAST, GREATEST, NAN, INFINITE, ZEROS, OUTSIDE, DEAD, COUNTS = range(11)
RESULTS = COUNTS + BINS


class Array(Words):
    """What is asked of one array."""

    x: int
    n: int
    bins: bool  # whether a histogram is
    bounded: bool  # whether what lies outside of these is counted
    low: float
    high: float
    other: int  # where an array is that it differs from, or 0
    outer: int  # units along an axis, which are counted if no element is positive: the extents around it
    units: int  # 0: none
    inner: int
    scratch: int  # an element a unit
    result: int


_ARRAY = Array.size


class Table(Words):
    rows: int
    count: int
    team: int
    kernel: int  # of a part


def statistics(op: Table, f: Any, i: Any, b: Any) -> int:
    """Statistics of all arrays of a table, in parallel over the arrays."""
    return share(op.team, op.kernel, op, op.count, f, i, b)


def one_array(part: Part, f: Any, i: Any, b: Any) -> int:
    """Statistics of one array of a table."""
    op: Table = words_at(part.row)
    measure(words_at(op.rows + part.number * _ARRAY), f)
    return 0


@device
def measure(op: Array, f: Any) -> int:
    out, n = doubles_at(f, op.result), op.n
    for k in range(RESULTS):
        out[k] = 0.0
    if n > 0:
        out[LEAST], out[GREATEST] = math.inf, -math.inf
    for first in range(0, n, _BLOCK):
        size = min(_BLOCK, n - first)
        moments(f, op.x + first, size, out)
        extremes(f, op.x + first, size, out)
        if op.other != 0:
            out[CHANGE] += distance(f, op.x + first, op.other + first, size)
    if not out[GREATEST] - out[LEAST] < math.inf:
        broken(f, op.x, n, out)
    elif op.bins:
        histogram(f, op.x, n, cast(out[LEAST], f), cast(out[GREATEST], f), out)
    if op.bounded:
        out[OUTSIDE] = wide(outside(f, op.x, n, op.low, op.high))
    if op.units != 0:
        out[DEAD] = wide(dead(f, op.x, op.outer, op.units, op.inner, op.scratch))
    return 0


@device
def moments(f: Any, x: int, n: int, out: Any) -> int:
    """Add a block's sums, and its number of zeros, to the results."""
    zero, one = cast(0.0, f), cast(1.0, f)
    squares, total, zeros = wide(zero), wide(zero), zero
    for k in range(x, x + n):
        v = wide(f[k])
        squares, total = plus(squares, v * v), plus(total, v)
    for k in range(x, x + n):
        zeros = plus(zeros, one if f[k] == zero else zero)
    out[SQUARES] += squares
    out[SUM] += total
    out[ZEROS] += wide(zeros)
    return 0


@device
def broken(f: Any, x: int, n: int, out: Any) -> int:
    """Count what is NaN or infinite."""
    for k in range(x, x + n):
        if f[k] != f[k]:
            out[NAN] += 1.0
        elif m.abs(f[k]) == math.inf:
            out[INFINITE] += 1.0
    return 0


@device
def outside(f: Any, x: int, n: int, low: Any, high: Any) -> int:
    """The number of elements outside of the bounds."""
    count = 0
    for k in range(x, x + n):
        count += 1 if (f[k] < low) | (f[k] > high) else 0
    return count


@device
def distance(f: Any, x: int, y: int, n: int) -> Any:
    """The sum of (x - y)^2."""
    total = wide(cast(0.0, f))
    for k in range(n):
        d = wide(f[x + k]) - wide(f[y + k])
        total = plus(total, d * d)
    return total


@device
def extremes(f: Any, x: int, n: int, out: Any) -> int:
    """Extend the range of the results to the elements of a block; a NaN stays in it."""
    top = m.order(f[x])
    bottom = top
    for k in range(x + 1, x + n):
        v = m.order(f[k])
        top, bottom = m.where(v > top, v, top), m.where(v < bottom, v, bottom)
    low, high = wide(m.from_order(bottom)), wide(m.from_order(top))
    out[LEAST] = out[LEAST] if out[LEAST] <= low or out[LEAST] != out[LEAST] else low
    out[GREATEST] = out[GREATEST] if out[GREATEST] >= high or out[GREATEST] != out[GREATEST] else high
    return 0


@device
def histogram(f: Any, x: int, n: int, least: Any, greatest: Any, out: Any) -> int:
    """Counts in bins of equal width: five edges at a time, each compared with many elements at once.

    Of more than `MOST` elements, those of evenly spaced pieces are counted.
    """
    width, count = (greatest - least) / cast(BINS, f), min(n, MOST)
    pieces = 1 if n <= MOST else MOST // _PIECE
    for piece in range(pieces):
        first = 0 if pieces == 1 else piece * (n - _PIECE) // (pieces - 1)
        for edge in range(1, BINS, 5):
            below(f, x + first, count // pieces, least, width, edge, out)
    before = wide(cast(0.0, f))
    for k in range(COUNTS, COUNTS + BINS - 1):
        upto = out[k]
        out[k] = upto - before
        before = upto
    out[COUNTS + BINS - 1] = count - before
    return 0


@device
def below(f: Any, x: int, n: int, least: Any, width: Any, edge: int, out: Any) -> int:
    """Count the elements below each of five edges."""
    zero, one = cast(0.0, f), cast(1.0, f)
    e0, e1, e2 = least + width * cast(edge, f), least + width * cast(edge + 1, f), least + width * cast(edge + 2, f)
    e3, e4 = least + width * cast(edge + 3, f), least + width * cast(edge + 4, f)
    c0, c1, c2, c3, c4 = zero, zero, zero, zero, zero
    for k in range(x, x + n):
        v = f[k]
        c0 = plus(c0, one if v < e0 else zero)
        c1 = plus(c1, one if v < e1 else zero)
        c2 = plus(c2, one if v < e2 else zero)
        c3 = plus(c3, one if v < e3 else zero)
        c4 = plus(c4, one if v < e4 else zero)
    at = COUNTS + edge - 1
    out[at] += wide(c0)
    out[at + 1] += wide(c1)
    out[at + 2] += wide(c2)
    out[at + 3] += wide(c3)
    out[at + 4] += wide(c4)
    return 0


@device
def dead(f: Any, x: int, outer: int, units: int, inner: int, scratch: int) -> int:
    """The number of units none of whose elements is positive (or NaN)."""
    zero = cast(0.0, f)
    for u in range(units):
        f[scratch + u] = zero
    for o in range(outer):
        if inner == 1:
            seen(f, x + o * units, units, scratch)
        else:
            for u in range(units):
                at = x + (o * units + u) * inner
                for k in range(at, at + inner):
                    f[scratch + u] = f[scratch + u] if f[k] <= zero else cast(1.0, f)
    count = 0
    for u in range(units):
        count += 1 if f[scratch + u] == zero else 0
    return count


@device
def seen(f: Any, x: int, n: int, scratch: int) -> int:
    """Mark the units that are active in one row."""
    zero, one = cast(0.0, f), cast(1.0, f)
    for k in range(n):
        write(f, scratch + k, m.where(read(f, x + k) <= zero, held(f, scratch + k), one))
    return 0


class Copy(Words):
    source: int
    target: int
    n: int


_COPY = Copy.size


def copies(op: Table, f: Any, i: Any, b: Any) -> int:
    """Copy arrays, in parallel over them."""
    return share(op.team, op.kernel, op, op.count, f, i, b)


def one_copy(part: Part, f: Any, i: Any, b: Any) -> int:
    """Copy one array."""
    op: Table = words_at(part.row)
    row: Copy = words_at(op.rows + part.number * _COPY)
    copy_floats(f, row.source, row.target, row.n)
    return 0


@device
def copy_floats(f: Any, source: int, target: int, n: int) -> int:
    """A function of its own, so that LLVM makes a block copy of it."""
    for k in range(n):
        f[target + k] = f[source + k]
    return 0


STATISTICS = Kernel("monitor.statistics", statistics), Kernel("monitor.one_array", one_array)
COPIES = Kernel("monitor.copies", copies), Kernel("monitor.one_copy", one_copy)


class Calls:
    """A pair of kernels bound to rows: calling it runs the second over each, on as many threads as may run."""

    def __init__(self, kernels: tuple[Kernel, Kernel], rows: Sequence[Sequence[int]], dtype: np.dtype) -> None:
        whole, part = kernels
        self._rows = np.array(rows, np.int64).reshape(len(rows), -1)
        self._table = np.array(Table.words(rows=address_of(self._rows) // 8 if len(rows) else 0, count=len(rows),
                                           team=team_address(dtype), kernel=part.address(dtype)), np.int64)
        self._call = whole.bound(address_of(self._table), dtype)

    def __call__(self) -> None:
        self._call()
