"""What tensors hold of a tape: the output of an instruction, and a leaf."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.storage import Buffer
from ..engine.walks.touched import TouchedRows
from .instructions import Instructions

__all__ = ["Leaf", "Node"]


class Node:
    """The output of an instruction; it keeps the instruction and its ancestors alive."""

    __slots__ = ("tape", "variable", "nbytes", "inputs", "epoch", "__weakref__")

    def __init__(self, tape: Instructions, variable: int, nbytes: int, inputs: tuple[Any, ...]) -> None:
        self.tape, self.variable, self.nbytes, self.inputs, self.epoch = tape, variable, nbytes, inputs, tape.epoch

    def __del__(self) -> None:
        self.tape._dead.append((self.variable, self.epoch))

    @property
    def on_tape(self) -> bool:
        """Whether the instruction has not been released."""
        tape = self.tape
        return tape.epoch == self.epoch and tape._producer[self.variable] >= 0


class Leaf:
    """Accumulator of a leaf's gradient, shared by the leaf and its views."""

    __slots__ = ("buffer", "shape", "dtype", "gradient", "home", "nbytes", "requires_grad", "touched", "derived",
                 "is_private", "__weakref__")

    def __init__(self, buffer: Buffer, shape: tuple[int, ...], dtype: np.dtype, nbytes: int) -> None:
        self.buffer, self.shape, self.dtype, self.nbytes = buffer, shape, dtype, nbytes
        self.gradient: Buffer | None = None
        self.requires_grad = True
        self.home: Buffer | None = None  # buffer that the gradient must be written to, if an optimiser owns one
        self.is_private = False  # whether no derivative but that which made it is asked for by it
        self.derived: Any = None  # the gradient as a tensor with a history, as `backward(create_graph=True)` leaves it
        self.touched: TouchedRows | None = None  # rows of the gradient that are not zero, if they are listed
