"""Normalisation, each one fused op: over rows (layer, group, instance, root mean square) and over a batch."""

from __future__ import annotations

from typing import Any

from ..engine import vecmath as m
from ..engine.jit import Kernel, cast, device, read, real, words_at, write
from ..engine.team import share
from .reduction import total_of
from .table import Op

_BLOCK = 1024  # elements summed in one go, as in `total_of`
PART_ELEMENTS, PARTS = 1 << 14, 4  # elements that a part of rows has at least, and parts at most

# ------------------------------------------------------------------ rows

# Words: 1 y, 2 g, 3 x, 4 dx, 5 w, 6 dw, 7 bias, 8 dbias, 9 mean, 11 rstd, 13 rows, 14 elements of a row n,
# 15 groups (a row is a sample's group), 16 elements of a channel s, 17 eps, 18 whether the mean is taken off,
# 19 and 20 whether there are w and bias, 21 team, 22 and 23 addresses of the kernels of a part, 24 parts. A row holds
# n / s channels, from number (row % groups) n / s on. A part is some of the rows, and of dw and dbias some of the
# channels, over all rows.


@device
def square_deviation(f: Any, x: int, n: int, mean: Any) -> Any:
    """Sum of (x - mean)^2, in blocks."""
    total = cast(0.0, f)
    for first in range(0, n, _BLOCK):
        part = cast(0.0, f)
        for k in range(x + first, x + min(first + _BLOCK, n)):
            d = f[k] - mean
            part += d * d
        total += part
    return total


def row_norm_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y = w (x - mean) rstd + bias, rstd = 1 / sqrt(mean of (x - mean)^2 + eps)."""
    return share(op[21], op[22], op, op[24], f, i, b)


def row_norm_forward_part(part: Any, f: Any, i: Any, b: Any) -> int:
    """Some rows of `row_norm_forward`."""
    op = words_at(part[0])
    n, s, eps = op[14], op[16], real(op, 17, f)
    channels, count = n // s, cast(n, f)
    for row in range(part[1] * op[13] // part[2], (part[1] + 1) * op[13] // part[2]):
        x, y = op[3] + row * n, op[1] + row * n
        mean = total_of(f, x, n, 1) / count if op[18] != 0 else cast(0.0, f)
        rstd = 1.0 / m.sqrt(square_deviation(f, x, n, mean) / count + eps)
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
    n, s, groups, to_w, to_bias = op[14], op[16], op[15], op[6], op[8]
    channels = n // s
    for group in range(groups):
        if to_w != 0 and op[0] & 4 != 0:
            for k in range(to_w + group * channels + low, to_w + group * channels + high):
                f[k] = 0.0
        if to_bias != 0 and op[0] & 8 != 0:
            for k in range(to_bias + group * channels + low, to_bias + group * channels + high):
                f[k] = 0.0
    for row in range(op[13]):
        g, first = op[2] + row * n, row % groups * channels
        if to_w != 0:
            x, dw, mean, rstd = op[3] + row * n, to_w + first, f[op[9] + row], f[op[11] + row]
            if s == 1:
                for k in range(low, high):
                    write(f, dw + k, f[dw + k] + read(f, g + k) * ((read(f, x + k) - mean) * rstd))
            else:
                for c in range(low, high):
                    part = cast(0.0, f)
                    for k in range(c * s, c * s + s):
                        part += f[g + k] * (f[x + k] - mean)
                    f[dw + c] += part * rstd
        if to_bias != 0:
            if s == 1:
                for k in range(low, high):
                    write(f, to_bias + first + k, f[to_bias + first + k] + read(f, g + k))
            else:
                for c in range(low, high):
                    f[to_bias + first + c] += total_of(f, g + c * s, s, 1)
    return 0


@device
def row_norm_step(f: Any, dx: int, x: int, g: int, n: int, slope: Any, a: Any, c: Any, mean: Any, store: bool) -> int:
    """dx += slope g - a - c (x - mean), `slope` one number for all."""
    if store:
        for k in range(n):
            f[dx + k] = slope * f[g + k] - a - c * (f[x + k] - mean)
    else:
        for k in range(n):
            f[dx + k] += slope * f[g + k] - a - c * (f[x + k] - mean)
    return 0


def row_norm_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dx += rstd (h - mean(h) - z mean(h z)), h = w g, z = (x - mean) rstd; dw += sum g z; dbias += sum g."""
    return share(op[21], op[23], op, op[24], f, i, b)


def row_norm_adjoint_part(part: Any, f: Any, i: Any, b: Any) -> int:
    """Some rows and some channels of `row_norm_adjoint`."""
    op = words_at(part[0])
    n, s, store = op[14], op[16], op[0] & 2 != 0
    channels, count, one = n // s, cast(n, f), cast(1.0, f)
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
        total, inner = cast(0.0, f), cast(0.0, f)
        if op[19] != 0 and s == 1:
            for k in range(n):
                h = f[w + k] * f[g + k]
                total += h
                inner += h * (f[x + k] - mean)
        else:
            for c in range(channels):
                slope = f[w + c] if op[19] != 0 else one
                part, product = cast(0.0, f), cast(0.0, f)
                for k in range(c * s, c * s + s):
                    part += f[g + k]
                    product += f[g + k] * (f[x + k] - mean)
                total += slope * part
                inner += slope * product
        shift = rstd * total / count if op[18] != 0 else cast(0.0, f)
        pull = rstd * rstd * rstd * inner / count
        if op[19] != 0 and s == 1:
            if store:
                for k in range(n):
                    f[dx + k] = rstd * f[w + k] * f[g + k] - shift - pull * (f[x + k] - mean)
            else:
                for k in range(n):
                    f[dx + k] += rstd * f[w + k] * f[g + k] - shift - pull * (f[x + k] - mean)
        elif op[19] == 0:
            row_norm_step(f, dx, x, g, n, rstd, shift, pull, mean, store)
        else:
            for c in range(channels):
                row_norm_step(f, dx + c * s, x + c * s, g + c * s, s, rstd * f[w + c], shift, pull, mean, store)
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
    """mean and the sum of squared deviations (in two passes) of each channel, into the places of mean and rstd."""
    channels, s, mean, square = op[22], op[23], op[15], op[17]
    count = cast(op[21] * s, f)
    for c in range(channels):
        f[mean + c] = 0.0
        f[square + c] = 0.0
    for sample in range(op[21]):
        x = op[3] + sample * channels * s
        if s == 1:
            for c in range(channels):
                f[mean + c] += f[x + c]
        else:
            for c in range(channels):
                f[mean + c] += total_of(f, x + c * s, s, 1)
    for c in range(channels):
        f[mean + c] /= count
    for sample in range(op[21]):
        x = op[3] + sample * channels * s
        if s == 1:
            for c in range(channels):
                d = f[x + c] - f[mean + c]
                f[square + c] += d * d
        else:
            for c in range(channels):
                f[square + c] += square_deviation(f, x + c * s, s, f[mean + c])
    return 0


def batch_norm_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y = w (x - mean) rstd + bias by channel; in training the running statistics move towards the batch's."""
    channels, s, eps, momentum = op[22], op[23], real(op, 24, f), real(op, 25, f)
    mean, rstd, count = op[15], op[17], cast(op[21] * s, f)
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
                f[spread] += part * (f[rstd + c] / (count - 1.0) - f[spread])
        for c in range(channels):
            f[rstd + c] = 1.0 / m.sqrt(f[rstd + c] / count + eps)
    else:
        for c in range(channels):
            f[mean + c] = f[op[9] + c * op[31]]
            f[rstd + c] = 1.0 / m.sqrt(f[op[11] + c * op[32]] + eps)
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
    channels, s, sums = op[22], op[23], op[19]
    for c in range(2 * channels):
        f[sums + c] = 0.0
    for sample in range(op[21]):
        x, g = op[3] + sample * channels * s, op[2] + sample * channels * s
        for c in range(channels):
            if second:
                total, inner, mean = cast(0.0, f), cast(0.0, f), f[op[15] + c]
                for k in range(c * s, c * s + s):
                    total += f[g + k]
                    inner += f[g + k] * (f[x + k] - mean)
                f[sums + c] += total
                f[sums + channels + c] += inner * f[op[17] + c]
            else:
                f[sums + c] += total_of(f, g + c * s, s, 1)
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
                    row_norm_step(f, dx + c * s, x + c * s, g + c * s, s, slope, slope * f[sums + c] / count,
                                  slope * f[op[17] + c] * f[sums + channels + c] / count, f[op[15] + c], store)
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
