"""Elementwise ops: each is its formula, the formula of its adjoint, and a name.

A rule is written once, over numbers, in the letters of the mathematics. The adjoint rule's own parameters say what
it reads, and so are the save rule: ``lambda g, y: g * (1.0 - y * y)`` keeps the output and nothing else. Inputs are
``x``, or ``a`` and ``b``, the output is ``y``, its adjoint ``g``; further parameters are the op's attributes.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

from ..engine import vecmath as m
from ..engine.jit import cast, device, real
from .nest import column_stride, row_offset
from .table import Op

UNARY: dict[str, Op] = {}
BINARY: dict[str, Op] = {}
COMPARE: dict[str, Op] = {}


def adapted(rule: Callable, parameters: tuple[str, ...]) -> Callable:
    """`rule` as a function of just `parameters`, of which it takes those that it names."""
    taken = tuple(inspect.signature(rule).parameters)
    attributes = [p for p in parameters if p in ("p", "q")]
    unknown = [t for t in taken if t not in parameters]
    passed = [attributes[unknown.index(t)] if t in unknown else t for t in taken]
    device(rule)
    return device(eval(f"lambda {', '.join(parameters)}: rule({', '.join(passed)})", {"rule": rule}))


def reads(rule: Callable, letters: tuple[str, ...]) -> tuple[int, ...]:
    """Operands that the adjoint `rule` names: position in `letters` (0 the output)."""
    taken = inspect.signature(rule).parameters
    return tuple(k for k, letter in enumerate(letters) if letter in taken)


# ------------------------------------------------------------------ one input


def unary_forward(rule: Callable) -> Callable:
    """Kernel of y = rule(x). Words: 1 y, 3 x, 5 p, 6 q, 7 nest of (x)."""

    def kernel(op: Any, f: Any, i: Any, b: Any) -> int:
        p, q = real(op, 5, f), real(op, 6, f)
        columns, step = op[8], column_stride(op, 7, 0)
        for row in range(op[7]):
            y, x = op[1] + row * columns, op[3] + row_offset(op, 7, 0, row)
            if step == 1:
                for k in range(columns):
                    f[y + k] = rule(f[x + k], p, q)
            else:
                for k in range(columns):
                    f[y + k] = rule(f[x + k * step], p, q)
        return 0

    return kernel


def unary_adjoint(rule: Callable) -> Callable:
    """Kernel of dx += rule(g, x, y): mode bit 1 stores."""

    def kernel(op: Any, f: Any, i: Any, b: Any) -> int:
        p, q = real(op, 5, f), real(op, 6, f)
        columns, step, store = op[8], column_stride(op, 7, 0), op[0] & 2 != 0
        zero = cast(0.0, f)
        for row in range(op[7]):
            at = row_offset(op, 7, 0, row)
            y, g, x, dx = op[1] + row * columns, op[2] + row * columns, op[3] + at, op[4] + at
            if step == 1:
                for k in range(columns):
                    before = zero if store else f[dx + k]
                    f[dx + k] = before + rule(f[g + k], f[x + k], f[y + k], p, q)
            else:
                for k in range(columns):
                    before = zero if store else f[dx + k * step]
                    f[dx + k * step] = before + rule(f[g + k], f[x + k * step], f[y + k], p, q)
        return 0

    return kernel


def unary(name: str, forward: Callable, adjoint: Callable | None, doc: str) -> Op:
    """Define y = forward(x, p, q) with dx += adjoint(g, x, y, p, q)."""
    f = unary_forward(adapted(forward, ("x", "p", "q")))
    d = None if adjoint is None else unary_adjoint(adapted(adjoint, ("g", "x", "y", "p", "q")))
    saves = () if adjoint is None else (reads(adjoint, ("y", "x")),)
    op = UNARY[name] = Op(name, f, d, saves, stores=True, doc=doc)
    return op


# ------------------------------------------------------------------ two inputs


def binary_forward(rule: Callable) -> Callable:
    """Kernel of y = rule(a, b). Words: 1 y, 3 a, 5 b, 7 p, 8 nest of (a, b)."""

    def kernel(op: Any, f: Any, i: Any, b: Any) -> int:
        p = real(op, 7, f)
        columns, left, right = op[9], column_stride(op, 8, 0), column_stride(op, 8, 1)
        for row in range(op[8]):
            y = op[1] + row * columns
            u, v = op[3] + row_offset(op, 8, 0, row), op[5] + row_offset(op, 8, 1, row)
            if left == 1 and right == 1:
                for k in range(columns):
                    f[y + k] = rule(f[u + k], f[v + k], p)
            elif left == 1 and right == 0:
                other = f[v]
                for k in range(columns):
                    f[y + k] = rule(f[u + k], other, p)
            else:
                for k in range(columns):
                    f[y + k] = rule(f[u + k * left], f[v + k * right], p)
        return 0

    return kernel


def binary_adjoint(first: Callable, second: Callable) -> Callable:
    """Kernel of da += first(g, a, b, y), db += second(g, a, b, y), summed over broadcast axes."""
    to_first, to_second = _binary_pass(first, 0), _binary_pass(second, 1)

    def kernel(op: Any, f: Any, i: Any, b: Any) -> int:
        if op[4] != 0:
            to_first(op, f, op[4], op[0] & 2 != 0)
        if op[6] != 0:
            to_second(op, f, op[6], op[0] & 4 != 0)
        return 0

    return kernel


def _binary_pass(rule: Callable, operand: int) -> Callable:
    """The adjoint of one of two inputs; `target` is its adjoint's address."""

    def accumulate(op: Any, f: Any, target: int, store: bool) -> int:
        p, zero = real(op, 7, f), cast(0.0, f)
        columns, left, right = op[9], column_stride(op, 8, 0), column_stride(op, 8, 1)
        step = right if operand == 1 else left
        for row in range(op[8]):
            y, g = op[1] + row * columns, op[2] + row * columns
            u, v = op[3] + row_offset(op, 8, 0, row), op[5] + row_offset(op, 8, 1, row)
            d = target + row_offset(op, 8, operand, row)
            if step == 0:
                total = zero
                if left <= 1 and right <= 1:
                    for k in range(columns):
                        total += rule(f[g + k], f[u + (k if left == 1 else 0)], f[v + (k if right == 1 else 0)],
                                      f[y + k], p)
                else:
                    for k in range(columns):
                        total += rule(f[g + k], f[u + k * left], f[v + k * right], f[y + k], p)
                f[d] = total if store else f[d] + total
            elif left == 1 and right == 1:
                for k in range(columns):
                    before = zero if store else f[d + k]
                    f[d + k] = before + rule(f[g + k], f[u + k], f[v + k], f[y + k], p)
            elif step == 1 and left + right == 1:
                if operand == 0:
                    other = f[v]
                    for k in range(columns):
                        before = zero if store else f[d + k]
                        f[d + k] = before + rule(f[g + k], f[u + k], other, f[y + k], p)
                else:
                    other = f[u]
                    for k in range(columns):
                        before = zero if store else f[d + k]
                        f[d + k] = before + rule(f[g + k], other, f[v + k], f[y + k], p)
            else:
                for k in range(columns):
                    before = zero if store else f[d + k * step]
                    f[d + k * step] = before + rule(f[g + k], f[u + k * left], f[v + k * right], f[y + k], p)
        return 0

    return device(accumulate)


def binary(name: str, forward: Callable, to_a: Callable, to_b: Callable, doc: str) -> Op:
    """Define y = forward(a, b, p) with da += to_a(g, a, b, y, p) and db += to_b(...)."""
    f = binary_forward(adapted(forward, ("a", "b", "p")))
    letters = ("g", "a", "b", "y", "p")
    d = binary_adjoint(adapted(to_a, letters), adapted(to_b, letters))
    saves = tuple(reads(rule, ("y", "a", "b")) for rule in (to_a, to_b))
    op = BINARY[name] = Op(name, f, d, saves, stores=True, doc=doc)
    return op


# ------------------------------------------------------------------ comparisons: bytes out


def compare(name: str, rule: Callable, doc: str) -> Op:
    """Define a bool output from two floats; it has no adjoint."""
    decide = adapted(rule, ("a", "b"))

    def kernel(op: Any, f: Any, i: Any, b: Any) -> int:
        columns, left, right = op[9], column_stride(op, 8, 0), column_stride(op, 8, 1)
        for row in range(op[8]):
            y = op[1] + row * columns
            u, v = op[3] + row_offset(op, 8, 0, row), op[5] + row_offset(op, 8, 1, row)
            for k in range(columns):
                b[y + k] = 1 if decide(f[u + k * left], f[v + k * right]) else 0
        return 0

    op = COMPARE[name] = Op(name, kernel, doc=doc)
    return op


# ------------------------------------------------------------------ the rules

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # Klambauer et al. 2017, equation 14
SQRT_HALF, INV_SQRT_2PI = math.sqrt(0.5), 1.0 / math.sqrt(2.0 * math.pi)
GELU_C, GELU_K = math.sqrt(2.0 / math.pi), 0.044715  # Hendrycks and Gimpel 2016
TWO_OVER_SQRT_PI = 2.0 / math.sqrt(math.pi)
NEGATIVE_INFINITY = -math.inf


@device
def normal_cdf(x: Any) -> Any:
    return 0.5 * (1.0 + m.erf(x * SQRT_HALF))


@device
def normal_pdf(x: Any) -> Any:
    return INV_SQRT_2PI * m.exp(-0.5 * x * x)


@device
def gelu_tanh_slope(x: Any) -> Any:
    t = m.tanh(GELU_C * (x + GELU_K * x * x * x))
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * GELU_C * (1.0 + 3.0 * GELU_K * x * x)


@device
def softplus_rule(x: Any, beta: Any, threshold: Any) -> Any:
    z = beta * x
    stable = m.where(z > 0.0, x, 0.0) + m.log1p(m.exp(-m.abs(z))) / beta
    return m.where(z > threshold, x, stable)


@device
def sign_rule(x: Any) -> Any:
    return m.where(x > 0.0, 1.0, m.where(x < 0.0, -1.0, x))


@device
def power_slope(g: Any, a: Any, b: Any) -> Any:
    """b a^(b-1), which is 0 where b is 0 whatever a is."""
    return m.where(b == 0.0, 0.0, g * b * m.power(a, b - 1.0))


@device
def power_log_slope(g: Any, a: Any, b: Any, y: Any) -> Any:
    """a^b ln a, which is 0 at a = 0 for b >= 0."""
    return m.where((a == 0.0) and (b >= 0.0), 0.0, g * y * m.log(a))


@device
def maximum_rule(a: Any, b: Any) -> Any:
    return m.where(a != a, a, m.where(a > b, a, b))


@device
def minimum_rule(a: Any, b: Any) -> Any:
    return m.where(a != a, a, m.where(a < b, a, b))


@device
def share_greater(g: Any, a: Any, b: Any) -> Any:
    """g where a > b, half of it at a tie."""
    return m.where(a > b, g, m.where(a == b, 0.5 * g, 0.0))


@device
def clip_rule(x: Any, low: Any, high: Any) -> Any:
    return m.where(x < low, low, m.where(x > high, high, x))


@device
def huber_rule(d: Any, delta: Any) -> Any:
    s = m.abs(d)
    return m.where(s <= delta, 0.5 * d * d, delta * (s - 0.5 * delta))


@device
def at_least(x: Any, floor: Any) -> Any:
    return m.where(x < floor, floor, x)


@device
def clamped_log(x: Any) -> Any:
    return at_least(m.log(x), -100.0)


@device
def x_log_x(t: Any) -> Any:
    return m.where(t > 0.0, t * m.log(m.where(t > 0.0, t, 1.0)), 0.0)


# one input: name, y, dx
unary("negative", lambda x: -x, lambda g: -g, "-x")
unary("abs", lambda x: m.abs(x), lambda g, x: g * sign_rule(x), "|x|; slope 0 at 0")
unary("sign", lambda x: sign_rule(x), None, "-1, 0 or 1; no slope")
unary("exp", lambda x: m.exp(x), lambda g, y: g * y, "e^x")
unary("expm1", lambda x: m.expm1(x), lambda g, y: g * (y + 1.0), "e^x - 1")
unary("log", lambda x: m.log(x), lambda g, x: g / x, "natural logarithm")
unary("log1p", lambda x: m.log1p(x), lambda g, x: g / (1.0 + x), "ln(1 + x)")
unary("sqrt", lambda x: m.sqrt(x), lambda g, y: 0.5 * g / y, "square root")
unary("square", lambda x: x * x, lambda g, x: 2.0 * g * x, "x^2")
unary("reciprocal", lambda x: 1.0 / x, lambda g, y: -g * y * y, "1/x")
unary("sin", lambda x: m.sin(x), lambda g, x: g * m.cos(x), "sine, radians")
unary("cos", lambda x: m.cos(x), lambda g, x: -g * m.sin(x), "cosine, radians")
unary("tan", lambda x: m.tan(x), lambda g, y: g * (1.0 + y * y), "tangent, radians")
unary("arcsin", lambda x: m.asin(x), lambda g, x: g / m.sqrt(1.0 - x * x), "inverse sine")
unary("arccos", lambda x: m.acos(x), lambda g, x: -g / m.sqrt(1.0 - x * x), "inverse cosine")
unary("arctan", lambda x: m.atan(x), lambda g, x: g / (1.0 + x * x), "inverse tangent")
unary("sinh", lambda x: m.sinh(x), lambda g, x: g * m.cosh(x), "hyperbolic sine")
unary("cosh", lambda x: m.cosh(x), lambda g, x: g * m.sinh(x), "hyperbolic cosine")
unary("tanh", lambda x: m.tanh(x), lambda g, y: g * (1.0 - y * y), "hyperbolic tangent")
unary("sigmoid", lambda x: m.sigmoid(x), lambda g, y: g * y * (1.0 - y), "1 / (1 + e^-x)")
unary("softplus", softplus_rule, lambda g, x, beta: g * m.sigmoid(beta * x), "ln(1 + e^(beta x)) / beta")
unary("log_sigmoid", lambda x: -softplus_rule(-x, 1.0, 1e30), lambda g, x: g * m.sigmoid(-x),
      "ln sigmoid(x)")
unary("erf", lambda x: m.erf(x), lambda g, x: g * TWO_OVER_SQRT_PI * m.exp(-x * x), "error function")
unary("relu", lambda x: m.where(x > 0.0, x, m.where(x != x, x, 0.0)),
      lambda g, y: m.where(y > 0.0, g, 0.0), "max(x, 0); slope 0 at 0")
unary("leaky_relu", lambda x, slope: m.where(x > 0.0, x, slope * x),
      lambda g, x, slope: m.where(x > 0.0, g, slope * g), "x, or slope x below 0")
unary("elu", lambda x, alpha: m.where(x > 0.0, x, alpha * m.expm1(m.where(x > 0.0, 0.0, x))),
      lambda g, x, alpha: m.where(x > 0.0, g, g * alpha * m.exp(m.where(x > 0.0, 0.0, x))),
      "x, or alpha (e^x - 1) below 0")
unary("selu", lambda x: SELU_SCALE * m.where(x > 0.0, x, SELU_ALPHA * m.expm1(m.where(x > 0.0, 0.0, x))),
      lambda g, x: g * SELU_SCALE * m.where(x > 0.0, 1.0,
                                            SELU_ALPHA * m.exp(m.where(x > 0.0, 0.0, x))),
      "scaled elu")
unary("silu", lambda x: m.where(x == NEGATIVE_INFINITY, 0.0, x * m.sigmoid(x)),
      lambda g, x: g * m.sigmoid(x) * (1.0 + x * (1.0 - m.sigmoid(x))), "x sigmoid(x)")
unary("gelu", lambda x: m.where(x == NEGATIVE_INFINITY, 0.0, x * normal_cdf(x)),
      lambda g, x: g * (normal_cdf(x) + x * normal_pdf(x)), "x Phi(x)")
unary("gelu_tanh", lambda x: m.where(x == NEGATIVE_INFINITY, 0.0,
                                     0.5 * x * (1.0 + m.tanh(GELU_C * (x + GELU_K * x * x * x)))),
      lambda g, x: g * gelu_tanh_slope(x), "x Phi(x), by tanh")
unary("clip", clip_rule, lambda g, x, low, high: m.where((x >= low) and (x <= high), g, 0.0),
      "x between low and high; slope 1 on the bounds")
unary("hardtanh", clip_rule, lambda g, x, low, high: m.where((x > low) and (x < high), g, 0.0),
      "x between low and high; slope 0 on the bounds")
unary("power_constant", lambda x, exponent: m.power(x, exponent),
      lambda g, x, exponent: power_slope(g, x, exponent), "x^p, p a number")
unary("scale_shift", lambda x, scale, shift: scale * x + shift, lambda g, scale: g * scale, "p x + q, p and q numbers")
unary("copy", lambda x: x, lambda g: g, "x, contiguous")
unary("huber", huber_rule, lambda g, x, delta: g * clip_rule(x, -delta, delta), "quadratic up to delta, then linear")
unary("x_log_x", x_log_x, lambda g, x: m.where(x > 0.0, g * (m.log(x) + 1.0), 0.0), "x ln x, 0 at 0")

# two inputs: name, y, da, db
binary("add", lambda a, b: a + b, lambda g: g, lambda g: g, "a + b")
binary("subtract", lambda a, b: a - b, lambda g: g, lambda g: -g, "a - b")
binary("multiply", lambda a, b: a * b, lambda g, b: g * b, lambda g, a: g * a, "a b")
binary("divide", lambda a, b: a / b, lambda g, b: g / b, lambda g, b, y: -g * y / b, "a / b")
binary("power", lambda a, b: m.power(a, b), lambda g, a, b: power_slope(g, a, b),
       lambda g, a, b, y: power_log_slope(g, a, b, y), "a^b")
binary("maximum", maximum_rule, lambda g, a, b: share_greater(g, a, b), lambda g, a, b: share_greater(g, b, a),
       "the greater, NaN if either is; a tie shares the gradient equally")
binary("minimum", minimum_rule, lambda g, a, b: share_greater(g, b, a), lambda g, a, b: share_greater(g, a, b),
       "the lesser, NaN if either is; a tie shares the gradient equally")
binary("squared_error", lambda a, b: (a - b) * (a - b), lambda g, a, b: 2.0 * g * (a - b),
       lambda g, a, b: -2.0 * g * (a - b), "(a - b)^2")
binary("absolute_error", lambda a, b: m.abs(a - b), lambda g, a, b: g * sign_rule(a - b),
       lambda g, a, b: -g * sign_rule(a - b), "|a - b|")
binary("huber_error", lambda a, b, delta: huber_rule(a - b, delta),
       lambda g, a, b, delta: g * clip_rule(a - b, -delta, delta),
       lambda g, a, b, delta: -g * clip_rule(a - b, -delta, delta), "huber of a - b")
binary("bce", lambda a, b: -(b * clamped_log(a) + (1.0 - b) * clamped_log(1.0 - a)),
       lambda g, a, b: g * (a - b) / at_least(a * (1.0 - a), 1e-12),
       lambda g, a: g * (clamped_log(1.0 - a) - clamped_log(a)),
       "-(b ln a + (1 - b) ln(1 - a)), logarithms not below -100")
binary("bce_with_logits", lambda a, b: (1.0 - b) * a + softplus_rule(-a, 1.0, 1e30),
       lambda g, a, b: g * (m.sigmoid(a) - b), lambda g, a: -g * a, "bce of sigmoid(a), stable")
binary("kl", lambda a, b: x_log_x(b) - b * a, lambda g, b: -g * b,
       lambda g, a, b: m.where(b > 0.0, g * (m.log(b) + 1.0 - a), -g * a), "b (ln b - a)")

compare("greater", lambda a, b: a > b, "a > b")
compare("greater_equal", lambda a, b: a >= b, "a >= b")
compare("less", lambda a, b: a < b, "a < b")
compare("less_equal", lambda a, b: a <= b, "a <= b")
compare("equal", lambda a, b: a == b, "a == b")
compare("not_equal", lambda a, b: a != b, "a != b")
