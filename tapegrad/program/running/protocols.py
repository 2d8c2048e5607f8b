"""Protocols for annotations, which break import cycles: what parts of a program and of a step know of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from ...tape.tape import Tape
from ...tensor.tensor import Tensor
from ..planning.liveness import Lives
from ..planning.strips import GroupRows
from .tasks import Tasks

__all__ = ["Linked", "Training"]


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


class Training(Protocol):
    """What records steps for batches, and holds their results."""

    history: Any

    @property
    def optimizer(self) -> Any: ...
    @property
    def accumulate(self) -> int: ...
    def _step_for(self, arrays: Sequence[np.ndarray]) -> Any: ...
