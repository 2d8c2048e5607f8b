"""Cosine annealing, once or with restarts."""

from __future__ import annotations

import math

import numpy as np

from ...errors import ArgumentError
from ..optimizer import Optimizer
from .scheduler import LRScheduler

__all__ = ["CosineAnnealingLR", "CosineAnnealingWarmRestarts"]


class CosineAnnealingLR(LRScheduler):
    """``eta_min + (base_lr - eta_min) (1 + cos(pi epoch / T_max)) / 2``, from the present rate on.

    Parameters
    ----------
    optimizer : Optimizer
    T_max : int
        Epochs from the highest rate to the lowest.
    eta_min : float, default 0.0
    last_epoch, interval
        See `LRScheduler`.

    Notes
    -----
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, without the restarts.
    """

    holds_on_resume = True

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1, *,
                 interval: str | None = None) -> None:
        if T_max <= 0:
            raise ArgumentError(f"T_max must be positive, got {T_max}")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch, interval)

    def _rule(self, epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        # just after the minimum the ratio is 0 / 0
        turn = ((epochs - 1 - self.T_max) % (2 * self.T_max) == 0) & (epochs > 0)
        here, before = (1.0 + np.cos(np.pi * e / self.T_max) for e in (epochs, epochs - 1))
        still = turn | (epochs == 0)
        ratio = np.where(still, 1.0, here / np.where(still, 1.0, before))
        bases = np.array(self.base_lrs, np.float64)
        rise = (bases - self.eta_min) * (1.0 - math.cos(math.pi / self.T_max)) / 2.0
        return ratio, np.where(turn[:, None], rise, (1.0 - ratio[:, None]) * self.eta_min)


class CosineAnnealingWarmRestarts(LRScheduler):
    """Cosine annealing with restarts after `T_0` epochs, then after `T_mult` times as many, and so on.

    Parameters
    ----------
    optimizer : Optimizer
    T_0 : int
        Epochs of the first cycle.
    T_mult : int, default 1
    eta_min : float, default 0.0
    last_epoch, interval
        See `LRScheduler`.

    Notes
    -----
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017.
    """

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1, *,
                 interval: str | None = None) -> None:
        for name, value in (("T_0", T_0), ("T_mult", T_mult)):
            if not isinstance(value, (int, np.integer)) or value < 1:
                raise ArgumentError(f"{name} must be an integer of at least 1, got {value}")
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        self.T_i = T_0
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch, interval)

    def _cycle(self, epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Epochs since the last restart, and the length of the cycle."""
        if self.T_mult == 1:
            return (self.T_cur + epochs - self.last_epoch) % self.T_0, np.full(len(epochs), self.T_0)
        at = (self.T_i - self.T_0) / (self.T_mult - 1) + self.T_cur + epochs - self.last_epoch
        starts, lengths = [0], [self.T_0]
        while starts[-1] + lengths[-1] <= at.max(initial=0):
            starts.append(starts[-1] + lengths[-1])
            lengths.append(lengths[-1] * self.T_mult)
        k = np.maximum(np.searchsorted(starts, at, "right") - 1, 0)
        return at - np.array(starts)[k], np.array(lengths)[k]

    def _rule(self, epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        at, length = self._cycle(epochs)
        bases = np.array(self.base_lrs, np.float64)
        wave = (1.0 + np.cos(np.pi * at / length)) / 2.0
        return np.zeros(len(epochs)), self.eta_min + (bases - self.eta_min) * wave[:, None]

    def _seek(self, epoch: int) -> None:
        at, length = self._cycle(np.array([epoch]))
        self.last_epoch, self.T_cur, self.T_i = epoch, at[0].item(), int(length[0])
        if self.T_cur == int(self.T_cur):
            self.T_cur = int(self.T_cur)

    def step(self, epoch: float | None = None) -> None:
        """Advance to the next epoch, or to `epoch`, which may be fractional, counted from the start."""
        if epoch is not None:
            if epoch < 0:
                raise ArgumentError(f"epoch must not be negative, got {epoch}")
            self.T_i, self.T_cur, self.last_epoch = self.T_0, epoch - 1, math.floor(epoch) - 1
        super().step()
