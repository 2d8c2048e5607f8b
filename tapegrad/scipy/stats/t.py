"""Student's t distribution of `df` degrees of freedom."""

from __future__ import annotations

from typing import Any

from ...functions import betainc, betaln, exp, greater, less, log, log1p, square, where
from ...tensor.recording import lift
from ...tensor.tensor import Tensor
from ...transforms import custom_jvp
from ..passing import constant, passing
from .located import located, standard

_of_scipy = passing("scipy.stats:t")


def _density(z: Any, df: Any) -> Tensor:
    return -0.5 * (df + 1.0) * log1p(square(z) / df) - 0.5 * log(df) - betaln(0.5, 0.5 * df)


@custom_jvp
def _below(df: Any, z: Any) -> Tensor:
    near = less(square(z), df)  # the smaller of two complementary arguments is exact
    u = square(z) / (df + square(z))
    middle = 0.5 * betainc(0.5, 0.5 * df, where(near, u, 0.0))
    tail = 0.5 * betainc(0.5 * df, 0.5, where(near, 1.0, df / (df + square(z))))
    upper = greater(z, 0.0)
    return where(near, where(upper, 0.5 + middle, 0.5 - middle), where(upper, 1.0 - tail, tail))


_below.defjvps(None, lambda d, y, df, z: d * exp(_density(z, df)))


@_of_scipy
def logpdf(x: Any, df: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Logarithm of the density."""
    z, scale, df = located(x, loc, scale, df)
    return _density(z, df) - log(scale)


@_of_scipy
def pdf(x: Any, df: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Density."""
    return exp(logpdf(x, df, loc, scale))


@_of_scipy
def cdf(x: Any, df: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Distribution function."""
    constant("t.cdf", df=df)
    return _below(*lift(df, standard(x, loc, scale)))


@_of_scipy
def sf(x: Any, df: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Survival function, 1 less the distribution function."""
    constant("t.sf", df=df)
    return _below(*lift(df, -standard(x, loc, scale)))


@_of_scipy
def logcdf(x: Any, df: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Logarithm of the distribution function."""
    return log(cdf(x, df, loc, scale))


@_of_scipy
def logsf(x: Any, df: Any, loc: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Logarithm of the survival function."""
    return log(sf(x, df, loc, scale))
