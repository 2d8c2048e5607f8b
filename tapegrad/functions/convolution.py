"""Convolution over one, two and three axes; transposed convolution over one and two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..engine.language import enabled
from ..engine.processor import VECTOR
from ..engine.products.product import gemm_address
from ..engine.threads.team import team_address
from ..errors import ArgumentError, ShapeError
from ..ops.convolution import BLOCK, CONV, CONV_TRANSPOSE, CORRELATE
from ..ops.correlation import RESULT_PART, WEIGHT_PART
from ..ops.table import Op
from ..ops.windows import Block, Tiles, Windows
from ..tensor.recording import lift, recorder
from ..tensor.tensor import Tensor
from .layout import expand_dims, reshape
from .scratch import scratch

__all__ = ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]

Extent = int | Sequence[int]

#: multiplications for an output pixel and group up to which direct loops are faster
_DIRECT = 32

#: pixels of a block of columns (im2col) at least, however large the kernel
_PIXELS = 32

#: loop tiling, by the elements of the image rows that a tile of the result reads: the target (a small part of the L2
#: cache), the most, and the width of the result below which im2col and a matrix product are used
TILE_BLOCK, MOST_BLOCK, LEAST_WIDTH = 1 << 14, 1 << 16, 4
#: tiles of the result, over all samples, above which the weight's adjoint has totals in float64
_MANY = 256
#: parallel parts, each with a workspace of its own
MOST_PARTS = 8


def extents(name: str, label: str, value: Any, axes: int, least: int | None) -> tuple[int, ...]:
    """One integer an axis, of at least `least` if given; from one for all or from one each."""
    given = (value,) * axes if isinstance(value, (int, np.integer)) else tuple(value)
    if len(given) == 1:
        given *= axes
    if len(given) != axes or any(isinstance(n, bool) or not isinstance(n, (int, np.integer))
                                 or (least is not None and n < least) for n in given):
        bound = "" if least is None else f" of at least {least}"
        raise ArgumentError(f"{name}: {label} must be an integer{bound}, or {axes} of them, not {value!r}")
    return tuple(int(n) for n in given)


def edges(name: str, padding: Any, kernel: Sequence[int], stride: tuple[int, ...],
          dilation: tuple[int, ...]) -> list[tuple[int, int]]:
    """Padding before and after, an axis each, from numbers, "same" or "valid"."""
    if padding == "valid":
        return [(0, 0)] * len(kernel)
    if padding == "same":
        if any(s != 1 for s in stride):
            raise ArgumentError(f"{name}: padding 'same' needs a stride of 1, not {stride}")
        totals = [d * (k - 1) for d, k in zip(dilation, kernel)]
        return [(t // 2, t - t // 2) for t in totals]
    if isinstance(padding, str):
        raise ArgumentError(f"{name}: padding must be numbers, 'same' or 'valid', not {padding!r}")
    return [(p, p) for p in extents(name, "padding", padding, len(kernel), 0)]


def conv2d(input: Any, weight: Any, bias: Any = None, stride: Extent = 1, padding: Extent | str = 0,
           dilation: Extent = 1, groups: int = 1) -> Tensor:
    """Cross-correlation over the last two axes.

    Parameters
    ----------
    input : array_like, (N, C, H, W) or (C, H, W)
    weight : array_like, (O, C / groups, KH, KW)
    bias : array_like, (O,), optional
    stride, dilation : int or (int, int)
    padding : int, (int, int), "same" or "valid"
        Zeros on both sides of an axis; "same" keeps the extents (stride 1), an odd one goes behind.
    groups : int
        A divisor of C and O; C for depthwise convolution.

    Returns
    -------
    Tensor, (N, O, HO, WO) or (O, HO, WO)
        ``HO = (H + 2 padding - dilation (KH - 1) - 1) // stride + 1``.
    """
    return convolve("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def conv1d(input: Any, weight: Any, bias: Any = None, stride: Extent = 1, padding: Extent | str = 0,
           dilation: Extent = 1, groups: int = 1) -> Tensor:
    """`conv2d` over one axis: from (N, C, L) or (C, L), with a weight (O, C / groups, K), to (N, O, LO) or (O, LO)."""
    return convolve("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def conv3d(input: Any, weight: Any, bias: Any = None, stride: Extent = 1, padding: Extent | str = 0,
           dilation: Extent = 1, groups: int = 1) -> Tensor:
    """`conv2d` over three axes: an input (N, C, D, H, W) or (C, D, H, W), a weight (O, C / groups, KD, KH, KW)."""
    return convolve("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


def conv_transpose2d(input: Any, weight: Any, bias: Any = None, stride: Extent = 1, padding: Extent = 0,
                     output_padding: Extent = 0, groups: int = 1, dilation: Extent = 1) -> Tensor:
    """The adjoint of `conv2d` with respect to its input: each input pixel adds a scaled kernel to the result.

    Parameters
    ----------
    input : array_like, (N, C, H, W) or (C, H, W)
    weight : array_like, (C, O / groups, KH, KW)
    bias : array_like, (O,), optional
    stride, dilation : int or (int, int)
    padding : int or (int, int)
        What is cropped on both sides of an axis of the result.
    output_padding : int or (int, int)
        Extra extent at the end of each axis, less than the stride or the dilation.
    groups : int
        A divisor of C and O.

    Returns
    -------
    Tensor, (N, O, HO, WO) or (O, HO, WO)
        ``HO = (H - 1) stride - 2 padding + dilation (KH - 1) + output_padding + 1``.
    """
    return convolve_back("conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups,
                         dilation)


def conv_transpose1d(input: Any, weight: Any, bias: Any = None, stride: Extent = 1, padding: Extent = 0,
                     output_padding: Extent = 0, groups: int = 1, dilation: Extent = 1) -> Tensor:
    """`conv_transpose2d` over one axis: an input (N, C, L) or (C, L), a weight (C, O / groups, K)."""
    return convolve_back("conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups,
                         dilation)


def conv_transpose3d(input: Any, weight: Any, bias: Any = None, stride: Extent = 1, padding: Extent = 0,
                     output_padding: Extent = 0, groups: int = 1, dilation: Extent = 1) -> Tensor:
    """`conv_transpose2d` over three axes: an input (N, C, D, H, W) or (C, D, H, W)."""
    return convolve_back("conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups,
                         dilation)


def convolve(name: str, axes: int, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any,
             groups: int) -> Tensor:
    """Cross-correlation over the last `axes` axes; `name` is the function or layer that errors speak of."""
    x, w, b = _operands(name, axes, input, weight, bias, groups, transposed=False)
    steps, gaps = extents(name, "stride", stride, axes, 1), extents(name, "dilation", dilation, axes, 1)
    around = edges(name, padding, w.shape[2:], steps, gaps)
    out = tuple((n + sum(p) - d * (k - 1) - 1) // s + 1
                for n, p, d, k, s in zip(x.shape[-axes:], around, gaps, w.shape[2:], steps))
    if any(n < 1 for n in out) or 0 in w.shape:
        raise ShapeError(f"{name}: an input of shape {list(x.shape)} with padding {padding} is smaller than the "
                         f"kernel {list(w.shape[2:])} with dilation {list(gaps)}")
    return _record(CONV, x, w, b, groups, steps, tuple(p for p, _ in around), gaps, x.shape[-axes:], out)


def convolve_back(name: str, axes: int, input: Any, weight: Any, bias: Any, stride: Any, padding: Any,
                  output_padding: Any, groups: int, dilation: Any) -> Tensor:
    """Transposed convolution over the last `axes` axes; `name` is the function or layer that errors speak of."""
    x, w, b = _operands(name, axes, input, weight, bias, groups, transposed=True)
    steps, gaps = extents(name, "stride", stride, axes, 1), extents(name, "dilation", dilation, axes, 1)
    before = extents(name, "padding", padding, axes, 0)
    behind = extents(name, "output_padding", output_padding, axes, 0)
    if any(e >= max(s, d) for e, s, d in zip(behind, steps, gaps)):
        raise ArgumentError(f"{name}: output_padding {output_padding} must be less than stride {stride} or dilation "
                            f"{dilation}")
    out = tuple((n - 1) * s - 2 * p + d * (k - 1) + e + 1
                for n, s, p, d, k, e in zip(x.shape[-axes:], steps, before, gaps, w.shape[2:], behind))
    if any(n < 1 for n in (*out, *x.shape[-axes:])) or 0 in w.shape:
        raise ShapeError(f"{name}: an input of shape {list(x.shape)} with a weight of {list(w.shape)} and padding "
                         f"{padding} gives a result of extents {list(out)}")
    return _record(CONV_TRANSPOSE, x, w, b, groups, steps, before, gaps, out, x.shape[-axes:])


def _operands(name: str, axes: int, input: Any, weight: Any, bias: Any, groups: int,
              transposed: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Input, weight and bias; channels are checked."""
    given = lift(*(v for v in (input, weight, bias) if v is not None))
    x, w = given[:2]
    b = None if bias is None else given[2]
    fits = x.ndim in (axes + 1, axes + 2) and w.ndim == axes + 2 and groups >= 1 and w.shape[0] % groups == 0 \
        and x.shape[-axes - 1] == (w.shape[0] if transposed else w.shape[1] * groups)
    if not fits:
        order = "(in, out / groups, ...)" if transposed else "(out, in / groups, ...)"
        raise ShapeError(f"{name}: an input of shape {list(x.shape)} does not fit a weight of {list(w.shape)} "
                         f"{order} with {groups} groups; expected (N, C, {', '.join('DHW'[3 - axes:])}) or without N")
    outputs = w.shape[1] * groups if transposed else w.shape[0]
    if b is not None and b.shape != (outputs,):
        raise ShapeError(f"{name}: a bias of shape {list(b.shape)} does not fit a weight of {list(w.shape)}; "
                         f"expected [{outputs}]")
    return x, w, b


def window_words(samples: int, groups: int, inputs: int, outputs: int, image: tuple[int, ...],
                 kernel: tuple[int, ...], stride: tuple[int, ...], before: tuple[int, ...],
                 dilation: tuple[int, ...], response: tuple[int, ...]) -> tuple[int, ...]:
    """The words of `Windows`, with the axes that are absent."""
    ones = (1,) * (3 - len(image))
    nothing = (0,) * len(ones)
    return Windows.words(samples=samples, groups=groups, channels=inputs, outputs=outputs, image=ones + image,
                         kernel=ones + kernel, stride=ones + stride, padding=nothing + before,
                         dilation=ones + dilation, response=ones + response)


def _three(extents: tuple[int, ...]) -> tuple[int, ...]:
    """A number for each of three axes."""
    return (1,) * (3 - len(extents)) + extents


def _record(op: Op, x: Tensor, w: Tensor, b: Tensor | None, groups: int, stride: tuple[int, ...],
            before: tuple[int, ...], dilation: tuple[int, ...], image: tuple[int, ...],
            response: tuple[int, ...], weight: tuple[int, ...] = ()) -> Tensor:
    weight = weight or w.shape
    single = x.ndim == len(image) + 1
    if single:
        x = expand_dims(x, 0)
    kernel, inputs, outputs = weight[2:], weight[1], weight[0] // groups
    depth, width = math.prod(weight[1:]), response[-1]
    pixel = math.prod(kernel) == 1 and set(stride) == {1} and set(before) == {0} and response == image
    direct = not pixel and depth * outputs <= _DIRECT
    pixels = max(BLOCK // depth, _PIXELS)
    rows, across = min(max(pixels // width, 1), math.prod(response[:-1])), min(pixels, width)
    # in plain Python only matrix products are fast enough
    tiles = _tiles(x.shape[0], groups, inputs, outputs, image, kernel, stride, dilation, response,
                   x.dtype) if enabled() and not (pixel or direct) else _NO_TILES
    elements = tiles.elements
    if not (pixel or direct or tiles.respond and tiles.spread):
        elements = max(elements, depth * rows * across)
    totals = 0
    if x.shape[0] > _MANY and not (direct or tiles.respond):
        totals = max(_whole(elements, 8), 8)
        elements = totals + 2 * math.prod(weight)
    working = scratch(op, elements, x, w, *(() if b is None else (b,))) if elements else None
    windows = window_words(x.shape[0], groups, inputs, outputs, image, kernel, stride, before, dilation, response)
    shape = (weight[0], *response) if op is CONV else (inputs * groups, *image)
    whole = weight if op is CORRELATE else (x.shape[0], *shape)
    y = recorder(op)(whole, dtype=x.dtype, x=x, weight=w, bias=b, scratch=working, gemm=gemm_address(x.dtype),
                     windows=windows, biased=b is not None, rows=rows, across=across, direct=direct, pixel=pixel,
                     tiles=tiles.words, totals=totals)
    return reshape(y, shape) if single else y


def _extents(words: Any) -> tuple[int, ...]:
    return words.depth, words.height, words.width


def through(windows: Any, op: Op, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """Convolution (`CONV`) or its transpose through the windows of an instruction, over three axes.

    Parameters
    ----------
    windows : Attributes of Windows
    op : Op
    x : Tensor, (N, C, ...)
        An image, or for the transpose a response; of any number of samples.
    w : Tensor, (O, C / groups, ...)
        Of as many outputs as one likes.
    b : Tensor, optional
    """
    image, response = _extents(windows.image), _extents(windows.response)
    x = reshape(x, (*x.shape[:2], *(image if op is CONV else response)))
    return _record(op, x, reshape(w, (*w.shape[:2], *_extents(windows.kernel))), b, windows.groups,
                   _extents(windows.stride), _extents(windows.padding), _extents(windows.dilation), image, response)


def correlate(windows: Any, response: Tensor, image: Tensor) -> Tensor:
    """The adjoint of a convolution's weight: ``sum over n, p of response[n, o, p] image[n, c, p stride + k dilation]``.

    Returns
    -------
    Tensor, (O, C / groups, depth, height, width)
    """
    samples, groups = image.shape[0], windows.groups
    seen, given = _extents(windows.image), _extents(windows.response)
    weight = response.shape[1], image.shape[1] // groups, *_extents(windows.kernel)
    return _record(CORRELATE, reshape(image, (samples, image.shape[1], *seen)),
                   reshape(response, (samples, weight[0], *given)), None, groups, _extents(windows.stride),
                   _extents(windows.padding), _extents(windows.dilation), seen, given, weight)


class _Tiles(NamedTuple):
    """Which passes can use the tiled kernels, the elements of their workspace, and their words."""

    respond: bool
    spread: bool
    elements: int
    words: tuple[int, ...]


_NO_TILES = _Tiles(False, False, 0, (0,) * Tiles.size)


@lru_cache(maxsize=4096)
def _tiles(samples: int, groups: int, inputs: int, outputs: int, image: tuple[int, ...], kernel: tuple[int, ...],
           stride: tuple[int, ...], dilation: tuple[int, ...], response: tuple[int, ...], dtype: np.dtype) -> _Tiles:
    (slabs, height, width), (slab_kernel, kh, kw) = _three(image), _three(kernel)
    (_, down, across), (_, gap_down, gap_across) = _three(stride), _three(dilation)
    slabs_out, height_out, width_out = _three(response)
    if slabs != 1 or slab_kernel != 1 or slabs_out != 1:
        return _NO_TILES

    lanes, unit = 2 * VECTOR // dtype.itemsize, 32 // dtype.itemsize  # columns of a register tile; multiple of channels

    def view(channels: int, rows: int, columns: int, step_down: int, step_across: int,
             made: int) -> tuple[int, int, int, int]:
        """Rows of the result in a tile, rows of the source that they read, pixels of those, elements in all."""
        seen = -(-((columns - 1) * step_across + (kw - 1) * gap_across + 1) // step_across)
        line = channels * step_across * seen
        block = min((TILE_BLOCK // line - (kh - 1) * gap_down - 1) // step_down + 1, TILE_BLOCK // made, rows)
        lines = (max(block, 1) - 1) * step_down + (kh - 1) * gap_down + 1
        return max(block, 1), lines, seen, line * lines

    turned_width = width_out * _whole(outputs, unit)
    rows, lines_seen, pixels_seen, elements = view(inputs, height_out, width_out, down, across, turned_width)
    respond = width_out >= LEAST_WIDTH and max(elements, turned_width) <= MOST_BLOCK
    rows_back, lines_back, pixels_back, elements_back = view(outputs, height, width, 1, 1, width)
    spread = down == across == 1 and width >= LEAST_WIDTH and elements_back <= MOST_BLOCK
    if not (respond or spread):
        return _NO_TILES
    places = copied = turned = at_once = sums = 0
    if respond:
        lines, line = inputs * kh, kw * _whole(outputs, unit)
        at_once = min(max(TILE_BLOCK // line, 1), lines)
        places, copied = max(inputs * kh * kw, rows * width_out), elements
        turned, sums = rows * turned_width, at_once * line
    if spread:
        places, copied = max(places, outputs * kh * kw), max(copied, elements_back)
    # a register tile reads up to its width beyond the end
    table, copied, turned = 16 * places // dtype.itemsize, copied + lanes, turned + lanes
    table, copied, turned, sums = (_whole(n, 2 * unit) for n in (table, copied, turned, sums))
    totalled = sums if respond and samples * -(-height_out // rows) > _MANY else 0
    part = table + copied + turned + sums + 2 * totalled
    parts = max(min(samples * groups * -(-height_out // rows), MOST_PARTS), 1)
    # each part of the weight's adjoint copies all rows: few parts if there is little work
    weight_parts = min(parts, max(inputs * kh * kw // 32, 2))
    words = Tiles.words(
        respond=respond, spread=spread, team=team_address(dtype), result_part=RESULT_PART.address(dtype),
        weight_part=WEIGHT_PART.address(dtype),
        responding=Block.words(rows=rows, lines=lines_seen, pixels=pixels_seen),
        spreading=Block.words(rows=rows_back, lines=lines_back, pixels=pixels_back), room=part, parts=parts,
        weight_parts=weight_parts, table=table, copied=copied, turned=turned, at_once=at_once, totalled=totalled)
    return _Tiles(respond, spread, part * parts, words)


def _whole(count: int, unit: int) -> int:
    """`count` rounded up to a multiple."""
    return -(-count // unit) * unit
