"""Dropout: its mask is made anew in the reverse walk from a key and a counter, and stored nowhere."""

from __future__ import annotations

from typing import Any

from ..engine.jit import cast, device, real
from ..engine.philox import random_word
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
    scale, threshold, key, stream, zero = real(op, 5, f), op[6], key_of(op, i), stream_of(op, i), cast(0.0, f)
    for k in range(op[10]):
        f[op[1] + k] = scale * f[op[3] + k] if random_word(k, stream, key) >= threshold else zero
    return 0


def dropout_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dx += g / (1 - p) where kept."""
    scale, threshold, key, stream, zero = real(op, 5, f), op[6], key_of(op, i), stream_of(op, i), cast(0.0, f)
    store = op[0] & 2 != 0
    for k in range(op[10]):
        before = zero if store else f[op[4] + k]
        f[op[4] + k] = before + (scale * f[op[2] + k] if random_word(k, stream, key) >= threshold else zero)
    return 0


DROPOUT = Op("dropout", dropout_forward, dropout_adjoint, ((),), stores=True, doc="random zeros, the rest scaled up")
