"""Sorting along the last axis of contiguous rows: argsort, top-k, argmax and argmin, ranks, running extremes.

NaN counts as the maximum: it comes last in ascending order, as in NumPy, and first in descending order, as in PyTorch.
Equal elements keep their order.
"""

from __future__ import annotations

from typing import Any

from ..engine.language import device
from ..engine.row import Aux, Input, Output, Row, contiguous, int64
from .table import Op

_RUN = 12  # elements that insertion sorts before merging starts


@device
def precedes(u: Any, v: Any, descending: int) -> bool:
    """Whether `u` comes before `v` and is not equal to it."""
    if descending != 0:
        return u > v or (u != u and v == v)
    return u < v or (v != v and u == u)


@device
def insert(f: Any, i: Any, x: int, order: int, count: int, index: int, descending: int) -> int:
    """Put `index` among the `count` sorted indices from `order` on; the last of them moves to place `count`."""
    value, at = f[x + index], count
    while at > 0 and precedes(value, f[x + i[order + at - 1]], descending):
        i[order + at] = i[order + at - 1]
        at -= 1
    i[order + at] = index
    return 0


@device
def merge(f: Any, i: Any, x: int, source: int, target: int, first: int, middle: int, last: int, descending: int) -> int:
    """Merge two sorted runs of indices, [first, middle) and [middle, last), from `source` into `target`."""
    left, right = first, middle
    for k in range(first, last):
        take_right = left >= middle
        if not take_right and right < last:
            take_right = precedes(f[x + i[source + right]], f[x + i[source + left]], descending)
        if take_right:
            i[target + k] = i[source + right]
            right += 1
        else:
            i[target + k] = i[source + left]
            left += 1
    return 0


class Argsort(Row):
    y: Output
    x: Input = contiguous
    scratch: Aux  # as long as a row
    rows: int
    n: int
    descending: bool


@device
def argsort_forward(op: Argsort, f: Any, i: Any, b: Any) -> int:
    """Merge sort of indices, from runs that are sorted by insertion."""
    n, scratch, descending = op.n, op.scratch, op.descending
    for row in range(op.rows):
        x, y = op.x + row * n, op.y + row * n
        for first in range(0, n, _RUN):
            for k in range(first, min(first + _RUN, n)):
                insert(f, i, x, y + first, k - first, k, descending)
        width, source, target = _RUN, y, scratch
        while width < n:
            for first in range(0, n, 2 * width):
                middle, last = min(first + width, n), min(first + 2 * width, n)
                merge(f, i, x, source, target, first, middle, last, descending)
            source, target = target, source
            width *= 2
        if source != y:
            for k in range(n):
                i[y + k] = i[source + k]
    return 0


ARGSORT = Op("argsort", argsort_forward, row=Argsort, doc="indices that sort each row", batching="rows")


class Top(Row):
    y: Output
    x: Input = contiguous
    rows: int
    n: int
    k: int
    descending: bool


def top_forward(op: Top, f: Any, i: Any, b: Any) -> int:
    """The first k of `argsort`, by insertion among the best so far."""
    n, k, descending = op.n, op.k, op.descending
    for row in range(op.rows):
        x, y = op.x + row * n, op.y + row * k
        for j in range(k):
            insert(f, i, x, y, j, j, descending)
        if k > 0:
            worst = f[x + i[y + k - 1]]
            for j in range(k, n):
                if precedes(f[x + j], worst, descending):
                    insert(f, i, x, y, k - 1, j, descending)
                    worst = f[x + i[y + k - 1]]
    return 0


TOP = Op("top", top_forward, row=Top, doc="indices of the best few of each row, in order", batching="rows")


class Argextreme(Row):
    y: Output
    x: Input = contiguous
    rows: int
    n: int
    greatest: bool  # the maximum, else the minimum


@device
def argextreme_forward(op: Argextreme, f: Any, i: Any, b: Any) -> int:
    """Index of the first maximum, or minimum, or of the first NaN."""
    n = op.n
    for row in range(op.rows):
        x = op.x + row * n
        best, value = 0, f[x]
        for k in range(1, n):
            v = f[x + k]
            better = v > value if op.greatest != 0 else v < value
            if better or (v != v and value == value):
                best, value = k, v
        i[op.y + row] = best
    return 0


ARGEXTREME = Op("argextreme", argextreme_forward, row=Argextreme,
                doc="index of the greatest or least of each row", batching="rows")


class Ranked(Row):
    y: Output
    x: Input = contiguous
    order: Input = contiguous | int64  # argsort of x, ascending
    rows: int
    n: int
    rank: int  # -1 for the lower median
    nan_wins: bool  # the first NaN, if there is one
    nan_is_none: bool  # the median of the others


def ranked_forward(op: Ranked, f: Any, i: Any, b: Any) -> int:
    """Index of the element of a rank."""
    n = op.n
    for row in range(op.rows):
        x, order = op.x + row * n, op.order + row * n
        numbers = n
        while numbers > 0 and f[x + i[order + numbers - 1]] != f[x + i[order + numbers - 1]]:
            numbers -= 1
        rank = op.rank
        if rank < 0:
            rank = (n - 1) // 2
            if op.nan_is_none != 0 and numbers > 0:
                rank = (numbers - 1) // 2
        if op.nan_wins != 0 and numbers < n:
            rank = numbers
        i[op.y + row] = i[order + rank]
    return 0


RANKED = Op("ranked", ranked_forward, row=Ranked, doc="index of the element of a rank in each row", batching="rows")


class RunningExtreme(Row):
    y: Output
    x: Input = contiguous
    rows: int
    n: int
    greatest: bool  # the maximum, else the minimum


@device
def running_extreme_forward(op: RunningExtreme, f: Any, i: Any, b: Any) -> int:
    """Index of the last maximum, or minimum, up to each element, or of the last NaN."""
    n = op.n
    for row in range(op.rows):
        x, y = op.x + row * n, op.y + row * n
        best = 0
        for k in range(n):
            v, value = f[x + k], f[x + best]
            better = v >= value if op.greatest != 0 else v <= value
            if v != v or better:
                best = k
            i[y + k] = best
    return 0


RUNNING_EXTREME = Op("running_extreme", running_extreme_forward, row=RunningExtreme,
                     doc="index of the greatest or least so far in each row", batching="rows")


class Search(Row):
    y: Output
    table: Input = contiguous  # in ascending order
    x: Input = contiguous
    rows: int
    n: int  # elements of a row of the table
    m: int  # elements of a row of x
    right: bool  # behind equal elements, else before them
    shift: int  # added to a place, which is then held
    low: int
    high: int  # between these


def search_forward(op: Search, f: Any, i: Any, b: Any) -> int:
    """How many elements of a row of the table come before each x, by bisection."""
    n, m = op.n, op.m
    for row in range(op.rows):
        table = op.table + row * n
        for k in range(row * m, row * m + m):
            first, last, value = 0, n, f[op.x + k]
            while first < last:
                middle = (first + last) // 2
                at = f[table + middle]
                if precedes(at, value, 0) or (op.right != 0 and not precedes(value, at, 0)):
                    first = middle + 1
                else:
                    last = middle
            i[op.y + k] = min(max(first + op.shift, op.low), op.high)
    return 0


SEARCH = Op("search", search_forward, row=Search, doc="places in sorted rows", batching="rows")
