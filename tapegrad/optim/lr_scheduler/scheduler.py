"""The base of learning-rate schedules."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, ClassVar

import numpy as np

from ...errors import ArgumentError, DtypeError, StateDictError
from ..optimizer import Optimizer
from ..rates import advance

__all__ = ["LRScheduler", "check_optimizer", "each_group"]


class LRScheduler:
    """Base of the schedules.

    Parameters
    ----------
    optimizer : Optimizer
    last_epoch : int, default -1
        Epoch to resume from; -1 for a new start.
    interval : {"step", "epoch"}, optional
        Register with the optimiser, so that `TrainStep` steps the schedule after each step or epoch. By default the
        caller calls `step`; a `TrainStep.run` of several epochs, in which there is no place for it, steps the schedule
        after each epoch unless the callback does. (`OneCycleLR` and `CyclicLR`, which count steps: after each step of
        any `TrainStep.run`.)

    Attributes
    ----------
    last_epoch : int
        Steps taken since the start.
    base_lrs : list of float
        The groups' rates when the first schedule was made.
    """

    #: whether resuming keeps the optimiser's present rate
    holds_on_resume: ClassVar[bool] = False
    #: when `TrainStep.run` steps a schedule that is not registered
    stepped_in_runs: ClassVar[str] = "epoch"
    #: attributes that are not part of the state
    _not_state: ClassVar[tuple[str, ...]] = ("optimizer", "interval")

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1, interval: str | None = None) -> None:
        check_optimizer(optimizer)
        if interval not in (None, "step", "epoch"):
            raise ArgumentError(f'interval must be "step", "epoch" or None, got {interval!r}')
        self.optimizer, self.interval = optimizer, interval
        for g, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise ArgumentError(f"last_epoch={last_epoch} resumes a schedule, but param_groups[{g}] has no "
                                    '"initial_lr": load the optimiser\'s state dict first')
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._begin()
        optimizer._register(self)

    def __copy__(self) -> Any:
        """A schedule with its own state over the same optimiser, whose runs do not step it."""
        twin = deepcopy(self, {id(self.optimizer): self.optimizer})
        self.optimizer._forget(twin)
        return twin

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self.interval is None:
            self.optimizer._register(self)

    @property
    def cycles_momentum(self) -> bool:
        """Whether it sets the momentum (or first beta) too."""
        return False

    def _begin(self) -> None:
        if self.holds_on_resume and self.last_epoch >= 0:
            self._seek(self.last_epoch + 1)
            self._last_lr = [group["lr"] for group in self.optimizer.param_groups]
        else:
            advance(self.optimizer, [self], 1)

    def _rule(self, epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """The coefficients on reaching each of `epochs`.

        ``a`` has shape (epochs,) or (epochs, groups), ``c`` (epochs, groups) or is None for 0.
        """
        raise NotImplementedError

    def _momenta(self, epochs: np.ndarray) -> np.ndarray:
        """The momentum (or first beta), shape (epochs, groups), if `cycles_momentum`; NaN keeps the present one."""
        raise NotImplementedError

    def _start(self) -> tuple[Any, np.ndarray]:
        """``a`` and ``c``, shape (groups,), of a schedule that takes over from another in a sequence."""
        a, c = self._rule(np.zeros(1, np.int64))
        return 0.0, a[0] * np.array(self.base_lrs, np.float64) + (0.0 if c is None else c[0])

    def _seek(self, epoch: int) -> None:
        """Set the epoch without changing rates."""
        self.last_epoch = epoch

    def step(self) -> None:
        """Advance to the next epoch and set the rates of the optimiser's groups."""
        advance(self.optimizer, [self], 1)

    def advance(self, metric: float | None = None) -> None:
        """`step`; the metric is ignored."""
        self.step()

    def get_last_lr(self) -> list[float]:
        """The rates that the last `step` set, one for each group."""
        return list(self._last_lr)

    def state_dict(self) -> dict[str, Any]:
        """All attributes but the optimiser."""
        return {key: value for key, value in vars(self).items() if key not in self._not_state}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state of `state_dict`, or of PyTorch's scheduler of the same name."""
        if "last_epoch" not in state_dict:
            raise StateDictError(f"no state of a {type(self).__name__}: it has no 'last_epoch'")
        vars(self).update({key: value for key, value in state_dict.items() if key in vars(self)
                           and key not in self._not_state})


def check_optimizer(optimizer: Any) -> None:
    """Raise `DtypeError` unless `optimizer` is an optimiser."""
    if not isinstance(optimizer, Optimizer):
        raise DtypeError(f"a scheduler needs an Optimizer, not {type(optimizer).__name__}")


def each_group(optimizer: Optimizer, name: str, value: Any) -> list[Any]:
    """`value` for each group: itself, or its entries."""
    if isinstance(value, (list, tuple, np.ndarray)):
        if len(value) != len(optimizer.param_groups):
            raise ArgumentError(f"{name} has {len(value)} entries for {len(optimizer.param_groups)} parameter groups")
        return list(value)
    return [value] * len(optimizer.param_groups)
