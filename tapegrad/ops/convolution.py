"""Convolution over two axes: matrix products with columns of patches, or direct loops where there are few channels.

The columns of a block of output rows (at most `BLOCK` elements, or one row) are the only scratch; the weight's
adjoint makes them again from the input. All convolutions of a recording share one scratch, the output of an
instruction of its own, so that it is planned once and does not grow with the depth of a network.
"""

from __future__ import annotations

from typing import Any

from ..engine.blas import gemm
from ..engine.jit import cast, device
from .reduction import total_of
from .table import Op

#: elements of scratch, about what a core's second cache holds
BLOCK = 1 << 16

# Words: 1 y, 2 g, 3 x, 4 dx, 5 w, 6 dw, 7 bias, 8 dbias, 9 columns, 11 gemm, 12 samples, 13 groups, 14 input channels
# of a group, 15 height, 16 width, 17 output channels of a group, 18 and 19 kernel, 20 and 21 stride, 22 and 23 padding
# before, 24 and 25 dilation, 26 and 27 output height and width, 28 whether there is a bias, 29 output rows of a block,
# 30 whether to loop directly, 31 whether a patch is one pixel (the input is its own columns).


@device
def first_inside(shift: int, stride: int, outputs: int) -> int:
    """The first output at which ``output stride + shift`` is not negative."""
    return 0 if shift >= 0 else min((stride - 1 - shift) // stride, outputs)


@device
def last_inside(shift: int, stride: int, extent: int, outputs: int) -> int:
    """One more than the last output at which ``output stride + shift`` is less than `extent`."""
    return 0 if shift >= extent else min((extent - 1 - shift) // stride + 1, outputs)


@device
def gather_columns(op: Any, f: Any, x: int, first: int, count: int) -> int:
    """Columns of the output rows from `first` on: the patch's element (c, i, j) of every output pixel."""
    height, width, wo, stride = op[15], op[16], op[27], op[21]
    to = op[9]
    for c in range(op[14]):
        for ki in range(op[18]):
            for kj in range(op[19]):
                shift = kj * op[25] - op[23]
                low = first_inside(shift, stride, wo)
                high = max(last_inside(shift, stride, width, wo), low)
                for row in range(first, first + count):
                    at = row * op[20] - op[22] + ki * op[24]
                    if at < 0 or at >= height:
                        for k in range(wo):
                            f[to + k] = 0.0
                    else:
                        source = x + (c * height + at) * width + shift
                        for k in range(low):
                            f[to + k] = 0.0
                        if stride == 1:
                            for k in range(low, high):
                                f[to + k] = f[source + k]
                        else:
                            for k in range(low, high):
                                f[to + k] = f[source + k * stride]
                        for k in range(high, wo):
                            f[to + k] = 0.0
                    to += wo
    return 0


@device
def scatter_columns(op: Any, f: Any, dx: int, first: int, count: int) -> int:
    """Add the columns to the input pixels that they were gathered from."""
    height, width, wo, stride = op[15], op[16], op[27], op[21]
    columns = op[9]
    for c in range(op[14]):
        for ki in range(op[18]):
            for kj in range(op[19]):
                shift = kj * op[25] - op[23]
                low = first_inside(shift, stride, wo)
                high = last_inside(shift, stride, width, wo)
                for row in range(first, first + count):
                    at = row * op[20] - op[22] + ki * op[24]
                    if 0 <= at < height:
                        target = dx + (c * height + at) * width + shift
                        if stride == 1:
                            for k in range(low, high):
                                f[target + k] += f[columns + k]
                        else:
                            for k in range(low, high):
                                f[target + k * stride] += f[columns + k]
                    columns += wo
    return 0


@device
def direct_plane(op: Any, f: Any, y: int, x: int, w: int, mode: int) -> int:
    """One input plane against one output plane: 0 y += w * x, 1 dx += w^T * g, 2 dw += g x (`w` then its adjoint)."""
    height, width, ho, wo, stride = op[15], op[16], op[26], op[27], op[21]
    for ki in range(op[18]):
        down = ki * op[24] - op[22]
        top = first_inside(down, op[20], ho)
        bottom = last_inside(down, op[20], height, ho)
        for kj in range(op[19]):
            shift = kj * op[25] - op[23]
            low = first_inside(shift, stride, wo)
            high = last_inside(shift, stride, width, wo)
            place = w + ki * op[19] + kj
            weight, total = f[place], cast(0.0, f)
            for row in range(top, bottom):
                out, source = y + row * wo, x + (row * op[20] + down) * width + shift
                if mode == 0:
                    if stride == 1:
                        for k in range(low, high):
                            f[out + k] += weight * f[source + k]
                    else:
                        for k in range(low, high):
                            f[out + k] += weight * f[source + k * stride]
                elif mode == 1:
                    if stride == 1:
                        for k in range(low, high):
                            f[source + k] += weight * f[out + k]
                    else:
                        for k in range(low, high):
                            f[source + k * stride] += weight * f[out + k]
                else:
                    part = cast(0.0, f)
                    if stride == 1:
                        for k in range(low, high):
                            part += f[out + k] * f[source + k]
                    else:
                        for k in range(low, high):
                            part += f[out + k] * f[source + k * stride]
                    total += part
            if mode == 2:
                f[place] += total
    return 0


@device
def direct_planes(op: Any, f: Any, y: int, x: int, w: int, mode: int) -> int:
    """All planes of one sample, for `direct_plane`."""
    inputs, outputs, taps = op[14], op[17], op[18] * op[19]
    pixels, plane = op[26] * op[27], op[15] * op[16]
    for out in range(op[13] * outputs):
        group = out // outputs
        for c in range(inputs):
            direct_plane(op, f, y + out * pixels, x + (group * inputs + c) * plane, w + (out * inputs + c) * taps, mode)
    return 0


def conv_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y[n, o] = bias[o] + sum over c, i, j of w[o, c, i, j] x[n, c, . stride - padding + (i, j) dilation]."""
    groups, outputs, pixels, wo = op[13], op[17], op[26] * op[27], op[27]
    plane, depth = op[14] * op[15] * op[16], op[14] * op[18] * op[19]
    biased = op[28] != 0
    for sample in range(op[12]):
        y, x = op[1] + sample * groups * outputs * pixels, op[3] + sample * groups * plane
        if biased or op[30] != 0:
            for out in range(groups * outputs):
                value = f[op[7] + out] if biased else cast(0.0, f)
                for k in range(y + out * pixels, y + out * pixels + pixels):
                    f[k] = value
        if op[30] != 0:
            direct_planes(op, f, y, x, op[5], 0)
            continue
        for group in range(groups):
            w, to = op[5] + group * outputs * depth, y + group * outputs * pixels
            if op[31] != 0:
                gemm(op[11], 0, 0, outputs, pixels, depth, w, depth, x + group * plane, pixels, op[28], to, pixels, f)
                continue
            for first in range(0, op[26], op[29]):
                count = min(op[29], op[26] - first)
                gather_columns(op, f, x + group * plane, first, count)
                gemm(op[11], 0, 0, outputs, count * wo, depth, w, depth, op[9], count * wo, op[28], to + first * wo,
                     pixels, f)
    return 0


@device
def conv_input_adjoint(op: Any, f: Any) -> int:
    """dx += the columns w^T g, added where they were gathered from."""
    groups, outputs, pixels, wo = op[13], op[17], op[26] * op[27], op[27]
    plane, depth = op[14] * op[15] * op[16], op[14] * op[18] * op[19]
    store = op[0] & 2 != 0
    if store and op[31] == 0:
        for k in range(op[4], op[4] + op[12] * groups * plane):
            f[k] = 0.0
    for sample in range(op[12]):
        g, dx = op[2] + sample * groups * outputs * pixels, op[4] + sample * groups * plane
        if op[30] != 0:
            direct_planes(op, f, g, dx, op[5], 1)
            continue
        for group in range(groups):
            w, source = op[5] + group * outputs * depth, g + group * outputs * pixels
            if op[31] != 0:
                gemm(op[11], 1, 0, depth, pixels, outputs, w, depth, source, pixels, 0 if store else 1,
                     dx + group * plane, pixels, f)
                continue
            for first in range(0, op[26], op[29]):
                count = min(op[29], op[26] - first)
                gemm(op[11], 1, 0, depth, count * wo, outputs, w, depth, source + first * wo, pixels, 0, op[9],
                     count * wo, f)
                scatter_columns(op, f, dx + group * plane, first, count)
    return 0


@device
def conv_weight_adjoint(op: Any, f: Any) -> int:
    """dw += g columns^T."""
    groups, outputs, pixels, wo = op[13], op[17], op[26] * op[27], op[27]
    plane, depth = op[14] * op[15] * op[16], op[14] * op[18] * op[19]
    if op[0] & 4 != 0:
        for k in range(op[6], op[6] + groups * outputs * depth):
            f[k] = 0.0
    for sample in range(op[12]):
        g, x = op[2] + sample * groups * outputs * pixels, op[3] + sample * groups * plane
        if op[30] != 0:
            direct_planes(op, f, g, x, op[6], 2)
            continue
        for group in range(groups):
            dw, source = op[6] + group * outputs * depth, g + group * outputs * pixels
            if op[31] != 0:
                gemm(op[11], 0, 1, outputs, depth, pixels, source, pixels, x + group * plane, pixels, 1, dw, depth, f)
                continue
            for first in range(0, op[26], op[29]):
                count = min(op[29], op[26] - first)
                gather_columns(op, f, x + group * plane, first, count)
                gemm(op[11], 0, 1, outputs, depth, count * wo, source + first * wo, pixels, op[9], count * wo, 1, dw,
                     depth, f)
    return 0


def conv_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dx += w^T * g, dw += g * x, dbias += sum of g."""
    if op[4] != 0:
        conv_input_adjoint(op, f)
    if op[6] != 0:
        conv_weight_adjoint(op, f)
    if op[8] != 0:
        channels, pixels = op[13] * op[17], op[26] * op[27]
        if op[0] & 8 != 0:
            for c in range(channels):
                f[op[8] + c] = 0.0
        for sample in range(op[12]):
            for c in range(channels):
                f[op[8] + c] += total_of(f, op[2] + (sample * channels + c) * pixels, pixels, 1)
    return 0


CONV = Op("conv", conv_forward, conv_adjoint, ((2, 4), (1, 4), (), ()), stores=True,
          doc="cross-correlation over two axes, by groups of channels")


def scratch_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """Memory that others write before they read it."""
    return 0


SCRATCH = Op("scratch", scratch_forward, doc="working memory of convolutions")
