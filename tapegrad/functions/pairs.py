"""Values and where they stand, as PyTorch gives them: extremes, ranks, medians and running extremes along an axis."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..errors import ShapeError
from ..ops.elementwise import BINARY
from ..ops.sorting import RANKED, RUNNING_EXTREME
from ..tensor.arrays import INT64
from ..tensor.recording import recorder
from ..tensor.tensor import Tensor
from .apply import apply_binary
from .elementwise import equal, logical_and, logical_or, not_equal, where
from .gathering import take_along_axis
from .integers import recorded, running_places
from .layout import as_tensor, concatenate, expand_dims, moveaxis, one_axis, reshape, squeeze
from .reductions import sum as total
from .sorting import argmax, argmin, argsort, detached, order_of

__all__ = ["cummax", "cummin", "kthvalue", "mode", "topk"]


class Pair(NamedTuple):
    """Values along an axis, and their int64 indices."""

    values: Any
    indices: Any


def chosen(x: Tensor, indices: Tensor, d: int, keepdim: bool) -> Pair:
    """The elements at `indices`, which have extent 1 along axis `d`; gradients flow to them alone."""
    values = take_along_axis(x, indices, d)
    return Pair(values, indices) if keepdim else Pair(squeeze(values, d), squeeze(indices, d))


def _rows(name: str, x: Any, dim: int) -> tuple[Tensor, int]:
    """`x`, of one axis at least, and the axis."""
    t = as_tensor(x)
    return (t, one_axis(dim, t.ndim, name)) if t.ndim else (reshape(t, (1,)), one_axis(dim, 1, name))


def _filled(name: str, t: Tensor, d: int) -> None:
    if t.shape[d] == 0:
        raise ShapeError(f"{name}: no elements along axis {d} of a tensor of shape {list(t.shape)}")


def _shaped(x: Any, pair: Pair) -> Pair:
    """The pair of a number, which was made a row of one."""
    return pair if as_tensor(x).ndim else Pair(reshape(pair.values, ()), reshape(pair.indices, ()))


def extreme(name: str, x: Any, dim: int, keepdim: bool) -> Pair:
    """The first maximum (``name="max"``), or minimum, along an axis; the first NaN if there is one."""
    t, d = _rows(name, x, dim)
    _filled(name, t, d)
    return _shaped(x, chosen(t, (argmax if name == "max" else argmin)(t, d, True), d, keepdim))


def ordered(x: Any, dim: int, descending: bool) -> Pair:
    """All elements in order along an axis; equal ones keep theirs."""
    t, d = _rows("sort", x, dim)
    order = argsort(t, d, descending)
    return _shaped(x, Pair(take_along_axis(t, order, d), order))


def _ranked(name: str, x: Any, dim: int, keepdim: bool, rank: int, nan_wins: bool = False,
            nan_is_none: bool = False) -> Pair:
    t, d = _rows(name, x, dim)
    _filled(name, t, d)
    n = t.shape[d]
    order = argsort(t, d)
    if not t.is_floating:
        place = rank if rank >= 0 else (n - 1) // 2
        return _shaped(x, chosen(t, order[(slice(None),) * d + (slice(place, place + 1),)], d, keepdim))
    last = t.ndim - 1
    rows, order = (v if d == last else moveaxis(v, d, -1) for v in (detached(t, name), order))
    shape = rows.shape[:-1]
    index = recorder(RANKED)(shape, dtype=t.dtype, out_dtype=INT64, x=rows, order=order, rows=math.prod(shape), n=n,
                             rank=rank, nan_wins=nan_wins, nan_is_none=nan_is_none)
    return _shaped(x, chosen(t, expand_dims(index, d), d, keepdim))


def kthvalue(input: Any, k: int, dim: int = -1, keepdim: bool = False) -> Pair:
    """The `k`-th smallest element along an axis (from 1 on) and its index, as PyTorch's; NaN counts as the maximum.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.kthvalue(tg.tensor([3.0, 1.0, 2.0]), 2)
    Pair(values=tensor(2.), indices=tensor(2))
    """
    t, d = _rows("kthvalue", input, dim)
    if not isinstance(k, (int, np.integer)) or not 1 <= k <= t.shape[d]:
        raise ShapeError(f"kthvalue: k is {k!r}, but axis {d} of {list(t.shape)} has {t.shape[d]} elements")
    return _ranked("kthvalue", input, dim, keepdim, int(k) - 1)


def lower_median(x: Any, dim: int, keepdim: bool) -> Pair:
    """PyTorch's median along an axis: of an even number of elements the lower of the middle two; the first NaN."""
    return _ranked("median", x, dim, keepdim, -1, nan_wins=True)


def median_of_all(x: Any, nan_wins: bool) -> Tensor:
    """PyTorch's median of all elements, whose equals share its gradient."""
    t = reshape(as_tensor(x), -1)
    if t.size == 0:
        raise ShapeError(f"median: no elements in a tensor of shape {list(as_tensor(x).shape)}")
    value = _ranked("median", t.detach(), 0, False, -1, nan_wins, not nan_wins).values
    if not t.is_floating:
        return value
    equals = equal(t, value) if nan_wins is False else logical_or(equal(t, value), logical_and(
        not_equal(t, t), not_equal(value, value)))
    share = total(where(equals, t, 0.0)) / total(where(equals, 1.0, 0.0))
    return apply_binary(BINARY["given"], value, share)


def nanmedian(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower median of what is not NaN, as PyTorch's: along an axis with its index, else of all elements alone."""
    if dim is None:
        return median_of_all(input, False)
    return _ranked("nanmedian", input, dim, keepdim, -1, nan_is_none=True)


def _running(name: str, x: Any, dim: int) -> Pair:
    t, d = _rows(name, x, dim)
    last = t.ndim - 1
    plain = detached(t, name)
    rows = plain if d == last else moveaxis(plain, d, -1)
    if not t.is_floating and recorded(t):
        index = running_places(rows, name == "cummax")
        index = index if d == last else moveaxis(index, -1, d)
        return _shaped(x, Pair(take_along_axis(t, index, d), index))
    if not t.is_floating:
        values = (np.maximum if name == "cummax" else np.minimum).accumulate(plain._array(), axis=d)
        places = np.arange(t.shape[d]).reshape([-1 if k == d else 1 for k in range(t.ndim)])
        index = Tensor(np.maximum.accumulate(np.where(plain._array() == values, places, 0), axis=d))
        return _shaped(x, Pair(take_along_axis(t, index, d), index))
    n = t.shape[d]
    index = recorder(RUNNING_EXTREME)(rows.shape, dtype=t.dtype, out_dtype=INT64, x=rows,
                                      rows=math.prod(rows.shape[:-1]), n=n, greatest=name == "cummax")
    index = index if d == last else moveaxis(index, -1, d)
    return _shaped(x, Pair(take_along_axis(t, index, d), index))


def cummax(input: Any, dim: int) -> Pair:
    """The greatest element so far along an axis, and where it stands, as PyTorch's: of equal ones the last.

    Parameters
    ----------
    input : array_like
    dim : int

    Returns
    -------
    Pair of values and int64 indices, of the shape of `input`
        NaN from the first NaN on; gradients flow to the elements at the indices.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.cummax(tg.tensor([1.0, 3.0, 2.0]), 0)
    Pair(values=tensor([1., 3., 3.]), indices=tensor([0, 1, 1]))
    """
    return _running("cummax", input, dim)


def cummin(input: Any, dim: int) -> Pair:
    """The least element so far along an axis, and where it stands; see `cummax`."""
    return _running("cummin", input, dim)


def topk(input: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True, *,
         axis: int | None = None) -> Pair:
    """The `k` largest elements along an axis, or the smallest, and their indices.

    Parameters
    ----------
    input : array_like
    k : int
        At most the extent of the axis.
    dim : int, default -1
        `axis` is an alias.
    largest : bool, default True
        False for the smallest. NaN counts as the maximum.
    sorted : ignored
        The result is always sorted; of equal elements the lower index comes first.

    Returns
    -------
    Pair
        `values`, with extent `k` along the axis, whose gradients flow to the elements chosen, and `indices`, int64, of
        the same shape.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.topk(tg.tensor([3.0, 1.0, 4.0, 1.0, 5.0]), 2)
    Pair(values=tensor([5., 4.]), indices=tensor([4, 2]))
    """
    t, d = _rows("topk", input, dim if axis is None else axis)
    if not isinstance(k, (int, np.integer)) or not 0 <= k <= t.shape[d]:
        raise ShapeError(f"topk: k is {k!r}, but axis {d} of {list(t.shape)} has {t.shape[d]} elements")
    order = order_of(detached(t, "topk"), d, int(k), bool(largest))
    return _shaped(input, Pair(take_along_axis(t, order, d), order)) if k else Pair(
        take_along_axis(t, order, d), order)


def mode(input: Any, dim: int = -1, keepdim: bool = False) -> Pair:
    """The most frequent element along an axis and the index of its last occurrence, as PyTorch's.

    Of several it is the smallest. A NaN equals no other and counts as the maximum, where PyTorch's result hangs on the
    order of the elements. The gradient flows to the element at the index.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.mode(tg.tensor([2.0, 1.0, 2.0, 3.0]))
    Pair(values=tensor(2.), indices=tensor(2))
    """
    t, d = _rows("mode", input, dim)
    _filled("mode", t, d)
    order = argsort(t, d)
    rows = take_along_axis(t.detach(), order, d)
    before, after = ((slice(None),) * d + (part,) for part in (slice(None, -1), slice(1, None)))
    place = reshape(Tensor(np.arange(t.shape[d])), [-1 if k == d else 1 for k in range(t.ndim)])
    begins = where(not_equal(rows[after], rows[before]), place[after], 0)  # of runs of equals, in order
    first = order[(slice(None),) * d + (slice(1),)] * 0
    begins = cummax(concatenate([first, begins], d), d).values
    longest = argmax(place - begins, d, True)  # the first of all whose run is as long when it ends
    return _shaped(input, chosen(t, take_along_axis(order, longest, d), d, keepdim))
