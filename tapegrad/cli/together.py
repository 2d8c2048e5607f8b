"""Several trainings that differ in rate and weight decay alone, as one recorded step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import History, TrainStep, compile
from .committee import Committee
from .rows import members_losses
from .settings import OPTIMIZERS
from .training import Run

__all__ = ["TOGETHER", "can_be_together", "train_together"]

#: the settings in which runs that are trained together may differ
TOGETHER = ("lr", "weight_decay")


def can_be_together(run: Run) -> bool:
    """Whether training it beside others gives what training it alone gives, to rounding."""
    # masks of dropout are drawn for all networks at once
    return run.committee is not None and run.settings.dropout == 0.0


def train_together(runs: Sequence[Run]) -> list[bool]:
    """Train runs over the same rows, all of one shape and seed, each until its own patience is at its end.

    Parameters
    ----------
    runs : sequence of Run
        That `can_be_together`.

    Returns
    -------
    list of bool
        Whether the losses of each stayed finite; what did not is to be trained alone, to know when it happened.
    """
    first = runs[0]
    settings, rows, count = first.settings, first.rows, len(runs)
    committees = [run.committee for run in runs if run.committee is not None]
    optimizer = OPTIMIZERS[settings.optimizer](
        [{"params": list(run.trained.parameters()), "lr": run.settings.lr, "weight_decay": run.settings.weight_decay}
         for run in runs],
        lr=settings.lr,
    )  # fmt: skip
    X, y, *weighted = first.given
    w = weighted[0] if weighted else np.ones(len(X), settings.dtype)
    weights = np.tile(w.reshape(len(X), -1), (1, count))

    def loss(x: Any, y: Any, w: Any) -> Any:
        return members_losses(Committee.outputs(committees, x, each=False), y, w).sum()

    validate = compile(lambda x: Committee.outputs(committees, x, each=True))
    validation = np.tile(rows.validation_inputs, (count, 1, 1))
    going, finite = set(range(count)), [True] * count

    def after_epoch(epoch: int, history: History) -> bool:
        found = None if first.best is None else validate(validation).astype(np.float64)
        for k in list(going):
            run = runs[k]
            run.epochs_done = epoch + 1
            if found is not None and run.best is not None:
                losses = rows.losses(found[k * settings.members : (k + 1) * settings.members])
                finite[k] = bool(np.isfinite(losses).all())
                ended = run.best.observe(losses)
            else:
                finite[k] = all(bool(np.isfinite(p.numpy()).all()) for p in run.trained.parameters())
                ended = False
            if ended or not finite[k]:
                going.discard(k)
        return not going

    for run in runs:
        run.trained.train()
    TrainStep(loss, optimizer).run(X, y, weights, batch_size=first.batch_size, epochs=settings.epochs, shuffle=True,
                                   seed=settings.seed, callback=after_epoch)  # fmt: skip
    for run in runs:
        run.finish()
    return finite
