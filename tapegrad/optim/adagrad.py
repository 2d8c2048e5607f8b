"""Adagrad."""

from __future__ import annotations

import math
from typing import Any

from ..engine.language import cast
from ..engine.row import double
from ..engine.walks.touched import stretch_length, stretch_start, stretches
from ..ops.table import Op
from .checks import at_least_zero
from .optimizer import Optimizer, Params
from .rows import State, Update

__all__ = ["Adagrad"]


class AdagradRow(Update):
    sum: State
    lr: double
    lr_decay: double
    weight_decay: float
    eps: float
    sign: float


def adagrad(op: AdagradRow, f: Any, i: Any, b: Any) -> int:
    # g = sign dL/dp + decay p;  s += g^2;  p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)
    n, listed = op.n, op.listed
    rate = cast(op.lr / (1.0 + op.steps * op.lr_decay), f)
    op.steps += 1
    decay, eps, sign = op.weight_decay, op.eps, op.sign
    length = stretch_length(listed, n, i)
    for r in range(stretches(listed, i)):
        start = stretch_start(listed, r, i)
        p, g, s = op.p + start, op.g + start, op.sum + start
        for k in range(length):
            d = sign * f[g + k] + decay * f[p + k]
            f[s + k] += d * d
            f[p + k] -= rate * d / (math.sqrt(f[s + k]) + eps)
    return 0


class Adagrad(Optimizer):
    """Adagrad: the gradient divided by the root of the sum of its squares so far.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor), or of dict
    lr : float, default 1e-2
    lr_decay : float, default 0
        Step `t` uses ``lr / (1 + (t - 1) lr_decay)``.
    weight_decay : float, default 0
    initial_accumulator_value : float, default 0
        Initial value of the sum.
    eps : float, default 1e-10
        Added to the root.
    maximize : bool, default False
    max_grad_norm, max_grad_value : float, optional
        See `Optimizer`.

    Raises
    ------
    ArgumentError
        If the parameter list is empty or a hyper-parameter is out of its range.

    Notes
    -----
    Duchi, Hazan, Singer, "Adaptive subgradient methods for online learning and stochastic optimization", JMLR 12,
    2011. The state is one array a parameter. With a row-sparse gradient (``Embedding(sparse=True)``) only the listed
    rows are updated, with the same result.
    """

    op, row = Op("adagrad", forward=adagrad), AdagradRow

    def __init__(self, params: Params, lr: float = 1e-2, lr_decay: float = 0.0, weight_decay: float = 0.0,
                 initial_accumulator_value: float = 0.0, eps: float = 1e-10, *, maximize: bool = False,
                 max_grad_norm: float | None = None, max_grad_value: float | None = None, **torch_only: Any) -> None:
        at_least_zero(lr=lr, lr_decay=lr_decay, weight_decay=weight_decay,
                      initial_accumulator_value=initial_accumulator_value, eps=eps)
        defaults = {"lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
                    "initial_accumulator_value": initial_accumulator_value, "maximize": maximize}
        super().__init__(params, defaults, max_grad_norm=max_grad_norm, max_grad_value=max_grad_value, **torch_only)

    def _hyper(self, group: dict[str, Any]) -> tuple[float, ...]:
        return (group["lr"], group["lr_decay"], group["weight_decay"], group["eps"],
                -1.0 if group["maximize"] else 1.0)

    def _refusal(self, group: dict[str, Any]) -> str | None:
        return None if group["weight_decay"] == 0.0 else "with weight_decay"

    def _initial(self, name: str, group: dict[str, Any]) -> float:
        return group["initial_accumulator_value"]
