"""Which cores ranks of one machine have: they are shared out among them, and a rank that is bound to one is told of."""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Sequence
from typing import NamedTuple

from ...engine import providers
from .communicator import Ranks

__all__ = ["Cores", "share_cores", "threads_of"]


class Cores(NamedTuple):
    """Where a rank runs: the machine, the cores on which it may, and how many the machine has."""

    host: str
    allowed: frozenset[int]
    of: int


def share_cores(ranks: Ranks) -> None:
    """Have this process use its part of the cores that it shares with other ranks, unless threads were asked for."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    every = ranks.gather(Cores(platform.node(), frozenset(allowed), os.cpu_count() or 1))
    count, bound = threads_of(every, ranks.rank)
    if providers.requested_threads() is None and providers.loaded().threads > count:
        providers.request_threads(count)
    if bound and ranks.first:
        warnings.warn(f"MPI has bound each rank to one of the machine's {every[0].of} cores, so it computes on one "
                      "thread; the others are used by more ranks, or by more threads a rank: mpirun --bind-to none "
                      "(Open MPI), I_MPI_PIN=0 (Intel MPI)", RuntimeWarning, stacklevel=4)


def threads_of(every: Sequence[Cores], rank: int) -> tuple[int, bool]:
    """How many threads a rank should use, and whether it is bound to one core while others lie idle.

    >>> machine = Cores("one", frozenset(range(8)), 8)
    >>> threads_of([machine, machine], 0)
    (4, False)
    """
    mine = every[rank]
    here = [cores for cores in every if cores.host == mine.host]
    rivals = sum(bool(cores.allowed & mine.allowed) for cores in here)
    bound = len(mine.allowed) == 1 and mine.of >= 2 * len(here)
    return max(1, len(mine.allowed) // rivals), bound
