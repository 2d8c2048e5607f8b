"""Expressions of elementwise adjoints, evaluated over tensors: the same text that is compiled into their kernels."""

from __future__ import annotations

import ast
import math
from functools import cache
from types import CodeType, FunctionType, SimpleNamespace
from typing import Any

from .. import functions as t
from ..engine.mathematics import library, special, vecmath
from ..functions import formulas
from ..functions.apply import apply_binary
from ..ops import rules
from ..ops.elementwise import BINARY
from ..tensor.tensor import Tensor
from .steps import Step

_FAR = 40.0  # where the normal density is 0 in float64


def _gelu_slope(x: Any) -> Any:
    """Phi(x) + x phi(x)."""
    near = t.clip(x, -_FAR, _FAR)  # for inf e^-inf is NaN
    return 0.5 * (1.0 + t.erf(x * math.sqrt(0.5))) + near * t.exp(-0.5 * near * near) * (1.0 / math.sqrt(2.0 * math.pi))


def _where(condition: Any, a: Any, b: Any) -> Any:
    """`where`; of a condition on attributes alone, the one that holds."""
    return (a if condition else b) if isinstance(condition, bool) else t.where(condition, a, b)


def _scaled_product(a: Any, b: Any, p: float) -> Any:
    """p a b; of numbers among them, products."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return apply_binary(BINARY["scaled_product"], a, b, p)
    return p * a * b


def _tanh_slope(a: Any, y: Any) -> Any:
    """a (1 - y^2)."""
    return apply_binary(BINARY["tanh_slope"], a, y) if isinstance(a, Tensor) else a * (1.0 - t.square(y))


def _namespace() -> dict[str, Any]:
    """The names that rules are written with, as functions of tensors."""
    names = {"asin": "arcsin", "acos": "arccos", "atan": "arctan"}
    known = (*vars(vecmath), *library.__all__, *special.__all__)
    mathematics = {name: getattr(t, names.get(name, name)) for name in known
                   if hasattr(t, names.get(name, name))}
    scope: dict[str, Any] = {**mathematics, "gelu_slope": _gelu_slope, "where": _where, "square": t.square,
                             "scaled_product": _scaled_product, "tanh_slope": _tanh_slope}
    for name, value in vars(rules).items():
        if isinstance(value, FunctionType) and value.__module__ == rules.__name__:
            scope[name] = vars(formulas).get(name) or FunctionType(value.__code__, scope, name)
        elif isinstance(value, float):
            scope[name] = value
    scope["vecmath"] = SimpleNamespace(**mathematics)
    scope["sign"] = t.sign
    return scope


_SCOPE = _namespace()


class _Fused(ast.NodeTransformer):
    """Ops that are several multiplications at once: ``square(y)`` for ``y * y``, ``p a b``, and the slope of tanh."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.op, ast.Mult):
            return node
        left, right = node.left, node.right
        if isinstance(left, ast.Name) and ast.dump(left) == ast.dump(right):
            return _call("square", left)
        match right:
            case ast.BinOp(ast.Constant(1.0), ast.Sub(), ast.Call(ast.Name("square"), [y])):
                return _call("tanh_slope", left, y)
        match left:
            case ast.UnaryOp(ast.USub(), a) if not _is_number(a):
                return _call("scaled_product", a, right, ast.Constant(-1.0))
            case ast.BinOp(factor, ast.Mult(), a) if _is_number(factor) and not _is_number(right):
                return _call("scaled_product", a, right, factor)
        return node


def _call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])


def _is_number(node: ast.expr) -> bool:
    """Whether an expression is a number, or an attribute, or minus that."""
    node = node.operand if isinstance(node, ast.UnaryOp) else node
    return isinstance(node, ast.Constant) or isinstance(node, ast.Name) and node.id in ("p", "q")


@cache
def _code(rule: str) -> CodeType:
    tree = _Fused().visit(ast.parse(rule, mode="eval"))
    return compile(ast.fix_missing_locations(tree), __file__, "eval")


def evaluate(rule: str, step: Step, g: Any) -> Any:
    """The expression over the operands and attributes of an instruction; a tensor, or the number 0."""
    code, row = _code(rule), step.op.row
    assert row is not None
    letters = {name: g if name == "g" else getattr(step, name) for name in code.co_names
               if name == "g" or name in row.kinds}
    return eval(code, _SCOPE, letters)
