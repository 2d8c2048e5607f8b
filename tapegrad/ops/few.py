"""Ops over a few scalars, with kernels unrolled for each count, without loops and nests.

A call of such a kernel takes some nanoseconds, a tenth of a call over arrays of any shape: in a graph of scalars that
is most of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial, reduce
from typing import Any

import numpy as np

from ..engine.language import bits_float, cast, device, device_pair, float_bits
from ..engine.mathematics import vecmath as m
from ..engine.row import contiguous, declared
from .softmax import through_softmax
from .table import Op, kernel_of

MOST = 8  # numbers


@device
def larger(a: Any, b: Any) -> Any:
    """The larger of two numbers; if one is NaN, either, for a softmax is NaN then in any case."""
    return m.where(a > b, a, b)


def _kept_single(value: Any, stored: Any) -> Any:
    """`value`, or 0 if `stored` is 1, without a branch, which could not be predicted."""
    return bits_float(np.int32(float_bits(value) & (stored - 1)))


def _kept_double(value: Any, stored: Any) -> Any:
    """`value`, or 0 if `stored` is 1, without a branch, which could not be predicted."""
    return bits_float(float_bits(value) & (stored - 1))


kept = device_pair("kept", _kept_single, _kept_double)

_SCOPE = {"cast": cast, "kept": kept, "where": m.where, "exp": m.exp, "minus": m.minus, "times": m.times,
          "larger": larger}


def _few(name: str, form: str, inputs: int, forward: Iterable[str], adjoint: Iterable[str], saves: Mapping[str, str],
         doc: str, straight: bool = False, **rules: Any) -> Op:
    names = [f"x{j}" for j in range(inputs)]
    row = declared("Few", {"y": "Output", **dict.fromkeys(names, "Input")}, **dict.fromkeys(names, contiguous))
    # all loads before any store, for LLVM cannot rule out aliasing
    addresses = ["mode, y, g = op.mode, op.y, op.g", *(f"{x}, d{x} = op.{x}, op.d.{x}" for x in names)]

    def kernel(lines: Iterable[str]) -> Callable:
        source = "\n    ".join(["def few(op: Few, f, i, b):", *addresses, *lines, "return 0"])
        return partial(kernel_of, source, "few", {**_SCOPE, "Few": row})

    return Op(name, kernel(forward), kernel(adjoint), row=row, saves=saves, stores=True, doc=doc, in_turn=True,
              form=form, straight=straight, **rules)


def _added(target: str, bit: int, value: str) -> str:
    """A contribution to an adjoint, the first of which is stored."""
    return f"f[{target}] = kept(f[{target}], mode >> {bit} & 1) + {value}"


def _given(values: list[str]) -> list[str]:
    """A contribution to the adjoint of each input that wants one."""
    return [f"if dx{j} != 0: " + _added(f"dx{j}", j + 1, value) for j, value in enumerate(values)]


def _sum(terms: list[str]) -> str:
    """A sum from left to right, which LLVM does not reassociate."""
    return reduce(_plus, terms)


def _plus(left: str, right: str) -> str:
    return f"minus({left}, -{right})"


def _halves(join: Callable[[str, str], str], terms: list[str]) -> str:
    """A balanced binary tree of joins, for instruction-level parallelism."""
    half = len(terms) // 2
    return join(_halves(join, terms[:half]), _halves(join, terms[half:])) if half else terms[0]


def stack(count: int) -> Op:
    """Define y = x1, x2, ..."""
    numbers = range(count)
    return _few("stack", str(count), count, [f"f[y + {j}] = f[x{j}]" for j in numbers],
                _given([f"f[g + {j}]" for j in numbers]), {}, "scalars side by side",
                composition={f"x{j}": _part(j) for j in numbers}, batching=partial(_stacks, count=count))


def _part(j: int) -> Callable:
    """dx_j = g_j."""
    return lambda r, g, t: t.reshape(t.reshape(g, (-1,))[j], r.shape_of(f"x{j}"))


def _stacks(r: Any, t: Any, count: int) -> Any:
    """The scalars of each side by side."""
    return t.stack([t.reshape(r.whole(f"x{j}"), (r.size,)) for j in range(count)], 1)


def softmax(count: int, gathers: bool) -> Op:
    """Define y = e^(x - max) / sum, of one row or of as many scalars."""
    numbers = range(count)
    top = _halves("larger({}, {})".format, [f"v{k}" for k in numbers])
    forward = [*(f"v{k} = f[x{k}]" if gathers else f"v{k} = f[x0 + {k}]" for k in numbers),
               f"top = {top}", *(f"e{k} = exp(v{k} - top)" for k in numbers),
               f"scale = 1.0 / {_halves(_plus, [f'e{k}' for k in numbers])}",
               *(f"f[y + {k}] = e{k} * scale" for k in numbers)]
    inner = _halves(_plus, [f"times(y{k}, g{k})" for k in numbers])
    slopes = [f"times(y{k}, minus(g{k}, inner))" for k in numbers]
    adjoint = [*(f"y{k}, g{k} = f[y + {k}], f[g + {k}]" for k in numbers), f"inner = {inner}",
               *(_given(slopes) if gathers else [_added(f"dx0 + {k}", 1, slope) for k, slope in enumerate(slopes)])]
    inputs, form = (count, f"of{count}") if gathers else (1, str(count))
    rules = {} if gathers else {"composition": {"x0": through_softmax}, "tangent": {"x0": through_softmax},
                                "batching": lambda r, t: t.softmax(r.x0, -1)}
    return _few("softmax", form, inputs, forward, adjoint, {f"x{j}": "y" for j in range(inputs)}, "e^x / sum e^x",
                straight=True, **rules)


def total(count: int, scaled: bool) -> Op:
    """Define y = x1 + x2 + ..., or that times a last input, which gets no gradient."""
    value = _sum([f"f[x{j}]" for j in range(count)])
    if scaled:
        return _few("scaled_total", str(count), count + 1, [f"f[y] = times({value}, f[x{count}])"],
                    [f"v = times(f[g], f[x{count}])", *_given(["v"] * count)],
                    {f"x{j}": f"x{count}" for j in range(count)}, "sum of scalars times another")
    return _few("total", str(count), count, [f"f[y] = {value}"], ["v = f[g]", *_given(["v"] * count)], {},
                "sum of scalars")


#: by the count of their numbers
STACKS = {count: stack(count) for count in range(2, MOST + 1)}
SOFTMAXES = {count: softmax(count, False) for count in STACKS}
# superinstructions of `program.planning.fusion`
SOFTMAXES_OF_SCALARS = {count: softmax(count, True) for count in STACKS}
TOTALS = {count: total(count, False) for count in STACKS}
SCALED_TOTALS = {count: total(count, True) for count in STACKS}
