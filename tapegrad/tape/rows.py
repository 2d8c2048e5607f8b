"""Recordings that are planned before they run: instructions in lists, and symbolic variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from ..engine.walks.walk import WANTED
from ..ops.elementwise import UNARY
from ..ops.table import OPS
from .instructions import Instructions


class Symbol:
    """A symbolic variable; `computed`: by an instruction of the recording."""

    __slots__ = ("tape", "variable", "nbytes", "computed")

    def __init__(self, tape: Instructions, variable: int, nbytes: int, computed: bool) -> None:
        self.tape, self.variable, self.nbytes, self.computed = tape, variable, nbytes, computed


Operand = tuple[int, int, int]  # variable, offset in it, flags
#: an instruction: opcode, attributes, operands, and the note
Row = tuple[int, Sequence[int], list[Operand], Any]


def differentiable(instructions: Sequence[Row]) -> list[Row]:
    """The instructions without the adjoints that lead to no leaf and no argument, as inner derivatives leave them."""
    made: set[int] = set()  # outputs through which no history flows
    found = []
    for opcode, attributes, operands, note in instructions:
        if any(flags and v in made for v, _, flags in operands):
            operands = [(v, offset, 0 if v in made else flags) for v, offset, flags in operands]
            wanted = sum(1 << j for j, (_, _, flags) in enumerate(operands[1:]) if flags & WANTED)
            note = note[0], OPS[opcode].saved_operands(wanted), *note[2:]
        if not any(flags & WANTED for _, _, flags in operands):
            made.add(operands[0][0])
        found.append((opcode, attributes, operands, note))
    return found


def merged(instructions: Sequence[Row], nbytes: Sequence[int], kept: Set[int], equal: Mapping[int, int]) -> list[Row]:
    """The instructions without those that compute the same as an earlier one, and without copies of whole variables.

    Common subexpressions are what derivatives of derivatives leave: each evaluates the function anew. Outputs in `kept`
    stay, and whatever reads a state that some instruction overwrites; `equal` are constants that others are equal to.
    """
    states = {v for code, _, operands, _ in instructions for j, (v, _, _) in enumerate(operands)
              if (OPS[code].states >> j & 1 or OPS[code].again)}
    same = dict(equal)  # by variable an earlier one that holds the same
    first: dict[Any, int] = {}  # by what is computed the number of the instruction
    found: list[Row] = []
    for opcode, attributes, operands, note in instructions:
        op, output = OPS[opcode], operands[0][0]
        operands = [(same.get(v, v), offset, flags) for v, offset, flags in operands]
        inputs = operands[1:len(note[0])]
        free = output not in kept and not op.again and not states.intersection([v for v, _, _ in inputs])
        if free and opcode in COPIES and inputs[0][1] == 0 and nbytes[inputs[0][0]] == nbytes[output] and (
                tuple(attributes[COPIES[opcode]:]) in ((), (1, nbytes[output] // note[0][0][1].itemsize, 0, 1))):
            same[output] = inputs[0][0]
            continue
        key = opcode, tuple(attributes), tuple([(v, offset) for v, offset, _ in inputs])
        at = first.setdefault(key, len(found)) if free and op.forward.own and output not in states else len(found)
        if at < len(found):
            code, _, earlier, text = found[at]
            flags = [a | b for (_, _, a), (_, _, b) in zip(earlier, operands)]
            wanted = sum(1 << j for j, flag in enumerate(flags[1:]) if flag & WANTED)
            found[at] = (code, attributes, [(v, offset, flag) for (v, offset, _), flag in zip(earlier, flags)],
                         (text[0], op.saved_operands(wanted), *text[2:]))
            same.update(zip([v for v, _, _ in operands[len(note[0]):]], [v for v, _, _ in earlier[len(note[0]):]]))
            same[output] = earlier[0][0]
            continue
        found.append((opcode, attributes, operands, note))
    return found


#: opcodes of copies, and where the nest begins among their attributes
COPIES: dict[int, int] = {op.opcode: 2 for op in (UNARY["copy"], UNARY["copy"].summed, UNARY["copy"].scalar)
                          if op is not None}


class Rows:
    """Instructions in lists, which are quicker to append to; `Tape.load` packs them into arrays."""

    __slots__ = ("instructions", "nbytes", "itemsizes", "externals", "free")

    def __init__(self) -> None:
        self.instructions: list[Row] = []
        self.nbytes, self.itemsizes = [0], [0]  # of variable 0, which stands for operands without an adjoint
        self.externals: dict[Any, int] = {}
        self.free: list[int] = []  # unused variables

    def variable(self, nbytes: int, itemsize: int) -> int:
        """A number for a new variable."""
        self.nbytes.append(nbytes)
        self.itemsizes.append(itemsize)
        return len(self.nbytes) - 1

    def outside(self, source: Any, nbytes: int, itemsize: int) -> int:
        """The variable of a leaf or of constant data."""
        v = self.externals.get(source)
        if v is None:
            v = self.externals[source] = self.variable(nbytes, itemsize)
        return v

    def keep(self, results: Set[int]) -> None:
        """Dead code elimination: drop the instructions that none of these variables depends on.

        Those that overwrite a state, such as running statistics, stay.
        """
        needed, kept = set(results), []
        for row in reversed(self.instructions):
            operands = row[2]
            if operands[0][0] in needed or OPS[row[0]].states:
                needed.update([v for v, _, _ in operands])
                kept.append(row)
        if len(kept) < len(self.instructions):
            self.instructions = kept[::-1]
            self.free = [v for v in self.externals.values() if v not in needed]
            self.externals = {source: v for source, v in self.externals.items() if v in needed}
