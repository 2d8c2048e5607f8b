"""The chain rule over several paths: each with its product of local derivatives, and their sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ArgumentError
from .graph import Edge, Graph, Node
from .notation import number
from .quantity import short
from .tables import Listed


@dataclass(frozen=True)
class Path:
    """A path from an input to an output.

    Attributes
    ----------
    edges : tuple of Edge
        From the input on.
    contribution : ndarray
        The product of the local derivatives along it, of the input's shape: of scalars a number, of tensors what a
        cotangent of ones at the output becomes along this path alone.
    """

    edges: tuple[Edge, ...]
    contribution: np.ndarray

    @property
    def nodes(self) -> list[Node]:
        """From the input to the output."""
        return [self.edges[0].source, *(edge.target for edge in self.edges)] if self.edges else []

    @property
    def derivatives(self) -> list[float | None]:
        """Local derivatives from the output to the input, as the chain rule is written; None of tensors."""
        return [edge.derivative for edge in reversed(self.edges)]

    def __str__(self) -> str:
        route = " -> ".join(node.name for node in self.nodes)
        if all(d is not None for d in self.derivatives):
            names = " ".join(f"d{e.target.name}/d{e.name}" for e in reversed(self.edges))
            factors = " * ".join(_factor(d) for d in self.derivatives if d is not None)
            return f"{route}:  {names} = {factors} = {short(self.contribution)}"
        shapes = " ".join("x".join(map(_extents, e.jacobian_shape)) for e in reversed(self.edges))
        return f"{route}:  Jacobians {shapes} = {short(self.contribution)}"


class Paths(Listed[Path]):
    """All paths between two nodes.

    Attributes
    ----------
    output, input : Node
    total : ndarray
        The sum of the contributions.
    """

    def __init__(self, output: Node, source: Node, paths: Sequence[Path]) -> None:
        super().__init__(paths)
        self.output, self.input = output, source
        zero = np.zeros(source.shape, source.value.dtype)
        self.total: np.ndarray = sum((path.contribution for path in paths), zero)

    def __str__(self) -> str:
        what = f"d{self.output.name}/d{self.input.name}"
        if not self._entries:
            return f"{what} = 0: no path leads from {self.input.name} to {self.output.name}"
        lines = [str(path) for path in self._entries]
        if all(d is not None for path in self._entries for d in path.derivatives):
            products = " + ".join("*".join(_factor(d) for d in path.derivatives if d is not None) or "1"
                                  for path in self._entries)
            return "\n".join([*lines, f"{what} = {products} = {short(self.total)}"])
        return "\n".join([*lines, f"{what}: sum of {len(lines)} = {short(self.total)}"])


def _factor(d: float) -> str:
    return f"({number(d)})" if d < 0 else number(d)


def _extents(shape: tuple[int, ...]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"


def count_paths(graph: Graph, output: Node, source: Node) -> int:
    """The number of paths, by dynamic programming."""
    counts = {source.id: 1}
    for node in graph.nodes:
        if node.id != source.id:
            counts[node.id] = sum(counts.get(edge.source.id, 0) for edge in node.edges if edge.wanted)
    return counts[output.id]


def find_paths(graph: Graph, output: Node, source: Node, limit: int) -> Paths:
    """All paths, with what each contributes."""
    count = count_paths(graph, output, source)
    if count > limit:
        raise ArgumentError(f"{count:,} paths lead from {source.name} to {output.name}, more than the limit of "
                            f"{limit:,}; give limit=, or ask between nodes that are nearer to each other")
    reaching = {source.id}
    for node in graph.nodes:
        if any(edge.wanted and edge.source.id in reaching for edge in node.edges):
            reaching.add(node.id)
    found: list[Path] = []
    if output.id == source.id:
        return Paths(output, source, [Path((), np.ones(source.shape, source.value.dtype))])
    waiting: list[tuple[tuple[Edge, ...], np.ndarray, Node]] = [((), np.ones(output.shape, output.value.dtype), output)]
    while waiting:
        edges, g, node = waiting.pop()
        if node.id == source.id:
            found.append(Path(edges, g))
            continue
        for edge in reversed(node.edges):
            if edge.wanted and edge.source.id in reaching:
                if edge.derivative is not None and node.is_scalar and edge.source.is_scalar:
                    c = (g.ravel()[0] * edge.derivative * np.ones(edge.source.shape)).astype(g.dtype)
                else:
                    c = edge.placed(edge.contribution(g))
                waiting.append(((edge, *edges), c, edge.source))
    return Paths(output, source, found)
