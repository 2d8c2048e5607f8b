"""When each value and adjoint of a recording is born and read for the last time.

Time runs over the instructions forward (0 to n - 1) and then over the events of the reverse (n, n + 1, ...); -1 is
before, `Lives.end` after everything. What the save rules do not name is not read by an adjoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..engine.placement import lower_bound, place
from .schedule import Event, Operands, versions_of

_NEVER = np.iinfo(np.int64).max


@dataclass
class Lives:
    """Births and deaths by variable; a variable that is not born has birth above death.

    Attributes
    ----------
    value_birth, value_death, adjoint_birth, adjoint_death : ndarray of int64, (variables,)
    kept : ndarray of bool, (variables,)
        Values of the forward walk that are read in reverse.
    originals : ndarray of int64, (variables,)
        Of each variable the one whose further version it is, itself if none; it has that one's adjoint.
    nbytes : ndarray of int64, (variables,)
        Bytes in the arena.
    end : int
        The time after everything.
    """

    value_birth: np.ndarray
    value_death: np.ndarray
    adjoint_birth: np.ndarray
    adjoint_death: np.ndarray
    kept: np.ndarray
    originals: np.ndarray
    nbytes: np.ndarray
    end: int


def lives_of(operands: Operands, events: Sequence[Event], inputs: Sequence[int], outputs: Sequence[int],
             seed: int | None, read_adjoints: Sequence[int]) -> Lives:
    """The lives of every variable of a recording and its reverse.

    Parameters
    ----------
    operands : Operands
    events : sequence of Event
        The reverse.
    inputs, outputs : sequence of int
        Variables that are given before, and read after everything.
    seed : int or None
        Where the reverse walk starts.
    read_adjoints : sequence of int
        Variables whose adjoints are read after everything.
    """
    numbers, originals = versions_of(operands, events)
    n, count = len(operands.inputs), len(originals)
    end = n + len(events)
    birth, death = [_NEVER] * count, [-2] * count
    adjoint_birth, adjoint_death = [_NEVER] * count, [-2] * count
    for v in inputs:
        birth[v] = death[v] = -1
    for time in range(n):
        for v in operands.outputs[time]:
            birth[v] = min(birth[v], time)
            death[v] = time
        for v in operands.inputs[time]:
            death[v] = time
    for at, event in enumerate(events):
        time, k = n + at, event.instruction
        for v, version in event.reads.items():
            death[v if version < 0 else numbers[v, version]] = time
        if event.again:
            for v in operands.outputs[k]:
                w = numbers[v, at]
                birth[w] = death[w] = time
        else:
            adjoint_death[operands.outputs[k][0]] = time
            for v in operands.adjoints[k]:
                adjoint_birth[v] = min(adjoint_birth[v], time)
                adjoint_death[v] = time
    if seed is not None:
        adjoint_birth[seed] = n
        adjoint_death[seed] = max(adjoint_death[seed], n)
        death[seed] = max(death[seed], n)
        for v in read_adjoints:
            if adjoint_birth[v] != _NEVER:
                adjoint_death[v] = end
    for v in outputs:
        death[v] = end
    births, deaths = np.array(birth, np.int64), np.array(death, np.int64)
    nbytes = np.array(operands.nbytes, np.int64)[originals]
    return Lives(births, deaths, np.array(adjoint_birth, np.int64), np.array(adjoint_death, np.int64),
                 (births < n) & (deaths >= n), np.array(originals, np.int64), nbytes, end)


@dataclass
class Layout:
    """Where the values and adjoints of a recording lie in its arena.

    Attributes
    ----------
    values, adjoints : ndarray of int64
        Variables.
    value_offsets, adjoint_offsets : ndarray of int64
        Bytes from the arena's begin, one a variable.
    total, lower_bound : int
        Bytes of the arena, and the least that any placement needs.
    """

    values: np.ndarray
    adjoints: np.ndarray
    value_offsets: np.ndarray
    adjoint_offsets: np.ndarray
    total: int
    lower_bound: int


def layout_of(lives: Lives) -> Layout:
    """Place everything that lives."""
    values = np.flatnonzero((lives.nbytes > 0) & (lives.value_birth <= lives.value_death))
    adjoints = np.flatnonzero((lives.nbytes > 0) & (lives.adjoint_birth <= lives.adjoint_death))
    sizes = lives.nbytes[np.concatenate([values, adjoints])]
    births = np.concatenate([lives.value_birth[values], lives.adjoint_birth[adjoints]])
    deaths = np.concatenate([lives.value_death[values], lives.adjoint_death[adjoints]])
    offsets, total = place(sizes, births, deaths)
    return Layout(values, adjoints, offsets[:len(values)], offsets[len(values):], total,
                  lower_bound(sizes, births, deaths))
