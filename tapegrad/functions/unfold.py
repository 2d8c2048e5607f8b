"""Patches of images as columns (im2col), and the adjoint (col2im)."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ShapeError
from ..ops.table import Op
from ..ops.unfold import FOLD, UNFOLD
from ..tensor.recording import lift, recorder
from ..tensor.tensor import Tensor
from .convolution import Extent, extents, window_words

__all__ = ["fold", "unfold"]


def unfold(input: Any, kernel_size: Extent, dilation: Extent = 1, padding: Extent = 0, stride: Extent = 1) -> Tensor:
    """Every patch of an image as a column (im2col).

    Parameters
    ----------
    input : array_like, (N, C, H, W) or (C, H, W)
    kernel_size, dilation, stride : int or (int, int)
        As those of `conv2d`.
    padding : int or (int, int)
        Zeros on both sides of an axis.

    Returns
    -------
    Tensor, (N, C KH KW, L) or (C KH KW, L)
        Element ``(c KH + i) KW + j`` of column ``p WO + q`` is
        ``input[c, p stride - padding + i dilation, q stride - padding + j dilation]``.
    """
    return unfold_image("unfold", input, kernel_size, dilation, padding, stride)


def unfold_image(name: str, input: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Tensor:
    """`unfold`; `name` is the function or layer that errors speak of."""
    x = lift(input)[0]
    if x.ndim not in (3, 4) or 0 in x.shape[-3:]:
        raise ShapeError(f"{name}: an input of shape {list(x.shape)}; expected (N, C, H, W) or (C, H, W)")
    return _record(name, UNFOLD, x, x.shape[-3], x.shape[-2:], kernel_size, dilation, padding, stride)


def fold(input: Any, output_size: Extent, kernel_size: Extent, dilation: Extent = 1, padding: Extent = 0,
         stride: Extent = 1) -> Tensor:
    """The image whose pixels sum the columns' elements (col2im): the adjoint of `unfold`.

    Parameters
    ----------
    input : array_like, (N, C KH KW, L) or (C KH KW, L)
    output_size : int or (int, int)
        H and W.
    kernel_size, dilation, padding, stride : int or (int, int)
        As those of `unfold`.

    Returns
    -------
    Tensor, (N, C, H, W) or (C, H, W)
    """
    return fold_columns("fold", input, output_size, kernel_size, dilation, padding, stride)


def fold_columns(name: str, input: Any, output_size: Any, kernel_size: Any, dilation: Any, padding: Any,
                 stride: Any) -> Tensor:
    """`fold`; `name` is the function or layer that errors speak of."""
    x = lift(input)[0]
    size, taps = extents(name, "output_size", output_size, 2, 1), extents(name, "kernel_size", kernel_size, 2, 1)
    if x.ndim not in (2, 3) or x.shape[-2] % math.prod(taps) or 0 in x.shape[-2:]:
        raise ShapeError(f"{name}: an input of shape {list(x.shape)} with a kernel of {list(taps)}; expected "
                         f"(N, C * {math.prod(taps)}, L) or (C * {math.prod(taps)}, L)")
    return _record(name, FOLD, x, x.shape[-2] // math.prod(taps), size, kernel_size, dilation, padding, stride)


def _record(name: str, op: Op, x: Tensor, channels: int, image: tuple[int, ...], kernel_size: Any, dilation: Any,
            padding: Any, stride: Any) -> Tensor:
    kernel, gaps = extents(name, "kernel_size", kernel_size, 2, 1), extents(name, "dilation", dilation, 2, 1)
    before, steps = extents(name, "padding", padding, 2, 0), extents(name, "stride", stride, 2, 1)
    patches = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1
                    for n, p, d, k, s in zip(image, before, gaps, kernel, steps))
    if min(patches) < 1:
        raise ShapeError(f"{name}: an image of {list(image)} with padding {padding} is smaller than the kernel "
                         f"{list(kernel)} with dilation {list(gaps)}")
    if op is FOLD and math.prod(patches) != x.shape[-1]:
        raise ShapeError(f"{name}: an input of shape {list(x.shape)} has {x.shape[-1]} columns; an image of "
                         f"{list(image)} has {math.prod(patches)} patches of {list(kernel)} with stride "
                         f"{list(steps)}, padding {list(before)} and dilation {list(gaps)}")
    single = x.ndim == (3 if op is UNFOLD else 2)
    samples = 1 if single else x.shape[0]
    shape = (channels * math.prod(kernel), math.prod(patches)) if op is UNFOLD else (channels, *image)
    windows = window_words(samples, 1, channels, 1, image, kernel, steps, before, gaps, patches)
    return recorder(op)(shape if single else (samples, *shape), dtype=x.dtype, x=x, windows=windows)


def through(op: Op, x: Tensor, windows: Any, shape: tuple[int, ...]) -> Tensor:
    """Patches (`UNFOLD`) or their image (`FOLD`) through the windows of an instruction, for as many samples as `x` has.

    `shape` is that of the result.
    """
    image, kernel, response = (math.prod(e.words) for e in (windows.image, windows.kernel, windows.response))
    sample = windows.channels * (image if op is UNFOLD else kernel * response)
    return recorder(op)(shape, dtype=x.dtype, x=x, windows=(x.size // sample, *windows.words[1:]))
