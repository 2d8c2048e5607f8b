"""Loops in normal form: over indices, with the elements of what is iterated over, and flags where they are left."""

from __future__ import annotations

import ast
from typing import Any

from .source import Source
from .syntax import Exits, assign, branch, load, marked, number, ready, stored_in

__all__ = ["Iterations"]


class Iterations:
    """The loops of one function; see `normal.Writer`, which writes its other statements."""

    normal: Any
    source: Source
    locals: set[str]
    _loops: list[Exits]
    _done: str

    def block(self, statements: Any) -> list[ast.stmt]:
        raise NotImplementedError

    def expression(self, node: ast.expr) -> tuple[list[ast.stmt], ast.expr]:
        raise NotImplementedError

    def renamed(self, name: str) -> str:
        raise NotImplementedError

    def _assigned(self, target: ast.expr, value: ast.expr, at: ast.stmt, whole: bool = False) -> list[ast.stmt]:
        raise NotImplementedError

    def _for(self, s: ast.For) -> list[ast.stmt]:
        if s.orelse:
            self.source.refuse(s, "for with else", "set a flag in the loop, and test it after")
        before, kind, given = self._iterated(s.iter, s)
        loop = Exits(self.normal.fresh)
        self._loops.append(loop)
        start: list[ast.stmt] = []
        if kind == "range" and isinstance(s.target, ast.Name) and s.target.id not in stored_in(s.body):
            index, bounds = self.renamed(s.target.id), given
        else:
            index = self.normal.fresh("k")
            lengths: list[ast.expr] = [ast.Call(load("len"), [array], []) for array in given]
            if kind == "range":
                bounds, start = given, self._assigned(s.target, marked(load(index)), s)
            else:
                bounds = [ast.Call(self._minimum(), lengths, []) if kind == "zip" and len(given) > 1 else lengths[0]]
                start = self._elements(s, kind, given, index)
        body = self._with_flags(loop, start + self.block(s.body), s)
        self._loops.pop()
        made = ast.For(ast.Name(index, ast.Store()), ast.Call(load("range"), bounds, []), body, [])
        return self._around(loop, before, made, s)

    def _minimum(self) -> ast.expr:
        name = next((k for k, v in self.normal.constants.items() if v is min), None) or self.normal.fresh("min_")
        self.normal.constants[name] = min
        return load(name)

    def _elements(self, s: ast.For, kind: str, given: list[ast.expr], index: str) -> list[ast.stmt]:
        """The targets of a loop over elements, by the index."""
        def element(array: ast.expr) -> ast.expr:
            return marked(ast.Subscript(array, load(index), ast.Load()))

        if kind == "zip":
            if not isinstance(s.target, ast.Tuple) or len(s.target.elts) != len(given):
                self.source.refuse(s, "zip with another number of targets", "name an element of each")
            return [made for place, array in zip(s.target.elts, given)
                    for made in self._assigned(place, element(array), s)]
        if kind == "enumerate":
            if not isinstance(s.target, ast.Tuple) or len(s.target.elts) != 2:
                self.source.refuse(s, "enumerate without two targets", "write for i, x in enumerate(...)")
            count = load(index) if len(given) == 1 else ast.BinOp(load(index), ast.Add(), given[1])
            return [*self._assigned(s.target.elts[0], marked(count), s),
                    *self._assigned(s.target.elts[1], element(given[0]), s)]
        return self._assigned(s.target, element(given[0]), s)

    def _iterated(self, node: ast.expr, at: ast.stmt) -> tuple[list[ast.stmt], str, list[ast.expr]]:
        before: list[ast.stmt] = []

        def named(value: ast.expr) -> ast.expr:
            more, value = self.expression(value)
            before.extend(more)
            if not isinstance(value, ast.Name):
                name = self.normal.fresh("seq")
                before.append(assign(name, value, at))
                value = load(name)
            return value

        name = ""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id not in self.locals:
            name = node.func.id
        if name in ("range", "prange") and isinstance(node, ast.Call):
            bounds = []
            for argument in node.args:
                more, value = self.expression(argument)
                before += more
                bounds.append(value)
            if node.keywords or not 1 <= len(bounds) <= 3:
                self.source.refuse(at, ast.unparse(node), "give one to three bounds")
            return before, "range", bounds
        if name == "reversed" and isinstance(node, ast.Call):
            self.source.refuse(at, "reversed", "write range(n - 1, -1, -1)")
        if name == "enumerate" and isinstance(node, ast.Call):
            parts = [*node.args, *(k.value for k in node.keywords)]
            if not 1 <= len(parts) <= 2:
                self.source.refuse(at, ast.unparse(node), "give an array and a first count")
            return before, "enumerate", [named(part) for part in parts]
        if name == "zip" and isinstance(node, ast.Call) and node.args:
            return before, "zip", [named(argument) for argument in node.args]
        if isinstance(node, (ast.Tuple, ast.List)):
            self.source.refuse(at, "a loop over a tuple that is written out", "loop over a range, and index an array")
        return before, "elements", [named(node)]

    def _while(self, s: ast.While) -> list[ast.stmt]:
        if s.orelse:
            self.source.refuse(s, "while with else", "set a flag in the loop, and test it after")
        before, test = self.expression(s.test)
        loop = Exits(self.normal.fresh)
        self._loops.append(loop)
        if before:
            leave = branch(ast.UnaryOp(ast.Not(), test), [ast.Break()], [], s)
            body = self._with_flags(loop, before + self.block([ready(leave), *s.body]), s)
            test = ast.Constant(True)
        else:
            body = self._with_flags(loop, self.block(s.body), s)
        self._loops.pop()
        return self._around(loop, [], ast.While(test, body, []), s)

    def _with_flags(self, loop: Exits, body: list[ast.stmt], at: ast.stmt) -> list[ast.stmt]:
        if loop.skips:
            body = [assign(loop.skipped, number(0), at), *body]
        loop.leaves = [loop.broken] * loop.breaks + [self._done] * loop.returns
        return body or [ast.Pass()]

    def _around(self, loop: Exits, before: list[ast.stmt], made: ast.stmt, at: ast.stmt) -> list[ast.stmt]:
        setattr(made, "leaves", loop.leaves)
        if loop.breaks:
            before = [*before, assign(loop.broken, number(0), at)]
        return [*before, ast.fix_missing_locations(ast.copy_location(made, at))]
