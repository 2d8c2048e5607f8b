"""Ops of two slopes whose adjoint reads one bit an element: for recordings in which nobody else reads what it would."""

from __future__ import annotations

from functools import partial

from .elementwise import in_place, kernel
from .table import Op

#: by the name of the elementwise op: the same with a bit an element, which says where the slope is 1
MASKED: dict[str, Op] = {}

# Words: 1 y, 2 g, 3 x, 4 dx, 5 mask (int64: 64 elements of a row a word, each row begins a new one), 7 p, 8 q,
# 9 nest of (x). They are those of the elementwise op with the mask's two put in between.

_FORWARD = """
def masked_forward(op, f, i, b):
    p, q = real(op, 7, f), real(op, 8, f)
    columns, step = op[10], column_stride(op, 9, 0)
    words = (columns + 63) >> 6
    for row in range(op[9]):
        first = op[3] + row_offset(op, 9, 0, row)
        for word in range(words):
            at_x, at_y, bits = first + 64 * word * step, op[1] + row * columns + 64 * word, 0
            count = min(64, columns - 64 * word)
            if step == 1:
                for k in range(count):  # before y, which may lie where x does; a loop for each becomes vector code
                    x = f[at_x + k]
                    bits |= (1 if {bit} else 0) << k
                if at_y == at_x:
                    for k in range(count):
                        x = f[at_y + k]
                        f[at_y + k] = {forward}
                else:
                    for k in range(count):
                        x = f[at_x + k]
                        f[at_y + k] = {forward}
            else:
                for k in range(count):
                    x = f[at_x + k * step]
                    bits |= (1 if {bit} else 0) << k
                    f[at_y + k] = {forward}
            i[op[5] + row * words + word] = bits
    return 0
"""

_ADJOINT = """
def masked_adjoint(op, f, i, b):
    p, zero, store = real(op, 7, f), cast(0.0, f), op[0] & 2 != 0
    columns, step = op[10], column_stride(op, 9, 0)
    words = (columns + 63) >> 6
    for row in range(op[9]):
        first = op[4] + row_offset(op, 9, 0, row)
        for word in range(words):
            at_dx, at_g = first + 64 * word * step, op[2] + row * columns + 64 * word
            bits, count = i[op[5] + row * words + word], min(64, columns - 64 * word)
            if at_dx == at_g:
                for k in range(count):
                    g = f[at_g + k]
                    f[at_g + k] = where((bits >> k) & 1 != 0, g, {outside})
            elif step == 1:
                for k in range(count):
                    g = f[at_g + k]
                    f[at_dx + k] = (zero if store else f[at_dx + k]) + where((bits >> k) & 1 != 0, g, {outside})
            else:
                for k in range(count):
                    g, at = f[at_g + k], at_dx + k * step
                    f[at] = (zero if store else f[at]) + where((bits >> k) & 1 != 0, g, {outside})
    return 0
"""


def masked(name: str, forward: str, bit: str, outside: str) -> None:
    """Define y = forward(x, p, q) with dx += g where `bit` holds of x, else `outside` of g."""
    run = partial(kernel, _FORWARD.format(forward=forward, bit=bit), "masked_forward")
    back = partial(kernel, _ADJOINT.format(outside=outside), "masked_adjoint")
    MASKED[name] = Op(f"{name}_mask", run, back, ((2,),), stores=True, doc=f"{name}, a bit kept",
                      shares=partial(in_place, at=9, count=1))


# name, y, where the slope is 1, dx elsewhere; those of `elementwise`
masked("relu", "where(x <= 0.0, 0.0, x)", "x > 0.0", "zero")
masked("leaky_relu", "where(x > 0.0, x, p * x)", "x > 0.0", "p * g")
masked("clip", "clipped(x, p, q)", "(x >= p) & (x <= q)", "zero")
masked("hardtanh", "clipped(x, p, q)", "(x > p) & (x < q)", "zero")
