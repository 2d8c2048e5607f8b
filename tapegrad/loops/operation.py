"""A loop as an op on the tape: of its derived adjoint, and of the derivative of that."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..functions.custom import CustomOp
from ..tape.state import state
from ..tensor.tensor import Tensor
from .analysis import Analysis
from .derived import Derived, compiled_primal, compiled_source
from .kinds import Kind, infer
from .normal import Normal
from .tangent import derive_tangent

__all__ = ["Operation"]

#: a sweep on a tape of its own, which is made longer if it was too short
_SWEEP = """
    top, bottom = 1024, 64
    while True:
        floats, integers = np.empty(top), np.empty(bottom, np.int64)
        found = sweep({arguments}, floats, integers)
        if found[0] <= top and found[1] <= bottom:
            break
        top, bottom = max(top, found[0]), max(bottom, found[1])
"""


class Operation:
    """A function of tensors of certain kinds.

    Parameters
    ----------
    normal : Normal
    primal : callable
        The compiled function.
    kinds : sequence of (is_float, ndim)
        Of the arguments.
    dtype : numpy.dtype
        Of their floats.
    """

    def __init__(self, normal: Normal, primal: Callable, kinds: Sequence[tuple[bool, int]], dtype: np.dtype) -> None:
        from numba.core import types

        of = types.float64 if dtype == np.float64 else types.float32
        self.normal, self._primal, self._given = normal, primal, tuple(kinds)
        self.types = tuple((of if is_float else types.int64) if not ndim else
                           types.Array(of if is_float else types.int64, ndim, "C") for is_float, ndim in kinds)
        self.kinds: dict[str, Kind] = infer(normal, self.types)
        self.outputs = [self.kinds[o] for o in normal.outputs]
        #: numbers of the arguments that the function writes to
        self.written = Analysis(normal, self.kinds, set()).written_arguments()
        self._dtype = dtype
        self._ops: dict[Any, CustomOp] = {}
        self._tangents: dict[int, Operation] = {}
        self._names = [f"x{k}" for k in range(len(kinds))]

    def __call__(self, tensors: Sequence[Tensor], shapes: Sequence[tuple[int, ...]]) -> Tensor:
        """All outputs, one after the other, as one vector; `shapes` are theirs."""
        wanted = tuple(k for k, t in enumerate(tensors) if self._given[k][0] and state.wants(t))
        key = "first", wanted, tuple(shapes)
        if key not in self._ops:
            self._ops[key] = self._first(wanted, shapes)
        return self._ops[key](*tensors)

    # -------------------------------------------------------------- sources

    def _argument(self, k: int) -> str:
        return f"x{k}" if self._given[k][1] else f"x{k}[()]"

    @property
    def _copied(self) -> str:
        """The arguments, copied where the function writes to them: a tensor's values stay."""
        return ", ".join(f"x{k}.copy()" if k in self.written else self._argument(k) for k in range(len(self._given)))

    @property
    def _arguments(self) -> str:
        return ", ".join(map(self._argument, range(len(self._given))))

    def _parts(self, vector: str, shapes: Sequence[tuple[int, ...]]) -> list[str]:
        """The outputs as parts of a vector."""
        found, at = [], 0
        for shape in shapes:
            count = math.prod(shape)
            part = f"{vector}[{at}]" if shape == () else f"{vector}[{at}:{at + count}].reshape({shape})"
            found.append(part)
            at += count
        return found

    def _stores(self, values: Sequence[str], vector: str, shapes: Sequence[tuple[int, ...]], sign: str = "=") -> str:
        """Statements that put outputs into a vector."""
        lines, at = [], 0
        for value, shape in zip(values, shapes):
            count = math.prod(shape)
            if shape == ():
                lines.append(f"    {vector}[{at}] {sign} {value}")
            else:
                lines.append(f"    {vector}[{at}:{at + count}] {sign} {value}.copy().reshape({count})")
            at += count
        return "\n".join(lines) + "\n"

    def _adds(self, wanted: Sequence[int], first: int) -> tuple[list[str], str]:
        """Adjoint arguments of a sweep, and statements that add what it returns for scalars, from result `first`."""
        given: list[str] = []
        lines: list[str] = []
        for k in wanted:
            if self._given[k][1]:
                given.append(f"dx{k}")
            else:
                given.append("0.0")
                lines.append(f"    dx{k}[()] += found[{first + len(lines)}]")
        return given, "\n".join(lines) + "\n"

    # -------------------------------------------------------------- ops

    def _first(self, wanted: tuple[int, ...], shapes: Sequence[tuple[int, ...]]) -> CustomOp:
        name, total = self.normal.source.function.__name__, sum(map(math.prod, shapes))
        values = [f"r[{k}]" for k in range(len(shapes))] if self.normal.is_tuple else ["r"]
        forward = self._function(
            "forward", f"{', '.join(self._names)}, out",
            f"    r = primal({self._copied})\n{self._stores(values, 'out', shapes)}", {"primal": self._primal})
        adjoint = None
        if wanted:
            body, scope = self._sweep(self._derived(wanted), self._arguments, self._parts("g", shapes), wanted,
                                      len(shapes))
            parameters = ["g", *self._names, *(f"dx{k}" for k in wanted)]
            adjoint = self._function("adjoint", ", ".join(parameters), body, scope)
        op = CustomOp(forward, adjoint, lambda *given: (total,), "out", name,
                      [f"x{k}" for k in range(len(self._given)) if k not in wanted])
        op.derivatives.update({f"x{k}": self.derivative(k, shapes) for k in wanted})
        op.tangents.update({f"x{k}": self._tangent(k, shapes) for k in wanted})
        return op

    def along(self, k: int) -> Operation:
        """The tangent along argument `k`, as a function of the arguments and of the direction."""
        if k not in self._tangents:
            tangent = derive_tangent(self.normal, self.kinds, [self.normal.parameters[k]])
            primal = compiled_primal(tangent, "tangent")
            self._tangents[k] = Operation(tangent, primal, (*self._given, self._given[k]), self._dtype)
        return self._tangents[k]

    def _tangent(self, k: int, shapes: Sequence[tuple[int, ...]]) -> Callable:
        return lambda d, *tensors: self.along(k)((*tensors, d), shapes)

    def _derived(self, wanted: Sequence[int]) -> Derived:
        return Derived(self.normal, self.types, [self.normal.parameters[k] for k in wanted])

    def _sweep(self, derived: Derived, arguments: str, seeds: Sequence[str], wanted: Sequence[int],
               results: int) -> tuple[str, dict[str, Any]]:
        given, adds = self._adds(wanted, 2 + results)
        text = _SWEEP.format(arguments=", ".join([arguments, *seeds, *given]))
        return text + adds, {"sweep": derived.function}

    @staticmethod
    def _function(name: str, parameters: str, body: str, scope: dict[str, Any]) -> Callable:
        compiled = compiled_source(f"def {name}({parameters}):\n{body.rstrip() or '    pass'}\n", name, scope)
        return getattr(compiled, "py_func", compiled)

    def derivative(self, j: int, shapes: Sequence[tuple[int, ...]]) -> Callable:
        """The contribution to argument `j` as an op of the cotangent and the arguments, which has an adjoint too."""

        def contribution(g: Tensor, *tensors: Tensor) -> Tensor:
            wanted = tuple(k for k, t in enumerate(tensors) if self._given[k][0] and state.wants(t))
            key = "second", j, wanted, tuple(shapes)
            if key not in self._ops:
                self._ops[key] = self._second(j, wanted, shapes)
            return self._ops[key](g, *tensors)

        return contribution

    def _second(self, j: int, wanted: tuple[int, ...], shapes: Sequence[tuple[int, ...]]) -> CustomOp:
        """A = g . df/dx_j. For a cotangent w of it: dg = df/dx_j w, dx = the adjoint of that, weighted by g."""
        name = f"{self.normal.source.function.__name__}.d{self.normal.parameters[j]}"
        ndim = self._given[j][1]
        seeds = self._parts("g0", shapes)
        given = "out" if ndim else "0.0"
        forward_text = _SWEEP.format(arguments=", ".join([self._arguments, *seeds, given]))
        forward_text = "    out[...] = 0.0\n" + forward_text if ndim else (
            forward_text + f"    out[()] = found[{2 + len(shapes)}]\n")
        forward = self._function("forward", f"g0, {', '.join(self._names)}, out", forward_text,
                                 {"sweep": self._derived([j]).function})
        tangent = self.along(j)
        moved = tangent._derived(wanted)
        direction = "g" if ndim else "g[()]"
        text, scope = self._sweep(moved, f"{self._arguments}, {direction}", seeds, wanted, len(shapes))
        text += self._stores([f"found[{2 + k}]" for k in range(len(shapes))], "dg0", shapes, "+=")
        parameters = ["g", "g0", *self._names, "dg0", *(f"dx{k}" for k in wanted)]
        adjoint = self._function("adjoint", ", ".join(parameters), text, scope)
        op = CustomOp(forward, adjoint, lambda g, *given: given[j], "out", name,
                      [f"x{k}" for k in range(len(self._given)) if k not in wanted])
        op.derivatives["g0"] = lambda w, g, *tensors: tangent((*tensors, w), shapes)
        op.tangents["g0"] = lambda d, g, *tensors: self.derivative(j, shapes)(d, *tensors)
        for k in wanted:
            op.derivatives[f"x{k}"] = _swapped(tangent.derivative(k, shapes))
            op.tangents[f"x{k}"] = _swapped(self.along(k).derivative(j, shapes))
        return op


def _swapped(function: Callable) -> Callable:
    """A function of the cotangent of a first derivative, its arguments and a direction, the direction first."""
    return lambda w, g, *tensors: function(g, *tensors, w)
