"""RMSprop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..engine.language import cast, device, wide
from ..engine.row import double
from ..ops.table import Op
from .checks import at_least_zero
from .optimizer import Optimizer, Params
from .rows import State, Update

__all__ = ["RMSprop"]


@device
def variance(f: Any, v: int, a: int) -> Any:
    """v - a^2, in float64: a^2 may overflow float32 where v does."""
    mean = wide(f[a])
    return cast(wide(f[v]) - mean * mean, f)


class RMSpropRow(Update):
    square_avg: State
    grad_avg: State
    momentum_buffer: State
    lr: float
    alpha: double
    eps: float
    weight_decay: float
    momentum: float
    centered: double
    sign: float


def rmsprop(op: RMSpropRow, f: Any, i: Any, b: Any) -> int:
    # g = sign dL/dp + decay p;  v = alpha v + (1 - alpha) g^2
    # u = v, centred: a += (1 - alpha)(g - a), u = v - a^2
    # p -= lr g / (sqrt(u) + eps);  with momentum: m = mu m + g / (sqrt(u) + eps), p -= lr m
    p, g, v, a, m, n = op.p, op.g, op.square_avg, op.grad_avg, op.momentum_buffer, op.n
    op.steps += 1
    lr, alpha, eps, decay = op.lr, cast(op.alpha, f), op.eps, op.weight_decay
    mu, sign, fresh = op.momentum, op.sign, cast(1.0 - op.alpha, f)
    if op.centered != 0.0:
        for k in range(n):
            d = sign * f[g + k] + decay * f[p + k]
            f[v + k] = alpha * f[v + k] + fresh * d * d
            f[a + k] += fresh * (d - f[a + k])
        if mu > 0.0:
            for k in range(n):
                d = sign * f[g + k] + decay * f[p + k]
                f[m + k] = mu * f[m + k] + d / (math.sqrt(variance(f, v + k, a + k)) + eps)
                f[p + k] -= lr * f[m + k]
        else:
            for k in range(n):
                d = sign * f[g + k] + decay * f[p + k]
                f[p + k] -= lr * d / (math.sqrt(variance(f, v + k, a + k)) + eps)
    elif mu > 0.0:
        for k in range(n):
            d = sign * f[g + k] + decay * f[p + k]
            f[v + k] = alpha * f[v + k] + fresh * d * d
            f[m + k] = mu * f[m + k] + d / (math.sqrt(f[v + k]) + eps)
            f[p + k] -= lr * f[m + k]
    else:
        for k in range(n):
            d = sign * f[g + k] + decay * f[p + k]
            f[v + k] = alpha * f[v + k] + fresh * d * d
            f[p + k] -= lr * d / (math.sqrt(f[v + k]) + eps)
    return 0


class RMSprop(Optimizer):
    """RMSprop: the gradient divided by the root of a running average of its square.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor), or of dict
    lr : float, default 1e-2
    alpha : float, default 0.99
        Decay rate of the average.
    eps : float, default 1e-8
        Added to the root.
    weight_decay : float, default 0
    momentum : float, default 0
    centered : bool, default False
        Divide by an estimate of the standard deviation instead.
    maximize : bool, default False
    max_grad_norm, max_grad_value : float, optional
        See `Optimizer`.

    Raises
    ------
    ArgumentError
        If the parameter list is empty or a hyper-parameter is out of its range.

    Notes
    -----
    Tieleman and Hinton, "Neural networks for machine learning", lecture 6.5, 2012; centred: Graves, "Generating
    sequences with recurrent neural networks", arXiv:1308.0850. The state is one to three arrays a parameter.
    """

    op, row = Op("rmsprop", forward=rmsprop), RMSpropRow

    def __init__(self, params: Params, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
                 weight_decay: float = 0.0, momentum: float = 0.0, centered: bool = False, *, maximize: bool = False,
                 max_grad_norm: float | None = None, max_grad_value: float | None = None, **torch_only: Any) -> None:
        at_least_zero(lr=lr, eps=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        defaults = {"lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
                    "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults, max_grad_norm=max_grad_norm, max_grad_value=max_grad_value, **torch_only)

    def _hyper(self, group: dict[str, Any]) -> tuple[float, ...]:
        return (group["lr"], group["alpha"], group["eps"], group["weight_decay"], group["momentum"],
                1.0 if group["centered"] else 0.0, -1.0 if group["maximize"] else 1.0)

    def _needs(self, group: dict[str, Any]) -> Sequence[str]:
        names = ["square_avg"]
        if group["centered"]:
            names.append("grad_avg")
        if group["momentum"] > 0.0:
            names.append("momentum_buffer")
        return names
