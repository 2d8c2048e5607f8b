"""Pooling that is composed of pooling over one and two axes, by PyTorch's names and arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import functions
from ..errors import ArgumentError, ShapeError
from ..functions.convolution import Extent, extents
from ..functions.padding import pad_last
from ..functions.pooling import numbered, picked
from ..tensor.recording import astype, lift
from ..tensor.tensor import Tensor
from .shapes import positive_int, shape_of

__all__ = [
    "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "avg_pool3d",
    "local_response_norm", "lp_pool1d", "lp_pool2d", "lp_pool3d", "max_pool3d", "max_unpool1d", "max_unpool2d",
    "max_unpool3d",
]  # fmt: skip


def _volume(name: str, input: Any) -> Tensor:
    x = lift(input)[0]
    if x.ndim not in (4, 5) or 0 in x.shape[-3:]:
        raise ShapeError(f"{name}: an input of shape {list(x.shape)}; expected (N, C, D, H, W) or (C, D, H, W)")
    return x


def _over_depth(x: Tensor, planes: Callable[[Tensor], Tensor], depths: Callable[[Tensor], Tensor]) -> Tensor:
    """Pool (..., D, H, W) plane by plane, then over D, as planes (D, H W) with windows of one column."""
    lead, depth = x.shape[:-3], x.shape[-3]
    flat = planes(functions.reshape(x, (-1, depth, *x.shape[-2:])))
    height, width = flat.shape[-2:]
    y = depths(functions.reshape(flat, (-1, depth, height * width)))
    return functions.reshape(y, (*lead, y.shape[-2], height, width))


def _three(name: str, stride: Any, **given: Any) -> tuple[tuple[int, ...], ...]:
    """Extents over three axes; the stride is that of the window if not given."""
    least = {"kernel_size": 1, "padding": 0, "dilation": 1}
    found = {key: tuple(extents(name, key, value, 3, least[key])) for key, value in given.items()}
    empty = stride is None or (isinstance(stride, (tuple, list)) and not stride)
    step = found["kernel_size"] if empty else tuple(extents(name, "stride", stride, 3, 1))
    return (found.pop("kernel_size"), step, *found.values())


def max_pool3d(input: Any, kernel_size: Extent, stride: Extent | None = None, padding: Extent = 0,
               dilation: Extent = 1, ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """`max_pool2d` over three axes: from (N, C, D, H, W) or (C, D, H, W) to the same rank.

    Indices are places in the volume, ``(d H + h) W + w``.
    """
    x = _volume("max_pool3d", input)
    k, s, p, d = _three("max_pool3d", stride, kernel_size=kernel_size, padding=padding, dilation=dilation)
    inside, across = (k[1:], s[1:], p[1:], d[1:], ceil_mode), ((k[0], 1), (s[0], 1), (p[0], 0), (d[0], 1), ceil_mode)
    y = _over_depth(x, lambda t: functions.max_pool2d(t, *inside), lambda t: functions.max_pool2d(t, *across))
    if not return_indices:
        return y
    planes = functions.reshape(x.detach(), (-1, x.shape[-3], *x.shape[-2:]))
    greatest = functions.max_pool2d(planes, *inside)
    numbers = functions.reshape(numbered("max_pool3d", x, x.shape[-3:]), planes.shape)
    flat = (-1, x.shape[-3], greatest.shape[-2] * greatest.shape[-1])
    numbers = functions.reshape(picked("max_pool3d", planes, numbers, *inside), flat)
    numbers = picked("max_pool3d", functions.reshape(greatest, flat), numbers, *across)
    return y, astype(functions.reshape(numbers, y.shape), np.dtype(np.int64))


def _unpool(name: str, axes: int, input: Any, indices: Any, kernel_size: Any, stride: Any, padding: Any,
            output_size: Any) -> Tensor:
    x = lift(input)[0]
    if x.ndim not in (axes + 1, axes + 2) or shape_of(indices) != x.shape:
        raise ShapeError(f"{name}: an input of shape {list(x.shape)} and indices of {list(shape_of(indices))}; "
                         f"expected what max_pool{axes}d gives with return_indices=True")
    k = extents(name, "kernel_size", kernel_size, axes, 1)
    s = k if stride is None else extents(name, "stride", stride, axes, 1)
    p = extents(name, "padding", padding, axes, 0)
    least = [(n - 1) * b + a - 2 * c for n, a, b, c in zip(x.shape[-axes:], k, s, p, strict=True)]
    size = least if output_size is None else list(output_size)[-axes:]
    if len(size) != axes or any(not m - b < n < m + b for n, m, b in zip(size, least, s, strict=True)):
        raise ShapeError(f"{name}: output_size {output_size} does not go with an input of shape {list(x.shape)}; "
                         f"expected {least}, or less than the stride {list(s)} off")
    lead, count = x.shape[:-axes], math.prod(size)
    at = functions.reshape(indices, (math.prod(lead), -1))
    empty = np.zeros((math.prod(lead), count), x.dtype)
    y = functions.scatter(empty, 1, at, functions.reshape(x, at.shape))
    return functions.reshape(y, (*lead, *size))


def max_unpool1d(input: Any, indices: Any, kernel_size: Extent, stride: Extent | None = None, padding: Extent = 0,
                 output_size: Sequence[int] | None = None) -> Tensor:
    """`max_unpool2d` over one axis: from (N, C, L) or (C, L) to (..., LO)."""
    return _unpool("max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(input: Any, indices: Any, kernel_size: Extent, stride: Extent | None = None, padding: Extent = 0,
                 output_size: Sequence[int] | None = None) -> Tensor:
    """Put maxima back in their places, among zeros.

    Parameters
    ----------
    input : array_like, (N, C, H, W) or (C, H, W)
    indices : integer array_like of that shape
        As `max_pool2d` gives them. Where windows overlap, the last of equal indices counts and has the gradient.
    kernel_size, stride, padding
        Of the pooling.
    output_size : sequence of int, optional
        The extents of the pooling's input, for several give the same result.

    Returns
    -------
    Tensor, (..., *output_size), by default with ``HO = (H - 1) stride - 2 padding + kernel_size``
    """
    return _unpool("max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(input: Any, indices: Any, kernel_size: Extent, stride: Extent | None = None, padding: Extent = 0,
                 output_size: Sequence[int] | None = None) -> Tensor:
    """`max_unpool2d` over three axes: from (N, C, D, H, W) or (C, D, H, W) to (..., DO, HO, WO)."""
    return _unpool("max_unpool3d", 3, input, indices, kernel_size, stride, padding, output_size)


def avg_pool3d(input: Any, kernel_size: Extent, stride: Extent | None = None, padding: Extent = 0,
               ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None) -> Tensor:
    """`avg_pool2d` over three axes: from (N, C, D, H, W) or (C, D, H, W) to the same rank."""
    x = _volume("avg_pool3d", input)
    k, s, p = _three("avg_pool3d", stride, kernel_size=kernel_size, padding=padding)
    first = None if divisor_override is None else 1
    return _over_depth(
        x, lambda t: functions.avg_pool2d(t, k[1:], s[1:], p[1:], ceil_mode, count_include_pad, first),
        lambda t: functions.avg_pool2d(t, (k[0], 1), (s[0], 1), (p[0], 0), ceil_mode, count_include_pad,
                                       divisor_override))


def _sizes(output_size: Any, shape: Sequence[int]) -> list[int]:
    """The extents of the result; None keeps the input's."""
    one = isinstance(output_size, (int, np.integer)) or output_size is None
    given = (output_size,) * len(shape) if one else tuple(output_size)
    if len(given) != len(shape):
        raise ArgumentError(f"output_size must be one number or {len(shape)}, got {output_size}")
    return [n if m is None else positive_int(m, "output_size") for n, m in zip(shape, given, strict=True)]


def adaptive_avg_pool3d(input: Any, output_size: Any) -> Tensor:
    """`adaptive_avg_pool2d` over three axes: from (N, C, D, H, W) or (C, D, H, W) to (..., *output_size)."""
    x = _volume("adaptive_avg_pool3d", input)
    depth, *plane = _sizes(output_size, x.shape[-3:])
    return _over_depth(x, lambda t: functions.adaptive_avg_pool2d(t, plane),
                       lambda t: functions.adaptive_avg_pool2d(t, (depth, None)))


def _greatest_rows(x: Tensor, numbers: Tensor | None, count: int) -> tuple[Tensor, Tensor | None]:
    """The greatest along axis -2 of (..., n, m) in `count` windows, which may overlap and differ in length.

    And of `numbers`, if given, those in the same places.
    """
    n = x.shape[-2]
    alike = n % count == 0
    windows = [(0, n)] if alike else [(k * n // count, -(-(k + 1) * n // count)) for k in range(count)]
    found, places = [], []
    for begin, end in windows:
        size = (n // count if alike else end - begin, 1)
        part = x[..., begin:end, :]
        found.append(functions.max_pool2d(part, size))
        if numbers is not None:
            number = numbers[..., begin:end, :]
            places.append(picked("adaptive_max_pool", part.detach(), number, size, None, 0, 1, False))
    y = functions.concatenate(found, axis=-2)
    return y, None if numbers is None else functions.concatenate(places, axis=-2)


def _adaptive_max(name: str, input: Any, output_size: Any, axes: int, return_indices: bool) -> Any:
    x = lift(input)[0]
    if x.ndim not in (axes + 1, axes + 2) or 0 in x.shape[-axes:]:
        raise ShapeError(f"{name}: an input of shape {list(x.shape)}; expected (N, C, "
                         f"{', '.join('DHW'[3 - axes:] if axes > 1 else 'L')}) or without N")
    lead, given, sizes = x.shape[:-axes], x.shape[-axes:], _sizes(output_size, x.shape[-axes:])
    after, numbers = 1, numbered(name, x, given) if return_indices else None
    for axis in range(axes - 1, -1, -1):  # from the last on, so that of equals the first in order is the greatest
        shape = (-1, given[axis], after)
        places = None if numbers is None else functions.reshape(numbers, shape)
        x, numbers = _greatest_rows(functions.reshape(x, shape), places, sizes[axis])
        after *= sizes[axis]
    y = functions.reshape(x, (*lead, *sizes))
    return y if numbers is None else (y, astype(functions.reshape(numbers, y.shape), np.dtype(np.int64)))


def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """`adaptive_max_pool2d` over one axis: from (N, C, L) or (C, L) to (..., output_size)."""
    return _adaptive_max("adaptive_max_pool1d", input, output_size, 1, return_indices)


def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Maximum pooling to a given output size.

    Parameters
    ----------
    input : array_like, (N, C, H, W) or (C, H, W)
    output_size : int or (int or None, int or None)
        None keeps the input's extent. Window `i` of `m` goes from ``floor(i n / m)`` to ``ceil((i + 1) n / m)``.
    return_indices : bool
        Whether to give the place of each maximum in its plane, ``h W + w``, too.

    Returns
    -------
    Tensor, (..., *output_size); with `return_indices` a tuple of it and a Tensor of int64 of the same shape
    """
    return _adaptive_max("adaptive_max_pool2d", input, output_size, 2, return_indices)


def adaptive_max_pool3d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """`adaptive_max_pool2d` over three axes: from (N, C, D, H, W) or (C, D, H, W) to (..., *output_size)."""
    return _adaptive_max("adaptive_max_pool3d", input, output_size, 3, return_indices)


def _lp(mean: Tensor, norm_type: float, elements: int) -> Tensor:
    """The p-norm, given the mean of the p-th powers."""
    return functions.power(functions.sign(mean) * functions.relu(functions.abs(mean)) * float(elements),
                           1.0 / norm_type)


def lp_pool1d(input: Any, norm_type: float, kernel_size: Extent, stride: Extent | None = None,
              ceil_mode: bool = False) -> Tensor:
    """``(sum x^p)^(1 / p)`` of each window with p = `norm_type`: from (N, C, L) or (C, L) to (..., LO).

    The gradient is NaN where the sum is 0, as in PyTorch.
    """
    size = extents("lp_pool1d", "kernel_size", kernel_size, 1, 1)
    mean = functions.avg_pool1d(functions.power(input, norm_type), size, stride, 0, ceil_mode)
    return _lp(mean, norm_type, size[0])


def lp_pool2d(input: Any, norm_type: float, kernel_size: Extent, stride: Extent | None = None,
              ceil_mode: bool = False) -> Tensor:
    """`lp_pool1d` over two axes: from (N, C, H, W) or (C, H, W) to (..., HO, WO)."""
    size = extents("lp_pool2d", "kernel_size", kernel_size, 2, 1)
    mean = functions.avg_pool2d(functions.power(input, norm_type), size, stride, 0, ceil_mode)
    return _lp(mean, norm_type, size[0] * size[1])


def lp_pool3d(input: Any, norm_type: float, kernel_size: Extent, stride: Extent | None = None,
              ceil_mode: bool = False) -> Tensor:
    """`lp_pool1d` over three axes: from (N, C, D, H, W) or (C, D, H, W) to (..., DO, HO, WO)."""
    size = extents("lp_pool3d", "kernel_size", kernel_size, 3, 1)
    mean = avg_pool3d(functions.power(input, norm_type), size, stride, 0, ceil_mode)
    return _lp(mean, norm_type, size[0] * size[1] * size[2])


def local_response_norm(input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """``x / (k + alpha mean(x^2))^beta``, the mean over `size` neighbouring channels (Krizhevsky et al., 2012).

    Parameters
    ----------
    input : array_like, (N, C, ...)
    size : int
        Channels of the mean, zeros beyond the first and the last.
    alpha, beta, k : float

    Returns
    -------
    Tensor
        Of the shape of `input`.
    """
    x, n = lift(input)[0], positive_int(size, "local_response_norm: size")
    if x.ndim < 3:
        raise ShapeError(f"local_response_norm: an input of shape {list(x.shape)}; expected (N, C, L, ...)")
    if x.size == 0:
        return x
    squares = functions.reshape(functions.square(x), (x.shape[0], 1, x.shape[1], -1))
    padded = pad_last(squares, (0, 0, n // 2, (n - 1) // 2))
    mean = functions.reshape(functions.avg_pool2d(padded, (n, 1), 1), x.shape)
    return x / functions.power(functions.scale_shift(mean, float(alpha), float(k)), float(beta))
