"""Products of matrices of small and middle size, which would spend their time in a BLAS library's preparations.

B is taken panel by panel, a panel as wide as a tile and packed on the stack; each panel is multiplied with all rows of
A. Panels, or rows where there are few panels, are the parts that threads share.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import providers
from .blas import library_gemm
from .jit import Kernel, device, enabled, real, words_at
from .storage import address_of
from .team import share, team_address
from .tile import PANEL, ROWS, lanes_of, move, stack, tile, transposed

#: rows of A that a panel is multiplied with before it has to be made again: what a second cache holds of them
BLOCK = 384
#: multiplications from which on a product is shared, and least of them in a part
SHARED, PART = 1 << 17, 1 << 16

# Words of a row: 0 where the routine's record lies, 1 and 2 whether A's and B's memory is transposed, 3 m, 4 n, 5 k,
# 6 alpha, 7 a, 8 lda, 9 b, 10 ldb, 11 whether to add, 12 c, 13 ldc, 14 a row that is added to each of C's, or 0.
# Words of a routine's record: 0 address of `multiply`, 1 of the library's routine, 2 of `multiply_part`, 3 the team,
# 4 multiplications from which on, and 5 columns below which the library is used.

@device
def pack(f: Any, to: int, b: int, ldb: int, across: int, depth: int, lanes: int) -> int:
    """`depth` rows of `lanes` columns of op(B), one behind the other; filled up to half or whole tiles."""
    wide = lanes_of(f)
    half = wide // 2
    if across == 0 and lanes == wide:
        for p in range(depth):
            move(f, to + p * wide, b + p * ldb)
        return 0
    if across == 0:
        for p in range(depth):
            at, source = to + p * wide, b + p * ldb
            for j in range(lanes):
                f[at + j] = f[source + j]
            for j in range(lanes, half if lanes <= half else wide):
                f[at + j] = 0.0
        return 0
    return transposed(f, to, wide, b, ldb, lanes, depth)


@device
def multiply_block(op: Any, f: Any, top: int, bottom: int, begin: int, end: int) -> int:
    """Rows `top` to `bottom` and columns `begin` to `end` of C."""
    n, k, alpha, wide, panel = op[4], op[5], real(op, 6, f), lanes_of(f), stack(f)
    a_row, a_step = op[8], 1
    if op[1] != 0:
        a_row, a_step = 1, op[8]
    b_row, b_column = op[10], 1
    if op[2] != 0:
        b_row, b_column = 1, op[10]
    for high in range(top, bottom, BLOCK):
        low = min(high + BLOCK, bottom)
        for first in range(0, k, PANEL):
            depth = min(PANEL, k - first)
            adds = first > 0 or op[11] != 0
            for left in range(begin, end, wide):
                lanes = min(wide, n - left)
                pack(f, panel, op[9] + first * b_row + left * b_column, op[10], op[2], depth, lanes)
                for row in range(high, low, ROWS):
                    c = op[12] + row * op[13] + left
                    base, base_row = op[14] + left if op[14] != 0 else 0, 0
                    if adds:
                        base, base_row = c, op[13]
                    tile(f, min(ROWS, low - row), lanes, depth, op[7] + row * a_row + first * a_step, a_row,
                         a_step, panel, wide, alpha, base, base_row, c, op[13])
    return 0


def multiply_part(op: Any, f: Any, i: Any, b: Any) -> int:
    """Part op[1] of op[2] of the product whose row is at op[0]: some of the panels, or of the rows if there are few."""
    row, part, parts, wide = words_at(op[0]), op[1], op[2], lanes_of(f)
    m, n = row[3], row[4]
    panels = (n + wide - 1) // wide
    strips = (m + ROWS - 1) // ROWS
    top, bottom, begin, end = 0, m, 0, n
    if panels > 1:
        begin, end = part * panels // parts * wide, min((part + 1) * panels // parts * wide, n)
    else:
        top, bottom = part * strips // parts * ROWS, min((part + 1) * strips // parts * ROWS, m)
    return multiply_block(row, f, top, bottom, begin, end)


def multiply(op: Any, f: Any, i: Any, b: Any) -> int:
    """C = alpha op(A) op(B) + row, or +=."""
    m, n, k, record = op[3], op[4], op[5], op[0]
    if m == 0 or n == 0:
        return 0
    work = m * n * k
    if work == 0 or work >= i[record + 4] or n < i[record + 5]:
        return library_gemm(op, f, i)
    if work < SHARED:
        return multiply_block(op, f, 0, m, 0, n)
    panels, strips = (n + lanes_of(f) - 1) // lanes_of(f), (m + ROWS - 1) // ROWS
    parts = min(work // PART, panels if panels > 1 else strips, 32)
    return share(i[record + 3], i[record + 2], op, parts, f, i, b)


MULTIPLY, MULTIPLY_PART = Kernel("product.multiply", multiply), Kernel("product.part", multiply_part)

_records: dict[tuple[np.dtype, int], np.ndarray] = {}


def gemm_address(dtype: np.dtype) -> int:
    """Element address of the record of the chosen provider's routine, which `blas.gemm` takes; it stays for ever."""
    routine = providers.gemm_address(dtype)
    record = _records.get((dtype, routine))
    if record is None:
        provider = providers.loaded()
        limit = provider.limit if enabled() else 0  # in plain Python the library does everything
        record = _records[dtype, routine] = np.array(
            [MULTIPLY.address(dtype), routine, MULTIPLY_PART.address(dtype), team_address(dtype), limit, provider.few],
            np.int64)
    return address_of(record) // 8
