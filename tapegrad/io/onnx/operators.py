"""How each op is written in the operators of the exchange format."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...ops.attention import BOOL_MASK, NO_MASK
from ...ops.pooling import BY_INSIDE, BY_WINDOW
from .graph import Graph, axes_of_rows
from .traced import Instruction

__all__ = ["OPERATORS"]

#: from the graph, the instruction and the names of its inputs to the name of its value
Writer = Callable[[Graph, Instruction, list[str]], str]
OPERATORS: dict[str, Writer] = {}

_ALIKE = {
    "negative": "Neg", "abs": "Abs", "sign": "Sign", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "sin": "Sin",
    "reciprocal": "Reciprocal", "cos": "Cos", "tan": "Tan", "arcsin": "Asin", "arccos": "Acos", "arctan": "Atan",
    "sinh": "Sinh", "cosh": "Cosh", "tanh": "Tanh", "sigmoid": "Sigmoid", "erf": "Erf", "relu": "Relu",
    "selu": "Selu", "copy": "Identity", "add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div",
    "power": "Pow", "maximum": "Max", "minimum": "Min", "greater": "Greater", "greater_equal": "GreaterOrEqual",
    "less": "Less", "less_equal": "LessOrEqual", "equal": "Equal", "where": "Where", "matmul": "MatMul",
}


def _alike(kind: str) -> Writer:
    return lambda g, i, x: g.node(kind, *x)


OPERATORS.update({name: _alike(kind) for name, kind in _ALIKE.items()})


def writes(*names: str) -> Callable[[Writer], Writer]:
    """Enter a writer in the table."""

    def enter(writer: Writer) -> Writer:
        OPERATORS.update(dict.fromkeys(names, writer))
        return writer

    return enter


def number(g: Graph, i: Instruction, value: float) -> str:
    """A number as a constant of the instruction's dtype."""
    return g.constant(np.asarray(value, i.operands[0].dtype))


# ------------------------------------------------------------------ elementwise


@writes("square")
def _square(g: Graph, i: Instruction, x: list[str]) -> str:
    return g.node("Mul", x[0], x[0])


@writes("expm1")
def _expm1(g: Graph, i: Instruction, x: list[str]) -> str:
    return g.node("Sub", g.node("Exp", x[0]), number(g, i, 1.0))


@writes("log1p")
def _log1p(g: Graph, i: Instruction, x: list[str]) -> str:
    return g.node("Log", g.node("Add", x[0], number(g, i, 1.0)))


@writes("not_equal")
def _not_equal(g: Graph, i: Instruction, x: list[str]) -> str:
    return g.node("Not", g.node("Equal", *x))


@writes("leaky_relu", "leaky_relu_folded")
def _leaky_relu(g: Graph, i: Instruction, x: list[str]) -> str:
    return g.node("LeakyRelu", x[0], alpha=i.real("p"))


@writes("elu")
def _elu(g: Graph, i: Instruction, x: list[str]) -> str:
    return g.node("Elu", x[0], alpha=i.real("p"))


@writes("silu")
def _silu(g: Graph, i: Instruction, x: list[str]) -> str:
    return g.node("Mul", x[0], g.node("Sigmoid", x[0]))


@writes("gelu")
def _gelu(g: Graph, i: Instruction, x: list[str]) -> str:
    erf = g.node("Erf", g.node("Mul", x[0], number(g, i, math.sqrt(0.5))))
    return g.node("Mul", g.node("Mul", x[0], number(g, i, 0.5)), g.node("Add", erf, number(g, i, 1.0)))


@writes("gelu_tanh")
def _gelu_tanh(g: Graph, i: Instruction, x: list[str]) -> str:
    cube = g.node("Mul", g.node("Mul", x[0], x[0]), x[0])
    inside = g.node("Add", x[0], g.node("Mul", cube, number(g, i, 0.044715)))
    tanh = g.node("Tanh", g.node("Mul", inside, number(g, i, math.sqrt(2 / math.pi))))
    return g.node("Mul", g.node("Mul", x[0], number(g, i, 0.5)), g.node("Add", tanh, number(g, i, 1.0)))


@writes("softplus")
def _softplus(g: Graph, i: Instruction, x: list[str]) -> str:
    p = number(g, i, i.real("p"))
    return g.node("Div", g.node("Softplus", g.node("Mul", x[0], p)), p)


@writes("log_sigmoid")
def _log_sigmoid(g: Graph, i: Instruction, x: list[str]) -> str:
    return g.node("Neg", g.node("Softplus", g.node("Neg", x[0])))


@writes("clip", "hardtanh")
def _clip(g: Graph, i: Instruction, x: list[str]) -> str:
    return g.node("Clip", x[0], number(g, i, i.real("p")), number(g, i, i.real("q")))


@writes("power_constant")
def _power(g: Graph, i: Instruction, x: list[str]) -> str:
    return g.node("Pow", x[0], number(g, i, i.real("p")))


@writes("scale_shift")
def _scale_shift(g: Graph, i: Instruction, x: list[str]) -> str:
    return g.node("Add", g.node("Mul", x[0], number(g, i, i.real("p"))), number(g, i, i.real("q")))


@writes("squared_error")
def _squared_error(g: Graph, i: Instruction, x: list[str]) -> str:
    difference = g.node("Sub", *x)
    return g.node("Mul", difference, difference)


@writes("scaled_product")
def _scaled_product(g: Graph, i: Instruction, x: list[str]) -> str:
    return g.node("Mul", g.node("Mul", *x), number(g, i, i.real("p")))


# ------------------------------------------------------------------ products


@writes("linear")
def _linear(g: Graph, i: Instruction, x: list[str]) -> str:
    biased = i.integer("map", 4)
    if len(i.operands[1].shape) == 2:
        return g.node("Gemm", *x[:2 + bool(biased)], transB=1)
    product = g.node("MatMul", x[0], g.node("Transpose", x[1], perm=[1, 0]))
    return g.node("Add", product, x[2]) if biased else product


def _convolved(i: Instruction) -> list[list[int]]:
    """Image, kernel, stride, padding, dilation and response of a convolution, by axis."""
    axes = len(i.operands[1].shape) - 2
    return [[i.integer("windows", 4 + 3 * which + k) for k in range(3 - axes, 3)] for which in range(6)]


@writes("conv_transpose")
def _conv_transpose(g: Graph, i: Instruction, x: list[str]) -> str:
    image, kernel, stride, padding, dilation, response = _convolved(i)
    more = [n - ((r - 1) * s + (k - 1) * d + 1 - 2 * p) for n, r, s, k, d, p in
            zip(image, response, stride, kernel, dilation, padding)]
    return g.node("ConvTranspose", *x[:2 + bool(i.integer("biased"))], kernel_shape=kernel, strides=stride,
                  dilations=dilation, group=i.integer("windows", 1), pads=padding * 2, output_padding=more)


@writes("conv")
def _conv(g: Graph, i: Instruction, x: list[str]) -> str:
    image, kernel, stride, padding, dilation, response = _convolved(i)
    after = [(r - 1) * s + (k - 1) * d + 1 - n - p for r, s, k, d, n, p in
             zip(response, stride, kernel, dilation, image, padding)]
    return g.node("Conv", *x[:2 + bool(i.integer("biased"))], kernel_shape=kernel, strides=stride, dilations=dilation,
                  group=i.integer("windows", 1), pads=[*padding, *(max(0, n) for n in after)])


@writes("embedding")
def _embedding(g: Graph, i: Instruction, x: list[str]) -> str:
    return g.node("Gather", x[0], x[1], axis=0)


@writes("take")
def _take(g: Graph, i: Instruction, x: list[str]) -> str:
    shape = i.operands[1].shape
    axes = [k for k in range(len(shape)) if math.prod(shape[:k]) == i.integer("outer") and
            shape[k] == i.integer("extent")]
    return g.node("Gather", x[0], x[1], axis=axes[-1])


@writes("pad")
def _pad(g: Graph, i: Instruction, x: list[str]) -> str:
    found = []
    for one in (i, g.other):
        y, before, rest = one.operands[0], [], one.integer("offset")
        for stride in y.strides:
            before.append(rest // stride)
            rest %= stride
        found.append([*before, *(n - m - k for n, m, k in zip(y.shape, one.operands[1].shape, before))])
    if found[0] != found[1]:
        raise g.refuse("a frame that depends on the length of the batch; say dynamic_batch=False")
    return g.node("Pad", x[0], g.constant(found[0], np.int64), number(g, i, i.real("value")))


# ------------------------------------------------------------------ normalisation


@writes("batch_norm_fixed")
def _batch_norm(g: Graph, i: Instruction, x: list[str]) -> str:
    channels, dtype = i.integer("channels"), i.operands[0].dtype
    weight = x[1] if i.integer("has_weight") else g.constant(np.ones(channels, dtype))
    bias = x[2] if i.integer("has_bias") else g.constant(np.zeros(channels, dtype))
    return g.node("BatchNormalization", x[0], weight, bias, x[3], x[4], epsilon=i.real("eps"))


@writes("row_norm")
def _row_norm(g: Graph, i: Instruction, x: list[str]) -> str:
    groups, n, per = i.integer("groups"), i.integer("n"), i.integer("s")
    shape = i.operands[1].shape
    grouped = groups > 1 or per > 1
    value = x[0]
    if grouped:  # a sample's group is a row
        value, axes = g.node("Reshape", value, g.constant([0, groups, -1], np.int64)), [2]
    else:
        axes = axes_of_rows(i, n)
    over = g.constant(axes, np.int64)
    if i.integer("centred"):
        value = g.node("Sub", value, g.node("ReduceMean", value, over))
    variance = g.node("ReduceMean", g.node("Mul", value, value), over)
    value = g.node("Div", value, g.node("Sqrt", g.node("Add", variance, number(g, i, i.real("eps")))))
    if grouped:
        value = g.reshaped(value, i)
    for name, kind, has in (("has_weight", "Mul", 1), ("has_bias", "Add", 2)):
        if i.integer(name):
            scale = x[has]
            if grouped:
                scale = g.node("Reshape", scale, g.constant([-1, *(1 for _ in shape[2:])], np.int64))
            elif len(i.operands[1 + has].shape) != len(axes):
                scale = g.node("Reshape", scale, g.constant([shape[k] for k in axes], np.int64))
            value = g.node(kind, value, scale)
    return value


# ------------------------------------------------------------------ windows


def _windows(i: Instruction, count: int) -> list[list[int]]:
    """Image, result, kernel, stride, padding (and dilation) of a pooling, by axis."""
    axes = len(i.operands[1].shape) - 2
    found = [[i.integer("windows", 1 + 2 * which + k) for k in range(2)] for which in range(count)]
    return [pair[2 - axes:] for pair in found] if axes in (1, 2) else found


@writes("max_pool")
def _max_pool(g: Graph, i: Instruction, x: list[str]) -> str:
    image, result, kernel, stride, padding, dilation = _windows(i, 6)
    after = [max(0, (r - 1) * s + (k - 1) * d + 1 - n - p) for r, s, k, d, n, p in
             zip(result, stride, kernel, dilation, image, padding)]
    return g.node("MaxPool", x[0], kernel_shape=kernel, strides=stride, dilations=dilation, pads=[*padding, *after])


@writes("avg_pool")
def _avg_pool(g: Graph, i: Instruction, x: list[str]) -> str:
    image, result, kernel, stride, padding = _windows(i, 5)
    if i.integer("windows", 13):  # adaptive
        if any(n % r for n, r in zip(image, result)):
            raise g.refuse(f"adaptive average pooling of {image} to {result}, whose windows are of several sizes")
        kernel = stride = [n // r for n, r in zip(image, result)]
        padding = [0] * len(image)
    rule = i.integer("windows", 11)
    after = [(r - 1) * s + k - n - p for r, s, k, n, p in zip(result, stride, kernel, image, padding)]
    if rule not in (BY_INSIDE, BY_WINDOW):
        raise g.refuse("avg_pool with divisor_override")
    if rule == BY_WINDOW and any(n > p for n, p in zip(after, padding)):
        raise g.refuse("avg_pool with ceil_mode and count_include_pad")
    pads = [*padding, *(max(0, n) for n in after)]
    return g.node("AveragePool", x[0], kernel_shape=kernel, strides=stride, pads=pads,
                  count_include_pad=int(rule == BY_WINDOW))


def _resampled(g: Graph, i: Instruction) -> list[tuple[int, int, int]]:
    """The axes of a resampling, with the extent and where their part of the table begins; one for a signal."""
    if i.op.name == "blend" and not np.array_equal(g.first.values(i.operands[3]), g.second.values(g.other.operands[3])):
        raise g.refuse("a resampling that depends on the length of the batch; say dynamic_batch=False")
    rows, columns = i.integer("sizes", 3), i.integer("sizes", 4)
    each = 2 if i.op.name == "blend" else 1
    axes = [(-2, rows, 0), (-1, columns, each * rows)]
    return axes if i.integer("sizes", 1) > 1 or rows > 1 else axes[1:]


@writes("select")
def _select(g: Graph, i: Instruction, x: list[str]) -> str:
    table, value = g.first.values(i.operands[2]), x[0]
    for axis, count, at in _resampled(g, i):
        value = g.node("Gather", value, g.constant(table[at:at + count]), axis=axis)
    return value


@writes("blend")
def _blend(g: Graph, i: Instruction, x: list[str]) -> str:
    table, shares, value = g.first.values(i.operands[2]), g.first.values(i.operands[3]), x[0]
    for axis, count, at in _resampled(g, i):
        parts = []
        for first in (at, at + count):
            share = shares[first:first + count].reshape((-1, 1) if axis == -2 else (-1,))
            part = g.node("Gather", value, g.constant(table[first:first + count]), axis=axis)
            parts.append(g.node("Mul", part, g.constant(share)))
        value = g.node("Add", *parts)
    return value


# ------------------------------------------------------------------ along axes


@writes("sum")
def _sum(g: Graph, i: Instruction, x: list[str]) -> str:
    y, of = i.operands[:2]
    axes = _reduced(g, i)
    scale = i.real("scale")
    total = g.node("ReduceSum", x[0], g.constant(axes, np.int64), keepdims=int(len(y.shape) == len(of.shape)))
    return total if scale == 1.0 else g.node("Mul", total, number(g, i, scale))


def _reduced(g: Graph, i: Instruction) -> list[int]:
    """The axes over which a sum runs, which its shape must tell."""
    y, x = i.operands[0].shape, i.operands[1].shape
    if len(y) == len(x):
        return [k for k, (a, b) in enumerate(zip(y, x)) if a != b] or [k for k, a in enumerate(y) if a == 1]
    kept, found = list(y), []
    choices = [k for k in range(len(x))]
    fits = [axes for axes in _subsets(choices, len(x) - len(y)) if [x[k] for k in choices if k not in axes] == kept]
    found = [axes for axes in fits if _sums_over(i, axes)]
    if len(found) != 1:
        raise g.refuse(f"a sum from {list(x)} to {list(y)}, whose axes cannot be told")
    return found[0]


def _subsets(items: list[int], count: int) -> list[list[int]]:
    if count == 0:
        return [[]]
    return [[items[k], *rest] for k in range(len(items)) for rest in _subsets(items[k + 1:], count - 1)]


def _sums_over(i: Instruction, axes: list[int]) -> bool:
    """Whether the nest of a sum stands still in the output along these axes of its input, and there only."""
    outer = i.integer("nest", 2)
    extents = [i.integer("nest", 1), *(i.integer("nest", 3 + k) for k in range(outer))]
    strides = [[i.integer("nest", 3 + outer + which * (outer + 1) + k) for k in range(outer + 1)] for which in range(2)]
    for k, (n, s) in enumerate(zip(i.operands[1].shape, i.operands[1].strides)):
        still = [to == 0 for extent, to, step in zip(extents, *strides) if step <= s < step * extent]
        if n > 1 and still and still[0] != (k in axes):
            return False
    return True


def _along(kind: str) -> Writer:
    def write(g: Graph, i: Instruction, x: list[str]) -> str:
        n = i.integer("n") if "n" in i.op.row.places else i.operands[1].shape[-1]  # type: ignore[union-attr]
        axes = axes_of_rows(i, n)
        if kind.startswith("Reduce"):
            kept = int(len(i.operands[0].shape) == len(i.operands[1].shape))
            return g.node(kind, x[0], g.constant(axes, np.int64), keepdims=kept)
        if len(axes) != 1:
            raise g.refuse(f"{i.op.name} over {len(axes)} axes at once")
        return g.node(kind, x[0], axis=axes[0])

    return write


OPERATORS.update(softmax=_along("Softmax"), log_softmax=_along("LogSoftmax"), max=_along("ReduceMax"),
                 min=_along("ReduceMin"), logsumexp=_along("ReduceLogSumExp"))


@writes("var", "std")
def _var(g: Graph, i: Instruction, x: list[str]) -> str:
    axes = g.constant(axes_of_rows(i, i.integer("n")), np.int64)
    kept = int(len(i.operands[0].shape) == len(i.operands[1].shape))
    off = g.node("Sub", x[0], g.node("ReduceMean", x[0], axes))
    squares = g.node("ReduceSum", g.node("Mul", off, off), axes, keepdims=kept)
    variance = g.node("Mul", squares, number(g, i, 1.0 / i.real("p")))
    return variance if i.op.name == "var" else g.node("Sqrt", variance)


@writes("concatenate")
def _concatenate(g: Graph, i: Instruction, x: list[str]) -> str:
    y, rows = i.operands[0].shape, i.integer("rows")
    parts = [(name, o.shape) for name, o in zip(x, i.operands[1:9]) if len(o.shape) == len(y)]
    parts = [part for part in parts if math.prod(part[1])] if len(y) > 1 else [p for p in parts if p[1] != (0,)]
    for axis in range(len(y)):
        if math.prod(y[:axis]) == rows and sum(shape[axis] for _, shape in parts) == y[axis]:
            return g.node("Concat", *(name for name, _ in parts), axis=axis)
    raise g.refuse("a concatenation along an axis that cannot be told")


# ------------------------------------------------------------------ attention


@writes("attention")
def _attention(g: Graph, i: Instruction, x: list[str]) -> str:
    query, y, masks = i.operands[1], i.operands[0], i.integer("masks")
    tokens, keys, rank = i.integer("tokens"), i.integer("keys"), len(query.shape)
    swapped = [*range(rank - 2), rank - 1, rank - 2]
    scores = g.node("MatMul", x[0], g.node("Transpose", x[1], perm=swapped))
    scores = g.node("Mul", scores, number(g, i, i.real("scale")))
    if masks not in (NO_MASK, BOOL_MASK):
        scores = g.node("Add", scores, x[3])
    least = number(g, i, -np.inf)
    if masks == BOOL_MASK:
        scores = g.node("Where", x[3], scores, least)
    if i.integer("causal"):
        if g.other.integer("tokens") != tokens or g.other.integer("keys") != keys:
            raise g.refuse("causal attention along the batch; say dynamic_batch=False")
        scores = g.node("Where", g.constant(np.tril(np.ones((tokens, keys), bool))), scores, least)
    result = g.node("MatMul", g.node("Softmax", scores, axis=rank - 1), x[2])
    lead = next(k for k in range(len(y.shape) - 1) if y.strides[k] == i.integer("y_step") and y.shape[k] == tokens)
    order = [*range(lead), rank - 2, *range(lead, rank - 2), rank - 1]
    return result if order == list(range(rank)) else g.node("Transpose", result, perm=order)
