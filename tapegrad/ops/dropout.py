"""Dropout: its mask is made anew in the reverse walk from a key and a counter, and stored nowhere."""

from __future__ import annotations

from typing import Any

from ..engine.jit import device, real
from ..engine.philox import scale_survivors
from .table import Op

# Words that say what is dropped, in any op that does so, from `at` on: scale, threshold, key, stream, address of (key,
# step) of a recording or 0.


@device
def key_of(op: Any, at: int, i: Any) -> int:
    """The recording's present key, or the instruction's own."""
    return i[op[at + 4]] if op[at + 4] != 0 else op[at + 2]


@device
def stream_of(op: Any, at: int, i: Any) -> int:
    """Which random numbers: the instruction's stream, in a recording counted up every step."""
    return op[at + 3] + (i[op[at + 4] + 1] << 20) if op[at + 4] != 0 else op[at + 3]


# Words of dropout: 1 y, 2 g, 3 x, 4 dx, 5 to 9 what is dropped, 10 elements.


def dropout_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y = x / (1 - p) with probability 1 - p, else 0."""
    return scale_survivors(f, op[1], op[3], op[10], real(op, 5, f), op[6], stream_of(op, 5, i), key_of(op, 5, i), True)


def dropout_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dx += g / (1 - p) where kept."""
    return scale_survivors(f, op[4], op[2], op[10], real(op, 5, f), op[6], stream_of(op, 5, i), key_of(op, 5, i),
                           op[0] & 2 != 0)


DROPOUT = Op("dropout", dropout_forward, dropout_adjoint, ((),), stores=True, doc="random zeros, the rest scaled up")
