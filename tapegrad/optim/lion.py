"""Lion."""

from __future__ import annotations

from typing import Any

from ..engine.language import cast
from ..engine.row import double
from ..ops.table import Op
from .checks import at_least_zero, decay_rates
from .optimizer import Optimizer, Params
from .rows import State, Update

__all__ = ["Lion"]


class LionRow(Update):
    exp_avg: State
    lr: double
    beta1: double
    beta2: double
    weight_decay: double
    sign: float


def lion(op: LionRow, f: Any, i: Any, b: Any) -> int:
    # g = sign dL/dp;  p = (1 - lr decay) p - lr sign(beta1 m + (1 - beta1) g);  m = beta2 m + (1 - beta2) g
    p, g, m, n = op.p, op.g, op.exp_avg, op.n
    op.steps += 1
    b1, w1, b2, w2 = cast(op.beta1, f), cast(1.0 - op.beta1, f), cast(op.beta2, f), cast(1.0 - op.beta2, f)
    lr, shrink, sign = cast(op.lr, f), cast(1.0 - op.lr * op.weight_decay, f), op.sign
    for k in range(n):
        d, own = sign * f[g + k], f[m + k]
        c = b1 * own + w1 * d
        f[m + k] = b2 * own + w2 * d
        f[p + k] = shrink * f[p + k] - (lr if c > 0.0 else (-lr if c < 0.0 else 0.0 * c))
    return 0


class Lion(Optimizer):
    """Lion: steps of one length, along the sign of a running average of the gradient.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor), or of dict
    lr : float, default 1e-4
    betas : tuple of float, default (0.9, 0.99)
        Weights of the average in the step, and in its own update.
    weight_decay : float, default 0
        Decoupled: the parameter shrinks by ``lr weight_decay`` each step.
    maximize : bool, default False
    max_grad_norm, max_grad_value : float, optional
        See `Optimizer`.

    Raises
    ------
    ArgumentError
        If the parameter list is empty or a hyper-parameter is out of its range.

    Notes
    -----
    Not in PyTorch; Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023, algorithm 2. The state
    is one array a parameter.
    """

    op, row = Op("lion", forward=lion), LionRow

    def __init__(self, params: Params, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99),
                 weight_decay: float = 0.0, *, maximize: bool = False, max_grad_norm: float | None = None,
                 max_grad_value: float | None = None, **torch_only: Any) -> None:
        at_least_zero(lr=lr, weight_decay=weight_decay)
        defaults = {"lr": lr, "betas": decay_rates(betas), "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults, max_grad_norm=max_grad_norm, max_grad_value=max_grad_value, **torch_only)

    def _hyper(self, group: dict[str, Any]) -> tuple[float, ...]:
        return (group["lr"], *group["betas"], group["weight_decay"], -1.0 if group["maximize"] else 1.0)
