"""Expressions that users type: a subset of Python, of which nothing else is evaluated."""

from __future__ import annotations

import ast
import operator
import string
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

from .. import functions
from ..errors import ArgumentError, ExpressionError, TapegradError
from ..nn import functional
from ..tensor.tensor import Tensor

__all__ = ["Expression"]

_BINARY: dict[type, Callable] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow, ast.MatMult: operator.matmul}
_COMPARED: dict[type, Callable] = {ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Lt: operator.lt, ast.LtE: operator.le,
                                   ast.Eq: operator.eq, ast.NotEq: operator.ne}
_NOT_PART = "this is not part of the language of expressions (arithmetic, functions, numbers, lists, indexing)"
#: nested parentheses, and length
_DEEPEST, _LONGEST = 100, 10_000


class Expression:
    """An expression over named variables; called with them, it gives a tensor, and names what it computes.

    Parameters
    ----------
    text : str
        Arithmetic (``+ - * / ** @``), comparisons in ``where``, names of functions such as ``tanh``, numbers, lists,
        indexing with integers and slices, ``.T``.

    Raises
    ------
    ExpressionError
        Anything else; says where.

    Examples
    --------
    >>> import tapegrad as tg
    >>> from tapegrad.explain.expression import Expression
    >>> Expression("(x + y) * z")(x=tg.tensor(1.0), y=tg.tensor(2.0), z=tg.tensor(3.0)).item()
    9.0
    """

    def __init__(self, text: str) -> None:
        self._text = text.strip()
        if len(text) > _LONGEST:
            raise ExpressionError(f"the expression has {len(text):,} characters, more than {_LONGEST:,}", text[:60], 60)
        try:
            self._tree = ast.parse(self._text, mode="eval").body
        except SyntaxError as error:
            column = (error.offset or len(self._text) + 1) - 1
            raise ExpressionError(f"not an expression: {error.msg}", self._text, column) from None
        except (ValueError, RecursionError, MemoryError) as error:
            raise ExpressionError(f"not an expression: {error or 'too deeply nested'}", self._text, 0) from None
        #: in the order of their first use
        self.variables: list[str] = []
        self._check(self._tree, 0)

    def __str__(self) -> str:
        return self._text

    __name__, is_text = "expression", True

    def _fail(self, reason: str, node: ast.AST) -> ExpressionError:
        column = getattr(node, "col_offset", 0)
        if isinstance(node, ast.BinOp) and node.left.end_col_offset is not None:  # its sign
            column = node.left.end_col_offset
            column += len(self._text[column:]) - len(self._text[column:].lstrip(" )"))
        return ExpressionError(reason, self._text, column)

    # -------------------------------------------------------------- what is allowed

    def _check(self, node: ast.AST, depth: int) -> None:
        if depth > _DEEPEST:
            raise self._fail(f"more than {_DEEPEST} levels of parentheses", node)
        if isinstance(node, ast.BinOp):
            if type(node.op) not in _BINARY:
                raise self._fail("an operator that has no derivative here; there are + - * / ** @", node)
            children: Sequence[ast.AST] = (node.left, node.right)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            children = (node.operand,)
        elif isinstance(node, ast.Name):
            if node.id not in self.variables:
                self.variables.append(node.id)
            children = ()
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, bool) or not isinstance(node.value, (int, float)):
                raise self._fail(f"{node.value!r} is no number", node)
            children = ()
        elif isinstance(node, (ast.List, ast.Tuple)):
            children = node.elts
        elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARED:
            children = (node.left, *node.comparators)
        elif isinstance(node, ast.Call):
            self._function(node)
            for keyword in node.keywords:
                if keyword.arg is None or not _is_option(keyword.value):
                    raise self._fail(f"option {keyword.arg} is to be a number, a tuple of integers, True or False",
                                     keyword.value)
            children = node.args
        elif isinstance(node, ast.Attribute) and node.attr == "T":
            children = (node.value,)
        elif isinstance(node, ast.Subscript):
            _index(node.slice, lambda part: self._fail("an index is integers and slices", part))
            children = (node.value,)
        else:
            raise self._fail(_NOT_PART, node)
        for child in children:
            self._check(child, depth + 1)

    def _function(self, node: ast.Call) -> Callable:
        if not isinstance(node.func, ast.Name):
            raise self._fail(_NOT_PART, node)
        name, known = node.func.id, _functions()
        if name not in known:
            near = ", ".join(get_close_matches(name, known, 4))
            raise self._fail(f"there is no function {name}" + (f"; there is {near}" if near else ""), node)
        return known[name]

    # -------------------------------------------------------------- values

    def values(self, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The variables' values in their order, numbers and lists as float64 arrays."""
        if len(args) > len(self.variables):
            raise ArgumentError(f"the expression has {len(self.variables)} variables, not {len(args)}")
        given = {**dict(zip(self.variables, args)), **kwargs}
        missing = [name for name in self.variables if name not in given]
        if missing:
            place = next(node for node in ast.walk(self._tree) if isinstance(node, ast.Name) and node.id == missing[0])
            raise self._fail(f"no value is given for {', '.join(missing)}", place)
        unknown = [name for name in given if name not in self.variables]
        if unknown:
            raise ArgumentError(f"the expression has no variable {', '.join(unknown)}; it has "
                                f"{', '.join(self.variables) or 'none'}")
        found = {}
        for name in sorted(given, key=list(given).index):
            value = given[name]
            if not isinstance(value, Tensor):
                try:
                    value = np.asarray(value)
                    value = value if value.dtype.kind == "f" else value.astype(np.float64)
                except (TypeError, ValueError):
                    raise ArgumentError(f"{name} is to be a number or nested lists of numbers, all of one length, not "
                                        f"{value!r}") from None
            found[name] = value
        return found

    def __call__(self, **variables: Any) -> Tensor:
        """The value, of tensors."""
        made: list[Tensor] = []
        result = self._value(self._tree, variables, made)
        if not isinstance(result, Tensor):
            result = Tensor(np.asarray(result, np.float64))
        self._name(made, variables)
        return result

    def _value(self, node: ast.AST, variables: dict[str, Any], made: list[Tensor]) -> Any:
        value = self._computed(node, variables, made)
        if isinstance(value, (tuple, list)) and not isinstance(node, (ast.List, ast.Tuple)):
            raise self._fail("it gives several results; index or name one", node)
        is_computed = isinstance(node, (ast.BinOp, ast.UnaryOp, ast.Call))
        if is_computed and isinstance(value, Tensor) and value.node is not None:
            if all(value.node is not t.node for t in (*made, *variables.values()) if isinstance(t, Tensor)):
                made.append(value)
        return value

    def _computed(self, node: ast.AST, variables: dict[str, Any], made: list[Tensor]) -> Any:
        def value(child: ast.AST) -> Any:
            return self._value(child, variables, made)

        if isinstance(node, ast.Name):
            return variables[node.id]
        if isinstance(node, ast.Constant):
            return float(node.value)  # type: ignore[arg-type]
        if isinstance(node, (ast.List, ast.Tuple)):
            return [value(part) for part in node.elts]
        parts = self._parts(node, value)
        try:
            return _apply(node, parts, self)
        except ExpressionError:
            raise
        except (TapegradError, ArithmeticError, TypeError, ValueError, IndexError) as error:
            message = str(error).split(": ", 1)[-1] if isinstance(error, TapegradError) else str(error.args[-1])
            raise self._fail(message, node) from None

    @staticmethod
    def _parts(node: ast.AST, value: Callable[[ast.AST], Any]) -> list[Any]:
        if isinstance(node, ast.BinOp):
            return [value(node.left), value(node.right)]
        if isinstance(node, ast.UnaryOp):
            return [value(node.operand)]
        if isinstance(node, ast.Compare):
            return [value(node.left), value(node.comparators[0])]
        if isinstance(node, ast.Call):
            return [value(argument) for argument in node.args]
        return [value(node.value)]  # type: ignore[attr-defined]

    def _name(self, made: Sequence[Tensor], variables: dict[str, Any]) -> None:
        """Letters for what was computed: those that follow the variables' in the alphabet, else q, r, ... and f."""
        taken, letters = set(variables), string.ascii_lowercase
        first = sorted(taken)
        if first and all(name in letters for name in first) and first == list(letters[:len(first)]) and (
                len(first) + len(made) <= len(letters)):
            names = list(letters[len(first):len(first) + len(made)])
        else:
            free = [c for c in "qrstuvw" if c not in taken]
            free += [f"{c}{k}" for k in range(1, len(made) // 3 + 2) for c in "qrstuvw" if f"{c}{k}" not in taken]
            names = free[:max(len(made) - 1, 0)] + ["f" if "f" not in taken else free[len(made) - 1]]
        for t, name in zip(made, names):
            t.named(name)


def _functions() -> dict[str, Callable]:
    """What an expression may call: functions of tensors, by name."""
    found: dict[str, Callable] = {}
    for module in (functional, functions):
        found.update({name: getattr(module, name) for name in vars(module)["__all__"]})
    return {name: function for name, function in found.items() if callable(function) and name[0].islower()}


def _apply(node: ast.AST, parts: list[Any], expression: Expression) -> Any:
    if isinstance(node, ast.BinOp):
        return _BINARY[type(node.op)](*map(_whole, parts))
    if isinstance(node, ast.UnaryOp):
        return -_whole(parts[0]) if isinstance(node.op, ast.USub) else +_whole(parts[0])
    if isinstance(node, ast.Compare):
        return _COMPARED[type(node.ops[0])](*map(_whole, parts))
    if isinstance(node, ast.Call):
        options = {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords if keyword.arg}
        function = expression._function(node)
        parts = [_option(given, part, function) for given, part in zip(node.args, parts)]
        return function(*map(_whole, parts), **options)
    if isinstance(node, ast.Attribute):
        return _whole(parts[0]).T
    return _whole(parts[0])[_index(node.slice, lambda part: TypeError("an index"))]  # type: ignore[attr-defined]


def _option(given: ast.AST, value: Any, function: Callable) -> Any:
    """An argument: integers stay such, for they may be axes and numbers of parts; `where` has values only."""
    if not isinstance(given, ast.Constant):
        return value
    return Tensor(np.asarray(value, np.float64)) if function is functions.where else given.value


def _whole(value: Any) -> Any:
    """A list of tensors and numbers as one tensor."""
    if not isinstance(value, list):
        return value
    parts = [_whole(part) for part in value]
    if not any(isinstance(part, Tensor) for part in parts):
        return Tensor(np.asarray(parts, np.float64))
    return functions.stack([part if isinstance(part, Tensor) else Tensor(np.asarray(part, np.float64))
                            for part in parts])


def _is_option(node: ast.AST) -> bool:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return False
    return value is None or isinstance(value, (int, float)) or (
        isinstance(value, tuple) and all(isinstance(part, int) for part in value))


def _index(node: ast.AST, refuse: Callable[[ast.AST], Exception]) -> Any:
    """An index of integers and slices."""
    if isinstance(node, ast.Tuple):
        return tuple(_index(part, refuse) for part in node.elts)
    if isinstance(node, ast.Slice):
        return slice(*(None if part is None else _index(part, refuse) for part in (node.lower, node.upper, node.step)))
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        raise refuse(node) from None
    if isinstance(value, bool) or not isinstance(value, int):
        raise refuse(node)
    return value
