"""Small functions that derived adjoints call."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def tapegrad_power_slope(x: Any, y: Any) -> Any:
    """d(x^y)/dx = y x^(y - 1), 0 where y is 0."""
    return 0.0 if y == 0 else y * x ** (y - 1.0)


def tapegrad_power_log(x: Any, y: Any) -> Any:
    """d(x^y)/dy = x^y ln x, 0 at x = 0 for y > 0."""
    return 0.0 if x == 0.0 and y >= 0.0 else x ** y * math.log(x)


def tapegrad_digamma(x: float) -> float:
    """The logarithmic derivative of the gamma function: recurrence to 6, then the asymptotic series (Abramowitz and
    Stegun 6.3.5, 6.3.7, 6.3.18)."""
    if x <= 0.0 and x == math.floor(x):
        return math.nan
    shift = 0.0
    if x < 0.0:
        shift = -math.pi / math.tan(math.pi * x)
        x = 1.0 - x
    while x < 6.0:
        shift -= 1.0 / x
        x += 1.0
    t = 1.0 / (x * x)
    series = t * (1.0 / 12 - t * (1.0 / 120 - t * (1.0 / 252 - t * (1.0 / 240 - t * (1.0 / 132 - t * (
        691.0 / 32760 - t * (1.0 / 12)))))))
    return shift + math.log(x) - 0.5 / x - series


def tapegrad_cholesky_adjoint(lower: np.ndarray, g: np.ndarray) -> np.ndarray:
    """The adjoint of A = L L^T by A, symmetric: S = L^-T Phi(L^T G) L^-1 (Giles 2008; Murray 2016)."""
    p = np.dot(lower.T, g)
    n = p.shape[0]
    for i in range(n):
        p[i, i] *= 0.5
        for j in range(i + 1, n):
            p[i, j] = 0.0
    inverse = np.linalg.inv(lower)
    s = np.dot(inverse.T, np.dot(p, inverse))
    return 0.5 * (s + s.T)


def tapegrad_product_adjoint(a: np.ndarray, g: float) -> np.ndarray:
    """g times the product of all other elements."""
    found = np.empty_like(a)
    before = 1.0
    for k in np.ndindex(a.shape):
        found[k] = g * before
        before *= a[k]
    after = 1.0
    for j in range(a.size - 1, -1, -1):
        found.flat[j] *= after
        after *= a.flat[j]
    return found


def tapegrad_push(floats: np.ndarray, top: int, a: np.ndarray) -> int:
    """Record the elements of an array; returns the tape's length, be there room for them or not."""
    count = a.size
    if top + count <= floats.size:
        k = top
        for x in a.flat:
            floats[k] = x
            k += 1
    return top + count


def tapegrad_pop(floats: np.ndarray, top: int, a: np.ndarray) -> int:
    """Take the elements of an array back; returns the tape's length."""
    top -= a.size
    elements = a.flat
    for k in range(a.size):
        elements[k] = floats[top + k]
    return top
