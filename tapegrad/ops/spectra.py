"""Eigenvalues, singular values, QR and the pseudoinverse, of a batch of matrices in C order.

What a factorization gives lies in one output, whose parts are views. Eigenvalues and singular values are ops of their
own beside it, for their derivative does not need the values to differ, as that of the vectors does. Those in the one
output have theirs too: the derivative of the vectors reads them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.language import cast
from ..engine.lapack import BLOCK, gelqf, gesdd, gesdd_work, orglq, syevd, syevd_work, trsm
from ..engine.products.blas import gemm, scaled_gemm
from ..engine.row import Input, Output, Row, contiguous, fixed
from ..errors import GradientError, LinAlgError
from .factorizations import DIVERGED, FAILED, copied, failed, turned
from .reduction import accumulate
from .table import Errors, Op

WHOLE, DEPENDENT = 4, 5
_FAILED: Errors = {
    **FAILED,
    WHOLE: (GradientError, "there is no derivative of a square matrix of vectors that complete a basis, which are not "
                           "unique; ask for the reduced factors (mode='reduced', full_matrices=False)"),
    DEPENDENT: (LinAlgError, "matrix {index} of the batch has columns that depend on each other: its factors have no "
                             "derivative"),
}

# ------------------------------------------------------------------ eigenvalues of symmetric matrices


class Eigh(Row):
    y: Output  # (n + 1, n): eigenvalues, and eigenvectors as columns
    a: Input = contiguous
    scratch: Input = contiguous
    rows: int  # matrices
    n: int
    lower: bool  # the triangle that is read
    syevd: int
    gemm: int


def eigh_scratch(n: int) -> int:
    return n * n + max(sum(syevd_work(n)), n * n)


def eigh_forward(op: Eigh, f: Any, i: Any, b: Any) -> int:
    """A V = V diag(w), w ascending."""
    n = op.n
    vectors, work = op.scratch, op.scratch + n * n
    for r in range(op.rows if n > 0 else 0):
        y = op.y + r * (n + 1) * n
        turned(f, vectors, op.a + r * n * n, n, n)  # in Fortran's order as NumPy has it, or signs would be others
        if syevd(op.syevd, op.lower == 0, n, vectors, y, work, work + 1 + 6 * n + 2 * n * n, f) != 0:
            return failed(DIVERGED, r)
        turned(f, y + n, vectors, n, n)
    return 0


def eigh_adjoint(op: Eigh, f: Any, i: Any, b: Any) -> int:
    """dA += V ((X - X^T) / 2 E + diag(dw)) V^T, X = V^T dV, E_jk = w_k - w_j: the symmetric part of Giles' adjoint."""
    n, half = op.n, cast(0.5, f)
    p, q = op.scratch, op.scratch + n * n
    for r in range(op.rows if n > 0 else 0):
        w = op.y + r * (n + 1) * n
        v, g = w + n, op.g + r * (n + 1) * n + n
        gemm(op.gemm, 1, 0, n, n, n, v, n, g, n, 0, p, n, f)
        for j in range(n):
            f[p + j * n + j] = f[g + j - n]
            for k in range(j):
                inner = half * (f[p + j * n + k] - f[p + k * n + j]) / (f[w + k] - f[w + j])
                f[p + j * n + k] = inner
                f[p + k * n + j] = inner
        gemm(op.gemm, 0, 0, n, n, n, v, n, p, n, 0, q, n, f)
        gemm(op.gemm, 0, 1, n, n, n, q, n, v, n, 0 if op.stores.a else 1, op.d.a + r * n * n, n, f)
    return 0


def differences(w: Any, t: Any) -> Any:
    """w_k - w_j, and 1 on the diagonal."""
    return t.expand_dims(w, -2) - t.expand_dims(w, -1) + np.eye(w.shape[-1])


def diagonal(x: Any, t: Any) -> Any:
    """Diagonal matrices."""
    return t.expand_dims(x, -2) * np.eye(x.shape[-1])


def eigh_to_a(r: Any, g: Any, t: Any) -> Any:
    w, v = r.y[..., 0, :], r.y[..., 1:, :]
    up = t.swapaxes(v, -1, -2)
    x = t.matmul(up, g[..., 1:, :])
    inner = 0.5 * (x - t.swapaxes(x, -1, -2)) / differences(w, t) + diagonal(g[..., 0, :], t)
    return t.matmul(v, t.matmul(inner, up))


EIGH = Op("eigh", eigh_forward, eigh_adjoint, row=Eigh, saves={"a": "y scratch"}, stores=True, errors=_FAILED,
          doc="eigenvalues and eigenvectors", composition={"a": eigh_to_a},
          batching=lambda r, t: t.eigenpairs(r.whole("a"), r.lower))


class Eigenvalues(Row):
    y: Output
    a: Input = contiguous
    pairs: Input = contiguous | fixed  # an output of `EIGH`
    scratch: Input = contiguous
    rows: int
    n: int
    lower: bool
    gemm: int


def eigenvalues_forward(op: Eigenvalues, f: Any, i: Any, b: Any) -> int:
    """The eigenvalues among what `EIGH` gives."""
    n = op.n
    for r in range(op.rows):
        copied(f, op.y + r * n, op.pairs + r * (n + 1) * n, n)
    return 0


def eigenvalues_adjoint(op: Eigenvalues, f: Any, i: Any, b: Any) -> int:
    """dA += V diag(dw) V^T."""
    n = op.n
    for r in range(op.rows if n > 0 else 0):
        v, g = op.pairs + r * (n + 1) * n + n, op.g + r * n
        for j in range(n):
            for k in range(n):
                f[op.scratch + j * n + k] = f[v + j * n + k] * f[g + k]
        gemm(op.gemm, 0, 1, n, n, n, op.scratch, n, v, n, 0 if op.stores.a else 1, op.d.a + r * n * n, n, f)
    return 0


def eigenvalues_to_a(r: Any, g: Any, t: Any) -> Any:
    v = t.eigenpairs(r.a, r.lower)[..., 1:, :]  # of `pairs` there is no history
    return t.matmul(v * t.expand_dims(g, -2), t.swapaxes(v, -1, -2))


EIGENVALUES = Op("eigvalsh", eigenvalues_forward, eigenvalues_adjoint, row=Eigenvalues,
                 saves={"a": "a pairs scratch"}, stores=True, doc="eigenvalues", composition={"a": eigenvalues_to_a},
                 batching=lambda r, t: t.eigenvalues(r.whole("a"), r.lower, r.whole("pairs")))

# ------------------------------------------------------------------ singular values


class Svd(Row):
    y: Output  # of each matrix U (m, k), s (k,), V (k, n), one behind the other
    a: Input = contiguous
    scratch: Input = contiguous
    rows: int
    m: int
    n: int
    full: bool  # U (m, m) and V (n, n)
    gesdd: int
    gemm: int


def svd_scratch(m: int, n: int, full: bool) -> int:
    k = min(m, n)
    vectors = m * m + n * n if full else (m + n) * k
    return max(m * n + vectors + sum(gesdd_work(m, n)), 2 * k * k + max(m, n) * k)


def svd_forward(op: Svd, f: Any, i: Any, b: Any) -> int:
    """A = U diag(s) V, s descending."""
    m, n = op.m, op.n
    k = min(m, n)
    columns, height = (m, n) if op.full != 0 else (k, k)
    size = m * columns + k + height * n
    right = op.scratch + m * n
    left = right + n * height
    work = left + columns * m
    for r in range(op.rows if k > 0 else 0):
        u = op.y + r * size
        turned(f, op.scratch, op.a + r * m * n, m, n)  # in Fortran's order as NumPy has it, or signs would be others
        if gesdd(op.gesdd, op.full != 0, n, m, op.scratch, right, u + m * columns, left, work,
                 work + 4 * k * k + 7 * k + BLOCK * (m + n), f) != 0:
            return failed(DIVERGED, r)
        turned(f, u, left, columns, m)
        turned(f, u + m * columns + k, right, n, height)
    if k == 0 and op.full != 0:  # any basis: that of the axes
        for r in range(op.rows):
            for j in range(m):
                for p in range(m):
                    f[op.y + r * size + j * m + p] = cast(1.0 if p == j else 0.0, f)
            for j in range(n):
                for p in range(n):
                    f[op.y + r * size + m * m + j * n + p] = cast(1.0 if p == j else 0.0, f)
    return 0


def svd_adjoint(op: Svd, f: Any, i: Any, b: Any) -> int:
    """dA += U T V + (dU - U U^T dU) S^-1 V + U S^-1 (dV - dV V^T V), T = (X - X^T) / E S + S (Z - Z^T) / E + dS.

    X = U^T dU, Z = V dV^T, E_jk = s_k^2 - s_j^2. Townsend 2016, "Differentiating the singular value decomposition".
    """
    m, n = op.m, op.n
    k = min(m, n)
    if op.full != 0 and m != n:
        return WHOLE
    size = m * k + k + k * n
    x, z = op.scratch, op.scratch + k * k
    rest = op.scratch + 2 * k * k
    for r in range(op.rows if k > 0 else 0):
        u, to, store = op.y + r * size, op.d.a + r * m * n, op.stores.a
        s = u + m * k
        v, gu = s + k, op.g + r * size
        gv = gu + m * k + k
        gemm(op.gemm, 1, 0, k, k, m, u, k, gu, k, 0, x, k, f)
        gemm(op.gemm, 0, 1, k, k, n, gv, n, v, n, 0, z, k, f)
        if m > k:
            copied(f, rest, gu, m * k)
            scaled_gemm(op.gemm, 0, 0, m, k, k, cast(-1.0, f), u, k, x, k, 1, rest, k, f)
            for p in range(m):
                for q in range(k):
                    f[rest + p * k + q] /= f[s + q]
            gemm(op.gemm, 0, 0, m, n, k, rest, k, v, n, 0 if store else 1, to, n, f)
            store = False
        if n > k:
            copied(f, rest, gv, k * n)
            scaled_gemm(op.gemm, 0, 0, k, n, k, cast(-1.0, f), z, k, v, n, 1, rest, n, f)
            for p in range(k):
                for q in range(n):
                    f[rest + p * n + q] /= f[s + p]
            gemm(op.gemm, 0, 0, m, n, k, u, k, rest, n, 0 if store else 1, to, n, f)
            store = False
        for p in range(k):
            f[x + p * k + p] = f[gu + m * k + p]
            for q in range(p + 1, k):
                low, high = f[s + p], f[s + q]
                gap = (high - low) * (high + low)
                a, c = (f[x + p * k + q] - f[x + q * k + p]) / gap, (f[z + q * k + p] - f[z + p * k + q]) / gap
                f[x + p * k + q] = a * high + low * c
                f[x + q * k + p] = a * low + high * c
        gemm(op.gemm, 0, 0, m, k, k, u, k, x, k, 0, rest, k, f)
        gemm(op.gemm, 0, 0, m, n, k, rest, k, v, n, 0 if store else 1, to, n, f)
    return 0


def svd_parts(y: Any, m: int, n: int, t: Any) -> tuple[Any, Any, Any]:
    """U, s and V of an output of reduced `SVD`."""
    k, batch = min(m, n), y.shape[:-1]
    return (t.reshape(y[..., :m * k], (*batch, m, k)), y[..., m * k:m * k + k],
            t.reshape(y[..., m * k + k:], (*batch, k, n)))


def svd_to_a(r: Any, g: Any, t: Any) -> Any:
    m, n = r.m, r.n
    if r.full and m != n:
        raise GradientError(f"svd of shape {list(r.shape_of('a'))}: {_FAILED[WHOLE][1]}")
    (u, s, v), (gu, gs, gv) = svd_parts(r.y, m, n, t), svd_parts(g, m, n, t)
    row, column = t.expand_dims(s, -2), t.expand_dims(s, -1)
    x, z = t.matmul(t.swapaxes(u, -1, -2), gu), t.matmul(v, t.swapaxes(gv, -1, -2))
    gap = differences(s, t) * (row + column) + (1.0 - row - column) * np.eye(min(m, n))
    inner = ((x - t.swapaxes(x, -1, -2)) / gap * row + column * (z - t.swapaxes(z, -1, -2)) / gap
             + diagonal(gs, t))
    found = t.matmul(u, t.matmul(inner, v))
    if m > n:
        found = found + t.matmul((gu - t.matmul(u, x)) / row, v)
    if n > m:
        found = found + t.matmul(u, (gv - t.matmul(t.swapaxes(z, -1, -2), v)) / column)
    return found


SVD = Op("svd", svd_forward, svd_adjoint, row=Svd, saves={"a": "y scratch"}, stores=True, errors=_FAILED,
         doc="singular values and vectors", composition={"a": svd_to_a},
         batching=lambda r, t: t.singular(r.whole("a"), r.full))


class SingularValues(Row):
    y: Output
    a: Input = contiguous
    parts: Input = contiguous | fixed  # an output of `SVD`
    scratch: Input = contiguous
    rows: int
    m: int
    n: int
    full: bool  # that of `parts`
    gemm: int


def singular_values_forward(op: SingularValues, f: Any, i: Any, b: Any) -> int:
    """The singular values among what `SVD` gives."""
    m, n = op.m, op.n
    k = min(m, n)
    columns, height = (m, n) if op.full != 0 else (k, k)
    for r in range(op.rows):
        copied(f, op.y + r * k, op.parts + r * (m * columns + k + height * n) + m * columns, k)
    return 0


def singular_values_adjoint(op: SingularValues, f: Any, i: Any, b: Any) -> int:
    """dA += U diag(ds) V."""
    m, n = op.m, op.n
    k = min(m, n)
    columns, height = (m, n) if op.full != 0 else (k, k)
    for r in range(op.rows if k > 0 else 0):
        u, g = op.parts + r * (m * columns + k + height * n), op.g + r * k
        for p in range(m):
            for q in range(k):
                f[op.scratch + p * k + q] = f[u + p * columns + q] * f[g + q]
        gemm(op.gemm, 0, 0, m, n, k, op.scratch, k, u + m * columns + k, n, 0 if op.stores.a else 1,
             op.d.a + r * m * n, n, f)
    return 0


def singular_values_to_a(r: Any, g: Any, t: Any) -> Any:
    u, _, v = svd_parts(t.singular(r.a, False), r.m, r.n, t)  # of `parts` there is no history
    return t.matmul(u * t.expand_dims(g, -2), v)


SINGULAR_VALUES = Op("svdvals", singular_values_forward, singular_values_adjoint, row=SingularValues,
                     saves={"a": "a parts scratch"}, stores=True, doc="singular values",
                     composition={"a": singular_values_to_a},
                     batching=lambda r, t: t.singular_values(r.whole("a"), r.whole("parts"), r.full))

# ------------------------------------------------------------------ QR


class QR(Row):
    y: Output  # of each matrix Q (m, n) and R (n, n), one behind the other
    a: Input = contiguous
    scratch: Input = contiguous
    rows: int
    m: int
    n: int  # at most m
    full: bool  # Q (m, m) and R (m, n)
    gelqf: int
    orglq: int
    trsm: int
    gemm: int


def qr_scratch(m: int, n: int) -> int:
    return max(m * n + n + BLOCK * m, m * n + 2 * n * n)


def qr_forward(op: QR, f: Any, i: Any, b: Any) -> int:
    """A = Q R."""
    m, n, zero, one = op.m, op.n, cast(0.0, f), cast(1.0, f)
    columns = m if op.full != 0 else n
    tau = op.scratch + m * n
    for r in range(op.rows):
        q = op.y + r * (m * columns + columns * n)
        upper = q + m * columns
        if n == 0:  # any basis: that of the axes
            for j in range(m):
                for p in range(columns):
                    f[q + j * m + p] = one if p == j else zero
            continue
        copied(f, op.scratch, op.a + r * m * n, m * n)
        gelqf(op.gelqf, m, n, op.scratch, tau, tau + n, f)
        for j in range(columns):
            for p in range(n):
                f[upper + j * n + p] = f[op.scratch + j * n + p] if p >= j else zero
        for j in range(m):  # the reflectors, in rows of as many elements as Q has
            for p in range(n):
                f[q + j * columns + p] = f[op.scratch + j * n + p]
        orglq(op.orglq, m, columns, n, q, tau, tau + n, f)
    return 0


def qr_adjoint(op: QR, f: Any, i: Any, b: Any) -> int:
    """dA += (dQ + Q C) R^-T, C the lower triangle of R dR^T - dQ^T Q, and its transpose above the diagonal.

    Walter and Lehmann 2010, "Algorithmic differentiation of linear algebra functions", section 3.3.
    """
    m, n, zero = op.m, op.n, cast(0.0, f)
    if op.full != 0 and m != n:
        return WHOLE
    size = m * n + n * n
    c, upper, x = op.scratch, op.scratch + n * n, op.scratch + 2 * n * n
    for r in range(op.rows if n > 0 else 0):
        q, g = op.y + r * size, op.g + r * size
        for j in range(n):
            for p in range(n):
                f[upper + j * n + p] = f[g + m * n + j * n + p] if p >= j else zero
        gemm(op.gemm, 0, 1, n, n, n, q + m * n, n, upper, n, 0, c, n, f)
        scaled_gemm(op.gemm, 1, 0, n, n, m, cast(-1.0, f), g, n, q, n, 1, c, n, f)
        for j in range(n):
            for p in range(j + 1, n):
                f[c + j * n + p] = f[c + p * n + j]
        copied(f, x, g, m * n)
        gemm(op.gemm, 0, 0, m, n, n, q, n, c, n, 1, x, n, f)
        for j in range(n):
            if f[q + m * n + j * n + j] == zero:
                return failed(DEPENDENT, r)
        trsm(op.trsm, False, False, True, False, m, n, q + m * n, x, n, f)
        for j in range(m * n):
            accumulate(f, op.d.a + r * m * n + j, f[x + j], op.stores.a)
    return 0


def qr_parts(y: Any, m: int, n: int, t: Any) -> tuple[Any, Any]:
    """Q and R of a reduced `QR` of at least as many rows as columns."""
    batch = y.shape[:-1]
    return t.reshape(y[..., :m * n], (*batch, m, n)), t.reshape(y[..., m * n:], (*batch, n, n))


def qr_to_a(r: Any, g: Any, t: Any) -> Any:
    m, n = r.m, r.n
    if r.full and m != n:
        raise GradientError(f"qr of shape {list(r.shape_of('a'))}: {_FAILED[WHOLE][1]}")
    (q, upper), (gq, gr) = qr_parts(r.y, m, n, t), qr_parts(g, m, n, t)
    c = t.matmul(upper, t.swapaxes(t.triu(gr), -1, -2)) - t.matmul(t.swapaxes(gq, -1, -2), q)
    c = t.tril(c) + t.swapaxes(t.tril(c, -1), -1, -2)
    return t.algebra.solve_triangular(t.swapaxes(upper, -1, -2), gq + t.matmul(q, c), upper=False, left=False)


QR_ = Op("qr", qr_forward, qr_adjoint, row=QR, saves={"a": "y scratch"}, stores=True, errors=_FAILED,
         doc="QR factors", composition={"a": qr_to_a}, batching=lambda r, t: t.orthogonal(r.whole("a"), r.full))
