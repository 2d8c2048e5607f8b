"""Norms of rows, and the distances of all pairs of rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine.language import apart, cast, device, doubles_at, plus, wide
from ..engine.mathematics import vecmath as m
from ..engine.mathematics.sums import (
    COLUMNS,
    add_row,
    clear_totals,
    give_totals,
    grown,
    parts_of_total,
    restored,
)
from ..engine.mathematics.sums import ROWS as TOGETHER
from ..engine.row import Input, Nest, Output, Row, contiguous
from ..engine.tiles.tile import stack
from .nest import column_stride, row_offset
from .reduction import LARGE, SMALL, SUMMED, rows
from .rules import sign
from .table import Op

INFINITY = math.inf


@device
def component(f: Any, x: int, z: int, k: int, paired: bool) -> Any:
    """Element `k` of x, or of x - z."""
    return f[x + k] - f[z + k] if paired else f[x + k]


@device
def extreme(f: Any, x: int, z: int, n: int, largest: bool, paired: bool) -> Any:
    """Maximum, or minimum, of magnitudes; NaN if there is one."""
    best = m.abs(component(f, x, z, 0, paired))
    for k in range(1, n):
        v = m.abs(component(f, x, z, k, paired))
        better = v > best if largest else v < best
        best = v if better or v != v else best
    return best


@device
def p_norm(f: Any, x: int, z: int, n: int, p: Any, paired: bool) -> Any:
    """(sum |d|^p)^(1/p) of the row d = x, or x - z; maximum and minimum of magnitudes for p = inf and -inf.

    For p = 0 the number of nonzero elements. Powers that could overflow or underflow are scaled by an extreme.
    """
    zero, one = cast(0.0, f), cast(1.0, f)
    if n == 0:
        return zero
    total = wide(zero)
    lost = total
    if p == 2.0:
        for first in range(0, n, SUMMED):
            part = zero
            for k in range(first, min(first + SUMMED, n)):
                d = component(f, x, z, k, paired)
                part = plus(part, d * d)
            total, lost = grown(f, total, lost, wide(part))
        total = restored(f, total, lost)
        if total > SMALL and total < LARGE:
            return cast(m.sqrt(total), f)
    elif p == 1.0:
        for first in range(0, n, SUMMED):
            part = zero
            for k in range(first, min(first + SUMMED, n)):
                part = plus(part, m.abs(component(f, x, z, k, paired)))
            total, lost = grown(f, total, lost, wide(part))
        return cast(restored(f, total, lost), f)
    elif p == 0.0:
        for k in range(n):
            total += 1.0 if component(f, x, z, k, paired) != 0.0 else 0.0
        return cast(total, f)
    top = extreme(f, x, z, n, p > 0.0, paired)
    if m.abs(p) == INFINITY or top == 0.0 or top == INFINITY or top != top:
        return top
    total = wide(zero)
    lost = total
    for k in range(n):
        total, lost = grown(f, total, lost, wide(m.power(m.abs(component(f, x, z, k, paired)) / top, p)))
    return top * m.power(cast(restored(f, total, lost), f), one / p)


@device
def slope_pass(f: Any, x: int, z: int, target: int, n: int, p: Any, r: Any, g: Any, store: bool, paired: bool) -> int:
    """f[target + k] += g dr/dd_k, d the row and r its norm: g sign(d) (|d| / r)^(p - 1); 0 where d or r is 0.

    Ties share g for p = inf and -inf.
    """
    zero, one = cast(0.0, f), cast(1.0, f)
    share = zero
    if p == 2.0:
        slope, size = (g, r) if r != 0.0 else (zero, one)
        if store:
            for k in range(n):
                f[target + k] = slope * (component(f, x, z, k, paired) / size)
        else:
            for k in range(n):
                f[target + k] += slope * (component(f, x, z, k, paired) / size)
        return 0
    if p == 1.0:
        for k in range(n):
            f[target + k] = g * sign(component(f, x, z, k, paired)) + (zero if store else f[target + k])
        return 0
    if m.abs(p) == INFINITY:
        for k in range(n):
            share += 1.0 if m.abs(component(f, x, z, k, paired)) == r else 0.0
        share = g / share
    for k in range(n):
        d = component(f, x, z, k, paired)
        part = zero
        if m.abs(p) == INFINITY:
            part = share * sign(d) if m.abs(d) == r else zero
        elif p != 0.0 and d != 0.0 and r != 0.0:
            part = g * sign(d) * m.power(m.abs(d) / r, p - 1.0)
        f[target + k] = part + (zero if store else f[target + k])
    return 0


def norm_row(f: Any, y: int, x: int, n: int, p: Any) -> int:
    f[y] = p_norm(f, x, x, n, p, False)
    return 0


def norm_row_adjoint(f: Any, y: int, g: int, x: int, dx: int, n: int, p: Any, store: bool) -> int:
    return slope_pass(f, x, x, dx, n, p, f[y], f[g], store, False)


def slopes(d: Any, r: Any, p: float, t: Any) -> Any:
    """dr/dd as `slope_pass` has it: sign(d) (|d| / r)^(p - 1), 0 where d or r is 0; None where it is 0 everywhere."""
    if p == 0.0:
        return None
    if p == 1.0:
        return t.sign(d)
    if p == 2.0:
        nought = t.equal(r, 0.0)
        return t.where(nought, 0.0, d / t.where(nought, 1.0, r))
    size = t.abs(d)
    if math.isinf(p):
        extremes = t.equal(size, r)
        ties = t.sum(t.where(extremes, np.ones(1, d.dtype), 0.0), -1, keepdims=True)
        return t.where(extremes, t.sign(d) / ties, 0.0)
    usual = t.logical_and(t.not_equal(d, 0.0), t.not_equal(r, 0.0))
    ratio = t.where(usual, size, 1.0) / t.where(t.equal(r, 0.0), 1.0, r)
    return t.where(usual, t.sign(d) * t.power(ratio, p - 1.0), 0.0)


NORM = rows("norm", norm_row, norm_row_adjoint, "y x", True, "p-norm; its gradient is 0 at 0",
            weights=lambda r, t: slopes(r.x, r.y, r.p, t))


#: distances of a point below which their contributions are added up as they come
FEW = 32


class Cdist(Row):
    y: Output
    x: Input = contiguous
    z: Input = contiguous
    left: int  # rows of x
    right: int  # rows of z
    n: int  # elements of a row
    p: float
    nest: Nest = Nest.over("y", "x", "z")


def cdist_forward(op: Cdist, f: Any, i: Any, b: Any) -> int:
    """y_ij = |x_i - z_j|_p, for each matrix of the batch."""
    left, right, n, p = op.left, op.right, op.n, op.p
    for row in range(op.nest.rows):
        for column in range(op.nest.columns):
            y = op.y + row_offset(op, op.nest, 0, row) + column * column_stride(op, op.nest, 0)
            x = op.x + row_offset(op, op.nest, 1, row) + column * column_stride(op, op.nest, 1)
            z = op.z + row_offset(op, op.nest, 2, row) + column * column_stride(op, op.nest, 2)
            for u in range(left):
                for v in range(right):
                    f[y + u * right + v] = p_norm(f, x + u * n, z + v * n, n, p, True)
    return 0


@device
def cdist_sums(f: Any, x: int, z: int, y: int, g: int, dx: int, left: int, right: int, by_x: int, by_z: int, n: int,
               p: Any) -> int:
    """dx_i += sum_j g_ij dy_ij/dx_i, of rows of at most `COLUMNS`; y_ij lies at ``y + i by_x + j by_z``."""
    apart()
    totals, part, one = doubles_at(f, stack(f)), stack(f) + 2 * COLUMNS, wide(cast(1.0, f))
    for u in range(left):
        clear_totals(f, totals, n)
        for v in range(right):
            at = u * by_x + v * by_z
            slope_pass(f, x + u * n, z + v * n, part, n, p, f[y + at], f[g + at], v % TOGETHER == 0, True)
            if v % TOGETHER == TOGETHER - 1 or v == right - 1:
                add_row(f, totals, n, part, 1)
        give_totals(f, totals, n, one, dx + u * n, 1, True)
    return 0


def cdist_adjoint(op: Cdist, f: Any, i: Any, b: Any) -> int:
    """dx_i += g_ij dy_ij/d(x_i - z_j), dz_j -= the same; nothing where both are equal."""
    left, right, n, p = op.left, op.right, op.n, op.p
    totals = parts_of_total(f) == 2 and n <= COLUMNS
    many = totals and op.d.x != 0 and right >= FEW, totals and op.d.z != 0 and left >= FEW
    for row in range(op.nest.rows):
        for column in range(op.nest.columns):
            pair = row_offset(op, op.nest, 0, row) + column * column_stride(op, op.nest, 0)
            to_x = row_offset(op, op.nest, 1, row) + column * column_stride(op, op.nest, 1)
            to_z = row_offset(op, op.nest, 2, row) + column * column_stride(op, op.nest, 2)
            if many[0]:
                cdist_sums(f, op.x + to_x, op.z + to_z, op.y + pair, op.g + pair, op.d.x + to_x, left, right, right, 1,
                           n, p)
            if many[1]:
                cdist_sums(f, op.z + to_z, op.x + to_x, op.y + pair, op.g + pair, op.d.z + to_z, right, left, 1, right,
                           n, p)
            for u in range(left):
                for v in range(right):
                    at, xu, zv = pair + u * right + v, to_x + u * n, to_z + v * n
                    for side in range(2):
                        if op[op.place.x + 1 + 2 * side] != 0 and not many[side]:  # op.d.x, op.d.z
                            target = op.d.x + xu if side == 0 else op.d.z + zv
                            g = f[op.g + at] if side == 0 else -f[op.g + at]
                            slope_pass(f, op.x + xu, op.z + zv, target, n, p, f[op.y + at], g, False, True)
    return 0


def of_pairs(r: Any, t: Any) -> Any:
    """w_ij = dy_ij/d(x_i - z_j)."""
    return slopes(t.expand_dims(r.x, -2) - t.expand_dims(r.z, -3), t.expand_dims(r.y, -1), r.p, t)


def stacked(r: Any, t: Any) -> tuple[Any, Any]:
    """x and z with the leading axes of the distances."""
    return tuple(t.broadcast_to(a, (*r.shape[:-2], *a.shape[-2:])) for a in (r.x, r.z))  # type: ignore[return-value]


def over_distances(r: Any, a: Any, t: Any) -> Any:
    """a_ij / y_ij, 0 where y_ij is."""
    nought = t.equal(r.y, 0.0)
    return t.where(nought, 0.0, a / t.where(nought, 1.0, r.y))


def cdist_to(axis: int, sign: float) -> Callable:
    """dx_i = sum_j g_ij w_ij, dz_j = -sum_i g_ij w_ij."""

    def contribution(r: Any, g: Any, t: Any) -> Any:
        if r.p == 2.0:
            x, z = stacked(r, t)
            q = t.swapaxes(over_distances(r, g, t), -1, -2) if sign < 0.0 else over_distances(r, g, t)
            return t.pair_sums(q, z, x) if sign < 0.0 else t.pair_sums(q, x, z)
        w = of_pairs(r, t)
        return 0 if w is None else t.sum(t.expand_dims(g, -1) * w, axis) * sign

    return contribution


def cdist_by(axis: int, sign: float) -> Callable:
    """dy_ij = w_ij (dx_i - dz_j)."""

    def tangent(r: Any, d: Any, t: Any) -> Any:
        if r.p == 2.0:
            x, z = stacked(r, t)
            d = t.broadcast_to(d, (z if sign < 0.0 else x).shape)
            dots = t.swapaxes(t.pair_dots(d, z, x), -1, -2) if sign < 0.0 else t.pair_dots(d, x, z)
            return over_distances(r, dots, t)
        w = of_pairs(r, t)
        return 0 if w is None else t.sum(t.expand_dims(d, axis) * w, -1) * sign

    return tangent


CDIST = Op("cdist", cdist_forward, cdist_adjoint, row=Cdist, saves={"x": "y x z", "z": "y x z"},
           doc="p-norms of all differences of rows", batching="nest",
           composition={"x": cdist_to(-2, 1.0), "z": cdist_to(-3, -1.0)},
           tangent={"x": cdist_by(-2, 1.0), "z": cdist_by(-3, -1.0)})
