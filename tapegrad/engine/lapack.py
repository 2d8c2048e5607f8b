"""LAPACK in kernels: routines over matrices in C order, by the addresses that SciPy exports.

A matrix in C order is its transpose to Fortran, and most routines are called so that nothing has to be transposed: the
Cholesky factor is asked for above the diagonal, a QR factorization is an LQ factorization, U and V change places.
Compiled code contains no address of a library: it stands in the row.

Addresses of matrices are in elements; the status is LAPACK's ``info``: 0, or what the routine's documentation says.
"""

from __future__ import annotations

from typing import Any

from .language import byte_address, cast, device, float_bits, fortran, frame, row_address

#: block size for which workspaces are made
BLOCK = 64
#: extents and sizes are 32 bits wide
LARGEST = (1 << 31) - 1
_UPPER, _LOWER, _LEFT, _RIGHT, _PLAIN, _TRANSPOSED, _UNIT, _VECTORS, _SOME, _ALL = map(ord, "ULLRNTUVSA")


@device
def number(words: Any, k: int, value: int) -> int:
    """Argument `k` is a number or a letter."""
    words[16 + k] = value
    words[k] = (row_address(words) + 16 + k) * 8
    return 0


@device
def given(words: Any, k: int) -> int:
    """Argument `k`, a 32-bit integer that the routine has written."""
    value = words[16 + k] & 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value


@device
def int32_at(f: Any, i: Any, numbers: int, k: int) -> int:
    """32-bit integer `k` from an address in elements of `f` on."""
    at = byte_address(f, numbers) + 4 * k
    value = (i[at >> 3] >> 8 * (at & 4)) & 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value


@device
def potrf(routine: int, n: int, a: int, f: Any) -> int:
    """The Cholesky factor of A below its diagonal; what is above stays."""
    words = frame()
    number(words, 0, _UPPER)
    number(words, 1, n)
    words[2] = byte_address(f, a)
    number(words, 3, n)
    number(words, 4, 0)
    fortran(routine, words, 5)
    return given(words, 4)


@device
def trsm(routine: int, left: bool, lower: bool, transposed: bool, unit: bool, m: int, n: int, a: int, b: int,
         ldb: int, f: Any) -> int:
    """B (m, n) = op(A)^-1 B, or B op(A)^-1 for not `left`; A is a triangle, `unit` with ones on its diagonal."""
    words = frame()
    extent = m if left else n
    number(words, 0, _RIGHT if left else _LEFT)
    number(words, 1, _UPPER if lower else _LOWER)
    number(words, 2, _TRANSPOSED if transposed else _PLAIN)
    number(words, 3, _UNIT if unit else _PLAIN)
    number(words, 4, n)
    number(words, 5, m)
    number(words, 6, float_bits(cast(1.0, f)))
    words[7] = byte_address(f, a)
    number(words, 8, extent)
    words[9] = byte_address(f, b)
    number(words, 10, ldb)
    return fortran(routine, words, 11)


@device
def getrf(routine: int, n: int, a: int, pivots: int, f: Any) -> int:
    """LU factors of the transpose of A, over it; `pivots`, of 32-bit integers, is an address in elements of `f`."""
    words = frame()
    number(words, 0, n)
    number(words, 1, n)
    words[2] = byte_address(f, a)
    number(words, 3, n)
    words[4] = byte_address(f, pivots)
    number(words, 5, 0)
    fortran(routine, words, 6)
    return given(words, 5)


@device
def solved(routine: int, transposed: bool, n: int, k: int, a: int, pivots: int, b: int, f: Any, i: Any) -> int:
    """Rows of B (k, n) = the solutions of op(A) x = row, of the factors of `getrf`; `routine` is trsm.

    LAPACK's getrs does the same, but OpenBLAS gives it threads for a matrix of three rows, too.
    """
    if transposed:
        moved(False, n, k, pivots, b, f, i)
        trsm(routine, False, False, False, True, k, n, a, b, n, f)
        return trsm(routine, False, True, False, False, k, n, a, b, n, f)
    trsm(routine, False, True, True, False, k, n, a, b, n, f)
    trsm(routine, False, False, True, True, k, n, a, b, n, f)
    return moved(True, n, k, pivots, b, f, i)


@device
def moved(back: bool, n: int, k: int, pivots: int, b: int, f: Any, i: Any) -> int:
    """The exchanges of `getrf` among the elements of each row of B (k, n), or back."""
    for step in range(n):
        p = n - 1 - step if back else step
        q = int32_at(f, i, pivots, p) - 1
        if q != p:
            for row in range(k):
                held = f[b + row * n + p]
                f[b + row * n + p] = f[b + row * n + q]
                f[b + row * n + q] = held
    return 0


@device
def getri(routine: int, n: int, a: int, pivots: int, work: int, f: Any) -> int:
    """The inverse, of the factors of `getrf`, over them; `work` has `BLOCK` n elements."""
    words = frame()
    number(words, 0, n)
    words[1] = byte_address(f, a)
    number(words, 2, n)
    words[3] = byte_address(f, pivots)
    words[4] = byte_address(f, work)
    number(words, 5, BLOCK * n)
    number(words, 6, 0)
    fortran(routine, words, 7)
    return given(words, 6)


def syevd_work(n: int) -> tuple[int, int]:
    """Floats and 32-bit integers that `syevd` works with."""
    return 1 + 6 * n + 2 * n * n, 3 + 5 * n


@device
def syevd(routine: int, lower: bool, n: int, a: int, w: int, work: int, numbers: int, f: Any) -> int:
    """Eigenvalues of A, of which one triangle is read, and over it its eigenvectors as rows."""
    words = frame()
    number(words, 0, _VECTORS)
    number(words, 1, _UPPER if lower else _LOWER)
    number(words, 2, n)
    words[3] = byte_address(f, a)
    number(words, 4, n)
    words[5] = byte_address(f, w)
    words[6] = byte_address(f, work)
    number(words, 7, 1 + 6 * n + 2 * n * n)
    words[8] = byte_address(f, numbers)
    number(words, 9, 3 + 5 * n)
    number(words, 10, 0)
    fortran(routine, words, 11)
    return given(words, 10)


def gesdd_work(m: int, n: int) -> tuple[int, int]:
    """Floats and 32-bit integers that `gesdd` works with."""
    k = min(m, n)
    return 4 * k * k + 7 * k + BLOCK * (m + n), 8 * k


@device
def gesdd(routine: int, whole: bool, m: int, n: int, a: int, u: int, s: int, v: int, work: int, numbers: int,
          f: Any) -> int:
    """A (m, n) = U diag(s) V, and A is lost; `whole`: U and V are square."""
    words = frame()
    k = min(m, n)
    number(words, 0, _ALL if whole else _SOME)
    number(words, 1, n)
    number(words, 2, m)
    words[3] = byte_address(f, a)
    number(words, 4, n)
    words[5] = byte_address(f, s)
    words[6] = byte_address(f, v)
    number(words, 7, n)
    words[8] = byte_address(f, u)
    number(words, 9, m if whole else k)
    words[10] = byte_address(f, work)
    number(words, 11, 4 * k * k + 7 * k + BLOCK * (m + n))
    words[12] = byte_address(f, numbers)
    number(words, 13, 0)
    fortran(routine, words, 14)
    return given(words, 13)


@device
def gelqf(routine: int, m: int, n: int, a: int, tau: int, work: int, f: Any) -> int:
    """The QR factorization of A (m, n) as reflectors over it, R above its diagonal; `work` has `BLOCK` n elements."""
    words = frame()
    number(words, 0, n)
    number(words, 1, m)
    words[2] = byte_address(f, a)
    number(words, 3, n)
    words[4] = byte_address(f, tau)
    words[5] = byte_address(f, work)
    number(words, 6, BLOCK * n)
    number(words, 7, 0)
    fortran(routine, words, 8)
    return given(words, 7)


@device
def orglq(routine: int, m: int, n: int, k: int, a: int, tau: int, work: int, f: Any) -> int:
    """The first n columns of Q, over `k` reflectors of `gelqf` (m, n); `work` has `BLOCK` n elements."""
    words = frame()
    number(words, 0, n)
    number(words, 1, m)
    number(words, 2, k)
    words[3] = byte_address(f, a)
    number(words, 4, n)
    words[5] = byte_address(f, tau)
    words[6] = byte_address(f, work)
    number(words, 7, BLOCK * n)
    number(words, 8, 0)
    fortran(routine, words, 9)
    return given(words, 8)
