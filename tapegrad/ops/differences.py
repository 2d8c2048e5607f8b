"""Sums and dot products of the differences of all pairs of rows, which are never all in memory.

The derivatives of Euclidean distances are made of them, and each of the two is the other's derivative.
"""

from __future__ import annotations

from typing import Any

from ..engine.language import apart, cast, device, doubles_at, plus, wide
from ..engine.mathematics.sums import COLUMNS, add_row, clear_totals, give_totals, grown, restored, row_total
from ..engine.mathematics.sums import ROWS as TOGETHER
from ..engine.row import Input, Output, Row, contiguous
from ..engine.tiles.tile import stack
from .distance import component
from .reduction import SUMMED
from .table import Op


class PairSums(Row):
    y: Output
    q: Input = contiguous  # weights of the pairs: left rows of right elements
    x: Input = contiguous
    z: Input = contiguous
    stacks: int
    left: int  # rows of x
    right: int  # rows of z
    n: int  # elements of a row


class PairDots(Row):
    y: Output
    a: Input = contiguous  # as x
    x: Input = contiguous
    z: Input = contiguous
    stacks: int
    left: int
    right: int
    n: int


@device
def weighted_sum(f: Any, q: int, step: int, count: int, x: int, z: int, n: int, to: int, scale: Any, paired: bool,
                 add: bool) -> int:
    """to (+)= scale sum of q_v (x - z_v), of q_v z_v unless `paired`; q_v lies at ``q + v step``."""
    apart()
    totals, part = doubles_at(f, stack(f)), stack(f) + 2 * COLUMNS
    for left in range(0, n, COLUMNS):
        columns = min(COLUMNS, n - left)
        clear_totals(f, totals, columns)
        for v in range(count):
            weight, row = f[q + v * step], z + v * n + left
            if v % TOGETHER == 0:
                for k in range(columns):
                    f[part + k] = weight * (component(f, x + left, row, k, True) if paired else f[row + k])
            else:
                for k in range(columns):
                    f[part + k] += weight * (component(f, x + left, row, k, True) if paired else f[row + k])
            if v % TOGETHER == TOGETHER - 1 or v == count - 1:
                add_row(f, totals, columns, part, 1)
        give_totals(f, totals, columns, scale, to + left, 1, add)
    return 0


@device
def dot_of_difference(f: Any, a: int, x: int, z: int, n: int) -> Any:
    """a . (x - z)."""
    total = wide(cast(0.0, f))
    lost = total
    for first in range(0, n, SUMMED):
        part = cast(0.0, f)
        for k in range(first, min(first + SUMMED, n)):
            part = plus(part, f[a + k] * component(f, x, z, k, True))
        total, lost = grown(f, total, lost, wide(part))
    return cast(restored(f, total, lost), f)


@device
def add_to_rows(f: Any, q: int, a: int, dx: int, dz: int, left: int, right: int, n: int) -> int:
    """dx_u += a_u sum of q_uv over v, dz_v -= sum of q_uv a_u over u; where they are not 0."""
    for u in range(left if dx != 0 else 0):
        total = cast(row_total(f, q + u * right, right), f)
        for k in range(n):
            f[dx + u * n + k] += f[a + u * n + k] * total
    for v in range(right if dz != 0 else 0):
        weighted_sum(f, q + v, right, left, a, a, n, dz + v * n, wide(cast(-1.0, f)), False, True)
    return 0


@device
def of_stack(address: int, stack_number: int, elements: int) -> int:
    """Where a stack begins; 0 for an absent operand."""
    return address + stack_number * elements if address != 0 else 0


def pair_sums_forward(op: PairSums, f: Any, i: Any, b: Any) -> int:
    """y_u = sum of q_uv (x_u - z_v) over v."""
    left, right, n = op.left, op.right, op.n
    for s in range(op.stacks):
        for u in range(s * left, (s + 1) * left):
            weighted_sum(f, op.q + u * right, 1, right, op.x + u * n, op.z + s * right * n, n, op.y + u * n,
                         wide(cast(1.0, f)), True, False)
    return 0


def pair_sums_adjoint(op: PairSums, f: Any, i: Any, b: Any) -> int:
    """dq_uv += g_u . (x_u - z_v), dx_u += g_u sum of q_uv, dz_v -= sum of q_uv g_u."""
    left, right, n = op.left, op.right, op.n
    for s in range(op.stacks):
        for u in range(s * left, (s + 1) * left if op.d.q != 0 else s * left):
            for v in range(right):
                f[op.d.q + u * right + v] += dot_of_difference(f, op.g + u * n, op.x + u * n,
                                                               op.z + (s * right + v) * n, n)
        add_to_rows(f, op.q + s * left * right, op.g + s * left * n, of_stack(op.d.x, s, left * n),
                    of_stack(op.d.z, s, right * n), left, right, n)
    return 0


def pair_dots_forward(op: PairDots, f: Any, i: Any, b: Any) -> int:
    """y_uv = a_u . (x_u - z_v)."""
    left, right, n = op.left, op.right, op.n
    for s in range(op.stacks):
        for u in range(s * left, (s + 1) * left):
            for v in range(right):
                f[op.y + u * right + v] = dot_of_difference(f, op.a + u * n, op.x + u * n,
                                                            op.z + (s * right + v) * n, n)
    return 0


def pair_dots_adjoint(op: PairDots, f: Any, i: Any, b: Any) -> int:
    """da_u += sum of g_uv (x_u - z_v), dx_u += a_u sum of g_uv, dz_v -= sum of g_uv a_u."""
    left, right, n = op.left, op.right, op.n
    for s in range(op.stacks):
        for u in range(s * left, (s + 1) * left if op.d.a != 0 else s * left):
            weighted_sum(f, op.g + u * right, 1, right, op.x + u * n, op.z + s * right * n, n, op.d.a + u * n,
                         wide(cast(1.0, f)), True, True)
        add_to_rows(f, op.g + s * left * right, op.a + s * left * n, of_stack(op.d.x, s, left * n),
                    of_stack(op.d.z, s, right * n), left, right, n)
    return 0


def _sum(q: Any, t: Any) -> Any:
    return t.sum(q, -1, keepdims=True)


PAIR_SUMS = Op("pair_sums", pair_sums_forward, pair_sums_adjoint, row=PairSums,
               saves={"q": "x z", "x": "q", "z": "q"}, doc="weighted sums of the differences of all pairs of rows",
               batching=lambda r, t: t.pair_sums(r.whole("q"), r.whole("x"), r.whole("z")),
               composition={"q": lambda r, g, t: t.pair_dots(g, r.x, r.z), "x": lambda r, g, t: g * _sum(r.q, t),
                            "z": lambda r, g, t: -t.matmul(t.swapaxes(r.q, -1, -2), g)},
               tangent={"q": lambda r, d, t: t.pair_sums(d, r.x, r.z), "x": lambda r, d, t: d * _sum(r.q, t),
                        "z": lambda r, d, t: -t.matmul(r.q, d)})
PAIR_DOTS = Op("pair_dots", pair_dots_forward, pair_dots_adjoint, row=PairDots,
               saves={"a": "x z", "x": "a", "z": "a"}, doc="dot products of rows with the differences of all pairs",
               batching=lambda r, t: t.pair_dots(r.whole("a"), r.whole("x"), r.whole("z")),
               composition={"a": lambda r, g, t: t.pair_sums(g, r.x, r.z), "x": lambda r, g, t: r.a * _sum(g, t),
                            "z": lambda r, g, t: -t.matmul(t.swapaxes(g, -1, -2), r.a)},
               tangent={"a": lambda r, d, t: t.pair_dots(d, r.x, r.z), "x": lambda r, d, t: _sum(r.a * d, t),
                        "z": lambda r, d, t: -t.matmul(r.a, t.swapaxes(d, -1, -2))})
