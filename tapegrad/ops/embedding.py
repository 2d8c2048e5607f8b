"""Embedding lookups, bags of them, and one-hot encoding."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.language import cast, device, doubles_at, plus, read, wide, write
from ..engine.mathematics.sums import COLUMNS, clear_totals, give_totals
from ..engine.row import At, Input, Output, Row, Words, absent, contiguous, int64
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


def embedding_to(r: Any, g: Any, t: Any) -> Any:
    """dw[index[j], :] = sum g[j, :], but not in the row of padding."""
    at = r.lookup
    found = t.index_add(np.zeros((at.rows, at.width)), 0, t.reshape(r.index, (at.count,)),
                        t.reshape(g, (at.count, at.width)))
    return found if at.padding < 0 else t.where(_but_padding(at, bool), found, 0.0)


def embedding_by(r: Any, d: Any, t: Any) -> Any:
    """dy[j, :] = d[index[j], :], the row of padding being fixed."""
    return t.embedding(r.index, d if r.lookup.padding < 0 else t.where(_but_padding(r.lookup, bool), d, 0.0))


def embedding_each(r: Any, t: Any) -> Any:
    """More indices of one table."""
    return None if r.has_axis("w") else t.embedding(r.index, r.w, r.lookup.padding if r.lookup.padding >= 0 else None)


_RULES: dict[str, Any] = {"composition": {"w": embedding_to}, "tangent": {"w": embedding_by},
                          "batching": embedding_each}
_OUTSIDE_TABLE: Errors = {1: (IndexRangeError, "index {index} lies outside the {lookup[rows]} rows of the table")}
EMBEDDING = Op("embedding", embedding_forward, embedding_adjoint, row=Embedding, saves={"w": "index"}, stores=True,
               lists="lookup.listed", errors=_OUTSIDE_TABLE, doc="rows of a table, by index", **_RULES)
LONG_EMBEDDING = Op("embedding", long_embedding_forward, long_embedding_adjoint, row=LongEmbedding,
                    saves={"w": "index scratch"}, stores=True, lists="lookup.listed", errors=_OUTSIDE_TABLE,
                    doc=EMBEDDING.doc, form="long", **_RULES)


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
    y: Output
    w: Input = contiguous
    chosen: Input = contiguous | int64
    bags: Bags


class BagChoice(Row):
    y: Output
    w: Input = contiguous
    index: Input = contiguous | int64
    starts: Input = contiguous | int64
    bags: Bags


class BagSpread(Row):
    y: Output
    x: Input = contiguous  # a row for each bag
    starts: Input = contiguous | int64
    bags: Bags


@device
def bag_end(op: Any, at: At[Bags], starts: int, j: int, i: Any) -> int:
    """End (exclusive) of bag `j`; -1 if the starts are invalid."""
    begin = i[starts + j]
    end = i[starts + j + 1] if j + 1 < at.starts else at.indices
    return end if 0 <= begin <= end <= at.indices and (j > 0 or begin == 0) else -1


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
            begin, end, g = i[op.starts + j], bag_end(op, op.bags, op.starts, j, i), op.g + j * n + left
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
        y, count, end = op.y + j * n, 0, bag_end(op, op.bags, op.starts, j, i)
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
        begin, end, g = i[op.starts + j], bag_end(op, op.bags, op.starts, j, i), op.g + j * n
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
def bag_spread_forward(op: BagSpread, f: Any, i: Any, b: Any) -> int:
    """y[l, :] = x[j, :] at each place l of bag j, and 0 behind the last."""
    n, last = op.bags.width, 0
    for j in range(op.bags.count):
        x, end = op.x + j * n, bag_end(op, op.bags, op.starts, j, i)
        if end < 0:
            return 2
        for place in range(i[op.starts + j], end):
            for k in range(n):
                f[op.y + place * n + k] = f[x + k]
        last = end
    for k in range(last * n, op.bags.indices * n):
        f[op.y + k] = 0.0
    return 0


def bag_spread_adjoint(op: BagSpread, f: Any, i: Any, b: Any) -> int:
    """dx[j, :] += the sum of g[l, :] over the places l of bag j."""
    n = op.bags.width
    for j in range(op.bags.count):
        for place in range(i[op.starts + j], bag_end(op, op.bags, op.starts, j, i)):
            for k in range(n):
                f[op.d.x + j * n + k] += f[op.g + place * n + k]
    return 0


BAG_SPREAD = Op("bag_spread", bag_spread_forward, bag_spread_adjoint, row=BagSpread, saves={"x": "starts"},
                errors=_BAG_ERRORS, doc="rows of bags, for each of their places",
                composition={"x": lambda r, g, t: bag_sums(r, g, t)},
                tangent={"x": lambda r, d, t: t.spread_bags(d, r.starts, r.bags.indices)})


def bag_sums(r: Any, x: Any, t: Any) -> Any:
    """Sums of the rows of `x`, one for each place, over the bags."""
    return t.embedding_bag(np.arange(r.bags.indices), x, r.starts, mode="sum",
                           include_last_offset=r.bags.starts > r.bags.count)


def bag_factors(r: Any, t: Any) -> Any:
    """Factor of the row at each place besides c: (places, 1), or 1.0."""
    factors: Any = 1.0
    if r.bags.padding >= 0:
        factors = t.take(_but_padding(r.bags, r.kinds[0][1]), t.reshape(r.index, (r.bags.indices,)), 0)
    if r.bags.mean:
        count = bag_sums(r, factors if r.bags.padding >= 0 else np.ones((r.bags.indices, 1), r.kinds[0][1]), t)
        factors = t.spread_bags(1.0 / t.maximum(count, 1.0), r.starts, r.bags.indices) * factors
    return factors


def _but_padding(at: Any, dtype: Any) -> Any:
    """1 for each row of a table, 0 for that of padding."""
    ones = np.ones((at.rows, 1), dtype)
    if at.padding >= 0:
        ones[at.padding] = 0.0
    return ones


def bag_to_w(r: Any, g: Any, t: Any) -> Any:
    """dw[index[l], :] = sum c[l] g[j, :], divided by the count for means."""
    rows = t.spread_bags(g, r.starts, r.bags.indices) * bag_factors(r, t)
    if r.bags.weighted:
        rows = rows * t.reshape(r.c, (r.bags.indices, 1))
    return t.index_add(np.zeros(r.shape_of("w")), 0, t.reshape(r.index, (r.bags.indices,)), rows)


def bag_to_c(r: Any, g: Any, t: Any) -> Any:
    """dc[l] = g[j, :] . w[index[l], :]."""
    rows = t.take(r.w, t.reshape(r.index, (r.bags.indices,)), 0)
    if r.bags.padding >= 0:
        rows = t.where(t.equal(bag_factors(r, t), 0.0), 0.0, rows)
    return t.sum(t.spread_bags(g, r.starts, r.bags.indices) * rows, 1)


def bag_of(r: Any, w: Any, c: Any, t: Any) -> Any:
    """The op of another table, or other factors."""
    return t.embedding_bag(t.reshape(r.index, (r.bags.indices,)), w, r.starts, mode="mean" if r.bags.mean else "sum",
                           include_last_offset=r.bags.starts > r.bags.count, per_sample_weights=c,
                           padding_idx=r.bags.padding if r.bags.padding >= 0 else None)


EMBEDDING_BAG = Op("embedding_bag", embedding_bag_forward, embedding_bag_adjoint, row=EmbeddingBag,
                   saves={"w": "index starts c", "c": "w index starts"}, stores=True, lists="bags.listed",
                   errors=_BAG_ERRORS, doc="sums or means of rows of a table",
                   composition={"w": bag_to_w, "c": bag_to_c},
                   tangent={"w": lambda r, d, t: bag_of(r, d, r.c if r.bags.weighted else None, t),
                            "c": lambda r, d, t: bag_of(r, r.w, d, t)})


def bag_choice_forward(op: BagChoice, f: Any, i: Any, b: Any) -> int:
    """y[j, k] = the index[l] of bag j with the maximum w[index[l], k], -1 if it is empty. NaN counts as maximum."""
    n = op.bags.width
    for j in range(op.bags.count):
        y, end, found = op.y + j * n, bag_end(op, op.bags, op.starts, j, i), 0
        if end < 0:
            return 2
        for k in range(n):
            i[y + k] = -1
        for place in range(i[op.starts + j], end):
            at = i[op.index + place]
            if at < 0 or at >= op.bags.rows:
                return outside(at)
            if at != op.bags.padding:
                for k in range(n):
                    best = f[op.w + max(i[y + k], 0) * n + k]
                    if found == 0 or (best == best and not f[op.w + at * n + k] <= best):
                        i[y + k] = at
                found = 1
    return 0


BAG_CHOICE = Op("bag_choice", bag_choice_forward, row=BagChoice, errors=_BAG_ERRORS,
                doc="the rows of a table that have the maxima of a bag")


def embedding_bag_max_forward(op: EmbeddingBagMax, f: Any, i: Any, b: Any) -> int:
    """y[j, k] = w[chosen[j, k], k], or 0."""
    n = op.bags.width
    for j in range(op.bags.count * n):
        row = i[op.chosen + j]
        f[op.y + j] = f[op.w + row * n + j % n] if row >= 0 else cast(0.0, f)
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


def bag_max_to(r: Any, g: Any, t: Any) -> Any:
    """dw[chosen[j, k], k] = sum g[j, k]."""
    if r.bags.rows == 0:
        return 0
    return t.scatter_along(np.zeros(r.shape_of("w")), 0, r.chosen, r.shape, t.where(t.less(r.chosen, 0), 0.0, g), True,
                           True)


def bag_max_by(r: Any, d: Any, t: Any) -> Any:
    """dy[j, k] = d[chosen[j, k], k], or 0."""
    if r.bags.rows == 0:
        return 0
    return t.where(t.less(r.chosen, 0), 0.0, t.gather_along(d, 0, r.chosen, r.shape, True))


EMBEDDING_BAG_MAX = Op("embedding_bag_max", embedding_bag_max_forward, embedding_bag_max_adjoint, row=EmbeddingBagMax,
                       saves={"w": "chosen"}, stores=True, lists="bags.listed", errors=_BAG_ERRORS,
                       doc="greatest elements of rows of a table", composition={"w": bag_max_to},
                       tangent={"w": bag_max_by})


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
             doc="a 1 at the place of each index",
             batching=lambda r, t: t.one_hot_rows(r.index, r.classes, r.call.dtype))
