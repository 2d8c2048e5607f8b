"""A layered layout (Sugiyama, Tagawa, Toda 1981): layers by longest paths, order by barycentres, then positions.

`along` runs from layer to layer, `across` within one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

_SWEEPS = 24
_LEAF = 0.02  # how much leaves count where a box is to stand
_LONG = 14.0  # extent across of a line that passes a layer


@dataclass
class Layout:
    """Where the centres of boxes are, and the points between its ends at which a line passes layers."""

    places: dict[int, tuple[float, float]]
    ways: dict[tuple[int, int], list[tuple[float, float]]]
    along: float
    across: float


@dataclass
class Gaps:
    """Between layers, and between neighbours in one; more where a frame ends, and where one begins."""

    layers: float
    neighbours: float
    ends: float
    begins: float


def layered(sizes: Mapping[int, tuple[float, float]], lines: Sequence[tuple[int, int]],
            paths: Mapping[int, tuple[str, ...]], below: Sequence[tuple[int, int]], gaps: Gaps) -> Layout:
    """Lay out a directed acyclic graph.

    Parameters
    ----------
    sizes : mapping
        By box, its extents along and across.
    lines : sequence of (source, target)
    paths : mapping
        By box, the frames around it; those of one frame are kept together.
    below : sequence of (box, box)
        The second is to be in a later layer.
    gaps : Gaps
    """
    import networkx as nx

    graph = nx.DiGraph()
    graph.add_nodes_from(sizes)
    graph.add_edges_from([*lines, *below])
    level = {v: k for k, generation in enumerate(nx.topological_generations(graph)) for v in generation}
    for v in sizes:  # a leaf stands just before what reads it first
        if not graph.in_degree(v) and graph.out_degree(v):
            level[v] = min(level[w] for w in graph.successors(v)) - 1
    least = min(level.values(), default=0)
    count = max(level.values(), default=0) - least + 1
    layers: list[list[Hashable]] = [[] for _ in range(count)]
    for v in sizes:
        layers[level[v] - least].append(v)
    extents: dict[Hashable, tuple[float, float]] = {v: size for v, size in sizes.items()}
    frames: dict[Hashable, tuple[str, ...]] = {v: path for v, path in paths.items()}
    chains = _chains(lines, {v: k - least for v, k in level.items()}, layers, extents, frames)
    neighbours: dict[Hashable, list[list[Hashable]]] = {v: [[], []] for layer in layers for v in layer}
    for chain in chains.values():
        for a, b in zip(chain, chain[1:]):
            neighbours[a][1].append(b)
            neighbours[b][0].append(a)
    _order(layers, neighbours, frames)
    across = _positions(layers, neighbours, extents, frames, gaps.neighbours)
    between = _between([[frames[v] for v in layer if v in sizes] for layer in layers], gaps)
    along: dict[Hashable, float] = {}
    depth: dict[Hashable, float] = {}
    at = 0.0
    for layer, gap in zip(layers, between):
        deep = max([extents[v][0] for v in layer], default=0.0)
        along.update(dict.fromkeys(layer, at + 0.5 * deep))
        depth.update(dict.fromkeys(layer, deep))
        at += deep + gap
    ways = {line: [(along[v] + side * depth[v], across[v]) for v in chain[1:-1] for side in (-0.5, 0.5)]
            for line, chain in chains.items()}
    wide = max([across[v] + 0.5 * extents[v][1] for v in across], default=0.0)
    return Layout({v: (along[v], across[v]) for v in sizes}, ways, at, wide)


def _between(layers: Sequence[Sequence[tuple[str, ...]]], gaps: Gaps) -> list[float]:
    """The gap after each layer, with room for the frames that end there and those that begin after it."""
    first: dict[tuple[str, ...], int] = {}
    last: dict[tuple[str, ...], int] = {}
    for k, layer in enumerate(layers):
        for path in layer:
            for depth in range(1, len(path) + 1):
                first.setdefault(path[:depth], k)
                last[path[:depth]] = k

    def many(layer: int, bounds: Mapping[tuple[str, ...], int]) -> int:
        return max([sum(bounds[path[:depth]] == layer for depth in range(1, len(path) + 1))
                    for path in layers[layer]], default=0)

    return [gaps.layers + gaps.ends * many(k, last) + gaps.begins * many(k + 1, first)
            for k in range(len(layers) - 1)] + [0.0]


def _chains(lines: Iterable[tuple[int, int]], level: Mapping[int, int], layers: list[list[Hashable]],
            extents: dict[Hashable, tuple[float, float]],
            frames: dict[Hashable, tuple[str, ...]]) -> dict[tuple[int, int], list[Hashable]]:
    """Put a point into each layer that a line passes; returns by line what it goes through."""
    chains = {}
    for a, b in lines:
        chain: list[Hashable] = [a]
        for k in range(level[a] + 1, level[b]):
            point = ("point", a, b, k)
            layers[k].append(point)
            extents[point] = (0.0, _LONG)
            frames[point] = tuple(x for x, y in zip(frames[a], frames[b]) if x == y)
            chain.append(point)
        chains[a, b] = [*chain, b]
    return chains


def _order(layers: list[list[Hashable]], neighbours: Mapping[Hashable, Any],
           frames: Mapping[Hashable, tuple[str, ...]]) -> None:
    """Sort each layer by the barycentres of neighbours in the layer before, then after, and so on."""
    place = {v: k / max(len(layer) - 1, 1) for layer in layers for k, v in enumerate(layer)}
    for sweep in range(_SWEEPS):
        side = sweep % 2
        for layer in layers if side == 0 else reversed(layers):
            centre = {v: float(np.mean([place[w] for w in neighbours[v][side]])) if neighbours[v][side] else place[v]
                      for v in layer}
            layer[:] = sorted(layer, key=lambda v: _together(v, layer, centre, frames))
            place.update({v: k / max(len(layer) - 1, 1) for k, v in enumerate(layer)})


def _together(v: Hashable, layer: Sequence[Hashable], centre: Mapping[Hashable, float],
              frames: Mapping[Hashable, tuple[str, ...]]) -> list[tuple[float, str]]:
    """A key by which what is in one frame stays together: the centre of each of its frames, then its own."""
    key = []
    for depth in range(1, len(frames[v]) + 1):
        path = frames[v][:depth]
        inside = [centre[w] for w in layer if frames[w][:depth] == path]
        key.append((sum(inside) / len(inside), path[-1]))
    return [*key, (centre[v], "")]


def _positions(layers: Sequence[Sequence[Hashable]], neighbours: Mapping[Hashable, Any],
               extents: Mapping[Hashable, tuple[float, float]], frames: Mapping[Hashable, tuple[str, ...]],
               gap: float) -> dict[Hashable, float]:
    """Centres across: as near to those of the neighbours as order and extents allow (least squares)."""
    across: dict[Hashable, float] = {}
    offsets = []
    for layer in layers:
        apart = [0.5 * (extents[a][1] + extents[b][1]) + gap * (1 + 0.9 * _borders(frames[a], frames[b]))
                 for a, b in zip(layer, layer[1:])]
        offsets.append(np.concatenate([[0.0], np.cumsum(apart)]) if layer else np.zeros(0))
        across.update(zip(layer, offsets[-1] - (offsets[-1].mean() if layer else 0.0)))
    for sweep in range(2 * _SWEEPS):
        for layer, offset in (zip(layers, offsets) if sweep % 2 == 0 else zip(reversed(layers), reversed(offsets))):
            if not layer:
                continue
            wanted, weights = [], []
            for v in layer:
                near = [w for each in neighbours[v] for w in each]
                pull = [1.0 if neighbours[w][0] else _LEAF for w in near]
                wanted.append(float(np.average([across[w] for w in near], weights=pull)) if near else across[v])
                weights.append(4.0 if extents[v][0] == 0.0 else 1.0 + len(near))
            found = isotonic_regression(np.array(wanted) - offset, weights=np.array(weights)).x + offset
            across.update(zip(layer, found.tolist()))
    low = min([across[v] - 0.5 * extents[v][1] for v in across], default=0.0)
    return {v: at - low for v, at in across.items()}


def _borders(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """How many frames' borders lie between two neighbours."""
    same = next((k for k, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    return len(a) + len(b) - 2 * same
