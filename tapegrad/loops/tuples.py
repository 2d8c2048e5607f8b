"""Names of tuples, written out: a variable for each element."""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping, Sequence
from typing import Any

from .source import Source

__all__ = ["is_named_tuple", "with_elements"]


def is_named_tuple(value: Any) -> bool:
    """Whether a class is one of named tuples."""
    return isinstance(value, type) and issubclass(value, tuple) and hasattr(value, "_fields")


def with_elements(source: Source, given: Mapping[str, ast.Tuple] | None = None) -> Source:
    """The same source, in which names that are bound to tuples of the same length, and used by their elements or handed
    on whole, are one name for each element.

    `given` are parameters that are tuples, of names.
    """
    if not given and not any(_makes_tuple(node, source) for node in ast.walk(source.definition)):
        return source
    whole = _NamedTuples(source).visit(copy.deepcopy(source.definition))
    given = given or {}
    lengths: dict[str, int | None] = {name: len(value.elts) for name, value in given.items()}
    fields: dict[str, Sequence[str]] = {name: getattr(value, "fields", ()) for name, value in given.items()}
    known = set(source.parameters)
    for node in ast.walk(whole):
        for name, value in _bindings(node):
            length = len(value.elts) if isinstance(value, ast.Tuple) else None
            if isinstance(value, ast.Tuple) and any(isinstance(e, ast.Starred) for e in value.elts):
                length = None
            lengths[name] = length if lengths.get(name, length) == length and name not in known else None
            named = getattr(value, "fields", ())
            fields[name] = named if fields.get(name, named) == named else ()
    uses = _Uses({name for name, length in lengths.items() if length is not None}, fields)
    uses.visit(whole)
    taken = {node.id for node in ast.walk(whole) if isinstance(node, ast.Name)} | set(source.parameters)
    elements: dict[str, Sequence[str]] = {}
    for name in sorted(uses.names):
        elements[name] = []
        for k in range(lengths[name] or 0):
            own = f"{name}_{k}"
            while own in taken:
                own += "_"
            taken.add(own)
            elements[name] = [*elements[name], own]
    made = copy.copy(source)
    made.elements = elements
    made.parameters = [own for p in source.parameters for own in (elements[p] if p in elements else [p])]
    made.definition = ast.fix_missing_locations(_Elements(elements, fields).visit(whole))
    return made


def _makes_tuple(node: ast.AST, source: Source) -> bool:
    if isinstance(node, ast.Assign):
        return isinstance(node.value, ast.Tuple) and isinstance(node.targets[0], ast.Name)
    return isinstance(node, ast.Call) and is_named_tuple(source.value_of(node.func))


def _bindings(node: ast.AST) -> list[tuple[str, ast.expr | None]]:
    """Names that a statement binds, with their values; None if the value is not to be seen."""
    if isinstance(node, ast.Assign) and all(isinstance(t, ast.Name) for t in node.targets):
        return [(t.id, node.value if len(node.targets) == 1 else None) for t in node.targets]  # type: ignore
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [(node.target.id, None)]
    inside: list[ast.AST] = []
    if isinstance(node, ast.Assign):
        inside = list(node.targets)
    elif isinstance(node, (ast.AugAssign, ast.For)):
        inside = [node.target]
    return [(part.id, None) for target in inside for part in ast.walk(target)
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)]


class _NamedTuples(ast.NodeTransformer):
    """What makes a named tuple is a tuple that knows its fields."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        value = self._source.value_of(node.func)
        if not is_named_tuple(value):
            return node
        given = dict(zip(value._fields, node.args)) | {k.arg: k.value for k in node.keywords}
        if set(given) != set(value._fields) or len(node.args) > len(value._fields):
            self._source.refuse(node, f"the call {ast.unparse(node)}", f"give {', '.join(value._fields)}")
        made = ast.copy_location(ast.Tuple([given[name] for name in value._fields], ast.Load()), node)
        setattr(made, "fields", value._fields)
        return made


class _Uses(ast.NodeVisitor):
    """Of some names those whose tuples are read by constant index, unpacked, returned or given to a call alone."""

    def __init__(self, names: set[str], fields: Mapping[str, Sequence[str]]) -> None:
        self.names, self._fields = names, fields

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.names.discard(node.id)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        is_element = isinstance(node.ctx, ast.Load) and isinstance(node.value, ast.Name)
        if not is_element or _constant(node.slice) is None:
            self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if not (isinstance(node.value, ast.Name) and node.attr in self._fields.get(node.value.id, ())):
            self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if not (isinstance(node.value, ast.Name) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Tuple)):
            self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        if not isinstance(node.value, ast.Name):
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        self.visit(node.func)
        for part in (*node.args, *(k.value for k in node.keywords)):
            if not isinstance(part, ast.Name):
                self.visit(part)


def _constant(index: ast.expr) -> int | None:
    if isinstance(index, ast.UnaryOp) and isinstance(index.op, ast.USub):
        inner = _constant(index.operand)
        return None if inner is None else -inner
    return index.value if isinstance(index, ast.Constant) and type(index.value) is int else None


class _Elements(ast.NodeTransformer):
    """Puts the elements in the place of the tuples."""

    def __init__(self, elements: Mapping[str, Sequence[str]], fields: Mapping[str, Sequence[str]]) -> None:
        self._elements, self._fields = elements, fields

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id not in self._elements:
            return node
        names: list[ast.expr] = [ast.Name(name, node.ctx) for name in self._elements[node.id]]
        made = ast.copy_location(ast.Tuple(names, node.ctx), node)
        setattr(made, "fields", self._fields.get(node.id, ()))
        return made

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        k = _constant(node.slice)
        if isinstance(node.value, ast.Name) and node.value.id in self._elements and k is not None:
            names = self._elements[node.value.id]
            if -len(names) <= k < len(names):
                return ast.copy_location(ast.Name(names[k], node.ctx), node)
        return self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.value.id in self._elements:
            fields = list(self._fields.get(node.value.id, ()))
            if node.attr in fields:
                return ast.copy_location(ast.Name(self._elements[node.value.id][fields.index(node.attr)], node.ctx),
                                         node)
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id == "len" and len(node.args) == 1 and isinstance(
                node.args[0], ast.Name) and node.args[0].id in self._elements:
            return ast.copy_location(ast.Constant(len(self._elements[node.args[0].id])), node)
        return self.generic_visit(node)
