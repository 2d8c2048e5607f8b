"""Elementwise functions and reductions of the plain-Python tape, under tapegrad's names."""

from __future__ import annotations

import math

import numpy as np

from . import functions as formulas
from .tape import Run, Var, as_var, binary, decided, of_terms, reduction, total, unary, unbroadcast

# ------------------------------------------------------------------ elementwise


def _one(x, y):
    return np.ones_like(x + y)


def _share_of_maximum(x, y):
    return np.where(x == y, 0.5, np.where(x > y, 1.0, 0.0))


def _order(x, y):
    return np.sign(x - y).astype(np.int8)


def _side(x):
    return np.sign(x).astype(np.int8)


def _normal_density(x):
    return np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def _normal_distribution(x):
    return 0.5 * (1.0 + formulas.erf(x / math.sqrt(2.0)))


add = binary(np.add, _one, _one)
subtract = binary(np.subtract, _one, lambda x, y: -_one(x, y))
multiply = binary(np.multiply, lambda x, y: y, lambda x, y: x)
divide = binary(np.divide, lambda x, y: 1.0 / y, lambda x, y: -x / (y * y))
maximum = binary(np.maximum, _share_of_maximum, lambda x, y: _share_of_maximum(y, x), _order)
minimum = binary(np.minimum, lambda x, y: _share_of_maximum(-x, -y), lambda x, y: _share_of_maximum(-y, -x), _order)
_power = binary(np.power, lambda x, y: y * x ** (y - 1.0), lambda x, y: x**y * np.log(np.where(x > 0, x, 1.0)))
negative = unary(np.negative, lambda x, y: -1.0)
abs = absolute = unary(np.abs, lambda x, y: np.sign(x), _side)
sign = unary(np.sign, lambda x, y: 0.0 * x, _side)
square = unary(np.square, lambda x, y: 2.0 * x)
reciprocal = unary(lambda x: 1.0 / x, lambda x, y: -y * y)
exp = unary(np.exp, lambda x, y: y)
expm1 = unary(np.expm1, lambda x, y: y + 1.0)
log = unary(np.log, lambda x, y: 1.0 / x)
log1p = unary(np.log1p, lambda x, y: 1.0 / (1.0 + x))
sqrt = unary(np.sqrt, lambda x, y: 0.5 / y)
sin = unary(np.sin, lambda x, y: np.cos(x))
cos = unary(np.cos, lambda x, y: -np.sin(x))
tan = unary(np.tan, lambda x, y: 1.0 + y * y)
arcsin = unary(np.arcsin, lambda x, y: 1.0 / np.sqrt(1.0 - x * x))
arccos = unary(np.arccos, lambda x, y: -1.0 / np.sqrt(1.0 - x * x))
arctan = unary(np.arctan, lambda x, y: 1.0 / (1.0 + x * x))
sinh = unary(np.sinh, lambda x, y: np.cosh(x))
cosh = unary(np.cosh, lambda x, y: np.sinh(x))
tanh = unary(np.tanh, lambda x, y: 1.0 - y * y)
erf = unary(formulas.erf, lambda x, y: 2.0 / math.sqrt(math.pi) * np.exp(-x * x))
sigmoid = unary(formulas.sigmoid, lambda x, y: y * (1.0 - y))
log_sigmoid = unary(lambda x: -np.logaddexp(0.0, -x), lambda x, y: formulas.sigmoid(-x))
silu = unary(formulas.silu, lambda x, y: formulas.sigmoid(x) * (1.0 + x * (1.0 - formulas.sigmoid(x))))
x_log_x = unary(lambda x: x * np.log(x), lambda x, y: np.log(x) + 1.0)
relu = unary(formulas.relu, lambda x, y: (x > 0).astype(float), _side)
selu = unary(formulas.selu, lambda x, y: formulas.SELU_SCALE * np.where(
    x > 0, 1.0, formulas.SELU_ALPHA * np.exp(np.minimum(x, 0.0))), _side)


def leaky_relu(a, negative_slope=0.01):
    return unary(lambda x: formulas.leaky_relu(x, negative_slope), lambda x, y: np.where(x > 0, 1.0, negative_slope),
                 _side)(a)


def elu(a, alpha=1.0):
    return unary(lambda x: formulas.elu(x, alpha),
                 lambda x, y: np.where(x > 0, 1.0, alpha * np.exp(np.minimum(x, 0.0))), _side)(a)


def softplus(a, beta=1.0, threshold=20.0):
    return unary(lambda x: formulas.softplus(x, beta, threshold),
                 lambda x, y: np.where(beta * x > threshold, 1.0, formulas.sigmoid(beta * x)),
                 lambda x: beta * x > threshold)(a)


def gelu(a, approximate="none"):
    if approximate == "tanh":
        inner = multiply(math.sqrt(2.0 / math.pi), add(a, multiply(0.044715, power(a, 3.0))))
        return multiply(multiply(0.5, a), add(1.0, tanh(inner)))
    return unary(formulas.gelu, lambda x, y: _normal_distribution(x) + x * _normal_density(x))(a)


def hardtanh(a, min_val=-1.0, max_val=1.0):
    return unary(lambda x: np.clip(x, min_val, max_val), lambda x, y: ((x > min_val) & (x < max_val)).astype(float),
                 lambda x: _side(x - min_val) + _side(x - max_val))(a)


def clip(a, a_min=None, a_max=None):
    if isinstance(a_min, float | None) and isinstance(a_max, float | None):
        low, high = (-np.inf if a_min is None else a_min), (np.inf if a_max is None else a_max)
        return unary(lambda x: np.clip(x, low, high), lambda x, y: ((x >= low) & (x <= high)).astype(float),
                     lambda x: _side(x - low) + _side(x - high))(a)
    a = a if a_min is None else maximum(a, a_min)
    return a if a_max is None else minimum(a, a_max)


def power(a, b):
    if isinstance(b, float):
        return unary(lambda x: x**b, lambda x, y: b * x ** (b - 1.0))(a)
    return _power(a, b)


def scale_shift(a, scale, shift=0.0):
    return unary(lambda x: scale * x + shift, lambda x, y: scale)(a)


def squared_error(a, b):
    return square(subtract(a, b))


def absolute_error(a, b):
    return abs(subtract(a, b))


def huber_error(a, b, delta=1.0):
    def value(d):
        return np.where(np.abs(d) <= delta, 0.5 * d * d, delta * (np.abs(d) - 0.5 * delta))

    return unary(value, lambda d, y: np.clip(d, -delta, delta))(subtract(a, b))


def where(condition, a, b):
    a, b = as_var(a), as_var(b)
    condition = np.asarray(condition)
    x, y = a.value, b.value
    shares = [
        (a, lambda g: unbroadcast(np.where(condition, g, 0.0), x.shape)),
        (b, lambda g: unbroadcast(np.where(condition, 0.0, g), y.shape)),
    ]
    return Var(np.where(condition, x, y), shares, exact=True)


def greater(a, b):
    return decided(as_var(a).value > as_var(b).value)


def less_equal(a, b):
    return decided(as_var(a).value <= as_var(b).value)


def dropout(a, p=0.5, training=True):
    a = as_var(a)
    if not training or p == 0.0:
        return a
    return multiply(a, Run.current.masks(a.shape, p))


# ------------------------------------------------------------------ reductions


def _ties(x, y):
    """How many elements of ``x`` equal their maximum ``y`` (which has kept dimensions)."""
    axes = tuple(axis for axis in range(x.ndim) if y.shape[axis] == 1 and x.shape[axis] != 1)
    return np.sum(x == y, axis=axes, keepdims=True)


def _extreme(f):
    """Of equal elements each takes as much."""

    def op(a, axis=None, keepdims=False):
        a = as_var(a)
        y = f(a.value, axis=axis, keepdims=True)
        chosen = decided(a.value == y)
        shares = chosen / _ties(a.value, y)
        return Var(y if keepdims else f(a.value, axis=axis), [(a, lambda g: g.reshape(y.shape) * shares)])

    return op


def _mean(x, axis=None, keepdims=False):
    y = total(x, axis, keepdims)
    return y * (y.size / x.size)


def _logsumexp(x, axis=None, keepdims=False):
    top = np.max(x, axis=axis, keepdims=True)
    y = np.log(total(np.exp(x - top), axis, True)) + top
    return y if keepdims else np.squeeze(y, axis)


sum = reduction(total, lambda x, y, g: g)
mean = reduction(_mean, lambda x, y, g: g * y.size / x.size)
max = amax = _extreme(np.max)
min = amin = _extreme(np.min)
logsumexp = reduction(_logsumexp, lambda x, y, g: g * np.exp(x - y))


def prod(a, axis=None, keepdims=False):
    def others(x, y, g):
        return g * y / x  # programs stay away from zeros

    return reduction(np.prod, others)(a, axis, keepdims)


def _count(a, axis):
    shape = as_var(a).shape
    axes = range(len(shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return math.prod(shape[d] for d in axes)


def var(a, axis=None, ddof=0, keepdims=False):
    deviation = subtract(a, mean(a, axis, True))
    return divide(sum(square(deviation), axis, keepdims), float(_count(a, axis) - ddof))


def std(a, axis=None, ddof=0, keepdims=False):
    return sqrt(var(a, axis, ddof, keepdims))


def vector_norm(a, ord=2, axis=None, keepdims=False):
    if ord == math.inf:
        return max(abs(a), axis, keepdims)
    if ord == 1:
        return sum(abs(a), axis, keepdims)
    if ord == 2:
        return sqrt(sum(square(a), axis, keepdims))
    return power(sum(power(abs(a), float(ord)), axis, keepdims), 1.0 / ord)


def softmax(a, axis=-1):
    a = as_var(a)

    def back(g):
        return out.value * (g - total(g * out.value, axis, True))

    e = np.exp(a.value - np.max(a.value, axis=axis, keepdims=True))
    out = Var(e / total(e, axis, True), [(a, back)])
    return out


def log_softmax(a, axis=-1):
    return subtract(a, logsumexp(a, axis, True))


def cumsum(a, axis):

    def running(x):
        return of_terms(lambda x: np.cumsum(x, axis, dtype=np.longdouble), x)

    a = as_var(a)
    return Var(running(a.value), [(a, lambda g: np.flip(running(np.flip(g, axis)), axis))])
