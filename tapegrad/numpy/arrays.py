"""What makes arrays: functions that NumPy does not let tensors answer for."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..functions import broadcast_to, clone, reshape
from ..tensor.recording import astype, gathered
from ..tensor.tensor import Tensor

__all__ = ["array", "asanyarray", "asarray", "asarray_chkfinite", "ascontiguousarray", "asfortranarray", "full"]


def array(object: Any, dtype: Any = None, *, copy: Any = True, order: Any = "K", subok: bool = False, ndmin: int = 0,
          **others: Any) -> Any:
    """``numpy.array``; a tensor with its history of tensors, and of nested lists that hold some."""
    whole = gathered(object)
    if not isinstance(whole, Tensor):
        return np.array(object, dtype, copy=copy, order=order, subok=subok, ndmin=ndmin, **others)
    if copy and whole is object:
        whole = clone(whole)
    whole = whole if dtype is None else astype(whole, dtype)
    return whole if whole.ndim >= ndmin else reshape(whole, (1,) * (ndmin - whole.ndim) + whole.shape)


def _kept(name: str) -> Any:
    of_arrays = getattr(np, name)

    def function(a: Any, dtype: Any = None, *args: Any, **kwargs: Any) -> Any:
        whole = gathered(a)
        if not isinstance(whole, Tensor):
            return of_arrays(a, dtype, *args, **kwargs)
        return whole if dtype is None else astype(whole, dtype)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"``numpy.{name}``; tensors stay tensors, and lists that hold some become one."
    return function


asarray, asanyarray, asarray_chkfinite = _kept("asarray"), _kept("asanyarray"), _kept("asarray_chkfinite")
ascontiguousarray, asfortranarray = _kept("ascontiguousarray"), _kept("asfortranarray")


def full(shape: Any, fill_value: Any, dtype: Any = None, order: Any = "C", **others: Any) -> Any:
    """``numpy.full``; a tensor with its history of a tensor."""
    value = gathered(fill_value)
    if not isinstance(value, Tensor):
        return np.full(shape, fill_value, dtype, order, **others)
    whole = broadcast_to(value, tuple(shape) if isinstance(shape, (tuple, list)) else (operator.index(shape),))
    return whole if dtype is None else astype(whole, dtype)
