"""Convolution by tiles: rows of the result against rows of the image as they lie, without a matrix of patches.

The rows of the image that some rows of the result see are copied into working memory, with the padding about them, and
each row with its pixels in order of their number modulo the stride. Then every element of a patch is, for adjacent
pixels of the result, adjacent numbers at a place that a table knows, and a tile of the result (channels by pixels) is
one `placed_tile`. The image's adjoint, where the stride is 1, is the same with a weight that is read backwards.

For the weight's adjoint the result's adjoint is turned over, channels side by side, and a tile is elements of a row of
a patch by channels; the contraction is over the pixels of the block.

Two axes. The units that threads share are blocks of rows of a sample and, for the weight, rows of the patch.
"""

from __future__ import annotations

from typing import Any

from ..engine.kernels import Kernel
from ..engine.language import cast, device, doubles_at, frame, words_at
from ..engine.mathematics.sums import add_row, clear_totals
from ..engine.processor import VECTOR
from ..engine.threads.team import share
from ..engine.tiles.tile import ROWS, lanes_of, placed_tile, transposed, unit_of

#: blocks of the result, of all samples, whose products are added up in the dtype of the weight
TOGETHER = 32
#: pixels whose products are added up one after the other
CHAIN = 256

# Words of a view, what is seen and what is made: 0 result, 1 source, 2 whether to add, 3 weight, 4 samples, 5 groups;
# of a group 6 channels of the source and 7 of the result; 8 and 9 height and width of the source, 10 and 11 of the
# result, 12 and 13 kernel, 14 and 15 stride, 16 and 17 padding before, 18 and 19 dilation, 20 rows of the result in a
# block, 21 rows of the source that it sees, 22 pixels of one of them modulo the stride, 23 elements of working memory
# for a part, 24 where it begins, 25 stride of the weight by the result's channels, 26 whether it is read backwards,
# 27 elements of the table of places, 28 of the copied rows, 29 of the result turned over, 30 rows of a patch at once,
# 31 elements of the weight's sums, behind which their totals lie, or 0: no totals.


@device
def fill_places(view: Any, i: Any, places: int) -> int:
    """Where each element of a patch lies in the copied rows and in the weight."""
    taps = view[12] * view[13]
    depth = view[6] * taps
    p = places
    for c in range(view[6]):
        for ki in range(view[12]):
            for kj in range(view[13]):
                line = c * view[21] + ki * view[18]
                shift = kj * view[19]
                i[p] = (line * view[15] + shift % view[15]) * view[22] + shift // view[15]
                if view[26] != 0:
                    i[p + depth] = c * view[7] * taps + taps - 1 - ki * view[13] - kj
                else:
                    i[p + depth] = p - places
                p += 1
    return 0


@device
def copy_rows(view: Any, f: Any, source: int, first: int, to: int) -> int:
    """The rows of a sample's group that the block of the result's rows from `first` on sees."""
    stride, width, pixels, height, across = view[15], view[22], view[8] * view[9], view[8], view[9]
    for c in range(view[6]):
        for line in range(view[21]):
            row = first * view[14] + line - view[16]
            at = to + (c * view[21] + line) * stride * width
            if row < 0 or row >= height:
                for k in range(at, at + stride * width):
                    f[k] = 0.0
                continue
            start = source + c * pixels + row * across
            for phase in range(stride):
                shift = phase - view[17]
                low = min(max((stride - 1 - shift) // stride, 0), width)
                high = max(min((across - 1 - shift) // stride + 1, width), low)
                begin = at + phase * width
                for k in range(low):
                    f[begin + k] = 0.0
                if stride == 1:
                    for k in range(low, high):
                        f[begin + k] = f[start + shift + k]
                else:
                    for k in range(low, high):
                        f[begin + k] = f[start + shift + k * stride]
                for k in range(high, width):
                    f[begin + k] = 0.0
    return 0


@device
def places_of(view: Any, f: Any, part: int) -> int:
    """Element address, in int64, of a part's table of places; the copied rows and the rest lie behind it."""
    return (view[24] + part * view[23]) * (2 * VECTOR // lanes_of(f)) // 8


def result_part(op: Any, f: Any, i: Any, b: Any) -> int:
    """Some blocks of the result."""
    view = words_at(op[0])
    blocks = (view[10] + view[20] - 1) // view[20]
    units, depth, across, wide = view[4] * view[5] * blocks, view[6] * view[12] * view[13], view[11], lanes_of(f)
    places, copied, pixels = places_of(view, f, op[1]), view[24] + op[1] * view[23] + view[27], view[10] * view[11]
    fill_places(view, i, places)
    weights = view[7] * depth  # of a group
    for unit in range(op[1] * units // op[2], (op[1] + 1) * units // op[2]):
        plane, first = unit // blocks, unit % blocks * view[20]
        copy_rows(view, f, view[1] + plane * view[6] * view[8] * view[9], first, copied)
        to, weight = view[0] + plane * view[7] * pixels, view[3] + plane % view[5] * weights
        for row in range(first, min(first + view[20], view[10])):
            line = copied + (row - first) * view[14] * view[15] * view[22]
            for left in range(0, across, wide):
                for channel in range(0, view[7], ROWS):
                    at = to + channel * pixels + row * across + left
                    placed_tile(f, i, min(ROWS, view[7] - channel), min(wide, across - left), depth,
                                weight + channel * view[25], view[25], line + left, places, 1.0,
                                at if view[2] != 0 else 0, pixels, at, pixels)
    return 0


@device
def fill_pixels(view: Any, f: Any, i: Any, places: int, count: int) -> int:
    """Where each pixel of a block lies in the result turned over and, its patch's first element, in the rows.

    Of `CHAIN` pixels after each other first the ones, then the others.
    """
    channels, line = padded(view, f), view[14] * view[15] * view[22]
    for first in range(0, count, CHAIN):
        n = min(CHAIN, count - first)
        for q in range(first, first + n):
            i[places + first + q] = q * channels
            i[places + first + n + q] = q // view[11] * line + q % view[11]
    return 0


@device
def padded(view: Any, f: Any) -> int:
    """Channels of the result, and what fills the last unit of them."""
    unit = unit_of(f)
    return (view[7] + unit - 1) // unit * unit


@device
def weigh_line(view: Any, f: Any, i: Any, places: int, pixels: int, row: int, turned: int, to: int) -> int:
    """A row of the patch: elements whose places are equally far apart together."""
    channels, wide, across = padded(view, f), lanes_of(f), view[13]
    step = 1
    while step * view[19] % view[15] != 0:
        step += 1
    for kj in range(min(step, across)):
        shift = kj * view[19]
        start = row + shift % view[15] * view[22] + shift // view[15]
        apart, count = step * view[19] // view[15], (across - 1 - kj) // step + 1
        for first in range(0, count, ROWS):
            for channel in range(0, view[7], wide):
                at = to + (kj + first * step) * channels + channel
                for q in range(0, pixels, CHAIN):
                    placed_tile(f, i, min(ROWS, count - first), min(wide, view[7] - channel), min(CHAIN, pixels - q),
                                start + first * apart, apart, turned + channel, places + 2 * q, 1.0, at,
                                step * channels, at, step * channels)
    return 0


def weight_part(op: Any, f: Any, i: Any, b: Any) -> int:
    """The adjoint of some rows of all patches; view[0] is the result's adjoint, view[3] the weight's."""
    view = words_at(op[0])
    blocks = (view[10] + view[20] - 1) // view[20]
    taps, across, pixels, channels = view[12] * view[13], view[13], view[10] * view[11], padded(view, f)
    places, copied = places_of(view, f, op[1]), view[24] + op[1] * view[23] + view[27]
    turned = copied + view[28]
    sums = turned + view[29]
    totals = doubles_at(f, sums + view[31])
    lines = view[6] * view[12]
    begin, end = op[1] * lines // op[2], (op[1] + 1) * lines // op[2]
    for group in range(view[5]):
        weight = view[3] + group * view[7] * view[6] * taps
        for low in range(begin, end, view[30]):
            high, known = min(low + view[30], end), 0
            size = (high - low) * across * channels
            for k in range(sums, sums + size):
                f[k] = 0.0
            if view[31] != 0:
                clear_totals(f, totals, size)
            for unit in range(view[4] * blocks):
                plane, first = unit // blocks * view[5] + group, unit % blocks * view[20]
                count = min(view[20], view[10] - first) * view[11]
                if count != known:
                    fill_pixels(view, f, i, places, count)
                    known = count
                copy_rows(view, f, view[1] + plane * view[6] * view[8] * view[9], first, copied)
                transposed(f, turned, channels, view[0] + plane * view[7] * pixels + first * view[11], pixels, view[7],
                           count, unit_of(f))
                for line in range(low, high):
                    row = line // view[12] * view[21] + line % view[12] * view[18]
                    weigh_line(view, f, i, places, count, copied + row * view[15] * view[22], turned,
                               sums + (line - low) * across * channels)
                if view[31] != 0 and (unit % TOGETHER == TOGETHER - 1 or unit == view[4] * blocks - 1):
                    add_row(f, totals, size, sums, 1)
                    for k in range(sums, sums + size):
                        f[k] = 0.0
            if view[31] != 0:
                for k in range(size):
                    f[sums + k] = cast(totals[k], f)
            for channel in range(view[7]):
                to = weight + channel * view[6] * taps
                for p in range(low * across, high * across):
                    f[to + p] += f[sums + (p - low * across) * channels + channel]
    return 0


RESULT_PART, WEIGHT_PART = Kernel("conv.result_part", result_part), Kernel("conv.weight_part", weight_part)

# Words of a convolution that this needs beside its own (see `convolution`): 39 whether the response and 40 whether the
# image is made by tiles, 41 team, 42 and 43 addresses of the two kernels, 44 rows of the response in a block, 45 rows
# of the image that it sees, 46 pixels of one of them, 47 to 49 the same where the image is made, 50 elements of working
# memory for a part, 51 parts, 52 parts for the weight, 53 elements of the table of places, 54 of the copied rows, 55 of
# the response turned over, 56 rows of a patch at once, 57 elements of the weight's sums where they have totals, or 0.


@device
def see_image(op: Any, view: Any, response: int, image: int) -> int:
    """The view in which the response is made of the image."""
    view[0], view[1], view[4], view[5], view[6], view[7] = response, image, op[12], op[13], op[14], op[15]
    view[8], view[9], view[10], view[11], view[12], view[13] = op[17], op[18], op[32], op[33], op[20], op[21]
    view[14], view[15], view[16], view[17], view[18], view[19] = op[23], op[24], op[26], op[27], op[29], op[30]
    view[20], view[21], view[22], view[23], view[24] = op[44], op[45], op[46], op[50], op[9]
    view[25], view[26], view[27], view[28], view[29] = op[14] * op[20] * op[21], 0, op[53], op[54], op[55]
    view[30], view[31] = op[56], op[57]
    return 0


@device
def respond_by_tiles(op: Any, f: Any, i: Any, b: Any, response: int, image: int, add: int) -> int:
    """response = w * image, or +=."""
    view = frame()
    see_image(op, view, response, image)
    view[2], view[3] = add, op[5]
    return share(op[41], op[42], view, op[51], f, i, b)


@device
def spread_by_tiles(op: Any, f: Any, i: Any, b: Any, image: int, response: int, add: int) -> int:
    """image = w^T * response, or +=, for a stride of 1: what `respond_by_tiles` does, the other way."""
    view = frame()
    view[0], view[1], view[2], view[3], view[4], view[5] = image, response, add, op[5], op[12], op[13]
    view[6], view[7], view[8], view[9], view[10], view[11] = op[15], op[14], op[32], op[33], op[17], op[18]
    view[12], view[13], view[14], view[15], view[18], view[19] = op[20], op[21], 1, 1, op[29], op[30]
    view[16], view[17] = (op[20] - 1) * op[29] - op[26], (op[21] - 1) * op[30] - op[27]
    view[20], view[21], view[22], view[23], view[24] = op[47], op[48], op[49], op[50], op[9]
    view[25], view[26], view[27] = op[20] * op[21], 1, op[53]
    return share(op[41], op[42], view, op[51], f, i, b)


@device
def weigh_by_tiles(op: Any, f: Any, i: Any, b: Any, response: int, image: int) -> int:
    """dw += response image^T."""
    view = frame()
    see_image(op, view, response, image)
    view[3] = op[6]
    return share(op[41], op[43], view, op[52], f, i, b)
