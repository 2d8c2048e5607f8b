"""Locks that survive a fork.

A forked process has one thread; a lock that another one held is held forever. So every lock of the package is a `Lock`,
which is renewed in the child. Three guard more than a few words of Python: the locks of teams of threads, of compiling
and of loading libraries (`WAITED_FOR`). They protect state of LLVM, the dynamic linker and Python's imports, which a
child would find inconsistent, so a fork waits for them.
"""

from __future__ import annotations

import logging  # noqa: F401  # before our own fork handlers: see `_before_fork`
import os
import threading
from typing import Any
from weakref import WeakSet

#: seconds that a fork waits for compiling or loading
PATIENCE = 30.0
#: ranks of the locks that a fork waits for: the lock hierarchy, in the order of acquisition
WAITED_FOR = TEAMS, COMPILING, LIBRARIES = 0, 1, 2


class Lock:
    """A reentrant lock that is free in a forked process: ``with lock.now:``.

    Parameters
    ----------
    rank : int, optional
        One of `WAITED_FOR`: a fork waits until the lock is free.

    Attributes
    ----------
    now : threading.RLock
        Of this process.
    """

    __slots__ = ("now", "rank", "__weakref__")

    def __init__(self, rank: int | None = None) -> None:
        self.now, self.rank = threading.RLock(), rank
        _made.add(self)

    def __reduce__(self) -> tuple[type[Lock], tuple[int | None]]:
        return Lock, (self.rank,)  # copies of objects get locks of their own


_made: WeakSet[Lock] = WeakSet()
_taken: list[Any] = []  # by the fork in progress


def _before_fork() -> None:
    """Wait for threads that compile or load.

    Handlers run in reverse order of registration: `logging`'s takes a lock that numba's import needs, and if it ran
    first, the fork would wait for a thread that waits for the fork (deadlock).
    """
    for lock in sorted((lock for lock in _made if lock.rank is not None), key=lambda lock: lock.rank or 0):
        if lock.now.acquire(timeout=PATIENCE):
            _taken.append(lock.now)


def _after_fork_in_parent() -> None:
    while _taken:
        _taken.pop().release()


def _after_fork_in_child() -> None:
    _taken.clear()
    for lock in list(_made):
        lock.now = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent,
                        after_in_child=_after_fork_in_child)
