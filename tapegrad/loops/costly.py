"""Costly values that both sweeps read: computed once, and recorded.

A value of ``exp`` costs as much as a dozen stores and loads. Where the reverse sweep would compute one again, the call
gets a variable of its own in the loop, which is recorded as others are (eight bytes an iteration); square roots and
divisions cost less than that, and are computed again.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Sequence
from typing import Any

from .analysis import Analysis
from .kinds import Kind
from .normal import Normal

__all__ = ["with_recorded_calls"]

COSTLY = {"exp", "expm1", "exp2", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "tanh", "sinh", "cosh",
          "arcsin", "arccos", "arctan", "arctan2", "arcsinh", "arccosh", "arctanh", "erf", "erfc", "lgamma", "gamma",
          "pow", "hypot"}


def with_recorded_calls(normal: Normal, facts: Analysis, reverse: Sequence[str]) -> tuple[Normal, dict[str, Kind]]:
    """The normal form in which costly calls within loops that the lines of a reverse sweep repeat are variables, and
    the kinds of these."""
    calls = {ast.unparse(node) for node in ast.walk(ast.parse("\n".join(reverse)))
             if isinstance(node, ast.Call) and _is_costly(node, facts)}
    if not calls:
        return normal, {}
    made = copy.copy(normal)
    names = _Hoisting(made, calls, facts)
    made.body = names.block(copy.deepcopy(normal.body), in_loop=False)
    return made, {name: Kind(True, 0, "float64") for name in names.made}


def _is_costly(node: ast.Call, facts: Analysis) -> bool:
    return facts.name_of(node) in COSTLY and not facts.is_method(node) and not any(map(facts.rank, node.args))


class _Hoisting(ast.NodeTransformer):
    """Gives calls of certain texts variables."""

    def __init__(self, normal: Normal, calls: set[str], facts: Analysis) -> None:
        self._normal, self._calls, self._facts = normal, calls, facts
        self._before: list[ast.stmt] = []
        self._known: dict[str, str] = {}
        self.made: list[str] = []

    def block(self, statements: list[ast.stmt], in_loop: bool) -> list[ast.stmt]:
        """Statements of a block, with the variables before those that read them."""
        found: list[ast.stmt] = []
        for s in statements:
            if isinstance(s, (ast.For, ast.While)):
                s.body = self.block(s.body, True)
            elif isinstance(s, ast.If):
                s.body, s.orelse = self.block(s.body, in_loop), self.block(s.orelse, in_loop)
            elif in_loop and isinstance(s, ast.Assign):
                self._before, self._known = [], {}
                s.value = self.visit(s.value)
                found += self._before
            found.append(s)
        return found

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        return node  # what is computed under a condition stays there

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        text = ast.unparse(node)
        self.generic_visit(node)
        if text not in self._calls or not _is_costly(node, self._facts):
            return node
        if text not in self._known:
            name = self._known[text] = self._normal.fresh("once")
            self.made.append(name)
            statement: Any = ast.copy_location(ast.Assign([ast.Name(name, ast.Store())], node, lineno=0), node)
            statement.is_costly = True
            self._before.append(ast.fix_missing_locations(statement))
        return ast.copy_location(ast.Name(self._known[text], ast.Load()), node)
