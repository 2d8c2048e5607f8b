"""The rows that train each of several networks, those that decide when it stops, and the losses on them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import tensor, vmap
from ..data import split_rows
from ..nn import functional as F
from .problem import Problem
from .settings import Settings

__all__ = ["Rows", "balanced_weights", "members_losses", "row_losses"]


class Rows:
    """A problem's training rows, split for each network.

    Parameters
    ----------
    problem : Problem
    settings : Settings
    masked : bool
        All rows train together, each weighted for each network: 0 where it validates it. Else there is one network,
        and its validation rows are left out.
    shared : bool
        All networks are validated by the same rows.

    Attributes
    ----------
    weights : ndarray of float64, shape (rows,), or None
        Of the problem's training rows in the loss, if they differ.
    given : list of ndarray
        The arrays of training: inputs, targets, and weights, (rows, members) or (rows,), if there are any.
    validation : list of ndarray of int64
        The rows that validate each network.
    """

    def __init__(self, problem: Problem, settings: Settings, masked: bool, shared: bool = False) -> None:
        rows, dtype = len(problem.inputs), np.dtype(settings.dtype)
        classes = problem.targets if problem.target.task == "classification" else None
        self.weights = None
        if settings.class_weight is not None and classes is not None:
            self.weights = balanced_weights(classes, problem.target.outputs)
        if settings.val_fraction == 0.0:
            splits = [(np.arange(rows), np.empty(0, np.int64))] * settings.members
        else:
            # another seed than that of the held-out rows, so that the two are drawn apart
            splits = [split_rows(rows, settings.val_fraction, settings.seed + (1 + m) * 1_000_003, classes)
                      for m in ([0] * settings.members if shared else range(settings.members))]
        self.validation = [held for _, held in splits]
        if masked:
            of_member = np.zeros((rows, settings.members))
            for m, (chosen, _) in enumerate(splits):
                of_member[chosen, m] = 1.0 if self.weights is None else self.weights[chosen]
            given = [problem.inputs, problem.targets, of_member / of_member.mean(axis=0)]
        else:
            # without validation rows all of them, and no copy
            taught: Any = splits[0][0] if self.validated else slice(None)
            inputs = problem.taken(splits[0][0]) if self.validated else problem.inputs
            given = [inputs, problem.targets[taught]]
            if self.weights is not None:
                given.append(self.weights[taught])
        self.given = [a.astype(dtype, copy=False) if a.dtype.kind == "f" else a for a in given]
        self.validation_inputs = np.stack([problem.inputs[held] for held in self.validation]).astype(dtype, copy=False)
        self._targets = [problem.targets[held] for held in self.validation]
        even = np.ones(rows) if self.weights is None else self.weights
        self._shares = [even[held] / max(even[held].sum(), 1e-300) for held in self.validation]

    @property
    def validated(self) -> int:
        """How many rows validate each network."""
        return len(self.validation[0])

    def losses(self, outputs: Iterable[np.ndarray]) -> np.ndarray:
        """The mean loss of each network on its validation rows, weighted as in training.

        Parameters
        ----------
        outputs : iterable of ndarray of float64, shape (validated, outputs)
            Of each network for its rows.

        Returns
        -------
        ndarray of float64, shape (members,)
        """
        parts = zip(outputs, self._targets, self._shares, strict=True)
        return np.array([float((row_losses(tensor(out), y) * share).sum()) for out, y, share in parts])

    def losses_of_mean(self, outputs: np.ndarray) -> np.ndarray:
        """The loss of the mean of all networks on each validation row that they share, weighted as in training.

        Parameters
        ----------
        outputs : ndarray of float64, shape (members, validated, outputs)

        Returns
        -------
        ndarray of float64, shape (validated,)
        """
        losses = row_losses(tensor(outputs.mean(axis=0)), self._targets[0])
        return np.asarray(losses.numpy(), np.float64) * self._shares[0] * self.validated


def row_losses(outputs: Any, y: Any) -> Any:
    """The loss of each row: cross entropy for classes, squared error for values of shape (rows, 1)."""
    if y.ndim == 1:
        return F.cross_entropy(outputs, y, reduction="none")
    return ((outputs - y) ** 2)[:, 0]


def members_losses(outputs: Any, y: Any, weights: Any) -> Any:
    """The mean loss of each of several networks: from outputs (members, rows, k) and weights (rows, members)."""
    return vmap(lambda out, y, w: (row_losses(out, y) * w).mean(), in_axes=(0, None, 1))(outputs, y, weights)


def balanced_weights(classes: np.ndarray, count: int) -> np.ndarray:
    """Weights of rows by which each class weighs the same, with mean 1: ``rows / (classes present * rows of class)``.

    Parameters
    ----------
    classes : ndarray of int64, shape (rows,)
    count : int
        How many classes there are.

    Returns
    -------
    ndarray of float64, shape (rows,)
    """
    rows_of = np.bincount(classes, minlength=count)
    return len(classes) / (np.count_nonzero(rows_of) * rows_of[classes])
