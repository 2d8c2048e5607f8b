"""The schedule that is driven by a metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...errors import ArgumentError
from ...tensor.tensor import Tensor
from ..optimizer import Optimizer
from .scheduler import LRScheduler, check_optimizer, each_group

__all__ = ["ReduceLROnPlateau"]


class ReduceLROnPlateau(LRScheduler):
    """Multiply the rate by `factor` when a metric has not improved for more than `patience` epochs.

    Parameters
    ----------
    optimizer : Optimizer
    mode : {"min", "max"}
        Whether a lower or a higher metric is better.
    factor : float, default 0.1
        Below 1.
    patience : int, default 10
    threshold : float, default 1e-4
        Improvements must exceed it, relative to the best (``"rel"``) or absolute (``"abs"``).
    threshold_mode : {"rel", "abs"}
    cooldown : int, default 0
        Epochs after a reduction during which bad epochs are not counted.
    min_lr : float or sequence of float, default 0
    eps : float, default 1e-8
        Smaller reductions are ignored.
    interval : {"epoch"}, optional
        Step after each epoch of a `TrainStep.run` with the mean loss of the epoch. By default the caller calls `step`,
        in a run of several epochs in its callback; one that does not is warned.
    """

    stepped_in_runs = "callback"  # for its metric is the caller's

    def __init__(self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1, patience: int = 10,
                 threshold: float = 1e-4, threshold_mode: str = "rel", cooldown: int = 0,
                 min_lr: float | Sequence[float] = 0.0, eps: float = 1e-8, *, interval: str | None = None) -> None:
        check_optimizer(optimizer)
        if factor >= 1.0:
            raise ArgumentError(f"factor must be below 1, got {factor}")
        if mode not in ("min", "max"):
            raise ArgumentError(f'mode must be "min" or "max", got {mode!r}')
        if threshold_mode not in ("rel", "abs"):
            raise ArgumentError(f'threshold_mode must be "rel" or "abs", got {threshold_mode!r}')
        if interval not in (None, "epoch"):
            raise ArgumentError(f'interval must be "epoch" or None, for the metric is an epoch\'s; got {interval!r}')
        self.optimizer, self.interval = optimizer, interval
        self.mode, self.factor, self.patience = mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown, self.eps = threshold, threshold_mode, cooldown, eps
        each_group(optimizer, "min_lr", min_lr)
        self.min_lrs = min_lr
        self.last_epoch = 0
        self.best = math.inf if mode == "min" else -math.inf
        self.cooldown_counter = self.num_bad_epochs = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]
        optimizer._register(self)

    def step(self, metrics: Any) -> None:  # type: ignore[override]
        """Count one more epoch with its metric."""
        current = float(metrics.item() if isinstance(metrics, Tensor) else metrics)
        self.last_epoch += 1
        if self._better(current):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            lowest = each_group(self.optimizer, "min_lr", self.min_lrs)  # a group may have been added
            for group, least in zip(self.optimizer.param_groups, lowest, strict=True):
                reduced = max(group["lr"] * self.factor, least)
                if group["lr"] - reduced > self.eps:
                    group["lr"] = reduced
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def advance(self, metric: float | None = None) -> None:
        """`step` with the metric.

        Raises
        ------
        ArgumentError
            If there is none.
        """
        if metric is None:
            raise ArgumentError("ReduceLROnPlateau needs a metric: advance(interval, metric)")
        self.step(metric)

    def _better(self, metric: float) -> bool:
        if self.mode == "min":
            bound = self.best * (1.0 - self.threshold) if self.threshold_mode == "rel" else self.best - self.threshold
            return metric < bound
        bound = self.best * (1.0 + self.threshold) if self.threshold_mode == "rel" else self.best + self.threshold
        return metric > bound
