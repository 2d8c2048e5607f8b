"""Live bytes after each instruction of both walks."""

from __future__ import annotations

from typing import Any

from .graph import Graph
from .stored import kept_values


def timeline(graph: Graph) -> list[dict[str, Any]]:
    """By instruction, forward and then in reverse, the bytes of values and adjoints that are still needed.

    A value lives from its instruction to its last reader, an adjoint from its first contribution until its instruction
    has been walked back; those of inputs, parameters and the output stay.
    """
    ops = [node for node in graph.ops]
    count = len(ops)
    place = {node.id: k for k, node in enumerate(ops)}
    back = {node.id: 2 * count - 1 - k for node, k in zip(ops, range(count))}
    values = {node.id: (place[node.id], place[node.id]) for node in ops}
    adjoints: dict[int, tuple[int, int]] = {}
    for node in ops:
        for edge in node.edges:
            if edge.source.op is not None:
                born, last = values[edge.source.id]
                values[edge.source.id] = born, max(last, place[node.id])
            if edge.wanted and edge.source.adjoint is not None and edge.source.kind != "constant":
                until = back.get(edge.source.id, 2 * count - 1)
                born, _ = adjoints.get(edge.source.id, (back[node.id], until))
                adjoints[edge.source.id] = min(born, back[node.id]), until
    for kept in kept_values(graph, frozenset()):
        if kept.node.op is not None:
            born, last = values[kept.node.id]
            values[kept.node.id] = born, max(last, back[kept.by.id])
    if graph.output.op is not None:
        values[graph.output.id] = values[graph.output.id][0], 2 * count - 1
    changes = [0] * (2 * count + 1)
    for lives in (values, adjoints):
        for node_id, (born, last) in lives.items():
            changes[born] += graph.nodes[node_id].value.nbytes
            changes[last + 1] -= graph.nodes[node_id].value.nbytes
    live, found = 0, []
    for k in range(2 * count):
        live += changes[k]
        node = ops[k] if k < count else ops[2 * count - 1 - k]
        found.append({"walk": "forward" if k < count else "reverse", "node": node.id, "bytes": live})
    return found
