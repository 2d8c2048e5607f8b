"""Superinstructions: one instruction in the place of several over scalars, whose dispatch costs more than their work.

Results are the same to the bit: only neighbours are fused, nobody else may read the values between them, and the
kernels compute in the same order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set

from ...engine.walks.walk import WANTED
from ...ops.elementwise import BINARY
from ...ops.few import MOST, SCALED_TOTALS, SOFTMAXES, SOFTMAXES_OF_SCALARS, STACKS, TOTALS
from ...ops.table import Op
from ...tape.rows import Operand, Row, Rows

_ADD, _MULTIPLY = (op.scalar.opcode for op in (BINARY["add"], BINARY["multiply"]) if op.scalar is not None)
_STACKED = {op.opcode: count for count, op in STACKS.items()}
_JOINED = {_ADD, *_STACKED}


def fuse(rows: Rows, kept: Set[int]) -> None:
    """Fuse sums of scalars, and a softmax of scalars with their stacking.

    Parameters
    ----------
    rows : Rows
        The recording.
    kept : set of int
        Variables that are read at the end.
    """
    if not _JOINED.isdisjoint([row[0] for row in rows.instructions]):
        rows.instructions = _Fusion(rows.instructions, kept).rows()


class _Fusion:
    def __init__(self, made: list[Row], kept: Set[int]) -> None:
        self.made, self.kept = made, kept
        self.uses = Counter([v for row in made for v, _, _ in row[2]])
        self.opcodes = [*[row[0] for row in made], -1]

    def rows(self) -> list[Row]:
        """The instructions, fused where possible."""
        result: list[Row] = []
        n = 0
        while n < len(self.made):
            joined = self._total(n) or self._softmax(n) if self.opcodes[n] in _JOINED else None
            if joined is None:
                result.append(self.made[n])
            else:
                op, operands, n = joined
                result.append(self._row(op, operands, n))
            n += 1
        return result

    def _feeds(self, n: int) -> bool:
        """Whether the result of `n` is read by the next instruction only."""
        if n + 1 == len(self.made):
            return False
        (_, _, operands, note), (_, _, following, next_note) = self.made[n:n + 2]
        v = operands[0][0]
        return (self.uses[v] == 2 and v not in self.kept and v in [read for read, _, _ in following[1:]]
                and note[3] is next_note[3])

    def _others(self, n: int) -> list[Operand]:
        """The inputs of `n` but the result of the instruction before."""
        fed = self.made[n - 1][2][0][0]
        return [operand for operand in self.made[n][2][1:] if operand[0] != fed]

    def _total(self, n: int) -> tuple[Op, list[Operand], int] | None:
        """A sum of scalars that begins at `n`, perhaps multiplied: the op, its inputs, the last instruction."""
        if self.opcodes[n] != _ADD:
            return None
        terms, last = self.made[n][2][1:], n
        while len(terms) < MOST and self.opcodes[last + 1] == _ADD and self._feeds(last):
            last += 1
            terms += self._others(last)
        if self.opcodes[last + 1] == _MULTIPLY and self._feeds(last):
            factor, = self._others(last + 1)
            if not factor[2] & WANTED:
                return SCALED_TOTALS[len(terms)], [*terms, factor], last + 1
        return (TOTALS[len(terms)], terms, last) if last > n else None

    def _softmax(self, n: int) -> tuple[Op, list[Operand], int] | None:
        count = _STACKED.get(self.opcodes[n], 0)
        if count and self.opcodes[n + 1] == SOFTMAXES[count].opcode and self._feeds(n):
            return SOFTMAXES_OF_SCALARS[count], self.made[n][2][1:], n + 1
        return None

    def _row(self, op: Op, inputs: list[Operand], last: int) -> Row:
        _, _, operands, note = self.made[last]
        known = note[0][0]
        scalar = (), known[1], ()
        wanted = sum(1 << j for j, (*_, flag) in enumerate(inputs) if flag & WANTED)
        return (op.opcode, (), [operands[0], *inputs],
                ([known, *[scalar] * len(inputs)], op.saved_operands(wanted), *note[2:]))
