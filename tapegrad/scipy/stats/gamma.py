"""The gamma distribution of shape `a`."""

from __future__ import annotations

from typing import Any

from ...functions import exp, gammainc, gammaincc, lgamma, log, xlogy
from ...tensor.tensor import Tensor
from ..passing import passing
from .located import from_zero, located, on_positive, standard

_of_scipy = passing("scipy.stats:gamma")


@_of_scipy
def logpdf(x: Any, a: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Logarithm of the density."""
    z, scale, a = located(x, loc, scale, a)
    return on_positive(lambda z: xlogy(a - 1.0, z) - z - lgamma(a), z, scale)


@_of_scipy
def pdf(x: Any, a: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Density."""
    return exp(logpdf(x, a, loc, scale))


@_of_scipy
def cdf(x: Any, a: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Distribution function."""
    return from_zero(lambda z: gammainc(a, z), standard(x, loc, scale), 0.0)


@_of_scipy
def sf(x: Any, a: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Survival function, 1 less the distribution function."""
    return from_zero(lambda z: gammaincc(a, z), standard(x, loc, scale), 1.0)


@_of_scipy
def logcdf(x: Any, a: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Logarithm of the distribution function."""
    return log(cdf(x, a, loc, scale))


@_of_scipy
def logsf(x: Any, a: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Logarithm of the survival function."""
    return log(sf(x, a, loc, scale))
