"""Systems of linear equations, inverses, determinants and Cholesky factors, by LAPACK, of batches of matrices."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..engine.lapack import LARGEST
from ..engine.products.product import gemm_address
from ..engine.providers import routine_address
from ..errors import ArgumentError, ShapeError
from ..ops import factorizations as ops
from ..tensor.recording import lift, recorder
from ..tensor.tensor import Tensor, view
from .apply import as_given
from .elementwise import where
from .layout import broadcast_to, reshape, swapaxes
from .scratch import scratch

__all__ = ["cholesky", "det", "inv", "logdet", "slogdet", "solve", "solve_triangular"]


class SlogdetResult(NamedTuple):
    """What `slogdet` returns."""

    sign: Any
    logabsdet: Any


def matrices(name: str, x: Any, *, square: bool = False, exact: bool = False) -> Tensor:
    """`x` as a float tensor of matrices; for `exact` integers stay what they are."""
    t = (as_given if exact else lift)(x)[0]
    if t.ndim < 2 or square and t.shape[-1] != t.shape[-2]:
        kind = "a square matrix or a batch of them" if square else "a matrix or a batch of them"
        raise ShapeError(f"{name}: needs {kind}, not shape {list(t.shape)}")
    return t


def batch_of(t: Tensor) -> int:
    """How many matrices `t` has."""
    return math.prod(t.shape[:-2])


def workspace(name: str, op: Any, elements: int, *operands: Tensor) -> Tensor:
    """A workspace of so many elements, which LAPACK must be able to count."""
    if elements > LARGEST:
        raise ShapeError(f"{name}: matrices of shape {list(operands[0].shape[-2:])} need a workspace of {elements} "
                         "elements, more than LAPACK's 32-bit integers count")
    return scratch(op, max(elements, 1), *operands)


def routines(dtype: np.dtype, *names: str) -> dict[str, int]:
    """By name the addresses of routines, as rows have them."""
    return {name: routine_address(name, dtype) for name in names}


def mT(t: Tensor) -> Tensor:
    """The transpose of each matrix; a view."""
    return swapaxes(t, -1, -2)


def _together(name: str, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices whose batches are broadcast."""
    if a.shape[-1] != b.shape[-2]:
        raise ShapeError(f"{name}: a matrix of {a.shape[-1]} rows does not fit a right-hand side of {b.shape[-2]} rows "
                         f"(shapes {list(a.shape)} and {list(b.shape)})")
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ShapeError(f"{name}: leading axes of {list(a.shape)} and {list(b.shape)} do not broadcast") from None
    return tuple(t if t.shape[:-2] == batch else broadcast_to(t, (*batch, *t.shape[-2:]))  # type: ignore[return-value]
                 for t in (a, b))


def cholesky(a: Any, *, upper: bool = False) -> Tensor:
    """The factor L of ``A = L L^T``, lower triangular with a positive diagonal.

    Parameters
    ----------
    a : array_like, (..., n, n)
        Symmetric and positive definite; the lower triangle is read.
    upper : bool, default False
        Return L^T.

    Returns
    -------
    Tensor, (..., n, n)

    Raises
    ------
    LinAlgError
        Where a matrix is not positive definite; it is named by its number in the batch.

    Notes
    -----
    The gradient is symmetric, as PyTorch's: ``L^-T P L^-1`` made so, P the lower triangle of ``L^T dL`` with half its
    diagonal (Murray 2016, "Differentiation of the Cholesky decomposition").

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.cholesky([[4.0, 2.0], [2.0, 5.0]])
    tensor([[2., 0.],
            [1., 2.]])
    """
    t = matrices("cholesky", a, square=True)
    n = t.shape[-1]
    low = recorder(ops.CHOLESKY)(
        t.shape, dtype=t.dtype, a=t, scratch=workspace("cholesky", ops.CHOLESKY, ops.cholesky_scratch(n), t),
        rows=batch_of(t), n=n, gemm=gemm_address(t.dtype), **routines(t.dtype, "potrf", "trsm"))
    return mT(low) if upper else low


def solve_triangular(a: Any, b: Any, *, upper: bool | None = None, left: bool = True, unitriangular: bool = False,
                     lower: bool | None = None) -> Tensor:
    """The solution X of ``A X = B``, A triangular; of ``X A = B`` for ``left=False``.

    Parameters
    ----------
    a : array_like, (..., n, n)
        One triangle is read.
    b : array_like, (..., n, k), or (..., k, n) for ``left=False``
        Leading axes broadcast.
    upper : bool
        Which triangle; SciPy's `lower` says the opposite. One of them must be given.
    left : bool, default True
    unitriangular : bool, default False
        Take ones for the diagonal, which is not read.

    Returns
    -------
    Tensor
        Of the shape of `b`, broadcast.

    Raises
    ------
    LinAlgError
        Where a diagonal element is 0. PyTorch gives infinities and NaN there.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.solve_triangular([[2.0, 0.0], [1.0, 1.0]], [[2.0], [3.0]], upper=False)
    tensor([[1.],
            [2.]])
    """
    if (upper is None) == (lower is None):
        raise ArgumentError("solve_triangular: say which triangle, by upper= or by lower=")
    above = bool(upper) if upper is not None else not lower
    u, v = lift(a, b)
    matrices("solve_triangular", u, square=True)
    matrices("solve_triangular", v)
    if not left:
        return mT(solve_triangular(mT(u), mT(v), upper=not above, unitriangular=unitriangular))
    u, v = _together("solve_triangular", u, v)
    n, k = v.shape[-2:]
    space = workspace("solve_triangular", ops.TRIANGULAR, ops.triangular_scratch(n, k), u, v)
    return recorder(ops.TRIANGULAR)(
        v.shape, dtype=u.dtype, a=u, b=v, scratch=space, rows=batch_of(v), n=n, k=k, upper=above, unit=unitriangular,
        gemm=gemm_address(u.dtype), **routines(u.dtype, "trsm"))


def solve(a: Any, b: Any, *, left: bool | None = None) -> Tensor:
    """The solution X of ``A X = B``; of ``X A = B`` for ``left=False``.

    Parameters
    ----------
    a : array_like, (..., n, n)
    b : array_like, (n,), (..., n, k), or (..., k, n) for ``left=False``
        Of one axis a vector, as NumPy 2 has it, else matrices; leading axes broadcast. A batch of vectors is
        ``b[..., None]``.
    left : bool, optional
        PyTorch's: where it is given, a `b` of the shape of `a` without its last axis is a batch of vectors.

    Returns
    -------
    Tensor
        Of the shape of `b`, broadcast.

    Raises
    ------
    LinAlgError
        Where a matrix is singular; it is named by its number in the batch.

    Notes
    -----
    With ``Z = A^-T dX`` the adjoints are ``dB += Z`` and ``dA -= Z X^T`` (Giles 2008, section 2.3.1).

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.solve([[2.0, 0.0], [1.0, 1.0]], [2.0, 3.0])
    tensor([1., 2.])
    """
    u, v = lift(a, b)
    matrices("solve", u, square=True)
    vectors = v.ndim == 1 or left is not None and v.shape == u.shape[:-1]
    if v.ndim == 0:
        raise ShapeError(f"solve: the right-hand side is a number; a vector or matrix of {u.shape[-1]} rows is needed")
    if vectors:
        x = solve(u, reshape(v, (*v.shape, 1)))
        return reshape(x, x.shape[:-1])
    if left is False:
        return mT(solve(mT(u), mT(v)))
    if v.shape == u.shape[:-1] and v.shape[-2] != u.shape[-1]:
        raise ShapeError(f"solve: the right-hand side {list(v.shape)} for matrices {list(u.shape)} looks like a batch "
                         "of vectors; write b[..., None], or left=True as PyTorch has it")
    u, v = _together("solve", u, v)
    n, k = v.shape[-2:]
    space = workspace("solve", ops.SOLVE, ops.solve_scratch(n, k), u, v)
    return recorder(ops.SOLVE)(v.shape, dtype=u.dtype, a=u, b=v, scratch=space, rows=batch_of(v), n=n, k=k,
                               gemm=gemm_address(u.dtype), **routines(u.dtype, "getrf", "trsm"))


def inv(a: Any) -> Tensor:
    """The inverse of a matrix; `solve` is faster and more accurate where it is multiplied by something.

    Parameters
    ----------
    a : array_like, (..., n, n)

    Returns
    -------
    Tensor, (..., n, n)

    Raises
    ------
    LinAlgError
        Where a matrix is singular; it is named by its number in the batch.

    Notes
    -----
    With ``Y = A^-1`` the adjoint is ``dA -= Y^T dY Y^T`` (Giles 2008, section 2.2.3).

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.inv([[2.0, 1.0], [1.0, 1.0]])
    tensor([[ 1., -1.],
            [-1.,  2.]])
    """
    t = matrices("inv", a, square=True)
    n = t.shape[-1]
    space = workspace("inv", ops.INVERSE, ops.inverse_scratch(n), t)
    return recorder(ops.INVERSE)(t.shape, dtype=t.dtype, a=t, scratch=space, rows=batch_of(t), n=n,
                                 gemm=gemm_address(t.dtype), **routines(t.dtype, "getrf", "getri"))


def determinants(t: Tensor, log: bool) -> Tensor:
    """Determinants, or along a last axis their signs and the logarithms of their magnitudes."""
    n = t.shape[-1]
    space = workspace("slogdet" if log else "det", ops.DETERMINANT, ops.determinant_scratch(n), t)
    return recorder(ops.DETERMINANT)((*t.shape[:-2], *((2,) if log else ())), dtype=t.dtype, a=t, scratch=space,
                                     rows=batch_of(t), n=n, log=log, gemm=gemm_address(t.dtype),
                                     **routines(t.dtype, "getrf", "getri", "gesdd"))


def det(a: Any) -> Tensor:
    """The determinant.

    Parameters
    ----------
    a : array_like, (..., n, n)

    Returns
    -------
    Tensor, (...)

    Notes
    -----
    The gradient is the matrix of cofactors, also of a singular matrix, where PyTorch's ``backward`` gives zeros. A
    derivative of the gradient, or in forward mode, raises `LinAlgError` for a singular matrix.

    Examples
    --------
    >>> import tapegrad as tg
    >>> import numpy as np
    >>> tg.grad(tg.linalg.det)(np.array([[1.0, 2.0], [2.0, 4.0]])).round(12)
    array([[ 4., -2.],
           [-2.,  1.]])
    """
    return determinants(matrices("det", a, square=True), False)


def slogdet(a: Any) -> SlogdetResult:
    """The sign of the determinant and the logarithm of its magnitude.

    Parameters
    ----------
    a : array_like, (..., n, n)

    Returns
    -------
    SlogdetResult
        A named tuple of `sign` and `logabsdet`, each (...). Of a singular matrix 0 and -inf, which has no gradient:
        `LinAlgError`. PyTorch's is infinite there.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.slogdet([[0.0, 1.0], [1.0, 0.0]])
    SlogdetResult(sign=tensor(-1.), logabsdet=tensor(0.))
    """
    both = determinants(matrices("slogdet", a, square=True), True)
    shape, strides = both.shape[:-1], both.strides[:-1]
    return SlogdetResult(view(both, 0, shape, strides), view(both, 1, shape, strides))


def logdet(a: Any) -> Tensor:
    """The logarithm of the determinant: NaN where that is negative, -inf where it is 0; arguments as of `det`."""
    sign, logarithm = slogdet(a)
    return where(sign < 0.0, math.nan, logarithm)


def cholesky_solve(B: Any, L: Any, upper: bool = False) -> Tensor:
    """The solution X of ``L L^T X = B``, of ``L^T L X = B`` with `upper`, of a factor that `cholesky` gave.

    Parameters
    ----------
    B : array_like, (..., n, k)
    L : array_like, (..., n, n)
        Leading axes broadcast.
    upper : bool, default False

    Returns
    -------
    Tensor, (..., n, k)

    Examples
    --------
    >>> import tapegrad as tg
    >>> low = tg.linalg.cholesky([[4.0, 2.0], [2.0, 5.0]])
    >>> tg.cholesky_solve([[8.0], [12.0]], low)
    tensor([[1.],
            [2.]])
    """
    b, factor = lift(B, L)
    first, second = (mT(factor), factor) if upper else (factor, mT(factor))
    return solve_triangular(second, solve_triangular(first, b, upper=False), upper=True)


def cholesky_inverse(L: Any, upper: bool = False) -> Tensor:
    """The inverse of ``L L^T``, of ``L^T L`` with `upper`, of a factor (..., n, n) that `cholesky` gave."""
    factor = matrices("cholesky_inverse", L, square=True)
    return cholesky_solve(np.eye(factor.shape[-1]), factor, upper)
