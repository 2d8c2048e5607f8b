"""Dropout; its mask is regenerated in the reverse walk from a key and a counter, and stored nowhere."""

from __future__ import annotations

from typing import Any

from ..engine.language import device
from ..engine.philox import scale_survivors
from ..engine.row import At, Input, Output, Row, Words, contiguous
from .table import Op


class Dropped(Words):
    """The attributes of ops with dropout."""

    scale: float  # of what is kept
    threshold: int  # random words below it drop
    key: int
    stream: int
    counted: int  # address of (key, step) of a recording, or 0


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


def dropout_forward(op: Dropout, f: Any, i: Any, b: Any) -> int:
    """y = x / (1 - p) with probability 1 - p, else 0."""
    return scale_survivors(f, op.y, op.x, op.elements, op.dropped.scale, op.dropped.threshold,
                           stream_of(op, op.dropped, i), key_of(op, op.dropped, i), True)


def dropout_adjoint(op: Dropout, f: Any, i: Any, b: Any) -> int:
    """dx += g / (1 - p) where kept."""
    return scale_survivors(f, op.d.x, op.g, op.elements, op.dropped.scale, op.dropped.threshold,
                           stream_of(op, op.dropped, i), key_of(op, op.dropped, i), op.stores.x)


def _left(r: Any, v: Any, t: Any) -> Any:
    """What the same mask leaves of a cotangent or a tangent."""
    return t.dropped(v, r.dropped.words)


DROPOUT = Op("dropout", dropout_forward, dropout_adjoint, row=Dropout, saves={}, stores=True,
             doc="random zeros, the rest scaled up", composition={"x": _left}, tangent={"x": _left}, batching="rows")
