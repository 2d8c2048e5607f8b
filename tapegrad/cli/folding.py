"""Cross-validation: the same settings on several splits of the rows."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.progress import track

from ..errors import DataError
from .evaluation.comparison import Comparison, compare
from .problem import Problem
from .settings import Settings
from .training import Run

__all__ = ["cross_validate"]


def cross_validate(
    problem: Problem, choose: Callable[[Problem], Settings], folds: int, seed: int, progress: bool = False
) -> list[Comparison]:
    """Choose settings, train and compare on each of several splits, in which each row is held out once.

    Parameters
    ----------
    problem : Problem
        All of its rows are used, the held-out ones too.
    choose : callable
        Gives the settings for a fold, from its training rows.
    folds : int
    seed : int
        Of the split.
    progress : bool
        Show a progress bar.

    Raises
    ------
    DataError
        Fewer rows than folds, or the loss of one is not finite.
    """
    found: list[Comparison] = []
    splits = track(problem.folds(folds, seed), "folds", folds, console=Console(stderr=True), disable=not progress)
    for fold in splits:
        settings = choose(fold)
        run = Run(fold, settings)
        run.train()
        if run.interrupted:
            raise KeyboardInterrupt
        if run.diverged:
            raise DataError(
                f"fold {len(found) + 1} of {folds}: the loss is {run.losses[-1]}; try a learning rate below"
                f" {settings.lr:g} (--lr)"
            )
        found.append(compare(fold, run.module, settings.dtype, run.weights, settings.seed))
    return found
