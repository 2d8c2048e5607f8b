"""Rprop."""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError
from ..ops.table import Op
from .checks import at_least_zero
from .optimizer import Optimizer, Params
from .rows import State, Update

__all__ = ["Rprop"]


class RpropRow(Update):
    prev: State
    step_size: State
    lr: float
    fall: float
    rise: float
    least: float
    most: float
    sign: float


def rprop(op: RpropRow, f: Any, i: Any, b: Any) -> int:
    # g = sign dL/dp;  s *= rise, fall or 1 as g prev is positive, negative or 0, within [least, most]
    # where g prev < 0: g = 0;  p -= sign(g) s;  prev = g
    p, g, prev, s, n = op.p, op.g, op.prev, op.step_size, op.n
    fall, rise, least, most, sign, lr = op.fall, op.rise, op.least, op.most, op.sign, op.lr
    if op.steps == 0:
        for k in range(n):
            f[s + k] = lr
    op.steps += 1
    for k in range(n):
        d = sign * f[g + k]
        turn = d * f[prev + k]
        size = f[s + k] * (rise if turn > 0.0 else (fall if turn < 0.0 else 1.0))
        size = least if size < least else size
        size = most if size > most else size
        d = 0.0 if turn < 0.0 else d
        f[s + k], f[prev + k] = size, d
        f[p + k] -= size if d > 0.0 else (-size if d < 0.0 else 0.0 * d)
    return 0


class Rprop(Optimizer):
    """Steps of sizes of their own, which grow while the gradient's sign stays and shrink when it turns.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor), or of dict
    lr : float, default 1e-2
        The size of the first step; a later rate is not used.
    etas : tuple of float, default (0.5, 1.2)
        Factors of the size when the sign turns (0 to 1) and when it stays (above 1).
    step_sizes : tuple of float, default (1e-6, 50)
        Least and greatest size.
    maximize : bool, default False
    max_grad_norm, max_grad_value : float, optional
        See `Optimizer`.

    Raises
    ------
    ArgumentError
        If the parameter list is empty or a hyper-parameter is out of its range.

    Notes
    -----
    For gradients over all samples: the signs of small batches turn by chance. Riedmiller and Braun, "A direct adaptive
    method for faster backpropagation learning: the RPROP algorithm", ICNN 1993, in the form that takes no step when the
    sign turns, as PyTorch's. The state is two arrays a parameter.
    """

    op, row = Op("rprop", forward=rprop), RpropRow

    def __init__(self, params: Params, lr: float = 1e-2, etas: tuple[float, float] = (0.5, 1.2),
                 step_sizes: tuple[float, float] = (1e-6, 50.0), *, maximize: bool = False,
                 max_grad_norm: float | None = None, max_grad_value: float | None = None, **torch_only: Any) -> None:
        at_least_zero(lr=lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ArgumentError(f"etas must be one factor between 0 and 1 and one above 1, got {etas}")
        defaults = {"lr": lr, "etas": tuple(etas), "step_sizes": tuple(step_sizes), "maximize": maximize}
        super().__init__(params, defaults, max_grad_norm=max_grad_norm, max_grad_value=max_grad_value, **torch_only)

    def _hyper(self, group: dict[str, Any]) -> tuple[float, ...]:
        return (group["lr"], *group["etas"], *group["step_sizes"], -1.0 if group["maximize"] else 1.0)
