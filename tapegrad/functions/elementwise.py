"""Elementwise functions with parameters, comparisons, choices and conversions; those without are in `formulas`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentError, DtypeError
from ..ops.elementwise import BINARY, COMPARE, UNARY
from ..ops.layout import FROM_BOOL, FROM_INT64, TO_BOOL, TO_INT64, WHERE
from ..ops.nest import broadcast_strides, nest
from ..tape.state import Modes
from ..tensor.arrays import BOOL, INT64, foreign_array
from ..tensor.recording import as_tensor, common_dtype, contiguous, gathered, lift, record, recorder
from ..tensor.tensor import Tensor
from . import integers as whole_numbers
from .apply import apply_binary, apply_unary, plan_binary
from .formulas import add, maximum, minimum, multiply
from .integers import broadcast_shape, exactly, integers, to_bool

__all__ = [
    "clip", "contiguous", "elu", "equal", "float_power", "gelu", "greater", "greater_equal", "hardtanh",
    "huber_error", "leaky_relu", "less", "less_equal", "logical_and", "logical_not", "logical_or", "logical_xor",
    "negative", "not_equal", "positive", "power", "scale_shift", "softplus", "where",
]


# ------------------------------------------------------------------ one input


def _signed(name: str, x: Any) -> Tensor:
    """`x` as a tensor, if its dtype has signs."""
    t = as_tensor(x)
    if t.dtype == BOOL:
        raise DtypeError(f"{name} of a bool tensor is not defined; use ~x or tg.logical_not(x), or convert it with "
                         ".astype(...)")
    return t


def negative(x: Any) -> Tensor:
    """-x, elementwise.

    Parameters
    ----------
    x : array_like
        Floats or integers; bool raises, as in NumPy and PyTorch.

    Returns
    -------
    Tensor
        Of the shape of `x`; of integers if `x` is.
    """
    if type(x) is Tensor and x.dtype.kind == "f":
        return apply_unary(UNARY["negative"], x)
    t = _signed("negative", x)
    return apply_unary(UNARY["negative"], t) if t.is_floating else exactly("negative", t)


def positive(x: Any) -> Tensor:
    """`x` itself, as a tensor; bool raises, as in NumPy and PyTorch."""
    return _signed("positive", x)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Tensor:
    """`x`, or ``negative_slope * x`` below zero; at 0 the slope is `negative_slope` (see `grad`)."""
    slope = float(negative_slope)
    return apply_unary(UNARY["leaky_relu" if slope >= 0.0 else "leaky_relu_folded"], x, slope)


def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """`x`, or ``alpha * (exp(x) - 1)`` below zero (Clevert et al. 2015).

    At 0 the slope is `alpha`, and so is the second derivative (see `grad`).
    """
    return apply_unary(UNARY["elu"], x, float(alpha))


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """``log(1 + exp(beta x)) / beta``; `x` itself where ``beta x`` exceeds `threshold`."""
    if beta <= 0:
        raise ArgumentError(f"softplus: beta must be positive, not {beta}")
    return apply_unary(UNARY["softplus"], x, float(beta), float(threshold))


def gelu(x: Any, approximate: str = "none") -> Tensor:
    """``x Phi(x)``, Phi the normal distribution function; ``approximate="tanh"`` for the tanh form (Hendrycks 2016)."""
    if approximate not in ("none", "tanh"):
        raise ArgumentError(f"gelu: approximate must be 'none' or 'tanh', not {approximate!r}")
    return apply_unary(UNARY["gelu" if approximate == "none" else "gelu_tanh"], x)


def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """`x` between `min_val` and `max_val`; on the bounds the slope is 0, as in PyTorch (see `grad`)."""
    if min_val > max_val:
        raise ArgumentError(f"hardtanh: min_val {min_val} exceeds max_val {max_val}")
    return apply_unary(UNARY["hardtanh"], x, float(min_val), float(max_val))


def clip(x: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Tensor:
    """`x` between two bounds; on a bound the slope is 1, as in PyTorch. Bounds may be arrays, with gradients.

    Where `a_min` exceeds `a_max` the result is `a_max`, as in NumPy and PyTorch. Of second derivatives see `grad`.
    """
    low, high = a_min if a_min is not None else min, a_max if a_max is not None else max
    if low is None and high is None:
        raise ArgumentError("clip: give a_min, a_max or both")
    if (whole := integers(x, *(v for v in (low, high) if v is not None))) is not None:
        clipped = whole[0] if low is None else exactly("maximum", whole[0], whole[1])
        return clipped if high is None else exactly("minimum", clipped, whole[-1])
    numbers = (int, float, np.integer, np.floating, type(None))
    if isinstance(low, numbers) and isinstance(high, numbers):
        least, most = -np.inf if low is None else float(low), np.inf if high is None else float(high)
        if least <= most:
            return apply_unary(UNARY["clip"], x, least, most)
        if least > most:
            return apply_unary(UNARY["hardtanh"], x, most, most)  # constant, with slope 0 everywhere
    y, *bounds = lift(x, *(bound for bound in (low, high) if bound is not None))
    if low is not None:
        y = where(greater_equal(y, bounds[0]), y, maximum(y, bounds[0]))  # equal operands share the slope
    if high is not None:
        y = where(less_equal(y, bounds[-1]), y, minimum(y, bounds[-1]))
    return y


# ------------------------------------------------------------------ two inputs


def huber_error(a: Any, b: Any, delta: float = 1.0) -> Tensor:
    """``(a - b)^2 / 2`` where ``|a - b| <= delta``, else ``delta (|a - b| - delta / 2)`` (Huber 1964)."""
    if delta <= 0:
        raise ArgumentError(f"huber: delta must be positive, not {delta}")
    return apply_binary(BINARY["huber_error"], a, b, float(delta))


def power(a: Any, b: Any) -> Tensor:
    """``a ** b``; a Python number as exponent is a constant. At ``a = 0`` the slope by `b` is 0; see `grad`."""
    if (found := integers(a, b)) is not None and (
            found[1].is_symbolic or np.min(found[1]._array(), initial=0) >= 0):
        return exactly("power", *found)
    if isinstance(b, (int, float, np.integer, np.floating)) and not isinstance(b, bool):
        exponent = float(b)
        if exponent == 2.0:
            return apply_unary(UNARY["square"], a)
        if exponent == 1.0:
            return apply_unary(UNARY["copy"], a)
        if exponent == 0.5:
            return apply_unary(UNARY["sqrt"], a)
        if exponent == -1.0:
            return apply_unary(UNARY["reciprocal"], a)
        return apply_unary(UNARY["power_constant"], a, exponent)
    return apply_binary(BINARY["power"], a, b)


def float_power(a: Any, b: Any) -> Tensor:
    """``a ** b`` in float64, as ``numpy.float_power``; what is recorded stays in the dtype of its tape.

    Parameters
    ----------
    a, b : array_like
        Of shapes that broadcast.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.float_power([1, 2, 3], -1).dtype
    dtype('float64')
    """
    tensors = as_tensor(a), as_tensor(b)
    if any(t.is_symbolic or t.requires_grad for t in tensors):
        return power(*lift(a, b))
    return Tensor(np.float_power(*(t._array() for t in tensors)))


# ------------------------------------------------------------------ comparisons and choices


def _compare(name: str) -> Callable:
    op, of_arrays = COMPARE[name], getattr(np, name)

    def function(a: Any, b: Any) -> Tensor:
        a, b = gathered(a), gathered(b)
        if not any(isinstance(v, Tensor) and v.is_symbolic for v in (a, b)) and not _any_float(a, b):
            return Tensor(of_arrays(*(v._array() if isinstance(v, Tensor) else v for v in (a, b))))
        if not _any_float(a, b) and (found := integers(a, b)) is not None:
            return exactly(name, *found)
        a, b = lift(a, b)
        shape, words, *_ = plan_binary(name, a.shape, a.strides, b.shape, b.strides, 0.0)
        return record(op, (a, b), shape, words, dtype=a.dtype, out_dtype=BOOL)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{op.doc}, elementwise and broadcast: a bool Tensor, without gradient."
    return function


def _any_float(*values: Any) -> bool:
    return any(foreign_array(v).dtype.kind == "f" if not isinstance(v, Tensor) else v.is_floating for v in values)


greater, greater_equal, less = _compare("greater"), _compare("greater_equal"), _compare("less")
less_equal, equal, not_equal = _compare("less_equal"), _compare("equal"), _compare("not_equal")


def _logical(name: str, combine: Callable[[Tensor, Tensor], Tensor]) -> Callable:
    of_arrays = getattr(np, name)

    def function(a: Any, b: Any) -> Tensor:
        a, b = as_bool(a), as_bool(b)
        if not (a.is_symbolic or b.is_symbolic):
            return Tensor(of_arrays(a._array(), b._array()))
        return combine(a, b)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{name.replace('_', ' ')}, elementwise and broadcast: a bool Tensor, without gradient."
    return function


logical_and = _logical("logical_and", lambda a, b: as_bool(multiply(from_bool(a), from_bool(b))))
logical_or = _logical("logical_or", lambda a, b: as_bool(add(from_bool(a), from_bool(b))))
logical_xor = _logical("logical_xor", lambda a, b: not_equal(from_bool(a), from_bool(b)))


def logical_not(a: Any) -> Tensor:
    """Logical not, elementwise: a bool Tensor, without gradient."""
    a = as_bool(a)
    return less(from_bool(a), 0.5) if a.is_symbolic else Tensor(~a._array())


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """`a` where `condition` holds, else `b`; broadcast. The gradient goes to the one that was chosen.

    Parameters
    ----------
    condition : array_like of bool
    a, b : array_like

    Notes
    -----
    Both `a` and `b` are computed everywhere, and the one that was not chosen receives a gradient of 0. Where its own
    slope is infinite or NaN (``sqrt`` and ``log`` at 0 or below, division by 0), 0 times that is NaN in the gradient of
    its arguments. Guard the argument too, as in the example.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> x = np.array([0.0, 4.0])
    >>> tg.grad(lambda x: tg.where(x > 0, tg.sqrt(x), 0.0).sum())(x)
    array([ nan, 0.25])
    >>> tg.grad(lambda x: tg.where(x > 0, tg.sqrt(tg.where(x > 0, x, 1.0)), 0.0).sum())(x)
    array([0.  , 0.25])
    """
    c = as_bool(condition)
    if (found := integers(a, b)) is not None:
        return whole_numbers.where(c, *found)
    a, b = lift(a, b)
    shape = broadcast_shape("where", c.shape, a.shape, b.shape)
    strides = tuple(broadcast_strides(t.shape, t.strides, shape) for t in (c, a, b))
    return recorder(WHERE)(shape, dtype=a.dtype, condition=c, u=a, v=b, nest=nest(shape, strides))


# ------------------------------------------------------------------ conversions


def as_bool(value: Any) -> Tensor:
    """`value` as a bool tensor: whether elements are nonzero."""
    t = as_tensor(value)
    if t.dtype == BOOL:
        return t
    if not t.is_symbolic and not (t.is_floating and (t.requires_grad or Modes.recordings)):
        return Tensor(t._array() != 0)
    if not t.is_floating:
        return to_bool(t)
    return recorder(TO_BOOL)(t.shape, dtype=t.dtype, out_dtype=BOOL, x=t, nest=nest(t.shape, (t.strides,)))


def from_bool(t: Tensor) -> Tensor:
    """A bool tensor as zeros and ones of the default or the recording's dtype."""
    from ..tape.state import state

    return convert(t, state.capture.tape.dtype if state.capture is not None else common_dtype(()))


def convert(t: Tensor, dtype: np.dtype) -> Tensor:
    """An int64 or bool tensor as a float one."""
    op = {"i": FROM_INT64, "b": FROM_BOOL}.get(t.dtype.kind)
    if op is None:
        raise DtypeError(f"cannot convert a recorded {t.dtype} tensor to {dtype}")
    return recorder(op)(t.shape, dtype=dtype, x=t, nest=nest(t.shape, (t.strides,)))


def whole(t: Tensor) -> Tensor:
    """A float tensor as int64, without the fractions."""
    return recorder(TO_INT64)(t.shape, dtype=t.dtype, out_dtype=INT64, x=t, nest=nest(t.shape, (t.strides,)))


def scale_shift(x: Any, scale: float, shift: float = 0.0) -> Tensor:
    """``scale * x + shift`` with two Python numbers."""
    return apply_unary(UNARY["scale_shift"], x, float(scale), float(shift))
