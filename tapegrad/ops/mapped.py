"""Any op for each of a batch, in a loop around its own kernels: how `vmap` batches what has no batching rule."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from ..engine.kernels import Kernel
from ..engine.language import call, words_at
from ..engine.row import Part, Row, Words, declared
from ..engine.threads.team import share, team_address
from .table import Op, kernel_of

#: multiplications from which on threads share the batch, and least of them in a part, where one call of the op is worth
#: so many; parts at most
SHARED, PART, CALL, PARTS = 1 << 17, 1 << 15, 1 << 12, 16

#: kernels over so many operands: for each of the batch the row of the op itself is written, and run; each part of the
#: batch has a row of its own, and those whose adjoints are shared by all of the batch are one part
_SOURCE = """
def mapped_part(part: Part, f, i, b):
    op: Mapped = row_at(part.row)
    row = row_at(op.scratch + part.number * (1 + 2 * {operands} + op.length))
    row[0] = 0
    for k in range(op.length):
        row[1 + 2 * {operands} + k] = op[op.attributes + k]
    for n in range(part.number * op.count // part.count, (part.number + 1) * op.count // part.count):
        for j in range({operands}):
            row[1 + 2 * j] = op[1 + 2 * j] + n * op[op.strides + j]
            row[2 + 2 * j] = 0
        status = call(op.forward, row, f, i, b)
        if status != 0:
            return status
    return 0

def mapped(op: Mapped, f, i, b):
    return share(op.team, op.part, op, op.parts, f, i, b)

def mapped_adjoint_part(part: Part, f, i, b):
    op: Mapped = row_at(part.row)
    row = row_at(op.scratch + part.number * (1 + 2 * {operands} + op.length))
    row[0] = op.mode
    for k in range(op.length):
        row[1 + 2 * {operands} + k] = op[op.attributes + k]
    for n in range(part.number * op.count // part.count, (part.number + 1) * op.count // part.count):
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

def mapped_adjoint(op: Mapped, f, i, b):
    parts = op.parts
    for j in range({operands}):
        if op[op.strides + j] == 0 and op[2 + 2 * j] != 0:
            parts = 1
    return share(op.team, op.adjoint_part, op, parts, f, i, b)
"""


class Attributes(Words):
    """Of the op that is mapped."""


@cache
def _row(inputs: int, auxiliary: int) -> type[Row]:
    strides = type("Strides", (Words,), {"__module__": __name__}, count=1 + inputs + auxiliary)
    fields: dict[str, Any] = {
        "y": "Output", **{f"x{j}": "Input" for j in range(inputs)}, **{f"aux{j}": "Aux" for j in range(auxiliary)},
        "scratch": "Aux", "team": "int", "parts": "int", "part": "int", "adjoint_part": "int", "forward": "int",
        "adjoint": "int", "count": "int", "axes": "int", "length": "int", "strides": strides, "attributes": Attributes}
    return declared("Mapped", fields)


@cache
def _kernels(inputs: int, auxiliary: int) -> tuple[Kernel, ...]:
    """The kernels for all of the batch and for parts of it: forward, adjoint, part, part of the adjoint."""
    scope = {"call": call, "share": share, "row_at": words_at, "Part": Part, "Mapped": _row(inputs, auxiliary)}
    source, name = _SOURCE.format(operands=1 + inputs + auxiliary), f"mapped.{inputs}.{auxiliary}"
    return tuple(Kernel(f"{name}.{what}", partial(kernel_of, source, function, scope)) for what, function in (
        ("forward", "mapped"), ("adjoint", "mapped_adjoint"), ("part", "mapped_part"),
        ("adjoint_part", "mapped_adjoint_part")))


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
    forward, adjoint, *_ = _kernels(inputs, auxiliary)
    row = _row(inputs, auxiliary)
    names, scratch = row.operands, row.operands[-1]
    saves = {names[1 + j]: " ".join([*(names[k] for k in operands), scratch]) for j, operands in enumerate(op.saves)}
    made = Mapped(f"{op.name} of each", forward, None if op.adjoint is None else adjoint, row=row, saves=saves,
                  stores=op.stores, errors=op.errors, doc=f"{op.name} for each of a batch")
    made.inner = op
    return made


def parts_of(op: Op, count: int, shapes: Sequence[tuple[int, ...]]) -> int:
    """In how many parts a batch is divided: by its size only, for results to be the same for any number of threads.

    An op that does not say how many products it takes, or has working memory that all of the batch share, is one part.
    """
    if op.products is None or op.states or "scratch" in op.row.inputs:  # type: ignore[union-attr]
        return 1
    work = count * (op.products(shapes) + CALL)
    return 1 if work < SHARED else min(work // PART, count, PARTS)


def mapped_words(op: Op, dtype: np.dtype, count: int, parts: int, axes: int, strides: tuple[int, ...],
                 attributes: tuple[int, ...], differentiated: bool) -> tuple[int, ...]:
    """The attributes of its row: which operands have the axis of the batch, as bits, and their strides along it."""
    auxiliary = len(strides) - 1 - len(op.row.inputs)  # type: ignore[union-attr]
    *_, part, adjoint_part = _kernels(len(strides) - 1 - auxiliary, auxiliary)
    adjoint, adjoint_part_address = 0, 0
    if differentiated and op.adjoint is not None:
        adjoint, adjoint_part_address = op.adjoint.address(dtype), adjoint_part.address(dtype)
    return (team_address(dtype), parts, part.address(dtype), adjoint_part_address, op.forward.address(dtype), adjoint,
            count, axes, len(attributes), *strides, *attributes)
