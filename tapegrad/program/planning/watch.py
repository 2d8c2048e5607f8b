"""With ``TAPEGRAD_DEBUG=1``: tasks within a recording that check its arena (see `engine.poison`).

Before an instruction they write canaries (red zones) behind the blocks that it defines and poison these; after it they
check the canaries of blocks that have died and poison them again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...engine.kernels import Kernel
from ...engine.poison import GAP
from ...engine.storage import address_of
from ...engine.walks.watch import WATCH, Watched
from ...errors import CorruptionError

if TYPE_CHECKING:
    from ...tape.tape import Tape
    from .liveness import Layout, Lives

_KINDS = ("the value of", "the adjoint of", "the strips of")


class Watch:
    """Canaries and poison of the blocks of an arena.

    Parameters
    ----------
    tape : Tape
    lives : Lives
    layout : Layout
        With gaps for the canaries.
    base : int
        Byte address of the arena.
    index : ndarray of int64
        By time, the number of the row that runs.

    Attributes
    ----------
    tasks : list of (int, Kernel, int)
        Before which row, the kernel, and the byte address of its own row; in order where several are before one.
    """

    def __init__(self, tape: Tape, lives: Lives, layout: Layout, base: int, index: np.ndarray) -> None:
        self._tape, self._blocks = tape, layout.blocks
        offset, nbytes, birth, death = layout.blocks[:, :4].T
        self._ranges = np.stack([(base + offset) // 8, nbytes // 8, np.arange(len(offset))], axis=1)
        begin, last = int(index[0]), int(index[-1]) + 1
        at = np.concatenate([index, [last]])
        ever = death >= 0  # an argument that nobody reads has no live range
        given, left = ever & (birth < 0), ever & (death >= lives.end)
        born, died = ever & (birth >= 0), ever & (death < lives.end)
        self._rows: list[np.ndarray] = []
        self.tasks = [
            *self._at(np.where(died, at[np.clip(death, 0, lives.end)] + 1, -1), died, False, True),
            *self._at(np.where(left, last, -1), left, False, False),
            *self._at(np.where(given, begin, -1), given, True, False),
            *self._at(np.where(born, at[np.clip(birth, 0, lives.end)], -1), born, True, True),
        ]

    def _at(self, before: np.ndarray, chosen: np.ndarray, born: bool, filled: bool) -> list[tuple[int, Kernel, int]]:
        """One task for each row that the chosen blocks are checked or poisoned before."""
        found = []
        for place in np.unique(before[chosen]).tolist():
            ranges = np.ascontiguousarray(self._ranges[chosen & (before == place)])
            row = np.array(Watched.words(mode=0, blocks=address_of(ranges) // 8, count=len(ranges), born=born,
                                         filled=filled, canary=GAP // 8), np.int64)
            self._rows += [ranges, row]
            found.append((place, WATCH, address_of(row)))
        return found

    def fail(self, number: int) -> None:
        """Raise, naming the block whose canary was overwritten."""
        kind, v = self._blocks[number, 4:].tolist()
        n = int(self._tape._producer[v]) if kind < 2 else -1
        note = self._tape.notes[n] if n >= 0 else None
        where = f", recorded at {note[2][0]}:{note[2][1]}" if note is not None and note[2] else ""
        raise CorruptionError(f"something was written behind the {int(self._blocks[number, 1]):,} bytes of "
                              f"{_KINDS[kind]} %{v}{where}; please report this with the code")
