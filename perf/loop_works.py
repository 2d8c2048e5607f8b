"""The works of loops.py: a recursion, a dynamic programme, a simulation with early exits; as plain Python for numba."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Work:
    """What is to be differentiated.

    Attributes
    ----------
    name : str
    kind : str
        The function of this module.
    sizes : tuple of int
    small : tuple of int
        Sizes to try the script with.
    """

    name: str
    kind: str
    sizes: tuple[int, ...]
    small: tuple[int, ...]
    dtype: str = "float64"


WORKS = {work.name: work for work in (
    Work("GARCH(1,1), 2,000 days", "garch", (2000,), (20,)),
    Work("soft-DTW, 64 x 64", "soft_dtw", (64, 64), (6, 5)),
    Work("barrier option, 2,000 paths x 50 steps", "barrier", (2000, 50), (20, 5)),
)}


def adjusted(work: Work, quick: bool) -> Work:
    """Smaller, to try the script."""
    return replace(work, sizes=work.small) if quick else work


def garch(p: Any, y: Any) -> Any:
    """Negative log-likelihood of GARCH(1,1) with normal innovations, without its constant."""
    s, total = y[0] ** 2, 0.0
    for t in range(1, len(y)):
        s = p[0] + p[1] * y[t - 1] ** 2 + p[2] * s
        total += math.log(s) + y[t] ** 2 / s
    return 0.5 * total


def garch_by_hand(p: Any, y: Any) -> Any:
    """Value and gradient of `garch` by p: s_t is kept, and read backwards."""
    n = len(y)
    s = np.empty(n)
    s[0] = y[0] ** 2
    total = 0.0
    for t in range(1, n):
        s[t] = p[0] + p[1] * y[t - 1] ** 2 + p[2] * s[t - 1]
        total += math.log(s[t]) + y[t] ** 2 / s[t]
    g0 = g1 = g2 = bar = 0.0
    for t in range(n - 1, 0, -1):
        inverse = 1.0 / s[t]
        bar += 0.5 * inverse * (1.0 - y[t] ** 2 * inverse)
        g0 += bar
        g1 += bar * y[t - 1] ** 2
        g2 += bar * s[t - 1]
        bar *= p[2]
    return 0.5 * total, np.array([g0, g1, g2])


def soft_dtw(x: Any, y: Any, gamma: Any) -> Any:
    """Dynamic time warping with a soft minimum (M. Cuturi and M. Blondel, 2017)."""
    n, m = len(x), len(y)
    r = np.empty((n + 1, m + 1))
    for i in range(n + 1):
        r[i, 0] = 1e10
    for j in range(m + 1):
        r[0, j] = 1e10
    r[0, 0] = 0.0
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            a, b, c = r[i - 1, j - 1], r[i - 1, j], r[i, j - 1]
            least = min(a, min(b, c))
            total = math.exp((least - a) / gamma) + math.exp((least - b) / gamma) + math.exp((least - c) / gamma)
            r[i, j] = (x[i - 1] - y[j - 1]) ** 2 + least - gamma * math.log(total)
    return r[n, m]


def barrier(p: Any, z: Any, strike: Any, level: Any) -> Any:
    """A down-and-out call by simulation; p holds the price of the share, its volatility and the rate."""
    paths, steps = z.shape
    dt = 1.0 / steps
    drift, scale = (p[2] - 0.5 * p[1] ** 2) * dt, p[1] * math.sqrt(dt)
    total = 0.0
    for i in range(paths):
        s = p[0]
        alive = True
        for t in range(steps):
            s = s * math.exp(drift + scale * z[i, t])
            if s <= level:
                alive = False
                break
        if alive and s > strike:
            total += s - strike
    return math.exp(-p[2]) * total / paths


def arguments(work: Work, seed: int = 0, level: float = 90.0) -> tuple[Any, ...]:
    """Those of the function, the first of which it is differentiated by."""
    rng = np.random.default_rng(seed)
    if work.kind == "garch":
        return np.array([0.1, 0.2, 0.7]), rng.normal(size=work.sizes[0])
    if work.kind == "soft_dtw":
        n, m = work.sizes
        return np.cumsum(rng.normal(size=n)), np.cumsum(rng.normal(size=m)), 1.0
    return np.array([100.0, 0.3, 0.05]), rng.normal(size=work.sizes), 100.0, level
