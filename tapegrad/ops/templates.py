"""Templates of elementwise kernels: source code into which the expressions of a rule are inserted.

Inserted rather than called, which halves the time to compile.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache

from ..engine.language import apart, cast, device, doubles_at, held, plus, read, wide, write
from ..engine.mathematics import library, special, vecmath
from ..engine.mathematics.sums import COLUMNS, add_row, add_to_total, clear_totals, give_totals, total_at
from ..engine.row import Input, Nest, Output, Row
from ..engine.tiles.tile import stack
from . import rules
from .few import kept
from .nest import alike_rows, column_stride, is_summed, row_of, row_offset
from .reduction import sum_nest
from .table import kernel_of


class Scalar(Row):
    y: Output
    x: Input
    p: float
    q: float


class Scalars(Row):
    y: Output
    a: Input
    b: Input
    p: float


class Unary(Row):
    y: Output
    x: Input
    p: float
    q: float
    nest: Nest = Nest.over("x")


class Binary(Row):
    y: Output
    a: Input
    b: Input
    p: float
    nest: Nest = Nest.over("a", "b")


_FUNCTIONS = (add_row, add_to_total, alike_rows, apart, cast, clear_totals, column_stride, doubles_at, give_totals,
              held, is_summed, plus, read, row_of, row_offset, stack, sum_nest, total_at, wide, write)
#: what the kernels' source calls
_SCOPE = {**{name: getattr(special, name) for name in special.__all__},
          **{name: value for module in (vecmath, library, rules) for name, value in vars(module).items()
             if not name.startswith("_")},
          **{named.__name__: named for named in (*_FUNCTIONS, Scalar, Scalars, Unary, Binary)}, "kept": kept,
          "COLUMNS": COLUMNS}
#: functions of one or two machine instructions
_CHEAP = {"abs", "arctan_slope", "ceil", "clipped", "copysign", "divide_slope", "floor", "huber_of", "negative_part",
          "rint", "share", "sign", "sqrt", "trunc", "where"}


@cache
def letters(rule: str) -> frozenset[str]:
    """The names that an expression reads."""
    return frozenset(node.id for node in ast.walk(ast.parse(rule, mode="eval")) if isinstance(node, ast.Name))


def saved(rule: str, row: type[Row]) -> str:
    """The operands that `rule` names."""
    return " ".join(letter for letter in row.operands if letter in letters(rule))


def cost_of(rule: str) -> int:
    """Cost of an expression: 1, and 5 for each function of more than one or two machine instructions."""
    calls = [node.func for node in ast.walk(ast.parse(rule, mode="eval")) if isinstance(node, ast.Call)]
    return 1 + sum(5 for function in calls if isinstance(function, ast.Name) and function.id not in _CHEAP)


def kernel(source: str, name: str, *rows: type[Row]) -> Callable:
    """The function `name` that `source` defines, in a scope with the rules' functions, `rows` and its own helpers."""
    scope = {**_SCOPE, **{row.__name__: row for row in rows}}
    made = kernel_of(source, name, scope)
    for key, value in made.__globals__.items():
        if key not in scope and callable(value) and value is not made:
            device(value)
    return made


def loads(rule: str, places: dict[str, str]) -> str:
    """Assignments of the letters that `rule` reads from the places of the element."""
    read = letters(rule)
    return "; ".join(f"{letter} = read(f, {place})" for letter, place in places.items() if letter in read) or "pass"


# ------------------------------------------------------------------ scalars

SCALAR = """
def scalar_forward(op: {row}, f, i, bytes_):
    {attributes}
    {inputs}
    f[op.y] = {forward}
    return 0

def scalar_adjoint(op: {row}, f, i, bytes_):
    mode = op.mode
    {attributes}
    {loads}
    {adjoints}
    return 0
"""


# ------------------------------------------------------------------ one input

UNARY_FORWARD = """
def unary_row(f, at_y, at_x, step, n, p, q):
    apart()
    for k in range(n):
        x = read(f, at_x + k * step)
        write(f, at_y + k, {forward})
    return 0

def unary_forward(op: Unary, f, i, b):
    p, q = op.p, op.q
    columns, step = op.nest.columns, column_stride(op, op.nest, 0)
    for row in range(op.nest.rows):
        unary_row(f, op.y + row * columns, op.x + row_offset(op, op.nest, 0, row), step, columns, p, q)
    return 0
"""

UNARY_ADJOINT = """
def unary_row(f, at_dx, at_g, at_y, at_x, step, n, p, q, store):
    apart()
    zero = cast(0.0, f)
    if store:
        for k in range(n):
            {element}
            write(f, at_dx + k * step, {adjoint})
    else:
        for k in range(n):
            {element}
            write(f, at_dx + k * step, held(f, at_dx + k * step) + {adjoint})
    return 0

def unary_adjoint(op: Unary, f, i, b):
    p, q = op.p, op.q
    columns, step, store = op.nest.columns, column_stride(op, op.nest, 0), op.stores.x
    {sum}
    for row in range(op.nest.rows):
        offset = row_offset(op, op.nest, 0, row)
        unary_row(f, op.d.x + offset, op.g + row * columns, op.y + row * columns, op.x + offset, step, columns,
                  p, q, store)
    return 0
"""

# of the sum of an input that is broadcast
UNARY_SUM = """
    if step == 0 or alike_rows(op, op.nest, 0) > 1:
        return sum_nest(op, f, op.nest, 0, op.d.x, op.g, -1, wide(cast(1.0, f)), not store)
"""


# ------------------------------------------------------------------ two inputs

BINARY_FORWARD = """
def binary_row(f, at_y, at_a, left, at_b, right, n, p):
    apart()
    if right == 0:
        b = f[at_b]
        for k in range(n):
            a = read(f, at_a + k * left)
            write(f, at_y + k, {forward})
    elif left == 0:
        a = f[at_a]
        for k in range(n):
            b = read(f, at_b + k * right)
            write(f, at_y + k, {forward})
    else:
        for k in range(n):
            a, b = read(f, at_a + k * left), read(f, at_b + k * right)
            write(f, at_y + k, {forward})
    return 0

def binary_forward(op: Binary, f, i, b_):
    p = op.p
    columns, left, right = op.nest.columns, column_stride(op, op.nest, 0), column_stride(op, op.nest, 1)
    for row in range(op.nest.rows):
        binary_row(f, op.y + row * columns, op.a + row_offset(op, op.nest, 0, row), left,
                   op.b + row_offset(op, op.nest, 1, row), right, columns, p)
    return 0
"""

# One input's adjoint over a row; `step` between the elements of d.
BINARY_ROW = """
def row_to_{letter}(f, at_d, step, at_g, at_y, at_a, left, at_b, right, n, p, store):
    apart()
    zero = cast(0.0, f)
    {sum}
    if {other} == 0:
        {alone}
        if store:
            for k in range(n):
                {beside}
                write(f, at_d + k * step, {rule})
        else:
            for k in range(n):
                {beside}
                write(f, at_d + k * step, held(f, at_d + k * step) + {rule})
    elif store:
        for k in range(n):
            {element}
            write(f, at_d + k * step, {rule})
    else:
        for k in range(n):
            {element}
            write(f, at_d + k * step, held(f, at_d + k * step) + {rule})
    return 0
"""

# What comes first if the input may be broadcast along the row.
BINARY_ROW_SUM = """
    if {own} == 0:
        total = zero
        for k in range(n):
            {element}
            total = plus(total, {rule})
        f[at_d] = total if store else f[at_d] + total
        return 0
"""

# The adjoint of an input that is broadcast: d = the sum over all that is computed with an element of it, or +=, a part
# of a row at a time; the parts of eight rows are summed in the tape's dtype, and those sums in float64.
BINARY_SUMS = """
def binary_sums_{letter}(op: Binary, f):
    p, zero, one, add = op.p, cast(0.0, f), wide(cast(1.0, f)), not op.stores.{letter}
    nest, rows, columns = op.nest, op.nest.rows, op.nest.columns
    left, right = column_stride(op, nest, 0), column_stride(op, nest, 1)
    alike, scratch = alike_rows(op, nest, {operand}), stack(f)
    places, totals, parts = rows // alike, doubles_at(f, scratch), scratch + 2 * COLUMNS
    if {own} == 0:
        for first in range(0, places, COLUMNS):
            count = min(COLUMNS, places - first)
            clear_totals(f, totals, count)
            for r in range(alike):
                for k in range(count):
                    row = row_of(op, nest, {operand}, first + k, r, alike)
                    to_a, to_b = op.a + row_offset(op, nest, 0, row), op.b + row_offset(op, nest, 1, row)
                    for begin in range(0, columns, COLUMNS):
                        at = row * columns + begin
                        row_to_{letter}(f, parts, 1, op.g + at, op.y + at, to_a + begin * left, left,
                                        to_b + begin * right, right, min(COLUMNS, columns - begin), p, True)
                        add_to_total(f, totals, k, wide(f[parts]))
            for k in range(count):
                d = op.d.{letter} + row_offset(op, nest, {operand}, row_of(op, nest, {operand}, first + k, 0, alike))
                f[d] = (f[d] if add else zero) + cast(total_at(f, totals, k), f)
        return 0
    for place in range(places):
        d = op.d.{letter} + row_offset(op, nest, {operand}, row_of(op, nest, {operand}, place, 0, alike))
        for begin in range(0, columns, COLUMNS):
            n = min(COLUMNS, columns - begin)
            clear_totals(f, totals, n)
            for r in range(alike):
                row = row_of(op, nest, {operand}, place, r, alike)
                at = row * columns + begin
                row_to_{letter}(f, parts, 1, op.g + at, op.y + at,
                                op.a + row_offset(op, nest, 0, row) + begin * left, left,
                                op.b + row_offset(op, nest, 1, row) + begin * right, right, n, p, r % 8 == 0)
                if r % 8 == 7 or r == alike - 1:
                    add_row(f, totals, n, parts, 1)
            give_totals(f, totals, n, one, d + begin * {own}, {own}, add)
    return 0
"""

GIVEN_SUMS = """
def binary_sums_{letter}(op: Binary, f):
    apart()
    return sum_nest(op, f, op.nest, {operand}, op.d.{letter}, op.g, -1, wide(cast({sign}, f)), not op.stores.{letter})
"""

BINARY_ADJOINT = """
{rows}
def binary_adjoint(op: Binary, f, i, b_):
    p = op.p
    columns, left, right = op.nest.columns, column_stride(op, op.nest, 0), column_stride(op, op.nest, 1)
    if op.nest.rows * columns == 0:
        return 0
    {each}
    return 0
"""

BINARY_EACH = """
    if op.d.{letter} == 0:
        pass
    {sum}
    elif {moves} or op.d.{letter} != op.g:
        for row in range(op.nest.rows):
            to_a, to_b = row_offset(op, op.nest, 0, row), row_offset(op, op.nest, 1, row)
            row_to_{letter}(f, op.d.{letter} + to_{letter}, {own}, op.g + row * columns, op.y + row * columns,
                            op.a + to_a, left, op.b + to_b, right, columns, p, op.stores.{letter})
"""


# What is asked before if the input may be broadcast.
BINARY_SUM = """
    elif is_summed(op, op.nest, {operand}):
        binary_sums_{letter}(op, f)
"""


# ------------------------------------------------------------------ comparisons: bytes out

COMPARE_FORWARD = """
def compare_forward(op: Binary, f, i, bytes_):
    columns, left, right = op.nest.columns, column_stride(op, op.nest, 0), column_stride(op, op.nest, 1)
    for row in range(op.nest.rows):
        at_y = op.y + row * columns
        at_a, at_b = op.a + row_offset(op, op.nest, 0, row), op.b + row_offset(op, op.nest, 1, row)
        for k in range(columns):
            a, b = read(f, at_a + k * left), read(f, at_b + k * right)
            write(bytes_, at_y + k, 1 if {rule} else 0)
    return 0
"""
