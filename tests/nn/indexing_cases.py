"""The grid of calls by index, of orders and of triangles that are held against PyTorch."""

from __future__ import annotations

from itertools import product

import numpy as np

from .parity_cases import Case, _case, _draw


def by_index() -> list[Case]:
    """gather, scatter, index_add, index_select over axes, and indices that repeat."""
    cases = []
    x, index = _draw(1, 4, 5, 3), np.random.RandomState(2).randint(0, 3, (3, 4, 2))
    for dim in (0, 1, 2, -1):
        cases.append(_case("gather", {"input": x, "index": index}, {"dim": dim}, peer="gather"))
        cases.append(_case("scatter_add", {"input": x, "index": index, "src": _draw(3, 3, 4, 2)}, {"dim": dim},
                           peer="scatter_add"))
        picked = np.random.RandomState(4).randint(0, 3, 6)
        source = _draw(5, *(6 if d == dim % 3 else n for d, n in enumerate(x.shape)))
        cases.append(_case("index_select", {"input": x, "index": picked}, {"dim": dim}, peer="index_select"))
        cases += [_case("index_add", {"input": x, "index": picked, "source": source}, {"dim": dim, "alpha": alpha},
                        peer="index_add") for alpha in (1.0, -2.5)]
    once = np.array([[3, 0, 1], [0, 2, 2]])  # nothing is written twice: PyTorch does not say who wins
    arrays = {"input": _draw(6, 4, 3), "index": once, "src": _draw(7, 2, 3)}
    cases.append(_case("scatter", arrays, {"dim": 0}, peer="scatter"))
    cases.append(_case("gather", {"input": _draw(8, 5), "index": np.array([4, 4, 0])}, {"dim": 0}, peer="gather"))
    return cases


def orders() -> list[Case]:
    """topk and the running product."""
    cases = []
    for shape, dim, largest in product(((7,), (3, 40, 2)), (0, -1), (True, False)):
        for k in {1, min(2, shape[dim]), shape[dim]}:
            cases.append(_case("topk", {"input": _draw(11, *shape)}, {"k": k, "dim": dim, "largest": largest},
                               peer="topk"))
    zeros = _draw(12, 4, 5)
    zeros[[0, 1, 1, 2], [0, 2, 4, 4]] = 0.0
    for x, dim in product((_draw(13, 3, 6, 2), zeros), (0, 1)):
        note = " zeros" if x is zeros else ""
        cases.append(_case("cumprod", {"x": x}, {"dim": dim}, note, peer="cumprod"))
    return cases


def triangles() -> list[Case]:
    """tril, triu and diagonals."""
    cases = []
    for function, k in product(("tril", "triu"), (-1, 0, 2)):
        cases.append(_case(function, {"x": _draw(21, 2, 4, 3)}, {"diagonal": k}, peer=function))
    for offset, axes in product((-1, 0, 1), ((0, 1), (2, 0), (-2, -1))):
        cases.append(_case("diagonal", {"x": _draw(22, 3, 4, 2)}, {"offset": offset, "dim1": axes[0], "dim2": axes[1]},
                           peer="diagonal"))
    return cases


CASES = [*by_index(), *orders(), *triangles()]
