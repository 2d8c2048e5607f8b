"""Which columns a network relies on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ... import nn
from ..network import outputs
from ..problem import Problem
from .scores import scores

__all__ = ["Importance", "importance"]

_MOST_ROWS = 5000


@dataclass(frozen=True)
class Importance:
    """What shuffling each column costs, the costliest first.

    Attributes
    ----------
    rows : int
        On how many it was measured.
    score : str
        ``log_loss``, which rises, or ``r2``, which falls.
    columns : list of str
    mean, deviation : ndarray of float64, shape (columns,)
        Of the loss over the repeats.
    """

    rows: int
    score: str
    columns: list[str]
    mean: np.ndarray
    deviation: np.ndarray


def importance(problem: Problem, module: nn.Module, dtype: str, repeats: int = 5, seed: int = 0) -> Importance:
    """Permutation importance of a table's columns, on the held-out rows if there are any.

    A column's values are shuffled among the rows, all matrix columns of a category or date together. Of columns that
    say the same, each may look unimportant (L. Breiman, Random forests, Machine Learning 45, 2001).

    Parameters
    ----------
    problem : Problem
    module : Module
        Trained.
    dtype : str
        Of the module.
    repeats : int
    seed : int
        Of the orders, and of the sample that stands for more than 5,000 rows.
    """
    held = len(problem.held_inputs) > 0
    X, y = (problem.held_inputs, problem.held_targets) if held else (problem.inputs, problem.targets)
    rng = np.random.default_rng(seed)
    if len(X) > _MOST_ROWS:
        rows = rng.choice(len(X), _MOST_ROWS, replace=False)
        X, y = X[rows], y[rows]
    X = X.astype(dtype)
    name, sign = ("log_loss", 1.0) if problem.target.task == "classification" else ("r2", -1.0)

    def score(inputs: np.ndarray) -> float:
        return scores(problem.target, y, outputs(module, inputs))[name]

    base = score(X)
    lost = np.empty((len(problem.features.spans), repeats))
    for k, span in enumerate(problem.features.spans.values()):
        kept = X[:, span].copy()
        for repeat in range(repeats):
            X[:, span] = kept[rng.permutation(len(X))]
            lost[k, repeat] = sign * (score(X) - base)
        X[:, span] = kept
    order = np.argsort(-lost.mean(axis=1), kind="stable")
    columns = list(problem.features.spans)
    return Importance(len(X), name, [columns[k] for k in order], lost.mean(axis=1)[order], lost.std(axis=1)[order])
