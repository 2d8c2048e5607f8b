"""Recordings that are planned before they run: instructions in lists, and symbolic variables."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

from ..engine.walks.walk import WANTED
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
        """Dead code elimination: drop the instructions that none of these variables depends on."""
        needed, kept = set(results), []
        for row in reversed(self.instructions):
            operands = row[2]
            if operands[0][0] in needed:
                needed.update([v for v, _, _ in operands])
                kept.append(row)
        if len(kept) < len(self.instructions):
            self.instructions = kept[::-1]
            self.free = [v for v in self.externals.values() if v not in needed]
            self.externals = {source: v for source, v in self.externals.items() if v in needed}
