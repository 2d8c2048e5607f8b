"""Schedules by a function of the epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..optimizer import Optimizer
from .scheduler import LRScheduler, check_optimizer, each_group

__all__ = ["LambdaLR", "MultiplicativeLR"]


class LambdaLR(LRScheduler):
    """``base_lr * lr_lambda(epoch)``.

    Parameters
    ----------
    optimizer : Optimizer
    lr_lambda : callable or sequence of callable
        From epoch to factor, one for all groups or one each. Recorded training calls it for epochs ahead.
    last_epoch, interval
        See `LRScheduler`.
    """

    _not_state = ("optimizer", "interval", "lr_lambdas")

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
                 last_epoch: int = -1, *, interval: str | None = None) -> None:
        check_optimizer(optimizer)
        self.lr_lambdas = each_group(optimizer, "lr_lambda", lr_lambda)
        super().__init__(optimizer, last_epoch, interval)

    def _rule(self, epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        rates = [[base * f(e) for base, f in zip(self.base_lrs, self.lr_lambdas, strict=True)] for e in epochs.tolist()]
        return np.zeros(len(epochs)), np.array(rates, np.float64).reshape(len(epochs), len(self.base_lrs))


class MultiplicativeLR(LRScheduler):
    """Multiply the rate by ``lr_lambda(epoch)`` every epoch.

    Parameters
    ----------
    optimizer : Optimizer
    lr_lambda : callable or sequence of callable
        From epoch to factor, one for all groups or one each. Recorded training calls it for epochs ahead.
    last_epoch, interval
        See `LRScheduler`.
    """

    holds_on_resume = True
    _not_state = ("optimizer", "interval", "lr_lambdas")

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
                 last_epoch: int = -1, *, interval: str | None = None) -> None:
        check_optimizer(optimizer)
        self.lr_lambdas = each_group(optimizer, "lr_lambda", lr_lambda)
        super().__init__(optimizer, last_epoch, interval)

    def _rule(self, epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        factors = [[float(f(e)) if e > 0 else 1.0 for f in self.lr_lambdas] for e in epochs.tolist()]
        return np.array(factors, np.float64).reshape(len(epochs), len(self.lr_lambdas)), None

    def _start(self) -> tuple[np.ndarray, np.ndarray]:
        # PyTorch multiplies the rate that the schedule before has left
        return np.array([float(f(0)) for f in self.lr_lambdas]), np.zeros(len(self.lr_lambdas))
