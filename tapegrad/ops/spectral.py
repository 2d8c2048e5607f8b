"""Power iteration, by which spectral normalisation follows the greatest singular value of a weight."""

from __future__ import annotations

from typing import Any

from ..engine.language import cast, device, wide
from ..engine.mathematics import vecmath as m
from ..engine.row import Input, Output, Row, contiguous, double, overwritten
from .table import Op


class Power(Row):
    y: Output  # u, then v
    w: Input = contiguous
    u: Input = contiguous | overwritten
    v: Input = contiguous | overwritten
    rows: int
    columns: int
    iterations: int
    eps: double
    left_first: bool
    follows: bool  # whether u and v are overwritten


@device
def normalise(f: Any, x: int, n: int, eps: Any) -> int:
    """x /= max(|x|, eps)."""
    square = wide(cast(0.0, f))
    for k in range(n):
        square += wide(f[x + k]) * wide(f[x + k])
    length = max(m.sqrt(square), eps)
    for k in range(n):
        f[x + k] = cast(wide(f[x + k]) / length, f)
    return 0


@device
def left(op: Power, f: Any, u: int, v: int) -> int:
    """u = W v / |W v|."""
    for r in range(op.rows):
        total = wide(cast(0.0, f))
        for k in range(op.columns):
            total += wide(f[op.w + r * op.columns + k]) * wide(f[v + k])
        f[u + r] = cast(total, f)
    return normalise(f, u, op.rows, op.eps)


@device
def right(op: Power, f: Any, u: int, v: int) -> int:
    """v = W^T u / |W^T u|."""
    for k in range(op.columns):
        f[v + k] = 0.0
    for r in range(op.rows):
        for k in range(op.columns):
            f[v + k] += f[op.w + r * op.columns + k] * f[u + r]
    return normalise(f, v, op.columns, op.eps)


def power_forward(op: Power, f: Any, i: Any, b: Any) -> int:
    """v = W^T u / |W^T u|, u = W v / |W v|, in one order or the other, some times over."""
    u, v = op.y, op.y + op.rows
    for k in range(op.rows):
        f[u + k] = f[op.u + k]
    for k in range(op.columns):
        f[v + k] = f[op.v + k]
    for _ in range(op.iterations):
        if op.left_first != 0:
            left(op, f, u, v)
            right(op, f, u, v)
        else:
            right(op, f, u, v)
            left(op, f, u, v)
    if op.follows != 0:
        for k in range(op.rows):
            f[op.u + k] = f[u + k]
        for k in range(op.columns):
            f[op.v + k] = f[v + k]
    return 0


POWER = Op("power_iteration", power_forward, row=Power, doc="u and v of the greatest singular value, a step nearer",
           again={"follows": 0})
