"""Pixels selected or blended by row and by column: upsampling, and padding with an image's own pixels.

Rows and columns are known when the op is recorded, and come as a table of valid indices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..engine.language import device
from ..engine.row import Input, Output, Row, Words, contiguous, int64
from .columns import clear
from .table import Op


class Resampling(Words):
    """Extents of an image and of the result."""

    planes: int
    height: int
    width: int
    rows: int
    columns: int


class Select(Row):
    y: Output
    x: Input = contiguous
    table: Input = contiguous | int64
    sizes: Resampling


class Blend(Row):
    y: Output
    x: Input = contiguous
    table: Input = contiguous | int64
    shares: Input = contiguous
    sizes: Resampling


@device
def select(op: Select, f: Any, i: Any, image: int, result: int, store: bool) -> int:
    """result[p, r, c] = image[p, row[r], column[c]], or +=; the table holds the rows, then the columns."""
    height, width, ho, wo = op.sizes.height, op.sizes.width, op.sizes.rows, op.sizes.columns
    column = op.table + ho
    for plane in range(op.sizes.planes):
        for row in range(ho):
            y, x = result + (plane * ho + row) * wo, image + (plane * height + i[op.table + row]) * width
            if store:
                for k in range(wo):
                    f[y + k] = f[x + i[column + k]]
            else:
                for k in range(wo):
                    f[y + k] += f[x + i[column + k]]
    return 0


@device
def collect(op: Select, f: Any, i: Any, image: int, result: int) -> int:
    """image[p, row[r], column[c]] += result[p, r, c]."""
    height, width, ho, wo = op.sizes.height, op.sizes.width, op.sizes.rows, op.sizes.columns
    column = op.table + ho
    for plane in range(op.sizes.planes):
        for row in range(ho):
            g, dx = result + (plane * ho + row) * wo, image + (plane * height + i[op.table + row]) * width
            for k in range(wo):
                f[dx + i[column + k]] += f[g + k]
    return 0


@device
def blend(op: Blend, f: Any, i: Any, image: int, result: int, store: bool) -> int:
    """result = v0 (u0 x[r0, c0] + u1 x[r0, c1]) + v1 (u0 x[r1, c0] + u1 x[r1, c1]) of the image x, or +=.

    The table holds r0 of every output row, r1, then c0 of every column, c1; the shares are v0, v1, u0, u1 alike.
    """
    height, width, ho, wo = op.sizes.height, op.sizes.width, op.sizes.rows, op.sizes.columns
    columns, shares = op.table + 2 * ho, op.shares + 2 * ho
    for plane in range(op.sizes.planes):
        for row in range(ho):
            y = result + (plane * ho + row) * wo
            for half in range(2):
                x = image + (plane * height + i[op.table + half * ho + row]) * width
                v = f[op.shares + half * ho + row]
                if half == 0 and store:
                    for k in range(wo):
                        f[y + k] = v * (f[shares + k] * f[x + i[columns + k]]
                                        + f[shares + wo + k] * f[x + i[columns + wo + k]])
                elif half == 0 or v != 0.0:  # a row that has no share does not make NaN of infinity
                    for k in range(wo):
                        f[y + k] += v * (f[shares + k] * f[x + i[columns + k]]
                                         + f[shares + wo + k] * f[x + i[columns + wo + k]])
    return 0


@device
def unblend(op: Blend, f: Any, i: Any, image: int, result: int) -> int:
    """Each of the four pixels gets its share of the result."""
    height, width, ho, wo = op.sizes.height, op.sizes.width, op.sizes.rows, op.sizes.columns
    columns, shares = op.table + 2 * ho, op.shares + 2 * ho
    for plane in range(op.sizes.planes):
        for row in range(ho):
            g = result + (plane * ho + row) * wo
            for half in range(2):
                dx = image + (plane * height + i[op.table + half * ho + row]) * width
                v = f[op.shares + half * ho + row]
                if v != 0.0:
                    for k in range(wo):
                        part = v * f[g + k]
                        f[dx + i[columns + k]] += f[shares + k] * part
                        f[dx + i[columns + wo + k]] += f[shares + wo + k] * part
    return 0


def select_forward(op: Select, f: Any, i: Any, b: Any) -> int:
    """y[p, r, c] = x[p, row[r], column[c]]."""
    return select(op, f, i, op.x, op.y, True)


def select_adjoint(op: Select, f: Any, i: Any, b: Any) -> int:
    """dx[p, row[r], column[c]] += g[p, r, c]."""
    return collect(op, f, i, op.d.x, op.g)


def collect_forward(op: Select, f: Any, i: Any, b: Any) -> int:
    """y[p, row[r], column[c]] = the sum of x[p, r, c]."""
    clear(f, op.y, op.sizes.planes * op.sizes.height * op.sizes.width)
    return collect(op, f, i, op.y, op.x)


def collect_adjoint(op: Select, f: Any, i: Any, b: Any) -> int:
    """dx[p, r, c] += g[p, row[r], column[c]]."""
    return select(op, f, i, op.g, op.d.x, op.stores.x)


def blend_forward(op: Blend, f: Any, i: Any, b: Any) -> int:
    """y = a mean of four pixels of x."""
    return blend(op, f, i, op.x, op.y, True)


def blend_adjoint(op: Blend, f: Any, i: Any, b: Any) -> int:
    """Each of the four pixels gets its share of g."""
    return unblend(op, f, i, op.d.x, op.g)


def unblend_forward(op: Blend, f: Any, i: Any, b: Any) -> int:
    """Each of the four pixels of y gets its share of x."""
    clear(f, op.y, op.sizes.planes * op.sizes.height * op.sizes.width)
    return unblend(op, f, i, op.y, op.x)


def unblend_adjoint(op: Blend, f: Any, i: Any, b: Any) -> int:
    """dx += a mean of four pixels of g."""
    return blend(op, f, i, op.g, op.d.x, op.stores.x)


def _tables(r: Any, op: Any) -> dict[str, Any]:
    """The indices, and the shares where there are any."""
    return {name: getattr(r, name) for name in op.row.inputs[1:]}


def _transposed(op: Callable[[], Op]) -> dict[str, Callable]:
    """dX = the transpose of the map of dY."""
    return {"x": lambda r, g, t: t.upsampling.resampled(op(), g, _tables(r, r.op), r.sizes, r.shape_of("x"))}


def _same(r: Any, d: Any, t: Any) -> Any:
    """The same map of the tangent."""
    return t.upsampling.resampled(r.op, d, _tables(r, r.op), r.sizes, r.shape)


def _of_all(r: Any, t: Any) -> Any:
    """All planes at once; the tables are known when the op is recorded, and the same for all."""
    return t.upsampling.resampled(r.call.op, r.x, _tables(r, r.call.op), r.sizes, (r.size, *r.call.shape))


_RULES: dict[str, Any] = {"tangent": {"x": _same}, "batching": _of_all}
SELECT: Op = Op("select", select_forward, select_adjoint, row=Select, saves={"x": "table"},
                doc="pixels by row and by column", composition=_transposed(lambda: COLLECT), **_RULES)
COLLECT: Op = Op("collect", collect_forward, collect_adjoint, row=Select, saves={"x": "table"}, stores=True,
                 doc="pixels added up by row and by column", composition=_transposed(lambda: SELECT), **_RULES)
BLEND: Op = Op("blend", blend_forward, blend_adjoint, row=Blend, saves={"x": "table shares"},
               doc="means of four pixels by row and by column", composition=_transposed(lambda: UNBLEND), **_RULES)
UNBLEND: Op = Op("unblend", unblend_forward, unblend_adjoint, row=Blend, saves={"x": "table shares"}, stores=True,
                 doc="pixels shared out to four by row and by column", composition=_transposed(lambda: BLEND), **_RULES)
