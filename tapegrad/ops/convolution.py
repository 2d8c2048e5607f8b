"""Convolution and its transpose over three axes: matrix products with columns of patches, or direct loops where there
are few channels.

Both are one linear map between an image and a response (the image seen through the kernel), read forwards or
backwards: a convolution takes the image to the response, a transposed one the response to the image. So the adjoint
of either is the forward walk of the other. Absent axes have an extent of 1.

Most two-dimensional ones go by tiles (`correlation`). For the others the columns of a block of the response's pixels
are the only scratch; the weight's adjoint makes them again from the image. It is the scratch that all ops of a
recording share (`scratch`), so that it does not grow with the depth of a network.
"""

from __future__ import annotations

import math
from typing import Any

from ..engine.language import cast, device, doubles_at, plus, wide
from ..engine.mathematics.sums import COLUMNS, add_row, clear_totals, give_totals, row_total
from ..engine.products.blas import gemm
from ..engine.tiles.tile import stack
from .correlation import TOGETHER, respond_by_tiles, spread_by_tiles, weigh_by_tiles
from .table import Op

#: elements of scratch, about what a core's second cache holds
BLOCK = 1 << 16

# Words: 1 y, 2 g, 3 x, 4 dx, 5 w, 6 dw, 7 bias, 8 dbias, 9 columns, 11 gemm, 12 samples, 13 groups, 14 image channels
# and 15 response channels of a group, 16 to 18 extents of the image (depth, height, width), 19 to 21 kernel, 22 to 24
# stride, 25 to 27 padding before, 28 to 30 dilation, 31 to 33 extents of the response, 34 whether there is a bias, 35
# rows of the response (of all depths) in a block, 36 pixels of a row in it (all of them unless it is one row), 37
# whether to loop directly, 38 whether a patch is one pixel (the image is its own columns), from 39 on those of
# `correlation`, 58 where the totals of the weight's adjoint begin in the scratch behind the columns, or 0: none.


@device
def first_inside(shift: int, stride: int, outputs: int) -> int:
    """The first output at which ``output stride + shift`` is not negative."""
    return 0 if shift >= 0 else min((stride - 1 - shift) // stride, outputs)


@device
def last_inside(shift: int, stride: int, extent: int, outputs: int) -> int:
    """One more than the last output at which ``output stride + shift`` is less than `extent`."""
    return 0 if shift >= extent else min((extent - 1 - shift) // stride + 1, outputs)


@device
def clear(f: Any, to: int, count: int) -> int:
    """Zeros."""
    for k in range(to, to + count):
        f[k] = 0.0
    return 0


@device
def response_pixels(op: Any) -> int:
    """Pixels of a channel of the response."""
    return op[31] * op[32] * op[33]


@device
def image_pixels(op: Any) -> int:
    """Pixels of a channel of the image."""
    return op[16] * op[17] * op[18]


@device
def patch_size(op: Any) -> int:
    """Elements of a patch: rows of the columns' matrix."""
    return op[14] * op[19] * op[20] * op[21]


@device
def gather_columns(op: Any, f: Any, image: int, columns: int, first: int, count: int, left: int, right: int,
                   add: int) -> int:
    """The patch's element (c, h, i, j) of the response's pixels `left` to `right` of `count` rows from `first` on.

    They are stored, zeros where the patch stands over the edge, or added.
    """
    rows, stride, start, begin = op[32], op[24], first // op[32], first % op[32]
    to = columns
    for c in range(op[14]):
        for kh in range(op[19]):
            behind = kh * op[28] - op[25]
            for ki in range(op[20]):
                below = ki * op[29] - op[26]
                for kj in range(op[21]):
                    shift = kj * op[30] - op[27]
                    low = max(first_inside(shift, stride, right), left)
                    high = max(last_inside(shift, stride, op[18], right), low)
                    slab, line = start, begin
                    for _ in range(count):
                        deep, down = slab * op[22] + behind, line * op[23] + below
                        inside = 0 <= deep < op[16] and 0 <= down < op[17]
                        source = image + ((c * op[16] + deep) * op[17] + down) * op[18] + shift
                        if add != 0:
                            if inside:
                                for k in range(low, high):
                                    f[to + k - left] += f[source + k * stride]
                        elif inside:
                            for k in range(left, low):
                                f[to + k - left] = 0.0
                            if stride == 1:
                                for k in range(low, high):
                                    f[to + k - left] = f[source + k]
                            else:
                                for k in range(low, high):
                                    f[to + k - left] = f[source + k * stride]
                            for k in range(high, right):
                                f[to + k - left] = 0.0
                        else:
                            for k in range(right - left):
                                f[to + k] = 0.0
                        to += right - left
                        line += 1
                        if line == rows:
                            slab, line = slab + 1, 0
    return 0


@device
def scatter_columns(op: Any, f: Any, image: int, columns: int, first: int, count: int, left: int, right: int) -> int:
    """Add the columns to the pixels of the image that `gather_columns` takes them from."""
    rows, stride, start, begin = op[32], op[24], first // op[32], first % op[32]
    source = columns
    for c in range(op[14]):
        for kh in range(op[19]):
            behind = kh * op[28] - op[25]
            for ki in range(op[20]):
                below = ki * op[29] - op[26]
                for kj in range(op[21]):
                    shift = kj * op[30] - op[27]
                    low = max(first_inside(shift, stride, right), left)
                    high = last_inside(shift, stride, op[18], right)
                    slab, line = start, begin
                    for _ in range(count):
                        deep, down = slab * op[22] + behind, line * op[23] + below
                        if 0 <= deep < op[16] and 0 <= down < op[17]:
                            target = image + ((c * op[16] + deep) * op[17] + down) * op[18] + shift
                            if stride == 1:
                                for k in range(low, high):
                                    f[target + k] += f[source + k - left]
                            else:
                                for k in range(low, high):
                                    f[target + k * stride] += f[source + k - left]
                        source += right - left
                        line += 1
                        if line == rows:
                            slab, line = slab + 1, 0
    return 0


@device
def direct_slab(op: Any, f: Any, response: int, image: int, w: int, mode: int) -> int:
    """One depth of a channel of the image against one of the response, through a slab of the kernel.

    `mode` 0: response += w * image; 1: image += w^T * response.
    """
    height, width, ho, wo, stride = op[17], op[18], op[32], op[33], op[24]
    for ki in range(op[20]):
        down = ki * op[29] - op[26]
        top = first_inside(down, op[23], ho)
        bottom = last_inside(down, op[23], height, ho)
        for kj in range(op[21]):
            shift = kj * op[30] - op[27]
            low = first_inside(shift, stride, wo)
            high = last_inside(shift, stride, width, wo)
            weight = f[w + ki * op[21] + kj]
            for row in range(top, bottom):
                out, source = response + row * wo, image + (row * op[23] + down) * width + shift
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
def direct_sample(op: Any, f: Any, response: int, image: int, w: int, mode: int) -> int:
    """All channels and depths of one sample, for `direct_slab`."""
    inputs, outputs, taps = op[14], op[15], op[20] * op[21]
    slab, pixels = op[32] * op[33], op[17] * op[18]
    for out in range(op[13] * outputs):
        group = out // outputs
        for c in range(inputs):
            for kh in range(op[19]):
                deep = kh * op[28] - op[25]
                for d in range(first_inside(deep, op[22], op[31]), last_inside(deep, op[22], op[16], op[31])):
                    direct_slab(op, f, response + (out * op[31] + d) * slab,
                                image + ((group * inputs + c) * op[16] + d * op[22] + deep) * pixels,
                                w + ((out * inputs + c) * op[19] + kh) * taps, mode)
    return 0


@device
def weigh_slab(op: Any, f: Any, response: int, image: int, totals: Any, place: int) -> int:
    """totals += response image, of one depth of a channel each, for the elements of a slab of the kernel."""
    height, width, ho, wo, stride = op[17], op[18], op[32], op[33], op[24]
    for ki in range(op[20]):
        down = ki * op[29] - op[26]
        top = first_inside(down, op[23], ho)
        bottom = last_inside(down, op[23], height, ho)
        for kj in range(op[21]):
            shift, total = kj * op[30] - op[27], wide(cast(0.0, f))
            low = first_inside(shift, stride, wo)
            high = last_inside(shift, stride, width, wo)
            for row in range(top, bottom):
                out, source = response + row * wo, image + (row * op[23] + down) * width + shift
                part = cast(0.0, f)
                if stride == 1:
                    for k in range(low, high):
                        part = plus(part, f[out + k] * f[source + k])
                else:
                    for k in range(low, high):
                        part = plus(part, f[out + k] * f[source + k * stride])
                total += wide(part)
            totals[place + ki * op[21] + kj] += total
    return 0


@device
def weigh_directly(op: Any, f: Any, response: int, image: int) -> int:
    """dw += response image, whose totals, of a group, are few: they are float64s."""
    inputs, outputs, taps, depth = op[14], op[15], op[20] * op[21], patch_size(op)
    slab, pixels, totals, one = op[32] * op[33], op[17] * op[18], doubles_at(f, stack(f)), wide(cast(1.0, f))
    for group in range(op[13]):
        clear_totals(f, totals, outputs * depth)
        for sample in range(op[12]):
            for out in range(outputs):
                channel = (sample * op[13] + group) * outputs + out
                for c in range(inputs):
                    seen = (sample * op[13] + group) * inputs + c
                    for kh in range(op[19]):
                        deep = kh * op[28] - op[25]
                        for d in range(first_inside(deep, op[22], op[31]), last_inside(deep, op[22], op[16], op[31])):
                            weigh_slab(op, f, response + (channel * op[31] + d) * slab,
                                       image + (seen * op[16] + d * op[22] + deep) * pixels, totals,
                                       out * depth + (c * op[19] + kh) * taps)
        give_totals(f, totals, outputs * depth, one, op[6] + group * outputs * depth, 1, True)
    return 0


@device
def respond(op: Any, f: Any, i: Any, b: Any, response: int, image: int, add: int) -> int:
    """response = w * image, or +=, where `add` is not 0."""
    status = 0
    if op[39] != 0:
        return respond_by_tiles(op, f, i, b, response, image, add)
    groups, outputs, pixels, depth = op[13], op[15], response_pixels(op), patch_size(op)
    plane = op[14] * image_pixels(op)
    if op[37] != 0 and add == 0:
        clear(f, response, op[12] * groups * outputs * pixels)
    for sample in range(op[12]):
        if op[37] != 0:
            direct_sample(op, f, response + sample * groups * outputs * pixels, image + sample * groups * plane,
                          op[5], 0)
            continue
        for group in range(groups):
            w = op[5] + group * outputs * depth
            to = response + (sample * groups + group) * outputs * pixels
            source = image + (sample * groups + group) * plane
            if op[38] != 0:
                status |= gemm(op[11], 0, 0, outputs, pixels, depth, w, depth, source, pixels, add, to, pixels, f)
                continue
            for first in range(0, op[31] * op[32], op[35]):
                rows = min(op[35], op[31] * op[32] - first)
                for left in range(0, op[33], op[36]):
                    right = min(left + op[36], op[33])
                    count = rows * (right - left)
                    gather_columns(op, f, source, op[9], first, rows, left, right, 0)
                    status |= gemm(op[11], 0, 0, outputs, count, depth, w, depth, op[9], count, add,
                                   to + first * op[33] + left, pixels, f)
    return status


@device
def spread(op: Any, f: Any, i: Any, b: Any, image: int, response: int, add: int) -> int:
    """image = w^T * response, or += where `add` is not 0: columns w^T response, added where they were taken from."""
    status = 0
    if op[40] != 0:
        return spread_by_tiles(op, f, i, b, image, response, add)
    groups, outputs, pixels, depth = op[13], op[15], response_pixels(op), patch_size(op)
    plane = op[14] * image_pixels(op)
    if op[38] == 0 and add == 0:
        clear(f, image, op[12] * groups * plane)
    for sample in range(op[12]):
        if op[37] != 0:
            direct_sample(op, f, response + sample * groups * outputs * pixels, image + sample * groups * plane,
                          op[5], 1)
            continue
        for group in range(groups):
            w = op[5] + group * outputs * depth
            source = response + (sample * groups + group) * outputs * pixels
            to = image + (sample * groups + group) * plane
            if op[38] != 0:
                status |= gemm(op[11], 1, 0, depth, pixels, outputs, w, depth, source, pixels, add, to, pixels, f)
                continue
            for first in range(0, op[31] * op[32], op[35]):
                rows = min(op[35], op[31] * op[32] - first)
                for left in range(0, op[33], op[36]):
                    right = min(left + op[36], op[33])
                    count = rows * (right - left)
                    status |= gemm(op[11], 1, 0, depth, count, outputs, w, depth, source + first * op[33] + left,
                                   pixels, 0, op[9], count, f)
                    scatter_columns(op, f, to, op[9], first, rows, left, right)
    return status


@device
def move_to_totals(op: Any, f: Any, n: int) -> int:
    """Add the weight's adjoint to its totals, and clear it."""
    add_row(f, doubles_at(f, op[9] + op[58]), n, op[6], 1)
    return clear(f, op[6], n)


@device
def weight_adjoint(op: Any, f: Any, i: Any, b: Any, response: int, image: int) -> int:
    """dw += response columns^T."""
    status = 0
    groups, outputs, pixels, depth = op[13], op[15], response_pixels(op), patch_size(op)
    plane, size = op[14] * image_pixels(op), groups * outputs * depth
    if op[0] & 4 != 0:
        clear(f, op[6], size)
    if op[39] != 0:
        return weigh_by_tiles(op, f, i, b, response, image)
    if op[37] != 0:
        return weigh_directly(op, f, response, image)
    if op[58] != 0:
        clear_totals(f, doubles_at(f, op[9] + op[58]), size)
        move_to_totals(op, f, size)
    for sample in range(op[12]):
        for group in range(groups):
            dw = op[6] + group * outputs * depth
            source = response + (sample * groups + group) * outputs * pixels
            patches = image + (sample * groups + group) * plane
            if op[38] != 0:
                status |= gemm(op[11], 0, 1, outputs, depth, pixels, source, pixels, patches, pixels, 1, dw, depth, f)
                continue
            for first in range(0, op[31] * op[32], op[35]):
                rows = min(op[35], op[31] * op[32] - first)
                for left in range(0, op[33], op[36]):
                    right = min(left + op[36], op[33])
                    count = rows * (right - left)
                    gather_columns(op, f, patches, op[9], first, rows, left, right, 0)
                    status |= gemm(op[11], 0, 1, outputs, depth, count, source + first * op[33] + left, pixels,
                                   op[9], count, 1, dw, depth, f)
        if op[58] != 0 and sample % TOGETHER == TOGETHER - 1:
            move_to_totals(op, f, size)
    if op[58] != 0:
        move_to_totals(op, f, size)
        give_totals(f, doubles_at(f, op[9] + op[58]), size, wide(cast(1.0, f)), op[6], 1, False)
    return status


@device
def fill_bias(op: Any, f: Any, channels: int, pixels: int) -> int:
    """y = bias, where there is one."""
    if op[34] != 0:
        for plane in range(op[12] * channels):
            value = f[op[7] + plane % channels]
            for k in range(op[1] + plane * pixels, op[1] + (plane + 1) * pixels):
                f[k] = value
    return 0


@device
def bias_adjoint(op: Any, f: Any, channels: int, pixels: int) -> int:
    """dbias += the sum of g."""
    totals, one = doubles_at(f, stack(f)), wide(cast(1.0, f))
    for left in range(0, channels, COLUMNS):
        n = min(COLUMNS, channels - left)
        clear_totals(f, totals, n)
        for sample in range(op[12]):
            for c in range(n):
                totals[c] += row_total(f, op[2] + (sample * channels + left + c) * pixels, pixels)
        give_totals(f, totals, n, one, op[8] + left, 1, op[0] & 8 == 0)
    return 0


def conv_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y[n, o] = bias[o] + sum over c, i, j of w[o, c, i, j] x[n, c, . stride - padding + (i, j) dilation]."""
    fill_bias(op, f, op[13] * op[15], response_pixels(op))
    return respond(op, f, i, b, op[1], op[3], op[34])


def conv_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dx += w^T * g, dw += g * x, dbias += sum of g."""
    status = 0
    if op[4] != 0:
        status |= spread(op, f, i, b, op[4], op[2], 0 if op[0] & 2 != 0 else 1)
    if op[6] != 0:
        status |= weight_adjoint(op, f, i, b, op[2], op[3])
    if op[8] != 0:
        bias_adjoint(op, f, op[13] * op[15], response_pixels(op))
    return status


CONV = Op("conv", conv_forward, conv_adjoint, ((2, 4), (1, 4), (), ()), stores=True,
          doc="cross-correlation over up to three axes, by groups of channels",
          products=lambda shapes: math.prod(shapes[0]) * math.prod(shapes[2][1:]))


def conv_transpose_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y[n, c, p stride - padding + (i, j) dilation] = bias[c] + the sum of w[o, c, i, j] x[n, o, p] that meet there."""
    fill_bias(op, f, op[13] * op[14], image_pixels(op))
    return spread(op, f, i, b, op[1], op[3], op[34])


def conv_transpose_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dx += w * g, dw += x * g, dbias += sum of g."""
    status = 0
    if op[4] != 0:
        status |= respond(op, f, i, b, op[4], op[2], 0 if op[0] & 2 != 0 else 1)
    if op[6] != 0:
        status |= weight_adjoint(op, f, i, b, op[3], op[2])
    if op[8] != 0:
        bias_adjoint(op, f, op[13] * op[14], image_pixels(op))
    return status


CONV_TRANSPOSE = Op("conv_transpose", conv_transpose_forward, conv_transpose_adjoint, ((2, 4), (1, 4), (), ()),
                    stores=True, doc="the adjoint of cross-correlation as a map of its own",
                    products=lambda shapes: math.prod(shapes[1]) * math.prod(shapes[2][1:]))
