"""Convolution and its transpose over three axes, by im2col and matrix products, or direct loops for few channels.

Both are one linear map between an image and a response (the image seen through the kernel), or its adjoint: a
convolution maps the image to the response, a transposed one the response to the image. So the adjoint of either is the
forward walk of the other. Absent axes have an extent of 1.

Most two-dimensional ones use register tiles instead (`correlation`). For the others, the im2col columns of a block of
the response's pixels are the only scratch; the weight's adjoint recomputes them from the image. All ops of a recording
share it (`scratch`), so that it does not grow with the depth of a network.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..engine.language import cast, device, doubles_at, plus, wide
from ..engine.mathematics.sums import COLUMNS, add_row, add_to_total, clear_totals, give_totals, row_total
from ..engine.products.blas import gemm
from ..engine.row import At
from ..engine.tiles.tile import stack
from .columns import (
    clear,
    first_inside,
    gather_columns,
    image_pixels,
    last_inside,
    patch_size,
    response_pixels,
    scatter_columns,
)
from .correlation import TOGETHER, respond_by_tiles, spread_by_tiles, weigh_by_tiles
from .table import Op
from .windows import Convolution, Windows

#: elements of scratch, about the size of the L2 cache
BLOCK = 1 << 16


@device
def direct_slab(op: Any, windows: At[Windows], f: Any, response: int, image: int, w: int, mode: int) -> int:
    """One depth of a channel of the image against one of the response, through a slab of the kernel.

    `mode` 0: response += w * image; 1: image += w^T * response.
    """
    height, width, ho = windows.image.height, windows.image.width, windows.response.height
    wo, stride = windows.response.width, windows.stride.width
    for ki in range(windows.kernel.height):
        down = ki * windows.dilation.height - windows.padding.height
        top = first_inside(down, windows.stride.height, ho)
        bottom = last_inside(down, windows.stride.height, height, ho)
        for kj in range(windows.kernel.width):
            shift = kj * windows.dilation.width - windows.padding.width
            low = first_inside(shift, stride, wo)
            high = last_inside(shift, stride, width, wo)
            weight = f[w + ki * windows.kernel.width + kj]
            for row in range(top, bottom):
                out, source = response + row * wo, image + (row * windows.stride.height + down) * width + shift
                if mode == 0:
                    if stride == 1:
                        for k in range(low, high):
                            f[out + k] += weight * f[source + k]
                    else:
                        for k in range(low, high):
                            f[out + k] += weight * f[source + k * stride]
                elif stride == 1:
                    for k in range(low, high):
                        f[source + k] += weight * f[out + k]
                else:
                    for k in range(low, high):
                        f[source + k * stride] += weight * f[out + k]
    return 0


@device
def direct_sample(op: Any, windows: At[Windows], f: Any, response: int, image: int, w: int, mode: int) -> int:
    """All channels and depths of one sample, for `direct_slab`."""
    inputs, outputs, taps = windows.channels, windows.outputs, windows.kernel.height * windows.kernel.width
    slab, pixels = windows.response.height * windows.response.width, windows.image.height * windows.image.width
    for out in range(windows.groups * outputs):
        group = out // outputs
        for c in range(inputs):
            for kh in range(windows.kernel.depth):
                deep = kh * windows.dilation.depth - windows.padding.depth
                for d in range(first_inside(deep, windows.stride.depth, windows.response.depth),
                               last_inside(deep, windows.stride.depth, windows.image.depth, windows.response.depth)):
                    direct_slab(op, windows, f, response + (out * windows.response.depth + d) * slab,
                                image + ((group * inputs + c) * windows.image.depth
                                         + d * windows.stride.depth + deep) * pixels,
                                w + ((out * inputs + c) * windows.kernel.depth + kh) * taps, mode)
    return 0


@device
def weigh_slab(op: Any, windows: At[Windows], f: Any, response: int, image: int, totals: Any, place: int) -> int:
    """totals += response image, of one depth of a channel each, over the elements of a slab of the kernel."""
    height, width, ho = windows.image.height, windows.image.width, windows.response.height
    wo, stride = windows.response.width, windows.stride.width
    for ki in range(windows.kernel.height):
        down = ki * windows.dilation.height - windows.padding.height
        top = first_inside(down, windows.stride.height, ho)
        bottom = last_inside(down, windows.stride.height, height, ho)
        for kj in range(windows.kernel.width):
            shift, total = kj * windows.dilation.width - windows.padding.width, wide(cast(0.0, f))
            low = first_inside(shift, stride, wo)
            high = last_inside(shift, stride, width, wo)
            for row in range(top, bottom):
                out, source = response + row * wo, image + (row * windows.stride.height + down) * width + shift
                part = cast(0.0, f)
                if stride == 1:
                    for k in range(low, high):
                        part = plus(part, f[out + k] * f[source + k])
                else:
                    for k in range(low, high):
                        part = plus(part, f[out + k] * f[source + k * stride])
                total += wide(part)
            add_to_total(f, totals, place + ki * windows.kernel.width + kj, total)
    return 0


@device
def weigh_directly(op: Convolution, f: Any, response: int, image: int, dw: int) -> int:
    """dw += response image; the totals, of a group, are few, and float64."""
    inputs, outputs, taps = op.windows.channels, op.windows.outputs, op.windows.kernel.height * op.windows.kernel.width
    depth = patch_size(op, op.windows)
    slab = op.windows.response.height * op.windows.response.width
    pixels = op.windows.image.height * op.windows.image.width
    totals, one = doubles_at(f, stack(f)), wide(cast(1.0, f))
    for group in range(op.windows.groups):
        clear_totals(f, totals, outputs * depth)
        for sample in range(op.windows.samples):
            for out in range(outputs):
                channel = (sample * op.windows.groups + group) * outputs + out
                for c in range(inputs):
                    seen = (sample * op.windows.groups + group) * inputs + c
                    for kh in range(op.windows.kernel.depth):
                        deep = kh * op.windows.dilation.depth - op.windows.padding.depth
                        for d in range(first_inside(deep, op.windows.stride.depth, op.windows.response.depth),
                                       last_inside(deep, op.windows.stride.depth, op.windows.image.depth,
                                                   op.windows.response.depth)):
                            weigh_slab(op, op.windows, f, response + (channel * op.windows.response.depth + d) * slab,
                                       image + (seen * op.windows.image.depth
                                                + d * op.windows.stride.depth + deep) * pixels,
                                       totals, out * depth + (c * op.windows.kernel.depth + kh) * taps)
        give_totals(f, totals, outputs * depth, one, dw + group * outputs * depth, 1, True)
    return 0


@device
def respond(op: Convolution, f: Any, i: Any, b: Any, response: int, image: int, weight: int, add: int) -> int:
    """response = w * image, or +=, where `add` is not 0."""
    status = 0
    if op.tiles.respond:
        return respond_by_tiles(op, f, i, b, response, image, weight, add)
    groups, outputs = op.windows.groups, op.windows.outputs
    pixels, depth = response_pixels(op, op.windows), patch_size(op, op.windows)
    plane = op.windows.channels * image_pixels(op, op.windows)
    if op.direct and add == 0:
        clear(f, response, op.windows.samples * groups * outputs * pixels)
    for sample in range(op.windows.samples):
        if op.direct:
            direct_sample(op, op.windows, f, response + sample * groups * outputs * pixels,
                          image + sample * groups * plane, weight, 0)
            continue
        for group in range(groups):
            w = weight + group * outputs * depth
            to = response + (sample * groups + group) * outputs * pixels
            source = image + (sample * groups + group) * plane
            if op.pixel:
                status |= gemm(op.gemm, 0, 0, outputs, pixels, depth, w, depth, source, pixels, add, to, pixels, f)
                continue
            for first in range(0, op.windows.response.depth * op.windows.response.height, op.rows):
                rows = min(op.rows, op.windows.response.depth * op.windows.response.height - first)
                for left in range(0, op.windows.response.width, op.across):
                    right = min(left + op.across, op.windows.response.width)
                    count = rows * (right - left)
                    gather_columns(op, op.windows, f, source, op.scratch, first, rows, left, right, 0)
                    status |= gemm(op.gemm, 0, 0, outputs, count, depth, w, depth, op.scratch, count, add,
                                   to + first * op.windows.response.width + left, pixels, f)
    return status


@device
def spread(op: Convolution, f: Any, i: Any, b: Any, image: int, response: int, weight: int, add: int) -> int:
    """image = w^T * response, or += if `add` is not 0: col2im of the columns w^T response."""
    status = 0
    if op.tiles.spread:
        return spread_by_tiles(op, f, i, b, image, response, weight, add)
    groups, outputs = op.windows.groups, op.windows.outputs
    pixels, depth = response_pixels(op, op.windows), patch_size(op, op.windows)
    plane = op.windows.channels * image_pixels(op, op.windows)
    if not op.pixel and add == 0:
        clear(f, image, op.windows.samples * groups * plane)
    for sample in range(op.windows.samples):
        if op.direct:
            direct_sample(op, op.windows, f, response + sample * groups * outputs * pixels,
                          image + sample * groups * plane, weight, 1)
            continue
        for group in range(groups):
            w = weight + group * outputs * depth
            source = response + (sample * groups + group) * outputs * pixels
            to = image + (sample * groups + group) * plane
            if op.pixel:
                status |= gemm(op.gemm, 1, 0, depth, pixels, outputs, w, depth, source, pixels, add, to, pixels, f)
                continue
            for first in range(0, op.windows.response.depth * op.windows.response.height, op.rows):
                rows = min(op.rows, op.windows.response.depth * op.windows.response.height - first)
                for left in range(0, op.windows.response.width, op.across):
                    right = min(left + op.across, op.windows.response.width)
                    count = rows * (right - left)
                    status |= gemm(op.gemm, 1, 0, depth, count, outputs, w, depth,
                                   source + first * op.windows.response.width + left, pixels, 0, op.scratch, count, f)
                    scatter_columns(op, op.windows, f, to, op.scratch, first, rows, left, right)
    return status


@device
def move_to_totals(op: Convolution, f: Any, dw: int, n: int) -> int:
    """Accumulate the weight's adjoint into its totals, and clear it."""
    add_row(f, doubles_at(f, op.scratch + op.totals), n, dw, 1)
    return clear(f, dw, n)


@device
def weigh(op: Convolution, f: Any, i: Any, b: Any, response: int, image: int, dw: int, store: bool) -> int:
    """dw += response columns^T, or = that."""
    status = 0
    groups, outputs = op.windows.groups, op.windows.outputs
    pixels, depth = response_pixels(op, op.windows), patch_size(op, op.windows)
    plane, size = op.windows.channels * image_pixels(op, op.windows), groups * outputs * depth
    if store:
        clear(f, dw, size)
    if op.tiles.respond:
        return weigh_by_tiles(op, f, i, b, response, image, dw)
    if op.direct:
        return weigh_directly(op, f, response, image, dw)
    if op.totals:
        clear_totals(f, doubles_at(f, op.scratch + op.totals), size)
        move_to_totals(op, f, dw, size)
    for sample in range(op.windows.samples):
        for group in range(groups):
            to = dw + group * outputs * depth
            source = response + (sample * groups + group) * outputs * pixels
            patches = image + (sample * groups + group) * plane
            if op.pixel:
                status |= gemm(op.gemm, 0, 1, outputs, depth, pixels, source, pixels, patches, pixels, 1, to, depth, f)
                continue
            for first in range(0, op.windows.response.depth * op.windows.response.height, op.rows):
                rows = min(op.rows, op.windows.response.depth * op.windows.response.height - first)
                for left in range(0, op.windows.response.width, op.across):
                    right = min(left + op.across, op.windows.response.width)
                    count = rows * (right - left)
                    gather_columns(op, op.windows, f, patches, op.scratch, first, rows, left, right, 0)
                    status |= gemm(op.gemm, 0, 1, outputs, depth, count,
                                   source + first * op.windows.response.width + left, pixels, op.scratch, count, 1,
                                   to, depth, f)
        if op.totals and sample % TOGETHER == TOGETHER - 1:
            move_to_totals(op, f, dw, size)
    if op.totals:
        move_to_totals(op, f, dw, size)
        give_totals(f, doubles_at(f, op.scratch + op.totals), size, wide(cast(1.0, f)), dw, 1, False)
    return status


@device
def fill_bias(op: Convolution, f: Any, channels: int, pixels: int) -> int:
    """y = bias, if there is one."""
    if op.biased:
        for plane in range(op.windows.samples * channels):
            value = f[op.bias + plane % channels]
            for k in range(op.y + plane * pixels, op.y + (plane + 1) * pixels):
                f[k] = value
    return 0


@device
def bias_adjoint(op: Convolution, f: Any, channels: int, pixels: int) -> int:
    """dbias += the sum of g."""
    totals, one = doubles_at(f, stack(f)), wide(cast(1.0, f))
    for left in range(0, channels, COLUMNS):
        n = min(COLUMNS, channels - left)
        clear_totals(f, totals, n)
        for sample in range(op.windows.samples):
            for c in range(n):
                add_to_total(f, totals, c, row_total(f, op.g + (sample * channels + left + c) * pixels, pixels))
        give_totals(f, totals, n, one, op.d.bias + left, 1, not op.stores.bias)
    return 0


def conv_forward(op: Convolution, f: Any, i: Any, b: Any) -> int:
    """y[n, o] = bias[o] + sum over c, i, j of w[o, c, i, j] x[n, c, . stride - padding + (i, j) dilation]."""
    fill_bias(op, f, op.windows.groups * op.windows.outputs, response_pixels(op, op.windows))
    return respond(op, f, i, b, op.y, op.x, op.weight, op.biased)


def conv_adjoint(op: Convolution, f: Any, i: Any, b: Any) -> int:
    """dx += w^T * g, dw += g * x, dbias += sum of g."""
    status = 0
    if op.d.x != 0:
        status |= spread(op, f, i, b, op.d.x, op.g, op.weight, 0 if op.stores.x else 1)
    if op.d.weight != 0:
        status |= weigh(op, f, i, b, op.g, op.x, op.d.weight, op.stores.weight)
    if op.d.bias != 0:
        bias_adjoint(op, f, op.windows.groups * op.windows.outputs, response_pixels(op, op.windows))
    return status


def _over_pixels(r: Any, g: Any, t: Any) -> Any:
    """dbias = the sum of dY over samples and pixels."""
    return t.sum(g, (0, *range(2, g.ndim)))


def _along_channels(r: Any, bias: Any, t: Any) -> Any:
    """A number for each channel of y."""
    return t.reshape(bias, (*bias.shape, *(1,) * (len(r.shape) - 2)))


def conv_to_x(r: Any, g: Any, t: Any) -> Any:
    """dX = W^T * dY."""
    return t.reshape(t.convolution.through(r.windows, CONV_TRANSPOSE, g, r.weight), r.shape_of("x"))


def conv_to_weight(r: Any, g: Any, t: Any) -> Any:
    """dW = dY X over the pixels."""
    return t.reshape(t.convolution.correlate(r.windows, g, r.x), r.shape_of("weight"))


def _tangents(op: Callable[[], Op]) -> dict[str, Callable]:
    """Of a map that is linear in its input and in its weight."""

    def by(r: Any, x: Any, weight: Any, t: Any) -> Any:
        return t.reshape(t.convolution.through(r.windows, op(), x, weight), r.shape)

    return {"x": lambda r, d, t: by(r, d, r.weight, t), "weight": lambda r, d, t: by(r, r.x, d, t),
            "bias": _along_channels}


def batched(op: Callable[[], Op], outputs: int) -> Callable:
    """Of samples without a weight for each, all as one batch; of weights for the same samples, all as channels.

    `outputs` is the axis of the weight along which these are counted.
    """

    def rule(r: Any, t: Any) -> Any:
        x, weight, bias, alone = r.x, r.weight, r.bias if r.biased else None, None
        if r.has_axis("weight") and (r.has_axis("x") or r.windows.groups > 1):
            return None
        if r.has_axis("weight") or r.has_axis("bias"):
            alone, bias = bias, None
        if r.has_axis("x"):
            x = t.reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:]))
        if r.has_axis("weight"):
            w = t.moveaxis(weight, 0, outputs)
            weight = t.reshape(w, (*w.shape[:outputs], w.shape[outputs] * w.shape[outputs + 1], *w.shape[outputs + 2:]))
        y = t.convolution.through(r.windows, op(), x, weight, bias)
        if r.has_axis("weight"):
            y = t.moveaxis(t.reshape(y, (y.shape[0], r.size, y.shape[1] // r.size, *y.shape[2:])), 1, 0)
        y = t.reshape(y, (r.size if r.has_axis("x") or r.has_axis("weight") else 1, *r.call.shape))
        if alone is None:
            return y
        return y + t.reshape(alone, (-1, 1, y.shape[2], *(1,) * (y.ndim - 3)))

    return rule


CONV: Op = Op("conv", conv_forward, conv_adjoint, row=Convolution,
          saves={"x": "weight scratch", "weight": "x scratch"}, stores=True,
          doc="cross-correlation over up to three axes, by groups of channels",
          products=lambda shapes: math.prod(shapes[0]) * math.prod(shapes[2][1:]),
          composition={"x": conv_to_x, "weight": conv_to_weight, "bias": _over_pixels},
          tangent=_tangents(lambda: CONV), batching=batched(lambda: CONV, 0))


def conv_transpose_forward(op: Convolution, f: Any, i: Any, b: Any) -> int:
    """y[n, c, p stride - padding + (i, j) dilation] = bias[c] + the sum of w[o, c, i, j] x[n, o, p] that meet there."""
    fill_bias(op, f, op.windows.groups * op.windows.channels, image_pixels(op, op.windows))
    return spread(op, f, i, b, op.y, op.x, op.weight, op.biased)


def conv_transpose_adjoint(op: Convolution, f: Any, i: Any, b: Any) -> int:
    """dx += w * g, dw += x * g, dbias += sum of g."""
    status = 0
    if op.d.x != 0:
        status |= respond(op, f, i, b, op.d.x, op.g, op.weight, 0 if op.stores.x else 1)
    if op.d.weight != 0:
        status |= weigh(op, f, i, b, op.x, op.g, op.d.weight, op.stores.weight)
    if op.d.bias != 0:
        bias_adjoint(op, f, op.windows.groups * op.windows.channels, image_pixels(op, op.windows))
    return status


def transpose_to_x(r: Any, g: Any, t: Any) -> Any:
    """dX = W * dY."""
    return t.reshape(t.convolution.through(r.windows, CONV, g, r.weight), r.shape_of("x"))


def transpose_to_weight(r: Any, g: Any, t: Any) -> Any:
    """dW = X dY over the pixels."""
    return t.reshape(t.convolution.correlate(r.windows, r.x, g), r.shape_of("weight"))


CONV_TRANSPOSE: Op = Op("conv_transpose", conv_transpose_forward, conv_transpose_adjoint, row=Convolution,
                    saves={"x": "weight scratch", "weight": "x scratch"}, stores=True,
                    doc="the adjoint of cross-correlation as a map of its own",
                    products=lambda shapes: math.prod(shapes[1]) * math.prod(shapes[2][1:]),
                    composition={"x": transpose_to_x, "weight": transpose_to_weight, "bias": _over_pixels},
                    tangent=_tangents(lambda: CONV_TRANSPOSE), batching=batched(lambda: CONV_TRANSPOSE, 1))


def correlate_forward(op: Convolution, f: Any, i: Any, b: Any) -> int:
    """y[o, c, i, j] = sum over n and the pixels of weight[n, o] x[n, c, . stride - padding + (i, j) dilation].

    The second input is a response, in place of the weight, which is the result.
    """
    return weigh(op, f, i, b, op.weight, op.x, op.y, True)


def correlate_adjoint(op: Convolution, f: Any, i: Any, b: Any) -> int:
    """dx += g^T * response, dresponse += g * x."""
    status = 0
    if op.d.x != 0:
        status |= spread(op, f, i, b, op.d.x, op.weight, op.g, 0 if op.stores.x else 1)
    if op.d.weight != 0:
        status |= respond(op, f, i, b, op.d.weight, op.x, op.g, 0 if op.stores.weight else 1)
    return status


def correlate_to_x(r: Any, g: Any, t: Any) -> Any:
    """dX = dY^T * response."""
    return t.reshape(t.convolution.through(r.windows, CONV_TRANSPOSE, r.weight, g), r.shape_of("x"))


def correlate_to_response(r: Any, g: Any, t: Any) -> Any:
    """dresponse = dY * X."""
    return t.reshape(t.convolution.through(r.windows, CONV, r.x, g), r.shape_of("weight"))


CORRELATE: Op = Op("correlate", correlate_forward, correlate_adjoint, row=Convolution,
                   saves={"x": "weight scratch", "weight": "x scratch"}, stores=True,
                   doc="the adjoint of a convolution's weight as a map of its own",
                   products=lambda shapes: math.prod(shapes[2]) * math.prod(shapes[0][1:]),
                   composition={"x": correlate_to_x, "weight": correlate_to_response,
                                "bias": lambda r, g, t: 0.0},  # there is none
                   tangent={"x": lambda r, d, t: t.convolution.correlate(r.windows, r.weight, d),
                            "weight": lambda r, d, t: t.convolution.correlate(r.windows, d, r.x)})
