"""GARCH in HIPS autograd: the loop runs in Python."""

from __future__ import annotations

from typing import Any

import loop_works as works
from worker import Way


def begin(threads: int) -> str:
    """The version."""
    from importlib import metadata

    import autograd  # noqa: F401

    return metadata.version("autograd")


def garch(work: Any) -> Way:
    import autograd
    import autograd.numpy as anp
    from loops_tapegrad import repeated, timed

    def loss(p: Any, y: Any) -> Any:
        s, total = y[0] ** 2, 0.0
        for t in range(1, len(y)):
            s = p[0] + p[1] * y[t - 1] ** 2 + p[2] * s
            total = total + anp.log(s) + y[t] ** 2 / s
        return 0.5 * total

    function, given = autograd.value_and_grad(loss), works.arguments(work)
    (value, gradient), first = timed(function, given)
    return repeated(function, given, first, float(value), gradient)


WAYS = {"autograd": (lambda work: work.kind == "garch", garch)}
