"""Where in a recording's reverse walk buckets of gradients are sent to the other ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...engine.kernels import Kernel
from ...engine.ranks import SEND, Send
from ...engine.storage import address_of
from ..planning.work import work_of
from .program import Program

__all__ = ["Sends", "ends_of"]

#: times at most at which sums under way are looked after, beside those of the sends
_LOOKS = 8
#: the cost model of `planning.schedule.Operands`
_CALL, _BYTES, _PRODUCTS = 20.0, 7.0, 20.0


def ends_of(program: Program, leaves: Sequence[Any]) -> tuple[list[int], list[float], np.ndarray]:
    """Of each leaf the row after which its gradient is final, and when that is; and when each row has ended.

    Times are in seconds, by the cost model.
    """
    times, work, turn = program.times, work_of(program.tape), np.cumsum(program.runs_alone()) - 1
    seconds = np.zeros(times.end)
    for t, n in enumerate(times.instructions):
        w = work[n]
        nbytes, products = ((w.reverse_bytes, w.reverse_products) if times.is_adjoint[t]
                            else (w.forward_bytes, w.forward_products))
        seconds[t] = 1e-9 * (_CALL + nbytes / _BYTES + products / _PRODUCTS)
    clock = np.cumsum(np.bincount(turn, seconds))
    last, adjoints = {program.tape._externals[leaf]: 0 for leaf in leaves}, times.operands.adjoints
    for t in range(times.turn, times.end):
        for v in adjoints[times.instructions[t]] if times.is_adjoint[t] else ():
            if v in last:
                last[v] = max(last[v], int(turn[t]))
    rows = [last[program.tape._externals[leaf]] for leaf in leaves]
    return rows, clock[rows].tolist(), clock


class Sends:
    """The tasks that send all buckets but the last, which goes with the loss after the walk.

    Attributes
    ----------
    tasks : list of (int, Kernel, int)
        Before which row, the kernel, and the byte address of its row.
    """

    def __init__(self, program: Program, leaves: Sequence[Any], bucket_of: Sequence[int], function: int) -> None:
        rows, _, clock = ends_of(program, leaves)
        self.tasks: list[tuple[int, Kernel, int]] = []
        count, before = max(bucket_of, default=0) + 1, np.zeros(0, np.int64)
        if count > 1:
            last = np.zeros(count, np.int64)
            np.maximum.at(last, np.asarray(bucket_of), rows)
            before = np.maximum.accumulate(last)[:-1] + 1
            before = before[before < len(clock)]
        if not len(before):
            return
        looks = np.searchsorted(clock, np.linspace(clock[before[0] - 1], clock[-1], _LOOKS + 2)[1:-1])
        looks = np.setdiff1d(looks[looks < len(clock)], before)
        numbers = [*range(len(before)), *[-1] * len(looks)]
        self._words = np.array([Send.words(mode=0, function=function, number=n) for n in numbers], np.int64)
        self.tasks = [(int(at), SEND, address_of(row))
                      for at, row in zip([*before.tolist(), *looks.tolist()], self._words)]
