"""Data from outside as arrays of the dtypes that tensors have: float32, float64, int64 and bool."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError, DtypeError
from .exchange import array_of

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
INT64, BOOL = np.dtype(np.int64), np.dtype(np.bool_)
DEFAULT_DTYPE = FLOAT32
_MOST = np.iinfo(np.int64).max


def foreign_array(data: Any) -> np.ndarray:
    """`data` as an array: NumPy's, nested lists of numbers, or what another library holds (see `exchange`)."""
    array = data if type(data) is np.ndarray else array_of(data)
    if type(data) is not np.ndarray:
        _refuse_masked(data)
    return array


def _refuse_masked(data: Any) -> None:
    """Raise for masked elements, which are invalid; NumPy drops the mask silently."""
    if isinstance(data, (list, tuple)):
        for part in data:
            if not isinstance(part, (int, float)):
                _refuse_masked(part)
    elif isinstance(data, np.ndarray) and hasattr(data, "mask") and np.any(data.mask):
        raise ArgumentError(f"{int(np.sum(data.mask))} of the {data.size} elements of a masked array are masked, and a "
                            "tensor has no mask; say with .filled(value) what stands there, or use tg.where")


def native(array: np.ndarray, source: str = "ndarray") -> np.ndarray:
    """An array converted to a dtype of tensors without loss, whatever its width and byte order.

    Raises
    ------
    DtypeError
        Of objects, records, text, dates, complex numbers.
    ArgumentError
        Of a number that the widest dtype does not hold.
    """
    dtype = array.dtype
    if dtype.kind == "f":
        if dtype in (FLOAT32, FLOAT64):
            return array
        if dtype.itemsize <= 8:
            return array.astype(FLOAT32 if dtype.itemsize <= 4 else FLOAT64)
        with np.errstate(over="ignore"):
            narrow = array.astype(FLOAT64)
        if not np.array_equal(np.isinf(narrow), np.isinf(array)):
            raise ArgumentError(f"{dtype} data hold a number beyond the range of float64")
        return narrow
    if dtype.kind in "iu":
        if dtype == INT64:
            return array
        if dtype.kind == "u" and dtype.itemsize == 8 and array.size and array.max() > _MOST:
            raise ArgumentError(f"uint64 data hold {int(array.max())}, beyond the range of int64; make them float")
        return array.astype(INT64)
    if dtype.kind == "b":
        return array
    what = f"structured ({', '.join(dtype.names)})" if dtype.names else str(dtype)
    raise DtypeError(f"a tensor cannot hold {what} data ({source}); give numbers")


def as_dtype(array: np.ndarray, dtype: Any, source: str = "ndarray") -> np.ndarray:
    """Explicit conversion to a dtype of tensors."""
    dtype = np.dtype(dtype)
    if dtype not in (FLOAT32, FLOAT64, INT64, BOOL):
        if dtype.kind not in "iu":
            raise DtypeError(f"tensors are float32, float64, int64 or bool, not {dtype}")
        dtype = INT64
    if array.dtype.kind != "u" or dtype == INT64:
        array = native(array, source)
    return np.asarray(array, dtype)


def keeps_dtype(data: Any) -> bool:
    """Whether some part of `data` has a dtype of its own; Python's numbers have none."""
    if isinstance(data, (list, tuple)):
        return any(keeps_dtype(part) for part in data)
    return isinstance(data, np.generic) or not isinstance(data, (float, int))


def as_float_dtype(dtype: Any, name: str) -> np.dtype:
    """`dtype` as float32 or float64, or an error that names the function."""
    found = np.dtype(dtype)
    if found not in (FLOAT32, FLOAT64):
        raise DtypeError(f"{name}: floats are float32 or float64, not {found}")
    return FLOAT32 if found == FLOAT32 else FLOAT64


def on_cpu(device: Any) -> None:
    """Raise unless a device is the processor, where everything is."""
    if device is not None and str(getattr(device, "type", device)).partition(":")[0] != "cpu":
        raise ArgumentError(f"there is no device {device!r}: tapegrad computes on CPUs, and tensors are there already; "
                            "leave it out, or say 'cpu'")
