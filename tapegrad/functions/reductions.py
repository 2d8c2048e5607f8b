"""Reductions: sums, extremes and others; softmax; cumulative sums and products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine.storage import contiguous_strides
from ..errors import ArgumentError, ShapeError
from ..ops.few import SOFTMAXES
from ..ops.nest import nest
from ..ops.reduction import ROW_SUM, ROWS, SUM
from ..ops.running import RECURRENCE
from ..tensor.recording import lift, record, recorder
from ..tensor.tensor import Tensor
from .integers import recorded, reduced, scanned
from .layout import one_axis, permute, reshape

__all__ = [
    "amax", "amin", "cumprod", "cumsum", "log_softmax", "logsumexp", "mean", "prod", "softmax",
    "sum",
]
Axis = int | Sequence[int] | None


def axes_of(axis: Axis, dim: Axis, ndim: int, op: str) -> tuple[int, ...]:
    """Non-negative axis numbers from NumPy's `axis` or PyTorch's `dim`; all of them for None, and for ``dim=()``."""
    if axis is not None and dim is not None:
        raise ArgumentError(f"{op}: give axis or dim, not both")
    chosen = axis if axis is not None else dim
    if chosen is None or dim is not None and dim in ((), []) and op not in ("all", "any"):
        return tuple(range(ndim))
    if dim is not None and ndim == 0 and dim in (0, -1):  # as PyTorch takes a number for a row of one
        return ()
    axes = tuple(one_axis(a, ndim, op) for a in (chosen if isinstance(chosen, (tuple, list)) else (chosen,)))
    if len(set(axes)) != len(axes):
        raise ArgumentError(f"{op}: an axis is named twice in {chosen}")
    return axes


def reduced_shape(shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    """`shape` without `axes`, or with extent 1 there."""
    return tuple(1 if d in axes else n for d, n in enumerate(shape) if keepdims or d not in axes)


def _of_integers(name: str, x: Tensor, axis: Axis, dim: Axis, keepdims: bool) -> Tensor:
    """NumPy's reduction of integers or bool, exact."""
    axes = axes_of(axis, dim, x.ndim, name)
    if name in ("max", "min") and math.prod(x.shape[d] for d in axes) == 0:
        raise ShapeError(f"{name}: no elements along axes {axes} of a tensor of shape {list(x.shape)}")
    if recorded(x):
        return reduced(name, to_rows(x, axes), reduced_shape(x.shape, axes, keepdims))
    return Tensor(np.asarray(getattr(np, name)(x._array(), axis=axes, keepdims=keepdims)))


def _sum(x: Any, axis: Axis, keepdims: bool, dim: Axis, keepdim: bool, mean: bool) -> Tensor:
    name = "mean" if mean else "sum"
    if type(x) is Tensor and x.dtype.kind != "f" and not mean:
        return _of_integers(name, x, axis, dim, keepdims or keepdim)
    x = lift(x)[0]
    axes = axes_of(axis, dim, x.ndim, name)
    shape = reduced_shape(x.shape, axes, keepdims or keepdim)
    kept = contiguous_strides(reduced_shape(x.shape, axes, True))
    strides = tuple(0 if d in axes else s for d, s in enumerate(kept))
    count = math.prod(x.shape[d] for d in axes)
    scale = (1.0 / count if count else math.nan) if mean else 1.0
    loops = nest(x.shape, (strides, x.strides))
    op = ROW_SUM if loops in ((1, x.size, 0, 0, 1), (1, 1, 0, 1, 1)) else SUM
    return recorder(op)(shape, dtype=x.dtype, x=x, scale=scale, elements=math.prod(shape), nest=loops)


def sum(x: Any, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None, keepdim: bool = False) -> Tensor:
    """Sum over axes.

    Parameters
    ----------
    x : array_like
    axis : int or tuple of int, optional
        All axes by default. `dim` is an alias.
    keepdims : bool, default False
        Keep the axes with extent 1. `keepdim` is an alias.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.sum(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    tensor([4., 6.])
    """
    return _sum(x, axis, keepdims, dim, keepdim, False)


def mean(x: Any, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None, keepdim: bool = False) -> Tensor:
    """Arithmetic mean over axes; NaN where nothing is averaged."""
    return _sum(x, axis, keepdims, dim, keepdim, True)


def to_rows(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """`x` with `axes` moved to the end."""
    order = [d for d in range(x.ndim) if d not in axes] + list(axes)
    return x if order == list(range(x.ndim)) else permute(x, order)


def reduce_rows(name: str, x: Any, axis: Axis, dim: Axis, keepdims: bool, p: float | None = None,
                 identity: bool = True) -> Tensor:
    if type(x) is Tensor and x.dtype.kind != "f" and name in ("max", "min", "prod"):
        return _of_integers(name, x, axis, dim, keepdims)
    x = lift(x)[0]
    axes = axes_of(axis, dim, x.ndim, name)
    shape = reduced_shape(x.shape, axes, keepdims)
    length = math.prod(x.shape[d] for d in axes)
    count = math.prod(shape)
    if not identity and length == 0 and count:
        raise ShapeError(f"{name}: no elements along axes {axes} of a tensor of shape {list(x.shape)}")
    rows = to_rows(x, axes)
    return recorder(ROWS[name])(shape, dtype=x.dtype, x=rows, rows=count, n=length, p=0.0 if p is None else p)


def max(x: Any, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None, keepdim: bool = False) -> Tensor:
    """Maximum over axes; NaN if there is one. Ties share the gradient equally, see `grad`."""
    return reduce_rows("max", x, axis, dim, keepdims or keepdim, identity=False)


def min(x: Any, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None, keepdim: bool = False) -> Tensor:
    """Minimum over axes; NaN if there is one. Ties share the gradient equally, see `grad`."""
    return reduce_rows("min", x, axis, dim, keepdims or keepdim, identity=False)


amax, amin = max, min


def prod(x: Any, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None, keepdim: bool = False) -> Tensor:
    """Product over axes; the gradient is exact also where elements are zero."""
    return reduce_rows("prod", x, axis, dim, keepdims or keepdim)


def var(x: Any, axis: Axis = None, ddof: float = 0, keepdims: bool = False, *, dim: Axis = None,
        keepdim: bool = False, correction: float | None = None) -> Tensor:
    """Variance over axes: squared deviations from the mean over ``n - ddof``, in two passes.

    `ddof` is 0 by default, as in NumPy; `correction` is PyTorch's name for it. With ``ddof >= n`` it is inf, NaN
    where all elements are equal.
    """
    return _spread("var", x, axis, dim, ddof if correction is None else correction, keepdims or keepdim)


def std(x: Any, axis: Axis = None, ddof: float = 0, keepdims: bool = False, *, dim: Axis = None,
        keepdim: bool = False, correction: float | None = None) -> Tensor:
    """Standard deviation over axes, the root of `var`; where all are equal its derivatives are 0 (see `grad`)."""
    return _spread("std", x, axis, dim, ddof if correction is None else correction, keepdims or keepdim)


def _spread(name: str, x: Any, axis: Axis, dim: Axis, ddof: float, keepdims: bool) -> Tensor:
    t = lift(x)[0]
    axes = axes_of(axis, dim, t.ndim, name)
    length = math.prod(t.shape[d] for d in axes)
    freedom = length - ddof
    divisor = math.nan if length == 0 else float(freedom) if freedom > 0 else 0.0
    return reduce_rows(name, t, axes, None, keepdims, divisor)


def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None, keepdim: bool = False) -> Tensor:
    """``log(sum(exp(x)))`` over axes, without overflow."""
    return reduce_rows("logsumexp", x, axis, dim, keepdims or keepdim)


def _along(name: str, x: Any, axis: int | None, dim: int | None) -> Tensor:
    x = lift(x)[0]
    chosen = axis if axis is not None else dim
    if chosen is None:
        raise ArgumentError(f"{name}: say along which axis")
    if x.ndim == 0:
        one_axis(chosen, 1, name)
        return reshape(_along(name, reshape(x, (1,)), 0, None), ())
    d = one_axis(chosen, x.ndim, name)
    rows = to_rows(x, (d,))
    n = x.shape[d]
    if name == "softmax" and rows.size == n and n in SOFTMAXES:
        y = record(SOFTMAXES[n], (rows,), rows.shape, dtype=x.dtype)
    else:
        y = recorder(ROWS[name])(rows.shape, dtype=x.dtype, x=rows, rows=rows.size // n if n else 0, n=n, p=0.0)
    if d == x.ndim - 1:
        return y
    back = list(range(x.ndim - 1))
    back.insert(d, x.ndim - 1)
    return permute(y, back)


def softmax(x: Any, axis: int | None = None, *, dim: int | None = None) -> Tensor:
    """``exp(x) / sum(exp(x))`` along an axis."""
    return _along("softmax", x, axis, dim)


def log_softmax(x: Any, axis: int | None = None, *, dim: int | None = None) -> Tensor:
    """Logarithm of `softmax`, without underflow."""
    return _along("log_softmax", x, axis, dim)


def cumsum(x: Any, axis: int | None = None, *, dim: int | None = None) -> Tensor:
    """Cumulative sum along an axis; of the flattened array if no axis is given."""
    return _running("cumsum", x, axis, dim)


def cumprod(x: Any, axis: int | None = None, *, dim: int | None = None) -> Tensor:
    """Cumulative product along an axis; of the flattened array if no axis is given. Its gradient is exact at zeros."""
    return _running("cumprod", x, axis, dim)


def _running(name: str, x: Any, axis: int | None, dim: int | None) -> Tensor:
    if type(x) is Tensor and x.dtype.kind != "f":
        chosen = axis if axis is not None else dim
        if recorded(x):
            x = reshape(x, (x.size,)) if chosen is None or x.ndim == 0 else x
            d = one_axis(chosen or 0, x.ndim, name)
            found = scanned(name, to_rows(x, (d,)))
            return found if d == x.ndim - 1 else permute(found, [*range(d), x.ndim - 1, *range(d, x.ndim - 1)])
        return Tensor(getattr(np, name)(x._array(), axis=None if chosen is None else one_axis(chosen, x.ndim, name)))
    if axis is None and dim is None:
        return _along(name, reshape(lift(x)[0], (-1,)), 0, None)
    return _along(name, x, axis, dim)


def exclusive_prod(x: Any) -> Tensor:
    """``y[..., k]`` is the product of all ``x[..., j]`` but that of ``j = k``."""
    return _along("exclusive_prod", x, -1, None)


def linear_recurrence(a: Any, x: Any, back: bool) -> Tensor:
    """``y[..., k] = x[..., k] + a[..., k] * y[..., k - 1]``, or from the last to the first the transpose of it.

    Parameters
    ----------
    a, x : array_like, (..., n)
        ``a[..., 0]`` is not read.
    back : bool
        ``y[..., k] = x[..., k] + a[..., k + 1] * y[..., k + 1]``.
    """
    a, x = lift(a, x)
    return recorder(RECURRENCE)(x.shape, dtype=x.dtype, a=a, x=x, rows=math.prod(x.shape[:-1]), n=x.shape[-1],
                                back=back)
