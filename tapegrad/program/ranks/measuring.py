"""What the network, or the memory that ranks of a machine share, needs for a sum: measured when a job begins."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .communicator import Ranks
from .schedule import Network

__all__ = ["measured"]

_SMALL, _LARGE, _REPEATS = 8, 1 << 20, 11  # bytes
#: looks at a sum under way while the processor computes for twice its time
_LOOKS = 8


def measured(ranks: Ranks) -> Network:
    """Rank 0's measurement, for all; a collective.

    `hidden` is measured as a walk would have it: the processor computes, and looks at the sum from time to time.
    """
    ranks.doing = "the measurement of the network"
    small, large = np.zeros(_SMALL // 4, np.float32), np.zeros(_LARGE // 4, np.float32)
    for array in (small, large):  # MPI makes its connections
        ranks.add(array)
        ranks.wait(ranks.begin_add(array))
    latency, overhead = _least(ranks, lambda: _sum(ranks, small))
    longer, _ = _least(ranks, lambda: _sum(ranks, large))
    longer = max(float(ranks.spread(longer)), 1e-9)
    left, _ = _least(ranks, lambda: _sum_while_computing(ranks, large, longer))
    found = Network(latency, _LARGE / max(longer - latency, 1e-9), min(max(1.0 - left / longer, 0.0), 1.0), overhead)
    return Network(*ranks.spread(tuple(found)))


def _least(ranks: Ranks, work: Callable[[], tuple[float, float]]) -> tuple[float, float]:
    """The least of several measurements: other programs on the machine make each longer, never shorter."""
    taken = []
    for _ in range(_REPEATS):
        ranks.meet()
        taken.append(work())
    return min(a for a, _ in taken), min(b for _, b in taken)


def _sum(ranks: Ranks, array: np.ndarray) -> tuple[float, float]:
    """Seconds of a sum, and of its beginning."""
    began = time.perf_counter()
    request: Any = ranks.begin_add(array)
    begun = time.perf_counter()
    ranks.wait(request)
    return time.perf_counter() - began, begun - began


def _sum_while_computing(ranks: Ranks, array: np.ndarray, seconds: float) -> tuple[float, float]:
    """Seconds that a sum takes beyond a computation of twice its time."""
    began, computed = time.perf_counter(), 0.0
    request: Any = ranks.begin_add(array)
    for _ in range(_LOOKS):
        start = time.perf_counter()
        while time.perf_counter() - start < 2.0 * seconds / _LOOKS:
            pass
        computed += time.perf_counter() - start
        request.Test()
    ranks.wait(request)
    return time.perf_counter() - began - computed, 0.0
