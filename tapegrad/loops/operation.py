"""A loop as an op on the tape: of its derived adjoint, and of the derivative of that."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
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
        """The output; of several all, one after the other, as one vector; `shapes` are theirs."""
        wanted = self._wanted(tensors)
        key = "first", wanted, _several(shapes)
        if key not in self._ops:
            self._ops[key] = self._first(wanted, shapes)
        shape = shapes[0] if len(shapes) == 1 else (sum(map(math.prod, shapes)),)
        return self._ops[key].over(tensors, shape, self._dtype)

    def _wanted(self, tensors: Sequence[Tensor]) -> tuple[int, ...]:
        return tuple(k for k, t in enumerate(tensors) if self._given[k][0] and state.wants(t))

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
        if len(shapes) == 1:
            return [vector if shapes[0] else f"{vector}[()]"]
        found, at = [], 0
        for shape in shapes:
            count = math.prod(shape)
            part = f"{vector}[{at}]" if shape == () else f"{vector}[{at}:{at + count}].reshape({shape})"
            found.append(part)
            at += count
        return found

    def _stores(self, values: Sequence[str], vector: str, shapes: Sequence[tuple[int, ...]], sign: str = "=") -> str:
        """Statements that put outputs into a vector."""
        if len(shapes) == 1:
            if not shapes[0]:
                return f"    {vector}[()] {sign} {values[0]}\n"
            same = f"    assert {values[0]}.shape == {vector}.shape, 'an array of another shape than shape= says'\n"
            return same + f"    {vector}{'[...]' if sign == '=' else ''} {sign} {values[0]}\n"
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
        name = self.normal.source.function.__name__
        values = [f"r[{k}]" for k in range(len(shapes))] if self.normal.is_tuple else ["r"]
        forward = self._function(
            "forward", f"{', '.join(self._names)}, out",
            f"    r = primal({self._copied})\n{self._stores(values, 'out', shapes)}", {"primal": self._primal})
        adjoint = None
        if wanted:
            adjoint = self.adjoint(self._names, self._arguments, wanted, shapes)
        op = CustomOp(forward, adjoint, None, "out", name,
                      [f"x{k}" for k in range(len(self._given)) if k not in wanted])

        def inputs(r: Any) -> list[Tensor]:
            return [r.tensor(1 + k) for k in range(len(self._given))]

        self.give(op, {f"x{k}": k for k in wanted}, inputs, _several(shapes))
        return op

    def adjoint(self, names: Sequence[str], arguments: str, wanted: Sequence[int],
                shapes: Sequence[tuple[int, ...]], before: str = "") -> Callable:
        """``adjoint(g, *names, *adjoints)``, whose sweep takes these arguments, after some statements."""
        body, scope = self._sweep(self._derived(wanted), arguments, self._parts("g", shapes), wanted, len(shapes))
        return self._function("adjoint", ", ".join(["g", *names, *(f"dx{k}" for k in wanted)]), before + body, scope)

    def give(self, op: CustomOp, places: dict[str, int], inputs: Callable[[Any], Sequence[Tensor]],
             shapes: Sequence[tuple[int, ...]]) -> None:
        """Give an op its derivatives and tangents: by name of its inputs their numbers here; `inputs` are of an
        instruction what stands for our parameters."""
        for name, k in places.items():
            op.derivatives[name] = lambda r, g, k=k: self.derivative(k, shapes or [g.shape])(g, *inputs(r))
            op.tangents[name] = lambda r, d, k=k: self.along(k)((*inputs(r), d), shapes or [r.shape])

    def along(self, k: int) -> Operation:
        """The tangent along argument `k`, as a function of the arguments and of the direction."""
        if k not in self._tangents:
            tangent = derive_tangent(self.normal, self.kinds, [self.normal.parameters[k]])
            primal = compiled_primal(tangent, "tangent")
            self._tangents[k] = Operation(tangent, primal, (*self._given, self._given[k]), self._dtype)
        return self._tangents[k]

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
            wanted = self._wanted(tensors)
            key = "second", j, wanted, _several(shapes)
            if key not in self._ops:
                self._ops[key] = self._second(j, wanted, shapes)
            return self._ops[key].over([g, *tensors], tensors[j].shape, self._dtype)

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
        op = CustomOp(forward, adjoint, None, "out", name,
                      [f"x{k}" for k in range(len(self._given)) if k not in wanted])

        def of(r: Any) -> tuple[Tensor, list[Tensor], Sequence[tuple[int, ...]]]:
            g = r.tensor(1)
            return g, [r.tensor(2 + k) for k in range(len(self._given))], _several(shapes) or [g.shape]

        def along(r: Any, w: Tensor) -> Tensor:
            _, tensors, shapes = of(r)
            return tangent((*tensors, w), shapes)

        def again(r: Any, d: Tensor) -> Tensor:
            _, tensors, shapes = of(r)
            return self.derivative(j, shapes)(d, *tensors)

        def derivative(r: Any, w: Tensor, k: int) -> Tensor:
            g, tensors, shapes = of(r)
            return tangent.derivative(k, shapes)(g, *tensors, w)

        def moving(r: Any, d: Tensor, k: int) -> Tensor:
            g, tensors, shapes = of(r)
            return self.along(k).derivative(j, shapes)(g, *tensors, d)

        op.derivatives["g0"], op.tangents["g0"] = along, again
        for k in wanted:
            op.derivatives[f"x{k}"], op.tangents[f"x{k}"] = partial(derivative, k=k), partial(moving, k=k)
        return op


def _several(shapes: Sequence[tuple[int, ...]]) -> Any:
    """What code depends on: the shapes of several outputs, which are parts of one vector."""
    return tuple(shapes) if len(shapes) > 1 else ()
