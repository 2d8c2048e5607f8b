"""Adamax."""

from __future__ import annotations

import math
from typing import Any

from ..engine.language import cast
from ..engine.row import double
from ..ops.table import Op
from .checks import at_least_zero, decay_rates
from .optimizer import Optimizer, Params
from .rows import State, Update

__all__ = ["Adamax"]


class AdamaxRow(Update):
    exp_avg: State
    exp_inf: State
    lr: double
    beta1: double
    beta2: double
    eps: float
    weight_decay: float
    sign: float


def adamax(op: AdamaxRow, f: Any, i: Any, b: Any) -> int:
    # g = sign dL/dp + decay p;  m += (1 - beta1)(g - m);  u = max(beta2 u, |g| + eps);  p -= lr / (1 - beta1^t) m / u
    p, g, m, u, n = op.p, op.g, op.exp_avg, op.exp_inf, op.n
    op.steps += 1
    lr, beta1 = op.lr, op.beta1
    w1, b2 = cast(1.0 - beta1, f), cast(op.beta2, f)
    rate = cast(lr / (1.0 - math.pow(beta1, op.steps)), f)
    eps, decay, sign = op.eps, op.weight_decay, op.sign
    for k in range(n):
        d = sign * f[g + k] + decay * f[p + k]
        f[m + k] += w1 * (d - f[m + k])
        s, kept = math.fabs(d) + eps, b2 * f[u + k]
        s = kept if kept > s else s
        f[u + k] = s
        f[p + k] -= rate * f[m + k] / s
    return 0


class Adamax(Optimizer):
    """Adam with the largest magnitude of the gradient, decayed, instead of the average of its square.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor), or of dict
    lr : float, default 2e-3
    betas : tuple of float, default (0.9, 0.999)
        Decay rates of the average and of the magnitude.
    eps : float, default 1e-8
        Added to the magnitude of each gradient.
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
    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, section 7.1. The state is two arrays a
    parameter.
    """

    op, row = Op("adamax", forward=adamax), AdamaxRow

    def __init__(self, params: Params, lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0.0, *, maximize: bool = False, max_grad_norm: float | None = None,
                 max_grad_value: float | None = None, **torch_only: Any) -> None:
        at_least_zero(lr=lr, eps=eps, weight_decay=weight_decay)
        defaults = {"lr": lr, "betas": decay_rates(betas), "eps": eps, "weight_decay": weight_decay,
                    "maximize": maximize}
        super().__init__(params, defaults, max_grad_norm=max_grad_norm, max_grad_value=max_grad_value, **torch_only)

    def _hyper(self, group: dict[str, Any]) -> tuple[float, ...]:
        return (group["lr"], *group["betas"], group["eps"], group["weight_decay"], -1.0 if group["maximize"] else 1.0)
