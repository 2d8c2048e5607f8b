"""New tensors of constants and ranges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine.caller import user_line
from ..errors import ArgumentError, DtypeError
from ..tensor.arrays import DEFAULT_DTYPE, INT64, on_cpu
from ..tensor.recording import as_tensor
from ..tensor.tensor import Tensor
from .random import shape_of

__all__ = ["arange", "empty", "empty_like", "eye", "full", "full_like", "linspace", "ones", "ones_like", "zeros",
           "zeros_like"]


def _made(array: np.ndarray, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    on_cpu(device)
    return Tensor(array, dtype, requires_grad)


def _array_like(x: Any) -> Any:
    """What has a shape and a dtype of tensors."""
    return x if isinstance(x, (Tensor, np.ndarray)) else as_tensor(x)


def filling(name: str, value: Any, dtype: np.dtype) -> np.ndarray:
    """A number in a dtype, without its fraction in integers, which have no infinities and no NaN."""
    number, dtype = np.asarray(value), INT64 if dtype.kind in "iu" else dtype
    if dtype == INT64 and number.dtype.kind == "f" and not np.all(np.abs(number) < 2.0**63):
        raise DtypeError(f"{user_line()}: {name}: {value} is no number of {dtype}; convert the tensor with .float() "
                         "first")
    return number.astype(dtype)


def _shape_and_dtype(size: Sequence[Any], dtype: Any, name: str) -> tuple[tuple[int, ...], Any]:
    """The shape of ``f(2, 3)`` and ``f((2, 3))``, behind which NumPy has the dtype."""
    if dtype is None and len(size) == 2 and not hasattr(size[-1], "__index__"):
        size, dtype = size[:1], size[-1]
    return shape_of(tuple(size), name), DEFAULT_DTYPE if dtype is None else dtype


def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros.

    Parameters
    ----------
    *size : int, or one tuple of int
    dtype : dtype, optional
        float32 by default, as everything that Python's numbers make.
    device : "cpu", optional
    requires_grad : bool, default False

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.zeros(2, 2)
    tensor([[0., 0.],
            [0., 0.]])
    """
    shape, dtype = _shape_and_dtype(size, dtype, "zeros")
    return _made(np.zeros(shape), dtype, device, requires_grad)


def ones(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones; arguments as of `zeros`."""
    shape, dtype = _shape_and_dtype(size, dtype, "ones")
    return _made(np.ones(shape), dtype, device, requires_grad)


def empty(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros that are meant to be overwritten; arguments as of `zeros`."""
    return zeros(*size, dtype=dtype, device=device, requires_grad=requires_grad)


def full(size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A number everywhere; of its kind by default: float32, int64 or bool.

    Parameters
    ----------
    size : int or tuple of int
    fill_value : float, int or bool
    """
    if dtype is not None:
        fill_value = filling("full", fill_value, np.dtype(dtype))
    return _made(np.full(shape_of((size,), "full"), fill_value),
                 DEFAULT_DTYPE if dtype is None and isinstance(fill_value, float) else dtype, device, requires_grad)


def zeros_like(x: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of the shape and dtype of `x`."""
    x = _array_like(x)
    return _made(np.zeros(x.shape), x.dtype if dtype is None else dtype, device, requires_grad)


def ones_like(x: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of the shape and dtype of `x`."""
    x = _array_like(x)
    return _made(np.ones(x.shape), x.dtype if dtype is None else dtype, device, requires_grad)


def empty_like(x: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of the shape and dtype of `x`, that are meant to be overwritten."""
    return zeros_like(x, dtype=dtype, device=device, requires_grad=requires_grad)


def full_like(x: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A number everywhere, of the shape and dtype of `x`."""
    x = _array_like(x)
    dtype = x.dtype if dtype is None else np.dtype(dtype)
    return _made(np.full(x.shape, filling("full_like", fill_value, dtype)), dtype, device, requires_grad)


def arange(start: Any, end: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None,
           requires_grad: bool = False) -> Tensor:
    """Numbers from `start` up to but not `end`: int64 of integers, else float32.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.arange(3), tg.arange(0.0, 1.0, 0.5)
    (tensor([0, 1, 2]), tensor([0. , 0.5]))
    """
    start, end = (0, start) if end is None else (start, end)
    if step == 0 or not all(math.isfinite(v) for v in (start, end, step)):
        raise ArgumentError(f"arange: from {start} to {end} in steps of {step} there is no end")
    array = np.arange(start, end, step)
    return _made(array, DEFAULT_DTYPE if dtype is None and array.dtype.kind == "f" else dtype, device, requires_grad)


def linspace(start: float, end: float, steps: int = 50, *, dtype: Any = None, device: Any = None,
             requires_grad: bool = False) -> Tensor:
    """So many numbers from `start` to `end`, both among them; float32 by default."""
    return _made(np.linspace(start, end, steps), DEFAULT_DTYPE if dtype is None else dtype, device, requires_grad)


def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """The identity matrix, or one of n rows and m columns with ones on its diagonal; float32 by default."""
    return _made(np.eye(n, m), DEFAULT_DTYPE if dtype is None else dtype, device, requires_grad)
