"""Padding: NumPy's `pad`, and PyTorch's, which counts axes from the last."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine.storage import contiguous_strides
from ..errors import ArgumentError, ShapeError
from ..ops.layout import PAD
from ..ops.nest import nest
from ..tensor.recording import lift, recorder
from ..tensor.tensor import Tensor
from .apply import as_given
from .indexing import take_axis
from .layout import concatenate
from .upsampling import select

__all__ = ["pad"]

#: NumPy's modes that pad with elements of the array
_NUMPY = ("edge", "reflect", "symmetric", "wrap")

#: PyTorch's
_TORCH = ("reflect", "replicate", "circular")


def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: float = 0.0) -> Tensor:
    """Pad `x`, as ``numpy.pad``; `nn.functional.pad` has PyTorch's arguments.

    Parameters
    ----------
    x : array_like
    pad_width : int or sequence
        One number, one ``(before, after)``, or a pair for each axis.
    mode : {"constant", "edge", "reflect", "symmetric", "wrap"}
        Pad with `constant_values`, the nearest element, the array mirrored at its last element or at its edge, or the
        array repeated.
    constant_values : float, default 0.0
        For mode "constant".

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.pad(tg.tensor([1.0, 2.0, 3.0]), (2, 1), mode="reflect").numpy()
    array([3., 2., 1., 2., 3., 2.], dtype=float32)
    """
    x = as_given(x)[0]
    given = np.asarray(pad_width)
    if given.dtype.kind not in "iu":
        raise ArgumentError(f"pad: pad_width must be of integers, not {pad_width!r}")
    try:
        widths = np.broadcast_to(given, (x.ndim, 2)).tolist()
    except ValueError:
        raise ShapeError(f"pad: pad_width {pad_width} does not fit {x.ndim} axes of {list(x.shape)}") from None
    if any(w < 0 for pair in widths for w in pair):
        raise ArgumentError(f"pad: widths cannot be negative: {pad_width}")
    if mode == "constant":
        return _framed("pad", x, widths, constant_values)
    if mode not in _NUMPY:
        raise ArgumentError(f"pad: mode {mode!r} is not known; known are 'constant', "
                            f"{', '.join(map(repr, _NUMPY))}")
    if any(n == 0 and max(pair) > 0 for n, pair in zip(x.shape, widths)):
        raise ShapeError(f"pad: mode {mode!r} has nothing to repeat along an empty axis of {list(x.shape)}")
    chosen = {axis: np.pad(np.arange(n), pair, mode)  # type: ignore[call-overload]
              for axis, (n, pair) in enumerate(zip(x.shape, widths)) if max(pair) > 0}
    return _chosen(x, chosen)


def pad_last(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Pad the last axes of an array.

    Parameters
    ----------
    input : array_like
    pad : sequence of int
        Before and after the last axis, then before and after the one before it, and so on. Negative numbers crop.
    mode : {"constant", "reflect", "replicate", "circular"}
        Pad with `value`, the array mirrored at its last element, the nearest element, or the array repeated. Modes
        other than "constant" are for the last one, two or three axes of an array that has one or two more.
    value : float, optional
        For mode "constant"; 0 by default.

    Returns
    -------
    Tensor
    """
    return surround("pad", input, pad, mode, value)


def surround(name: str, input: Any, pad: Sequence[int], mode: str, value: float | None) -> Tensor:
    """`pad_last`; `name` is the function or layer that errors speak of."""
    x = as_given(input)[0]
    given = [operator.index(p) for p in pad]
    axes = len(given) // 2
    if len(given) % 2 or axes > x.ndim:
        raise ShapeError(f"{name}: {len(given)} widths {given} do not fit an input of shape {list(x.shape)}; expected "
                         "two for each axis, from the last on")
    widths = [(0, 0)] * (x.ndim - axes) + [(given[2 * k], given[2 * k + 1]) for k in reversed(range(axes))]
    if any(n + sum(pair) < 0 for n, pair in zip(x.shape, widths)):
        raise ShapeError(f"{name}: widths {given} cut off more than an input of shape {list(x.shape)} has")
    if mode == "constant":
        return _framed(name, x, widths, 0.0 if value is None else value)
    if mode not in _TORCH:
        raise ArgumentError(f"{name}: mode {mode!r} is not known; known are 'constant', "
                            f"{', '.join(map(repr, _TORCH))}")
    if value:
        raise ArgumentError(f"{name}: mode {mode!r} takes no value, got {value}")
    if axes not in (1, 2, 3) or x.ndim not in (axes + 1, axes + 2):
        raise ShapeError(f"{name}: {len(given)} widths in mode {mode!r} do not fit an input of shape {list(x.shape)}; "
                         "expected (N, C, ...) or (C, ...) with two widths for each of one to three last axes")
    chosen = {}
    for axis in range(x.ndim - axes, x.ndim):
        n, pair = x.shape[axis], widths[axis]
        kept = n + min(pair[0], 0) + min(pair[1], 0)
        limit = n - 1 if mode == "reflect" else kept if mode == "circular" else None
        if min(n, n + sum(pair)) < 1 or (limit is not None and max(pair) > limit):
            at_most = "" if limit is None else f"; at most {limit} in mode {mode!r}"
            raise ShapeError(f"{name}: widths {list(pair)} do not fit axis {axis} of an input of shape "
                             f"{list(x.shape)}{at_most}")
        if pair != (0, 0):
            chosen[axis] = _source(n, pair, mode)
    return select(x, chosen) if chosen else x


def _source(n: int, pair: tuple[int, int], mode: str) -> np.ndarray:
    """By element of the padded axis, its index among the `n` elements."""
    place = np.arange(-pair[0], n + pair[1])
    if mode == "replicate":
        return np.clip(place, 0, n - 1)
    if mode == "circular":  # the cropped part is not repeated
        first, last = max(-pair[0], 0), n + min(pair[1], 0)
        return first + (place - first) % (last - first)
    return n - 1 - np.abs(n - 1 - np.abs(place))


def _framed(name: str, x: Tensor, widths: Sequence[Sequence[int]], value: Any) -> Tensor:
    """`x` padded with `value`; cropped where a width is negative."""
    if not isinstance(value, (int, float, np.number)):
        raise ArgumentError(f"{name}: the value of the frame must be one number, not {value!r}")
    if any(w < 0 for pair in widths for w in pair):
        x = x[tuple(slice(max(-a, 0), n + min(b, 0)) for n, (a, b) in zip(x.shape, widths))]
    around = [(max(a, 0), max(b, 0)) for a, b in widths]
    if not x.is_floating:
        if float(value).is_integer():
            return _framed_exactly(x, around, int(value))
        x = lift(x)[0]
    shape = tuple(n + before + after for n, (before, after) in zip(x.shape, around))
    strides = contiguous_strides(shape)
    inner = sum(before * s for (before, _), s in zip(around, strides))
    return recorder(PAD)(shape, dtype=x.dtype, added=2, x=x, value=float(value), elements=math.prod(shape),
                         offset=inner, nest=nest(x.shape, (strides, x.strides)))


def _framed_exactly(x: Tensor, around: Sequence[Sequence[int]], value: int) -> Tensor:
    """Integers or bool padded with one of them."""
    for d, pair in enumerate(around):
        before, behind = [Tensor(np.full((*x.shape[:d], n, *x.shape[d + 1:]), value, x.dtype)) for n in pair]
        x = concatenate([before, x, behind], d) if sum(pair) else x
    return x


def _chosen(x: Tensor, chosen: dict[int, np.ndarray]) -> Tensor:
    """The slices of several axes by index."""
    if x.is_floating:
        return select(x, chosen)
    for axis, index in chosen.items():
        x = take_axis(x, Tensor(index.astype(np.int64)), axis)
    return x
