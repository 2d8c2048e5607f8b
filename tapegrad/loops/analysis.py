"""What the sweeps need to know of a normal form: where things are assigned, what is active, what can be recomputed."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .draws import is_draw
from .intrinsics import ALLOCATIONS, ZERO, canonical
from .kinds import Kind
from .normal import Normal
from .reads import (
    SHAPES,
    affine,
    axes,
    base_of,
    base_of_view,
    copy_of,
    every_load,
    integer,
    loops_in,
    reads_in,
    viewed,
    within_same,
)

__all__ = ["Analysis", "Place"]


class Place:
    """An assignment: its statement, the block that it is in, and where there; and the loops around it."""

    def __init__(self, statement: ast.Assign, block: list[ast.stmt], at: int, depth: int,
                 loops: Sequence[ast.For]) -> None:
        self.statement, self.block, self.at, self.depth, self.loops = statement, block, at, depth, loops

    @property
    def target(self) -> ast.expr:
        """What is assigned to."""
        return self.statement.targets[0]

    @property
    def value(self) -> ast.expr:
        """What is assigned."""
        return self.statement.value


class Analysis:
    """Facts of a normal form with typed variables.

    Attributes
    ----------
    places : dict of str to list of Place
        By variable the assignments to it.
    writes : dict of str to list of Place
        By array the assignments to its elements.
    active : set of str
        Variables that depend on what is differentiated.
    recomputed : set of str
        Variables that have one value in a run through their block, which can be computed again at its end.
    """

    def __init__(self, normal: Normal, kinds: Mapping[str, Kind], wanted: set[str]) -> None:
        self.normal, self.kinds, self.wanted = normal, kinds, wanted
        self.places: dict[str, list[Place]] = {}
        self.writes: dict[str, list[Place]] = {}
        self.loop_targets: Counter[str] = Counter()
        self._collect(normal.body, 0, ())
        self._alias: dict[str, str] = {}
        self._all_loads = Counter(name for s in normal.body for name in every_load(s))
        self._all_loads.update(normal.outputs)
        self._copy_what_is_moved()
        self._join_aliases()
        self.plain_targets = {name for name in self.loop_targets if self._is_plain(name)}
        self.active = self._active()
        self.recomputed = self._recomputed()

    # -------------------------------------------------------------- assignments

    def _collect(self, block: list[ast.stmt], depth: int, loops: tuple[ast.For, ...]) -> None:
        for at, s in enumerate(block):
            if isinstance(s, ast.Assign):
                place, target = Place(s, block, at, depth, loops), s.targets[0]
                if isinstance(target, ast.Name):
                    self.places.setdefault(target.id, []).append(place)
                else:
                    self.writes.setdefault(base_of(target), []).append(place)
            elif isinstance(s, ast.If):
                self._collect(s.body, depth + 1, loops)
                self._collect(s.orelse, depth + 1, loops)
            elif isinstance(s, ast.For):
                self.loop_targets[s.target.id] += 1  # type: ignore[attr-defined]
                self._collect(s.body, depth + 1, (*loops, s))
            elif isinstance(s, ast.While):
                self._collect(s.body, depth + 1, loops)

    def _is_plain(self, name: str) -> bool:
        """Whether a loop's variable is read within its loops only, and assigned nowhere else."""
        if name in self.places or name in self.normal.parameters:
            return False
        own = [loop for loop in loops_in(self.normal.body)
               if loop.target.id == name and not within_same(self.normal.body, loop)]  # type: ignore[attr-defined]
        inside = sum([list(every_load(ast.Module(loop.body, []))).count(name) for loop in own])
        return inside == Counter(load for s in self.normal.body for load in every_load(s))[name]

    def binds(self, name: str) -> list[Place]:
        """The assignments to an array's name that are not to its elements."""
        return [p for p in self.places.get(name, ()) if not getattr(p.statement, "in_place", False)]

    def loads_of(self, name: str) -> int:
        """How often a variable is read, results among it."""
        return self._all_loads[name]

    def is_late_result(self, name: str) -> bool:
        """Whether a variable is an array that is returned from a branch or from several places."""
        results = {*self.normal.outputs, *self.normal.results}
        return name in results and name not in self.normal.parameters and self.is_array(name) and not (
            len(self.places[name]) == 1 and self.places[name][0].depth == 0)

    def is_written(self, name: str) -> bool:
        """Whether elements of the memory that an array is of are assigned."""
        root = self.root(name)
        return any(self.root(other) == root for other in self.writes) or any(
            self.root(other) == root and (len(self.binds(other)) + (other in self.normal.parameters) > 1
                                          or len(self.binds(other)) < len(self.places[other]))
            for other in self.places if self.is_array(other))

    def written_arguments(self) -> list[int]:
        """Numbers of the parameters whose elements are assigned."""
        return [k for k, p in enumerate(self.normal.parameters) if self.is_array(p) and self.is_written(p)]

    def _copy_what_is_moved(self) -> None:
        """Copy where an array gets another name and loses its own: the copy may go into memory that is there.

        Arrays that exchange their names exchange their contents instead.
        """
        for name, places in self.places.items():
            for p in places:
                value = p.value
                if getattr(p.statement, "is_exchanged", False) and self.is_array(name) and isinstance(
                        value, ast.Name) and len(self.places.get(value.id, ())) + (
                        value.id in self.normal.parameters) > 1:
                    p.statement.value = copy_of(value)
        edges = [(name, base_of_view(p.value), p) for name, places in self.places.items() for p in places
                 if self.is_array(name) and self.is_view(p.value)]
        for name, _, p in edges:
            value = p.value
            if self.is_late_result(name):
                p.statement.value = copy_of(value)
                continue
            if not isinstance(value, ast.Name) or len(self.places[name]) + (name in self.normal.parameters) < 2:
                continue
            joined, before = {value.id}, 0
            while len(joined) != before:
                before = len(joined)
                for one, other, q in edges:
                    if one != name and q.value is not value and (one in joined or other in joined) and isinstance(
                            q.statement.value, (ast.Name, ast.Subscript, ast.Attribute)):
                        joined |= {one, other}
            earlier = Counter(load for s in p.block[:p.at + 1] for load in every_load(s))
            if name not in joined and not any(other in self.normal.parameters
                                              or earlier[other] != self._all_loads[other]
                                              or not self._is_bound_in(other, p.block[:p.at]) for other in joined):
                p.statement.value = copy_of(value)

    def _is_bound_in(self, name: str, statements: Sequence[ast.stmt]) -> bool:
        nodes = [node for s in statements for node in ast.walk(s)]
        return all(any(node is p.statement for node in nodes) for p in self.places.get(name, ()))

    def is_view(self, value: ast.expr) -> bool:
        """Whether an expression is another name for elements of an array."""
        if isinstance(value, ast.Name):
            return self.rank(value) > 0
        if isinstance(value, ast.Attribute):
            return value.attr == "T" and self.is_view(value.value)
        if isinstance(value, ast.Subscript) and self.rank(value) > 0 and self.is_view(value.value):
            parts = value.slice.elts if isinstance(value.slice, ast.Tuple) else [value.slice]
            return all(isinstance(part, ast.Slice) or self.rank(part) == 0 for part in parts)
        if isinstance(value, ast.Call):
            inner = viewed(value)
            name = self.name_of(value)
            return inner is not None and (name == "reshape" and self.is_method(value) or name == "transpose") and (
                self.is_view(inner))
        return False

    def indices(self, value: ast.expr) -> list[ast.expr]:
        """What a view is indexed by."""
        found: list[ast.expr] = []
        while not isinstance(value, ast.Name):
            if isinstance(value, ast.Subscript):
                found.append(value.slice)
            elif isinstance(value, ast.Call) and self.is_method(value):
                found += value.args
            inner = viewed(value)
            assert inner is not None
            value = inner
        return found

    def _join_aliases(self) -> None:
        for name, places in self.places.items():
            for place in places:
                if self.is_array(name) and self.is_view(place.value) and not self.is_late_result(name):
                    self._alias[self.root(name)] = self.root(base_of_view(place.value))

    def root(self, name: str) -> str:
        """The representative of all names of one memory."""
        while self._alias.get(name, name) != name:
            name = self._alias[name]
        return name

    def is_array(self, name: str) -> bool:
        """Whether a variable is an array."""
        return name in self.kinds and self.kinds[name].is_array

    # -------------------------------------------------------------- ranks

    def rank(self, node: ast.expr) -> int:
        """Axes of an expression's value."""
        if isinstance(node, ast.Name):
            return self.kinds[node.id].ndim if node.id in self.kinds else axes(self.value_of(node))
        if isinstance(node, ast.Subscript):
            inner = self.rank(node.value)
            if not inner:
                return 0
            parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            ellipsis = any(isinstance(p, ast.Constant) and p.value is Ellipsis for p in parts)
            if ellipsis:
                return inner - len([p for p in parts if not isinstance(p, ast.Slice) and not (
                    isinstance(p, ast.Constant) and p.value is Ellipsis)])
            return inner - len([p for p in parts if not isinstance(p, ast.Slice) and self.rank(p) == 0])
        if isinstance(node, ast.BinOp):
            if isinstance(node.op, ast.MatMult):
                return max(self.rank(node.left) + self.rank(node.right) - 2, 0)
            return max(self.rank(node.left), self.rank(node.right))
        if isinstance(node, ast.UnaryOp):
            return self.rank(node.operand)
        if isinstance(node, ast.IfExp):
            return max(self.rank(node.body), self.rank(node.orelse))
        if isinstance(node, ast.Compare):
            return max(map(self.rank, [node.left, *node.comparators]))
        if isinstance(node, ast.Attribute):
            return self.rank(node.value) if node.attr == "T" else axes(self.value_of(node))
        if isinstance(node, ast.Call):
            return self._call_rank(node)
        return 0

    def name_of(self, node: ast.Call) -> str:
        """The canonical name of what is called; of a method its own."""
        value = self.value_of(node.func)
        if value is None and isinstance(node.func, ast.Attribute):
            return node.func.attr
        return canonical(value)

    def value_of(self, node: ast.AST) -> Any:
        """What a name of the surroundings refers to, or an attribute of one."""
        if isinstance(node, ast.Name):
            return self.normal.constants.get(node.id)
        if isinstance(node, ast.Attribute):
            base = self.value_of(node.value)
            return None if base is None else getattr(base, node.attr, None)
        return None

    def is_method(self, node: ast.Call) -> bool:
        """Whether a method of an array is called."""
        return isinstance(node.func, ast.Attribute) and self.value_of(node.func) is None

    def _call_rank(self, node: ast.Call) -> int:
        name = self.name_of(node)
        if hasattr(node, "result"):  # of a function that calls itself
            return self.kinds[node.result].ndim
        arguments = ([node.func.value] if self.is_method(node) else []) + node.args  # type: ignore[attr-defined]
        ranks = [self.rank(a) for a in arguments]
        if name in ("zeros", "ones", "empty", "full"):
            shape = node.args[0] if node.args else node.keywords[0].value
            if isinstance(shape, ast.Name) and self.kinds[shape.id].is_tuple:
                return 1
            return len(shape.elts) if isinstance(shape, ast.Tuple) else 1
        if name in ("eye",):
            return 2
        if name in ("arange", "linspace", "ravel", "flatten", "argsort"):
            return 1
        if name == "reshape":
            return len(node.args) if not isinstance(node.args[0], ast.Tuple) else len(node.args[0].elts)
        axis = [*node.args[0 if self.is_method(node) else 1:], *(k for k in node.keywords if k.arg == "axis")]
        if name in ("sum", "mean", "prod", "argmax", "argmin", "any", "all") and axis:
            return ranks[0] - 1
        if name in ("prod", "item", "int64", "int32", "bool"):
            return 0
        if name in ("sum", "mean", "det", "len", "argmax", "argmin", "any", "all", "float", "int", "bool") or (
                name in ("max", "min", "amax", "amin") and len(arguments) == 1):
            return 0
        if name == "dot":
            return max(ranks[0] + ranks[1] - 2, 0)
        if name == "outer":
            return 2
        if name == "searchsorted":
            return ranks[1]
        if name in ("shape", "size", "ndim"):
            return 0
        if name == "array" and isinstance(node.args[0], (ast.List, ast.Tuple)) and isinstance(
                node.args[0].elts[0], (ast.List, ast.Tuple)):
            return 2
        if name == "array":
            first = node.args[0]
            return 1 + self.rank(first.elts[0]) if isinstance(first, (ast.List, ast.Tuple)) else ranks[0]
        if name == "solve":
            return ranks[1]
        return max(ranks, default=0)

    # -------------------------------------------------------------- activity

    def differentiable(self, node: ast.expr) -> Iterator[str]:
        """Variables by which an expression has a derivative that may not be zero."""
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Subscript):
            yield from self.differentiable(node.value)
        elif isinstance(node, ast.Attribute):
            if node.attr not in SHAPES:
                yield from self.differentiable(node.value)
        elif isinstance(node, ast.BinOp):
            if not isinstance(node.op, ast.FloorDiv):
                yield from self.differentiable(node.left)
                yield from self.differentiable(node.right)
        elif isinstance(node, ast.UnaryOp):
            if not isinstance(node.op, (ast.Not, ast.Invert)):
                yield from self.differentiable(node.operand)
        elif isinstance(node, ast.IfExp):
            yield from self.differentiable(node.body)
            yield from self.differentiable(node.orelse)
        elif isinstance(node, (ast.Tuple, ast.List)):
            for part in node.elts:
                yield from self.differentiable(part)
        elif isinstance(node, ast.Call):
            name = self.name_of(node)
            for keyword in node.keywords:
                if keyword.arg not in ("dtype", "shape"):
                    yield from self.differentiable(keyword.value)
            if name in ZERO or name in ALLOCATIONS and name not in ("full", "copy", "full_like"):
                return
            has_other = name in ("where", "full", "full_like") and not self.is_method(node)
            arguments = node.args[1:] if has_other else node.args
            if self.is_method(node):
                arguments = [node.func.value, *(() if name in ("reshape",) else arguments)]  # type: ignore[attr-defined]
            for argument in arguments:
                yield from self.differentiable(argument)
        elif not isinstance(node, (ast.Compare, ast.Constant, ast.Slice)):
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    yield from self.differentiable(child)

    def is_active(self, node: ast.expr) -> bool:
        """Whether an expression depends on what is differentiated."""
        return any(name in self.active for name in self.differentiable(node))

    def _active(self) -> set[str]:
        active = {name for name in self.wanted if self.kinds[name].is_float}
        self.active = active
        while True:
            before = len(active)
            for name, places in (*self.places.items(), *self.writes.items()):
                if name in self.kinds and self.kinds[name].is_float and any(self.is_active(p.value) for p in places):
                    active.add(name)
            roots = {self.root(name) for name in active if self.is_array(name)}
            active |= {name for name in self.kinds if self.is_array(name) and self.root(name) in roots
                       and self.kinds[name].is_float}
            if len(active) == before:
                return active

    # -------------------------------------------------------------- what can be computed again

    def changed_in(self, statements: Sequence[ast.stmt]) -> tuple[set[str], dict[str, list[ast.expr]]]:
        """Variables that statements assign, and by memory the subscripts that they write to."""
        names: set[str] = set()
        written: dict[str, list[ast.expr]] = {}
        for s in statements:
            for node in ast.walk(s):
                if isinstance(node, ast.Assign):
                    target = node.targets[0]
                    if isinstance(target, ast.Name):
                        names.add(target.id)
                        if self.is_array(target.id) and not self.is_view(node.value):
                            written.setdefault(self.root(target.id), []).append(ast.Constant(Ellipsis))
                    else:
                        written.setdefault(self.root(base_of(target)), []).append(target)
                elif isinstance(node, ast.For):
                    names.add(node.target.id)  # type: ignore[attr-defined]
        return names, written

    def holds_after(self, node: ast.AST, statements: Sequence[ast.stmt], loops: Sequence[ast.For] = ()) -> bool:
        """Whether an expression has the same value after statements, within these loops, as before them."""
        names, written = self.changed_in(statements)
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load) and part.id in names:
                return False
        for part in reads_in(node):
            name = part if isinstance(part, str) else base_of(part)
            for place in written.get(self.root(name), ()):
                if isinstance(part, str) or not self._apart(part, place, names, loops):
                    return False
        return True

    def _apart(self, one: ast.Subscript, other: ast.expr, changed: set[str], loops: Sequence[ast.For]) -> bool:
        """Whether two subscripts of one array are of different elements for certain."""
        if not isinstance(other, ast.Subscript) or not isinstance(one.value, ast.Name) or not isinstance(
                other.value, ast.Name) or one.value.id != other.value.id:
            return False
        left = one.slice.elts if isinstance(one.slice, ast.Tuple) else [one.slice]
        right = other.slice.elts if isinstance(other.slice, ast.Tuple) else [other.slice]
        for a, b in zip(left, right):
            (u, c), (v, d) = affine(a), affine(b)
            if u is None or u != v or c == d or u in changed:
                continue
            lowest = self._lowest(u, loops)
            if lowest is not None and lowest + min(c, d) >= 0:  # else a negative index may be the same element
                return True
        return False

    def _lowest(self, name: str, within: Sequence[ast.For]) -> int | None:
        """The least value of a loop's variable within some loops, if that is known; 0 of no variable."""
        if name == "":
            return 0
        if name not in self.plain_targets:
            return None
        found: list[int] = []
        own = [loop for loop in within if loop.target.id == name][-1:]  # type: ignore[attr-defined]
        for loop in own or loops_in(self.normal.body):
            if loop.target.id == name:  # type: ignore[attr-defined]
                arguments = loop.iter.args  # type: ignore[attr-defined]
                first = integer(arguments[0]) if len(arguments) > 1 else 0
                step = integer(arguments[2]) if len(arguments) > 2 else 1
                if step is not None and step < 0:
                    first = integer(arguments[1])
                    first = None if first is None else first + 1
                if first is None or step is None:
                    return None
                found.append(first)
        return min(found, default=None)

    def _recomputed(self) -> set[str]:
        found: set[str] = set()
        for name, places in self.places.items():
            if len(places) != 1 or name in self.normal.parameters or name in self.loop_targets:
                continue
            place = places[0]
            rest = place.block[place.at + 1:]
            inside = Counter(load for s in rest for load in every_load(s))[name]
            outputs = self.normal.outputs.count(name) if place.depth == 0 else 0
            if inside + outputs != self._all_loads[name]:
                continue
            if self.is_array(name) and (self.is_written(name) or self.is_view(place.value)
                                        or self._allocates(place.value)):
                continue
            if place.depth == 0 or not self._is_made_once(place.statement) and (
                    self.holds_after(place.value, rest, place.loops)):
                found.add(name)
        return found

    def _is_made_once(self, s: ast.Assign) -> bool:
        """Whether a value is a draw, which differs the next time, or costly, or of a function that calls itself."""
        return isinstance(s.value, ast.Call) and (hasattr(s.value, "result") or getattr(s, "is_costly", False)
                                                  or is_draw(self.value_of(s.value.func)))

    def _allocates(self, value: ast.expr) -> bool:
        return isinstance(value, ast.Call) and self.name_of(value) in ALLOCATIONS
