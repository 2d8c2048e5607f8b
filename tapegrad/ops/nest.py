"""Loop nests: how a kernel visits the elements of strided, broadcast operands.

A nest is a list of words: rows, columns, the number of outer axes, their extents, then for each operand its stride
along a row and its strides along the outer axes (in elements; 0 where it is broadcast). Axes that are contiguous with
each other in every operand are merged first, so that contiguous operands make one long row.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from ..engine.language import device, quotient
from ..engine.row import At, Nest


@lru_cache(maxsize=4096)
def nest(shape: tuple[int, ...], strides: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    """Words of the nest over `shape` for operands of these `strides` (each as long as `shape`).

    >>> nest((4, 3), ((3, 1), (0, 1)))
    (4, 3, 1, 4, 1, 3, 1, 0)
    >>> nest((4, 3), ((3, 1), (3, 1)))
    (1, 12, 0, 1, 1)
    """
    axes = [(n, [s[d] for s in strides]) for d, n in enumerate(shape) if n != 1]
    merged: list[tuple[int, list[int]]] = []
    for n, steps in axes:
        if merged and all(outer == n * inner for outer, inner in zip(merged[-1][1], steps)):
            merged[-1] = (merged[-1][0] * n, steps)
        else:
            merged.append((n, steps))
    columns, inner = merged.pop() if merged else (1, [1] * len(strides))
    rows = 1
    for n, _ in merged:
        rows *= n
    words = [rows, columns, len(merged), *(n for n, _ in merged)]
    for k in range(len(strides)):
        words.append(inner[k])
        words.extend(steps[k] for _, steps in merged)
    return tuple(words)


@lru_cache(maxsize=4096)
def broadcast_strides(shape: tuple[int, ...], strides: tuple[int, ...], to: tuple[int, ...]) -> tuple[int, ...]:
    """Strides that broadcast an operand of `shape` to another."""
    missing = len(to) - len(shape)
    return (0,) * missing + tuple(0 if n == 1 and m != 1 else s for n, s, m in zip(shape, strides, to[missing:]))


def indexed_strides(shape: Sequence[int], strides: Sequence[int], axis: int, to: Sequence[int]) -> tuple[int, ...]:
    """Strides of an array one of whose axes is indexed, over the shape of what is read there."""
    return tuple([0 if k == axis or n == 1 and m != 1 else s for k, (n, s, m) in enumerate(zip(shape, strides, to))])


def is_broadcast(strides: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether an operand is broadcast: whether some element is read more than once."""
    return any(s == 0 and n != 1 for s, n in zip(strides, shape))


@device
def column_stride(op: Any, at: At[Nest], operand: int) -> int:
    """Stride of `operand` along a row of the nest."""
    outer = at.outer
    return op[at.extents + outer + operand * (outer + 1)]


@device
def row_offset(op: Any, at: At[Nest], operand: int, row: int) -> int:
    """Offset of `operand`'s first element in row number `row`."""
    outer = at.outer
    extents = at.extents
    steps = extents + 1 + outer + operand * (outer + 1)
    offset, rest, axis = 0, row, outer - 1
    while axis > 0 and rest > 0:
        extent, place, rest = op[extents + axis], rest, 0
        if place >= extent:
            rest = quotient(place, extent)
        offset += (place - rest * extent) * op[steps + axis]
        axis -= 1
    return offset + rest * op[steps] if outer > 0 else 0


# Rows in which an operand has the same offset, because it is broadcast, are alike: a row is the alike-th of its place.


@device
def alike_rows(op: Any, at: At[Nest], operand: int) -> int:
    """Rows of the nest in which `operand` has the same offset."""
    outer, count = at.outer, 1
    steps = at.extents + 1 + outer + operand * (outer + 1)
    for axis in range(outer):
        if op[steps + axis] == 0:
            count *= op[at.extents + axis]
    return count


@device
def is_summed(op: Any, at: At[Nest], operand: int) -> bool:
    """Whether an element of `operand` has so many contributions that they are summed before they are accumulated."""
    return column_stride(op, at, operand) == 0 or alike_rows(op, at, operand) > 8


@device
def row_of(op: Any, at: At[Nest], operand: int, place: int, alike: int, rows: int) -> int:
    """Number of the row that is the `alike`-th of the `rows` in which `operand` is at its `place`-th offset."""
    if rows == 1:
        return place
    if rows == at.rows:
        return alike
    outer = at.outer
    extents = at.extents
    steps = extents + 1 + outer + operand * (outer + 1)
    row, weight, axis = 0, 1, outer - 1
    while place + alike > 0:
        extent, shared, whole = op[extents + axis], op[steps + axis] == 0, 0
        number = alike if shared else place
        if number >= extent:
            whole = quotient(number, extent)
        row += (number - whole * extent) * weight
        if shared:
            alike = whole
        else:
            place = whole
        weight *= extent
        axis -= 1
    return row
