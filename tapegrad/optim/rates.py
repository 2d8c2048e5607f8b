"""The learning rates of many steps at once.

A schedule is a rule: on reaching epoch `e`, the rate of group `k` becomes ``a(e, k) lr + c(e, k)``. Rules of several
schedules compose, and a run of steps is an affine recurrence, evaluated here for thousands of steps in one call.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ArgumentError
from .protocols import Groups, Schedule

__all__ = ["advance", "leap", "rates_ahead"]


def rate_table(optimizer: Groups, schedulers: Sequence[Schedule], count: int) -> np.ndarray:
    """The rates now and after each of `count` steps of all `schedulers`, shape (count + 1, groups)."""
    present = np.array([group["lr"] for group in optimizer.param_groups], np.float64)
    table = np.empty((count + 1, len(present)))
    table[0] = present
    a, c = np.ones((count, 1)), np.zeros((count, len(present)))
    for scheduler in schedulers:
        factor, offset = scheduler._rule(scheduler.last_epoch + 1 + np.arange(count))
        factor = factor[:, None] if factor.ndim == 1 else factor
        for part in (factor, offset):
            if part is not None and part.shape[1] not in (len(present), 1 if part is factor else len(present)):
                raise ArgumentError(f"{type(scheduler).__name__} was made for {part.shape[1]} parameter groups, the "
                                    f"optimiser has {len(present)}: make it after add_param_group")
        a, c = a * factor, c * factor + (0.0 if offset is None else offset)
    if not a.any():
        table[1:] = c
    elif not c.any():
        table[1:] = a
        np.cumprod(table, axis=0, out=table)
    else:
        factors = np.broadcast_to(a, c.shape).T.tolist()
        for g, (rate, times_of, additions) in enumerate(zip(present.tolist(), factors, c.T.tolist(), strict=True)):
            rates = []
            for times, plus in zip(times_of, additions, strict=True):
                rate = times * rate + plus
                rates.append(rate)
            table[1:, g] = rates
    return table


def momentum_table(optimizer: Groups, schedulers: Sequence[Schedule], count: int) -> np.ndarray:
    """The momenta now and after each of `count` steps, shape (count + 1, groups)."""
    present = [group["betas"][0] if "betas" in group else group["momentum"] for group in optimizer.param_groups]
    table = np.empty((count + 1, len(present)))
    table[0] = present
    table[1:] = np.nan
    for scheduler in schedulers:
        if scheduler.cycles_momentum:
            given = scheduler._momenta(scheduler.last_epoch + 1 + np.arange(count))
            table[1:] = np.where(np.isnan(given), table[1:], given)
    last_given = np.maximum.accumulate(np.where(np.isnan(table), 0, np.arange(count + 1)[:, None]), axis=0)
    return np.take_along_axis(table, last_given, axis=0)


def advance(optimizer: Groups, schedulers: Sequence[Schedule], count: int) -> None:
    """Step all of `schedulers` `count` times."""
    if not schedulers or not count:
        return
    rates = rate_table(optimizer, schedulers, count)[-1].tolist()
    momenta = None
    if any(s.cycles_momentum for s in schedulers):
        momenta = momentum_table(optimizer, schedulers, count)[-1].tolist()
    for g, group in enumerate(optimizer.param_groups):
        group["lr"] = rates[g]
        if momenta is not None:
            if "betas" in group:
                group["betas"] = (momenta[g], *group["betas"][1:])
            else:
                group["momentum"] = momenta[g]
    for scheduler in schedulers:
        scheduler._seek(scheduler.last_epoch + count)
        scheduler._last_lr = list(rates)


def _each_step(optimizer: Groups) -> list[Schedule]:
    return [s for s in optimizer.schedulers if s.interval == "step"]


def rates_ahead(optimizer: Groups, count: int) -> np.ndarray:
    """`Optimizer.upcoming_lrs`."""
    schedulers = _each_step(optimizer)
    steps = max(count - 1, 0)
    table = rate_table(optimizer, schedulers, steps)
    if any(s.cycles_momentum for s in schedulers):
        table = np.concatenate([table, momentum_table(optimizer, schedulers, steps)], axis=1)
    return table[:count]


def leap(optimizer: Groups, count: int) -> None:
    """`Optimizer.advance_steps`."""
    advance(optimizer, _each_step(optimizer), count)
