"""When each value and adjoint of a recording is born and read for the last time.

Time runs over the instructions forward (0 to n - 1) and in reverse (instruction k at 2 n - 1 - k); -1 is before, 2 n
after everything. What the save rules do not name is not read in reverse.
"""

from __future__ import annotations

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
        Values that the reverse walk reads.
    end : int
        The time after everything.
    """

    value_birth: np.ndarray
    value_death: np.ndarray
    adjoint_birth: np.ndarray
    adjoint_death: np.ndarray
    kept: np.ndarray
    end: int


def lives_of(tape: Tape, inputs: list[int], outputs: list[int], seed: int | None, read_adjoints: list[int]) -> Lives:
    """The lives of every variable of a recording whose reverse walk is planned.

    Parameters
    ----------
    tape : Tape
    inputs, outputs : list of int
        Variables that are given before, and read after everything.
    seed : int or None
        Where the reverse walk starts.
    read_adjoints : list of int
        Variables whose adjoints are read after everything.
    """
    n, count = tape.count, tape._variable_count
    starts = tape._operand_start[:n + 1]
    instruction = np.repeat(np.arange(n), np.diff(starts))
    position = np.arange(len(instruction)) - starts[instruction]
    variable, flags = tape._variable[:len(instruction)], tape._flags[:len(instruction)]
    birth, death = np.full(count, _NEVER), np.full(count, -2)
    np.minimum.at(birth, variable, instruction)
    np.maximum.at(death, variable, instruction)
    birth[inputs] = -1
    death[inputs] = np.maximum(death[inputs], -1)
    kept = np.zeros(count, bool)
    adjoint_birth, adjoint_death = np.full(count, _NEVER), np.full(count, -2)
    if seed is not None:
        live = (tape._live[:n] != 0) & (np.arange(n) <= tape._producer[seed])
        reverse = 2 * n - 1 - instruction
        saved = np.zeros(len(instruction), bool)
        for k in np.flatnonzero(live).tolist():
            first = int(starts[k])
            for j in tape.notes[k][1]:
                saved[first + j] = True
        kept[variable[saved]] = True
        np.maximum.at(death, variable[saved], reverse[saved])
        reading = live[instruction] & (flags & WANTED != 0)
        np.minimum.at(adjoint_birth, variable[reading], reverse[reading])
        np.maximum.at(adjoint_death, variable[reading], reverse[reading])
        own = live[instruction] & (position == 0)
        np.maximum.at(adjoint_death, variable[own], reverse[own])
        adjoint_birth[seed] = n
        adjoint_death[seed] = max(int(adjoint_death[seed]), n)
        death[seed] = max(int(death[seed]), n)
        for v in read_adjoints:
            if adjoint_birth[v] != _NEVER:
                adjoint_death[v] = 2 * n
    death[outputs] = 2 * n
    return Lives(birth, death, adjoint_birth, adjoint_death, kept, 2 * n)
