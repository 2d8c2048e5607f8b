"""Which values and adjoints can lie where another one lies: in place of it, or as a part of it.

An elementwise op may write over an input that nobody reads later, and store an input's adjoint over the output's, which
it reads for the last time; what is joined along a first axis may be computed where it will lie, and its adjoint be read
there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .schedule import Event, Operands

Merge = tuple[int, int, int]


@dataclass
class Sharing:
    """Of values, and of adjoints: ``(variable, where, offset)``, each variable once.

    `variable` lies `offset` bytes from the begin of `where`.
    """

    values: list[Merge] = field(default_factory=list)
    adjoints: list[Merge] = field(default_factory=list)


def sharing_of(operands: Operands, events: Sequence[Event], numbers: dict[tuple[int, int], int], birth: list[int],
               death: list[int], adjoint_birth: list[int], adjoint_death: list[int], joined: bool,
               homes: tuple[np.ndarray, np.ndarray]) -> Sharing:
    """What can share bytes; the lives of what is overwritten then end just before.

    Parameters
    ----------
    operands, events
        The recording and its reverse.
    numbers
        As `versions_of` gives them.
    birth, death, adjoint_birth, adjoint_death : list of int
        By variable; changed in place.
    joined : bool
        Whether parts lie in what they are joined to.
    homes : pair of ndarray of int, (variables,)
        Of each value, and of each adjoint, the group of strips that it lives in; only what has the same shares bytes.
    """
    found = Sharing()
    n = len(operands.inputs)
    taken: set[int] = set()
    #: when, which instruction, the versions that it reads, and its output's
    written: list[tuple[int, int, dict[int, int], int]] = [(k, k, {}, operands.outputs[k][0]) for k in range(n)]
    written += [(n + at, e.instruction, e.reads, numbers[operands.outputs[e.instruction][0], at])
                for at, e in enumerate(events) if e.again]

    def version(v: int, reads: dict[int, int]) -> int:
        at = reads.get(v, -1)
        return v if at < 0 else numbers[v, at]

    if joined:
        for _, k, reads, whole in written:
            for v, offset in operands.parts[k]:
                part = version(v, reads)
                if birth[part] >= 0 and part not in taken and whole not in taken:
                    found.values.append((part, whole, offset))
                    taken.add(part)
            if operands.parts[k]:
                taken.add(whole)
    for time, k, reads, y in written:
        for v in operands.over[k]:
            x = version(v, reads)
            if death[x] == time and 0 <= birth[x] < time and not taken & {x, y} and homes[0][x] == homes[0][y]:
                found.values.append((y, x, 0))
                death[x] = time - 1
                break
    taken = set()
    walked = [(time, e.instruction, operands.outputs[e.instruction][0])
              for time, e in enumerate(events, n) if not e.again]
    for time, k, y in walked if joined else ():
        for v, offset in operands.adjoint_parts[k]:
            if adjoint_birth[v] == time and adjoint_birth[y] < time:
                found.adjoints.append((v, y, offset))
                taken |= {v, y}
    for time, k, y in walked:
        for v in operands.adjoint_over[k]:
            if (adjoint_birth[v] == time == adjoint_death[y] and adjoint_birth[y] < time and not taken & {v, y}
                    and homes[1][v] == homes[1][y]):
                found.adjoints.append((v, y, 0))
                adjoint_death[y] = time - 1
    return found


def blocks_of(count: int, merges: Sequence[Merge]) -> tuple[np.ndarray, np.ndarray]:
    """By variable, in whose block it lies (its own if nobody's), and how many bytes from its begin."""
    inside = {v: (where, offset) for v, where, offset in merges}
    block, shift = list(range(count)), [0] * count
    for v in inside:
        path = [v]
        while path[-1] in inside and block[path[-1]] == path[-1]:
            path.append(inside[path[-1]][0])
        for at in path[-2::-1]:
            where, offset = inside[at]
            block[at], shift[at] = block[where], shift[where] + offset
    return np.array(block, np.int64), np.array(shift, np.int64)
