"""The task list that the walks over a recording run: a kernel and a row each, looked up once, not at every step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...engine.kernels import Kernel
from ...engine.language import bits
from ...engine.storage import address_of
from ...engine.walks import walk
from ...ops.table import OPS
from ...tape.tape import Tape
from ..planning.liveness import SMALL, TOGETHER
from ..planning.parts import share_out


class Tasks:
    """The tasks of a recording: one for each row, with tasks before adjoints that clear what they accumulate into.

    Parameters
    ----------
    tape : Tape
        Linked.
    rows : ndarray of int64
        Numbers of rows on the tape, in execution order.
    adjoint : ndarray of bool
        By row, whether its adjoint runs.
    seed : (int, int, float) or None
        Before which row the seed's adjoint is written, its byte address, and its value.
    words : ndarray of int64
        The words of the tape, or other ones with other modes.
    together : bool
        Whether small adjoints are cleared together (see `liveness`).
    between : sequence of (int, Kernel, int)
        Other tasks, of `watch.Watch` and those that send gradients, which come first before a row.

    Attributes
    ----------
    pairs : ndarray of int64, (tasks, 2)
        A kernel as `walk.run_task` takes it, and the address of its row, in elements of int64.
    common : ndarray of int64, (kinds,)
        Addresses of the most frequent kernels, which pairs name by number.
    first : ndarray of int64, (rows + 1,)
        By row, its first task.
    places : list of (variable, index)
        Variables whose adjoints are cleared, and the index in `clears` of the address.
    clears, several : ndarray of int64, (tasks, 3)
        Rows of `walk.CLEAR` and of `walk.CLEAR_SEVERAL`.
    shared : list of ndarray of int64
        Rows of instructions that are split among threads (`parts`).
    """

    def __init__(self, tape: Tape, rows: np.ndarray, adjoint: np.ndarray, seed: tuple[int, int, float] | None,
                 words: np.ndarray, together: bool, between: Sequence[tuple[int, Kernel, int]] = ()) -> None:
        self.rows, opcodes, starts = rows, tape._opcode[rows], tape._start[rows]
        for code in np.unique(opcodes[~adjoint]).tolist():
            OPS[code].forward.address(tape.dtype)
        for code in np.unique(opcodes[adjoint]).tolist():
            OPS[code].ready_adjoint(tape.dtype)
        pairs = np.stack([np.where(adjoint, walk.ADJOINT_OF[tape.dtype][opcodes], walk.FORWARD[tape.dtype][opcodes]),
                          address_of(words) // 8 + starts], axis=1)
        self.shared = share_out(tape, rows, opcodes, starts, adjoint, words, pairs)
        fresh = np.where(adjoint, words[starts] >> 32, 0)  # a bit for each operand whose adjoint is cleared
        cleared: list[tuple[int, int]] = []
        for k in np.flatnonzero(fresh).tolist():
            mask, first = int(fresh[k]), int(tape._operand_start[rows[k]])
            cleared += [(k, int(tape._variable[first + j])) for j in range(mask.bit_length()) if mask >> j & 1]
        others = self._clear(tape, np.array(cleared, np.int64).reshape(-1, 2), seed[0] if together and seed else None)
        if seed is not None:
            at, address, value = seed
            self.seed = np.array(walk.Put.words(mode=0, y=address // tape.dtype.itemsize, value=value), np.int64)
            others.insert(0, (at, walk.PUT, address_of(self.seed)))
        others[:0] = between
        before = np.array([k for k, *_ in others], np.int64)
        more = np.array([(kernel.address(tape.dtype), row // 8) for _, kernel, row in others], np.int64).reshape(-1, 2)
        self.pairs = np.insert(pairs, before, more, axis=0)
        kernels, kind, count = np.unique(self.pairs[:, 0], return_inverse=True, return_counts=True)
        most = np.argsort(-count, kind="stable")[:walk.COMMON_KERNELS]
        self.common, numbers = kernels[most], kernels.copy()
        numbers[most] = np.arange(len(most))
        self.pairs[:, 0] = numbers[kind]
        rows_before = np.arange(len(rows) + 1)
        self.first = rows_before + np.searchsorted(np.sort(before), rows_before)

    def _clear(self, tape: Tape, cleared: np.ndarray, turn: int | None) -> list[tuple[int, Kernel, int]]:
        """Tasks that clear adjoints: before which row, the kernel, and the byte address of its row.

        `cleared` holds the row that needs an adjoint, and its variable; from row `turn` on, small ones are cleared
        together.
        """
        before, variables = cleared.T
        if turn is not None:
            before = before - np.where(tape._nbytes[variables] <= SMALL, (before - turn) % TOGETHER, 0)
        order = np.argsort(before, kind="stable")
        before, variables, size = before[order], variables[order], tape.dtype.itemsize
        self.clears = np.zeros((len(variables), 3), np.int64)
        self.clears[:, 1] = tape._adjoint[variables] // size
        self.clears[:, 2] = tape._nbytes[variables] // size
        self.places = [(v, 3 * k + 1) for k, v in enumerate(variables.tolist())]
        first = np.flatnonzero(np.diff(before, prepend=-1))
        self.several = np.stack([first, address_of(self.clears) // 8 + 3 * first,
                                 np.diff(first, append=len(before))], axis=1)
        return [(k, walk.CLEAR, 8 * row[1]) if row[2] == 1 else (k, walk.CLEAR_SEVERAL, address_of(row))
                for k, row in zip(before[first].tolist(), self.several)]

    def weigh(self, slope: float) -> None:
        """Change the seed's adjoint."""
        self.seed[walk.Put.places["value"]] = bits(slope)

    def write(self, header: np.ndarray) -> None:
        """Have the walks of this header run them."""
        header[walk.TASKS] = address_of(self.pairs) // 8
        header[walk.TASK_COUNT] = len(self.pairs)
        header[walk.COMMON:walk.COMMON + len(self.common)] = self.common

    def row_of(self, task: int) -> int:
        """The number of the row that a task belongs to."""
        return int(self.rows[np.searchsorted(self.first, task, "right") - 1])
