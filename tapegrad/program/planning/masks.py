"""Bit masks: where a recording keeps one bit an element for relu and the like instead of an array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...engine.walks import walk
from ...ops.elementwise import UNARY
from ...ops.masked import MASKED
from ...ops.templates import Unary
from ...tape.tape import Tape

_FEWEST = 512  # elements; below, alignment eats up what a mask saves
_INSTEAD = {UNARY[name].opcode: op for name, op in MASKED.items()}


def keep_masks(tape: Tape, end: int, outputs: list[int]) -> None:
    """Have ops of two slopes keep a mask where only such ops' adjoints would read the array that its own adjoint reads.

    The adjoint of relu reads its output. If the next linear layer's weight is trained, its adjoint reads that too, so
    that it is kept anyway and a mask would come on top. `outputs` are variables that are read at the end; values
    outside of the arena cost nothing. The plan of the reverse walk stays as it is.
    """
    masks = {}
    for n in np.flatnonzero(tape._live[:end]).tolist():
        if int(tape._opcode[n]) in _INSTEAD:
            nbytes, worthwhile = _mask(tape, n)
            if worthwhile:
                masks[n] = nbytes
    if not masks:
        return
    elsewhere, chosen = {*outputs, *tape._externals.values()}, set()
    for v, readers in _readers(tape, end).items():
        if readers <= masks.keys() and v not in elsewhere and 4 * sum(masks[n] for n in readers) <= tape._nbytes[v]:
            chosen |= readers
    _switch(tape, {n: masks[n] for n in sorted(chosen)})


def _readers(tape: Tape, end: int) -> dict[int, set[int]]:
    """By variable, the instructions whose adjoints read it."""
    found: dict[int, set[int]] = {}
    for n in np.flatnonzero(tape._live[:end]).tolist():
        first = int(tape._operand_start[n])
        for j in tape.notes[n][1]:
            found.setdefault(int(tape._variable[first + j]), set()).add(n)
    return found


def _mask(tape: Tape, n: int) -> tuple[int, bool]:
    """Bytes of a unary op's mask, and whether it has enough elements for one to pay."""
    nest = tape._start[n] + Unary.places["nest"]
    rows, columns = tape._words[nest:nest + 2].tolist()
    return 8 * rows * ((columns + 63) // 64), rows * columns >= _FEWEST


def _switch(tape: Tape, masks: dict[int, int]) -> None:
    """Give these instructions a mask, their third operand, of so many bytes."""
    chosen = list(masks)
    words, operands = tape._start[chosen] + Unary.places["p"], tape._operand_start[np.array(chosen, np.int64) + 1]
    variables = [tape.new_variable(nbytes, 8) for nbytes in masks.values()]
    tape._words = np.insert(tape._words, np.repeat(words, 2), 0)
    tape._variable = np.insert(tape._variable, operands, variables)
    tape._offset, tape._flags = np.insert(tape._offset, operands, 0), np.insert(tape._flags, operands, 0)
    _move_starts(tape, chosen)
    tape._state[variables] = walk.UNREACHED
    for n in chosen:
        shapes, _, *rest = tape.notes[n]
        tape.notes[n] = (shapes, (2,), *rest)
        tape._opcode[n] = _INSTEAD[int(tape._opcode[n])].opcode
    tape._point_header()


def _move_starts(tape: Tape, chosen: Sequence[int]) -> None:
    """Make room in the rows of these instructions for one more operand: a variable and two words."""
    before = np.searchsorted(chosen, np.arange(tape.count + 1))  # how many of them come before each instruction
    tape._start[:tape.count + 1] += 2 * before
    tape._operand_start[:tape.count + 1] += before
    tape._word_count += 2 * len(chosen)
    tape._operand_count += len(chosen)
