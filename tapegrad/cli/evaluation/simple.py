"""Models that a network should beat: one that ignores the columns, and a linear one."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
import scipy.optimize

from ... import compile, value_and_grad
from ...data import Target
from ...nn import functional as F

__all__ = ["baseline", "linear_model", "sampled"]

#: elements of the inputs to which a linear model is fitted; of more rows a sample is taken
_MOST_ELEMENTS = 2_000_000


def baseline(target: Target, targets: np.ndarray, rows: int) -> np.ndarray:
    """Outputs that ignore the columns: the classes' shares (so that the most frequent is chosen), or the mean.

    Parameters
    ----------
    target : Target
    targets : ndarray
        Of the training rows: classes, shape (n,), or scaled values, shape (n, 1).
    rows : int
        How many to predict.

    Returns
    -------
    ndarray of float64, shape (rows, outputs)
        Logits or scaled values.
    """
    if target.task == "classification":
        with np.errstate(divide="ignore"):
            return np.tile(np.log(np.bincount(targets, minlength=target.outputs) / len(targets)), (rows, 1))
    return np.full((rows, 1), targets.mean())


def sampled(inputs: np.ndarray, seed: int) -> np.ndarray | slice:
    """The rows to which a linear model is fitted: all, or a sample of about two million elements."""
    most = max(_MOST_ELEMENTS // inputs.shape[1], 1000)
    if len(inputs) <= most:
        return slice(None)
    return np.sort(np.random.default_rng(seed).choice(len(inputs), most, replace=False))


def linear_model(target: Target, inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> Any:
    """Fit a ridge regression or a logistic regression, with scikit-learn's default penalty.

    Minimises ``sum(loss) + |W|^2 / 2`` for classes (C = 1) and ``sum(error^2) + |W|^2`` for values (alpha = 1) over
    standardised columns; the intercept is free.

    Parameters
    ----------
    target : Target
    inputs : ndarray of float64, shape (rows, width)
    targets : ndarray
        Classes, shape (rows,), or scaled values, shape (rows, 1).
    weights : ndarray of float64, shape (rows,), optional
        Of the rows, in a classification.

    Returns
    -------
    callable
        From inputs, shape (n, width), to logits or scaled values, shape (n, outputs).
    """
    inputs = inputs.astype(np.float64, copy=False)
    if target.task == "classification":
        W, b = _logistic(inputs, targets, target.outputs, weights)
    else:
        W, b = _ridge(inputs, targets)
    return lambda X: X @ W + b


def _ridge(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x_mean, y_mean = X.mean(axis=0), y.mean(axis=0)
    X, y = X - x_mean, y - y_mean
    n, width = X.shape
    if width <= n:
        W = scipy.linalg.solve(X.T @ X + np.eye(width), X.T @ y, assume_a="pos")
    else:  # W = X^T (X X^T + I)^-1 y
        W = X.T @ scipy.linalg.solve(X @ X.T + np.eye(n), y, assume_a="pos")
    return W, y_mean - x_mean @ W


def _logistic(X: np.ndarray, y: np.ndarray, classes: int,
              weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    n, width = X.shape
    columns = 1 if classes == 2 else classes  # of two classes one column, the logit of the second

    def total(W: Any, b: Any) -> Any:
        logits, reduction = F.linear(X, W, b), "sum" if weights is None else "none"
        if columns == 1:
            losses = F.binary_cross_entropy_with_logits(logits[:, 0], y.astype(np.float64), reduction=reduction)
        else:
            losses = F.cross_entropy(logits, y, reduction=reduction)
        return losses if weights is None else (losses * weights).sum()

    gradient = compile(value_and_grad(total, argnums=(0, 1)))

    def penalised(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        W, b = parameters[columns:].reshape(columns, width), parameters[:columns]
        value, (by_W, by_b) = gradient(W, b)
        # of a row, so that the stopping rule has one scale
        return (value + 0.5 * np.sum(W * W)) / n, np.concatenate([by_b, (by_W + W).ravel()]) / n

    found = scipy.optimize.minimize(penalised, np.zeros((width + 1) * columns), jac=True, method="L-BFGS-B",
                                    options={"maxiter": 1000, "gtol": 1e-6, "ftol": 1e-12})
    W, b = found.x[columns:].reshape(columns, width).T, found.x[:columns]
    if columns == 1:
        W, b = np.concatenate([np.zeros_like(W), W], axis=1), np.array([0.0, b[0]])
    return W, b
