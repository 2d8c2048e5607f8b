"""What the walks over a recording run one after the other: a kernel and a row each, found once, not at every step."""

from __future__ import annotations

import numpy as np

from ..engine import walk
from ..engine.storage import address_of
from ..ops.table import OPS
from ..tape import Tape


class Tasks:
    """The tasks of a recording: of each of its rows one, and before an adjoint one for each that it must clear.

    Parameters
    ----------
    tape : Tape
        Linked.
    rows : ndarray of int64
        Numbers of rows on the tape, in the order in which they run.
    adjoint : ndarray of bool
        Of each, whether it is its adjoint that runs.
    turn : int
        How many of them run forward.
    words : ndarray of int64
        The words of the tape, or other ones with other modes.

    Attributes
    ----------
    pairs : ndarray of int64, (tasks, 2)
        Address of a kernel, and of its row in elements of int64.
    turn : int
        The first task of the reverse.
    first : ndarray of int64, (rows + 1,)
        By row, its first task.
    places : list of (variable, index)
        Variables whose adjoints are cleared, and which word of `clears` holds the address.
    clears : ndarray of int64, (cleared, 3)
        Rows of `walk.CLEAR`.
    """

    def __init__(self, tape: Tape, rows: np.ndarray, adjoint: np.ndarray, turn: int, words: np.ndarray) -> None:
        self.rows, opcodes, starts = rows, tape._opcode[rows], tape._start[rows]
        for code in np.unique(opcodes[~adjoint]).tolist():
            OPS[code].ready_forward(tape.dtype)
        for code in np.unique(opcodes[adjoint]).tolist():
            OPS[code].ready_adjoint(tape.dtype)
        pairs = np.stack([np.where(adjoint, walk.ADJOINT_OF[tape.dtype][opcodes], walk.FORWARD[tape.dtype][opcodes]),
                          address_of(words) // 8 + starts], axis=1)
        fresh = np.where(adjoint, words[starts] >> 32, 0)  # the operands whose adjoints are cleared, a bit each
        cleared: list[int] = []
        variables: list[int] = []
        for k in np.flatnonzero(fresh).tolist():
            bits, first = int(fresh[k]), int(tape._operand_start[rows[k]])
            of_row = [int(tape._variable[first + j]) for j in range(bits.bit_length()) if bits >> j & 1]
            cleared += [k] * len(of_row)
            variables += of_row
        size = tape.dtype.itemsize
        self.clears = np.zeros((len(variables), 3), np.int64)
        self.clears[:, 1] = tape._adjoint[variables] // size
        self.clears[:, 2] = tape._nbytes[variables] // size
        self.places = [(v, 3 * k + 1) for k, v in enumerate(variables)]
        before = np.array(cleared, np.int64)
        clears = np.empty((len(variables), 2), np.int64)
        clears[:, 0] = walk.CLEAR.address(tape.dtype) if variables else 0
        clears[:, 1] = address_of(self.clears) // 8 + 3 * np.arange(len(variables))
        self.pairs = np.insert(pairs, before, clears, axis=0)
        self.first = np.arange(len(rows) + 1) + np.searchsorted(before, np.arange(len(rows) + 1))
        self.turn = int(self.first[turn])

    def write(self, header: np.ndarray) -> None:
        """Have the walks of this header run them."""
        header[walk.TASKS] = address_of(self.pairs) // 8
        header[walk.TURN], header[walk.LAST_TASK] = self.turn, len(self.pairs)

    def row_of(self, task: int) -> int:
        """The number of the row that a task belongs to."""
        return int(self.rows[np.searchsorted(self.first, task, "right") - 1])
