"""Adjoints of loops, compiled."""

from __future__ import annotations

import ast
import inspect
import linecache
import math
import re
from collections.abc import Callable, Sequence
from functools import cache
from types import FunctionType
from typing import Any

import numpy as np

from ..engine import as_written
from ..engine.language import enabled
from ..errors import CompileError, TapeMemoryError
from . import helpers
from .draws import random_state, restore
from .kinds import Kind, definition_of, infer
from .normal import Normal
from .recursion import called_in
from .stored import CompiledFiles, key_of, recall, remember

__all__ = ["Derived", "compiled_primal", "compiled_source", "primal_function"]

_FIRST = 1 << 10
_KEPT = 1 << 20  # longest tape in words that is kept for the next call: new memory costs more than writing it
_by_key: dict[str | None, Callable] = {}


@cache
def _helper(name: str) -> Callable:
    return _compiled(getattr(helpers, name))


def _helpers(source: str) -> dict[str, Callable]:
    """Those that a source text names."""
    return {name: _helper(name) for name in vars(helpers) if name.startswith("tapegrad_") and name in source}


def _compiled(function: Callable) -> Callable:
    if not enabled():
        return function
    import numba

    with as_written.own_flags():
        return numba.njit(fastmath=False, error_model="numpy", nogil=True)(function)


def compiled_source(source: str, name: str, constants: dict[str, Any], key: str | None = None,
                    others: Sequence[tuple[str, dict[str, Any]]] = ()) -> Callable:
    """The function of a source text, compiled when first called; tracebacks and debuggers find its lines.

    `key`, a hash of the source and of the constants, says where its machine code is kept; `others` are sources and
    constants of functions that it calls, and they each other.
    """
    if key in _by_key:
        return _by_key[key]
    file, texts = f"<{name}>", [*others, (source, constants)]
    whole = "".join(text for text, _ in texts)
    linecache.cache[file] = len(whole), None, whole.splitlines(True), file
    scopes: list[dict[str, Any]] = []
    line = 0
    for text, given in texts:
        if key is not None:  # as they were when they were hashed
            given = {c: value.copy() if isinstance(value, np.ndarray) else value for c, value in given.items()}
        scopes.append({**given, **_helpers(text), "np": np, "math": math, "__name__": __name__})
        exec(compile("\n" * line + text, file, "exec"), scopes[-1])
        line += text.count("\n")
    for scope, (text, _) in zip(scopes, texts):
        for own in re.findall(r"^def (\w+)", text, re.MULTILINE):
            if key is not None:
                scope[own].__qualname__ = f"{own}_{key}"  # of which numba makes the symbol: no other code may have it
            compiled = _compiled(scope[own])
            for other in scopes:
                other[own] = compiled
    compiled = scopes[-1][name]
    if key is not None and enabled():
        compiled._cache = CompiledFiles(key)  # type: ignore[attr-defined]
        _by_key[key] = compiled
    return compiled


class Derived:
    """The adjoint of a function for arguments of certain types.

    Parameters
    ----------
    normal : Normal
    types : tuple of numba types
    wanted : tuple of str
        Parameters to differentiate by.

    Attributes
    ----------
    source : str
    kinds : dict of str to Kind
    function : callable
        ``function(*args, *seeds, *adjoints, floats, integers)``, see `adjoint.derive_adjoint`.
    """

    def __init__(self, normal: Normal, types: tuple[Any, ...], wanted: Sequence[str],
                 limit: int = 1 << 33) -> None:
        self.normal, self.wanted, self.limit = normal, tuple(wanted), limit
        self.outputs = normal.outputs
        self.name = f"{normal.source.function.__name__}_adjoint"
        key = key_of(_constants(normal), primal_source(normal, self.name), list(map(str, types)), self.wanted)
        found = None if key is None else recall(key)
        self.kinds: dict[str, Kind]
        if found is None:
            from .adjoint import derive_adjoint  # a process that finds what it needs does without the rules

            self.kinds = infer(normal, types)
            own, self._written, others = derive_adjoint(normal, self.kinds, set(wanted), self.name)
            if key is not None:
                remember(key, (self.kinds, own, self._written, others))
        else:
            self.kinds, own, self._written, others = found
        calls = _definitions(normal) + [(text, normal.calls[name].normal.constants) for text, name in others]
        self.function = compiled_source(own, self.name, normal.constants, key, calls)
        self.source = "\n".join([*(text for text, _ in calls), own])
        self._floats, self._integers = _FIRST, _FIRST
        self._places = [normal.parameters.index(p) if self.kinds[p].is_array else None for p in self.wanted]
        self._results, self._has_scalars = len(self.outputs), None in self._places
        self._tapes: list[tuple[np.ndarray, np.ndarray]] = []  # that no thread uses now

    def run(self, args: Sequence[Any], seeds: Sequence[Any]) -> tuple[Sequence[Any], list[Any]]:
        """Results of the function, and its adjoints by the wanted parameters, given those of the outputs."""
        given = [0.0 if at is None else np.zeros(args[at].shape, args[at].dtype) for at in self._places]
        if self._written:
            self._check_apart(args)
        state = random_state() if self.normal.is_random else None
        while True:
            if state is not None:  # a second run draws what the first one drew
                restore(state)
            try:
                floats, integers = self._tapes.pop()
            except IndexError:
                floats, integers = np.empty(self._floats), np.empty(self._integers, np.int64)
            found = self.function(*args, *seeds, *given, floats, integers)
            top, bottom = found[:2]
            if top <= floats.size and bottom <= integers.size:
                break
            self._grow(int(top), int(bottom))
        if floats.size + integers.size <= _KEPT:
            self._tapes.append((floats, integers))
        if not self._has_scalars:
            return found[2:], given
        results, scalars = found[2:2 + self._results], iter(found[2 + self._results:])
        return results, [np.float64(next(scalars)) if at is None else g for at, g in zip(self._places, given)]

    def _check_apart(self, args: Sequence[Any]) -> None:
        """Refuse an array that is written to while another argument names elements of it."""
        for k in self._written:
            for j, other in enumerate(args):
                if j != k and isinstance(other, np.ndarray) and np.may_share_memory(args[k], other):
                    source, names = self.normal.source, self.normal.parameters
                    raise CompileError(f"{source.file}: {source.function.__name__}: the arguments {names[k]}, "
                                       f"which is written to, and {names[j]} share memory; give a copy")

    def _grow(self, top: int, bottom: int) -> None:
        """Make room for a longer run."""
        if 8 * (top + bottom) > self.limit:
            raise TapeMemoryError(f"{self.normal.source.function.__name__}: its reverse sweep needs a tape of "
                                  f"{8 * (top + bottom):,} bytes, more than max_bytes={self.limit:,}")
        self._floats, self._integers = max(self._floats, top), max(self._integers, bottom)

    def length(self, args: Sequence[Any], seeds: Sequence[Any]) -> tuple[int, int]:
        """How many floats and integers the forward sweep records."""
        given = [np.zeros_like(args[self.normal.parameters.index(p)]) if self.kinds[p].is_array else 0.0
                 for p in self.wanted]
        state = random_state() if self.normal.is_random else None
        top, bottom, *_ = self.function(*args, *seeds, *given, np.empty(0), np.empty(0, np.int64))
        if state is not None:
            restore(state)
        return int(top), int(bottom)


def compiled_primal(normal: Normal, name: str) -> Callable:
    """The normal form, compiled: of a function that calls others of ours, or itself, and of a tangent."""
    source = ast.unparse(definition_of(normal, name)) + "\n"
    key = key_of(_constants(normal), "normal form", primal_source(normal, name))
    return compiled_source(source, name, normal.constants, key, _definitions(normal))


def _definitions(normal: Normal) -> list[tuple[str, dict[str, Any]]]:
    """Sources and constants of what is called by name."""
    return [(ast.unparse(definition_of(called.normal, name)) + "\n", called.normal.constants)
            for name, called in called_in(normal).items()]


def _constants(normal: Normal) -> dict[str, Any]:
    """The constants of a normal form and of what it calls."""
    return {**normal.constants, **{f"{c} of {name}": value for name, called in called_in(normal).items()
                                   for c, value in called.normal.constants.items()}}


def primal_function(normal: Normal) -> Callable:
    """The user's function, compiled; kept on disk unless it calls functions that were compiled elsewhere."""
    function = normal.source.function
    names = inspect.getclosurevars(function)
    key = None
    if not any(hasattr(value, "py_func") for value in (*names.globals.values(), *names.nonlocals.values())):
        key = key_of(normal.constants, "primal", primal_source(normal, function.__name__))
    if key is None:
        return as_written.compiled(function)
    named = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__,
                         function.__closure__)
    named.__kwdefaults__, named.__doc__ = function.__kwdefaults__, function.__doc__
    named.__qualname__, named.__module__ = f"{function.__name__}_{key}", __name__
    compiled = as_written.compiled(named)
    compiled._cache = CompiledFiles(key)  # type: ignore[attr-defined]
    return compiled


def primal_source(normal: Normal, name: str) -> str:
    """The normal form as a function, behind those that it calls."""
    return "".join([*(text for text, _ in _definitions(normal)), ast.unparse(definition_of(normal, name))]) + "\n"
