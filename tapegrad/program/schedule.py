"""What runs in reverse, in which order: adjoints, and before them the instructions that are run once more.

The reverse of a recording is a list of events. Where a stretch of it is a `Segment`, its values are not kept: when the
reverse arrives there, the stretch runs again into values of its own (versions of its variables), and its adjoints read
those. Segments nest; the inner one is then run a second time again. A value that a later adjoint has kept alive anyway
is read where it is, and what nobody reads is not computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..engine.walk import WANTED
from ..ops.table import OPS, Op
from ..tape import Tape

#: instructions by number, and stretches of them that run again
Tree = list[Any]

_FIRST = -1  # the version that the forward walk makes


@dataclass(slots=True)
class Event:
    """The adjoint of an instruction, or, where `again`, the instruction itself; `reads` are versions by variable."""

    instruction: int
    again: bool
    reads: dict[int, int]


class Operands:
    """Which variables each instruction of a recording writes, reads, and reads again in its adjoint.

    Attributes
    ----------
    inputs, outputs, saved, adjoints : list of tuple of int
        By instruction, variables: what it reads, what it writes, what its adjoint reads, and whose adjoints that uses.
    live : list of bool
        By instruction, whether the reverse comes to it.
    over, adjoint_over : list of tuple of int
        By instruction, inputs whose bytes its output may take, and those whose adjoint may take its output's.
    parts, adjoint_parts : list of tuple of (int, int)
        By instruction, inputs that its output is made of, or their adjoints of its output's, and at which byte.
    nbytes : list of int
        By variable, its bytes in the arena; 0 for one that lies elsewhere.
    work : list of float
        By instruction, its expected time: nanoseconds for a call, 7 bytes each, 20 multiplications each.
    """

    def __init__(self, tape: Tape, count: int) -> None:
        self.inputs: list[tuple[int, ...]] = []
        self.outputs: list[tuple[int, ...]] = []
        self.saved: list[tuple[int, ...]] = []
        self.adjoints: list[tuple[int, ...]] = []
        self.over: list[tuple[int, ...]] = []
        self.adjoint_over: list[tuple[int, ...]] = []
        self.parts: list[tuple[tuple[int, int], ...]] = []
        self.adjoint_parts: list[tuple[tuple[int, int], ...]] = []
        starts, variables, flags, offsets, rows, words, sizes = (
            a.tolist() for a in (tape._operand_start[:count + 1], tape._variable, tape._flags, tape._offset,
                                 tape._start[:count + 1], tape._words, tape._nbytes))
        self._instructions = [(OPS[code], tape.notes[n][0]) for n, code in enumerate(tape._opcode[:count].tolist())]
        for n, (op, known) in enumerate(self._instructions):
            first, last, own = starts[n], starts[n + 1], len(known)
            row = variables[first:last]
            wanted = [j for j, flag in enumerate(flags[first:last]) if flag & WANTED]
            self.outputs.append((row[0], *row[own:]))
            self.inputs.append(tuple(row[1:own]))
            self.saved.append(tuple([row[j] for j in tape.notes[n][1]]))
            self.adjoints.append(tuple([row[j] for j in wanted]))
            over: list[int] = []
            parts: list[tuple[int, int]] = []
            if op.shares is not None:
                shared = op.shares(words[rows[n]:rows[n + 1]])
                over = [j for j in shared.over if not offsets[first + j] and sizes[row[j]] == sizes[row[0]]
                        and row.count(row[j]) == 1]
                size = known[0][1].itemsize
                parts = [(j, at * size) for j, at in shared.parts
                         if not offsets[first + j] and at * size % 64 == 0 and row.count(row[j]) == 1
                         # a view's other elements lie elsewhere
                         and math.prod(known[j][0]) * size == sizes[row[j]]] if shared.parts else parts
            self.over.append(tuple([row[j] for j in over]))
            self.parts.append(tuple([(row[j], at) for j, at in parts]) if parts else ())
            mode = words[rows[n]]  # whose bit j says that the adjoint of input j is stored
            self.adjoint_over.append(tuple([row[j] for j in wanted[-1:] if j in over and mode >> j & 1]))
            self.adjoint_parts.append(
                tuple([(row[j], at) for j, at in parts if j in wanted and mode >> j & 1]) if parts else ())
        self.live = [bool(flag) for flag in tape._live[:count]]
        nbytes = (tape._nbytes[:tape._variable_count] + 63) // 64 * 64
        nbytes[[0, *tape._externals.values()]] = 0
        self.nbytes: list[int] = nbytes.tolist()

    @cached_property
    def work(self) -> list[float]:
        return [_expected_time(*instruction) for instruction in self._instructions]


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
    events: list[Event] = []
    version: dict[int, int] = {}
    read: set[tuple[int, int]] = set()
    nothing: set[int] = set()

    def happen(n: int, again: bool, variables: Sequence[int], inside: set[int]) -> None:
        reads = {}
        for v in variables:
            at = reads[v] = version.get(v, _FIRST)
            if v not in inside:
                read.add((v, at))
        events.append(Event(n, again, reads))

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
            for at in events[k].reads.values():
                if at != _FIRST:
                    wanted[at] = True
    number = (np.cumsum(wanted) - 1).tolist()
    return [Event(e.instruction, e.again, {v: at if at == _FIRST else number[at] for v, at in e.reads.items()})
            for e, keep in zip(events, wanted) if keep]


def versions_of(operands: Operands, events: Sequence[Event]) -> tuple[dict[tuple[int, int], int], list[int]]:
    """A number for each version that the events write, after those of the recording's own variables.

    Returns
    -------
    numbers : dict
        By variable and event.
    originals : list of int
        Of each variable the one whose further version it is, itself if none.
    """
    originals = list(range(len(operands.nbytes)))
    numbers = {}
    for at, event in enumerate(events):
        if event.again:
            for v in operands.outputs[event.instruction]:
                numbers[v, at] = len(originals)
                originals.append(v)
    return numbers, originals


def rows_of(tape: Tape, operands: Operands, events: Sequence[Event]) -> list[int]:
    """Of each event the number of its row on the tape.

    Events that read only what the forward walk left run the instruction's own row; the others get one of their own
    after the recording's.
    """
    numbers, originals = versions_of(operands, events)
    tape._free_variables.clear()  # versions are numbered from the last variable on
    for v in originals[tape._variable_count:]:
        tape.new_variable(int(tape._nbytes[v]), int(tape._itemsize[v]))
    rows = []
    for at, event in enumerate(events):
        n = event.instruction
        if not event.again and all(version == _FIRST for version in event.reads.values()):
            rows.append(n)
            continue
        first, last = int(tape._operand_start[n]), int(tape._operand_start[n + 1])
        row = tape._words[tape._start[n]:tape._start[n + 1]].tolist()
        variables = [numbers.get((v, at), numbers.get((v, event.reads.get(v, _FIRST)), v))
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
