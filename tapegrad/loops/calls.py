"""Expressions in the names of a normal form; calls of the user's functions are taken out of them."""

from __future__ import annotations

import ast
import builtins
import math
from types import BuiltinFunctionType, ModuleType
from typing import Any

import numpy as np

from .draws import standard
from .intrinsics import is_intrinsic
from .source import Source, plain_function
from .syntax import RESERVED, assign, load, marked, writes_to_arguments

__all__ = ["Expression", "arguments_of"]


class Expression(ast.NodeTransformer):
    """Renames locals, notes constants, and takes calls of the user's functions out.

    Parameters
    ----------
    writer : normal.Writer
        Of the function that the expression stands in.
    before : list of ast.stmt
        To which statements are appended that come before the expression.
    """

    def __init__(self, writer: Any, before: list[ast.stmt]) -> None:
        self._writer, self._before = writer, before
        self._conditional = 0

    def visit(self, node: ast.AST) -> Any:
        if getattr(node, "is_ready", False):
            return node
        return super().visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        writer = self._writer
        if node.id in writer.locals:
            return ast.copy_location(load(writer.renamed(node.id)), node)
        return self._constant(node, node.id)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        value = self._writer.source.value_of(node)
        root = node
        while isinstance(root, ast.Attribute):
            root = root.value  # type: ignore[assignment]
        if isinstance(root, ast.Name) and root.id not in self._writer.locals and value is not None:
            if isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating)):
                return ast.copy_location(self._number(value), node)
            if isinstance(self._writer.source.value_of(root), ModuleType):
                named = self._constant(root, root.id)
                inner = node
                while isinstance(inner.value, ast.Attribute):
                    inner = inner.value
                inner.value = named  # type: ignore[assignment]
                return node
            return self._constant(node, ast.unparse(node).replace(".", "_"))
        return self.generic_visit(node)

    def _number(self, value: Any) -> ast.expr:
        value = value.item() if isinstance(value, np.generic) else value
        if value == value and abs(value) != math.inf:
            return ast.Constant(value)
        name = self._writer.normal.fresh("constant_")  # NaN and infinity have no literals
        self._writer.normal.constants[name] = value
        return load(name)

    def _constant(self, node: ast.expr, name: str) -> ast.AST:
        source, normal = self._writer.source, self._writer.normal
        value = source.value_of(node)
        if value is None:
            source.refuse(node, f"the name {ast.unparse(node)}", "it is not defined where the function is decorated")
        if isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating)):
            return ast.copy_location(self._number(value), node)
        if not (callable(value) or isinstance(value, (ModuleType, np.ndarray, tuple, np.dtype))) or (
                callable(value) and not is_intrinsic(value) and plain_function(value) is None
                and not isinstance(value, (type, np.ufunc, BuiltinFunctionType)) and not hasattr(value, "__wrapped__")):
            source.refuse(node, f"the object {ast.unparse(node)}", "give its numbers and arrays as arguments")
        known = normal.constants.get(name)
        if RESERVED.fullmatch(name) and not (name in ("np", "math") and isinstance(value, ModuleType)
                                              and value.__name__ in ("numpy", "math")) and (
                getattr(builtins, name,
                        None) is not value) or name in normal.locals and self._writer.inlined is not None or (
                known is not None and known is not value):
            name = next((k for k, v in normal.constants.items() if v is value), None) or normal.fresh(name + "_")
        normal.constants[name] = value
        normal._taken.add(name)
        return ast.copy_location(load(name), node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        writer = self._writer
        if writer.callee(node) is None:
            value = writer.source.value_of(node.func)
            if isinstance(node.func, ast.Name) and node.func.id in writer.locals:
                value = None
            if value is divmod and len(node.args) == 2:
                x, y = (self.visit(argument) for argument in node.args)
                pair = [ast.BinOp(x, ast.FloorDiv(), y), ast.BinOp(x, ast.Mod(), y)]
                return ast.fix_missing_locations(ast.copy_location(ast.Tuple(list(pair), ast.Load()), node))
            if writer.draws(node):
                return self._drawn(node, value)
            self._check_axis(node, value)
            if value is np.random.shuffle:
                writer.source.refuse(node, "np.random.shuffle", "draw an order: np.random.permutation(n), and index by "
                                     "its elements")
            is_method = isinstance(node.func, ast.Attribute) and value is None
            if not is_method and not is_intrinsic(value) and value is not np.random.seed:
                writer.source.refuse(node, f"a call of {ast.unparse(node.func)}", "its derivative is not known; write "
                                     "it in Python, or with functions of math and numpy")
            return self.generic_visit(node)
        if self._conditional:
            writer.source.refuse(node, f"a call of {ast.unparse(node.func)} that is made only under a condition",
                                 "write it with if, or give it a name first")
        if writes_to_arguments(Source(writer.callee(node))):
            writer.source.refuse(node,
                                 f"a call of {ast.unparse(node.func)}, which writes to arrays, within an expression",
                                 "make the call a statement of its own")
        outputs: list[str] = []
        at = ast.copy_location(ast.Pass(), node)
        self._before.extend(writer.inline(node, outputs, at))
        if len(outputs) != 1:
            writer.source.refuse(node, f"a call that gives {len(outputs)} results within an expression", "unpack it")
        return ast.copy_location(load(outputs[0]), node)

    def _check_axis(self, node: ast.Call, value: Any) -> None:
        """Refuse reductions along an axis, of which numba has the sum alone."""
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
        if name in ("mean", "max", "min", "amax", "amin", "prod") and (
                any(k.arg == "axis" for k in node.keywords)
                or value not in (max, min) and len(node.args) > (value is not None)):
            self._writer.source.refuse(node, f"{ast.unparse(node)}, along an axis", "numba has np.sum(a, axis) alone: "
                                       "divide it for the mean, and write a loop for others")

    def _drawn(self, node: ast.Call, value: Any) -> ast.AST:
        """The number of a draw, which is a statement before."""
        writer = self._writer
        if self._conditional:
            writer.source.refuse(node, f"{ast.unparse(node)}, drawn only under a condition", "write it with if")
        call = self.generic_visit(node)
        assert isinstance(call, ast.Call)
        size = [k.value for k in call.keywords if k.arg == "size"]
        if len(size) < len(call.keywords):
            writer.source.refuse(node, f"the keyword arguments of {ast.unparse(node)}", "give them by position")
        arguments, number = standard(value, [ast.unparse(a) for a in call.args])
        call.args, name = [ast.parse(a, mode="eval").body for a in arguments], writer.normal.fresh("draw")
        self._before.append(assign(name, call, ast.copy_location(ast.Pass(), node)))
        writer.normal.is_random = True
        drawn = ast.parse(number.format(draw=name), mode="eval").body
        return ast.fix_missing_locations(ast.copy_location(drawn, node))

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        node.test = self.visit(node.test)
        self._conditional += 1
        node.body, node.orelse = self.visit(node.body), self.visit(node.orelse)
        self._conditional -= 1
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        node.values[0] = self.visit(node.values[0])
        self._conditional += 1
        node.values[1:] = [self.visit(value) for value in node.values[1:]]
        self._conditional -= 1
        return node

    def _refused(self, node: ast.AST) -> Any:
        what = {ast.ListComp: "a comprehension", ast.Dict: "a dictionary", ast.Lambda: "a lambda",
                ast.NamedExpr: "an assignment within an expression", ast.Yield: "yield", ast.Await: "await",
                ast.Set: "a set", ast.DictComp: "a comprehension", ast.SetComp: "a comprehension",
                ast.GeneratorExp: "a generator", ast.JoinedStr: "a text", ast.YieldFrom: "yield"}[type(node)]
        return self._writer.source.refuse(node, what, "write a loop over arrays")

    visit_ListComp = visit_Dict = visit_Lambda = visit_NamedExpr = visit_Yield = visit_Await = _refused
    visit_Set = visit_DictComp = visit_SetComp = visit_GeneratorExp = visit_JoinedStr = visit_YieldFrom = _refused


def arguments_of(source: Source, call: ast.Call, callee: Source) -> dict[str, Any]:
    """By parameter what a call gives for it, or its default."""
    arguments = callee.definition.args
    defaults = callee.function.__defaults__ or ()
    positional = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
    given: dict[str, Any] = {}
    defaults_of = {**dict(zip(positional[len(positional) - len(defaults):], defaults)),
                    **(callee.function.__kwdefaults__ or {})}
    for name, value in defaults_of.items():
        given[name] = marked(ast.Constant(value))
    given.update(zip(positional, call.args))
    given.update({k.arg: k.value for k in call.keywords if k.arg})
    missing = [name for name in callee.parameters if name not in given]
    if missing or len(call.args) > len(positional) or any(isinstance(a, ast.Starred) for a in call.args):
        source.refuse(call, f"the call {ast.unparse(call)}", f"{callee.function.__name__} takes "
                           f"{', '.join(callee.parameters)}")
    for name in callee.parameters:
        default = given[name].value if isinstance(given[name], ast.Constant) else None
        if default is not None and not isinstance(default, (bool, int, float)):
            source.refuse(call, f"the default of {callee.function.__name__}'s parameter {name}",
                               "give it in the "
                               "call")
    unknown = {k.arg for k in call.keywords} - set(callee.parameters)
    twice = set(positional[:len(call.args)]) & {k.arg for k in call.keywords}
    if unknown or twice:
        source.refuse(call, f"the call {ast.unparse(call)}", f"{callee.function.__name__} takes "
                           f"{', '.join(callee.parameters)}")
    return {name: given[name] for name in callee.parameters}
