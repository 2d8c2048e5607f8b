"""Adam for row-sparse gradients."""

from __future__ import annotations

import math
from typing import Any

from ..engine.language import cast
from ..engine.row import double
from ..engine.walks.touched import stretch_length, stretch_start, stretches
from ..ops.table import Op
from .checks import above_zero, decay_rates
from .optimizer import Optimizer, Params
from .rows import State, Update

__all__ = ["SparseAdam"]


class SparseAdamRow(Update):
    exp_avg: State
    exp_avg_sq: State
    lr: double
    beta1: double
    beta2: double
    eps: float
    sign: float


def sparse_adam(op: SparseAdamRow, f: Any, i: Any, b: Any) -> int:
    # in the rows that are listed: m += (1 - beta1)(g - m);  v += (1 - beta2)(g^2 - v)
    # p -= lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)
    op.steps += 1
    lr, beta1, beta2 = op.lr, op.beta1, op.beta2
    w1, w2 = cast(1.0 - beta1, f), cast(1.0 - beta2, f)
    rate = cast(lr * math.sqrt(1.0 - math.pow(beta2, op.steps)) / (1.0 - math.pow(beta1, op.steps)), f)
    eps, sign, listed = op.eps, op.sign, op.listed
    length = stretch_length(listed, op.n, i)
    for s in range(stretches(listed, i)):
        start = stretch_start(listed, s, i)
        p, g, m, v = op.p + start, op.g + start, op.exp_avg + start, op.exp_avg_sq + start
        for k in range(length):
            d = sign * f[g + k]
            f[m + k] += w1 * (d - f[m + k])
            f[v + k] += w2 * (d * d - f[v + k])
            f[p + k] -= rate * f[m + k] / (math.sqrt(f[v + k]) + eps)
    return 0


class SparseAdam(Optimizer):
    """Lazy Adam for tables: a step updates only the rows that its gradient touches, and their averages.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor), or of dict
    lr : float, default 1e-3
    betas : tuple of float, default (0.9, 0.999)
        Decay rates of the two averages.
    eps : float, default 1e-8
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
    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, with epsilon added before the bias
    correction, as at the end of its section 2. The averages of an untouched row do not decay, and the row does not
    change; the bias correction counts all steps. The state is two arrays a parameter.

    For a dense gradient (of a layer beside the tables, say) every row counts as touched, where PyTorch raises: so one
    optimiser can train a whole model in one recorded step.

    Examples
    --------
    >>> import tapegrad as tg
    >>> from tapegrad import nn
    >>> table = nn.Embedding(1_000_000, 8, sparse=True)
    >>> step = tg.TrainStep(lambda k: table(k).square().sum(), SparseAdam(table.parameters()))
    >>> loss = step([3, 14, 159])
    >>> table.weight.node.touched.numbers.tolist()
    [3, 14, 159]
    """

    op, row = Op("sparse_adam", forward=sparse_adam), SparseAdamRow

    def __init__(self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 maximize: bool = False, *, max_grad_norm: float | None = None,
                 max_grad_value: float | None = None) -> None:
        above_zero(lr=lr, eps=eps)
        defaults = {"lr": lr, "betas": decay_rates(betas), "eps": eps, "maximize": maximize}
        super().__init__(params, defaults, max_grad_norm=max_grad_norm, max_grad_value=max_grad_value)

    def _hyper(self, group: dict[str, Any]) -> tuple[float, ...]:
        return group["lr"], *group["betas"], group["eps"], -1.0 if group["maximize"] else 1.0

    def _refusal(self, group: dict[str, Any]) -> str | None:
        return None
