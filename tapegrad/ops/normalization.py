"""Normalisation over a batch, a fused op; `row_normalization` has that over rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..engine.caller import user_line
from ..engine.language import cast, device, doubles_at, held, read, wide, write
from ..engine.mathematics.sums import (
    COLUMNS,
    add_row,
    add_to_total,
    clear_totals,
    give_totals,
    row_total,
    sum_rows,
    total_at,
)
from ..engine.ranks import AVERAGE, NOT_SUMMED, SUM, over_ranks
from ..engine.row import Aux, Input, Output, Row, absent, contiguous, double, fixed, int64, overwritten
from ..engine.tiles.tile import stack
from ..errors import CaptureError
from .reduction import LARGE, SMALL, square_deviation
from .row_normalization import TOGETHER, inverse_deviation, row_norm_step, slope_sums
from .standardization import Laid, Scaled, Standardized, adjoints, channels_of_each, tangent
from .table import Op


class BatchNorm(Row):
    """An empty batch has no statistics: it changes none, but is counted."""

    y: Output
    x: Input = contiguous
    weight: Input = contiguous | absent
    bias: Input = contiguous | absent
    running_mean: Input = absent | overwritten | fixed
    running_var: Input = absent | overwritten | fixed
    tracked: Input = contiguous | overwritten | int64  # batches
    mean: Aux
    rstd: Aux
    sums: Aux  # 2 c
    samples: int
    channels: int
    s: int  # elements of a channel in a sample
    eps: double
    momentum: double  # negative: cumulative
    has_weight: bool
    has_bias: bool
    by_batch: bool  # whether the statistics are the batch's
    follows: bool  # whether the running ones are updated
    counts: bool  # whether batches are counted
    mean_stride: int
    var_stride: int
    ranks: int  # address of the table of `engine.ranks` if the batch is that of all ranks, or 0


@device
def batch_statistics(op: BatchNorm, f: Any, i: Any) -> int:
    """mean, rstd and, in the place of the sums, the variance for the running one, by channel.

    Over several ranks all means are averaged, and then all mean squares of the deviations from these.
    """
    channels, s, mean, scratch, eps = op.channels, op.s, op.mean, stack(f), op.eps
    count, totals = op.samples * s, doubles_at(f, scratch)
    each = 1.0 / wide(count)
    if s == 1:
        sum_rows(f, mean, op.x, channels, op.samples, channels, each, False)
    else:
        for left in range(0, channels, COLUMNS):
            n = min(COLUMNS, channels - left)
            clear_totals(f, totals, n)
            for sample in range(op.samples):
                for c in range(n):
                    add_to_total(f, totals, c, row_total(f, op.x + (sample * channels + left + c) * s, s))
            give_totals(f, totals, n, each, mean + left, 1, False)
    if op.ranks != 0 and over_ranks(op.ranks, AVERAGE, mean, channels, count, i) < 0:
        return NOT_SUMMED
    for left in range(0, channels, COLUMNS):
        n = min(COLUMNS, channels - left)
        clear_totals(f, totals, n)
        if s == 1:
            batch_squares(op, f, totals, scratch + 2 * COLUMNS, left, n)
        else:
            for sample in range(op.samples):
                for c in range(n):
                    x = op.x + (sample * channels + left + c) * s
                    add_to_total(f, totals, c, square_deviation(f, x, s, f[mean + left + c]))
        for c in range(n):
            square = total_at(f, totals, c)
            f[op.rstd + left + c] = inverse_deviation(square, count, eps, f)
            f[op.sums + left + c] = cast(square / (wide(count) - (1.0 if op.ranks == 0 else 0.0)), f)
    if op.ranks != 0:
        count = over_ranks(op.ranks, AVERAGE, op.sums, channels, count, i)
        if count < 0:
            return NOT_SUMMED
        for c in range(channels):
            square = wide(f[op.sums + c])
            f[op.rstd + c] = inverse_deviation(square, 1, eps, f)
            f[op.sums + c] = cast(square * wide(count) / (wide(count) - 1.0), f)
    return 0


@device
def batch_squares(op: BatchNorm, f: Any, totals: Any, parts: int, left: int, n: int) -> int:
    """Accumulate the squared deviations of `n` channels from `left` on, for samples of one element a channel."""
    channels, mean, safe = op.channels, op.mean + left, True
    for sample in range(op.samples):
        x = op.x + sample * channels + left
        if sample % TOGETHER == 0:
            for c in range(n):
                d = f[x + c] - f[mean + c]
                f[parts + c] = d * d
        else:
            for c in range(n):
                d = f[x + c] - f[mean + c]
                f[parts + c] += d * d
        if sample % TOGETHER == TOGETHER - 1 or sample == op.samples - 1:
            add_row(f, totals, n, parts, 1)
    for c in range(n):
        safe = safe and total_at(f, totals, c) > SMALL and total_at(f, totals, c) < LARGE
    if not safe:
        clear_totals(f, totals, n)
        for sample in range(op.samples):
            x = op.x + sample * channels + left
            for c in range(n):
                d = wide(f[x + c]) - wide(f[mean + c])
                add_to_total(f, totals, c, d * d)
    return 0


def batch_norm_forward(op: BatchNorm, f: Any, i: Any, b: Any) -> int:
    """y = w (x - mean) rstd + bias by channel; in training the running statistics are updated."""
    channels, s, momentum, mean, rstd = op.channels, op.s, op.momentum, op.mean, op.rstd
    if op.by_batch != 0 and op.follows != 0 and op.counts != 0:
        i[op.tracked] += 1
    if op.samples * s == 0:
        for c in range(channels):
            f[mean + c], f[rstd + c] = 0.0, 0.0
        return 0
    if op.by_batch != 0:
        status = batch_statistics(op, f, i)
        if status != 0:
            return status
        if op.follows != 0:
            part = momentum
            if momentum < 0.0:
                part = 1.0 / wide(i[op.tracked])
            for c in range(channels):
                moved, spread = op.running_mean + c * op.mean_stride, op.running_var + c * op.var_stride
                # in float64: float32 keeps no more digits of 1 + (variance - 1) than of 1
                before, after = wide(f[moved]), wide(f[spread])
                f[moved] = cast(before + part * (wide(f[mean + c]) - before), f)
                f[spread] = cast(after + part * (wide(f[op.sums + c]) - after), f)
    else:
        for c in range(channels):
            f[mean + c] = f[op.running_mean + c * op.mean_stride]
            f[rstd + c] = inverse_deviation(wide(f[op.running_var + c * op.var_stride]), 1, op.eps, f)
    zero, one = cast(0.0, f), cast(1.0, f)
    for sample in range(op.samples):
        x, y = op.x + sample * channels * s, op.y + sample * channels * s
        for c in range(channels):
            slope = f[rstd + c] * (f[op.weight + c] if op.has_weight != 0 else one)
            shift = f[op.bias + c] if op.has_bias != 0 else zero
            middle = f[mean + c]
            for k in range(c * s, c * s + s):
                f[y + k] = slope * (f[x + k] - middle) + shift
    return 0


@device
def batch_norm_sums(op: BatchNorm, f: Any, second: bool) -> int:
    """The sums of g, and of g (x - mean) rstd if `second`, by channel."""
    channels, s, sums, scratch, one = op.channels, op.s, op.sums, stack(f), wide(cast(1.0, f))
    totals, products = doubles_at(f, scratch), doubles_at(f, scratch + 2 * COLUMNS)
    if s == 1:
        sum_rows(f, sums, op.g, channels, op.samples, channels, one, False)
    for left in range(0, channels, COLUMNS):
        n = min(COLUMNS, channels - left)
        clear_totals(f, products, n)
        if s == 1 and second:
            batch_slopes(op, f, products, scratch + 4 * COLUMNS, left, n)
        elif s != 1:
            clear_totals(f, totals, n)
            for sample in range(op.samples):
                for c in range(n):
                    at = (sample * channels + left + c) * s
                    if second:
                        total, product = slope_sums(f, op.g + at, op.x + at, s, f[op.mean + left + c],
                                                    f[op.rstd + left + c])
                        add_to_total(f, totals, c, total)
                        add_to_total(f, products, c, product)
                    else:
                        add_to_total(f, totals, c, row_total(f, op.g + at, s))
            give_totals(f, totals, n, one, sums + left, 1, False)
        give_totals(f, products, n, one, sums + channels + left, 1, False)
    return 0


@device
def batch_slopes(op: BatchNorm, f: Any, totals: Any, parts: int, left: int, n: int) -> int:
    """Accumulate g (x - mean) rstd of `n` channels from `left` on, for samples of one element a channel."""
    mean, rstd = op.mean + left, op.rstd + left
    for sample in range(op.samples):
        x, g = op.x + sample * op.channels + left, op.g + sample * op.channels + left
        if sample % TOGETHER == 0:
            for c in range(n):
                write(f, parts + c, read(f, g + c) * ((read(f, x + c) - read(f, mean + c)) * read(f, rstd + c)))
        else:
            for c in range(n):
                write(f, parts + c, held(f, parts + c) + read(f, g + c) * ((read(f, x + c) - read(f, mean + c))
                                                                     * read(f, rstd + c)))
        if sample % TOGETHER == TOGETHER - 1 or sample == op.samples - 1:
            add_row(f, totals, n, parts, 1)
    return 0


def batch_norm_adjoint(op: BatchNorm, f: Any, i: Any, b: Any) -> int:
    """dx += w rstd (g - (sum g + z sum g z) / count), z = (x - mean) rstd; dw += sum g z; dbias += sum g.

    With running statistics dx += w rstd g.
    """
    channels, s, sums, by_batch = op.channels, op.s, op.sums, op.by_batch != 0
    values, zero, one = op.samples * s, cast(0.0, f), cast(1.0, f)
    moving = by_batch and op.d.x != 0
    if moving or op.d.weight != 0 or op.d.bias != 0:
        batch_norm_sums(op, f, moving or op.d.weight != 0)
    if op.d.weight != 0:
        for c in range(channels):
            f[op.d.weight + c] = f[sums + channels + c] + (zero if op.stores.weight else f[op.d.weight + c])
    if op.d.bias != 0:
        for c in range(channels):
            f[op.d.bias + c] = f[sums + c] + (zero if op.stores.bias else f[op.d.bias + c])
    if moving and op.ranks != 0:
        values = over_ranks(op.ranks, SUM, sums, 2 * channels, values, i)
        if values < 0:
            return NOT_SUMMED
    if op.d.x != 0:
        store, count = op.stores.x, cast(values, f)
        for sample in range(op.samples):
            x, g, dx = op.x + sample * channels * s, op.g + sample * channels * s, op.d.x + sample * channels * s
            for c in range(channels):
                slope = f[op.rstd + c] * (f[op.weight + c] if op.has_weight != 0 else one)
                if by_batch:
                    row_norm_step(f, dx + c * s, x + c * s, g + c * s, s, slope, slope * (f[sums + c] / count),
                                  slope * (f[sums + channels + c] / count), f[op.mean + c], f[op.rstd + c], store)
                else:
                    for k in range(c * s, c * s + s):
                        f[dx + k] = slope * f[g + k] + (zero if store else f[dx + k])
    return 0


def of_batch(r: Any, t: Any) -> tuple[Laid, Callable]:
    """How channels lie, and z, as a composition."""
    if r.ranks:
        raise CaptureError(f"{user_line()}: batch_norm with sync=True has first derivatives by the reverse walk only, "
                           "for its statistics are those of several processes")
    laid = Laid((r.samples, r.channels, r.s), (0, 2), (r.channels, 1), (0, 2))
    if r.by_batch:
        return laid, lambda: Standardized(r, t, laid, True)

    def kept(name: str) -> Any:
        return r.kept(name, (r.channels,), r.kinds[0][1])

    def scaled() -> Scaled:
        rstd = kept("rstd")
        return Scaled(r, t, laid, lambda: r.running_mean if rstd is None else kept("mean"),
                      1.0 / t.sqrt(r.running_var + r.eps) if rstd is None else rstd)

    return laid, scaled


BATCH_NORM = Op("batch_norm", batch_norm_forward, batch_norm_adjoint, row=BatchNorm, stores=True,
                saves={"x": "x weight mean rstd sums", "weight": "x mean rstd sums", "bias": "sums"},
                doc="w (x - mean) / sqrt(var + eps) + bias over the batch, by channel",
                again={"follows": 0, "counts": 0}, composition=partial(adjoints, of_batch),
                tangent=partial(tangent, of_batch), batching=channels_of_each)
BATCH_NORM_FIXED = Op("batch_norm_fixed", batch_norm_forward, batch_norm_adjoint, row=BatchNorm, stores=True, states=0,
                      saves={"x": "weight rstd", "weight": "x mean rstd sums", "bias": "sums"},
                      doc="batch_norm by the running statistics", composition=partial(adjoints, of_batch),
                      tangent=partial(tangent, of_batch), batching=channels_of_each)
