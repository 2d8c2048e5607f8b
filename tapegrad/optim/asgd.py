"""Averaged stochastic gradient descent."""

from __future__ import annotations

import math
from typing import Any

from ..engine.language import cast, wide
from ..engine.row import double
from ..ops.table import Op
from .checks import at_least_zero
from .optimizer import Optimizer, Params
from .rows import State, Update

__all__ = ["ASGD"]


class ASGDRow(Update):
    eta: State
    mu: State
    ax: State
    lr: double
    lambd: double
    alpha: double
    t0: double
    weight_decay: float
    sign: float


def asgd(op: ASGDRow, f: Any, i: Any, b: Any) -> int:
    # g = sign dL/dp + decay p;  p = (1 - lambd eta) p - eta g;  a += mu (p - a)
    # eta = lr / (1 + lambd lr t)^alpha;  mu = 1 / max(1, t - t0)
    p, g, a, n, lr, lambd = op.p, op.g, op.ax, op.n, op.lr, op.lambd
    if op.steps == 0:
        f[op.eta], f[op.mu] = cast(lr, f), cast(1.0 + 0.0 * lr, f)
    op.steps += 1
    eta, mu, decay, sign = f[op.eta], f[op.mu], op.weight_decay, op.sign
    shrink = cast(1.0 - lambd * wide(eta), f)
    if mu == 1.0:
        for k in range(n):
            x = f[p + k]
            x = shrink * x - eta * (sign * f[g + k] + decay * x)
            f[p + k] = x
            f[a + k] = x
    else:
        for k in range(n):
            x = f[p + k]
            x = shrink * x - eta * (sign * f[g + k] + decay * x)
            f[p + k] = x
            f[a + k] += mu * (x - f[a + k])
    f[op.eta] = cast(lr / math.pow(1.0 + lambd * lr * op.steps, op.alpha), f)
    late = op.steps - op.t0
    f[op.mu] = cast(1.0 / (late if late > 1.0 else 1.0 + 0.0 * late), f)
    return 0


class ASGD(Optimizer):
    """Stochastic gradient descent with a falling rate, and the average of its iterates.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor), or of dict
    lr : float, default 1e-2
        The first rate.
    lambd : float, default 1e-4
        Decay of the parameter, and of the rate: after step t it is ``lr / (1 + lambd lr t)^alpha``.
    alpha : float, default 0.75
    t0 : float, default 1e6
        Step from which on the average weighs iterates alike; before, it is the latest.
    weight_decay : float, default 0
    maximize : bool, default False
    max_grad_norm, max_grad_value : float, optional
        See `Optimizer`.

    Raises
    ------
    ArgumentError
        If the parameter list is empty or a hyper-parameter is out of its range.

    Notes
    -----
    The average is ``optimizer.state[parameter]["ax"]``. Polyak and Juditsky, "Acceleration of stochastic
    approximation by averaging", SIAM Journal on Control and Optimization 30, 1992. The state is one array and two
    numbers a parameter.
    """

    op, row = Op("asgd", forward=asgd), ASGDRow
    scalar_states = frozenset({"eta", "mu"})

    def __init__(self, params: Params, lr: float = 1e-2, lambd: float = 1e-4, alpha: float = 0.75, t0: float = 1e6,
                 weight_decay: float = 0.0, *, maximize: bool = False, max_grad_norm: float | None = None,
                 max_grad_value: float | None = None, **torch_only: Any) -> None:
        at_least_zero(lr=lr, weight_decay=weight_decay)
        defaults = {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay,
                    "maximize": maximize}
        super().__init__(params, defaults, max_grad_norm=max_grad_norm, max_grad_value=max_grad_value, **torch_only)

    def _hyper(self, group: dict[str, Any]) -> tuple[float, ...]:
        return (group["lr"], group["lambd"], group["alpha"], group["t0"], group["weight_decay"],
                -1.0 if group["maximize"] else 1.0)
