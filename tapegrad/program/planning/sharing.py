"""In-place reuse and aliasing of values and of adjoints.

An elementwise op may overwrite an input at its last use, and store an input's adjoint over the output's, whose last use
it is. What is concatenated along the first axis may be computed in place in the result, and its adjoint be read there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .schedule import Event, Operands


def _none() -> np.ndarray:
    return np.zeros((0, 3), np.int64)


@dataclass
class Sharing:
    """Aliases of values and of adjoints: rows of variable, base variable, offset in bytes; a variable comes once."""

    values: np.ndarray = field(default_factory=_none)
    adjoints: np.ndarray = field(default_factory=_none)


def sharing_of(operands: Operands, events: Sequence[Event], numbers: dict[tuple[int, int], int], birth: np.ndarray,
               death: np.ndarray, adjoint_birth: np.ndarray, adjoint_death: np.ndarray, joined: bool,
               homes: tuple[np.ndarray, np.ndarray], until: np.ndarray) -> Sharing:
    """Find the aliases; the live ranges of what is overwritten are shortened to end just before.

    Parameters
    ----------
    operands, events
        The recording and its reverse.
    numbers
        As `versions_of` gives them.
    birth, death, adjoint_birth, adjoint_death : ndarray of int64
        By variable; changed in place.
    joined : bool
        Whether the inputs of concatenations alias parts of their output.
    homes : pair of ndarray of int, (variables,)
        By value, and by adjoint, the fused group within which it lives; only those of one group may alias.
    until : ndarray of int64, (variables,)
        By value, the time up to which it must not be overwritten.
    """
    n = len(operands.results)
    again = [(n + at, e) for at, e in enumerate(events) if e.again]
    values = _joined_values(operands, again, numbers, birth) if joined else _none()
    time, x = operands.over.owner, operands.over.values
    y = operands.results[time]
    if again:
        versions = [(at, numbers.get((v, e.versions.get(v, -1)), v), numbers[int(operands.results[k]), at - n])
                    for at, e in again for k in [e.instruction] for v in operands.over.lists[k]]
        time, x, y = np.concatenate([np.stack([time, x, y]), np.array(versions, np.int64).reshape(-1, 3).T], axis=1)
    free = _unmarked(len(birth), values)
    can = ((death[x] == time) & (birth[x] >= 0) & (birth[x] < time) & (until[x] < time) & free[x] & free[y]
           & (homes[0][x] == homes[0][y]))
    first = _first_of_each(can, time)
    time, x, y = time[first], x[first], y[first]
    death[x] = time - 1
    values = np.concatenate([values, np.stack([y, x, np.zeros_like(x)], axis=1)])

    walked = np.full(n, -1)  # by instruction, when its adjoint runs; -1: never
    walked[[e.instruction for e in events if not e.again]] = [at for at, e in enumerate(events, n) if not e.again]
    adjoints = _joined_adjoints(operands, walked, adjoint_birth) if joined else _none()
    k, v = operands.adjoint_over.owner, operands.adjoint_over.values
    time, y, free = walked[k], operands.results[k], _unmarked(len(birth), adjoints)
    can = ((time >= 0) & (adjoint_birth[v] == time) & (adjoint_death[y] == time) & (adjoint_birth[y] < time)
           & free[v] & free[y] & (homes[1][v] == homes[1][y]))
    adjoint_death[y[can]] = time[can] - 1
    adjoints = np.concatenate([adjoints, np.stack([v, y, np.zeros_like(v)], axis=1)[can]])
    return Sharing(values, adjoints)


def _joined_values(operands: Operands, again: Sequence[tuple[int, Event]], numbers: dict[tuple[int, int], int],
                   birth: np.ndarray) -> np.ndarray:
    """Inputs of concatenations that can be computed in place."""
    n, found = len(operands.results), []
    taken: set[int] = set()
    written = [(int(operands.results[k]), parts) for k, parts in operands.parts.items()]
    written += [(numbers[int(operands.results[k]), at - n],
                 [(numbers.get((v, e.versions.get(v, -1)), v), offset) for v, offset in operands.parts[k]])
                for at, e in again for k in [e.instruction] if k in operands.parts]
    for whole, parts in written:
        for part, offset in parts:
            if birth[part] >= 0 and part not in taken and whole not in taken:
                found.append((part, whole, offset))
                taken.add(part)
        taken.add(whole)
    return np.array(found, np.int64).reshape(-1, 3)


def _joined_adjoints(operands: Operands, walked: np.ndarray, birth: np.ndarray) -> np.ndarray:
    """Inputs of concatenations whose adjoints can be read in place."""
    found = []
    for k in sorted(operands.adjoint_parts, key=walked.tolist().__getitem__):
        y, time = operands.results[k], walked[k]
        found += [(v, y, at) for v, at in operands.adjoint_parts[k] if birth[y] < time == birth[v] and time >= 0]
    return np.array(found, np.int64).reshape(-1, 3)


def _unmarked(count: int, merges: np.ndarray) -> np.ndarray:
    """By variable, whether no alias names it."""
    free = np.ones(count, bool)
    free[merges[:, :2]] = False
    return free


def _first_of_each(can: np.ndarray, time: np.ndarray) -> np.ndarray:
    """The first candidate at each time; times rise."""
    at = np.flatnonzero(can)
    return at[np.diff(time[at], prepend=-1) != 0]


def blocks_of(count: int, merges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By variable, its block (its own if it is no alias), and the offset in it in bytes."""
    block, shift = np.arange(count), np.zeros(count, np.int64)
    block[merges[:, 0]], shift[merges[:, 0]] = merges[:, 1], merges[:, 2]
    while (block[block] != block).any():  # pointer jumping: twice as far each time
        shift += shift[block]
        block = block[block]
    return block, shift
