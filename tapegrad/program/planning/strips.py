"""Elementwise fusion with loop tiling: which instructions form a group, and the group's rows (`engine.walks.strips`).

A group is a range of consecutive times, forward, in reverse or across the turn, whose instructions all map element k of
their operands to element k of their results, over equally many elements. Operands of one element may be read, and
results may be reduced if the sum is read after the group. A group runs a strip (a tile of the fused loop) at a time;
what is defined and dies within it exists for one strip only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...engine.row import Nest
from ...engine.storage import address_of
from ...engine.threads.team import team_address
from ...engine.walks import strips
from ...engine.walks.walk import CLEAR, WANTED
from ...ops.elementwise import BINARY, COMPARE, UNARY, opcodes
from ...ops.layout import COPY_BOOL, COPY_INT64, FROM_BOOL, FROM_INT64, TO_BOOL, WHERE
from ...ops.masked import BLOCK as MASK_BLOCK
from ...ops.masked import MASKED
from ...ops.reduction import BLOCK, BLOCK_SUMS, ORDERED_SUM, ROW_SUM, BlockSums, OrderedSum, Sum
from ...ops.table import OPS, Op
from ...tape.tape import Tape
from .schedule import Event, Operands

STRIP_BYTES = 1 << 13  # of an operand: those of an instruction and of the next fit into the L1 cache
FEWEST_STRIPS = 8  # below, tiling gains nothing: the arrays are in cache anyway
PARTS = 4  # parallel parts of a group, at most
PART_ELEMENTS = 1 << 16  # of a part at least, counted once an instruction

STRIPS = Op("strips", strips.run_strips, doc="a group of elementwise instructions, strip by strip")


def _nest(op: Op) -> tuple[int, tuple[int, ...]]:
    assert op.row is not None
    return op.row.places["nest"], tuple(map(op.row.number, op.row.nests["nest"]))


#: by opcode, the word at which the nest begins and the operands that it is of
NESTS: dict[int, tuple[int, tuple[int, ...]]] = {
    **{code: _nest(OPS[code])
       for code in opcodes((*UNARY.values(), *BINARY.values(), *COMPARE.values(), *MASKED.values()))},
    **{op.opcode: _nest(op) for op in (COPY_BOOL, COPY_INT64, FROM_BOOL, FROM_INT64, ROW_SUM, TO_BOOL, WHERE)},
}
MASKED_OPS = {op.opcode for op in MASKED.values()}


@dataclass(frozen=True)
class Form:
    """The elementwise iteration space of an instruction.

    Attributes
    ----------
    elements : int
    count : int
        The word of its row that holds `elements`.
    per : tuple of int
        By operand: 1 for an element each, 0 for one element that is read or written by all, 64 for a bit each.
    reverses : bool
        Whether its adjoint is elementwise too, over all adjoints that it accumulates into.
    """

    elements: int
    count: int
    per: tuple[int, ...]
    reverses: bool


class Forms:
    """The forms of a recording's instructions; None for those that cannot be fused.

    Parameters
    ----------
    tape : Tape
    count : int
        Instructions.

    Attributes
    ----------
    found : list of Form or None
    strip : int
        Elements of a strip: a multiple of the blocks of sums and of masks.
    itemsize : int
        Bytes of a float.
    """

    def __init__(self, tape: Tape, count: int) -> None:
        self.itemsize = tape.dtype.itemsize
        unit = math.lcm(BLOCK, MASK_BLOCK)
        self.strip = max(STRIP_BYTES // self.itemsize // unit, 1) * unit
        self.found: list[Form | None] = []
        fewest = FEWEST_STRIPS * self.strip
        if int(tape._nbytes[:tape._variable_count].max(initial=0)) >= fewest * self.itemsize:
            rows = zip(tape._opcode[:count].tolist(), tape._start[:count].tolist(), tape._start[1:count + 1].tolist())
            self.found = [form_of(tape, n, code, tape._words[at:end].tolist(), fewest) if code in NESTS else None
                           for n, (code, at, end) in enumerate(rows)]

    def __bool__(self) -> bool:
        return any(self.found)

    def __getitem__(self, instruction: int) -> Form:
        form = self.found[instruction]
        assert form is not None
        return form


def form_of(tape: Tape, n: int, code: int, row: list[int], fewest: int) -> Form | None:
    """The form of instruction `n` if it has at least `fewest` elements."""
    nest, operands = NESTS[code]
    rows, columns, outer, *steps = row[nest:nest + Nest.size + len(operands)]
    per = (*(() if 0 in operands else (1,)), *steps, *((64,) if code in MASKED_OPS else ()))
    if rows != 1 or outer or columns < fewest or not set(steps) <= {0, 1}:
        return None
    return Form(columns, nest + Nest.places["columns"], per, _reverses(tape, n, columns, per))


def _reverses(tape: Tape, n: int, elements: int, per: tuple[int, ...]) -> bool:
    first, nbytes = int(tape._operand_start[n]), elements * tape.dtype.itemsize
    return all(per[j] == 1 and tape._nbytes[tape._variable[first + j]] == nbytes and tape._offset[first + j] == 0
               for j in range(1, len(per)) if tape._flags[first + j] & WANTED)


def _none() -> np.ndarray:
    return np.zeros(0, np.int64)


@dataclass
class Group:
    """A fused group and its strip buffers.

    Attributes
    ----------
    first, last : int
        Live range of the group: times, both included.
    elements, strip, itemsize, parts : int
        Elements of each instruction and of a strip, bytes of one, and parallel parts.
    sums : dict of int to int
        By the time of a sum, the offset of its blocks' partial sums.
    constants : set of int
        Variables of which every strip reads the same element.
    values, adjoints : ndarray of int64
        Variables that live within the group only.
    value_offsets, adjoint_offsets : ndarray of int64
        Offsets of the first part, from the start of the group's bytes.
    part_bytes, nbytes : int
        Bytes of the strip buffers of a part, and of all buffers of the group.
    """

    first: int
    last: int
    elements: int
    strip: int
    itemsize: int
    parts: int
    sums: dict[int, int]
    constants: set[int]
    values: np.ndarray = field(default_factory=_none)
    adjoints: np.ndarray = field(default_factory=_none)
    value_offsets: np.ndarray = field(default_factory=_none)
    adjoint_offsets: np.ndarray = field(default_factory=_none)
    part_bytes: int = 0
    nbytes: int = 0

    def strip_bytes(self, nbytes: np.ndarray) -> np.ndarray:
        """Bytes of a strip of arrays of so many bytes, multiples of 64."""
        return (-(-nbytes * self.strip // self.elements) + 63) // 64 * 64

    def place_sums(self) -> None:
        """Assign offsets behind the parts' strip buffers to the partial sums."""
        self.nbytes = self.parts * self.part_bytes
        for time in self.sums:
            self.sums[time] = self.nbytes
            self.nbytes += (8 * self.blocks + 63) // 64 * 64  # of float64

    @property
    def blocks(self) -> int:
        """Blocks that are summed separately."""
        return -(-self.elements // BLOCK)


class Times:
    """What runs at each time, with its uses and definitions: variables, or versions of them.

    Parameters
    ----------
    operands : Operands
    events : sequence of Event
    numbers : dict
        As `versions_of` gives them.

    Attributes
    ----------
    turn, end : int
        The first time of the reverse, and the time after everything.
    instructions : list of int
        By time, the instruction.
    is_adjoint : list of bool
        By time, whether its adjoint runs.
    """

    def __init__(self, operands: Operands, events: Sequence[Event], numbers: dict[tuple[int, int], int]) -> None:
        self.operands, self.events, self.numbers = operands, events, numbers
        self.turn = len(operands.results)
        self.end = self.turn + len(events)
        self.instructions = [*range(self.turn), *[event.instruction for event in events]]
        self.is_adjoint = [False] * self.turn + [not event.again for event in events]

    def stretch(self, group: Group) -> str:
        """A group's name in reports."""
        return f"strips of #{self.instructions[group.first]} to #{self.instructions[group.last]}"

    def written(self, time: int) -> list[int]:
        """Values that are defined."""
        if self.is_adjoint[time]:
            return []
        outputs = self.operands.outputs[self.instructions[time]]
        return [self.numbers.get((v, time - self.turn), v) for v in outputs]

    def read(self, time: int) -> list[tuple[int, int]]:
        """Values that are used, with their operand numbers."""
        n = self.instructions[time]
        row = self.variables(time)
        if time < self.turn:
            return list(enumerate(row))[1:1 + len(self.operands.inputs[n])]
        event = self.events[time - self.turn]
        read, versions = self.operands.read_by(event), event.versions
        return [(j, self.numbers[v, versions[v]] if v in versions else v) for j, v in enumerate(row) if v in read]

    def variables(self, time: int) -> tuple[int, ...]:
        """The variables of the operands, whatever their versions: the output, the inputs, auxiliary outputs."""
        n = self.instructions[time]
        return (self.operands.outputs[n][0], *self.operands.inputs[n], *self.operands.outputs[n][1:])

    def adjoints(self, time: int) -> tuple[int, ...]:
        """Variables whose adjoints are accumulated into."""
        return self.operands.adjoints[self.instructions[time]] if self.is_adjoint[time] else ()


def groups_of(times: Times, forms: Forms) -> list[Group]:
    """The groups of a recording and its reverse, without offsets."""
    groups: list[Group] = []
    begin, elements = -1, 0
    written: dict[int, int] = {}  # in the group so far: whether each has as many elements

    def close(end: int) -> None:
        if begin >= 0 and (end - begin > 1 or elements >= 2 * PART_ELEMENTS):  # a single one gains from threads only
            sums = {time: 0 for time in range(begin, end)
                    if not times.is_adjoint[time] and not forms[times.instructions[time]].per[0]}
            constants = {v for time in range(begin, end) for j, v in times.read(time)
                         if not forms[times.instructions[time]].per[j]}
            parts = max(min(PARTS, (end - begin) * elements // PART_ELEMENTS, -(-elements // forms.strip)), 1)
            groups.append(Group(begin, end - 1, elements, forms.strip, forms.itemsize, parts, sums, constants))

    for time in range(times.end if forms else 0):
        form = forms.found[times.instructions[time]]
        if form is None or times.is_adjoint[time] and not form.reverses:
            close(time)
            begin = -1
            continue
        if begin >= 0 and (form.elements != elements or any(not (form.per[j] and written.get(v, 1))
                                                            for j, v in times.read(time) if v in written)):
            close(time)
            begin = -1
        if begin < 0:
            begin, elements = time, form.elements
            written.clear()
        written.update(dict.fromkeys(times.written(time), form.per[0]))
    close(times.end)
    return groups


# ------------------------------------------------------------------ rows


class GroupRows:
    """The rows of a group: its own, and those of its tasks for every part.

    Parameters
    ----------
    tape : Tape
        Linked.
    group : Group
    times : Times
    forms : Forms
    rows : sequence of int
        By time, the number of the row on the tape.
    at : int
        Byte address of the group's buffers.
    modes : ndarray of int64
        The words of the tape, or other ones with other modes.

    Attributes
    ----------
    row : list of int
        The group's own.
    places : list of (bool, variable, array, index)
        Where the addresses of whole arrays are: whether of an adjoint, the variable, and the word.
    fixed : set of (bool, variable)
        Those whose addresses occur elsewhere too.
    """

    def __init__(self, tape: Tape, group: Group, times: Times, forms: Forms, rows: Sequence[int], at: int,
                 modes: np.ndarray) -> None:
        self.tape, self.group, self.times, self.forms, self.rows = tape, group, times, forms, rows
        self.at, self.modes = at, modes
        self._kept: list[np.ndarray] = []
        self.places: list[tuple[bool, int, np.ndarray, int]] = []
        self.fixed: set[tuple[bool, int]] = set()
        local = (set(group.values.tolist()), set(group.adjoints.tolist()))
        count = -(-group.elements // group.strip)
        parts = []
        for part in range(group.parts):
            tasks: list[int] = []
            moves: list[int] = []
            clears: list[int] = []  # likewise for the clearing of adjoints
            moved: list[tuple[bool, int, int]] = []
            for time in range(group.first, group.last + 1):
                self._add(time, part, local, tasks, moves, clears, moved)
            moves += clears
            share = [count * part // group.parts, count * (part + 1) // group.parts]
            parts += [0, *share, group.strip, group.elements, len(tasks) // 3, self._keep(tasks), len(moves) // 3,
                      self._keep(moves)]
            self.places += [(adjoint, v, self._kept[-1], at) for adjoint, v, at in moved]
        finishes = [word for time, first in group.sums.items() for word in self._finish(time, first)]
        self.row = [0, team_address(tape.dtype), strips.RUN.address(tape.dtype), group.parts, self._keep(parts),
                    len(finishes) // 2, self._keep(finishes)]

    def _keep(self, words: list[int]) -> int:
        """Keep these words alive; returns their address, in elements."""
        self._kept.append(np.array(words or [0], np.int64))
        return address_of(self._kept[-1]) // 8

    def _add(self, time: int, part: int, local: tuple[set[int], set[int]], tasks: list[int], moves: list[int],
             clears: list[int], places: list[tuple[bool, int, int]]) -> None:
        """What runs at `time`: a task, before it the clearing of adjoints, and how their addresses move."""
        tape, group, n = self.tape, self.group, self.rows[time]
        form, dtype, code = self.forms[self.times.instructions[time]], tape.dtype, int(tape._opcode[n])
        first = int(tape._operand_start[n])
        values = tape._variable[first:int(tape._operand_start[n + 1])].tolist()
        words = self.modes[tape._start[n]:tape._start[n + 1]].tolist()
        reverse = self.times.is_adjoint[time]
        sums = time in group.sums
        if sums:
            words = BlockSums.row(y=(self.at + group.sums[time]) // dtype.itemsize, x=words[Sum.places["x"]])
        used = [j for j, _ in self.times.read(time)]
        if not reverse:
            used += [j for j, per in enumerate(form.per) if j == 0 or per == 64]
        named = [(j, False, values[j]) for j in used]
        if reverse:
            adjoints = self.times.variables(time)  # versions have one adjoint
            wanted = [j for j in range(1, len(form.per)) if tape._flags[first + j] & WANTED]
            named += [(j, True, adjoints[j]) for j in (0, *wanted)]
        moved: list[tuple[int, int]] = []  # words, and by how many elements they move from strip to strip
        for j, adjoint, v in named:
            word = 1 + 2 * j + adjoint
            if v in local[adjoint]:
                words[word] += part * group.part_bytes // int(tape._itemsize[v])
            elif form.per[j]:
                places.append((adjoint, v, len(moves) + 3 * len(moved) + 1))
                moved.append((word, group.strip // form.per[j]))
            else:
                self.fixed.add((adjoint, v))
        if sums:
            moved.append((BlockSums.places["y"], group.strip // BLOCK * (8 // dtype.itemsize)))
        fresh = words[0] >> 32 if reverse else 0
        for j in range(fresh.bit_length()):
            if fresh >> j & 1:
                step = dict(moved).get(2 + 2 * j, 0)
                self.fixed.add((True, adjoints[j]))
                self._task([0, words[2 + 2 * j], 0], 2, CLEAR.address(dtype), [(1, step)], tasks, clears)
        kernel = BLOCK_SUMS.forward if sums else OPS[code].adjoint if reverse else OPS[code].forward
        assert kernel is not None
        count = BlockSums.places["elements"] if sums else form.count
        self._task(words, count, kernel.address(dtype), moved, tasks, moves)

    def _task(self, words: list[int], count: int, kernel: int, moved: list[tuple[int, int]], tasks: list[int],
              moves: list[int]) -> None:
        row = self._keep(words)
        tasks += [kernel, row, row + count]
        for word, step in moved:
            moves += [row + word, words[word], step]

    def _finish(self, time: int, at: int) -> list[int]:
        """Kernel and row that add up the partial sums."""
        tape, n, dtype = self.tape, self.rows[time], self.tape.dtype
        words = tape._words[tape._start[n]:tape._start[n + 1]].tolist()
        row = OrderedSum.row(y=words[Sum.places["y"]], x=(self.at + at) // dtype.itemsize,
                             scale=words[Sum.places["scale"]], blocks=self.group.blocks)
        return [ORDERED_SUM.forward.address(dtype), self._keep(row)]
