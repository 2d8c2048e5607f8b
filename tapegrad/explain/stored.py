"""What each instruction keeps for the reverse walk, why, and what freezing a layer would release."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .graph import Graph, Node
from .tables import Listed, aligned


@dataclass(frozen=True)
class Kept:
    """A value that is kept.

    Attributes
    ----------
    node : Node
        Whose value.
    by : Node
        The instruction whose adjoint reads it.
    read_for : tuple of str
        The inputs of that instruction whose adjoints read it.
    nbytes : int
        0 for parameters, which are there anyway.
    """

    node: Node
    by: Node
    read_for: tuple[str, ...]
    nbytes: int


class Stored(Listed[Kept]):
    """Everything that is kept.

    Attributes
    ----------
    nbytes : int
        Of all values together, each counted once.
    released : dict of str to int
        By layer, the bytes that are no longer kept if its parameters, and those of the layers before it, are frozen.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__(kept_values(graph, frozenset()))
        self.nbytes = _bytes(self._entries)
        self.released = _released(graph, self.nbytes)

    def rows(self) -> list[list[str]]:
        """Cells of the table, with its head."""
        rows = [["instruction", "keeps", "bytes", "because it is read by"]]
        for kept in self._entries:
            names = {edge.operand: edge.name for edge in kept.by.edges}
            readers = ", ".join(dict.fromkeys([f"the adjoint of {names.get(letter, letter)}"
                                               for letter in kept.read_for]))
            size = f"{kept.nbytes:,}" if kept.nbytes else "(parameter)"
            rows.append([kept.by.formula, kept.node.name, size, readers])
        return rows

    def __str__(self) -> str:
        lines = [aligned(self.rows(), right=(2,)), f"{self.nbytes:,} bytes in all, each value counted once"]
        lines += [f"frozen up to {layer}: {released:,} bytes fewer" for layer, released in self.released.items()]
        return "\n".join(lines)


def kept_values(graph: Graph, frozen: frozenset[int]) -> Iterator[Kept]:
    """By the save rules; `frozen` are the ids of leaves that are not differentiated."""
    needs = {node.id for node in graph.nodes if node.op is None and node.kind == "parameter" and node.id not in frozen}
    if not any(node.kind == "parameter" for node in graph.nodes):
        needs = {node.id for node in graph.nodes if node.kind == "input"} - frozen
    for node in graph.ops:
        if any(edge.wanted and edge.source.id in needs for edge in node.edges):
            needs.add(node.id)
    for node in graph.ops:
        readers: dict[int, list[str]] = {}
        for edge in node.edges:
            if edge.wanted and edge.source.id in needs and node.op is not None:
                for j in node.op.saved_operands(1 << (edge.number - 1)):
                    readers.setdefault(j, []).append(edge.operand)
        read: dict[int, tuple[Node, list[str]]] = {}
        for j, letters in sorted(readers.items()):
            source = node if j == 0 else next((edge.source for edge in node.edges if edge.number == j), None)
            if source is not None:
                known = read.setdefault(source.id, (source, []))[1]
                known += [letter for letter in letters if letter not in known]
        for source, known in read.values():
            yield Kept(source, node, tuple(known), 0 if source.kind == "parameter" else source.value.nbytes)


def _bytes(kept: Sequence[Kept]) -> int:
    return sum({k.node.id: k.nbytes for k in kept}.values())


def _released(graph: Graph, before: int) -> dict[str, int]:
    found: dict[str, int] = {}
    frozen: set[int] = set()
    for node in graph.ops:
        leaves = {edge.source.id for edge in node.edges if edge.source.kind == "parameter"} - frozen
        if leaves:
            frozen |= leaves
            found[node.module or node.name] = before - _bytes(list(kept_values(graph, frozenset(frozen))))
    return found
