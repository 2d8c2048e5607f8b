"""The beta distribution of shapes `a` and `b`, on 0 to 1."""

from __future__ import annotations

import math
from typing import Any

from ...functions import betainc, betaln, clip, exp, greater, less, log, logical_or, where, xlog1py, xlogy
from ...tensor.tensor import Tensor
from ..passing import passing
from .located import located, standard

_of_scipy = passing("scipy.stats:beta")


def _within(x: Any, loc: Any, scale: Any) -> Tensor:
    """Where it is taken, between 0 and 1, beyond which the distribution function is constant."""
    return clip(standard(x, loc, scale), 0.0, 1.0)


@_of_scipy
def logpdf(x: Any, a: Any, b: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Logarithm of the density."""
    z, scale, a, b = located(x, loc, scale, a, b)
    outside = logical_or(less(z, 0.0), greater(z, 1.0))
    z = where(outside, 0.5, z)
    inside = xlogy(a - 1.0, z) + xlog1py(b - 1.0, -z) - betaln(a, b) - log(scale)
    return where(outside, -math.inf, inside)


@_of_scipy
def pdf(x: Any, a: Any, b: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Density."""
    return exp(logpdf(x, a, b, loc, scale))


@_of_scipy
def cdf(x: Any, a: Any, b: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Distribution function."""
    return betainc(a, b, _within(x, loc, scale))


@_of_scipy
def sf(x: Any, a: Any, b: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Survival function, 1 less the distribution function."""
    return betainc(b, a, 1.0 - _within(x, loc, scale))


@_of_scipy
def logcdf(x: Any, a: Any, b: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Logarithm of the distribution function."""
    return log(cdf(x, a, b, loc, scale))


@_of_scipy
def logsf(x: Any, a: Any, b: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Logarithm of the survival function."""
    return log(sf(x, a, b, loc, scale))
