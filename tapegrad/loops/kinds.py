"""Types of a normal form's variables, as numba infers them."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ..engine.language import enabled
from ..errors import CompileError
from . import helpers
from .normal import Normal
from .recursion import called_in

__all__ = ["Kind", "definition_of", "infer", "kind_of", "type_of"]

_HELPERS = [name for name in vars(helpers) if name.startswith("tapegrad_")]


@dataclass(frozen=True)
class Kind:
    """A type: floats or integers, of so many axes; or a tuple.

    Attributes
    ----------
    is_float : bool
    ndim : int
        0 of scalars.
    is_tuple : bool
    dtype : str
        As NumPy names it.
    """

    is_float: bool
    ndim: int
    dtype: str
    is_tuple: bool = False

    @property
    def is_array(self) -> bool:
        """Whether it has axes."""
        return self.ndim > 0


def kind_of(argument: ast.expr, kinds: Mapping[str, Kind], constants: dict[str, Any]) -> Kind:
    """The kind of an argument of such a call: a name or a number."""
    if isinstance(argument, ast.Name) and argument.id in kinds:
        return kinds[argument.id]
    value = constants[argument.id] if isinstance(argument, ast.Name) else ast.literal_eval(argument)
    dtype = np.asarray(value).dtype
    return Kind(dtype.kind == "f", np.ndim(value), str(dtype) if np.ndim(value) or dtype.kind != "i" else "int64")


def type_of(kind: Kind) -> Any:
    """A numba type of a kind."""
    from numba.core import types
    from numba.np.numpy_support import from_dtype

    of = from_dtype(np.dtype(kind.dtype))
    return types.Array(of, kind.ndim, "A") if kind.ndim else of


def definition_of(normal: Normal, name: str) -> ast.Module:
    """The normal form as a function definition."""
    body = list(normal.body)
    if normal.outputs:
        results: list[ast.expr] = [ast.Name(o, ast.Load()) for o in normal.outputs]
        body.append(ast.Return(ast.Tuple(results, ast.Load()) if normal.is_tuple else results[0]))
    arguments = ast.arguments([], [ast.arg(p) for p in normal.parameters], None, [], [], None, [])
    definition = ast.FunctionDef(name, arguments, with_exits(body) or [ast.Pass()], [], None)
    if hasattr(definition, "type_params"):
        definition.type_params = []
    return ast.fix_missing_locations(ast.Module([definition], []))


def with_exits(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements, with a break at the end of the loops whose flags say so, and assignments to elements as such."""
    found: list[ast.stmt] = []
    for s in body:
        if isinstance(s, ast.Assign) and getattr(s, "in_place", False) and isinstance(s.value, ast.BinOp):
            s = ast.AugAssign(s.targets[0], s.value.op, s.value.right)  # type: ignore[arg-type]
        elif isinstance(s, ast.If):
            s = ast.If(s.test, with_exits(s.body), with_exits(s.orelse))
        elif isinstance(s, (ast.For, ast.While)):
            inner = with_exits(s.body) + [
                ast.If(ast.Compare(ast.Name(flag, ast.Load()), [ast.NotEq()], [ast.Constant(0)]), [ast.Break()], [])
                for flag in getattr(s, "leaves", ())]
            s = ast.For(s.target, s.iter, inner, []) if isinstance(s, ast.For) else ast.While(s.test, inner, [])
        found.append(s)
    return found


class _WithoutAsserts(ast.NodeTransformer):
    """Numba types no raise before its passes have rewritten it."""

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        return ast.copy_location(ast.Pass(), node)


def infer(normal: Normal, given: tuple[Any, ...]) -> dict[str, Kind]:
    """By variable its kind, for arguments of these numba types.

    Raises
    ------
    CompileError
        Numba does not understand the function, or a variable is of a type that is not understood here.
    """
    from numba.core import compiler, registry, typed_passes
    from numba.core.errors import NumbaError
    from numba.core.types import unliteral

    tree = definition_of(normal, "normal")
    scope = {**_constants(normal), **_callees(normal)}
    exec(ast.unparse(_WithoutAsserts().visit(tree)), scope)
    name = normal.source.function.__name__
    try:
        ir = compiler.run_frontend(scope["normal"])
        typing, target = registry.cpu_target.typing_context, registry.cpu_target.target_context
        typing.refresh()
        target.refresh()
        found = typed_passes.type_inference_stage(typing, target, ir, given, None)
    except AttributeError:
        if enabled():
            raise
        raise CompileError(f"{normal.source.file}: {name}: numba cannot type it while its compiler is switched off; "
                           "the adjoint is derived without NUMBA_DISABLE_JIT=1") from None
    except NumbaError as error:
        raise CompileError(f"{normal.source.file}: {name}: numba cannot type it: {error}") from None
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} | set(normal.parameters)
    versions: dict[str, list[Any]] = {}
    for version, of in found.typemap.items():  # numba's static single assignments: x, x.1, x.2
        if version.split(".")[0] in names:
            versions.setdefault(version.split(".")[0], []).append(unliteral(of))
    kinds = {}
    for variable, all_of in versions.items():
        of = all_of[0] if len(set(all_of)) == 1 else typing.unify_types(*all_of)
        if of is None:
            raise CompileError(f"{normal.source.file}: {name}: njit cannot derive the adjoint of the variable "
                               f"{variable}, which is of several types: {', '.join(map(str, dict.fromkeys(all_of)))}; "
                               "use two names")
        kinds[variable] = _kind(variable, of, normal)
    return kinds


@cache
def _compiled(helper: Any) -> Any:
    import numba

    return numba.njit(error_model="numpy")(helper)


def _constants(normal: Normal) -> dict[str, Any]:
    """The constants of a normal form, the helpers that its tangent calls as numba can type them."""
    return {name: _compiled(value) if name in _HELPERS else value for name, value in normal.constants.items()}


def _callees(normal: Normal) -> dict[str, Any]:
    """What a normal form calls by name, for numba to type."""
    import numba

    found: dict[str, Any] = {}
    scopes = []
    for name, called in called_in(normal).items():
        scopes.append(_constants(called.normal))
        exec(ast.unparse(definition_of(called.normal, name)), scopes[-1])
        found[name] = numba.njit(error_model="numpy")(scopes[-1][name])
    for scope in scopes:
        scope.update(found)
    return found


def _kind(variable: str, of: Any, normal: Normal) -> Kind:
    from numba.core import types

    if isinstance(of, types.Float):
        return Kind(True, 0, str(of))
    if isinstance(of, (types.Integer, types.Boolean)):
        return Kind(False, 0, "bool" if isinstance(of, types.Boolean) else "int64")
    if isinstance(of, types.Array) and of.ndim:
        if isinstance(of.dtype, types.Float):
            return Kind(True, of.ndim, str(of.dtype))
        if isinstance(of.dtype, (types.Integer, types.Boolean)):
            return Kind(False, of.ndim, str(np.dtype(str(of.dtype)) if str(of.dtype) != "bool" else "bool"))
    if isinstance(of, types.BaseTuple):
        has_floats = any(isinstance(t, (types.Float, types.Array)) for t in of)  # type: ignore[attr-defined]
        return Kind(has_floats, 0, "tuple", True)
    if isinstance(of, (types.Module, types.Function, types.Dispatcher, types.NumberClass, types.NoneType,
                       types.RangeType, types.DTypeSpec, types.FunctionType, types.Omitted)):
        return Kind(False, 0, str(of), True)
    raise CompileError(f"{normal.source.file}: {normal.source.function.__name__}: njit cannot derive the adjoint of "
                       f"the variable {variable}, which is of numba's type {of}; use floats, integers, booleans and "
                       "arrays of them")
