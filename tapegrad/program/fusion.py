"""One instruction in the place of several over scalars, where a call would take longer than what it computes.

The results are the same to the bit: only neighbours are joined, nobody else may read what lies between them, and the
kernels compute in the same order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set

from ..engine.walk import WANTED
from ..ops.elementwise import BINARY
from ..ops.few import MOST, SCALED_TOTALS, SOFTMAXES, SOFTMAXES_OF_SCALARS, STACKS, TOTALS
from ..ops.table import Op
from ..rows import Rows

Operand = tuple[int, int, int]  # variable, offset, flags

_ADD, _MULTIPLY = (op.scalar.opcode for op in (BINARY["add"], BINARY["multiply"]) if op.scalar is not None)
_STACKED = {op.opcode: count for count, op in STACKS.items()}


def fuse(rows: Rows, kept: Set[int]) -> Rows:
    """Join scalars that are added up, and a softmax of scalars with their stacking.

    Parameters
    ----------
    rows : Rows
        What was recorded.
    kept : set of int
        Variables that are read after everything.
    """
    if not {_ADD, *_STACKED}.intersection(rows.opcodes):
        return rows
    return _Fusion(rows, kept).rows()


class _Fusion:
    def __init__(self, rows: Rows, kept: Set[int]) -> None:
        self.made, self.kept = rows, kept
        self.uses = Counter(rows.variables)
        self.opcodes = [*rows.opcodes, -1]

    def rows(self) -> Rows:
        """The instructions, joined where that can be."""
        made, result, n = self.made, Rows(), 0
        result.nbytes, result.itemsizes, result.externals = made.nbytes, made.itemsizes, made.externals
        while n < len(made.opcodes):
            joined = self._total(n) or self._softmax(n)
            if joined is not None:
                op, operands, last = joined
                self._append(result, op, operands, last)
                n = last + 1
                continue
            first, end, start = made.operand_starts[n], made.operand_starts[n + 1], made.starts[n]
            result.append(made.opcodes[n], made.words[start + 1 + 2 * (end - first):made.starts[n + 1]],
                          made.variables[first:end], made.offsets[first:end], made.flags[first:end], made.notes[n])
            n += 1
        return result

    def _operands(self, n: int) -> list[Operand]:
        """The output of instruction `n`, and its inputs."""
        made = self.made
        part = slice(made.operand_starts[n], made.operand_starts[n + 1])
        return list(zip(made.variables[part], made.offsets[part], made.flags[part]))

    def _feeds(self, n: int) -> bool:
        """Whether what `n` computes is read by the next instruction and nowhere else."""
        made, at = self.made, self.made.operand_starts
        if n + 1 == len(made.opcodes):
            return False
        v = made.variables[at[n]]
        return (self.uses[v] == 2 and v in made.variables[at[n + 1] + 1:at[n + 2]] and v not in self.kept
                and made.notes[n][3] is made.notes[n + 1][3])

    def _others(self, n: int) -> list[Operand]:
        """The inputs of `n` but what the instruction before feeds it."""
        fed = self.made.variables[self.made.operand_starts[n - 1]]
        return [operand for operand in self._operands(n)[1:] if operand[0] != fed]

    def _total(self, n: int) -> tuple[Op, list[Operand], int] | None:
        """Scalars that are added up from `n` on, and perhaps multiplied: the op, its inputs, the last instruction."""
        if self.opcodes[n] != _ADD:
            return None
        terms, last = self._operands(n)[1:], n
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
            return SOFTMAXES_OF_SCALARS[count], self._operands(n)[1:], n + 1
        return None

    def _append(self, result: Rows, op: Op, operands: list[Operand], last: int) -> None:
        output, note = self._operands(last)[0], self.made.notes[last]
        known = note[0][0]
        scalar = (), known[1], ()
        wanted = sum(1 << j for j, (*_, flag) in enumerate(operands) if flag & WANTED)
        variables, offsets, flags = (list(column) for column in zip(output, *operands))
        result.append(op.opcode, (), variables, offsets, flags,
                      ([known, *[scalar] * len(operands)], op.saved_operands(wanted), *note[2:]))
