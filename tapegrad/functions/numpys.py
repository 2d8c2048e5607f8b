"""Functions that tensors know under NumPy's names alone: comparisons within bounds, complex parts, dtypes, ranges."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine.caller import user_line
from ..errors import ArgumentError, DtypeError
from ..tensor.arrays import INT64, on_cpu
from ..tensor.recording import as_tensor, astype, gathered, lift
from ..tensor.tensor import Tensor
from .composed import isinf, isnan, rad2deg
from .counterparts import no_out
from .elementwise import equal, greater, less, less_equal, logical_and, logical_or, power, where
from .formulas import abs as absolute
from .formulas import add, arctan2, floor_divide, multiply, subtract
from .fourier import fftshift, ifftshift
from .layout import broadcast_to, moveaxis, reshape
from .truth import all as all_over

# ------------------------------------------------------------------ comparisons


def isclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Tensor:
    """Whether ``|a - b| <= atol + rtol |b|``, elementwise and broadcast: a bool Tensor; infinities equal themselves."""
    a, b = _alike(a, b)
    if not (a.is_symbolic or b.is_symbolic):
        return Tensor(np.isclose(a._array(), b._array(), _plain(rtol), _plain(atol), equal_nan))
    near = logical_and(less_equal(absolute(subtract(a, b)), add(atol, multiply(rtol, absolute(b)))),
                       less(absolute(b), math.inf))
    close = logical_or(near, equal(a, b))
    return logical_or(close, logical_and(isnan(a), isnan(b))) if equal_nan else close


def _alike(a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Tensors of both, where a number takes the other's dtype."""
    given = [gathered(v) for v in (a, b)]
    if any(isinstance(t, Tensor) and t.is_floating for t in given):
        a, b = lift(*given)
        return a, b
    return as_tensor(given[0]), as_tensor(given[1])


def _plain(value: Any) -> Any:
    return value._array() if isinstance(value, Tensor) else value


def allclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> bool:
    """Whether `isclose` holds everywhere."""
    return bool(all_over(isclose(a, b, rtol, atol, equal_nan)))


def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> bool:
    """Whether shapes and all elements are equal."""
    a, b = _alike(a1, a2)
    if a.shape != b.shape:
        return False
    same = equal(a, b)
    return bool(all_over(logical_or(same, logical_and(isnan(a), isnan(b))) if equal_nan else same))


def array_equiv(a1: Any, a2: Any) -> bool:
    """Whether shapes broadcast and all elements are equal."""
    a, b = _alike(a1, a2)
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        return False
    return bool(all_over(equal(a, b)))


def _infinite(name: str, compare: Callable[[Any, Any], Tensor]) -> Callable:
    def function(x: Any, out: None = None) -> Tensor:
        if out is not None:
            raise no_out(name)
        return logical_and(isinf(x), compare(x, 0.0))

    return function


# ------------------------------------------------------------------ bits


def shift(a: Any, count: Any, left: bool) -> Tensor:
    """Integers moved by so many bits: products with, and floors of quotients by, powers of two."""
    a, count = as_tensor(a), as_tensor(count)
    if a.dtype != INT64 or count.dtype != INT64:
        raise DtypeError(f"{user_line()}: {'<<' if left else '>>'} is of integers, not {a.dtype} and {count.dtype}")
    first = count // 2  # 2 ** 63 is beyond int64
    step = multiply if left else floor_divide
    return step(step(a, power(2, first)), power(2, count - first))


def _bitwise(symbol: str) -> Callable:
    return lambda *given: getattr(Tensor, symbol)(*map(as_tensor, given))


# ------------------------------------------------------------------ real and complex


def angle(z: Any, deg: bool = False) -> Tensor:
    """The angle of real numbers: 0, and pi of negative ones; slope 0."""
    radians = arctan2(0.0, z)
    return rad2deg(radians) if deg else radians


# ------------------------------------------------------------------ dtypes, copies


def _told_dtypes(function: Callable) -> Callable:
    """NumPy's function of dtypes, told those of tensors."""
    return lambda *given, **others: function(*(v.dtype if isinstance(v, Tensor) else v for v in given), **others)


def _common_type(*arrays: Any) -> Any:
    return np.common_type(*(np.empty(0, v.dtype) if isinstance(v, Tensor) else v for v in arrays))


def _astype(x: Tensor, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Tensor:
    on_cpu(device)
    return astype(x, dtype)


def _printed(function: Callable) -> Callable:
    """NumPy's function that prints, of a tensor's values."""
    return lambda arr, *how, **named: function(arr.detach().numpy(), *how, **named)


# ------------------------------------------------------------------ ranges


def linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None,
             axis: int = 0, *, device: Any = None) -> Any:
    """Evenly spaced numbers between tensors, broadcast, along a new axis; with gradients to both ends."""
    on_cpu(device)
    number = operator.index(num)
    if number < 0:
        raise ArgumentError(f"linspace: {number} numbers")
    gaps = number - 1 if endpoint else number
    start, stop = lift(start, stop)
    shape = np.broadcast_shapes(start.shape, stop.shape)
    weights = reshape(np.arange(number) / gaps if gaps > 0 else np.zeros(number), (number,) + (1,) * len(shape))
    values = add(multiply(start, subtract(1.0, weights)), multiply(stop, weights))
    values = moveaxis(broadcast_to(values, (number, *shape)), 0, axis)
    values = values if dtype is None else astype(values, dtype)
    return (values, (stop - start) / gaps if gaps > 0 else math.nan) if retstep else values


def logspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None,
             axis: int = 0) -> Tensor:
    """Powers of `base` with evenly spaced exponents, along a new axis."""
    values = power(base, linspace(start, stop, num, endpoint, axis=axis))
    return values if dtype is None else astype(values, dtype)


#: by NumPy's dotted name, with NumPy's parameters
_FUNCTIONS: dict[str, Callable] = {
    "isclose": isclose, "allclose": allclose, "array_equal": array_equal, "array_equiv": array_equiv,
    "isposinf": _infinite("isposinf", greater), "isneginf": _infinite("isneginf", less),
    "real": lambda val: as_tensor(val), "imag": lambda val: where(True, 0.0, val),
    "real_if_close": lambda a, tol=100: as_tensor(a), "angle": angle,
    "conjugate": as_tensor, "isreal": lambda x: Tensor(np.ones(x.shape, np.bool_)),
    "iscomplex": lambda x: Tensor(np.zeros(x.shape, np.bool_)),
    "isrealobj": lambda x: True, "iscomplexobj": lambda x: False,
    "result_type": _told_dtypes(np.result_type), "can_cast": _told_dtypes(np.can_cast), "common_type": _common_type,
    **{name: _printed(getattr(np, name)) for name in ("array2string", "array_repr", "array_str")},
    "astype": _astype, "linspace": linspace, "logspace": logspace,
    **{f"bitwise_{name}": _bitwise(f"__{name}__") for name in ("and", "or", "xor")}, "invert": _bitwise("__invert__"),
    "left_shift": lambda a, b: shift(a, b, True), "right_shift": lambda a, b: shift(a, b, False),
    "fft.fftshift": fftshift, "fft.ifftshift": ifftshift,
}


def counterparts() -> dict[Any, Callable]:
    """A dict from NumPy's functions to those of this module."""
    places = [(np.fft if name.startswith("fft.") else np, name.rpartition(".")[2], function)
              for name, function in _FUNCTIONS.items()]
    return {getattr(where, name): function for where, name, function in places if hasattr(where, name)}
