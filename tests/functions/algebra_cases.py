"""Calls of linear algebra as PyTorch's users write them; see `pytorch_cases`. Vectors of arbitrary sign are squared."""

from __future__ import annotations

import numpy as np

from .pytorch_cases import _arrays

ARRAYS = {
    "(3, 3)": _arrays(3, 3), "(2, 3, 3)": _arrays(2, 3, 3), "(4, 3)": _arrays(4, 3), "(2, 2, 4)": _arrays(2, 2, 4),
    "low rank": {"x": np.array([[1.0, 2.0, 1.0], [2.0, 4.0, 0.0], [3.0, 6.0, 1.0]]),
                 "y": np.arange(1.0, 10.0).reshape(3, 3)},
    "equal": {"x": np.eye(3), "y": np.arange(1.0, 10.0).reshape(3, 3)},
    "zero": {"x": np.zeros((2, 3)), "y": np.ones((2, 3))},
}  # fmt: skip

EXPRESSIONS = {
    "(3, 3) (2, 3, 3)": """
        T.linalg.cholesky(x @ x.mT + T.eye(3))
        T.linalg.cholesky(x + 6 * T.eye(3))
        T.linalg.cholesky(x @ x.mT + T.eye(3), upper=True)
        T.cholesky_solve(y, T.linalg.cholesky(x @ x.mT + T.eye(3)))
        T.cholesky_solve(x, T.linalg.cholesky(x @ x.mT + T.eye(3), upper=True), upper=True)
        T.cholesky_inverse(T.linalg.cholesky(x @ x.mT + T.eye(3)))
        T.linalg.inv(x)
        T.inverse(x)
        T.linalg.solve(x, y)
        T.linalg.solve(x, y[..., :1])
        T.linalg.solve(x, y[..., 0], left=True)
        T.linalg.solve(x, y, left=False)
        T.linalg.solve(x, x * y)
        T.linalg.solve_triangular(x, y, upper=True)
        T.linalg.solve_triangular(x, x * y, upper=False, left=False)
        T.linalg.solve_triangular(x, y, upper=True, unitriangular=True)
        T.linalg.det(x)
        x.det()
        T.linalg.slogdet(x)
        x.slogdet().logabsdet
        T.logdet(x)
        T.linalg.eigh(x + x.mT).eigenvalues
        T.linalg.eigh(x + x.mT)[1] ** 2
        T.linalg.eigh(x)[1] ** 2
        T.linalg.eigvalsh(x, UPLO="U")
        T.linalg.svd(x)[0] ** 2
        T.linalg.svd(x).S
        T.linalg.svd(x, full_matrices=False).Vh ** 2
        T.linalg.svdvals(x)
        T.linalg.qr(x)
        T.linalg.qr(x, mode="complete").R
        T.linalg.pinv(x)
        T.linalg.pinv(x.detach(), rtol=0.4)
        T.linalg.matrix_rank(x)
        T.linalg.matrix_rank(x, atol=1.0)
        T.linalg.lstsq(x, y).solution
        T.linalg.matrix_exp(x)
        x.matrix_exp()
        T.linalg.matrix_power(x, 3)
        x.matrix_power(-2)
        T.linalg.matrix_power(y, 0)
        T.linalg.matrix_norm(x)
        T.linalg.matrix_norm(x, "nuc")
        T.linalg.matrix_norm(x, 2, keepdim=True)
        T.linalg.matrix_norm(x, -2)
        T.linalg.matrix_norm(x, -1, dim=(-1, -2))
        T.linalg.norm(x, 2, dim=(-2, -1))
        T.linalg.norm(x)
        x.norm("nuc", dim=(-2, -1))
        T.linalg.vector_norm(x, 3, dim=-1)
        T.linalg.cond(x)
        T.linalg.cond(x, -2)
        T.linalg.cross(x, y)
        T.linalg.cross(x, y, dim=-2)
        T.cross(x, y, dim=-1)
        T.linalg.vecdot(x, y)
        T.linalg.vecdot(x, y, dim=-2)
        T.linalg.diagonal(x, offset=1)
        T.inner(x, y)
        T.kron(x, y)
        T.tensordot(x, y, dims=([-1], [-2]))
        T.einsum("...ij,...jk->...ik", x, y)
    """,
    "(3, 3)": """
        T.linalg.multi_dot([x, y, x[:, :1]])
        T.chain_matmul(x, y, x)
        T.einsum("ij,jk,kl", [x, y, x])
        T.einsum(x, [0, 1], y, [1, 2], [2, 0])
        T.einsum(x, [0, 0])
        T.vdot(x[0], y[1])
        T.tensordot(x, y, dims=1)
        T.outer(x[0], y[0])
        x[0].ger(y[1])
        x.inner(y)
        x.kron(y)
        x.pinverse()
        T.linalg.tensorinv(x, ind=1)
        T.linalg.tensorsolve(x, y[0])
        x.trace()
    """,
    "(4, 3) (2, 2, 4)": """
        T.linalg.svd(x, full_matrices=False)[0] ** 2
        T.linalg.svd(x, full_matrices=False)[2] ** 2
        T.linalg.svd(x)[1]
        T.linalg.svdvals(x)
        T.linalg.qr(x)
        T.linalg.pinv(x)
        T.linalg.lstsq(x, y).solution
        T.linalg.matrix_rank(x)
        T.linalg.matrix_norm(x, "nuc")
        T.linalg.matrix_norm(x, 2)
        T.linalg.cond(x)
    """,
    "low rank": """
        T.linalg.pinv(x)
        T.linalg.matrix_rank(x)
        T.linalg.matrix_exp(x / 4)
        T.linalg.lstsq(x, y, driver="gelsd").solution
    """,
    "equal": """
        T.linalg.eigvalsh(x).sum()
        (T.linalg.eigh(x).eigenvalues ** 2).sum()
        T.linalg.svdvals(x).sum()
        T.linalg.matrix_norm(x, 2)
        T.linalg.matrix_norm(x, -2)
        T.linalg.det(x)
    """,
    "zero": """
        T.linalg.pinv(x)
        T.linalg.matrix_rank(x)
        T.linalg.matrix_norm(x)
        T.linalg.matrix_norm(x, 1)
    """,
}

#: (expression, name of the arrays)
CASES = [(line.strip(), name) for names, lines in EXPRESSIONS.items() for line in lines.strip().splitlines()
         for name in names.replace(") (", ")|(").split("|")]
