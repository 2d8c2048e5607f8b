"""Every op of linear algebra once, over one matrix (3, 3) of elements between 0 and 1, or over it and another."""

import numpy as np

from tapegrad import linalg


def far(x):
    """`x` away from singular matrices, and from equal eigenvalues and singular values."""
    return x + np.diag([2.0, 5.0, 9.0])


def definite(x):
    return far(x + x.swapaxes(-1, -2))


OF_ONE = {
    "cholesky": lambda x: linalg.cholesky(definite(x)),
    "inv": lambda x: linalg.inv(far(x)),
    "det": lambda x: linalg.det(far(x)),
    "slogdet": lambda x: linalg.slogdet(far(x)).logabsdet,
    "eigh": lambda x: linalg.eigh(definite(x)).eigenvectors ** 2,
    "eigvalsh": lambda x: linalg.eigvalsh(definite(x)),
    "svd": lambda x: linalg.svd(far(x)).U ** 2,
    "svdvals": lambda x: linalg.svdvals(far(x)),
    "qr": lambda x: linalg.qr(far(x)).Q,
    "pinv": lambda x: linalg.pinv(far(x)[:, :2]),
    "matrix_exp": lambda x: linalg.matrix_exp(x),
}
OF_TWO = {
    "solve": lambda a, b: linalg.solve(far(a), b),
    "solve_triangular": lambda a, b: linalg.solve_triangular(far(a), b, upper=True),
}
