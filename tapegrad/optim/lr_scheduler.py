"""Learning-rate schedules, with PyTorch's names, arguments and values.

Every schedule is one affine rule: on reaching epoch `e`, the rate of group `k` becomes ``a(e) lr + c(e, k)``. Schedules
that multiply the present rate have ``c = 0`` and continue from a rate that a user has set; those with a closed form
have ``a = 0``. Rules are evaluated for many epochs at once, so that a recorded training loop gets the rates of its next
thousands of steps in one table.

With ``interval="step"`` or ``"epoch"`` a scheduler registers itself with its optimiser, and `TrainStep.run` steps it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, DtypeError
from .optimizer import Optimizer
from .plateau import ReduceLROnPlateau
from .scheduler import LRScheduler, check_optimizer, each_group

__all__ = [
    "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "ExponentialLR", "LRScheduler", "LambdaLR",
    "LinearLR", "MultiStepLR", "OneCycleLR", "ReduceLROnPlateau", "SequentialLR", "StepLR",
]


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
        if cycle_momentum and not {"momentum", "betas"} & set(optimizer.defaults):
            raise ArgumentError(f"{type(optimizer).__name__} has no momentum to cycle: give cycle_momentum=False")
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
            raise ArgumentError(f"step {epochs.max()} of a cycle of {self.total_steps} steps")
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


class SequentialLR(LRScheduler):
    """Schedules in sequence: at each milestone the next one takes over, from its own start.

    Parameters
    ----------
    optimizer : Optimizer
    schedulers : sequence of LRScheduler
        Of the same optimiser, made without `interval`.
    milestones : sequence of int
        Epochs, one fewer than schedules.
    last_epoch, interval
        See `LRScheduler`.
    """

    _not_state = ("optimizer", "interval", "_schedulers")

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int],
                 last_epoch: int = -1, *, interval: str | None = None) -> None:
        if not schedulers or len(milestones) != len(schedulers) - 1:
            raise ArgumentError(f"{len(schedulers)} schedulers and {len(milestones)} milestones; there must be one "
                                "milestone between each two schedulers")
        for k, scheduler in enumerate(schedulers):
            if not isinstance(scheduler, LRScheduler):
                raise DtypeError(f"scheduler {k} cannot take part in a sequence: {type(scheduler).__name__}")
            if scheduler.optimizer is not optimizer:
                raise ArgumentError(f"scheduler {k} is of another optimiser")
            if scheduler.interval is not None:
                raise ArgumentError(f"scheduler {k} is registered by itself; give interval to the sequence only")
        if last_epoch != -1:
            raise ArgumentError("a sequence is resumed by load_state_dict, not by last_epoch")
        self._schedulers, self._milestones = list(schedulers), list(milestones)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        super().__init__(optimizer, last_epoch, interval)

    @property
    def cycles_momentum(self) -> bool:
        """Whether one of the schedules cycles momentum."""
        return any(s.cycles_momentum for s in self._schedulers)

    def _parts(self, epochs: np.ndarray) -> Iterable[tuple[LRScheduler, slice, np.ndarray]]:
        """Scheduler, positions in `epochs` (which ascend by one), its own epochs there."""
        cuts = [0, *np.searchsorted(epochs, self._milestones).tolist(), len(epochs)]
        firsts = [0, *self._milestones]
        for scheduler, begin, end, first in zip(self._schedulers, cuts[:-1], cuts[1:], firsts, strict=True):
            if begin < end:
                yield scheduler, slice(begin, end), epochs[begin:end] - first

    def _rule(self, epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        a, c = np.ones(len(epochs)), np.zeros((len(epochs), len(self.base_lrs)))
        for scheduler, places, own in self._parts(epochs):
            a[places], offset = scheduler._rule(own)
            if offset is not None:
                c[places] = offset
            if own[0] == 0 and epochs[places.start] > 0:
                a[places.start], c[places.start] = 0.0, scheduler._rates_at_zero()
        return a, c

    def _momenta(self, epochs: np.ndarray) -> np.ndarray:
        momenta = np.full((len(epochs), len(self.base_lrs)), np.nan)
        for scheduler, places, own in self._parts(epochs):
            if scheduler.cycles_momentum:
                momenta[places] = scheduler._momenta(own)
        return momenta

    def _seek(self, epoch: int) -> None:
        self.last_epoch = epoch
        k = bisect_right(self._milestones, epoch)
        self._schedulers[k]._seek(epoch - (self._milestones[k - 1] if k else 0))

    def state_dict(self) -> dict[str, Any]:
        """The state, with those of the schedulers under ``"_schedulers"``."""
        return {**super().state_dict(), "_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state of `state_dict`."""
        super().load_state_dict(state_dict)
        for scheduler, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(state)
