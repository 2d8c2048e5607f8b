"""NAdam."""

from __future__ import annotations

import math
from typing import Any

from ..engine.language import cast
from ..engine.row import double
from ..ops.table import Op
from .checks import at_least_zero, decay_rates
from .optimizer import Optimizer, Params
from .rows import State, Update

__all__ = ["NAdam"]


class NAdamRow(Update):
    mu_product: State
    exp_avg: State
    exp_avg_sq: State
    lr: double
    beta1: double
    beta2: double
    eps: float
    weight_decay: double
    log_momentum_decay: double  # psi ln 0.96
    decoupled: double
    sign: float


def nadam(op: NAdamRow, f: Any, i: Any, b: Any) -> int:
    # mu(t) = beta1 (1 - 0.96^(t psi) / 2);  M = mu(1) ... mu(t);  m, v as in Adam
    # p -= lr ((1 - mu(t)) / (1 - M) g + mu(t+1) / (1 - M mu(t+1)) m) / (sqrt(v / (1 - beta2^t)) + eps)
    p, g, product, m, v, n = op.p, op.g, op.mu_product, op.exp_avg, op.exp_avg_sq, op.n
    op.steps += 1
    t, lr, beta1, beta2, wd = op.steps, op.lr, op.beta1, op.beta2, op.weight_decay
    decoupled = op.decoupled != 0.0
    mu = beta1 * (1.0 - 0.5 * math.exp(t * op.log_momentum_decay))
    next_mu = beta1 * (1.0 - 0.5 * math.exp((t + 1) * op.log_momentum_decay))
    f[product] *= cast(mu, f)
    cg = cast(lr * (1.0 - mu) / (1.0 - f[product]), f)
    cm = cast(lr * next_mu / (1.0 - f[product] * next_mu), f)
    w1, b2, w2 = cast(1.0 - beta1, f), cast(beta2, f), cast(1.0 - beta2, f)
    correction = cast(1.0 / (1.0 - math.pow(beta2, t)), f)
    shrink = cast(1.0 - lr * wd if decoupled else 1.0 + 0.0 * wd, f)
    decay = cast(0.0 * wd if decoupled else wd, f)
    eps, sign = op.eps, op.sign
    for k in range(n):
        x = f[p + k]
        d = sign * f[g + k] + decay * x
        f[m + k] += w1 * (d - f[m + k])
        f[v + k] = b2 * f[v + k] + w2 * d * d
        f[p + k] = shrink * x - (cg * d + cm * f[m + k]) / (math.sqrt(f[v + k] * correction) + eps)
    return 0


class NAdam(Optimizer):
    """Adam with Nesterov's momentum.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor), or of dict
    lr : float, default 2e-3
    betas : tuple of float, default (0.9, 0.999)
        Decay rates of the two averages.
    eps : float, default 1e-8
        Added to the denominator.
    weight_decay : float, default 0
    momentum_decay : float, default 4e-3
        ``psi`` in ``mu(t) = beta1 (1 - 0.96^(t psi) / 2)``.
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
    Dozat, "Incorporating Nesterov momentum into Adam", ICLR workshop 2016. The state is two arrays and one number a
    parameter.
    """

    op, row = Op("nadam", forward=nadam), NAdamRow
    scalar_states = frozenset({"mu_product"})

    def __init__(self, params: Params, lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0.0, momentum_decay: float = 4e-3, decoupled_weight_decay: bool = False, *,
                 maximize: bool = False, max_grad_norm: float | None = None, max_grad_value: float | None = None,
                 **torch_only: Any) -> None:
        at_least_zero(lr=lr, eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay)
        defaults = {"lr": lr, "betas": decay_rates(betas), "eps": eps, "weight_decay": weight_decay,
                    "momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay,
                    "maximize": maximize}
        super().__init__(params, defaults, max_grad_norm=max_grad_norm, max_grad_value=max_grad_value, **torch_only)

    def _hyper(self, group: dict[str, Any]) -> tuple[float, ...]:
        return (group["lr"], *group["betas"], group["eps"], group["weight_decay"],
                group["momentum_decay"] * math.log(0.96), 1.0 if group["decoupled_weight_decay"] else 0.0,
                -1.0 if group["maximize"] else 1.0)

    def _initial(self, name: str, group: dict[str, Any]) -> float:
        return 1.0 if name == "mu_product" else 0.0
