"""What is refused once the types of a normal form are known, so that no adjoint is silently zero or wrong."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Sequence
from typing import Any

from .analysis import Analysis, Place
from .draws import is_draw
from .reads import SHAPES, every_load

__all__ = ["check"]

METHODS = {"sum", "mean", "max", "min", "dot", "copy", "reshape", "ravel", "flatten", "transpose", "argmax", "argmin",
           "any",
           "all", "astype", "cumsum", "prod", "item", "argsort"}
#: give their argument itself, or a copy of it, as its layout is
PERHAPS_VIEWS = {"ravel", "ascontiguousarray"}


def check(facts: Analysis) -> None:
    """Refuse what the sweeps do not follow.

    Raises
    ------
    CompileError
    """
    for s in _statements(facts.normal.body):
        for part in _expressions(s):
            for node in ast.walk(part):
                if isinstance(node, ast.Subscript):
                    _check_index(facts, node, s)
                elif isinstance(node, ast.Attribute):
                    _check_attribute(facts, node, s)
                elif isinstance(node, ast.Call):
                    _check_call(facts, node, s)
                elif isinstance(node, ast.BoolOp) and any(
                        name in facts.kinds and facts.kinds[name].is_float
                        for v in node.values if isinstance(v, ast.Name)
                        for name in (v.id,)):
                    _refuse(facts, s, f"{ast.unparse(node)}, the value of numbers joined by and, or",
                            "compare them with 0")
    for name in facts.places:
        if facts.is_array(name):
            _check_bindings(facts, name)
        elif facts.kinds[name].is_tuple and facts.kinds[name].is_float and any(
                facts.is_active(p.value) for p in facts.places[name]):
            _refuse(facts, facts.places[name][0].statement, f"the tuple {name} of values that are differentiated",
                    "give each value a name")


def _refuse(facts: Analysis, at: ast.AST, what: str, instead: str) -> None:
    facts.normal.source.refuse(at, what, instead)


def _statements(block: Sequence[ast.stmt]) -> list[ast.stmt]:
    return [node for s in block for node in ast.walk(s) if isinstance(node, ast.stmt)]


def _expressions(s: ast.stmt) -> list[ast.expr]:
    return [part for part in ast.iter_child_nodes(s) if isinstance(part, ast.expr)]


def _check_index(facts: Analysis, node: ast.Subscript, at: ast.stmt) -> None:
    if not facts.rank(node.value):
        return
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    for part in parts:
        if isinstance(part, ast.Constant) and part.value is None or isinstance(part, ast.Attribute) and (
                part.attr == "newaxis"):
            _refuse(facts, at, f"{ast.unparse(node)}, in which an axis is inserted", "use reshape")
        if isinstance(part, ast.Name) and part.id in facts.kinds and facts.kinds[part.id].is_tuple:
            _refuse(facts, at, f"{ast.unparse(node)}, an index that is a tuple", "write out the indices")
        rank = 0 if isinstance(part, ast.Slice) else facts.rank(part)
        if rank and (len(parts) > 1 or rank > 1 or isinstance(node.ctx, ast.Store) or isinstance(part, ast.Compare)):
            _refuse(facts, at, f"{ast.unparse(node)}, an index by an array", "index in a loop")


def _check_attribute(facts: Analysis, node: ast.Attribute, at: ast.stmt) -> None:
    if facts.rank(node.value) and node.attr not in (*SHAPES, "T", "flat", *METHODS):
        _refuse(facts, at, f"the attribute {ast.unparse(node)}", "write the loop")


def _check_call(facts: Analysis, node: ast.Call, at: ast.stmt) -> None:
    name = facts.name_of(node)
    if is_draw(facts.value_of(node.func)) and any(map(facts.is_active, node.args)):
        _refuse(facts, at, f"{ast.unparse(node)}, whose parameters are differentiated", "draw from a distribution "
                "without parameters, and transform the number")
    if facts.is_method(node) and name not in METHODS:
        _refuse(facts, at, f"the method {ast.unparse(node.func)}", "use a function of math or numpy, or write the loop")
    if name in ("linspace", "arange", "range") and any(facts.is_active(a) for a in node.args):
        _refuse(facts, at, f"{ast.unparse(node)}, whose bounds are differentiated", "write the loop")
    if any(facts.is_active(k.value) for k in node.keywords):
        _refuse(facts, at, f"the keyword arguments of {ast.unparse(node)}", "give them by position")


def _check_bindings(facts: Analysis, name: str) -> None:
    """Refuse bindings of an array that the sweeps do not follow."""
    binds = facts.binds(name)
    is_parameter = name in facts.normal.parameters
    if facts.is_late_result(name) or not binds:
        return
    for p in binds:
        _check_perhaps_view(facts, name, p)
    views = [p for p in binds if facts.is_view(p.value)]
    if len(binds) + is_parameter > 1:
        if views and (len(views) < len(binds) or is_parameter or len({p.depth for p in views} & {0})):
            _refuse(facts, views[0].statement, f"the array {name}, which names several arrays in turn",
                    "use two names, or .copy()")
        others = [other for other in facts.kinds if other != name and facts.is_array(other)
                  and facts.root(other) == facts.root(name) and other not in facts.normal.outputs]
        if not views and others:
            _refuse(facts, binds[-1].statement,
                    f"the array {name}, which is bound again while {others[0]} names elements "
                    "of it", "use another name, or .copy()")
        if not views and not is_parameter and binds[0].depth > 0:
            _refuse(facts, binds[0].statement,
                    f"the array {name}, which is bound at several places of which none is the "
                    "function's first level", "allocate it before, and assign to its elements")
    if views and len(binds) > 1 or binds[0].depth > 0 and not is_parameter:
        inside = 0
        for p in binds:
            rest = p.block[p.at + 1:]
            inside += Counter(load for s in rest for load in every_load(s))[name]
            if any(other is not p
                   and any(node is other.statement for s in rest for node in ast.walk(s)) for other in binds):
                _refuse(facts, p.statement, f"the array {name}, which names several arrays in turn", "use two names")
        if inside != facts.loads_of(name):
            _refuse(facts, binds[0].statement,
                    f"the array {name}, which is made in a loop or a branch and read outside of "
                    "it", "allocate it before, and assign to its elements")
    for p in views:
        indices = ast.Module([ast.Expr(part) for part in facts.indices(p.value)], [])
        if not facts.holds_after(indices, p.block[p.at + 1:]):
            _refuse(facts, p.statement, f"the view {name}, whose index changes while it is in use",
                    "index with a variable that stays as it is")


def _check_perhaps_view(facts: Analysis, name: str, p: Place) -> None:
    """Refuse writes to what may or may not be another array's memory."""
    value: Any = p.value
    sources: list[str] = []
    if isinstance(value, ast.IfExp):
        sources = [part.id for part in ast.walk(value) if isinstance(part, ast.Name) and facts.is_array(part.id)]
    elif isinstance(value, ast.Call) and (facts.name_of(value) in PERHAPS_VIEWS or hasattr(value, "result")):
        sources = [part.id for part in ast.walk(value) if isinstance(part, ast.Name) and facts.is_array(part.id)]
    for other in sources:
        if facts.is_written(other) or facts.is_written(name):
            _refuse(facts, p.statement,
                    f"the array {name}, which may name elements of {other}, of which one is written to",
                    "use .copy()")
