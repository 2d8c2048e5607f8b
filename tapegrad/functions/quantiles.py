"""Median and quantiles as NumPy defines them, by sorting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine.caller import user_line
from ..errors import ArgumentError, GradientError, ShapeError
from ..tensor.recording import astype, lift
from ..tensor.tensor import Tensor
from .elementwise import equal, less, not_equal, where
from .formulas import ceil, floor, maximum, rint
from .gathering import take_along_axis
from .layout import reshape, stack
from .reductions import Axis, axes_of, reduced_shape, to_rows
from .reductions import sum as sum_over
from .sorting import sort

__all__ = ["percentile", "quantile"]

_METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


def _sorted_rows(name: str, x: Any, axis: Axis, dim: Axis, keepdims: bool) -> tuple[Tensor, tuple[int, ...]]:
    """The elements over `axes` sorted along the last axis, and the shape without those axes."""
    t = lift(x)[0]
    axes = axes_of(axis, dim, t.ndim, name)
    n = math.prod(t.shape[d] for d in axes)
    if n == 0:
        raise ShapeError(f"{name}: no elements along axes {axes} of a tensor of shape {list(t.shape)}")
    rows = to_rows(t, axes)
    return sort(reshape(rows, (*rows.shape[:t.ndim - len(axes)], n)), -1), reduced_shape(t.shape, axes, keepdims)


def _unless_nan(rows: Tensor, value: Tensor) -> Tensor:
    """`value`, NaN where the row has one: it stands last."""
    last = rows[..., -1]
    return where(not_equal(last, last), last, value)


def median(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The mean of the middle two, or the middle element."""
    rows, shape = _sorted_rows("median", x, axis, None, keepdims)
    n = rows.shape[-1]
    middle = rows[..., n // 2] if n % 2 else 0.5 * (rows[..., n // 2 - 1] + rows[..., n // 2])
    return reshape(_unless_nan(rows, middle), shape)


def _at(rows: Tensor, q: float, method: str) -> Tensor:
    place = q * (rows.shape[-1] - 1)
    low, high = math.floor(place), math.ceil(place)
    share = place - low
    if method in ("lower", "higher", "nearest"):
        return rows[..., {"lower": low, "higher": high}.get(method, round(place))]
    if low == high:
        return rows[..., low]
    share = 0.5 if method == "midpoint" else share
    a, b = rows[..., low], rows[..., high]
    return a + (b - a) * share if share < 0.5 else b - (b - a) * (1.0 - share)


def _shares(q: Any) -> np.ndarray:
    """`q` as numbers."""
    if isinstance(q, Tensor) and (q.requires_grad or q.is_symbolic):
        raise GradientError(f"{user_line()}: quantile: q says which elements are taken and has no gradient; "
                            "detach() it")
    return np.asarray(q.numpy() if isinstance(q, Tensor) else q, np.float64)


def _valid(name: str, q: Any, method: str, whole: float = 1.0) -> np.ndarray:
    """`q`, which is from 0 to `whole`, as shares of 1; or an error that names it, or the method."""
    if method not in _METHODS:
        raise ArgumentError(f"{name}: method must be one of {', '.join(_METHODS)}, not {method!r}")
    given = _shares(q) / whole
    if given.ndim > 1 or not np.all((given >= 0.0) & (given <= 1.0)):
        raise ArgumentError(f"{name}: q must be a number from 0 to {whole:g}, or a sequence of such, not {q!r}")
    return given


def quantile(x: Any, q: float | Sequence[float], axis: Axis = None, keepdims: bool = False, *,
             method: str = "linear", interpolation: str | None = None, dim: Axis = None,
             keepdim: bool = False) -> Tensor:
    """Quantiles over axes, interpolated between the elements in order.

    Parameters
    ----------
    x : array_like
    q : float or sequence of float, from 0 to 1
        A number, not a tensor: it says which elements are taken.
    axis : int or tuple of int, optional
        All axes by default. `dim` is an alias.
    keepdims : bool, default False
        Keep the axes with extent 1. `keepdim` is an alias.
    method : {"linear", "lower", "higher", "midpoint", "nearest"}
        Between two elements; `interpolation` is PyTorch's name for it.

    Returns
    -------
    Tensor
        With a first axis for `q` if that has one. NaN where an element is NaN. The gradient flows to the elements that
        were interpolated.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.quantile(tg.tensor([1.0, 2.0, 4.0]), 0.75)
    tensor(3.)
    """
    method = interpolation or method
    given = _valid("quantile", q, method)
    rows, shape = _sorted_rows("quantile", x, axis, dim, keepdims or keepdim)
    each = [reshape(_unless_nan(rows, _at(rows, float(p), method)), shape) for p in given.ravel()]
    return stack(each) if given.ndim else each[0]


def _numbers_in_order(name: str, x: Any, axis: Axis, dim: Axis, keepdims: bool) -> tuple[Tensor, Tensor, tuple]:
    """Rows in order, of how many numbers each begins with before its NaN, and the shape without the axes."""
    rows, shape = _sorted_rows(name, x, axis, dim, keepdims)
    return rows, sum_over(where(equal(rows, rows), np.ones(1, rows.dtype), 0.0), -1, keepdims=True), shape


def _of_rank(rows: Tensor, rank: Tensor) -> Tensor:
    """Elements of rows at ranks (..., 1), which are whole numbers; the first where there is none."""
    return take_along_axis(rows, astype(maximum(rank, 0.0).detach(), np.int64), -1)[..., 0]


def middle_of_numbers(x: Any, axis: Axis, keepdims: bool) -> Tensor:
    """The mean of the middle two of what is not NaN, or the middle element."""
    rows, count, shape = _numbers_in_order("nanmedian", x, axis, None, keepdims)
    low, high = _of_rank(rows, floor((count - 1.0) * 0.5)), _of_rank(rows, floor(count * 0.5))
    return reshape(where(equal(low, high), low, 0.5 * (low + high)), shape)


def quantile_of_numbers(x: Any, q: Any, axis: Axis, dim: Axis, keepdims: bool, method: str,
                        whole: float = 1.0) -> Tensor:
    """`quantile` of what is not NaN, `q` being from 0 to `whole`."""
    given = _valid("nanquantile", q, method, whole)
    rows, count, shape = _numbers_in_order("nanquantile", x, axis, dim, keepdims)
    each = []
    for p in given.ravel():
        place = (count - 1.0) * float(p)
        low, high = floor(place), ceil(place)
        if method in ("lower", "higher", "nearest"):
            rank = {"lower": low, "higher": high}.get(method)
            each.append(reshape(_of_rank(rows, rint(place) if rank is None else rank), shape))
            continue
        share = 0.5 if method == "midpoint" else (place - low)[..., 0]
        a, b = _of_rank(rows, low), _of_rank(rows, high)
        between = a + (b - a) * share
        if method == "linear":
            between = where(less(share, 0.5), between, b - (b - a) * (1.0 - share))
        each.append(reshape(where(equal(low, high)[..., 0], a, between), shape))
    return stack(each) if given.ndim else each[0]


def percentile(x: Any, q: float | Sequence[float], axis: Axis = None, keepdims: bool = False, *,
               method: str = "linear") -> Tensor:
    """`quantile` of ``q / 100``."""
    return quantile(x, (_shares(q) / 100.0).tolist(), axis, keepdims, method=method)
