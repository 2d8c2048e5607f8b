"""Linear algebra, under the names of ``numpy.linalg`` and ``torch.linalg``."""

from __future__ import annotations

from typing import Any

from ..errors import LinAlgError
from ..tensor.tensor import Tensor
from . import gathering
from .contractions import cross, matrix_power, multi_dot, tensordot, tensorinv, tensorsolve, vecdot
from .distances import cond, matrix_norm, vector_norm
from .factorizations import cholesky, det, inv, logdet, slogdet, solve, solve_triangular
from .factorizations import mT as matrix_transpose
from .linalg import matmul, outer
from .spectra import eigh, eigvalsh, lstsq, matrix_exp, matrix_rank, pinv, qr, svd, svdvals
from .tongues import norm

__all__ = [
    "LinAlgError", "cholesky", "cond", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv", "logdet", "lstsq",
    "matmul", "matrix_exp", "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "multi_dot", "norm",
    "outer", "pinv", "qr", "slogdet", "solve", "solve_triangular", "svd", "svdvals", "tensordot", "tensorinv",
    "tensorsolve", "trace", "vecdot", "vector_norm",
]


def diagonal(x: Any, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The elements ``[i, i + offset]`` of matrices, by default of the last two axes, along a new last axis; a view."""
    return gathering.diagonal(x, offset, dim1, dim2)


def trace(x: Any, *, offset: int = 0) -> Tensor:
    """Sum of a diagonal of the last two axes."""
    return gathering.trace(x, offset, -2, -1)
