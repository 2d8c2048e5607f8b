"""Normalisation over rows, a fused op: of layers, groups and instances, and by the root mean square."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..engine.kernels import Kernel
from ..engine.language import cast, device, doubles_at, held, plus, read, wide, words_at, write
from ..engine.mathematics import vecmath as m
from ..engine.mathematics.sums import (
    COLUMNS,
    add_row,
    add_to_total,
    clear_totals,
    give_totals,
    grown,
    restored,
    row_total,
    sum_rows,
)
from ..engine.row import Aux, Input, Output, Part, Row, absent, contiguous, double
from ..engine.threads.team import share
from ..engine.tiles.tile import stack
from .reduction import SUMMED, deviation_sum, mean_of, square_deviation
from .standardization import Laid, Standardized, adjoints, rows_of_each, tangent
from .table import Op

TOGETHER = 8  # rows that are summed in the tape's dtype before their sum is accumulated in float64
PART_ELEMENTS, PARTS = 1 << 14, 4  # elements of a parallel part of rows at least, and parts at most


class RowNorm(Row):
    """A row holds n / s channels, from number (row % groups) n / s on.

    A part is some of the rows, and of dw and dbias some of the channels, over all rows.
    """

    y: Output
    x: Input = contiguous
    weight: Input = contiguous | absent
    bias: Input = contiguous | absent
    mean: Aux
    rstd: Aux
    rows: int
    n: int  # elements of a row
    groups: int  # a row is a sample's group
    s: int  # elements of a channel
    eps: double
    centred: bool  # whether the mean is subtracted
    has_weight: bool
    has_bias: bool
    team: int
    forward_part: int  # addresses of the kernels that run a part
    adjoint_part: int
    parts: int


@device
def inverse_deviation(square: Any, count: int, eps: Any, f: Any) -> Any:
    """1 / sqrt(square / count + eps), of float64s: the square may overflow float32."""
    return cast(1.0 / m.sqrt(square / wide(count) + eps), f)


def row_norm_forward(op: RowNorm, f: Any, i: Any, b: Any) -> int:
    """y = w (x - mean) rstd + bias, rstd = 1 / sqrt(mean of (x - mean)^2 + eps)."""
    return share(op.team, op.forward_part, op, op.parts, f, i, b)


def row_norm_forward_part(part: Part, f: Any, i: Any, b: Any) -> int:
    """Some rows of `row_norm_forward`."""
    op: RowNorm = words_at(part.row)
    n, s, eps = op.n, op.s, op.eps
    channels = n // s
    for row in range(part.number * op.rows // part.count, (part.number + 1) * op.rows // part.count):
        x, y = op.x + row * n, op.y + row * n
        mean = mean_of(f, x, n) if op.centred != 0 else cast(0.0, f)
        rstd = inverse_deviation(square_deviation(f, x, n, mean), n, eps, f)
        f[op.mean + row], f[op.rstd + row] = mean, rstd
        first = row % op.groups * channels
        w, bias = op.weight + first, op.bias + first
        if op.has_weight == 0:
            for k in range(n):
                f[y + k] = (f[x + k] - mean) * rstd
        elif s == 1:
            if op.has_bias != 0:
                for k in range(n):
                    f[y + k] = f[w + k] * ((f[x + k] - mean) * rstd) + f[bias + k]
            else:
                for k in range(n):
                    f[y + k] = f[w + k] * ((f[x + k] - mean) * rstd)
        else:
            for c in range(channels):
                slope = f[w + c]
                shift = f[bias + c] if op.has_bias != 0 else cast(0.0, f)
                for k in range(c * s, c * s + s):
                    f[y + k] = slope * ((f[x + k] - mean) * rstd) + shift
    return 0


@device
def row_norm_affine(op: RowNorm, f: Any, low: int, high: int) -> int:
    """dw += sum of g (x - mean) rstd, dbias += sum of g, over the rows, for channels `low` to `high` of a row's."""
    n, s, groups, to_w, to_bias, one = op.n, op.s, op.groups, op.d.weight, op.d.bias, wide(cast(1.0, f))
    channels, scratch, add_w, add_bias = n // s, stack(f), not op.stores.weight, not op.stores.bias
    totals = doubles_at(f, scratch)
    for group in range(groups):
        first = group * channels
        for left in range(low, high, COLUMNS):
            count = min(COLUMNS, high - left)
            if to_w != 0:
                clear_totals(f, totals, count)
                if s == 1:
                    row_norm_slopes(op, f, totals, scratch + 2 * COLUMNS, group, left, count)
                else:
                    for row in range(group, op.rows, groups):
                        g, x, mean, rstd = op.g + row * n, op.x + row * n, f[op.mean + row], f[op.rstd + row]
                        for c in range(count):
                            at = (left + c) * s
                            add_to_total(f, totals, c, deviation_sum(f, g + at, x + at, s, mean, rstd))
                give_totals(f, totals, count, one, to_w + first + left, 1, add_w)
            if to_bias != 0 and s != 1:
                clear_totals(f, totals, count)
                for row in range(group, op.rows, groups):
                    for c in range(count):
                        add_to_total(f, totals, c, row_total(f, op.g + row * n + (left + c) * s, s))
                give_totals(f, totals, count, one, to_bias + first + left, 1, add_bias)
        if to_bias != 0 and s == 1:
            sum_rows(f, to_bias + first + low, op.g + group * n + low, groups * n, op.rows // groups, high - low, one,
                     add_bias)
    return 0


@device
def row_norm_slopes(op: RowNorm, f: Any, totals: Any, parts: int, group: int, left: int, count: int) -> int:
    """Accumulate g (x - mean) rstd of the rows of a group into the totals of `count` elements from `left` on."""
    n, taken = op.n, 0
    for row in range(group, op.rows, op.groups):
        g, x, mean, rstd = op.g + row * n + left, op.x + row * n + left, f[op.mean + row], f[op.rstd + row]
        if taken == 0:
            for k in range(count):
                write(f, parts + k, read(f, g + k) * ((read(f, x + k) - mean) * rstd))
        else:
            for k in range(count):
                write(f, parts + k, held(f, parts + k) + read(f, g + k) * ((read(f, x + k) - mean) * rstd))
        taken += 1
        if taken == TOGETHER:
            add_row(f, totals, count, parts, 1)
            taken = 0
    if taken != 0:
        add_row(f, totals, count, parts, 1)
    return 0


@device
def row_norm_step(f: Any, dx: int, x: int, g: int, n: int, slope: Any, a: Any, c: Any, mean: Any, rstd: Any,
                  store: bool) -> int:
    """dx += slope g - a - c (x - mean) rstd, `slope` one number for all."""
    if store:
        for k in range(n):
            f[dx + k] = slope * f[g + k] - a - c * ((f[x + k] - mean) * rstd)
    else:
        for k in range(n):
            f[dx + k] += slope * f[g + k] - a - c * ((f[x + k] - mean) * rstd)
    return 0


@device
def slope_sums(f: Any, g: int, x: int, n: int, mean: Any, rstd: Any) -> Any:
    """The sums of g and of g (x - mean) rstd, as float64s."""
    total, inner = wide(cast(0.0, f)), wide(cast(0.0, f))
    total_lost, inner_lost = total, inner
    for first in range(0, n, SUMMED):
        part, product = cast(0.0, f), cast(0.0, f)
        for k in range(first, min(first + SUMMED, n)):
            part, product = plus(part, f[g + k]), plus(product, f[g + k] * ((f[x + k] - mean) * rstd))
        total, total_lost = grown(f, total, total_lost, wide(part))
        inner, inner_lost = grown(f, inner, inner_lost, wide(product))
    return restored(f, total, total_lost), restored(f, inner, inner_lost)


@device
def row_norm_sums(op: RowNorm, f: Any, x: int, g: int, w: int, mean: Any, rstd: Any) -> Any:
    """The sums of h = w g and of h (x - mean) rstd over a row, as float64s."""
    n, s = op.n, op.s
    if op.has_weight == 0:
        return slope_sums(f, g, x, n, mean, rstd)
    total, inner = wide(cast(0.0, f)), wide(cast(0.0, f))
    total_lost, inner_lost = total, inner
    if s == 1:
        for first in range(0, n, SUMMED):
            part, product = cast(0.0, f), cast(0.0, f)
            for k in range(first, min(first + SUMMED, n)):
                h = f[w + k] * f[g + k]
                part, product = plus(part, h), plus(product, h * ((f[x + k] - mean) * rstd))
            total, total_lost = grown(f, total, total_lost, wide(part))
            inner, inner_lost = grown(f, inner, inner_lost, wide(product))
        return restored(f, total, total_lost), restored(f, inner, inner_lost)
    for c in range(n // s):
        part, product = slope_sums(f, g + c * s, x + c * s, s, mean, rstd)
        total, total_lost = grown(f, total, total_lost, wide(f[w + c]) * part)
        inner, inner_lost = grown(f, inner, inner_lost, wide(f[w + c]) * product)
    return restored(f, total, total_lost), restored(f, inner, inner_lost)


def row_norm_adjoint(op: RowNorm, f: Any, i: Any, b: Any) -> int:
    """dx += rstd (h - mean(h) - z mean(h z)), h = w g, z = (x - mean) rstd; dw += sum g z; dbias += sum g."""
    return share(op.team, op.adjoint_part, op, op.parts, f, i, b)


def row_norm_adjoint_part(part: Part, f: Any, i: Any, b: Any) -> int:
    """Some rows and some channels of `row_norm_adjoint`."""
    op: RowNorm = words_at(part.row)
    n, s, store = op.n, op.s, op.stores.x
    channels = n // s
    # with less than two vectors of channels a part would spend its time on the rows
    slices = max(min(part.count, channels * s // 32), 1)
    every = part.count // slices
    if (op.d.weight != 0 or op.d.bias != 0) and part.number % every == 0 and part.number // every < slices:
        own = part.number // every
        row_norm_affine(op, f, own * channels // slices, (own + 1) * channels // slices)
    if op.d.x == 0:
        return 0
    for row in range(part.number * op.rows // part.count, (part.number + 1) * op.rows // part.count):
        x, g, dx, mean, rstd = op.x + row * n, op.g + row * n, op.d.x + row * n, f[op.mean + row], f[op.rstd + row]
        w = op.weight + row % op.groups * channels
        total, inner = row_norm_sums(op, f, x, g, w, mean, rstd)
        shift = cast(wide(rstd) * total / wide(n), f) if op.centred != 0 else cast(0.0, f)
        pull = cast(wide(rstd) * inner / wide(n), f)
        if op.has_weight != 0 and s == 1:
            if store:
                for k in range(n):
                    f[dx + k] = rstd * f[w + k] * f[g + k] - shift - pull * ((f[x + k] - mean) * rstd)
            else:
                for k in range(n):
                    f[dx + k] += rstd * f[w + k] * f[g + k] - shift - pull * ((f[x + k] - mean) * rstd)
        elif op.has_weight == 0:
            row_norm_step(f, dx, x, g, n, rstd, shift, pull, mean, rstd, store)
        else:
            for c in range(channels):
                row_norm_step(f, dx + c * s, x + c * s, g + c * s, s, rstd * f[w + c], shift, pull, mean, rstd, store)
    return 0


def of_rows(r: Any, t: Any) -> tuple[Laid, Callable]:
    """How rows lie, and z, as a composition."""
    laid = Laid((r.rows // r.groups, r.groups, r.n // r.s, r.s), (2, 3), (r.groups, r.n // r.s, 1), (0, 3))
    return laid, lambda: Standardized(r, t, laid, r.centred)


ROW_NORM_PARTS = Kernel("row_norm.forward_part", row_norm_forward_part), Kernel("row_norm.part", row_norm_adjoint_part)
ROW_NORM = Op("row_norm", row_norm_forward, row_norm_adjoint, row=RowNorm, stores=True,
              saves={"x": "x weight mean rstd", "weight": "x mean rstd"},
              doc="w (x - mean) / sqrt(var + eps) + bias over rows", composition=partial(adjoints, of_rows),
              tangent=partial(tangent, of_rows), batching=rows_of_each)
