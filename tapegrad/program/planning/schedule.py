"""The schedule of the reverse: adjoints, and the instructions that are recomputed before them.

The reverse of a recording is a list of events. The values of a checkpointed `Segment` are not kept: when the reverse
arrives there, the segment is recomputed into new versions of its variables, which its adjoints read. Segments nest; an
inner one is recomputed once more. A value that is still alive for a later adjoint is read where it is, and dead code
is not recomputed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ...engine.lazy import lazy
from ...engine.ragged import Ragged
from ...engine.walks.walk import WANTED
from ...ops.table import OPS, Op
from ...tape.tape import Tape

#: instructions by number, and segments of them, as nested lists
Tree = list[Any]

_FIRST = -1  # the version that the forward walk defines


class Event(NamedTuple):
    """The adjoint of an instruction, or, if `again`, its recomputation.

    `versions` are those of the variables that it reads, where they are not the forward walk's.
    """

    instruction: int
    again: bool
    versions: Mapping[int, int] = MappingProxyType({})


class Operands:
    """Definitions and uses: the variables that each instruction, and its adjoint, write and read.

    Attributes
    ----------
    rows, reads, writes, saves, adds, clears : Ragged
        By instruction, variables: its operands, its uses, its definitions, the uses of its adjoint, the adjoints that
        this accumulates into, and those of them that are cleared before.
    inputs, outputs, saved, adjoints : list of tuple of int
        The same as lists: uses, definitions, uses of the adjoint, adjoints.
    results : ndarray of int64
        By instruction, its first definition.
    live : list of bool
        By instruction, whether the reverse visits it.
    over, adjoint_over : Ragged
        In-place reuse: by instruction, inputs that its output may overwrite, and those whose adjoint may overwrite its
        output's.
    parts, adjoint_parts : dict of int to list of (int, int)
        Concatenation: by instruction, inputs that its output consists of, or their adjoints in its output's, and the
        offset in bytes.
    nbytes : ndarray of int64
        By variable, its bytes in the arena; 0 if it is stored elsewhere.
    work : list of float
        Cost model: by instruction, nanoseconds for a call, 7 bytes each, 20 multiplications each.
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
        """Find what may share memory, by the ops' own rules."""
        starts, words = tape._start[:len(self._codes) + 1].tolist(), tape._words.tolist()
        firsts, variables, offsets = rows.starts.tolist(), rows.values.tolist(), tape._offset.tolist()
        mode = tape._words[tape._start[rows.owner]] >> operand & 1 != 0  # bit j: adjoint j is stored, not added
        stored = wanted & mode
        held = (self.nbytes > 0).tolist()  # buffers outside of the arena (leaves, gradients) are not reused
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
                         # a view covers a part only
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
        last[rows.owner[wanted]] = np.flatnonzero(wanted)  # of each instruction the last wanted one remains
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

    def apart(self) -> Operands:
        """The same where no operand of a concatenation may be a part of its output."""
        operands = copy(self)
        operands.parts, operands.adjoint_parts = {}, {}
        return operands

    def read_by(self, event: Event) -> tuple[int, ...]:
        """Uses of an event."""
        return (self.inputs if event.again else self.saved)[event.instruction]

    @lazy
    def work(self) -> list[float]:
        return [_expected_time(OPS[code], self._tape.notes[n][0]) for n, code in enumerate(self._codes)]


def sizes_of(operands: Any) -> list[int]:
    """Bytes of an instruction's operands, from its note."""
    return [math.prod(shape) * dtype.itemsize for shape, dtype, _ in operands]


def products_of(op: Op, operands: Any) -> int:
    """Multiply-adds of an instruction, if they are more than a few an element."""
    return op.products([shape for shape, *_ in operands]) if op.products is not None else 0


def _expected_time(op: Op, operands: Any) -> float:
    return 40.0 + sum(sizes_of(operands)) / 7.0 + products_of(op, operands) / 20.0


def tree_of(tape: Tape, end: int) -> Tree:
    """The instructions before `end`, those of each `Segment` in a list of their own."""
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
    """The events without dead recomputations; versions are renumbered."""
    wanted = [not event.again for event in events]
    for k in range(len(events) - 1, -1, -1):
        if wanted[k]:
            for at in events[k].versions.values():
                wanted[at] = True
    number = (np.cumsum(wanted) - 1).tolist()
    return [Event(e.instruction, e.again, {v: number[at] for v, at in e.versions.items()})
            for e, keep in zip(events, wanted) if keep]


def versions_of(operands: Operands, events: Sequence[Event]) -> tuple[dict[tuple[int, int], int], np.ndarray]:
    """Number the versions that the events define, after the recording's own variables.

    Returns
    -------
    numbers : dict
        By variable and event.
    originals : ndarray of int64
        By variable, the one of which it is a version (else itself).
    """
    own = len(operands.nbytes)
    made = [(v, at) for at, event in enumerate(events) if event.again for v in operands.outputs[event.instruction]]
    numbers = {version: own + k for k, version in enumerate(made)}
    return numbers, np.concatenate([np.arange(own), np.array([v for v, _ in made], np.int64)])


def rows_of(tape: Tape, operands: Operands, events: Sequence[Event]) -> list[int]:
    """By event, the number of its row on the tape.

    Events that read only the forward walk's versions run the instruction's own row; the others get rows of their own,
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
