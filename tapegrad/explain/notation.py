"""Formulas as text, in the manner of mathematics, or as LaTeX: of ops, and of the rules of their adjoints."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from ..ops.table import Op

__all__ = ["code", "expression_of", "latex", "mathematics", "number", "rule_of", "slope_of"]

#: ops that are written otherwise than ``name(inputs)``
_WRITTEN = {
    "negative": "-x", "add": "a + b", "subtract": "a - b", "multiply": "a * b", "divide": "a / b", "power": "a ** b",
    "square": "x ** 2", "reciprocal": "1 / x", "power_constant": "x ** p", "matmul": "a @ b", "copy": "x",
    "squared_error": "(a - b) ** 2", "absolute_error": "abs(a - b)", "scaled_product": "p * a * b",
    "tanh_slope": "a * (1 - b ** 2)", "greater": "a > b", "greater_equal": "a >= b",
    "less": "a < b", "less_equal": "a <= b", "equal": "a == b", "not_equal": "a != b",
}
#: functions that rules call, in the letters of their arguments
_RULES = {
    "power_slope": "g * b * a ** (b - 1)", "power_log_slope": "g * y * log(a)",
    "divide_slope": "-g * y / b", "arctan_slope": "g / (1 + x ** 2)", "gelu_slope": "Phi(x) + x * phi(x)",
    "negative_part": "min(x, 0)", "clipped": "clip(x, p, q)", "clamped_log": "log(x)",
}
_ARGUMENTS = {"power_slope": "g a b", "power_log_slope": "g a b y", "divide_slope": "g b y", "arctan_slope": "g x",
              "gelu_slope": "x", "negative_part": "x", "clipped": "x p q", "clamped_log": "x"}
_RENAMED = {"asin": "arcsin", "acos": "arccos", "atan": "arctan"}
#: contributions that are no expressions over elements: by op and input, in the letters of the op
_MATRICES = {
    ("matmul", "a"): "g @ b.T", ("matmul", "b"): "a.T @ g", ("linear", "x"): "g @ w", ("linear", "w"): "g.T @ x",
    ("linear", "bias"): "sum(g)", ("softmax", "x"): "y * (g - sum(g * y))",
    ("log_softmax", "x"): "g - softmax(x) * sum(g)", ("logsumexp", "x"): "g * softmax(x)",
    ("cross_entropy", "x"): "g * (softmax(x) - onehot(t))", ("prod", "x"): "g * y / x", ("norm", "x"): "g * x / y",
    ("dropout", "x"): "g * mask",
}
_LATEX = {"sigmoid": r"\sigma", "exp": r"\exp", "log": r"\ln", "tanh": r"\tanh", "sin": r"\sin", "cos": r"\cos",
          "tan": r"\tan", "sinh": r"\sinh", "cosh": r"\cosh", "arcsin": r"\arcsin", "arccos": r"\arccos",
          "arctan": r"\arctan", "max": r"\max", "min": r"\min", "sum": r"\sum", "Phi": r"\Phi", "phi": r"\varphi"}
_COMPARED = {ast.Gt: ">", ast.GtE: ">=", ast.Lt: "<", ast.LtE: "<=", ast.Eq: "=", ast.NotEq: "!="}
_NUMBER = re.compile(r"-?\d+(\.\d*)?(e[+-]?\d+)?|-?inf|nan")
#: stands for a letter in a template
_TOKEN, _TOKENS = "\x00{}\x00", re.compile("\x00([^\x00]*)\x00")
_ATOM, _POWER, _PRODUCT, _SUM, _COMPARISON, _CHOICE = range(6, 0, -1)


class _Expanded(ast.NodeTransformer):
    """Device functions of rules by what they compute, and ``y * y`` as a power."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in _RULES:
            letters = dict(zip(_ARGUMENTS[name].split(), node.args))
            return _Filled(letters).visit(ast.parse(_RULES[name], mode="eval").body)
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Mult) and ast.dump(node.left) == ast.dump(node.right):
            return ast.BinOp(node.left, ast.Pow(), ast.Constant(2))
        return node


class _Filled(ast.NodeTransformer):
    def __init__(self, letters: Mapping[str, ast.expr]) -> None:
        self._letters = letters

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return self._letters.get(node.id, node)


@cache
def _rule(text: str) -> ast.expr:
    return _Expanded().visit(ast.parse(text, mode="eval").body)


def number(value: float) -> str:
    """A number as tables show it: up to five significant digits, integers as such.

    >>> number(-12.0), number(0.123456789), number(2e-9)
    ('-12', '0.12346', '2e-09')
    """
    return f"{value:.5g}"


def expression_of(op: Op, inputs: Sequence[str], attributes: Callable[[str], Any]) -> str:
    """An op in the letters of its row, as code."""
    if op.name == "scale_shift":
        p, q = attributes("p"), attributes("q")
        scaled = "x" if p == 1.0 else "-x" if p == -1.0 else f"{number(p)} * x"
        if p == -1.0 and q:
            return f"{number(q)} - x"
        return scaled if q == 0.0 else f"{scaled} {'-' if q < 0 else '+'} {number(abs(q))}"
    if op.name == "power_constant":
        return f"x ** {number(attributes('p'))}"
    if op.name == "linear":
        return "x @ w.T + bias" if "bias" in inputs else "x @ w.T"
    if op.name == "sum":
        return "sum(x)" if attributes("scale") == 1.0 else "mean(x)"
    return _WRITTEN.get(op.name) or f"{op.name}({', '.join(inputs)})"


def rule_of(op: Op, name: str) -> str:
    """The contribution to an input's adjoint in the letters of the row and ``g``, as code; "" where none is told."""
    rule = op.composition.get(name)
    if (op.name, name) in _MATRICES:
        return _MATRICES[op.name, name]
    if op.name in ("scale_shift", "copy", "sum"):
        return {"scale_shift": "g * p", "copy": "g", "sum": "g * scale"}[op.name]
    return rule if isinstance(rule, str) else ""


def code(text: str, names: Mapping[str, str]) -> str:
    """An expression with its letters renamed, as Python.

    >>> code("a * b", {"a": "q", "b": "z"})
    'q * z'
    """
    return _filled(_code_template(text, frozenset(names)), names)


@cache
def _code_template(text: str, names: frozenset[str]) -> str:
    tokens = {name: _TOKEN.format(name) for name in names}
    return ast.unparse(_Renamed(tokens).visit(ast.parse(text, mode="eval").body))


def _filled(template: str, names: Mapping[str, str]) -> str:
    """A template with names in place of tokens."""
    return _TOKENS.sub(lambda found: names[found[1]], template)


class _Renamed(ast.NodeTransformer):
    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def visit_Call(self, node: ast.Call) -> ast.AST:
        return ast.Call(node.func, [self.visit(argument) for argument in node.args], [])

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(self._names.get(node.id, node.id))


def mathematics(text: str, names: Mapping[str, str]) -> str:
    """An expression as it is written by hand: products without a sign, powers with a hat.

    >>> mathematics("g * (1.0 - y * y)", {"g": "g", "y": "q"})
    'g (1 - q^2)'
    >>> mathematics("a * b", {"a": "-4", "b": "3"})
    '-4 * 3'
    """
    return _filled(_template(text, _kinds(names), False), names)


def latex(text: str, names: Mapping[str, str]) -> str:
    r"""An expression as LaTeX.

    >>> print(latex("g / (1.0 + x)", {"g": "g", "x": "x"}))
    \frac{g}{1 + x}
    """
    return _filled(_template(text, _kinds(names), True), {name: _subscripted(t) for name, t in names.items()})


@cache
def slope_of(rule: str) -> str:
    """A contribution over ``g``: the local derivative, as code.

    >>> slope_of("g * (1.0 - y * y)"), slope_of("-g * sin(x)"), slope_of("g")
    ('1.0 - y ** 2', '-sin(x)', '1')
    """
    return ast.unparse(_WithoutG().visit(_Expanded().visit(ast.parse(rule, mode="eval").body)))


class _WithoutG(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(1) if node.id == "g" else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Mult):
            for one, other in ((node.left, node.right), (node.right, node.left)):
                if isinstance(one, ast.Constant) and one.value == 1:
                    return other
                if isinstance(one, ast.UnaryOp) and isinstance(one.operand, ast.Constant) and one.operand.value == 1:
                    return ast.UnaryOp(ast.USub(), other)
        return node


def _kinds(names: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """By letter whether a name, a number or a negative number stands for it."""
    return frozenset((name, "negative" if text[:1] == "-" else "number" if _NUMBER.fullmatch(text) else "name")
                     for name, text in names.items())


@cache
def _template(text: str, kinds: frozenset[tuple[str, str]], is_latex: bool) -> str:
    return _Writer(dict(kinds), is_latex).text(_rule(text), 0)


class _Writer:
    """Writes an expression with tokens for its letters."""

    def __init__(self, kinds: Mapping[str, str], is_latex: bool) -> None:
        self._kinds, self._latex = kinds, is_latex

    def text(self, node: ast.expr, outer: int) -> str:
        """The node, in parentheses if what is around it binds more strongly."""
        written, level = self._written(node)
        if level >= outer:
            return written
        return rf"\left({written}\right)" if self._latex else f"({written})"

    def _written(self, node: ast.expr) -> tuple[str, int]:
        if isinstance(node, ast.Name):
            return self._name(node.id)
        if isinstance(node, ast.Constant):
            value = float(node.value)  # type: ignore[arg-type]
            return number(value), _ATOM if value >= 0.0 else _SUM
        if isinstance(node, ast.UnaryOp):
            return "-" + self.text(node.operand, _PRODUCT), _SUM
        if isinstance(node, ast.BinOp):
            return self._binary(node)
        if isinstance(node, ast.Attribute):
            return self.text(node.value, _ATOM) + ("^{T}" if self._latex else "^T"), _POWER
        if isinstance(node, ast.Compare):
            signs = {">=": r"\ge", "<=": r"\le", "!=": r"\ne"} if self._latex else {}
            sign = _COMPARED[type(node.ops[0])]
            return (f"{self.text(node.left, _SUM)} {signs.get(sign, sign)} {self.text(node.comparators[0], _SUM)}",
                    _COMPARISON)
        if isinstance(node, ast.Call):
            return self._call(node)
        return ast.unparse(node), 0

    def _name(self, name: str) -> tuple[str, int]:
        if name not in self._kinds:
            return (_subscripted(name) if self._latex else name), _ATOM
        return _TOKEN.format(name), _SUM if self._kinds[name] == "negative" else _ATOM

    def _binary(self, node: ast.BinOp) -> tuple[str, int]:
        kind = type(node.op)
        if kind in (ast.Add, ast.Sub, ast.BitAnd):
            sign = {ast.Add: "+", ast.Sub: "-", ast.BitAnd: "and"}[kind]  # type: ignore[index]
            return f"{self.text(node.left, _SUM)} {sign} {self.text(node.right, _PRODUCT)}", _SUM
        if kind is ast.Pow:
            base, exponent = self.text(node.left, _ATOM), self.text(node.right, 0 if self._latex else _ATOM)
            return (f"{base}^{{{exponent}}}" if self._latex else f"{base}^{exponent}"), _POWER
        if kind is ast.Div:
            if self._latex:
                return rf"\frac{{{self.text(node.left, 0)}}}{{{self.text(node.right, 0)}}}", _PRODUCT
            return f"{self.text(node.left, _PRODUCT)} / {self.text(node.right, _POWER)}", _PRODUCT
        is_negative = isinstance(node.left, ast.UnaryOp) or (
            isinstance(node.left, ast.Name) and self._kinds.get(node.left.id) == "negative")
        left = self.text(node.left, _SUM if is_negative else _PRODUCT)
        right = self.text(node.right, _PRODUCT)
        if not self._is_number(node.right):
            return f"{left} {right}", _PRODUCT
        if isinstance(node.right, ast.Constant) and not self._is_number(node.left):  # 2 g, not g 2
            return f"{right} {left}", _PRODUCT
        return left + (r" \cdot " if self._latex else " * ") + right, _PRODUCT

    def _is_number(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Constant) or isinstance(node, ast.Name) and (
            self._kinds.get(node.id, "name") != "name")

    def _call(self, node: ast.Call) -> tuple[str, int]:
        name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
        name = _RENAMED.get(name, name)
        arguments = [self.text(argument, 0) for argument in node.args]
        if name == "where":
            condition, then, other = arguments
            if self._latex:
                return rf"\begin{{cases}}{then} & {condition}\\ {other} & \text{{else}}\end{{cases}}", _ATOM
            return f"{then} if {condition} else {other}", _CHOICE
        if not self._latex:
            return f"{name}({', '.join(arguments)})", _ATOM
        if name in ("sqrt", "abs"):
            return rf"\sqrt{{{arguments[0]}}}" if name == "sqrt" else rf"\left|{arguments[0]}\right|", _ATOM
        head = _LATEX.get(name) or rf"\mathrm{{{name}}}".replace("_", r"\_")
        return rf"{head}\left({', '.join(arguments)}\right)", _ATOM


def _subscripted(name: str) -> str:
    """A name as LaTeX: ``w_1``, ``x[0]`` and ``0.weight`` with subscripts."""
    if _NUMBER.fullmatch(name):
        return name
    if name.startswith("%"):
        return rf"v_{{{name[1:]}}}"
    base, bracket, index = name.partition("[")
    if bracket:
        return rf"{_subscripted(base)}_{{{index.rstrip(']')}}}"
    if "." in base:
        return rf"\mathrm{{{base}}}".replace("_", r"\_")
    letter, line, rest = base.partition("_")
    if line:
        return rf"{_subscripted(letter)}_{{{rest}}}".replace("_{}", "")
    return letter if len(letter) == 1 else rf"\mathrm{{{letter}}}"
