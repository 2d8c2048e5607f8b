"""The works of derivatives.py in CasADi: sparse derivatives by its SX virtual machine."""

from __future__ import annotations

from typing import Any

import derivative_works as works
import numpy as np
from worker import Way


def begin(threads: int) -> str:
    """The version."""
    import casadi

    return casadi.__version__


def _way(ca: Any, x: Any, matrix: Any, given: np.ndarray) -> Way:
    """A sparse matrix as a function, called on buffers; values by rows, as SciPy orders them."""
    matrix = matrix.T  # CasADi orders by columns
    function = ca.Function("sparse", [x], [matrix])
    result = np.zeros(matrix.nnz())
    buffers, evaluate = function.buffer()
    buffers.set_arg(0, memoryview(given))
    buffers.set_res(0, memoryview(result))

    def run(steps: int) -> None:
        for _ in range(steps):
            evaluate()

    run(1)
    run.keeps = function, given, result, buffers  # type: ignore[attr-defined]
    return Way([works.shown(result)], {"result": result.copy()}, run)


def rosenbrock(work: Any) -> Way:
    import casadi as ca

    n = work.sizes[0]
    x = ca.SX.sym("x", n)
    value = ca.sum1(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)
    return _way(ca, x, ca.hessian(value, x)[0], work.rng().normal(size=n))


def reaction(work: Any) -> Way:
    import casadi as ca

    n = work.sizes[0]
    s = ca.SX.sym("s", 2 * n * n)
    a, b = (ca.reshape(s[k * n * n:(k + 1) * n * n], n, n) for k in range(2))

    def laplacian(c: Any) -> Any:
        row, column = ca.SX(1, n), ca.SX(n, 1)
        return (ca.vertcat(c[1:, :], row) + ca.vertcat(row, c[:-1, :]) + ca.horzcat(c[:, 1:], column)
                + ca.horzcat(column, c[:, :-1]) - 4.0 * c)

    f = ca.vertcat(ca.vec(laplacian(a) + a * a * b - a), ca.vec(laplacian(b) - a * a * b))
    return _way(ca, s, ca.jacobian(f, s), work.rng().normal(size=2 * n * n))


MAKERS = {"rosenbrock": rosenbrock, "reaction": reaction}
WAYS = {"CasADi": (lambda work: work.kind in MAKERS, lambda work: MAKERS[work.kind](work))}
