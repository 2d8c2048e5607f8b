"""Protocols for annotations, which break import cycles: what schedules and optimisers know of each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

__all__ = ["Groups", "Schedule"]


class Schedule(Protocol):
    """What sets the rates of an optimiser's groups."""

    last_epoch: int
    interval: str | None
    _last_lr: list[float]

    @property
    def stepped_in_runs(self) -> str: ...
    @property
    def cycles_momentum(self) -> bool: ...
    def _rule(self, epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]: ...
    def _momenta(self, epochs: np.ndarray) -> np.ndarray: ...
    def _seek(self, epoch: int) -> None: ...
    def advance(self, metric: float | None = None) -> None: ...


class Groups(Protocol):
    """What has parameters in groups, and schedules that set their rates."""

    @property
    def param_groups(self) -> list[dict[str, Any]]: ...
    @property
    def schedulers(self) -> Sequence[Schedule]: ...
