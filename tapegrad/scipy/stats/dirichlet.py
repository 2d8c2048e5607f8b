"""The Dirichlet distribution of concentrations `alpha`."""

from __future__ import annotations

from typing import Any

from ...errors import ShapeError
from ...functions import concatenate, exp, lgamma, reshape, xlogy
from ...functions import sum as sum_over
from ...tensor.recording import lift
from ...tensor.tensor import Tensor
from ..passing import passing

_of_scipy = passing("scipy.stats:dirichlet")


@_of_scipy
def logpdf(x: Any, alpha: Any) -> Tensor:
    """Logarithm of the density.

    Parameters
    ----------
    x : array_like, (k,) or (k, n)
        Shares that add up to 1 along the first axis, which is not looked at; the last may be left out.
    alpha : array_like, (k,)

    Returns
    -------
    Tensor, () or (n,)
    """
    x, alpha = lift(x, alpha)
    if alpha.ndim != 1 or x.ndim not in (1, 2) or x.shape[0] not in (alpha.size, alpha.size - 1):
        raise ShapeError(f"dirichlet: shares of shape {list(x.shape)} do not fit concentrations of {list(alpha.shape)}")
    if x.shape[0] != alpha.size:
        x = concatenate([x, 1.0 - sum_over(x, 0, True)], 0)
    powers = xlogy(reshape(alpha - 1.0, (-1,) + (1,) * (x.ndim - 1)), x)
    return lgamma(sum_over(alpha)) - sum_over(lgamma(alpha)) + sum_over(powers, 0)


@_of_scipy
def pdf(x: Any, alpha: Any) -> Tensor:
    """Density; arguments as of `logpdf`."""
    return exp(logpdf(x, alpha))
