"""LAMB."""

from __future__ import annotations

import math
from typing import Any

from ..engine.language import cast, device, wide
from ..engine.row import double
from ..ops.table import Op
from .checks import at_least_zero, decay_rates
from .optimizer import Optimizer, Params
from .rows import State, Update

__all__ = ["LAMB"]


class LAMBRow(Update):
    exp_avg: State
    exp_avg_sq: State
    lr: double
    beta1: double
    beta2: double
    eps: float
    weight_decay: float
    sign: float


@device
def lamb_direction(f: Any, p: int, m: int, v: int, c1: Any, c2: Any, eps: Any, decay: Any) -> Any:
    """m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps) + decay p."""
    return f[m] * c1 / (math.sqrt(f[v] * c2) + eps) + decay * f[p]


def lamb(op: LAMBRow, f: Any, i: Any, b: Any) -> int:
    # m, v as in Adam;  u = m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps) + decay p
    # p -= lr |p| / |u| u, where neither norm is 0, else p -= lr u
    p, g, m, v, n = op.p, op.g, op.exp_avg, op.exp_avg_sq, op.n
    op.steps += 1
    beta1, beta2 = op.beta1, op.beta2
    w1, b2, w2 = cast(1.0 - beta1, f), cast(beta2, f), cast(1.0 - beta2, f)
    c1, c2 = cast(1.0 / (1.0 - math.pow(beta1, op.steps)), f), cast(1.0 / (1.0 - math.pow(beta2, op.steps)), f)
    eps, decay, sign = op.eps, op.weight_decay, op.sign
    for k in range(n):
        d = sign * f[g + k]
        f[m + k] += w1 * (d - f[m + k])
        f[v + k] = b2 * f[v + k] + w2 * d * d
    length = 0.0 * op.lr
    step = length
    for k in range(n):
        x, u = wide(f[p + k]), wide(lamb_direction(f, p + k, m + k, v + k, c1, c2, eps, decay))
        length += x * x
        step += u * u
    trust = 1.0 + 0.0 * op.lr
    if length != 0.0 and step != 0.0:
        trust = math.sqrt(length) / math.sqrt(step)
    rate = cast(op.lr * trust, f)
    for k in range(n):
        f[p + k] -= rate * lamb_direction(f, p + k, m + k, v + k, c1, c2, eps, decay)
    return 0


class LAMB(Optimizer):
    """Adam's direction, each parameter's step as long as the parameter times the rate: for large batches.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor), or of dict
    lr : float, default 1e-3
    betas : tuple of float, default (0.9, 0.999)
        Decay rates of the two averages.
    eps : float, default 1e-6
        Added to the root.
    weight_decay : float, default 0
        Added, times the parameter, to the direction.
    maximize : bool, default False
    max_grad_norm, max_grad_value : float, optional
        See `Optimizer`.

    Raises
    ------
    ArgumentError
        If the parameter list is empty or a hyper-parameter is out of its range.

    Notes
    -----
    Not in PyTorch; You et al., "Large batch optimization for deep learning: training BERT in 76 minutes", ICLR 2020,
    algorithm 2, with the identity for phi and a trust ratio of 1 where one of the norms is 0. The state is two arrays a
    parameter.
    """

    op, row, whole = Op("lamb", forward=lamb), LAMBRow, True

    def __init__(self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-6,
                 weight_decay: float = 0.0, *, maximize: bool = False, max_grad_norm: float | None = None,
                 max_grad_value: float | None = None, **torch_only: Any) -> None:
        at_least_zero(lr=lr, eps=eps, weight_decay=weight_decay)
        defaults = {"lr": lr, "betas": decay_rates(betas), "eps": eps, "weight_decay": weight_decay,
                    "maximize": maximize}
        super().__init__(params, defaults, max_grad_norm=max_grad_norm, max_grad_value=max_grad_value, **torch_only)

    def _hyper(self, group: dict[str, Any]) -> tuple[float, ...]:
        return (group["lr"], *group["betas"], group["eps"], group["weight_decay"], -1.0 if group["maximize"] else 1.0)
