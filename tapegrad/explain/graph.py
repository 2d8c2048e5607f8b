"""The computation graph of a run: nodes with values and adjoints, edges with local derivatives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from ..engine.lazy import lazy
from ..engine.row import Layout
from ..engine.storage import array_at, contiguous_strides
from ..ops.table import Op
from ..tape.nodes import Leaf
from ..tape.reverse import backward
from ..tape.state import no_grad
from ..tape.tape import Tape
from ..tensor.tensor import Tensor
from ..transforms.graph import contributions
from ..transforms.placing import numbers
from ..transforms.reading import steps_to
from ..transforms.steps import Step, variable_of, variable_of_node
from .notation import code, expression_of, mathematics, number, rule_of
from .replay import compiled_contribution
from .watching import Run

#: letters of the row of an op that say how it is computed, not what
_HIDDEN = {"scratch", "targets"}


@dataclass
class Node:
    """A variable of the graph.

    Attributes
    ----------
    id : int
        Its place in `Graph.nodes`.
    name : str
    kind : {"input", "parameter", "constant", "op"}
    value, adjoint : ndarray
        The adjoint is None where the output does not depend on it.
    op : Op, optional
    step : Step, optional
        The instruction.
    edges : list of Edge
        Its operands, but for numbers.
    numbers_read : dict of str to str
        By operand, the constants that are single numbers.
    module : str
        Dotted path of the module that computed it.
    where : (str, int), optional
        The user's file and line.
    """

    id: int
    name: str
    kind: str
    value: np.ndarray
    adjoint: np.ndarray | None = None
    op: Op | None = None
    step: Step | None = None
    edges: list[Edge] = field(default_factory=list)
    numbers_read: dict[str, str] = field(default_factory=dict)
    module: str = ""
    where: tuple[str, int] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the value."""
        return self.value.shape

    @property
    def is_scalar(self) -> bool:
        """Whether it has one element."""
        return self.value.size == 1

    def expression(self, names: dict[str, str] | None = None) -> tuple[str, dict[str, str]]:
        """What it is computed by, in the letters of the op, and the names that they stand for."""
        assert self.op is not None and self.step is not None
        own = {edge.operand: edge.name for edge in self.edges} | self.numbers_read
        own = {name: own[name] for name in self.op.row.inputs if name in own} if self.op.row else own
        return expression_of(self.op, list(own), lambda name: getattr(self.step, name)), {**own, **(names or {})}

    @property
    def formula(self) -> str:
        """As code: ``q = x + y``."""
        return self.name if self.op is None else f"{self.name} = {code(*self.expression())}"

    @property
    def mathematics(self) -> str:
        """As it is written by hand: ``f = q z``."""
        return self.kind if self.op is None else f"{self.name} = {mathematics(*self.expression())}"

    @property
    def numbers(self) -> str | None:
        """The formula with the numbers put in, if its operands are scalars."""
        if self.op is None or not self.edges or not all(edge.value.size == 1 for edge in self.edges):
            return None
        text, names = self.expression({edge.operand: number(float(edge.value.ravel()[0])) for edge in self.edges})
        return f"{self.name} = {mathematics(text, names)}"


@dataclass
class Edge:
    """An operand of an instruction.

    Attributes
    ----------
    source, target : Node
    number : int
        Of the operand in the instruction's row.
    operand : str
        Its letter there.
    part : str
        The view of the source that is read, after its name: ``[0]``, ``.T``, or nothing.
    wanted : bool
        Whether its adjoint is computed.
    value : ndarray
        What is read.
    derivative : float, optional
        The local derivative, of a scalar by a scalar.
    """

    source: Node
    target: Node
    number: int
    operand: str
    part: str
    wanted: bool
    value: np.ndarray
    tape: Tape
    offset: int = 0
    strides: tuple[int, ...] = ()
    derivative: float | None = None

    @property
    def name(self) -> str:
        """The operand as formulas name it."""
        return self.source.name + self.part

    @property
    def rule(self) -> str:
        """The contribution to the adjoint in the letters of the op, as code."""
        return rule_of(self.target.op, self.operand) if self.target.op is not None and self.wanted else ""

    def written_rule(self, g: str | None = None) -> str:
        """The contribution in the names of the graph; "" where no formula is told."""
        if not self.rule:
            return ""
        letters = self.letters(g)
        return mathematics("g" if letters.get("scale") == "1" else self.rule, letters)

    def letters(self, g: str | None = None) -> dict[str, str]:
        """What the letters of the rule stand for."""
        names = {edge.operand: edge.name for edge in self.target.edges} | self.target.numbers_read
        names |= {"y": self.target.name, "g": g or "g"}
        for letter in ("p", "q", "scale"):
            if letter not in names and self.target.op is not None and letter in self.target.op.row.kinds:  # type: ignore[union-attr]
                names[letter] = number(float(getattr(self.target.step, letter)))
        return names

    def contribution(self, g: np.ndarray) -> np.ndarray:
        """What the target's adjoint `g` contributes to that of the operand, of the operand's shape."""
        step = self.target.step
        assert step is not None
        cotangent = Tensor(np.asarray(g, self.target.value.dtype).reshape(step.shape))
        if not (step.op.composition or step.op.formula or step.rule):
            return compiled_contribution(step, self.number, cotangent.numpy(), self.tape)
        with no_grad():
            step.detach()
            for j, c in pulled(step, cotangent, [self.number]):
                if j == self.number:
                    return np.array(c.numpy(), copy=True)
        return np.zeros(self.value.shape, self.value.dtype)

    def contribution_here(self) -> np.ndarray | None:
        """What the target's adjoint contributes; None where none flows."""
        g = self.target.adjoint
        if not self.wanted or g is None:
            return None
        if self.derivative is not None and g.size == 1:
            return np.full(self.value.shape, g.ravel()[0] * self.derivative, self.value.dtype)
        return self.contribution(g)

    @property
    def jacobian_shape(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes of the target and of what it reads."""
        return self.target.shape, self.value.shape if self.part else self.source.shape

    def placed(self, c: np.ndarray) -> np.ndarray:
        """A contribution of the operand's shape at its place in the source."""
        whole = np.zeros(self.source.value.size, self.source.value.dtype)
        np.add.at(whole, numbers(self.offset, c.shape, self.strides).ravel(), c.ravel())
        return whole.reshape(self.source.value.shape)


def pulled(step: Step, g: Tensor, inputs: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
    """By input its contribution, also where a user has given the derivative."""
    if step.rule is None:
        yield from contributions(step, g, inputs)
        return
    found = {variable_of(t): c for t, c in step.rule.pull(g)}
    for j in inputs:
        if step.operands[j][0] in found:
            yield j, found[step.operands[j][0]]


class Graph:
    """The instructions that the output depends on, with what they depend on.

    Attributes
    ----------
    nodes : list of Node
        Inputs first, then what is computed, in that order.
    output : Node
    """

    def __init__(self, run: Run) -> None:
        self.run, self.nodes = run, list[Node]()
        self._nodes: dict[Any, Node] = {}
        self._constants = 0
        y = run.output
        steps = steps_to([y]) if y.requires_grad and not isinstance(y.node, Leaf) else []
        if steps:
            backward(y.node.tape, y.node, y.offset, y.shape, y.strides, np.ones(y.shape, y.dtype), True, set())
        self._parameters = run.tape.parameter_names()
        for name, t in run.arguments:
            self._leaf(t.node, name)
        used = [self._operands(step) for step in steps]
        for step, operands in zip(steps, used):
            self._append(step, operands)
        for edge in self.edges:
            _seen_as(edge)
        self.output = self._output(y)
        self._name_ops()

    # -------------------------------------------------------------- reading

    def _leaf(self, leaf: Leaf, name: str | None = None) -> Node:
        node = self._nodes.get(leaf)
        if node is None:
            is_input = name is not None or self.run.is_replay and leaf in self.run.names
            kind = "input" if is_input else "parameter"
            name = name or self._parameters.get(leaf) or self.run.names.get(leaf) or f"p{len(self.nodes)}"
            value = array_at(leaf.buffer.address, leaf.shape, contiguous_strides(leaf.shape), leaf.dtype, leaf.buffer)
            buffer = self.run.tape.leaf_adjoints.get(leaf)
            adjoint = None if buffer is None else array_at(buffer.address, leaf.shape, contiguous_strides(leaf.shape),
                                                           leaf.dtype, buffer).copy()
            node = self._nodes[leaf] = self._add(Node(len(self.nodes), name, kind, value.copy(), adjoint))
        return node

    def _add(self, node: Node) -> Node:
        self.nodes.append(node)
        return node

    def _operands(self, step: Step) -> list[tuple[int, Any]]:
        """By operand the leaf or constant that it reads, made nodes of; None for what is computed."""
        found: list[tuple[int, Any]] = []
        for j in step.inputs:
            key, _, _, wanted = step.operands[j]
            name = step.name(j)
            if isinstance(key, Leaf):
                self._leaf(key)
                found.append((j, key))
            elif wanted:
                found.append((j, key))
            elif name not in _HIDDEN and not step.op.states >> j & 1 and not _is_absent(step, j):
                t = step.tensor(j)
                found.append((j, _single(t) if t.size == 1 else self._constant(t)))
        return found

    def _constant(self, t: Tensor) -> Any:
        key = (t.buffer.address, t.offset, t.shape, t.strides)
        if key not in self._nodes:
            self._constants += 1
            name = self.run.data.get(t.buffer.address, f"c{self._constants}")
            value = t._array().copy()
            self._nodes[key] = self._add(Node(len(self.nodes), name, "constant", value))
        return key

    def _append(self, step: Step, operands: list[tuple[int, Any]]) -> None:
        tape, (_, v) = self.run.tape, step.output
        n = int(tape._producer[v])
        where = tape.notes[n][2]
        value = step.tensor(0)._array().copy()
        adjoint = tape.adjoint(step.tensor(0)) if tape._adjoints is not None and tape._kept_adjoint[v] else None
        node = self._nodes[step.output] = self._add(
            Node(len(self.nodes), "", "op", value, adjoint, step.op, step, module=where[2] if where else "",
                 where=where[:2] if where and where[1] else None))
        for j, key in operands:
            if isinstance(key, str):
                node.numbers_read[step.name(j)] = key
                continue
            source, (shape, _, strides), offset = self._nodes[key], step.kinds[j], step.operands[j][2]
            if source.kind == "constant":
                offset, strides = 0, contiguous_strides(shape)
            part = part_of(source.value.shape, offset, shape, strides)
            is_whole = not part and shape == source.value.shape
            value = source.value if is_whole else step.tensor(j)._array().copy()
            node.edges.append(Edge(source, node, j, step.name(j), part, step.operands[j][3], value, tape, offset,
                                   strides))

    def _output(self, y: Tensor) -> Node:
        if y.node is None:
            return self._add(Node(len(self.nodes), "f", "constant", np.array(y.numpy(), copy=True)))
        node = self._nodes.get(variable_of(y))
        if node is None:
            node = self._leaf(y.node)
        if isinstance(y.node, Leaf) and node.adjoint is None:
            node.adjoint = np.ones(node.shape, node.value.dtype)
        return node

    def _name_ops(self) -> None:
        named = {variable_of(t): name for name, t in self.run.tape.names.items() if t.node is not None}
        named = {**{variable_of_node(key): name for key, name in self.run.names.items()}, **named}
        taken = {node.name for node in self.nodes if node.op is None}
        counted = 0
        for key, node in self._nodes.items():
            if key in named and named[key] not in taken:
                node.name = named[key]
                taken.add(node.name)
        if not self.output.name and "f" not in taken:
            self.output.name = "f"
        for node in self.nodes:
            if not node.name:
                while f"%{counted}" in taken:
                    counted += 1
                node.name = f"%{counted}"
                counted += 1

    # -------------------------------------------------------------- derivatives

    def differentiate(self) -> None:
        """Compute the local derivatives of scalars by scalars, those of one formula all at once."""
        alike: dict[Any, list[Edge]] = {}
        for node in self.ops:
            if node.is_scalar:
                for edge in node.edges:
                    if edge.wanted and edge.value.size == 1:
                        alike.setdefault(_formula_of(edge), []).append(edge)
        for edge in alike.pop(None, ()):
            edge.derivative = float(edge.contribution(np.ones(edge.target.shape)).ravel()[0])
        for edges in alike.values():
            for edge, slope in zip(edges, _slopes(edges)):
                edge.derivative = slope

    def node_of(self, t: Tensor) -> Node | None:
        """The node of a tensor."""
        return None if t.node is None else self._nodes.get(variable_of(t))

    @property
    def ops(self) -> list[Node]:
        """What is computed, in that order."""
        return [node for node in self.nodes if node.op is not None]

    @property
    def edges(self) -> Iterator[Edge]:
        """All operands."""
        return (edge for node in self.nodes for edge in node.edges)

    @lazy
    def users(self) -> dict[int, list[Edge]]:
        """By node its uses that pass an adjoint on."""
        found: dict[int, list[Edge]] = {node.id: [] for node in self.nodes}
        for edge in self.edges:
            if edge.wanted:
                found[edge.source.id].append(edge)
        return found


def _formula_of(edge: Edge) -> Any:
    """What is equal for edges of scalars whose derivative is one formula of numbers; None where it is not a formula."""
    step = edge.target.step
    assert step is not None
    if not isinstance(step.op.composition.get(edge.operand), str) or step.op.pull or step.op.formula or step.rule:
        return None
    return step.op, edge.number, step.attributes, tuple(dtype for _, dtype, _ in step.kinds)


def _slopes(edges: Sequence[Edge]) -> list[float]:
    """The local derivatives of instructions of one formula: that of an instruction of vectors."""
    step, j = edges[0].target.step, edges[0].number
    assert step is not None
    shape = (len(edges),)

    def operand(k: int) -> Tensor:
        numbers = [edge.target.step.tensor(k)._array().item() for edge in edges]  # type: ignore[union-attr]
        return Tensor(np.array(numbers, step.kinds[k][1]))

    vectors = Step(step.op, step.attributes, step.operands, [(shape, dtype, (1,)) for _, dtype, _ in step.kinds], "",
                   operand)
    with no_grad():
        found = dict(contributions(vectors, Tensor(np.ones(shape, step.kinds[0][1])), [j]))
    return found[j].numpy().tolist() if j in found else [0.0] * len(edges)


def _seen_as(edge: Edge) -> None:
    """Give a variable the shape in which it is read, if that has fewer axes of extent 1."""
    source, shape = edge.source, edge.value.shape
    if not edge.part and source.op is not None and len(shape) < source.value.ndim:
        source.value = source.value.reshape(shape)
        source.adjoint = None if source.adjoint is None else source.adjoint.reshape(shape)


def _single(t: Tensor) -> str:
    """A constant of one element in a formula."""
    return str(bool(t.item())) if t.dtype.kind == "b" else number(t.item())


def _is_absent(step: Step, j: int) -> bool:
    """Whether an optional operand is left out: a zero of no extent stands for it."""
    row = step.op.row
    if row is None:
        return False
    layout = row.layouts.get(step.name(j), Layout.STRIDED)
    return bool(Layout.ABSENT & layout) and step.kinds[j][0] == ()


@lru_cache(maxsize=4096)
def part_of(whole: tuple[int, ...], offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> str:
    """A view in the manner of an index: nothing for all of it, ``[2]``, ``[1:3]``, ``[:, 0]``, ``.T``."""
    own = contiguous_strides(whole)
    if shape == whole and strides == own and not offset:
        return ""
    if shape == whole[::-1] and strides == own[::-1] and not offset and len(whole) > 1:
        return ".T"
    size = int(np.prod(whole))
    if not offset and [n for n in shape if n != 1] == [n for n in whole if n != 1] and _runs(shape, strides) == _runs(
            whole, own):
        return ""
    order = sorted(range(len(shape)), key=lambda d: -strides[d])
    if not offset and tuple(shape[d] for d in order) == whole and tuple(strides[d] for d in order) == own:
        return f".transpose({', '.join(str(order.index(d)) for d in range(len(shape)))})"
    if not offset and strides == contiguous_strides(shape) and int(np.prod(shape)) == size:
        return f".reshape({', '.join(map(str, shape))})" if shape else ".reshape(())"
    indices: list[str] = []
    rest, kept = offset, [(n, s) for n, s in zip(shape, strides)]
    for d, (n, s) in enumerate(zip(whole, own)):
        at = rest // s if s else 0
        if not 0 <= at < max(n, 1):
            return "[...]"
        rest -= at * s
        if kept and s and kept[0][1] % s == 0 and kept[0][1] != 0 and len(kept) >= 1 and (
                abs(kept[0][1]) < (own[d - 1] if d else size + 1) or kept[0][0] == n):
            extent, step = kept[0][0], kept.pop(0)[1] // s
            indices.append(_slice(at, extent, step, n))
        else:
            indices.append(str(at))
    if kept or rest:
        return "[...]"
    while indices and indices[-1] == ":":
        indices.pop()
    return f"[{', '.join(indices)}]" if indices else "[...]"


def _runs(shape: tuple[int, ...], strides: tuple[int, ...]) -> list[int]:
    """Strides of the axes that have more than one element."""
    return [s for n, s in zip(shape, strides) if n != 1]


def _slice(first: int, extent: int, step: int, n: int) -> str:
    stop = first + (extent - 1) * step + (1 if step > 0 else -1)
    start = "" if first == (0 if step > 0 else n - 1) else str(first)
    end = "" if (stop >= n if step > 0 else stop < 0) else str(stop)
    return f"{start}:{end}" + (f":{step}" if step != 1 else "")
