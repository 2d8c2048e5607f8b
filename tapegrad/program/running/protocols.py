"""Protocols for annotations, which break import cycles: what parts of a program and of a step know of the whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from ...tape.tape import Tape
from ...tensor.tensor import Tensor
from ..planning.liveness import Lives
from ..planning.strips import GroupRows
from .tasks import Tasks

__all__ = ["Checkpointing", "Linked", "Monitoring", "Training"]


class Linked(Protocol):
    """A recording whose rows hold the addresses of its values and adjoints."""

    @property
    def tape(self) -> Tape: ...
    @property
    def inputs(self) -> Sequence[Tensor]: ...
    @property
    def outputs(self) -> Sequence[Tensor]: ...
    @property
    def gradients_of(self) -> Sequence[Tensor]: ...
    @property
    def rows(self) -> Sequence[int]: ...
    @property
    def lives(self) -> Lives: ...
    @property
    def group_rows(self) -> Sequence[GroupRows]: ...
    @property
    def tasks(self) -> Tasks: ...


class Monitoring(Protocol):
    """What looks into a run at chosen steps (`tapegrad.Monitor`)."""

    def left(self) -> int:
        """Steps until the next chosen one; 0 if that is the next step."""
        ...

    def passed(self, steps: int) -> None:
        """So many steps have been made unobserved."""
        ...

    def stopped(self) -> None:
        """The loss of the next step is infinite or NaN."""
        ...

    def watches(self, step: Any) -> bool:
        """Whether the run is to stop at such a loss."""
        ...

    def begin(self, step: Any) -> Any:
        """The step whose values and adjoints stay, about to run in the place of `step`."""
        ...

    def end(self, step: Any, loss: float) -> None:
        """It has run."""
        ...


class Checkpointing(Protocol):
    """Where a run's state is kept (`tapegrad.Checkpoint`)."""

    @property
    def name(self) -> str:
        """As errors name it."""
        ...

    def open(self) -> dict[str, Any] | None:
        """Hold the place for one run; the state in it, or None."""
        ...

    def due(self) -> bool:
        """Whether it is time to write."""
        ...

    def write(self, state: dict[str, Any], last: bool) -> None:
        """Write a tree of arrays and plain values; `last` if the run ends with it."""
        ...

    def close(self) -> None:
        """Release the place."""
        ...


class Training(Protocol):
    """What records steps for batches, and holds their results."""

    history: Any

    @property
    def optimizer(self) -> Any: ...
    @property
    def accumulate(self) -> int: ...
    @property
    def ranks(self) -> Any: ...
    def _step_for(self, arrays: Sequence[np.ndarray], settle: Callable[[], None] | None = None) -> Any: ...
