"""Norms, losses, attention and recurrences of the plain-Python tape, under tapegrad's names, from their formulas."""

from __future__ import annotations

import math

import numpy as np

from . import array_functions as tg
from .tape import Var, as_var

# ------------------------------------------------------------------ activations


def softsign(a):
    return tg.divide(a, tg.add(tg.abs(a), 1.0))


# ------------------------------------------------------------------ normalisation


def _standard(x, axis, eps):
    deviation = x - tg.mean(x, axis, True)
    return deviation / tg.sqrt(tg.mean(tg.square(deviation), axis, True) + eps)


def _affine(x, weight, bias, shape):
    x = x if weight is None else x * tg.reshape(weight, shape)
    return x if bias is None else x + tg.reshape(bias, shape)


def layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5):
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    x = as_var(x)
    return _affine(_standard(x, tuple(range(x.value.ndim - len(shape), x.value.ndim)), eps), weight, bias, shape)


def rms_norm(x, normalized_shape, weight=None, eps=1e-5):
    x = as_var(x)
    y = x / tg.sqrt(tg.mean(tg.square(x), -1, True) + eps)
    return _affine(y, weight, None, (normalized_shape,))


def group_norm(x, num_groups, weight=None, bias=None, eps=1e-5):
    x = as_var(x)
    samples, channels, *rest = x.shape
    y = tg.reshape(_standard(tg.reshape(x, (samples, num_groups, -1)), 2, eps), x.shape)
    return _affine(y, weight, bias, (channels, *(1 for _ in rest)))


def instance_norm(x, weight=None, bias=None, eps=1e-5):
    return group_norm(x, as_var(x).shape[1], weight, bias, eps)


def batch_norm(x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    """Moves the values of `running_mean` and `running_var` in training."""
    x = as_var(x)
    channels = (1, x.shape[1], *(1 for _ in x.shape[2:]))
    if not training:
        y = (x - tg.reshape(running_mean, channels)) / tg.sqrt(tg.reshape(running_var, channels) + eps)
        return _affine(y, weight, bias, channels)
    axes = (0, *range(2, x.value.ndim))
    if running_mean is not None:
        for kept, new in ((running_mean, x.value.mean(axes)), (running_var, x.value.var(axes, ddof=1))):
            kept.value = (1.0 - momentum) * kept.value + momentum * new
    return _affine(_standard(x, axes, eps), weight, bias, channels)


def normalize(x, p=2.0, dim=1):
    return tg.divide(x, tg.vector_norm(x, p, dim, True))


# ------------------------------------------------------------------ losses


def _reduced(losses, reduction, weight=None):
    if reduction == "none":
        return losses
    if reduction == "sum":
        return tg.sum(losses)
    return tg.mean(losses) if weight is None else tg.sum(losses) / tg.sum(weight)


def mse_loss(x, y, reduction="mean", weight=None):
    losses = tg.squared_error(x, y)
    return _reduced(losses if weight is None else losses * weight, reduction, weight)


def l1_loss(x, y, reduction="mean", weight=None):
    losses = tg.absolute_error(x, y)
    return _reduced(losses if weight is None else losses * weight, reduction, weight)


def huber_loss(x, y, reduction="mean", delta=1.0):
    return _reduced(tg.huber_error(x, y, delta), reduction)


def smooth_l1_loss(x, y, reduction="mean", beta=1.0):
    return _reduced(tg.huber_error(x, y, beta) / beta, reduction)


def binary_cross_entropy(x, y, reduction="mean"):
    x, y = as_var(x), as_var(y)
    return _reduced(-(y * tg.log(x) + (1.0 - y) * tg.log(1.0 - x)), reduction)


def binary_cross_entropy_with_logits(x, y, reduction="mean", pos_weight=None):
    x, y = as_var(x), as_var(y)
    positive = y if pos_weight is None else y * pos_weight
    return _reduced(-(positive * tg.log_sigmoid(x) + (1.0 - y) * tg.log_sigmoid(-x)), reduction)


def kl_div(x, y, reduction="mean", log_target=False):
    x, y = as_var(x), as_var(y)
    losses = tg.exp(y) * (y - x) if log_target else tg.x_log_x(y) - y * x
    return tg.sum(losses) / float(x.shape[0]) if reduction == "batchmean" else _reduced(losses, reduction)


def _rows(x):
    """Scores (C,), (N, C) or (N, C, d1, ...) as rows of classes."""
    x = as_var(x)
    if x.value.ndim == 1:
        return tg.reshape(x, (1, -1))
    return tg.reshape(tg.moveaxis(x, 1, -1), (-1, x.shape[1]))


def _of_rows(x):
    x = as_var(x)
    return x.shape[:1] + x.shape[2:] if x.value.ndim > 1 else ()


def nll_loss(x, target, weight=None, ignore_index=-100, reduction="mean"):
    return _class_loss(_rows(x), _of_rows(x), target, weight, ignore_index, reduction, 0.0)


def cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    logp = tg.log_softmax(_rows(x), -1)
    if isinstance(target, Var):
        share = _rows(target) * (1.0 - label_smoothing) + label_smoothing / logp.shape[1]
        share = share if weight is None else share * weight
        return _reduced(tg.reshape(-tg.sum(logp * share, -1), _of_rows(x)), reduction)
    return _class_loss(logp, _of_rows(x), target, weight, ignore_index, reduction, label_smoothing)


def _class_loss(logp, shape, target, weight, ignore_index, reduction, smoothing):
    labels = np.asarray(target).ravel()
    rows, classes = logp.shape
    counts = labels != ignore_index
    labels = np.where(counts, labels, 0)
    weight = as_var(np.ones(classes) if weight is None else weight)
    of_row = tg.index(weight, labels) * counts.astype(float)
    losses = -(1.0 - smoothing) * of_row * tg.index(logp, (np.arange(rows), labels))
    if smoothing:
        losses = losses - smoothing / classes * counts.astype(float) * tg.sum(logp * weight, -1)
    return tg.reshape(losses, shape) if reduction == "none" else _reduced(
        losses, reduction, of_row if reduction == "mean" else None)


def cosine_similarity(x, y, dim=1):
    lengths = tg.vector_norm(x, 2, dim) * tg.vector_norm(y, 2, dim)
    return tg.sum(tg.multiply(x, y), dim) / lengths


def pairwise_distance(x, y, p=2.0, eps=1e-6, keepdim=False):
    return tg.vector_norm(tg.add(tg.subtract(x, y), eps), p, -1, keepdim)


def triplet_margin_loss(anchor, positive, negative, margin=1.0, reduction="mean"):
    near, far = pairwise_distance(anchor, positive), pairwise_distance(anchor, negative)
    return _reduced(tg.relu(near - far + margin), reduction)


def bilinear(x, y, weight, bias=None):
    out = tg.einsum("ni,oij,nj->no", x, weight, y)
    return out if bias is None else out + bias


# ------------------------------------------------------------------ attention


def scaled_dot_product_attention(query, key, value, attn_mask=None, is_causal=False, scale=None, enable_gqa=False):
    query, key, value = as_var(query), as_var(key), as_var(value)
    if enable_gqa:
        repeats = query.shape[-3] // key.shape[-3]
        heads = np.repeat(np.arange(key.shape[-3]), repeats)
        key, value = tg.take(key, heads, -3), tg.take(value, heads, -3)
    scores = tg.matmul(query, tg.swapaxes(key, -1, -2)) * (1.0 / math.sqrt(query.shape[-1]) if scale is None else scale)
    allowed = np.ones(scores.shape, bool)
    if isinstance(attn_mask, np.ndarray) and attn_mask.dtype == bool:
        allowed = allowed & attn_mask
    elif attn_mask is not None:
        scores = scores + attn_mask
    if is_causal:
        allowed = np.tril(allowed)
    weights = tg.softmax(tg.where(allowed, scores, -1e30), -1)
    return tg.matmul(tg.multiply(weights, allowed.any(-1, keepdims=True).astype(float)), value)


def rotary_embedding(x, positions=0, base=10000.0):
    x = as_var(x)
    half = x.shape[-1] // 2
    angles = (positions + np.arange(x.shape[-2]))[:, None] * base ** (-np.arange(half) / half)
    first, second = x[..., :half], x[..., half:]
    return tg.concatenate([first * np.cos(angles) - second * np.sin(angles),
                           second * np.cos(angles) + first * np.sin(angles)], -1)


def cdist(x, y):
    x, y = as_var(x), as_var(y)
    return tg.vector_norm(tg.expand_dims(x, -2) - tg.expand_dims(y, -3), 2, -1)


# ------------------------------------------------------------------ recurrences


def _steps(x, reverse):
    order = range(as_var(x).shape[0])
    return reversed(order) if reverse else order


def _gates(x, t, weight_ih, weight_hh, bias_ih, bias_hh, h):
    return tg.linear(as_var(x)[t], weight_ih, bias_ih), tg.linear(h, weight_hh, bias_hh)


def _zeros(x, weight_hh):
    return Var(np.zeros((as_var(x).shape[1], as_var(weight_hh).shape[1])))


def rnn_layer(x, weight_ih, weight_hh, bias_ih=None, bias_hh=None, h0=None, reverse=False):
    h = _zeros(x, weight_hh) if h0 is None else h0
    found = {}
    for t in _steps(x, reverse):
        a, b = _gates(x, t, weight_ih, weight_hh, bias_ih, bias_hh, h)
        h = found[t] = tg.tanh(a + b)
    return tg.stack([found[t] for t in sorted(found)]), h


def gru_layer(x, weight_ih, weight_hh, bias_ih=None, bias_hh=None, h0=None, reverse=False):
    h = _zeros(x, weight_hh) if h0 is None else h0
    found = {}
    for t in _steps(x, reverse):
        (ar, az, an), (br, bz, bn) = (tg.split(g, 3, 1)
                                      for g in _gates(x, t, weight_ih, weight_hh, bias_ih, bias_hh, h))
        r, z = tg.sigmoid(ar + br), tg.sigmoid(az + bz)
        n = tg.tanh(an + r * bn)
        h = found[t] = (1.0 - z) * n + z * h
    return tg.stack([found[t] for t in sorted(found)]), h


def lstm_layer(x, weight_ih, weight_hh, bias_ih=None, bias_hh=None, h0=None, c0=None, reverse=False):
    h, c = (_zeros(x, weight_hh) if s is None else s for s in (h0, c0))
    found = {}
    for t in _steps(x, reverse):
        a, b = _gates(x, t, weight_ih, weight_hh, bias_ih, bias_hh, h)
        i, f, g, o = tg.split(a + b, 4, 1)
        c = tg.sigmoid(f) * c + tg.sigmoid(i) * tg.tanh(g)
        h = found[t] = tg.sigmoid(o) * tg.tanh(c)
    return tg.stack([found[t] for t in sorted(found)]), h, c


# ------------------------------------------------------------------ convolution and pooling


def _windows(x, size, stride):
    """Elements (N, C, *out, *size) of windows over the last axes, as an index of each axis."""
    lead = as_var(x).value.ndim - len(size)
    key = [slice(None)] * lead
    for d, (n, k, s) in enumerate(zip(as_var(x).shape[lead:], size, stride)):
        starts = np.arange(0, n - k + 1, s)
        at = starts[:, None] + np.arange(k)
        shape = [1] * (2 * len(size))
        shape[d], shape[len(size) + d] = at.shape
        key.append(at.reshape(shape))
    return tg.index(x, tuple(key))


def _padded(x, padding, axes):
    return tg.pad(x, ((0, 0),) * (as_var(x).value.ndim - axes) + ((padding, padding),) * axes) if padding else x


def conv1d(x, weight, bias=None, stride=1, padding=0):
    parts = _windows(_padded(x, padding, 1), as_var(weight).shape[2:], (stride,))
    y = tg.einsum("nctk,ock->not", parts, weight)
    return y if bias is None else y + tg.reshape(bias, (-1, 1))


def conv2d(x, weight, bias=None, stride=1, padding=0):
    parts = _windows(_padded(x, padding, 2), as_var(weight).shape[2:], (stride, stride))
    y = tg.einsum("ncabij,ocij->noab", parts, weight)
    return y if bias is None else y + tg.reshape(bias, (-1, 1, 1))


def avg_pool2d(x, kernel_size, stride=None):
    stride = kernel_size if stride is None else stride
    return tg.mean(_windows(x, (kernel_size,) * 2, (stride,) * 2), (-2, -1))


def max_pool2d(x, kernel_size, stride=None):
    """Of equal maxima the first takes the gradient."""
    stride = kernel_size if stride is None else stride
    parts = _windows(x, (kernel_size,) * 2, (stride,) * 2)
    flat = tg.reshape(parts, (*parts.shape[:-2], -1))
    places = np.argmax(flat.value, -1)[..., None]
    tg.decided(places)
    return tg.squeeze(tg.take_along_axis(flat, places, -1), -1)


dropout = tg.dropout
embedding, embedding_bag = tg.embedding, tg.embedding_bag
