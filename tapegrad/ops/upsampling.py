"""Pixels selected or blended by row and by column: upsampling, and padding with an image's own pixels.

Rows and columns are known when the op is recorded, and come as a table of valid indices.
"""

from __future__ import annotations

from typing import Any

from ..engine.row import Input, Output, Row, contiguous, int64
from .table import Op


class Select(Row):
    y: Output
    x: Input = contiguous
    table: Input = contiguous | int64
    planes: int
    height: int
    width: int
    rows: int  # of the result
    columns: int


class Blend(Row):
    y: Output
    x: Input = contiguous
    table: Input = contiguous | int64
    shares: Input = contiguous
    planes: int
    height: int
    width: int
    rows: int  # of the result
    columns: int


def select_forward(op: Select, f: Any, i: Any, b: Any) -> int:
    """y[p, r, c] = x[p, row[r], column[c]]; the table holds the rows, then the columns."""
    height, width, ho, wo = op.height, op.width, op.rows, op.columns
    column = op.table + ho
    for plane in range(op.planes):
        for row in range(ho):
            y, x = op.y + (plane * ho + row) * wo, op.x + (plane * height + i[op.table + row]) * width
            for k in range(wo):
                f[y + k] = f[x + i[column + k]]
    return 0


def select_adjoint(op: Select, f: Any, i: Any, b: Any) -> int:
    """dx[p, row[r], column[c]] += g[p, r, c]."""
    height, width, ho, wo = op.height, op.width, op.rows, op.columns
    column = op.table + ho
    for plane in range(op.planes):
        for row in range(ho):
            g, dx = op.g + (plane * ho + row) * wo, op.d.x + (plane * height + i[op.table + row]) * width
            for k in range(wo):
                f[dx + i[column + k]] += f[g + k]
    return 0


SELECT = Op("select", select_forward, select_adjoint, row=Select, saves={"x": "table"},
            doc="pixels by row and by column")


def blend_forward(op: Blend, f: Any, i: Any, b: Any) -> int:
    """y = v0 (u0 x[r0, c0] + u1 x[r0, c1]) + v1 (u0 x[r1, c0] + u1 x[r1, c1]).

    The table holds r0 of every output row, r1, then c0 of every column, c1; likewise the weights v0, v1, u0, u1.
    """
    height, width, ho, wo = op.height, op.width, op.rows, op.columns
    columns, shares = op.table + 2 * ho, op.shares + 2 * ho
    for plane in range(op.planes):
        for row in range(ho):
            y = op.y + (plane * ho + row) * wo
            for half in range(2):
                x = op.x + (plane * height + i[op.table + half * ho + row]) * width
                v = f[op.shares + half * ho + row]
                if half == 0:
                    for k in range(wo):
                        f[y + k] = v * (f[shares + k] * f[x + i[columns + k]]
                                        + f[shares + wo + k] * f[x + i[columns + wo + k]])
                elif v != 0.0:  # a row of weight 0 does not turn infinity into NaN
                    for k in range(wo):
                        f[y + k] += v * (f[shares + k] * f[x + i[columns + k]]
                                         + f[shares + wo + k] * f[x + i[columns + wo + k]])
    return 0


def blend_adjoint(op: Blend, f: Any, i: Any, b: Any) -> int:
    """Each of the four pixels gets its share of g."""
    height, width, ho, wo = op.height, op.width, op.rows, op.columns
    columns, shares = op.table + 2 * ho, op.shares + 2 * ho
    for plane in range(op.planes):
        for row in range(ho):
            g = op.g + (plane * ho + row) * wo
            for half in range(2):
                dx = op.d.x + (plane * height + i[op.table + half * ho + row]) * width
                v = f[op.shares + half * ho + row]
                if v != 0.0:
                    for k in range(wo):
                        part = v * f[g + k]
                        f[dx + i[columns + k]] += f[shares + k] * part
                        f[dx + i[columns + wo + k]] += f[shares + wo + k] * part
    return 0


BLEND = Op("blend", blend_forward, blend_adjoint, row=Blend, saves={"x": "table shares"},
           doc="means of four pixels by row and by column")
