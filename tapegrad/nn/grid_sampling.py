"""Images and volumes read at places that are computed, as in spatial transformers (Jaderberg et al. 2015)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from .. import functions
from ..errors import ArgumentError, ShapeError
from ..tensor.recording import lift
from ..tensor.tensor import Tensor

__all__ = ["affine_grid", "grid_sample"]

_MODES, _PADDINGS = ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection")


def affine_grid(theta: Any, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The places that affine maps read, for `grid_sample`.

    Parameters
    ----------
    theta : array_like, (N, 2, 3) or (N, 3, 4)
        Maps from places of the result, (x, y, 1) or (x, y, z, 1), to those of the input.
    size : sequence of int
        Shape of the result: (N, C, H, W) or (N, C, D, H, W).
    align_corners : bool, optional
        See `grid_sample`.

    Returns
    -------
    Tensor, (N, H, W, 2) or (N, D, H, W, 3)
    """
    t, shape = lift(theta)[0], tuple(int(n) for n in size)
    axes = len(shape) - 2
    if axes not in (2, 3) or t.shape != (shape[0], axes, axes + 1):
        raise ShapeError(f"affine_grid: maps of shape {list(t.shape)} for a result of {list(shape)}; expected "
                         "(N, 2, 3) for (N, C, H, W), or (N, 3, 4) for (N, C, D, H, W)")
    if min(shape) < 1:
        raise ShapeError(f"affine_grid: a result of shape {list(shape)} has no elements")
    lines = [np.linspace(-1.0, 1.0, n) * (1.0 if align_corners else (n - 1) / n) if n > 1 else np.zeros(1)
             for n in shape[2:]]
    base = np.stack([*reversed(np.meshgrid(*lines, indexing="ij")), np.ones(shape[2:])], axis=-1)
    places = functions.matmul(base.reshape(-1, axes + 1).astype(t.dtype), functions.swapaxes(t, 1, 2))
    return functions.reshape(places, (shape[0], *shape[2:], axes))


def grid_sample(input: Any, grid: Any, mode: str = "bilinear", padding_mode: str = "zeros",
                align_corners: bool | None = None) -> Tensor:
    """Values of images or volumes at places between their elements.

    Parameters
    ----------
    input : array_like, (N, C, H, W) or (N, C, D, H, W)
    grid : array_like, (N, HO, WO, 2) or (N, DO, HO, WO, 3)
        Places, x first: -1 and 1 are the ends of an axis.
    mode : {"bilinear", "nearest", "bicubic"}
        Means of the neighbours, of volumes too; the nearest; or cubic convolution of images.
    padding_mode : {"zeros", "border", "reflection"}
        What lies outside.
    align_corners : bool, optional
        Whether the ends are the centres of the first and the last element, else their outer edges.

    Returns
    -------
    Tensor, (N, C, HO, WO) or (N, C, DO, HO, WO)

    Notes
    -----
    The gradient by the places is that of the interpolation; by "nearest" there is none.
    """
    x, places = lift(input, grid)
    axes = x.ndim - 2
    if axes not in (2, 3) or places.ndim != x.ndim or places.shape[-1] != axes or places.shape[0] != x.shape[0]:
        raise ShapeError(f"grid_sample: an input of shape {list(x.shape)} and a grid of {list(places.shape)}; expected "
                         "(N, C, H, W) and (N, HO, WO, 2), or (N, C, D, H, W) and (N, DO, HO, WO, 3)")
    if 0 in x.shape[1:]:
        raise ShapeError(f"grid_sample: an input of shape {list(x.shape)} has no elements to read")
    if mode not in _MODES or padding_mode not in _PADDINGS or mode == "bicubic" and axes == 3:
        raise ArgumentError(f"grid_sample: mode {mode!r} with padding_mode {padding_mode!r}; the modes are 'bilinear', "
                            "'nearest' and for images 'bicubic', the paddings 'zeros', 'border' and 'reflection'")
    aligned, shape = bool(align_corners), places.shape[1:-1]
    places = functions.reshape(places, (x.shape[0], -1, axes))
    extents = x.shape[2:]
    read = [_unnormalised(places[..., axes - 1 - k], n, aligned) for k, n in enumerate(extents)]
    taps = [_taps(at, n, mode, padding_mode, aligned) for at, n in zip(read, extents)]
    flat = functions.reshape(x, (*x.shape[:2], -1))
    total: Any = None
    for chosen in product(*taps):
        index: Any = 0
        share: Any = None
        inside: Any = None
        for (at, within, weight), n in zip(chosen, extents):
            index = index * n + at
            inside = within if inside is None else functions.logical_and(inside, within)
            if weight is not None:
                share = weight if share is None else share * weight
        index, inside = functions.expand_dims(index, 1), functions.expand_dims(inside, 1)
        values = functions.where(inside, functions.take_along_axis(flat, index, -1), 0.0)
        if share is not None:
            values = values * functions.where(inside, functions.expand_dims(share, 1), 0.0)
        total = values if total is None else total + values
    return functions.reshape(total, (*x.shape[:2], *shape))


def _unnormalised(at: Tensor, n: int, aligned: bool) -> Tensor:
    """Places of -1 to 1 in elements."""
    return (at + 1.0) * ((n - 1) / 2) if aligned else ((at + 1.0) * n - 1.0) * 0.5


def _taps(at: Tensor, n: int, mode: str, padding: str, aligned: bool) -> list[tuple[Tensor, Tensor, Tensor | None]]:
    """Of each element that is read along an axis: its index, whether it lies inside, and its weight."""
    if mode == "nearest":
        return [(*_index(functions.round(_padded(at, n, padding, aligned).detach()), n), None)]
    if mode == "bilinear":
        at = _padded(at, n, padding, aligned)
    first = functions.floor(at.detach())
    share = at - first
    if mode == "bilinear":
        return [(*_index(first, n), 1.0 - share), (*_index(first + 1.0, n), share)]
    return [(*_index(_padded(first + float(k), n, padding, aligned), n), weight)
            for k, weight in zip((-1, 0, 1, 2), _cubic(share))]


def _cubic(t: Tensor, a: float = -0.75) -> list[Tensor]:
    """Weights of four neighbours at `t` behind the second, by Keys's convolution."""

    def near(x: Tensor) -> Tensor:
        return ((a + 2) * x - (a + 3)) * x * x + 1.0

    def far(x: Tensor) -> Tensor:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]


def _index(at: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Whole places as indices, 0 for those outside, and whether they are inside."""
    inside = functions.logical_and(functions.greater_equal(at, 0.0), functions.less(at, float(n)))
    return functions.where(inside, at, 0.0).astype(np.int64), inside


def _padded(at: Tensor, n: int, padding: str, aligned: bool) -> Tensor:
    """Places outside, moved inside."""
    if padding == "zeros":
        return at
    if padding == "reflection":
        low, span = (0.0, float(n - 1)) if aligned else (-0.5, float(n))
        if span == 0.0:
            at = at * 0.0
        else:
            at = at - low
            at = at * functions.where(functions.less(at.detach(), 0.0), -1.0, 1.0)
            turns = functions.floor(at.detach() / span)
            rest = at - turns * span
            odd = functions.greater(turns - 2.0 * functions.floor(turns * 0.5), 0.5)
            at = functions.where(odd, span - rest, rest) + low
    held = functions.clip(at.detach(), 0.0, float(n - 1))
    inside = functions.logical_and(functions.greater(at, 0.0), functions.less(at, math.nextafter(n - 1, 0.0)))
    return functions.where(inside, at, held)
