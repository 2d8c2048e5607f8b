"""Softmax along the last axis of contiguous rows, and the logarithms that belong to it."""

from __future__ import annotations

from typing import Any

from ..engine.language import cast, plus, wide
from ..engine.mathematics import vecmath as m
from ..engine.mathematics.sums import grown, restored, row_total
from .reduction import INFINITY, SUMMED, accumulate, exponential_sum, greatest, product_sum, rows


def logsumexp_row(f: Any, y: int, x: int, n: int, p: Any) -> int:
    """max + ln sum e^(x - max)."""
    if n == 0:
        f[y] = -INFINITY
        return 0
    top = greatest(f, x, n)
    if m.abs(top) == INFINITY:
        f[y] = top
        return 0
    f[y] = top + m.log(cast(exponential_sum(f, x, n, top), f))
    return 0


def logsumexp_row_adjoint(f: Any, y: int, g: int, x: int, dx: int, n: int, p: Any, store: bool) -> int:
    result = f[y]
    for k in range(n):
        share = m.exp(f[x + k] - result)
        accumulate(f, dx + k, f[g] * (0.0 if result == -INFINITY else share), store)
    return 0


def softmax_row(f: Any, y: int, x: int, n: int, p: Any) -> int:
    """e^(x - max) / sum."""
    if n == 0:
        return 0
    top = greatest(f, x, n)
    total = wide(cast(0.0, f))
    lost = total
    for first in range(0, n, SUMMED):
        part = cast(0.0, f)
        for k in range(first, min(first + SUMMED, n)):
            e = m.exp(f[x + k] - top)
            f[y + k] = e
            part = plus(part, e)
        total, lost = grown(f, total, lost, wide(part))
    scale = 1.0 / cast(restored(f, total, lost), f)
    for k in range(n):
        f[y + k] *= scale
    return 0


def softmax_row_adjoint(f: Any, y: int, g: int, x: int, dx: int, n: int, p: Any, store: bool) -> int:
    """dx += y (g - sum g y)."""
    inner = cast(product_sum(f, g, y, n), f)
    for k in range(n):
        accumulate(f, dx + k, f[y + k] * (f[g + k] - inner), store)
    return 0


def log_softmax_row(f: Any, y: int, x: int, n: int, p: Any) -> int:
    """x - max - ln sum e^(x - max)."""
    if n == 0:
        return 0
    top = greatest(f, x, n)
    shift = m.log(cast(exponential_sum(f, x, n, top), f))
    for k in range(n):
        f[y + k] = (f[x + k] - top) - shift
    return 0


def log_softmax_row_adjoint(f: Any, y: int, g: int, x: int, dx: int, n: int, p: Any, store: bool) -> int:
    """dx += g - e^y sum g."""
    inner = cast(row_total(f, g, n), f)
    for k in range(n):
        accumulate(f, dx + k, f[g + k] - m.exp(f[y + k]) * inner, store)
    return 0


def logsumexp_slopes(r: Any, t: Any) -> Any:
    """e^(x - y), and 0 where y is -inf."""
    return t.exp(r.x - t.where(t.equal(r.y, -INFINITY), 0.0, r.y))


def through_softmax(r: Any, g: Any, t: Any) -> Any:
    """dx = y (g - sum g y); the tangent is the same of d, for the matrix of slopes is symmetric."""
    return r.y * (g - t.sum(g * r.y, -1, keepdims=True))


def to_log_softmax(r: Any, g: Any, t: Any) -> Any:
    """dx = g - e^y sum g."""
    return g - t.exp(r.y) * t.sum(g, 1, keepdims=True)


def by_log_softmax(r: Any, d: Any, t: Any) -> Any:
    """dy = d - sum e^y d."""
    return d - t.sum(t.exp(r.y) * d, 1, keepdims=True)


LOGSUMEXP = rows("logsumexp", logsumexp_row, logsumexp_row_adjoint, "y x", True, "ln sum e^x",
                 weights=logsumexp_slopes)
SOFTMAX = rows("softmax", softmax_row, softmax_row_adjoint, "y", False, "e^x / sum e^x", through_softmax,
               through_softmax)
LOG_SOFTMAX = rows("log_softmax", log_softmax_row, log_softmax_row_adjoint, "y", False, "ln softmax", to_log_softmax,
                   by_log_softmax)
