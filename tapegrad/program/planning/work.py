"""A count of the work of each instruction: bytes and multiply-adds, not times."""

from __future__ import annotations

from dataclasses import dataclass

from ...ops.table import OPS
from ...tape.tape import Tape
from .schedule import Operands, products_of, sizes_of

__all__ = ["Work", "work_of"]

#: attention's reverse recomputes the scores: five products for the forward's two
_AGAIN = {"attention": 2.5}


@dataclass(frozen=True)
class Work:
    """Work of an instruction in a step.

    Attributes
    ----------
    op : str
    forward_bytes, reverse_bytes : int
        Of its operands, each once; in reverse of the values that are read, of the adjoints, and of clearing them.
        Scratch is not counted.
    forward_products, reverse_products : int
        Multiply-adds, of ops with more than a few an element.
    """

    op: str
    forward_bytes: int
    reverse_bytes: int
    forward_products: int
    reverse_products: int


def work_of(tape: Tape) -> list[Work]:
    """The work of each instruction of a recording, in order, without recomputation.

    Parameters
    ----------
    tape : Tape
        Of a `TrainStep` or of a compiled function.
    """
    operands = Operands(tape, len(tape))
    return [_work(tape, operands, n) for n in range(len(tape))]


def _work(tape: Tape, operands: Operands, n: int) -> Work:
    op, (known, saved) = OPS[tape._opcode[n]], tape.notes[n][:2]
    sizes, products = sizes_of(known), products_of(op, known)
    wanted = [j for j, v in enumerate(operands.inputs[n], 1) if v in operands.adjoints[n]] if operands.live[n] else []
    if not wanted:
        return Work(op.name, sum(sizes), 0, products, 0)
    fresh = int(tape._words[tape._start[n]]) >> 32
    first = int(tape._operand_start[n])
    cleared = sum(int(tape._nbytes[tape._variable[first + j]]) for j in range(len(sizes)) if fresh >> j & 1)
    read = sum(sizes[j] for j in saved if j < len(sizes))
    again = _AGAIN.get(op.name, len([j for j in wanted if j < 3]))
    return Work(op.name, sum(sizes), sizes[0] + sum(sizes[j] for j in wanted) + read + cleared, products,
                round(again * products))
