"""Thread-local state: the tapes, and whether ops record; global version counters."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Generator
from functools import wraps
from itertools import count
from typing import Any

import numpy as np

from ..engine.locks import Lock
from ..engine.storage import Changes
from ..errors import ArgumentError

_lock = Lock()
#: stands for a missing attribute
ABSENT: Any = object()


class Modes:
    """Global version counter of what recordings depend on besides their arguments, over all threads.

    That is modules (see `Version`), which leaves are frozen, and the leaves' addresses. As long as the number stays, a
    valid recording is valid. A change increments it after it was made.

    Attributes
    ----------
    changes : int
        The number of one of the last changes; no two have the same.
    recordings : int
        Recordings in the making.
    """

    changes = recordings = 0
    _numbers = count(1)

    @classmethod
    def changed(cls) -> int:
        """Count a change; returns its number."""
        number = cls.changes = next(cls._numbers)
        return number

    @classmethod
    def record(cls, more: int) -> None:
        """Count `more` recordings in the making."""
        with _lock.now:
            cls.recordings += more


Changes.notice = Modes.changed


class Version:
    """Version counter of a module's attributes, parameters, buffers and children.

    Attributes
    ----------
    number : int
        Of the last change, in the numbers of `Modes`.
    made : int
        Of the module's construction.
    assigned : dict of str to int
        Of the last assignment to each attribute by code that is not being recorded.
    look : object
        Snapshot of the module that a recording took, for the next one; None after a change.
    """

    __slots__ = ("number", "made", "assigned", "look")

    def __init__(self) -> None:
        self.number = self.made = Modes.changed()
        self.assigned: dict[str, int] = {}
        self.look: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Version, ()

    def changed(self) -> None:
        """Count a change."""
        self.number, self.look = Modes.changed(), None

    def attribute(self, name: str) -> None:
        """Count an assignment or deletion of an attribute by code that is not being recorded."""
        self.assigned[name] = self.number = Modes.changed()
        self.look = None


class Forgotten:
    """Counts how often gradients were set to None, over all threads."""

    count = 0


class ThreadState(threading.local):
    """A default tape a dtype, the tapes entered by ``with``, and the modes; one for each thread."""

    def __init__(self) -> None:
        self.grad_enabled = True
        self.grad_before: list[bool] = []  # stack of `no_grad` and `enable_grad`
        self.capture: Any = None
        self.segment: Any = None  # innermost `checkpoint` segment
        self.holds = False  # whether instructions save all of their operands, for derivatives of higher order
        self.transforming = 0  # nesting depth of functions that are being differentiated
        self.entered: list[Any] = []
        self.defaults: dict[np.dtype, Any] = {}

    def wants(self, t: Any) -> bool:
        """Whether an op on `t` now would need the adjoint of `t`."""
        return self.grad_enabled and t.requires_grad and (self.capture is None or self.capture.wants(t))


state = ThreadState()


class _GradMode:
    """Context manager and decorator that switches recording on or off."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled

    def __enter__(self) -> None:
        state.grad_before.append(state.grad_enabled)  # thread-local: several threads may enter one object
        state.grad_enabled = self._enabled

    def __exit__(self, *error: Any) -> None:
        state.grad_enabled = state.grad_before.pop()

    def __call__(self, function: Callable) -> Callable:
        enabled = self._enabled
        switched: Callable
        if inspect.isasyncgenfunction(function):
            raise ArgumentError(f"no_grad and enable_grad decorate no asynchronous generators ({function.__name__}); "
                                "enter one within, between two yields")
        if inspect.isgeneratorfunction(function):
            @wraps(function)
            def switched(*args: Any, **kwargs: Any) -> Any:
                return _steps(enabled, function(*args, **kwargs))

        elif inspect.iscoroutinefunction(function):
            @wraps(function)
            async def switched(*args: Any, **kwargs: Any) -> Any:
                return await _Awaited(enabled, function(*args, **kwargs))

        else:
            @wraps(function)
            def switched(*args: Any, **kwargs: Any) -> Any:
                with _GradMode(enabled):
                    return function(*args, **kwargs)

        return switched


def _steps(enabled: bool, inner: Any) -> Generator[Any, Any, Any]:
    """A generator whose steps run in a mode; code between the steps keeps its own."""
    step, given = inner.send, None
    while True:
        try:
            with _GradMode(enabled):
                value = step(given)
        except StopIteration as end:
            return end.value
        try:
            step, given = inner.send, (yield value)
        except GeneratorExit:
            with _GradMode(enabled):
                inner.close()
            raise
        except BaseException as error:
            step, given = inner.throw, error


class _Awaited:
    """A coroutine that runs in a mode; tasks that run while it waits keep their own."""

    def __init__(self, enabled: bool, coroutine: Any) -> None:
        self._enabled, self._coroutine = enabled, coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        return _steps(self._enabled, self._coroutine.__await__())


def no_grad() -> _GradMode:
    """Ops inside record nothing; also a decorator, of generators and coroutines too.

    The mode is thread-local: where a ``with`` block yields or awaits, other code of the thread records nothing either.
    A decorated generator or coroutine switches at each of its steps.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> with tg.no_grad():
    ...     y = x * x
    >>> y.requires_grad
    False
    """
    return _GradMode(False)


def enable_grad() -> _GradMode:
    """Ops inside record again, within `no_grad`; also a decorator."""
    return _GradMode(True)


def is_grad_enabled() -> bool:
    """Whether ops record on the tape."""
    return state.grad_enabled
