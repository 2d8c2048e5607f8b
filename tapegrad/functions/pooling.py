"""Pooling over one and two axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..ops.pooling import AVG_POOL, BY_INSIDE, BY_NUMBER, BY_WINDOW, CHOOSE, MAX_POOL, PICK, Means, Pool
from ..ops.table import Op
from ..tensor.arrays import BOOL, FLOAT32, INT64
from ..tensor.recording import astype, lift, lift_to, recorder
from ..tensor.tensor import Tensor
from .convolution import Extent, extents

__all__ = ["adaptive_avg_pool1d", "adaptive_avg_pool2d", "avg_pool1d", "avg_pool2d", "max_pool1d", "max_pool2d"]


def _planes(name: str, input: Any, axes: int) -> tuple[Tensor, int, tuple[int, int]]:
    """The input, its number of planes and their extents."""
    x = lift(input)[0]
    if x.ndim not in (axes + 1, axes + 2) or 0 in x.shape[-axes:]:
        raise ShapeError(f"{name}: an input of shape {list(x.shape)}; expected (N, C, {'L' if axes == 1 else 'H, W'})")
    plane = (1, x.shape[-1]) if axes == 1 else (x.shape[-2], x.shape[-1])
    return x, math.prod(x.shape[:-axes]), plane


def _windows(name: str, axes: int, plane: tuple[int, int], kernel: Any, stride: Any, padding: Any, dilation: Any,
             ceil_mode: bool) -> dict[str, Any]:
    """Extents of the result, kernel, stride, padding and dilation."""
    size = extents(name, "kernel_size", kernel, axes, 1)
    given = stride is None or (isinstance(stride, (tuple, list)) and not stride)
    step = size if given else extents(name, "stride", stride, axes, 1)
    edge, gap = extents(name, "padding", padding, axes, 0), extents(name, "dilation", dilation, axes, 1)
    if any(2 * p > k for p, k in zip(edge, size)):
        raise ArgumentError(f"{name}: padding {padding} is more than half of kernel_size {kernel}")
    if axes == 1:
        size, step, edge, gap = (1, *size), (1, *step), (0, *edge), (1, *gap)
    if math.prod(size) > 1 << 16:
        raise ArgumentError(f"{name}: a window of {math.prod(size)} elements; at most {1 << 16}")
    result = []
    for n, k, s, p, d in zip(plane, size, step, edge, gap):
        free = n + 2 * p - d * (k - 1) - 1
        count = (free + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (count - 1) * s >= n + p:  # a window that would begin in the padding behind
            count -= 1
        result.append(count)
    if min(result) < 1:
        raise ShapeError(f"{name}: planes of {list(plane[-axes:])} are smaller than the window {kernel}")
    return {"result": tuple(result), "kernel": size, "stride": step, "padding": edge, "dilation": gap}


def _max_pool(name: str, axes: int, input: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
              ceil_mode: bool, return_indices: bool) -> Any:
    x, planes, plane = _planes(name, input, axes)
    windows = _windows(name, axes, plane, kernel_size, stride, padding, dilation, ceil_mode)
    shape, taps = (*x.shape[:-axes], *windows["result"][-axes:]), math.prod(windows["kernel"])
    words = Pool.words(planes=planes, image=plane, **windows)
    y = _greatest(x, words, shape, taps)
    if not return_indices:
        return y
    grid = numbered(name, x, x.shape[-axes:])
    return y, astype(_picked(x.detach(), grid, words, shape, taps), INT64)


def numbered(name: str, x: Tensor, extents: tuple[int, ...]) -> Tensor:
    """The places in its plane or volume of each element of `x`, as floats, which must hold them exactly."""
    count = math.prod(extents)
    if x.dtype == FLOAT32 and count > 1 << 24:
        raise ArgumentError(f"{name}: return_indices of planes of {count} elements; in float32 at most {1 << 24}")
    return Tensor(np.broadcast_to(np.arange(count, dtype=x.dtype).reshape(extents), x.shape).copy())


def _picked(x: Tensor, grid: Tensor, words: tuple[int, ...], shape: tuple[int, ...], taps: int) -> Tensor:
    """The elements of `grid` where those of `x` are the greatest of their windows."""
    nbytes, size = math.prod(shape) * _place_bytes(taps), x.dtype.itemsize
    where = recorder(CHOOSE)((nbytes,), dtype=x.dtype, out_dtype=BOOL, x=x, greatest=(math.prod(shape) * size, size),
                             windows=words)
    return recorder(PICK)(shape, dtype=x.dtype, x=grid, chosen=where, windows=words)


def picked(name: str, input: Tensor, grid: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
           ceil_mode: bool) -> Tensor:
    """The elements of `grid` where those of `input`, in planes, are the greatest of the windows of `max_pool2d`."""
    x, planes, plane = _planes(name, input, 2)
    windows = _windows(name, 2, plane, kernel_size, stride, padding, dilation, ceil_mode)
    return _picked(x, lift_to(grid, x.dtype), Pool.words(planes=planes, image=plane, **windows),
                   (*x.shape[:-2], *windows["result"]), math.prod(windows["kernel"]))


def _greatest(x: Tensor, windows: tuple[int, ...], shape: tuple[int, ...], taps: int) -> Tensor:
    return recorder(MAX_POOL)(shape, dtype=x.dtype, x=x, chosen=(math.prod(shape) * _place_bytes(taps), 1),
                              windows=windows)


def _place_bytes(taps: int) -> int:
    """Bytes for each window that say which of its elements is the greatest."""
    return 1 if taps <= 256 else 2


def _words(windows: Any, planes: int) -> tuple[int, ...]:
    """The words of an instruction's windows, for so many planes."""
    return planes, *windows.words[1:]


def greatest(x: Tensor, windows: Any, shape: tuple[int, ...]) -> Tensor:
    """The greatest of the windows of a max-pooling, for as many planes as `x` has."""
    plane, taps = windows.image, windows.kernel.height * windows.kernel.width
    return _greatest(x, _words(windows, x.size // (plane.height * plane.width)), shape, taps)


def places(step: Any) -> Tensor:
    """The argmax of the windows of a max-pooling: kept beside its result, in a recording computed again."""
    windows = step.windows
    nbytes = math.prod(step.shape) * _place_bytes(windows.kernel.height * windows.kernel.width)
    kept = step.kept("chosen", (nbytes,), BOOL)
    return choose(step.x, windows, (nbytes,)) if kept is None else kept


def choose(x: Tensor, windows: Any, shape: tuple[int, ...]) -> Tensor:
    """Which elements are the greatest, as bytes, for as many planes as `x` has."""
    plane, result = windows.image, windows.result
    planes = x.size // (plane.height * plane.width)
    greatest = planes * result.height * result.width * x.dtype.itemsize
    return recorder(CHOOSE)(shape, dtype=x.dtype, out_dtype=BOOL, x=x, greatest=(greatest, x.dtype.itemsize),
                            windows=_words(windows, planes))


def chosen(op: Op, x: Tensor, places: Tensor, windows: Any, shape: tuple[int, ...]) -> Tensor:
    """`x` at the places that were chosen (`PICK`), or put there (`UNPOOL`); `shape` is that of the result."""
    plane = windows.image if op is PICK else windows.result
    return recorder(op)(shape, dtype=x.dtype, x=x, chosen=places,
                        windows=_words(windows, x.size // (plane.height * plane.width)))


def means(op: Op, x: Tensor, windows: Any, shape: tuple[int, ...]) -> Tensor:
    """Means of windows (`AVG_POOL`), or shares spread over them (`AVG_UNPOOL`); `shape` is that of the result."""
    plane = windows.image if op is AVG_POOL else windows.result
    return recorder(op)(shape, dtype=x.dtype, x=x, windows=_words(windows, x.size // (plane.height * plane.width)))


def max_pool2d(input: Any, kernel_size: Extent, stride: Extent | None = None, padding: Extent = 0,
               dilation: Extent = 1, ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """Maximum of each window; of equal elements the first one gets the gradient, of several NaN the last.

    The gradient needs a byte for each output (two where windows have more than 256 elements).

    Parameters
    ----------
    input : array_like, (N, C, H, W) or (C, H, W)
    kernel_size, dilation : int or (int, int)
    stride : int or (int, int), optional
        `kernel_size` if not given.
    padding : int or (int, int)
        At most half of the window; never the maximum.
    ceil_mode : bool
        Whether a last window may extend beyond the edge.
    return_indices : bool
        Whether to give, besides, the place of each maximum in its plane, ``h W + w``, for `nn.functional.max_unpool2d`.

    Returns
    -------
    Tensor, (N, C, HO, WO) or (C, HO, WO); with `return_indices` a tuple of it and a Tensor of int64 of the same shape
    """
    return _max_pool("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool1d(input: Any, kernel_size: Extent, stride: Extent | None = None, padding: Extent = 0,
               dilation: Extent = 1, ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """`max_pool2d` over one axis: from (N, C, L) or (C, L) to (N, C, LO) or (C, LO)."""
    return _max_pool("max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _avg_pool(name: str, axes: int, input: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool,
              count_include_pad: bool, divisor: int | None) -> Tensor:
    x, planes, plane = _planes(name, input, axes)
    windows = _windows(name, axes, plane, kernel_size, stride, padding, 1, ceil_mode)
    del windows["dilation"]
    if divisor is not None and divisor == 0:
        raise ArgumentError(f"{name}: divisor_override must not be 0")
    rule = BY_NUMBER if divisor is not None else BY_WINDOW if count_include_pad else BY_INSIDE
    words = Means.words(planes=planes, image=plane, rule=rule, divisor=float(divisor or 1), adaptive=False, **windows)
    return recorder(AVG_POOL)((*x.shape[:-axes], *windows["result"][-axes:]), dtype=x.dtype, x=x, windows=words)


def avg_pool2d(input: Any, kernel_size: Extent, stride: Extent | None = None, padding: Extent = 0,
               ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None) -> Tensor:
    """Mean of each window.

    Parameters
    ----------
    input : array_like, (N, C, H, W) or (C, H, W)
    kernel_size : int or (int, int)
    stride : int or (int, int), optional
        `kernel_size` if not given.
    padding : int or (int, int)
        Zeros around the input, at most half of the window.
    ceil_mode : bool
        Whether a last window may extend beyond the edge.
    count_include_pad : bool
        Whether padded zeros count as elements.
    divisor_override : int, optional
        Divide by this instead.

    Returns
    -------
    Tensor, (N, C, HO, WO) or (C, HO, WO)
    """
    return _avg_pool("avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad,
                     divisor_override)


def avg_pool1d(input: Any, kernel_size: Extent, stride: Extent | None = None, padding: Extent = 0,
               ceil_mode: bool = False, count_include_pad: bool = True) -> Tensor:
    """`avg_pool2d` over one axis: from (N, C, L) or (C, L) to (N, C, LO) or (C, LO)."""
    return _avg_pool("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def _adaptive(name: str, axes: int, input: Any, output_size: Any) -> Tensor:
    x, planes, plane = _planes(name, input, axes)
    given = (output_size,) * axes if isinstance(output_size, int) or output_size is None else tuple(output_size)
    out = extents(name, "output_size", tuple(n if m is None else m for n, m in zip(x.shape[-axes:], given)), axes, 1)
    words = Means.words(planes=planes, image=plane, result=(1, *out) if axes == 1 else out, kernel=(1, 1),
                        stride=(1, 1), padding=(0, 0), rule=BY_INSIDE, divisor=1.0, adaptive=True)
    return recorder(AVG_POOL)((*x.shape[:-axes], *out), dtype=x.dtype, x=x, windows=words)


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Tensor:
    """Mean pooling to a given output size.

    Parameters
    ----------
    input : array_like, (N, C, H, W) or (C, H, W)
    output_size : int or (int or None, int or None)
        None keeps the input's extent. Window `i` of `m` goes from ``floor(i n / m)`` to ``ceil((i + 1) n / m)``.

    Returns
    -------
    Tensor, (N, C, *output_size) or (C, *output_size)
    """
    return _adaptive("adaptive_avg_pool2d", 2, input, output_size)


def adaptive_avg_pool1d(input: Any, output_size: Any) -> Tensor:
    """`adaptive_avg_pool2d` over one axis: from (N, C, L) or (C, L) to (N, C, output_size) or (C, output_size)."""
    return _adaptive("adaptive_avg_pool1d", 1, input, output_size)
