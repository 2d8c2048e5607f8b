"""Maximum pooling whose windows start at random places (Graham, Fractional max-pooling, 2014)."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import functions
from ..errors import ArgumentError, ShapeError
from ..functions.convolution import Extent, extents
from ..tensor.recording import lift, lift_to
from ..tensor.tensor import Tensor
from .module import Module

__all__ = ["FractionalMaxPool2d", "FractionalMaxPool3d", "fractional_max_pool2d", "fractional_max_pool3d"]


def fractional_max_pool2d(input: Any, kernel_size: Extent, output_size: Extent | None = None,
                          output_ratio: Any = None, return_indices: bool = False, _random_samples: Any = None) -> Any:
    """Maxima of windows that are spread at random over an image, from its first pixel to its last.

    Parameters
    ----------
    input : array_like, (N, C, H, W) or (C, H, W)
    kernel_size : int or (int, int)
        Extents of the windows.
    output_size : int or (int, int), optional
    output_ratio : float or (float, float), optional
        Of the extents of the result to those of the input, between 0 and 1; one of the two must be given.
    return_indices : bool
        Whether to give the place of each maximum in its plane, ``h W + w``, too.
    _random_samples : array_like, (N, C, 2), optional
        Numbers between 0 and 1 that say where windows start, of the width first; drawn if not given, in a recording
        anew at each replay.

    Returns
    -------
    Tensor, (..., *output_size); with `return_indices` a tuple of it and a Tensor of int64 of the same shape
    """
    return _fractional("fractional_max_pool2d", 2, input, kernel_size, output_size, output_ratio, return_indices,
                       _random_samples)


def fractional_max_pool3d(input: Any, kernel_size: Extent, output_size: Extent | None = None,
                          output_ratio: Any = None, return_indices: bool = False, _random_samples: Any = None) -> Any:
    """`fractional_max_pool2d` over three axes; random numbers (N, C, 3) are of depth, height and width."""
    return _fractional("fractional_max_pool3d", 3, input, kernel_size, output_size, output_ratio, return_indices,
                       _random_samples)


def _fractional(name: str, axes: int, input: Any, kernel_size: Any, output_size: Any, output_ratio: Any,
                return_indices: bool, random: Any) -> Any:
    x = lift(input)[0]
    if x.ndim not in (axes + 1, axes + 2) or 0 in x.shape[-axes:]:
        raise ShapeError(f"{name}: an input of shape {list(x.shape)}; expected (N, C, {', '.join('DHW'[3 - axes:])}) "
                         "or without N")
    kernel, given = extents(name, "kernel_size", kernel_size, axes, 1), x.shape[-axes:]
    out = _sizes(name, axes, given, output_size, output_ratio)
    if any(m + k - 1 > n for m, k, n in zip(out, kernel, given)):
        raise ShapeError(f"{name}: {list(out)} windows of {list(kernel)} do not fit an input of shape {list(x.shape)}")
    whole = x.shape if x.ndim == axes + 2 else (1, *x.shape)
    samples, channels = whole[:2]
    if random is None:
        random = functions.rand(samples, channels, axes, dtype=x.dtype)
    random = lift_to(random, x.dtype).detach()
    if random.shape != (samples, channels, axes):
        raise ShapeError(f"{name}: random numbers of shape {list(random.shape)}; expected "
                         f"{[samples, channels, axes]}")
    index: Any = None
    for axis, (n, m, k) in enumerate(zip(given, out, kernel)):
        own = random[..., 1 - axis if axes == 2 else axis]
        places = functions.expand_dims(_starts(own, n, m, k), -1) + np.arange(k)  # (N, C, m, k)
        lead = (samples, channels, *(m if d == axis else 1 for d in range(axes)),
                *(k if d == axis else 1 for d in range(axes)))
        places = functions.reshape(places, lead)
        index = places if index is None else index * n + places
    size = int(np.prod(kernel))
    index = functions.reshape(index, (samples, channels, -1, size))
    flat = functions.reshape(x, (samples, channels, -1))
    windows = functions.take_along_axis(flat, functions.reshape(index, (samples, channels, -1)), -1)
    windows = functions.reshape(windows, index.shape)
    best = functions.expand_dims(functions.argmax(windows, -1), -1)
    shape = (*x.shape[:-axes], *out)
    y = functions.reshape(functions.take_along_axis(windows, best, -1), shape)
    return (y, functions.reshape(functions.take_along_axis(index, best, -1), shape)) if return_indices else y


def _starts(random: Tensor, n: int, m: int, k: int) -> Tensor:
    """Where windows start, (N, C, m): ``floor((i + u) a) - floor(u a)``, a = (n - k) / (m - 1), the last at the end."""
    last = np.full((*random.shape, 1), n - k)
    if m == 1:
        return Tensor(last)
    a = random.dtype.type((n - k) / (m - 1))
    u = functions.expand_dims(random, -1)
    starts = functions.floor((u + np.arange(m - 1).astype(random.dtype)) * a) - functions.floor(u * a)
    return functions.concatenate([starts.astype(np.int64), last], -1)


def _sizes(name: str, axes: int, given: tuple[int, ...], output_size: Any, output_ratio: Any) -> tuple[int, ...]:
    """The extents of the result."""
    if (output_size is None) == (output_ratio is None):
        raise ArgumentError(f"{name}: give either output_size or output_ratio")
    if output_size is not None:
        return extents(name, "output_size", output_size, axes, 1)
    ratios = list(output_ratio) if isinstance(output_ratio, (tuple, list)) else [output_ratio] * axes
    if len(ratios) != axes or not all(0 < r < 1 for r in ratios):
        raise ArgumentError(f"{name}: output_ratio must be a number between 0 and 1, or {axes} of them, not "
                            f"{output_ratio!r}")
    return tuple(max(int(n * r), 1) for n, r in zip(given, ratios))


class _Fractional(Module):
    _axes: int

    def __init__(self, kernel_size: Extent, output_size: Extent | None = None, output_ratio: Any = None,
                 return_indices: bool = False, _random_samples: Any = None) -> None:
        super().__init__()
        self.kernel_size, self.output_size, self.output_ratio = kernel_size, output_size, output_ratio
        self.return_indices, self._random_samples = return_indices, _random_samples
        _sizes(type(self).__name__, self._axes, (1,) * self._axes, output_size, output_ratio)

    def forward(self, input: Any) -> Any:
        """Maxima of windows at random places."""
        return _fractional(type(self).__name__, self._axes, input, self.kernel_size, self.output_size,
                           self.output_ratio, self.return_indices, self._random_samples)


class FractionalMaxPool2d(_Fractional):
    """`functional.fractional_max_pool2d`: from (N, C, H, W) to (N, C, *output_size).

    Parameters
    ----------
    kernel_size : int or (int, int)
    output_size : int or (int, int), optional
    output_ratio : float or (float, float), optional
        One of the two must be given.
    return_indices : bool, default False
    """

    _axes = 2


class FractionalMaxPool3d(_Fractional):
    """`FractionalMaxPool2d` over three axes: from (N, C, D, H, W) to (N, C, *output_size)."""

    _axes = 3
