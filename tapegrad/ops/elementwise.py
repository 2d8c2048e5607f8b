"""Elementwise ops: each is its formula, the formula of its adjoint, and a name.

A rule is an expression in the letters of the mathematics: inputs ``x``, or ``a`` and ``b``, output ``y``, its adjoint
``g``, attributes ``p`` and ``q``. The letters in the adjoint's expression are what it reads, and so are the save rule:
``g * (1.0 - y * y)`` keeps the output and nothing else.

An op has up to four forms, so that a program compiles only what it uses: its own; `Op.scalar` for scalars, whose
kernels have no loop; `Op.summed`, whose adjoint sums over the axes along which an input is broadcast; and `Op.blocked`
for short rows, which runs the kernels of its own form, and whose kernels are the same for all ops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from ..engine.kernels import Through
from ..engine.row import Nest, Row
from .blocks import BLOCKED_ADJOINT, BLOCKED_FORWARD, Blocked
from .table import Op, Shares
from .templates import (
    BINARY_ADJOINT,
    BINARY_EACH,
    BINARY_FORWARD,
    BINARY_ROW,
    BINARY_ROW_SUM,
    BINARY_SUM,
    BINARY_SUMS,
    COMPARE_FORWARD,
    GIVEN_SUMS,
    SCALAR,
    UNARY_ADJOINT,
    UNARY_FORWARD,
    UNARY_SUM,
    Binary,
    Scalar,
    Scalars,
    Unary,
    cost_of,
    kernel,
    letters,
    loads,
    saved,
)

UNARY: dict[str, Op] = {}
BINARY: dict[str, Op] = {}
COMPARE: dict[str, Op] = {}
#: by opcode, what an element costs forward and in its adjoint: 1 for an addition
COSTS: dict[int, tuple[int, int]] = {}

_PLACES = {(left, right): Shares((1,) * left + (2,) * right) for left in (False, True) for right in (False, True)}


def in_place(row: list[int], at: int, count: int) -> Shares:
    """In-place reuse: inputs that the output may overwrite, those of one contiguous row, by the nest at word `at`."""
    one, strides = row[at] == 1, at + Nest.size
    return _PLACES[one and row[strides] == 1, one and count == 2 and row[strides + 1] == 1]


def _scalar_loads(row: type[Row], adjoints: tuple[str, ...], places: dict[str, str]) -> str:
    """`loads` of what the wanted adjoints read; what only the others read has not been saved."""
    read_by = {letter: [k for k, rule in enumerate(adjoints) if letter in letters(rule)] for letter in places}
    lines = [f"{letter} = read(f, {places[letter]})" + (
        "" if len(rules) == len(adjoints) else f" if op.d.{row.inputs[rules[0]]} != 0 else cast(0.0, f)")
        for letter, rules in read_by.items() if rules]
    return "; ".join(lines) or "pass"


def scalar(op: Op, row: type[Row], forward: str, adjoints: tuple[str, ...]) -> Op:
    """The form for scalars: no nest, and kernels without a loop."""
    inputs = {letter: f"op.{letter}" for letter in row.inputs}
    # not contracted with a product in it (FMA): either of two contributions may be the first
    added = [f"f[op.d.{letter}] = minus(kept(f[op.d.{letter}], mode >> {j} & 1), -({rule}))"
             for j, (letter, rule) in enumerate(zip(inputs, adjoints), 1)]
    source = SCALAR.format(
        row=row.__name__, forward=forward,
        inputs="; ".join(f"{letter} = f[{place}]" for letter, place in inputs.items()),
        attributes="; ".join(f"{name} = op.{name}" for name, kind in row.kinds.items() if kind == "float"),
        loads=_scalar_loads(row, adjoints, {"g": "op.g", "y": "op.y", **inputs}),
        adjoints="\n    ".join(added if len(added) == 1 else
                               [f"if op.d.{letter} != 0: {line}" for letter, line in zip(inputs, added)]))
    back = partial(kernel, source, "scalar_adjoint") if adjoints else None
    return Op(op.name, partial(kernel, source, "scalar_forward"), back, op.saves, stores=True, doc=op.doc,
              shares=lambda words: _PLACES[True, len(inputs) == 2], in_turn=True, form="scalar", row=row,
              composition=op.composition)


def unary(name: str, forward: str, adjoint: str | None, doc: str) -> Op:
    """Define y = forward(x, p, q) with dx += adjoint(g, x, y, p, q); a copy may be one of what is broadcast."""
    run = partial(kernel, UNARY_FORWARD.format(forward=forward), "unary_forward")
    define = partial(Op, name, row=Unary, saves={"x": saved(adjoint, Unary)} if adjoint is not None else {},
                     stores=True, doc=doc, shares=partial(in_place, at=Unary.places["nest"], count=1),
                     composition={"x": adjoint} if adjoint is not None else {})

    def back(summed: bool) -> Callable | None:
        if adjoint is None:
            return None
        element = loads(adjoint, {"g": "at_g + k", "y": "at_y + k", "x": "at_x + k * step"})
        source = UNARY_ADJOINT.format(adjoint=f"({adjoint})", element=element, sum=UNARY_SUM.strip() if summed else "")
        return partial(kernel, source, "unary_adjoint")

    op = UNARY[name] = define(run, back(False))
    op.scalar = scalar(op, Scalar, forward, (adjoint,) if adjoint is not None else ())
    op.summed = define(op.forward, back(True), form="summed") if adjoint == "g" else None
    COSTS.update(dict.fromkeys(opcodes([op]), (cost_of(forward), cost_of(adjoint or "0.0"))))
    return op


def _binary_input(rule: str, letter: str, summed: bool) -> tuple[str, str]:
    """The functions of an input's adjoint, and their call."""
    words = {"letter": letter, "own": "left", "other": "right", "operand": 0}
    if letter == "b":
        words |= {"own": "right", "other": "left", "operand": 1}
    places = {"g": "at_g + k", "y": "at_y + k", "a": "at_a + k * left", "b": "at_b + k * right"}
    neighbour = "b" if letter == "a" else "a"
    words |= {"rule": f"({rule})", "element": loads(rule, places), "alone": loads(rule, {neighbour: f"at_{neighbour}"}),
              "beside": loads(rule, {key: place for key, place in places.items() if key != neighbour}),
              "moves": rule != "g"}  # else it may be computed in place
    if not summed:
        return BINARY_ROW.format(sum="", **words), BINARY_EACH.format(sum="", **words)
    given, row_sum = {"g": 1.0, "-g": -1.0}.get(rule), ""
    if given is None:
        sums, row_sum = BINARY_SUMS.format(**words), BINARY_ROW_SUM.strip().format(**words)
    else:
        sums = GIVEN_SUMS.format(sign=given, **words)
    return (BINARY_ROW.format(sum=row_sum, **words) + sums,
            BINARY_EACH.format(sum=BINARY_SUM.strip().format(**words), **words))


def binary(name: str, forward: str, to_a: str, to_b: str, doc: str) -> Op:
    """Define y = forward(a, b, p) with da += to_a(g, a, b, y, p) and db += to_b(...)."""
    run = partial(kernel, BINARY_FORWARD.format(forward=forward), "binary_forward")
    define = partial(Op, name, row=Binary, saves={"a": saved(to_a, Binary), "b": saved(to_b, Binary)}, stores=True,
                     doc=doc, shares=partial(in_place, at=Binary.places["nest"], count=2), in_turn=True,
                     composition={"a": to_a, "b": to_b})

    def back(summed: bool) -> Callable:
        (rows_a, each_a), (rows_b, each_b) = _binary_input(to_a, "a", summed), _binary_input(to_b, "b", summed)
        return partial(kernel, BINARY_ADJOINT.format(rows=rows_a + rows_b, each=each_a + each_b), "binary_adjoint")

    op = BINARY[name] = define(run, back(False))
    op.scalar = scalar(op, Scalars, forward, (to_a, to_b))
    op.summed = define(op.forward, back(True), form="summed")
    assert op.adjoint is not None
    op.blocked = Op(name, Through(BLOCKED_FORWARD, op.forward), Through(BLOCKED_ADJOINT, op.adjoint), row=Blocked,
                    saves=op.saves, stores=True, doc=doc, in_turn=True, form="blocked", composition=op.composition)
    COSTS.update(dict.fromkeys(opcodes([op]), (cost_of(forward), cost_of(to_a) + cost_of(to_b))))
    return op


def compare(name: str, rule: str) -> Op:
    """Define a bool output from two floats; it has no adjoint."""
    op = COMPARE[name] = Op(name, partial(kernel, COMPARE_FORWARD.format(rule=rule), "compare_forward"), doc=rule,
                            row=Binary)
    return op


def opcodes(ops: Iterable[Op]) -> Iterator[int]:
    """The opcodes of `ops` over arrays, in both forms."""
    for op in ops:
        yield op.opcode
        if op.summed is not None:
            yield op.summed.opcode


# ------------------------------------------------------------------ the rules

# one input: name, y, dx, what
unary("negative", "-x", "-g", "-x")
unary("abs", "abs(x)", "g * sign(x)", "|x|; slope 0 at 0, second derivative 0 (see grad)")
unary("sign", "sign(x)", "0.0", "-1, 0 or 1; slope 0")
unary("exp", "exp(x)", "g * y", "e^x")
unary("expm1", "expm1(x)", "g * (y + 1.0)", "e^x - 1")
unary("log", "log(x)", "g / x", "natural logarithm")
unary("log1p", "log1p(x)", "g / (1.0 + x)", "ln(1 + x)")
unary("sqrt", "sqrt(x)", "0.5 * g / y",
      "square root; slope inf at 0, where an adjoint of 0 gives NaN; second derivative -inf")
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
unary("relu", "where(x <= 0.0, 0.0, x)", "where(y > 0.0, g, 0.0)",
      "max(x, 0); slope 0 at 0, second derivative 0 (see grad)")
unary("leaky_relu", "where(x > 0.0, x, p * x)", "where(y > 0.0, g, p * g)", "x, or p x below 0, p not negative")
unary("leaky_relu_folded", "where(x > 0.0, x, p * x)", "where(x > 0.0, g, p * g)", "x, or p x below 0, p negative")
unary("elu", "where(x > 0.0, x, p * expm1(negative_part(x)))", "g * where(x > 0.0, 1.0, p * exp(negative_part(x)))",
      "x, or p (e^x - 1) below 0")
unary("selu", "SELU_SCALE * where(x > 0.0, x, SELU_ALPHA * expm1(negative_part(x)))",
      "g * SELU_SCALE * where(x > 0.0, 1.0, SELU_ALPHA * exp(negative_part(x)))",
      "scaled elu; at 0 slope and second derivative are those from below, 1.758 (see grad)")
unary("silu", "where(x == NEGATIVE_INFINITY, 0.0, x * sigmoid(x))", "g * sigmoid(x) * (1.0 + x * sigmoid(-x))",
      "x sigmoid(x)")
unary("gelu", "gelu(x)", "g * gelu_slope(x)", "x Phi(x)")
unary("gelu_tanh", "where(x == NEGATIVE_INFINITY, 0.0, 0.5 * x * (1.0 + gelu_tanh(x)))",
      "g * 0.5 * (1.0 + gelu_tanh(x)"
      " + clipped(x, -20.0, 20.0) * (1.0 - gelu_tanh(x) * gelu_tanh(x)) * GELU_C"
      " * (1.0 + 3.0 * GELU_K * clipped(x, -20.0, 20.0) * clipped(x, -20.0, 20.0)))",
      "x Phi(x), by tanh")
unary("celu", "where(x > 0.0, x, p * expm1(negative_part(x) / p))",
      "g * where(x > 0.0, 1.0, exp(negative_part(x) / p))", "x, or p (e^(x / p) - 1) below 0")
unary("mish", "where(x == NEGATIVE_INFINITY, 0.0, x * tanh(stable_softplus(x, 1.0, 40.0)))",
      "g * (tanh(stable_softplus(x, 1.0, 40.0)) + x * sigmoid(x) * (1.0 - tanh(stable_softplus(x, 1.0, 40.0))"
      " * tanh(stable_softplus(x, 1.0, 40.0))))", "x tanh(ln(1 + e^x))")
unary("hardswish", "x * clipped(x + 3.0, 0.0, 6.0) / 6.0",
      "where(x <= -3.0, 0.0, where(x < 3.0, g * (x / 3.0 + 0.5), g))", "x min(max(x + 3, 0), 6) / 6")
unary("hardsigmoid", "clipped(x + 3.0, 0.0, 6.0) / 6.0", "where((x > -3.0) & (x < 3.0), g / 6.0, 0.0)",
      "min(max(x + 3, 0), 6) / 6; slope 0 on the bounds")
unary("hardshrink", "where(abs(x) <= p, 0.0, x)", "where(abs(x) <= p, 0.0, g)", "x, but 0 where |x| <= p")
unary("softshrink", "where(abs(x) <= p, 0.0, where(x > 0.0, x - p, x + p))", "where(abs(x) <= p, 0.0, g)",
      "x moved towards 0 by p, 0 where |x| <= p")
unary("threshold", "where(x <= p, q, x)", "where(x <= p, 0.0, g)", "x where it exceeds p, else q")
unary("clip", "clipped(x, p, q)", "where((x >= p) & (x <= q), g, 0.0)", "x between p and q; slope 1 on the bounds")
unary("hardtanh", "clipped(x, p, q)", "where((x > p) & (x < q), g, 0.0)", "x between p and q; slope 0 on the bounds")
unary("power_constant", "power(x, p)", "power_slope(g, x, p)", "x^p, p a number")
unary("scale_shift", "p * x + q", "g * p", "p x + q, p and q numbers")
unary("copy", "x", "g", "x, contiguous")
unary("nothing", "zero_of(x)", "g", "0, whose slope is 1: the direction along which a function is linearised")
unary("huber", "huber_of(x, p)", "g * clipped(x, -p, p)", "quadratic up to p, then linear")
unary("x_log_x", "entropy_of(x)", "where(x == 0.0, 0.0, g * (log(x) + 1.0))", "x ln x, 0 at 0; slope 0 there")

unary("floor", "floor(x)", "0.0", "the largest integer not above x; slope 0")
unary("ceil", "ceil(x)", "0.0", "the smallest integer not below x; slope 0")
unary("trunc", "trunc(x)", "0.0", "x without its fraction; slope 0")
unary("rint", "rint(x)", "0.0", "the nearest integer, of two the even one; slope 0")
unary("frac", "x - trunc(x)", "g", "the fraction of x, with its sign")
unary("log2", "log2(x)", "g / (LN2 * x)", "logarithm to base 2")
unary("log10", "log10(x)", "g / (LN10 * x)", "logarithm to base 10")
unary("exp2", "exp2(x)", "LN2 * g * y", "2^x")
unary("cbrt", "cbrt(x)", "g / (3.0 * y * y)", "cube root; slope inf at 0")
unary("rsqrt", "1.0 / sqrt(x)", "-0.5 * g * y * y * y", "1 / sqrt(x)")
unary("arcsinh", "arcsinh(x)", "g / hypot(x, 1.0)", "inverse hyperbolic sine")
unary("arccosh", "arccosh(x)", "g / (sqrt(x - 1.0) * sqrt(x + 1.0))", "inverse hyperbolic cosine; slope inf at 1")
unary("arctanh", "arctanh(x)", "g / ((1.0 - x) * (1.0 + x))", "inverse hyperbolic tangent")
unary("logit", "log(x) - log1p(-x)", "where(y == y, g / (abs(x) * (1.0 - x)), y)",
      "ln(x / (1 - x)), NaN outside 0 to 1")
unary("sinc", "sinc(x)", "g * sinc_slope(x)", "sin(pi x) / (pi x), 1 at 0")

unary("erfc", "erfc(x)", "-g * TWO_OVER_SQRT_PI * exp(-x * x)", "1 - erf(x)")
unary("erfinv", "erfinv(x)", "HALF_SQRT_PI * g * exp(y * y)", "inverse of erf, NaN outside -1 to 1")
unary("lgamma", "lgamma(x)", "g * digamma(x)", "ln |gamma(x)|")
unary("digamma", "digamma(x)", "g * polygamma(1.0, x)", "derivative of ln gamma(x)")
unary("polygamma", "polygamma(p, x)", "g * polygamma(p + 1.0, x)", "p-th derivative of digamma, p from 1 on")
unary("i0", "i0(x)", "g * i1(x)", "modified Bessel function of order 0")
unary("i0e", "i0e(x)", "g * (i1e(x) - sign(x) * y)", "e^-|x| I0(x)")
unary("i1", "i1(x)", "g * i1_slope(x, y)", "modified Bessel function of order 1")
unary("i1e", "i1e(x)", "g * i1e_slope(x, y)", "e^-|x| I1(x)")
unary("j0", "j0(x)", "-g * j1(x)", "Bessel function of the first kind, of order 0")
unary("j1", "j1(x)", "g * j1_slope(x, y)", "Bessel function of the first kind, of order 1")

# two inputs: name, y, da, db, what
binary("add", "a + b", "g", "g", "a + b")
binary("subtract", "a - b", "g", "-g", "a - b")
binary("multiply", "a * b", "g * b", "g * a", "a b")
binary("divide", "a / b", "g / b", "divide_slope(g, b, y)", "a / b")
binary("power", "power(a, b)", "power_slope(g, a, b)", "power_log_slope(g, a, b, y)", "a^b")
binary("maximum", "where((a != a) | (a > b), a, b)", "share(g, a, b)", "share(g, b, a)",
       "the greater, NaN if either is; a tie shares the gradient equally (see grad)")
binary("minimum", "where((a != a) | (a < b), a, b)", "share(g, b, a)", "share(g, a, b)",
       "the lesser, NaN if either is; a tie shares the gradient equally (see grad)")
binary("squared_error", "(a - b) * (a - b)", "2.0 * g * (a - b)", "-2.0 * g * (a - b)", "(a - b)^2")
binary("absolute_error", "abs(a - b)", "g * sign(a - b)", "-g * sign(a - b)", "|a - b|")
binary("huber_error", "huber_of(a - b, p)", "g * clipped(a - b, -p, p)", "-g * clipped(a - b, -p, p)", "huber of a - b")
binary("bce", "-(b * clamped_log(a) + (1.0 - b) * clamped_log(1.0 - a))",
       "g * (a - b) / where(a * (1.0 - a) < 1e-12, 1e-12, a * (1.0 - a))",
       "g * (clamped_log(1.0 - a) - clamped_log(a))", "-(b ln a + (1 - b) ln(1 - a)), logarithms not below -100")
binary("bce_with_logits", "(1.0 - b) * a - log_sigmoid(a)", "g * (sigmoid(a) - b)", "-g * a",
       "bce of sigmoid(a), stable")
binary("given", "a", "0.0", "g", "a, whose derivative is that of b: a value with a rule for its derivative")
binary("scaled_product", "p * a * b", "p * g * b", "p * g * a", "p a b, p a number")
binary("prelu", "where(a > 0.0, a, a * b)", "where(a > 0.0, g, g * b)", "where(a > 0.0, 0.0, g * a)",
       "a, or b a where it is not positive")
binary("tanh_slope", "a * (1.0 - b * b)", "g * (1.0 - b * b)", "-2.0 * g * a * b",
       "a (1 - b^2), the adjoint of b = tanh x")
binary("kl", "entropy_of(b) - b * a", "-g * b", "where(b == 0.0, -g * a, g * (log(b) + 1.0 - a))", "b (ln b - a)")
binary("arctan2", "arctan2(a, b)", "arctan2_slope(g, b, a, b)", "-arctan2_slope(g, a, a, b)",
       "angle of the point (b, a), radians; slopes 0 at the origin")
binary("hypot", "hypot(a, b)", "g * (a / y)", "g * (b / y)", "sqrt(a^2 + b^2); slopes NaN at the origin")
binary("logaddexp", "log_of_sum(a, b)", "g * sigmoid(a - b)", "g * sigmoid(b - a)", "ln(e^a + e^b)")
binary("logaddexp2", "log_of_sum(LN2 * a, LN2 * b) / LN2", "g * sigmoid(LN2 * (a - b))", "g * sigmoid(LN2 * (b - a))",
       "log2(2^a + 2^b)")
binary("fmod", "fmod(a, b)", "g", "-g * rint((a - y) / b)", "remainder of a / b, with the sign of a")
binary("remainder", "modulo(a, b)", "g", "-g * floor_divide(a, b)", "remainder of a / b, with the sign of b")
binary("floor_divide", "floor_divide(a, b)", "0.0", "0.0", "the largest integer not above a / b; slopes 0")
binary("fmin", "where((b != b) | (a <= b), a, b)", "where((b != b) | (a <= b), g, 0.0)",
       "where((b != b) | (a <= b), 0.0, g)", "the lesser that is no NaN; a tie gives its gradient to a")
binary("fmax", "where((b != b) | (a >= b), a, b)", "where((b != b) | (a >= b), g, 0.0)",
       "where((b != b) | (a >= b), 0.0, g)", "the greater that is no NaN; a tie gives its gradient to a")
binary("copysign", "copysign(a, b)", "g * sign(a) * copysign(1.0, b)", "0.0",
       "the magnitude of a with the sign of b; slope 0 at a = 0")
binary("heaviside", "where(a != a, a, where(a == 0.0, b, where(a > 0.0, 1.0, 0.0)))", "0.0",
       "where(a == 0.0, g, 0.0)", "0 below, b at and 1 above a = 0")
binary("xlogy", "where((a == 0.0) & (b == b), 0.0, a * log(b))", "where((a == 0.0) & (b <= 0.0), 0.0, g * log(b))",
       "g * a / b", "a ln b, 0 at a = 0")
binary("xlog1py", "where((a == 0.0) & (b == b), 0.0, a * log1p(b))",
       "where((a == 0.0) & (b <= -1.0), 0.0, g * log1p(b))", "g * a / (1.0 + b)", "a ln(1 + b), 0 at a = 0")
binary("beta", "beta(a, b)", "g * y * (digamma(a) - digamma(a + b))", "g * y * (digamma(b) - digamma(a + b))",
       "gamma(a) gamma(b) / gamma(a + b)")
binary("betaln", "betaln(a, b)", "g * (digamma(a) - digamma(a + b))", "g * (digamma(b) - digamma(a + b))",
       "ln |beta(a, b)|")

for _name, _rule in (("greater", "a > b"), ("greater_equal", "a >= b"), ("less", "a < b"), ("less_equal", "a <= b"),
                     ("equal", "a == b"), ("not_equal", "a != b")):
    compare(_name, _rule)
