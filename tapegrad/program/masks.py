"""Where a recording keeps one bit an element of a relu rather than its output."""

from __future__ import annotations

import numpy as np

from ..engine import walk
from ..ops.elementwise import UNARY
from ..ops.relu_mask import RELU_MASK
from ..tape import Tape

_FEWEST = 512  # elements; below, a mask saves nothing that alignment does not take


def keep_masks(tape: Tape, end: int, outputs: list[int]) -> None:
    """Have every relu whose output only its own adjoint would read keep a mask instead.

    The next linear layer's weight, if trained, reads the output too: then it is kept anyway and a mask would come on
    top. `outputs` are variables that are read after everything. The plan of the reverse walk stays as it is.
    """
    readers = _readers(tape, end)
    relu = UNARY["relu"].opcode
    for n in range(end):
        if tape._opcode[n] != relu or not tape._live[n]:
            continue
        y = int(tape._variable[tape._operand_start[n]])
        rows, elements, step = _nest(tape, n)
        if readers.get(y) == {n} and y not in outputs and rows == 1 and step == 1 and elements >= _FEWEST:
            _switch(tape, n, elements)


def _readers(tape: Tape, end: int) -> dict[int, set[int]]:
    """The instructions whose adjoints read each variable."""
    found: dict[int, set[int]] = {}
    for n in np.flatnonzero(tape._live[:end]).tolist():
        first = int(tape._operand_start[n])
        for j in tape.notes[n][1]:
            found.setdefault(int(tape._variable[first + j]), set()).add(n)
    return found


def _nest(tape: Tape, n: int) -> tuple[int, int, int]:
    """Rows, elements a row and stride of a unary op's loops."""
    from ..ops.nest import column_stride

    row = tape._words[tape._start[n]:tape._start[n + 1]].tolist()
    return row[7], row[8], column_stride(row, 7, 0)


def _switch(tape: Tape, n: int, elements: int) -> None:
    """Make instruction `n` a relu with a mask, its third operand."""
    mask = tape.new_variable((elements + 63) // 64 * 8, 8)
    at = int(tape._operand_start[n + 1])
    for name, value in (("_variable", mask), ("_offset", 0), ("_flags", 0)):
        setattr(tape, name, np.insert(getattr(tape, name), at, value))
    tape._operand_start[n + 1:tape.count + 1] += 1
    tape._operand_count += 1
    tape._opcode[n] = RELU_MASK.opcode
    operands, _, *rest = tape.notes[n]
    tape.notes[n] = (operands, (2,), *rest)
    tape._state[mask] = walk.UNREACHED
    tape._point_header()
