"""The ops that programs are drawn from: arrays. Those of layers stand in `layer_ops`."""

from __future__ import annotations

import math

import numpy as np

from . import layer_ops  # noqa: F401  (registers itself)
from .generate import Draft, drawer
from .program import CONSTANT

SMOOTH = ["tanh", "sigmoid", "sin", "cos", "arctan", "erf", "silu", "log_sigmoid", "square", "negative", "expm1", "exp",
          "sinh", "cosh"]
KINKED = ["relu", "abs", "selu", "sign"]


@drawer(9)
def smooth(d: Draft):
    d.emit(f"tg.{d.choose(SMOOTH)}({{0}})", [d.any()])


@drawer(4)
def kinked(d: Draft):
    text = d.choose([*(f"tg.{name}({{0}})" for name in KINKED), f"tg.leaky_relu({{0}}, {d.number(0.05, 0.5)})",
                     f"tg.elu({{0}}, {d.number(0.5, 1.5, False)})", f"tg.hardtanh({{0}}, -0.53, {d.number(0.2)})"
                     if d.chance(0.2) else "tg.hardtanh({0}, -0.53, 0.71)", "tg.clip({0}, -0.37, 0.63)",
                     "tg.clip({0}, -0.23, None)"])
    if "hardtanh({0}, -0.53, -" not in text:
        d.emit(text, [d.any()])


@drawer(4)
def with_attributes(d: Draft):
    number = d.number()
    d.emit(d.choose([f"{{0}} * {number}", f"{number} - {{0}}", f"{{0}} + {number}", f"{{0}} / {number}",
                     f"tg.softplus({{0}}, {d.number(0.5, 2.0, False)})", "tg.gelu({0})",
                     "tg.gelu({0}, approximate='tanh')", f"tg.scale_shift({{0}}, {number}, {d.number()})",
                     "{0} ** 2.0", "{0} ** 3.0", "F.softsign({0})"]), [d.any()])


@drawer(3)
def of_limited_domain(d: Draft):
    positive = ["tg.log({0})", "tg.sqrt({0})", "tg.reciprocal({0})", "{0} ** 0.5", "{0} ** -1.5", "tg.x_log_x({0})",
                "tg.log1p({0})", f"{d.number(signed=False)} / {{0}}"]
    if d.chance(0.75):
        name = d.any(lambda v: v.size > 0 and v.min() > 0.1)
        if d.values[name].value.min() <= 0.1:
            name = d.slot(d.values[name].shape, 0.2, 2.0)
        d.emit(d.choose(positive), [name])
    else:
        name = d.any(lambda v: np.abs(v).max(initial=0.0) < 0.9)
        if np.abs(d.values[name].value).max(initial=0.0) < 0.9:
            d.emit(d.choose(["tg.arcsin({0})", "tg.arccos({0})", "tg.tan({0})"]), [name])


def operands(d: Draft, low=None):
    """Two operands whose shapes broadcast, often the same one, or of one shape."""
    first = d.any() if low is None else d.slot(d.shape(1), low)
    shape = d.values[first].shape
    roll = d.rng.random()
    if roll < 0.12:
        return [first, first]
    if roll < 0.75:
        return [first, d.slot(shape, low)]
    other = tuple(n if d.chance(0.6) else 1 for n in shape)[d.integer(0, len(shape)):]
    pair = [first, d.slot(other, low)]
    return pair if d.chance(0.5) else pair[::-1]


@drawer(14)
def binary(d: Draft):
    pair = operands(d)
    text = d.choose(["{0} * {1}"] * 4 + ["{0} + {1}"] * 2 + ["{0} - {1}"] * 2 + ["tg.maximum({0}, {1})",
                    "tg.minimum({0}, {1})", "tg.squared_error({0}, {1})", "tg.absolute_error({0}, {1})",
                    "tg.huber_error({0}, {1}, 0.45)"])
    if all(d.is_plain(n) for n in pair) and "tg." not in text:
        return
    d.emit(text, pair)


@drawer(3)
def element(d: Draft):
    """One element of an array, with all of it or of another: strips read one and the other."""
    first = d.any(lambda v: v.ndim > 0 and v.size > 0)
    shape = d.values[first].shape
    if shape and not d.is_plain(first):
        one = d.emit(f"{{0}}[{', '.join(str(d.integer(0, n - 1)) for n in shape)}]", [first])
        other = first if d.chance(0.4) else d.slot(shape)
        d.emit(d.choose(["{0} * {1}", "{0} - {1}", "{1} + {0}", "tg.maximum({0}, {1})"]), [other, one])


@drawer(3)
def divided(d: Draft):
    first = d.any()
    second = d.slot(d.values[first].shape, 0.3, 2.0)
    if d.chance(0.4):
        second = d.any(lambda v: v.size and np.abs(v).min() > 0.3 and v.shape == d.values[first].shape,
                       d.values[first].shape)
    if np.abs(d.values[second].value).min(initial=1.0) > 0.2 and not (d.is_plain(first) and d.is_plain(second)):
        d.emit("{0} / {1}", [first, second])


@drawer(2)
def power(d: Draft):
    first = d.slot(d.shape(1), 0.3, 2.0)
    d.emit("tg.power({0}, {1})", [first, d.choose([first, d.slot(d.values[first].shape, -2.0, 2.0)])])


@drawer(4)
def chosen(d: Draft):
    first, second = operands(d)
    shape = np.broadcast_shapes(d.values[first].shape, d.values[second].shape)
    if d.chance(0.4):
        d.emit("tg.where({2}, {0}, {1})", [first, second, d.array(CONSTANT, shape, "bool")])
    elif d.chance(0.3):
        d.emit("tg.clip({0}, {1}, {2})", [d.slot(shape), d.slot(shape, -1.0, -0.2), d.slot(shape, 0.2, 1.0)])
    else:
        condition = d.choose(["tg.greater({0}, {2})", "tg.less_equal({2}, {0})", "tg.greater({2}, 0.17)"])
        d.emit(f"tg.where({condition}, {{0}}, {{1}})", [first, second, d.slot(shape)])


# ------------------------------------------------------------------ reductions


def axes(d: Draft, ndim: int, single=False):
    if single or d.chance(0.6):
        return d.integer(-ndim, ndim - 1)
    return None if d.chance(0.5) else tuple(sorted(d.rng.permutation(ndim)[:d.integer(1, ndim)].tolist()))


@drawer(8)
def reduced(d: Draft):
    name = d.any(lambda v: v.ndim > 0)
    ndim = len(d.values[name].shape)
    if not ndim:
        return
    axis, keep = axes(d, ndim), d.chance(0.4)
    kind = d.choose(["sum", "sum", "mean", "mean", "max", "min", "logsumexp", "var", "std"])
    if kind in ("var", "std") and np.min(np.var(d.values[name].value, axis=axis)) < 1e-2:
        return
    ddof = ", ddof=1" if kind in ("var", "std") and d.chance(0.3) and (
        np.size(d.values[name].value) > np.size(np.mean(d.values[name].value, axis=axis))) else ""
    d.emit(f"tg.{kind}({{0}}, axis={axis}{ddof}, keepdims={keep})", [name])


@drawer(3)
def norm(d: Draft):
    name = d.any(lambda v: v.ndim > 0 and np.abs(v).min(initial=1.0) > 1e-3)
    shape = d.values[name].shape
    if shape and np.abs(d.values[name].value).min(initial=1.0) > 1e-3:
        order = d.choose(["2", "2", "1", "3", "np.inf"])
        d.emit(f"tg.vector_norm({{0}}, {order}, axis={axes(d, len(shape))}, keepdims={d.chance(0.4)})", [name])


@drawer(2)
def product(d: Draft):
    name = d.any(lambda v: v.ndim > 0 and np.abs(v).min(initial=1.0) > 0.05 and v.size <= 64)
    v = d.values[name].value
    if v.ndim and np.abs(v).min(initial=1.0) > 0.05 and v.size <= 64:
        d.emit(d.choose(["tg.prod({0}, axis=-1)", "tg.cumprod({0}, axis=-1)", "tg.prod({0}, axis=0, keepdims=True)"]),
               [name])


@drawer(5)
def along(d: Draft):
    name = d.any(lambda v: v.ndim > 0)
    ndim = len(d.values[name].shape)
    if ndim:
        d.emit(f"tg.{d.choose(['softmax', 'softmax', 'log_softmax', 'cumsum'])}({{0}}, "
               f"axis={d.integer(-ndim, ndim - 1)})", [name])


# ------------------------------------------------------------------ views and joins


@drawer(7)
def view(d: Draft):
    name = d.any(lambda v: v.ndim > 0 and v.size > 0)
    if d.is_plain(name):
        return
    shape = d.values[name].shape
    kind = d.choose(["slice", "slice", "slice", "transpose", "reshape", "flip", "swap", "expand", "one", "ravel",
                     "split", "diagonal", "broadcast"])
    if not shape:
        d.emit("tg.reshape({0}, (1, 1))", [name])
    elif kind == "slice":
        d.emit(f"{{0}}[{', '.join(d.slice(n, d.integer(1, n)) for n in shape)}]", [name])
    elif kind == "transpose":
        d.emit("{0}.T", [name])
    elif kind == "reshape":
        extents = [n for n in range(1, min(math.prod(shape), 12) + 1) if math.prod(shape) % n == 0]
        first = d.choose(extents)
        d.emit(f"tg.reshape({{0}}, ({first}, {math.prod(shape) // first}))", [name])
    elif kind == "flip":
        d.emit(f"tg.flip({{0}}, {d.integer(0, len(shape) - 1)})", [name])
    elif kind == "swap":
        d.emit(f"tg.swapaxes({{0}}, {d.integer(0, len(shape) - 1)}, {d.integer(0, len(shape) - 1)})", [name])
    elif kind == "expand":
        d.emit(f"tg.expand_dims({{0}}, {d.integer(0, len(shape))})", [name])
    elif kind == "one":
        d.emit(f"{{0}}[{d.choose(['', ':, ', '..., ']) if len(shape) > 1 else ''}{d.integer(0, min(shape) - 1)}]",
               [name])
    elif kind == "ravel":
        d.emit("tg.ravel({0})", [name])
    elif kind == "split":
        axis = d.integer(0, len(shape) - 1)
        if shape[axis] > 1:
            d.emit(f"tg.split({{0}}, [{d.integer(1, shape[axis] - 1)}], {axis})", [name], 2)
    elif kind == "diagonal" and len(shape) == 2:
        d.emit("tg.diagonal({0})", [name])
    elif kind == "broadcast" and math.prod(shape) * 2 <= d.most:
        d.emit(f"tg.broadcast_to({{0}}, {(2, *shape)})", [name])


@drawer(6)
def joined(d: Draft):
    name = d.any(lambda v: v.ndim > 0)
    shape = d.values[name].shape
    if not shape:
        return
    parts, axis = [name], d.integer(0, len(shape) - 1)
    stacked = d.chance(0.4)
    for _ in range(d.integer(1, 4)):
        other = shape if stacked or d.chance(0.6) else tuple(
            d.extent() if k == axis else n for k, n in enumerate(shape))
        if math.prod(other) * (len(parts) + 1) > d.most:
            break
        parts.append(name if d.chance(0.15) else d.slot(other))
    d.rng.shuffle(parts)
    inner = ", ".join(f"{{{k}}}" for k in range(len(parts)))
    if stacked:
        d.emit(f"tg.stack([{inner}], {d.integer(0, len(shape))})", parts)
    else:
        d.emit(f"tg.concatenate([{inner}], {axis})", parts)


@drawer(2)
def padded(d: Draft):
    name = d.any(lambda v: v.ndim > 0)
    shape = d.values[name].shape
    if shape and not d.is_plain(name):
        mode = d.choose(["constant", "constant", "edge", "reflect"])
        most = 2 if mode != "reflect" else min(2, min(shape) - 1)
        width = ", ".join(f"({d.integer(0, most)}, {d.integer(0, most)})" for _ in shape)
        d.emit(f"tg.pad({{0}}, ({width},), mode='{mode}')", [name])


# ------------------------------------------------------------------ gathering


@drawer(5)
def taken(d: Draft):
    name = d.any(lambda v: v.ndim > 0 and v.size > 0)
    shape = d.values[name].shape
    if not shape or d.is_plain(name):
        return
    axis = d.integer(0, len(shape) - 1)
    kind = d.choose(["take", "select", "index", "along", "gather", "sort", "topk", "scatter", "add", "set", "put",
                     "tri"])
    count = d.integer(1, 5) if d.scale == "tiny" else d.extent()
    along = tuple(count if k == axis else n for k, n in enumerate(shape))
    if count * math.prod(shape) // min(shape[axis], shape[0]) > d.most:
        return
    if kind == "take":
        d.emit(f"tg.take({{0}}, {{1}}, axis={axis})", [name, d.indices((count,), shape[axis])])
    elif kind == "select":
        d.emit(f"tg.index_select({{0}}, {axis}, {{1}})", [name, d.indices((count,), shape[axis])])
    elif kind == "index":
        d.emit("{0}[{1}]", [name, d.indices((count,), shape[0])])
    elif kind in ("along", "gather") and math.prod(along) <= d.most:
        call = f"tg.take_along_axis({{0}}, {{1}}, {axis})" if kind == "along" else f"tg.gather({{0}}, {axis}, {{1}})"
        d.emit(call, [name, d.indices(along, shape[axis])])
    elif kind == "sort":
        d.emit(f"tg.sort({{0}}, axis={axis}{', descending=True' if d.chance(0.4) else ''})", [name])
    elif kind == "topk":
        d.emit(f"tg.topk({{0}}, {d.integer(1, shape[axis])}, dim={axis}, largest={d.chance(0.7)})[0]", [name])
    elif kind == "scatter" and math.prod(along) <= d.most:
        d.emit(f"tg.scatter_add({{0}}, {axis}, {{1}}, {{2}})", [name, d.indices(along, shape[axis]), d.slot(along)])
    elif kind == "add" and math.prod(along) <= d.most:
        d.emit(f"tg.index_add({{0}}, {axis}, {{1}}, {{2}})", [name, d.indices((count,), shape[axis]), d.slot(along)])
    elif kind in ("set", "put"):
        taken = [d.integer(1, n) for n in shape]
        key = ", ".join(d.slice(n, t) for n, t in zip(shape, taken))
        d.emit(f"{{0}}.at[{key}].{'set' if kind == 'set' else 'add'}({{1}})", [name, d.slot(tuple(taken))])
    elif kind == "tri" and len(shape) > 1:
        d.emit(f"tg.{d.choose(['tril', 'triu'])}({{0}}, {d.integer(-1, 1)})", [name])


# ------------------------------------------------------------------ products


@drawer(7)
def matmul(d: Draft):
    name = d.any(lambda v: v.ndim in (1, 2, 3))
    shape = d.values[name].shape
    if not 1 <= len(shape) <= 3 or shape[-1] > 600:
        return
    n = min(d.extent(), 64)
    kind = d.choose(["right", "right", "left", "same", "vector"])
    if kind == "same" and len(shape) == 2 and shape[0] <= 300:
        d.emit(d.choose(["{0} @ {0}.T", "tg.matmul({0}, {0}.T)"]) if not d.is_plain(name) else "tg.dot({0}, {0}.T)",
               [name])
    elif kind == "vector":
        d.emit("tg.matmul({0}, {1})", [name, d.slot(shape[-1:])])
    elif kind == "left" and len(shape) == 2:
        d.emit("tg.matmul({1}, {0})", [name, d.slot((n, shape[0]))])
    else:
        d.emit("tg.matmul({0}, {1})", [name, d.slot((*(shape[:-2] if d.chance(0.5) else ()), shape[-1], n)
                                                    if len(shape) > 1 else (shape[0], n))])


@drawer(6)
def linear(d: Draft):
    name = d.any(lambda v: v.ndim >= 1)
    shape = d.values[name].shape
    if not shape or shape[-1] > 600:
        return
    n = shape[-1] if d.chance(0.4) else min(d.extent(), 64)
    weight = name if shape == (n, shape[-1]) and d.chance(0.3) else d.slot((n, shape[-1]))
    if d.chance(0.7):
        d.emit("tg.linear({0}, {1}, {2})", [name, weight, d.slot((n,))])
    else:
        d.emit("tg.linear({0}, {1})", [name, weight])


@drawer(3)
def einsum(d: Draft):
    i, j, k = (min(d.extent(), 24) for _ in range(3))
    text, shapes = d.choose([("ij,jk->ik", [(i, j), (j, k)]), ("ij,ij->i", [(i, j), (i, j)]),
                             ("i,j->ji", [(i,), (j,)]), ("bij,bjk->bik", [(2, i, j), (2, j, k)]),
                             ("ij,kj->ik", [(i, j), (k, j)]), ("ij,jk,k->i", [(i, j), (j, k), (k,)]),
                             ("bi,bj->ij", [(k, i), (k, j)])])
    names = [d.slot(s) for s in shapes]
    d.emit(f"tg.einsum('{text}', {', '.join(f'{{{n}}}' for n in range(len(names)))})", names)


@drawer(2)
def outer(d: Draft):
    first = d.any(lambda v: v.ndim == 1 and v.size <= 64)
    if d.values[first].value.ndim == 1 and d.values[first].value.size <= 64:
        second = first if d.chance(0.3) else d.slot((min(d.extent(), 64),))
        if not d.is_plain(first):
            d.emit("tg.outer({0}, {1})", [first, second])


# ------------------------------------------------------------------ histories


@drawer(3)
def detached(d: Draft):
    name = d.any()
    if not d.is_plain(name):
        d.emit("{0}.detach()", [name])


@drawer(3)
def stretch(d: Draft):
    """What follows stands in a stretch of `tg.checkpoint`."""
    if len(d.block) < 2:
        d.blocks += 1
        d.block = (*d.block, d.blocks)


@drawer(2)
def dropped(d: Draft):
    name = d.any()
    if not d.is_plain(name):
        d.emit(f"F.dropout({{0}}, {d.choose([0.1, 0.5, 0.3])})", [name])
