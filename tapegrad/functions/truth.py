"""Reductions by `all` and `any`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor.tensor import Tensor
from .elementwise import as_bool, from_bool, logical_and, logical_not, logical_or
from .reductions import Axis, axes_of, choice, max, min, reduced_shape

__all__ = ["all", "any"]


def _over(name: str, x: Any, axis: Axis, dim: Axis, keepdims: bool, where: Any) -> Tensor:
    t = as_bool(x)
    if where is not None and where is not True:
        holds = choice(where, t.shape)
        t = logical_or(t, logical_not(holds)) if name == "all" else logical_and(t, holds)
    axes = axes_of(axis, dim, t.ndim, name)
    if not t.is_symbolic:
        return Tensor(np.asarray(getattr(np, name)(t._array(), axis=axes, keepdims=keepdims)))
    if t.size == 0:
        return Tensor(np.full(reduced_shape(t.shape, axes, keepdims), name == "all"))
    return as_bool((min if name == "all" else max)(from_bool(t), axes, keepdims))


def all(x: Any, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None, keepdim: bool = False,
        where: Any = None) -> Tensor:
    """Whether all elements over axes are true (nonzero): a bool Tensor, without gradient.

    With `where`, which broadcasts, only the elements count that it holds for.

    Examples
    --------
    >>> import tapegrad as tg
    >>> bool((tg.tensor([1.0, 2.0]) > 0).all())
    True
    """
    return _over("all", x, axis, dim, keepdims or keepdim, where)


def any(x: Any, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None, keepdim: bool = False,
        where: Any = None) -> Tensor:
    """Whether any element over axes is true (nonzero): a bool Tensor, without gradient."""
    return _over("any", x, axis, dim, keepdims or keepdim, where)
