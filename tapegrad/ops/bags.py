"""Sums, means and maxima of rows of a table, for each bag of indices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.language import apart, cast, device, device_pair, doubles_at, plus, read, wide, write
from ..engine.mathematics.sums import COLUMNS, add_row, add_to_total, clear_totals, give_totals, total_at
from ..engine.row import At, Input, Output, Row, Words, absent, contiguous, int64
from ..engine.tiles.tile import stack
from ..engine.walks.touched import clear_rows, list_row
from ..errors import ArgumentError, IndexRangeError
from .embedding import but_padding, list_rows
from .indexed import (
    NARROW,
    PLACES,
    TOGETHER,
    begin_hot,
    begin_runs,
    columns_together,
    count_run,
    end_runs,
    find_hot_rows,
    give_hot,
    move_hot,
)
from .layout import outside
from .table import Errors, Op

#: rows of a bag from which on they are accumulated in float64
LONG_BAG = 64


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
                    add_to_total(f, totals, k, wide(factor * read(f, w + k)))
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


def _add_bags_single(op: EmbeddingBag, f: Any, i: Any) -> int:
    n = op.bags.width
    together = columns_together(op.bags.indices, op.bags.rows, n)
    if together != 0:
        return bags_to_few_rows(op, f, i, together, stack(f))
    return bags_as_they_come(op, f, i, 0, n, 0, 0)


def _add_bags_double(op: EmbeddingBag, f: Any, i: Any) -> int:
    """dw of `embedding_bag_adjoint`, as in `add_rows_by_index`."""
    n, scratch = op.bags.width, stack(f)
    together = columns_together(op.bags.indices, op.bags.rows, n)
    if together != 0 and n < NARROW:
        return bags_to_few_rows(op, f, i, together, scratch)
    if together != 0:
        return bags_to_wide_rows(op, f, i, together, scratch)
    hot = find_hot_rows(f, i, scratch, op.index, op.bags.indices, op.bags.rows, op.bags.padding)
    if hot == 0:
        return bags_as_they_come(op, f, i, 0, n, 0, 0)
    together = min(n, PLACES // 2 // hot)
    for left in range(0, n, together):
        columns = min(together, n - left)
        begin_hot(f, hot, columns, scratch)
        bags_as_they_come(op, f, i, left, columns, hot, scratch)
        give_hot(f, i, op.d.w + left, n, columns, 1, hot, scratch)
    return 0


add_bags = device_pair("add_bags", _add_bags_single, _add_bags_double)


@device
def bags_as_they_come(op: EmbeddingBag, f: Any, i: Any, left: int, columns: int, hot: int, scratch: int) -> int:
    """`columns` columns of dw from `left` on, without totals, but of hot rows."""
    apart()
    n, dw, since = op.bags.width, op.d.w + left, 0
    for j in range(op.bags.count):
        begin, end, g = i[op.starts + j], bag_end(op, op.bags, op.starts, j, i), op.g + j * n + left
        count = bag_count(op, i, begin, end)
        for place in range(begin, end):
            at = i[op.index + place]
            if at != op.bags.padding:
                factor = bag_factor(op, f, place, count)
                for k in range(columns):
                    f[dw + at * n + k] += factor * f[g + k]
            since += 1
            if hot != 0 and since % TOGETHER == 0:
                move_hot(f, i, dw, n, columns, 1, hot, scratch, since // TOGETHER)
    return 0


@device
def bags_to_wide_rows(op: EmbeddingBag, f: Any, i: Any, together: int, scratch: int) -> int:
    """`bags_to_few_rows` of rows of `NARROW` elements and more; see `indexed.add_to_wide_rows`."""
    apart()
    n, rows = op.bags.width, op.bags.rows
    for left in range(0, n, together):
        columns = min(together, n - left)
        begin_runs(f, i, rows, columns, scratch)
        for j in range(op.bags.count):
            begin, end, g = i[op.starts + j], bag_end(op, op.bags, op.starts, j, i), op.g + j * n + left
            count = bag_count(op, i, begin, end)
            for place in range(begin, end):
                at = i[op.index + place]
                if at != op.bags.padding:
                    factor, run = bag_factor(op, f, place, count), scratch + at * columns
                    for k in range(columns):
                        write(f, run + k, f[run + k] + factor * read(f, g + k))
                    count_run(f, i, op.d.w + at * n + left, columns, at, scratch)
        end_runs(f, op.d.w + left, n, rows, columns, scratch)
    return 0


@device
def bags_to_few_rows(op: EmbeddingBag, f: Any, i: Any, together: int, scratch: int) -> int:
    """dw of `embedding_bag_adjoint`, `together` columns at a time, where all rows have totals."""
    apart()
    n, rows, totals = op.bags.width, op.bags.rows, doubles_at(f, scratch)
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
                        add_to_total(f, totals, to + k, wide(factor * read(f, g + k)))
        for row in range(rows):
            dw = op.d.w + row * n + left
            for k in range(columns):
                f[dw + k] += cast(total_at(f, totals, row * columns + k), f)
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
    if op.d.w != 0 and op.stores.w:
        clear_rows(op.bags.listed, op.d.w, op.bags.rows * n, f, i, b)
    if op.d.w != 0:
        list_rows(op.bags.listed, op.index, op.bags.indices, padding, i, b)
        add_bags(op, f, i)
    for j in range(op.bags.count if op.d.c != 0 else 0):
        g = op.g + j * n
        for place in range(i[op.starts + j], bag_end(op, op.bags, op.starts, j, i)):
            at, total = i[op.index + place], cast(0.0, f)
            if at != padding:
                for k in range(n):
                    total = plus(total, f[g + k] * f[op.w + at * n + k])
            f[op.d.c + place] = total if store else f[op.d.c + place] + total
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
    n, totals, one = op.bags.width, doubles_at(f, stack(f)), wide(cast(1.0, f))
    for j in range(op.bags.count):
        begin, end, dx = i[op.starts + j], bag_end(op, op.bags, op.starts, j, i), op.d.x + j * n
        for left in range(0, n if end - begin > LONG_BAG else 0, COLUMNS):
            columns = min(COLUMNS, n - left)
            clear_totals(f, totals, columns)
            for place in range(begin, end):
                add_row(f, totals, columns, op.g + place * n + left, 1)
            give_totals(f, totals, columns, one, dx + left, 1, True)
        for place in range(begin, end if end - begin <= LONG_BAG else begin):
            for k in range(n):
                f[dx + k] += f[op.g + place * n + k]
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
        factors = t.take(but_padding(r.bags, r.kinds[0][1]), t.reshape(r.index, (r.bags.indices,)), 0)
    if r.bags.mean:
        count = bag_sums(r, factors if r.bags.padding >= 0 else np.ones((r.bags.indices, 1), r.kinds[0][1]), t)
        factors = t.spread_bags(1.0 / t.maximum(count, 1.0), r.starts, r.bags.indices) * factors
    return factors


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
    n, rows, totals = op.bags.width, op.bags.rows, doubles_at(f, stack(f))
    if op.stores.w:
        clear_rows(op.bags.listed, op.d.w, rows * n, f, i, b)
    together = columns_together(op.bags.count, rows, n)
    for j in range(op.bags.count if together == 0 or op.bags.listed != 0 else 0):
        for k in range(n):
            at = i[op.chosen + j * n + k]
            if at >= 0:
                list_row(op.bags.listed, at, i, b)
                if together == 0:
                    f[op.d.w + at * n + k] += f[op.g + j * n + k]
    for left in range(0, n if together != 0 else 0, max(together, 1)):
        columns = min(together, n - left)
        clear_totals(f, totals, rows * columns)
        for j in range(op.bags.count):
            for k in range(columns):
                at = i[op.chosen + j * n + left + k]
                if at >= 0:
                    add_to_total(f, totals, at * columns + k, wide(f[op.g + j * n + left + k]))
        for row in range(rows):
            for k in range(columns):
                f[op.d.w + row * n + left + k] += cast(total_at(f, totals, row * columns + k), f)
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
