"""Schedules of schedules: in sequence, or all at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ...errors import ArgumentError, DtypeError
from ..optimizer import Optimizer
from .plateau import ReduceLROnPlateau
from .scheduler import LRScheduler

__all__ = ["ChainedScheduler", "SequentialLR"]


def checked(schedulers: Sequence[LRScheduler], optimizer: Optimizer, whole: str) -> list[LRScheduler]:
    """The schedules of a `whole`, which from now on are stepped by it alone."""
    for k, scheduler in enumerate(schedulers):
        if not isinstance(scheduler, LRScheduler) or isinstance(scheduler, ReduceLROnPlateau):
            raise DtypeError(f"scheduler {k} cannot take part in a {whole}: {type(scheduler).__name__}")
        if scheduler.optimizer is not optimizer:
            raise ArgumentError(f"scheduler {k} is of another optimiser")
        if scheduler.interval is not None:
            raise ArgumentError(f"scheduler {k} is registered by itself; give interval to the {whole} only")
    for scheduler in schedulers:
        optimizer._forget(scheduler)
    return list(schedulers)


class Combined(LRScheduler):
    """Base of schedules of schedules."""

    _not_state = ("optimizer", "interval", "_schedulers")
    _schedulers: list[LRScheduler]

    @property
    def stepped_in_runs(self) -> str:  # type: ignore[override]
        """When `TrainStep.run` steps it: after each step if one of the schedules counts steps."""
        return "step" if any(s.stepped_in_runs == "step" for s in self._schedulers) else "epoch"

    @property
    def cycles_momentum(self) -> bool:
        """Whether one of the schedules cycles momentum."""
        return any(s.cycles_momentum for s in self._schedulers)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for scheduler in self._schedulers:
            self.optimizer._forget(scheduler)

    def state_dict(self) -> dict[str, Any]:
        """The state, with those of the schedulers under ``"_schedulers"``."""
        return {**super().state_dict(), "_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state of `state_dict`, or of PyTorch's scheduler of the same name."""
        super().load_state_dict({"last_epoch": self.last_epoch, **state_dict})
        for scheduler, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(state)


class SequentialLR(Combined):
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

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int],
                 last_epoch: int = -1, *, interval: str | None = None) -> None:
        if not schedulers or len(milestones) != len(schedulers) - 1:
            raise ArgumentError(f"{len(schedulers)} schedulers and {len(milestones)} milestones; there must be one "
                                "milestone between each two schedulers")
        if last_epoch != -1:
            raise ArgumentError("a sequence is resumed by load_state_dict, not by last_epoch")
        self._schedulers, self._milestones = checked(schedulers, optimizer, "sequence"), list(milestones)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        super().__init__(optimizer, last_epoch, interval)

    def _parts(self, epochs: np.ndarray) -> Iterable[tuple[LRScheduler, slice, np.ndarray]]:
        """Scheduler, positions in `epochs` (which ascend by one), its own epochs there."""
        cuts = [0, *np.searchsorted(epochs, self._milestones).tolist(), len(epochs)]
        firsts = [0, *self._milestones]
        for scheduler, begin, end, first in zip(self._schedulers, cuts[:-1], cuts[1:], firsts, strict=True):
            if begin < end:
                yield scheduler, slice(begin, end), epochs[begin:end] - first

    def _rule(self, epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        a, c = np.ones((len(epochs), len(self.base_lrs))), np.zeros((len(epochs), len(self.base_lrs)))
        for scheduler, places, own in self._parts(epochs):
            factor, offset = scheduler._rule(own)
            a[places] = factor.reshape(len(own), -1)
            if offset is not None:
                c[places] = offset
            if own[0] == 0 and epochs[places.start] > 0:
                a[places.start], c[places.start] = scheduler._start()
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


class ChainedScheduler(Combined):
    """Schedules that are stepped together, one after the other at each step, on the rate that the one before has set.

    Parameters
    ----------
    schedulers : sequence of LRScheduler
        Of one optimiser, made without `interval`.
    optimizer : Optimizer, optional
    interval
        See `LRScheduler`.
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None, *,
                 interval: str | None = None) -> None:
        if not schedulers:
            raise ArgumentError("a chain needs at least one scheduler")
        optimizer = schedulers[0].optimizer if optimizer is None else optimizer
        self._schedulers = checked(schedulers, optimizer, "chain")
        super().__init__(optimizer, -1, interval)

    def _begin(self) -> None:
        self.last_epoch = 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _own(self, scheduler: LRScheduler, epochs: np.ndarray) -> np.ndarray:
        return epochs - self.last_epoch + scheduler.last_epoch

    def _rule(self, epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        a, c = np.ones((len(epochs), 1)), np.zeros((len(epochs), len(self.base_lrs)))
        for scheduler in self._schedulers:
            factor, offset = scheduler._rule(self._own(scheduler, epochs))
            factor = factor.reshape(len(epochs), -1)
            a, c = a * factor, c * factor + (0.0 if offset is None else offset)
        return a, c

    def _momenta(self, epochs: np.ndarray) -> np.ndarray:
        momenta = np.full((len(epochs), len(self.base_lrs)), np.nan)
        for scheduler in self._schedulers:
            if scheduler.cycles_momentum:
                given = scheduler._momenta(self._own(scheduler, epochs))
                momenta = np.where(np.isnan(given), momenta, given)
        return momenta

    def _seek(self, epoch: int) -> None:
        for scheduler in self._schedulers:
            scheduler._seek(scheduler.last_epoch + epoch - self.last_epoch)
        self.last_epoch = epoch
