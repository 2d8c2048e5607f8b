"""The instructions of a step, and how a row of them is declared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np

from ..engine.row import Words
from ..engine.storage import address_of
from ..engine.walks.walk import END, FORWARD, FORWARD_TABLE, FORWARD_WALK, HEADER_WORDS, OPCODE, START, WORDS
from ..errors import CopyError

__all__ = ["RateRow", "State", "Update", "UpdateRows"]

#: of these annotations the names count
State: TypeAlias = int


class Update(Words):
    """Base of the declarations of rows that update a parameter.

    A declaration names the states, as PyTorch's state dicts spell them, and the hyper-parameters, ``float`` or
    ``double``, of which the first is "lr". The mode and the addresses of the value and the gradient stand before those
    of the states; the elements and the steps so far, which the kernel counts, before the hyper-parameters; and the list
    of the rows that the gradient touches (see `engine.walks.touched`), or 0, at the end.
    """

    mode: int
    p: int
    g: int
    n: int
    steps: int
    listed: int
    state_names: ClassVar[tuple[str, ...]] = ()
    hyper_names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        own = cls.__dict__["__annotations__"]
        cls.state_names = tuple(name for name, kind in own.items() if kind == "State")
        cls.hyper_names = tuple(name for name in own if name not in cls.state_names)
        hyper = {name: own[name] for name in cls.hyper_names}
        own.clear()
        own.update(dict.fromkeys(("mode", "p", "g", *cls.state_names, "n", "steps"), "int"), **hyper, listed="int")
        super().__init_subclass__()


class RateRow(Update):
    """Of an optimiser that has no kernel."""

    lr: float


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
