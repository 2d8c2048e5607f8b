"""Elementary functions for compiled code, as arithmetic that LLVM turns into vector code."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from . import vecmath32, vecmath64
from .jit import device

def _pair(name: str) -> Callable:
    """The function `name` of either module, by the type of the argument."""
    of_float32, of_float64 = getattr(vecmath32, name), getattr(vecmath64, name)

    def pair(x: Any) -> Any:
        return of_float32(x) if type(x) is np.float32 else of_float64(x)

    pair.__name__ = pair.__qualname__ = name
    pair.__doc__ = of_float64.__doc__
    _PAIRS.append((pair, of_float32, of_float64))
    return pair


_PAIRS: list[tuple[Callable, Callable, Callable]] = []

exp = _pair("exp")
expm1 = _pair("expm1")
log = _pair("log")
log1p = _pair("log1p")
tanh = _pair("tanh")
sigmoid = _pair("sigmoid")
erf = _pair("erf")
softplus = _pair("softplus")


def formulas() -> list[tuple[Callable, Callable | None, Callable | None]]:
    """Every function to be compiled as it is written: itself, its float32 and its float64 body."""

    def functions_of(module: ModuleType) -> list[FunctionType]:
        return [f for f in vars(module).values() if type(f) is FunctionType and f.__module__ == module.__name__]

    singles = [(f, f, None) for f in functions_of(vecmath32)]
    return singles + [(f, None, f) for f in functions_of(vecmath64)] + _PAIRS


@device
def log_sigmoid(x: Any) -> Any:
    """``log(sigmoid(x))``."""
    return -softplus(-x)


@device
def where(condition: Any, a: Any, b: Any) -> Any:
    """`a` if `condition` holds, else `b`; both are evaluated."""
    return a if condition else b


@device
def power(a: Any, b: Any) -> Any:
    return a**b


@device
def isnan(x: Any) -> Any:
    return x != x


@device
def abs(x: Any) -> Any:
    return np.abs(x)


@device
def sqrt(x: Any) -> Any:
    return np.sqrt(x)


@device
def floor(x: Any) -> Any:
    return np.floor(x)


@device
def sin(x: Any) -> Any:
    return np.sin(x)


@device
def cos(x: Any) -> Any:
    return np.cos(x)


@device
def tan(x: Any) -> Any:
    return np.tan(x)


@device
def asin(x: Any) -> Any:
    return np.arcsin(x)


@device
def acos(x: Any) -> Any:
    return np.arccos(x)


@device
def atan(x: Any) -> Any:
    return np.arctan(x)


@device
def sinh(x: Any) -> Any:
    return np.sinh(x)


@device
def cosh(x: Any) -> Any:
    return np.cosh(x)
