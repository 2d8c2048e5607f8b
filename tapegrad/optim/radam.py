"""RAdam."""

from __future__ import annotations

import math
from typing import Any

from ..engine.language import cast
from ..engine.row import double
from ..ops.table import Op
from .checks import at_least_zero, decay_rates
from .optimizer import Optimizer, Params
from .rows import State, Update

__all__ = ["RAdam"]


class RAdamRow(Update):
    exp_avg: State
    exp_avg_sq: State
    lr: double
    beta1: double
    beta2: double
    eps: float
    weight_decay: double
    decoupled: double
    sign: float


def radam(op: RAdamRow, f: Any, i: Any, b: Any) -> int:
    # m, v as in Adam;  r = 2 / (1 - beta2) - 1, rho = r - 2 t beta2^t / (1 - beta2^t)
    # p -= lr / (1 - beta1^t) m, times, where rho > 5, sqrt(1 - beta2^t) / (sqrt(v) + eps)
    #      sqrt((rho - 4)(rho - 2) r / ((r - 4)(r - 2) rho))
    p, g, m, v, n = op.p, op.g, op.exp_avg, op.exp_avg_sq, op.n
    op.steps += 1
    t, lr, beta1, beta2, wd = op.steps, op.lr, op.beta1, op.beta2, op.weight_decay
    decoupled = op.decoupled != 0.0
    w1, b2, w2 = cast(1.0 - beta1, f), cast(beta2, f), cast(1.0 - beta2, f)
    shrink = cast(1.0 - lr * wd if decoupled else 1.0 + 0.0 * wd, f)
    decay = cast(0.0 * wd if decoupled else wd, f)
    eps, sign = op.eps, op.sign
    left = 1.0 - math.pow(beta2, t)
    most = 2.0 / (1.0 - beta2) - 1.0
    rho = most - 2.0 * t * math.pow(beta2, t) / left
    rate = lr / (1.0 - math.pow(beta1, t))
    if rho > 5.0:
        rate *= math.sqrt((rho - 4.0) * (rho - 2.0) * most / ((most - 4.0) * (most - 2.0) * rho) * left)
        adaptive = cast(rate, f)
        for k in range(n):
            x = f[p + k]
            d = sign * f[g + k] + decay * x
            f[m + k] += w1 * (d - f[m + k])
            f[v + k] = b2 * f[v + k] + w2 * d * d
            f[p + k] = shrink * x - adaptive * f[m + k] / (math.sqrt(f[v + k]) + eps)
        return 0
    plain = cast(rate, f)
    for k in range(n):
        x = f[p + k]
        d = sign * f[g + k] + decay * x
        f[m + k] += w1 * (d - f[m + k])
        f[v + k] = b2 * f[v + k] + w2 * d * d
        f[p + k] = shrink * x - plain * f[m + k]
    return 0


class RAdam(Optimizer):
    """Adam whose first steps, while the average of squares is too uncertain, do not divide by its root.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor), or of dict
    lr : float, default 1e-3
    betas : tuple of float, default (0.9, 0.999)
        Decay rates of the two averages.
    eps : float, default 1e-8
        Added to the root.
    weight_decay : float, default 0
    decoupled_weight_decay : bool, default False
        Shrink the parameter instead of adding to the gradient.
    maximize : bool, default False
    max_grad_norm, max_grad_value : float, optional
        See `Optimizer`.

    Raises
    ------
    ArgumentError
        If the parameter list is empty or a hyper-parameter is out of its range.

    Notes
    -----
    Liu et al., "On the variance of the adaptive learning rate and beyond", ICLR 2020. The state is two arrays a
    parameter.
    """

    op, row = Op("radam", forward=radam), RAdamRow

    def __init__(self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0.0, decoupled_weight_decay: bool = False, *, maximize: bool = False,
                 max_grad_norm: float | None = None, max_grad_value: float | None = None, **torch_only: Any) -> None:
        at_least_zero(lr=lr, eps=eps, weight_decay=weight_decay)
        defaults = {"lr": lr, "betas": decay_rates(betas), "eps": eps, "weight_decay": weight_decay,
                    "maximize": maximize, "decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, defaults, max_grad_norm=max_grad_norm, max_grad_value=max_grad_value, **torch_only)

    def _hyper(self, group: dict[str, Any]) -> tuple[float, ...]:
        return (group["lr"], *group["betas"], group["eps"], group["weight_decay"],
                1.0 if group["decoupled_weight_decay"] else 0.0, -1.0 if group["maximize"] else 1.0)
