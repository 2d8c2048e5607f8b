"""Eigenvalues, singular values, QR and what is made of them, by LAPACK, of batches of matrices."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..engine.products.product import gemm_address
from ..errors import ArgumentError, ShapeError
from ..ops import matrix_functions, spectra
from ..tape.state import state
from ..tensor.recording import astype, lift, recorder
from ..tensor.tensor import Tensor, view
from .arranging import count_nonzero
from .elementwise import greater, maximum
from .factorizations import batch_of, matrices, mT, routines, workspace
from .formulas import absolute, sign
from .gathering import take_along_axis, tril
from .integers import integers, recorded
from .layout import concatenate, expand_dims, reshape
from .linalg import matmul
from .reductions import sum as sum_over
from .sorting import order_of, sort

__all__ = ["eigh", "eigvalsh", "lstsq", "matrix_exp", "matrix_rank", "pinv", "qr", "svd", "svdvals"]


class EighResult(NamedTuple):
    """What `eigh` returns."""

    eigenvalues: Any
    eigenvectors: Any


class SVDResult(NamedTuple):
    """What `svd` returns."""

    U: Any
    S: Any
    Vh: Any


class QRResult(NamedTuple):
    """What `qr` returns."""

    Q: Any
    R: Any


class LstsqResult(NamedTuple):
    """What `lstsq` returns."""

    solution: Any
    residuals: Any
    rank: Any
    singular_values: Any


# ------------------------------------------------------------------ symmetric matrices


def eigenpairs(t: Tensor, lower: bool) -> Tensor:
    """Eigenvalues, and below them eigenvectors as columns: (..., n + 1, n)."""
    n = t.shape[-1]
    space = workspace("eigh", spectra.EIGH, spectra.eigh_scratch(n), t)
    return recorder(spectra.EIGH)((*t.shape[:-2], n + 1, n), dtype=t.dtype, a=t, scratch=space, rows=batch_of(t), n=n,
                                  lower=lower, gemm=gemm_address(t.dtype), **routines(t.dtype, "syevd"))


def eigenvalues(t: Tensor, lower: bool, pairs: Tensor) -> Tensor:
    """The eigenvalues with their gradient, of what `eigenpairs` gave."""
    n = t.shape[-1]
    space = workspace("eigvalsh", spectra.EIGENVALUES, n * n, t)
    return recorder(spectra.EIGENVALUES)(t.shape[:-1], dtype=t.dtype, a=t, pairs=pairs.detach(), scratch=space,
                                         rows=batch_of(t), n=n, lower=lower, gemm=gemm_address(t.dtype))


def _lower(name: str, UPLO: str) -> bool:
    if UPLO not in ("L", "U", "l", "u"):
        raise ArgumentError(f"{name}: UPLO must be 'L' or 'U', not {UPLO!r}")
    return UPLO in "Ll"


def eigh(a: Any, UPLO: str = "L") -> EighResult:
    """Eigenvalues and eigenvectors of a symmetric matrix.

    Parameters
    ----------
    a : array_like, (..., n, n)
        One triangle is read.
    UPLO : {"L", "U"}, default "L"
        Which.

    Returns
    -------
    EighResult
        A named tuple of `eigenvalues` (..., n), ascending, and `eigenvectors` (..., n, n), of unit length, as columns.

    Raises
    ------
    LinAlgError
        Where the algorithm does not converge.

    Notes
    -----
    The gradient is symmetric, as PyTorch's: of ``V (diag(dw) + (V^T dV) / E) V^T`` with ``E_jk = w_k - w_j`` (Giles
    2008, section 3.1) the symmetric part. The eigenvectors of equal eigenvalues have no derivative: a gradient through
    them is infinite or NaN, as PyTorch's. One through the eigenvalues alone is right there. The sign of an eigenvector
    is arbitrary; a loss must not depend on it.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.eigh([[2.0, 0.0], [0.0, 1.0]]).eigenvalues
    tensor([1., 2.])
    """
    t, lower = matrices("eigh", a, square=True), _lower("eigh", UPLO)
    n = t.shape[-1]
    pairs = eigenpairs(t, lower)
    vectors = view(pairs, n, (*t.shape[:-2], n, n), pairs.strides)
    return EighResult(eigenvalues(t, lower, pairs), vectors)


def eigvalsh(a: Any, UPLO: str = "L") -> Tensor:
    """Eigenvalues of a symmetric matrix, ascending; arguments as of `eigh`. Equal ones have a gradient too."""
    t, lower = matrices("eigvalsh", a, square=True), _lower("eigvalsh", UPLO)
    return eigenvalues(t, lower, eigenpairs(t.detach(), lower))


# ------------------------------------------------------------------ singular values


def singular(t: Tensor, full: bool) -> Tensor:
    """U, the singular values and V of each matrix, one behind the other."""
    m, n = t.shape[-2:]
    k = min(m, n)
    size = m * m + k + n * n if full else m * k + k + k * n
    space = workspace("svd", spectra.SVD, spectra.svd_scratch(m, n, full), t)
    return recorder(spectra.SVD)((*t.shape[:-2], size), dtype=t.dtype, a=t, scratch=space, rows=batch_of(t), m=m, n=n,
                                 full=full, gemm=gemm_address(t.dtype), **routines(t.dtype, "gesdd"))


def singular_values(t: Tensor, parts: Tensor, full: bool) -> Tensor:
    """The singular values with their gradient, of what `singular` gave."""
    m, n = t.shape[-2:]
    space = workspace("svdvals", spectra.SINGULAR_VALUES, m * min(m, n), t)
    return recorder(spectra.SINGULAR_VALUES)(
        (*t.shape[:-2], min(m, n)), dtype=t.dtype, a=t, parts=parts.detach(), scratch=space, rows=batch_of(t), m=m,
        n=n, full=full, gemm=gemm_address(t.dtype))


def _part(t: Tensor, offset: int, *shape: int) -> Tensor:
    """A matrix of each stretch along the last axis, from an element on; a view."""
    return view(t, offset, (*t.shape[:-1], *shape), (*t.strides[:-1], shape[-1], 1))


def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """Singular value decomposition ``A = U diag(S) Vh``.

    Parameters
    ----------
    a : array_like, (..., m, n)
    full_matrices : bool, default True
        Square U and Vh, else of the ``k = min(m, n)`` vectors that belong to a singular value.
    compute_uv : bool, default True
        False for the singular values alone, as `svdvals`.
    hermitian : bool, default False
        NumPy's: of a symmetric matrix by `eigh`, which reads the lower triangle.

    Returns
    -------
    SVDResult
        A named tuple of `U` (..., m, m or k), `S` (..., k), descending, and `Vh` (..., n or k, n).

    Raises
    ------
    LinAlgError
        Where the algorithm does not converge, or finds NaN.
    GradientError
        Where a gradient flows through U or Vh of ``full_matrices=True`` and m is not n.

    Notes
    -----
    The adjoint is that of Townsend 2016, "Differentiating the singular value decomposition". Vectors of equal singular
    values have no derivative, nor have those of 0 where A is not square: a gradient through them is infinite or NaN, as
    PyTorch's. One through the singular values alone is ``U diag(dS) Vh`` everywhere. The signs of a pair of vectors are
    arbitrary; a loss must not depend on them.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.svd([[3.0, 0.0], [0.0, 4.0]]).S
    tensor([4., 3.])
    """
    t = _whole("svd", a, hermitian)
    if hermitian:
        return _of_symmetric(t) if compute_uv else sort(absolute(eigvalsh(t)), -1, True)
    if not compute_uv:
        return svdvals(t)
    m, n = t.shape[-2:]
    full = bool(full_matrices) and m != n
    parts, k = singular(t, full), min(m, n)
    columns, rows = (m, n) if full else (k, k)
    return SVDResult(_part(parts, 0, m, columns), singular_values(t, parts, full),
                     _part(parts, m * columns + k, rows, n))


def _of_symmetric(t: Tensor) -> SVDResult:
    """The singular value decomposition of symmetric matrices by `eigh`, as NumPy has it."""
    w, v = eigh(t)
    order = order_of(absolute(w).detach(), w.ndim - 1, w.shape[-1], True)
    w, v = take_along_axis(w, order, -1), take_along_axis(v, expand_dims(order, -2), -1)
    return SVDResult(v, absolute(w), mT(v * expand_dims(sign(w).detach(), -2)))


def _whole(name: str, a: Any, hermitian: bool) -> Tensor:
    """Matrices, of which for `hermitian` the lower triangle is read."""
    t = matrices(name, a, square=hermitian)
    return tril(t) + mT(tril(t, -1)) if hermitian else t


def svdvals(a: Any) -> Tensor:
    """Singular values of (..., m, n), descending; equal ones and 0 have a gradient too, ``U diag(dS) Vh``."""
    t = matrices("svdvals", a)
    return singular_values(t, singular(t.detach(), False), False)


def _tolerance(name: str, t: Tensor, atol: float | None, rtol: float | None) -> tuple[float, float]:
    """How small a singular value is taken for 0, by itself and of the greatest."""
    for value in (atol, rtol):
        if value is not None and (isinstance(value, Tensor) or np.ndim(value)):
            raise ArgumentError(f"{name}: a tolerance is one number")
    relative = max(t.shape[-2:]) * float(np.finfo(t.dtype).eps) if rtol is None and not atol else rtol or 0.0
    return float(atol or 0.0), float(relative)


def matrix_rank(a: Any, tol: float | None = None, hermitian: bool = False, *, atol: float | None = None,
                rtol: float | None = None) -> Tensor:
    """How many singular values are greater than the tolerances; it has no gradient.

    Parameters
    ----------
    a : array_like, (..., m, n)
    tol : float, optional
        NumPy's name for `atol`; of 0 no singular value but 0 is taken for 0.
    hermitian : bool, default False
        Read the lower triangle of a symmetric matrix.
    atol : float, optional
        0 by default.
    rtol : float, optional
        Of the greatest singular value; by default ``max(m, n)`` times the machine's precision, or 0 with `atol`.

    Returns
    -------
    Tensor of int64, (...)
    """
    if (whole := integers(a)) is not None and not recorded(*whole):
        a = astype(whole[0], np.float64)  # of which more have a place there
    t = _whole("matrix_rank", a, hermitian).detach()
    if tol is not None and atol is None and rtol is None:
        atol, rtol = tol, 0.0  # NumPy's 0 is none, where PyTorch's asks for the default
    least, relative = _tolerance("matrix_rank", t, tol if atol is None else atol, rtol)
    s = svdvals(t)
    if s.shape[-1] == 0:
        return Tensor(np.zeros(s.shape[:-1], np.int64))
    return astype(count_nonzero(greater(s, maximum(s[..., :1] * relative, least)), -1), np.int64)


def pinv(a: Any, rcond: float | None = None, hermitian: bool = False, *, atol: float | None = None,
         rtol: float | None = None) -> Tensor:
    """The Moore-Penrose pseudoinverse.

    Parameters
    ----------
    a : array_like, (..., m, n)
    rcond : float, optional
        NumPy's name for `rtol`.
    hermitian : bool, default False
        Read the lower triangle of a symmetric matrix.
    atol : float, optional
        Singular values up to it are taken for 0; 0 by default.
    rtol : float, optional
        And those up to so much of the greatest: by default ``max(m, n)`` times the machine's precision, or 0 with
        `atol`.

    Returns
    -------
    Tensor, (..., n, m)

    Notes
    -----
    The derivative is that at constant rank (Golub and Pereyra 1973), of matrices without full rank too. Where a given
    tolerance takes values for 0 that are not, that is no derivative of the result, and PyTorch's is wrong: a matrix
    that requires a gradient raises `GradientError` then.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.pinv([[2.0, 0.0], [0.0, 0.0]])
    tensor([[0.5, 0. ],
            [0. , 0. ]])
    """
    t = _whole("pinv", a, hermitian)
    relative = rcond if rtol is None else rtol
    said = (atol is not None or relative is not None) and state.wants(t)
    return pseudoinverse(t, *_tolerance("pinv", t, atol, relative),
                         float(np.sqrt(np.finfo(t.dtype).eps)) if said else math.inf)


def pseudoinverse(t: Tensor, atol: float, rtol: float, limit: float) -> Tensor:
    """`pinv` at these tolerances, which must not cut more than a share `limit` of the least value that counts."""
    m, n = t.shape[-2:]
    op = matrix_functions.PINV
    space = workspace("pinv", op, matrix_functions.pinv_scratch(m, n), t)
    return recorder(op)((*t.shape[:-2], n, m), dtype=t.dtype, a=t, scratch=space, rows=batch_of(t), m=m, n=n,
                        atol=atol, rtol=rtol, limit=limit, gemm=gemm_address(t.dtype), **routines(t.dtype, "gesdd"))


def lstsq(a: Any, b: Any, rcond: float | None = None, *, driver: str | None = None) -> LstsqResult:
    """The least-squares solution of ``A X = B``, of least norm, as ``pinv(A) @ B``.

    Parameters
    ----------
    a : array_like, (..., m, n)
    b : array_like, (m,) or (..., m, k)
        Leading axes broadcast.
    rcond : float, optional
        Singular values up to so much of the greatest are taken for 0, as of `pinv`.
    driver : str, optional
        PyTorch's; the singular values are used whichever it is.

    Returns
    -------
    LstsqResult
        A named tuple of `solution` (..., n, k) or (n,), `residuals` (..., k), the sums of squares of ``A X - B``,
        `rank` and `singular_values`. The residuals are empty where m is not greater than n, or where a rank is less
        than n; in a recording, which does not know the rank, only the former.

    Notes
    -----
    The derivative is that of `pinv`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.lstsq([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]], [1.0, 2.0, 3.0]).solution.round(6)
    tensor([1., 1.])
    """
    u, v = lift(a, b)
    matrices("lstsq", u)
    vector = v.ndim == 1
    if v.ndim == 0 or v.shape[0 if vector else -2] != u.shape[-2]:
        raise ShapeError(f"lstsq: shapes {list(u.shape)} and {list(v.shape)} do not fit: as many rows are needed")
    m, n = u.shape[-2:]
    right = reshape(v, (m, 1)) if vector else v
    x = matmul(pinv(u, rcond), right)
    rank, values = matrix_rank(u, rtol=rcond), svdvals(u)
    known = rank if rank.is_symbolic else rank._array()
    if m > n and (isinstance(known, Tensor) or bool(np.all(known == n))):
        missed = matmul(u, x) - right
        residuals = sum_over(missed * missed, -2)
    else:
        residuals = Tensor(np.zeros((0,), u.dtype))
    return LstsqResult(reshape(x, x.shape[:-1]) if vector else x, residuals, rank, values)


# ------------------------------------------------------------------ QR


def orthogonal(t: Tensor, full: bool) -> Tensor:
    """Q and R of each matrix of at least as many rows as columns, one behind the other."""
    m, n = t.shape[-2:]
    columns = m if full else n
    space = workspace("qr", spectra.QR_, spectra.qr_scratch(m, n), t)
    return recorder(spectra.QR_)((*t.shape[:-2], m * columns + columns * n), dtype=t.dtype, a=t, scratch=space,
                                 rows=batch_of(t), m=m, n=n, full=full, gemm=gemm_address(t.dtype),
                                 **routines(t.dtype, "gelqf", "orglq", "trsm"))


def qr(a: Any, mode: str = "reduced") -> Any:
    """QR decomposition: Q with orthogonal columns, R upper triangular.

    Parameters
    ----------
    a : array_like, (..., m, n)
    mode : {"reduced", "complete", "r"}, default "reduced"
        Q of ``k = min(m, n)`` columns; of m columns; R alone, of "reduced".

    Returns
    -------
    QRResult, or Tensor with ``mode="r"``
        A named tuple of `Q` (..., m, k or m) and `R` (..., k or m, n). With "r", which is NumPy's, R; PyTorch, which
        has an empty Q beside it, has no gradient then.

    Raises
    ------
    GradientError
        Where a gradient flows through "complete" and m is greater than n.
    LinAlgError
        Where one flows through factors of a matrix whose first k columns depend on each other.

    Notes
    -----
    The adjoint is that of Walter and Lehmann 2010, "Algorithmic differentiation of linear algebra functions with
    application in optimum experimental design". Of a wide matrix ``[X, Y]`` it is that of ``Q, R = qr(X)`` and
    ``Q^T Y``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> abs(tg.linalg.qr([[3.0, 1.0], [4.0, 2.0]]).R[0, 0]).round(6)
    tensor(5.)
    """
    if mode not in ("reduced", "complete", "r"):
        raise ArgumentError(f"qr: mode must be 'reduced', 'complete' or 'r', not {mode!r}")
    t = matrices("qr", a)
    m, n = t.shape[-2:]
    if n > m:
        q, r = qr(t[..., :m])
        r = concatenate([r, matmul(mT(q), t[..., m:])], -1)
    else:
        full = mode == "complete" and m != n
        columns = m if full else n
        parts = orthogonal(t, full)
        q, r = _part(parts, 0, m, columns), _part(parts, m * columns, columns, n)
    return r if mode == "r" else QRResult(q, r)


# ------------------------------------------------------------------ functions of matrices


def matrix_exp(a: Any) -> Tensor:
    """The exponential of a square matrix, by scaling and squaring of a Pade approximant of degree 13 (Higham 2005).

    Parameters
    ----------
    a : array_like, (..., n, n)

    Returns
    -------
    Tensor, (..., n, n)

    Notes
    -----
    The adjoint is the upper right block of the exponential of ``[[A^T, dY], [0, A^T]]`` (Mathias 1996).

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.matrix_exp([[0.0, 1.0], [0.0, 0.0]])
    tensor([[1., 1.],
            [0., 1.]])
    """
    t = matrices("matrix_exp", a, square=True)
    n, op = t.shape[-1], matrix_functions.EXPONENTIAL
    space = workspace("matrix_exp", op, matrix_functions.exponential_scratch(n), t)
    return recorder(op)(t.shape, dtype=t.dtype, a=t, scratch=space, rows=batch_of(t), n=n, gemm=gemm_address(t.dtype),
                        **routines(t.dtype, "getrf", "trsm"))
