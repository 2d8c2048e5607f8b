"""Likelihoods of distributions and losses of margins as functions, by PyTorch's names and arguments."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from .. import functions
from ..errors import ArgumentError, DtypeError, ShapeError
from ..tensor.recording import lift
from ..tensor.tensor import Tensor
from .loss_functions import nll_loss, operands, reduced, require_reduction
from .shapes import shape_of

__all__ = [
    "gaussian_nll_loss", "multi_margin_loss", "multilabel_margin_loss", "multilabel_soft_margin_loss",
    "poisson_nll_loss", "soft_margin_loss",
]  # fmt: skip

Array = Tensor | ArrayLike


def gaussian_nll_loss(input: Array, target: Array, var: Array, full: bool = False, eps: float = 1e-6,
                      reduction: str = "mean") -> Tensor:
    """``(log(v) + (input - target)^2 / v) / 2`` with ``v = max(var, eps)`` (Nix and Weigend, 1994).

    Parameters
    ----------
    input : Tensor, any shape
        Means.
    target : Tensor or array, the same shape
    var : Tensor or array, or a number
        Variances, of the shape of `input`, or without its last axis, or with 1 for it.
    full : bool
        Whether to add the constant ``log(2 pi) / 2``.
    eps : float
        Least variance; where it is taken, the gradient of `var` is that at `eps`, as in PyTorch.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor
        A scalar, or with "none" of the shape of `input`.

    Raises
    ------
    ArgumentError
        If a variance is negative; in a recording, whose values are not known, it is taken as `eps`.
    """
    where = "gaussian_nll_loss"
    if not eps > 0:
        raise ArgumentError(f"{where}: eps must be positive, got {eps}")
    x, t, _ = operands(input, target, None, where, reduction)
    shape, given = x.shape, shape_of(var)
    x, t, v = lift(x, t, var)
    if given not in ((), shape):
        if given == shape[:-1]:
            v = functions.expand_dims(v, -1)
        elif given != (*shape[:-1], 1):
            raise ShapeError(f"{where}: input has shape {list(shape)} and var {list(given)}; expected {list(shape)}, "
                             f"{list(shape[:-1])} or {[*shape[:-1], 1]}")
    if not v.is_symbolic and (v.detach().numpy() < 0).any():
        raise ArgumentError(f"{where}: var has negative entries")
    still = v.detach()
    v = v + (functions.maximum(still, eps) - still)
    losses = (functions.log(v) + functions.squared_error(x, t) / v) * 0.5
    if full:
        losses = losses + 0.5 * math.log(2.0 * math.pi)
    return reduced(losses, reduction)


def poisson_nll_loss(input: Array, target: Array, log_input: bool = True, full: bool = False, eps: float = 1e-8,
                     reduction: str = "mean") -> Tensor:
    """``exp(input) - target * input``, or with ``log_input=False`` ``input - target * log(input + eps)``.

    Parameters
    ----------
    input : Tensor, any shape
        Logarithms of the rates, or with ``log_input=False`` the rates.
    target : Tensor or array, the same shape
        Counts.
    log_input : bool
    full : bool
        Whether to add Stirling's approximation of ``log(target!)`` where the target exceeds 1.
    eps : float
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor
        A scalar, or with "none" of the shape of `input`.
    """
    x, t, _ = operands(input, target, None, "poisson_nll_loss", reduction)
    losses = functions.exp(x) - t * x if log_input else x - t * functions.log(x + eps)
    if full:
        many = t > 1.0
        n = functions.where(many, t, 1.0)
        stirling = n * functions.log(n) - n + 0.5 * functions.log(n * (2.0 * math.pi))
        losses = losses + functions.where(many, stirling, 0.0)
    return reduced(losses, reduction)


def soft_margin_loss(input: Array, target: Array, *, reduction: str = "mean") -> Tensor:
    """``log(1 + exp(-target * input))``; targets are 1 or -1.

    Parameters
    ----------
    input : Tensor, any shape
    target : Tensor or array, the same shape
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor
        A scalar, or with "none" of the shape of `input`. Unlike PyTorch's it does not overflow.
    """
    x, t, _ = operands(input, target, None, "soft_margin_loss", reduction)
    return reduced(-functions.log_sigmoid(t * x), reduction)


def multilabel_soft_margin_loss(input: Array, target: Array, weight: Array | None = None, *,
                                reduction: str = "mean") -> Tensor:
    """The mean over the classes of binary cross-entropies of scores.

    Parameters
    ----------
    input : Tensor, shape (N, C) or (C,)
        Scores.
    target : Tensor or array, the same shape
        1 for classes that apply, else 0.
    weight : array, shape (C,), optional
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor
        A scalar, or with "none" one loss a row.
    """
    x, t, _ = operands(input, target, None, "multilabel_soft_margin_loss", reduction)
    if not x.ndim:
        raise ShapeError("multilabel_soft_margin_loss: input must have a class axis: (N, C) or (C,); it is a scalar")
    losses = -(t * functions.log_sigmoid(x) + (1.0 - t) * functions.log_sigmoid(-x))
    return reduced(functions.mean(losses if weight is None else losses * weight, axis=-1), reduction)


def _scores(input: Array, where: str) -> tuple[Tensor, tuple[int, ...]]:
    """Scores as (N, C), and the shape of the losses."""
    x = lift(input)[0]
    if x.ndim not in (1, 2) or x.shape[-1] == 0:
        raise ShapeError(f"{where}: an input of shape {list(x.shape)}; expected (N, C) or (C,)")
    return functions.reshape(x, (-1, x.shape[-1])), x.shape[:-1]


def multi_margin_loss(input: Array, target: Array, p: int = 1, margin: float = 1.0, weight: Array | None = None, *,
                      reduction: str = "mean") -> Tensor:
    """``sum max(0, margin - input[y] + input[j])^p / C`` over the classes ``j != y`` (Crammer and Singer, 2001).

    Parameters
    ----------
    input : Tensor, shape (N, C) or (C,)
        Scores.
    target : integer array, shape (N,) or ()
        The class `y` of each row.
    p : {1, 2}
    margin : float
    weight : array, shape (C,), optional
        One factor a class, for the rows of that class.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor
        A scalar, or with "none" one loss a row.
    """
    where = "multi_margin_loss"
    require_reduction(reduction, where)
    if p not in (1, 2):
        raise ArgumentError(f"{where}: p must be 1 or 2, got {p}")
    x, rows = _scores(input, where)
    if shape_of(target) != rows:
        raise ShapeError(f"{where}: input has shape {list(shape_of(input))} and target {list(shape_of(target))}; "
                         f"expected {list(rows)}")
    classes = functions.reshape(target, (-1,)) if isinstance(target, Tensor) else np.asarray(target).reshape(-1)
    own = functions.expand_dims(-nll_loss(x, classes, ignore_index=-1 << 31, reduction="none"), -1)
    over = functions.relu(x - own + margin)
    # the class itself is in the sum too, with a constant
    losses = functions.sum(over if p == 1 else functions.square(over), axis=-1) - max(0.0, margin) ** p
    if weight is not None:
        one = x.detach() * 0.0 + 1.0
        losses = losses * -nll_loss(one, classes, weight, ignore_index=-1 << 31, reduction="none")
    return reduced(functions.reshape(losses / x.shape[-1], rows), reduction)


def multilabel_margin_loss(input: Array, target: ArrayLike, *, reduction: str = "mean") -> Tensor:
    """``sum max(0, 1 - input[y] + input[j]) / C`` over the classes `y` that apply and those `j` that do not.

    Parameters
    ----------
    input : Tensor, shape (N, C) or (C,)
        Scores.
    target : integer array, the same shape
        In each row the classes that apply, then -1; what follows the first -1 is ignored.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor
        A scalar, or with "none" one loss a row.

    Raises
    ------
    DtypeError
        If the target is no array of integers whose values are known: in a recorded step it must be one that the loss
        closes over, not an argument.
    """
    where = "multilabel_margin_loss"
    require_reduction(reduction, where)
    x, rows = _scores(input, where)
    if isinstance(target, Tensor) and target.is_symbolic:
        raise DtypeError(f"{where}: the target is an argument of the recording, and its values are not known; use "
                         "multilabel_soft_margin_loss, or call it outside")
    labels = target.numpy() if isinstance(target, Tensor) else np.asarray(target)
    if labels.dtype.kind not in "iu":
        raise DtypeError(f"{where}: target must be integers, got {labels.dtype}")
    if labels.shape != shape_of(input):
        raise ShapeError(f"{where}: input has shape {list(shape_of(input))} and target {list(labels.shape)}; "
                         "make them equal")
    n, classes = x.shape
    labels = labels.reshape(n, classes)
    valid = np.cumprod(labels >= 0, axis=1).astype(bool)
    if (labels[valid] >= classes).any():
        raise ArgumentError(f"{where}: label {int(labels[valid].max())} is out of range for {classes} classes")
    row, place = np.nonzero(valid)
    applies = np.zeros((n, classes), bool)
    applies[row, labels[valid]] = True
    # one line for each label: its row's scores against its own
    own = functions.expand_dims(x[row, labels[row, place]], -1)
    over = functions.relu(x[row] - own + 1.0) * (~applies[row]).astype(x.dtype)
    sums = functions.sum(over, axis=-1)
    losses = Tensor(np.zeros(n, x.dtype)).at[row].add(sums) / classes
    return reduced(functions.reshape(losses, rows), reduction)

