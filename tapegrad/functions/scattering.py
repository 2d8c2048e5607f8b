"""Elements reduced into others along an axis, at an index each: `scatter_reduce`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..ops.elementwise import BINARY
from ..tensor.recording import as_tensor, lift
from ..tensor.tensor import Tensor
from .apply import apply_binary, as_given
from .constants import ones_like, zeros_like
from .elementwise import equal, logical_and, logical_not, logical_or, negative, not_equal, where
from .formulas import maximum, multiply
from .gathering import gather, scatter, scatter_add, take_along_axis
from .layout import concatenate, one_axis
from .sorting import argsort

__all__ = ["scatter_reduce"]


def scatter_reduce(input: Any, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True) -> Tensor:
    """A copy of `input` with elements of `src` reduced into it along an axis, at an index each, as PyTorch's.

    Parameters
    ----------
    input : array_like
    dim : int
    index, src : array_like
        As of `scatter_add`.
    reduce : {"sum", "mean", "prod", "amax", "amin"}
        Of "amax" and "amin" ties share the gradient equally; that of "prod" is exact also where elements are zero.
    include_self : bool, default True
        Whether the elements of `input` take part where something is written.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.scatter_reduce(tg.tensor([1.0, 2.0]), 0, [0, 0, 1], tg.tensor([5.0, 3.0, 1.0]), "amax")
    tensor([5., 2.])
    """
    if reduce not in ("sum", "mean", "prod", "amax", "amin"):
        raise ArgumentError(f"scatter_reduce: reduce must be 'sum', 'mean', 'prod', 'amax' or 'amin', not {reduce!r}")
    if reduce in ("sum", "mean"):
        x, s = lift(input, src)
        return _mean_or_sum(x, s, dim, index, reduce, include_self)
    x, s = as_given(input, src)
    at = as_tensor(index)
    touched = not_equal(scatter(zeros_like(x), dim, at, ones_like(s)), 0)  # and what does not fit is named
    s = s[tuple([slice(n) for n in at.shape])]
    d = one_axis(dim, x.ndim, "scatter_reduce")
    if reduce == "prod":
        product = _product(x, d, at, s)
        return multiply(x, product) if include_self else where(touched, product, x)
    if reduce == "amax":
        return _greatest(x, d, at, s, touched, include_self)
    return negative(_greatest(negative(x), d, at, negative(s), touched, include_self))


def _mean_or_sum(x: Tensor, s: Tensor, dim: int, index: Any, reduce: str, include_self: bool) -> Tensor:
    counts = scatter_add(zeros_like(x), dim, index, ones_like(s))
    kept = x if include_self else where(equal(counts, 0.0), x, 0.0)
    total = scatter_add(kept, dim, index, s)
    if reduce == "sum":
        return total
    return total / (counts + 1.0 if include_self else where(equal(counts, 0.0), 1.0, counts))


def _product(x: Tensor, d: int, at: Tensor, s: Tensor) -> Tensor:
    """Products of what is written to each place of `x`, 1 where nothing is.

    In the order of their places factors of one lie side by side, and are multiplied with those 1, 2, 4, ... before
    them: none meets a factor of another, which may be infinite.
    """
    order = argsort(at, d)
    place, product = take_along_axis(at, order, d), take_along_axis(s, order, d)
    n, step = place.shape[d], 1
    before = (slice(None),) * d
    while step < n:
        ahead, behind = before + (slice(None, -step),), before + (slice(step, None),)
        alike = equal(place[ahead], place[behind])
        factors = where(alike, product[ahead], ones_like(product[ahead]))
        ones = Tensor(np.ones((*s.shape[:d], step, *s.shape[d + 1:]), s.dtype))
        product = multiply(product, concatenate([ones, factors], d))
        step *= 2
    return scatter(ones_like(x), d, place, product)  # the last of each place, which is the product of all, counts


def _greatest(x: Tensor, d: int, at: Tensor, s: Tensor, touched: Tensor, include_self: bool) -> Tensor:
    """The greatest of what is written to each place, and of `x`; NaN if one is."""
    order = argsort(s, d)
    plain, there = x.detach(), take_along_axis(at, order, d)
    value = scatter(plain, d, there, take_along_axis(s.detach(), order, d))
    value = maximum(value, plain) if include_self else value
    if not x.is_floating or not (x.requires_grad or s.requires_grad):
        return value

    def same(a: Tensor, b: Tensor) -> Tensor:
        return logical_or(equal(a, b), logical_and(not_equal(a, a), not_equal(b, b)))

    won = same(plain, value) if include_self else logical_not(touched)
    wins = same(s.detach(), gather(value, d, at))
    both = [scatter_add(where(won, a, 0.0), d, at, where(wins, b, 0.0))
            for a, b in ((x, s), (ones_like(x), ones_like(s)))]
    return apply_binary(BINARY["given"], value, both[0] / both[1])
