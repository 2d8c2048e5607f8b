"""The ops that programs are drawn from: norms, losses, attention, recurrences, tables, convolutions."""

from __future__ import annotations

import math

import numpy as np

from .generate import Draft, drawer
from .program import BUFFER, CONSTANT


def _varies(v, axis) -> bool:
    return v.size > 0 and float(np.min(np.var(v, axis=axis))) > 3e-3


# ------------------------------------------------------------------ normalisation


@drawer(5)
def layer_norm(d: Draft):
    name = d.any(lambda v: v.ndim >= 1 and v.shape[-1] > 1 and _varies(v, -1))
    v = d.values[name].value
    if v.ndim < 1 or v.shape[-1] < 2 or not _varies(v, -1):
        return
    width = v.shape[-1]

    def weight():
        return name if v.shape == (width,) and d.chance(0.3) else d.slot((width,))

    kind = d.choose(["plain", "weight", "both", "both", "bias", "rms", "rms"])
    if kind == "rms":
        d.emit(f"F.rms_norm({{0}}, {width}, {{1}}, eps=1e-05)" if d.chance(0.7) else
               f"F.rms_norm({{0}}, {width}, eps=1e-05)", [name, weight()])
    elif kind == "plain":
        d.emit(f"F.layer_norm({{0}}, {width})", [name])
    elif kind == "weight":
        d.emit(f"F.layer_norm({{0}}, {width}, weight={{1}})", [name, weight()])
    elif kind == "bias":
        d.emit(f"F.layer_norm({{0}}, {width}, bias={{1}})", [name, weight()])
    else:
        d.emit(f"F.layer_norm({{0}}, {width}, {{1}}, {{2}})", [name, weight(), weight()])


@drawer(4)
def channel_norm(d: Draft):
    """Over (N, C, ...)."""
    kind = d.choose(["group", "instance", "batch", "batch", "fixed"])
    name = d.any(lambda v: v.ndim in (2, 3) and v.shape[1] > 0, (d.batch, d.extent(), d.extent()))
    v = d.values[name].value
    if v.ndim not in (2, 3) or v.size == 0:
        return
    channels = v.shape[1]

    def weight():
        return d.slot((channels,))

    affine = d.choose(["", ", {1}, {2}", ", weight={1}", ", bias={2}"])
    if kind == "group":
        groups = d.choose([n for n in range(1, channels + 1) if channels % n == 0])
        if _varies(v.reshape(v.shape[0], groups, -1), 2):
            d.emit(f"F.group_norm({{0}}, {groups}{affine})", [name, weight(), weight()])
    elif kind == "instance":
        if v.ndim == 3 and v.shape[2] > 1 and _varies(v, 2):
            affine = affine.replace("{1}, {2}", "weight={1}, bias={2}")
            d.emit(f"F.instance_norm({{0}}{affine})", [name, weight(), weight()])
    elif kind == "batch":
        axes = (0, *range(2, v.ndim))
        if v.size > channels and _varies(v, axes):
            affine = affine.replace("{1}, {2}", "weight={1}, bias={2}")
            if d.chance(0.4):
                d.emit(f"F.batch_norm({{0}}, None, None{affine}, training=True)", [name, weight(), weight()])
            else:
                state = d.array(BUFFER, (channels,)), d.array(BUFFER, (channels,), "float", 0.5, 2.0)
                d.emit(f"F.batch_norm({{0}}, {{3}}, {{4}}{affine}, training=True)", [name, weight(), weight(), *state])
    else:
        affine = affine.replace("{1}, {2}", "weight={1}, bias={2}")
        buffers = [a for a in d.program.of(BUFFER) if a.shape == (channels,)]
        means, variances = ([a.name for a in buffers if (a.low > 0) == positive] for positive in (False, True))
        mean = d.choose(means) if means and d.chance(0.7) else d.array(BUFFER, (channels,))
        variance = d.choose(variances) if variances and d.chance(0.7) else d.array(BUFFER, (channels,), "float", 0.5,
                                                                                    2.0)
        d.emit(f"F.batch_norm({{0}}, {{3}}, {{4}}{affine})", [name, weight(), weight(), mean, variance])


@drawer(1.5)
def unit_vectors(d: Draft):
    name = d.any(lambda v: v.ndim == 2 and np.min(np.linalg.norm(v, axis=1), initial=1.0) > 0.05)
    v = d.values[name].value
    if v.ndim == 2 and v.size and np.min(np.linalg.norm(v, axis=1)) > 0.05:
        if d.chance(0.5):
            d.emit("F.normalize({0}, 2.0, 1)", [name])
        else:
            other = d.choose([name, d.slot(v.shape, 0.2, 1.0), d.slot(v.shape, 0.2, 1.0)])
            d.emit("F.cosine_similarity({0}, {1}, dim=1)", [name, other])


# ------------------------------------------------------------------ losses


@drawer(4)
def regression(d: Draft):
    name = d.any()
    target = d.slot(d.values[name].shape)
    if d.is_plain(name) and d.is_plain(target):
        return
    reduction = d.choose(["mean", "sum", "none"])
    kind = d.choose(["mse", "mse", "l1", "huber", "smooth", "weighted"])
    if kind == "weighted":
        d.emit(f"F.mse_loss({{0}}, {{1}}, reduction='{reduction}', weight={{2}})",
               [name, target, d.slot(d.values[name].shape, 0.3, 1.5)])
        return
    call = {"mse": "mse_loss", "l1": "l1_loss", "huber": "huber_loss", "smooth": "smooth_l1_loss"}[kind]
    more = {"huber": ", delta=0.37", "smooth": ", beta=0.41"}.get(kind, "")
    d.emit(f"F.{call}({{0}}, {{1}}, reduction='{reduction}'{more})", [name, target])


@drawer(4)
def classes(d: Draft):
    name = d.any(lambda v: v.ndim in (1, 2, 3) and v.size > 0 and (v.shape[1] if v.ndim > 1 else v.shape[0]) > 1)
    shape = d.values[name].shape
    if not 1 <= len(shape) <= 3 or d.is_plain(name):
        return
    count = shape[1] if len(shape) > 1 else shape[0]
    labels = d.indices(shape[:1] + shape[2:] if len(shape) > 1 else (), count)
    reduction = d.choose(["mean", "sum", "none"])
    kind = d.choose(["plain", "plain", "weight", "smoothing", "both", "ignore", "nll", "shares"])
    weight = d.slot((count,), 0.3, 1.5)
    if kind == "shares":
        share = name if d.chance(0.2) else d.slot(shape, 0.05, 1.0)
        d.emit(f"F.cross_entropy({{0}}, {{1}}, reduction='{reduction}'"
               f"{', label_smoothing=0.2' if d.chance(0.4) else ''})", [name, share])
        return
    if not d.is_plain(weight) and kind in ("weight", "both", "nll"):
        weight = d.array(CONSTANT, (count,), "float", 0.3, 1.5)  # class weights are not differentiated
    more = {"weight": ", {2}", "smoothing": ", label_smoothing=0.15", "both": ", {2}, label_smoothing=0.15",
            "ignore": ", ignore_index=0", "nll": ", {2}"}.get(kind, "")
    if kind == "ignore" and reduction == "mean":
        reduction = "sum"  # of labels that are all ignored the mean is NaN
    call = "nll_loss" if kind == "nll" else "cross_entropy"
    d.emit(f"F.{call}({{0}}, {{1}}{more}, reduction='{reduction}')", [name, labels, weight])


@drawer(2)
def probabilities(d: Draft):
    reduction = d.choose(["mean", "sum", "none"])
    kind = d.choose(["bce", "logits", "logits", "pos", "kl", "log"])
    name = d.slot(d.shape(1), 0.1, 0.9) if kind == "bce" else d.any()
    shape = d.values[name].shape
    target = d.slot(shape, 0.05, 0.95)
    if d.is_plain(name):
        return
    if kind == "bce":
        d.emit(f"F.binary_cross_entropy({{0}}, {{1}}, reduction='{reduction}')", [name, d.choose([name, target])])
    elif kind == "kl":
        if reduction == "mean" and shape:
            reduction = d.choose(["mean", "batchmean"])
        d.emit(f"F.kl_div({{0}}, {{1}}, reduction='{reduction}')", [name, target])
    elif kind == "log":
        d.emit(f"F.kl_div({{0}}, {{1}}, reduction='{reduction}', log_target=True)", [name, d.slot(shape)])
    else:
        more = ", pos_weight={2}" if kind == "pos" and shape else ""
        d.emit(f"F.binary_cross_entropy_with_logits({{0}}, {{1}}, reduction='{reduction}'{more})",
               [name, target, d.slot(shape[-1:], 0.5, 1.5)])


@drawer(1.5)
def triplets(d: Draft):
    shape = (d.batch, min(d.extent(), 100))
    names = [d.slot(shape, 0.0, 1.0), d.slot(shape, 1.2, 2.0), d.slot(shape, -2.0, -0.2)]
    d.emit(f"F.triplet_margin_loss({{0}}, {{1}}, {{2}}, margin=3.1, reduction='{d.choose(['mean', 'sum', 'none'])}')",
           names)


@drawer(1.5)
def bilinear(d: Draft):
    i, j, o = (min(d.extent(), 6) for _ in range(3))
    first = d.slot((d.batch, i))
    second = first if i == j and d.chance(0.3) else d.slot((d.batch, j))
    d.emit("F.bilinear({0}, {1}, {2}, {3})" if d.chance(0.5) else "F.bilinear({0}, {1}, {2})",
           [first, second, d.slot((o, i, j)), d.slot((o,))])


# ------------------------------------------------------------------ attention


@drawer(4)
def attention(d: Draft):
    lead = d.choose([(), (2,), (d.batch,), (1, 2), (2, 2)])
    length, keys, width, out = (min(d.extent(), 40) for _ in range(4))
    if d.chance(0.4):
        keys, out = length, width
    if math.prod(lead) * max(length, keys) * max(width, keys, length) > 20_000:
        return
    query = d.slot((*lead, length, width))
    key = query if keys == length and d.chance(0.3) else d.slot((*lead, keys, width))
    value = key if out == width and d.chance(0.4) else d.slot((*(lead if d.chance(0.8) else ()), keys, out))
    kind = d.choose(["plain", "plain", "causal", "bool", "float", "scale", "gqa"])
    call = "F.scaled_dot_product_attention({0}, {1}, {2}"
    if kind == "gqa" and len(lead) == 2:
        single = d.slot((lead[0], 1, keys, width))
        d.emit(f"{call}, enable_gqa=True)", [query, single, d.slot((lead[0], 1, keys, out))])
    elif kind == "bool":
        d.emit(f"{call}, attn_mask={{3}})", [query, key, value, d.array(CONSTANT, (length, keys), "bool")])
    elif kind == "float":
        d.emit(f"{call}, attn_mask={{3}})", [query, key, value, d.slot((*(lead if d.chance(0.3) else ()), length,
                                                                         keys))])
    else:
        more = {"causal": ", is_causal=True", "scale": ", scale=0.7"}.get(kind, "")
        d.emit(f"{call}{more})", [query, key, value])


@drawer(1)
def rotated(d: Draft):
    name = d.any(lambda v: v.ndim >= 2 and v.shape[-1] % 2 == 0)
    if d.values[name].value.ndim >= 2 and d.values[name].shape[-1] % 2 == 0:
        d.emit(f"F.rotary_embedding({{0}}, {d.integer(0, 3)})", [name])


@drawer(1)
def distances(d: Draft):
    width = min(d.extent(), 30)
    first, second = d.slot((min(d.extent(), 30), width), 0.1, 1.0), d.slot((min(d.extent(), 30), width), -1.0, -0.1)
    d.emit("F.cdist({0}, {1})", [first, second])


# ------------------------------------------------------------------ recurrences


@drawer(3)
def recurrence(d: Draft):
    kind, gates = d.choose([("rnn", 1), ("gru", 3), ("lstm", 4)])
    steps, samples, inputs, units = (min(d.extent(), 8) for _ in range(4))
    if d.chance(0.4):
        inputs = units
    names = [d.slot((steps, samples, inputs)), d.slot((gates * units, inputs)), d.slot((gates * units, units))]
    if inputs == units and d.chance(0.4):
        names[2] = names[1]
    call = f"layers.{kind}_layer({{0}}, {{1}}, {{2}}"
    if d.chance(0.6):
        names += [d.slot((gates * units,)), d.slot((gates * units,))]
        if d.chance(0.3):
            names[4] = names[3]
        call += ", {3}, {4}"
    if d.chance(0.5):
        call += f", h0={{{len(names)}}}"
        names.append(d.slot((samples, units)))
        if kind == "lstm":
            call += f", c0={{{len(names)}}}"
            names.append(names[-1] if d.chance(0.3) else d.slot((samples, units)))
    call += ", reverse=True)" if d.chance(0.3) else ")"
    d.emit(call, names, 3 if kind == "lstm" else 2)


# ------------------------------------------------------------------ tables


@drawer(4)
def table(d: Draft):
    rows, width = min(max(d.extent(), 2), 200), min(d.extent(), 100)
    weight = d.slot((rows, width))
    kind = d.choose(["plain", "plain", "sparse", "padding", "bag", "weighted", "most"])
    shape = (d.batch,) if kind in ("plain", "sparse", "padding") and d.chance(0.6) else (d.batch, d.integer(1, 4))
    if math.prod(shape) * width > d.most:
        return
    index = d.indices(shape, rows)
    more = {"sparse": ", sparse=True", "padding": f", padding_idx={d.integer(0, rows - 1)}"}.get(kind, "")
    if len(shape) == 1 or kind in ("plain", "sparse", "padding"):
        d.emit(f"F.embedding({{0}}, {{1}}{more})", [index, weight])
    elif kind == "weighted":
        d.emit("F.embedding_bag({0}, {1}, mode='sum', per_sample_weights={2})", [index, weight, d.slot(shape)])
    else:
        mode = "max" if kind == "most" else d.choose(["sum", "mean"])
        d.emit(f"F.embedding_bag({{0}}, {{1}}, mode='{mode}')", [index, weight])


# ------------------------------------------------------------------ convolution and pooling


@drawer(2.5)
def convolution(d: Draft):
    flat = d.chance(0.5)
    samples, channels, filters, size = d.choose([1, 2]), d.integer(1, 3), d.integer(1, 3), d.integer(1, 3)
    stride, padding = d.integer(1, 2), d.integer(0, 1)
    extent = d.integer(size, 6)
    x = d.slot((samples, channels, extent) if flat else (samples, channels, extent, extent + 1))
    weight = d.slot((filters, channels, size) if flat else (filters, channels, size, size))
    bias = d.chance(0.6)
    d.emit(f"F.conv{1 if flat else 2}d({{0}}, {{1}}{', {2}' if bias else ''}, stride={stride}, padding={padding})",
           [x, weight, *([d.slot((filters,))] if bias else [])])


@drawer(1.5)
def pooled(d: Draft):
    x = d.slot((d.choose([1, 2]), d.integer(1, 2), d.integer(2, 6), d.integer(2, 6)))
    d.emit(f"F.{d.choose(['avg', 'max'])}_pool2d({{0}}, 2{d.choose(['', ', 1', ', 2'])})", [x])
