"""Ops of two slopes with a bit mask for the adjoint: for recordings in which no other adjoint reads its array."""

from __future__ import annotations

from functools import partial

from ..engine.row import Aux, Input, Nest, Output, Row
from .elementwise import in_place
from .table import Op
from .templates import kernel

#: by the name of the elementwise op: its form with a bit an element, which says where the slope is 1
MASKED: dict[str, Op] = {}


class Masked(Row):
    """The row of the elementwise op with the mask put in between."""

    y: Output
    x: Input
    mask: Aux  # of int64; each row of elements begins a new word
    p: float
    q: float
    nest: Nest = Nest.over("x")


# A row of elements is cut into blocks, and each block into eight equal parts. Bit k of byte `lane` of the block's mask
# belongs to element `lane` of part k, so that neighbours in memory are neighbours in a vector register, and no bit is
# shuffled.

#: elements of a block; a row in strips of whole blocks has the same mask as the whole row
BLOCK = 1024

_FORWARD = """
def whole_block(f, b, at_y, at_x, mask, p, q):
    apart()
    for lane in range(BLOCK // 8):
        bits = 0
{lines}
        write(b, mask + lane, bits)
    return 0

def masked_forward(op: Masked, f, i, b):
    p, q = op.p, op.q
    columns, step = op.nest.columns, column_stride(op, op.nest, 0)
    blocks, words = (columns + BLOCK - 1) // BLOCK, (columns + 63) >> 6
    for block in range(op.nest.rows * blocks):
        row, begin = block // blocks, block % blocks * BLOCK
        size = min(BLOCK, columns - begin)
        part, mask = (size + 7) >> 3, 8 * (op.mask + row * words) + (begin >> 3)
        at_x, at_y = op.x + row_offset(op, op.nest, 0, row) + begin * step, op.y + row * columns + begin
        if size == BLOCK and step == 1:
            whole_block(f, b, at_y, at_x, mask, p, q)
            continue
        for k in range(8):
            own, before = 1 << k, (1 << k) - 1
            for lane in range(min(part, size - k * part)):
                x = read(f, at_x + (k * part + lane) * step)
                write(b, mask + lane, (read(b, mask + lane) & before) | (own if {bit} else 0))
                write(f, at_y + k * part + lane, {forward})
    return 0
"""

# the element of part k; its eight copies are independent of each other, and their bits make one byte
_LANE = """
        x = read(f, at_x + {at} + lane)
        bits |= {own} if {bit} else 0
        write(f, at_y + {at} + lane, {forward})"""

_ADJOINT = """
def masked_part(f, b, at_dx, step, at_g, mask, bit, n, p, store):
    apart()
    zero = cast(0.0, f)
    if store:
        for lane in range(n):
            g = read(f, at_g + lane)
            write(f, at_dx + lane * step, where(read(b, mask + lane) & bit != 0, g, {outside}))
    else:
        for lane in range(n):
            g, at = read(f, at_g + lane), at_dx + lane * step
            write(f, at, held(f, at) + where(read(b, mask + lane) & bit != 0, g, {outside}))
    return 0

def masked_adjoint(op: Masked, f, i, b):
    p, store = op.p, op.stores.x
    columns, step = op.nest.columns, column_stride(op, op.nest, 0)
    blocks, words = (columns + BLOCK - 1) // BLOCK, (columns + 63) >> 6
    for block in range(op.nest.rows * blocks):
        row, begin = block // blocks, block % blocks * BLOCK
        size = min(BLOCK, columns - begin)
        part, mask = (size + 7) >> 3, 8 * (op.mask + row * words) + (begin >> 3)
        at_dx, at_g = op.d.x + row_offset(op, op.nest, 0, row) + begin * step, op.g + row * columns + begin
        for k in range(8):
            masked_part(f, b, at_dx + k * part * step, step, at_g + k * part, mask, 1 << k,
                        min(part, size - k * part), p, store)
    return 0
"""


def masked(name: str, forward: str, bit: str, outside: str) -> None:
    """Define y = forward(x, p, q) with dx += g where `bit` holds of x, else `outside` of g."""
    lines = "".join(_LANE.format(at=k * BLOCK // 8, own=1 << k, bit=bit, forward=forward) for k in range(8))
    source = _FORWARD.replace("BLOCK", str(BLOCK)).format(forward=forward, bit=bit, lines=lines)
    run = partial(kernel, source, "masked_forward", Masked)
    back = partial(kernel, _ADJOINT.replace("BLOCK", str(BLOCK)).format(outside=outside), "masked_adjoint", Masked)
    MASKED[name] = Op(f"{name}_mask", run, back, row=Masked, saves={"x": "mask"}, stores=True,
                      doc=f"{name}, a bit kept", shares=partial(in_place, at=Masked.word("nest"), count=1))


# name, y, where the slope is 1, dx elsewhere; those of `elementwise`
masked("relu", "where(x <= 0.0, 0.0, x)", "x > 0.0", "zero")
masked("leaky_relu", "where(x > 0.0, x, p * x)", "x > 0.0", "p * g")
masked("clip", "clipped(x, p, q)", "(x >= p) & (x <= q)", "zero")
masked("hardtanh", "clipped(x, p, q)", "(x > p) & (x < q)", "zero")
