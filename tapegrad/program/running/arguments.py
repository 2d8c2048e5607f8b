"""Arguments of recorded functions: their arrays, signature and dtype."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...engine.caller import user_line
from ...errors import DtypeError
from ...tape.history import convert, leave
from ...tape.state import state
from ...tensor.arrays import BOOL, FLOAT32, FLOAT64, INT64, foreign_array, native
from ...tensor.tensor import Tensor

Signature = tuple[Any, ...]
_NATIVE = {FLOAT32, FLOAT64, INT64, BOOL}


def as_input(value: Any, whole: bool = False) -> np.ndarray:
    """An argument as an array: float32, float64, int64 or bool.

    A tensor that requires a gradient is refused, for none flows through the results; except if `whole`, where the
    recording holds the whole derivative or no gradients are wanted.
    """
    if type(value) is np.ndarray and value.dtype in _NATIVE:
        return value
    if isinstance(value, Tensor):
        how = "to give a recorded function a tensor, whose results have no gradient,"
        (leave if whole or not state.grad_enabled else convert)(value, how)
        return value._array()
    array = foreign_array(value)
    if array.dtype.kind not in "fiub":
        raise DtypeError(f"{user_line()}: an argument of type {type(value).__name__} ({array.dtype}) is no array of "
                         "numbers; put it into the function instead")
    return native(array, type(value).__name__)


def signature_of(arrays: Sequence[np.ndarray]) -> Signature:
    """Shapes and dtypes."""
    return tuple([(a.shape, a.dtype) for a in arrays])


def float_dtype(arrays: Sequence[np.ndarray]) -> np.dtype | None:
    """The widest float dtype among the arguments."""
    floats = [a.dtype for a in arrays if a.dtype.kind == "f"]
    return None if not floats else FLOAT64 if FLOAT64 in floats else FLOAT32
