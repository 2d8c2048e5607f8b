"""Schedules that raise the rate and lower it again, and momentum against it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...errors import ArgumentError
from ..optimizer import Optimizer
from .scheduler import LRScheduler, check_optimizer, each_group

__all__ = ["CyclicLR", "OneCycleLR"]


def check_momentum(optimizer: Optimizer, cycled: bool) -> None:
    """Raise if momentum is to be cycled that the optimiser does not have."""
    if cycled and not {"momentum", "betas"} & set(optimizer.defaults):
        raise ArgumentError(f"{type(optimizer).__name__} has no momentum to cycle: give cycle_momentum=False")


class OneCycleLR(LRScheduler):
    """One cycle: the rate rises from ``max_lr / div_factor`` to `max_lr` and falls far below; momentum opposes it.

    Parameters
    ----------
    optimizer : Optimizer
    max_lr : float or sequence of float
        The highest rate, one for all groups or one each.
    total_steps : int, optional
        Steps of the cycle; else `epochs` times `steps_per_epoch`.
    epochs, steps_per_epoch : int, optional
    pct_start : float, default 0.3
        Fraction of the cycle in which the rate rises.
    anneal_strategy : {"cos", "linear"}
    cycle_momentum : bool, default True
        Cycle momentum (or the first beta) from `max_momentum` to `base_momentum` and back.
    base_momentum, max_momentum : float or sequence of float, default 0.85 and 0.95
    div_factor : float, default 25.0
    final_div_factor : float, default 1e4
        The last rate is ``max_lr / div_factor / final_div_factor``.
    three_phase : bool, default False
        Fall as long as it rose, then down to the last rate.
    last_epoch, interval
        See `LRScheduler`.

    Notes
    -----
    Smith and Topin, "Super-convergence: very fast training of neural networks using large learning rates",
    arXiv:1708.07120.
    """

    stepped_in_runs = "step"

    def __init__(self, optimizer: Optimizer, max_lr: float | Sequence[float], total_steps: int | None = None,
                 epochs: int | None = None, steps_per_epoch: int | None = None, pct_start: float = 0.3,
                 anneal_strategy: str = "cos", cycle_momentum: bool = True,
                 base_momentum: float | Sequence[float] = 0.85, max_momentum: float | Sequence[float] = 0.95,
                 div_factor: float = 25.0, final_div_factor: float = 1e4, three_phase: bool = False,
                 last_epoch: int = -1, *, interval: str | None = None) -> None:
        check_optimizer(optimizer)
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ArgumentError("OneCycleLR needs total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        if total_steps != int(total_steps) or total_steps <= 0:
            raise ArgumentError(f"the steps of the cycle must be a positive integer, got {total_steps}")
        if not 0.0 <= pct_start <= 1.0:
            raise ArgumentError(f"pct_start must be between 0 and 1, got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ArgumentError(f'anneal_strategy must be "cos" or "linear", got {anneal_strategy!r}')
        check_momentum(optimizer, cycle_momentum)
        self.total_steps, self.pct_start, self.anneal_strategy = int(total_steps), pct_start, anneal_strategy
        self.cycle_momentum = cycle_momentum
        self.three_phase = three_phase
        if last_epoch == -1:
            for group, high in zip(optimizer.param_groups, each_group(optimizer, "max_lr", max_lr), strict=True):
                group["initial_lr"], group["max_lr"] = high / div_factor, high
                group["min_lr"] = group["initial_lr"] / final_div_factor
        if cycle_momentum and last_epoch == -1:
            bounds = (each_group(optimizer, "base_momentum", base_momentum),
                      each_group(optimizer, "max_momentum", max_momentum))
            for group, low, high in zip(optimizer.param_groups, *bounds, strict=True):
                group["base_momentum"], group["max_momentum"] = low, high
        super().__init__(optimizer, last_epoch, interval)

    @property
    def cycles_momentum(self) -> bool:
        """Whether momentum is cycled."""
        return self.cycle_momentum

    def _phases(self) -> list[tuple[float, tuple[str, str], tuple[str, str]]]:
        """Last step of each phase, and the settings between which the group's rate and momentum are annealed."""
        rise = float(self.pct_start * self.total_steps) - 1
        fall, up = ("max_momentum", "base_momentum"), ("base_momentum", "max_momentum")
        if self.three_phase:
            return [(rise, ("initial_lr", "max_lr"), fall),
                    (float(2 * self.pct_start * self.total_steps) - 2, ("max_lr", "initial_lr"), up),
                    (self.total_steps - 1, ("initial_lr", "min_lr"), ("max_momentum", "max_momentum"))]
        return [(rise, ("initial_lr", "max_lr"), fall), (self.total_steps - 1, ("max_lr", "min_lr"), up)]

    def _wave(self, epochs: np.ndarray, which: int) -> np.ndarray:
        """Rates (`which` 0) or momenta (1) at `epochs`, shape (epochs, groups)."""
        if len(epochs) and epochs.max() > self.total_steps:
            raise ArgumentError(f"step {epochs.max()} of a cycle of {self.total_steps} steps: total_steps counts the "
                                'steps of training; to count epochs, give interval="epoch"')
        result = np.empty((len(epochs), len(self.optimizer.param_groups)))
        begin, left = 0.0, np.ones(len(epochs), bool)
        phases = self._phases()
        for phase, (end, *names) in enumerate(phases, 1):
            here = left if phase == len(phases) else left & (epochs <= end)
            part = (epochs[here] - begin) / (end - begin) if end != begin else np.ones(here.sum())
            for g, group in enumerate(self.optimizer.param_groups):
                start, stop = (group[name] for name in names[which])
                if self.anneal_strategy == "cos":
                    result[here, g] = stop + (start - stop) / 2.0 * (np.cos(np.pi * part) + 1.0)
                else:
                    result[here, g] = (stop - start) * part + start
            begin, left = end, left & ~here
        return result

    def _rule(self, epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        return np.zeros(len(epochs)), self._wave(epochs, 0)

    def _momenta(self, epochs: np.ndarray) -> np.ndarray:
        return self._wave(epochs, 1)


class CyclicLR(LRScheduler):
    """Cycles: the rate rises linearly from `base_lr` to `max_lr` and falls back; momentum opposes it.

    Parameters
    ----------
    optimizer : Optimizer
    base_lr, max_lr : float or sequence of float
        The lowest and the highest rate, one for all groups or one each.
    step_size_up : int, default 2000
        Steps of the rise.
    step_size_down : int, optional
        Steps of the fall, by default as many.
    mode : {"triangular", "triangular2", "exp_range"}
        Keep the height of the cycles, halve it with each, or multiply it by `gamma` with each step.
    gamma : float, default 1.0
    scale_fn : callable, optional
        Factor of the height, in place of `mode`. Recorded training calls it for steps ahead.
    scale_mode : {"cycle", "iterations"}
        Whether `scale_fn` is given the number of the cycle, from 1 on, or of the step.
    cycle_momentum : bool, default True
        Cycle momentum (or the first beta) from `max_momentum` to `base_momentum` and back.
    base_momentum, max_momentum : float or sequence of float, default 0.8 and 0.9
    last_epoch, interval
        See `LRScheduler`.

    Notes
    -----
    Smith, "Cyclical learning rates for training neural networks", WACV 2017.
    """

    stepped_in_runs = "step"
    _not_state = ("optimizer", "interval", "_scale_fn")

    def __init__(self, optimizer: Optimizer, base_lr: float | Sequence[float], max_lr: float | Sequence[float],
                 step_size_up: int = 2000, step_size_down: int | None = None, mode: str = "triangular",
                 gamma: float = 1.0, scale_fn: Callable[[float], float] | None = None, scale_mode: str = "cycle",
                 cycle_momentum: bool = True, base_momentum: float | Sequence[float] = 0.8,
                 max_momentum: float | Sequence[float] = 0.9, last_epoch: int = -1, *,
                 interval: str | None = None) -> None:
        check_optimizer(optimizer)
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ArgumentError(f'mode must be "triangular", "triangular2" or "exp_range", got {mode!r}')
        if scale_mode not in ("cycle", "iterations"):
            raise ArgumentError(f'scale_mode must be "cycle" or "iterations", got {scale_mode!r}')
        down = step_size_up if step_size_down is None else step_size_down
        if step_size_up < 1 or down < 1:
            raise ArgumentError(f"step_size_up and step_size_down must be at least 1, got {step_size_up} and {down}")
        check_momentum(optimizer, cycle_momentum)
        lowest = each_group(optimizer, "base_lr", base_lr)
        self.max_lrs = each_group(optimizer, "max_lr", max_lr)
        self.total_size = float(step_size_up + down)
        self.step_ratio = step_size_up / self.total_size
        self.mode, self.gamma, self._scale_fn = mode, gamma, scale_fn
        self.scale_mode = scale_mode if scale_fn is not None else "iterations" if mode == "exp_range" else "cycle"
        self.cycle_momentum = cycle_momentum
        if last_epoch == -1:
            for group, low in zip(optimizer.param_groups, lowest, strict=True):
                group["lr"] = low
        if cycle_momentum:
            self.base_momentums = each_group(optimizer, "base_momentum", base_momentum)
            self.max_momentums = each_group(optimizer, "max_momentum", max_momentum)
            if last_epoch == -1:
                for group, low, high in zip(optimizer.param_groups, self.base_momentums, self.max_momentums,
                                            strict=True):
                    group["base_momentum"], group["max_momentum"] = low, high
        self._lowest = lowest
        super().__init__(optimizer, last_epoch, interval)
        self.base_lrs = lowest

    @property
    def cycles_momentum(self) -> bool:
        """Whether momentum is cycled."""
        return self.cycle_momentum

    def _heights(self, epochs: np.ndarray) -> np.ndarray:
        """What part of the way up it is, scaled, shape (epochs, 1)."""
        cycle = np.floor(1.0 + epochs / self.total_size)
        x = 1.0 + epochs / self.total_size - cycle
        part = np.where(x <= self.step_ratio, x / self.step_ratio, (x - 1.0) / (self.step_ratio - 1.0))
        at = cycle if self.scale_mode == "cycle" else epochs
        if self._scale_fn is not None:
            scale = np.array([float(self._scale_fn(number)) for number in at.astype(np.int64).tolist()])
        elif self.mode == "triangular2":
            scale = 0.5 ** (at - 1.0)
        else:
            scale = self.gamma ** at if self.mode == "exp_range" else np.ones(len(at))
        return (part * scale)[:, None]

    def _rule(self, epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        low, high = np.array(self._lowest, np.float64), np.array(self.max_lrs, np.float64)
        return np.zeros(len(epochs)), low + (high - low) * self._heights(epochs)

    def _momenta(self, epochs: np.ndarray) -> np.ndarray:
        low, high = np.array(self.base_momentums, np.float64), np.array(self.max_momentums, np.float64)
        return high - (high - low) * self._heights(epochs)
