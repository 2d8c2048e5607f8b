"""Scores of predictions: what is right, by how much, and how far the probabilities can be believed.

Names and definitions are scikit-learn's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax
from scipy.stats import rankdata

from ...data import Target

__all__ = ["Calibration", "calibration", "confusion", "probabilities", "roc_auc", "scores"]


def scores(target: Target, actual: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
    """Scores of a model's outputs.

    Parameters
    ----------
    target : Target
    actual : ndarray
        int64 classes, shape (rows,); or scaled values, shape (rows, 1).
    outputs : ndarray of float64, shape (rows, outputs)
        Logits, of which the softmax gives probabilities; or scaled values.

    Returns
    -------
    dict of str to float
        Of a classification ``accuracy``, ``balanced_accuracy`` (the mean over the classes of the share found),
        ``log_loss`` (nats) and ``roc_auc`` (of several classes the mean of each against the rest). Of a regression
        ``rmse`` and ``mae`` in the target's unit, and ``r2``. NaN is what the rows do not define.
    """
    if target.task == "classification":
        return _of_classes(actual, outputs)
    return _of_values(target.decoded(actual), target.decoded(outputs))


def _of_classes(actual: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    chosen = logits.argmax(axis=1)
    counts = confusion(actual, chosen, logits.shape[1])
    rows_of = counts.sum(axis=1)
    present = rows_of > 0
    found = np.diag(counts)[present] / rows_of[present]
    with np.errstate(divide="ignore"):
        log_loss = -log_softmax(logits, axis=1)[np.arange(len(actual)), actual].mean()
    return {
        "accuracy": float(np.mean(chosen == actual)),
        "balanced_accuracy": float(found.mean()),
        "log_loss": float(log_loss),
        "roc_auc": roc_auc(actual, probabilities(logits)),
    }


def _of_values(actual: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    error = predicted - actual
    variance, square = float(np.var(actual)), float(np.mean(error**2))
    return {
        "rmse": math.sqrt(square),
        "r2": 1.0 - square / variance if variance > 0.0 else math.nan,
        "mae": float(np.mean(np.abs(error))),
    }


def probabilities(logits: np.ndarray) -> np.ndarray:
    """The softmax of each row, shape (rows, classes)."""
    return np.exp(log_softmax(logits, axis=1))


def confusion(actual: np.ndarray, chosen: np.ndarray, classes: int) -> np.ndarray:
    """Rows of each class (first axis) that were taken for each class (second), shape (classes, classes)."""
    return np.bincount(actual * classes + chosen, minlength=classes * classes).reshape(classes, classes)


def roc_auc(actual: np.ndarray, shares: np.ndarray) -> float:
    """The chance that a row of a class is given a higher probability of it than a row of another, ties as a half.

    Parameters
    ----------
    actual : ndarray of int64, shape (rows,)
    shares : ndarray of float64, shape (rows, classes)

    Returns
    -------
    float
        Of two classes that of the second; of more the mean over the classes, each against the rest. NaN where a class
        has no row.
    """
    classes = shares.shape[1]
    areas = []
    for k in range(1 if classes == 2 else 0, classes):
        is_class = actual == k
        inside = int(is_class.sum())
        if inside in (0, len(actual)):
            return math.nan
        # Mann and Whitney's U, from the ranks
        above = rankdata(shares[:, k])[is_class].sum() - inside * (inside + 1) / 2
        areas.append(above / (inside * (len(actual) - inside)))
    return float(np.mean(areas))


@dataclass(frozen=True)
class Calibration:
    """Whether the probability of the chosen class is the share of rows for which it is right.

    Attributes
    ----------
    confidence, accuracy : ndarray of float64, shape (bins,)
        Means over the rows of each bin that has any.
    rows : ndarray of int64, shape (bins,)
    error : float
        The expected calibration error: the mean difference of the two over the rows (M. P. Naeini, G. F. Cooper,
        M. Hauskrecht, Obtaining well calibrated probabilities using Bayesian binning, AAAI 2015).
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    rows: np.ndarray
    error: float


def calibration(actual: np.ndarray, logits: np.ndarray, bins: int = 10) -> Calibration:
    """Compare the probabilities of the chosen classes, in bins of equal width, with how often they are right."""
    shares = probabilities(logits)
    confidence, is_right = shares.max(axis=1), shares.argmax(axis=1) == actual
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    rows = np.bincount(place, minlength=bins)
    used = rows > 0
    means = [np.bincount(place, values, minlength=bins)[used] / rows[used] for values in (confidence, is_right)]
    error = float(np.sum(rows[used] * np.abs(means[0] - means[1])) / len(actual))
    return Calibration(means[0], means[1], rows[used], error)
