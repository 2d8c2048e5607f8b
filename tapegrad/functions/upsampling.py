"""Interpolation of signals, images and volumes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..ops.table import Op
from ..ops.upsampling import BLEND, SELECT, Resampling
from ..tensor.recording import lift, recorder
from ..tensor.tensor import Tensor
from . import bands
from .convolution import Extent, extents
from .indexing import take_axis

__all__ = ["interpolate"]

#: by mode, the numbers of axes that it can interpolate; and those that antialias knows
_AXES = {"nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "area": (1, 2, 3), "linear": (1,), "bilinear": (2,),
         "trilinear": (3,), "bicubic": (2,), "lanczos": (2,)}
_BY_AXIS: dict[str, Callable[..., bands.Weights]] = {"area": bands.area, "trilinear": bands.linear,
                                                     "bicubic": bands.cubic}
_SMOOTHED = ("bilinear", "bicubic", "lanczos")


def select(x: Tensor, chosen: dict[int, np.ndarray]) -> Tensor:
    """The slices of several axes (counted from the front) by index, as ``np.ix_`` over those axes."""
    for axis in [a for a in chosen if a < x.ndim - 2 or x.ndim - 1 not in chosen]:
        x = take_axis(x, Tensor(chosen[axis].astype(np.int64)), axis)
    columns = chosen.get(x.ndim - 1)
    if columns is None:
        return x
    height = x.shape[-2] if x.ndim > 1 else 1
    rows = chosen.get(x.ndim - 2, np.arange(height))
    shape = (*x.shape[:-2], len(rows), len(columns))[-x.ndim:]
    table = Tensor(np.concatenate([rows, columns]).astype(np.int64))
    sizes = Resampling.words(planes=math.prod(x.shape[:-2]), height=height, width=x.shape[-1], rows=len(rows),
                             columns=len(columns))
    return recorder(SELECT)(shape, dtype=x.dtype, x=x, table=table, sizes=sizes)


def interpolate(input: Any, size: Extent | None = None, scale_factor: float | Sequence[float] | None = None,
                mode: str = "nearest", align_corners: bool | None = None,
                recompute_scale_factor: bool | None = None, antialias: bool = False) -> Tensor:
    """A signal, an image or a volume at another size.

    Parameters
    ----------
    input : array_like, (N, C, L), (N, C, H, W) or (N, C, D, H, W)
    size : int or sequence of int, optional
        Extents of the result.
    scale_factor : float or sequence of float, optional
        Factor of the extents, rounded down; one of `size` and `scale_factor` must be given.
    mode : {"nearest", "nearest-exact", "area", "linear", "bilinear", "trilinear", "bicubic", "lanczos"}
        "linear" for signals, "bilinear", "bicubic" and "lanczos" for images, "trilinear" for volumes.
    align_corners : bool, optional
        For the linear modes and "bicubic": whether the centres of the corners are fixed, else their outer edges.
    recompute_scale_factor : bool, optional
        Whether positions use the ratio of the extents instead of `scale_factor`.
    antialias : bool
        For "bilinear" and "bicubic": whether an element of a smaller result is a mean of all that it covers, as Pillow
        resizes. "lanczos" is always so, and wants to be told.

    Returns
    -------
    Tensor, (N, C, ...)
        Element `k` of an axis is read at ``k step`` rounded down ("nearest"), at ``(k + 1/2) step`` rounded down
        ("nearest-exact"), at ``(k + 1/2) step - 1/2`` clipped to the axis, or with `align_corners` at
        ``k (n - 1) / (m - 1)``; "area" is `adaptive_avg_pool2d`.

    Notes
    -----
    Keys, Cubic convolution interpolation for digital image processing, 1981, with a = -3/4, or with `antialias` -1/2.
    """
    return resample("interpolate", input, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)


def resample(name: str, input: Any, size: Any, scale_factor: Any, mode: str, align_corners: bool | None,
             recompute_scale_factor: bool | None, antialias: bool = False) -> Tensor:
    """`interpolate`; `name` is the function or layer that errors speak of."""
    if mode not in _AXES:
        raise ArgumentError(f"{name}: mode {mode!r} is not supported; the modes are {', '.join(map(repr, _AXES))}")
    if align_corners is not None and mode in ("nearest", "nearest-exact", "area"):
        raise ArgumentError(f"{name}: align_corners is only for the linear modes and 'bicubic'")
    if antialias and mode not in _SMOOTHED:
        raise ArgumentError(f"{name}: antialias is only for the modes {', '.join(map(repr, _SMOOTHED))}")
    if mode == "lanczos" and (not antialias or align_corners):
        raise ArgumentError(f"{name}: mode 'lanczos' needs antialias=True and no align_corners")
    x = lift(input)[0]
    axes = x.ndim - 2
    if axes not in _AXES[mode] or 0 in x.shape[1:]:
        known = " or ".join(f"(N, C, {', '.join('DHW'[3 - n:] if n > 1 else 'L')})" for n in _AXES[mode])
        raise ShapeError(f"{name}: an input of shape {list(x.shape)} in mode {mode!r}; expected {known}")
    out, scales = _sizes(name, x.shape[2:], size, scale_factor, bool(recompute_scale_factor))
    if mode in ("nearest", "nearest-exact"):
        steps = [n / m if s is None else 1.0 / s for n, m, s in zip(x.shape[2:], out, scales)]
        return select(x, {2 + k: _nearest(n, m, step, x.dtype, 0.5 if mode == "nearest-exact" else 0.0)
                          for k, (n, m, step) in enumerate(zip(x.shape[2:], out, steps))})
    if antialias or mode in _BY_AXIS:
        weights = partial(bands.smoothed, mode) if antialias else _BY_AXIS[mode]
        for k in reversed(range(axes)):
            x = bands.along(x, 2 + k, weights(x.shape[2 + k], out[k], scales[k], bool(align_corners)))
        return x
    places = [_places(n, m, s, bool(align_corners)) for n, m, s in zip(x.shape[2:], out, scales)]
    if axes == 1:
        places.insert(0, (np.zeros(2, np.int64), np.array([1.0, 0.0])))
    (rows, row_shares), (columns, column_shares) = places
    table = Tensor(np.concatenate([rows, columns]).astype(np.int64))
    shares = Tensor(np.concatenate([row_shares, column_shares]).astype(x.dtype))
    height = x.shape[2] if axes == 2 else 1
    sizes = Resampling.words(planes=x.shape[0] * x.shape[1], height=height, width=x.shape[-1], rows=len(rows) // 2,
                             columns=len(columns) // 2)
    return recorder(BLEND)((*x.shape[:2], *out), dtype=x.dtype, x=x, table=table, shares=shares, sizes=sizes)


def resampled(op: Op, x: Tensor, tables: dict[str, Tensor], sizes: Any, shape: tuple[int, ...]) -> Tensor:
    """`SELECT`, `BLEND` or a transpose of theirs by the tables of an instruction, for as many planes as `x` has.

    `shape` is that of the result.
    """
    plane = (sizes.height * sizes.width) if op in (SELECT, BLEND) else (sizes.rows * sizes.columns)
    return recorder(op)(shape, dtype=x.dtype, x=x, **tables, sizes=(x.size // plane, *sizes.words[1:]))


def _sizes(name: str, given: tuple[int, ...], size: Any, scale_factor: Any,
           recompute: bool) -> tuple[tuple[int, ...], list[float | None]]:
    """The extents of the result, and the scale of each axis where it counts instead of their ratio."""
    if (size is None) == (scale_factor is None):
        raise ArgumentError(f"{name}: give either size or scale_factor")
    none: list[float | None] = [None] * len(given)
    if scale_factor is None:
        if recompute:
            raise ArgumentError(f"{name}: recompute_scale_factor is only for a scale_factor, not for a size")
        return extents(name, "size", size, len(given), 1), none
    scales = list(scale_factor) if isinstance(scale_factor, (tuple, list)) else [scale_factor] * len(given)
    if len(scales) != len(given) or not all(float(s) > 0 for s in scales):
        raise ArgumentError(f"{name}: scale_factor must be a number above 0, or {len(given)} of them, not "
                            f"{scale_factor!r}")
    out = tuple(math.floor(n * float(s)) for n, s in zip(given, scales))
    if min(out) < 1:
        raise ShapeError(f"{name}: extents {list(given)} times {scale_factor} leave {list(out)}")
    return out, none if recompute else [float(s) for s in scales]


def _nearest(n: int, m: int, step: float, dtype: np.dtype, centre: float) -> np.ndarray:
    """By output element, the index of its nearest input element."""
    # the product is rounded to the tape's dtype and then to float32, as PyTorch does: it decides where k step is whole
    exact = (np.arange(m) + centre).astype(dtype) * dtype.type(step)
    return np.minimum(np.floor(exact.astype(np.float32)).astype(np.int64), n - 1)


def _places(n: int, m: int, scale: float | None, aligned: bool) -> tuple[np.ndarray, np.ndarray]:
    """By output element, the indices of its two neighbours and their weights."""
    if aligned:
        place = np.arange(m) * ((n - 1) / (m - 1) if m > 1 else 0.0)
    else:
        step = n / m if scale is None else 1.0 / scale
        place = np.maximum((np.arange(m) + 0.5) * step - 0.5, 0.0)
    first = np.minimum(place.astype(np.int64), n - 1)
    share = np.clip(place - first, 0.0, 1.0)
    return np.concatenate([first, np.minimum(first + 1, n - 1)]), np.concatenate([1.0 - share, share])
