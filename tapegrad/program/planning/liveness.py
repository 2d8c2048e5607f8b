"""Liveness: the live range of each value and adjoint of a recording.

Time runs over the instructions forward (0 to n - 1) and then over the events of the reverse (n, n + 1, ...); -1 is
before, `Lives.end` after everything. An adjoint reads only what its op's save rule names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .placement import lower_bound, place
from .schedule import Event, Operands, versions_of
from .sharing import Sharing, blocks_of, sharing_of
from .strips import Forms, Group, Times, groups_of

_NEVER = np.iinfo(np.int64).max
#: events of the reverse whose small adjoints are cleared together, before the first of them; bytes of a small one; how
#: many there must be at least
TOGETHER, SMALL, MANY = 64, 64, 64
_NO_BLOCKS = np.zeros((0, 6), np.int64)


@dataclass
class Lives:
    """Live ranges by variable, both ends included; birth is above death where there is none.

    Attributes
    ----------
    value_birth, value_death, adjoint_birth, adjoint_death : ndarray of int64, (variables,)
    kept : ndarray of bool, (variables,)
        Values of the forward walk that the reverse reads.
    originals : ndarray of int64, (variables,)
        By variable, the one of which it is a recomputed version (else itself), whose adjoint it has.
    nbytes : ndarray of int64, (variables,)
        Bytes in the arena.
    sharing : Sharing
        Values and adjoints that alias other ones.
    end : int
        The time after everything.
    groups : list of Group
        Elementwise fusion. Variables that live within one group have no live range here.
    times : Times
    together : bool
        Whether small adjoints are cleared together.
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
    groups: list[Group]
    times: Times
    together: bool

    @property
    def seeded_first(self) -> bool:
        """Whether a group fuses the end of the forward walk with the start of the reverse: the seed comes before it."""
        return any(group.first < self.times.turn <= group.last for group in self.groups)


def lives_of(operands: Operands, events: Sequence[Event], joined: bool, inputs: Sequence[int], outputs: Sequence[int],
             seed: int | None, read_adjoints: Sequence[int], forms: Forms | None = None) -> Lives:
    """Liveness analysis of a recording and its reverse.

    Parameters
    ----------
    operands : Operands
    events : sequence of Event
        The reverse.
    joined : bool
        Whether the inputs of concatenations alias parts of their output.
    inputs, outputs : sequence of int
        Variables that are defined before, and read after everything.
    seed : int or None
        Variable that the reverse walk starts from.
    read_adjoints : sequence of int
        Variables whose adjoints are read after everything.
    forms : Forms, optional
        Which instructions can be fused elementwise.
    """
    numbers, originals = versions_of(operands, events)
    n, count = len(operands.results), len(originals)
    end = n + len(events)
    value, adjoint = Births(count), Births(count)
    value.born[inputs] = value.read[inputs] = -1
    value.write(operands.writes.values, operands.writes.owner)
    value.use(operands.rows.values, operands.rows.owner)
    instructions = np.array([event.instruction for event in events], np.int64)
    again = np.array([event.again for event in events], bool)
    rows = operands.saves.joined(operands.reads).rows(instructions + n * again)
    for at in [at for at, event in enumerate(events) if event.versions]:
        row, versions = slice(*rows.starts[at:at + 2]), events[at].versions
        rows.values[row] = [numbers[v, versions[v]] if v in versions else v for v in rows.values[row].tolist()]
    made, times_made = np.arange(len(operands.nbytes), count), n + np.array([at for _, at in numbers], np.int64)
    value.write(made, times_made)
    value.use(made, times_made)
    value.use(rows.values, n + rows.owner)
    walked, instructions = n + np.flatnonzero(~again), instructions[~again]
    added = operands.adds.rows(instructions)
    adjoint.write(added.values, walked[added.owner])
    adjoint.use(added.values, walked[added.owner])
    adjoint.use(operands.results[instructions], walked)
    kept = (value.born < n) & (n <= value.read)
    if seed is not None:
        adjoint.born[seed] = n
        adjoint.read[seed] = max(adjoint.read[seed], n)
        value.read[seed] = max(value.read[seed], n)
        adjoint.read[[v for v in read_adjoints if adjoint.born[v] != _NEVER]] = end
    value.read[outputs] = end
    times = Times(operands, events, numbers)
    groups = groups_of(times, forms) if forms else []
    if seed is not None and any(group.first < n <= group.last for group in groups):
        adjoint.born[seed] = -1
    nbytes = operands.nbytes[originals]
    cleared = operands.clears.rows(instructions)
    small = nbytes[cleared.values] <= SMALL
    together = not groups and int(small.sum()) >= MANY
    if together:
        born = walked[cleared.owner[small]]
        adjoint.born[cleared.values[small]] = born - (born - n) % TOGETHER
    homes = _homes(times, groups, nbytes, value.read, adjoint.born, adjoint.read)
    sharing = sharing_of(operands, events, numbers, value.born, value.read, adjoint.born, adjoint.read, joined, homes,
                         _needed_whole(groups, count))
    values = Lived(nbytes, value.born, value.read, sharing.values)
    adjoints = Lived(nbytes, adjoint.born, adjoint.read, sharing.adjoints)
    for k, group in enumerate(groups):
        _arrange_group(group, [(values, homes[0] == k), (adjoints, homes[1] == k)])
    sharing.values = sharing.values[homes[0][sharing.values[:, 0]] < 0]
    sharing.adjoints = sharing.adjoints[homes[1][sharing.adjoints[:, 0]] < 0]
    kept[homes[0] >= 0] = False
    return Lives(values.birth, values.death, adjoints.birth, adjoints.death, kept, originals, nbytes,
                 sharing, end, groups, times, together)


class Births:
    """By variable, the first definition and the last use."""

    def __init__(self, count: int) -> None:
        self.born, self.read = np.full(count, _NEVER), np.full(count, -2)

    def write(self, variables: np.ndarray, times: np.ndarray) -> None:
        """They are defined at these times, which rise."""
        unborn = self.born[variables] == _NEVER
        self.born[variables[unborn][::-1]] = times[unborn][::-1]  # the first definition counts

    def use(self, variables: np.ndarray, times: np.ndarray) -> None:
        """They are used at these times, which rise: the last one counts."""
        self.read[variables] = times


def _homes(times: Times, groups: Sequence[Group], nbytes: np.ndarray, death: np.ndarray,
           adjoint_birth: np.ndarray, adjoint_death: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By value and by adjoint, the group whose strips are all that exists of it, or -1."""
    values, adjoints = np.full(len(death), -1), np.full(len(death), -1)
    for k, group in enumerate(groups):
        for time in range(group.first, group.last + 1):
            if time not in group.sums:
                values[[v for v in times.written(time) if death[v] <= group.last]] = k
            adjoints[[v for v in times.adjoints(time) if nbytes[v]
                      and adjoint_birth[v] >= group.first and adjoint_death[v] <= group.last]] = k
    return values, adjoints


def _needed_whole(groups: Sequence[Group], count: int) -> np.ndarray:
    """By value, the last time at which every strip of a group reads the same element of it (no in-place reuse), or -1.

    Each strip runs the group's instructions from the first one on.
    """
    until = np.full(count, -1)
    for group in groups:
        until[list(group.constants)] = group.last
    return until


class Lived(NamedTuple):
    """Values, or adjoints: by variable bytes and live range, and aliases."""

    nbytes: np.ndarray
    birth: np.ndarray
    death: np.ndarray
    merges: np.ndarray


def _arrange_group(group: Group, kinds: Sequence[tuple[Lived, np.ndarray]]) -> None:
    """Assign the strip buffers of a group; whatever else is alive in it is so throughout."""
    strips = [Lived(np.where(inside, group.strip_bytes(lived.nbytes), 0), lived.birth.copy(), lived.death.copy(),
                    lived.merges[inside[lived.merges[:, 0]]]) for lived, inside in kinds]
    variables, offsets, _, group.part_bytes, *_ = arrange(strips)
    (group.values, group.adjoints), (group.value_offsets, group.adjoint_offsets) = variables, offsets
    group.place_sums()
    for lived, inside in kinds:
        lived.birth[inside], lived.death[inside] = _NEVER, -2
        lived.birth[(lived.birth >= group.first) & (lived.birth <= group.last)] = group.first
        lived.death[(lived.death >= group.first) & (lived.death <= group.last)] = group.last


def arrange(kinds: Sequence[Lived], alone: Sequence[tuple[int, int, int]] = (), gap: int = 0) -> tuple[
        list[np.ndarray], list[np.ndarray], list[int], int, int, np.ndarray]:
    """Assign offsets to all that lives, and to buffers without a variable: ``(bytes, birth, death)``.

    Returns
    -------
    variables, offsets : list of ndarray
        By kind.
    alone_offsets : list of int
    total, lower_bound : int
        Bytes, and the lower bound of any assignment.
    every : ndarray of int64, (blocks, 6)
        As `Layout.blocks`.
    """
    blocks = []
    for nbytes, birth, death, merges in kinds:
        placed = np.flatnonzero((nbytes > 0) & (birth <= death))
        block, shift = blocks_of(len(birth), merges)
        first, last = birth.copy(), death.copy()
        np.minimum.at(first, block[placed], birth[placed])
        np.maximum.at(last, block[placed], death[placed])
        own = np.unique(block[placed])
        blocks.append((placed, block[placed], shift[placed], own, nbytes[own], first[own], last[own]))
    rest = np.array(alone, np.int64).reshape(-1, 3)
    sizes, births, deaths = (np.concatenate([*(b[4 + k] for b in blocks), rest[:, k]]) for k in range(3))
    offsets, total = place(sizes + gap, births, deaths)
    every = _NO_BLOCKS
    if gap:
        whose = [block[3] for block in blocks] + [np.arange(len(rest))]
        kind = np.repeat(np.arange(len(whose)), [len(each) for each in whose])
        every = np.stack([offsets, sizes, births, deaths, kind, np.concatenate(whose)], axis=1)
    *given, last_ones = np.split(offsets, np.cumsum([len(block[3]) for block in blocks]))
    found = [at[np.searchsorted(block[3], block[1])] + block[2] for block, at in zip(blocks, given)]
    return [block[0] for block in blocks], found, last_ones.tolist(), total, lower_bound(sizes, births, deaths), every


@dataclass
class Layout:
    """Buffer assignment: where the values and adjoints of a recording are in its arena.

    Attributes
    ----------
    values, adjoints : ndarray of int64
        Variables.
    value_offsets, adjoint_offsets : ndarray of int64
        Bytes from the start of the arena, by variable.
    group_offsets : list of int
        Where the strip buffers of each group begin.
    total, lower_bound : int
        Bytes of the arena, and the lower bound of any assignment.
    blocks : ndarray of int64, (blocks, 6)
        With gaps: by block, offset, bytes, birth, death, 0 for values, 1 for adjoints, 2 for strips, and the variable
        or group that it is first used for.
    """

    values: np.ndarray
    adjoints: np.ndarray
    value_offsets: np.ndarray
    adjoint_offsets: np.ndarray
    group_offsets: list[int]
    total: int
    lower_bound: int
    blocks: np.ndarray


def layout_of(lives: Lives, gap: int = 0) -> Layout:
    """Assign offsets to all that lives, with a gap of so many bytes behind each block."""
    kinds = [Lived(lives.nbytes, lives.value_birth, lives.value_death, lives.sharing.values),
             Lived(lives.nbytes, lives.adjoint_birth, lives.adjoint_death, lives.sharing.adjoints)]
    alone = [(group.nbytes, group.first, group.last) for group in lives.groups]
    (values, adjoints), (at_values, at_adjoints), at_groups, total, least, blocks = arrange(kinds, alone, gap)
    return Layout(values, adjoints, at_values, at_adjoints, at_groups, total, least, blocks)
