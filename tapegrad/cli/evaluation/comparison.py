"""A network's scores beside those of a linear model and of no model at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ... import nn
from ...data import Target
from ..network import outputs
from ..problem import Problem
from .scores import scores
from .simple import baseline, linear_model, sampled

__all__ = ["WORDS", "Comparison", "baseline_name", "best_of", "compare", "fitted", "shown", "spread",
           "with_spread"]

#: the scores in words, in the order in which they are shown
WORDS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "log_loss": "log loss",
    "roc_auc": "ROC AUC",
    "r2": "R²",
    "rmse": "error (root mean square)",
    "mae": "error (mean absolute)",
}
#: of which less is better
_ERRORS = ("log_loss", "rmse", "mae")


@dataclass(frozen=True)
class Comparison:
    """Scores on the same rows.

    Attributes
    ----------
    models : dict of str to dict of str to float
        Of ``network``, ``linear`` and ``baseline``.
    linear_rows : int
        To which the linear model is fitted.
    actual, outputs : ndarray
        The rows' targets, and the network's outputs for them.
    """

    models: dict[str, dict[str, float]]
    linear_rows: int
    actual: np.ndarray
    outputs: np.ndarray


def baseline_name(target: Target) -> str:
    """What the baseline always predicts."""
    return "most frequent" if target.task == "classification" else "mean"


def fitted(problem: Problem, weights: np.ndarray | None = None, seed: int = 0) -> tuple[
        Callable[[np.ndarray], np.ndarray], int]:
    """The linear model of a problem's training rows, and to how many of them it is fitted; see `compare`."""
    rows = sampled(problem.inputs, seed)
    weights = None if weights is None else weights[rows]
    inputs = problem.inputs[rows]
    return linear_model(problem.target, inputs, problem.targets[rows], weights), len(inputs)


def compare(problem: Problem, module: nn.Module, dtype: str, weights: np.ndarray | None = None,
            seed: int = 0) -> Comparison:
    """Scores of a trained network, a linear model and a baseline, on the held-out rows if there are any.

    Parameters
    ----------
    problem : Problem
    module : Module
        Trained on the problem's training rows, as the others are here.
    dtype : str
        Of the module.
    weights : ndarray of float64, shape (rows,), optional
        Of the training rows, for the linear model.
    seed : int
        Of the sample for the linear model, where rows are very many.
    """
    target = problem.target
    held = len(problem.held_inputs) > 0
    X, actual = (problem.held_inputs, problem.held_targets) if held else (problem.inputs, problem.targets)
    found = outputs(module, X.astype(dtype, copy=False))
    linear, rows = fitted(problem, weights, seed)
    models = {
        "network": scores(target, actual, found),
        "linear": scores(target, actual, linear(X)),
        "baseline": scores(target, actual, baseline(target, problem.targets, len(X))),
    }
    return Comparison(models, rows, actual, found)


def spread(folds: Sequence[Comparison]) -> dict[str, dict[str, tuple[float, float]]]:
    """Mean and standard deviation (of a sample) of each model's scores over folds."""
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for model, of_first in folds[0].models.items():
        found[model] = {}
        for name in of_first:
            values = np.array([fold.models[model][name] for fold in folds])
            found[model][name] = (float(values.mean()), float(values.std(ddof=1)))
    return found


def shown(name: str, value: float) -> str:
    """A score for people: a dash for what the rows do not define."""
    if value != value:
        return "-"
    return f"{value:.5g}" if name in ("rmse", "mae") else f"{value:.4f}"


def with_spread(name: str, mean: float, deviation: float) -> str:
    """A score of several folds for people."""
    if mean != mean:
        return "-"
    return f"{shown(name, mean)} ± {deviation:.2g}" if name in ("rmse", "mae") else f"{mean:.4f} ± {deviation:.4f}"


def best_of(name: str, models: Mapping[str, Mapping[str, float]]) -> str:
    """The model with the best score."""
    known = {model: values[name] for model, values in models.items() if values[name] == values[name]}
    return (min if name in _ERRORS else max)(known, key=lambda model: known[model]) if known else ""
