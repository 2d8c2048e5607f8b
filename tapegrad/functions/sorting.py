"""Sorting and argmax. Indices are int64 tensors, in a recording too."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..ops.sorting import ARGEXTREME, ARGSORT, TOP
from ..tensor.arrays import INT64
from ..tensor.recording import recorder
from ..tensor.tensor import Tensor, view
from . import integers
from .gathering import take_along_axis
from .integers import recorded
from .layout import as_tensor, moveaxis, one_axis, reshape
from .reductions import reduced_shape

__all__ = ["argmax", "argmin", "argsort"]

#: up to how many are selected by insertion; beyond, all are sorted
_FEW = 32


def detached(x: Any, name: str) -> Tensor:
    """`x` without its history, if it can be sorted here."""
    return as_tensor(x).detach()


def order_of(t: Tensor, d: int, k: int, descending: bool) -> Tensor:
    """Indices of the first `k` elements along axis `d` in ascending or descending order."""
    n = t.shape[d]
    rows = t if d == t.ndim - 1 else moveaxis(t, d, -1)
    count = rows.size // n if n else math.prod(rows.shape[:-1])
    shape = (*rows.shape[:-1], k)
    if not t.is_floating and not recorded(t):
        order = Tensor(_order_of_integers(rows._array(), descending)[..., :k])
    elif not t.is_floating:
        order = integers.order(rows, descending)
        order = order if k == n else view(order, 0, shape, order.strides)
    elif k <= _FEW and 4 * k < n:
        order = recorder(TOP)(shape, dtype=t.dtype, out_dtype=INT64, x=rows, rows=count, n=n, k=k,
                              descending=descending)
    else:
        order = recorder(ARGSORT)(rows.shape, dtype=t.dtype, out_dtype=INT64, x=rows, scratch=(8 * max(n, 1), 8),
                                  rows=count, n=n, descending=descending)
        if k < n:
            order = view(order, 0, shape, order.strides)
    return order if d == t.ndim - 1 else moveaxis(order, -1, d)


def _order_of_integers(values: np.ndarray, descending: bool) -> np.ndarray:
    """Stable `numpy.argsort` along the last axis, in descending order too."""
    if not descending:
        return np.argsort(values, axis=-1, kind="stable")
    return values.shape[-1] - 1 - np.argsort(values[..., ::-1], axis=-1, kind="stable")[..., ::-1]


def _arguments(x: Any, axis: int | None, dim: int | None, descending: bool, name: str) -> tuple[Tensor, int]:
    if not isinstance(descending, (bool, np.bool_)):
        raise ArgumentError(f"{name}: descending must be a bool, not {descending!r}; give a kind by its name")
    t = as_tensor(x)
    chosen = axis if dim is None else dim
    if chosen is None:
        t, chosen = reshape(t, (t.size,)), 0
    return t, one_axis(chosen, t.ndim, name)


def argsort(x: Any, axis: int | None = -1, descending: bool = False, *, kind: str | None = None, order: None = None,
            stable: bool | None = None, dim: int | None = None) -> Tensor:
    """Indices that sort along an axis.

    Parameters
    ----------
    x : array_like
    axis : int or None, default -1
        None for the flattened array. `dim` is an alias.
    descending : bool, default False
    kind, order, stable : ignored
        The order is always stable: equal elements keep their order.

    Returns
    -------
    Tensor of int64, of the shape of `x`
        Without gradient; within a recording it can be used as an index.

    Notes
    -----
    NaN counts as the maximum: last in ascending order, as in NumPy, first in descending order, as in PyTorch.
    """
    t, d = _arguments(x, axis, dim, descending, "argsort")
    return order_of(detached(t, "argsort"), d, t.shape[d], bool(descending))


def sort(x: Any, axis: int | None = -1, descending: bool = False, *, kind: str | None = None, order: None = None,
         stable: bool | None = None, dim: int | None = None) -> Tensor:
    """A sorted copy, as ``numpy.sort``; gradients are permuted back (of ties see `grad`).

    Arguments as of `argsort`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.sort(tg.tensor([3.0, 1.0, 2.0]), descending=True)
    tensor([3., 2., 1.])
    """
    t, d = _arguments(x, axis, dim, descending, "sort")
    return take_along_axis(t, order_of(detached(t, "sort"), d, t.shape[d], bool(descending)), d)


def _argextreme(name: str, x: Any, axis: int | None, keepdims: bool, dim: int | None) -> Tensor:
    t = detached(x, name)
    chosen = axis if dim is None else dim
    ndim = t.ndim
    if chosen is None:
        t, chosen = reshape(t, (t.size,)), 0
        shape = (1,) * ndim if keepdims else ()
    else:
        chosen = one_axis(chosen, ndim, name)
        shape = reduced_shape(t.shape, (chosen,), keepdims)
    if t.shape[chosen] == 0 and math.prod(shape):
        raise ShapeError(f"{name}: no elements along axis {chosen} of a tensor of shape {list(t.shape)}")
    if not t.is_floating and not recorded(t):
        return Tensor(np.asarray(getattr(np, name)(t._array(), axis=chosen)).reshape(shape))
    rows = t if chosen == t.ndim - 1 else moveaxis(t, chosen, -1)
    if not t.is_floating:
        return integers.extreme_places(name, rows, shape)
    return recorder(ARGEXTREME)(shape, dtype=t.dtype, out_dtype=INT64, x=rows, rows=math.prod(shape),
                                n=t.shape[chosen], greatest=name == "argmax")


def argmax(x: Any, axis: int | None = None, keepdims: bool = False, *, dim: int | None = None,
           keepdim: bool = False) -> Tensor:
    """Index of the first maximum along an axis, of the flattened array by default; of the first NaN if there is one."""
    return _argextreme("argmax", x, axis, keepdims or keepdim, dim)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False, *, dim: int | None = None,
           keepdim: bool = False) -> Tensor:
    """Index of the first minimum along an axis, of the flattened array by default; of the first NaN if there is one."""
    return _argextreme("argmin", x, axis, keepdims or keepdim, dim)
