"""Ops of integers, in recordings and `vmap`: exact, modulo 2^64 as NumPy's, and without an adjoint.

Operands are int64; a bool is made 0 or 1 before, and a result that is one again after it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..engine.language import device
from ..engine.row import Input, Layout, Nest, Output, Row, contiguous, declared, int64
from ..errors import ArgumentError
from .gathering import GATHER, gather_forward, position
from .indexed import outside
from .layout import CONCATENATE, OUT_OF_RANGE, TAKE, WHERE, concatenate_forward, conversion, take_forward, where_forward
from .nest import column_stride, row_offset
from .sorting import (
    ARGEXTREME,
    ARGSORT,
    RUNNING_EXTREME,
    argextreme_forward,
    argsort_forward,
    running_extreme_forward,
)
from .table import Errors, Op, kernel_of

# ------------------------------------------------------------------ elementwise


@device
def floored(a: int, b: int) -> int:
    """The largest integer not above a / b, 0 where b is 0; the least integer by -1 is itself."""
    if b == 0:
        return 0
    return -a if b == -1 else a // b


@device
def modulo(a: int, b: int) -> int:
    """The remainder of `floored`, with the sign of b."""
    return 0 if b == 0 or b == -1 else a % b


@device
def cut(a: int, b: int) -> int:
    """The remainder of a / b with the sign of a."""
    rest = modulo(a, b)
    return rest - b if rest != 0 and (a < 0) != (b < 0) else rest


@device
def raise_to(i: Any, y: int, a: int, n: int) -> int:
    """i[y] = a^n by squaring; each product is stored, which cuts it to 64 bits."""
    i[y] = 1
    bit = 62
    while bit >= 0 and n >> bit & 1 == 0:
        bit -= 1
    while bit >= 0:
        i[y] = i[y] * i[y]
        if n >> bit & 1 != 0:
            i[y] = i[y] * a
        bit -= 1
    return 0


class Integers(Row):
    y: Output
    a: Input = int64
    b: Input = int64
    nest: Nest = Nest.over("a", "b")


_BINARY = """
def compute(op: Integers, f, i, bytes_):
    columns, left, right = op.nest.columns, column_stride(op, op.nest, 0), column_stride(op, op.nest, 1)
    for row in range(op.nest.rows):
        y = op.y + row * columns
        at_a, at_b = op.a + row_offset(op, op.nest, 0, row), op.b + row_offset(op, op.nest, 1, row)
        for k in range(columns):
            a, b = i[at_a + k * left], i[at_b + k * right]
            {element}
    return 0
"""
_SCOPE: dict[str, Any] = {function.__name__: function for function in (
    column_stride, row_offset, floored, modulo, cut, raise_to)}
#: elementwise ops by the names of the functions
INTEGERS: dict[str, Op] = {}


def _binary(name: str, element: str, doc: str, errors: Errors | None = None) -> None:
    scope = {**_SCOPE, "Integers": Integers}
    INTEGERS[name] = Op(f"{name}_int64", partial(kernel_of, _BINARY.format(element=element), "compute", scope),
                        row=Integers, doc=doc, batching="nest", errors=errors)


for _name, _rule in (("add", "a + b"), ("subtract", "a - b"), ("multiply", "a * b"), ("floor_divide", "floored(a, b)"),
                     ("remainder", "modulo(a, b)"), ("fmod", "cut(a, b)"), ("maximum", "a if a > b else b"),
                     ("minimum", "a if a < b else b"), ("bitwise_and", "a & b"), ("bitwise_or", "a | b"),
                     ("bitwise_xor", "a ^ b")):
    _binary(_name, f"i[y + k] = {_rule}", f"{_rule}, of integers")
for _name, _rule in (("greater", "a > b"), ("greater_equal", "a >= b"), ("less", "a < b"), ("less_equal", "a <= b"),
                     ("equal", "a == b"), ("not_equal", "a != b")):
    _binary(_name, f"bytes_[y + k] = 1 if {_rule} else 0", f"{_rule}, of integers")
_binary("power", "if b < 0: return 1\n            raise_to(i, y + k, a, b)", "a^b, of integers",
        {1: (ArgumentError, "an integer to a negative power is no integer; convert the base with .float()")})
for _name, _rule in (("negative", "-v"), ("abs", "-v if v < 0 else v"), ("square", "v * v"), ("invert", "-v - 1"),
                     ("sign", "1 if v > 0 else (-1 if v < 0 else 0)")):
    INTEGERS[_name] = conversion(f"{_name}_int64", f"v = i[x + k * step]; i[y + k] = {_rule}",
                                 f"{_name} of integers")

BOOL_TO_INT64 = conversion("bool_to_int64", "i[y + k] = 1 if b[x + k * step] != 0 else 0", "bool to int64, 0 or 1")
INT64_TO_BOOL = conversion("int64_to_bool", "b[y + k] = 1 if i[x + k * step] != 0 else 0", "int64 to bool: not zero")


# ------------------------------------------------------------------ ops of floats that only move or compare


def _of_integers(op: Op, forward: Callable) -> Op:
    """The op whose float operands are int64: its kernel is that of floats, given the memory of integers."""
    row: Any = op.row
    layouts = {name: layout if name == row.operands[0] or layout & (Layout.INT64 | Layout.BOOL) else layout | int64
               for name, layout in row.layouts.items()}
    made = declared(f"{row.__name__}Int64", row.kinds, **layouts, **row.nests)
    return Op(f"{op.name}_int64", forward, row=made, errors=op.errors, doc=f"{op.doc}, of int64", batching=op.batching)


WHERE_INT64 = _of_integers(WHERE, lambda op, f, i, b: where_forward(op, i, i, b))
CONCATENATE_INT64 = _of_integers(CONCATENATE, lambda op, f, i, b: concatenate_forward(op, i, i, b))
TAKE_INT64 = _of_integers(TAKE, lambda op, f, i, b: take_forward(op, i, i, b))
GATHER_INT64 = _of_integers(GATHER, lambda op, f, i, b: gather_forward(op, i, i, b))
ARGSORT_INT64 = _of_integers(ARGSORT, lambda op, f, i, b: argsort_forward(op, i, i, b))
ARGEXTREME_INT64 = _of_integers(ARGEXTREME, lambda op, f, i, b: argextreme_forward(op, i, i, b))
RUNNING_EXTREME_INT64 = _of_integers(RUNNING_EXTREME, lambda op, f, i, b: running_extreme_forward(op, i, i, b))


# ------------------------------------------------------------------ scatter


class ScatterIntegers(Row):
    """Its nest is as that of `Scatter`."""

    y: Output
    x: Input = contiguous | int64
    index: Input = int64
    s: Input = int64
    elements: int  # of y
    extent: int  # of the axis
    stride: int  # of y along it
    axis: int
    wraps: bool  # whether negative indices count from the end
    adds: bool
    nest: Nest = Nest.over("y", "index", "s")


def scatter_integers(op: ScatterIntegers, f: Any, i: Any, b: Any) -> int:
    """y = x with s written, or added, at the place of s with index along the axis; of several the last one counts."""
    columns, extent, stride, adds = op.nest.columns, op.extent, op.stride, op.adds != 0
    along, by, step = column_stride(op, op.nest, 0), column_stride(op, op.nest, 1), column_stride(op, op.nest, 2)
    for k in range(op.elements):
        i[op.y + k] = i[op.x + k]
    for row in range(op.nest.rows):
        to, index = row_offset(op, op.nest, 0, row), op.index + row_offset(op, op.nest, 1, row)
        s = op.s + row_offset(op, op.nest, 2, row)
        for k in range(columns):
            at = position(i[index + k * by], extent, op.wraps)
            if at < 0:
                return outside(i[index + k * by])
            y = op.y + to + k * along + at * stride
            i[y] = i[s + k * step] + (i[y] if adds else 0)
    return 0


def scatter_each(r: Any, t: Any) -> Any:
    """One more axis before the one that is indexed."""
    shape = r.call.inputs[1].shape
    return t.scatter_along(r.whole("x"), r.axis + 1, r.index, (r.size, *shape), r.s, r.wraps, r.adds)


SCATTER_INT64 = Op("scatter_int64", scatter_integers, row=ScatterIntegers, errors=OUT_OF_RANGE, batching=scatter_each,
                   doc="a copy with elements replaced, or added to, by an index each, of int64")


# ------------------------------------------------------------------ reductions and scans of rows


class IntegerRows(Row):
    y: Output
    x: Input = contiguous | int64
    rows: int
    n: int


_ROWS = """
def reduce(op: IntegerRows, f, i, b):
    n = op.n
    for row in range(op.rows):
        x = op.x + row * n
        i[op.y + row] = {start}
        for k in range(n):
            t, v = i[op.y + row], i[x + k]
            i[op.y + row] = {step}
    return 0
"""
_SCAN = """
def reduce(op: IntegerRows, f, i, b):
    n = op.n
    for row in range(op.rows):
        x, y = op.x + row * n, op.y + row * n
        for k in range(n):
            v = i[x + k]
            i[y + k] = v if k == 0 else i[y + k - 1] {sign} v
    return 0
"""


def _rows(name: str, source: str, doc: str) -> Op:
    return Op(f"{name}_int64", partial(kernel_of, source, "reduce", {"IntegerRows": IntegerRows}), row=IntegerRows,
              doc=doc, batching="rows")


#: reductions by name: an element a row
REDUCED: dict[str, Op] = {name: _rows(name, _ROWS.format(start=start, step=step), f"{name} of each row, of integers")
                          for name, start, step in (("sum", "0", "t + v"), ("prod", "1", "t * v"),
                                                    ("max", "i[x]", "v if v > t else t"),
                                                    ("min", "i[x]", "v if v < t else t"))}
#: scans by name: as many as there are in a row
SCANNED: dict[str, Op] = {name: _rows(name, _SCAN.format(sign=sign), f"{name} of each row, of integers")
                          for name, sign in (("cumsum", "+"), ("cumprod", "*"))}
