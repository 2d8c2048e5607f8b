"""Adadelta."""

from __future__ import annotations

import math
from typing import Any

from ..engine.language import cast
from ..engine.row import double
from ..errors import ArgumentError
from ..ops.table import Op
from .checks import at_least_zero
from .optimizer import Optimizer, Params
from .rows import State, Update

__all__ = ["Adadelta"]


class AdadeltaRow(Update):
    square_avg: State
    acc_delta: State
    lr: float
    rho: double
    eps: float
    weight_decay: float
    sign: float


def adadelta(op: AdadeltaRow, f: Any, i: Any, b: Any) -> int:
    # g = sign dL/dp + decay p;  v = rho v + (1 - rho) g^2;  d = sqrt(u + eps) / sqrt(v + eps) g
    # u = rho u + (1 - rho) d^2;  p -= lr d
    p, g, v, u, n = op.p, op.g, op.square_avg, op.acc_delta, op.n
    op.steps += 1
    lr, rho, eps, decay = op.lr, cast(op.rho, f), op.eps, op.weight_decay
    sign, fresh = op.sign, cast(1.0 - op.rho, f)
    for k in range(n):
        d = sign * f[g + k] + decay * f[p + k]
        f[v + k] = rho * f[v + k] + fresh * d * d
        d = math.sqrt(f[u + k] + eps) / math.sqrt(f[v + k] + eps) * d
        f[u + k] = rho * f[u + k] + fresh * d * d
        f[p + k] -= lr * d
    return 0


class Adadelta(Optimizer):
    """Adadelta: steps in the units of the parameter, from running averages of squared gradients and steps.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor), or of dict
    lr : float, default 1.0
        Scales the step.
    rho : float, default 0.9
        Decay rate of both averages, 0 to 1.
    eps : float, default 1e-6
        Added under both roots.
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
    Zeiler, "ADADELTA: an adaptive learning rate method", arXiv:1212.5701. The state is two arrays a parameter.
    """

    op, row = Op("adadelta", forward=adadelta), AdadeltaRow

    def __init__(self, params: Params, lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6,
                 weight_decay: float = 0.0, *, maximize: bool = False, max_grad_norm: float | None = None,
                 max_grad_value: float | None = None, **torch_only: Any) -> None:
        at_least_zero(lr=lr, eps=eps, weight_decay=weight_decay)
        if not 0.0 <= rho <= 1.0:
            raise ArgumentError(f"rho must be between 0 and 1, got {rho}")
        defaults = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults, max_grad_norm=max_grad_norm, max_grad_value=max_grad_value, **torch_only)

    def _hyper(self, group: dict[str, Any]) -> tuple[float, ...]:
        return (group["lr"], group["rho"], group["eps"], group["weight_decay"], -1.0 if group["maximize"] else 1.0)
