"""A biased lock: one thread records on a tape while another may walk it in reverse.

The owner only increments a counter and tests a flag; any other thread sets the flag under a lock and waits until the
counter is zero. CPython switches threads at calls and backward jumps only, so that a plain counter is enough.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any
from weakref import WeakSet

from ..engine.locks import Lock
from ..errors import TapegradError
from .state import state

__all__ = ["Lendable", "alone"]

_lending = Lock()
_tapes: WeakSet[Any] = WeakSet()


class Lendable:
    """The lock's state, on the tape.

    Attributes
    ----------
    at_work : int
        Nesting depth of the owner's recording and walking (a finaliser may record in the midst of recording).
    lent : bool
        Whether another thread walks or waits to.
    """

    at_work: int
    lent: bool
    _thread, _entered = 0, 0

    def _begin_alone(self) -> None:
        self.at_work, self.lent = 0, False
        _tapes.add(self)

    def _enter_thread(self) -> None:
        if self._entered and self._thread != get_ident():
            raise TapegradError("this tape records what another thread does; make one for each thread")
        self._thread = get_ident()
        self._entered += 1

    def _leave_thread(self) -> None:
        self._entered -= 1

    def wait_until_back(self) -> None:
        """Yield to the thread that the tape is lent to; called with `at_work` incremented."""
        while self.lent and self.at_work == 1:
            self.at_work = 0
            with _lending.now:
                pass
            self.at_work += 1


@contextmanager
def alone(tape: Any) -> Iterator[None]:
    """Context: exclusive use of the tape."""
    if tape in state.entered or state.defaults.get(tape.dtype) is tape:
        tape.at_work += 1
        try:
            if tape.lent:
                tape.wait_until_back()
            yield
        finally:
            tape.at_work -= 1
        return
    with _lending.now:
        before, tape.lent = tape.lent, True
        try:
            while tape.at_work:
                time.sleep(1e-5)
            yield
        finally:
            tape.lent = before


def _after_fork() -> None:
    """The child has no other thread."""
    for tape in list(_tapes):
        tape._begin_alone()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
