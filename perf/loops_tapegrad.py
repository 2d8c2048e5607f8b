"""The works of loops.py by tg.njit; beside it numba's value alone, and an adjoint by hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import loop_works as works
from worker import Way


def begin(threads: int) -> str:
    """The version."""
    import numba  # noqa: F401  # a user of loops has imported it

    import tapegrad as tg

    tg.set_num_threads(threads)
    return tg.__version__


def repeated(function: Callable, given: Any, first: float, value: float, gradient: Any) -> Way:
    """A way that calls a function again and again."""

    def run(steps: int) -> None:
        for _ in range(steps):
            function(*given)

    return Way([value], {"gradient": gradient}, run, first=first)


def timed(function: Callable, given: Any) -> tuple[Any, float]:
    """The result of a first call, and its seconds."""
    began = time.perf_counter()
    return function(*given), time.perf_counter() - began


def differentiated(work: Any) -> Callable:
    """Value and gradient by the first argument."""
    import tapegrad as tg

    return tg.value_and_grad(tg.njit(getattr(works, work.kind)))


def derived(work: Any) -> Way:
    function, given = differentiated(work), works.arguments(work)
    (value, gradient), first = timed(function, given)
    return repeated(function, given, first, float(value), gradient)


def value_alone(work: Any) -> Way:
    import numba

    function, given = numba.njit(getattr(works, work.kind)), works.arguments(work)
    value, first = timed(function, given)
    return repeated(function, given, first, float(value), derived(work).gradients["gradient"])


def by_hand(work: Any) -> Way:
    import numba

    function, given = numba.njit(error_model="numpy")(works.garch_by_hand), works.arguments(work)
    (value, gradient), first = timed(function, given)
    return repeated(function, given, first, value, gradient)


WAYS = {
    "tapegrad": (lambda work: True, derived),
    "numba, value alone": (lambda work: True, value_alone),
    "numba, by hand": (lambda work: work.kind == "garch", by_hand),
}
