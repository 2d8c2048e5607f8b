"""Special functions that are composed of tapegrad's own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..functions import (
    equal,
    erfc,
    exp,
    greater,
    greater_equal,
    isnan,
    less,
    less_equal,
    lgamma,
    log,
    log1p,
    logical_and,
    square,
    where,
    x_log_x,
)
from ..functions import sum as sum_over
from ..functions.gamma import LOG_TWO_PI, sign_of_gamma
from ..tensor.arrays import FLOAT32
from ..tensor.recording import as_tensor, lift
from ..tensor.tensor import Tensor

ROOT_HALF = math.sqrt(0.5)


def chosen(condition: Any, value: Any, x: Any, inside: float, other: Any) -> Tensor:
    """``value(x)`` where a condition holds, else `other`; without the slopes of what is not chosen.

    Parameters
    ----------
    value : callable
        Is given `inside`, a number where all is well, in place of the other elements of `x`.
    """
    return where(condition, value(where(condition, x, inside)), other)


# ------------------------------------------------------------------ normal distribution


def ndtr(x: Any) -> Tensor:
    """The distribution function of the standard normal."""
    return 0.5 * erfc(-ROOT_HALF * as_tensor(x))


def log_ndtr(x: Any) -> Tensor:
    """The logarithm of `ndtr`, without underflow: far below by the asymptotic series of Mills' ratio."""
    t = lift(x)[0]
    far = -10.0 if t.dtype == FLOAT32 else -20.0

    def below(x: Any) -> Tensor:
        r = 1.0 / square(x)
        series = 1.0 - 17.0 * r
        for k in (15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0):
            series = 1.0 - k * r * series
        return -0.5 * square(x) - log(-x) - 0.5 * LOG_TWO_PI + log(series)

    upper, middle = greater(t, -1.0), logical_and(greater(t, far), less_equal(t, -1.0))
    tail = chosen(less_equal(t, far), below, t, far, t)  # NaN
    near = chosen(middle, lambda x: log(0.5 * erfc(-ROOT_HALF * x)), t, -1.0, tail)
    return chosen(upper, lambda x: log1p(-0.5 * erfc(ROOT_HALF * x)), t, 0.0, near)


# ------------------------------------------------------------------ gamma and beta functions


def gammasgn(x: Any) -> Tensor:
    """The sign of the gamma function."""
    return sign_of_gamma(as_tensor(x))


def gamma(x: Any) -> Tensor:
    """The gamma function, by the exponential of its logarithm: within ``1e-16 |ln gamma(x)|``, relative."""
    return gammasgn(x) * exp(lgamma(x))


def rgamma(x: Any) -> Tensor:
    """``1 / gamma(x)``, 0 at the poles."""
    return gammasgn(x) * exp(-lgamma(x))


def multigammaln(a: Any, d: int) -> Tensor:
    """The logarithm of the multivariate gamma function."""
    t = as_tensor(a)
    return 0.25 * d * (d - 1) * math.log(math.pi) + sum_over(lgamma(t[..., None] - 0.5 * np.arange(d)), axis=-1)


# ------------------------------------------------------------------ entropies


def entr(x: Any) -> Tensor:
    """``-x ln x``, 0 at 0, minus infinity below."""
    t = as_tensor(x)
    outside = less(t, 0.0)
    return where(outside, -math.inf, -x_log_x(where(outside, 1.0, t)))


def rel_entr(x: Any, y: Any) -> Tensor:
    """``x ln(x / y)``, 0 where x is 0, infinity outside."""
    x, y = lift(x, y)
    inside = logical_and(greater(x, 0.0), greater(y, 0.0))
    u, v = where(inside, x, 1.0), where(inside, y, 1.0)
    edge = where(logical_and(equal(x, 0.0), greater_equal(y, 0.0)), 0.0, math.inf)
    return where(inside, u * log(u / v), where(isnan(x + y), x + y, edge))


def kl_div(x: Any, y: Any) -> Tensor:
    """``x ln(x / y) - x + y``, y where x is 0, infinity outside."""
    return rel_entr(x, y) - x + y
