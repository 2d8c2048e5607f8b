"""`tg.custom_op`: a user's own forward and adjoint, compiled, with an opcode of its own."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any, NoReturn

import numpy as np

from ..engine import as_written
from ..engine.caller import user_line
from ..engine.language import array_of, enabled
from ..engine.row import Words, contiguous, declared, int64
from ..errors import ArgumentError, CompileError, DtypeError, GradientError, ShapeError
from ..ops.table import Op, kernel_of
from ..tape.state import state
from ..tensor.arrays import INT64
from ..tensor.copies import by_name_or
from ..tensor.recording import common_dtype, gathered, lift_to, record
from ..tensor.tensor import Tensor

_serial = 0
#: how an adjoint is derived from the source of a forward; the room of loops, which stands above, says it
_deriver: list[Callable] = []


def derive_with(deriver: Callable[[CustomOp, tuple, int, np.dtype, tuple[str, ...]], CustomOp]) -> None:
    """Say how the op with a derived adjoint is made: of an op without one, for inputs of these (axes, is integer), an
    output of so many axes, a dtype, and names of the inputs that require a gradient."""
    _deriver[:] = [deriver]


@cache
def _extents(ndim: int) -> type[Words]:
    """A declaration of the extents of an array."""

    class Extents(Words, count=ndim):
        pass

    return Extents


class CustomOp:
    """An op made by `custom_op`; call it with tensors or arrays, and scalars as keywords."""

    def __init__(self, forward: Callable, adjoint: Callable | None, shape: Callable | None, output: str,
                 name: str | None, nondiff: Sequence[str] = (), parameters: Sequence[str] = ()) -> None:
        global _serial
        _serial += 1
        self.name = name or forward.__name__
        self._serial = _serial
        parameters = list(parameters or inspect.signature(forward).parameters)
        if output not in parameters:
            raise ArgumentError(f"custom_op {self.name}: forward must have a parameter {output!r}, the output array "
                                f"that it fills; it has {', '.join(parameters)}")
        at = parameters.index(output)
        self.inputs, self.scalars = tuple(parameters[:at]), tuple(parameters[at + 1:])
        if not self.inputs:
            raise ArgumentError(f"custom_op {self.name}: forward needs an input before {output!r}")
        self.forward, self._adjoint, self._shape, self.output = forward, adjoint, shape, output
        self.nondiff = (nondiff,) if isinstance(nondiff, str) else tuple(nondiff)
        self.__module__ = getattr(forward, "__module__", __name__)
        self.__qualname__ = getattr(forward, "__qualname__", self.name)
        self._given: tuple[str, ...] = ()
        if adjoint is not None:
            self._given = tuple(inspect.signature(adjoint).parameters)
            known = {"g", output, *self.inputs, *self.scalars, *("d" + n for n in self.inputs)}
            unknown = [p for p in self._given if p not in known]
            if unknown or "g" not in self._given:
                raise ArgumentError(f"custom_op {self.name}: adjoint takes 'g' (the output's adjoint) and "
                                    f"some of {', '.join(sorted(known - {'g'}))}; it has {', '.join(self._given)}")
        #: inputs whose adjoint the user computes
        self.differentiable = tuple(n for n in self.inputs if "d" + n in self._given)
        unknown = [n for n in self.nondiff if n not in self.inputs or n in self.differentiable]
        if unknown:
            raise ArgumentError(f"custom_op {self.name}: nondiff names inputs of which the adjoint has no 'd...' "
                                f"({', '.join(n for n in self.inputs if n not in self.differentiable) or 'none'}); "
                                f"it has {', '.join(map(repr, unknown))}")
        #: by input its contribution once more, as a rule of the instruction and of the cotangent
        self.derivatives: dict[str, Callable] = {}
        #: by input the output's tangent, as a rule of the instruction and of a direction
        self.tangents: dict[str, Callable] = {}
        self._op = lru_cache(maxsize=None)(self._make_op)
        self._derived = lru_cache(maxsize=None)(self._derive)
        self.__doc__ = inspect.getdoc(forward) or f"Custom op {self.name}."

    def __reduce__(self) -> Any:
        return by_name_or(self, (type(self), (self.forward, self._adjoint, self._shape, self.output, self.name,
                                         self.nondiff)))

    @property
    def saves(self) -> tuple[str, ...]:
        """Names of the inputs and output that the adjoint reads: the save rule."""
        return tuple(n for n in (*self.inputs, self.output) if n in self._given)

    def __call__(self, *inputs: Any, **scalars: float) -> Tensor:
        """Apply the op."""
        if len(inputs) != len(self.inputs):
            raise ArgumentError(f"{self.name}: expects {len(self.inputs)} inputs ({', '.join(self.inputs)}), "
                                f"got {len(inputs)}")
        missing, extra = set(self.scalars) - set(scalars), set(scalars) - set(self.scalars)
        if missing or extra:
            raise ArgumentError(f"{self.name}: keyword scalars are {', '.join(self.scalars) or 'none'}; "
                                f"missing {sorted(missing)}, unknown {sorted(extra)}")
        inputs = tuple([gathered(x) for x in inputs])
        dtype = common_dtype(inputs)
        tensors = [self._operand(x, dtype) for x in inputs]
        shapes = [t.shape for t in tensors]
        shape = shapes[0] if self._shape is None else self._shape(*shapes)
        shape = tuple(int(n) for n in (shape if isinstance(shape, (tuple, list)) else (shape,)))
        if any(n < 0 for n in shape):
            raise ShapeError(f"{self.name}: the shape rule gave {list(shape)} for inputs {[list(s) for s in shapes]}")
        return self.over(tensors, shape, dtype, [float(scalars[name]) for name in self.scalars])

    def over(self, tensors: Sequence[Tensor], shape: tuple[int, ...], dtype: np.dtype,
             scalars: Sequence[float] = ()) -> Tensor:
        """Apply the op to tensors of one dtype, with an output of this shape."""
        kinds = tuple((t.ndim, t.dtype == INT64) for t in tensors)
        wanted = [state.wants(t) for t in tensors]
        missing = tuple(name for name, wants in zip(self.inputs, wanted)
                        if wants and name not in self.differentiable and name not in self.nondiff)
        if missing:
            if self._adjoint is not None or not _deriver:
                self._refuse(missing[0])
            return self._derived(kinds, len(shape), dtype, missing).over(tensors, shape, dtype, scalars)
        op = self._op(kinds, len(shape))
        assert op.row is not None
        words = op.row.words(**{f"extents_{name}": t.shape for name, t in zip(self.inputs, tensors)},
                             extents=shape, **{f"scalar_{name}": s for name, s in zip(self.scalars, scalars)})
        spare = [(max(t.nbytes, 1), t.dtype.itemsize)
                 if name in self.differentiable and any(wanted) and not wants else (1, 1)
                 for name, t, wants in zip(self.inputs, tensors, wanted)] if self._adjoint is not None else []
        return record(op, tensors, shape, words, dtype=dtype, aux=spare)

    def _derive(self, kinds: tuple[tuple[int, bool], ...], out_ndim: int, dtype: np.dtype,
                wanted: tuple[str, ...]) -> CustomOp:
        """The same op with an adjoint that is derived from `forward`."""
        try:
            return _deriver[0](self, kinds, out_ndim, dtype, wanted)
        except CompileError as error:
            self._refuse(wanted[0], f"has no adjoint, none can be derived ({error})", error)

    def _refuse(self, input: str, how: str = "", cause: Exception | None = None) -> NoReturn:
        """The gradient with respect to an input is wanted, and there is no adjoint for it."""
        how = how or ("has no adjoint" if self._adjoint is None else f"has an adjoint without d{input}")
        raise GradientError(f"{user_line()}: custom_op {self.name} {how}, and its input {input} requires a gradient; "
                            f"add d{input} to an adjoint, detach() the input, or say nondiff=({input!r},) if the "
                            "gradient is zero") from cause

    def _operand(self, value: Any, dtype: np.dtype) -> Tensor:
        t = value if isinstance(value, Tensor) else None
        if t is None and np.asarray(value).dtype.kind in "iu" and not isinstance(value, (int, float)):
            t = Tensor(value)
        if t is not None and t.dtype == INT64:
            return t
        if t is not None and not t.is_floating:
            raise DtypeError(f"{self.name}: inputs are float or int64, not {t.dtype}")
        return lift_to(value, dtype)

    # -------------------------------------------------------------- kernels

    def _make_op(self, kinds: tuple[tuple[int, bool], ...], out_ndim: int) -> Op:
        """The op for inputs of these numbers of axes and kinds; its kernels are generated source around the user's
        functions, for numba must see each array's rank."""
        inputs = [f"x{j}" for j in range(len(self.inputs))]
        for name, (_, whole) in zip(self.inputs, kinds):
            if whole and name in self.differentiable:
                raise DtypeError(f"{self.name}: input {name} is integer and has no adjoint")
        of_int64 = {x: contiguous | (int64 if whole else 0) for x, (_, whole) in zip(inputs, kinds)}
        attributes: dict[str, Any] = {f"extents_{name}": _extents(ndim) for name, (ndim, _) in zip(self.inputs, kinds)}
        attributes.update({"extents": _extents(out_ndim), **{f"scalar_{name}": "float" for name in self.scalars}})
        spares = {f"spare{j}": "Aux" for j in range(len(inputs))} if self._adjoint is not None else {}
        row = declared("Custom", {"y": "Output", **dict.fromkeys(inputs, "Input"), **spares, **attributes}, **of_int64)
        arrays = {self.output: ("f", "op.y", "extents"), "g": ("f", "op.g", "extents")}
        for name, x, (_, whole) in zip(self.inputs, inputs, kinds):
            spare = x.replace("x", "spare")
            arrays[name] = "i" if whole else "f", f"op.{x}", f"extents_{name}"
            arrays["d" + name] = "f", f"op.d.{x} if op.d.{x} != 0 else op.{spare}", f"extents_{name}"
        forward = self._kernel(self.forward, (*self.inputs, self.output, *self.scalars), row, arrays)
        name = f"{self.name}#{self._serial}.{'_'.join(f'{n}i' if whole else str(n) for n, whole in kinds)}"
        if self._adjoint is None:
            return Op(name, forward, row=row, own=False)
        read = {operand: given for given, operand in zip((self.output, *self.inputs), row.operands)
                if given in self._given}
        composition: dict[str, Callable] = {}
        for j, given in enumerate(self.inputs):
            if given in self.derivatives:
                composition[f"x{j}"] = _without_functions(self.derivatives[given])
            elif given in self.differentiable:
                slope = self._slope(f"{name}.d{given}", j, read, arrays, {**spares, **attributes}, of_int64)
                composition[f"x{j}"] = self._contribution(j, [row.number(operand) for operand in read], slope)
            elif given in self.nondiff:
                composition[f"x{j}"] = lambda r, g, t: 0
        return Op(name, forward, self._kernel(self._adjoint, self._given, row, arrays), row=row, own=False,
                  saves=dict.fromkeys(row.inputs, " ".join([*read, *spares])), composition=composition,
                  tangent={f"x{j}": _without_functions(self.tangents[given])
                           for j, given in enumerate(self.inputs) if given in self.tangents})

    def _slope(self, name: str, j: int, read: dict[str, str], arrays: dict[str, tuple[str, str, str]],
               fields: dict[str, Any], layouts: dict[str, Any]) -> Op:
        """The user's adjoint of input `j` as an op of the cotangent and of the operands that it reads."""
        given, extents = self.inputs[j], f"extents_{self.inputs[j]}"
        inputs = {f"read_{operand}": "Input" for operand in read}
        row = declared("Slope", {"y": "Output", "cotangent": "Input", **inputs, **fields}, cotangent=contiguous,
                       **{f"read_{operand}": layouts.get(operand, contiguous) for operand in read})
        places = {"d" + other: ("f", f"op.spare{k}", f"extents_{other}") for k, other in enumerate(self.inputs)}
        places.update({of: (arrays[of][0], f"op.read_{operand}", arrays[of][2]) for operand, of in read.items()})
        places.update({"g": ("f", "op.cotangent", "extents"), "d" + given: ("f", "op.y", extents)})
        assert self._adjoint is not None
        kernel = self._kernel(self._adjoint, self._given, row, places, extents)
        return Op(name, kernel, _refused, row=row, own=False, errors={1: (GradientError, self._alone)},
                  composition=dict.fromkeys(row.inputs, self._refuse_again))

    def _kernel(self, function: Callable, names: tuple[str, ...], row: Any, arrays: dict[str, tuple[str, str, str]],
                clears: str = "") -> Callable:
        """A kernel that calls a user's function; by parameter the memory, the address and the extents of an array.

        `clears` names the extents of the output, if the function adds to it.
        """
        given = {name: f"op.scalar_{name}" for name in self.scalars}
        for name, (memory, address, extents) in arrays.items():
            shape = "".join(f"op[op.{extents} + {d}], " for d in range(row.kinds[extents].size))
            given[name] = f"array_of({memory}, {address}, ({shape}))"
        lines = [f"user({', '.join(given[name] for name in names)})", "return 0"]
        if clears:
            count = " * ".join([f"op[op.{clears} + {d}]" for d in range(row.kinds[clears].size)] or ["1"])
            lines.insert(0, f"for k in range({count}):\n        f[op.y + k] = 0.0")
        prepare = as_written.compiled if enabled() else as_written.twin
        return kernel_of("def kernel(op: Custom, f, i, b):\n    " + "\n    ".join(lines) + "\n", "kernel",
                         {"user": prepare(function), "array_of": array_of, "Custom": row})

    def _contribution(self, j: int, read: Sequence[int], slope: Op) -> Callable:
        """A rule of composition: the user's adjoint of input `j` as an op, which reads operands of these numbers."""

        def contribution(r: Any, g: Tensor, t: Any) -> Tensor:
            shape, dtype, _ = r.kinds[1 + j]
            spare = [(max(math.prod(kind[0]), 1) * dtype.itemsize if name in self.differentiable and k != j else 1,
                      dtype.itemsize if name in self.differentiable and k != j else 1)
                     for k, (name, kind) in enumerate(zip(self.inputs, r.kinds[1:]))]
            return record(slope, [g, *map(r.tensor, read)], shape, r.attributes, dtype=dtype, aux=spare)

        return contribution

    @property
    def _alone(self) -> str:
        return (f"custom_op {self.name} has an adjoint, and nothing that says its derivative: neither a derivative of "
                "higher order nor forward mode passes through it; compute it by tapegrad's functions, give them as its "
                "derivative with tg.custom_jvp or tg.custom_vjp, or detach() what it uses")

    def _refuse_again(self, r: Any, g: Any, t: Any) -> Any:
        raise GradientError(f"{r.at()}: {self._alone}")


def _without_functions(rule: Callable) -> Callable:
    """A rule that needs no array functions."""
    return lambda r, g, t: rule(r, g)


def _refused(op: Any, f: Any, i: Any, b: Any) -> int:
    """The adjoint of an adjoint, which no one has given."""
    return 1


def custom_op(forward: Callable, adjoint: Callable | None = None, *, shape: Callable | None = None,
              output: str = "y", name: str | None = None, nondiff: Sequence[str] = ()) -> CustomOp:
    """Make an op of a forward and an adjoint written in plain Python over arrays.

    Both are compiled by numba when first used, for each dtype and number of axes; the op works define-by-run and in
    recorded steps.

    Parameters
    ----------
    forward : callable
        ``forward(*inputs, y, *scalars)`` fills the array `y`. Inputs are C-contiguous arrays, float or int64; scalars
        are given as keywords when the op is called.
    adjoint : callable, optional
        Its parameters, by name and in any order: ``g``, the adjoint of `y`; the inputs, scalars and ``y`` that it reads
        (these and only these are saved for it); and ``d`` + an input's name for each adjoint array that it
        *accumulates* into. An input without one is data: if it requires a gradient, `GradientError` is raised. Without
        `adjoint` it is derived from the source of `forward`, by the rules of `njit`, when a gradient is first wanted;
        `GradientError` says what cannot be derived.
    shape : callable, optional
        ``shape(*input_shapes)`` gives the shape of `y`; by default that of the first input.
    output : str, default "y"
        Name of the output among the parameters.
    name : str, optional
        Name in listings and errors; by default the name of `forward`.

    nondiff : sequence of str, optional
        Inputs without an adjoint whose gradient is zero, as that of a step function: no error if they require one.

    Returns
    -------
    CustomOp

    Notes
    -----
    The functions are compiled as they are written, without ``fastmath``; where they divide by zero the result is that
    of NumPy, an infinity or NaN, while an ``@njit`` helper that they call keeps its own options and raises, unless it
    has ``error_model="numpy"``. An integer to a negative power is an integer (``2 ** -1`` is 0), and 0.0 to one is an
    error, as numba has them. With ``NUMBA_DISABLE_JIT=1`` they mean the same, and need their source.

    An adjoint of your own serves wherever a gradient is taken once: in a recording, in a batch (`vmap`), for `vjp`.
    Derivatives of higher order and forward mode need a derivative of it, and raise `GradientError` naming the op; give
    them with `custom_jvp` or `custom_vjp` around a function that calls the op, or leave `adjoint` out: a derived one
    has derivatives of every order. It runs `forward` once more before its reverse sweep, and reads all inputs.

    A user's function lies outside the package, so its machine code is not cached on disk. Subscripts are not checked
    for bounds, as in every function compiled by numba.

    Examples
    --------
    >>> import tapegrad as tg
    >>> def bent(x, y):
    ...     for k in range(x.size):
    ...         y[k] = x[k] + x[k] ** 2 / 2 if x[k] > 0 else x[k]
    >>> def bent_adjoint(g, x, dx):
    ...     for k in range(x.size):
    ...         dx[k] += g[k] * (1 + x[k]) if x[k] > 0 else g[k]
    >>> bend = tg.custom_op(bent, bent_adjoint)
    >>> tg.gradcheck(bend, [-1.0, 0.5, 2.0])
    True
    >>> tg.gradcheck(tg.custom_op(bent), [-1.0, 0.5, 2.0], order=2)
    True
    """
    for what, function in (("forward", forward), ("adjoint", adjoint)):
        if function is not None and not callable(function):
            raise ArgumentError(f"custom_op: {what} must be a function, not {type(function).__name__}")
    return CustomOp(forward, adjoint, shape, output, name, nondiff)

