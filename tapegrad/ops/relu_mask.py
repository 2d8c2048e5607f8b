"""relu whose adjoint reads one bit an element: for recordings in which nobody else reads its output in reverse."""

from __future__ import annotations

from typing import Any

from ..engine.jit import cast
from ..engine.vecmath import where
from .table import Op

# Words: 1 y, 2 g, 3 x, 4 dx, 5 mask (int64: 64 elements a word), 7 rows (1), 8 elements; x is contiguous. They are
# those of relu, whose words 5 and 6 are not used, so that a recording can take either.


def relu_mask_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y = max(x, 0); bit k of the mask: x_k > 0."""
    n = op[8]
    for word in range((n + 63) >> 6):
        x, y, bits = op[3] + 64 * word, op[1] + 64 * word, 0
        count = min(64, n - 64 * word)
        for j in range(count):  # a loop for each result: both become vector code
            v = f[x + j]
            f[y + j] = where(v <= 0.0, 0.0, v)
        for j in range(count):
            bits |= (1 if f[y + j] > 0.0 else 0) << j
        i[op[5] + word] = bits
    return 0


def relu_mask_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dx += g where the bit is set."""
    n, zero, store = op[8], cast(0.0, f), op[0] & 2 != 0
    for word in range((n + 63) >> 6):
        g, dx, bits = op[2] + 64 * word, op[4] + 64 * word, i[op[5] + word]
        for j in range(min(64, n - 64 * word)):
            f[dx + j] = (zero if store else f[dx + j]) + where((bits >> j) & 1 != 0, f[g + j], zero)
    return 0


RELU_MASK = Op("relu_mask", relu_mask_forward, relu_mask_adjoint, ((2,),), stores=True, doc="max(x, 0), a bit kept")
