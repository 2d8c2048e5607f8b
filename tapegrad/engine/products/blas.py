"""Matrix products, by `product` where they are small and else by a BLAS library.

Compiled code contains no address of a library, and so can be cached: a word of the row is the address of a `Routine`,
which has the addresses of both implementations.
"""

from __future__ import annotations

from typing import Any

from ..language import call, device, fortran_gemm, frame, integers, row_address, word_of
from ..row import Words
from ..threads.team import run_part, share

#: status of a product whose extents or leading dimensions BLAS refuses: it would print a line on standard error, and
#: compute nothing
REFUSED = 254
_MOST = (1 << 31) - 1  # extents are 32 bits wide there


class Product(Words):
    """C = alpha op(A) op(B) + a row, or +=."""

    routine: int  # address of a `Routine`
    ta: int  # whether A is transposed in memory; 2: it is packed into strips
    tb: int
    m: int
    n: int
    k: int
    alpha: float
    a: int
    lda: int
    b: int
    ldb: int
    add: int
    c: int
    ldc: int
    bias: int  # the row, or 0
    scratch: int  # address of `product.scratch_elements` for totals, or 0


class ColumnSums(Words):
    """Sums of the columns of A (m, n)."""

    m: int
    n: int
    a: int
    add: int
    to: int


class Routine(Words):
    """An implementation of matrix products."""

    multiply: int  # addresses of kernels, except for the library's
    library: int
    part: int
    team: int
    limit: int  # multiplications from which on the library is used
    few: int  # columns below which it is
    pack: int
    taken: int  # whether the memory for strips is in use
    strips: int  # address of that memory
    sums: int
    long: int


@device
def product_and_row(routine: int, ta: int, tb: int, m: int, n: int, k: int, alpha: Any, a: int, lda: int, b: int,
                    ldb: int, add: int, c: int, ldc: int, bias: int, scratch: int, f: Any) -> int:
    """`scaled_gemm` plus a row, of which `bias` is the address, or 0 for none.

    `scratch` is the address of `product.scratch_elements`, or 0, for which a sum of many terms is accumulated in
    float32.
    """
    memory = integers(f)
    row: Product = frame()
    row.routine, row.ta, row.tb, row.m, row.n, row.k, row.alpha = routine, ta, tb, m, n, k, word_of(alpha)
    row.a, row.lda, row.b, row.ldb, row.add, row.c, row.ldc, row.bias = a, lda, b, ldb, add, c, ldc, bias
    row.scratch = scratch
    return call(memory[routine + Routine.multiply], row, f, memory, memory)


@device
def scaled_gemm(routine: int, ta: int, tb: int, m: int, n: int, k: int, alpha: Any, a: int, lda: int, b: int, ldb: int,
                add: int, c: int, ldc: int, f: Any) -> int:
    """Row-major C (m, n) = alpha op(A) op(B), or += where `add` is not 0; `routine` is a `gemm_address`."""
    return product_and_row(routine, ta, tb, m, n, k, alpha, a, lda, b, ldb, add, c, ldc, 0, 0, f)


@device
def gemm(routine: int, ta: int, tb: int, m: int, n: int, k: int, a: int, lda: int, b: int, ldb: int, add: int,
         c: int, ldc: int, f: Any) -> int:
    """Row-major C (m, n) = op(A) op(B), or += where `add` is not 0; `routine` is a `gemm_address`."""
    return product_and_row(routine, ta, tb, m, n, k, 1.0, a, lda, b, ldb, add, c, ldc, 0, 0, f)


@device
def long_gemm(routine: int, ta: int, tb: int, m: int, n: int, k: int, a: int, lda: int, b: int, ldb: int, add: int,
              c: int, ldc: int, scratch: int, f: Any) -> int:
    """`gemm` whose terms may be many; see `product_and_row`."""
    return product_and_row(routine, ta, tb, m, n, k, 1.0, a, lda, b, ldb, add, c, ldc, 0, scratch, f)


@device
def gemm_and_row(routine: int, m: int, n: int, k: int, a: int, b: int, bias: int, c: int, scratch: int, f: Any) -> int:
    """Row-major C (m, n) = A B^T plus a row, of which `bias` is the address, or 0 for none."""
    return product_and_row(routine, 0, 1, m, n, k, 1.0, a, k, b, k, 0, c, n, bias, scratch, f)


#: elements from which on threads share the column sums of a matrix; columns of a part at least
SHARED_SUMS, SUMMED = 1 << 14, 32


@device
def column_sums(routine: int, m: int, n: int, a: int, add: int, to: int, f: Any) -> int:
    """Column sums of a row-major A (m, n); accumulated if `add` is not 0."""
    parts, memory = min(m * n // SHARED_SUMS, n // SUMMED, 16), integers(f)
    row: ColumnSums = frame()
    row.m, row.n, row.a, row.add, row.to = m, n, a, add, to
    if parts < 2:
        return run_part(memory[routine + Routine.sums], row_address(row), 0, 1, f, memory, memory)
    return share(memory[routine + Routine.team], memory[routine + Routine.sums], row, parts, f, memory, memory)


@device
def leading(rows: int, columns: int, given: int) -> int:
    """A valid leading dimension: that of a single row may be anything, but BLAS checks it."""
    return max(given, 1) if rows > 1 else max(columns, 1)


@device
def library_gemm(op: Product, f: Any, i: Any) -> int:
    """The product of a row, by the BLAS library; `REFUSED` where that would compute nothing."""
    m, n, k = op.m, op.n, op.k
    a_rows, a_columns, b_rows, b_columns = m, k, k, n
    if op.ta != 0:
        a_rows, a_columns = k, m
    if op.tb != 0:
        b_rows, b_columns = n, k
    lda, ldb, ldc = leading(a_rows, a_columns, op.lda), leading(b_rows, b_columns, op.ldb), leading(m, n, op.ldc)
    if lda < max(a_columns, 1) or ldb < max(b_columns, 1) or ldc < max(n, 1):
        return REFUSED
    if max(max(m, n), max(k, lda)) > _MOST or max(ldb, ldc) > _MOST:
        return REFUSED
    if op.bias != 0:
        for row in range(op.m):
            for column in range(op.n):
                f[op.c + row * op.ldc + column] = f[op.bias + column]
    beta = 1.0 if op.add != 0 or op.bias != 0 else 0.0
    return fortran_gemm(i[op.routine + Routine.library], op.tb, op.ta, n, m, k, op.alpha, op.b, ldb, op.a, lda, beta,
                        op.c, ldc, f)
