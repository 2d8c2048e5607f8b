"""Linear algebra, under the names of ``numpy.linalg`` and ``torch.linalg``."""

from ..errors import LinAlgError
from .factorizations import cholesky, det, inv, logdet, slogdet, solve, solve_triangular
from .spectra import eigh, eigvalsh, lstsq, matrix_exp, matrix_rank, pinv, qr, svd, svdvals

__all__ = [
    "LinAlgError", "cholesky", "det", "eigh", "eigvalsh", "inv", "logdet", "lstsq", "matrix_exp", "matrix_rank", "pinv",
    "qr", "slogdet", "solve", "solve_triangular", "svd", "svdvals",
]
