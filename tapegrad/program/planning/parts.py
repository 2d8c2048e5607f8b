"""Data parallelism within elementwise instructions outside of fused groups (`strips`)."""

from __future__ import annotations

import numpy as np

from ...engine.row import Nest
from ...engine.storage import address_of
from ...engine.threads import parts
from ...engine.threads.team import team_address
from ...engine.walks.walk import CAPACITY
from ...ops.elementwise import BINARY, COSTS, UNARY, opcodes
from ...ops.mapped import Mapped
from ...ops.masked import MASKED
from ...ops.table import OPS
from ...tape.tape import Tape
from .strips import MASKED_OPS, NESTS

PARTS = 4  # of an instruction, at most
#: additions that a part must be worth: a microsecond of them for helpers that poll anyway, and, where no products keep
#: them awake, what waking them costs
PART_COST, WAKING_COST = 1 << 13, 1 << 16
_LOOP = np.arange(Nest.size)[:, None]  # the words of the loops of a nest


def share_out(tape: Tape, numbers: np.ndarray, opcodes: np.ndarray, starts: np.ndarray, adjoint: np.ndarray,
              words: np.ndarray, pairs: np.ndarray) -> list[np.ndarray]:
    """Split the elements of instructions that cost enough among threads.

    Parameters
    ----------
    tape : Tape
    numbers, opcodes, starts : ndarray of int64, (tasks,)
        Of the rows that run on the tape, the opcodes, and where the rows begin in `words`.
    adjoint : ndarray of bool, (tasks,)
        Whether the adjoint runs.
    words : ndarray of int64
        Words of the tape, or a copy of them.
    pairs : ndarray of int64, (tasks, 2)
        Kernel and row of each; replaced where an instruction is split.

    Returns
    -------
    list of ndarray of int64, (rows, words)
        The new rows, which must live as long as the pairs.
    """
    costs = np.where(adjoint, _ADJOINT_COSTS[opcodes], _FORWARD_COSTS[opcodes])
    found = np.flatnonzero(costs)
    if not len(found):
        return []
    codes, nest = opcodes[found], starts[found] + _NEST_WORDS[opcodes[found]]
    rows, elements, outer = words[nest + _LOOP]
    steps = words[np.minimum(nest[:, None] + (Nest.size, Nest.size + 1), len(words) - 1)]
    steps[_OPERANDS[codes] == 1, 1] = 1
    ops = [OPS[code] for code in np.unique(opcodes).tolist()]
    awake = any([(op.inner if type(op) is Mapped else op).products is not None for op in ops])
    count = np.minimum(elements * costs[found] // (PART_COST if awake else WAKING_COST), elements // parts.UNIT)
    count = np.minimum(count, PARTS) // 2 * 2
    # contiguous only; an adjoint that is summed has no element of its own for each part
    own = (rows == 1) & (outer == 0) & (((steps == 0) & ~adjoint[found, None]) | (steps == 1)).all(1)
    kept = np.flatnonzero(own & (count > 1) & ~(adjoint[found] & _shifted(tape, numbers[found])))
    made = []
    kinds = np.stack([codes, steps[:, 0], steps[:, 1], count], axis=1)[kept]
    for kind in {tuple(kind) for kind in kinds.tolist()}:
        members = found[kept[(kinds == kind).all(axis=1)]]
        own_rows = np.repeat(_row(tape, *kind)[None], len(members), axis=0)
        own_rows[:, parts.KERNEL:parts.ROW + 1] = pairs[members]
        pairs[members, 0] = parts.RUN.address(tape.dtype)
        pairs[members, 1] = address_of(own_rows) // 8 + own_rows.shape[1] * np.arange(len(members))
        made.append(own_rows)
    return made


def _shifted(tape: Tape, numbers: np.ndarray) -> np.ndarray:
    """By row, whether its inputs are shifted views of one variable.

    Two parts could then accumulate into the same element of its adjoint.
    """
    first = tape._operand_start[numbers] + 1
    second = np.minimum(first + 1, tape._operand_start[numbers + 1] - 1)
    return (tape._variable[first] == tape._variable[second]) & (tape._offset[first] != tape._offset[second])


def _row(tape: Tape, code: int, left: int, right: int, count: int) -> np.ndarray:
    """The row of `count` parts of an instruction with these steps of its inputs; kernel and row are left out."""
    at, operands = NESTS[code]
    row = np.zeros(parts.PER + at + Nest.size + len(operands), np.int64)
    row[parts.TEAM], row[parts.RUN_PART] = team_address(tape.dtype), parts.PART.address(tape.dtype)
    row[parts.PARTS], row[parts.WORDS] = count, at + Nest.size + len(operands)
    row[parts.COUNT] = at + Nest.places["columns"]
    per = [1, *(left, right)[:len(operands)], *([64] if code in MASKED_OPS else [])]  # strides of output, inputs, mask
    row[parts.PER + 1:parts.PER + 1 + 2 * len(per)] = np.repeat(per, 2)
    return row


#: by opcode: cost of an element; 0 if not elementwise, or cheaper than the threads' synchronisation
_FORWARD_COSTS, _ADJOINT_COSTS, _NEST_WORDS, _OPERANDS = (np.zeros(CAPACITY, np.int64) for _ in range(4))
for _code in opcodes((*UNARY.values(), *BINARY.values(), *MASKED.values())):
    _FORWARD_COSTS[_code], _ADJOINT_COSTS[_code] = COSTS.get(_code, (1, 1))
    _NEST_WORDS[_code], _OPERANDS[_code] = NESTS[_code][0], len(NESTS[_code][1])
