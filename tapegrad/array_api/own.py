"""Functions of the standard that NumPy spells otherwise, and those that make tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import functions
from ..errors import ArgumentError
from ..functions.creation import from_dlpack, tensor
from ..tensor.arrays import BOOL, FLOAT32, FLOAT64, INT64, on_cpu
from ..tensor.tensor import Tensor

__all__ = ["arange", "argsort", "asarray", "cumulative_prod", "cumulative_sum", "empty", "eye", "finfo", "from_dlpack",
           "full", "iinfo", "isdtype", "linspace", "ones", "sort", "zeros"]
DTYPES = {"bool": BOOL, "int64": INT64, "float32": FLOAT32, "float64": FLOAT64}
_KINDS = {"bool": "b", "signed integer": "i", "unsigned integer": "u", "integral": "iu", "real floating": "f",
          "complex floating": "c", "numeric": "iufc"}

# ------------------------------------------------------------------ creation


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: Any = None) -> Tensor:
    """A tensor of data; tensors as they are, unless they have to be converted or copied."""
    on_cpu(device)
    if isinstance(obj, Tensor) and not copy and dtype in (None, obj.dtype):
        return obj
    if copy is False and not isinstance(obj, np.ndarray):
        raise ArgumentError("asarray: copy=False, but the data have to be copied")
    return from_dlpack(obj, copy=False) if copy is False else tensor(obj, dtype=dtype)


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Numbers from `start` up to but not `stop`."""
    on_cpu(device)
    first, end = (0, start) if stop is None else (start, stop)
    if dtype is None:
        dtype = FLOAT32 if any(isinstance(v, float) for v in (first, end, step)) else INT64
    return Tensor(np.arange(first, end, step), dtype)


def linspace(start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: Any = None,
             endpoint: Any = True) -> Tensor:
    """Evenly spaced numbers."""
    on_cpu(device)
    return Tensor(np.linspace(start, stop, num, endpoint), FLOAT32 if dtype is None else dtype)


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: Any = None) -> Tensor:
    """Ones on the k-th diagonal."""
    on_cpu(device)
    return Tensor(np.eye(n_rows, n_cols, k), FLOAT32 if dtype is None else dtype)


def _filled(name: str) -> Callable:
    function = getattr(functions, name)

    def made(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
        return function(shape, dtype=dtype, device=device)

    return made


zeros, ones, empty = _filled("zeros"), _filled("ones"), _filled("empty")


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A number everywhere."""
    return functions.full(shape, fill_value, dtype=dtype, device=device)


# ------------------------------------------------------------------ what NumPy spells otherwise


def sort(x: Tensor, /, *, axis: int = -1, descending: Any = False, stable: Any = True) -> Tensor:
    """A sorted copy."""
    return functions.sort(x, axis, descending)


def argsort(x: Tensor, /, *, axis: int = -1, descending: Any = False, stable: Any = True) -> Tensor:
    """Indices that sort."""
    return functions.argsort(x, axis, descending)


def _cumulative(name: str, of_nothing: int) -> Callable:
    function = getattr(functions, name)

    def scan(x: Tensor, /, *, axis: int | None = None, dtype: Any = None, include_initial: Any = False) -> Tensor:
        if axis is None and x.ndim > 1:
            raise ArgumentError("an array of several axes is accumulated along one of them: give axis=")
        y = function(x if dtype is None else x.astype(dtype), 0 if axis is None else axis)
        if not include_initial:
            return y
        first = list(y.shape)
        first[0 if axis is None else axis] = 1
        return functions.concatenate([full(tuple(first), of_nothing, dtype=y.dtype), y], 0 if axis is None else axis)

    return scan


cumulative_sum, cumulative_prod = _cumulative("cumsum", 0), _cumulative("cumprod", 1)


def isdtype(dtype: Any, kind: Any) -> Any:
    """Whether a dtype is of a kind."""
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    return np.dtype(dtype).kind in _KINDS[kind] if isinstance(kind, str) else dtype == kind


def finfo(type: Any, /) -> np.finfo:
    """Limits of a float dtype, or of a tensor's."""
    return np.finfo(getattr(type, "dtype", type))


def iinfo(type: Any, /) -> np.iinfo:
    """Limits of an integer dtype, or of a tensor's."""
    return np.iinfo(getattr(type, "dtype", type))


class Info:
    """What there is: the processor, the dtypes of tensors."""

    def capabilities(self) -> dict[str, Any]:
        """Boolean indices and shapes that depend on data work, outside of recordings."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": None}

    def default_device(self) -> str:
        """The processor."""
        return "cpu"

    def devices(self) -> list[str]:
        """The processor."""
        return ["cpu"]

    def default_dtypes(self, *, device: Any = None) -> dict[str, np.dtype]:
        """float32 and int64; there are no complex numbers."""
        return {"real floating": FLOAT32, "integral": INT64, "indexing": INT64}

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, np.dtype]:
        """The dtypes of tensors, or those of a kind."""
        return {name: dtype for name, dtype in DTYPES.items() if kind is None or isdtype(dtype, kind)}
