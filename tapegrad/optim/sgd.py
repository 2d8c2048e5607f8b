"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..engine.row import double
from ..engine.walks.touched import stretch_length, stretch_start, stretches
from ..errors import ArgumentError
from ..ops.table import Op
from .checks import at_least_zero
from .optimizer import Optimizer, Params
from .rows import State, Update

__all__ = ["SGD"]


class SGDRow(Update):
    momentum_buffer: State
    lr: float
    momentum: float
    dampening: float
    weight_decay: float
    nesterov: double
    sign: float


def sgd(op: SGDRow, f: Any, i: Any, b: Any) -> int:
    # g = sign dL/dp + decay p;  m = mu m + (1 - tau) g, at first m = g;  p -= lr m, Nesterov: p -= lr (g + mu m)
    p, g, m, n = op.p, op.g, op.momentum_buffer, op.n
    lr, mu, decay, sign = op.lr, op.momentum, op.weight_decay, op.sign
    if mu == 0.0:
        length = stretch_length(op.listed, n, i)
        for s in range(stretches(op.listed, i)):
            start = stretch_start(op.listed, s, i)
            x, d = p + start, g + start
            for k in range(length):
                f[x + k] -= lr * (sign * f[d + k] + decay * f[x + k])
        return 0
    keep, fresh = mu, 1.0 - op.dampening
    if op.steps == 0:
        keep, fresh = 0.0 * mu, 0.0 * mu + 1.0
    op.steps += 1
    if op.nesterov != 0.0:
        for k in range(n):
            d = sign * f[g + k] + decay * f[p + k]
            v = keep * f[m + k] + fresh * d
            f[m + k] = v
            f[p + k] -= lr * (d + mu * v)
    else:
        for k in range(n):
            v = keep * f[m + k] + fresh * (sign * f[g + k] + decay * f[p + k])
            f[m + k] = v
            f[p + k] -= lr * v
    return 0


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum, Nesterov's momentum and weight decay.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor), or of dict
    lr : float, default 1e-3
    momentum : float, default 0
    dampening : float, default 0
    weight_decay : float, default 0
    nesterov : bool, default False
        Needs momentum and no dampening.
    maximize : bool, default False
    max_grad_norm, max_grad_value : float, optional
        See `Optimizer`.

    Raises
    ------
    ArgumentError
        If the parameter list is empty or a hyper-parameter is out of its range.

    Notes
    -----
    ``m = momentum m + (1 - dampening) g``, at the first step ``m = g``; ``p -= lr m``, with Nesterov
    ``p -= lr (g + momentum m)`` (Sutskever et al., ICML 2013). The state is one array a parameter, and none
    without momentum.

    With a row-sparse gradient (``Embedding(sparse=True)``) only the listed rows are updated, with the same result; with
    momentum every row changes at every step, so all are visited.

    Examples
    --------
    >>> import tapegrad as tg
    >>> w = tg.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = SGD([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.numpy()
    array([ 0.5, -1. ], dtype=float32)
    """

    op, row = Op("sgd", forward=sgd), SGDRow

    def __init__(self, params: Params, lr: float = 1e-3, momentum: float = 0.0, dampening: float = 0.0,
                 weight_decay: float = 0.0, nesterov: bool = False, *, maximize: bool = False,
                 max_grad_norm: float | None = None, max_grad_value: float | None = None, **torch_only: Any) -> None:
        at_least_zero(lr=lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ArgumentError("Nesterov momentum needs momentum > 0 and dampening = 0")
        defaults = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
                    "nesterov": nesterov, "maximize": maximize}
        super().__init__(params, defaults, max_grad_norm=max_grad_norm, max_grad_value=max_grad_value, **torch_only)

    def _hyper(self, group: dict[str, Any]) -> tuple[float, ...]:
        return (group["lr"], group["momentum"], group["dampening"], group["weight_decay"],
                1.0 if group["nesterov"] else 0.0, -1.0 if group["maximize"] else 1.0)

    def _needs(self, group: dict[str, Any]) -> Sequence[str]:
        return self.row.state_names if group["momentum"] != 0.0 else ()

    def _refusal(self, group: dict[str, Any]) -> str | None:
        return None if group["weight_decay"] == 0.0 else "with weight_decay"

    def _pack(self, k: int, copy: bool) -> dict[str, Any]:
        packed = super()._pack(k, copy)
        del packed["step"]
        return packed

    def _unpack(self, k: int, saved: dict[str, Any]) -> int:
        return 0 if saved.get("momentum_buffer") is None else 1
