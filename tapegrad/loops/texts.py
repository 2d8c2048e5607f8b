"""Small rewritings of expressions, for the sweeps."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence

#: an addition to a variable
_ADDED = re.compile(r"(?P<indent> *)(?P<place>\w+) \+= (?P<value>.+)")

__all__ = ["Renamed", "beside", "bound_of", "gathered", "sum_of"]


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


def gathered(lines: Sequence[str]) -> list[str]:
    """Lines of a statement's adjoint, in which a number that is set to zero and then added to is set at once, and
    what is added to it in successive lines is added at once: what waits for the number is one addition.

    >>> gathered(["x_b = 0.0", "v1_ = 2.0 * x", "x_b += v1_ * y", "x_b += -v2_"])
    ['v1_ = 2.0 * x', 'x_b = v1_ * y + -v2_']
    """
    found: list[str] = []
    for line in lines:
        added = _ADDED.fullmatch(line)
        before = _ADDED.fullmatch(found[-1]) if found else None
        if added and before and added["place"] == before["place"] and added["indent"] == before["indent"]:
            found[-1] += f" + {added['value']}"
        else:
            found.append(line)
    name = found[0].partition(" = ")[0] if found and found[0].endswith(" = 0.0") else ""
    if not name.strip().isidentifier():
        return found
    for k, line in enumerate(found[1:], 1):
        if re.search(rf"\b{name.strip()}\b", line):
            if line.startswith(f"{name} += ") and not re.search(rf"\b{name.strip()}\b", line[len(name):]):
                return [*found[1:k], line.replace(" += ", " = ", 1), *found[k + 1:]]
            break
    return found


class Renamed(ast.NodeTransformer):
    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        node.value = self.visit(node.value)
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(self._names.get(node.id, node.id), node.ctx)
