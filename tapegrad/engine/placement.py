"""Placing buffers in one arena so that those whose lives do not meet share bytes.

Greedy by size (Pisarchyk and Lee 2020, "Efficient memory management for deep neural net inference", section 5): the
largest first, each in the smallest gap between the buffers that are placed already and live at the same time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .jit import FLOATS, Kernel
from .storage import address_of

# Words: 1 count, 2 order (by size, falling), 3 sizes, 4 births, 5 deaths, 6 offsets (result), 7 placed (scratch: buffer
# numbers by offset), 8 total (result).


def place_kernel(op: Any, f: Any, i: Any, b: Any) -> int:
    """First the large: each goes into the tightest gap among the buffers that live at the same time."""
    size, birth, death, offset, placed = op[3], op[4], op[5], op[6], op[7]
    total = 0
    for n in range(op[1]):
        k = i[op[2] + n]
        wanted = i[size + k]
        best, best_gap, end = -1, -1, 0
        for m in range(n):
            other = i[placed + m]
            if i[birth + other] <= i[death + k] and i[birth + k] <= i[death + other]:
                gap = i[offset + other] - end
                if gap >= wanted and (best < 0 or gap < best_gap):
                    best, best_gap = end, gap
                reach = i[offset + other] + i[size + other]
                if reach > end:
                    end = reach
        at = end if best < 0 else best
        i[offset + k] = at
        if at + wanted > total:
            total = at + wanted
        m = n
        while m > 0 and i[offset + i[placed + m - 1]] > at:
            i[placed + m] = i[placed + m - 1]
            m -= 1
        i[placed + m] = k
    op[8] = total
    return 0


PLACE = Kernel("placement.greedy", place_kernel)


def place(sizes: np.ndarray, births: np.ndarray, deaths: np.ndarray) -> tuple[np.ndarray, int]:
    """Offsets of buffers that live from `births` to `deaths`, both included, and the bytes of the arena.

    Parameters
    ----------
    sizes, births, deaths : ndarray of int64, (n,)
        Bytes, each a multiple of the alignment, and times.

    Returns
    -------
    offsets : ndarray of int64, (n,)
    total : int
    """
    sizes, births, deaths = (np.ascontiguousarray(a, np.int64) for a in (sizes, births, deaths))
    order = np.lexsort((births, -sizes)).astype(np.int64)
    offsets, placed = np.zeros(len(sizes), np.int64), np.zeros(len(sizes), np.int64)
    row = np.array([0, len(sizes), *(address_of(a) // 8 for a in (order, sizes, births, deaths, offsets, placed)), 0],
                   np.int64)
    PLACE(address_of(row), FLOATS[0])
    return offsets, int(row[8])


def live_bytes(sizes: np.ndarray, births: np.ndarray, deaths: np.ndarray, begin: int, end: int) -> np.ndarray:
    """Bytes that live at each time from `begin` up to `end`; no birth may be earlier."""
    change = np.zeros(end - begin + 1, np.int64)
    np.add.at(change, births - begin, sizes)
    np.add.at(change, np.minimum(deaths + 1, end) - begin, -sizes)
    return np.cumsum(change)[:-1]


def lower_bound(sizes: np.ndarray, births: np.ndarray, deaths: np.ndarray) -> int:
    """The largest sum of bytes that live at one time, which no placement can go below."""
    if not len(sizes):
        return 0
    return int(live_bytes(sizes, births, deaths, int(births.min()), int(deaths.max()) + 1).max())
