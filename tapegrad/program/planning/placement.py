"""Buffer assignment: offsets in one arena so that buffers with disjoint live ranges share memory.

Greedy by size (Pisarchyk and Lee 2020, "Efficient memory management for deep neural net inference", section 5): the
largest first, each by best fit, in the tightest gap between the buffers that are placed already and live at the same
time.

Each search takes time proportional to the buffers placed. For many buffers a second kernel finds an equivalent
assignment: buffers of one size are placed in the order of their births, as an allocator would. Above all larger ones,
the buffers alive at present form a linked list by offset, with the gaps between them in a heap. Only the larger ones,
and buffers placed in their gaps, are searched.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...engine.kernels import Kernel
from ...engine.language import FLOATS, device
from ...engine.row import Words
from ...engine.storage import address_of


class Placement(Words):
    mode: int
    count: int  # of buffers
    order: int  # by size, falling, then birth
    sizes: int
    births: int
    deaths: int
    offsets: int  # result
    placed: int  # scratch: buffer numbers by offset
    total: int  # result
    gap: int  # found by `look`: offset of the gap, or -1
    gap_bytes: int
    end: int  # of all
    leaving: int  # by size, falling, then death
    below: int  # scratch: the neighbours in the list
    above: int
    heap: int  # scratch: gap and the buffer below it


_MANY = 1000
_GONE, _LOW = -2, -3  # in the place of a neighbour above: of a dead buffer, of one below the list


@device
def look(op: Placement, i: Any, k: int, count: int) -> int:
    """Best fit: find the tightest gap for buffer `k` among the first `count` placed that are live with it."""
    size, birth, death, offset, placed = op.sizes, op.births, op.deaths, op.offsets, op.placed
    wanted, best, best_gap, end = i[size + k], -1, -1, 0
    for m in range(count):
        other = i[placed + m]
        if i[birth + other] <= i[death + k] and i[birth + k] <= i[death + other]:
            gap = i[offset + other] - end
            if gap >= wanted and (best < 0 or gap < best_gap):
                best, best_gap = end, gap
            reach = i[offset + other] + i[size + other]
            if reach > end:
                end = reach
    op.gap, op.gap_bytes, op.end = best, best_gap, end
    return 0


@device
def insert(op: Placement, i: Any, k: int, count: int) -> int:
    """Insert buffer `k` into the `count` placed, ordered by offset."""
    offset, placed, m = op.offsets, op.placed, count
    while m > 0 and i[offset + i[placed + m - 1]] > i[offset + k]:
        i[placed + m] = i[placed + m - 1]
        m -= 1
    i[placed + m] = k
    return 0


@device
def remove(i: Any, placed: int, count: int, k: int) -> int:
    """Remove buffer `k` from the `count` placed; returns their number."""
    m = 0
    while i[placed + m] != k:
        m += 1
    for later in range(m + 1, count):
        i[placed + later - 1] = i[placed + later]
    return count - 1


def place_kernel(op: Placement, f: Any, i: Any, b: Any) -> int:
    """Greedy by size."""
    for n in range(op.count):
        k = i[op.order + n]
        look(op, i, k, n)
        at = op.end if op.gap < 0 else op.gap
        i[op.offsets + k] = at
        insert(op, i, k, n)
        if at + i[op.sizes + k] > op.total:
            op.total = at + i[op.sizes + k]
    return 0


@device
def smaller(i: Any, one: int, other: int, offset: int) -> bool:
    """Order of the heap: by gap, then by offset."""
    return i[one] < i[other] or i[one] == i[other] and i[offset + i[one + 1]] < i[offset + i[other + 1]]


@device
def exchange(i: Any, one: int, other: int) -> int:
    """Swap two entries of the heap."""
    i[one], i[other], i[one + 1], i[other + 1] = i[other], i[one], i[other + 1], i[one + 1]
    return 0


@device
def push(i: Any, heap: int, count: int, gap: int, below: int, offset: int) -> int:
    """Push an entry; returns the size of the heap."""
    k = count
    i[heap + 2 * k], i[heap + 2 * k + 1] = gap, below
    while k > 0 and smaller(i, heap + 2 * k, heap + 2 * ((k - 1) // 2), offset):
        exchange(i, heap + 2 * k, heap + 2 * ((k - 1) // 2))
        k = (k - 1) // 2
    return count + 1


@device
def pop(i: Any, heap: int, count: int, offset: int) -> int:
    """Pop the first entry; returns the size of the heap."""
    last, k = count - 1, 0
    exchange(i, heap, heap + 2 * last)
    while 2 * k + 1 < last:
        child = 2 * k + 1
        if child + 1 < last and smaller(i, heap + 2 * child + 2, heap + 2 * child, offset):
            child += 1
        if not smaller(i, heap + 2 * child, heap + 2 * k, offset):
            return last
        exchange(i, heap + 2 * k, heap + 2 * child)
        k = child
    return last


@device
def merge(i: Any, placed: int, count: int, apart: int, heap: int, gaps: int, offset: int) -> int:
    """Merge the buffers of the heap into the `count` placed, by way of `apart`; returns their number."""
    more = 0
    for left in range(gaps):
        i[apart + more] = i[heap + 1]
        more += 1
        pop(i, heap, gaps - left, offset)
    low, high = count - 1, more - 1
    while high >= 0:
        if low >= 0 and i[offset + i[placed + low]] > i[offset + i[apart + high]]:
            i[placed + low + high + 1] = i[placed + low]
            low -= 1
        else:
            i[placed + low + high + 1] = i[apart + high]
            high -= 1
    return count + more


def place_many_kernel(op: Placement, f: Any, i: Any, b: Any) -> int:
    """The same for many: `low` buffers are searched; those of this size alive above `floor` are in the list."""
    order, size, birth, death, offset, placed = op.order, op.sizes, op.births, op.deaths, op.offsets, op.placed
    leaving, below, above, heap = op.leaving, op.below, op.above, op.heap
    low, floor, begin, gone, gaps, lowest, highest = 0, 0, 0, 0, 0, -1, -1
    for n in range(op.count):
        k = i[order + n]
        wanted = i[size + k]
        if wanted != i[size + i[order + begin]]:  # another size: the list's buffers are searched from now on
            gaps = 0
            for m in range(begin, n):
                other = i[order + m]
                if i[above + other] != _LOW:
                    gaps = push(i, heap, gaps, i[offset + other], other, offset)
            low = merge(i, placed, low, below, heap, gaps, offset)
            gaps = 0
            floor, begin, gone, lowest, highest = op.total, n, n, -1, -1
        while gone < n and i[death + i[leaving + gone]] < i[birth + k]:
            other = i[leaving + gone]
            gone += 1
            under, over = i[below + other], i[above + other]
            i[above + other] = _GONE
            if over == _LOW:
                low = remove(i, placed, low, other)
            else:
                if under < 0:
                    lowest = over
                else:
                    i[above + under] = over
                if over < 0:
                    highest = under
                else:
                    i[below + over] = under
                if under >= 0 and over >= 0:
                    gaps = push(i, heap, gaps, i[offset + over] - i[offset + under] - wanted, under, offset)
        look(op, i, k, low)
        at, tightest, end, under = op.gap, op.gap_bytes, op.end, -1
        if lowest >= 0:
            gap = i[offset + lowest] - end
            if gap >= wanted and (at < 0 or gap < tightest):
                at, tightest = end, gap
            end = i[offset + highest] + wanted
        while gaps > 0 and (i[above + i[heap + 1]] < 0
                            or i[offset + i[above + i[heap + 1]]] - i[offset + i[heap + 1]] - wanted != i[heap]):
            gaps = pop(i, heap, gaps, offset)  # a stale entry
        if gaps > 0 and (at < 0 or i[heap] < tightest):
            under = i[heap + 1]
            at = i[offset + under] + wanted
            gaps = pop(i, heap, gaps, offset)
        elif at < 0:
            at, under = end, highest
        i[offset + k] = at
        if at + wanted > op.total:
            op.total = at + wanted
        if at < floor:
            insert(op, i, k, low)
            i[above + k] = _LOW
            low += 1
            continue
        over = i[above + under] if under >= 0 else lowest
        i[below + k], i[above + k] = under, over
        if under < 0:
            lowest = k
        else:
            i[above + under] = k
        if over < 0:
            highest = k
        else:
            i[below + over] = k
            rest = i[offset + over] - at - wanted
            if rest >= wanted:
                gaps = push(i, heap, gaps, rest, k, offset)
    return 0


PLACE = Kernel("placement.greedy", place_kernel)
PLACE_MANY = Kernel("placement.many", place_many_kernel)


def place(sizes: np.ndarray, births: np.ndarray, deaths: np.ndarray, many: int = _MANY) -> tuple[np.ndarray, int]:
    """Assign offsets to buffers that live from `births` to `deaths`, both included; also the bytes of the arena.

    Parameters
    ----------
    sizes, births, deaths : ndarray of int64, (n,)
        Bytes, each a multiple of the alignment, and times.
    many : int
        From how many buffers on the second kernel is used.

    Returns
    -------
    offsets : ndarray of int64, (n,)
    total : int
    """
    sizes, births, deaths = (np.ascontiguousarray(a, np.int64) for a in (sizes, births, deaths))
    count = len(sizes)
    order, offsets = np.lexsort((births, -sizes)).astype(np.int64), np.empty(count, np.int64)
    scratch = np.empty(7 * count, np.int64)
    at, leaving, kernel = address_of(scratch) // 8, 0, PLACE
    if count >= many:
        by_death = np.lexsort((deaths, -sizes)).astype(np.int64)
        leaving, kernel = address_of(by_death) // 8, PLACE_MANY
    words = Placement.words(
        mode=0, count=count, order=address_of(order) // 8, sizes=address_of(sizes) // 8, births=address_of(births) // 8,
        deaths=address_of(deaths) // 8, offsets=address_of(offsets) // 8, placed=at, total=0, gap=0, gap_bytes=0, end=0,
        leaving=leaving, below=at + count, above=at + 2 * count, heap=at + 3 * count)
    row = np.array(words, np.int64)
    kernel(address_of(row), FLOATS[0])
    return offsets, int(row[Placement.places["total"]])


def live_bytes(sizes: np.ndarray, births: np.ndarray, deaths: np.ndarray, begin: int, end: int) -> np.ndarray:
    """Live bytes at each time from `begin` up to `end`; no birth may be earlier."""
    change = np.zeros(end - begin + 1, np.int64)
    np.add.at(change, births - begin, sizes)
    np.add.at(change, np.minimum(deaths + 1, end) - begin, -sizes)
    return np.cumsum(change)[:-1]


def lower_bound(sizes: np.ndarray, births: np.ndarray, deaths: np.ndarray) -> int:
    """The largest sum of live bytes at any time, a bound for any assignment."""
    if not len(sizes):
        return 0
    return int(live_bytes(sizes, births, deaths, int(births.min()), int(deaths.max()) + 1).max())
