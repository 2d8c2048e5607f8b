"""Resampling along an axis: cubic, and smoothed, where each element of the result is of all that it covers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ops.bands import BANDS, Banded
from ..ops.table import Op
from ..tensor.recording import recorder
from ..tensor.tensor import Tensor

#: by output element its first element and its end, and the weights from the first on
Weights = tuple[np.ndarray, np.ndarray, np.ndarray]


def along(x: Tensor, axis: int, weights: Weights) -> Tensor:
    """Weighted sums along an axis, counted from the front."""
    first, end, shares = weights
    sizes = Banded.words(outer=math.prod(x.shape[:axis]), inner=math.prod(x.shape[axis + 1:]), n=x.shape[axis],
                         m=len(first), taps=shares.shape[1])
    table = Tensor(np.concatenate([first, end]).astype(np.int64))
    return recorder(BANDS)((*x.shape[:axis], len(first), *x.shape[axis + 1:]), dtype=x.dtype, x=x, table=table,
                           shares=Tensor(shares.astype(x.dtype)), sizes=sizes)


def multiplied(op: Op, x: Tensor, table: Tensor, shares: Tensor, sizes: Any, shape: tuple[int, ...]) -> Tensor:
    """`BANDS`, or its transpose, by the tables of an instruction, for as many slices as `x` has.

    `shape` is that of the result.
    """
    outer = x.size // max((sizes.n if op is BANDS else sizes.m) * sizes.inner, 1)
    words = Banded.words(outer=outer, inner=sizes.inner, n=sizes.n, m=sizes.m, taps=sizes.taps)
    return recorder(op)(shape, dtype=x.dtype, x=x, table=table, shares=shares, sizes=words)


def places(n: int, m: int, scale: float | None, aligned: bool) -> tuple[np.ndarray, float]:
    """Where output elements are read, and how far apart, in elements of the input; `scale` instead of m / n."""
    if aligned:
        step = (n - 1) / (m - 1) if m > 1 else 0.0
        return np.arange(m) * step, step
    step = n / m if scale is None else 1.0 / scale
    return (np.arange(m) + 0.5) * step - 0.5, step


def _collected(index: np.ndarray, shares: np.ndarray, n: int) -> Weights:
    """The weights of indices (m, taps) that are clipped to the axis, where several become one."""
    inside = np.clip(index, 0, n - 1)
    first, end = inside.min(axis=1), inside.max(axis=1) + 1
    found = np.zeros((len(index), int((end - first).max(initial=1))))
    np.add.at(found, (np.arange(len(index))[:, None], inside - first[:, None]), shares)
    return first, end, found


def linear(n: int, m: int, scale: float | None, aligned: bool) -> Weights:
    """Weights of the two neighbours."""
    place = np.clip(places(n, m, scale, aligned)[0], 0.0, n - 1)
    first = np.floor(place)
    share = place - first
    end = np.where(share > 0.0, first + 2, first + 1).astype(np.int64)
    return first.astype(np.int64), end, np.stack([1.0 - share, share], axis=1)


def area(n: int, m: int, scale: float | None, aligned: bool) -> Weights:
    """Weights of means over all elements that an output element meets."""
    number = np.arange(m)
    first, end = number * n // m, -(-(number + 1) * n // m)
    count = (end - first)[:, None]
    return first, end, np.where(np.arange(int(count.max())) < count, 1.0 / count, 0.0)


def cubic(n: int, m: int, scale: float | None, aligned: bool) -> Weights:
    """Weights of the four neighbours by Keys's cubic convolution with a = -3/4; those beyond the axis are its ends."""
    place = places(n, m, scale, aligned)[0]
    first = np.floor(place).astype(np.int64)
    offsets = np.arange(-1, 3)
    distance = np.abs((place - first)[:, None] - offsets)
    return _collected(first[:, None] + offsets, _keys(distance, -0.75), n)


def _keys(x: np.ndarray, a: float) -> np.ndarray:
    """Keys's kernel, Cubic convolution interpolation for digital image processing, 1981."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


#: by mode, the kernel of smoothing, and how far it reaches
_KERNELS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "bilinear": (lambda x: np.maximum(1.0 - x, 0.0), 1.0),
    "bicubic": (lambda x: _keys(x, -0.5), 2.0),
    "lanczos": (lambda x: np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0.0), 3.0),
}


def smoothed(mode: str, n: int, m: int, scale: float | None, aligned: bool) -> Weights:
    """Weights of all elements under the kernel of a mode, which is as wide as an output element where that is wider."""
    kernel, reach = _KERNELS[mode]
    step = places(n, m, scale, aligned)[1]
    wide = max(step, 1.0)
    centre = step * (np.arange(m) + 0.5)
    first = np.maximum(np.trunc(centre - reach * wide + 0.5), 0).astype(np.int64)
    end = np.maximum(np.minimum(np.trunc(centre + reach * wide + 0.5), n).astype(np.int64), first + 1)
    first = np.minimum(first, n - 1)
    end = np.minimum(end, n)
    taps = np.arange(int((end - first).max(initial=1)))
    shares = kernel(np.abs((first[:, None] + taps - centre[:, None] + 0.5) / wide))
    shares = np.where(taps < (end - first)[:, None], shares, 0.0)
    totals = shares.sum(axis=1, keepdims=True)
    return first, end, shares / np.where(totals == 0.0, 1.0, totals)
