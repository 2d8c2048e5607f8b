"""Adjoints of loops, compiled."""

from __future__ import annotations

import ast
import linecache
import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from ..engine import as_written
from ..engine.language import enabled
from ..errors import TapeMemoryError
from . import helpers
from .adjoint import derive_adjoint
from .kinds import Kind, definition_of, infer
from .normal import Normal

__all__ = ["Derived", "compiled_source"]

_FIRST = 1 << 10


@cache
def _helpers() -> dict[str, Callable]:
    return {name: _compiled(value) for name, value in vars(helpers).items() if name.startswith("tapegrad_")}


def _compiled(function: Callable) -> Callable:
    if not enabled():
        return function
    import numba

    with as_written.own_flags():
        return numba.njit(fastmath=False, error_model="numpy", nogil=True)(function)


def compiled_source(source: str, name: str, constants: dict[str, Any]) -> Callable:
    """The function of a source text, compiled when first called; tracebacks and debuggers find its lines."""
    file = f"<{name}>"
    linecache.cache[file] = len(source), None, source.splitlines(True), file
    scope = {**_helpers(), **constants, "np": np, "math": math}
    exec(compile(source, file, "exec"), scope)
    return _compiled(scope[name])


class Derived:
    """The adjoint of a function for arguments of certain types.

    Parameters
    ----------
    normal : Normal
    types : tuple of numba types
    wanted : tuple of str
        Parameters to differentiate by.
    outputs : sequence of str, optional
        Parameters that are written to, in place of what is returned.

    Attributes
    ----------
    source : str
    kinds : dict of str to Kind
    function : callable
        ``function(*args, *seeds, *adjoints, floats, integers)``, see `adjoint.derive_adjoint`.
    """

    def __init__(self, normal: Normal, types: tuple[Any, ...], wanted: Sequence[str],
                 outputs: Sequence[str] | None = None, limit: int = 1 << 33) -> None:
        self.normal, self.wanted, self.limit = normal, tuple(wanted), limit
        self.kinds: dict[str, Kind] = infer(normal, types)
        self.outputs = list(normal.outputs if outputs is None else outputs)
        self.name = f"{normal.source.function.__name__}_adjoint"
        self.source = derive_adjoint(normal, self.kinds, set(wanted), self.outputs, self.name)
        self.function = compiled_source(self.source, self.name, normal.constants)
        self._floats, self._integers = _FIRST, _FIRST

    def run(self, args: Sequence[Any], seeds: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Results of the function, and its adjoints by the wanted parameters, given those of the outputs."""
        given = [np.zeros_like(args[self.normal.parameters.index(p)]) if self.kinds[p].is_array else 0.0
                 for p in self.wanted]
        while True:
            floats, integers = np.empty(self._floats), np.empty(self._integers, np.int64)
            top, bottom, *found = self.function(*args, *seeds, *given, floats, integers)
            if top <= floats.size and bottom <= integers.size:
                break
            self._grow(int(top), int(bottom))
        results = [o for o in self.outputs if o not in self.normal.parameters]
        scalars = iter(found[len(results):])
        return found[:len(results)], [g if self.kinds[p].is_array else next(scalars)
                                      for p, g in zip(self.wanted, given)]

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
        top, bottom, *_ = self.function(*args, *seeds, *given, np.empty(0), np.empty(0, np.int64))
        return int(top), int(bottom)


def primal_source(normal: Normal, name: str) -> str:
    """The normal form as a function."""
    return ast.unparse(definition_of(normal, name)) + "\n"
