"""Losses as functions, by PyTorch's names and arguments.

All take ``reduction="mean"``, ``"sum"`` or ``"none"``. The divisor of a mean is computed by ops, not read off the data
in Python, so that a recorded step uses that of the batch at hand.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from .. import functions
from ..errors import ArgumentError, DtypeError, ShapeError
from ..tensor.arrays import foreign_array
from ..tensor.recording import lift, lift_to
from ..tensor.tensor import Tensor
from .shapes import shape_of

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "huber_loss", "kl_div",
    "l1_loss", "mse_loss", "nll_loss", "operands", "reduced", "require_reduction", "smooth_l1_loss",
]  # fmt: skip

Array = Tensor | ArrayLike
REDUCTIONS = ("mean", "sum", "none")
KL_REDUCTIONS = ("mean", "batchmean", "sum", "none")


# regression


def mse_loss(input: Array, target: Array, *, reduction: str = "mean", weight: Array | None = None) -> Tensor:
    """``(input - target)**2``, times `weight` where given.

    Parameters
    ----------
    input : Tensor, any shape
    target : Tensor or array, the same shape, or a number
    reduction : {"mean", "sum", "none"}
    weight : Tensor or array, the same shape, optional
        The mean divides by the sum of the weights.

    Returns
    -------
    Tensor
        A scalar, or with "none" of the shape of `input`.

    Raises
    ------
    ShapeError
        If the shapes differ: that (N, 1) broadcasts against (N,) to (N, N) is never meant.
    """
    input, target, weight = operands(input, target, weight, "mse_loss", reduction)
    return reduced(functions.squared_error(input, target), reduction, weight)


def l1_loss(input: Array, target: Array, *, reduction: str = "mean", weight: Array | None = None) -> Tensor:
    """``|input - target|``; arguments as for `mse_loss`. The derivative where both are equal is 0."""
    input, target, weight = operands(input, target, weight, "l1_loss", reduction)
    return reduced(functions.absolute_error(input, target), reduction, weight)


def huber_loss(
    input: Array, target: Array, reduction: str = "mean", delta: float = 1.0, weight: Array | None = None
) -> Tensor:
    """``d**2 / 2`` where ``|d| < delta``, else ``delta * (|d| - delta / 2)``, with ``d = input - target``.

    Arguments as for `mse_loss`, and `delta`, a positive number. With `weight` the mean divides by the number
    of elements, as in PyTorch.
    """
    if not delta > 0:
        raise ArgumentError(f"huber_loss: delta must be positive, got {delta}")
    input, target, weight = operands(input, target, weight, "huber_loss", reduction)
    losses = functions.huber_error(input, target, delta)
    return reduced(losses if weight is None else losses * weight, reduction)


def smooth_l1_loss(input: Array, target: Array, *, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """``d**2 / (2 * beta)`` where ``|d| < beta``, else ``|d| - beta / 2``, with ``d = input - target``.

    Arguments as for `mse_loss`, and `beta`, not negative; with 0 it is `l1_loss`.
    """
    if not beta >= 0:
        raise ArgumentError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    input, target, _ = operands(input, target, None, "smooth_l1_loss", reduction)
    return reduced(functions.scale_shift(functions.huber_error(input, target, beta), 1.0 / beta), reduction)


# classification


def cross_entropy(
    input: Tensor,
    target: Array,
    weight: Array | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """The cross-entropy of `target` and ``softmax(input)``.

    Parameters
    ----------
    input : Tensor, shape (C,), (N, C) or (N, C, d1, ...)
        Scores (logits), not probabilities.
    target : integer array, shape () or (N,) or (N, d1, ...); or float array of the shape of `input`
        Class indices from 0 to C - 1, or probabilities of the classes.
    weight : array, shape (C,), optional
        One weight a class.
    ignore_index : int
        Rows of this index are ignored; for class indices only.
    reduction : {"mean", "sum", "none"}
        With class indices the mean divides by the sum of the weights of the targets that are not ignored (NaN if all
        are); with probabilities by the number of rows.
    label_smoothing : float
        From 0 to 1: the share of the target that is spread over all classes.

    Returns
    -------
    Tensor
        A scalar, or with "none" one loss a row, without the class axis.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> import tapegrad.nn.functional as F
    >>> scores = tg.tensor(np.zeros((3, 4), np.float32), requires_grad=True)
    >>> round(F.cross_entropy(scores, np.array([0, 3, 1])).item(), 4)  # log 4
    1.3863
    """
    where = "cross_entropy"
    if not 0.0 <= label_smoothing <= 1.0:
        raise ArgumentError(f"{where}: label_smoothing must be from 0 to 1, got {label_smoothing}")
    require_reduction(reduction, where)
    rows, classes, row_shape = _rows(input, where)
    weight = _class_weights(weight, classes, where)
    if shape_of(target) == shape_of(input) and _kind(target) == "f":
        if ignore_index != -100:
            raise ArgumentError(
                f"{where}: ignore_index={ignore_index} goes with class indices, not with probabilities"
            )
        rows, share = lift(rows, _rows(target, where)[0])
        if label_smoothing:
            share = share * (1.0 - label_smoothing) + label_smoothing / classes
        if weight is not None:
            share = share * lift_to(weight, share.dtype)
        losses = functions.negative(functions.sum(functions.log_softmax(rows, axis=-1) * share, axis=-1))
        return reduced(functions.reshape(losses, row_shape), reduction)
    indices = _class_indices(target, input, row_shape, where)
    losses = functions.cross_entropy_rows(rows, indices, weight, ignore_index, label_smoothing, reduction)
    return functions.reshape(losses, row_shape) if reduction == "none" else losses


def linear_cross_entropy(
    input: Array,
    linear_weight: Array,
    target: Array,
    *,
    linear_bias: Array | None = None,
    weight: Array | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """`cross_entropy` of the scores of a linear layer.

    Parameters
    ----------
    input : array, shape (in_features,) or (N, in_features)
    linear_weight : array, shape (C, in_features) or (C, d1, ..., in_features)
        The latter only with an input of two axes; the scores are (N, C, d1, ...).
    target, weight, reduction, ignore_index, label_smoothing
        As of `cross_entropy`; an `ignore_index` of None is -100.
    linear_bias : array, shape (C,) or (C, d1, ...), optional

    Returns
    -------
    Tensor
        A scalar, or with "none" one loss a row, without the class axis.
    """
    where = "linear_cross_entropy"
    x, w = lift(input, linear_weight)
    if x.ndim not in (1, 2) or w.ndim < 2 or w.ndim > 2 > x.ndim or x.shape[-1] != w.shape[-1]:
        raise ShapeError(f"{where}: an input of shape {list(x.shape)} and a weight of {list(w.shape)}; expected "
                         "(in_features,) or (N, in_features), and (C, in_features) or, with N, (C, d1, ..., "
                         "in_features)")
    scores = w.shape[:-1]
    if linear_bias is not None and shape_of(linear_bias) != scores:
        raise ShapeError(f"{where}: a bias of shape {list(shape_of(linear_bias))}; expected {list(scores)}")
    flat = None if linear_bias is None else functions.reshape(linear_bias, -1)
    logits = functions.linear(x, functions.reshape(w, (-1, w.shape[-1])), flat)
    return cross_entropy(functions.reshape(logits, (*x.shape[:-1], *scores)), target, weight,
                         ignore_index=-100 if ignore_index is None else ignore_index, reduction=reduction,
                         label_smoothing=label_smoothing)


def nll_loss(
    input: Tensor,
    target: Array,
    weight: Array | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Minus the entry of `input` (log-probabilities) at the target's class.

    Arguments as for `cross_entropy`, whose class-index form is ``nll_loss(log_softmax(input, dim=1),
    target)``.
    """
    where = "nll_loss"
    require_reduction(reduction, where)
    rows, classes, row_shape = _rows(input, where)
    weight = _class_weights(weight, classes, where)
    indices = _class_indices(target, input, row_shape, where)
    losses = functions.nll_rows(rows, indices, weight, ignore_index, reduction)
    return functions.reshape(losses, row_shape) if reduction == "none" else losses


# probabilities


def binary_cross_entropy(
    input: Tensor, target: Array, weight: Array | None = None, *, reduction: str = "mean"
) -> Tensor:
    """``-(target * log(input) + (1 - target) * log(1 - input))``, times `weight` where given.

    Parameters
    ----------
    input : Tensor, any shape
        Probabilities; outside [0, 1] the loss is nan.
    target : Tensor or array, the same shape
        Probabilities.
    weight : array that broadcasts to that shape, optional
        The mean divides by the number of elements, as in PyTorch.
    reduction : {"mean", "sum", "none"}

    Notes
    -----
    As in PyTorch, a logarithm below -100 counts as -100, and the derivative's denominator ``input * (1 -
    input)`` is at least 1e-12. `binary_cross_entropy_with_logits` has no such edge.
    """
    _check(input, target, "binary_cross_entropy", reduction, numbers=False)
    input, target = lift(input, target)
    losses = functions.bce(input, target)
    return reduced(losses if weight is None else losses * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Array,
    weight: Array | None = None,
    *,
    reduction: str = "mean",
    pos_weight: Array | None = None,
) -> Tensor:
    """`binary_cross_entropy` of ``sigmoid(input)``, without overflow or cancellation.

    Parameters
    ----------
    input : Tensor, any shape
        Scores (logits).
    target : Tensor or array, the same shape
        Probabilities.
    weight : array that broadcasts to that shape, optional
        The mean divides by the number of elements, as in PyTorch.
    reduction : {"mean", "sum", "none"}
    pos_weight : array that broadcasts to that shape, optional
        The weight of positive targets: above 1 for recall, below 1 for precision.

    Notes
    -----
    ``(1 - t) x - (1 - t + w t) ln sigmoid(x)`` with t the target and w = `pos_weight`.
    """
    _check(input, target, "binary_cross_entropy_with_logits", reduction, numbers=False)
    input, target = lift(input, target)
    if pos_weight is None:
        losses = functions.bce_with_logits(input, target)
    else:
        rest = 1.0 - target
        positive = rest + lift_to(pos_weight, input.dtype) * target
        losses = rest * input - positive * functions.log_sigmoid(input)
    return reduced(losses if weight is None else losses * weight, reduction)


def kl_div(input: Tensor, target: Array, *, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """The Kullback-Leibler divergence of `target` from `input`: ``target * (log(target) - input)``.

    Parameters
    ----------
    input : Tensor, any shape
        Log-probabilities.
    target : Tensor or array, the same shape
        Probabilities; 0 contributes 0. Log-probabilities with `log_target`.
    reduction : {"mean", "batchmean", "sum", "none"}
        "batchmean" divides the sum by the length of axis 0, which is the divergence of distributions; "mean" by the
        number of elements.
    log_target : bool

    """
    _check(input, target, "kl_div", reduction, numbers=False, reductions=KL_REDUCTIONS)
    input, target = lift(input, target)
    losses = functions.exp(target) * (target - input) if log_target else functions.kl(input, target)
    if reduction == "batchmean":
        return functions.sum(losses) / float(input.shape[0] if input.shape else 1)
    return reduced(losses, reduction)


# shared


def require_reduction(reduction: str, where: str, known: tuple[str, ...] = REDUCTIONS) -> None:
    """Raise `ArgumentError` unless `reduction` is one of `known`."""
    if reduction not in known:
        raise ArgumentError(
            f"{where}: reduction must be one of {', '.join(map(repr, known))}, got {reduction!r}"
        )


def _check(
    input: Array,
    target: Array,
    where: str,
    reduction: str,
    numbers: bool = True,
    reductions: tuple[str, ...] = REDUCTIONS,
) -> None:
    require_reduction(reduction, where, reductions)
    have, want = shape_of(target), shape_of(input)
    if have != want and not (numbers and have == ()):
        hint = "make them equal"
        if math.prod(have) == math.prod(want):
            hint = f"use target.reshape{want}" if len(want) != 1 else f"use target.reshape({want[0]})"
        raise ShapeError(f"{where}: input has shape {list(want)} and target {list(have)}; {hint}")


def operands(
    input: Array, target: Array, weight: Array | None, where: str, reduction: str
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Checked operands as tensors of one dtype, with the weight or None."""
    _check(input, target, where, reduction)
    if weight is None:
        return (*lift(input, target), None)  # type: ignore[return-value]
    if shape_of(weight) != shape_of(input):
        raise ShapeError(
            f"{where}: input has shape {list(shape_of(input))} and weight {list(shape_of(weight))}; make them equal"
        )
    return tuple(lift(input, target, weight))  # type: ignore[return-value]


def reduced(losses: Tensor, reduction: str, weight: Array | None = None) -> Tensor:
    """The mean, the sum or the losses themselves, weighted."""
    if weight is not None:
        losses = losses * weight
        if reduction == "mean":
            return functions.sum(losses) / functions.sum(weight)
    if reduction == "none":
        return losses
    return functions.mean(losses) if reduction == "mean" else functions.sum(losses)


def _rows(input: Array, where: str) -> tuple[Tensor, int, tuple[int, ...]]:
    """`input` as (rows, classes), the number of classes, and the shape of the rows."""
    shape = shape_of(input)
    if not shape:
        raise ShapeError(
            f"{where}: input must have a class axis: (C,), (N, C) or (N, C, d1, ...); it is a scalar"
        )
    if len(shape) == 1:
        return functions.reshape(input, (1, shape[0])), shape[0], ()
    classes, row_shape = shape[1], (shape[0], *shape[2:])
    if len(shape) > 2:
        input = functions.reshape(functions.moveaxis(input, 1, -1), (math.prod(row_shape), classes))
    return input, classes, row_shape  # type: ignore[return-value]


def _class_weights(weight: Array | None, classes: int, where: str) -> Array | None:
    if weight is not None and shape_of(weight) != (classes,):
        raise ShapeError(
            f"{where}: weight has shape {list(shape_of(weight))}, but the input has {classes} classes; "
            f"expected [{classes}]"
        )
    return weight


def _kind(array: Array) -> str:
    return (array if isinstance(array, Tensor) else foreign_array(array)).dtype.kind


def _class_indices(target: Array, input: Array, row_shape: tuple[int, ...], where: str) -> Array:
    """`target` as a flat array of indices."""
    kind, shape = _kind(target), shape_of(target)
    if kind not in "iu":
        raise DtypeError(
            f"{where}: target of shape {list(shape)} has kind {kind!r}; class indices must be integers, and "
            f"probabilities floats of the input's shape {list(shape_of(input))}"
        )
    if shape != row_shape:
        hint = f"expected {list(row_shape)}"
        if shape == shape_of(input):
            hint += "; for one-hot rows pass target.argmax(axis=1), or floats as probabilities"
        elif math.prod(shape) == math.prod(row_shape):
            hint += f"; use target.reshape{row_shape if len(row_shape) != 1 else f'({row_shape[0]})'}"
        raise ShapeError(f"{where}: input has shape {list(shape_of(input))} and target {list(shape)}; {hint}")
    if isinstance(target, Tensor):
        return target if len(shape) == 1 else functions.reshape(target, (math.prod(shape),))
    return foreign_array(target).astype(np.int64, copy=False).reshape(-1)
