"""Any op for each of a batch, in a loop around its own kernels: how `vmap` batches what has no batching rule."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from ..engine.kernels import Kernel
from ..engine.language import call, words_at
from ..engine.row import Row, Words, declared
from .table import Op, kernel_of

#: kernels over so many operands: for each of the batch the row of the op itself is written, and run
_SOURCE = """
def mapped(op: Mapped, f, i, b):
    row = row_at(op.scratch)
    row[0] = 0
    for k in range(op.length):
        row[1 + 2 * {operands} + k] = op[op.attributes + k]
    for n in range(op.count):
        for j in range({operands}):
            row[1 + 2 * j] = op[1 + 2 * j] + n * op[op.strides + j]
            row[2 + 2 * j] = 0
        status = call(op.forward, row, f, i, b)
        if status != 0:
            return status
    return 0

def mapped_adjoint(op: Mapped, f, i, b):
    row = row_at(op.scratch)
    row[0] = op.mode
    for k in range(op.length):
        row[1 + 2 * {operands} + k] = op[op.attributes + k]
    for n in range(op.count):
        for j in range({operands}):
            step = n * op[op.strides + j]
            row[1 + 2 * j] = op[1 + 2 * j] + step
            row[2 + 2 * j] = op[2 + 2 * j] + step if op[2 + 2 * j] != 0 else 0
        status = call(op.adjoint, row, f, i, b)
        if status != 0:
            return status
        for j in range({operands}):
            if op[op.strides + j] == 0:  # stored by the first, added to by the others
                row[0] &= ~(1 << j)
    return 0
"""


class Attributes(Words):
    """Of the op that is mapped."""


@cache
def _row(inputs: int, auxiliary: int) -> type[Row]:
    strides = type("Strides", (Words,), {"__module__": __name__}, count=1 + inputs + auxiliary)
    fields: dict[str, Any] = {
        "y": "Output", **{f"x{j}": "Input" for j in range(inputs)}, **{f"aux{j}": "Aux" for j in range(auxiliary)},
        "scratch": "Aux", "forward": "int", "adjoint": "int", "count": "int", "axes": "int", "length": "int",
        "strides": strides, "attributes": Attributes}
    return declared("Mapped", fields)


@cache
def _kernels(inputs: int, auxiliary: int) -> tuple[Kernel, Kernel]:
    scope = {"call": call, "row_at": words_at, "Mapped": _row(inputs, auxiliary)}
    source, name = _SOURCE.format(operands=1 + inputs + auxiliary), f"mapped.{inputs}.{auxiliary}"
    return (Kernel(f"{name}.forward", partial(kernel_of, source, "mapped", scope)),
            Kernel(f"{name}.adjoint", partial(kernel_of, source, "mapped_adjoint", scope)))


class Mapped(Op):
    """An op for each of a batch.

    Attributes
    ----------
    inner : Op
        What runs for each.
    """

    __slots__ = ("inner",)
    inner: Op

    def integers(self, words: Sequence[int]) -> dict[str, Any]:
        assert self.row is not None and self.inner.row is not None
        first = self.inner.row.first_place()
        return self.inner.row.integers([0] * first + list(words[self.row.places["attributes"]:]))


@cache
def mapped(op: Op, inputs: int, auxiliary: int) -> Mapped:
    """`op`, which has so many inputs and auxiliary outputs, for each of a batch."""
    forward, adjoint = _kernels(inputs, auxiliary)
    row = _row(inputs, auxiliary)
    names, scratch = row.operands, row.operands[-1]
    saves = {names[1 + j]: " ".join([*(names[k] for k in operands), scratch]) for j, operands in enumerate(op.saves)}
    made = Mapped(f"{op.name} of each", forward, None if op.adjoint is None else adjoint, row=row, saves=saves,
                  stores=op.stores, errors=op.errors, doc=f"{op.name} for each of a batch")
    made.inner = op
    return made


def mapped_words(op: Op, dtype: np.dtype, count: int, axes: int, strides: tuple[int, ...],
                 attributes: tuple[int, ...], differentiated: bool) -> tuple[int, ...]:
    """The attributes of its row: which operands have the axis of the batch, as bits, and their strides along it."""
    adjoint = op.adjoint.address(dtype) if differentiated and op.adjoint is not None else 0
    return op.forward.address(dtype), adjoint, count, axes, len(attributes), *strides, *attributes
