"""The language of kernels: the primitives, and device functions made of them."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np

from .primitives import (
    FLOATS,
    FRAME_WORDS,
    PLAIN,
    Memory,
    apart,
    array_of,
    bits,
    bits_float,
    byte_address,
    c_call,
    call,
    cast,
    doubles_at,
    enabled,
    float_bits,
    floats_at,
    fortran,
    fortran_gemm,
    frame,
    held,
    increase,
    integers,
    look,
    offer,
    pause,
    plus,
    publish,
    quotient,
    read,
    real,
    real64,
    replace,
    row_address,
    settle,
    wide,
    word_of,
    words_at,
    write,
)
from .row import resolved

__all__ = [
    "DEVICE_FUNCTIONS", "FLOATS", "FRAME_WORDS", "Memory", "apart", "array_of", "bits", "bits_float", "byte_address",
    "c_call", "call", "cast", "device", "device_pair", "doubles_at", "enabled", "float_bits", "floats_at", "fortran",
    "fortran_gemm", "frame", "held", "increase", "integers", "look", "offer", "pause", "plus", "publish", "quotient",
    "read", "real", "real64", "replace", "row_address", "settle", "specialised", "wide", "word_of", "words_at", "write",
]

#: functions that kernels may call, in order of definition; `lowering` registers them with numba
DEVICE_FUNCTIONS: list[tuple[Callable, Callable, Callable]] = []


def device(function: Callable) -> Callable:
    """Let compiled functions call `function`; it stays a plain Python function."""
    if PLAIN:
        function = resolved(function)
    DEVICE_FUNCTIONS.append((function, function, function))
    return function


def device_pair(name: str, single: Callable, double: Callable) -> Callable:
    """One device function of two bodies: `single` where an argument is a float32 or memory of such, else `double`."""
    if PLAIN:
        single, double = resolved(single), resolved(double)

    def pair(*args: Any) -> Any:
        return single(*args) if any(getattr(a, "dtype", None) == np.float32 for a in args) else double(*args)

    pair.__name__ = pair.__qualname__ = name
    pair.__doc__ = double.__doc__
    DEVICE_FUNCTIONS.append((pair, single, double))
    return pair


def specialised(function: Callable, dtype: np.dtype) -> Callable:
    """`function` with its float constants in `dtype`, for numba would promote float32 to float64."""
    if dtype != np.float32:
        return function

    def single(value: Any) -> Any:
        if type(value) is not float:
            return value
        with np.errstate(over="ignore"):  # a bound of float64's range is infinite in float32
            return np.float32(value)

    code = function.__code__
    code = code.replace(co_consts=tuple(map(single, code.co_consts)))
    names = {n: function.__globals__[n] for n in code.co_names if n in function.__globals__}
    closure = tuple(types.CellType(single(c.cell_contents)) for c in function.__closure__ or ())
    scope = {**names, "__name__": function.__module__, "__builtins__": __builtins__}
    scope = {n: single(v) for n, v in scope.items()}
    result = types.FunctionType(code, scope, function.__name__, function.__defaults__, closure or None)
    result.__qualname__, result.__module__ = function.__qualname__, function.__module__
    return result
