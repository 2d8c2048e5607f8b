"""Syntax: small nodes, and where statements leave a loop or a function."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Callable, Sequence
from typing import Any

from .source import Source

__all__ = ["RESERVED", "Exits", "always_exits", "always_returns", "assign", "branch", "exits", "load", "loaded",
           "marked",
           "number", "own_exits", "ready", "returns", "returns_halfway", "stored", "stored_in", "with_named_indices",
           "writes_to_arguments"]

#: names that the sweeps use; a variable that is called so gets another
RESERVED = re.compile(r"top|bottom|floats|integers|np|math|len|range|[vw]\d+_|tapegrad_\w*")


def load(name: str) -> ast.Name:
    """A name that is read."""
    return ast.Name(name, ast.Load())


def assign(target: ast.expr | str, value: ast.expr, at: ast.AST) -> ast.Assign:
    """An assignment at the line of another node."""
    place = ast.Name(target, ast.Store()) if isinstance(target, str) else stored(target)
    return ast.copy_location(ast.fix_missing_locations(ast.Assign([place], value, lineno=at.lineno)), at)  # type: ignore


def branch(test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt], at: ast.AST) -> ast.stmt:
    """An if statement at the line of another node."""
    made = ast.If(test, body or [ast.Pass()], orelse)
    return ast.fix_missing_locations(ast.copy_location(made, at))


def number(value: int) -> ast.Constant:
    """A constant."""
    return ast.Constant(value)


def stored(target: ast.expr) -> ast.expr:
    target = copy.deepcopy(target)
    target.ctx = ast.Store()  # type: ignore[attr-defined]
    return target


def exits(statements: Sequence[ast.stmt]) -> bool:
    """Whether a break, continue or return of the present loop is in these statements."""
    for s in statements:
        if isinstance(s, (ast.Break, ast.Continue, ast.Return)):
            return True
        if isinstance(s, ast.If) and (exits(s.body) or exits(s.orelse)):
            return True
        if isinstance(s, (ast.For, ast.While)) and returns(s.body):
            return True
    return False


def returns(statements: Sequence[ast.stmt]) -> bool:
    return any(isinstance(node, ast.Return) for s in statements for node in ast.walk(s))


def always_returns(statements: Sequence[ast.stmt]) -> bool:
    """Whether statements cannot be gone through without a return."""
    for s in statements:
        if isinstance(s, ast.Return) or isinstance(s, ast.If) and always_returns(s.body) and always_returns(s.orelse):
            return True
        if isinstance(s, ast.While) and isinstance(s.test, ast.Constant) and s.test.value and not any(
                isinstance(node, ast.Break) for node in own_exits(s.body)):
            return True
    return False


def returns_halfway(statements: Sequence[ast.stmt]) -> bool:
    """Whether a branch returns in some cases and goes on in others."""
    return any(isinstance(s, ast.If) and returns([s]) and (
        not (always_exits(s.body) or always_exits(s.orelse)) or returns_halfway(s.body)
        or returns_halfway(s.orelse))
        for s in statements)


def always_exits(statements: Sequence[ast.stmt]) -> bool:
    """Whether the end of these statements cannot be reached."""
    if not statements:
        return False
    last = statements[-1]
    return isinstance(last, (ast.Break, ast.Continue, ast.Return)) or (
        isinstance(last, ast.If) and always_exits(last.body) and always_exits(last.orelse))


def stored_in(statements: Sequence[ast.stmt]) -> set[str]:
    """Names that statements assign."""
    return {node.id for s in statements for node in ast.walk(s)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def writes_to_arguments(source: Source) -> bool:
    """Whether a function may change elements of what it is given."""
    own = {target.id for node in ast.walk(source.definition) if isinstance(node, ast.Assign)
           and isinstance(node.value, (ast.Call, ast.BinOp)) and not isinstance(getattr(node.value, "func", None),
                                                                                ast.Name)
           for target in node.targets if isinstance(target, ast.Name)}
    for node in ast.walk(source.definition):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            base = node.value
            while isinstance(base, (ast.Subscript, ast.Attribute)):
                base = base.value
            if not isinstance(base, ast.Name) or base.id not in own or base.id in source.parameters:
                return True
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id not in own and (
                node.target.id in source.parameters):
            return True
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            return True
    return False


def marked(node: ast.expr) -> ast.expr:
    """An expression that is in the names of the normal form already."""
    setattr(node, "is_ready", True)
    return node


def ready(statement: ast.stmt) -> ast.stmt:
    assert isinstance(statement, ast.If)
    marked(statement.test)
    return statement


def loaded(node: ast.expr) -> ast.expr:
    node = copy.deepcopy(node)
    node.ctx = ast.Load()  # type: ignore[attr-defined]
    return node


def own_exits(statements: Sequence[ast.stmt]) -> list[ast.stmt]:
    """The breaks, continues and returns in statements that belong to the present loop."""
    found: list[ast.stmt] = []
    for s in statements:
        if isinstance(s, (ast.Break, ast.Continue, ast.Return)):
            found.append(s)
        elif isinstance(s, ast.If):
            found += own_exits(s.body) + own_exits(s.orelse)
        elif isinstance(s, (ast.For, ast.While)):
            found += [node for part in s.body for node in ast.walk(part) if isinstance(node, ast.Return)]
    return found


def with_named_indices(target: ast.Subscript, named: Callable[[ast.expr], ast.expr]) -> ast.Subscript:
    """A target whose indices, where they read arrays, are given names."""
    target = copy.deepcopy(target)

    def changed(part: Any) -> Any:
        if isinstance(part, ast.Slice):
            return ast.Slice(*(changed(bound) for bound in (part.lower, part.upper, part.step)))
        if isinstance(part, ast.Tuple):
            return ast.Tuple([changed(inner) for inner in part.elts], ast.Load())
        reads = part is not None and any(isinstance(node, ast.Subscript) for node in ast.walk(part))
        return named(part) if reads else part

    place: ast.expr = target
    while isinstance(place, (ast.Subscript, ast.Attribute)):
        if isinstance(place, ast.Subscript):
            place.slice = changed(place.slice)
        place = place.value
    return ast.fix_missing_locations(target)


class Exits:
    """Flags of a loop around a statement."""

    leaves: list[str]

    def __init__(self, fresh: Callable[[str], str]) -> None:
        self.broken, self.skipped = fresh("broke"), fresh("skip")
        self.breaks = self.skips = self.returns = False
