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
from .sharing import Sharing, blocks_of, sharing_of

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
    sharing : Sharing
        What lies in other ones' bytes.
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
    sharing: Sharing
    end: int


def lives_of(operands: Operands, events: Sequence[Event], joined: bool, inputs: Sequence[int], outputs: Sequence[int],
             seed: int | None, read_adjoints: Sequence[int]) -> Lives:
    """The lives of every variable of a recording and its reverse.

    Parameters
    ----------
    operands : Operands
    events : sequence of Event
        The reverse.
    joined : bool
        Whether parts lie in what they are joined to.
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
    kept = np.array([made < n <= read for made, read in zip(birth, death)], bool)
    if seed is not None:
        adjoint_birth[seed] = n
        adjoint_death[seed] = max(adjoint_death[seed], n)
        death[seed] = max(death[seed], n)
        for v in read_adjoints:
            if adjoint_birth[v] != _NEVER:
                adjoint_death[v] = end
    for v in outputs:
        death[v] = end
    sharing = sharing_of(operands, events, numbers, birth, death, adjoint_birth, adjoint_death, joined)
    births, deaths = np.array(birth, np.int64), np.array(death, np.int64)
    nbytes = np.array(operands.nbytes, np.int64)[originals]
    return Lives(births, deaths, np.array(adjoint_birth, np.int64), np.array(adjoint_death, np.int64),
                 kept, np.array(originals, np.int64), nbytes, sharing, end)


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
    blocks = []
    for birth, death, merges in ((lives.value_birth, lives.value_death, lives.sharing.values),
                                 (lives.adjoint_birth, lives.adjoint_death, lives.sharing.adjoints)):
        placed = np.flatnonzero((lives.nbytes > 0) & (birth <= death))
        block, shift = blocks_of(len(birth), merges)
        first, last = birth.copy(), death.copy()
        np.minimum.at(first, block[placed], birth[placed])
        np.maximum.at(last, block[placed], death[placed])
        blocks.append((placed, block[placed], shift[placed], np.unique(block[placed]), first, last))
    own = [block[3] for block in blocks]
    sizes = lives.nbytes[np.concatenate(own)]
    births = np.concatenate([block[4][block[3]] for block in blocks])
    deaths = np.concatenate([block[5][block[3]] for block in blocks])
    offsets, total = place(sizes, births, deaths)
    found = []
    for (_, block, shift, alone, *_), given in zip(blocks, np.split(offsets, [len(own[0])])):
        found.append(given[np.searchsorted(alone, block)] + shift)
    return Layout(blocks[0][0], blocks[1][0], found[0], found[1], total, lower_bound(sizes, births, deaths))
