"""Products of a matrix and a vector, as a `Product` of one row or of one column.

Their limit is the memory: the matrix is read once, in its order, several rows at a time.
"""

from __future__ import annotations

from typing import Any

from ..language import cast, device, held, plus, read, write
from ..tiles.tile import STACKED, stack
from .blas import Product

#: elements of the result in a parallel part are a multiple of it
UNIT = 64
#: of the contraction, or of the result, that lie on the `stack` at once
STRETCH = STACKED // UNIT * UNIT


@device
def vector_part(op: Product, f: Any, begin: int, end: int) -> int:
    """Elements `begin` to `end` of the result."""
    if op.n == 1:
        step = 1 if op.tb != 0 else op.ldb
        if op.ta == 0:
            return by_rows(op, f, op.a, op.lda, op.b, step, begin, end, op.ldc, 0)
        return by_columns(op, f, op.a, op.lda, op.b, step, begin, end, op.ldc, 0)
    step = op.lda if op.ta != 0 else 1
    if op.tb != 0:
        return by_rows(op, f, op.b, op.ldb, op.a, step, begin, end, 1, 1)
    return by_columns(op, f, op.b, op.ldb, op.a, step, begin, end, 1, 1)


@device
def put(op: Product, f: Any, total: Any, c: int, bias: int, adds: bool) -> int:
    """Store ``alpha * total``, plus an element of the row that is added, or accumulate it."""
    base = cast(0.0, f)
    if adds:
        base = f[c]
    elif op.bias != 0:
        base = f[bias]
    f[c] = op.alpha * total + base
    return 0


@device
def by_rows(op: Product, f: Any, a: int, row: int, x: int, step: int, begin: int, end: int, c_step: int,
            bias_step: int) -> int:
    """Dot products of rows of A, `row` apart, with the vector: four rows at a time."""
    k, copied, zero = op.k, stack(f), cast(0.0, f)
    for first in range(0, k, STRETCH):
        depth, adds = min(STRETCH, k - first), first > 0 or op.add != 0
        v = x + first
        if step != 1:
            v = copied
            for p in range(depth):
                f[v + p] = f[x + (first + p) * step]
        last = end - (end - begin) % 4
        for r in range(begin, last, 4):
            at = a + r * row + first
            second, third, fourth = at + row, at + 2 * row, at + 3 * row
            s, t, u, w = zero, zero, zero, zero
            for p in range(depth):
                value = read(f, v + p)
                s = plus(s, value * read(f, at + p))
                t = plus(t, value * read(f, second + p))
                u = plus(u, value * read(f, third + p))
                w = plus(w, value * read(f, fourth + p))
            c, bias = op.c + r * c_step, op.bias + r * bias_step
            put(op, f, s, c, bias, adds)
            put(op, f, t, c + c_step, bias + bias_step, adds)
            put(op, f, u, c + 2 * c_step, bias + 2 * bias_step, adds)
            put(op, f, w, c + 3 * c_step, bias + 3 * bias_step, adds)
        for r in range(last, end):
            at, s = a + r * row + first, zero
            for p in range(depth):
                s = plus(s, read(f, v + p) * read(f, at + p))
            put(op, f, s, op.c + r * c_step, op.bias + r * bias_step, adds)
    return 0


@device
def by_columns(op: Product, f: Any, a: int, row: int, x: int, step: int, begin: int, end: int, c_step: int,
               bias_step: int) -> int:
    """The sum of rows of A, `row` apart, each times its element of the vector: eight rows at a time."""
    k, totals, zero = op.k, stack(f), cast(0.0, f)
    whole = k - k % 8
    for left in range(begin, end, STRETCH):
        n = min(STRETCH, end - left)
        for j in range(n):
            f[totals + j] = zero
        for p in range(0, whole, 8):
            at, v = a + left + p * row, x + p * step
            b, c, d, e = at + row, at + 2 * row, at + 3 * row, at + 4 * row
            g, h, m = at + 5 * row, at + 6 * row, at + 7 * row
            x0, x1, x2, x3 = f[v], f[v + step], f[v + 2 * step], f[v + 3 * step]
            x4, x5, x6, x7 = f[v + 4 * step], f[v + 5 * step], f[v + 6 * step], f[v + 7 * step]
            for j in range(n):
                above = (x0 * read(f, at + j) + x1 * read(f, b + j)) + (x2 * read(f, c + j) + x3 * read(f, d + j))
                below = (x4 * read(f, e + j) + x5 * read(f, g + j)) + (x6 * read(f, h + j) + x7 * read(f, m + j))
                write(f, totals + j, held(f, totals + j) + (above + below))
        for p in range(whole, k):
            at, value = a + left + p * row, f[x + p * step]
            for j in range(n):
                write(f, totals + j, held(f, totals + j) + value * read(f, at + j))
        for j in range(n):
            at = left + j
            put(op, f, f[totals + j], op.c + at * c_step, op.bias + at * bias_step, op.add != 0)
    return 0
