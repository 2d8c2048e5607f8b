"""The instructions of an update step, and declarations of their rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np

from ..engine.row import Words
from ..engine.storage import address_of
from ..engine.walks.walk import END, FORWARD, FORWARD_TABLE, FORWARD_WALK, HEADER_WORDS, OPCODE, START, WORDS
from ..errors import CopyError

__all__ = ["RateRow", "Scratch", "State", "Update", "UpdateRows"]

#: annotations in declarations, which are read by name; scratch is allocated as states are, and not saved
State: TypeAlias = int
Scratch: TypeAlias = int


class Update(Words):
    """Base of the declarations of rows that update a parameter.

    A declaration names the states, as PyTorch's state dicts spell them, integers that depend on the parameter
    (`Optimizer._sizes`), and the hyper-parameters, ``float`` or ``double``, of which the first is "lr". A row holds the
    mode and the addresses of value, gradient and states; the number of elements and of steps so far, which the kernel
    increments; the integers and the hyper-parameters; and the list of the rows that the gradient touches (see
    `engine.walks.touched`), or 0.
    """

    mode: int
    p: int
    g: int
    n: int
    steps: int
    listed: int
    state_names: ClassVar[tuple[str, ...]] = ()
    saved_names: ClassVar[tuple[str, ...]] = ()
    hyper_names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        own = cls.__dict__["__annotations__"]
        cls.state_names = tuple(name for name, kind in own.items() if kind in ("State", "Scratch"))
        cls.saved_names = tuple(name for name, kind in own.items() if kind == "State")
        sizes = [name for name, kind in own.items() if kind == "int"]
        cls.hyper_names = tuple(name for name, kind in own.items() if kind in ("float", "double"))
        hyper = {name: own[name] for name in cls.hyper_names}
        own.clear()
        own.update(dict.fromkeys(("mode", "p", "g", *cls.state_names, "n", "steps", *sizes), "int"), **hyper,
                   listed="int")
        super().__init_subclass__()


class RateRow(Update):
    """The row of an optimiser without a kernel."""

    lr: float


@dataclass(eq=False)
class UpdateRows:
    """The instructions of an optimiser step over a set of parameters: clipping first, then the updates.

    Attributes
    ----------
    opcodes : ndarray of int64
    starts : ndarray of int64
        Start in `words` of each instruction's row; as long as `opcodes`.
    words : ndarray of int64
        The rows of *all* the optimiser's parameters, shared by its `UpdateRows` and run in place: step counts are
        incremented here, whoever runs them.
    lr_words, lr_groups : ndarray of int64
        Indices in `words` of the scheduled hyper-parameters (as float64 bits), and for each its column of
        `Optimizer.upcoming_lrs`: the index of its group or, for cycled momentum, the number of groups plus that index.
    updates, elements : int
        Number of rows that update parameters, independent of each other, and of their elements; only `after` follow.
    count_word, whole_word, width : int
        Within an updating row: the word with the number of elements, after the addresses and before the step count; a
        word that is not 0 if its elements depend on each other; the number of words.
    layout : int
        `Optimizer.layout` when the rows were made; if it has changed, ask for new rows.
    after : int
        Number of rows at the end that average parameters, to be run when all are updated.
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
    after: int = 0

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
