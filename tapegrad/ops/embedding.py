"""Embedding lookups, bags of them, and one-hot encoding."""

from __future__ import annotations

from typing import Any

from ..engine.language import cast, device, doubles_at, plus, read, wide, write
from ..engine.mathematics.sums import COLUMNS, clear_totals, give_totals
from ..engine.row import At, Aux, Input, Output, Row, Words, absent, contiguous, int64
from ..engine.tiles.tile import stack
from ..engine.walks.touched import clear_rows, list_row
from ..errors import ArgumentError, IndexRangeError
from .indexed import add_rows_by_index, add_to_hot_rows, columns_together
from .layout import outside
from .table import Errors, Op

#: rows of a bag from which on they are accumulated in float64
LONG_BAG = 64


class Lookup(Words):
    """Rows of a table by index."""

    count: int  # of indices
    rows: int  # of the table
    width: int
    padding: int  # the index that gets no gradient, or -1
    listed: int  # address of the list of the rows that are touched (`engine.walks.touched`), or 0


class Embedding(Row):
    y: Output
    w: Input = contiguous
    index: Input = contiguous | int64
    lookup: Lookup


class LongEmbedding(Row):
    """With scratch for the totals of rows with many contributions."""

    y: Output
    w: Input = contiguous
    index: Input = contiguous | int64
    scratch: Input = contiguous
    lookup: Lookup
    hot_places: int  # `places_of_hot`


@device
def embed(op: Embedding, f: Any, i: Any, at: At[Lookup]) -> int:
    """`embedding_forward` of a row whose lookup is at `at`."""
    n = at.width
    for j in range(at.count):
        row = i[op.index + j]
        if row < 0 or row >= at.rows:
            return outside(row)
        y, w = op.y + j * n, op.w + row * n
        for k in range(n):
            f[y + k] = f[w + k]
    return 0


def embedding_forward(op: Embedding, f: Any, i: Any, b: Any) -> int:
    """y[j, :] = w[index[j], :]."""
    return embed(op, f, i, op.lookup)


def embedding_adjoint(op: Embedding, f: Any, i: Any, b: Any) -> int:
    """dw[index[j], :] += g[j, :], only in the rows that were read."""
    n = op.lookup.width
    if op.stores.w:
        clear_rows(op.lookup.listed, op.d.w, op.lookup.rows * n, f, i, b)
    together = columns_together(op.lookup.count, op.lookup.rows, n)
    if together != 0:
        for j in range(op.lookup.count):
            if i[op.index + j] != op.lookup.padding:
                list_row(op.lookup.listed, i[op.index + j], i, b)
        return add_rows_by_index(f, i, op.d.w, op.g, op.index, op.lookup.count, op.lookup.rows, n, together,
                                 op.lookup.padding)
    for j in range(op.lookup.count):
        at = i[op.index + j]
        if at != op.lookup.padding:
            list_row(op.lookup.listed, at, i, b)
            g, dw = op.g + j * n, op.d.w + at * n
            for k in range(n):
                f[dw + k] += f[g + k]
    return 0


def long_embedding_forward(op: LongEmbedding, f: Any, i: Any, b: Any) -> int:
    """`embedding_forward` with scratch."""
    return embed(op, f, i, op.lookup)


def long_embedding_adjoint(op: LongEmbedding, f: Any, i: Any, b: Any) -> int:
    """`embedding_adjoint`, which accumulates rows with many contributions in float64."""
    if op.stores.w:
        clear_rows(op.lookup.listed, op.d.w, op.lookup.rows * op.lookup.width, f, i, b)
    for j in range(op.lookup.count):
        if i[op.index + j] != op.lookup.padding:
            list_row(op.lookup.listed, i[op.index + j], i, b)
    return add_to_hot_rows(f, i, op.d.w, op.g, op.index, op.lookup.count, op.lookup.width, op.scratch,
                           op.hot_places, op.lookup.padding)


_OUTSIDE_TABLE: Errors = {1: (IndexRangeError, "index {index} lies outside the {lookup[rows]} rows of the table")}
EMBEDDING = Op("embedding", embedding_forward, embedding_adjoint, row=Embedding, saves={"w": "index"}, stores=True,
               lists="lookup.listed", errors=_OUTSIDE_TABLE, doc="rows of a table, by index")
LONG_EMBEDDING = Op("embedding", long_embedding_forward, long_embedding_adjoint, row=LongEmbedding,
                    saves={"w": "index scratch"}, stores=True, lists="lookup.listed", errors=_OUTSIDE_TABLE,
                    doc=EMBEDDING.doc, form="long")


class Bags(Words):
    """Rows of a table by index, some for each bag."""

    count: int
    rows: int  # of the table
    width: int
    padding: int  # the index that is skipped, or -1
    listed: int  # address of the list of the rows that are touched (`engine.walks.touched`), or 0
    indices: int
    starts: int  # that are given
    mean: bool
    weighted: bool


class EmbeddingBag(Row):
    y: Output
    w: Input = contiguous
    index: Input = contiguous | int64
    starts: Input = contiguous | int64  # of the bags
    c: Input = contiguous | absent  # a factor for each index
    bags: Bags


class EmbeddingBagMax(Row):
    """Its starts and bags are the words that they are in an `EmbeddingBag`."""

    y: Output
    w: Input = contiguous
    index: Input = contiguous | int64
    starts: Input = contiguous | int64
    chosen: Aux  # for each element of y the row that it is from, or -1
    bags: Bags


@device
def bag_end(op: EmbeddingBag, j: int, i: Any) -> int:
    """End (exclusive) of bag `j`, of either row; -1 if the starts are invalid."""
    begin = i[op.starts + j]
    end = i[op.starts + j + 1] if j + 1 < op.bags.starts else op.bags.indices
    return end if 0 <= begin <= end <= op.bags.indices and (j > 0 or begin == 0) else -1


@device
def long_bag(op: EmbeddingBag, f: Any, i: Any, y: int, begin: int, end: int) -> int:
    """y = the sum of c[l] w[index[l], :] over places `begin` to `end`, accumulated in float64."""
    n, totals, one = op.bags.width, doubles_at(f, stack(f)), wide(cast(1.0, f))
    for left in range(0, n, COLUMNS):
        columns = min(COLUMNS, n - left)
        clear_totals(f, totals, columns)
        for place in range(begin, end):
            at = i[op.index + place]
            if at != op.bags.padding:
                factor, w = f[op.c + place] if op.bags.weighted else cast(1.0, f), op.w + at * n + left
                for k in range(columns):
                    write(totals, k, totals[k] + wide(factor * read(f, w + k)))
        give_totals(f, totals, columns, one, y + left, 1, False)
    return 0


@device
def bag_factor(op: EmbeddingBag, f: Any, place: int, count: int) -> Any:
    """Factor of the row at a place of a bag with `count` rows that are not skipped."""
    if op.bags.weighted:
        return f[op.c + place]
    return 1.0 / cast(max(count, 1), f) if op.bags.mean else cast(1.0, f)


@device
def bag_count(op: EmbeddingBag, i: Any, begin: int, end: int) -> int:
    """Number of places of a bag that are not skipped, for means."""
    count = 0
    if op.bags.mean:
        for place in range(begin, end):
            count += 1 if i[op.index + place] != op.bags.padding else 0
    return count


@device
def bags_to_few_rows(op: EmbeddingBag, f: Any, i: Any, together: int) -> int:
    """dw of `embedding_bag_adjoint`, `together` columns at a time, added up in float64."""
    n, rows, totals = op.bags.width, op.bags.rows, doubles_at(f, stack(f))
    for left in range(0, n, together):
        columns = min(together, n - left)
        clear_totals(f, totals, rows * columns)
        for j in range(op.bags.count):
            begin, end, g = i[op.starts + j], bag_end(op, j, i), op.g + j * n + left
            count = bag_count(op, i, begin, end)
            for place in range(begin, end):
                at = i[op.index + place]
                if at != op.bags.padding:
                    factor, to = bag_factor(op, f, place, count), at * columns
                    for k in range(columns):
                        write(totals, to + k, totals[to + k] + wide(factor * read(f, g + k)))
        for row in range(rows):
            dw = op.d.w + row * n + left
            for k in range(columns):
                f[dw + k] += cast(totals[row * columns + k], f)
    return 0


def embedding_bag_forward(op: EmbeddingBag, f: Any, i: Any, b: Any) -> int:
    """y[j, :] = the sum, or mean, of c[l] w[index[l], :] over the places l of bag j."""
    n, padding, weighted = op.bags.width, op.bags.padding, op.bags.weighted
    for j in range(op.bags.count):
        y, count, end = op.y + j * n, 0, bag_end(op, j, i)
        if end < 0:
            return 2
        for k in range(n):
            f[y + k] = 0.0
        long = end - i[op.starts + j] > LONG_BAG
        for place in range(i[op.starts + j], end):
            at = i[op.index + place]
            if at < 0 or at >= op.bags.rows:
                return outside(at)
            if at != padding:
                count += 1
                factor, w = f[op.c + place] if weighted else cast(1.0, f), op.w + at * n
                if not long:
                    for k in range(n):
                        f[y + k] += factor * f[w + k]
        if long:
            long_bag(op, f, i, y, i[op.starts + j], end)
        if op.bags.mean and count > 1:
            for k in range(n):
                f[y + k] /= cast(count, f)
    return 0


def embedding_bag_adjoint(op: EmbeddingBag, f: Any, i: Any, b: Any) -> int:
    """dw[index[l], :] += c[l] g[j, :], divided by the count for means; dc[l] += g[j, :] . w[index[l], :]."""
    n, padding, store = op.bags.width, op.bags.padding, op.stores.c
    together = columns_together(op.bags.indices, op.bags.rows, n)
    if op.d.w != 0 and op.stores.w:
        clear_rows(op.bags.listed, op.d.w, op.bags.rows * n, f, i, b)
    for j in range(op.bags.count):
        begin, end, g = i[op.starts + j], bag_end(op, j, i), op.g + j * n
        count = bag_count(op, i, begin, end)
        for place in range(begin, end):
            at, total = i[op.index + place], cast(0.0, f)
            if at != padding and op.d.w != 0:
                list_row(op.bags.listed, at, i, b)
                if together == 0:
                    factor, dw = bag_factor(op, f, place, count), op.d.w + at * n
                    for k in range(n):
                        f[dw + k] += factor * f[g + k]
            if op.d.c != 0:
                if at != padding:
                    for k in range(n):
                        total = plus(total, f[g + k] * f[op.w + at * n + k])
                f[op.d.c + place] = total if store else f[op.d.c + place] + total
    if op.d.w != 0 and together != 0:
        bags_to_few_rows(op, f, i, together)
    return 0


_BAG_ERRORS: Errors = {
    1: (IndexRangeError, "index {index} lies outside the {bags[rows]} rows of the table"),
    2: (ArgumentError, "offsets must begin at 0, not fall, and not exceed the {bags[indices]} indices"),
}
EMBEDDING_BAG = Op("embedding_bag", embedding_bag_forward, embedding_bag_adjoint, row=EmbeddingBag,
                   saves={"w": "index starts c", "c": "w index starts"}, stores=True, lists="bags.listed",
                   errors=_BAG_ERRORS, doc="sums or means of rows of a table")


def embedding_bag_max_forward(op: EmbeddingBagMax, f: Any, i: Any, b: Any) -> int:
    """y[j, k] = the maximum w[index[l], k] of bag j, 0 if it is empty; remembers the row. NaN counts as maximum."""
    n = op.bags.width
    for j in range(op.bags.count):
        y, chosen, end, found = op.y + j * n, op.chosen + j * n, bag_end(op, j, i), 0
        if end < 0:
            return 2
        for k in range(n):
            f[y + k] = 0.0
            i[chosen + k] = -1
        for place in range(i[op.starts + j], end):
            at = i[op.index + place]
            if at < 0 or at >= op.bags.rows:
                return outside(at)
            if at != op.bags.padding:
                for k in range(n):
                    x, best = f[op.w + at * n + k], f[y + k]
                    if found == 0 or (best == best and not x <= best):
                        f[y + k] = x
                        i[chosen + k] = at
                found = 1
    return 0


def embedding_bag_max_adjoint(op: EmbeddingBagMax, f: Any, i: Any, b: Any) -> int:
    """dw[row, k] += g[j, k] for the row that was chosen."""
    n = op.bags.width
    if op.stores.w:
        clear_rows(op.bags.listed, op.d.w, op.bags.rows * n, f, i, b)
    for j in range(op.bags.count):
        for k in range(n):
            at = i[op.chosen + j * n + k]
            if at >= 0:
                list_row(op.bags.listed, at, i, b)
                f[op.d.w + at * n + k] += f[op.g + j * n + k]
    return 0


EMBEDDING_BAG_MAX = Op("embedding_bag_max", embedding_bag_max_forward, embedding_bag_max_adjoint, row=EmbeddingBagMax,
                       saves={"w": "chosen"}, stores=True, lists="bags.listed", errors=_BAG_ERRORS,
                       doc="greatest elements of rows of a table")


class OneHot(Row):
    y: Output
    index: Input = contiguous | int64
    count: int  # of indices
    classes: int


def one_hot_forward(op: OneHot, f: Any, i: Any, b: Any) -> int:
    """y[j, c] = 1 where c = index[j], else 0."""
    n, whole = op.classes, op.y
    for k in range(op.count * n):
        f[whole + k] = 0.0
    for j in range(op.count):
        at = i[op.index + j]
        if at < 0 or at >= n:
            return outside(at)
        f[op.y + j * n + at] = 1.0
    return 0


ONE_HOT = Op("one_hot", one_hot_forward, row=OneHot,
             errors={1: (IndexRangeError, "index {index} lies outside the {classes} classes")},
             doc="a 1 at the place of each index")
