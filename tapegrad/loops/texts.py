"""Small rewritings of expressions, for the sweeps."""

from __future__ import annotations

import ast
from collections.abc import Mapping

__all__ = ["Renamed", "beside", "bound_of", "sum_of"]


def bound_of(node: ast.expr) -> str:
    """A bound of a range, to which numbers are added."""
    is_sum = isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub, ast.Mult))
    return ast.unparse(node) if is_sum or not isinstance(node, (ast.BinOp, ast.IfExp, ast.BoolOp, ast.Compare)) else (
        f"({ast.unparse(node)})")


def sum_of(a: str, b: str) -> str:
    """a + b, of numbers at once."""
    try:
        return str(int(a) + int(b))
    except ValueError:
        if a == "0":
            return b
        return f"{a} - {b[1:]}" if b.startswith("-") else f"{a} + {b}"


def beside(value: ast.expr, target: ast.expr) -> tuple[ast.expr, bool] | None:
    """What is added to a variable in ``v = v + e``, or subtracted from it."""
    if isinstance(value, ast.BinOp) and isinstance(value.op, (ast.Add, ast.Sub)):
        if ast.dump(value.left) == ast.dump(target):
            return value.right, isinstance(value.op, ast.Add)
        if ast.dump(value.right) == ast.dump(target) and isinstance(value.op, ast.Add):
            return value.left, True
    return None


class Renamed(ast.NodeTransformer):
    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        node.value = self.visit(node.value)
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(self._names.get(node.id, node.id), node.ctx)
