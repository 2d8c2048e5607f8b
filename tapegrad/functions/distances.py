"""Norms, and the distances of all pairs of points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine.storage import contiguous_strides
from ..errors import ArgumentError, ShapeError
from ..ops.differences import PAIR_DOTS, PAIR_SUMS
from ..ops.distance import CDIST
from ..ops.nest import broadcast_strides, nest
from ..tensor.recording import lift, recorder
from ..tensor.tensor import Tensor
from .elementwise import greater, where
from .factorizations import inv
from .formulas import absolute, multiply, subtract
from .indexing import take_axis
from .layout import as_tensor, moveaxis, one_axis, reshape
from .reductions import Axis, axes_of, reduce_rows
from .reductions import max as max_over
from .reductions import min as min_over
from .reductions import sum as sum_over
from .spectra import svdvals

__all__ = ["cdist", "dist", "pdist", "renorm", "vector_norm"]


def vector_norm(x: Any, ord: float = 2, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None,
                keepdim: bool = False) -> Tensor:
    """The p-norm ``(sum |x|^p)^(1/p)`` over axes.

    Parameters
    ----------
    x : array_like
    ord : float, default 2
        The power p; inf and -inf for the largest and smallest magnitude, 0 for the number of nonzero elements.
    axis : int or tuple of int, optional
        All axes by default. `dim` is an alias.
    keepdims : bool, default False
        Keep the axes with extent 1. `keepdim` is an alias.

    Returns
    -------
    Tensor

    Notes
    -----
    The gradient is ``sign(x) (|x| / norm)^(p - 1)``; it is 0 where the norm is 0, and for ``p <= 1`` where an element
    is 0. Ties share the gradient of ``p = inf`` and ``-inf``. There second derivatives are 0 too, see `grad`.
    """
    t = lift(x)[0]
    if not isinstance(ord, (int, float, np.integer, np.floating)) or math.isnan(ord):
        raise ArgumentError(f"vector_norm: ord must be a number, inf or -inf, not {ord!r}")
    axes = axes_of(axis, dim, t.ndim, "vector_norm")
    return reduce_rows("norm", t, axes, None, keepdims or keepdim, float(ord), identity=0 <= ord < math.inf)


def dist(input: Any, other: Any, p: float = 2.0) -> Tensor:
    """The p-norm of ``input - other``, broadcast, over all elements, as PyTorch's; where they are equal its slope is 0.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.dist(tg.tensor([1.0, 2.0]), tg.tensor([4.0, 6.0]))
    tensor(5.)
    """
    a, b = lift(input, other)
    return vector_norm(subtract(a, b), p)


def renorm(input: Any, p: float, dim: int, maxnorm: float) -> Tensor:
    """Slices along an axis, those whose p-norm exceeds `maxnorm` made shorter, as PyTorch's.

    Parameters
    ----------
    input : array_like
        Of two axes at least.
    p : float
        Greater than 0.
    dim : int
        The axis along which the slices are counted; a norm is over all of the others.
    maxnorm : float
        At least 0.

    Returns
    -------
    Tensor, of the shape of `input`
        ``x maxnorm / (norm + 1e-7)`` where the norm is greater, else x.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.renorm(tg.tensor([[3.0, 4.0], [0.3, 0.4]]), 2, 0, 1.0).norm(dim=1)
    tensor([1. , 0.5])
    """
    x = lift(input)[0]
    if x.ndim < 2:
        raise ShapeError(f"renorm: two axes at least, not shape {list(x.shape)}")
    if not p > 0 or not maxnorm >= 0:
        raise ArgumentError(f"renorm: p must be greater than 0 and maxnorm not negative, not {p!r} and {maxnorm!r}")
    kept = one_axis(dim, x.ndim, "renorm")
    norms = vector_norm(x, p, [d for d in range(x.ndim) if d != kept], True)
    return multiply(x, where(greater(norms, float(maxnorm)), float(maxnorm) / (norms + 1e-7), 1.0))


def norm(x: Any, ord: float | str | None = None, axis: int | Sequence[int] | None = None, keepdims: bool = False, *,
         p: float | str | None = None, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """A norm of vectors or matrices, as ``numpy.linalg.norm``.

    Parameters
    ----------
    x : array_like
    ord : float or "fro", optional
        Of vectors any power p, inf, -inf or 0, see `vector_norm`. Of matrices "fro", 1 and -1 (largest and smallest
        column sum of magnitudes), inf and -inf (row sum), 2 and -2 (largest and smallest singular value), "nuc" (their
        sum). By default 2 of vectors, "fro" of matrices; `p` is an alias.
    axis : int or pair of int, optional
        The axis of vectors, or the two of matrices. By default all of `x`, which must have 1 or 2 axes if `ord` is
        given. `dim` is an alias.
    keepdims : bool, default False
        Keep the axes with extent 1. `keepdim` is an alias.

    Returns
    -------
    Tensor
        The gradient where the norm is 0 is 0.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.norm(tg.tensor([3.0, 4.0]))
    tensor(5.)
    """
    t = lift(x)[0]
    keep = keepdims or keepdim
    chosen = axis if dim is None else dim
    ord = p if ord is None else ord
    axes = axes_of(chosen, None, t.ndim, "norm")
    if ord is None or (ord == "fro" and len(axes) == 2):
        if chosen is not None and len(axes) not in (1, 2):
            raise ArgumentError(f"norm: one axis of vectors or two of matrices, not {chosen}; see vector_norm")
        return vector_norm(t, 2, axes, keep)
    if len(axes) == 1:
        if isinstance(ord, str):
            raise ArgumentError(f"norm: ord {ord!r} is of matrices; vectors take a number")
        return vector_norm(t, ord, axes, keep)
    if len(axes) != 2:
        raise ArgumentError(f"norm: ord {ord!r} of a tensor of {t.ndim} axes: say along which one or two axes")
    if axes[0] == axes[1]:
        raise ArgumentError(f"norm: the axes of a matrix are two, not {chosen}")
    kept = tuple(1 if d in axes else n for d, n in enumerate(t.shape) if keep or d not in axes)
    if ord in (2, -2, "nuc"):
        values = svdvals(moveaxis(t, axes, (-2, -1)))
        over = sum_over if ord == "nuc" else max_over if ord == 2 else min_over
        return reshape(over(values, -1), kept)
    if ord not in (1, -1, math.inf, -math.inf):
        raise ArgumentError(f"norm: ord {ord!r} of matrices; there are 'fro', 'nuc', 1, -1, 2, -2, inf and -inf")
    summed, other = axes if ord in (1, -1) else (axes[1], axes[0])
    sums = sum_over(absolute(t), summed, keepdims=True)
    return reshape((max_over if ord > 0 else min_over)(sums, other, keepdims=True), kept)


def matrix_norm(x: Any, ord: float | str = "fro", axis: Sequence[int] = (-2, -1), keepdims: bool = False, *,
                dim: Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """The norm of matrices, by default of the last two axes; arguments as of `norm`."""
    return norm(x, ord, tuple(axis if dim is None else dim), keepdims or keepdim)


def cond(x: Any, p: float | str | None = None) -> Tensor:
    """The condition number of matrices (..., m, n): the greatest singular value over the least, of square ones also the
    norm of order `p` times that of the inverse."""
    t = lift(x)[0]
    if p in (None, 2, -2):
        s = svdvals(t)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    return matrix_norm(t, p) * matrix_norm(inv(t), p)  # type: ignore[arg-type]


def cdist(x1: Any, x2: Any, p: float = 2.0, compute_mode: str | None = None) -> Tensor:
    """The p-norm distance of each pair of two sets of points.

    Parameters
    ----------
    x1 : array_like, (..., P, M)
    x2 : array_like, (..., R, M)
        Leading axes broadcast.
    p : float, default 2.0
        As `ord` of `vector_norm`, not negative.
    compute_mode : ignored
        Differences are always taken element by element, which keeps the digits of close points.

    Returns
    -------
    Tensor, (..., P, R)
        The gradient where a distance is 0 is 0.

    Notes
    -----
    Value and gradient take no memory beside their results, nor do further derivatives for ``p = 2``. For another `p`,
    where a derivative is composed of ops (`jvp`, `hvp`, ``create_graph=True``), the differences stand in memory: P R M
    elements, and in a Hessian-vector product four arrays of that size in a recording, ten define by run. Where that is
    too much, go through `x1` in blocks of rows.
    """
    a, b = lift(x1, x2)
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-1]:
        raise ShapeError(f"cdist: shapes {list(a.shape)} and {list(b.shape)}: expected (..., P, M) and (..., R, M)")
    if not isinstance(p, (int, float, np.integer, np.floating)) or not p >= 0:
        raise ArgumentError(f"cdist: p must not be negative, got {p!r}")
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ShapeError(f"cdist: leading axes of {list(a.shape)} and {list(b.shape)} do not broadcast") from None
    shape = (*batch, a.shape[-2], b.shape[-2])
    to_a, to_b = (broadcast_strides(t.shape[:-2], contiguous_strides(t.shape)[:-2], batch) for t in (a, b))
    return recorder(CDIST)(shape, dtype=a.dtype, x=a, z=b, left=a.shape[-2], right=b.shape[-2], n=a.shape[-1],
                           p=float(p), nest=nest(batch, (contiguous_strides(shape)[:-2], to_a, to_b)))


def pair_sums(q: Any, x: Any, z: Any) -> Tensor:
    """``y[..., u, :] = sum over v of q[..., u, v] (x[..., u, :] - z[..., v, :])``.

    Parameters
    ----------
    q : array_like, (..., P, R)
    x : array_like, (..., P, M)
    z : array_like, (..., R, M)
        All with the same leading axes.
    """
    q, x, z = lift(q, x, z)
    return recorder(PAIR_SUMS)(x.shape, dtype=x.dtype, q=q, x=x, z=z, stacks=math.prod(x.shape[:-2]),
                               left=x.shape[-2], right=z.shape[-2], n=x.shape[-1])


def pair_dots(a: Any, x: Any, z: Any) -> Tensor:
    """``y[..., u, v] = a[..., u, :] . (x[..., u, :] - z[..., v, :])``; see `pair_sums`."""
    a, x, z = lift(a, x, z)
    return recorder(PAIR_DOTS)((*x.shape[:-1], z.shape[-2]), dtype=x.dtype, a=a, x=x, z=z,
                               stacks=math.prod(x.shape[:-2]), left=x.shape[-2], right=z.shape[-2], n=x.shape[-1])


def pdist(input: Any, p: float = 2.0) -> Tensor:
    """The p-norm distances of the pairs of rows of one set of points.

    Parameters
    ----------
    input : array_like, (N, M)
    p : float, default 2.0

    Returns
    -------
    Tensor, (N (N - 1) / 2,)
        Those above the diagonal of ``cdist(input, input, p)``, row by row.
    """
    x = as_tensor(input)
    if x.ndim != 2:
        raise ShapeError(f"pdist: input has shape {list(x.shape)}; expected (N, M)")
    n = x.shape[0]
    first, second = np.triu_indices(n, 1)
    return take_axis(reshape(cdist(x, x, p), (n * n,)), Tensor(first * n + second), 0)
