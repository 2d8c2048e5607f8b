"""Max and mean pooling over two axes, and adaptive mean pooling."""

from __future__ import annotations

import math
from typing import Any

from ..engine.language import cast, device, floats_at, plus, wide
from ..engine.mathematics.sums import grown, restored
from ..engine.mathematics.vecmath import where
from ..engine.row import At, Aux, Input, Output, Row, Words, boolean, contiguous
from .columns import first_inside, last_inside
from .table import Op
from .windows import Plane

INFINITY = math.inf


class Pool(Words):
    """Windows of the planes of an image, whose results are an image of their own."""

    planes: int
    image: Plane
    result: Plane
    kernel: Plane
    stride: Plane
    padding: Plane
    dilation: Plane


class MaxPool(Row):
    """`chosen` is the argmax of each window, row-major: one byte; two, low first, for more than 256 elements."""

    y: Output
    x: Input = contiguous
    chosen: Aux
    windows: Pool


class Choose(Row):
    """`MaxPool` whose output is `chosen`."""

    y: Output
    x: Input = contiguous
    greatest: Aux
    windows: Pool


class Chosen(Row):
    y: Output
    x: Input = contiguous
    chosen: Input = contiguous | boolean  # of a max-pooling
    windows: Pool


@device
def first_tap(start: int, step: int) -> int:
    """The first tap of a window that begins at `start` not to fall into the low padding."""
    return 0 if start >= 0 else (step - 1 - start) // step


@device
def last_tap(start: int, step: int, extent: int, taps: int) -> int:
    """One past the last tap that does not fall into the high padding."""
    if start + (taps - 1) * step < extent:  # nearly always; a division would cost more than a window
        return taps
    return (extent - 1 - start) // step + 1 if start < extent else 0


# Branch-free, since which element is greater is unpredictable: the maximum is a chain of maxima, the argmax the number
# of elements before the first equal to it. A maximum drops NaN, so windows with NaN are counted.


@device
def greatest_of_four(f: Any, b: Any, x: int, width: int, y: int, place: int, count: int) -> Any:
    """Maximum and argmax of `count` adjacent 2 by 2 windows; returns the number of windows with NaN."""
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
    """The same of square windows along a row; for a constant extent the inner loop is unrolled."""
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


@device
def place_bytes(op: Any, at: At[Pool]) -> int:
    """Bytes of an argmax."""
    return 2 if at.kernel.height * at.kernel.width > 256 else 1


@device
def choose(op: Any, at: At[Pool], f: Any, b: Any, image: int, result: int, chosen: int) -> int:
    """result = max over each window without its padding, NaN if it has one; chosen = argmax."""
    height, width, ho, wo = at.image.height, at.image.width, at.result.height, at.result.width
    across, stride, size = at.kernel.width, at.stride.width, place_bytes(op, at)
    # windows that see no padding at their sides, where they are usual ones
    begin = first_inside(-at.padding.width, stride, wo)
    end = last_inside(across - 1 - at.padding.width, stride, width, wo)
    if at.kernel.height != across or across < 2 or across > 3 or at.dilation.height != 1 or at.dilation.width != 1:
        begin = end = 0
    for plane in range(at.planes):
        x = image + plane * height * width
        for row in range(ho):
            top = row * at.stride.height - at.padding.height
            first = first_tap(top, at.dilation.height)
            last = last_tap(top, at.dilation.height, height, at.kernel.height)
            y, place = result + (plane * ho + row) * wo, chosen + (plane * ho + row) * wo * size
            source, usual = x + top * width + begin * stride - at.padding.width, max(end - begin, 0)
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
                left = k * stride - at.padding.width
                best, tap = cast(-INFINITY, f), 0
                low, high = first_tap(left, at.dilation.width), last_tap(left, at.dilation.width, width, across)
                for ki in range(first, last):
                    source = x + (top + ki * at.dilation.height) * width + left
                    for kj in range(low, high):
                        v = f[source + kj * at.dilation.width]
                        taken = (v > best) | (v != v)
                        best, tap = where(taken, v, best), where(taken, ki * across + kj, tap)
                f[y + k] = best
                b[place + k * size] = tap & 255
                if size == 2:
                    b[place + 2 * k + 1] = tap >> 8
    return 0


@device
def are_tiles(op: Any, at: At[Pool]) -> bool:
    """Whether windows are 2 by 2 and do not overlap."""
    return (at.kernel.height == 2 and at.kernel.width == 2 and at.stride.height == 2 and at.stride.width == 2
            and at.padding.height == 0 and at.padding.width == 0 and at.dilation.height == 1 and at.dilation.width == 1
            and 2 * at.result.height <= at.image.height and 2 * at.result.width <= at.image.width)


@device
def chosen_place(op: Any, at: At[Pool], b: Any, chosen: int, row: int, column: int, size: int) -> int:
    """Index in its plane of a window's argmax, or -1."""
    tap = b[chosen] + (256 * b[chosen + 1] if size == 2 else 0)
    ki = tap // at.kernel.width
    top, left = row * at.stride.height - at.padding.height, column * at.stride.width - at.padding.width
    h, w = top + ki * at.dilation.height, left + (tap - ki * at.kernel.width) * at.dilation.width
    if h < 0:  # nothing but -inf in the window: as in PyTorch its first element inside
        h = top + first_tap(top, at.dilation.height) * at.dilation.height
    if w < 0:
        w = left + first_tap(left, at.dilation.width) * at.dilation.width
    # dilation may step over all of the input
    return h * at.image.width + w if h < at.image.height and w < at.image.width else -1


@device
def spread_over_tiles(op: Any, at: At[Pool], f: Any, b: Any, image: int, result: int, chosen: int, store: bool) -> int:
    """`spread_chosen` where `are_tiles`: each row of windows is zeroed while it is in cache."""
    height, width, ho, wo, zero = at.image.height, at.image.width, at.result.height, at.result.width, cast(0.0, f)
    for plane in range(at.planes):
        for row in range(ho):
            out, dx = (plane * ho + row) * wo, image + (plane * height + 2 * row) * width
            g, place = result + out, chosen + out
            if store:
                for k in range((2 if row < ho - 1 else height - 2 * row) * width):
                    f[dx + k] = 0.0
            for k in range(wo):
                to = dx + 2 * k + (b[place + k] >> 1) * width + (b[place + k] & 1)
                f[to] = f[g + k] + (zero if store else f[to])
    return 0


@device
def spread_chosen(op: Any, at: At[Pool], f: Any, b: Any, image: int, result: int, chosen: int, store: bool) -> int:
    """Scatter: image[argmax] += result; with `store` into zeros."""
    ho, wo, pixels, size = at.result.height, at.result.width, at.image.height * at.image.width, place_bytes(op, at)
    if are_tiles(op, at):
        return spread_over_tiles(op, at, f, b, image, result, chosen, store)
    if store:
        for k in range(image, image + at.planes * pixels):
            f[k] = 0.0
    for plane in range(at.planes):
        for row in range(ho):
            for column in range(wo):
                out = (plane * ho + row) * wo + column
                place = chosen_place(op, at, b, chosen + out * size, row, column, size)
                if place >= 0:
                    f[image + plane * pixels + place] += f[result + out]
    return 0


@device
def pick_chosen(op: Any, at: At[Pool], f: Any, b: Any, image: int, result: int, chosen: int, store: bool) -> int:
    """Gather: result += image[argmax], 0 for an empty window; = with `store`."""
    ho, wo, pixels, size = at.result.height, at.result.width, at.image.height * at.image.width, place_bytes(op, at)
    for plane in range(at.planes):
        for row in range(ho):
            for column in range(wo):
                out = (plane * ho + row) * wo + column
                place = chosen_place(op, at, b, chosen + out * size, row, column, size)
                value = f[image + plane * pixels + place] if place >= 0 else cast(0.0, f)
                f[result + out] = value if store else f[result + out] + value
    return 0


def max_pool_forward(op: MaxPool, f: Any, i: Any, b: Any) -> int:
    """y = max over each window."""
    return choose(op, op.windows, f, b, op.x, op.y, op.chosen)


def max_pool_adjoint(op: MaxPool, f: Any, i: Any, b: Any) -> int:
    """dx[argmax] += g."""
    return spread_chosen(op, op.windows, f, b, op.d.x, op.g, op.chosen, op.stores.x)


def choose_forward(op: Choose, f: Any, i: Any, b: Any) -> int:
    """y = argmax of each window."""
    return choose(op, op.windows, f, b, op.x, op.greatest, op.y)


def pick_forward(op: Chosen, f: Any, i: Any, b: Any) -> int:
    """y = x[argmax]."""
    return pick_chosen(op, op.windows, f, b, op.x, op.y, op.chosen, True)


def pick_adjoint(op: Chosen, f: Any, i: Any, b: Any) -> int:
    """dx[argmax] += g."""
    return spread_chosen(op, op.windows, f, b, op.d.x, op.g, op.chosen, op.stores.x)


def unpool_forward(op: Chosen, f: Any, i: Any, b: Any) -> int:
    """y[argmax] += x, into zeros."""
    return spread_chosen(op, op.windows, f, b, op.y, op.x, op.chosen, True)


def unpool_adjoint(op: Chosen, f: Any, i: Any, b: Any) -> int:
    """dx += g[argmax]."""
    return pick_chosen(op, op.windows, f, b, op.g, op.d.x, op.chosen, op.stores.x)


def unpooled(r: Any, g: Any, t: Any) -> Any:
    """dx = g scattered to the argmaxima."""
    return t.pooling.chosen(UNPOOL, g, t.pooling.places(r), r.windows, r.shape_of("x"))


MAX_POOL: Op = Op("max_pool", max_pool_forward, max_pool_adjoint, row=MaxPool, saves={"x": "chosen"}, stores=True,
              doc="maximum of windows", composition={"x": unpooled},
              tangent={"x": lambda r, d, t: t.pooling.chosen(PICK, d, t.pooling.places(r), r.windows, r.shape)},
              batching=lambda r, t: t.pooling.greatest(r.x, r.windows, (r.size, *r.call.shape)))
CHOOSE: Op = Op("choose", choose_forward, row=Choose, doc="argmax of windows",
            batching=lambda r, t: t.pooling.choose(r.x, r.windows, (r.size, *r.call.shape)))


def _batched(r: Any, t: Any) -> Any:
    """All planes at once."""
    return t.pooling.chosen(r.call.op, r.whole("x"), r.whole("chosen"), r.windows, (r.size, *r.call.shape))


PICK: Op = Op("pick", pick_forward, pick_adjoint, row=Chosen, saves={"x": "chosen"}, stores=True,
          doc="elements at the argmax of windows", batching=_batched,
          composition={"x": lambda r, g, t: t.pooling.chosen(UNPOOL, g, r.chosen, r.windows, r.shape_of("x"))},
          tangent={"x": lambda r, d, t: t.pooling.chosen(PICK, d, r.chosen, r.windows, r.shape)})
UNPOOL: Op = Op("unpool", unpool_forward, unpool_adjoint, row=Chosen, saves={"x": "chosen"}, stores=True,
            doc="results scattered to the argmax of windows", batching=_batched,
            composition={"x": lambda r, g, t: t.pooling.chosen(PICK, g, r.chosen, r.windows, r.shape_of("x"))},
            tangent={"x": lambda r, d, t: t.pooling.chosen(UNPOOL, d, r.chosen, r.windows, r.shape)})

BY_INSIDE, BY_WINDOW, BY_NUMBER = 0, 1, 2


class Means(Words):
    planes: int
    image: Plane
    result: Plane
    kernel: Plane
    stride: Plane
    padding: Plane
    rule: int  # divisor of a sum: `BY_INSIDE`, `BY_WINDOW`, `BY_NUMBER`
    divisor: float
    adaptive: bool


class AvgPool(Row):
    y: Output
    x: Input = contiguous
    windows: Means


@device
def window_start(op: Any, at: At[Means], axis: int, out: int) -> int:
    """Start of a window, unclipped; `axis` 0 for rows, 1 for columns."""
    if at.adaptive != 0:
        return out * op[at.image + axis] // op[at.result + axis]
    return out * op[at.stride + axis] - op[at.padding + axis]


@device
def window_end(op: Any, at: At[Means], axis: int, out: int) -> int:
    """Its end, at most that of the padding."""
    if at.adaptive != 0:
        return ((out + 1) * op[at.image + axis] + op[at.result + axis] - 1) // op[at.result + axis]
    return min(out * op[at.stride + axis] - op[at.padding + axis] + op[at.kernel + axis],
               op[at.image + axis] + op[at.padding + axis])


@device
def share_of(op: Any, at: At[Means], f: Any, window: int, inside: int) -> Any:
    """1 / divisor of a window."""
    if at.rule == BY_NUMBER:
        return 1.0 / at.divisor
    return 1.0 / cast(window if at.rule == BY_WINDOW else inside, f)


@device
def means(op: Any, at: At[Means], f: Any, image: int, result: int, store: bool) -> int:
    """result += mean of each window; = with `store`."""
    height, width, ho, wo = at.image.height, at.image.width, at.result.height, at.result.width
    for row in range(ho):
        top, bottom = window_start(op, at, 0, row), window_end(op, at, 0, row)
        first, last = max(top, 0), min(bottom, height)
        for column in range(wo):
            left, right = window_start(op, at, 1, column), window_end(op, at, 1, column)
            low, high = max(left, 0), min(right, width)
            inside = max(last - first, 0) * max(high - low, 0)
            share = share_of(op, at, f, (bottom - top) * (right - left), inside)
            for plane in range(at.planes):
                total = wide(cast(0.0, f))
                lost = total
                for h in range(first, last):
                    part, x = cast(0.0, f), image + (plane * height + h) * width
                    for w in range(low, high):
                        part = plus(part, f[x + w])
                    total, lost = grown(f, total, lost, wide(part))
                y = result + (plane * ho + row) * wo + column
                mean = cast(restored(f, total, lost), f) * share
                f[y] = mean if store else f[y] + mean
    return 0


@device
def spread_means(op: Any, at: At[Means], f: Any, image: int, result: int, store: bool) -> int:
    """image += result / divisor, all over each window; with `store` into zeros."""
    height, width, ho, wo = at.image.height, at.image.width, at.result.height, at.result.width
    if store:
        for k in range(image, image + at.planes * height * width):
            f[k] = 0.0
    for row in range(ho):
        top, bottom = window_start(op, at, 0, row), window_end(op, at, 0, row)
        first, last = max(top, 0), min(bottom, height)
        for column in range(wo):
            left, right = window_start(op, at, 1, column), window_end(op, at, 1, column)
            low, high = max(left, 0), min(right, width)
            inside = max(last - first, 0) * max(high - low, 0)
            share = share_of(op, at, f, (bottom - top) * (right - left), inside)
            for plane in range(at.planes):
                part = f[result + (plane * ho + row) * wo + column] * share
                for h in range(first, last):
                    dx = image + (plane * height + h) * width
                    for w in range(low, high):
                        f[dx + w] += part
    return 0


def avg_pool_forward(op: AvgPool, f: Any, i: Any, b: Any) -> int:
    """y = mean of each window."""
    return means(op, op.windows, f, op.x, op.y, True)


def avg_pool_adjoint(op: AvgPool, f: Any, i: Any, b: Any) -> int:
    """dx += g / divisor, all over each window."""
    return spread_means(op, op.windows, f, op.d.x, op.g, op.stores.x)


def avg_unpool_forward(op: AvgPool, f: Any, i: Any, b: Any) -> int:
    """y += x / divisor all over each window, into zeros."""
    return spread_means(op, op.windows, f, op.y, op.x, True)


def avg_unpool_adjoint(op: AvgPool, f: Any, i: Any, b: Any) -> int:
    """dx += mean of g over each window."""
    return means(op, op.windows, f, op.g, op.d.x, op.stores.x)


def _same(r: Any, d: Any, t: Any) -> Any:
    """The op is linear: dy is the op of d."""
    return t.pooling.means(r.op, d, r.windows, r.shape)


def _of_all(r: Any, t: Any) -> Any:
    """All planes at once."""
    return t.pooling.means(r.call.op, r.x, r.windows, (r.size, *r.call.shape))


AVG_POOL: Op = Op("avg_pool", avg_pool_forward, avg_pool_adjoint, row=AvgPool, saves={}, stores=True,
              doc="mean of windows", tangent={"x": _same}, batching=_of_all,
              composition={"x": lambda r, g, t: t.pooling.means(AVG_UNPOOL, g, r.windows, r.shape_of("x"))})
AVG_UNPOOL: Op = Op("avg_unpool", avg_unpool_forward, avg_unpool_adjoint, row=AvgPool, saves={}, stores=True,
                doc="results spread over their windows", tangent={"x": _same}, batching=_of_all,
                composition={"x": lambda r, g, t: t.pooling.means(AVG_POOL, g, r.windows, r.shape_of("x"))})
