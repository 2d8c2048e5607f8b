"""The pseudoinverse and the exponential of matrices, of a batch in C order."""

from __future__ import annotations

from typing import Any

from ..engine.language import cast, device
from ..engine.lapack import BLOCK, gesdd, gesdd_work, getrf, solved
from ..engine.mathematics import vecmath as v
from ..engine.products.blas import gemm, scaled_gemm
from ..engine.row import Input, Output, Row, contiguous, double
from ..errors import GradientError
from .factorizations import DIVERGED, FAILED, copied, failed
from .reduction import accumulate
from .table import Errors, Op

_INFINITY = float("inf")

# ------------------------------------------------------------------ the pseudoinverse

CUT = 4
_FAILED: Errors = {**FAILED, CUT: (GradientError, "of matrix {index} of the batch the tolerance takes a singular value "
                                                  "for 0 that is not: there is no derivative at constant rank; take a "
                                                  "smaller tolerance, or detach() the matrix")}


class Pinv(Row):
    y: Output
    a: Input = contiguous
    scratch: Input = contiguous
    rows: int  # matrices
    m: int
    n: int
    atol: double  # singular values up to it are taken for 0
    rtol: double  # and those up to so much of the greatest
    limit: double  # a greater share of the least that counts must not be taken for 0, where the derivative is asked for
    gesdd: int
    gemm: int


def pinv_scratch(m: int, n: int) -> int:
    k = min(m, n)
    return max(m * n + m * k + k + k * n + sum(gesdd_work(m, n)), m * m + m * n + n * n)


def pinv_forward(op: Pinv, f: Any, i: Any, b: Any) -> int:
    """P = V^T diag(1 / s) U^T, of the singular values that count."""
    m, n, zero = op.m, op.n, cast(0.0, f)
    k = min(m, n)
    u = op.scratch + m * n
    s = u + m * k
    right = s + k
    work = right + k * n
    for r in range(op.rows if k > 0 else 0):
        copied(f, op.scratch, op.a + r * m * n, m * n)
        if gesdd(op.gesdd, False, m, n, op.scratch, u, s, right, work, work + 4 * k * k + 7 * k + BLOCK * (m + n),
                 f) != 0:
            return failed(DIVERGED, r)
        least, counted = max(op.atol, op.rtol * f[s]), 0
        while counted < k and f[s + counted] > least:
            counted += 1
        if 0 < counted < k and f[s + counted] > op.limit * f[s + counted - 1]:
            return failed(CUT, r)
        for p in range(k):
            factor = cast(1.0, f) / f[s + p] if p < counted else zero
            for q in range(n):
                f[right + p * n + q] *= factor
        gemm(op.gemm, 1, 1, n, m, k, right, n, u, k, 0, op.y + r * m * n, m, f)
    return 0


def pinv_adjoint(op: Pinv, f: Any, i: Any, b: Any) -> int:
    """dA += (W - W^T) P^T - A P W P^T + P^T H - P^T H P A, W = dP^T P, H = P dP^T.

    Golub and Pereyra 1973, "The differentiation of pseudo-inverses", at constant rank.
    """
    m, n, less = op.m, op.n, cast(-1.0, f)
    w, x, h = op.scratch, op.scratch + m * m, op.scratch + m * m + m * n
    for r in range(op.rows if m * n > 0 else 0):
        a, p, g, to = op.a + r * m * n, op.y + r * m * n, op.g + r * m * n, op.d.a + r * m * n
        gemm(op.gemm, 1, 0, m, m, n, g, m, p, m, 0, w, m, f)
        gemm(op.gemm, 0, 0, n, m, m, p, m, w, m, 0, x, m, f)
        gemm(op.gemm, 0, 1, n, n, m, x, m, p, m, 0, h, n, f)
        for j in range(m):
            f[w + j * m + j] -= f[w + j * m + j]
            for k in range(j):
                d = f[w + j * m + k] - f[w + k * m + j]
                f[w + j * m + k] = d
                f[w + k * m + j] = -d
        gemm(op.gemm, 0, 1, m, n, m, w, m, p, m, 0 if op.stores.a else 1, to, n, f)
        scaled_gemm(op.gemm, 0, 0, m, n, n, less, a, n, h, n, 1, to, n, f)
        gemm(op.gemm, 0, 1, n, n, m, p, m, g, m, 0, h, n, f)
        gemm(op.gemm, 1, 0, m, n, n, p, m, h, n, 0, x, n, f)
        for j in range(m * n):
            f[to + j] += f[x + j]
        gemm(op.gemm, 0, 0, m, m, n, x, n, p, m, 0, w, m, f)
        scaled_gemm(op.gemm, 0, 0, m, n, m, less, w, m, a, n, 1, to, n, f)
    return 0


def pinv_to_a(r: Any, g: Any, t: Any) -> Any:
    a, p = r.a, r.y
    up, gt = t.swapaxes(p, -1, -2), t.swapaxes(g, -1, -2)
    w, h = t.matmul(gt, p), t.matmul(up, t.matmul(p, gt))
    left = t.matmul(w - t.swapaxes(w, -1, -2), up) - t.matmul(a, t.matmul(t.matmul(p, w), up))
    return left + h - t.matmul(t.matmul(h, p), a)


PINV = Op("pinv", pinv_forward, pinv_adjoint, row=Pinv, saves={"a": "a y scratch"}, stores=True, errors=_FAILED,
          doc="the pseudoinverse", composition={"a": pinv_to_a},
          batching=lambda r, t: t.pseudoinverse(r.whole("a"), r.atol, r.rtol, r.limit))

# ------------------------------------------------------------------ the exponential

#: coefficients of the Pade approximant of degree 13, and the 1-norm up to which it is exact to float64's precision
#: (Higham 2005, "The scaling and squaring method for the matrix exponential revisited", table 2.3)
_B0, _B1, _B2, _B3, _B4, _B5, _B6, _B7 = (64764752532480000.0, 32382376266240000.0, 7771770303897600.0,
                                          1187353796428800.0, 129060195264000.0, 10559470521600.0, 670442572800.0,
                                          33522128640.0)
_B8, _B9, _B10, _B11, _B12, _B13 = 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0
_THETA = 5.371920351148152


class Exponential(Row):
    y: Output
    a: Input = contiguous
    scratch: Input = contiguous
    rows: int
    n: int
    getrf: int
    trsm: int
    gemm: int


def exponential_scratch(n: int) -> int:
    return 4 * n * n + 6 * 4 * n * n + 2 * n  # that of the adjoint, whose matrix has twice the rows


@device
def exponential(op: Exponential, f: Any, i: Any, n: int, x: int, work: int) -> int:
    """e^X over X (n, n), by scaling and squaring; `work` has 6 n^2 + n elements."""
    size, one, zero, half = n * n, cast(1.0, f), cast(0.0, f), cast(0.5, f)
    x2, x4, x6 = work, work + size, work + 2 * size
    u, w, t = work + 3 * size, work + 4 * size, work + 5 * size
    greatest = zero
    for q in range(n):
        total = zero
        for p in range(n):
            total += v.abs(f[x + p * n + q])
        if not total <= greatest:
            greatest = total
    if not greatest < _INFINITY:
        for k in range(size):
            f[x + k] = greatest - greatest
        return 0
    squarings, factor = 0, one
    while greatest * factor > _THETA:
        factor *= half
        squarings += 1
    for k in range(size):
        f[x + k] *= factor
    gemm(op.gemm, 0, 0, n, n, n, x, n, x, n, 0, x2, n, f)
    gemm(op.gemm, 0, 0, n, n, n, x2, n, x2, n, 0, x4, n, f)
    gemm(op.gemm, 0, 0, n, n, n, x4, n, x2, n, 0, x6, n, f)
    for k in range(size):
        f[t + k] = _B13 * f[x6 + k] + _B11 * f[x4 + k] + _B9 * f[x2 + k]
        f[u + k] = _B7 * f[x6 + k] + _B5 * f[x4 + k] + _B3 * f[x2 + k]
    gemm(op.gemm, 0, 0, n, n, n, x6, n, t, n, 1, u, n, f)
    for j in range(n):
        f[u + j * n + j] += _B1
    gemm(op.gemm, 0, 0, n, n, n, x, n, u, n, 0, t, n, f)
    for k in range(size):
        f[u + k] = _B12 * f[x6 + k] + _B10 * f[x4 + k] + _B8 * f[x2 + k]
        f[w + k] = _B6 * f[x6 + k] + _B4 * f[x4 + k] + _B2 * f[x2 + k]
    gemm(op.gemm, 0, 0, n, n, n, x6, n, u, n, 1, w, n, f)
    for j in range(n):
        f[w + j * n + j] += _B0
    for k in range(size):  # the rows of e^X solve e^X (w - t) = w + t
        f[x + k] = f[w + k] + f[t + k]
        f[u + k] = f[w + k] - f[t + k]
    pivots = work + 6 * size
    getrf(op.getrf, n, u, pivots, f)
    solved(op.trsm, True, n, n, u, pivots, x, f, i)
    for _ in range(squarings):
        gemm(op.gemm, 0, 0, n, n, n, x, n, x, n, 0, t, n, f)
        copied(f, x, t, size)
    return 0


def exponential_forward(op: Exponential, f: Any, i: Any, b: Any) -> int:
    """Y = e^A."""
    n = op.n
    for r in range(op.rows if n > 0 else 0):
        copied(f, op.y + r * n * n, op.a + r * n * n, n * n)
        exponential(op, f, i, n, op.y + r * n * n, op.scratch)
    return 0


def exponential_adjoint(op: Exponential, f: Any, i: Any, b: Any) -> int:
    """dA += the upper right block of e^[[A^T, dY], [0, A^T]], dY scaled to elements up to 1.

    Mathias 1996, "A chain rule for matrix functions and applications", theorem 4.1.
    """
    n, zero, one = op.n, cast(0.0, f), cast(1.0, f)
    x, two = op.scratch, 2 * op.n
    for r in range(op.rows if n > 0 else 0):
        a, g = op.a + r * n * n, op.g + r * n * n
        top = zero
        for k in range(n * n):
            if not v.abs(f[g + k]) <= top:
                top = v.abs(f[g + k])
        scale = top if top > zero else one
        for j in range(n):
            for k in range(n):
                f[x + j * two + k] = f[a + k * n + j]
                f[x + (n + j) * two + n + k] = f[a + k * n + j]
                f[x + (n + j) * two + k] = zero
                f[x + j * two + n + k] = f[g + j * n + k] / scale
        exponential(op, f, i, two, x, x + 4 * n * n)
        for j in range(n):
            for k in range(n):
                accumulate(f, op.d.a + r * n * n + j * n + k, scale * f[x + j * two + n + k], op.stores.a)
    return 0


def exponential_to_a(r: Any, g: Any, t: Any) -> Any:
    up, n = t.swapaxes(r.a, -1, -2), r.n
    whole = t.concatenate([t.concatenate([up, g], -1), t.concatenate([up * 0.0, up], -1)], -2)
    return t.algebra.matrix_exp(whole)[..., :n, n:]


EXPONENTIAL = Op("matrix_exp", exponential_forward, exponential_adjoint, row=Exponential, saves={"a": "a scratch"},
                 stores=True, doc="the exponential of a matrix", composition={"a": exponential_to_a},
                 batching=lambda r, t: t.algebra.matrix_exp(r.whole("a")))
