"""How values and adjoints go through the layers: their norms, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from .graph import Graph, Node
from .limits import EXPLODING, FLAT, SATURATED, VANISHING
from .notation import number
from .quantity import norm
from .tables import Listed, aligned

_RECTIFIERS = {"relu", "relu_mask"}
#: by op, the slope from the output, over the greatest slope
_SLOPES = {"sigmoid": lambda y: 4.0 * y * (1.0 - y), "tanh": lambda y: 1.0 - y * y}


@dataclass
class Birth:
    """Where the first NaN or infinity came from.

    Attributes
    ----------
    walk : {"forward", "reverse"}
    node : Node
        The instruction whose operands, or whose output's adjoint, were still finite.
    what : {"NaN", "infinity"}
    """

    walk: str
    node: Node
    what: str

    def __str__(self) -> str:
        place = "" if self.node.where is None else f" at {self.node.where[0]}:{self.node.where[1]}"
        layer = f" in layer {self.node.module}" if self.node.module else ""
        walk = "value" if self.walk == "forward" else "contribution to an adjoint"
        return f"the first {self.what} is a {walk} of instruction {self.node.formula}{layer}{place}"


@dataclass
class LayerErrors:
    """A layer's figures.

    Attributes
    ----------
    layer : str
        The module's path, or the node's name outside of modules.
    node : Node
        The last instruction of the layer, whose output is the layer's.
    value, adjoint : float
        Euclidean norms; the adjoint is the layer's local error.
    weight, gradient : float
        Norms of the layer's parameters and of their gradients together; None without parameters.
    update : float
        Norm of the gradient, times the learning rate if one is given, over that of the parameters.
    flags : list of str
    """

    layer: str
    node: Node
    value: float
    adjoint: float
    weight: float | None
    gradient: float | None
    update: float | None
    flags: list[str] = field(default_factory=list)


class LocalErrors(Listed[LayerErrors]):
    """The figures of all layers, from the first to the last, and the births of NaN and infinity.

    Attributes
    ----------
    births : list of Birth
    """

    def __init__(self, layers: Sequence[LayerErrors], births: Sequence[Birth]) -> None:
        super().__init__(layers)
        self.births = list(births)

    def rows(self) -> list[list[str]]:
        """Cells of the table, with its head."""
        head = ["layer", "output", "|value|", "|adjoint|", "|weights|", "|gradient|", "update/weights", "flags"]
        body = [[e.layer, e.node.name, number(e.value), number(e.adjoint), *(
            "-" if v is None else number(v) for v in (e.weight, e.gradient, e.update)),
            "; ".join(e.flags)] for e in self._entries]
        return [head, *body]

    def __str__(self) -> str:
        return "\n".join([aligned(self.rows()), *map(str, self.births)])


def local_errors(graph: Graph, rate: float | None) -> LocalErrors:
    """The figures of each layer; of each instruction outside of modules."""
    layers: dict[str, list[Node]] = {}
    for node in graph.ops:
        if node.value.dtype.kind == "f":
            layers.setdefault(node.module or node.name, []).append(node)
    found = [_layer(name, nodes, rate) for name, nodes in layers.items()]
    sizes = [_root_mean_square(e.node.adjoint) for e in found]
    last = _last(found, sizes)
    for e, size in zip(found, sizes):
        if e.node.adjoint is not None and last > 0.0:
            if size < VANISHING * last:
                e.flags.insert(0, f"vanishing adjoint ({number(size / last)} of the last layer's)")
            elif size > EXPLODING * last:
                e.flags.insert(0, f"exploding adjoint ({number(size / last)} of the last layer's)")
    return LocalErrors(found, [birth for birth in (_born_forward(graph), _born_in_reverse(graph)) if birth])


def _layer(name: str, nodes: Sequence[Node], rate: float | None) -> LayerErrors:
    last = nodes[-1]
    parameters = {edge.source.id: edge.source for node in nodes for edge in node.edges
                  if edge.source.kind == "parameter"}.values()
    weight = _joined([p.value for p in parameters])
    gradient = _joined([p.adjoint for p in parameters if p.adjoint is not None])
    update = gradient * (1.0 if rate is None else rate) / weight if weight else None
    flags = [flag for node in nodes for flag in _flags(node)]
    value, adjoint = norm(last.value), 0.0 if last.adjoint is None else norm(last.adjoint)
    if not parameters:
        return LayerErrors(name, last, value, adjoint, None, None, None, flags)
    return LayerErrors(name, last, value, adjoint, weight, gradient, update, flags)


def _last(found: Sequence[LayerErrors], sizes: Sequence[float]) -> float:
    """The size of the last layer's adjoint: of the last module's, else of the last array, else of the output."""
    for counts in (lambda e: e.node.module, lambda e: not e.node.is_scalar, lambda e: True):
        for e, size in zip(reversed(found), reversed(sizes)):
            if counts(e) and size > 0.0:
                return size
    return 0.0


def _joined(arrays: Sequence[np.ndarray]) -> float:
    return float(np.sqrt(sum(norm(a) ** 2 for a in arrays)))


def _root_mean_square(a: np.ndarray | None) -> float:
    return 0.0 if a is None or not a.size else norm(a) / float(np.sqrt(a.size))


def _flags(node: Node) -> Iterator[str]:
    """What is wrong with an activation."""
    name, y = node.op.name if node.op else "", node.value
    if name in _RECTIFIERS and y.ndim and y.size:
        units = y.reshape(-1, y.shape[-1]) if y.ndim < 3 else np.moveaxis(y, 1, -1).reshape(-1, y.shape[1])
        dead = int((units.max(axis=0) <= 0.0).sum())
        if dead:
            yield f"{dead} of {units.shape[1]} units dead"
    slope = _SLOPES.get(name)
    if slope is not None and y.size:
        share = float(np.mean(slope(y.astype(np.float64)) < FLAT))
        if share >= SATURATED:
            yield f"{100 * share:.0f} % saturated"
    if np.isnan(y).any():
        yield f"{int(np.isnan(y).sum())} NaN"
    elif np.isinf(y).any():
        yield f"{int(np.isinf(y).sum())} infinite"


def _born_forward(graph: Graph) -> Birth | None:
    for node in graph.ops:
        if not _is_finite(node.value) and all(_is_finite(edge.value) for edge in node.edges):
            return Birth("forward", node, _what(node.value))
    return None


def _born_in_reverse(graph: Graph) -> Birth | None:
    for node in reversed(graph.ops):
        if node.adjoint is None or not _is_finite(node.adjoint):
            continue
        for edge in node.edges:
            if edge.wanted and edge.source.adjoint is not None and not _is_finite(edge.source.adjoint):
                c = edge.contribution(node.adjoint)
                if not _is_finite(c):
                    return Birth("reverse", node, _what(c))
    return None


def _is_finite(a: np.ndarray) -> bool:
    return bool(np.isfinite(a).all())


def _what(a: np.ndarray) -> str:
    return "NaN" if np.isnan(a).any() else "infinity"
