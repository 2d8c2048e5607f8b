"""Reductions: sums, extremes and others; softmax; cumulative sums and products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine.storage import contiguous_strides
from ..errors import ArgumentError, DtypeError, ShapeError
from ..ops.blocks import BLOCKED_SUM, in_blocks
from ..ops.few import SOFTMAXES
from ..ops.nest import nest
from ..ops.reduction import ROW_SUM, ROWS, SUM
from ..ops.running import RECURRENCE
from ..tensor.recording import as_tensor, astype, lift, record, recorder
from ..tensor.tensor import Tensor
from .elementwise import as_bool, equal
from .elementwise import where as either
from .formulas import add, maximum, minimum, multiply, sqrt
from .integers import broadcast_shape, integers, recorded, reduced, scanned
from .layout import one_axis, permute, reshape

__all__ = [
    "amax", "amin", "cumprod", "cumsum", "log_softmax", "logcumsumexp", "logsumexp", "mean", "prod", "softmax",
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


# ------------------------------------------------------------------ of some elements, from a start, in a dtype


def choice(where: Any, shape: tuple[int, ...]) -> Tensor:
    """`where` as a bool tensor, that broadcasts to the shape of what it chooses from."""
    holds = as_bool(where)
    if broadcast_shape("where=", holds.shape, shape) != shape:
        raise ShapeError(f"where= of shape {list(holds.shape)} does not broadcast to {list(shape)}")
    return holds


def summand(x: Any, dtype: Any) -> Tensor:
    """`x` in the dtype that a reduction is given."""
    if dtype is not None and np.dtype(dtype) == bool:
        raise DtypeError("dtype=bool in a reduction: tg.any is the sum of truths, tg.all their product")
    return as_tensor(x) if dtype is None else astype(as_tensor(x), dtype)


def _chosen(x: Any, dtype: Any, where: Any, fill: Any) -> Tensor:
    """`x` in a dtype, with a number where `where` does not hold."""
    t = summand(x, dtype)
    if where is None or where is True:
        return t
    return either(choice(where, t.shape), t, fill)


def _counted(t: Tensor, where: Any, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    """How many elements over axes `where` holds for, as a float."""
    return _sum(either(choice(where, t.shape), np.ones(t.shape, t.dtype), 0.0), axes, keepdims, None, False, False)


def _spread_of_chosen(name: str, x: Any, axis: Axis, dim: Axis, ddof: float, keepdims: bool, where: Any,
                      mean: Any) -> Tensor:
    """`var` or `std` of the elements that `where` holds for, around their mean or another."""
    t = lift(x)[0]
    axes = axes_of(axis, dim, t.ndim, name)
    where = True if where is None else where
    count = _counted(t, where, axes, True)
    around = _sum(_chosen(t, None, where, 0.0), axes, True, None, False, False) / count if mean is None else mean
    apart = either(as_bool(where), t - around, 0.0)
    value = _sum(multiply(apart, apart), axes, True, None, False, False) / maximum(count - ddof, 0.0)
    if name == "std":  # whose slope where all are equal is 0
        alike = equal(value, 0.0)
        value = either(alike, 0.0, sqrt(either(alike, 1.0, value)))
    return value if keepdims else reshape(value, reduced_shape(t.shape, axes, False))


def _extreme(name: str, x: Any, axis: Axis, dim: Axis, keepdims: bool, initial: Any, where: Any) -> Tensor:
    if initial is None and (where is None or where is True):
        return reduce_rows(name, x, axis, dim, keepdims, identity=False)
    if initial is None:
        raise ArgumentError(f"{name}: there is no least or greatest number of none: where= needs initial=")
    t = as_tensor(x)
    t = _chosen(t, None, where, initial if t.dtype.kind != "f" else -math.inf if name == "max" else math.inf)
    axes = axes_of(axis, dim, t.ndim, name)
    if math.prod(t.shape[d] for d in axes) == 0:
        return add(_sum(t, axes, keepdims, None, False, False), initial)
    return (maximum if name == "max" else minimum)(reduce_rows(name, t, axes, None, keepdims), initial)


# ------------------------------------------------------------------ reductions


def _sum(x: Any, axis: Axis, keepdims: bool, dim: Axis, keepdim: bool, mean: bool) -> Tensor:
    name = "mean" if mean else "sum"
    if not mean and (whole := integers(x)) is not None:
        return _of_integers(name, whole[0], axis, dim, keepdims or keepdim)
    x = lift(x)[0]
    axes = axes_of(axis, dim, x.ndim, name)
    shape = reduced_shape(x.shape, axes, keepdims or keepdim)
    kept = contiguous_strides(reduced_shape(x.shape, axes, True))
    strides = tuple(0 if d in axes else s for d, s in enumerate(kept))
    count = math.prod(x.shape[d] for d in axes)
    scale = (1.0 / count if count else math.nan) if mean else 1.0
    loops = nest(x.shape, (strides, x.strides))
    op = ROW_SUM if loops in ((1, x.size, 0, 0, 1), (1, 1, 0, 1, 1)) else BLOCKED_SUM if in_blocks(loops) else SUM
    return recorder(op)(shape, dtype=x.dtype, x=x, scale=scale, elements=math.prod(shape), nest=loops)


def sum(x: Any, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None, keepdim: bool = False,
        dtype: Any = None, initial: Any = None, where: Any = None) -> Tensor:
    """Sum over axes.

    Parameters
    ----------
    x : array_like
    axis : int or tuple of int, optional
        All axes by default. `dim` is an alias.
    keepdims : bool, default False
        Keep the axes with extent 1. `keepdim` is an alias.
    dtype : dtype, optional
        That `x` is converted to first; of what is recorded only its own. Integers are summed in int64, whatever is
        said here; bool is refused.
    initial : array_like, optional
        What is added to the sum.
    where : array_like of bool, optional
        The elements that count; it broadcasts to `x`. The others get no gradient, though they be NaN.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.sum(tg.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    tensor([4., 6.])
    """
    if dtype is None and initial is None and where is None:
        return _sum(x, axis, keepdims, dim, keepdim, False)
    total = _sum(_chosen(x, dtype, where, 0), axis, keepdims, dim, keepdim, False)
    return total if initial is None else add(total, initial)


def mean(x: Any, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None, keepdim: bool = False,
         dtype: Any = None, where: Any = None) -> Tensor:
    """Arithmetic mean over axes; NaN where nothing is averaged. `dtype` and `where` as of `sum`."""
    if dtype is None and where is None:
        return _sum(x, axis, keepdims, dim, keepdim, True)
    if where is None or where is True:
        return _sum(_chosen(x, dtype, None, 0), axis, keepdims, dim, keepdim, True)
    t = lift(x if dtype is None else _chosen(x, dtype, None, 0))[0]
    axes = axes_of(axis, dim, t.ndim, "mean")
    kept = keepdims or keepdim
    return _sum(_chosen(t, None, where, 0.0), axes, kept, None, False, False) / _counted(t, where, axes, kept)


def to_rows(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """`x` with `axes` moved to the end."""
    order = [d for d in range(x.ndim) if d not in axes] + list(axes)
    return x if order == list(range(x.ndim)) else permute(x, order)


def reduce_rows(name: str, x: Any, axis: Axis, dim: Axis, keepdims: bool, p: float | None = None,
                 identity: bool = True) -> Tensor:
    if name in ("max", "min", "prod") and (whole := integers(x)) is not None:
        return _of_integers(name, whole[0], axis, dim, keepdims)
    x = lift(x)[0]
    axes = axes_of(axis, dim, x.ndim, name)
    shape = reduced_shape(x.shape, axes, keepdims)
    length = math.prod(x.shape[d] for d in axes)
    count = math.prod(shape)
    if not identity and length == 0 and count:
        raise ShapeError(f"{name}: no elements along axes {axes} of a tensor of shape {list(x.shape)}")
    rows = to_rows(x, axes)
    return recorder(ROWS[name])(shape, dtype=x.dtype, x=rows, rows=count, n=length, p=0.0 if p is None else p)


def max(x: Any, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None, keepdim: bool = False,
        initial: Any = None, where: Any = None) -> Tensor:
    """Maximum over axes, and of `initial`; NaN if there is one. Ties share the gradient equally, see `grad`."""
    return _extreme("max", x, axis, dim, keepdims or keepdim, initial, where)


def min(x: Any, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None, keepdim: bool = False,
        initial: Any = None, where: Any = None) -> Tensor:
    """Minimum over axes, and of `initial`; NaN if there is one. Ties share the gradient equally, see `grad`."""
    return _extreme("min", x, axis, dim, keepdims or keepdim, initial, where)


amax, amin = max, min


def prod(x: Any, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None, keepdim: bool = False,
         dtype: Any = None, initial: Any = None, where: Any = None) -> Tensor:
    """Product over axes; the gradient is exact also where elements are zero. `dtype` and the rest as of `sum`."""
    if dtype is not None or where is not None:
        x = _chosen(x, dtype, where, 1)
    product = reduce_rows("prod", x, axis, dim, keepdims or keepdim)
    return product if initial is None else multiply(product, initial)


def var(x: Any, axis: Axis = None, ddof: float = 0, keepdims: bool = False, *, dim: Axis = None,
        keepdim: bool = False, correction: float | None = None, dtype: Any = None, where: Any = None,
        mean: Any = None) -> Tensor:
    """Variance over axes: squared deviations from the mean over ``n - ddof``, in two passes.

    `ddof` is 0 by default, as in NumPy; `correction` is PyTorch's name for it. With ``ddof >= n`` it is inf, NaN
    where all elements are equal.
    """
    return _spread("var", x, axis, dim, ddof if correction is None else correction, keepdims or keepdim, dtype, where,
                   mean)


def std(x: Any, axis: Axis = None, ddof: float = 0, keepdims: bool = False, *, dim: Axis = None,
        keepdim: bool = False, correction: float | None = None, dtype: Any = None, where: Any = None,
        mean: Any = None) -> Tensor:
    """Standard deviation over axes, the root of `var`; where all are equal its derivatives are 0 (see `grad`)."""
    return _spread("std", x, axis, dim, ddof if correction is None else correction, keepdims or keepdim, dtype, where,
                   mean)


def _spread(name: str, x: Any, axis: Axis, dim: Axis, ddof: float, keepdims: bool, dtype: Any, where: Any,
            mean: Any) -> Tensor:
    if dtype is not None:
        x = _chosen(x, dtype, None, 0)
    if where is not None or mean is not None:
        return _spread_of_chosen(name, x, axis, dim, ddof, keepdims, where, mean)
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


def cumsum(x: Any, axis: int | None = None, *, dim: int | None = None, dtype: Any = None) -> Tensor:
    """Cumulative sum along an axis; of the flattened array if no axis is given. `dtype` as of `sum`."""
    return _running("cumsum", x if dtype is None else _chosen(x, dtype, None, 0), axis, dim)


def cumprod(x: Any, axis: int | None = None, *, dim: int | None = None, dtype: Any = None) -> Tensor:
    """Cumulative product along an axis; of the flattened array if no axis is given. Its gradient is exact at zeros."""
    return _running("cumprod", x if dtype is None else _chosen(x, dtype, None, 0), axis, dim)


def logcumsumexp(x: Any, axis: int | None = None, *, dim: int | None = None) -> Tensor:
    """``log(cumsum(exp(x)))`` along an axis, without overflow; of the flattened array if no axis is given.

    Parameters
    ----------
    x : array_like
    axis : int, optional
        `dim` is an alias.

    Returns
    -------
    Tensor, of the shape of `x`
        Elements of -inf get no gradient.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.logcumsumexp(tg.tensor([0.0, 0.0]), dim=0)
    tensor([0.       , 0.6931472])
    """
    return _running("logcumsumexp", lift(x)[0], axis, dim)


def _running(name: str, x: Any, axis: int | None, dim: int | None) -> Tensor:
    if (whole := integers(x)) is not None:
        x, chosen = whole[0], axis if axis is not None else dim
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
