"""When each value and adjoint of a recording is born and read for the last time.

Time runs over the instructions forward (0 to n - 1) and then over the events of the reverse (n, n + 1, ...); -1 is
before, `Lives.end` after everything. What the save rules do not name is not read by an adjoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..engine.walk import WANTED
from ..tape import Tape

_NEVER = np.iinfo(np.int64).max


@dataclass
class Lives:
    """Births and deaths by variable; a variable that is not born has birth above death.

    Attributes
    ----------
    value_birth, value_death, adjoint_birth, adjoint_death : ndarray of int64, (variables,)
    kept : ndarray of bool, (variables,)
        Values of the forward walk that are read in reverse.
    end : int
        The time after everything.
    """

    value_birth: np.ndarray
    value_death: np.ndarray
    adjoint_birth: np.ndarray
    adjoint_death: np.ndarray
    kept: np.ndarray
    end: int


def lives_of(tape: Tape, n: int, schedule: np.ndarray, originals: np.ndarray, inputs: Sequence[int],
             outputs: Sequence[int], seed: int | None, read_adjoints: Sequence[int]) -> Lives:
    """The lives of every variable of a recording whose reverse is planned.

    Parameters
    ----------
    tape : Tape
    n : int
        Number of instructions.
    schedule, originals
        As `schedule_of` gives them; a version's adjoint is that of its original.
    inputs, outputs : sequence of int
        Variables that are given before, and read after everything.
    seed : int or None
        Where the reverse walk starts.
    read_adjoints : sequence of int
        Variables whose adjoints are read after everything.
    """
    count, end = len(originals), n + len(schedule)
    starts = tape._operand_start
    rows = np.concatenate([np.arange(n), np.where(schedule < 0, ~schedule, schedule)])
    lengths = starts[rows + 1] - starts[rows]
    time = np.repeat(np.arange(end), lengths)
    position = np.arange(len(time)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    operand = np.repeat(starts[rows], lengths) + position
    variable, flags = tape._variable[operand], tape._flags[operand]
    adjoint = np.repeat(np.concatenate([np.zeros(n, bool), schedule >= 0]), lengths)
    read = ~adjoint
    for at, row in enumerate(schedule.tolist()):
        if row >= 0:
            first = int(np.searchsorted(time, n + at))
            for j in tape.notes[row][1]:
                read[first + j] = True
    birth, death = np.full(count, _NEVER), np.full(count, -2)
    np.minimum.at(birth, variable[~adjoint], time[~adjoint])
    np.maximum.at(death, variable[read], time[read])
    birth[list(inputs)] = -1
    death[list(inputs)] = np.maximum(death[list(inputs)], -1)
    kept = (birth < n) & (death >= n)
    adjoint_birth, adjoint_death = np.full(count, _NEVER), np.full(count, -2)
    if seed is not None:
        touched = adjoint & ((flags & WANTED != 0) | (position == 0))
        own = originals[variable]
        np.minimum.at(adjoint_birth, own[touched & (position != 0)], time[touched & (position != 0)])
        np.maximum.at(adjoint_death, own[touched], time[touched])
        adjoint_birth[seed] = n
        adjoint_death[seed] = max(int(adjoint_death[seed]), n)
        death[seed] = max(int(death[seed]), n)
        for v in read_adjoints:
            if adjoint_birth[v] != _NEVER:
                adjoint_death[v] = end
    death[list(outputs)] = end
    return Lives(birth, death, adjoint_birth, adjoint_death, kept, end)
