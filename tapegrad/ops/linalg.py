"""Matrix products.

Where a product has so many terms that they are added up stretch by stretch, its op has an operand more: the scratch for
the totals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..engine.blas import column_sums, gemm_and_row, long_gemm
from ..engine.jit import device
from .nest import column_stride, row_offset
from .table import EVERY, Op

# Words of matmul: 1 y, 2 g, 3 a, 4 da, 5 b, 6 db, from 7 on (or 9 on, where 7 is the scratch): gemm, m, n, k, whether
# a's memory is transposed and its leading stride, the same of b, nest of the batch (y, a, b).


@device
def matmul(op: Any, f: Any, at: int, scratch: int) -> int:
    """`matmul_forward` of a row whose attributes begin at word `at`."""
    status, batch = 0, at + 8
    m, n, k = op[at + 1], op[at + 2], op[at + 3]
    for row in range(op[batch]):
        y, u, v = row_offset(op, batch, 0, row), row_offset(op, batch, 1, row), row_offset(op, batch, 2, row)
        for column in range(op[batch + 1]):
            status |= long_gemm(op[at], op[at + 4], op[at + 6], m, n, k,
                                op[3] + u + column * column_stride(op, batch, 1), op[at + 5],
                                op[5] + v + column * column_stride(op, batch, 2), op[at + 7], 0,
                                op[1] + y + column * column_stride(op, batch, 0), n, scratch, f)
    return status


@device
def matmul_adjoints(op: Any, f: Any, at: int, scratch: int) -> int:
    """`matmul_adjoint` of a row whose attributes begin at word `at`."""
    status, batch = 0, at + 8
    m, n, k, ta, tb, routine = op[at + 1], op[at + 2], op[at + 3], op[at + 4], op[at + 6], op[at]
    lda, ldb = op[at + 5], op[at + 7]
    add_a, add_b = 0 if op[0] & 2 != 0 else 1, 0 if op[0] & 4 != 0 else 1
    for row in range(op[batch]):
        to_y, to_a, to_b = row_offset(op, batch, 0, row), row_offset(op, batch, 1, row), row_offset(op, batch, 2, row)
        for column in range(op[batch + 1]):
            y = op[2] + to_y + column * column_stride(op, batch, 0)
            u, v = to_a + column * column_stride(op, batch, 1), to_b + column * column_stride(op, batch, 2)
            if op[4] != 0:
                if ta == 0:
                    status |= long_gemm(routine, 0, 1 - tb, m, k, n, y, n, op[5] + v, ldb, add_a, op[4] + u, lda,
                                        scratch, f)
                else:
                    status |= long_gemm(routine, tb, 1, k, m, n, op[5] + v, ldb, y, n, add_a, op[4] + u, lda, scratch,
                                        f)
            if op[6] != 0:
                if tb == 0:
                    status |= long_gemm(routine, 1 - ta, 0, k, n, m, op[3] + u, lda, y, n, add_b, op[6] + v, ldb,
                                        scratch, f)
                else:
                    status |= long_gemm(routine, 1, ta, n, k, m, y, n, op[3] + u, lda, add_b, op[6] + v, ldb, scratch,
                                        f)
    return status


def matmul_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """Y = A B, for each matrix of the batch."""
    return matmul(op, f, 7, 0)


def matmul_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dA += dY B^T, dB += A^T dY; transposed where the memory is."""
    return matmul_adjoints(op, f, 7, 0)


def long_matmul_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """`matmul_forward` with scratch."""
    return matmul(op, f, 9, op[7])


def long_matmul_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """`matmul_adjoint` with scratch."""
    return matmul_adjoints(op, f, 9, op[7])


def matmul_products(shapes: Sequence[tuple[int, ...]]) -> int:
    """Products of as many pairs as there are terms."""
    return math.prod(shapes[0]) * shapes[1][-1]


MATMUL = Op("matmul", matmul_forward, matmul_adjoint, ((2,), (1,)), stores=True, doc="matrix products over a batch",
            strided=EVERY, products=matmul_products)
LONG_MATMUL = Op("matmul", long_matmul_forward, long_matmul_adjoint, ((2, 3), (1, 3), ()), stores=True,
                 doc=MATMUL.doc, strided=EVERY, products=matmul_products, form="long")

# Words of linear: 1 y, 2 g, 3 x, 4 dx, 5 w, 6 dw, 7 bias, 8 dbias, from 9 on (or 11 on, where 9 is the scratch): gemm,
# rows m, outputs n, inputs k, whether there is a bias.


@device
def linear(op: Any, f: Any, at: int, scratch: int) -> int:
    """`linear_forward` of a row whose attributes begin at word `at`."""
    return gemm_and_row(op[at], op[at + 1], op[at + 2], op[at + 3], op[3], op[5], op[7] if op[at + 4] != 0 else 0,
                        op[1], scratch, f)


@device
def linear_adjoints(op: Any, f: Any, at: int, scratch: int) -> int:
    """`linear_adjoint` of a row whose attributes begin at word `at`."""
    status = 0
    m, n, k, routine = op[at + 1], op[at + 2], op[at + 3], op[at]
    if op[4] != 0:
        status |= long_gemm(routine, 0, 0, m, k, n, op[2], n, op[5], k, 0 if op[0] & 2 != 0 else 1, op[4], k, scratch,
                            f)
    if op[6] != 0:
        status |= long_gemm(routine, 1, 0, n, k, m, op[2], n, op[3], k, 0 if op[0] & 4 != 0 else 1, op[6], k, scratch,
                            f)
    if op[8] != 0:
        status |= column_sums(routine, m, n, op[2], 0 if op[0] & 8 != 0 else 1, op[8], f)
    return status


def linear_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """Y = X W^T + b."""
    return linear(op, f, 9, 0)


def linear_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dX += dY W, dW += dY^T X, db += sum of the rows of dY."""
    return linear_adjoints(op, f, 9, 0)


def long_linear_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """`linear_forward` with scratch."""
    return linear(op, f, 11, op[9])


def long_linear_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """`linear_adjoint` with scratch."""
    return linear_adjoints(op, f, 11, op[9])


LINEAR = Op("linear", linear_forward, linear_adjoint, ((2,), (1,), ()), stores=True, doc="x W^T + b", in_turn=True,
            products=matmul_products)
LONG_LINEAR = Op("linear", long_linear_forward, long_linear_adjoint, ((2, 4), (1, 4), (), ()), stores=True,
                 doc=LINEAR.doc, in_turn=True, products=matmul_products, form="long")
