"""What runs in reverse, in which order: adjoints, and before them the instructions that are run once more.

The reverse of a recording is a list of events. Where a stretch of it is a `Segment`, its values are not kept: when the
reverse arrives there, the stretch runs again into values of its own (versions of its variables), and its adjoints read
those. Segments nest; the inner one is then run a second time again. A value that a later adjoint has kept alive anyway
is read where it is, and what nobody reads is not computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ...engine.locks import computed_once
from ...engine.ragged import Ragged
from ...engine.walks.walk import WANTED
from ...ops.table import OPS, Op
from ...tape.tape import Tape

#: instructions by number, and stretches of them that run again
Tree = list[Any]

_FIRST = -1  # the version that the forward walk makes


class Event(NamedTuple):
    """The adjoint of an instruction, or, where `again`, the instruction itself.

    `versions` are those of the variables that it reads, where the forward walk has not made them.
    """

    instruction: int
    again: bool
    versions: Mapping[int, int] = MappingProxyType({})


class Operands:
    """Which variables each instruction of a recording writes, reads, and reads again in its adjoint.

    Attributes
    ----------
    rows, reads, writes, saves, adds, clears : Ragged
        By instruction, variables: its operands, what it reads, what it writes, what its adjoint reads, whose adjoints
        that uses, and of those the ones that are cleared before.
    inputs, outputs, saved, adjoints : list of tuple of int
        The last four in lists.
    results : ndarray of int64
        By instruction, the first variable that it writes.
    live : list of bool
        By instruction, whether the reverse comes to it.
    over, adjoint_over : Ragged
        By instruction, inputs whose bytes its output may take, and those whose adjoint may take its output's.
    parts, adjoint_parts : dict of int to list of (int, int)
        By instruction, inputs that its output is made of, or their adjoints of its output's, and at which byte.
    nbytes : ndarray of int64
        By variable, its bytes in the arena; 0 for one that lies elsewhere.
    work : list of float
        By instruction, its expected time: nanoseconds for a call, 7 bytes each, 20 multiplications each.
    """

    def __init__(self, tape: Tape, count: int) -> None:
        self._tape, self._codes = tape, tape._opcode[:count].tolist()
        notes = tape.notes[:count]
        rows = self.rows = Ragged(tape._variable[:tape._operand_start[count]], tape._operand_start[:count + 1])
        operand = np.arange(len(rows.values)) - rows.starts[rows.owner]
        written = (operand == 0) | (operand >= np.array([len(note[0]) for note in notes], np.int64)[rows.owner])
        self.reads, self.writes, self.results = rows.where(~written), rows.where(written), rows.values[rows.starts[:-1]]
        self.saves = Ragged.of([note[1] for note in notes])
        self.saves.values = rows.values[rows.starts[self.saves.owner] + self.saves.values]
        wanted = tape._flags[:len(rows.values)] & WANTED != 0
        self.adds = rows.where(wanted)
        self.clears = rows.where(wanted & (tape._words[tape._start[rows.owner]] >> (32 + operand) & 1 != 0))
        self.live = (tape._live[:count] != 0).tolist()
        self.nbytes = (tape._nbytes[:tape._variable_count] + 63) // 64 * 64
        self.nbytes[[0, *tape._externals.values()]] = 0
        self._find_shared(tape, rows, operand, wanted)

    def _find_shared(self, tape: Tape, rows: Ragged, operand: np.ndarray, wanted: np.ndarray) -> None:
        """What may share bytes, by the ops' own rules."""
        starts, words = tape._start[:len(self._codes) + 1].tolist(), tape._words.tolist()
        firsts, variables, offsets = rows.starts.tolist(), rows.values.tolist(), tape._offset.tolist()
        mode = tape._words[tape._start[rows.owner]] >> operand & 1 != 0  # bit j says that that adjoint is stored
        stored = wanted & mode
        held = (self.nbytes > 0).tolist()  # what lies elsewhere, as leaves and their gradients do, takes nobody's bytes
        over: list[int] = []
        self.parts: dict[int, list[tuple[int, int]]] = {}
        self.adjoint_parts: dict[int, list[tuple[int, int]]] = {}
        rules = {code: OPS[code].shares for code in set(self._codes)}
        for n, code in enumerate(self._codes):
            rule = rules[code]
            if rule is None:
                continue
            shared, first = rule(words[starts[n]:starts[n + 1]]), firsts[n]
            over += [first + j for j in shared.over]
            if shared.parts:
                row, known, size = variables[first:firsts[n + 1]], tape.notes[n][0], tape.dtype.itemsize
                parts = [(j, at * size) for j, at in shared.parts
                         if held[row[j]] and not offsets[first + j] and at * size % 64 == 0 and row.count(row[j]) == 1
                         # a view's other elements lie elsewhere
                         and math.prod(known[j][0]) * size == tape._nbytes[row[j]]]
                if parts:
                    self.parts[n] = [(row[j], at) for j, at in parts]
                    self.adjoint_parts[n] = [(row[j], at) for j, at in parts if stored[first + j]]
        places = np.array(over, np.int64)
        owner, given = rows.owner[places], rows.values[places]
        beside = rows.rows(owner)  # all operands of those instructions
        same = beside.owner[beside.values == given[beside.owner]]
        sizes = tape._nbytes
        places = places[(tape._offset[places] == 0) & (self.nbytes[given] > 0)
                        & (sizes[given] == sizes[self.results[owner]])
                        & (np.bincount(same, minlength=len(places)) == 1)]
        chosen = np.zeros(len(wanted), bool)
        chosen[places] = True
        self.over = rows.where(chosen)
        last = np.zeros(len(self._codes), np.int64)
        last[rows.owner[wanted]] = np.flatnonzero(wanted)  # of each instruction the last wanted one stays
        self.adjoint_over = rows.where(chosen & stored & (last[rows.owner] == np.arange(len(wanted))))

    @property
    def inputs(self) -> list[tuple[int, ...]]:
        return self.reads.lists

    @property
    def outputs(self) -> list[tuple[int, ...]]:
        return self.writes.lists

    @property
    def saved(self) -> list[tuple[int, ...]]:
        return self.saves.lists

    @property
    def adjoints(self) -> list[tuple[int, ...]]:
        return self.adds.lists

    def read_by(self, event: Event) -> tuple[int, ...]:
        """The variables that an event reads."""
        return (self.inputs if event.again else self.saved)[event.instruction]

    @computed_once
    def work(self) -> list[float]:
        return [_expected_time(OPS[code], self._tape.notes[n][0]) for n, code in enumerate(self._codes)]


def sizes_of(operands: Any) -> list[int]:
    """Bytes of an instruction's operands, as its note has them."""
    return [math.prod(shape) * dtype.itemsize for shape, dtype, _ in operands]


def products_of(op: Op, operands: Any) -> int:
    """Multiplications with an addition each of an instruction, where they are more than a few an element."""
    return op.products([shape for shape, *_ in operands]) if op.products is not None else 0


def _expected_time(op: Op, operands: Any) -> float:
    return 40.0 + sum(sizes_of(operands)) / 7.0 + products_of(op, operands) / 20.0


def tree_of(tape: Tape, end: int) -> Tree:
    """The instructions before `end`, those recorded within a `Segment` in a list of their own."""
    if not any([note[3] for note in tape.notes[:end]]):
        return list(range(end))
    tree: Tree = []
    open_segments: list[tuple[Any, Tree]] = [(None, tree)]
    for n in range(end):
        path = [] if tape.notes[n][3] is None else tape.notes[n][3].path
        depth = 0
        while depth < len(path) and depth + 1 < len(open_segments) and open_segments[depth + 1][0] is path[depth]:
            depth += 1
        del open_segments[depth + 1:]
        for segment in path[depth:]:
            inner: Tree = []
            open_segments[-1][1].append(inner)
            open_segments.append((segment, inner))
        open_segments[-1][1].append(n)
    return tree


def instructions_in(tree: Tree) -> list[int]:
    """All instructions of a tree, in order."""
    return [n for item in tree for n in (instructions_in(item) if isinstance(item, list) else (item,))]


def events_of(operands: Operands, tree: Tree) -> list[Event]:
    """The events of the reverse."""
    if not any([isinstance(item, list) for item in tree]):
        return [Event(n, False) for n in reversed(tree) if operands.live[n]]
    events: list[Event] = []
    version: dict[int, int] = {}
    read: set[tuple[int, int]] = set()
    nothing: set[int] = set()

    def happen(n: int, again: bool, variables: Sequence[int], inside: set[int]) -> None:
        read.update((v, version.get(v, _FIRST)) for v in variables if v not in inside)
        events.append(Event(n, again, {v: version[v] for v in variables if v in version}))

    def back(items: Tree) -> None:
        for item in reversed(items):
            if not isinstance(item, list):
                if operands.live[item]:
                    happen(item, False, operands.saved[item], nothing)
                continue
            outside, stretch = dict(version), instructions_in(item)
            inside = {v for n in stretch for v in operands.outputs[n]}
            for n in stretch:
                happen(n, True, operands.inputs[n], inside)
                for v in operands.outputs[n]:
                    if (v, version.get(v, _FIRST)) not in read:
                        version[v] = len(events) - 1
            back(item)
            version.clear()
            version.update(outside)

    back(tree)
    return _needed(events, operands) if any(event.again for event in events) else events


def _needed(events: list[Event], operands: Operands) -> list[Event]:
    """The events without instructions whose results no event reads; versions are renumbered."""
    wanted = [not event.again for event in events]
    for k in range(len(events) - 1, -1, -1):
        if wanted[k]:
            for at in events[k].versions.values():
                wanted[at] = True
    number = (np.cumsum(wanted) - 1).tolist()
    return [Event(e.instruction, e.again, {v: number[at] for v, at in e.versions.items()})
            for e, keep in zip(events, wanted) if keep]


def versions_of(operands: Operands, events: Sequence[Event]) -> tuple[dict[tuple[int, int], int], np.ndarray]:
    """A number for each version that the events write, after those of the recording's own variables.

    Returns
    -------
    numbers : dict
        By variable and event.
    originals : ndarray of int64
        Of each variable the one whose further version it is, itself if none.
    """
    own = len(operands.nbytes)
    made = [(v, at) for at, event in enumerate(events) if event.again for v in operands.outputs[event.instruction]]
    numbers = {version: own + k for k, version in enumerate(made)}
    return numbers, np.concatenate([np.arange(own), np.array([v for v, _ in made], np.int64)])


def rows_of(tape: Tape, operands: Operands, events: Sequence[Event]) -> list[int]:
    """Of each event the number of its row on the tape.

    Events that read only what the forward walk left run the instruction's own row; the others get one of their own
    after the recording's.
    """
    numbers, originals = versions_of(operands, events)
    tape._free_variables.clear()  # versions are numbered from the last variable on
    for v in originals[tape._variable_count:].tolist():
        tape.new_variable(int(tape._nbytes[v]), int(tape._itemsize[v]))
    rows = []
    for at, event in enumerate(events):
        n = event.instruction
        if not event.again and not event.versions:
            rows.append(n)
            continue
        first, last = int(tape._operand_start[n]), int(tape._operand_start[n + 1])
        row = tape._words[tape._start[n]:tape._start[n + 1]].tolist()
        variables = [numbers.get((v, at), numbers.get((v, event.versions.get(v, _FIRST)), v))
                     for v in tape._variable[first:last].tolist()]
        op = OPS[tape._opcode[n]]
        if event.again:
            for k, word in op.again.items():
                row[k] = word
        tape.append(op, row, variables, tape._offset[first:last].tolist(), tape._flags[first:last].tolist(), (),
                    tape.notes[n])
        tape._live[tape.count - 1] = not event.again
        rows.append(tape.count - 1)
    return rows
