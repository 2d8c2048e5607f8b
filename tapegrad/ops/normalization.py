"""Normalisation, each one fused op: over rows (layer, group, instance, root mean square) and over a batch."""

from __future__ import annotations

from typing import Any

from ..engine import vecmath as m
from ..engine.jit import Kernel, cast, device, doubles_at, plus, read, real, real64, wide, words_at, write
from ..engine.sums import COLUMNS, add_row, clear_totals, give_totals, sum_rows, total_of
from ..engine.team import share
from ..engine.tile import stack
from .reduction import LARGE, SMALL, SUMMED, deviation_sum, mean_of, square_deviation
from .table import Op

TOGETHER = 8  # rows that are added up in the tape's dtype before their sum is added in float64
PART_ELEMENTS, PARTS = 1 << 14, 4  # elements that a part of rows has at least, and parts at most

# ------------------------------------------------------------------ rows

# Words: 1 y, 2 g, 3 x, 4 dx, 5 w, 6 dw, 7 bias, 8 dbias, 9 mean, 11 rstd, 13 rows, 14 elements of a row n,
# 15 groups (a row is a sample's group), 16 elements of a channel s, 17 eps, 18 whether the mean is taken off,
# 19 and 20 whether there are w and bias, 21 team, 22 and 23 addresses of the kernels of a part, 24 parts. A row holds
# n / s channels, from number (row % groups) n / s on. A part is some of the rows, and of dw and dbias some of the
# channels, over all rows.


@device
def inverse_deviation(square: Any, count: int, eps: Any, f: Any) -> Any:
    """1 / sqrt(square / count + eps), of float64s: the square of a float32 may be none."""
    return cast(1.0 / m.sqrt(square / wide(count) + eps), f)


def row_norm_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y = w (x - mean) rstd + bias, rstd = 1 / sqrt(mean of (x - mean)^2 + eps)."""
    return share(op[21], op[22], op, op[24], f, i, b)


def row_norm_forward_part(part: Any, f: Any, i: Any, b: Any) -> int:
    """Some rows of `row_norm_forward`."""
    op = words_at(part[0])
    n, s, eps = op[14], op[16], real64(op, 17)
    channels = n // s
    for row in range(part[1] * op[13] // part[2], (part[1] + 1) * op[13] // part[2]):
        x, y = op[3] + row * n, op[1] + row * n
        mean = mean_of(f, x, n) if op[18] != 0 else cast(0.0, f)
        rstd = inverse_deviation(square_deviation(f, x, n, mean), n, eps, f)
        f[op[9] + row], f[op[11] + row] = mean, rstd
        first = row % op[15] * channels
        w, bias = op[5] + first, op[7] + first
        if op[19] == 0:
            for k in range(n):
                f[y + k] = (f[x + k] - mean) * rstd
        elif s == 1:
            if op[20] != 0:
                for k in range(n):
                    f[y + k] = f[w + k] * ((f[x + k] - mean) * rstd) + f[bias + k]
            else:
                for k in range(n):
                    f[y + k] = f[w + k] * ((f[x + k] - mean) * rstd)
        else:
            for c in range(channels):
                slope = f[w + c]
                shift = f[bias + c] if op[20] != 0 else cast(0.0, f)
                for k in range(c * s, c * s + s):
                    f[y + k] = slope * ((f[x + k] - mean) * rstd) + shift
    return 0


@device
def row_norm_affine(op: Any, f: Any, low: int, high: int) -> int:
    """dw += sum of g (x - mean) rstd, dbias += sum of g, over the rows, for channels `low` to `high` of a row's."""
    n, s, groups, to_w, to_bias, one = op[14], op[16], op[15], op[6], op[8], wide(cast(1.0, f))
    channels, scratch, add_w, add_bias = n // s, stack(f), op[0] & 4 == 0, op[0] & 8 == 0
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
                    for row in range(group, op[13], groups):
                        g, x, mean, rstd = op[2] + row * n, op[3] + row * n, f[op[9] + row], f[op[11] + row]
                        for c in range(count):
                            at = (left + c) * s
                            totals[c] += deviation_sum(f, g + at, x + at, s, mean, rstd)
                give_totals(f, totals, count, one, to_w + first + left, 1, add_w)
            if to_bias != 0 and s != 1:
                clear_totals(f, totals, count)
                for row in range(group, op[13], groups):
                    for c in range(count):
                        totals[c] += total_of(f, op[2] + row * n + (left + c) * s, s, 1)
                give_totals(f, totals, count, one, to_bias + first + left, 1, add_bias)
        if to_bias != 0 and s == 1:
            sum_rows(f, to_bias + first + low, op[2] + group * n + low, groups * n, op[13] // groups, high - low, one,
                     add_bias)
    return 0


@device
def row_norm_slopes(op: Any, f: Any, totals: Any, parts: int, group: int, left: int, count: int) -> int:
    """Add g (x - mean) rstd of the rows of a group to the totals of `count` elements from `left` on."""
    n, taken = op[14], 0
    for row in range(group, op[13], op[15]):
        g, x, mean, rstd = op[2] + row * n + left, op[3] + row * n + left, f[op[9] + row], f[op[11] + row]
        if taken == 0:
            for k in range(count):
                write(f, parts + k, read(f, g + k) * ((read(f, x + k) - mean) * rstd))
        else:
            for k in range(count):
                write(f, parts + k, f[parts + k] + read(f, g + k) * ((read(f, x + k) - mean) * rstd))
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
    for first in range(0, n, SUMMED):
        part, product = cast(0.0, f), cast(0.0, f)
        for k in range(first, min(first + SUMMED, n)):
            part, product = plus(part, f[g + k]), plus(product, f[g + k] * ((f[x + k] - mean) * rstd))
        total += wide(part)
        inner += wide(product)
    return total, inner


@device
def row_norm_sums(op: Any, f: Any, x: int, g: int, w: int, mean: Any, rstd: Any) -> Any:
    """The sums of h = w g and of h (x - mean) rstd over a row, as float64s."""
    n, s = op[14], op[16]
    if op[19] == 0:
        return slope_sums(f, g, x, n, mean, rstd)
    total, inner = wide(cast(0.0, f)), wide(cast(0.0, f))
    if s == 1:
        for first in range(0, n, SUMMED):
            part, product = cast(0.0, f), cast(0.0, f)
            for k in range(first, min(first + SUMMED, n)):
                h = f[w + k] * f[g + k]
                part, product = plus(part, h), plus(product, h * ((f[x + k] - mean) * rstd))
            total += wide(part)
            inner += wide(product)
        return total, inner
    for c in range(n // s):
        part, product = slope_sums(f, g + c * s, x + c * s, s, mean, rstd)
        total += wide(f[w + c]) * part
        inner += wide(f[w + c]) * product
    return total, inner


def row_norm_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dx += rstd (h - mean(h) - z mean(h z)), h = w g, z = (x - mean) rstd; dw += sum g z; dbias += sum g."""
    return share(op[21], op[23], op, op[24], f, i, b)


def row_norm_adjoint_part(part: Any, f: Any, i: Any, b: Any) -> int:
    """Some rows and some channels of `row_norm_adjoint`."""
    op = words_at(part[0])
    n, s, store = op[14], op[16], op[0] & 2 != 0
    channels = n // s
    # a part of less than two vectors of channels would spend its time on the rows
    slices = max(min(part[2], channels * s // 32), 1)
    every = part[2] // slices
    if (op[6] != 0 or op[8] != 0) and part[1] % every == 0 and part[1] // every < slices:
        own = part[1] // every
        row_norm_affine(op, f, own * channels // slices, (own + 1) * channels // slices)
    if op[4] == 0:
        return 0
    for row in range(part[1] * op[13] // part[2], (part[1] + 1) * op[13] // part[2]):
        x, g, dx, mean, rstd = op[3] + row * n, op[2] + row * n, op[4] + row * n, f[op[9] + row], f[op[11] + row]
        w = op[5] + row % op[15] * channels
        total, inner = row_norm_sums(op, f, x, g, w, mean, rstd)
        shift = cast(wide(rstd) * total / wide(n), f) if op[18] != 0 else cast(0.0, f)
        pull = cast(wide(rstd) * inner / wide(n), f)
        if op[19] != 0 and s == 1:
            if store:
                for k in range(n):
                    f[dx + k] = rstd * f[w + k] * f[g + k] - shift - pull * ((f[x + k] - mean) * rstd)
            else:
                for k in range(n):
                    f[dx + k] += rstd * f[w + k] * f[g + k] - shift - pull * ((f[x + k] - mean) * rstd)
        elif op[19] == 0:
            row_norm_step(f, dx, x, g, n, rstd, shift, pull, mean, rstd, store)
        else:
            for c in range(channels):
                row_norm_step(f, dx + c * s, x + c * s, g + c * s, s, rstd * f[w + c], shift, pull, mean, rstd, store)
    return 0


ROW_NORM_PARTS = Kernel("row_norm.forward_part", row_norm_forward_part), Kernel("row_norm.part", row_norm_adjoint_part)
ROW_NORM = Op("row_norm", row_norm_forward, row_norm_adjoint, ((1, 2, 4, 5), (1, 4, 5), ()), stores=True,
              doc="w (x - mean) / sqrt(var + eps) + bias over rows")


# ------------------------------------------------------------------ batch

# Words: 1 y, 2 g, 3 x, 4 dx, 5 w, 6 dw, 7 bias, 8 dbias, 9 running mean, 11 running variance, 13 batches tracked,
# 15 mean, 17 rstd, 19 sums (2 c), 21 samples, 22 channels c, 23 elements of a channel in a sample s, 24 eps,
# 25 momentum (negative: cumulative), 26 and 27 whether there are w and bias, 28 whether the statistics are the
# batch's, 29 whether the running ones follow them, 30 whether batches are counted, 31 and 32 strides of the running
# mean and variance. Of an empty batch there are no statistics: it moves nothing and is counted.


@device
def batch_statistics(op: Any, f: Any, i: Any) -> int:
    """mean, rstd, and into the place of the sums the variance by which the running one moves, of each channel."""
    channels, s, mean, scratch, eps = op[22], op[23], op[15], stack(f), real64(op, 24)
    count, totals = op[21] * s, doubles_at(f, scratch)
    each = 1.0 / wide(count)
    if s == 1:
        sum_rows(f, mean, op[3], channels, op[21], channels, each, False)
    for left in range(0, channels, COLUMNS):
        n = min(COLUMNS, channels - left)
        if s != 1:
            clear_totals(f, totals, n)
            for sample in range(op[21]):
                for c in range(n):
                    totals[c] += total_of(f, op[3] + (sample * channels + left + c) * s, s, 1)
            give_totals(f, totals, n, each, mean + left, 1, False)
        clear_totals(f, totals, n)
        if s == 1:
            batch_squares(op, f, totals, scratch + 2 * COLUMNS, left, n)
        else:
            for sample in range(op[21]):
                for c in range(n):
                    x = op[3] + (sample * channels + left + c) * s
                    totals[c] += square_deviation(f, x, s, f[mean + left + c])
        for c in range(n):
            f[op[17] + left + c] = inverse_deviation(totals[c], count, eps, f)
            f[op[19] + left + c] = cast(totals[c] / (wide(count) - 1.0), f)
    return 0


@device
def batch_squares(op: Any, f: Any, totals: Any, parts: int, left: int, n: int) -> int:
    """Add the squared deviations of `n` channels from `left` on to their totals, where a sample has one element."""
    channels, mean, safe = op[22], op[15] + left, True
    for sample in range(op[21]):
        x = op[3] + sample * channels + left
        if sample % TOGETHER == 0:
            for c in range(n):
                d = f[x + c] - f[mean + c]
                f[parts + c] = d * d
        else:
            for c in range(n):
                d = f[x + c] - f[mean + c]
                f[parts + c] += d * d
        if sample % TOGETHER == TOGETHER - 1 or sample == op[21] - 1:
            add_row(f, totals, n, parts, 1)
    for c in range(n):
        safe = safe and totals[c] > SMALL and totals[c] < LARGE
    if not safe:
        clear_totals(f, totals, n)
        for sample in range(op[21]):
            x = op[3] + sample * channels + left
            for c in range(n):
                d = wide(f[x + c]) - wide(f[mean + c])
                totals[c] += d * d
    return 0


def batch_norm_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y = w (x - mean) rstd + bias by channel; in training the running statistics move towards the batch's."""
    channels, s, momentum, mean, rstd = op[22], op[23], real(op, 25, f), op[15], op[17]
    if op[28] != 0 and op[29] != 0 and op[30] != 0:
        i[op[13]] += 1
    if op[21] * s == 0:
        for c in range(channels):
            f[mean + c], f[rstd + c] = 0.0, 0.0
        return 0
    if op[28] != 0:
        batch_statistics(op, f, i)
        if op[29] != 0:
            part = momentum
            if momentum < 0.0:
                part = 1.0 / cast(i[op[13]], f)
            for c in range(channels):
                moved, spread = op[9] + c * op[31], op[11] + c * op[32]
                f[moved] += part * (f[mean + c] - f[moved])
                f[spread] += part * (f[op[19] + c] - f[spread])
    else:
        for c in range(channels):
            f[mean + c] = f[op[9] + c * op[31]]
            f[rstd + c] = inverse_deviation(wide(f[op[11] + c * op[32]]), 1, real64(op, 24), f)
    zero, one = cast(0.0, f), cast(1.0, f)
    for sample in range(op[21]):
        x, y = op[3] + sample * channels * s, op[1] + sample * channels * s
        for c in range(channels):
            slope = f[rstd + c] * (f[op[5] + c] if op[26] != 0 else one)
            shift = f[op[7] + c] if op[27] != 0 else zero
            middle = f[mean + c]
            for k in range(c * s, c * s + s):
                f[y + k] = slope * (f[x + k] - middle) + shift
    return 0


@device
def batch_norm_sums(op: Any, f: Any, second: bool) -> int:
    """The sums of g, and of g (x - mean) rstd where `second`, of each channel."""
    channels, s, sums, scratch, one = op[22], op[23], op[19], stack(f), wide(cast(1.0, f))
    totals, products = doubles_at(f, scratch), doubles_at(f, scratch + 2 * COLUMNS)
    if s == 1:
        sum_rows(f, sums, op[2], channels, op[21], channels, one, False)
    for left in range(0, channels, COLUMNS):
        n = min(COLUMNS, channels - left)
        clear_totals(f, products, n)
        if s == 1 and second:
            batch_slopes(op, f, products, scratch + 4 * COLUMNS, left, n)
        elif s != 1:
            clear_totals(f, totals, n)
            for sample in range(op[21]):
                for c in range(n):
                    at = (sample * channels + left + c) * s
                    if second:
                        total, product = slope_sums(f, op[2] + at, op[3] + at, s, f[op[15] + left + c],
                                                    f[op[17] + left + c])
                        totals[c] += total
                        products[c] += product
                    else:
                        totals[c] += total_of(f, op[2] + at, s, 1)
            give_totals(f, totals, n, one, sums + left, 1, False)
        give_totals(f, products, n, one, sums + channels + left, 1, False)
    return 0


@device
def batch_slopes(op: Any, f: Any, totals: Any, parts: int, left: int, n: int) -> int:
    """Add g (x - mean) rstd of `n` channels from `left` on to their totals, where a sample has one element."""
    mean, rstd = op[15] + left, op[17] + left
    for sample in range(op[21]):
        x, g = op[3] + sample * op[22] + left, op[2] + sample * op[22] + left
        if sample % TOGETHER == 0:
            for c in range(n):
                write(f, parts + c, read(f, g + c) * ((read(f, x + c) - read(f, mean + c)) * read(f, rstd + c)))
        else:
            for c in range(n):
                write(f, parts + c, f[parts + c] + read(f, g + c) * ((read(f, x + c) - read(f, mean + c))
                                                                     * read(f, rstd + c)))
        if sample % TOGETHER == TOGETHER - 1 or sample == op[21] - 1:
            add_row(f, totals, n, parts, 1)
    return 0


def batch_norm_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dx += w rstd (g - (sum g + z sum g z) / count), z = (x - mean) rstd; dw += sum g z; dbias += sum g.

    With running statistics dx += w rstd g.
    """
    channels, s, sums, by_batch = op[22], op[23], op[19], op[28] != 0
    count, zero, one = cast(op[21] * s, f), cast(0.0, f), cast(1.0, f)
    moving = by_batch and op[4] != 0
    if moving or op[6] != 0 or op[8] != 0:
        batch_norm_sums(op, f, moving or op[6] != 0)
    if op[6] != 0:
        for c in range(channels):
            f[op[6] + c] = f[sums + channels + c] + (zero if op[0] & 4 != 0 else f[op[6] + c])
    if op[8] != 0:
        for c in range(channels):
            f[op[8] + c] = f[sums + c] + (zero if op[0] & 8 != 0 else f[op[8] + c])
    if op[4] != 0:
        store = op[0] & 2 != 0
        for sample in range(op[21]):
            x, g, dx = op[3] + sample * channels * s, op[2] + sample * channels * s, op[4] + sample * channels * s
            for c in range(channels):
                slope = f[op[17] + c] * (f[op[5] + c] if op[26] != 0 else one)
                if by_batch:
                    row_norm_step(f, dx + c * s, x + c * s, g + c * s, s, slope, slope * (f[sums + c] / count),
                                  slope * (f[sums + channels + c] / count), f[op[15] + c], f[op[17] + c], store)
                else:
                    for k in range(c * s, c * s + s):
                        f[dx + k] = slope * f[g + k] + (zero if store else f[dx + k])
    return 0


# operands: 1 x, 2 w, 3 bias, 4 and 5 running, 6 batches tracked, 7 mean, 8 rstd, 9 sums
_RUNNING = 1 << 4 | 1 << 5
BATCH_NORM = Op("batch_norm", batch_norm_forward, batch_norm_adjoint,
                ((1, 2, 7, 8, 9), (1, 7, 8, 9), (9,), (), (), ()), stores=True,
                doc="w (x - mean) / sqrt(var + eps) + bias over the batch, by channel", again={29: 0, 30: 0},
                strided=_RUNNING, fixed=_RUNNING, states=_RUNNING | 1 << 6)
BATCH_NORM_FIXED = Op("batch_norm_fixed", batch_norm_forward, batch_norm_adjoint,
                      ((2, 8), (1, 7, 8, 9), (9,), (), (), ()), stores=True,
                      doc="batch_norm by the running statistics", strided=_RUNNING, fixed=_RUNNING)
