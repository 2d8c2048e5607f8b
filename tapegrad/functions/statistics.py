"""Statistics of what is not NaN, weighted means, covariances, slopes and areas of sampled functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, CaptureError, ShapeError
from ..tensor.recording import as_tensor, astype, lift
from ..tensor.tensor import Tensor
from . import reductions
from .arranging import diff
from .elementwise import clip, equal, logical_and, not_equal, where
from .layout import broadcast_to, concatenate, expand_dims, one_axis, reshape
from .linalg import matmul
from .quantiles import middle_of_numbers, quantile_of_numbers
from .reductions import Axis, axes_of, cumprod, cumsum, reduced_shape, summand
from .reductions import sum as sum_over
from .sorting import argmax, argmin

__all__ = [
    "aminmax", "average", "corrcoef", "cov", "cumulative_prod", "cumulative_sum", "cumulative_trapezoid", "gradient",
    "nanargmax", "nanargmin", "nancumprod", "nancumsum", "nanmax", "nanmean", "nanmin", "nanpercentile", "nanprod",
    "nanquantile", "nanstd", "nansum", "nanvar", "trapezoid", "trapz",
]

# ------------------------------------------------------------------ of what is not NaN


def _numbers(x: Any, where: Any, dtype: Any = None) -> tuple[Tensor, Any]:
    """`x` as a tensor, and where it counts; None for everywhere."""
    t = summand(x, dtype)
    chosen = None if where is None or where is True else where
    if t.dtype.kind != "f":
        return t, chosen
    numbers = equal(t, t)
    return t, numbers if chosen is None else logical_and(numbers, chosen)


def nansum(x: Any, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None, keepdim: bool = False,
           dtype: Any = None, initial: Any = None, where: Any = None) -> Tensor:
    """The sum over axes of what is not NaN, which gets no gradient; arguments as of `sum`."""
    t, numbers = _numbers(x, where, dtype)
    return sum_over(t, axis, keepdims, dim=dim, keepdim=keepdim, initial=initial, where=numbers)


def nanprod(x: Any, axis: Axis = None, keepdims: bool = False, *, dtype: Any = None, initial: Any = None,
            where: Any = None) -> Tensor:
    """The product over axes of what is not NaN, which gets no gradient; arguments as of `sum`."""
    t, numbers = _numbers(x, where, dtype)
    return reductions.prod(t, axis, keepdims, initial=initial, where=numbers)


def nanmean(x: Any, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None, keepdim: bool = False,
            dtype: Any = None, where: Any = None) -> Tensor:
    """The mean over axes of what is not NaN; NaN where nothing is."""
    t, numbers = _numbers(x, where, dtype)
    return reductions.mean(t, axis, keepdims, dim=dim, keepdim=keepdim, where=numbers)


def nanvar(x: Any, axis: Axis = None, ddof: float = 0, keepdims: bool = False, *, correction: float | None = None,
           dtype: Any = None, where: Any = None, mean: Any = None) -> Tensor:
    """The variance over axes of what is not NaN, over its number less `ddof`; arguments as of `var`.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.nanvar(tg.tensor([1.0, np.nan, 3.0]))
    tensor(1.)
    """
    t, numbers = _numbers(x, where, dtype)
    return reductions.var(t, axis, ddof, keepdims, correction=correction, where=numbers, mean=mean)


def nanstd(x: Any, axis: Axis = None, ddof: float = 0, keepdims: bool = False, *, correction: float | None = None,
           dtype: Any = None, where: Any = None, mean: Any = None) -> Tensor:
    """The root of `nanvar`; where all are equal its derivatives are 0."""
    t, numbers = _numbers(x, where, dtype)
    return reductions.std(t, axis, ddof, keepdims, correction=correction, where=numbers, mean=mean)


def _nanextreme(name: str, x: Any, axis: Axis, keepdims: bool, initial: Any, chosen: Any) -> Tensor:
    t, numbers = _numbers(x, chosen)
    extreme = reductions.max if name == "max" else reductions.min
    if t.dtype.kind != "f":
        return extreme(t, axis, keepdims, initial=initial, where=chosen)
    axes = axes_of(axis, None, t.ndim, f"nan{name}")
    if initial is None and math.prod(t.shape[d] for d in axes) == 0 < math.prod(reduced_shape(t.shape, axes, False)):
        raise ShapeError(f"nan{name}: no elements along axes {axes} of a tensor of shape {list(t.shape)}")
    last = -math.inf if name == "max" else math.inf
    found = extreme(t, axes, keepdims, initial=last if initial is None else initial, where=numbers)
    if initial is not None:
        return found
    count = sum_over(where(numbers, 1.0, 0.0), axes, keepdims)
    alone = sum_over(t, axes, keepdims, where=numbers) / count.maximum(1.0)
    found = where(equal(found, last), alone, found)  # whose ties are not with what stands for NaN
    return where(equal(count, 0.0), math.nan, found)


def nanmax(x: Any, axis: Axis = None, keepdims: bool = False, *, initial: Any = None, where: Any = None) -> Tensor:
    """The maximum over axes of what is not NaN; NaN where nothing is. Ties share the gradient equally, as of `max`."""
    return _nanextreme("max", x, axis, keepdims, initial, where)


def nanmin(x: Any, axis: Axis = None, keepdims: bool = False, *, initial: Any = None, where: Any = None) -> Tensor:
    """The minimum over axes of what is not NaN; NaN where nothing is. Ties share the gradient equally, as of `min`."""
    return _nanextreme("min", x, axis, keepdims, initial, where)


def _nanargument(name: str, x: Any, axis: int | None, keepdims: bool) -> Tensor:
    t, find = as_tensor(x), argmax if name == "nanargmax" else argmin
    if t.dtype.kind != "f":
        return find(t, axis, keepdims)
    if t.is_symbolic:
        raise CaptureError(f"{name}: a row without numbers has no index, and whether there is one is not known in a "
                           f"recording; use tg.{name[3:]}(tg.where(tg.isnan(x), {'-' * (name[-1] == 'x')}np.inf, x), "
                           "axis)")
    plain = t.detach()
    if bool(np.any(np.all(np.isnan(plain._array()), axis=axis))):
        raise ArgumentError(f"{name}: all elements along an axis are NaN, in a tensor of shape {list(t.shape)}")
    return find(where(not_equal(plain, plain), -math.inf if name == "nanargmax" else math.inf, plain), axis, keepdims)


def nanargmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the first maximum of what is not NaN, as ``numpy.nanargmax``, whose error it raises."""
    return _nanargument("nanargmax", x, axis, keepdims)


def nanargmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the first minimum of what is not NaN, as ``numpy.nanargmin``, whose error it raises."""
    return _nanargument("nanargmin", x, axis, keepdims)


def _filled(x: Any, dtype: Any, fill: float) -> Tensor:
    t, numbers = _numbers(x, None, dtype)
    return t if numbers is None else where(numbers, t, fill)


def nancumsum(x: Any, axis: int | None = None, *, dtype: Any = None) -> Tensor:
    """The cumulative sum along an axis, to which NaN adds nothing; of the flattened array by default."""
    return cumsum(_filled(x, dtype, 0.0), axis)


def nancumprod(x: Any, axis: int | None = None, *, dtype: Any = None) -> Tensor:
    """The cumulative product along an axis, to which NaN brings nothing; of the flattened array by default."""
    return cumprod(_filled(x, dtype, 1.0), axis)


def nanquantile(x: Any, q: float | Sequence[float], axis: Axis = None, keepdims: bool = False, *,
                method: str = "linear", interpolation: str | None = None, dim: Axis = None,
                keepdim: bool = False) -> Tensor:
    """`quantile` of what is not NaN, with its arguments; NaN where nothing is.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.nanquantile(tg.tensor([1.0, np.nan, 3.0, 2.0]), 0.75)
    tensor(2.5)
    """
    return quantile_of_numbers(x, q, axis, dim, keepdims or keepdim, interpolation or method)


def nanpercentile(x: Any, q: Any, axis: Axis = None, keepdims: bool = False, *, method: str = "linear") -> Tensor:
    """`nanquantile` of ``q / 100``."""
    return quantile_of_numbers(x, q, axis, None, keepdims, method, 100.0)


def nanmedian(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The median of what is not NaN: the middle number, or the mean of the middle two."""
    return middle_of_numbers(x, axis, keepdims)


# ------------------------------------------------------------------ two at once


class Extremes(NamedTuple):
    """The least and the greatest element."""

    min: Any
    max: Any


def aminmax(input: Any, *, dim: int | None = None, keepdim: bool = False) -> Extremes:
    """The minimum and the maximum, of all or along an axis, as PyTorch's. Ties share the gradient equally."""
    return Extremes(reductions.min(input, dim=dim, keepdim=keepdim), reductions.max(input, dim=dim, keepdim=keepdim))


# ------------------------------------------------------------------ scans with a start


def _scanned(scan: Any, x: Any, axis: int | None, dtype: Any, include_initial: bool, first: float) -> Tensor:
    t = as_tensor(x)
    if axis is None:
        if t.ndim != 1:
            raise ArgumentError(f"{scan.__name__}: say along which axis of {t.ndim}")
        axis = 0
    y = scan(t, axis, dtype=dtype)
    if not include_initial:
        return y
    d = one_axis(axis, y.ndim, scan.__name__)
    start = np.full((*y.shape[:d], 1, *y.shape[d + 1:]), first, y.dtype)
    return concatenate([Tensor(start), y], d)


def cumulative_sum(x: Any, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Tensor:
    """`cumsum`, as the array API has it: with `include_initial` it begins with a 0."""
    return _scanned(cumsum, x, axis, dtype, include_initial, 0)


def cumulative_prod(x: Any, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Tensor:
    """`cumprod`, as the array API has it: with `include_initial` it begins with a 1."""
    return _scanned(cumprod, x, axis, dtype, include_initial, 1)


# ------------------------------------------------------------------ means and covariances


def average(a: Any, axis: Axis = None, weights: Any = None, returned: bool = False, *, keepdims: bool = False) -> Any:
    """The mean over axes with weights: ``sum(a w) / sum(w)``.

    Parameters
    ----------
    a : array_like
    axis : int or tuple of int, optional
        All axes by default.
    weights : array_like, optional
        Of the shape of `a`, or of its extents along `axis`; equal ones by default. They may require gradients.
    returned : bool, default False
        Give the sum of the weights too.
    keepdims : bool, default False
        Keep the axes with extent 1.

    Returns
    -------
    Tensor, or with `returned` two of one shape

    Raises
    ------
    ZeroDivisionError
        If weights sum to 0; in a recording the result is NaN or infinite instead.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.average(tg.tensor([1.0, 4.0]), weights=[3.0, 1.0])
    tensor(1.75)
    """
    if weights is None:
        found = reductions.mean(a, axis, keepdims)
        t = as_tensor(a)
        count = math.prod(t.shape[d] for d in axes_of(axis, None, t.ndim, "average"))
        return (found, Tensor(np.full(found.shape, count, found.dtype))) if returned else found
    t, w = lift(a, weights)
    axes = axes_of(axis, None, t.ndim, "average")
    if w.shape != t.shape:
        if axis is None:
            raise ArgumentError(f"average: weights of shape {list(w.shape)} for a tensor of shape {list(t.shape)}: "
                                "say along which axis")
        listed = axes if isinstance(axis, (tuple, list)) else axes[:1]
        if w.shape != tuple(t.shape[d] for d in listed):
            raise ShapeError(f"average: weights of shape {list(w.shape)} do not fit axes {listed} of {list(t.shape)}")
        order = sorted(range(len(listed)), key=listed.__getitem__)
        w = reshape(w.transpose(tuple(order)), tuple(n if d in axes else 1 for d, n in enumerate(t.shape)))
        w = broadcast_to(w, t.shape)
    total = sum_over(w, axes, keepdims)
    if not total.is_symbolic and bool(np.any(total.detach()._array() == 0.0)):
        raise ZeroDivisionError(f"average: weights sum to zero over axes {axes}")
    found = sum_over(t * w, axes, keepdims) / total
    return (found, total) if returned else found


def cov(m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: float | None = None, fweights: Any = None,
        aweights: Any = None, *, dtype: Any = None, correction: float | None = None) -> Tensor:
    """The covariance matrix of variables, NumPy's and PyTorch's.

    Parameters
    ----------
    m : array_like, (variables, observations) or (observations,)
    y : array_like, optional
        More variables.
    rowvar : bool, default True
        Whether variables are rows.
    bias : bool, default False
        Divide by n instead of ``n - 1``.
    ddof : float, optional
        Divide by ``n - ddof``; `correction` is PyTorch's name of it.
    fweights : integer array_like, (observations,), optional
        How often each was observed.
    aweights : array_like, (observations,), optional
        The weight of each.
    dtype : dtype, optional

    Returns
    -------
    Tensor, (variables, variables), or a number for one variable

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.cov(tg.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    x = lift(m if dtype is None else astype(as_tensor(m), dtype))[0]
    if x.ndim > 2:
        raise ShapeError(f"cov: a matrix of variables, not shape {list(x.shape)}")

    def rows(t: Tensor, turned: bool) -> Tensor:
        return reshape(t, (1, t.size)) if t.ndim < 2 else t.T if turned else t

    x = rows(x, not rowvar)
    if y is not None:
        second = lift(y)[0]
        if second.ndim > 2:
            raise ShapeError(f"cov: a matrix of variables, not shape {list(second.shape)}")
        x = concatenate([x, rows(second, not rowvar and second.shape[0] != 1)], 0)
    less = ddof if ddof is not None else correction if correction is not None else float(not bias)
    weights = None
    for name, given in (("fweights", fweights), ("aweights", aweights)):
        if given is not None:
            w = lift(x, given)[1]
            if w.shape != (x.shape[1],):
                raise ShapeError(f"cov: {name} of shape {list(w.shape)} for {x.shape[1]} observations")
            weights = w if weights is None else weights * w
    if weights is None:
        apart = x - reductions.mean(x, 1, keepdims=True)
        freedom: Any = max(x.shape[1] - less, 0.0)
        product = matmul(apart, apart.T)
    else:
        total = sum_over(weights)
        apart = x - expand_dims(sum_over(x * weights, 1) / total, 1)
        freedom = total - less
        if aweights is not None and less:
            freedom = total - less * sum_over(weights * lift(x, aweights)[1]) / total
        freedom = freedom.maximum(0.0)
        product = matmul(apart * weights, apart.T)
    found = product / freedom
    return reshape(found, ()) if found.size == 1 else found


def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Tensor:
    """The correlation coefficients of variables: `cov`, of which it has the arguments, over both deviations.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.corrcoef(tg.tensor([[0.0, 1.0, 2.0], [3.0, 1.0, -1.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    c = cov(x, y, rowvar, dtype=dtype)
    if c.ndim == 0:
        return c / c
    deviations = c.diagonal().sqrt()
    return clip(c / expand_dims(deviations, 1) / deviations, -1.0, 1.0)


# ------------------------------------------------------------------ sampled functions


def _slices(t: Tensor, d: int, start: int | None, stop: int | None) -> Tensor:
    return t[(slice(None),) * d + (slice(start, stop),)]


def gradient(f: Any, *varargs: Any, axis: Axis = None, edge_order: int = 1, spacing: Any = None,
             dim: Axis = None) -> Any:
    """Slopes of a sampled function: differences of second order within, of `edge_order` at the ends.

    Parameters
    ----------
    f : array_like
    *varargs : float or array_like, optional
        The distance between samples: one for all axes, or one for each, a number or the coordinates along it; 1 by
        default. `spacing` is PyTorch's name: a number, or a sequence with one for each axis.
    axis : int or tuple of int, optional
        All axes by default. `dim` is PyTorch's name.
    edge_order : {1, 2}

    Returns
    -------
    Tensor, or a tuple of one for each axis
        With `spacing` or `dim` always a tuple, as PyTorch's.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.gradient(tg.tensor([0.0, 1.0, 4.0, 9.0]), 0.5)
    tensor([ 2.,  4.,  8., 10.])
    """
    t = lift(f)[0]
    axes = axes_of(axis, dim, t.ndim, "gradient")
    if spacing is not None:
        varargs = tuple(spacing) if isinstance(spacing, (tuple, list)) else (spacing,)
    steps = list(varargs) if len(varargs) != 1 else [varargs[0]] * len(axes)
    steps = steps or [1.0] * len(axes)
    if len(steps) != len(axes):
        raise ArgumentError(f"gradient: {len(steps)} spacings for {len(axes)} axes")
    if edge_order not in (1, 2):
        raise ArgumentError(f"gradient: edge_order is 1 or 2, not {edge_order!r}")
    found = tuple(_slopes(t, d, step, edge_order) for d, step in zip(axes, steps))
    return found if len(found) != 1 or dim is not None or spacing is not None else found[0]


def _slopes(t: Tensor, d: int, step: Any, edge_order: int) -> Tensor:
    n = t.shape[d]
    if n <= edge_order:
        raise ShapeError(f"gradient: axis {d} of {list(t.shape)} has {n} samples; differences need {edge_order + 1}")
    steps = lift(t, step)[1]
    gaps = None
    if steps.ndim == 1:
        if steps.size != n:
            raise ShapeError(f"gradient: {steps.size} coordinates along axis {d} of {list(t.shape)}")
        gaps = reshape(diff(steps), tuple(-1 if k == d else 1 for k in range(t.ndim)))
    elif steps.ndim:
        raise ShapeError(f"gradient: distances are a number or coordinates along an axis, not of shape "
                         f"{list(steps.shape)}")
    rises = diff(t, axis=d)
    slopes = rises / (step if gaps is None else gaps)
    if n == 2:
        return concatenate([slopes, slopes], d)
    left, right = _slices(slopes, d, None, -1), _slices(slopes, d, 1, None)
    if gaps is None:
        within = (_slices(t, d, 2, None) - _slices(t, d, None, -2)) / (2.0 * step)
    else:  # slopes on both sides, each with the other's gap for a weight
        before, behind = _slices(gaps, d, None, -1), _slices(gaps, d, 1, None)
        within = (left * behind + right * before) / (before + behind)
    ends = [_slices(slopes, d, None, 1), _slices(slopes, d, -1, None)]
    if edge_order == 2:
        share: list[Any] = [0.5, 0.5]
        if gaps is not None:
            first, second = _slices(gaps, d, None, 1), _slices(gaps, d, 1, 2)
            last, second_last = _slices(gaps, d, -1, None), _slices(gaps, d, -2, -1)
            share = [first / (first + second), last / (last + second_last)]
        ends[0] = ends[0] - (_slices(slopes, d, 1, 2) - ends[0]) * share[0]
        ends[1] = ends[1] + (ends[1] - _slices(slopes, d, -2, -1)) * share[1]
    return concatenate([ends[0], within, ends[1]], d)


def _areas(name: str, y: Any, x: Any, dx: Any, axis: int) -> tuple[Tensor, int]:
    """The areas between neighbours, and the axis."""
    t = lift(y)[0]
    d = one_axis(axis, t.ndim, name)
    heights = _slices(t, d, 1, None) + _slices(t, d, None, -1)
    if x is None:
        return heights * (0.5 * dx), d
    at = lift(t, x)[1]
    if at.ndim == 1:
        if at.size != t.shape[d]:
            raise ShapeError(f"{name}: {at.size} coordinates along axis {d} of {list(t.shape)}")
        widths = reshape(diff(at), tuple(-1 if k == d else 1 for k in range(t.ndim)))
    else:
        widths = diff(at, axis=axis)
    areas = heights * widths * 0.5
    return areas, one_axis(axis, areas.ndim, name)  # as many axes as `x` has too


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1, *, dim: int | None = None) -> Tensor:
    """The area below a sampled function along an axis, by the trapezoidal rule.

    Parameters
    ----------
    y : array_like
    x : array_like, optional
        Coordinates along the axis, or of the shape of `y`.
    dx : float, default 1.0
        The distance between samples, without `x`.
    axis : int, default -1
        `dim` is an alias.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.trapezoid(tg.tensor([1.0, 2.0, 3.0]), dx=2.0)
    tensor(8.)
    """
    areas, d = _areas("trapezoid", y, x, 1.0 if dx is None else dx, axis if dim is None else dim)
    return sum_over(areas, d)


trapz = trapezoid


def cumulative_trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1, *, initial: Any = None,
                         dim: int | None = None) -> Tensor:
    """The area so far, from the second sample on; arguments as of `trapezoid`. `initial`, which is 0, comes first."""
    areas, d = _areas("cumulative_trapezoid", y, x, 1.0 if dx is None else dx, axis if dim is None else dim)
    so_far = cumsum(areas, d)
    if initial is None:
        return so_far
    if initial != 0:
        raise ArgumentError(f"cumulative_trapezoid: initial is 0 or None, not {initial!r}")
    first = Tensor(np.zeros((*so_far.shape[:d], 1, *so_far.shape[d + 1:]), so_far.dtype))
    return concatenate([first, so_far], d)
