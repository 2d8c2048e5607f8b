"""Ops of two slopes whose adjoint reads one bit an element: for recordings in which nobody else reads what it would."""

from __future__ import annotations

from functools import partial

from .elementwise import in_place, kernel
from .table import Op

#: by the name of the elementwise op: the same with a bit an element, which says where the slope is 1
MASKED: dict[str, Op] = {}

# Words: 1 y, 2 g, 3 x, 4 dx, 5 mask (int64; each row of elements begins a new word), 7 p, 8 q, 9 nest of (x). They are
# those of the elementwise op with the mask's two put in between.
#
# A row is cut into blocks, and each block into eight equal parts. Bit k of byte `lane` of the block's mask belongs to
# element `lane` of part k: so neighbours in memory are neighbours in a vector register, and no bit has to change its
# place.

#: elements of a block; a row that comes in strips of whole blocks has the same mask as the whole row
BLOCK = 1024

_FORWARD = """
def masked_forward(op, f, i, b):
    p, q = real(op, 7, f), real(op, 8, f)
    columns, step = op[10], column_stride(op, 9, 0)
    blocks, words = (columns + BLOCK - 1) // BLOCK, (columns + 63) >> 6
    for block in range(op[9] * blocks):
        row, begin = block // blocks, block % blocks * BLOCK
        size = min(BLOCK, columns - begin)
        part, mask = (size + 7) >> 3, 8 * (op[5] + row * words) + (begin >> 3)
        first, to = op[3] + row_offset(op, 9, 0, row) + begin * step, op[1] + row * columns + begin
        for k in range(8):
            at_x, at_y, own, before = first + k * part * step, to + k * part, 1 << k, (1 << k) - 1
            count = min(part, size - k * part)
            if step == 1 and at_y == at_x:
                for lane in range(count):
                    x = f[at_y + lane]
                    b[mask + lane] = (b[mask + lane] & before) | (own if {bit} else 0)
                    f[at_y + lane] = {forward}
            elif step == 1:
                for lane in range(count):
                    x = f[at_x + lane]
                    b[mask + lane] = (b[mask + lane] & before) | (own if {bit} else 0)
                    f[at_y + lane] = {forward}
            else:
                for lane in range(count):
                    x = f[at_x + lane * step]
                    b[mask + lane] = (b[mask + lane] & before) | (own if {bit} else 0)
                    f[at_y + lane] = {forward}
    return 0
"""

_ADJOINT = """
def masked_adjoint(op, f, i, b):
    p, zero, one, store = real(op, 7, f), cast(0.0, f), unknown_one(op, f), op[0] & 2 != 0
    columns, step = op[10], column_stride(op, 9, 0)
    blocks, words = (columns + BLOCK - 1) // BLOCK, (columns + 63) >> 6
    for block in range(op[9] * blocks):
        row, begin = block // blocks, block % blocks * BLOCK
        size = min(BLOCK, columns - begin)
        part, mask = (size + 7) >> 3, 8 * (op[5] + row * words) + (begin >> 3)
        first, to = op[4] + row_offset(op, 9, 0, row) + begin * step, op[2] + row * columns + begin
        for k in range(8):
            at_dx, at_g, bit = first + k * part * step, to + k * part, 1 << k
            count = min(part, size - k * part)
            if at_dx == at_g:
                for lane in range(count):
                    g = f[at_g + lane]
                    f[at_g + lane] = times(one, where(b[mask + lane] & bit != 0, g, {outside}))
            elif step == 1 and store:
                for lane in range(count):
                    g = f[at_g + lane]
                    f[at_dx + lane] = where(b[mask + lane] & bit != 0, g, {outside})
            else:
                for lane in range(count):
                    g, at = f[at_g + lane], at_dx + lane * step
                    f[at] = (zero if store else f[at]) + where(b[mask + lane] & bit != 0, g, {outside})
    return 0
"""


def masked(name: str, forward: str, bit: str, outside: str) -> None:
    """Define y = forward(x, p, q) with dx += g where `bit` holds of x, else `outside` of g."""
    run = partial(kernel, _FORWARD.replace("BLOCK", str(BLOCK)).format(forward=forward, bit=bit), "masked_forward")
    back = partial(kernel, _ADJOINT.replace("BLOCK", str(BLOCK)).format(outside=outside), "masked_adjoint")
    MASKED[name] = Op(f"{name}_mask", run, back, ((2,),), stores=True, doc=f"{name}, a bit kept",
                      shares=partial(in_place, at=9, count=1))


# name, y, where the slope is 1, dx elsewhere; those of `elementwise`
masked("relu", "where(x <= 0.0, 0.0, x)", "x > 0.0", "zero")
masked("leaky_relu", "where(x > 0.0, x, p * x)", "x > 0.0", "p * g")
masked("clip", "clipped(x, p, q)", "(x >= p) & (x <= q)", "zero")
masked("hardtanh", "clipped(x, p, q)", "(x > p) & (x < q)", "zero")
