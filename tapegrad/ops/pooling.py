"""Pooling over two axes: greatest and mean of windows, and means of windows that divide the input."""

from __future__ import annotations

import math
from typing import Any

from ..engine.jit import cast, device, floats_at, plus, real, wide
from ..engine.vecmath import where
from .convolution import first_inside, last_inside
from .table import Op

INFINITY = math.inf

# Words of max_pool: 1 y, 2 g, 3 x, 4 dx, 5 places (bytes: which of the window's elements, counted along its rows; for
# windows of more than 256 the high bytes follow behind all the low ones), 7 planes, 8 and 9 height and width,
# 10 and 11 output height and width, 12 and 13 kernel, 14 and 15 stride, 16 and 17 padding, 18 and 19 dilation.


@device
def first_tap(start: int, step: int) -> int:
    """The first tap of a window from `start` on that is not before the input."""
    return 0 if start >= 0 else (step - 1 - start) // step


@device
def last_tap(start: int, step: int, extent: int, taps: int) -> int:
    """One more than the last tap that is not behind the input."""
    if start + (taps - 1) * step < extent:  # nearly always; a division would cost more than a window
        return taps
    return (extent - 1 - start) // step + 1 if start < extent else 0


# Which of two elements is greater is not predictable, so neither of these two branches on it: the greatest is a chain
# of maxima, its place the number of elements before the first that equals it. A maximum drops NaN, so they count the
# windows that hold one.


@device
def greatest_of_four(f: Any, b: Any, x: int, width: int, y: int, place: int, count: int) -> Any:
    """y = the greatest of each of `count` windows of 2 by 2, side by side; the number of windows that hold a NaN."""
    upper, lower, holding = floats_at(f, x), floats_at(f, x + width), cast(0.0, f)
    for k in range(count):
        first, second, third, last = upper[2 * k], upper[2 * k + 1], lower[2 * k], lower[2 * k + 1]
        above, below = where(second > first, second, first), where(last > third, last, third)
        best = where(below > above, below, above)
        f[y + k] = best
        later = 1 if best != first else 0
        after = later & (1 if best != second else 0)
        b[place + k] = later + after + (after & (1 if best != third else 0))
        none = (first == first) & (second == second) & (third == third) & (last == last)
        holding = plus(holding, where(none, 0.0, 1.0))
    return holding


@device
def greatest(f: Any, b: Any, x: int, width: int, y: int, place: int, count: int, stride: int, extent: int) -> Any:
    """The same of square windows along a row; with an extent known here there is no inner loop."""
    holding = cast(0.0, f)
    for k in range(count):
        window = x + k * stride
        best = f[window]
        for ki in range(extent):
            for kj in range(extent):
                v = f[window + ki * width + kj]
                best = where(v > best, v, best)
                holding = plus(holding, where(v != v, 1.0, 0.0))
        f[y + k] = best
        before, at = 1, 0
        for ki in range(extent):
            for kj in range(extent):
                before &= 1 if best != f[window + ki * width + kj] else 0
                at += before
        b[place + k] = at
    return holding


def max_pool_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y = the greatest of a window, NaN if it holds one; the padding does not count."""
    height, width, ho, wo, across, stride = op[8], op[9], op[10], op[11], op[13], op[15]
    behind = op[7] * ho * wo if op[12] * across > 256 else 0
    begin = first_inside(-op[17], stride, wo)  # windows that see no padding at their sides, where they are usual ones
    end = last_inside(across - 1 - op[17], stride, width, wo)
    if op[12] != across or across < 2 or across > 3 or op[18] != 1 or op[19] != 1:
        begin = end = 0
    for plane in range(op[7]):
        x = op[3] + plane * height * width
        for row in range(ho):
            top = row * op[14] - op[16]
            first, last = first_tap(top, op[18]), last_tap(top, op[18], height, op[12])
            y, place = op[1] + (plane * ho + row) * wo, op[5] + (plane * ho + row) * wo
            source, usual = x + top * width + begin * stride - op[17], max(end - begin, 0)
            if last - first != across:
                usual = 0
            holding = cast(0.0, f)
            if usual > 0 and across == 2 and stride == 2:
                holding = greatest_of_four(f, b, source, width, y + begin, place + begin, usual)
            elif usual > 0 and across == 2:
                holding = greatest(f, b, source, width, y + begin, place + begin, usual, stride, 2)
            elif usual > 0:
                holding = greatest(f, b, source, width, y + begin, place + begin, usual, stride, 3)
            if holding != 0.0:
                usual = 0
            for other in range(wo - usual):
                k = other if other < begin else other + usual
                left = k * stride - op[17]
                best, at = cast(-INFINITY, f), 0
                low, high = first_tap(left, op[19]), last_tap(left, op[19], width, across)
                for ki in range(first, last):
                    source = x + (top + ki * op[18]) * width + left
                    for kj in range(low, high):
                        v = f[source + kj * op[19]]
                        taken = (v > best) | (v != v)
                        best, at = where(taken, v, best), where(taken, ki * across + kj, at)
                f[y + k] = best
                b[place + k] = at & 255
                if behind != 0:
                    b[place + k + behind] = at >> 8
    return 0


@device
def spread_over_tiles(op: Any, f: Any, b: Any) -> int:
    """The adjoint where windows of 2 by 2 lie side by side: a row of them is cleared while it is at hand."""
    height, width, ho, wo, zero = op[8], op[9], op[10], op[11], cast(0.0, f)
    store = op[0] & 2 != 0
    for plane in range(op[7]):
        for row in range(ho):
            out, dx = (plane * ho + row) * wo, op[4] + (plane * height + 2 * row) * width
            g, place = op[2] + out, op[5] + out
            if store:
                for k in range((2 if row < ho - 1 else height - 2 * row) * width):
                    f[dx + k] = 0.0
            for k in range(wo):
                at = dx + 2 * k + (b[place + k] >> 1) * width + (b[place + k] & 1)
                f[at] = f[g + k] + (zero if store else f[at])
    return 0


def max_pool_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dx += g at the place that was the greatest."""
    height, width, ho, wo, across = op[8], op[9], op[10], op[11], op[13]
    behind = op[7] * ho * wo if op[12] * across > 256 else 0
    if (op[12] == 2 and across == 2 and op[14] == 2 and op[15] == 2 and op[16] == 0 and op[17] == 0
            and op[18] == 1 and op[19] == 1 and 2 * ho <= height and 2 * wo <= width):
        return spread_over_tiles(op, f, b)
    if op[0] & 2 != 0:
        for k in range(op[4], op[4] + op[7] * height * width):
            f[k] = 0.0
    for plane in range(op[7]):
        dx = op[4] + plane * height * width
        for row in range(ho):
            for column in range(wo):
                out = (plane * ho + row) * wo + column
                place = b[op[5] + out] + (256 * b[op[5] + out + behind] if behind != 0 else 0)
                ki = place // across
                top, left = row * op[14] - op[16], column * op[15] - op[17]
                h, w = top + ki * op[18], left + (place - ki * across) * op[19]
                if h < 0:  # nothing but -inf in the window: as in PyTorch its first element inside
                    h = top + first_tap(top, op[18]) * op[18]
                if w < 0:
                    w = left + first_tap(left, op[19]) * op[19]
                if h < height and w < width:  # not so where dilation steps over all of the input
                    f[dx + h * width + w] += f[op[2] + out]
    return 0


MAX_POOL = Op("max_pool", max_pool_forward, max_pool_adjoint, ((2,),), stores=True, doc="greatest of windows")

# Words of avg_pool: 1 y, 2 g, 3 x, 4 dx, 5 planes, 6 and 7 height and width, 8 and 9 output height and width,
# 10 and 11 kernel, 12 and 13 stride, 14 and 15 padding, 16 how to divide (`BY_INSIDE`, `BY_WINDOW`, `BY_NUMBER`),
# 17 the number, 18 whether the windows are those of adaptive pooling.

BY_INSIDE, BY_WINDOW, BY_NUMBER = 0, 1, 2


@device
def window_start(op: Any, axis: int, out: int) -> int:
    """Where a window begins, before it is cut to the input; `axis` 0 for rows, 1 for columns."""
    if op[18] != 0:
        return out * op[6 + axis] // op[8 + axis]
    return out * op[12 + axis] - op[14 + axis]


@device
def window_end(op: Any, axis: int, out: int) -> int:
    """Where it ends, at most at the end of the padding."""
    if op[18] != 0:
        return ((out + 1) * op[6 + axis] + op[8 + axis] - 1) // op[8 + axis]
    return min(out * op[12 + axis] - op[14 + axis] + op[10 + axis], op[6 + axis] + op[14 + axis])


@device
def share_of(op: Any, f: Any, window: int, inside: int) -> Any:
    """1 divided by what a window's sum is divided by."""
    if op[16] == BY_NUMBER:
        return 1.0 / real(op, 17, f)
    return 1.0 / cast(window if op[16] == BY_WINDOW else inside, f)


def avg_pool_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y = the mean of a window."""
    height, width, ho, wo = op[6], op[7], op[8], op[9]
    for row in range(ho):
        top, bottom = window_start(op, 0, row), window_end(op, 0, row)
        first, last = max(top, 0), min(bottom, height)
        for column in range(wo):
            left, right = window_start(op, 1, column), window_end(op, 1, column)
            low, high = max(left, 0), min(right, width)
            inside = max(last - first, 0) * max(high - low, 0)
            share = share_of(op, f, (bottom - top) * (right - left), inside)
            for plane in range(op[5]):
                total = wide(cast(0.0, f))
                for h in range(first, last):
                    part, x = cast(0.0, f), op[3] + (plane * height + h) * width
                    for w in range(low, high):
                        part = plus(part, f[x + w])
                    total += wide(part)
                f[op[1] + (plane * ho + row) * wo + column] = cast(total, f) * share
    return 0


def avg_pool_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dx += g over what the window's sum was divided by, everywhere in the window."""
    height, width, ho, wo = op[6], op[7], op[8], op[9]
    if op[0] & 2 != 0:
        for k in range(op[4], op[4] + op[5] * height * width):
            f[k] = 0.0
    for row in range(ho):
        top, bottom = window_start(op, 0, row), window_end(op, 0, row)
        first, last = max(top, 0), min(bottom, height)
        for column in range(wo):
            left, right = window_start(op, 1, column), window_end(op, 1, column)
            low, high = max(left, 0), min(right, width)
            inside = max(last - first, 0) * max(high - low, 0)
            share = share_of(op, f, (bottom - top) * (right - left), inside)
            for plane in range(op[5]):
                part = f[op[2] + (plane * ho + row) * wo + column] * share
                for h in range(first, last):
                    dx = op[4] + (plane * height + h) * width
                    for w in range(low, high):
                        f[dx + w] += part
    return 0


AVG_POOL = Op("avg_pool", avg_pool_forward, avg_pool_adjoint, ((),), stores=True, doc="mean of windows")
