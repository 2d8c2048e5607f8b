"""Semantics of user functions: arithmetic in the order written, equal when compiled and as plain Python.

Compiled: numba's defaults for rounding (no ``fastmath``) and NumPy's for division by zero. Numba passes a caller's
flags on to a plain ``@njit`` function that it is the first to compile, and caches that, on disk too; so what a user's
function calls is compiled here with the flags that it would have by itself.

As plain Python (``NUMBA_DISABLE_JIT=1``): Python raises where machine code gives an infinity or NaN, raises integers to
negative powers as floats, and does not promote float32 as numba does. `twin` rewrites a function's source so that its
operators and calls behave as the compiled ones do.
"""

from __future__ import annotations

import ast
import builtins
import copy
import inspect
import math
import operator
import types
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ..errors import CompileError

__all__ = ["compiled", "own_flags", "twin"]

# ------------------------------------------------------------------ compiled

#: numba's defaults
_DEFAULTS = {"fastmath": False, "error_model": "python"}


def compiled(function: Callable) -> Callable:
    """The user's function for numba; its own ``njit`` options take precedence over ours."""
    import numba

    options = getattr(function, "targetoptions", {})
    said = {key: value for key, value in options.items() if key not in ("nopython", "forceobj")}
    return numba.njit(**{"fastmath": False, "error_model": "numpy", **said})(getattr(function, "py_func", function))


def own_flags() -> Any:
    """Context: functions that numba compiles for a user's function do not inherit their caller's flags."""
    from numba.core import event

    class OwnFlags(event.Listener):
        def on_start(self, event: Any) -> None:
            function = event.data["dispatcher"]
            if not _is_librarys(function.py_func):
                for key, value in _DEFAULTS.items():
                    function.targetoptions.setdefault(key, value)

        def on_end(self, event: Any) -> None:
            pass

    return event.install_listener("numba:compile", OwnFlags())


def _is_librarys(function: Callable) -> bool:
    """Whether the function is numba's, NumPy's or this package's, and so inherits its caller's flags."""
    return (function.__module__ or "").partition(".")[0] in ("numba", "numpy", __name__.partition(".")[0])


# ------------------------------------------------------------------ plain Python


def twin(function: Callable, raises: bool = False) -> Callable:
    """The function that runs instead of a user's while the JIT is disabled.

    Parameters
    ----------
    function : callable
    raises : bool, default False
        Whether division by zero raises, as in functions that a user's function calls.

    Raises
    ------
    CompileError
        If its source cannot be found.
    """
    found = _twins.get((function, raises))
    if found is None:
        found = _twins[function, raises] = _made(function, raises)
    return found


_twins: dict[tuple[Callable, bool], Callable] = {}


def _lifted(value: Any) -> Any:
    """A Python number as the NumPy scalar of numba's type, for type promotion."""
    kind = type(value)
    return np.float64(value) if kind is float else np.int64(value) if kind is int else value


def _is_whole(value: Any) -> bool:
    return isinstance(value, np.integer)


def _power(a: Any, b: Any) -> Any:
    """numba's ``int_power_impl``: the power of an integer is an integer, and 0.0 to a negative power raises."""
    a, b = _lifted(a), _lifted(b)
    if np.ndim(a) or not _is_whole(b) or b >= 0:
        return a ** b
    if not _is_whole(a):
        power = a ** -b
        if power == 0.0:
            raise ZeroDivisionError("0.0 cannot be raised to a negative integer power; write 1.0 / x**n")
        return 1.0 / power
    if a == 0:
        return np.int64(np.iinfo(np.int64).min)
    return np.int64(0) if abs(a) != 1 else a ** (b & 1)


def _arithmetic(operation: Callable) -> Callable:
    return lambda a, b: operation(_lifted(a), _lifted(b))


#: operator by type of syntax node
_OPERATORS: dict[type[ast.operator], Callable] = {
    ast.Add: _arithmetic(operator.add), ast.Sub: _arithmetic(operator.sub), ast.Mult: _arithmetic(operator.mul),
    ast.Div: _arithmetic(operator.truediv), ast.FloorDiv: _arithmetic(operator.floordiv),
    ast.Mod: _arithmetic(operator.mod), ast.Pow: _power,
}
_IN_PLACE: dict[type[ast.operator], Callable] = {
    ast.Add: operator.iadd, ast.Sub: operator.isub, ast.Mult: operator.imul, ast.Div: operator.itruediv,
    ast.FloorDiv: operator.ifloordiv, ast.Mod: operator.imod, ast.Pow: operator.ipow,
}
_DIVIDING = (ast.Div, ast.FloorDiv, ast.Mod)


def _refusing_zero(operation: Callable) -> Callable:
    def divided(a: Any, b: Any) -> Any:
        if np.ndim(a) == 0 and np.ndim(b) == 0 and b == 0:
            raise ZeroDivisionError("division by zero")
        return operation(a, b)

    return divided


def _on_arrays_in_place(operation: Callable, in_place: Callable) -> Callable:
    return lambda a, b: in_place(a, _lifted(b)) if isinstance(a, np.ndarray) else operation(a, b)


@cache
def _scope(raises: bool) -> dict[str, Callable]:
    """The names that `_Rewritten` uses, with their values."""
    scope: dict[str, Callable] = {"called": _called}
    for kind, operation in _OPERATORS.items():
        if raises and kind in _DIVIDING:
            operation = _refusing_zero(operation)
        scope[kind.__name__] = operation
        scope["In" + kind.__name__] = _on_arrays_in_place(operation, _IN_PLACE[kind])
    return {_PREFIX + name: function for name, function in scope.items()}


_PREFIX = "__as_compiled_"


@cache
def _library() -> dict[Callable, Callable]:
    """Replacements of functions that raise in Python but not in machine code."""
    from scipy import special

    same = {"acosh": "arccosh", "acos": "arccos", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan",
            "atan2": "arctan2", "atanh": "arctanh", "pow": "float_power"}
    names = [*same, "cos", "cosh", "exp", "expm1", "fmod", "hypot", "log", "log10", "log1p", "log2", "sin", "sinh",
             "sqrt", "tan", "tanh"]
    library: dict[Callable, Callable] = {getattr(math, name): getattr(np, same.get(name, name)) for name in names}
    library.update({math.gamma: special.gamma, math.lgamma: special.gammaln, builtins.pow: _power,
                    builtins.divmod: lambda a, b: divmod(_lifted(a), _lifted(b))})
    return library


def _called(function: Any) -> Any:
    """What a call of `function` is rewritten to."""
    try:
        found = _library().get(function)
    except TypeError:  # not hashable
        return function
    if found is None and type(function) is types.FunctionType and not _is_librarys(function):
        found = twin(function, raises=True)
    return function if found is None else found


class _Rewritten(ast.NodeTransformer):
    """Rewrites operators and calls to functions of `_scope`."""

    def _call(self, name: str, *arguments: ast.expr) -> ast.expr:
        return ast.Call(ast.Name(_PREFIX + name, ast.Load()), list(arguments), [])

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        if type(node.op) not in _OPERATORS:
            return node
        return ast.copy_location(self._call(type(node.op).__name__, node.left, node.right), node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        self.generic_visit(node)
        if type(node.op) not in _OPERATORS:
            return node
        before = copy.deepcopy(node.target)
        before.ctx = ast.Load()
        value = self._call("In" + type(node.op).__name__, before, node.value)
        return ast.copy_location(ast.Assign([node.target], value), node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        node.func = ast.copy_location(self._call("called", node.func), node.func)
        return node


def _made(function: Callable, raises: bool) -> Callable:
    if not isinstance(function, types.FunctionType):  # a callable object, say: unchanged
        return function
    code = function.__code__
    node = _definition(function)
    body: list[ast.stmt] = (node.body if isinstance(node, ast.FunctionDef) else
                            [ast.copy_location(ast.Return(node.body), node.body)])
    # nested in a function that binds its closure variables, so that the compiler makes cells of them
    inner = ast.FunctionDef(code.co_name if code.co_name.isidentifier() else "twin", node.args, body, [], None)
    cells = ast.arguments([], [ast.arg(name) for name in code.co_freevars], None, [], [], None, [])
    outer = ast.FunctionDef("bound", cells, [inner], [], None)
    if hasattr(inner, "type_params"):
        inner.type_params, outer.type_params = [], []  # type: ignore[attr-defined]
    tree = _Rewritten().visit(ast.copy_location(outer, node))
    ast.copy_location(inner, node)
    module = ast.fix_missing_locations(ast.Module([tree], []))
    made = _code_within(_code_within(compile(module, code.co_filename, "exec"), "bound"), inner.name)
    # numba freezes globals when it compiles, too
    scope = {**function.__globals__, **_scope(raises), "__builtins__": builtins}
    held = dict(zip(code.co_freevars, function.__closure__ or ()))
    result = types.FunctionType(made, scope, function.__name__, function.__defaults__,
                                tuple(held[name] for name in made.co_freevars))
    result.__kwdefaults__ = function.__kwdefaults__
    return result


def _code_within(code: types.CodeType, name: str) -> types.CodeType:
    return next(c for c in code.co_consts if isinstance(c, types.CodeType) and c.co_name == name)


def _definition(function: types.FunctionType) -> ast.FunctionDef | ast.Lambda:
    """The part of the source that defines the function."""
    code = function.__code__
    try:
        lines, _ = inspect.findsource(function)
    except (OSError, TypeError):
        lines = []
    found = []
    for node in ast.walk(ast.parse("".join(lines))) if lines else ():
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
            if first == code.co_firstlineno and _arguments_of(node) == code.co_varnames[:_count(code)]:
                found.append(node)
    bodies = {ast.dump(node) for node in found}
    if len(bodies) != 1:
        raise CompileError(f"with NUMBA_DISABLE_JIT=1 the source of {function.__qualname__} is needed, and "
                           f"{'several functions stand' if bodies else 'none is to be found'} at "
                           f"{code.co_filename}:{code.co_firstlineno}; define it in a file, on a line of its own")
    return found[0]


def _count(code: types.CodeType) -> int:
    return code.co_argcount + code.co_kwonlyargcount


def _arguments_of(node: ast.FunctionDef | ast.Lambda) -> tuple[str, ...]:
    return tuple(a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs))
