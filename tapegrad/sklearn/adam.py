"""Adam with scikit-learn's place of epsilon."""

from __future__ import annotations

import math
from typing import Any

from ..engine.language import cast
from ..engine.row import double
from ..ops.table import Op
from ..optim.optimizer import Optimizer, Params
from ..optim.rows import State, Update

__all__ = ["ScaledAdam"]


class ScaledAdamRow(Update):
    exp_avg: State
    exp_avg_sq: State
    lr: double
    beta1: double
    beta2: double
    eps: float


def scaled_adam(op: ScaledAdamRow, f: Any, i: Any, b: Any) -> int:
    # m += (1 - beta1)(g - m);  v = beta2 v + (1 - beta2) g^2
    # p -= lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)
    p, g, m, v, n = op.p, op.g, op.exp_avg, op.exp_avg_sq, op.n
    op.steps += 1
    lr, beta1, beta2 = op.lr, op.beta1, op.beta2
    w1, b2, w2 = cast(1.0 - beta1, f), cast(beta2, f), cast(1.0 - beta2, f)
    rate = cast(lr * math.sqrt(1.0 - math.pow(beta2, op.steps)) / (1.0 - math.pow(beta1, op.steps)), f)
    eps = op.eps
    for k in range(n):
        d = f[g + k]
        f[m + k] += w1 * (d - f[m + k])
        f[v + k] = b2 * f[v + k] + w2 * d * d
        f[p + k] -= rate * f[m + k] / (math.sqrt(f[v + k]) + eps)
    return 0


class ScaledAdam(Optimizer):
    """Adam whose epsilon is added to the root of the second average before that is corrected for its start at zero.

    `tapegrad.optim.Adam`, as PyTorch, corrects first; the steps differ where gradients are as small as epsilon.

    Parameters
    ----------
    params : iterable of Tensor
    lr, beta_1, beta_2, epsilon : float

    Notes
    -----
    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, end of section 2.
    """

    op, row = Op("scaled_adam", forward=scaled_adam), ScaledAdamRow

    def __init__(self, params: Params, lr: float, beta_1: float, beta_2: float, epsilon: float) -> None:
        super().__init__(params, {"lr": lr, "betas": (beta_1, beta_2), "eps": epsilon})

    def _hyper(self, group: dict[str, Any]) -> tuple[float, ...]:
        return (group["lr"], *group["betas"], group["eps"])
