"""Elementwise ops: each is its formula, the formula of its adjoint, and a name.

A rule is an expression in the letters of the mathematics: inputs ``x``, or ``a`` and ``b``, output ``y``, its adjoint
``g``, attributes ``p`` and ``q``. The letters in the adjoint's expression are what it reads, and so are the save rule:
``g * (1.0 - y * y)`` keeps the output and nothing else. Expressions are put into the kernels' source rather than
called, which halves the time to compile.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from ..engine import vecmath
from ..engine.jit import apart, cast, device, doubles_at, plus, read, real, wide, write
from ..engine.sums import COLUMNS, add_row, clear_totals, give_totals
from ..engine.tile import stack
from ..engine.vecmath import abs, log, where
from .few import kept
from .nest import alike_rows, column_stride, place_of, row_of, row_offset
from .reduction import sum_nest
from .table import EVERY, Op, Shares, kernel_of

UNARY: dict[str, Op] = {}
BINARY: dict[str, Op] = {}
COMPARE: dict[str, Op] = {}
#: by opcode, what an element costs forward and in its adjoint: 1 for an addition
COSTS: dict[int, tuple[int, int]] = {}

#: what the kernels' source calls; the rules' own functions stand below
_NAMES = {**{function.__name__: function for function in (
              add_row, alike_rows, apart, cast, clear_totals, column_stride, doubles_at, give_totals, place_of, plus,
              read, real, row_of, row_offset, stack, sum_nest, wide, write)}, "kept": kept, "COLUMNS": COLUMNS,
          **{name: value for name, value in vars(vecmath).items() if callable(value) and not name.startswith("_")}}

_CHEAP = {"abs", "arctan_slope", "clipped", "divide_slope", "floor", "huber_of", "negative_part", "share",
          "sign", "sqrt", "where"}


def letters(rule: str) -> set[str]:
    """The names that an expression reads."""
    return {node.id for node in ast.walk(ast.parse(rule, mode="eval")) if isinstance(node, ast.Name)}


def saved(rule: str, operands: str) -> tuple[int, ...]:
    """The operands (0 the output) whose letters `rule` names."""
    return tuple(k for k, letter in enumerate(operands) if letter in letters(rule))


def cost_of(rule: str) -> int:
    """What an expression costs: 1, and for each function that is more than an instruction or two as much as 5."""
    calls = [node.func for node in ast.walk(ast.parse(rule, mode="eval")) if isinstance(node, ast.Call)]
    return 1 + sum(5 for function in calls if isinstance(function, ast.Name) and function.id not in _CHEAP)


def kernel(source: str, name: str) -> Callable:
    """The function `name` that `source` defines, with the rules' functions in reach and what else it defines."""
    scope = {**_NAMES, **{k: v for k, v in globals().items() if not k.startswith("_")}}
    made = kernel_of(source, name, scope)
    for key, value in made.__globals__.items():
        if key not in scope and callable(value) and value is not made:
            device(value)
    return made


def loads(rule: str, places: dict[str, str]) -> str:
    """Assignments of the letters that `rule` reads from the places of the element."""
    read = letters(rule)
    return "; ".join(f"{letter} = read(f, {place})" for letter, place in places.items() if letter in read) or "pass"


_PLACES = {(left, right): Shares((1,) * left + (2,) * right) for left in (False, True) for right in (False, True)}


def in_place(row: list[int], at: int, count: int) -> Shares:
    """The inputs over which the output may lie: in one row without gaps, as the nest of `count` at word `at` says."""
    one = row[at] == 1
    return _PLACES[one and row[at + 3] == 1, one and count == 2 and row[at + 4] == 1]


# ------------------------------------------------------------------ scalars
# Words: 1 y, 2 g, 3 x, 4 dx, and so on for each input, then the attributes.

_SCALAR = """
def scalar_forward(op, f, i, bytes_):
    {attributes}
    {inputs}
    f[op[1]] = {forward}
    return 0

def scalar_adjoint(op, f, i, bytes_):
    mode = op[0]
    {attributes}
    {loads}
    {adjoints}
    return 0
"""


def _scalar_loads(adjoints: tuple[str, ...], places: dict[str, str]) -> str:
    """`loads` of what the adjoints that are wanted read: what only another one reads has not been kept for this."""
    read_by = {letter: [k for k, rule in enumerate(adjoints) if letter in letters(rule)] for letter in places}
    lines = [f"{letter} = read(f, {places[letter]})" + (
        "" if len(rules) == len(adjoints) else f" if op[{4 + 2 * rules[0]}] != 0 else cast(0.0, f)")
        for letter, rules in read_by.items() if rules]
    return "; ".join(lines) or "pass"


def scalar(op: Op, operands: tuple[str, ...], forward: str, adjoints: tuple[str, ...], attributes: str) -> Op:
    """The same of scalars: there is no nest, and its kernels have no loop."""
    inputs = {letter: f"op[{3 + 2 * j}]" for j, letter in enumerate(operands)}
    # a sum that LLVM does not join with a product in it: of two contributions, each may be the first
    added = [f"f[op[{at}]] = minus(kept(f[op[{at}]], mode >> {j + 1} & 1), -({rule}))"
             for j, (at, rule) in enumerate(zip((4, 6), adjoints))]
    source = _SCALAR.format(
        forward=forward, inputs="; ".join(f"{letter} = f[{place}]" for letter, place in inputs.items()),
        attributes="; ".join(f"{letter} = real(op, {3 + 2 * len(operands) + k}, f)"
                             for k, letter in enumerate(attributes.split(", "))),
        loads=_scalar_loads(adjoints, {"g": "op[2]", "y": "op[1]", **inputs}),
        adjoints="\n    ".join(added if len(added) == 1 else
                               [f"if op[{at}] != 0: {line}" for at, line in zip((4, 6), added)]))
    back = partial(kernel, source, "scalar_adjoint") if adjoints else None
    return Op(op.name, partial(kernel, source, "scalar_forward"), back, op.saves, stores=True, doc=op.doc,
              shares=lambda row: _PLACES[True, len(operands) == 2], in_turn=True, form="scalar", strided=EVERY)


# ------------------------------------------------------------------ one input
# Words: 1 y, 2 g, 3 x, 4 dx, 5 p, 6 q, 7 nest of (x).

_UNARY_FORWARD = """
def unary_row(f, at_y, at_x, step, n, p, q):
    apart()
    for k in range(n):
        x = read(f, at_x + k * step)
        write(f, at_y + k, {forward})
    return 0

def unary_forward(op, f, i, b):
    p, q = real(op, 5, f), real(op, 6, f)
    columns, step = op[8], column_stride(op, 7, 0)
    for row in range(op[7]):
        unary_row(f, op[1] + row * columns, op[3] + row_offset(op, 7, 0, row), step, columns, p, q)
    return 0
"""

_UNARY_ADJOINT = """
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
            write(f, at_dx + k * step, f[at_dx + k * step] + {adjoint})
    return 0

def unary_adjoint(op, f, i, b):
    p, q = real(op, 5, f), real(op, 6, f)
    columns, step, store = op[8], column_stride(op, 7, 0), op[0] & 2 != 0
    {broadcast}
    for row in range(op[7]):
        offset = row_offset(op, 7, 0, row)
        unary_row(f, op[4] + offset, op[2] + row * columns, op[1] + row * columns, op[3] + offset, step, columns,
                  p, q, store)
    return 0
"""

# an array is made of what is broadcast by copying it
_UNARY_BROADCAST = """
    if step == 0 or alike_rows(op, 7, 0) > 1:
        return sum_nest(op, f, 7, 0, op[4], op[2], -1, wide(cast(1.0, f)), not store)
"""


def unary(name: str, forward: str, adjoint: str | None, doc: str) -> Op:
    """Define y = forward(x, p, q) with dx += adjoint(g, x, y, p, q)."""
    run = partial(kernel, _UNARY_FORWARD.format(forward=forward), "unary_forward")
    back: Callable | None = None
    saves: tuple[tuple[int, ...], ...] = ()
    if adjoint is not None:
        element = loads(adjoint, {"g": "at_g + k", "y": "at_y + k", "x": "at_x + k * step"})
        source = _UNARY_ADJOINT.format(adjoint=f"({adjoint})", element=element,
                                       broadcast=_UNARY_BROADCAST if adjoint == "g" else "")
        back, saves = partial(kernel, source, "unary_adjoint"), (saved(adjoint, "yx"),)
    op = UNARY[name] = Op(name, run, back, saves, stores=True, doc=doc, shares=partial(in_place, at=7, count=1),
                          strided=EVERY)
    op.scalar = scalar(op, ("x",), forward, (adjoint,) if adjoint is not None else (), "p, q")
    COSTS[op.opcode] = cost_of(forward), cost_of(adjoint or "0.0")
    return op


# ------------------------------------------------------------------ two inputs
# Words: 1 y, 2 g, 3 a, 4 da, 5 b, 6 db, 7 p, 8 nest of (a, b).

_BINARY_FORWARD = """
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

def binary_forward(op, f, i, b_):
    p = real(op, 7, f)
    columns, left, right = op[9], column_stride(op, 8, 0), column_stride(op, 8, 1)
    for row in range(op[8]):
        binary_row(f, op[1] + row * columns, op[3] + row_offset(op, 8, 0, row), left,
                   op[5] + row_offset(op, 8, 1, row), right, columns, p)
    return 0
"""

# One input's adjoint over a row, summed if the input is broadcast along it; `step` between the elements of d.
_BINARY_ROW = """
def row_to_{letter}(f, at_d, step, at_g, at_y, at_a, left, at_b, right, n, p, store):
    apart()
    zero = cast(0.0, f)
    if {own} == 0:
        total = zero
        for k in range(n):
            {element}
            total = plus(total, {rule})
        f[at_d] = total if store else f[at_d] + total
    elif {other} == 0:
        {alone}
        if store:
            for k in range(n):
                {beside}
                write(f, at_d + k * step, {rule})
        else:
            for k in range(n):
                {beside}
                write(f, at_d + k * step, f[at_d + k * step] + {rule})
    elif store:
        for k in range(n):
            {element}
            write(f, at_d + k * step, {rule})
    else:
        for k in range(n):
            {element}
            write(f, at_d + k * step, f[at_d + k * step] + {rule})
    return 0
"""

# The adjoint of an input that is broadcast: d = the sum over all that is computed with an element of it, or +=. It is
# computed a part of a row at a time; the parts of eight rows are added up in the tape's dtype, and those in float64.
_BINARY_SUMS = """
def binary_sums_{letter}(op, f):
    p, zero, one, add = real(op, 7, f), cast(0.0, f), wide(cast(1.0, f)), op[0] & {bit} == 0
    rows, columns, left, right = op[8], op[9], column_stride(op, 8, 0), column_stride(op, 8, 1)
    alike, scratch = alike_rows(op, 8, {operand}), stack(f)
    places, totals, parts = rows // alike, doubles_at(f, scratch), scratch + 2 * COLUMNS
    if {own} == 0 and alike > 1 and places <= COLUMNS:
        clear_totals(f, totals, places)
        for row in range(rows):
            to_a, to_b = op[3] + row_offset(op, 8, 0, row), op[5] + row_offset(op, 8, 1, row)
            place = place_of(op, 8, {operand}, row)
            for begin in range(0, columns, COLUMNS):
                at = row * columns + begin
                row_to_{letter}(f, parts, 1, op[2] + at, op[1] + at, to_a + begin * left, left, to_b + begin * right,
                                right, min(COLUMNS, columns - begin), p, True)
                totals[place] += wide(f[parts])
        for place in range(places):
            d = op[{adjoint}] + row_offset(op, 8, {operand}, row_of(op, 8, {operand}, place, 0, alike))
            f[d] = (f[d] if add else zero) + cast(totals[place], f)
        return 0
    for place in range(places):
        d, total = op[{adjoint}] + row_offset(op, 8, {operand}, row_of(op, 8, {operand}, place, 0, alike)), wide(zero)
        for begin in range(0, columns, COLUMNS):
            n = min(COLUMNS, columns - begin)
            if {own} != 0:
                clear_totals(f, totals, n)
            for r in range(alike):
                row = row_of(op, 8, {operand}, place, r, alike)
                at = row * columns + begin
                row_to_{letter}(f, parts, 1, op[2] + at, op[1] + at,
                                op[3] + row_offset(op, 8, 0, row) + begin * left, left,
                                op[5] + row_offset(op, 8, 1, row) + begin * right, right, n, p,
                                {own} == 0 or r % 8 == 0)
                if {own} == 0:
                    total += wide(f[parts])
                elif r % 8 == 7 or r == alike - 1:
                    add_row(f, totals, n, parts, 1)
            if {own} != 0:
                give_totals(f, totals, n, one, d + begin * {own}, {own}, add)
        if {own} == 0:
            f[d] = (f[d] if add else zero) + cast(total, f)
    return 0
"""

_GIVEN_SUMS = """
def binary_sums_{letter}(op, f):
    return sum_nest(op, f, 8, {operand}, op[{adjoint}], op[2], -1, wide(cast({sign}, f)), op[0] & {bit} == 0)
"""

_BINARY_ADJOINT = """
{rows}
def binary_adjoint(op, f, i, b_):
    p = real(op, 7, f)
    columns, left, right = op[9], column_stride(op, 8, 0), column_stride(op, 8, 1)
    if op[8] * columns == 0:
        return 0
    {each}
    return 0
"""

_BINARY_EACH = """
    if op[{adjoint}] == 0:
        pass
    elif {own} == 0 or alike_rows(op, 8, {operand}) > 8:
        binary_sums_{letter}(op, f)
    elif {moves} or op[{adjoint}] != op[2]:
        for row in range(op[8]):
            to_a, to_b = row_offset(op, 8, 0, row), row_offset(op, 8, 1, row)
            row_to_{letter}(f, op[{adjoint}] + to_{letter}, {own}, op[2] + row * columns, op[1] + row * columns,
                            op[3] + to_a, left, op[5] + to_b, right, columns, p, op[0] & {bit} != 0)
"""


def _binary_input(rule: str, letter: str) -> tuple[str, str]:
    """The functions of an input's adjoint, and what calls them."""
    words = {"letter": letter, "own": "left", "other": "right", "operand": 0, "adjoint": 4, "bit": 2}
    if letter == "b":
        words |= {"own": "right", "other": "left", "operand": 1, "adjoint": 6, "bit": 4}
    places = {"g": "at_g + k", "y": "at_y + k", "a": "at_a + k * left", "b": "at_b + k * right"}
    neighbour = "b" if letter == "a" else "a"
    row = _BINARY_ROW.format(rule=f"({rule})", element=loads(rule, places),
                             alone=loads(rule, {neighbour: f"at_{neighbour}"}),
                             beside=loads(rule, {key: place for key, place in places.items() if key != neighbour}),
                             **words)
    given = {"g": 1.0, "-g": -1.0}
    sums = _GIVEN_SUMS.format(sign=given[rule], **words) if rule in given else _BINARY_SUMS.format(**words)
    moves = rule != "g"  # the adjoint itself may be in its place already
    return row + sums, _BINARY_EACH.format(moves=moves, **words)


def binary(name: str, forward: str, to_a: str, to_b: str, doc: str) -> Op:
    """Define y = forward(a, b, p) with da += to_a(g, a, b, y, p) and db += to_b(...)."""
    run = partial(kernel, _BINARY_FORWARD.format(forward=forward), "binary_forward")
    (rows_a, each_a), (rows_b, each_b) = _binary_input(to_a, "a"), _binary_input(to_b, "b")
    source = _BINARY_ADJOINT.format(rows=rows_a + rows_b, each=each_a + each_b)
    saves = saved(to_a, "yab"), saved(to_b, "yab")
    op = BINARY[name] = Op(name, run, partial(kernel, source, "binary_adjoint"), saves, stores=True, doc=doc,
                           shares=partial(in_place, at=8, count=2), in_turn=True, strided=EVERY)
    op.scalar = scalar(op, ("a", "b"), forward, (to_a, to_b), "p")
    COSTS[op.opcode] = cost_of(forward), cost_of(to_a) + cost_of(to_b)
    return op


# ------------------------------------------------------------------ comparisons: bytes out

_COMPARE = """
def compare_forward(op, f, i, bytes_):
    columns, left, right = op[9], column_stride(op, 8, 0), column_stride(op, 8, 1)
    for row in range(op[8]):
        at_y = op[1] + row * columns
        at_a, at_b = op[3] + row_offset(op, 8, 0, row), op[5] + row_offset(op, 8, 1, row)
        for k in range(columns):
            a, b = read(f, at_a + k * left), read(f, at_b + k * right)
            write(bytes_, at_y + k, 1 if {rule} else 0)
    return 0
"""


def compare(name: str, rule: str) -> Op:
    """Define a bool output from two floats; it has no adjoint."""
    op = COMPARE[name] = Op(name, partial(kernel, _COMPARE.format(rule=rule), "compare_forward"), doc=rule,
                            strided=EVERY)
    return op


# ------------------------------------------------------------------ what rules are written with

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # Klambauer et al. 2017, equation 14
GELU_C, GELU_K = math.sqrt(2.0 / math.pi), 0.044715  # Hendrycks and Gimpel 2016
TWO_OVER_SQRT_PI = 2.0 / math.sqrt(math.pi)
NEGATIVE_INFINITY = -math.inf
FAR = 2.0 ** 63  # its square is about the greatest float32


@device
def gelu_tanh(x: Any) -> Any:
    """tanh of the cubic that approximates the normal distribution function."""
    return vecmath.tanh(GELU_C * (x + GELU_K * x * x * x))


@device
def stable_softplus(x: Any, beta: Any, threshold: Any) -> Any:
    """ln(1 + e^(beta x)) / beta."""
    return where(beta * x > threshold, x, vecmath.softplus(beta * x) / beta)


@device
def sign(x: Any) -> Any:
    """-1, 0 or 1; NaN of NaN."""
    return where(x > 0.0, 1.0, where(x < 0.0, -1.0, x))


@device
def power_slope(g: Any, a: Any, b: Any) -> Any:
    """g b a^(b-1), which is 0 where b is 0 whatever a is."""
    return where(b == 0.0, 0.0, g * b * vecmath.power(a, b - 1.0))


@device
def power_log_slope(g: Any, a: Any, b: Any, y: Any) -> Any:
    """g a^b ln a, which is 0 at a = 0 for b >= 0."""
    return where((a == 0.0) & (b >= 0.0), 0.0, g * y * log(a))


@device
def arctan_slope(g: Any, x: Any) -> Any:
    """g / (1 + x^2), also where x^2 overflows in float32; elsewhere the factors are 1."""
    s = where(abs(x) > FAR, 1.0 / FAR, 1.0)
    return g * s / (s * s + (x * s) * (x * s)) * s


@device
def divide_slope(g: Any, b: Any, y: Any) -> Any:
    """-g y / b, what might overflow first divided by b where that makes it smaller."""
    small = abs(b) < 1.0
    return -(where(small, g, 1.0) * y / b) * where(small, 1.0, g)


@device
def share(g: Any, a: Any, b: Any) -> Any:
    """g where a > b, half of it at a tie."""
    return where(a > b, g, where(a == b, 0.5 * g, 0.0))


@device
def clipped(x: Any, low: Any, high: Any) -> Any:
    """x between two bounds; NaN of NaN."""
    return where(x < low, low, where(x > high, high, x))


@device
def huber_of(d: Any, delta: Any) -> Any:
    """d^2 / 2 up to delta, then delta (|d| - delta / 2)."""
    return where(abs(d) <= delta, 0.5 * d * d, delta * (abs(d) - 0.5 * delta))


@device
def clamped_log(x: Any) -> Any:
    """ln x, not below -100."""
    return where(log(x) < -100.0, -100.0, log(x))


@device
def entropy_of(t: Any) -> Any:
    """t ln t, 0 at 0; NaN below, as the logarithm is."""
    return where(t == 0.0, 0.0, t * log(t))


@device
def negative_part(x: Any) -> Any:
    """min(x, 0)."""
    return where(x > 0.0, 0.0, x)


# ------------------------------------------------------------------ the rules

# one input: name, y, dx, what
unary("negative", "-x", "-g", "-x")
unary("abs", "abs(x)", "g * sign(x)", "|x|; slope 0 at 0")
unary("sign", "sign(x)", "0.0", "-1, 0 or 1; slope 0")
unary("exp", "exp(x)", "g * y", "e^x")
unary("expm1", "expm1(x)", "g * (y + 1.0)", "e^x - 1")
unary("log", "log(x)", "g / x", "natural logarithm")
unary("log1p", "log1p(x)", "g / (1.0 + x)", "ln(1 + x)")
unary("sqrt", "sqrt(x)", "0.5 * g / y", "square root; slope inf at 0, where an adjoint of 0 gives NaN")
unary("square", "x * x", "2.0 * g * x", "x^2")
unary("reciprocal", "1.0 / x", "-g * y * y", "1/x")
unary("sin", "sin(x)", "g * cos(x)", "sine, radians")
unary("cos", "cos(x)", "-g * sin(x)", "cosine, radians")
unary("tan", "tan(x)", "g * (1.0 + y * y)", "tangent, radians")
unary("arcsin", "asin(x)", "g / sqrt(1.0 - x * x)", "inverse sine")
unary("arccos", "acos(x)", "-g / sqrt(1.0 - x * x)", "inverse cosine")
unary("arctan", "atan(x)", "arctan_slope(g, x)", "inverse tangent")
unary("sinh", "sinh(x)", "g * cosh(x)", "hyperbolic sine")
unary("cosh", "cosh(x)", "g * sinh(x)", "hyperbolic cosine")
unary("tanh", "tanh(x)", "g * (1.0 - y * y)", "hyperbolic tangent")
unary("sigmoid", "sigmoid(x)", "g * y * (1.0 - y)", "1 / (1 + e^-x)")
unary("softplus", "stable_softplus(x, p, q)", "g * where(p * x > q, 1.0, sigmoid(p * x))", "ln(1 + e^(p x)) / p")
unary("log_sigmoid", "log_sigmoid(x)", "g * sigmoid(-x)", "ln sigmoid(x)")
unary("erf", "erf(x)", "g * TWO_OVER_SQRT_PI * exp(-x * x)", "error function")
unary("relu", "where(x <= 0.0, 0.0, x)", "where(y > 0.0, g, 0.0)", "max(x, 0); slope 0 at 0")
unary("leaky_relu", "where(x > 0.0, x, p * x)", "where(y > 0.0, g, p * g)", "x, or p x below 0, p not negative")
unary("leaky_relu_folded", "where(x > 0.0, x, p * x)", "where(x > 0.0, g, p * g)", "x, or p x below 0, p negative")
unary("elu", "where(x > 0.0, x, p * expm1(negative_part(x)))", "g * where(x > 0.0, 1.0, p * exp(negative_part(x)))",
      "x, or p (e^x - 1) below 0")
unary("selu", "SELU_SCALE * where(x > 0.0, x, SELU_ALPHA * expm1(negative_part(x)))",
      "g * SELU_SCALE * where(x > 0.0, 1.0, SELU_ALPHA * exp(negative_part(x)))",
      "scaled elu; at 0 the slope from below, 1.758")
unary("silu", "where(x == NEGATIVE_INFINITY, 0.0, x * sigmoid(x))", "g * sigmoid(x) * (1.0 + x * sigmoid(-x))",
      "x sigmoid(x)")
unary("gelu", "gelu(x)", "g * gelu_slope(x)", "x Phi(x)")
unary("gelu_tanh", "where(x == NEGATIVE_INFINITY, 0.0, 0.5 * x * (1.0 + gelu_tanh(x)))",
      "g * 0.5 * (1.0 + gelu_tanh(x)"
      " + clipped(x, -20.0, 20.0) * (1.0 - gelu_tanh(x) * gelu_tanh(x)) * GELU_C"
      " * (1.0 + 3.0 * GELU_K * clipped(x, -20.0, 20.0) * clipped(x, -20.0, 20.0)))",
      "x Phi(x), by tanh")
unary("clip", "clipped(x, p, q)", "where((x >= p) & (x <= q), g, 0.0)", "x between p and q; slope 1 on the bounds")
unary("hardtanh", "clipped(x, p, q)", "where((x > p) & (x < q), g, 0.0)", "x between p and q; slope 0 on the bounds")
unary("power_constant", "power(x, p)", "power_slope(g, x, p)", "x^p, p a number")
unary("scale_shift", "p * x + q", "g * p", "p x + q, p and q numbers")
unary("copy", "x", "g", "x, contiguous")
unary("huber", "huber_of(x, p)", "g * clipped(x, -p, p)", "quadratic up to p, then linear")
unary("x_log_x", "entropy_of(x)", "where(x == 0.0, 0.0, g * (log(x) + 1.0))", "x ln x, 0 at 0; slope 0 there")

# two inputs: name, y, da, db, what
binary("add", "a + b", "g", "g", "a + b")
binary("subtract", "a - b", "g", "-g", "a - b")
binary("multiply", "a * b", "g * b", "g * a", "a b")
binary("divide", "a / b", "g / b", "divide_slope(g, b, y)", "a / b")
binary("power", "power(a, b)", "power_slope(g, a, b)", "power_log_slope(g, a, b, y)", "a^b")
binary("maximum", "where((a != a) | (a > b), a, b)", "share(g, a, b)", "share(g, b, a)",
       "the greater, NaN if either is; a tie shares the gradient equally")
binary("minimum", "where((a != a) | (a < b), a, b)", "share(g, b, a)", "share(g, a, b)",
       "the lesser, NaN if either is; a tie shares the gradient equally")
binary("squared_error", "(a - b) * (a - b)", "2.0 * g * (a - b)", "-2.0 * g * (a - b)", "(a - b)^2")
binary("absolute_error", "abs(a - b)", "g * sign(a - b)", "-g * sign(a - b)", "|a - b|")
binary("huber_error", "huber_of(a - b, p)", "g * clipped(a - b, -p, p)", "-g * clipped(a - b, -p, p)", "huber of a - b")
binary("bce", "-(b * clamped_log(a) + (1.0 - b) * clamped_log(1.0 - a))",
       "g * (a - b) / where(a * (1.0 - a) < 1e-12, 1e-12, a * (1.0 - a))",
       "g * (clamped_log(1.0 - a) - clamped_log(a))", "-(b ln a + (1 - b) ln(1 - a)), logarithms not below -100")
binary("bce_with_logits", "(1.0 - b) * a - log_sigmoid(a)", "g * (sigmoid(a) - b)", "-g * a",
       "bce of sigmoid(a), stable")
binary("kl", "entropy_of(b) - b * a", "-g * b", "where(b == 0.0, -g * a, g * (log(b) + 1.0 - a))", "b (ln b - a)")

for _name, _rule in (("greater", "a > b"), ("greater_equal", "a >= b"), ("less", "a < b"), ("less_equal", "a <= b"),
                     ("equal", "a == b"), ("not_equal", "a != b")):
    compare(_name, _rule)
