"""The instructions of a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine.storage import address_of
from ..engine.walk import END, FORWARD, FORWARD_TABLE, FORWARD_WALK, HEADER_WORDS, OPCODE, START, WORDS
from ..errors import CopyError

__all__ = ["UpdateRows"]


@dataclass(eq=False)
class UpdateRows:
    """The instructions of one optimiser step over a set of parameters: clipping first, then the updates.

    Attributes
    ----------
    opcodes : ndarray of int64
    starts : ndarray of int64
        Where in `words` each instruction's row begins; as long as `opcodes`.
    words : ndarray of int64
        The rows of *all* the optimiser's parameters, shared by every `UpdateRows` of it and run in place: step
        counts advance here, whoever runs them.
    lr_words, lr_groups : ndarray of int64
        Where in `words` the scheduled hyper-parameters lie (as float64 bits), and the column of
        `Optimizer.upcoming_lrs` that each takes: the index of its group, or, under a schedule that also cycles
        momentum, the number of groups plus that index.
    updates, elements : int
        How many rows at the end update parameters, each independent of the others, and the elements of those.
    count_word, whole_word, width : int
        Of a row that updates: the word with its number of elements, behind those with addresses and before the count
        of its steps; a word that is not 0 where its elements depend on each other; the number of words.
    layout : int
        `Optimizer.layout` when the rows were made; when that has moved on, ask for new rows.
    """

    opcodes: np.ndarray
    starts: np.ndarray
    words: np.ndarray
    lr_words: np.ndarray
    lr_groups: np.ndarray
    updates: int
    elements: int
    count_word: int
    whole_word: int
    width: int
    layout: int
    dtype: np.dtype

    def __post_init__(self) -> None:
        self._header = np.zeros(HEADER_WORDS, np.int64)
        for place, array in ((FORWARD_TABLE, FORWARD[self.dtype]), (OPCODE, self.opcodes), (START, self.starts),
                             (WORDS, self.words)):
            self._header[place] = address_of(array) // 8
        self._header[END] = len(self.opcodes)
        self._address = address_of(self._header)

    def __reduce__(self) -> Any:
        raise CopyError("update rows have no copies, for they hold addresses; copy the optimiser and ask it for rows")

    def run(self) -> None:
        """Run all rows in one compiled call."""
        FORWARD_WALK(self._address, self.dtype)
