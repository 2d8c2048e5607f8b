"""Connectionist temporal classification."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError, DtypeError, ShapeError
from ..ops.ctc import CTC, CTC_BOUNDS, CTC_CLASSES
from ..ops.loss import REDUCTIONS
from ..tape.state import state
from ..tensor.arrays import INT64
from ..tensor.recording import as_tensor, lift, recorder
from ..tensor.tensor import Tensor
from .layout import expand_dims, reshape

__all__ = ["ctc_loss"]


def ctc_loss(log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int = 0,
             reduction: str = "mean", zero_infinity: bool = False) -> Tensor:
    """Minus the log-probability of label sequences, summed over all alignments with the steps (Graves et al. 2006).

    Parameters
    ----------
    log_probs : array_like, (T, N, C) or (T, C)
        Log-probabilities of the classes at each step, from `log_softmax`.
    targets : integer array_like, (N, S), (sum of the target lengths,), or for (T, C) (S,)
        Labels without the blank, padded (the padding is not read) or concatenated.
    input_lengths : integer array_like, (N,)
        Steps of each sample, at most T.
    target_lengths : integer array_like, (N,)
        Labels of each sample.
    blank : int
        The class of no label.
    reduction : {"mean", "sum", "none"}
        The mean is that of each sample's loss divided by its number of labels (at least 1).
    zero_infinity : bool
        Give 0, with gradients of 0, for the infinite loss of labels that do not fit the steps; else these are NaN.

    Returns
    -------
    Tensor
        A scalar, or with "none" of shape (N,), or without N.

    Notes
    -----
    The gradient is PyTorch's: ``exp(log_probs)`` minus the posterior probabilities of the classes. That is the gradient
    with respect to the scores before `log_softmax`, through which it passes unchanged; with respect to any other
    `log_probs`, ``exp(log_probs)`` is in excess.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> import tapegrad.nn.functional as F
    >>> uniform = tg.tensor(np.log(np.full((2, 1, 3), 1 / 3)))  # of the 9 paths aa, a-, -a give the label a
    >>> round(F.ctc_loss(uniform, [[1]], [2], [1]).item(), 4)  # log 3
    1.0986
    """
    x = lift(log_probs)[0]
    if reduction not in REDUCTIONS:
        raise ArgumentError(f"ctc_loss: reduction must be 'none', 'mean' or 'sum', not {reduction!r}")
    labels = _integers("targets", targets)
    single = x.ndim == 2
    if single:
        x, labels = expand_dims(x, 1), expand_dims(labels, 0) if labels.ndim == 1 else labels
    if x.ndim != 3 or 0 in x.shape or labels.ndim not in (1, 2) or (labels.ndim == 2 and len(labels) != x.shape[1]):
        raise ShapeError(f"ctc_loss: log_probs {list(np.shape(log_probs))} and targets {list(np.shape(targets))}: "
                         "expected (steps, samples, classes), none of them 0, and (samples, labels) or (all labels,)")
    steps, samples, classes = x.shape
    if not 0 <= blank < classes:
        raise ArgumentError(f"ctc_loss: blank {blank} lies outside the {classes} classes")
    lengths = []
    for name, given in (("input_lengths", input_lengths), ("target_lengths", target_lengths)):
        t = _integers(name, given)
        t = reshape(t, 1) if t.ndim == 0 and single else t
        if t.shape != (samples,):
            raise ShapeError(f"ctc_loss: {name} of shape {list(t.shape)} do not fit log_probs of "
                             f"{list(np.shape(log_probs))}; expected [{samples}]")
        lengths.append(t)
    padded = labels.ndim == 2
    _check_lengths(lengths, steps, labels)
    width, size, kept = 2 * labels.shape[-1] + 3, x.dtype.itemsize, state.wants(x)
    alphas = steps * (2 * labels.size + 3 * samples) if kept else 2 * width
    loss = recorder(CTC)(
        (samples,) if reduction == "none" else (), dtype=x.dtype, x=x, targets=labels, input_lengths=lengths[0],
        target_lengths=lengths[1], alphas=(alphas * size, size), losses=(samples * size, size),
        scratch=(4 * width * size, size), steps=steps, samples=samples, classes=classes,
        padded=labels.shape[1] if padded else -1, labels=labels.size, blank=int(blank),
        reduction=REDUCTIONS[reduction], zero_infinity=zero_infinity, width=width, keeps=kept)
    return reshape(loss, ()) if single else loss


def _integers(name: str, values: Any) -> Tensor:
    t = as_tensor(values)
    if t.size == 0 and not t.is_symbolic:
        t = Tensor(np.zeros(t.shape, np.int64))
    if t.dtype != INT64:
        raise DtypeError(f"ctc_loss: {name} must be integers, not {t.dtype}")
    return t


def _check_lengths(lengths: list[Tensor], steps: int, labels: Tensor) -> None:
    """Raise if known values do not fit; the kernel checks those of a recording."""
    most = labels.shape[1] if labels.ndim == 2 else labels.size
    for t, limit, what in ((lengths[0], steps, "input length"), (lengths[1], most, "target length")):
        values = [] if t.is_symbolic else t._array().tolist()
        for n in values:
            if not 0 <= n <= limit:
                raise ArgumentError(f"ctc_loss: {what} {n} lies outside 0 to {limit}")
    if labels.ndim == 1 and not lengths[1].is_symbolic and sum(values) != labels.size:
        raise ArgumentError(f"ctc_loss: the target lengths add up to {sum(values)}, but there are {labels.size} "
                            "targets")


def lattice(step: Any) -> tuple[Tensor, Tensor]:
    """The classes of the states of alignments, (N, states), and where alignments may go; see `CTC_BOUNDS`."""
    most, samples = step.padded if step.padded >= 0 else step.labels, step.samples
    states = 2 * max(most, 1) + 1
    words: dict[str, Any] = {name: getattr(step, name) for name in (
        "targets", "input_lengths", "target_lengths", "steps", "samples", "padded", "labels", "blank")}
    dtype = step.x.dtype
    classes = recorder(CTC_CLASSES)((samples, states), dtype=dtype, out_dtype=INT64, **words, states=states)
    return classes, recorder(CTC_BOUNDS)((samples, 2 * states + 1 + step.steps), dtype=dtype, **words, states=states)
