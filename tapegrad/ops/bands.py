"""Banded matrices along an axis: each element of the result is a weighted sum of neighbours.

The bands are known when the op is recorded, and come as a table of valid indices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..engine.language import cast, device, read, write
from ..engine.row import Input, Output, Row, Words, contiguous, fixed, int64
from .columns import clear
from .table import Op


class Banded(Words):
    """Extents of both sides of the matrix; the axis has `outer` before and `inner` behind it."""

    outer: int
    inner: int
    n: int
    m: int
    taps: int  # weights of each of the m bands, of which the first few may count


class Bands(Row):
    y: Output
    x: Input = contiguous
    table: Input = contiguous | int64  # first elements of the bands, then their ends
    shares: Input = contiguous | fixed  # weights of each band
    sizes: Banded


@device
def gather(op: Bands, f: Any, i: Any, source: int, target: int, store: bool) -> int:
    """target[o, r] = sum_t w[r, t] source[o, first[r] + t], or +=."""
    n, m, inner, taps = op.sizes.n, op.sizes.m, op.sizes.inner, op.sizes.taps
    for o in range(op.sizes.outer):
        for r in range(m):
            first, end, w = i[op.table + r], i[op.table + m + r], op.shares + r * taps
            y, x = target + (o * m + r) * inner, source + o * n * inner
            if inner == 1:
                total = cast(0.0, f)
                for t in range(first, end):
                    total += f[w + t - first] * f[x + t]
                f[y] = total if store else f[y] + total
            else:
                if store:
                    for q in range(inner):
                        f[y + q] = 0.0
                for t in range(first, end):
                    weight = f[w + t - first]
                    for q in range(inner):
                        write(f, y + q, f[y + q] + weight * read(f, x + t * inner + q))
    return 0


@device
def spread(op: Bands, f: Any, i: Any, source: int, target: int) -> int:
    """source[o, first[r] + t] += w[r, t] target[o, r]."""
    n, m, inner, taps = op.sizes.n, op.sizes.m, op.sizes.inner, op.sizes.taps
    for o in range(op.sizes.outer):
        for r in range(m):
            first, end, w = i[op.table + r], i[op.table + m + r], op.shares + r * taps
            y, x = target + (o * m + r) * inner, source + o * n * inner
            for t in range(first, end):
                weight = f[w + t - first]
                for q in range(inner):
                    write(f, x + t * inner + q, f[x + t * inner + q] + weight * read(f, y + q))
    return 0


def bands_forward(op: Bands, f: Any, i: Any, b: Any) -> int:
    """y = W x."""
    return gather(op, f, i, op.x, op.y, True)


def bands_adjoint(op: Bands, f: Any, i: Any, b: Any) -> int:
    """dx += W^T g."""
    return spread(op, f, i, op.d.x, op.g)


def transposed_forward(op: Bands, f: Any, i: Any, b: Any) -> int:
    """y = W^T x."""
    clear(f, op.y, op.sizes.outer * op.sizes.n * op.sizes.inner)
    return spread(op, f, i, op.y, op.x)


def transposed_adjoint(op: Bands, f: Any, i: Any, b: Any) -> int:
    """dx += W g."""
    return gather(op, f, i, op.g, op.d.x, op.stores.x)


def _back(op: Callable[[], Op]) -> dict[str, Callable]:
    return {"x": lambda r, g, t: t.bands.multiplied(op(), g, r.table, r.shares, r.sizes, r.shape_of("x"))}


def _same(r: Any, d: Any, t: Any) -> Any:
    return t.bands.multiplied(r.op, d, r.table, r.shares, r.sizes, r.shape)


def _of_all(r: Any, t: Any) -> Any:
    """The tables are known when the op is recorded, and the same for all."""
    return t.bands.multiplied(r.call.op, r.x, r.table, r.shares, r.sizes, (r.size, *r.call.shape))


BANDS: Op = Op("bands", bands_forward, bands_adjoint, row=Bands, saves={"x": "table shares"},
               doc="weighted sums of neighbours", composition=_back(lambda: TRANSPOSED),
               tangent={"x": _same}, batching=_of_all)
TRANSPOSED: Op = Op("bands_transposed", transposed_forward, transposed_adjoint, row=Bands, stores=True,
                    saves={"x": "table shares"}, doc="shares of weighted sums", batching=_of_all,
                    composition=_back(lambda: BANDS), tangent={"x": _same})
