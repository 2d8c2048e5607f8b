"""Rows of a table by index, and indices as rows of zeros with a one."""

from __future__ import annotations

from typing import Any

from ..engine.jit import cast, device, doubles_at, plus, read, wide, write
from ..engine.sums import COLUMNS, clear_totals, give_totals
from ..engine.tile import stack
from ..engine.touched import clear_rows, list_row
from ..errors import ArgumentError, IndexRangeError
from .indexed import add_rows_by_index, add_to_hot_rows, columns_together
from .layout import outside
from .table import Errors, Op

#: rows of a bag from which on they are added up in float64
LONG_BAG = 64

# Words of embedding: 1 y, 2 g, 3 table w, 4 dw, 5 index, 7 indices, 8 rows of the table, 9 elements of a row, 10 the
# index that gets no gradient, or -1, 11 list of the rows that are touched, or 0. Of one with scratch for the rows that
# get many contributions the scratch is word 7, the attributes begin with word 9, and 14 is `places_of_hot`.


@device
def embed(op: Any, f: Any, i: Any, at: int) -> int:
    """`embedding_forward` of a row whose attributes begin at word `at`."""
    n = op[at + 2]
    for j in range(op[at]):
        row = i[op[5] + j]
        if row < 0 or row >= op[at + 1]:
            return outside(row)
        y, w = op[1] + j * n, op[3] + row * n
        for k in range(n):
            f[y + k] = f[w + k]
    return 0


def embedding_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y[j, :] = w[index[j], :]."""
    return embed(op, f, i, 7)


def embedding_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dw[index[j], :] += g[j, :], only in the rows that were read."""
    n = op[9]
    if op[0] & 2 != 0:
        clear_rows(op[11], op[4], op[8] * n, f, i, b)
    together = columns_together(op[7], op[8], n)
    if together != 0:
        for j in range(op[7]):
            if i[op[5] + j] != op[10]:
                list_row(op[11], i[op[5] + j], i, b)
        return add_rows_by_index(f, i, op[4], op[2], op[5], op[7], op[8], n, together, op[10])
    for j in range(op[7]):
        at = i[op[5] + j]
        if at != op[10]:
            list_row(op[11], at, i, b)
            g, dw = op[2] + j * n, op[4] + at * n
            for k in range(n):
                f[dw + k] += f[g + k]
    return 0


def long_embedding_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """`embedding_forward` with scratch."""
    return embed(op, f, i, 9)


def long_embedding_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """`embedding_adjoint`; rows that get many contributions are added up in float64."""
    if op[0] & 2 != 0:
        clear_rows(op[13], op[4], op[10] * op[11], f, i, b)
    for j in range(op[9]):
        if i[op[5] + j] != op[12]:
            list_row(op[13], i[op[5] + j], i, b)
    return add_to_hot_rows(f, i, op[4], op[2], op[5], op[9], op[11], op[7], op[14], op[12])


def _outside_table(word: int) -> Errors:
    return {1: (IndexRangeError, f"index {{index}} lies outside the {{words[{word}]}} rows of the table")}


EMBEDDING = Op("embedding", embedding_forward, embedding_adjoint, ((2,), ()), stores=True, lists=11,
               errors=_outside_table(8), doc="rows of a table, by index")
LONG_EMBEDDING = Op("embedding", long_embedding_forward, long_embedding_adjoint, ((2, 3), (), ()), stores=True,
                    lists=13, errors=_outside_table(10), doc=EMBEDDING.doc, form="long")

# Words of embedding_bag: 1 y, 2 g, 3 table w, 4 dw, 5 index, 7 starts of the bags, 9 factor c, 10 dc, 11 bags, 12 rows
# of the table, 13 elements of a row, 14 the index that does not count, or -1, 15 list of the rows that are touched, or
# 0, 16 indices, 17 starts that are given, 18 whether the mean is taken, 19 whether there are factors; of
# embedding_bag_max 9 the row of every element of y, or -1.


@device
def bag_end(op: Any, j: int, i: Any) -> int:
    """One more than the last place of bag `j`; -1 if the starts are wrong."""
    begin = i[op[7] + j]
    end = i[op[7] + j + 1] if j + 1 < op[17] else op[16]
    return end if 0 <= begin <= end <= op[16] and (j > 0 or begin == 0) else -1


@device
def long_bag(op: Any, f: Any, i: Any, y: int, begin: int, end: int) -> int:
    """y = the sum of c[l] w[index[l], :] over places `begin` to `end`, added up in float64."""
    n, totals, one = op[13], doubles_at(f, stack(f)), wide(cast(1.0, f))
    for left in range(0, n, COLUMNS):
        columns = min(COLUMNS, n - left)
        clear_totals(f, totals, columns)
        for place in range(begin, end):
            at = i[op[5] + place]
            if at != op[14]:
                factor, w = f[op[9] + place] if op[19] != 0 else cast(1.0, f), op[3] + at * n + left
                for k in range(columns):
                    write(totals, k, totals[k] + wide(factor * read(f, w + k)))
        give_totals(f, totals, columns, one, y + left, 1, False)
    return 0


@device
def bag_factor(op: Any, f: Any, place: int, count: int) -> Any:
    """What the row at a place of a bag is multiplied with, in which `count` rows count."""
    if op[19] != 0:
        return f[op[9] + place]
    return 1.0 / cast(max(count, 1), f) if op[18] != 0 else cast(1.0, f)


@device
def bag_count(op: Any, i: Any, begin: int, end: int) -> int:
    """How many places of a bag count, where the mean is taken."""
    count = 0
    if op[18] != 0:
        for place in range(begin, end):
            count += 1 if i[op[5] + place] != op[14] else 0
    return count


@device
def bags_to_few_rows(op: Any, f: Any, i: Any, together: int) -> int:
    """dw of `embedding_bag_adjoint`, `together` columns at a time, added up in float64."""
    n, rows, totals = op[13], op[12], doubles_at(f, stack(f))
    for left in range(0, n, together):
        columns = min(together, n - left)
        clear_totals(f, totals, rows * columns)
        for j in range(op[11]):
            begin, end, g = i[op[7] + j], bag_end(op, j, i), op[2] + j * n + left
            count = bag_count(op, i, begin, end)
            for place in range(begin, end):
                at = i[op[5] + place]
                if at != op[14]:
                    factor, to = bag_factor(op, f, place, count), at * columns
                    for k in range(columns):
                        write(totals, to + k, totals[to + k] + wide(factor * read(f, g + k)))
        for row in range(rows):
            dw = op[4] + row * n + left
            for k in range(columns):
                f[dw + k] += cast(totals[row * columns + k], f)
    return 0


def embedding_bag_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y[j, :] = the sum, or mean, of c[l] w[index[l], :] over the places l of bag j."""
    n, padding, weighted = op[13], op[14], op[19] != 0
    for j in range(op[11]):
        y, count, end = op[1] + j * n, 0, bag_end(op, j, i)
        if end < 0:
            return 2
        for k in range(n):
            f[y + k] = 0.0
        long = end - i[op[7] + j] > LONG_BAG
        for place in range(i[op[7] + j], end):
            at = i[op[5] + place]
            if at < 0 or at >= op[12]:
                return outside(at)
            if at != padding:
                count += 1
                factor, w = f[op[9] + place] if weighted else cast(1.0, f), op[3] + at * n
                if not long:
                    for k in range(n):
                        f[y + k] += factor * f[w + k]
        if long:
            long_bag(op, f, i, y, i[op[7] + j], end)
        if op[18] != 0 and count > 1:
            for k in range(n):
                f[y + k] /= cast(count, f)
    return 0


def embedding_bag_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dw[index[l], :] += c[l] g[j, :], divided by how many count; dc[l] += g[j, :] . w[index[l], :]."""
    n, padding, store = op[13], op[14], op[0] & 16 != 0
    together = columns_together(op[16], op[12], n)
    if op[4] != 0 and op[0] & 2 != 0:
        clear_rows(op[15], op[4], op[12] * n, f, i, b)
    for j in range(op[11]):
        begin, end, g = i[op[7] + j], bag_end(op, j, i), op[2] + j * n
        count = bag_count(op, i, begin, end)
        for place in range(begin, end):
            at, total = i[op[5] + place], cast(0.0, f)
            if at != padding and op[4] != 0:
                list_row(op[15], at, i, b)
                if together == 0:
                    factor, dw = bag_factor(op, f, place, count), op[4] + at * n
                    for k in range(n):
                        f[dw + k] += factor * f[g + k]
            if op[10] != 0:
                if at != padding:
                    for k in range(n):
                        total = plus(total, f[g + k] * f[op[3] + at * n + k])
                f[op[10] + place] = total if store else f[op[10] + place] + total
    if op[4] != 0 and together != 0:
        bags_to_few_rows(op, f, i, together)
    return 0


_BAG_ERRORS: Errors = {1: (IndexRangeError, "index {index} lies outside the {words[12]} rows of the table"),
                       2: (ArgumentError, "offsets must begin at 0, not fall, and not exceed the {words[16]} indices")}
EMBEDDING_BAG = Op("embedding_bag", embedding_bag_forward, embedding_bag_adjoint, ((2, 3, 4), (), (), (1, 2, 3)),
                   stores=True, lists=15, errors=_BAG_ERRORS, doc="sums or means of rows of a table")


def embedding_bag_max_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y[j, k] = the greatest w[index[l], k] of bag j, 0 if it is empty; remembers the row. NaN is greatest."""
    n = op[13]
    for j in range(op[11]):
        y, chosen, end, found = op[1] + j * n, op[9] + j * n, bag_end(op, j, i), 0
        if end < 0:
            return 2
        for k in range(n):
            f[y + k] = 0.0
            i[chosen + k] = -1
        for place in range(i[op[7] + j], end):
            at = i[op[5] + place]
            if at < 0 or at >= op[12]:
                return outside(at)
            if at != op[14]:
                for k in range(n):
                    x, best = f[op[3] + at * n + k], f[y + k]
                    if found == 0 or (best == best and not x <= best):
                        f[y + k] = x
                        i[chosen + k] = at
                found = 1
    return 0


def embedding_bag_max_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dw[row, k] += g[j, k] for the row that was chosen."""
    n = op[13]
    if op[0] & 2 != 0:
        clear_rows(op[15], op[4], op[12] * n, f, i, b)
    for j in range(op[11]):
        for k in range(n):
            at = i[op[9] + j * n + k]
            if at >= 0:
                list_row(op[15], at, i, b)
                f[op[4] + at * n + k] += f[op[2] + j * n + k]
    return 0


EMBEDDING_BAG_MAX = Op("embedding_bag_max", embedding_bag_max_forward, embedding_bag_max_adjoint, ((4,), (), ()),
                       stores=True, lists=15, errors=_BAG_ERRORS, doc="greatest elements of rows of a table")


def one_hot_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y[j, c] = 1 where c = index[j], else 0. Words: 1 y, 3 index, 5 indices, 6 classes."""
    n, whole = op[6], op[1]
    for k in range(op[5] * n):
        f[whole + k] = 0.0
    for j in range(op[5]):
        at = i[op[3] + j]
        if at < 0 or at >= n:
            return outside(at)
        f[op[1] + j * n + at] = 1.0
    return 0


ONE_HOT = Op("one_hot", one_hot_forward,
             errors={1: (IndexRangeError, "index {index} lies outside the {words[6]} classes")},
             doc="a 1 at the place of each index")
