"""GARCH in CasADi: the loop written out, by its SX virtual machine."""

from __future__ import annotations

import time
from typing import Any

import loop_works as works
import numpy as np
from worker import Way


def begin(threads: int) -> str:
    """The version."""
    import casadi

    return casadi.__version__


def garch(work: Any) -> Way:
    import casadi as ca

    given, y = works.arguments(work)
    began = time.perf_counter()
    p, data = ca.SX.sym("p", 3), ca.SX.sym("y", len(y))
    s, total = data[0] ** 2, 0.0
    for t in range(1, len(y)):
        s = p[0] + p[1] * data[t - 1] ** 2 + p[2] * s
        total += ca.log(s) + data[t] ** 2 / s
    total *= 0.5
    function = ca.Function("garch", [p, data], [total, ca.gradient(total, p)])
    value, gradient = np.zeros(1), np.zeros(3)
    buffers, evaluate = function.buffer()
    for k, a in enumerate((given, y)):
        buffers.set_arg(k, memoryview(a))
    for k, a in enumerate((value, gradient)):
        buffers.set_res(k, memoryview(a))

    def run(steps: int) -> None:
        for _ in range(steps):
            evaluate()

    run(1)
    run.keeps = function, given, y, value, gradient, buffers  # type: ignore[attr-defined]
    return Way([float(value[0])], {"gradient": gradient.copy()}, run, first=time.perf_counter() - began)


WAYS = {"CasADi": (lambda work: work.kind == "garch", garch)}
