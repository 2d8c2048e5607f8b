"""Pixels chosen or blended by row and by column: up-sampling, and padding with an image's own pixels.

Which rows and columns is known when the op is recorded and comes as a table of indices, all of them in range.
"""

from __future__ import annotations

from typing import Any

from .table import Op

# Words of both: 1 y, 2 g, 3 x, 4 dx, 5 table; for blend 7 shares; then planes, height, width, output height and width.


def select_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y[p, r, c] = x[p, row[r], column[c]]; the table holds the rows, then the columns."""
    height, width, ho, wo = op[8], op[9], op[10], op[11]
    column = op[5] + ho
    for plane in range(op[7]):
        for row in range(ho):
            y, x = op[1] + (plane * ho + row) * wo, op[3] + (plane * height + i[op[5] + row]) * width
            for k in range(wo):
                f[y + k] = f[x + i[column + k]]
    return 0


def select_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dx[p, row[r], column[c]] += g[p, r, c]."""
    height, width, ho, wo = op[8], op[9], op[10], op[11]
    column = op[5] + ho
    for plane in range(op[7]):
        for row in range(ho):
            g, dx = op[2] + (plane * ho + row) * wo, op[4] + (plane * height + i[op[5] + row]) * width
            for k in range(wo):
                f[dx + i[column + k]] += f[g + k]
    return 0


SELECT = Op("select", select_forward, select_adjoint, ((2,), ()), doc="pixels by row and by column")


def blend_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y = v0 (u0 x[r0, c0] + u1 x[r0, c1]) + v1 (u0 x[r1, c0] + u1 x[r1, c1]).

    The table holds r0 of every output row, r1, then c0 of every column, c1; the shares are v0, v1, u0, u1 alike.
    """
    height, width, ho, wo = op[10], op[11], op[12], op[13]
    columns, shares = op[5] + 2 * ho, op[7] + 2 * ho
    for plane in range(op[9]):
        for row in range(ho):
            y = op[1] + (plane * ho + row) * wo
            for half in range(2):
                x = op[3] + (plane * height + i[op[5] + half * ho + row]) * width
                v = f[op[7] + half * ho + row]
                if half == 0:
                    for k in range(wo):
                        f[y + k] = v * (f[shares + k] * f[x + i[columns + k]]
                                        + f[shares + wo + k] * f[x + i[columns + wo + k]])
                elif v != 0.0:  # a row that has no share does not make NaN of infinity
                    for k in range(wo):
                        f[y + k] += v * (f[shares + k] * f[x + i[columns + k]]
                                         + f[shares + wo + k] * f[x + i[columns + wo + k]])
    return 0


def blend_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """Each of the four pixels gets its share of g."""
    height, width, ho, wo = op[10], op[11], op[12], op[13]
    columns, shares = op[5] + 2 * ho, op[7] + 2 * ho
    for plane in range(op[9]):
        for row in range(ho):
            g = op[2] + (plane * ho + row) * wo
            for half in range(2):
                dx = op[4] + (plane * height + i[op[5] + half * ho + row]) * width
                v = f[op[7] + half * ho + row]
                if v != 0.0:
                    for k in range(wo):
                        part = v * f[g + k]
                        f[dx + i[columns + k]] += f[shares + k] * part
                        f[dx + i[columns + wo + k]] += f[shares + wo + k] * part
    return 0


BLEND = Op("blend", blend_forward, blend_adjoint, ((2, 3), (), ()), doc="means of four pixels by row and by column")
