"""Places and counts: bisection, histograms, distinct elements, where something is; piecewise linear functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine.caller import user_line
from ..errors import ArgumentError, CaptureError, DtypeError, GradientError, ShapeError
from ..ops.sorting import SEARCH
from ..tensor.arrays import INT64
from ..tensor.recording import as_tensor, lift, recorder
from ..tensor.tensor import Tensor
from .constants import zeros
from .elementwise import equal, greater, less, less_equal, logical_and, logical_or, not_equal, where
from .formulas import remainder
from .gathering import scatter_add, take_along_axis
from .indexing import take, take_axis
from .integers import integers, recorded
from .layout import concatenate, one_axis, reshape
from .reductions import max as greatest
from .reductions import min as least
from .reductions import sum as sum_over
from .sorting import argsort
from .truth import any as any_over

__all__ = [
    "argwhere", "bincount", "bucketize", "compress", "digitize", "extract", "flatnonzero", "histc", "histogram",
    "interp", "isin", "nonzero", "searchsorted", "unique",
]

# ------------------------------------------------------------------ places in sorted rows


def places(table: Any, x: Any, right: bool, shift: int = 0, low: int = 0, high: int | None = None) -> Tensor:
    """How many elements of ascending rows (..., n) come before each `x`, plus `shift`, held between two bounds.

    A table of one row serves an `x` of any shape; else they have the same leading axes.
    """
    t, v = (d.detach() for d in lift(table, x))
    n = t.shape[-1]
    rows = 1 if t.ndim == 1 else math.prod(t.shape[:-1])
    return recorder(SEARCH)(v.shape, dtype=t.dtype, out_dtype=INT64, table=t, x=v, rows=rows, n=n,
                            m=v.size // rows if rows else 0, right=right, shift=shift, low=low,
                            high=n if high is None else high)


def searchsorted(a: Any, v: Any, side: str | None = None, sorter: Any = None, *, right: bool = False) -> Tensor:
    """Where elements would be inserted into a sorted array to keep it in order: bisection.

    Parameters
    ----------
    a : array_like, (n,) or (..., n)
        In ascending order along the last axis, which is not checked. More axes, as PyTorch's, must be those of `v`.
    v : array_like
    side : {"left", "right"}
        Before equal elements, or behind them; "left" by default. ``right=True`` is PyTorch's word for it.
    sorter : integer array_like, of the shape of `a`, optional
        Indices that sort `a`.

    Returns
    -------
    Tensor of int64, of the shape of `v`
        Without gradient; within a recording it can be used as an index. NaN counts as the maximum.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.searchsorted(tg.tensor([1.0, 2.0, 4.0]), tg.tensor([0.0, 2.0, 9.0]))
    tensor([0, 1, 3])
    """
    if side not in (None, "left", "right") or side == "left" and right:
        raise ArgumentError(f"searchsorted: side is 'left' or 'right', not {side!r}{' with right=True' * right}")
    table, x = as_tensor(a), as_tensor(v)
    if table.ndim == 0 or table.ndim > 1 and table.shape[:-1] != x.shape[:-1]:
        raise ShapeError(f"searchsorted: a sorted array of one axis, or of the leading axes of v, {list(x.shape)}; not "
                         f"of shape {list(table.shape)}")
    if sorter is not None:
        table = take_along_axis(table, sorter, -1)
    behind = right or side == "right"
    whole = integers(table, x)
    if whole is None:
        return places(table, x, behind)
    if table.ndim == 1 and not recorded(*whole):
        known, values = (t._array() for t in whole)
        return Tensor(np.asarray(np.searchsorted(known, values, side="right" if behind else "left")))
    one = reshape(x, (*x.shape, 1))  # exactly, which floats are not
    rows = table if table.ndim == 1 else reshape(table, (*table.shape[:-1], 1, table.shape[-1]))
    return sum_over((less_equal if behind else less)(rows, one), -1)


def bucketize(input: Any, boundaries: Any, *, right: bool = False) -> Tensor:
    """The number of the bucket of each element, as PyTorch's: ``searchsorted(boundaries, input, right=right)``."""
    return searchsorted(boundaries, input, right=right)


def digitize(x: Any, bins: Any, right: bool = False) -> Tensor:
    """The number of the bin of each element, as NumPy's, whose bins may ascend or descend.

    With `right` an edge belongs to the bin below it, else to the one above: the other way round than in `bucketize`.
    """
    edges = as_tensor(bins)
    if edges.ndim != 1:
        raise ShapeError(f"digitize: bins have one axis, not shape {list(edges.shape)}")
    if edges.is_symbolic:
        raise CaptureError(f"{user_line()}: digitize: whether bins that depend on the recording's inputs ascend is not "
                           "known; use tg.searchsorted")
    known = edges.detach()._array()
    if np.all(known[1:] >= known[:-1]):
        return searchsorted(edges, x, "left" if right else "right")
    if not np.all(known[1:] <= known[:-1]):
        raise ArgumentError("digitize: bins must ascend or descend")
    return edges.shape[0] - searchsorted(edges[::-1], x, "left" if right else "right")


def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: float | None = None) -> Tensor:
    """A piecewise linear function through points, as ``numpy.interp``.

    Parameters
    ----------
    x : array_like
    xp : array_like, (n,)
        In ascending order, which is not checked.
    fp : array_like, (n,)
        The values there.
    left, right : array_like, optional
        The value below ``xp[0]`` and above ``xp[-1]``; ``fp[0]`` and ``fp[-1]`` by default.
    period : float, optional
        Of the function; `xp` may stand in any order then.

    Returns
    -------
    Tensor, of the shape of `x`
        With gradients by all of them; at a point the slope is that on its right.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.interp(tg.tensor([0.5, 3.0]), [0.0, 1.0, 2.0], [0.0, 10.0, 40.0])
    tensor([ 5., 40.])
    """
    t, at, values = lift(x, xp, fp)
    if at.ndim != 1 or at.shape != values.shape or at.size == 0:
        raise ShapeError(f"interp: points {list(at.shape)} and values {list(values.shape)} must have one axis, of the "
                         "same extent from 1 on")
    if period is not None:
        if period == 0:
            raise ArgumentError("interp: the period is not 0")
        size = abs(float(period))
        t, at = remainder(t, size), remainder(at, size)
        order = argsort(at)
        at, values = take_axis(at, order, 0), take_axis(values, order, 0)
        at = concatenate([at[-1:] - size, at, at[:1] + size], 0)
        values = concatenate([values[-1:], values, values[:1]], 0)
        left = right = None
    below, above = less(t, at[0]), greater(t, at[-1])
    if at.size == 1:
        found = where(equal(t, t), values[0], t)
    else:
        k = places(at, t, True, -1, 0, at.size - 2)
        start, first = take_axis(at, k, 0), take_axis(values, k, 0)
        gap, rise = take_axis(at[1:], k, 0) - start, take_axis(values[1:], k, 0) - first
        last = equal(t, at[-1])
        inside = where(logical_or(logical_or(below, above), last), start, t)
        step = rise / where(equal(gap, 0.0), 1.0, gap) * (inside - start)
        found = first + where(logical_and(equal(inside, start), not_equal(step, step)), 0.0, step)  # at a point its own
        found = where(last, values[-1], found)
    found = where(below, values[0] if left is None else left, found)
    return where(above, values[-1] if right is None else right, found)


# ------------------------------------------------------------------ counts


def _known(name: str, x: Any, remedy: str) -> np.ndarray:
    """The values of what has no gradient here, if they are known."""
    t = as_tensor(x)
    if t.is_symbolic:
        raise CaptureError(f"{user_line()}: {name} of what depends on the recording's inputs has a shape that is not "
                           f"known beforehand; {remedy}")
    return t.detach()._array()


def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Tensor:
    """How often each number from 0 on is among `x`, or the sum of the weights where it stands.

    Parameters
    ----------
    x : integer array_like, (n,)
        From 0 on.
    weights : array_like, (n,), optional
        They may require gradients.
    minlength : int, default 0
        The least extent of the result.

    Returns
    -------
    Tensor, (max(x) + 1,) at least
        int64 without weights.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.bincount(tg.tensor([0, 2, 2]), weights=tg.tensor([1.0, 2.0, 3.0]))
    tensor([1., 0., 5.])
    """
    values = _known("bincount", x, "with a known number of bins use tg.scatter_add(tg.zeros(bins), 0, x, weights)")
    if values.size == 0:
        values = values.astype(np.int64)
    if values.dtype.kind not in "iub" or values.ndim != 1:
        raise DtypeError(f"bincount: integers along one axis, not {values.dtype} of shape {list(values.shape)}")
    if values.size and values.min() < 0:
        raise ArgumentError(f"bincount: {values.min()} is negative")
    if weights is None:
        return Tensor(np.bincount(values, minlength=minlength))
    w = lift(weights)[0]
    if w.shape != values.shape:
        raise ShapeError(f"bincount: weights of shape {list(w.shape)} for {values.size} numbers")
    return scatter_add(zeros(max(int(values.max(initial=-1)) + 1, minlength), dtype=w.dtype), 0, Tensor(values), w)


def histogram(a: Any, bins: Any = 10, range: Any = None, density: bool | None = None, weights: Any = None) -> Any:
    """Counts of the elements in bins and the edges of these, as ``numpy.histogram``, of which it has the arguments.

    Returns
    -------
    tuple of Tensor and Tensor
        The edges have the gradients of the least and the greatest element, between which they lie by default.

    Raises
    ------
    GradientError
        If the weights require a gradient, or the elements where a rule finds the bins, or counts become a density.
    """
    t, count = as_tensor(a), isinstance(bins, (int, np.integer))
    edges = bins if count or isinstance(bins, str) else _known("histogram", bins, "prepare the bins before")
    if isinstance(weights, Tensor) and weights.requires_grad or t.requires_grad and (density or isinstance(bins, str)):
        raise GradientError(f"{user_line()}: histogram: no gradient flows through weights, a rule for the bins or a "
                            "density; detach() them, or use tg.searchsorted and tg.scatter_add")
    plain = None if weights is None else _known("histogram", weights, "prepare the weights before")
    values = _known("histogram", t, "use tg.searchsorted and tg.scatter_add")
    counts, found = np.histogram(values, edges, range, density, plain)
    if not (count and range is None and t.requires_grad and t.size):
        return Tensor(counts), Tensor(found)
    share = np.linspace(0.0, 1.0, int(bins) + 1, dtype=t.dtype)
    low, high = least(t), greatest(t)
    wider = 0.5 if float(values.min()) == float(values.max()) else 0.0
    return Tensor(counts), (low - wider) * (1.0 - share) + (high + wider) * share


def histc(input: Any, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements lie in each of equal bins between two bounds, as PyTorch's: of what lies outside none.

    Without bounds they are the least and the greatest element. Without gradient.
    """
    values = _known("histc", input, "use tg.searchsorted, and tg.scatter_add")
    if bins < 1 or max < min:
        raise ArgumentError(f"histc: {bins} bins between {min} and {max}")
    low, high = (min, max) if min != max or values.size == 0 else (values.min(), values.max())
    low, high = (low - 1, high + 1) if low == high else (low, high)
    if not np.isfinite([low, high]).all():
        raise ArgumentError(f"histc: bins between {low} and {high}; the bounds must be finite")
    inside = values[(values >= low) & (values <= high)].astype(np.float64)
    kind = values.dtype if values.dtype.kind == "f" else np.float32
    return Tensor(np.histogram(inside, bins, (float(low), float(high)))[0].astype(kind))


def isin(element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Whether each element is among the others: a bool Tensor, without gradient."""
    t, others = as_tensor(element), reshape(as_tensor(test_elements), -1) if as_tensor(test_elements).size else None
    if others is None:
        return Tensor(np.full(t.shape, invert))
    found = any_over(equal(reshape(t, (*t.shape, 1)), others), axis=-1)
    return equal(found, False) if invert else found


# ------------------------------------------------------------------ where, and which


def nonzero(x: Any, *, as_tuple: bool | None = None) -> Any:
    """Where elements are not zero: int64 indices, a tensor for each axis, in C order, as ``numpy.nonzero``.

    Parameters
    ----------
    x : array_like
        Not what depends on a recording's inputs, for the shape of the result would.
    as_tuple : bool, optional
        PyTorch's: with False one matrix with a row for each, which is `argwhere`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.nonzero(tg.tensor([[0.0, 2.0], [3.0, 0.0]]))
    (tensor([0, 1]), tensor([1, 0]))
    """
    values = _known("nonzero", x, "use tg.where, or multiply by the mask")
    if as_tuple is not None and not as_tuple:
        return argwhere(x)
    return tuple(Tensor(part) for part in np.nonzero(np.atleast_1d(values) if as_tuple else values))


def argwhere(x: Any) -> Tensor:
    """Where elements are not zero: a matrix of int64, a row of indices for each; see `nonzero`."""
    return Tensor(np.argwhere(_known("argwhere", x, "use tg.where, or multiply by the mask")))


def flatnonzero(x: Any) -> Tensor:
    """Where elements of the flattened array are not zero: int64 indices; see `nonzero`."""
    return Tensor(np.flatnonzero(_known("flatnonzero", x, "use tg.where, or multiply by the mask")))


def compress(condition: Any, a: Any, axis: int | None = None) -> Tensor:
    """The slices along an axis, or the elements of the flattened array, for which a condition (n,) holds."""
    holds = _known("compress", condition, "use tg.where, or multiply by the mask")
    if holds.ndim != 1:
        raise ShapeError(f"compress: the condition has one axis, not shape {list(holds.shape)}")
    return take(a, np.flatnonzero(holds), axis)


def extract(condition: Any, arr: Any) -> Tensor:
    """The elements for which a condition of the same shape holds, along one axis."""
    holds = _known("extract", condition, "use tg.where, or multiply by the mask")
    return take(arr, np.flatnonzero(holds))


def unique(ar: Any, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False,
           axis: int | None = None, *, equal_nan: bool = True, sorted: bool = True, dim: int | None = None) -> Any:
    """The distinct elements, or slices along an axis, in ascending order.

    Parameters
    ----------
    ar : array_like
        Not what depends on a recording's inputs, for the shape of the result would.
    return_index, return_inverse, return_counts : bool, default False
        Give too where each stands first; which of them each element is; how often each occurs.
    axis : int, optional
        The flattened array by default. `dim` is an alias.
    equal_nan : bool, default True
        Whether NaN are one.
    sorted : ignored

    Returns
    -------
    Tensor, or a tuple of it and what else is asked for
        The gradient of an element flows to where it stands first.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.unique(tg.tensor([3.0, 1.0, 3.0]), return_counts=True)
    (tensor([1., 3.]), tensor([1, 2]))
    """
    t, chosen = as_tensor(ar), axis if dim is None else dim
    values = _known("unique", t, "prepare it before the step")
    if t.ndim == 0:
        t, values = reshape(t, (1,)), values.reshape(1)
    _, first, which, counts = np.unique(values, True, True, True, chosen, equal_nan=equal_nan)
    d = None if chosen is None else one_axis(chosen, t.ndim, "unique")
    shape = values.shape if d is None else (values.shape[d],)
    found = [take(t, first, d)]
    for asked, indices in ((return_index, first), (return_inverse, which.reshape(shape)), (return_counts, counts)):
        if asked:
            found.append(Tensor(indices))
    return found[0] if len(found) == 1 else tuple(found)

