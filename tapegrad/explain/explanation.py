"""`Explanation`: a computation with everything that is known of it."""

from __future__ import annotations

import html
import json
import linecache
import re
from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..program import TrainStep
from ..program.running.auxiliary import loss_alone
from ..tensor.tensor import Tensor
from .graph import Edge, Graph, Node
from .local_errors import LocalErrors, local_errors
from .notation import latex, number, slope_of
from .paths import Paths, find_paths
from .quantity import figures, json_number, short
from .stored import Stored, kept_values
from .tables import aligned
from .timeline import timeline
from .watching import uncollected, watched

_MOST_PATHS = 1000


class Explanation:
    """A computation: its nodes in the order of the walk, with values, formulas, local derivatives and adjoints.

    Made by `explain`. Its text is a table, a line a node; notebooks show it as one.

    Attributes
    ----------
    title : str
    """

    def __init__(self, graph: Graph, title: str = "", rate: float | None = None) -> None:
        self.graph, self.title, self._rate = graph, title or graph.run.title, rate
        graph.differentiate()

    @classmethod
    def of(cls, target: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Explanation:
        """See `explain`."""
        with uncollected():
            return cls._of(target, args, kwargs)

    @classmethod
    def _of(cls, target: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Explanation:
        if isinstance(target, str):
            from .expression import Expression

            expression = Expression(target)
            return cls(Graph(watched(expression, (), expression.values(args, kwargs))), str(expression))
        if isinstance(target, Tensor):
            from .replay import replayed

            return cls(Graph(replayed(target)))
        if isinstance(target, TrainStep):
            parameters = [t for group in target.optimizer.param_groups for t in group["params"]]
            loss = loss_alone(target.loss_fn, target.has_aux)
            run = watched(loss, args, kwargs, parameters[0].dtype if parameters else None)
            return cls(Graph(run), "training step", float(target.optimizer.param_groups[0]["lr"]))
        if not callable(target):
            raise ArgumentError(f"explain takes a function, a recorded tensor or an expression, not "
                                f"{type(target).__name__}")
        return cls(Graph(watched(target, args, kwargs)))

    # -------------------------------------------------------------- nodes

    @property
    def nodes(self) -> list[Node]:
        """Inputs, parameters and constants, then what is computed, in that order."""
        return self.graph.nodes

    def __len__(self) -> int:
        return len(self.graph.nodes)

    def __getitem__(self, name: str | int) -> Node:
        """A node by its name or number."""
        return self._node(name)

    def _node(self, name: str | int | Tensor | None) -> Node:
        if name is None:
            return self.graph.output
        if isinstance(name, Tensor):
            return self._node_of(name)
        for node in self.graph.nodes:
            if name in (node.name, node.id):
                return node
        known = ", ".join(node.name for node in self.graph.nodes[:20])
        raise ArgumentError(f"no node is named {name!r}; there are {known}{', ...' if len(self) > 20 else ''}")

    def _node_of(self, t: Tensor) -> Node:
        node = self.graph.node_of(t)
        if node is None:
            raise ArgumentError("the tensor is not part of what is explained")
        return node

    # -------------------------------------------------------------- text

    def rows(self) -> list[list[str]]:
        """Cells of the table, with its head."""
        f = self.graph.output.name
        rows = [["#", "node", "value", "formula", "local derivatives", f"adjoint d{f}/d."]]
        for node in self.graph.nodes:
            rows.append([str(node.id), node.formula, short(node.value), node.mathematics, _derivatives(node),
                         short(node.adjoint)])
        return rows

    def __str__(self) -> str:
        right = (2, 5) if all(node.is_scalar for node in self.graph.nodes) else ()
        with uncollected():
            return aligned(self.rows(), right=right)

    def __repr__(self) -> str:
        return f"<Explanation of {self.title}: {len(self)} nodes>"

    def _repr_html_(self) -> str:
        head, *body = [[html.escape(cell) for cell in row] for row in self.rows()]
        lines = ["<table><thead><tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr></thead><tbody>"]
        lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in body]
        return "".join([*lines, "</tbody></table>"])

    def latex(self) -> str:
        """The forward formulas and the chain rule of each adjoint, as LaTeX (an ``align*`` environment)."""
        f = self.graph.output.name
        lines = []
        for node in self.graph.ops:
            lines.append(rf"{_letter(node.name)} &= {latex(*node.expression())}")
        for node in reversed(self.graph.nodes):
            uses = [e for e in self.graph.users[node.id] if e.target.adjoint is not None]
            if node is self.graph.output or not uses:
                continue
            output = self.graph.output
            terms = [_local(e) if e.target is output else rf"{_partial(f, e.target.name)} \cdot {_local(e)}"
                     for e in uses]
            line = rf"{_partial(f, node.name)} &= {' + '.join(terms)}"
            if node.is_scalar and all(e.derivative is not None for e in uses):
                products = [_signed(e.derivative or 0.0) if e.target is output else
                            rf"{_signed(_first(e.target.adjoint))} \cdot {_signed(e.derivative or 0.0)}"
                            for e in uses]
                value = short(node.adjoint)
                line += f" = {' + '.join(products)}" * (products != [_signed(float(value))]) + f" = {value}"
            lines.append(line)
        return "\n".join([r"\begin{align*}", " \\\\\n".join(lines), r"\end{align*}"])

    # -------------------------------------------------------------- what is asked of it

    def paths(self, output: str | int | Tensor | None = None, input: str | int | Tensor | None = None, *,
              limit: int = _MOST_PATHS) -> Paths:
        """Every path from an input to an output, with its product of local derivatives, and their sum.

        Parameters
        ----------
        output : str, int or Tensor, optional
            A node by its name, number or tensor; by default the output.
        input : str, int or Tensor
        limit : int, default 1000

        Raises
        ------
        ArgumentError
            There is no such node, or there are more paths than `limit`; says how many.

        Examples
        --------
        >>> import tapegrad as tg
        >>> print(tg.explain("(a + b) * (b + 1)", a=2, b=1).paths(input="b"))
        b -> c -> e:  de/dc dc/db = 2 * 1 = 2
        b -> d -> e:  de/dd dd/db = 3 * 1 = 3
        de/db = 2*1 + 3*1 = 5
        """
        if input is None:
            raise ArgumentError("paths(output, input=...): say from which input")
        return find_paths(self.graph, self._node(output), self._node(input), limit)

    def local_errors(self) -> LocalErrors:
        """By layer the norms of values, adjoints and gradients, and what is wrong with them.

        Flags adjoints that vanish or explode, relu units that are never active in the batch, saturated sigmoids, and
        the instruction in which the first NaN or infinity was born, forward and in reverse.
        """
        return local_errors(self.graph, self._rate)

    def stored(self) -> Stored:
        """What each instruction keeps for the reverse walk, for which adjoint, and what freezing would release."""
        return Stored(self.graph)

    # -------------------------------------------------------------- data

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        with uncollected():
            return self._data()

    def _data(self) -> dict[str, Any]:
        g = self.graph
        kept: dict[int, list[Any]] = {}
        for k in kept_values(g, frozenset()):
            kept.setdefault(k.by.id, []).append(k)
        return {
            "schema": 1, "title": self.title, "output": g.output.id, "dtype": str(g.output.value.dtype),
            "nodes": [_node_dict(node, kept.get(node.id, ())) for node in g.nodes],
            "edges": [_edge_dict(edge) for edge in g.edges],
            "forward": [node.id for node in g.ops],
            "reverse": [node.id for node in reversed(g.ops) if node.adjoint is not None],
            "memory": timeline(g),
            "modules": [{"path": path, "kind": kind} for path, kind in g.run.tape.modules()],
        }

    def to_json(self, **options: Any) -> str:
        """`to_dict` as JSON; `options` are those of `json.dumps`."""
        return json.dumps(self.to_dict(), **options)

    def plot(self, path: str | PathLike[str], *, unfold: bool = False) -> None:
        """Draw the graph, values above and adjoints below; the suffix of `path` gives the format (svg, pdf, png).

        Parameters
        ----------
        path : path
        unfold : bool
            Draw every instruction of a large graph, rather than its modules.
        """
        from .picture import draw

        draw(self.to_dict(), path, unfold)

    def html(self, path: str | PathLike[str]) -> None:
        """Write a page that steps through both walks: one file, without network."""
        from .page import write_page

        write_page(self.to_dict(), path)


def _derivatives(node: Node) -> str:
    """The local derivatives of an instruction in a cell."""
    return "   ".join(part for part in map(_derivative, node.edges) if part)


def _derivative(edge: Edge) -> str:
    if not edge.wanted:
        return ""
    what = f"d{edge.target.name}/d{edge.name}"
    if edge.derivative is not None:
        return f"{what} = {number(edge.derivative)}"
    rule = edge.written_rule()
    return f"d{edge.name} = {rule}" if rule else f"d{edge.name} = g {what}"


def _letter(name: str) -> str:
    return latex("a", {"a": name})


def _partial(f: str, x: str) -> str:
    return rf"\frac{{\partial {_letter(f)}}}{{\partial {_letter(x)}}}"


def _local(edge: Edge) -> str:
    """The local derivative, by its formula if there is one over elements."""
    if edge.derivative is None or not edge.rule:
        return _partial(edge.target.name, edge.name)
    text = latex(slope_of(edge.rule), edge.letters())
    return text if re.fullmatch(r"[\w\\{}^.]+", text) else rf"\left({text}\right)"


def _first(value: np.ndarray | None) -> float:
    return 0.0 if value is None else float(value.ravel()[0])


def _signed(value: float) -> str:
    return f"({number(value)})" if value < 0 else number(value)


def _node_dict(node: Node, kept: Sequence[Any]) -> dict[str, Any]:
    where = None
    if node.where is not None:
        file, line = node.where
        where = {"file": file, "line": line, "code": linecache.getline(file, line).strip()}
    return {
        "id": node.id, "name": node.name, "kind": node.kind, "op": node.op.name if node.op else None,
        "formula": node.mathematics if node.op else node.name, "numbers": node.numbers, "shape": list(node.shape),
        "dtype": str(node.value.dtype), "value": figures(node.value), "adjoint": figures(node.adjoint),
        "module": node.module, "where": where,
        "stored": {"bytes": sum(k.nbytes for k in kept),
                   "of": [{"node": k.node.id, "bytes": k.nbytes, "read_by": list(k.read_for)} for k in kept]},
    }


def _edge_dict(edge: Edge) -> dict[str, Any]:
    g = edge.target.adjoint
    contribution = edge.contribution_here()
    numbers = None
    if edge.derivative is not None and g is not None and g.size == 1:
        numbers = f"{_signed(float(g.ravel()[0]))} * {_signed(edge.derivative)}"
    jacobian = None
    if edge.derivative is None and edge.wanted:
        jacobian = {"shape": [list(shape) for shape in edge.jacobian_shape], "norm": None}
    return {
        "source": edge.source.id, "target": edge.target.id, "operand": edge.operand, "part": edge.part,
        "wanted": edge.wanted, "rule": edge.written_rule(), "numbers": numbers,
        "derivative": None if edge.derivative is None else json_number(edge.derivative), "jacobian": jacobian,
        "contribution": figures(contribution),
    }
