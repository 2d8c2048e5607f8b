"""What optimisers know of their schedules, and when these are stepped."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import rates
from .averages import AverageRow
from .protocols import Schedule

__all__ = ["AVERAGED", "Scheduled"]

#: the interval of averages that every step keeps
AVERAGED = "average"


class Stepping:
    """Schedules that a run steps after its epochs, where the callback does not."""

    def __init__(self, schedulers: list[Schedule]) -> None:
        self._schedulers = schedulers
        #: those that need a metric and were not stepped
        self.still: list[Schedule] = []

    def before_callback(self) -> None:
        """An epoch is over."""
        self._seen = [scheduler.last_epoch for scheduler in self._schedulers]

    def after_callback(self) -> None:
        """The callback, if there is one, has returned."""
        same = [s for s, seen in zip(self._schedulers, self._seen, strict=True) if s.last_epoch == seen]
        for scheduler in same:
            if scheduler.stepped_in_runs == "epoch":
                scheduler.advance()
        self.still = [s for s in same if s.stepped_in_runs == "callback"]


class Scheduled:
    """The schedules of an optimiser.

    Attributes
    ----------
    schedulers : list of lr_scheduler.LRScheduler
        Those made with ``interval=``.
    """

    param_groups: list[dict[str, Any]]
    schedulers: list[Schedule]
    _new_layout: Callable[[], None]
    _synced: list[dict[str, Any] | None]
    _loose: list[Any]  # weak references to those made without it
    _words: np.ndarray
    _after: int
    _build: Callable[[], None]

    def _register(self, scheduler: Schedule) -> None:
        if scheduler.interval is None:
            # while a copy is made, the optimiser may have nothing yet
            vars(self).setdefault("_loose", []).append(weakref.ref(scheduler))
        else:
            self._add_scheduler(scheduler)

    def _add_scheduler(self, scheduler: Schedule) -> None:
        self.schedulers.append(scheduler)
        if scheduler.cycles_momentum:
            self._new_layout()

    # averages of parameters are among the schedules too, so that copies and checkpoints keep them

    def _averages(self) -> list[Any]:
        return [s for s in self.schedulers if s.interval == AVERAGED]

    def _add_average(self, averaged: Any) -> None:
        """Average parameters in every step from now on."""
        self.schedulers.append(averaged)
        self._build()

    def _average_words(self) -> int:
        """Words of the rows of averages."""
        return sum(len(averaged.pairs) * AverageRow.size for averaged in self._averages())

    def _average_starts(self) -> np.ndarray:
        """Write the rows of averages; returns where each begins."""
        rows = [row for averaged in self._averages() for row in averaged.rows()]
        starts = self._after + AverageRow.size * np.arange(len(rows), dtype=np.int64)
        if rows:
            self._words[self._after:self._after + AverageRow.size * len(rows)] = np.concatenate(rows)
        return starts

    def _forget(self, scheduler: Schedule) -> None:
        """Leave a schedule that was made without ``interval=`` out of runs."""
        self._loose = [found for found in self._loose if found() not in (None, scheduler)]

    @contextmanager
    def stepping(self, epochs: int) -> Iterator[Stepping]:
        """A run of `epochs` epochs steps schedules that were made without ``interval=``.

        Those that count steps are stepped after each step; others after each epoch of several, unless the caller's
        callback does. All are among `schedulers` meanwhile, so that a checkpoint keeps their state.

        Warns
        -----
        UserWarning
            If a schedule that needs a metric was not stepped.
        """
        loose = [scheduler for found in self._loose if (scheduler := found()) is not None]
        each_step = [s for s in loose if s.stepped_in_runs == "step"]
        others = [s for s in loose if s.stepped_in_runs != "step"] if epochs > 1 else []
        for scheduler in each_step:
            scheduler.interval = "step"
        for scheduler in each_step + others:
            self._add_scheduler(scheduler)
        steps = Stepping(others)
        try:
            yield steps
        finally:
            for scheduler in each_step:
                scheduler.interval = None
            self.schedulers[:] = [s for s in self.schedulers if s not in each_step + others]
            if any(s.cycles_momentum for s in each_step):
                self._new_layout()
        for scheduler in steps.still:
            warnings.warn(f"{type(scheduler).__name__} was not stepped in a run of {epochs} epochs: give run a "
                          'callback that calls its step(metric), or make it with interval="epoch", which steps it with '
                          "the mean loss of each epoch", UserWarning, stacklevel=5)

    def advance(self, interval: str, metric: float | None = None) -> None:
        """Step the schedulers registered with ``interval="step"`` or ``"epoch"``.

        Parameters
        ----------
        interval : {"step", "epoch"}
        metric : float, optional
            The metric for `ReduceLROnPlateau`.
        """
        for scheduler in self.schedulers:
            if scheduler.interval == interval:
                scheduler.advance(metric)

    def upcoming_lrs(self, count: int) -> np.ndarray:
        """The learning rates of the next `count` steps under the schedulers registered for steps.

        Returns
        -------
        ndarray of float64, shape (count, columns)
            One for each group; under a schedule that cycles momentum, then another for each group with the momentum (or
            first beta). `UpdateRows.lr_groups` names the column of each word. Nothing is changed.
        """
        self._synced = [None] * len(self.param_groups)  # the caller will write these words
        return rates.rates_ahead(self, count)

    def advance_steps(self, count: int) -> None:
        """Equivalent to `count` calls of ``advance("step")``."""
        self._synced = [None] * len(self.param_groups)
        rates.leap(self, count)
