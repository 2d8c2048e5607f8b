"""Expressions of elementwise adjoints, evaluated over tensors: the same text that is compiled into their kernels."""

from __future__ import annotations

import ast
import math
from functools import cache
from types import CodeType, FunctionType, SimpleNamespace
from typing import Any

from .. import functions as t
from ..engine.mathematics import vecmath
from ..ops import rules
from .steps import Step

_FAR = 40.0  # where the normal density is 0 in float64


def _gelu_slope(x: Any) -> Any:
    """Phi(x) + x phi(x)."""
    near = t.clip(x, -_FAR, _FAR)  # for inf e^-inf is NaN
    return 0.5 * (1.0 + t.erf(x * math.sqrt(0.5))) + near * t.exp(-0.5 * near * near) * (1.0 / math.sqrt(2.0 * math.pi))


def _where(condition: Any, a: Any, b: Any) -> Any:
    """`where`; of a condition on attributes alone, the one that holds."""
    return (a if condition else b) if isinstance(condition, bool) else t.where(condition, a, b)


def _namespace() -> dict[str, Any]:
    """The names that rules are written with, as functions of tensors."""
    names = {"asin": "arcsin", "acos": "arccos", "atan": "arctan"}
    mathematics = {name: getattr(t, names.get(name, name)) for name in vars(vecmath)
                   if hasattr(t, names.get(name, name))}
    scope: dict[str, Any] = {**mathematics, "gelu_slope": _gelu_slope, "where": _where, "square": t.square}
    for name, value in vars(rules).items():
        if isinstance(value, FunctionType) and value.__module__ == rules.__name__:
            scope[name] = FunctionType(value.__code__, scope, name)
        elif isinstance(value, float):
            scope[name] = value
    scope["vecmath"] = SimpleNamespace(**mathematics)
    scope["sign"] = t.sign
    return scope


_SCOPE = _namespace()


class _Squares(ast.NodeTransformer):
    """``square(y)`` for ``y * y``, whose derivative takes one product less."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        left, right = node.left, node.right
        if isinstance(node.op, ast.Mult) and isinstance(left, ast.Name) and ast.dump(left) == ast.dump(right):
            return ast.Call(ast.Name("square", ast.Load()), [left], [])
        return node


@cache
def _code(rule: str) -> CodeType:
    tree = _Squares().visit(ast.parse(rule, mode="eval"))
    return compile(ast.fix_missing_locations(tree), __file__, "eval")


def evaluate(rule: str, step: Step, g: Any) -> Any:
    """The expression over the operands and attributes of an instruction; a tensor, or the number 0."""
    code, row = _code(rule), step.op.row
    assert row is not None
    letters = {name: g if name == "g" else getattr(step, name) for name in code.co_names
               if name == "g" or name in row.kinds}
    return eval(code, _SCOPE, letters)
