"""The normal distribution, with mean `loc` and standard deviation `scale`."""

from __future__ import annotations

from typing import Any

from ...functions import exp, log, square
from ...functions.gamma import LOG_TWO_PI
from ...tensor.tensor import Tensor
from ..closed import log_ndtr, ndtr
from ..passing import passing
from .located import located, standard

_of_scipy = passing("scipy.stats:norm")


@_of_scipy
def logpdf(x: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Logarithm of the density."""
    z, scale = located(x, loc, scale)
    return -0.5 * square(z) - log(scale) - 0.5 * LOG_TWO_PI


@_of_scipy
def pdf(x: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Density."""
    return exp(logpdf(x, loc, scale))


@_of_scipy
def logcdf(x: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Logarithm of the distribution function, without underflow."""
    return log_ndtr(standard(x, loc, scale))


@_of_scipy
def cdf(x: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Distribution function."""
    return ndtr(standard(x, loc, scale))


@_of_scipy
def logsf(x: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Logarithm of the survival function, without underflow."""
    return log_ndtr(-standard(x, loc, scale))


@_of_scipy
def sf(x: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Survival function, 1 less the distribution function."""
    return ndtr(-standard(x, loc, scale))
