"""Profiling: the time of each instruction of a recording."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from ..planning.report import Rows
from .account import instructions_of
from .program import Program

_AT_LEAST = 3


def time_instructions(program: Program, batch: Sequence[np.ndarray], seconds: float) -> Rows:
    """Median times of each instruction over repeated passes on a batch, for about `seconds`.

    The overhead of a call, measured by an empty walk, is subtracted. Instructions of a fused group share its time in
    proportion to their expected times.

    Returns
    -------
    Rows
        ``#``, ``op``, ``out``, ``layer``, then microseconds ``forward`` and ``reverse`` (recomputation included), and
        ``share`` of the sum.
    """
    n = program.tape.count
    ran: list[np.ndarray] = []
    empty: list[float] = []
    began = time.perf_counter()
    while len(ran) < _AT_LEAST or time.perf_counter() - began < seconds:
        ran.append(_one_pass(program, batch, empty))
    taken = _by_time(program, np.maximum(np.median(ran, axis=0) - np.median(empty), 0.0) * 1e6)
    reverse = np.zeros(n)
    np.add.at(reverse, [event.instruction for event in program.events], taken[n:])
    total = max(taken.sum(), 1e-9)
    return Rows(("#", "op", "out", "layer", "forward", "reverse", "share"),
                tuple((i.number, i.op, i.out, i.layer or "-", round(float(taken[k]), 2), round(float(reverse[k]), 2),
                       round(float((taken[k] + reverse[k]) / total), 4))
                      for k, i in enumerate(instructions_of(program))))


def _by_time(program: Program, taken: np.ndarray) -> np.ndarray:
    """The time of each instruction and event; fused ones get their expected share of the group's."""
    times, result = program.times, np.zeros(program.times.end)
    began = {group.first: group for group in program.lives.groups}
    inside = {k for group in began.values() for k in range(group.first + 1, group.last + 1)}
    entries = [k for k in range(times.end) if k not in inside]
    for first, microseconds in zip(entries, taken.tolist()):
        end = began[first].last + 1 if first in began else first + 1
        work = np.array([times.operands.work[times.instructions[k]] for k in range(first, end)])
        result[first:end] = microseconds * work / work.sum()
    return result


def _one_pass(program: Program, batch: Sequence[np.ndarray], empty: list[float]) -> np.ndarray:
    """Seconds of each row that the walks run, and of an empty walk."""
    first, clock = program.tasks.first.tolist(), time.perf_counter
    taken = np.zeros(len(first) - 1)
    program.give(batch)
    program.draw()
    start = clock()
    program.run(0, 0)
    empty.append(clock() - start)
    for k, (begin, end) in enumerate(zip(first, first[1:])):
        start = clock()
        program.run(begin, end)
        taken[k] = clock() - start
    return taken
