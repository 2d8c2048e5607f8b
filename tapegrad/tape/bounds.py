"""Checks with ``TAPEGRAD_DEBUG=1``: no kernel gets an address outside of its operand's buffer, or a wrong dtype."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from ..engine.poison import ENABLED
from ..engine.row import Layout
from ..errors import CorruptionError
from .instructions import Instructions

F = TypeVar("F", bound=Callable[..., Any])
_DTYPES = {Layout.INT64: np.dtype(np.int64), Layout.BOOL: np.dtype(np.bool_)}


def reach(offset: int, shape: Sequence[int], strides: Sequence[int]) -> tuple[int, int]:
    """Lowest and highest element offset of a strided view.

    >>> reach(7, (2, 3), (1, -2))
    (3, 8)
    """
    steps = [(extent - 1) * step for extent, step in zip(shape, strides)]
    return offset + sum(step for step in steps if step < 0), offset + sum(step for step in steps if step > 0)


def _check(what: str, offset: int, shape: Sequence[int], strides: Sequence[int], itemsize: int, nbytes: int) -> None:
    first, last = reach(offset, shape, strides)
    if 0 not in shape and (first < 0 or (last + 1) * itemsize > nbytes):
        raise CorruptionError(f"{what} reaches from element {first} to {last} of {nbytes:,} bytes; please report this "
                              "with the code")


def check_dtypes(op: Any, inputs: Sequence[Any]) -> None:
    """Raise if the row of `op` declares integers or bytes where an input holds something else."""
    for name, t in zip(op.row.inputs if op.row is not None else (), inputs):
        for layout, dtype in _DTYPES.items():
            if layout in op.row.layouts[name] and t.dtype != dtype:
                raise CorruptionError(f"{op.name}: {name} is {t.dtype} instead of {dtype}; please report this with the "
                                      "code")


def checked(record: F) -> F:
    """`record` with the bounds of every operand checked first; `record` itself unless debugging."""
    if not ENABLED:
        return record

    @wraps(record)
    def checking(op: Any, inputs: Sequence[Any], *arguments: Any, **options: Any) -> Any:
        check_dtypes(op, inputs)
        for j, t in enumerate(inputs):
            if t.buffer is not None:
                _check(f"{op.name}: input {j}", t.offset, t.shape, t.strides, t.dtype.itemsize, t.buffer.nbytes)
        return record(op, inputs, *arguments, **options)

    return checking  # type: ignore[return-value]


def check_operands(tape: Instructions, end: int) -> None:
    """Raise if an operand of the instructions before `end` reaches outside of its variable."""
    for n in range(end):
        note, first = tape.notes[n], int(tape._operand_start[n])
        for j, (shape, dtype, strides) in enumerate(note[0] if note is not None else ()):
            v = int(tape._variable[first + j])
            if v:
                _check(f"operand {j} of instruction {n}", int(tape._offset[first + j]), shape, strides, dtype.itemsize,
                       int(tape._nbytes[v]))
