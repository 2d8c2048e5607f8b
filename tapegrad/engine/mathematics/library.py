"""Elementary functions that the C library has; see `vecmath` for those that are vectorised."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..language import device

__all__ = [
    "arccosh", "arcsinh", "arctan2", "arctanh", "cbrt", "ceil", "copysign", "exp2", "fmod", "hypot", "log10", "log2",
    "rint", "trunc",
]


@device
def ceil(x: Any) -> Any:
    """The smallest integer not below `x`."""
    return np.ceil(x)


@device
def trunc(x: Any) -> Any:
    """`x` without its fraction."""
    return np.trunc(x)


@device
def rint(x: Any) -> Any:
    """The nearest integer, of two the even one."""
    return np.rint(x)


@device
def log2(x: Any) -> Any:
    """The logarithm to base 2."""
    return np.log2(x)


@device
def log10(x: Any) -> Any:
    """The logarithm to base 10."""
    return np.log10(x)


@device
def exp2(x: Any) -> Any:
    """``2**x``."""
    return np.exp2(x)


@device
def cbrt(x: Any) -> Any:
    """The cube root."""
    return np.cbrt(x)


@device
def arcsinh(x: Any) -> Any:
    """The inverse hyperbolic sine."""
    return np.arcsinh(x)


@device
def arccosh(x: Any) -> Any:
    """The inverse hyperbolic cosine; NaN below 1."""
    return np.arccosh(x)


@device
def arctanh(x: Any) -> Any:
    """The inverse hyperbolic tangent; NaN outside -1 to 1."""
    return np.arctanh(x)


@device
def arctan2(a: Any, b: Any) -> Any:
    """The angle of the point (b, a), in radians."""
    return np.arctan2(a, b)


@device
def hypot(a: Any, b: Any) -> Any:
    """``sqrt(a**2 + b**2)``, without overflow."""
    return np.hypot(a, b)


@device
def fmod(a: Any, b: Any) -> Any:
    """The remainder of a / b, with the sign of `a`."""
    return np.fmod(a, b)


@device
def copysign(a: Any, b: Any) -> Any:
    """The magnitude of `a` with the sign of `b`."""
    return np.copysign(a, b)
