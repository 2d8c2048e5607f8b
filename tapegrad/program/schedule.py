"""What runs in reverse, in which order: adjoints, and before them the instructions that are run once more.

The reverse of a recording is a list of events. Where a stretch of it is a `Segment`, its values are not kept: when the
reverse arrives there, the stretch runs again into values of its own (versions of its variables), and its adjoints read
those. Segments nest; the inner one is then run a second time again. A value that a later adjoint has kept alive anyway
is read where it is, and what nobody reads is not computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ops.table import OPS
from ..tape import Tape

#: instructions by number, and stretches of them that run again
Tree = list[Any]

_FIRST = -1  # the version that the forward walk makes


@dataclass
class Event:
    """The adjoint of an instruction, or, where `again`, the instruction itself; `reads` are versions by variable."""

    instruction: int
    again: bool
    reads: dict[int, int]


class Operands:
    """Which variables each instruction of a recording writes, reads, and reads again in its adjoint."""

    def __init__(self, tape: Tape, count: int) -> None:
        starts, variables = tape._operand_start[:count + 1].tolist(), tape._variable.tolist()
        self.inputs, self.outputs, self.saved = [], [], []
        for n in range(count):
            row, known = variables[starts[n]:starts[n + 1]], len(tape.notes[n][0])
            self.outputs.append((row[0], *row[known:]))
            self.inputs.append(tuple(row[1:known]))
            self.saved.append(tuple(row[j] for j in tape.notes[n][1]))
        self.live = [bool(flag) for flag in tape._live[:count]]


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

    def happen(n: int, again: bool, variables: Sequence[int], inside: set[int]) -> None:
        reads = {v: version.get(v, _FIRST) for v in variables}
        read.update((v, at) for v, at in reads.items() if v not in inside)
        events.append(Event(n, again, reads))

    def back(items: Tree) -> None:
        for item in reversed(items):
            if not isinstance(item, list):
                if operands.live[item]:
                    happen(item, False, operands.saved[item], set())
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
    return _needed(events, operands)


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


def schedule_of(tape: Tape, events: Sequence[Event]) -> tuple[np.ndarray, np.ndarray]:
    """Rows for the events on the tape, and the walk's schedule.

    Events that read only what the forward walk left run the instruction's own row; the others get one of their own
    after the recording's.

    Returns
    -------
    schedule : ndarray of int64, (events,)
        A row's number for its adjoint, its complement for the instruction.
    originals : ndarray of int64, (variables,)
        Of each variable the one whose further version it is, itself if none.
    """
    versions: dict[tuple[int, int], int] = {}
    originals = list(range(tape._variable_count))
    schedule = []
    for at, event in enumerate(events):
        n = event.instruction
        if not event.again and set(event.reads.values()) <= {_FIRST}:
            schedule.append(n)
            continue
        first, last = int(tape._operand_start[n]), int(tape._operand_start[n + 1])
        row = tape._words[tape._start[n]:tape._start[n + 1]].tolist()
        variables = tape._variable[first:last].tolist()
        known = len(tape.notes[n][0])
        for j, v in enumerate(variables):
            if event.again and (j == 0 or j >= known):
                w = tape.new_variable(int(tape._nbytes[v]), int(tape._itemsize[v]))
                versions[v, at] = variables[j] = w
                originals.append(v)
            else:
                variables[j] = versions.get((v, event.reads.get(v, _FIRST)), v)
        op = OPS[tape._opcode[n]]
        if event.again:
            for k, word in op.again.items():
                row[k] = word
        tape.append(op, row, variables, tape._offset[first:last].tolist(), tape._flags[first:last].tolist(), (),
                    tape.notes[n])
        tape._live[tape.count - 1] = not event.again
        schedule.append(~(tape.count - 1) if event.again else tape.count - 1)
    return np.array(schedule, np.int64), np.array(originals, np.int64)
