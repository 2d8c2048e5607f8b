"""The normal distribution of vectors, with means and a covariance matrix."""

from __future__ import annotations

from typing import Any

from ...errors import ArgumentError, ShapeError
from ...functions import algebra, diagonal, exp, expand_dims, eye, log, reshape, square, squeeze, swapaxes
from ...functions import sum as sum_over
from ...functions.gamma import LOG_TWO_PI
from ...tensor.recording import lift
from ...tensor.tensor import Tensor
from ..passing import passing

_of_scipy = passing("scipy.stats:multivariate_normal")


def _factor(mean: Tensor, cov: Tensor, allow_singular: bool) -> tuple[Tensor, int]:
    """The lower Cholesky factor of the covariance, given as a number, a diagonal or a matrix; and its order."""
    if allow_singular:
        raise ArgumentError("multivariate_normal: of a singular covariance there is no derivative; leave out "
                            "allow_singular=True")
    k = max(mean.size, cov.shape[0] if cov.ndim else 1)
    if cov.ndim < 2:
        cov = cov * eye(k, dtype=cov.dtype)
    if cov.shape != (k, k) or mean.size not in (1, k):
        raise ShapeError(f"multivariate_normal: a mean of shape {list(mean.shape)} and a covariance of "
                         f"{list(cov.shape)} do not fit")
    return algebra.cholesky(cov), k


@_of_scipy
def logpdf(x: Any, mean: Any = None, cov: Any = 1.0, allow_singular: bool = False) -> Tensor:
    """Logarithm of the density.

    Parameters
    ----------
    x : array_like, (..., k)
        Points.
    mean : array_like, (k,), optional
        0 by default.
    cov : array_like, (k, k), (k,) or a number
        Covariance matrix, its diagonal, or a multiple of the identity; differentiable.

    Returns
    -------
    Tensor
        Of the leading shape of `x`, without extents of 1, as SciPy's.
    """
    x, mean, cov = lift(x, 0.0 if mean is None else mean, cov)
    factor, k = _factor(mean, cov, allow_singular)
    if k == 1 and (x.ndim == 0 or x.shape[-1] != 1 or x.ndim == 1):
        x = expand_dims(x, -1)
    if x.shape[-1] != k:
        raise ShapeError(f"multivariate_normal: points of shape {list(x.shape)} have not {k} elements each")
    apart = reshape(x - mean, (-1, k))
    white = algebra.solve_triangular(factor, swapaxes(apart, 0, 1), lower=True)
    whole = -0.5 * (sum_over(square(white), 0) + k * LOG_TWO_PI) - sum_over(log(diagonal(factor)))
    return squeeze(reshape(whole, x.shape[:-1]))


@_of_scipy
def pdf(x: Any, mean: Any = None, cov: Any = 1.0, allow_singular: bool = False) -> Tensor:
    """Density; arguments as of `logpdf`."""
    return exp(logpdf(*lift(x, 0.0 if mean is None else mean, cov), allow_singular=allow_singular))


@_of_scipy
def entropy(mean: Any = None, cov: Any = 1.0) -> Tensor:
    """Differential entropy, in nats."""
    mean, cov = lift(0.0 if mean is None else mean, cov)
    factor, k = _factor(mean, cov, False)
    return 0.5 * k * (1.0 + LOG_TWO_PI) + sum_over(log(diagonal(factor)))
