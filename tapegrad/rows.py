"""What is recorded to be planned before it runs: instructions in lists, and what tensors hold of their variables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine.storage import Buffer
    from .tape import Leaf, Note, Tape


class Symbol:
    """A variable of a recording that is planned before it runs; `computed`: by an instruction of it."""

    __slots__ = ("tape", "variable", "nbytes", "computed")

    def __init__(self, tape: Tape, variable: int, nbytes: int, computed: bool) -> None:
        self.tape, self.variable, self.nbytes, self.computed = tape, variable, nbytes, computed


class Rows:
    """Instructions in lists, which are quicker to append to: what `Tape.load` takes over."""

    __slots__ = ("opcodes", "words", "starts", "variables", "offsets", "flags", "operand_starts", "notes",
                 "nbytes", "itemsizes", "externals")

    def __init__(self) -> None:
        self.opcodes: list[int] = []
        self.words: list[int] = []
        self.variables: list[int] = []
        self.offsets: list[int] = []
        self.flags: list[int] = []
        self.notes: list[Any] = []
        self.starts, self.operand_starts = [0], [0]
        self.nbytes, self.itemsizes = [0], [0]  # of variable 0, which stands for what has no adjoint
        self.externals: dict[Any, int] = {}

    def variable(self, nbytes: int, itemsize: int) -> int:
        """A number for a new variable."""
        self.nbytes.append(nbytes)
        self.itemsizes.append(itemsize)
        return len(self.nbytes) - 1

    def outside(self, source: Leaf | Buffer, nbytes: int, itemsize: int) -> int:
        """The variable of a leaf or of constant data."""
        v = self.externals.get(source)
        if v is None:
            v = self.externals[source] = self.variable(nbytes, itemsize)
        return v

    def append(self, opcode: int, attributes: Sequence[int], variables: list[int], offsets: list[int],
               flags: list[int], note: Note) -> None:
        """Append an instruction."""
        self.opcodes.append(opcode)
        self.words += [0] * (1 + 2 * len(variables))
        self.words += attributes
        self.variables += variables
        self.offsets += offsets
        self.flags += flags
        self.notes.append(note)
        self.starts.append(len(self.words))
        self.operand_starts.append(len(self.variables))
