"""Adam and AdamW."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..engine.language import cast
from ..engine.row import double
from ..errors import ArgumentError
from ..ops.table import Op
from .checks import at_least_zero, decay_rates
from .optimizer import Optimizer, Params
from .rows import State, Update

__all__ = ["Adam", "AdamW"]


class AdamRow(Update):
    exp_avg: State
    exp_avg_sq: State
    max_exp_avg_sq: State
    lr: double
    beta1: double
    beta2: double
    eps: float
    weight_decay: double
    amsgrad: double
    decoupled: double
    sign: float


def adam(op: AdamRow, f: Any, i: Any, b: Any) -> int:
    # g = sign dL/dp + decay p;  m += (1 - beta1)(g - m);  v = beta2 v + (1 - beta2) g^2
    # p -= lr / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps);  decoupled: p *= 1 - lr decay instead
    p, g, m, v, top, n = op.p, op.g, op.exp_avg, op.exp_avg_sq, op.max_exp_avg_sq, op.n
    op.steps += 1
    lr, beta1, beta2, wd = op.lr, op.beta1, op.beta2, op.weight_decay
    decoupled = op.decoupled != 0.0
    w1, b2, w2 = cast(1.0 - beta1, f), cast(beta2, f), cast(1.0 - beta2, f)
    rate = cast(lr / (1.0 - math.pow(beta1, op.steps)), f)
    root = cast(1.0 / math.sqrt(1.0 - math.pow(beta2, op.steps)), f)
    shrink = cast(1.0 - lr * wd if decoupled else 1.0 + 0.0 * wd, f)
    decay = cast(0.0 * wd if decoupled else wd, f)
    eps, sign = op.eps, op.sign
    if op.amsgrad == 0.0:
        for k in range(n):
            x = f[p + k]
            d = sign * f[g + k] + decay * x
            f[m + k] += w1 * (d - f[m + k])
            f[v + k] = b2 * f[v + k] + w2 * d * d
            f[p + k] = shrink * x - rate * f[m + k] / (math.sqrt(f[v + k]) * root + eps)
        return 0
    for k in range(n):  # two loops: LLVM gives up on the alias checks of five arrays
        d = sign * f[g + k] + decay * f[p + k]
        f[m + k] += w1 * (d - f[m + k])
        f[v + k] = b2 * f[v + k] + w2 * d * d
    for k in range(n):
        s = f[v + k]
        s = f[top + k] if f[top + k] > s else s
        f[top + k] = s
        f[p + k] = shrink * f[p + k] - rate * f[m + k] / (math.sqrt(s) * root + eps)
    return 0


class Adam(Optimizer):
    """Adam: steps scaled by running averages of the gradient and of its square.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor), or of dict
    lr : float, default 1e-3
    betas : tuple of float, default (0.9, 0.999)
        Decay rates of the two averages.
    eps : float, default 1e-8
        Added to the denominator.
    weight_decay : float, default 0
    amsgrad : bool, default False
        Divide by the largest second average so far.
    maximize : bool, default False
    decoupled_weight_decay : bool, default False
        Shrink the parameter instead of adding to the gradient: `AdamW`.
    max_grad_norm, max_grad_value : float, optional
        See `Optimizer`.

    Raises
    ------
    ArgumentError
        If the parameter list is empty or a hyper-parameter is out of its range.

    Notes
    -----
    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015; amsgrad: Reddi, Kale, Kumar, "On the
    convergence of Adam and beyond", ICLR 2018. The state is two arrays a parameter, with amsgrad three.
    """

    op, row = Op("adam", forward=adam), AdamRow

    def __init__(self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0.0, amsgrad: bool = False, *, maximize: bool = False,
                 decoupled_weight_decay: bool = False, max_grad_norm: float | None = None,
                 max_grad_value: float | None = None, **torch_only: Any) -> None:
        at_least_zero(lr=lr, eps=eps, weight_decay=weight_decay)
        defaults = {"lr": lr, "betas": decay_rates(betas), "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
                    "maximize": maximize, "decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, defaults, max_grad_norm=max_grad_norm, max_grad_value=max_grad_value, **torch_only)

    def _hyper(self, group: dict[str, Any]) -> tuple[float, ...]:
        return (group["lr"], *group["betas"], group["eps"], group["weight_decay"], 1.0 if group["amsgrad"] else 0.0,
                1.0 if group["decoupled_weight_decay"] else 0.0, -1.0 if group["maximize"] else 1.0)

    def _needs(self, group: dict[str, Any]) -> Sequence[str]:
        return self.row.state_names if group["amsgrad"] else self.row.state_names[:2]


class AdamW(Adam):
    """Adam with decoupled weight decay: the parameter shrinks by ``lr weight_decay`` each step.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor), or of dict
    lr : float, default 1e-3
    betas : tuple of float, default (0.9, 0.999)
    eps : float, default 1e-8
    weight_decay : float, default 1e-2
    amsgrad : bool, default False
    maximize : bool, default False
    max_grad_norm, max_grad_value : float, optional
        See `Optimizer`.

    Notes
    -----
    Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """

    def __init__(self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False,
                 max_grad_norm: float | None = None, max_grad_value: float | None = None, **torch_only: Any) -> None:
        if not torch_only.pop("decoupled_weight_decay", True):
            raise ArgumentError("AdamW's weight decay is decoupled; use Adam for the other")
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True,
                         max_grad_norm=max_grad_norm, max_grad_value=max_grad_value, **torch_only)
