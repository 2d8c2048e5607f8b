"""The tangent of a normal form: before each assignment that of its derivative along a direction (forward mode)."""

from __future__ import annotations

import ast
import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import helpers
from .analysis import Analysis
from .checks import check
from .expressions import barred
from .intrinsics import ALLOCATIONS, BINARY, UNARY, ZERO
from .kinds import Kind, infer, kind_of, type_of
from .normal import Normal
from .reads import SHAPES, base_of, base_of_view
from .recursion import Called
from .syntax import loaded
from .texts import Renamed

__all__ = ["derive_tangent"]


def derive_tangent(normal: Normal, kinds: Mapping[str, Kind], moved: Sequence[str]) -> Normal:
    """The function of the parameters, and of a direction for each of `moved`, that returns the outputs' derivatives."""
    return _Tangent(normal, kinds, moved).normal


class _Tangent:
    def __init__(self, normal: Normal, kinds: Mapping[str, Kind], moved: Sequence[str]) -> None:
        self.facts, self._kinds = Analysis(normal, kinds, set(moved)), kinds
        check(self.facts)
        made = self.normal = copy.copy(normal)
        taken = set(normal._taken) | set(kinds) | set(normal.constants)
        self._dots: dict[str, str] = {}
        for name in kinds:
            dot = f"{name}_d"
            while dot in taken:
                dot += "_"
            taken.add(dot)
            self._dots[name] = dot
        made._taken = taken
        made.constants = {**normal.constants, **{name: value for name, value in vars(helpers).items()
                                                 if name.startswith("tapegrad_power")}}
        made.constants.setdefault("np", np)
        made.constants.setdefault("math", math)
        made.parameters = [*normal.parameters, *(self._dots[p] for p in moved)]
        start: list[ast.stmt] = []
        for p in normal.parameters:
            if p in self.facts.active and p not in moved:
                start += self._statements(f"{self._dots[p]} = " + (
                    f"np.zeros_like({p})" if kinds[p].is_array else "0.0"), ast.Pass())
        made.outputs = [self._dots[o] for o in normal.outputs]
        made.results = [*normal.results, *(self._dots[o] for o in normal.results if o in kinds)]
        body = self._block(normal.body)
        for o in normal.outputs:
            if o not in self.facts.active:
                body += self._statements(f"{self._dots[o]} = " + (
                    f"np.zeros_like({o})" if kinds[o].is_array else f"0.0 * {o}"), ast.Pass())
        made.body = start + body

    def _statements(self, text: str, at: ast.AST) -> list[ast.stmt]:
        found = ast.parse(text).body
        for s in found:
            for node in ast.walk(s):
                if hasattr(node, "lineno"):
                    node.lineno = getattr(at, "lineno", 1)
        return found

    def _block(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        found: list[ast.stmt] = []
        for s in statements:
            if isinstance(s, ast.Assign):
                found += self._assign(s)
                continue
            s = copy.copy(s)
            if isinstance(s, (ast.If, ast.For, ast.While)):
                s.body = self._block(s.body)
                s.orelse = self._block(s.orelse)
            found.append(s)
        return found

    def _assign(self, s: ast.Assign) -> list[ast.stmt]:
        target, value = s.targets[0], s.value
        name = base_of(target)
        if name not in self.facts.active or not self._kinds[name].is_float:
            return [s]
        dot = self._dots[name]
        is_array = isinstance(target, ast.Name) and self.facts.is_array(name)
        tangent = self.of(value, s)
        if hasattr(value, "result") and tangent is not None:
            made = self._statements(f"{dot} = {tangent}", s)
            setattr(made[0].value, "result", dot)  # type: ignore[attr-defined]
            return [*made, s]
        if is_array and self.facts.is_view(value):
            base = base_of_view(value)
            renamed = Renamed({base: self._dots[base]}).visit(copy.deepcopy(value))
            return [s, *self._statements(f"{dot} = {ast.unparse(renamed)}", s)]
        if is_array and getattr(s, "in_place", False):
            return [*self._statements(f"{dot}[:] = {tangent or '0.0'}", s), s]
        if is_array and (tangent is None or self.facts.rank(_parsed(tangent, self)) < self.facts.rank(target)):
            filled = f"np.zeros_like({name})" if tangent is None else f"np.full_like({name}, {tangent})"
            return [s, *self._statements(f"{dot} = {filled}", s)]
        place = dot if isinstance(target, ast.Name) else ast.unparse(barred(loaded(target), name, dot))
        return [*self._statements(f"{place} = {tangent or '0.0'}", s), s]

    # -------------------------------------------------------------- expressions

    def of(self, node: ast.expr, at: ast.stmt) -> str | None:
        """The tangent of an expression as text; None where it is zero."""
        if not self.facts.is_active(node):
            return None
        if isinstance(node, (ast.Name, ast.Subscript)) or isinstance(node, ast.Attribute) and node.attr == "T":
            name = base_of(node)
            return ast.unparse(barred(node, name, self._dots[name]) if not isinstance(node, ast.Name) else
                               ast.Name(self._dots[name], ast.Load()))
        if isinstance(node, ast.UnaryOp):
            inner = self.of(node.operand, at)
            return f"-({inner})" if isinstance(node.op, ast.USub) else inner
        if isinstance(node, ast.BinOp):
            return self._binary(node, at)
        if isinstance(node, ast.IfExp):
            return self._choice(ast.unparse(node.test), self.of(node.body, at), self.of(node.orelse, at))
        if isinstance(node, ast.Call):
            return self._call(node, at)
        if isinstance(node, ast.Attribute) and node.attr in SHAPES:
            return None
        return self._refuse(node, at)

    def _refuse(self, node: ast.AST, at: ast.stmt) -> Any:
        self.normal.source.refuse(at, f"the derivative of {ast.unparse(node)} once more", "write it in a loop")

    @staticmethod
    def _choice(test: str, then: str | None, other: str | None) -> str:
        return f"({then or '0.0'} if {test} else {other or '0.0'})"

    @staticmethod
    def _sum(*parts: str | None) -> str:
        return " + ".join(f"({part})" for part in parts if part is not None)

    def _binary(self, node: ast.BinOp, at: ast.stmt) -> str:
        a, b = f"({ast.unparse(node.left)})", f"({ast.unparse(node.right)})"
        ta, tb = self.of(node.left, at), self.of(node.right, at)
        if isinstance(node.op, ast.Add):
            return self._sum(ta, tb)
        if isinstance(node.op, ast.Sub):
            return self._sum(ta, None if tb is None else f"-({tb})")
        if isinstance(node.op, ast.Mult):
            return self._sum(None if ta is None else f"({ta}) * {b}", None if tb is None else f"{a} * ({tb})")
        if isinstance(node.op, ast.Div):
            return self._sum(None if ta is None else f"({ta}) / {b}",
                             None if tb is None else f"-({tb}) * {a} / ({b} * {b})")
        if isinstance(node.op, ast.MatMult):
            return self._sum(None if ta is None else f"np.dot({ta}, {b})", None if tb is None else f"np.dot({a}, {tb})")
        if isinstance(node.op, ast.Mod):
            return self._sum(ta, None if tb is None else f"-({tb}) * np.floor({a} / {b})")
        if isinstance(node.op, ast.Pow):
            if isinstance(node.right, ast.Constant):
                c = node.right.value
                slope = {0: "0.0", 1: "1.0", 2: f"2.0 * {a}"}.get(c, f"{float(c)!r} * {a} ** {float(c) - 1.0!r}")  # type: ignore
                return f"({ta}) * {slope}"
            if self.facts.rank(node):
                self._refuse(node, at)
            return self._sum(None if ta is None else f"({ta}) * tapegrad_power_slope({a}, {b})",
                             None if tb is None else f"({tb}) * tapegrad_power_log({a}, {b})")
        return self._refuse(node, at)

    def _recursive(self, node: ast.Call) -> str:
        """The tangent of a function that is called by name, which is called by name itself."""
        calls, name = self.normal.calls, node.func.id  # type: ignore[attr-defined]
        moved = [k for k, argument in enumerate(node.args) if self.facts.is_active(argument)]
        kinds = tuple(kind_of(a, self._kinds, self.normal.constants) for a in node.args)
        key = name, kinds, tuple(moved)
        found = next((own for own, called in calls.items() if called.function == key), "")
        if not found:
            found, one = f"{name}_tangent{len(calls)}", calls[name].normal
            calls[found] = Called(key, None)  # type: ignore[arg-type]  # for the calls within
            calls[found].normal = derive_tangent(one, infer(one, tuple(map(type_of, kinds))),
                                                 [one.parameters[k] for k in moved])
        dots = [self._dots[node.args[k].id] for k in moved]  # type: ignore[attr-defined]
        return f"{found}({', '.join([*map(ast.unparse, node.args), *dots])})"

    def _call(self, node: ast.Call, at: ast.stmt) -> str | None:
        if hasattr(node, "result"):
            return self._recursive(node)
        facts, name = self.facts, self.facts.name_of(node)
        arguments = list(node.args)
        if facts.is_method(node):
            arguments.insert(0, node.func.value)  # type: ignore[attr-defined]
        texts, m = [f"({ast.unparse(a)})" for a in arguments], "np" if facts.rank(node) else "math"
        own = f"({ast.unparse(node)})"
        if name in ZERO or name in ALLOCATIONS - {"copy", "full", "full_like"}:
            return None
        parts = [self.of(a, at) for a in arguments]
        if name in UNARY and len(arguments) == 1:
            if "digamma" in UNARY[name]:
                self._refuse(node, at)
            return UNARY[name].format(s=f"({parts[0]})", x=texts[0], v=own, m=m)
        if name in BINARY and len(arguments) == 2:
            return self._sum(*(None if part is None else rule.format(s=f"({part})", x=texts[0], y=texts[1], v=own, m=m)
                               for part, rule in zip(parts, BINARY[name])))
        if name in ("max", "min", "amax", "amin") and len(arguments) == 1:
            which = "argmax" if "max" in name else "argmin"
            return f"({parts[0]})[np.{which}({texts[0]})]"
        if name in ("max", "min", "maximum", "minimum"):
            return self._greatest(node, ">=" if "max" in name else "<=", texts, parts)
        if name == "sum" and len(arguments) + len(node.keywords) == 2:
            axis = [*arguments[1:], *(k.value for k in node.keywords)][0]
            return f"np.sum({parts[0]}, {ast.unparse(axis)})"
        if name in ("sum", "mean", "cumsum", "transpose", "copy", "ascontiguousarray") and len(arguments) == 1:
            method = f"np.{name}({parts[0]})" if name != "copy" else f"({parts[0]}).copy()"
            return method
        if name == "where":
            if not facts.rank(node):
                return self._choice(texts[0], parts[1], parts[2])
            return f"np.where({texts[0]}, {parts[1] or '0.0'}, {parts[2] or '0.0'})"
        if name in ("full", "full_like"):
            return f"np.{name}({texts[0]}, {parts[1]})"
        if name in ("dot", "outer"):
            return self._sum(None if parts[0] is None else f"np.{name}({parts[0]}, {texts[1]})",
                             None if parts[1] is None else f"np.{name}({texts[0]}, {parts[1]})")
        if name == "array" and isinstance(arguments[0], (ast.List, ast.Tuple)):
            return "np.array([" + ", ".join(self.of(e, at) or "0.0" for e in arguments[0].elts) + "])"
        if name == "solve":
            moved = self._sum(parts[1], None if parts[0] is None else f"-np.dot({parts[0]}, {own})")
            return f"np.linalg.solve({texts[0]}, {moved})"
        if name == "inv":
            return f"-np.dot(np.dot({own}, {parts[0]}), {own})"
        if name == "det":
            return f"{own} * np.sum(np.linalg.inv({texts[0]}).T * ({parts[0]}))"
        return self._refuse(node, at)

    def _greatest(self, node: ast.Call, sign: str, texts: list[str], parts: list[str | None]) -> str:
        if self.facts.rank(node):
            return f"np.where({texts[0]} {sign} {texts[1]}, {parts[0] or '0.0'}, {parts[1] or '0.0'})"
        if len(texts) == 1:
            return parts[0] or "0.0"
        test = " and ".join(f"{texts[0]} {sign} {other}" for other in texts[1:])
        return self._choice(test, parts[0], self._greatest(node, sign, texts[1:], parts[1:]))


def _parsed(text: str, tangent: _Tangent) -> ast.expr:
    """A tangent in the variables whose ranks are known."""
    names = {dot: name for name, dot in tangent._dots.items()}
    tree = ast.parse(text, mode="eval").body
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
    return tree
