"""Embedding lookups, and one-hot encoding."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.language import cast, device, wide
from ..engine.mathematics import vecmath as m
from ..engine.row import At, Input, Output, Row, Words, contiguous, double, int64, overwritten
from ..engine.walks.touched import clear_rows, list_row
from ..errors import IndexRangeError
from .indexed import add_rows_by_index, add_to_hot_rows
from .layout import outside
from .table import Errors, Op

_INFINITY = float("inf")


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


@device
def list_rows(listed: int, index: int, count: int, padding: int, i: Any, b: Any) -> int:
    """List the rows that get a gradient."""
    for j in range(count if listed != 0 else 0):
        if i[index + j] != padding:
            list_row(listed, i[index + j], i, b)
    return 0


def embedding_forward(op: Embedding, f: Any, i: Any, b: Any) -> int:
    """y[j, :] = w[index[j], :]."""
    return embed(op, f, i, op.lookup)


def embedding_adjoint(op: Embedding, f: Any, i: Any, b: Any) -> int:
    """dw[index[j], :] += g[j, :], only in the rows that were read."""
    n = op.lookup.width
    if op.stores.w:
        clear_rows(op.lookup.listed, op.d.w, op.lookup.rows * n, f, i, b)
    list_rows(op.lookup.listed, op.index, op.lookup.count, op.lookup.padding, i, b)
    return add_rows_by_index(f, i, op.d.w, op.g, op.index, op.lookup.count, op.lookup.rows, n, op.lookup.padding)


def long_embedding_forward(op: LongEmbedding, f: Any, i: Any, b: Any) -> int:
    """`embedding_forward` with scratch."""
    return embed(op, f, i, op.lookup)


def long_embedding_adjoint(op: LongEmbedding, f: Any, i: Any, b: Any) -> int:
    """`embedding_adjoint`, which accumulates rows with many contributions in float64."""
    if op.stores.w:
        clear_rows(op.lookup.listed, op.d.w, op.lookup.rows * op.lookup.width, f, i, b)
    list_rows(op.lookup.listed, op.index, op.lookup.count, op.lookup.padding, i, b)
    return add_to_hot_rows(f, i, op.d.w, op.g, op.index, op.lookup.count, op.lookup.width, op.scratch,
                           op.hot_places, op.lookup.padding)


def but_padding(at: Any, dtype: Any) -> Any:
    """1 for each row of a table, 0 for that of padding."""
    ones = np.ones((at.rows, 1), dtype)
    if at.padding >= 0:
        ones[at.padding] = 0.0
    return ones


def embedding_to(r: Any, g: Any, t: Any) -> Any:
    """dw[index[j], :] = sum g[j, :], but not in the row of padding."""
    at = r.lookup
    found = t.index_add(np.zeros((at.rows, at.width)), 0, t.reshape(r.index, (at.count,)),
                        t.reshape(g, (at.count, at.width)))
    return found if at.padding < 0 else t.where(but_padding(at, bool), found, 0.0)


def embedding_by(r: Any, d: Any, t: Any) -> Any:
    """dy[j, :] = d[index[j], :], the row of padding being fixed."""
    return t.embedding(r.index, d if r.lookup.padding < 0 else t.where(but_padding(r.lookup, bool), d, 0.0))


def embedding_each(r: Any, t: Any) -> Any:
    """More indices of one table."""
    return None if r.has_axis("w") else t.embedding(r.index, r.w, r.lookup.padding if r.lookup.padding >= 0 else None)


_RULES: dict[str, Any] = {"composition": {"w": embedding_to}, "tangent": {"w": embedding_by},
                          "batching": embedding_each}
_OUTSIDE_TABLE: Errors = {1: (IndexRangeError, "index {index} lies outside the {lookup[rows]} rows of the table")}
_OUTSIDE_BOUNDED: Errors = {1: (IndexRangeError, "index {index} lies outside the {rows} rows of the table")}
EMBEDDING = Op("embedding", embedding_forward, embedding_adjoint, row=Embedding, saves={"w": "index"}, stores=True,
               lists="lookup.listed", errors=_OUTSIDE_TABLE, doc="rows of a table, by index", **_RULES)
LONG_EMBEDDING = Op("embedding", long_embedding_forward, long_embedding_adjoint, row=LongEmbedding,
                    saves={"w": "index scratch"}, stores=True, lists="lookup.listed", errors=_OUTSIDE_TABLE,
                    doc=EMBEDDING.doc, form="long", **_RULES)


class Bounded(Row):
    y: Output
    w: Input = contiguous | overwritten
    index: Input = contiguous | int64
    count: int  # of indices
    rows: int
    width: int
    most: double
    order: double
    follows: bool  # whether the table is changed


@device
def norm_of(f: Any, w: int, n: int, order: Any) -> Any:
    """The norm of a row, as a float64."""
    total = wide(cast(0.0, f))
    if order == _INFINITY:
        for k in range(n):
            total = max(total, m.abs(wide(f[w + k])))
        return total
    if order == 2.0:
        for k in range(n):
            total += wide(f[w + k]) * wide(f[w + k])
        return m.sqrt(total)
    for k in range(n):
        total += m.power(m.abs(wide(f[w + k])), order)
    return m.power(total, 1.0 / order)


def bounded_forward(op: Bounded, f: Any, i: Any, b: Any) -> int:
    """w[index[j], :] *= most / (norm + 1e-7) where its norm is greater than `most`; y = index."""
    for j in range(op.count):
        row = i[op.index + j]
        i[op.y + j] = row
        if row < 0 or row >= op.rows:
            return outside(row)
        if op.follows != 0:
            w = op.w + row * op.width
            norm = norm_of(f, w, op.width, op.order)
            if norm > op.most:
                scale = cast(op.most / (norm + 1e-7), f)
                for k in range(op.width):
                    f[w + k] *= scale
    return 0


BOUNDED = Op("bounded_rows", bounded_forward, row=Bounded, errors=_OUTSIDE_BOUNDED, again={"follows": 0},
             doc="indices of rows whose norms are bounded before they are read")


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
