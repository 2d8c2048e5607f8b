"""Convolution with register tiles: direct convolution over rows of the image, without im2col.

The image rows that a block of result rows reads are packed into working memory, padded, and with the pixels of each row
ordered by their index modulo the stride. Then, for adjacent pixels of the result, every element of a patch is a run of
adjacent numbers at an offset from a table, and a register tile of the result (channels by pixels) is one `placed_tile`.
The image's adjoint, for stride 1, is the same with the weight flipped.

For the weight's adjoint the result's adjoint is transposed, channels side by side, and a tile is elements of a row of a
patch by channels; the contraction is over the pixels of the block.

Two axes. The parallel units are blocks of rows of a sample and, for the weight, rows of the patch.
"""

from __future__ import annotations

from typing import Any

from ..engine.kernels import Kernel
from ..engine.language import cast, device, doubles_at, frame, words_at
from ..engine.mathematics.sums import add_row, clear_totals, total_at
from ..engine.processor import VECTOR
from ..engine.row import Part, Words
from ..engine.threads.team import share
from ..engine.tiles.tile import ROWS, lanes_of, placed_tile, transposed, unit_of
from .windows import Block, Convolution, Plane

#: blocks of the result, over all samples, whose products are accumulated in the dtype of the weight
TOGETHER = 32
#: pixels whose products are accumulated in one chain
CHAIN = 256


class View(Words):
    """A convolution as source and result, whichever way it is read."""

    result: int
    source: int
    add: int  # whether to accumulate
    weight: int
    samples: int
    groups: int
    channels: int  # of a group of the source
    outputs: int  # channels of a group of the result
    seen: Plane  # extents of the source
    made: Plane  # of the result
    kernel: Plane
    stride: Plane
    padding: Plane  # before
    dilation: Plane
    block: Block
    room: int  # elements of working memory of a part
    begin: int  # where it starts
    weight_step: int  # from a channel of the result to the next
    backwards: int  # 1 if the weight is flipped
    table: int  # elements of each piece of a part's working memory
    copied: int
    turned: int
    at_once: int  # rows of a patch
    totalled: int  # elements of the weight's sums, followed by their totals, or 0 for no totals


@device
def fill_places(view: View, i: Any, places: int) -> int:
    """The offset of each element of a patch in the packed rows and in the weight."""
    taps = view.kernel.height * view.kernel.width
    depth = view.channels * taps
    p = places
    for c in range(view.channels):
        for ki in range(view.kernel.height):
            for kj in range(view.kernel.width):
                line = c * view.block.lines + ki * view.dilation.height
                shift = kj * view.dilation.width
                i[p] = ((line * view.stride.width + shift % view.stride.width) * view.block.pixels
                        + shift // view.stride.width)
                if view.backwards:
                    i[p + depth] = c * view.outputs * taps + taps - 1 - ki * view.kernel.width - kj
                else:
                    i[p + depth] = p - places
                p += 1
    return 0


@device
def copy_rows(view: View, f: Any, source: int, first: int, to: int) -> int:
    """Pack the rows of a sample's group that the block of the result's rows from `first` on reads."""
    stride, width, height, across = view.stride.width, view.block.pixels, view.seen.height, view.seen.width
    pixels = view.seen.height * view.seen.width
    for c in range(view.channels):
        for line in range(view.block.lines):
            row = first * view.stride.height + line - view.padding.height
            at = to + (c * view.block.lines + line) * stride * width
            if row < 0 or row >= height:
                for k in range(at, at + stride * width):
                    f[k] = 0.0
                continue
            start = source + c * pixels + row * across
            for phase in range(stride):
                shift = phase - view.padding.width
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
def places_of(view: View, f: Any, part: int) -> int:
    """Element address, in int64, of a part's table of offsets; the packed rows and the rest follow it."""
    return (view.begin + part * view.room) * (2 * VECTOR // lanes_of(f)) // 8


def result_part(part: Part, f: Any, i: Any, b: Any) -> int:
    """Some blocks of the result."""
    view: View = words_at(part.row)
    blocks = (view.made.height + view.block.rows - 1) // view.block.rows
    units, depth = view.samples * view.groups * blocks, view.channels * view.kernel.height * view.kernel.width
    across, wide, pixels = view.made.width, lanes_of(f), view.made.height * view.made.width
    places, copied = places_of(view, f, part.number), view.begin + part.number * view.room + view.table
    fill_places(view, i, places)
    weights = view.outputs * depth  # of a group
    for unit in range(part.number * units // part.count, (part.number + 1) * units // part.count):
        plane, first = unit // blocks, unit % blocks * view.block.rows
        copy_rows(view, f, view.source + plane * view.channels * view.seen.height * view.seen.width, first, copied)
        to, weight = view.result + plane * view.outputs * pixels, view.weight + plane % view.groups * weights
        for row in range(first, min(first + view.block.rows, view.made.height)):
            line = copied + (row - first) * view.stride.height * view.stride.width * view.block.pixels
            for left in range(0, across, wide):
                for channel in range(0, view.outputs, ROWS):
                    at = to + channel * pixels + row * across + left
                    placed_tile(f, i, min(ROWS, view.outputs - channel), min(wide, across - left), depth,
                                weight + channel * view.weight_step, view.weight_step, line + left, places, 1.0,
                                at if view.add != 0 else 0, pixels, at, pixels)
    return 0


@device
def fill_pixels(view: View, f: Any, i: Any, places: int, count: int) -> int:
    """The offsets of each pixel of a block: in the transposed result, and of its patch in the packed rows.

    For each chain of `CHAIN` pixels first the former, then the latter.
    """
    channels, line = padded(view, f), view.stride.height * view.stride.width * view.block.pixels
    for first in range(0, count, CHAIN):
        n = min(CHAIN, count - first)
        for q in range(first, first + n):
            i[places + first + q] = q * channels
            i[places + first + n + q] = q // view.made.width * line + q % view.made.width
    return 0


@device
def padded(view: View, f: Any) -> int:
    """Channels of the result, padded to a multiple of the unit."""
    unit = unit_of(f)
    return (view.outputs + unit - 1) // unit * unit


@device
def weigh_line(view: View, f: Any, i: Any, places: int, pixels: int, row: int, turned: int, to: int) -> int:
    """A row of the patch: elements at equal distances together."""
    channels, wide, across = padded(view, f), lanes_of(f), view.kernel.width
    step = 1
    while step * view.dilation.width % view.stride.width != 0:
        step += 1
    for kj in range(min(step, across)):
        shift = kj * view.dilation.width
        start = row + shift % view.stride.width * view.block.pixels + shift // view.stride.width
        apart, count = step * view.dilation.width // view.stride.width, (across - 1 - kj) // step + 1
        for first in range(0, count, ROWS):
            for channel in range(0, view.outputs, wide):
                at = to + (kj + first * step) * channels + channel
                for q in range(0, pixels, CHAIN):
                    placed_tile(f, i, min(ROWS, count - first), min(wide, view.outputs - channel),
                                min(CHAIN, pixels - q), start + first * apart, apart, turned + channel,
                                places + 2 * q, 1.0, at, step * channels, at, step * channels)
    return 0


def weight_part(part: Part, f: Any, i: Any, b: Any) -> int:
    """The adjoint of some rows of all patches; view.result is the result's adjoint, view.weight the weight's."""
    view: View = words_at(part.row)
    blocks = (view.made.height + view.block.rows - 1) // view.block.rows
    taps, across = view.kernel.height * view.kernel.width, view.kernel.width
    pixels, channels = view.made.height * view.made.width, padded(view, f)
    places, copied = places_of(view, f, part.number), view.begin + part.number * view.room + view.table
    turned = copied + view.copied
    sums = turned + view.turned
    totals = doubles_at(f, sums + view.totalled)
    lines = view.channels * view.kernel.height
    begin, end = part.number * lines // part.count, (part.number + 1) * lines // part.count
    for group in range(view.groups):
        weight = view.weight + group * view.outputs * view.channels * taps
        for low in range(begin, end, view.at_once):
            high, known = min(low + view.at_once, end), 0
            size = (high - low) * across * channels
            for k in range(sums, sums + size):
                f[k] = 0.0
            if view.totalled != 0:
                clear_totals(f, totals, size)
            for unit in range(view.samples * blocks):
                plane, first = unit // blocks * view.groups + group, unit % blocks * view.block.rows
                count = min(view.block.rows, view.made.height - first) * view.made.width
                if count != known:
                    fill_pixels(view, f, i, places, count)
                    known = count
                copy_rows(view, f, view.source + plane * view.channels * view.seen.height * view.seen.width, first,
                          copied)
                transposed(f, turned, channels, view.result + plane * view.outputs * pixels + first * view.made.width,
                           pixels, view.outputs, count, unit_of(f))
                for line in range(low, high):
                    row = (line // view.kernel.height * view.block.lines
                           + line % view.kernel.height * view.dilation.height)
                    weigh_line(view, f, i, places, count, copied + row * view.stride.width * view.block.pixels, turned,
                               sums + (line - low) * across * channels)
                if view.totalled != 0 and (unit % TOGETHER == TOGETHER - 1 or unit == view.samples * blocks - 1):
                    add_row(f, totals, size, sums, 1)
                    for k in range(sums, sums + size):
                        f[k] = 0.0
            if view.totalled != 0:
                for k in range(size):
                    f[sums + k] = cast(total_at(f, totals, k), f)
            for channel in range(view.outputs):
                to = weight + channel * view.channels * taps
                for p in range(low * across, high * across):
                    f[to + p] += f[sums + (p - low * across) * channels + channel]
    return 0


RESULT_PART, WEIGHT_PART = Kernel("conv.result_part", result_part), Kernel("conv.weight_part", weight_part)


@device
def see_image(op: Convolution, view: View, response: int, image: int) -> int:
    """The view in which the response is the result and the image the source."""
    (view.result, view.source, view.samples, view.groups, view.channels, view.outputs) = (
        response, image, op.windows.samples, op.windows.groups, op.windows.channels, op.windows.outputs)
    (view.seen.height, view.seen.width, view.made.height, view.made.width, view.kernel.height, view.kernel.width) = (
        op.windows.image.height, op.windows.image.width, op.windows.response.height, op.windows.response.width,
        op.windows.kernel.height, op.windows.kernel.width)
    (view.stride.height, view.stride.width, view.padding.height, view.padding.width, view.dilation.height,
     view.dilation.width) = (
        op.windows.stride.height, op.windows.stride.width, op.windows.padding.height, op.windows.padding.width,
        op.windows.dilation.height, op.windows.dilation.width)
    view.block.rows, view.block.lines, view.block.pixels, view.room, view.begin = (
        op.tiles.responding.rows, op.tiles.responding.lines, op.tiles.responding.pixels, op.tiles.room, op.scratch)
    view.weight_step, view.backwards, view.table, view.copied, view.turned = (
        op.windows.channels * op.windows.kernel.height * op.windows.kernel.width, 0, op.tiles.table, op.tiles.copied,
        op.tiles.turned)
    view.at_once, view.totalled = op.tiles.at_once, op.tiles.totalled
    return 0


@device
def respond_by_tiles(op: Convolution, f: Any, i: Any, b: Any, response: int, image: int, w: int,
                     add: int) -> int:
    """response = w * image, or +=."""
    view: View = frame()
    see_image(op, view, response, image)
    view.add, view.weight = add, w
    return share(op.tiles.team, op.tiles.result_part, view, op.tiles.parts, f, i, b)


@device
def spread_by_tiles(op: Convolution, f: Any, i: Any, b: Any, image: int, response: int, w: int, add: int) -> int:
    """image = w^T * response, or +=, for stride 1: `respond_by_tiles` in the other direction."""
    view: View = frame()
    (view.result, view.source, view.add, view.weight, view.samples, view.groups) = (
        image, response, add, w, op.windows.samples, op.windows.groups)
    (view.channels, view.outputs, view.seen.height, view.seen.width, view.made.height, view.made.width) = (
        op.windows.outputs, op.windows.channels, op.windows.response.height, op.windows.response.width,
        op.windows.image.height, op.windows.image.width)
    (view.kernel.height, view.kernel.width, view.stride.height, view.stride.width, view.dilation.height,
     view.dilation.width) = (
        op.windows.kernel.height, op.windows.kernel.width, 1, 1, op.windows.dilation.height, op.windows.dilation.width)
    view.padding.height, view.padding.width = (
        (op.windows.kernel.height - 1) * op.windows.dilation.height - op.windows.padding.height,
        (op.windows.kernel.width - 1) * op.windows.dilation.width - op.windows.padding.width)
    view.block.rows, view.block.lines, view.block.pixels, view.room, view.begin = (
        op.tiles.spreading.rows, op.tiles.spreading.lines, op.tiles.spreading.pixels, op.tiles.room, op.scratch)
    view.weight_step, view.backwards, view.table = (
        op.windows.kernel.height * op.windows.kernel.width, 1, op.tiles.table)
    return share(op.tiles.team, op.tiles.result_part, view, op.tiles.parts, f, i, b)


@device
def weigh_by_tiles(op: Convolution, f: Any, i: Any, b: Any, response: int, image: int, dw: int) -> int:
    """dw += response image^T."""
    view: View = frame()
    see_image(op, view, response, image)
    view.weight = dw
    return share(op.tiles.team, op.tiles.weight_part, view, op.tiles.weight_parts, f, i, b)
