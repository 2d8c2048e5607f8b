"""New tensors from data."""

from __future__ import annotations

from typing import Any

from ..ops.elementwise import UNARY
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
