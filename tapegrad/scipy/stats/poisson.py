"""The Poisson distribution of mean `mu`."""

from __future__ import annotations

import math
from typing import Any

from ...functions import (
    equal,
    exp,
    floor,
    gammainc,
    gammaincc,
    greater_equal,
    less,
    lgamma,
    log,
    logical_and,
    where,
    xlogy,
)
from ...tensor.recording import lift
from ...tensor.tensor import Tensor
from ..passing import passing

_of_scipy = passing("scipy.stats:poisson")


def _count(k: Any, mu: Any, loc: Any) -> tuple[Tensor, Tensor]:
    k, mu, loc = lift(k, mu, loc)
    return k - loc, mu


@_of_scipy
def logpmf(k: Any, mu: Any, loc: Any = 0) -> Tensor:
    """Logarithm of the probability of `k`, differentiable by `mu`; minus infinity where `k` is no count."""
    k, mu = _count(k, mu, loc)
    counts = logical_and(greater_equal(k, 0.0), equal(k, floor(k)))
    number = where(counts, k, 0.0)
    value = where(counts, xlogy(number, mu) - lgamma(number + 1.0) - mu, -math.inf)
    return where(equal(k, k), value, k)


@_of_scipy
def pmf(k: Any, mu: Any, loc: Any = 0) -> Tensor:
    """Probability of `k`, differentiable by `mu`."""
    return exp(logpmf(k, mu, loc))


@_of_scipy
def cdf(k: Any, mu: Any, loc: Any = 0) -> Tensor:
    """Distribution function, differentiable by `mu`."""
    k, mu = _count(k, mu, loc)
    below = less(k, 0.0)
    return where(below, 0.0, gammaincc(floor(where(below, 0.0, k)).detach() + 1.0, mu))


@_of_scipy
def sf(k: Any, mu: Any, loc: Any = 0) -> Tensor:
    """Survival function, 1 less the distribution function."""
    k, mu = _count(k, mu, loc)
    below = less(k, 0.0)
    return where(below, 1.0, gammainc(floor(where(below, 0.0, k)).detach() + 1.0, mu))


@_of_scipy
def logcdf(k: Any, mu: Any, loc: Any = 0) -> Tensor:
    """Logarithm of the distribution function."""
    return log(cdf(*lift(k, mu, loc)))


@_of_scipy
def logsf(k: Any, mu: Any, loc: Any = 0) -> Tensor:
    """Logarithm of the survival function."""
    return log(sf(*lift(k, mu, loc)))
