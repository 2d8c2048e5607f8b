"""Pooling over two axes: greatest and mean of windows, and means of windows that divide the input."""

from __future__ import annotations

import math
from typing import Any

from ..engine.language import cast, device, floats_at, plus, wide
from ..engine.mathematics.vecmath import where
from ..engine.row import Aux, Input, Output, Row, contiguous
from .convolution import first_inside, last_inside
from .table import Op
from .windows import Plane

INFINITY = math.inf


class MaxPool(Row):
    """`chosen`, a byte for each window, says which of its elements is the greatest, counted along its rows.

    For windows of more than 256 elements the high bytes follow behind all the low ones.
    """

    y: Output
    x: Input = contiguous
    chosen: Aux
    planes: int
    image: Plane
    result: Plane
    kernel: Plane
    stride: Plane
    padding: Plane
    dilation: Plane


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


def max_pool_forward(op: MaxPool, f: Any, i: Any, b: Any) -> int:
    """y = the greatest of a window, NaN if it holds one; the padding does not count."""
    height, width, ho, wo = op.image.height, op.image.width, op.result.height, op.result.width
    across, stride = op.kernel.width, op.stride.width
    behind = op.planes * ho * wo if op.kernel.height * across > 256 else 0
    # windows that see no padding at their sides, where they are usual ones
    begin = first_inside(-op.padding.width, stride, wo)
    end = last_inside(across - 1 - op.padding.width, stride, width, wo)
    if op.kernel.height != across or across < 2 or across > 3 or op.dilation.height != 1 or op.dilation.width != 1:
        begin = end = 0
    for plane in range(op.planes):
        x = op.x + plane * height * width
        for row in range(ho):
            top = row * op.stride.height - op.padding.height
            first = first_tap(top, op.dilation.height)
            last = last_tap(top, op.dilation.height, height, op.kernel.height)
            y, place = op.y + (plane * ho + row) * wo, op.chosen + (plane * ho + row) * wo
            source, usual = x + top * width + begin * stride - op.padding.width, max(end - begin, 0)
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
                left = k * stride - op.padding.width
                best, at = cast(-INFINITY, f), 0
                low, high = first_tap(left, op.dilation.width), last_tap(left, op.dilation.width, width, across)
                for ki in range(first, last):
                    source = x + (top + ki * op.dilation.height) * width + left
                    for kj in range(low, high):
                        v = f[source + kj * op.dilation.width]
                        taken = (v > best) | (v != v)
                        best, at = where(taken, v, best), where(taken, ki * across + kj, at)
                f[y + k] = best
                b[place + k] = at & 255
                if behind != 0:
                    b[place + k + behind] = at >> 8
    return 0


@device
def spread_over_tiles(op: MaxPool, f: Any, b: Any) -> int:
    """The adjoint where windows of 2 by 2 lie side by side: a row of them is cleared while it is at hand."""
    height, width, ho, wo, zero = op.image.height, op.image.width, op.result.height, op.result.width, cast(0.0, f)
    store = op.stores.x
    for plane in range(op.planes):
        for row in range(ho):
            out, dx = (plane * ho + row) * wo, op.d.x + (plane * height + 2 * row) * width
            g, place = op.g + out, op.chosen + out
            if store:
                for k in range((2 if row < ho - 1 else height - 2 * row) * width):
                    f[dx + k] = 0.0
            for k in range(wo):
                at = dx + 2 * k + (b[place + k] >> 1) * width + (b[place + k] & 1)
                f[at] = f[g + k] + (zero if store else f[at])
    return 0


def max_pool_adjoint(op: MaxPool, f: Any, i: Any, b: Any) -> int:
    """dx += g at the place that was the greatest."""
    height, width, ho, wo, across = op.image.height, op.image.width, op.result.height, op.result.width, op.kernel.width
    behind = op.planes * ho * wo if op.kernel.height * across > 256 else 0
    if (op.kernel.height == 2 and across == 2 and op.stride.height == 2 and op.stride.width == 2
            and op.padding.height == 0 and op.padding.width == 0 and op.dilation.height == 1 and op.dilation.width == 1
            and 2 * ho <= height and 2 * wo <= width):
        return spread_over_tiles(op, f, b)
    if op.stores.x:
        for k in range(op.d.x, op.d.x + op.planes * height * width):
            f[k] = 0.0
    for plane in range(op.planes):
        dx = op.d.x + plane * height * width
        for row in range(ho):
            for column in range(wo):
                out = (plane * ho + row) * wo + column
                place = b[op.chosen + out] + (256 * b[op.chosen + out + behind] if behind != 0 else 0)
                ki = place // across
                top, left = row * op.stride.height - op.padding.height, column * op.stride.width - op.padding.width
                h, w = top + ki * op.dilation.height, left + (place - ki * across) * op.dilation.width
                if h < 0:  # nothing but -inf in the window: as in PyTorch its first element inside
                    h = top + first_tap(top, op.dilation.height) * op.dilation.height
                if w < 0:
                    w = left + first_tap(left, op.dilation.width) * op.dilation.width
                if h < height and w < width:  # not so where dilation steps over all of the input
                    f[dx + h * width + w] += f[op.g + out]
    return 0


MAX_POOL = Op("max_pool", max_pool_forward, max_pool_adjoint, row=MaxPool, saves={"x": "chosen"}, stores=True,
              doc="greatest of windows")

BY_INSIDE, BY_WINDOW, BY_NUMBER = 0, 1, 2


class AvgPool(Row):
    y: Output
    x: Input = contiguous
    planes: int
    image: Plane
    result: Plane
    kernel: Plane
    stride: Plane
    padding: Plane
    rule: int  # what a sum is divided by: `BY_INSIDE`, `BY_WINDOW`, `BY_NUMBER`
    divisor: float
    adaptive: bool


@device
def window_start(op: AvgPool, axis: int, out: int) -> int:
    """Where a window begins, before it is cut to the input; `axis` 0 for rows, 1 for columns."""
    if op.adaptive != 0:
        return out * op[op.image + axis] // op[op.result + axis]
    return out * op[op.stride + axis] - op[op.padding + axis]


@device
def window_end(op: AvgPool, axis: int, out: int) -> int:
    """Where it ends, at most at the end of the padding."""
    if op.adaptive != 0:
        return ((out + 1) * op[op.image + axis] + op[op.result + axis] - 1) // op[op.result + axis]
    return min(out * op[op.stride + axis] - op[op.padding + axis] + op[op.kernel + axis],
               op[op.image + axis] + op[op.padding + axis])


@device
def share_of(op: AvgPool, f: Any, window: int, inside: int) -> Any:
    """1 divided by what a window's sum is divided by."""
    if op.rule == BY_NUMBER:
        return 1.0 / op.divisor
    return 1.0 / cast(window if op.rule == BY_WINDOW else inside, f)


def avg_pool_forward(op: AvgPool, f: Any, i: Any, b: Any) -> int:
    """y = the mean of a window."""
    height, width, ho, wo = op.image.height, op.image.width, op.result.height, op.result.width
    for row in range(ho):
        top, bottom = window_start(op, 0, row), window_end(op, 0, row)
        first, last = max(top, 0), min(bottom, height)
        for column in range(wo):
            left, right = window_start(op, 1, column), window_end(op, 1, column)
            low, high = max(left, 0), min(right, width)
            inside = max(last - first, 0) * max(high - low, 0)
            share = share_of(op, f, (bottom - top) * (right - left), inside)
            for plane in range(op.planes):
                total = wide(cast(0.0, f))
                for h in range(first, last):
                    part, x = cast(0.0, f), op.x + (plane * height + h) * width
                    for w in range(low, high):
                        part = plus(part, f[x + w])
                    total += wide(part)
                f[op.y + (plane * ho + row) * wo + column] = cast(total, f) * share
    return 0


def avg_pool_adjoint(op: AvgPool, f: Any, i: Any, b: Any) -> int:
    """dx += g over what the window's sum was divided by, everywhere in the window."""
    height, width, ho, wo = op.image.height, op.image.width, op.result.height, op.result.width
    if op.stores.x:
        for k in range(op.d.x, op.d.x + op.planes * height * width):
            f[k] = 0.0
    for row in range(ho):
        top, bottom = window_start(op, 0, row), window_end(op, 0, row)
        first, last = max(top, 0), min(bottom, height)
        for column in range(wo):
            left, right = window_start(op, 1, column), window_end(op, 1, column)
            low, high = max(left, 0), min(right, width)
            inside = max(last - first, 0) * max(high - low, 0)
            share = share_of(op, f, (bottom - top) * (right - left), inside)
            for plane in range(op.planes):
                part = f[op.g + (plane * ho + row) * wo + column] * share
                for h in range(first, last):
                    dx = op.d.x + (plane * height + h) * width
                    for w in range(low, high):
                        f[dx + w] += part
    return 0


AVG_POOL = Op("avg_pool", avg_pool_forward, avg_pool_adjoint, row=AvgPool, saves={}, stores=True,
              doc="mean of windows")
