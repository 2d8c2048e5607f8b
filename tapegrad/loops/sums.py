"""Sums of a reverse sweep: begun where nothing has been added yet, and kept in variables while a loop adds to them.

Both shorten what the next iteration waits for. An adjoint that is zero is assigned its first contribution, which costs
no addition (``0.0 + x`` is not ``x`` to a compiler, because of the sign of zero). What a loop adds to one element of an
array is summed in a variable, which stays in a register; the element is added to once, after the loop.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence

__all__ = ["with_sums"]


def with_sums(lines: Sequence[str], scalars: set[str], arrays: Mapping[str, tuple[str, int]],
              free: Callable[[str], str]) -> list[str]:
    """Lines of a reverse sweep that do the same with fewer additions in turn.

    Parameters
    ----------
    lines : sequence of str
    scalars : set of str
        Variables that hold adjoints of numbers.
    arrays : mapping of str to (str, int)
        By variable that holds the adjoint of an array, what tells its memory, and its number of axes.
    free : callable
        Gives a name that nothing else has.
    """
    tree = ast.parse("\n".join(lines))
    _zeros(tree.body, set(), scalars, begins=True)
    tree.body = _Summed(arrays, free).block(tree.body)
    return ast.unparse(ast.fix_missing_locations(tree)).splitlines()


# ------------------------------------------------------------------ what is added to zero


def _zeros(block: list[ast.stmt], zero: set[str], scalars: set[str], begins: bool = False) -> set[str]:
    """Variables that are zero after a block, of those that are before it and those that it sets to zero.

    With `begins`, what is added to one that is zero is assigned.
    """
    for k, s in enumerate(block):
        if isinstance(s, ast.If):
            zero = _zeros(s.body, zero, scalars, begins) & _zeros(s.orelse, zero, scalars, begins)
        elif isinstance(s, (ast.For, ast.While)):
            zero = _zero_at_its_start(s.body, zero, scalars)
            if begins:
                _zeros(s.body, zero, scalars, begins)
        elif isinstance(s, ast.AugAssign) and isinstance(s.target, ast.Name):
            if begins and s.target.id in zero and isinstance(s.op, (ast.Add, ast.Sub)):
                value = s.value if isinstance(s.op, ast.Add) else ast.UnaryOp(ast.USub(), s.value)
                block[k] = ast.copy_location(ast.Assign([s.target], value), s)
            zero = zero - {s.target.id}
        else:
            zero = zero - _stored([s])
            if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name) and s.targets[0].id in scalars and (
                    isinstance(s.value, ast.Constant) and s.value.value == 0.0):
                zero = zero | {s.targets[0].id}
    return zero


def _zero_at_its_start(body: list[ast.stmt], zero: set[str], scalars: set[str]) -> set[str]:
    """Variables that are zero whenever a loop's body begins, and after the loop, of those that are before it."""
    if any(isinstance(node, (ast.Break, ast.Continue)) for s in body for node in ast.walk(s)):
        return zero - _stored(body)
    while True:
        both = zero & _zeros(body, zero, scalars)
        if both == zero:
            return zero
        zero = both


def _stored(block: Sequence[ast.stmt]) -> set[str]:
    """Variables that statements assign."""
    return {node.id for s in block for node in ast.walk(s)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


# ------------------------------------------------------------------ what a loop adds to one element


class _Summed:
    """Gives sums of elements variables, in the outermost loops that can have them."""

    def __init__(self, arrays: Mapping[str, tuple[str, int]], free: Callable[[str], str]) -> None:
        self._arrays, self._free = arrays, free

    def block(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        """Statements, with what goes before and after their loops."""
        found: list[ast.stmt] = []
        for s in statements:
            if isinstance(s, ast.If):
                s.body, s.orelse = self.block(s.body), self.block(s.orelse)
            if not isinstance(s, (ast.For, ast.While)):
                found.append(s)
                continue
            sums: dict[str, tuple[str, ast.expr]] = {}
            for name in self._summed_in(s):
                _Variables(name, sums, self._free).visit(s)
            s.body = self.block(s.body)
            for variable, _ in sums.values():
                found += ast.parse(f"{variable} = 0.0").body
            found.append(s)
            for variable, place in sums.values():  # an element that was not added to may not be there
                found += ast.parse(f"if {variable} != 0.0:\n    {ast.unparse(place)} += {variable}").body
        return found

    def _summed_in(self, loop: ast.For | ast.While) -> list[str]:
        """Arrays of which the loop does nothing but add to elements that are the same in all of its iterations."""
        stored = _stored([loop])
        mentioned = [node.id for node in ast.walk(loop) if isinstance(node, ast.Name)]
        fits: dict[str, int] = {}
        for node in ast.walk(loop):
            if isinstance(node, ast.AugAssign) and isinstance(node.op, (ast.Add, ast.Sub)) and isinstance(
                    node.target, ast.Subscript) and isinstance(node.target.value, ast.Name):
                name = node.target.value.id
                if name in self._arrays and _is_element(node.target.slice, self._arrays[name][1], stored):
                    fits[name] = fits.get(name, 0) + 1
        roots = [self._arrays[name][0] for name in set(mentioned) & set(self._arrays)]
        return [name for name, times in fits.items()
                if mentioned.count(name) == times and roots.count(self._arrays[name][0]) == 1]


def _is_element(index: ast.expr, axes: int, stored: set[str]) -> bool:
    """Whether an index is of one element, and made of numbers and of variables that are not assigned."""
    parts = index.elts if isinstance(index, ast.Tuple) else [index]
    return len(parts) == axes and all(
        isinstance(node, (ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.expr_context))
        or isinstance(node, ast.Constant) and type(node.value) is int
        or isinstance(node, ast.Name) and node.id not in stored
        for part in parts for node in ast.walk(part))


class _Variables(ast.NodeTransformer):
    """Puts variables in the place of an array's elements."""

    def __init__(self, name: str, sums: dict[str, tuple[str, ast.expr]], free: Callable[[str], str]) -> None:
        self._name, self._sums, self._free = name, sums, free

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if not (isinstance(node.value, ast.Name) and node.value.id == self._name):
            return node
        text = ast.unparse(node)
        if text not in self._sums:
            self._sums[text] = self._free(f"{self._name}_sum{len(self._sums)}"), node
        return ast.Name(self._sums[text][0], ast.Store())
