"""Which elementwise instructions threads share by themselves, outside of groups (`program.strips`), and their rows."""

from __future__ import annotations

import numpy as np

from ..engine import parts
from ..engine.jit import FRAME_WORDS
from ..engine.storage import address_of
from ..engine.team import team_address
from ..engine.walk import CAPACITY
from ..ops.elementwise import BINARY, COSTS, UNARY
from ..ops.masked import MASKED
from ..ops.table import OPS
from ..tape import Tape
from .strips import MASKED_OPS, NESTS

PARTS = 4  # of an instruction, at most
#: additions that a part is worth at least: a microsecond of them, for helpers that look for work all the time; and
#: where no products keep them awake, what is worth to wake them
PART_COST, WAKING_COST = 1 << 13, 1 << 16


def share_out(tape: Tape, opcodes: np.ndarray, starts: np.ndarray, adjoint: np.ndarray, words: np.ndarray,
              pairs: np.ndarray) -> list[np.ndarray]:
    """Have threads share the elements of instructions that cost enough.

    Parameters
    ----------
    tape : Tape
    opcodes, starts : ndarray of int64, (tasks,)
        Of the rows that run, and where these begin in `words`.
    adjoint : ndarray of bool, (tasks,)
        Whether it is the adjoint that runs.
    words : ndarray of int64
        The tape's, or a copy of them.
    pairs : ndarray of int64, (tasks, 2)
        Kernel and row of each; those of what is shared are replaced.

    Returns
    -------
    list of ndarray of int64
        The new rows, which must live as long as the pairs.
    """
    costs = np.where(adjoint, _ADJOINT_COSTS[opcodes], _FORWARD_COSTS[opcodes])
    found = np.flatnonzero(costs)
    nest = starts[found] + _NEST_WORDS[opcodes[found]]
    whole = (words[nest] == 1) & (words[nest + 2] == 0)
    awake = any(OPS[code].products is not None for code in np.unique(opcodes).tolist())
    count = np.minimum(words[nest + 1] * costs[found] // (PART_COST if awake else WAKING_COST),
                       words[nest + 1] // parts.UNIT)
    rows = []
    for k, at, most in zip(found[whole & (count > 1)].tolist(), nest[whole & (count > 1)].tolist(),
                           count[whole & (count > 1)].tolist()):
        row = _row(tape, int(opcodes[k]), int(starts[k]), at, bool(adjoint[k]), words, min(most, PARTS) // 2 * 2)
        if row is not None:
            row[parts.KERNEL], row[parts.ROW] = pairs[k]
            pairs[k] = parts.RUN.address(tape.dtype), address_of(row) // 8
            rows.append(row)
    return rows


def _row(tape: Tape, code: int, start: int, nest: int, adjoint: bool, words: np.ndarray, count: int) -> (
        np.ndarray | None):
    """The row of `count` parts, None if some adjoint is summed up."""
    operands = NESTS[code][1]
    steps = words[nest + 3:nest + 3 + len(operands)].tolist()
    length = nest + 3 + len(operands) - start
    if not set(steps) <= ({1} if adjoint else {0, 1}) or length > FRAME_WORDS:
        return None
    row = np.zeros(parts.PER + length, np.int64)
    row[parts.TEAM], row[parts.RUN_PART] = team_address(tape.dtype), parts.PART.address(tape.dtype)
    row[parts.PARTS], row[parts.WORDS], row[parts.COUNT] = count, length, nest + 1 - start
    per = [1, *steps, *([64] if code in MASKED_OPS else [])]  # of the output, the inputs, a mask
    row[parts.PER + 1:parts.PER + 1 + 2 * len(per)] = np.repeat(per, 2)
    return row


#: by opcode: what an element costs, 0 for what is not elementwise or is cheaper than its threads' meeting
_FORWARD_COSTS, _ADJOINT_COSTS, _NEST_WORDS = (np.zeros(CAPACITY, np.int64) for _ in range(3))
for _op in (*UNARY.values(), *BINARY.values(), *MASKED.values()):
    _FORWARD_COSTS[_op.opcode], _ADJOINT_COSTS[_op.opcode] = COSTS.get(_op.opcode, (1, 1))
    _NEST_WORDS[_op.opcode] = NESTS[_op.opcode][0]
