"""Instructions as integers in arrays that grow by doubling."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from ..engine.storage import Buffer, address_of, storage
from ..engine.walks import walk
from ..errors import TapeMemoryError

__all__ = ["Instructions", "Note", "packer"]

#: shape, dtype and strides of every operand, the operands that are saved, the user's file and line with the layer
#: (None if no recording is being made), and the `Segment` that is recomputed in the reverse walk
Note = tuple[list[tuple[tuple[int, ...], np.dtype, tuple[int, ...]]], tuple[int, ...], Any, Any]


@cache
def packer(count: int) -> struct.Struct:
    """The packer of `count` words."""
    return struct.Struct(f"{count}q")


class Instructions:
    """The arrays of a tape, what its instructions save, and the storage of their values.

    Attributes
    ----------
    count : int
        Instructions, dead ones included.
    epoch : int
        Number of resets.
    """

    def __init__(self, max_bytes: int | None, keep: bool) -> None:
        self.keep, self.max_bytes = keep, max_bytes
        self._words: Any
        self._variable: Any
        self._offset: Any
        self._flags: Any
        self.storage = storage(max_bytes)
        self.dtype: Any = None  # that of the first recorded op
        self.epoch = 0
        self.names: dict[str, Any] = {}
        self._header = np.zeros(walk.HEADER_WORDS, np.int64)
        self._header_address = address_of(self._header)
        self._scratch: Any = np.zeros(256, np.int64)
        self._dead: list[tuple[int, int]] = []
        self._make_arrays(64, 512, 256, 128)
        self.storage.beside = self.instruction_bytes
        self._clear()

    def _make_arrays(self, instructions: int, words: int, operands: int, variables: int) -> None:
        self._opcode, self._live, self._stamp = (np.zeros(instructions, np.int64) for _ in range(3))
        self._start, self._operand_start = (np.zeros(instructions + 1, np.int64) for _ in range(2))
        self._words = np.zeros(words, np.int64)
        self._variable, self._offset, self._flags = (np.zeros(operands, np.int64) for _ in range(3))
        (self._value, self._adjoint, self._nbytes, self._itemsize, self._state, self._place, self._producer, self._hole,
         self._hole_bytes) = (np.zeros(variables, np.int64) for _ in self._PER_VARIABLE)
        self._point_header()

    _PER_INSTRUCTION = ("_opcode", "_live", "_stamp", "_start", "_operand_start")
    _PER_OPERAND = ("_variable", "_offset", "_flags")
    _PER_VARIABLE = ("_value", "_adjoint", "_nbytes", "_itemsize", "_state", "_place", "_producer", "_hole",
                     "_hole_bytes")

    def _grow(self, names: Sequence[str]) -> None:
        """Double the capacity of these arrays."""
        extra = sum(getattr(self, name).nbytes for name in names)
        held = self.storage.held_bytes + self.instruction_bytes
        if self.max_bytes is not None and held + extra > self.max_bytes:
            raise TapeMemoryError(f"{self.count:,} instructions ask for {extra:,} bytes more; the tape holds {held:,} "
                                  f"of the {self.max_bytes:,} that it may hold")
        self.storage.beside += extra
        for name in names:
            old = getattr(self, name)
            new = np.zeros(2 * len(old), np.int64)
            new[:len(old)] = old
            setattr(self, name, new)
        self._point_header()

    def _point_header(self) -> None:
        header = self._header
        for place, name in ((walk.OPCODE, "_opcode"), (walk.START, "_start"), (walk.WORDS, "_words"),
                            (walk.OPERAND_START, "_operand_start"), (walk.OPERAND_VARIABLE, "_variable"),
                            (walk.OPERAND_OFFSET, "_offset"), (walk.OPERAND_FLAGS, "_flags"),
                            (walk.LIVE, "_live"), (walk.VALUE, "_value"), (walk.ADJOINT, "_adjoint"),
                            (walk.NBYTES, "_nbytes"), (walk.ITEMSIZE, "_itemsize"), (walk.STATE, "_state"),
                            (walk.PLACE, "_place"), (walk.HOLE, "_hole"), (walk.HOLE_BYTES, "_hole_bytes")):
            header[place] = address_of(getattr(self, name)) // 8
        self._words_address = address_of(self._words)

    def _clear(self) -> None:
        self.count = self._word_count = self._operand_count = self._dead_count = 0
        self._variable_count = 1  # variable 0 stands for operands without an adjoint
        self._free_variables: list[int] = []
        self._externals: dict[Any, int] = {}
        self._external_at: dict[int, Any] = {}  # the same by variable
        self.saved: list[Any] = []  # per instruction: a tuple of Buffer, or an Again; None where dead
        self.notes: list[Any] = []  # per instruction: a Note; None where dead
        self._kept_nodes: list[Any] = []
        self._adjoints: Buffer | None = None  # with `keep`: of the last reverse walk, with their addresses
        self._kept_adjoint = np.zeros(0, np.int64)
        self.leaf_adjoints: dict[Any, Buffer] = {}  # likewise, of leaves that had no gradient before

    @property
    def instruction_bytes(self) -> int:
        """Bytes of the instruction arrays."""
        names = self._PER_INSTRUCTION + self._PER_OPERAND + self._PER_VARIABLE + ("_words",)
        return sum(getattr(self, name).nbytes for name in names)

    def scratch_row(self, words: list[int]) -> int:
        """Byte address of an unrecorded row; valid until the next call."""
        if len(words) > len(self._scratch):
            self._scratch = np.zeros(2 * len(words), np.int64)
        packer(len(words)).pack_into(self._scratch, 0, *words)
        return address_of(self._scratch)
