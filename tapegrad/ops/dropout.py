"""Dropout; its mask is regenerated in the reverse walk from a key and a counter, and stored nowhere."""

from __future__ import annotations

from typing import Any

from ..engine.language import device
from ..engine.philox import scale_some_survivors, scale_survivors
from ..engine.row import At, Input, Output, Row, Words, contiguous
from .table import Op


class Dropped(Words):
    """The attributes of ops with dropout."""

    scale: float  # of what is kept
    threshold: int  # random words below it drop
    key: int
    stream: int
    counted: int  # address of a recording's key, step and share of the batch (`Capture.random_state`), or 0
    each: int  # elements of a row of the batch, where ranks share it, else 0


@device
def number_in_batch(k: int, each: int, counted: int, i: Any) -> int:
    """The number that element `k` has in the batch of all ranks, whose rows of `each` lie along one axis."""
    if each == 0:
        return k
    share = counted + 2  # first row, rows of all, own rows
    part = i[share + 2] * each
    before = k // part
    return (before * i[share + 1] + i[share]) * each + k - before * part


@device
def number_of(op: Any, at: At[Dropped], k: int, i: Any) -> int:
    """The number of element `k`, by which its random bits are known."""
    return number_in_batch(k, at.each, at.counted, i)


@device
def key_of(op: Any, at: At[Dropped], i: Any) -> int:
    """The recording's present key, or the instruction's own."""
    return i[at.counted] if at.counted != 0 else at.key


@device
def stream_of(op: Any, at: At[Dropped], i: Any) -> int:
    """Number of the random stream: the instruction's; in a recording another one at every step."""
    return at.stream + (i[at.counted + 1] << 20) if at.counted != 0 else at.stream


class Dropout(Row):
    y: Output
    x: Input = contiguous
    dropped: Dropped
    elements: int


@device
def drop(op: Dropout, y: int, x: int, store: bool, f: Any, i: Any) -> int:
    """y += x / (1 - p) where kept, or = with `store`."""
    stream, key = stream_of(op, op.dropped, i), key_of(op, op.dropped, i)
    if op.dropped.each == 0:
        return scale_survivors(f, y, x, op.elements, op.dropped.scale, op.dropped.threshold, stream, key, store)
    part = i[op.dropped.counted + 4] * op.dropped.each
    for first in range(0, op.elements, part):
        scale_some_survivors(f, y + first, x + first, number_of(op, op.dropped, first, i), part, op.dropped.scale,
                             op.dropped.threshold, stream, key, store)
    return 0


def dropout_forward(op: Dropout, f: Any, i: Any, b: Any) -> int:
    """y = x / (1 - p) with probability 1 - p, else 0."""
    return drop(op, op.y, op.x, True, f, i)


def dropout_adjoint(op: Dropout, f: Any, i: Any, b: Any) -> int:
    """dx += g / (1 - p) where kept."""
    return drop(op, op.d.x, op.g, op.stores.x, f, i)


def _left(r: Any, v: Any, t: Any) -> Any:
    """What the same mask leaves of a cotangent or a tangent."""
    return t.dropped(v, r.dropped.words)


DROPOUT = Op("dropout", dropout_forward, dropout_adjoint, row=Dropout, saves={}, stores=True,
             doc="random zeros, the rest scaled up", composition={"x": _left}, tangent={"x": _left}, batching="rows")
