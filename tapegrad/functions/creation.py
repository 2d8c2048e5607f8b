"""New tensors from data."""

from __future__ import annotations

from typing import Any

from ..engine.storage import Buffer, address_of
from ..errors import ArgumentError
from ..ops.elementwise import UNARY
from ..tensor import exchange
from ..tensor.arrays import BOOL, FLOAT32, FLOAT64, INT64
from ..tensor.recording import astype, gathered
from ..tensor.tensor import Tensor
from .apply import apply_unary


def tensor(data: Any, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A new tensor of a copy of `data`.

    Parameters
    ----------
    data : array_like
        Numbers of any shape; tensors too, alone or in nested lists, with their history.
    dtype : dtype, optional
        float32, float64, int64 or bool. By default arrays and tensors keep their float dtype, Python floats become
        float32.
    requires_grad : bool, default False
        Whether `backward` shall accumulate its gradient in `grad`. The tensor is then a leaf, without the history
        of `data`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    >>> tg.tensor([x[1], 0.0, 3 * x[0]]).sum().backward()
    >>> x.grad
    tensor([5., 5.])
    """
    if requires_grad:
        whole = gathered(data)
        return Tensor(whole.numpy() if isinstance(whole, Tensor) else whole, dtype, True)
    if isinstance(data, Tensor):
        if not data.requires_grad and not data.is_symbolic:
            return Tensor(data, dtype)
        whole = apply_unary(UNARY["copy"], data) if data.is_floating else data
    else:
        whole = gathered(data)
        if not isinstance(whole, Tensor):
            return Tensor(whole, dtype)
    return whole if dtype is None else astype(whole, dtype)


def from_dlpack(x: Any, /, *, copy: bool | None = None) -> Tensor:
    """A tensor over the memory of another library's, by DLPack: PyTorch's, JAX's, CuPy's, NumPy's.

    Parameters
    ----------
    x : object with ``__dlpack__``
        In this machine's memory; of any strides.
    copy : bool, optional
        By default only where it has to be: of another dtype than float32, float64, int64 and bool, and of memory that
        may not be written. True copies in any case.

    Returns
    -------
    Tensor
        Keeps the memory alive, and sees what is written into it elsewhere; recorded functions are not told of that. It
        has no gradient and no history.

    Raises
    ------
    DtypeError
        On another device, with a gradient, or of a dtype that NumPy has not.
    ArgumentError
        With ``copy=False``, if it has to be copied.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> a = np.arange(4.0)
    >>> t = tg.from_dlpack(a)
    >>> a[0] = 7.0
    >>> t
    tensor([7., 1., 2., 3.], dtype=float64)
    """
    array = exchange.from_dlpack(x)
    size = array.dtype.itemsize
    reason = (f"its dtype is {array.dtype}" if array.dtype not in (FLOAT32, FLOAT64, INT64, BOOL) else
              "its memory may not be written" if exchange.is_read_only(array) else
              "it is empty" if not array.size else
              "it is not aligned to its elements" if any(s % size for s in (address_of(array), *array.strides)) else "")
    if copy or reason:
        if copy is False:
            raise ArgumentError(f"from_dlpack: copy=False, but {type(x).__name__} has to be copied, for {reason}")
        return Tensor(array)
    strides = tuple(s // size for s in array.strides)
    reach = [(n - 1) * s for n, s in zip(array.shape, strides)]
    before = -sum(r for r in reach if r < 0)
    buffer = Buffer(address_of(array) - before * size, (sum(map(abs, reach)) + 1) * size, array)
    return Tensor._made(buffer, before, array.shape, strides, array.dtype)
