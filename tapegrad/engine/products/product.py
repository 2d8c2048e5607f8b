"""Products of matrices, but for the largest, which are left to a BLAS library.

B is taken panel by panel, a panel as wide as a tile and packed on the stack; each panel is multiplied with all rows of
A. Panels, or rows where there are few panels, are the parts that threads share. A is read where it lies, unless the
elements that a tile reads one after the other lie far from each other: then the threads copy it into strips before.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import providers
from ..kernels import Kernel
from ..language import call, cast, device, doubles_at, enabled, frame, read, real, row_address, wide, words_at, write
from ..mathematics.sums import sum_rows
from ..storage import address_of, aligned_bytes
from ..threads.team import publish, replace, run_part, share, team_address
from ..tiles.tile import PANEL, ROWS, lanes_of, move, prefetch, stack, tile, transposed
from .blas import SUMMED, library_gemm

#: rows of A that a panel is multiplied with before it has to be made again: what a second cache holds of them
BLOCK = 384
#: multiplications from which on a product is shared, and least of them in a part
SHARED, PART = 1 << 17, 1 << 16
#: elements between two columns of a transposed A, and multiplications, from which on its rows are put into strips
FAR, STRIPS = 512, 1 << 22
#: terms of a product that are added up in its dtype: of a small C, whose totals a `stack` holds, of one of few columns
#: among those, and of others
LONG, NARROW, STRETCH = 1 << 12, 1 << 9, 1 << 14
#: elements of a small C at most; rows of another of which there are totals at once
SMALL, TOTALLED = 768, 2 * BLOCK
#: elements of a strip's column: those of a tile, and what fills a vector
STRIP = 8

# Words of a row: 0 where the routine's record lies, 1 and 2 whether A's and B's memory is transposed, 3 m, 4 n, 5 k,
# 6 alpha, 7 a, 8 lda, 9 b, 10 ldb, 11 whether to add, 12 c, 13 ldc, 14 a row that is added to each of C's, or 0,
# 15 `scratch_elements` for totals, or 0.
# Words of a routine's record: 0 address of `multiply`, 1 of the library's routine, 2 of `multiply_part`, 3 the team,
# 4 multiplications from which on, and 5 columns below which the library is used, 6 address of `pack_part`, 7 whether
# somebody uses the memory for strips, 8 where that is, 9 address of `sums_part`, 10 of `multiply_long`.

@device
def pack(f: Any, to: int, b: int, ldb: int, across: int, depth: int, lanes: int) -> int:
    """`depth` rows of `lanes` columns of op(B), one behind the other; filled up to half or whole tiles."""
    wide = lanes_of(f)
    if across != 0:
        return transposed(f, to, wide, b, ldb, lanes, depth, wide // 2)
    for p in range(depth):
        move(f, to + p * wide, b + p * ldb, lanes)
    return 0


@device
def panel_depth(k: int) -> int:
    """Rows of a panel, of all but the last: about the same in each."""
    panels = (k + PANEL - 1) // PANEL
    return (k + panels - 1) // panels


@device
def multiply_block(op: Any, f: Any, top: int, bottom: int, begin: int, end: int) -> int:
    """Rows `top` to `bottom` and columns `begin` to `end` of C."""
    n, k, alpha, wide, panel = op[4], op[5], real(op, 6, f), lanes_of(f), stack(f)
    most = panel_depth(k)
    a_row, a_step, a_strip = op[8], 1, ROWS * op[8]
    if op[1] == 1:
        a_row, a_step, a_strip = 1, op[8], ROWS
    if op[1] == 2:
        a_row, a_step, a_strip = 1, STRIP, STRIP * k
    b_row, b_column = op[10], 1
    if op[2] != 0:
        b_row, b_column = 1, op[10]
    for high in range(top, bottom, BLOCK):
        low = min(high + BLOCK, bottom)
        for first in range(0, k, most):
            depth = min(most, k - first)
            adds = first > 0 or op[11] != 0
            for left in range(begin, end, wide):
                lanes = min(wide, n - left)
                pack(f, panel, op[9] + first * b_row + left * b_column, op[10], op[2], depth, lanes)
                ahead, each = op[9] + first * b_row + left + wide, 0
                if op[2] == 0 and left + wide < end:
                    each = depth * ROWS // (low - high) + 1
                for row in range(high, low, ROWS):
                    for p in range(each):  # the next panel's rows, which lie too far from each other to be foreseen
                        prefetch(f, ahead + p * b_row)
                        prefetch(f, ahead + p * b_row + wide // 2)
                    ahead += each * b_row
                    c = op[12] + row * op[13] + left
                    base, base_row = op[14] + left if op[14] != 0 else 0, 0
                    if adds:
                        base, base_row = c, op[13]
                    tile(f, min(ROWS, low - row), lanes, depth, op[7] + row // ROWS * a_strip + first * a_step, a_row,
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


def pack_part(op: Any, f: Any, i: Any, b: Any) -> int:
    """Part op[1] of op[2] of a transposed A whose row is at op[0]: some of the strips, of which each is a tile's rows.

    Words: 0 where A lies, 1 its leading stride, 2 rows, 3 columns, 4 where the strips lie.
    """
    row, part, parts = words_at(op[0]), op[1], op[2]
    a, lda, m, depth, to = row[0], row[1], row[2], row[3], row[4]
    strips, whole = (m + ROWS - 1) // ROWS, (m - STRIP + ROWS) // ROWS  # those from which a vector can be read
    first, last = part * strips // parts, (part + 1) * strips // parts
    for p in range(depth):
        source, target = a + p * lda, to + p * STRIP
        for s in range(first, min(last, whole)):
            for r in range(STRIP):
                f[target + s * STRIP * depth + r] = f[source + s * ROWS + r]
        for s in range(max(first, whole), last):
            for r in range(min(ROWS, m - s * ROWS)):
                f[target + s * STRIP * depth + r] = f[source + s * ROWS + r]
    return 0


def sums_part(op: Any, f: Any, i: Any, b: Any) -> int:
    """Part op[1] of op[2] of the column sums whose row (rows, columns, matrix, whether to add, sums) is at op[0]."""
    row, part, blocks = words_at(op[0]), op[1], (words_at(op[0])[1] + SUMMED - 1) // SUMMED
    begin, end = part * blocks // op[2] * SUMMED, min((part + 1) * blocks // op[2] * SUMMED, row[1])
    return sum_rows(f, row[4] + begin, row[2] + begin, row[1], row[0], end - begin, wide(cast(1.0, f)), row[3] != 0)


@device
def library_serves(op: Any, i: Any) -> bool:
    """Whether the library's product is faster."""
    record, work = op[0], op[3] * op[4] * op[5]
    return work == 0 or work >= i[record + 4] or op[4] < i[record + 5]


def multiply(op: Any, f: Any, i: Any, b: Any) -> int:
    """C = alpha op(A) op(B) + row, or +=."""
    m, n, k, record = op[3], op[4], op[5], op[0]
    if m == 0 or n == 0:
        return 0
    if k > LONG and (m * n <= SMALL or (k > STRETCH and op[15] != 0)) and i[record + 4] > 0:
        return call(i[record + 10], op, f, i, b)
    if library_serves(op, i):
        return library_gemm(op, f, i)
    work, wide = m * n * k, lanes_of(f)
    panels, strips = (n + wide - 1) // wide, (m + ROWS - 1) // ROWS
    parts = 1 if work < SHARED else min(work // PART, panels if panels > 1 else strips, 32)
    if op[1] == 0 or op[8] < FAR or n < FAR // 2 or work < STRIPS or replace(i, record + 7, 0, 1) == 0:
        if parts == 1:
            return run_part(i[record + 2], row_address(op), 0, 1, f, i, b)
        return share(i[record + 3], i[record + 2], op, parts, f, i, b)
    row, piece = frame(), frame()
    for word in range(15):
        row[word] = op[word]
    most = panel_depth(k)
    piece[1], piece[4] = op[8], i[record + 8]
    row[1], row[7] = 2, i[record + 8]
    for high in range(0, m, BLOCK):
        piece[2] = row[3] = min(BLOCK, m - high)
        for first in range(0, k, most):
            piece[3] = row[5] = min(most, k - first)
            piece[0] = op[7] + first * op[8] + high
            share(i[record + 3], i[record + 6], piece, (piece[2] + 8 * ROWS - 1) // (8 * ROWS), f, i, b)
            row[9] = op[9] + first * (1 if op[2] != 0 else op[10])
            row[11] = 1 if first > 0 or op[11] != 0 else 0
            row[12], row[14] = op[12] + high * op[13], op[14]
            share(i[record + 3], i[record + 2], row, parts, f, i, b)
    publish(i, record + 7, 0)
    return 0


def multiply_long(op: Any, f: Any, i: Any, b: Any) -> int:
    """`multiply` of many terms: a stretch of them is added up in the dtype of C, the stretches in float64."""
    m, n, scratch = op[3], op[4], stack(f)
    if m * n <= SMALL:
        stretch = NARROW if n < i[op[0] + 5] else LONG
        return add_stretches(op, f, i, b, doubles_at(f, scratch), stretch, 0, m, scratch + 2 * SMALL, n)
    for top in range(0, m, TOTALLED):
        status = add_stretches(op, f, i, b, doubles_at(f, op[15]), STRETCH, top, min(TOTALLED, m - top),
                               op[12] + top * op[13], op[13])
        if status != 0:
            return status
    return 0


@device
def add_stretches(op: Any, f: Any, i: Any, b: Any, totals: Any, stretch: int, top: int, m: int, part: int,
                  across: int) -> int:
    """`m` rows of C from `top` on; the product of a stretch goes to `part`, whose rows lie `across` apart."""
    n, k, c, row, zero = op[4], op[5], op[12] + top * op[13], frame(), wide(cast(0.0, f))
    a_row, a_step, b_step = op[8], 1, 1 if op[2] != 0 else op[10]
    if op[1] != 0:
        a_row, a_step = 1, op[8]
    for word in range(15):
        row[word] = op[word]
    row[3], row[11], row[12], row[13], row[14], row[15] = m, 0, part, across, 0, 0
    for r in range(m):
        for j in range(n):
            before = zero
            if op[11] != 0:
                before = wide(f[c + r * op[13] + j])
            elif op[14] != 0:
                before = wide(f[op[14] + j])
            totals[r * n + j] = before
    by_library = library_serves(op, i)
    for first in range(0, k, stretch):
        row[5] = min(stretch, k - first)
        row[7], row[9] = op[7] + top * a_row + first * a_step, op[9] + first * b_step
        status = library_gemm(row, f, i) if by_library else call(i[op[0]], row, f, i, b)
        if status != 0:
            return status
        for r in range(m):
            for j in range(n):
                write(totals, r * n + j, totals[r * n + j] + wide(read(f, part + r * across + j)))
    for r in range(m):
        for j in range(n):
            f[c + r * op[13] + j] = cast(totals[r * n + j], f)
    return 0


MULTIPLY, MULTIPLY_PART = Kernel("product.multiply", multiply), Kernel("product.part", multiply_part)
PACK_PART, SUMS_PART = Kernel("product.pack", pack_part), Kernel("product.sums", sums_part)
MULTIPLY_LONG = Kernel("product.long", multiply_long)

_records: dict[tuple[np.dtype, int], tuple[np.ndarray, np.ndarray, int]] = {}


def gemm_address(dtype: np.dtype) -> int:
    """Element address of the record of the chosen provider's routine, which `blas.gemm` takes; it stays for ever."""
    routine = providers.gemm_address(dtype)
    kept = _records.get((dtype, routine))
    if kept is None:
        provider = providers.loaded()
        limit = provider.limit if enabled() else 0  # in plain Python the library does everything
        strips = aligned_bytes(BLOCK // ROWS * STRIP * PANEL * dtype.itemsize)
        record = [MULTIPLY.address(dtype), routine, MULTIPLY_PART.address(dtype), team_address(dtype), limit,
                  provider.few, PACK_PART.address(dtype), 0, address_of(strips) // dtype.itemsize,
                  SUMS_PART.address(dtype), MULTIPLY_LONG.address(dtype)]
        words = np.array(record, np.int64)
        kept = _records.setdefault((dtype, routine), (words, strips, address_of(words) // 8))
    return kept[2]


def scratch_elements(m: int, n: int, k: int, dtype: np.dtype) -> int:
    """Elements of working memory for the totals of a product (m, n) of `k` terms each; 0 where it needs none."""
    return min(m, TOTALLED) * n * 8 // dtype.itemsize if k > STRETCH and m * n > SMALL else 0
