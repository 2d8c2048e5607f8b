"""Matrix products except the largest, which are left to a BLAS library; see `vector` for those with a vector.

Loop tiling and register blocking: B is packed panel by panel on the stack, a panel as wide as a register tile; each
panel is multiplied with all rows of A. Parallel over panels, or over rows where there are few panels. A is read in
place, or packed into strips where its reads are far apart (TLB and cache misses).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import providers
from ..kernels import Kernel
from ..language import call, cast, device, doubles_at, enabled, frame, read, row_address, wide, words_at
from ..mathematics.sums import add_to_total, clear_totals, sum_rows, total_at
from ..row import Part, Words
from ..storage import address_of, aligned_bytes
from ..threads.team import publish, replace, run_part, share, team_address
from ..tiles.tile import PANEL, ROWS, lanes_of, move, prefetch, stack, tile, transposed
from .blas import SUMMED, ColumnSums, Product, Routine, library_gemm
from .vector import UNIT, vector_part

#: rows of A by which a packed panel is multiplied: as many as the L2 cache holds
BLOCK = 384
#: multiplications from which on a product is parallel, and least of them in a part
SHARED, PART = 1 << 17, 1 << 16
#: stride between columns of a transposed A, and multiplications, from which on A is packed into strips
FAR, STRIPS = 512, 1 << 22
#: contraction lengths that are accumulated in the product's dtype: for a small C, whose totals fit on a `stack`; for
#: such a C of few columns; for others
LONG, NARROW, STRETCH = 1 << 12, 1 << 9, 1 << 14
#: elements of a small C at most; rows of another whose totals are kept at once
SMALL, TOTALLED = 768, 2 * BLOCK
#: elements of a strip's column: those of a tile, and a multiple of a vector
STRIP = 8


class Strips(Words):
    """A transposed A (columns, rows), and the address of its strips."""

    a: int
    lda: int
    rows: int
    columns: int
    to: int


@device
def pack(f: Any, to: int, b: int, ldb: int, across: int, depth: int, lanes: int) -> int:
    """Pack `depth` rows of `lanes` columns of op(B), padded to half or whole tiles."""
    wide = lanes_of(f)
    if across != 0:
        return transposed(f, to, wide, b, ldb, lanes, depth, wide // 2)
    for p in range(depth):
        move(f, to + p * wide, b + p * ldb, lanes)
    return 0


@device
def panel_depth(k: int) -> int:
    """Rows of a panel; the contraction is cut evenly."""
    panels = (k + PANEL - 1) // PANEL
    return (k + panels - 1) // panels


@device
def multiply_block(op: Product, f: Any, top: int, bottom: int, begin: int, end: int) -> int:
    """A block of C, rows `top` to `bottom` and columns `begin` to `end`: the tiled loop nest."""
    n, k, alpha, wide, panel = op.n, op.k, op.alpha, lanes_of(f), stack(f)
    most = panel_depth(k)
    a_row, a_step, a_strip = op.lda, 1, ROWS * op.lda
    if op.ta == 1:
        a_row, a_step, a_strip = 1, op.lda, ROWS
    if op.ta == 2:
        a_row, a_step, a_strip = 1, STRIP, STRIP * k
    b_row, b_column = op.ldb, 1
    if op.tb != 0:
        b_row, b_column = 1, op.ldb
    for high in range(top, bottom, BLOCK):
        low = min(high + BLOCK, bottom)
        for first in range(0, k, most):
            depth = min(most, k - first)
            adds = first > 0 or op.add != 0
            for left in range(begin, end, wide):
                lanes = min(wide, n - left)
                pack(f, panel, op.b + first * b_row + left * b_column, op.ldb, op.tb, depth, lanes)
                ahead, each = op.b + first * b_row + left + wide, 0
                if op.tb == 0 and left + wide < end:
                    each = depth * ROWS // (low - high) + 1
                for row in range(high, low, ROWS):
                    for p in range(each):  # software prefetch of the next panel
                        prefetch(f, ahead + p * b_row)
                        prefetch(f, ahead + p * b_row + wide // 2)
                    ahead += each * b_row
                    c = op.c + row * op.ldc + left
                    base, base_row = op.bias + left if op.bias != 0 else 0, 0
                    if adds:
                        base, base_row = c, op.ldc
                    tile(f, min(ROWS, low - row), lanes, depth, op.a + row // ROWS * a_strip + first * a_step, a_row,
                         a_step, panel, wide, alpha, base, base_row, c, op.ldc)
    return 0


def multiply_part(op: Part, f: Any, i: Any, b: Any) -> int:
    """A parallel part of a product: a range of panels, or of rows if there are few panels."""
    row: Product = words_at(op.row)
    part, parts, wide = op.number, op.count, lanes_of(f)
    m, n = row.m, row.n
    if (m == 1 or n == 1) and row.ta != 2:
        units = (m * n + UNIT - 1) // UNIT
        return vector_part(row, f, part * units // parts * UNIT, min((part + 1) * units // parts * UNIT, m * n))
    panels = (n + wide - 1) // wide
    strips = (m + ROWS - 1) // ROWS
    top, bottom, begin, end = 0, m, 0, n
    if panels > 1:
        begin, end = part * panels // parts * wide, min((part + 1) * panels // parts * wide, n)
    else:
        top, bottom = part * strips // parts * ROWS, min((part + 1) * strips // parts * ROWS, m)
    return multiply_block(row, f, top, bottom, begin, end)


def pack_part(op: Part, f: Any, i: Any, b: Any) -> int:
    """A parallel part of the packing of a transposed A: a range of strips, each the rows of a tile."""
    row: Strips = words_at(op.row)
    part, parts = op.number, op.count
    a, lda, m, depth, to = row.a, row.lda, row.rows, row.columns, row.to
    strips, whole = (m + ROWS - 1) // ROWS, (m - STRIP + ROWS) // ROWS  # those from which a whole vector can be loaded
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


def sums_part(op: Part, f: Any, i: Any, b: Any) -> int:
    """A parallel part of column sums: a range of columns."""
    row: ColumnSums = words_at(op.row)
    part, parts, blocks = op.number, op.count, (row.n + SUMMED - 1) // SUMMED
    begin, end = part * blocks // parts * SUMMED, min((part + 1) * blocks // parts * SUMMED, row.n)
    return sum_rows(f, row.to + begin, row.a + begin, row.n, row.m, end - begin, wide(cast(1.0, f)), row.add != 0)


@device
def library_serves(op: Product, i: Any) -> bool:
    """Whether the product is dispatched to the library."""
    routine, work = op.routine, op.m * op.n * op.k
    return work == 0 or work >= i[routine + Routine.limit] or 1 < op.n < i[routine + Routine.few]


def multiply(op: Product, f: Any, i: Any, b: Any) -> int:
    """C = alpha op(A) op(B) + row, or +=."""
    m, n, k, routine = op.m, op.n, op.k, op.routine
    if m == 0 or n == 0:
        return 0
    if k > LONG and (m * n <= SMALL or (k > STRETCH and op.scratch != 0)) and i[routine + Routine.limit] > 0:
        return call(i[routine + Routine.long], op, f, i, b)
    work, wide = m * n * k, lanes_of(f)
    if (m == 1 or n == 1) and work > 0 and i[routine + Routine.limit] > 0:
        parts = 1 if work < SHARED else max(min(work // PART, m * n // UNIT, 32), 1)
        if parts == 1:
            return run_part(i[routine + Routine.part], row_address(op), 0, 1, f, i, b)
        return share(i[routine + Routine.team], i[routine + Routine.part], op, parts, f, i, b)
    if library_serves(op, i):
        return library_gemm(op, f, i)
    panels, strips = (n + wide - 1) // wide, (m + ROWS - 1) // ROWS
    parts = 1 if work < SHARED else min(work // PART, panels if panels > 1 else strips, 32)
    if op.ta == 0 or op.lda < FAR or n < FAR // 2 or work < STRIPS or replace(i, routine + Routine.taken, 0, 1) == 0:
        if parts == 1:
            return run_part(i[routine + Routine.part], row_address(op), 0, 1, f, i, b)
        return share(i[routine + Routine.team], i[routine + Routine.part], op, parts, f, i, b)
    row: Product = frame()
    piece: Strips = frame()
    for word in range(Product.scratch):
        row[word] = op[word]
    most = panel_depth(k)
    piece.lda, piece.to = op.lda, i[routine + Routine.strips]
    row.ta, row.a = 2, i[routine + Routine.strips]
    for high in range(0, m, BLOCK):
        piece.rows = row.m = min(BLOCK, m - high)
        for first in range(0, k, most):
            piece.columns = row.k = min(most, k - first)
            piece.a = op.a + first * op.lda + high
            share(i[routine + Routine.team], i[routine + Routine.pack], piece,
                  (piece.rows + 8 * ROWS - 1) // (8 * ROWS), f, i, b)
            row.b = op.b + first * (1 if op.tb != 0 else op.ldb)
            row.add = 1 if first > 0 or op.add != 0 else 0
            row.c, row.bias = op.c + high * op.ldc, op.bias
            share(i[routine + Routine.team], i[routine + Routine.part], row, parts, f, i, b)
    publish(i, routine + Routine.taken, 0)
    return 0


def multiply_long(op: Product, f: Any, i: Any, b: Any) -> int:
    """`multiply` with a long contraction: accumulated by stretches in the dtype of C, over stretches in float64."""
    m, n, scratch = op.m, op.n, stack(f)
    if m * n <= SMALL:
        stretch = NARROW if n < i[op.routine + Routine.few] else LONG
        return add_stretches(op, f, i, b, doubles_at(f, scratch), stretch, 0, m, scratch + 2 * SMALL, n)
    for top in range(0, m, TOTALLED):
        status = add_stretches(op, f, i, b, doubles_at(f, op.scratch), STRETCH, top, min(TOTALLED, m - top),
                               op.c + top * op.ldc, op.ldc)
        if status != 0:
            return status
    return 0


@device
def add_stretches(op: Product, f: Any, i: Any, b: Any, totals: Any, stretch: int, top: int, m: int, part: int,
                  across: int) -> int:
    """`m` rows of C from `top` on; the product of a stretch goes to `part`, whose rows lie `across` apart."""
    row: Product = frame()
    n, k, c, zero = op.n, op.k, op.c + top * op.ldc, wide(cast(0.0, f))
    a_row, a_step, b_step = op.lda, 1, 1 if op.tb != 0 else op.ldb
    if op.ta != 0:
        a_row, a_step = 1, op.lda
    for word in range(Product.scratch):
        row[word] = op[word]
    row.m, row.add, row.c, row.ldc, row.bias, row.scratch = m, 0, part, across, 0, 0
    clear_totals(f, totals, m * n)
    for r in range(m):
        for j in range(n):
            before = zero
            if op.add != 0:
                before = wide(f[c + r * op.ldc + j])
            elif op.bias != 0:
                before = wide(f[op.bias + j])
            add_to_total(f, totals, r * n + j, before)
    by_library = library_serves(op, i)
    for first in range(0, k, stretch):
        row.k = min(stretch, k - first)
        row.a, row.b = op.a + top * a_row + first * a_step, op.b + first * b_step
        status = library_gemm(row, f, i) if by_library else call(i[op.routine + Routine.multiply], row, f, i, b)
        if status != 0:
            return status
        for r in range(m):
            for j in range(n):
                add_to_total(f, totals, r * n + j, wide(read(f, part + r * across + j)))
    for r in range(m):
        for j in range(n):
            f[c + r * op.ldc + j] = cast(total_at(f, totals, r * n + j), f)
    return 0


MULTIPLY, MULTIPLY_PART = Kernel("product.multiply", multiply), Kernel("product.part", multiply_part)
PACK_PART, SUMS_PART = Kernel("product.pack", pack_part), Kernel("product.sums", sums_part)
MULTIPLY_LONG = Kernel("product.long", multiply_long)

_records: dict[tuple[np.dtype, int], tuple[np.ndarray, np.ndarray, int]] = {}


def gemm_address(dtype: np.dtype) -> int:
    """Element address of the chosen provider's `Routine`, which `blas.gemm` takes; valid forever."""
    routine = providers.gemm_address(dtype)
    kept = _records.get((dtype, routine))
    if kept is None:
        provider = providers.loaded()
        limit = provider.limit if enabled() else 0  # in plain Python the library does everything
        strips = aligned_bytes(BLOCK // ROWS * STRIP * PANEL * dtype.itemsize)
        words = np.array(Routine.words(
            multiply=MULTIPLY.address(dtype), library=routine, part=MULTIPLY_PART.address(dtype),
            team=team_address(dtype), limit=limit, few=provider.few, pack=PACK_PART.address(dtype), taken=0,
            strips=address_of(strips) // dtype.itemsize, sums=SUMS_PART.address(dtype),
            long=MULTIPLY_LONG.address(dtype)), np.int64)
        kept = _records.setdefault((dtype, routine), (words, strips, address_of(words) // 8))
    return kept[2]


def scratch_elements(m: int, n: int, k: int) -> int:
    """Elements of workspace for the float64 totals of a product (m, n) with contraction length `k`; 0 for none."""
    return min(m, TOTALLED) * n * 2 if k > STRETCH and m * n > SMALL else 0
