"""Patches of an image as columns of a matrix: what windows see, gathered and scattered."""

from __future__ import annotations

from typing import Any

from ..engine.language import device
from ..engine.row import At
from .windows import Windows


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
def response_pixels(op: Any, windows: At[Windows]) -> int:
    """Pixels of a channel of the response."""
    return windows.response.depth * windows.response.height * windows.response.width


@device
def image_pixels(op: Any, windows: At[Windows]) -> int:
    """Pixels of a channel of the image."""
    return windows.image.depth * windows.image.height * windows.image.width


@device
def patch_size(op: Any, windows: At[Windows]) -> int:
    """Elements of a patch: rows of the columns' matrix."""
    return windows.channels * windows.kernel.depth * windows.kernel.height * windows.kernel.width


@device
def gather_columns(op: Any, windows: At[Windows], f: Any, image: int, columns: int, first: int, count: int, left: int,
                   right: int, add: int) -> int:
    """The patch's element (c, h, i, j) of the response's pixels `left` to `right` of `count` rows from `first` on.

    They are stored, zeros where the patch stands over the edge, or added.
    """
    rows, stride = windows.response.height, windows.stride.width
    start, begin = first // windows.response.height, first % windows.response.height
    to = columns
    for c in range(windows.channels):
        for kh in range(windows.kernel.depth):
            behind = kh * windows.dilation.depth - windows.padding.depth
            for ki in range(windows.kernel.height):
                below = ki * windows.dilation.height - windows.padding.height
                for kj in range(windows.kernel.width):
                    shift = kj * windows.dilation.width - windows.padding.width
                    low = max(first_inside(shift, stride, right), left)
                    high = max(last_inside(shift, stride, windows.image.width, right), low)
                    slab, line = start, begin
                    for _ in range(count):
                        deep, down = slab * windows.stride.depth + behind, line * windows.stride.height + below
                        inside = 0 <= deep < windows.image.depth and 0 <= down < windows.image.height
                        above = (c * windows.image.depth + deep) * windows.image.height + down  # rows
                        source = image + above * windows.image.width + shift
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
def scatter_columns(op: Any, windows: At[Windows], f: Any, image: int, columns: int, first: int, count: int, left: int,
                    right: int) -> int:
    """Add the columns to the pixels of the image that `gather_columns` takes them from."""
    rows, stride = windows.response.height, windows.stride.width
    start, begin = first // windows.response.height, first % windows.response.height
    source = columns
    for c in range(windows.channels):
        for kh in range(windows.kernel.depth):
            behind = kh * windows.dilation.depth - windows.padding.depth
            for ki in range(windows.kernel.height):
                below = ki * windows.dilation.height - windows.padding.height
                for kj in range(windows.kernel.width):
                    shift = kj * windows.dilation.width - windows.padding.width
                    low = max(first_inside(shift, stride, right), left)
                    high = last_inside(shift, stride, windows.image.width, right)
                    slab, line = start, begin
                    for _ in range(count):
                        deep, down = slab * windows.stride.depth + behind, line * windows.stride.height + below
                        if 0 <= deep < windows.image.depth and 0 <= down < windows.image.height:
                            above = (c * windows.image.depth + deep) * windows.image.height + down  # rows
                            target = image + above * windows.image.width + shift
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
