"""Elementwise functions that are composed of others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine.caller import user_line
from ..errors import ArgumentError, DtypeError
from ..ops.elementwise import UNARY
from ..tensor.arrays import BOOL
from ..tensor.recording import as_tensor, lift, lift_to
from ..tensor.tensor import Tensor
from .apply import apply_unary, as_given
from .elementwise import clip, equal, greater, less, logical_or, not_equal, scale_shift, where
from .formulas import (
    absolute,
    add,
    digamma,
    floor_divide,
    j0,
    j1,
    lgamma,
    multiply,
    remainder,
    rint,
    sigmoid,
    subtract,
    trunc,
)

__all__ = [
    "addcdiv", "addcmul", "bessel_j0", "bessel_j1", "deg2rad", "divmod", "expit", "fix", "gammaln", "isfinite",
    "isinf", "isnan", "lerp", "logit", "nan_to_num", "polygamma", "psi", "rad2deg", "round", "signbit",
]

expit, fix, gammaln, psi, bessel_j0, bessel_j1 = sigmoid, trunc, lgamma, digamma, j0, j1


def deg2rad(x: Any) -> Tensor:
    """Degrees in radians."""
    return scale_shift(x, math.pi / 180.0)


def rad2deg(x: Any) -> Tensor:
    """Radians in degrees."""
    return scale_shift(x, 180.0 / math.pi)


def round(x: Any, decimals: int = 0) -> Tensor:
    """The nearest number of so many decimals, of two the even one; slope 0.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.round(tg.tensor([0.5, 1.5, 2.26]), 1)
    tensor([0.5, 1.5, 2.3])
    """
    t = as_tensor(x)
    if not t.is_floating and not t.is_symbolic:
        return Tensor(np.round(t._array(), decimals))
    if not t.is_floating:
        if decimals < 0 or t.dtype == BOOL:
            raise DtypeError(f"{user_line()}: round: {t.dtype} that depends on the recording's inputs to {decimals} "
                             "decimals; round it before, or convert it with .float()")
        return t
    if decimals == 0:
        return rint(t)
    power = 10.0 ** abs(decimals)
    return rint(t * power) / power if decimals > 0 else rint(t / power) * power


def divmod(a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """`floor_divide` and `remainder`, elementwise and broadcast."""
    return floor_divide(a, b), remainder(a, b)


def logit(x: Any, eps: float | None = None) -> Tensor:
    """``ln(x / (1 - x))``; `x` is clipped to `eps` and ``1 - eps`` first if that is given."""
    if eps is not None:
        x = clip(x, float(eps), 1.0 - float(eps))
    return apply_unary(UNARY["logit"], x)


def polygamma(n: int, input: Any) -> Tensor:
    """The `n`-th derivative of `digamma`, as PyTorch's and SciPy's.

    Parameters
    ----------
    n : int, from 0 on
    input : array_like
        For ``n > 1`` not below -10,000, where it is NaN.
    """
    if not isinstance(n, (int, float, np.integer)) or n != int(n) or n < 0:
        raise ArgumentError(f"polygamma: n is a whole number from 0 on, not {n!r}")
    return digamma(input) if n == 0 else apply_unary(UNARY["polygamma"], input, float(n))


def lerp(start: Any, end: Any, weight: Any) -> Tensor:
    """``start + weight (end - start)``, as PyTorch's."""
    start, end, weight = lift(start, end, weight)
    return add(start, multiply(weight, subtract(end, start)))


def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1.0) -> Tensor:
    """``input + value tensor1 tensor2``, as PyTorch's."""
    input, tensor1, tensor2 = lift(input, tensor1, tensor2)
    return input + float(value) * tensor1 * tensor2


def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1.0) -> Tensor:
    """``input + value tensor1 / tensor2``, as PyTorch's."""
    input, tensor1, tensor2 = lift(input, tensor1, tensor2)
    return input + float(value) * (tensor1 / tensor2)


# ------------------------------------------------------------------ what is a number


def isnan(x: Any) -> Tensor:
    """Whether elements are NaN: a bool Tensor, without gradient."""
    t = as_tensor(x)
    return not_equal(t, t)


def isinf(x: Any) -> Tensor:
    """Whether elements are infinite: a bool Tensor, without gradient."""
    return equal(absolute(as_tensor(x)), math.inf)


def isfinite(x: Any) -> Tensor:
    """Whether elements are neither infinite nor NaN: a bool Tensor, without gradient."""
    return less(absolute(as_tensor(x)), math.inf)


def signbit(x: Any) -> Tensor:
    """Whether elements have a minus sign, -0.0 too: a bool Tensor, without gradient."""
    t = lift(x)[0]
    return less(t, 0.0) if not t.is_floating else logical_or(less(t, 0.0), less(1.0 / t, 0.0))


def nan_to_num(x: Any, copy: bool = True, nan: float | None = 0.0, posinf: float | None = None,
               neginf: float | None = None) -> Tensor:
    """`x` with numbers in place of NaN and the infinities, which get no gradient.

    Parameters
    ----------
    x : array_like
    copy : ignored
        There is always a new tensor.
    nan : float, default 0.0
    posinf, neginf : float, optional
        By default the largest and the lowest number of the dtype.
    """
    if not isinstance(copy, (bool, np.bool_)):
        raise ArgumentError(f"nan_to_num: copy is a bool, not {copy!r}; PyTorch's second argument is nan=")
    t = as_given(x)[0]
    if not t.is_floating:
        return t
    ends = np.finfo(t.dtype)
    high, low = float(ends.max if posinf is None else posinf), float(ends.min if neginf is None else neginf)
    finite = isfinite(t)
    other, most, least = (lift_to(value, t.dtype) for value in (float(nan or 0.0), high, low))
    others = where(isnan(t), other, where(greater(t, 0.0), most, least))
    return where(finite, t, others)


