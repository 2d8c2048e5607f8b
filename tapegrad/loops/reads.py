"""What expressions and statements read."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

__all__ = ["SHAPES", "affine", "axes", "base_of", "base_of_view", "copy_of", "every_load", "integer", "loads",
           "loops_in", "reads_in", "viewed", "within_same"]

#: attributes that are of the shape only
SHAPES = ("shape", "size", "ndim", "dtype", "strides", "itemsize", "nbytes")


def base_of(node: ast.AST) -> str:
    """The variable that a subscript, an attribute or a name is of; "" of other expressions."""
    while isinstance(node, (ast.Subscript, ast.Attribute)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def loads(node: ast.AST) -> Iterator[str]:
    """Names whose values an expression or statement reads, not only their shapes."""
    if isinstance(node, ast.Name):
        if isinstance(node.ctx, ast.Load):
            yield node.id
        return
    if isinstance(node, ast.Attribute) and node.attr in SHAPES:
        return
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len":
        return
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("zeros_like"):
        return
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
        yield from loads(node.slice)
        return
    for child in ast.iter_child_nodes(node):
        yield from loads(child)


def every_load(node: ast.AST) -> Iterator[str]:
    """Every name that is read, be it for its shape."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load):
            yield part.id


def viewed(value: ast.expr) -> ast.expr | None:
    """What a subscript, an attribute, a method or a function gives a view of, if it does."""
    if isinstance(value, (ast.Subscript, ast.Attribute)):
        return value.value
    if isinstance(value, ast.Call):
        if ast.unparse(value.func).endswith("np.transpose") or isinstance(value.func, ast.Name):
            return value.args[0] if len(value.args) == 1 else None
        return value.func.value if isinstance(value.func, ast.Attribute) else None
    return None


def base_of_view(value: ast.expr) -> str:
    """The array that a view is of."""
    while not isinstance(value, ast.Name):
        inner = viewed(value)
        assert inner is not None
        value = inner
    return value.id


def copy_of(value: ast.expr) -> ast.expr:
    call = ast.Call(ast.Attribute(value, "copy", ast.Load()), [], [])
    return ast.fix_missing_locations(ast.copy_location(call, value))


def axes(value: Any) -> int:
    return value.ndim if isinstance(value, np.ndarray) else 0


def loops_in(block: Sequence[ast.stmt]) -> Iterator[ast.For]:
    for s in block:
        for node in ast.walk(s):
            if isinstance(node, ast.For):
                yield node


def within_same(block: Sequence[ast.stmt], loop: ast.For) -> bool:
    """Whether a loop lies within another with the same variable."""
    return any(outer is not loop and outer.target.id == loop.target.id  # type: ignore[attr-defined]
               and any(node is loop for s in outer.body for node in ast.walk(s)) for outer in loops_in(block))


def reads_in(node: ast.AST) -> Iterator[Any]:
    """Subscripts that are read, and the names of what is read whole."""
    if isinstance(node, ast.Subscript):
        if isinstance(node.value, ast.Name):
            yield node
        else:
            yield from reads_in(node.value)
        yield from reads_in(node.slice)
    elif isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute) and node.attr in SHAPES:
        return
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len":
        return
    else:
        for child in ast.iter_child_nodes(node):
            yield from reads_in(child)


def integer(node: ast.expr) -> int | None:
    """A constant integer."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = integer(node.operand)
        return None if inner is None else -inner
    return node.value if isinstance(node, ast.Constant) and type(node.value) is int else None


def affine(node: ast.expr) -> tuple[str | None, int]:
    """A variable and what is added to it; "" for a number alone, None for other expressions."""
    if isinstance(node, ast.Name):
        return node.id, 0
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return "", node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)) and isinstance(node.left, ast.Name) and (
            isinstance(node.right, ast.Constant)) and type(node.right.value) is int:
        return node.left.id, node.right.value if isinstance(node.op, ast.Add) else -node.right.value
    return None, 0
