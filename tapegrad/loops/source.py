"""A user's function as syntax, and the refusal of what is not understood."""

from __future__ import annotations

import ast
import builtins
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType, ModuleType
from typing import Any, NoReturn

from ..errors import CompileError

__all__ = ["Source", "plain_function"]


def plain_function(value: Any) -> FunctionType | None:
    """The Python function behind a function, a numba dispatcher or a `Loop`; None if there is none."""
    while not isinstance(value, FunctionType):
        inner = getattr(value, "py_func", None)
        if inner is None:
            return None
        value = inner
    return value


class Source:
    """The syntax of a function, with what its names refer to.

    Attributes
    ----------
    function : function
    definition : ast.FunctionDef
        With the line numbers of the user's file.
    elements : dict of str to sequence of str
        By name of a tuple those of its elements; see `tuples.with_elements`.
    """

    elements: Mapping[str, Sequence[str]] = {}

    def __init__(self, function: Callable) -> None:
        found = plain_function(function)
        if found is None:
            raise CompileError(f"njit takes a Python function or a numba dispatcher, not {type(function).__name__}")
        self.function = found
        self.file = inspect.getsourcefile(found) or found.__code__.co_filename
        try:
            lines, first = inspect.getsourcelines(found)
        except (OSError, TypeError):
            raise CompileError(f"{found.__name__}: its source is not at hand, and the adjoint is derived from the "
                               "source; define the function in a file or a notebook cell") from None
        tree = ast.parse(textwrap.dedent("".join(lines)))
        ast.increment_lineno(tree, first - 1)
        definition = next((node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.Lambda))), None)
        if not isinstance(definition, ast.FunctionDef):
            raise CompileError(f"{self.file}:{first}: njit derives the adjoint of functions that are defined with def, "
                               "not of a lambda or an async function")
        self.definition = definition
        closure = inspect.getclosurevars(found)
        self._scope = {**vars(builtins), **found.__globals__, **closure.nonlocals}
        arguments = definition.args
        if arguments.vararg or arguments.kwarg:
            self.refuse(definition, "*args and **kwargs", "name each parameter")
        self.parameters = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]

    def refuse(self, node: ast.AST, what: str, instead: str) -> NoReturn:
        """Raise that a construct is not understood, with its line and what to write instead."""
        line = getattr(node, "lineno", self.definition.lineno)
        raise CompileError(f"{self.file}:{line}: {self.function.__name__}: njit cannot derive the adjoint of {what}; "
                           f"{instead}")

    def value_of(self, node: ast.AST) -> Any:
        """What a name or a dotted name of the function's surroundings refers to; None if it is local or unknown."""
        if isinstance(node, ast.Name):
            found = self._scope.get(node.id)
            return self._defined_later(node.id) if found is None else found
        if isinstance(node, ast.Attribute):
            base = self.value_of(node.value)
            if isinstance(base, ModuleType):
                return getattr(base, node.attr, None)
        return None

    def _defined_later(self, name: str) -> Any:
        """What a name refers to that was not defined when the function was decorated, as its own is not."""
        free = self.function.__code__.co_freevars
        if name in free and self.function.__closure__:
            try:
                return self.function.__closure__[free.index(name)].cell_contents
            except ValueError:  # not yet
                return None
        return self.function.__globals__.get(name)

    @property
    def scope(self) -> dict[str, Any]:
        """Globals, builtins and the closure."""
        return self._scope
