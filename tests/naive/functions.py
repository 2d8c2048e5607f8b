"""Every function of tapegrad, forward, from its formula, and derivatives by central differences.

Where NumPy has the function itself, the tests call NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

# ------------------------------------------------------------------
# finite differences


def _stencil(f: Callable[[float], float], step: float) -> float:
    """Central difference of fourth order, (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h (Abramowitz & Stegun, 25.3.6)."""
    return (8.0 * (f(step) - f(-step)) - (f(2.0 * step) - f(-2.0 * step))) / (12.0 * step)


def derivative(f: Callable[..., np.ndarray], args: Sequence[np.ndarray], k: int, cotangent=1.0, step: float = 1e-3):
    """Gradient of ``sum(cotangent * f(*args))`` by ``args[k]``, an element at a time, in float64.

    With a step of 1e-3 and values of about one the truncation error is near 1e-13 and the rounding error near 1e-12, as
    long as no kink lies within two steps of an argument.
    """
    args = [np.array(a, dtype=np.float64) for a in args]
    gradient = np.zeros_like(args[k])
    for index in np.ndindex(gradient.shape):
        kept = float(args[k][index])

        def along(shift: float, index=index, kept=kept) -> float:
            args[k][index] = kept + shift
            value = float(np.sum(cotangent * np.asarray(f(*args), dtype=np.float64)))
            args[k][index] = kept
            return value

        gradient[index] = _stencil(along, step * max(1.0, abs(kept)))
    return gradient


def directional_derivative(f, args, directions, step: float = 1e-3) -> float:
    """d/dt f(args + t directions) at t = 0 for a scalar ``f``."""
    return _stencil(lambda t: float(f(*[a + t * v for a, v in zip(args, directions)])), step)


# ------------------------------------------------------------------
# elementwise


def sigmoid(x):
    x = np.asarray(x, dtype=np.float64)
    with np.errstate(over="ignore"):
        small = np.exp(x) / (1.0 + np.exp(x))
        large = 1.0 / (1.0 + np.exp(-x))
    return np.where(x < 0, small, large)


def softplus(x, beta=1.0, threshold=20.0):
    """log(1 + exp(beta x)) / beta; beyond the threshold the function is x itself (as PyTorch defines it)."""
    scaled = beta * np.asarray(x, dtype=np.float64)
    return np.where(scaled > threshold, x, np.logaddexp(0.0, scaled) / beta)


def erf(x):
    return np.vectorize(math.erf, otypes=[np.float64])(x)


def relu(x):
    return np.where(x > 0, x, np.where(np.isnan(x), x, 0.0))


def leaky_relu(x, negative_slope=0.01):
    return np.where(x > 0, x, negative_slope * x)


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))


SELU_ALPHA = 1.6732632423543772848170429916717  # Klambauer et al. 2017, arXiv 1706.02515, appendix A1
SELU_SCALE = 1.0507009873554804934193349852946


def selu(x):
    return SELU_SCALE * elu(x, SELU_ALPHA)


def silu(x):
    return x * sigmoid(x)


def gelu(x, approximate="none"):
    """Hendrycks & Gimpel 2016, arXiv 1606.08415: x Phi(x), or its tanh form."""
    if approximate == "tanh":
        return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1.0 + erf(x / math.sqrt(2.0)))


def hardtanh(x, min_val=-1.0, max_val=1.0):
    return np.clip(x, min_val, max_val)


# ------------------------------------------------------------------
# reductions and softmax


def logsumexp(x, axis=None, keepdims=False):
    if x.size == 0:
        return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))
    top = np.max(x, axis=axis, keepdims=True)
    shift = np.where(np.isfinite(top), top, 0.0)
    total = np.log(np.sum(np.exp(x - shift), axis=axis, keepdims=True)) + shift
    return total if keepdims else np.squeeze(total, axis=axis)


def log_softmax(x, axis=-1):
    return x - logsumexp(x, axis=axis, keepdims=True)


def softmax(x, axis=-1):
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


def max_adjoint(x, axis, cotangent):
    """The adjoint of ``max``: equal maxima share the cotangent (which has kept dimensions) equally."""
    ties = (x == np.max(x, axis=axis, keepdims=True)).astype(np.float64)
    return cotangent * ties / np.sum(ties, axis=axis, keepdims=True)


# ------------------------------------------------------------------
# losses, by loops where a loop is the definition


def reduce_loss(each, reduction):
    each = np.asarray(each)
    return {"none": lambda: each, "sum": each.sum, "mean": each.mean}[reduction]()


def mse_loss(x, y, reduction="mean"):
    return reduce_loss((x - y) ** 2, reduction)


def l1_loss(x, y, reduction="mean"):
    return reduce_loss(np.abs(x - y), reduction)


def huber_loss(x, y, reduction="mean", delta=1.0):
    d = np.abs(x - y)
    return reduce_loss(np.where(d <= delta, 0.5 * d * d, delta * (d - 0.5 * delta)), reduction)


def smooth_l1_loss(x, y, reduction="mean", beta=1.0):
    d = np.abs(x - y)
    return reduce_loss(np.where(d < beta, 0.5 * d * d / beta, d - 0.5 * beta), reduction)


def _rows(x):
    """Class scores (N, C, d1, ...) as rows (N * d1 * ..., C); a single vector (C,) is one row."""
    return x.reshape(1, -1) if x.ndim == 1 else np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])


def nll_loss(logp, target, weight=None, ignore_index=-100, reduction="mean"):
    rows, labels = _rows(logp), np.asarray(target).ravel()
    weight = np.ones(rows.shape[1]) if weight is None else weight
    losses, weights = np.zeros(len(rows)), np.zeros(len(rows))
    for n, label in enumerate(labels):
        if label != ignore_index:
            weights[n] = weight[label]
            losses[n] = -weight[label] * rows[n, label]
    if reduction == "none":
        return losses.reshape(np.shape(target))
    return losses.sum() / (weights.sum() if reduction == "mean" else 1.0)


def cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    """Softmax and negative log-likelihood, as PyTorch defines it for class indices and for class probabilities."""
    rows, target = _rows(x), np.asarray(target)
    classes = rows.shape[1]
    weight = np.ones(classes) if weight is None else weight
    logp = np.stack([row - logsumexp(row) for row in rows]) if len(rows) else rows
    losses, weights = np.zeros(len(rows)), np.zeros(len(rows))
    if np.issubdtype(target.dtype, np.floating):
        probabilities = _rows(target)
        for n in range(len(rows)):
            smooth = probabilities[n] * (1.0 - label_smoothing) + label_smoothing / classes
            losses[n] = -np.sum(weight * smooth * logp[n])
            weights[n] = 1.0
        shape = x.shape[:1] + x.shape[2:] if x.ndim > 1 else ()
    else:
        for n, label in enumerate(target.ravel()):
            if label != ignore_index:
                weights[n] = weight[label]
                losses[n] = -(1.0 - label_smoothing) * weight[label] * logp[n, label]
                losses[n] -= label_smoothing / classes * np.sum(weight * logp[n])
        shape = target.shape
    if reduction == "none":
        return losses.reshape(shape)
    return losses.sum() / (weights.sum() if reduction == "mean" else 1.0)


def binary_cross_entropy(p, y, weight=None, reduction="mean"):
    each = -(y * np.log(p) + (1.0 - y) * np.log(1.0 - p))
    return reduce_loss(each if weight is None else weight * each, reduction)


def binary_cross_entropy_with_logits(x, y, weight=None, reduction="mean", pos_weight=None):
    pos_weight = 1.0 if pos_weight is None else pos_weight
    each = pos_weight * y * np.logaddexp(0.0, -x) + (1.0 - y) * np.logaddexp(0.0, x)
    return reduce_loss(each if weight is None else weight * each, reduction)


def kl_div(logp, target, reduction="mean", log_target=False):
    """Pointwise t (log t - log p), where 0 log 0 = 0; "batchmean" divides the sum by the first axis."""
    if log_target:
        each = np.exp(target) * (target - logp)
    else:
        positive = np.where(target > 0, target, 1.0)
        each = np.where(target > 0, target * (np.log(positive) - logp), 0.0)
    return each.sum() / logp.shape[0] if reduction == "batchmean" else reduce_loss(each, reduction)
