"""Schedules that multiply the present rate by a number of the epoch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from ...errors import ArgumentError
from ..optimizer import Optimizer
from .scheduler import LRScheduler

__all__ = ["ConstantLR", "ExponentialLR", "LinearLR", "MultiStepLR", "PolynomialLR", "StepLR"]


class StepLR(LRScheduler):
    """Multiply the rate by `gamma` every `step_size` epochs.

    Parameters
    ----------
    optimizer : Optimizer
    step_size : int
    gamma : float, default 0.1
    last_epoch, interval
        See `LRScheduler`.
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1, *,
                 interval: str | None = None) -> None:
        if step_size < 1:
            raise ArgumentError(f"step_size must be at least 1, got {step_size}")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch, interval)

    def _rule(self, epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        return np.where((epochs % self.step_size == 0) & (epochs > 0), self.gamma, 1.0), None


class MultiStepLR(LRScheduler):
    """Multiply the rate by `gamma` at each of the `milestones`.

    Parameters
    ----------
    optimizer : Optimizer
    milestones : iterable of int
        Epochs; one that occurs twice counts twice.
    gamma : float, default 0.1
    last_epoch, interval
        See `LRScheduler`.
    """

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1, *,
                 interval: str | None = None) -> None:
        self.milestones, self.gamma = Counter(milestones), gamma
        super().__init__(optimizer, last_epoch, interval)

    def _rule(self, epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        milestones = sorted(self.milestones.elements())
        passed = np.searchsorted(milestones, epochs, "right") - np.searchsorted(milestones, epochs, "left")
        return np.float64(self.gamma) ** passed, None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state; milestones that went through JSON become integers again."""
        milestones = {int(epoch): times for epoch, times in state_dict.get("milestones", self.milestones).items()}
        super().load_state_dict({**state_dict, "milestones": Counter(milestones)})


class ConstantLR(LRScheduler):
    """Multiply the rate by `factor` until epoch `total_iters`.

    Parameters
    ----------
    optimizer : Optimizer
    factor : float, default 1/3
        0 to 1.
    total_iters : int, default 5
    last_epoch, interval
        See `LRScheduler`.
    """

    def __init__(self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1, *,
                 interval: str | None = None) -> None:
        if not 0.0 < factor <= 1.0:
            raise ArgumentError(f"factor must be above 0 and at most 1, got {factor}")
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch, interval)

    def _rule(self, epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        back = np.where(epochs == self.total_iters, 1.0 / self.factor, 1.0)
        return np.where(epochs == 0, self.factor, back), None


class LinearLR(LRScheduler):
    """Warm-up: a factor that changes linearly from `start_factor` to `end_factor` in `total_iters` epochs.

    Parameters
    ----------
    optimizer : Optimizer
    start_factor : float, default 1/3
        Above 0, at most 1.
    end_factor : float, default 1.0
        0 to 1.
    total_iters : int, default 5
    last_epoch, interval
        See `LRScheduler`.
    """

    holds_on_resume = True

    def __init__(self, optimizer: Optimizer, start_factor: float = 1.0 / 3, end_factor: float = 1.0,
                 total_iters: int = 5, last_epoch: int = -1, *, interval: str | None = None) -> None:
        if not 0.0 < start_factor <= 1.0:
            raise ArgumentError(f"start_factor must be above 0 and at most 1, got {start_factor}")
        if not 0.0 <= end_factor <= 1.0:
            raise ArgumentError(f"end_factor must be between 0 and 1, got {end_factor}")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch, interval)

    def _rule(self, epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        rise = self.end_factor - self.start_factor
        rising = (epochs >= 1) & (epochs <= self.total_iters)
        before = self.total_iters * self.start_factor + (np.where(rising, epochs, 1) - 1) * rise
        a = np.where(rising, 1.0 + rise / before if self.total_iters else 1.0, 1.0)
        return np.where(epochs == 0, self.start_factor, a), None


class ExponentialLR(LRScheduler):
    """Multiply the rate by `gamma` every epoch.

    Parameters
    ----------
    optimizer : Optimizer
    gamma : float
    last_epoch, interval
        See `LRScheduler`.
    """

    holds_on_resume = True

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1, *,
                 interval: str | None = None) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch, interval)

    def _rule(self, epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        return np.where(epochs > 0, self.gamma, 1.0), None


class PolynomialLR(LRScheduler):
    """``base_lr (1 - epoch / total_iters)^power`` until epoch `total_iters`, from the present rate on.

    Parameters
    ----------
    optimizer : Optimizer
    total_iters : int, default 5
    power : float, default 1.0
    last_epoch, interval
        See `LRScheduler`.
    """

    holds_on_resume = True

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1, *,
                 interval: str | None = None) -> None:
        if total_iters < 1:
            raise ArgumentError(f"total_iters must be at least 1, got {total_iters}")
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch, interval)

    def _rule(self, epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        falling = (epochs >= 1) & (epochs <= self.total_iters)
        e = np.where(falling, epochs, 1)
        ratio = (1.0 - e / self.total_iters) / (1.0 - (e - 1) / self.total_iters)
        return np.where(falling, ratio ** self.power, 1.0), None
