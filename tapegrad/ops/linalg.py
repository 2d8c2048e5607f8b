"""Matrix products."""

from __future__ import annotations

import math
from typing import Any

from ..engine.blas import column_sums, gemm, gemm_and_row
from .nest import column_stride, row_offset
from .table import EVERY, Op

# Words of matmul: 1 y, 2 g, 3 a, 4 da, 5 b, 6 db, 7 gemm, 8 m, 9 n, 10 k, 11 and 12 whether a's memory is transposed
# and its leading stride, 13 and 14 the same of b, 15 nest of the batch (y, a, b).


def matmul_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """Y = A B, for each matrix of the batch."""
    status = 0
    m, n, k = op[8], op[9], op[10]
    for row in range(op[15]):
        y, u, v = row_offset(op, 15, 0, row), row_offset(op, 15, 1, row), row_offset(op, 15, 2, row)
        for column in range(op[16]):
            status |= gemm(op[7], op[11], op[13], m, n, k, op[3] + u + column * column_stride(op, 15, 1), op[12],
                           op[5] + v + column * column_stride(op, 15, 2), op[14], 0,
                           op[1] + y + column * column_stride(op, 15, 0), n, f)
    return status


def matmul_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dA += dY B^T, dB += A^T dY; transposed where the memory is."""
    status = 0
    m, n, k, ta, tb, routine = op[8], op[9], op[10], op[11], op[13], op[7]
    add_a, add_b = 0 if op[0] & 2 != 0 else 1, 0 if op[0] & 4 != 0 else 1
    for row in range(op[15]):
        to_y, to_a, to_b = row_offset(op, 15, 0, row), row_offset(op, 15, 1, row), row_offset(op, 15, 2, row)
        for column in range(op[16]):
            y = op[2] + to_y + column * column_stride(op, 15, 0)
            u, v = to_a + column * column_stride(op, 15, 1), to_b + column * column_stride(op, 15, 2)
            if op[4] != 0:
                if ta == 0:
                    status |= gemm(routine, 0, 1 - tb, m, k, n, y, n, op[5] + v, op[14], add_a, op[4] + u, op[12], f)
                else:
                    status |= gemm(routine, tb, 1, k, m, n, op[5] + v, op[14], y, n, add_a, op[4] + u, op[12], f)
            if op[6] != 0:
                if tb == 0:
                    status |= gemm(routine, 1 - ta, 0, k, n, m, op[3] + u, op[12], y, n, add_b, op[6] + v, op[14], f)
                else:
                    status |= gemm(routine, 1, ta, n, k, m, y, n, op[3] + u, op[12], add_b, op[6] + v, op[14], f)
    return status


MATMUL = Op("matmul", matmul_forward, matmul_adjoint, ((2,), (1,)), stores=True, doc="matrix products over a batch",
            strided=EVERY, products=lambda shapes: math.prod(shapes[0]) * shapes[1][-1])

# Words of linear: 1 y, 2 g, 3 x, 4 dx, 5 w, 6 dw, 7 bias, 8 dbias, 9 gemm, 10 rows m, 11 outputs n, 12 inputs k,
# 13 whether there is a bias.


def linear_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """Y = X W^T + b."""
    return gemm_and_row(op[9], op[10], op[11], op[12], op[3], op[5], op[7] if op[13] != 0 else 0, op[1], f)


def linear_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dX += dY W, dW += dY^T X, db += sum of the rows of dY."""
    status = 0
    m, n, k, routine = op[10], op[11], op[12], op[9]
    if op[4] != 0:
        status |= gemm(routine, 0, 0, m, k, n, op[2], n, op[5], k, 0 if op[0] & 2 != 0 else 1, op[4], k, f)
    if op[6] != 0:
        status |= gemm(routine, 1, 0, n, k, m, op[2], n, op[3], k, 0 if op[0] & 4 != 0 else 1, op[6], k, f)
    if op[8] != 0:
        status |= column_sums(routine, m, n, op[2], 0 if op[0] & 8 != 0 else 1, op[8], f)
    return status


LINEAR = Op("linear", linear_forward, linear_adjoint, ((2,), (1,), ()), stores=True, doc="x W^T + b", in_turn=True,
            products=lambda shapes: math.prod(shapes[0]) * shapes[1][-1])
