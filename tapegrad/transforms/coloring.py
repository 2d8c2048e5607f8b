"""Colours of the columns of a sparse matrix, so that those of one colour are found by one product.

Sources: A. R. Curtis, M. J. D. Powell, J. K. Reid, On the estimation of sparse Jacobian matrices, IMA J. Appl. Math.
13, 1974 (columns that share no row); T. F. Coleman, J. J. Moré, Estimation of sparse Hessian matrices and graph
coloring problems, Math. Programming 28, 1984, and A. H. Gebremedhin, F. Manne, A. Pothen, What color is your Jacobian?,
SIAM Review 47, 2005, algorithms 3.1 and 4.1 (greedy distance-2 and star colouring).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.kernels import Kernel
from ..engine.row import Words
from ..engine.storage import address_of

FLOAT = np.dtype(np.float64)


class Coloring(Words):
    """Addresses of arrays of int64."""

    vertices: int
    starts: int  # of the neighbours of each, and behind the last
    neighbours: int
    others: int  # the same of the other side: the columns of each row
    columns: int
    order: int  # in which vertices are coloured
    colors: int  # of each, -1 before
    forbidden: int  # by colour the last vertex that may not have it


def distance_two(op: Coloring, f: Any, i: Any, b: Any) -> int:
    """Each column, in order, gets the least colour that no column has with which it shares a row."""
    for k in range(op.vertices):
        v = i[op.order + k]
        for at in range(i[op.starts + v], i[op.starts + v + 1]):
            row = i[op.neighbours + at]
            for to in range(i[op.others + row], i[op.others + row + 1]):
                color = i[op.colors + i[op.columns + to]]
                if color >= 0:
                    i[op.forbidden + color] = v
        color = 0
        while i[op.forbidden + color] == v:
            color += 1
        i[op.colors + v] = color
    return 0


def star(op: Coloring, f: Any, i: Any, b: Any) -> int:
    """Each vertex gets the least colour by which no path of four vertices has two colours only."""
    for k in range(op.vertices):
        v = i[op.order + k]
        for at in range(i[op.starts + v], i[op.starts + v + 1]):
            w = i[op.neighbours + at]
            if w == v:
                continue
            near = i[op.colors + w]
            if near >= 0:
                i[op.forbidden + near] = v
            for to in range(i[op.starts + w], i[op.starts + w + 1]):
                x = i[op.neighbours + to]
                color = i[op.colors + x]
                if x == v or x == w or color < 0:
                    continue
                closes = near < 0
                for last in range(i[op.starts + x], i[op.starts + x + 1]):
                    y = i[op.neighbours + last]
                    if y != w and y != x and near >= 0 and i[op.colors + y] == near:
                        closes = True
                if closes:
                    i[op.forbidden + color] = v
        color = 0
        while i[op.forbidden + color] == v:
            color += 1
        i[op.colors + v] = color
    return 0


_DISTANCE_TWO, _STAR = Kernel("coloring.distance_two", distance_two), Kernel("coloring.star", star)


def column_colors(pattern: Any) -> np.ndarray:
    """A colour for each column, so that no two of a colour share a row.

    Parameters
    ----------
    pattern : scipy.sparse.csr_array of bool

    Returns
    -------
    ndarray of int64
    """
    by_column = pattern.tocsc()
    return _colored(_DISTANCE_TWO, by_column.indptr, by_column.indices, pattern.indptr, pattern.indices)


def star_colors(pattern: Any) -> np.ndarray:
    """A colour for each column of a symmetric pattern, so that each element is found in the column or in the row.

    Parameters
    ----------
    pattern : scipy.sparse.csr_array of bool

    Returns
    -------
    ndarray of int64
    """
    return _colored(_STAR, pattern.indptr, pattern.indices, pattern.indptr, pattern.indices)


def _colored(kernel: Kernel, starts: np.ndarray, neighbours: np.ndarray, others: np.ndarray,
             columns: np.ndarray) -> np.ndarray:
    n = len(starts) - 1
    arrays = [np.ascontiguousarray(a, np.int64) for a in (starts, neighbours, others, columns)]
    order = np.argsort(-np.diff(arrays[0]), kind="stable").astype(np.int64)  # those of many neighbours first
    colors, forbidden = np.full(n, -1, np.int64), np.full(n + 1, -1, np.int64)
    words = Coloring.words(vertices=n, **{name: address_of(array) // 8 for name, array in zip(
        ("starts", "neighbours", "others", "columns", "order", "colors", "forbidden"),
        (*arrays, order, colors, forbidden))})
    row = np.array(words, np.int64)
    kernel(address_of(row), FLOAT)
    return colors
