"""Dropout: its mask is made anew in the reverse walk from a key and a counter, and stored nowhere."""

from __future__ import annotations

from typing import Any

from ..engine.jit import device, real
from ..engine.philox import scale_survivors
from .table import Op

# Words: 1 y, 2 g, 3 x, 4 dx, 5 scale, 6 threshold, 7 key, 8 stream, 9 address of (key, step) of a recording or 0,
# 10 elements.


@device
def key_of(op: Any, i: Any) -> int:
    """The recording's present key, or the instruction's own."""
    return i[op[9]] if op[9] != 0 else op[7]


@device
def stream_of(op: Any, i: Any) -> int:
    """Which random numbers: the instruction's stream, in a recording counted up every step."""
    return op[8] + (i[op[9] + 1] << 20) if op[9] != 0 else op[8]


def dropout_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y = x / (1 - p) with probability 1 - p, else 0."""
    return scale_survivors(f, op[1], op[3], op[10], real(op, 5, f), op[6], stream_of(op, i), key_of(op, i), True)


def dropout_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dx += g / (1 - p) where kept."""
    return scale_survivors(f, op[4], op[2], op[10], real(op, 5, f), op[6], stream_of(op, i), key_of(op, i),
                           op[0] & 2 != 0)


DROPOUT = Op("dropout", dropout_forward, dropout_adjoint, ((),), stores=True, doc="random zeros, the rest scaled up")
