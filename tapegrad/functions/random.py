"""Random tensors, from the seed of `manual_seed`; in a recording they are drawn anew at each replay."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine.caller import user_line
from ..errors import ArgumentError, DtypeError
from ..ops.random import INTEGERS, NORMAL, PERMUTATION, UNIFORM, Drawn
from ..ops.table import Op
from ..tape.state import state
from ..tensor.arrays import BOOL, DEFAULT_DTYPE, INT64, as_float_dtype, on_cpu
from ..tensor.recording import as_tensor, astype, lift, recorder
from ..tensor.tensor import Tensor
from .dropout import random_stream
from .elementwise import less
from .layout import unpack

__all__ = [
    "bernoulli", "normal", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "randperm",
]


def _drawn(shape: tuple[int, ...], by_rows: bool = True) -> tuple[int, ...]:
    """The words of a stream of one's own, for numbers of such a shape, which depend on each other unless `by_rows`."""
    key, stream, counted, each = random_stream(shape, by_rows)
    return Drawn.words(key=key, stream=stream, counted=counted, each=each)


def _float(name: str, dtype: Any) -> np.dtype:
    """The float dtype in which is drawn: as asked, else that of the recording, else float32."""
    own = state.capture.tape.dtype if state.capture is not None else DEFAULT_DTYPE
    found = own if dtype is None else as_float_dtype(dtype, name)
    if state.capture is not None and found != own:
        raise DtypeError(f"{user_line()}: {name}: this recording computes in {own}, not {found}")
    return found


def _floats(op: Op, name: str, shape: tuple[int, ...], dtype: Any, p: float, q: float, requires_grad: bool) -> Tensor:
    dtype = _float(name, dtype)
    t = recorder(op)(shape, dtype=dtype, always=True, drawn=_drawn(shape), elements=math.prod(shape), p=p, q=q)
    return t.requires_grad_() if requires_grad else t


def shape_of(size: tuple[Any, ...], name: str) -> tuple[int, ...]:
    """The shape of ``f(2, 3)`` and ``f((2, 3))``."""
    try:
        shape = tuple(int(n.__index__()) for n in unpack(size))
    except (AttributeError, TypeError):
        raise ArgumentError(f"{name}: a shape is of integers, not {size!r}") from None
    if any(n < 0 for n in shape):
        raise ArgumentError(f"{name}: {list(shape)} is not a shape")
    return shape


def rand(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Random numbers from 0 up to but not 1.

    Parameters
    ----------
    *size : int, or one tuple of int
    dtype : float32 or float64, optional
        That of the recording in the making, else float32.
    device : "cpu", optional
    requires_grad : bool, default False

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.manual_seed(0)
    >>> x = tg.rand(2, 3)
    >>> tg.manual_seed(0)
    >>> x.equal(tg.rand(2, 3))
    True
    """
    on_cpu(device)
    return _floats(UNIFORM, "rand", shape_of(size, "rand"), dtype, 0.0, 1.0, requires_grad)


def randn(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Random numbers of the standard normal distribution; arguments as of `rand`."""
    on_cpu(device)
    return _floats(NORMAL, "randn", shape_of(size, "randn"), dtype, 0.0, 1.0, requires_grad)


def rand_like(input: Any, *, dtype: Any = None) -> Tensor:
    """`rand` of the shape and dtype of `input`."""
    t = lift(input)[0]
    return _floats(UNIFORM, "rand_like", t.shape, t.dtype if dtype is None else dtype, 0.0, 1.0, False)


def randn_like(input: Any, *, dtype: Any = None) -> Tensor:
    """`randn` of the shape and dtype of `input`."""
    t = lift(input)[0]
    return _floats(NORMAL, "randn_like", t.shape, t.dtype if dtype is None else dtype, 0.0, 1.0, False)


def normal(mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, dtype: Any = None) -> Tensor:
    """Random numbers of normal distributions, as PyTorch's: ``mean + std z``, differentiated by `mean` and `std`.

    Parameters
    ----------
    mean, std : float or array_like
        Of shapes that broadcast.
    size : tuple of int, optional
        Needed where both are numbers.
    dtype : float32 or float64, optional
        Where both are numbers.
    """
    if isinstance(mean, (int, float)) and isinstance(std, (int, float)):
        if std < 0:
            raise ArgumentError(f"normal: std must not be negative, not {std}")
        shape = () if size is None else shape_of((size,), "normal")
        return _floats(NORMAL, "normal", shape, dtype, float(mean), float(std), False)
    mean, std = lift(mean, std)
    shape = np.broadcast_shapes(mean.shape, std.shape)
    if size is not None and shape_of((size,), "normal") != shape:
        raise ArgumentError(f"normal: size {size} is not that of mean and std, {list(shape)}")
    return mean + std * _floats(NORMAL, "normal", shape, mean.dtype, 0.0, 1.0, False)


def bernoulli(input: Any, p: float | None = None) -> Tensor:
    """Ones with the probabilities `input`, else zeros, as PyTorch's; no gradient flows.

    With `p` all have that probability, and `input` gives shape and dtype.
    """
    t = lift(input)[0]
    u = _floats(UNIFORM, "bernoulli", t.shape, t.dtype, 0.0, 1.0, False)
    return astype(less(u, t.detach() if p is None else float(p)), t.dtype)


def _integers(low: int, high: int, shape: tuple[int, ...]) -> Tensor:
    if not low < high or high - low > 1 << 62 or low < -(1 << 62) or high > 1 << 62:
        raise ArgumentError(f"randint: from {low} up to but not {high} there is no number that can be drawn")
    return recorder(INTEGERS)(shape, dtype=_float("randint", None), out_dtype=INT64, always=True, drawn=_drawn(shape),
                              elements=math.prod(shape), low=low, span=high - low)


def randint(low: int, high: Any = None, size: Any = None, *, dtype: Any = None) -> Tensor:
    """Random integers from `low` up to but not `high`, as PyTorch's.

    Parameters
    ----------
    low, high : int
        ``randint(high, size)`` starts at 0.
    size : tuple of int
    dtype : dtype, optional
        int64 by default; a float dtype gives whole numbers.

    Examples
    --------
    >>> import tapegrad as tg
    >>> bool((tg.randint(3, 5, (100,)) < 5).all())
    True
    """
    if size is None and isinstance(high, (tuple, list)):
        high, size = None, high
    if high is None:
        low, high = 0, low
    if size is None:
        raise ArgumentError("randint: say which size, a tuple of int")
    t = _integers(int(low), int(high), shape_of((size,), "randint"))
    return t if dtype is None or np.dtype(dtype) == INT64 else astype(t, dtype)


def randint_like(input: Any, low: int, high: int | None = None, *, dtype: Any = None) -> Tensor:
    """`randint` of the shape of `input`, and of its dtype unless `dtype` is given, as PyTorch's."""
    t = as_tensor(input)
    low, high = (0, low) if high is None else (low, high)
    made = _integers(int(low), int(high), t.shape)
    wanted = t.dtype if dtype is None else np.dtype(dtype)
    return made if wanted == INT64 or wanted == BOOL and dtype is None else astype(made, wanted)


def randperm(n: int) -> Tensor:
    """The numbers below `n` in random order: int64, (n,)."""
    if n < 0:
        raise ArgumentError(f"randperm: n must not be negative, not {n}")
    return recorder(PERMUTATION)((n,), dtype=_float("randperm", None), out_dtype=INT64, always=True,
                                 drawn=_drawn((n,), False),
                                 rows=1, n=n)
