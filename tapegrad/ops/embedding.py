"""Rows of a table by index, and indices as rows of zeros with a one."""

from __future__ import annotations

from typing import Any

from ..engine.jit import cast
from ..engine.touched import clear_rows, list_row
from ..errors import IndexRangeError
from .layout import outside
from .table import Errors, Op

# Words of embedding: 1 y, 2 g, 3 table w, 4 dw, 5 index, 7 indices, 8 rows of the table, 9 elements of a row,
# 10 the index that gets no gradient, or -1, 11 list of the rows that are touched, or 0.


def embedding_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y[j, :] = w[index[j], :]."""
    n = op[9]
    for j in range(op[7]):
        at = i[op[5] + j]
        if at < 0 or at >= op[8]:
            return outside(at)
        y, w = op[1] + j * n, op[3] + at * n
        for k in range(n):
            f[y + k] = f[w + k]
    return 0


def embedding_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dw[index[j], :] += g[j, :], only in the rows that were read."""
    n = op[9]
    if op[0] & 2 != 0:
        clear_rows(op[11], op[4], op[8] * n, f, i, b)
    for j in range(op[7]):
        at = i[op[5] + j]
        if at != op[10]:
            list_row(op[11], at, i, b)
            g, dw = op[2] + j * n, op[4] + at * n
            for k in range(n):
                f[dw + k] += f[g + k]
    return 0


_OUTSIDE_TABLE: Errors = {1: (IndexRangeError, "index {index} lies outside the {words[8]} rows of the table")}
EMBEDDING = Op("embedding", embedding_forward, embedding_adjoint, ((2,), ()), stores=True, lists=11,
               errors=_OUTSIDE_TABLE, doc="rows of a table, by index")

# Words of embedding_bag: as of embedding, and 12 indices of a bag, 13 whether the mean is taken.


def embedding_bag_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y[j, :] = the sum, or mean, of w[index[j, l], :] over l; the padding index does not count."""
    n = op[9]
    for j in range(op[7]):
        y, count = op[1] + j * n, 0
        for k in range(n):
            f[y + k] = 0.0
        for place in range(op[12]):
            at = i[op[5] + j * op[12] + place]
            if at < 0 or at >= op[8]:
                return outside(at)
            if at != op[10]:
                count += 1
                for k in range(n):
                    f[y + k] += f[op[3] + at * n + k]
        if op[13] != 0 and count > 1:
            for k in range(n):
                f[y + k] /= cast(count, f)
    return 0


def embedding_bag_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dw[index[j, l], :] += g[j, :], divided by the number of indices that count."""
    n = op[9]
    if op[0] & 2 != 0:
        clear_rows(op[11], op[4], op[8] * n, f, i, b)
    for j in range(op[7]):
        index, count = op[5] + j * op[12], 0
        for place in range(op[12]):
            count += 1 if i[index + place] != op[10] else 0
        for place in range(op[12]):
            at = i[index + place]
            if at != op[10]:
                list_row(op[11], at, i, b)
                for k in range(n):
                    part = f[op[2] + j * n + k]
                    f[op[4] + at * n + k] += part / cast(count, f) if op[13] != 0 else part
    return 0


EMBEDDING_BAG = Op("embedding_bag", embedding_bag_forward, embedding_bag_adjoint, ((2,), ()), stores=True, lists=11,
                   errors=_OUTSIDE_TABLE, doc="sums or means of rows of a table")


def one_hot_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y[j, c] = 1 where c = index[j], else 0. Words: 1 y, 3 index, 5 indices, 6 classes."""
    n = op[6]
    for k in range(op[5] * n):
        f[op[1] + k] = 0.0
    for j in range(op[5]):
        at = i[op[3] + j]
        if at < 0 or at >= n:
            return outside(at)
        f[op[1] + j * n + at] = 1.0
    return 0


ONE_HOT = Op("one_hot", one_hot_forward,
             errors={1: (IndexRangeError, "index {index} lies outside the {words[6]} classes")},
             doc="a 1 at the place of each index")
