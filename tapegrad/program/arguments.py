"""Arguments of recorded functions: what a recording depends on, and what is copied into it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DtypeError
from ..tensor import BOOL, FLOAT32, FLOAT64, INT64, Tensor, user_line

Signature = tuple[Any, ...]
_NATIVE = {FLOAT32, FLOAT64, INT64, BOOL}


def as_input(value: Any) -> np.ndarray:
    """An argument as an array: float32, float64, int64 or bool."""
    if type(value) is np.ndarray and value.dtype in _NATIVE:
        return value
    if isinstance(value, Tensor):
        array = value.detach()._array() if not value.is_symbolic else value._array()
    else:
        array = np.asarray(value)
    kind = array.dtype.kind
    if kind == "f":
        return array if array.dtype in (FLOAT32, FLOAT64) else array.astype(FLOAT32)
    if kind in "iu":
        return array if array.dtype == INT64 else array.astype(INT64)
    if kind == "b":
        return array
    raise DtypeError(f"{user_line()}: an argument of type {type(value).__name__} ({array.dtype}) is no array of "
                     "numbers; put it into the function instead")


def signature_of(arrays: Sequence[np.ndarray]) -> Signature:
    """Shapes and dtypes."""
    return tuple([(a.shape, a.dtype) for a in arrays])


def float_dtype(arrays: Sequence[np.ndarray]) -> np.dtype | None:
    """The widest float dtype among the arguments."""
    floats = [a.dtype for a in arrays if a.dtype.kind == "f"]
    return None if not floats else FLOAT64 if FLOAT64 in floats else FLOAT32
