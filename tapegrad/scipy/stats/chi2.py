"""The chi-squared distribution of `df` degrees of freedom."""

from __future__ import annotations

from typing import Any

from ...functions import exp, log
from ...tensor.recording import lift
from ...tensor.tensor import Tensor
from ..passing import passing
from . import gamma

_of_scipy = passing("scipy.stats:chi2")


@_of_scipy
def logpdf(x: Any, df: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Logarithm of the density."""
    x, df, loc, scale = lift(x, df, loc, scale)
    return gamma.logpdf(x, 0.5 * df, loc, 2.0 * scale)


@_of_scipy
def pdf(x: Any, df: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Density."""
    return exp(logpdf(x, df, loc, scale))


@_of_scipy
def cdf(x: Any, df: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Distribution function."""
    x, df, loc, scale = lift(x, df, loc, scale)
    return gamma.cdf(x, 0.5 * df, loc, 2.0 * scale)


@_of_scipy
def sf(x: Any, df: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Survival function, 1 less the distribution function."""
    x, df, loc, scale = lift(x, df, loc, scale)
    return gamma.sf(x, 0.5 * df, loc, 2.0 * scale)


@_of_scipy
def logcdf(x: Any, df: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Logarithm of the distribution function."""
    return log(cdf(x, df, loc, scale))


@_of_scipy
def logsf(x: Any, df: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Logarithm of the survival function."""
    return log(sf(x, df, loc, scale))
