"""``scipy.linalg``, whose factorisations, systems and functions of matrices know tensors.

Hints such as ``overwrite_a`` and ``check_finite`` are taken and change nothing of tensors.

Examples
--------
>>> import numpy as np, tapegrad as tg
>>> from tapegrad.scipy.linalg import cho_factor, cho_solve
>>> def energy(a, b):
...     return b @ cho_solve(cho_factor(a), b)
>>> tg.grad(energy)(2.0 * np.eye(2), np.array([1.0, 3.0]))
array([[-0.25, -0.75],
       [-0.75, -2.25]])
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..functions import algebra, expand_dims, squeeze, swapaxes
from ..tensor.recording import lift
from ..tensor.tensor import Tensor
from .passing import passing

_of_scipy = passing("scipy.linalg")


def _refuse(name: str, **given: Any) -> None:
    for key, value in given.items():
        if value is not None and value is not False:
            raise ArgumentError(f"{name}: {key}={value!r} is not available for tensors")


@_of_scipy
def cholesky(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Tensor:
    """The Cholesky factor, upper by default."""
    return algebra.cholesky(a, upper=not lower)


@_of_scipy
def cho_factor(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The Cholesky factor and whether it is the lower one, for `cho_solve`; zeros in the other triangle."""
    return algebra.cholesky(a, upper=not lower), lower


def cho_solve(c_and_lower: Any, b: Any, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """Solution of ``a x = b`` by the Cholesky factor of `a`."""
    c, lower = c_and_lower
    if not (isinstance(c, Tensor) or isinstance(b, Tensor)):
        return import_module("scipy.linalg").cho_solve(c_and_lower, b, overwrite_b, check_finite)
    first, second = ("N", "T") if lower else ("T", "N")
    return solve_triangular(c, solve_triangular(c, b, first, lower), second, lower)


@_of_scipy
def solve_triangular(a: Any, b: Any, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False,
                     overwrite_b: bool = False, check_finite: bool = True) -> Tensor:
    """Solution of a triangular system, of ``a.T`` with ``trans="T"``."""
    a, b = lift(a, b)
    if trans not in (0, "N"):
        a, lower = swapaxes(a, -1, -2), not lower
    return _columns(lambda b: algebra.solve_triangular(a, b, lower=lower, unitriangular=unit_diagonal), b)


def _columns(solve: Callable[[Tensor], Tensor], b: Tensor) -> Tensor:
    """`solve` of a matrix of columns, where `b` may be one."""
    return squeeze(solve(expand_dims(b, -1)), -1) if b.ndim == 1 else solve(b)


@_of_scipy
def solve(a: Any, b: Any, lower: bool = False, overwrite_a: bool = False, overwrite_b: bool = False,
          check_finite: bool = True, assume_a: str | None = None, transposed: bool = False) -> Tensor:
    """Solution of ``a x = b``; of a matrix whose entries are all read, whatever it is like."""
    _refuse("solve", assume_a=None if assume_a in ("gen", "general") else assume_a)
    a, b = lift(a, b)
    return _columns(lambda b: algebra.solve(swapaxes(a, -1, -2) if transposed else a, b), b)


@_of_scipy
def inv(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Tensor:
    """The inverse."""
    return algebra.inv(a)


@_of_scipy
def det(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Tensor:
    """The determinant."""
    return algebra.det(a)


@_of_scipy
def eigh(a: Any, b: Any = None, *, lower: bool = True, eigvals_only: bool = False, subset_by_index: Any = None,
         subset_by_value: Any = None, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """Eigenvalues, ascending, and eigenvectors of a symmetric matrix."""
    _refuse("eigh", b=b, subset_by_index=subset_by_index, subset_by_value=subset_by_value)
    triangle = "L" if lower else "U"
    return algebra.eigvalsh(a, triangle) if eigvals_only else tuple(algebra.eigh(a, triangle))


@_of_scipy
def eigvalsh(a: Any, b: Any = None, *, lower: bool = True, overwrite_a: bool = False,
             check_finite: bool = True) -> Tensor:
    """Eigenvalues of a symmetric matrix, ascending."""
    _refuse("eigvalsh", b=b)
    return algebra.eigvalsh(a, "L" if lower else "U")


@_of_scipy
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, overwrite_a: bool = False,
        check_finite: bool = True) -> Any:
    """The singular value decomposition ``(u, s, vh)``, or `s` alone."""
    return tuple(algebra.svd(a, full_matrices)) if compute_uv else algebra.svdvals(a)


@_of_scipy
def svdvals(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Tensor:
    """Singular values, descending."""
    return algebra.svdvals(a)


@_of_scipy
def qr(a: Any, overwrite_a: bool = False, lwork: int | None = None, mode: str = "full",
       pivoting: bool = False, check_finite: bool = True) -> Any:
    """The factorisation into an orthogonal and an upper triangular matrix; ``mode="economic"`` for the small ones."""
    _refuse("qr", pivoting=pivoting)
    if mode not in ("full", "economic"):
        raise ArgumentError(f"qr: mode={mode!r} is not available for tensors; 'full' and 'economic' are")
    return tuple(algebra.qr(a, "complete" if mode == "full" else "reduced"))


@_of_scipy
def pinv(a: Any, *, atol: float | None = None, rtol: float | None = None, return_rank: bool = False,
         check_finite: bool = True) -> Tensor:
    """The pseudoinverse."""
    _refuse("pinv", return_rank=return_rank)
    if rtol is None:
        rtol = 0.0 if atol else max(a.shape[-2:]) * float(np.finfo(a.dtype).eps)
    return algebra.pinv(a, atol=atol, rtol=rtol)


@_of_scipy
def expm(A: Any) -> Tensor:
    """The exponential of a matrix."""
    return algebra.matrix_exp(A)


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("scipy.linalg"), name)


def __dir__() -> list[str]:
    return sorted(import_module("scipy.linalg").__all__)
