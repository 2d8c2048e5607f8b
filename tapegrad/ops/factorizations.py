"""Factorizations of square matrices, of a batch in C order: Cholesky, triangular and general systems, determinants.

Adjoints are those of Giles 2008, "An extended collection of matrix derivative results".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.language import cast, device
from ..engine.lapack import BLOCK, gesdd, gesdd_work, getrf, getri, int32_at, potrf, solved, trsm
from ..engine.mathematics import vecmath as m
from ..engine.products.blas import gemm, scaled_gemm
from ..engine.row import Input, Output, Row, contiguous
from ..errors import LinAlgError
from .reduction import accumulate
from .table import Errors, Op

_INFINITY = float("inf")
#: by status; the index is that of the matrix in its batch
FAILED: Errors = {
    1: (LinAlgError, "matrix {index} of the batch is singular; add a small multiple of the identity, or use "
                     "linalg.pinv or linalg.lstsq"),
    2: (LinAlgError, "matrix {index} of the batch is not positive definite; add a small multiple of the identity"),
    3: (LinAlgError, "it does not converge for matrix {index} of the batch, which may hold NaN or infinities"),
}
SINGULAR, INDEFINITE, DIVERGED = FAILED


@device
def failed(status: int, matrix: int) -> int:
    """The status that names a matrix of the batch."""
    return status + 256 * matrix


@device
def copied(f: Any, to: int, x: int, n: int) -> int:
    for k in range(n):
        f[to + k] = f[x + k]
    return 0


@device
def turned(f: Any, to: int, x: int, rows: int, columns: int) -> int:
    """The transpose of X (rows, columns)."""
    for j in range(columns):
        for k in range(rows):
            f[to + j * rows + k] = f[x + k * columns + j]
    return 0


# ------------------------------------------------------------------ Cholesky


class Cholesky(Row):
    y: Output
    a: Input = contiguous
    scratch: Input = contiguous
    rows: int  # matrices
    n: int
    potrf: int
    trsm: int
    gemm: int


def cholesky_scratch(n: int) -> int:
    return 2 * n * n


def cholesky_forward(op: Cholesky, f: Any, i: Any, b: Any) -> int:
    """A = L L^T, of the lower triangle of A."""
    n, zero = op.n, cast(0.0, f)
    for r in range(op.rows if n > 0 else 0):
        y = op.y + r * n * n
        copied(f, y, op.a + r * n * n, n * n)
        if potrf(op.potrf, n, y, f) != 0:
            return failed(INDEFINITE, r)
        for j in range(n):
            if not f[y + j * n + j] > zero:  # NaN, which some libraries pass
                return failed(INDEFINITE, r)
            for k in range(j + 1, n):
                f[y + j * n + k] = zero
    return 0


def cholesky_adjoint(op: Cholesky, f: Any, i: Any, b: Any) -> int:
    """dA += the symmetric part of L^-T P L^-1, P the lower triangle of L^T dL with half its diagonal."""
    n, zero, half = op.n, cast(0.0, f), cast(0.5, f)
    p, s = op.scratch, op.scratch + op.n * op.n
    for r in range(op.rows if n > 0 else 0):
        y, g, to = op.y + r * n * n, op.g + r * n * n, op.d.a + r * n * n
        for j in range(n):
            for k in range(n):
                f[s + j * n + k] = f[g + j * n + k] if k <= j else zero
        gemm(op.gemm, 1, 0, n, n, n, y, n, s, n, 0, p, n, f)
        for j in range(n):
            f[p + j * n + j] *= half
            for k in range(j + 1, n):
                f[p + j * n + k] = zero
        trsm(op.trsm, True, True, True, False, n, n, y, p, n, f)
        trsm(op.trsm, False, True, False, False, n, n, y, p, n, f)
        for j in range(n):
            for k in range(n):
                accumulate(f, to + j * n + k, half * (f[p + j * n + k] + f[p + k * n + j]), op.stores.a)
    return 0


def half_lower(x: Any, t: Any) -> Any:
    """The lower triangle with half the diagonal."""
    n = x.shape[-1]
    return x * (np.tri(n) - 0.5 * np.eye(n))


def cholesky_to_a(r: Any, g: Any, t: Any) -> Any:
    low, lin = r.y, t.algebra
    p = half_lower(t.matmul(t.swapaxes(low, -1, -2), t.tril(g)), t)
    up = t.swapaxes(low, -1, -2)
    s = lin.solve_triangular(low, lin.solve_triangular(up, p, upper=True), upper=False, left=False)
    return 0.5 * (s + t.swapaxes(s, -1, -2))


CHOLESKY = Op("cholesky", cholesky_forward, cholesky_adjoint, row=Cholesky, saves={"a": "y scratch"}, stores=True,
              errors=FAILED, doc="the Cholesky factor", composition={"a": cholesky_to_a},
              batching=lambda r, t: t.algebra.cholesky(r.whole("a")))


# ------------------------------------------------------------------ triangular systems


class Triangular(Row):
    y: Output
    a: Input = contiguous
    b: Input = contiguous
    scratch: Input = contiguous
    rows: int
    n: int
    k: int  # columns of b
    upper: bool
    unit: bool  # ones on the diagonal, which is not read
    trsm: int
    gemm: int


def triangular_scratch(n: int, k: int) -> int:
    return n * k + n * n


def triangular_forward(op: Triangular, f: Any, i: Any, b: Any) -> int:
    """Y = A^-1 B, of one triangle of A."""
    n, k, zero = op.n, op.k, cast(0.0, f)
    for r in range(op.rows if n * k > 0 else 0):
        a, y = op.a + r * n * n, op.y + r * n * k
        for j in range(n if op.unit == 0 else 0):
            if f[a + j * n + j] == zero:
                return failed(SINGULAR, r)
        copied(f, y, op.b + r * n * k, n * k)
        trsm(op.trsm, True, op.upper == 0, False, op.unit != 0, n, k, a, y, k, f)
    return 0


def triangular_adjoint(op: Triangular, f: Any, i: Any, b: Any) -> int:
    """dB += Z = A^-T dY, and dA -= Z Y^T in its triangle."""
    n, k = op.n, op.k
    z, outer = op.scratch, op.scratch + n * k
    for r in range(op.rows if n * k > 0 else 0):
        a = op.a + r * n * n
        copied(f, z, op.g + r * n * k, n * k)
        trsm(op.trsm, True, op.upper == 0, True, op.unit != 0, n, k, a, z, k, f)
        if op.d.a != 0:
            gemm(op.gemm, 0, 1, n, n, k, z, k, op.y + r * n * k, k, 0, outer, n, f)
            for p in range(n):
                for q in range(n):
                    inside = q > p if op.upper != 0 else q < p
                    value = -f[outer + p * n + q] if inside or (p == q and op.unit == 0) else cast(0.0, f)
                    accumulate(f, op.d.a + r * n * n + p * n + q, value, op.stores.a)
        if op.d.b != 0:
            for p in range(n * k):
                accumulate(f, op.d.b + r * n * k + p, f[z + p], op.stores.b)
    return 0


def triangular_to_b(r: Any, g: Any, t: Any) -> Any:
    return t.algebra.solve_triangular(t.swapaxes(r.a, -1, -2), g, upper=not r.upper, unitriangular=r.unit)


def triangular_to_a(r: Any, g: Any, t: Any) -> Any:
    outer = -t.matmul(triangular_to_b(r, g, t), t.swapaxes(r.y, -1, -2))
    return (t.triu if r.upper else t.tril)(outer, (1 if r.upper else -1) if r.unit else 0)


TRIANGULAR = Op("solve_triangular", triangular_forward, triangular_adjoint, row=Triangular, stores=True, errors=FAILED,
                saves={"a": "a y scratch", "b": "a scratch"}, doc="the solution of triangular systems",
                composition={"a": triangular_to_a, "b": triangular_to_b},
                batching=lambda r, t: t.algebra.solve_triangular(r.whole("a"), r.whole("b"), upper=r.upper,
                                                                unitriangular=r.unit))


# ------------------------------------------------------------------ general systems


class Solve(Row):
    y: Output
    a: Input = contiguous
    b: Input = contiguous
    scratch: Input = contiguous
    rows: int
    n: int
    k: int  # columns of b
    getrf: int
    trsm: int
    gemm: int


def solve_scratch(n: int, k: int) -> int:
    return n * n + n + n * k


@device
def solve_one(op: Solve, f: Any, i: Any, r: int, transposed: bool, x: int) -> int:
    """Behind the factors in the workspace the transpose of op(A)^-1 X, of matrix `r`; 1 if it is singular."""
    n, k = op.n, op.k
    factors, pivots, z = op.scratch, op.scratch + n * n, op.scratch + n * n + n
    copied(f, factors, op.a + r * n * n, n * n)
    if getrf(op.getrf, n, factors, pivots, f) != 0:
        return 1
    turned(f, z, x, n, k)
    return solved(op.trsm, transposed, n, k, factors, pivots, z, f, i)


def solve_forward(op: Solve, f: Any, i: Any, b: Any) -> int:
    """Y = A^-1 B."""
    n, k = op.n, op.k
    for r in range(op.rows if n * k > 0 else 0):
        if solve_one(op, f, i, r, False, op.b + r * n * k) != 0:
            return failed(SINGULAR, r)
        turned(f, op.y + r * n * k, op.scratch + n * n + n, k, n)
    return 0


def solve_adjoint(op: Solve, f: Any, i: Any, b: Any) -> int:
    """dB += Z = A^-T dY, and dA -= Z Y^T."""
    n, k = op.n, op.k
    z = op.scratch + n * n + n
    for r in range(op.rows if n * k > 0 else 0):
        if solve_one(op, f, i, r, True, op.g + r * n * k) != 0:
            return failed(SINGULAR, r)
        if op.d.a != 0:
            scaled_gemm(op.gemm, 1, 1, n, n, k, cast(-1.0, f), z, n, op.y + r * n * k, k, 0 if op.stores.a else 1,
                        op.d.a + r * n * n, n, f)
        if op.d.b != 0:
            for p in range(n):
                for q in range(k):
                    accumulate(f, op.d.b + (r * n + p) * k + q, f[z + q * n + p], op.stores.b)
    return 0


def solve_to_b(r: Any, g: Any, t: Any) -> Any:
    return t.algebra.solve(t.swapaxes(r.a, -1, -2), g)


def solve_to_a(r: Any, g: Any, t: Any) -> Any:
    return -t.matmul(solve_to_b(r, g, t), t.swapaxes(r.y, -1, -2))


SOLVE = Op("solve", solve_forward, solve_adjoint, row=Solve, stores=True, errors=FAILED,
           saves={"a": "a y scratch", "b": "a scratch"}, doc="the solution of linear systems",
           composition={"a": solve_to_a, "b": solve_to_b},
           batching=lambda r, t: t.algebra.solve(r.whole("a"), r.whole("b")))


# ------------------------------------------------------------------ the inverse


class Inverse(Row):
    y: Output
    a: Input = contiguous
    scratch: Input = contiguous
    rows: int
    n: int
    getrf: int
    getri: int
    gemm: int


def inverse_scratch(n: int) -> int:
    return max(n + BLOCK * n, n * n)


def inverse_forward(op: Inverse, f: Any, i: Any, b: Any) -> int:
    """Y = A^-1."""
    n = op.n
    for r in range(op.rows if n > 0 else 0):
        y = op.y + r * n * n
        copied(f, y, op.a + r * n * n, n * n)
        if getrf(op.getrf, n, y, op.scratch, f) != 0:
            return failed(SINGULAR, r)
        getri(op.getri, n, y, op.scratch, op.scratch + n, f)
    return 0


def inverse_adjoint(op: Inverse, f: Any, i: Any, b: Any) -> int:
    """dA -= Y^T dY Y^T."""
    n = op.n
    for r in range(op.rows if n > 0 else 0):
        y = op.y + r * n * n
        gemm(op.gemm, 0, 1, n, n, n, op.g + r * n * n, n, y, n, 0, op.scratch, n, f)
        scaled_gemm(op.gemm, 1, 0, n, n, n, cast(-1.0, f), y, n, op.scratch, n, 0 if op.stores.a else 1,
                    op.d.a + r * n * n, n, f)
    return 0


def inverse_to_a(r: Any, g: Any, t: Any) -> Any:
    y = t.swapaxes(r.y, -1, -2)
    return -t.matmul(y, t.matmul(g, y))


INVERSE = Op("inv", inverse_forward, inverse_adjoint, row=Inverse, saves={"a": "y scratch"}, stores=True,
             errors=FAILED, doc="the inverse of a matrix", composition={"a": inverse_to_a},
             batching=lambda r, t: t.algebra.inv(r.whole("a")))


# ------------------------------------------------------------------ determinants


class Determinant(Row):
    y: Output  # the determinant, or its sign and the logarithm of its magnitude
    a: Input = contiguous
    scratch: Input = contiguous
    rows: int
    n: int
    log: bool
    getrf: int
    getri: int
    gesdd: int
    gemm: int


def determinant_scratch(n: int) -> int:
    floats, integers = gesdd_work(n, n)
    return n * n + max(n + BLOCK * n, 2 * n * n + n + floats + integers)


@device
def signed_logarithm(f: Any, i: Any, n: int, factors: int, pivots: int) -> tuple[Any, Any]:
    """The sign of a determinant and the logarithm of its magnitude, of the factors of `getrf`."""
    zero, one = cast(0.0, f), cast(1.0, f)
    sign, total = one, zero
    for j in range(n):
        x = f[factors + j * n + j]
        if (int32_at(f, i, pivots, j) != j + 1) != (x < zero):
            sign = -sign
        total += m.log(m.abs(x))
    return sign, total


@device
def product_of_pivots(f: Any, i: Any, n: int, factors: int, pivots: int) -> Any:
    """A determinant, of the factors of `getrf`."""
    product = cast(1.0, f)
    for j in range(n):
        product *= f[factors + j * n + j]
        if int32_at(f, i, pivots, j) != j + 1:
            product = -product
    return product


def determinant_forward(op: Determinant, f: Any, i: Any, b: Any) -> int:
    """det A, or its sign and ln |det A|: -inf where it is 0."""
    n, zero = op.n, cast(0.0, f)
    factors, pivots = op.scratch, op.scratch + n * n
    for r in range(op.rows):
        copied(f, factors, op.a + r * n * n, n * n)
        info = getrf(op.getrf, n, factors, pivots, f) if n > 0 else 0
        if op.log != 0:
            sign, total = signed_logarithm(f, i, n, factors, pivots)
            f[op.y + 2 * r] = sign if info == 0 else zero
            f[op.y + 2 * r + 1] = total if info == 0 else cast(-_INFINITY, f)
        else:
            f[op.y + r] = product_of_pivots(f, i, n, factors, pivots) if info == 0 else zero
    return 0


@device
def cofactors(op: Determinant, f: Any, i: Any, r: int, to: int, g: Any) -> int:
    """g times the cofactors of a singular matrix: det U det V  U diag(products of all singular values but one) V."""
    n = op.n
    a, u = op.scratch, op.scratch + n * n
    v, s = u + n * n, u + 2 * n * n
    work = s + n
    numbers = work + 4 * n * n + 7 * n + BLOCK * (n + n)
    copied(f, a, op.a + r * n * n, n * n)
    if gesdd(op.gesdd, False, n, n, a, u, s, v, work, numbers, f) != 0:
        return failed(DIVERGED, r)
    factor = g
    for part in range(2):
        copied(f, a, u + part * n * n, n * n)
        getrf(op.getrf, n, a, work, f)
        factor *= cast(1.0, f) if product_of_pivots(f, i, n, a, work) > cast(0.0, f) else cast(-1.0, f)
    for q in range(n):
        others = factor
        for p in range(n):
            if p != q:
                others *= f[s + p]
        for p in range(n):
            f[u + p * n + q] *= others
    return gemm(op.gemm, 0, 0, n, n, n, u, n, v, n, 0 if op.stores.a else 1, to, n, f)


def determinant_adjoint(op: Determinant, f: Any, i: Any, b: Any) -> int:
    """dA += dY det A A^-T, the cofactors, or of the logarithm dY A^-T."""
    n = op.n
    factors, pivots = op.scratch, op.scratch + n * n
    for r in range(op.rows if n > 0 else 0):
        to = op.d.a + r * n * n
        copied(f, factors, op.a + r * n * n, n * n)
        info = getrf(op.getrf, n, factors, pivots, f)
        if info != 0 and op.log != 0:
            return failed(SINGULAR, r)
        if info != 0:
            status = cofactors(op, f, i, r, to, f[op.g + r])
            if status != 0:
                return status
            continue
        slope = f[op.g + 2 * r + 1] if op.log != 0 else f[op.g + r] * f[op.y + r]
        getri(op.getri, n, factors, pivots, pivots + n, f)
        for p in range(n):
            for q in range(n):
                accumulate(f, to + p * n + q, slope * f[factors + q * n + p], op.stores.a)
    return 0


def determinant_to_a(r: Any, g: Any, t: Any) -> Any:
    slope = g[..., 1] if r.log else g * r.y
    return t.reshape(slope, (*slope.shape, 1, 1)) * t.swapaxes(t.algebra.inv(r.a), -1, -2)


DETERMINANT = Op("det", determinant_forward, determinant_adjoint, row=Determinant, saves={"a": "a y scratch"},
                 stores=True, errors=FAILED, doc="the determinant, or its sign and logarithm",
                 composition={"a": determinant_to_a},
                 batching=lambda r, t: t.determinants(r.whole("a"), r.log))
