"""Adafactor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine.language import cast, device, wide
from ..engine.row import double
from ..errors import ArgumentError
from ..ops.table import Op
from ..tensor.tensor import Tensor
from .checks import at_least_zero
from .optimizer import Optimizer, Params
from .rows import State, Update

__all__ = ["Adafactor"]


class AdafactorRow(Update):
    row_var: State
    col_var: State
    variance: State
    matrices: int  # 0 for a vector
    rows: int
    columns: int
    lr: double
    beta2_decay: double
    eps1: double
    eps2: double
    threshold: double
    weight_decay: double
    sign: float


@device
def mean_square(f: Any, at: int, count: int) -> Any:
    """The mean of the squares of `count` elements, in float64."""
    total = wide(cast(0.0, f))
    for k in range(count):
        x = wide(f[at + k])
        total += x * x
    return total / count


@device
def factored_root(f: Any, row: Any, column: Any, mean: Any, least: Any) -> Any:
    """1 / sqrt(r c / mean(r)), which is at most 1 / least."""
    s = wide(row) * wide(column) / mean
    return 1.0 / math.sqrt(s if s > least * least or s != s else least * least)


def adafactor(op: AdafactorRow, f: Any, i: Any, b: Any) -> int:
    # w = t^beta2_decay;  a matrix: r += w (mean_j g^2 - r), c += w (mean_i g^2 - c), v = r c / mean r;
    # a vector: v += w (g^2 - v);  u = g / sqrt(max(v, eps1^2))
    # p -= lr decay p + max(eps2, rms p) min(lr, 1 / sqrt(t)) / max(1, rms u / d) u
    p, g, n, lr, least, sign = op.p, op.g, op.n, op.lr, op.eps1, wide(op.sign)
    op.steps += 1
    if n == 0:
        return 0
    w, root = math.pow(op.steps, op.beta2_decay), 1.0 / math.sqrt(op.steps)
    size = math.sqrt(mean_square(f, p, n))
    alpha = (size if size > op.eps2 else op.eps2) * (root if root < lr else lr)
    matrices, rows, columns = op.matrices, op.rows, op.columns
    norm = 0.0 * lr
    for pass_ in range(2):  # the norm of u, then the step
        rate = -alpha * sign
        if pass_ == 1:
            rms = math.sqrt(norm / n) / op.threshold
            rate = rate / (rms if rms > 1.0 else 1.0 + 0.0 * lr)
        shrink = 1.0 - lr * op.weight_decay
        for matrix in range(matrices):
            r, c, d = op.row_var + matrix * rows, op.col_var + matrix * columns, matrix * rows * columns
            if pass_ == 0:
                for j in range(rows):
                    before = wide(f[r + j])
                    f[r + j] = cast(before + w * (mean_square(f, g + d + j * columns, columns) - before), f)
                keep, fresh = cast(1.0 - w, f), cast(w / rows, f)
                for k in range(columns):
                    f[c + k] *= keep
                for j in range(rows):
                    for k in range(columns):
                        x = f[g + d + j * columns + k]
                        f[c + k] += fresh * x * x
            mean = 0.0 * lr
            for j in range(rows):
                mean += wide(f[r + j])
            mean = mean / rows
            mean = mean if mean > least or mean != mean else least
            for j in range(rows):
                for k in range(columns):
                    at = d + j * columns + k
                    u = wide(f[g + at]) * factored_root(f, f[r + j], f[c + k], mean, least)
                    if pass_ == 0:
                        norm += u * u
                    else:
                        f[p + at] = cast(shrink * wide(f[p + at]) + rate * u, f)
        if matrices == 0:
            v, one = op.variance, 1.0 + 0.0 * lr
            for k in range(n):
                own = wide(f[g + k])
                if pass_ == 0:
                    f[v + k] = cast(wide(f[v + k]) + w * (own * own - wide(f[v + k])), f)
                u = own * factored_root(f, f[v + k], one, one, least)
                if pass_ == 0:
                    norm += u * u
                else:
                    f[p + k] = cast(shrink * wide(f[p + k]) + rate * u, f)
    return 0


class Adafactor(Optimizer):
    """Adafactor: an Adam without momentum that keeps a row and a column of averages for a matrix.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor), or of dict
    lr : float, default 1e-2
        The relative step is the smaller of this and ``1 / sqrt(t)``.
    beta2_decay : float, default -0.8
        Step `t` weighs the new squares by ``t^beta2_decay``.
    eps : tuple of (float or None, float), default (None, 1e-3)
        The least root of an average (None: the dtype's rounding unit), and the least root mean square of a parameter
        in the step.
    d : float, default 1.0
        Clip the root mean square of the update to this; at least 1.
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
    Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost", ICML 2018, as PyTorch 2.13 has
    it. The state of a parameter of shape (..., m, n) is two arrays of (..., m, 1) and (..., 1, n); of a vector, one of
    its shape.
    """

    op, row, whole = Op("adafactor", forward=adafactor), AdafactorRow, True

    def __init__(self, params: Params, lr: float = 1e-2, beta2_decay: float = -0.8,
                 eps: tuple[float | None, float] = (None, 1e-3), d: float = 1.0, weight_decay: float = 0.0, *,
                 maximize: bool = False, max_grad_norm: float | None = None, max_grad_value: float | None = None,
                 **torch_only: Any) -> None:
        at_least_zero(lr=lr, weight_decay=weight_decay, eps2=eps[1], eps1=0.0 if eps[0] is None else eps[0])
        if not beta2_decay <= 0.0:
            raise ArgumentError(f"beta2_decay must not be positive, got {beta2_decay}")
        if not d >= 1.0:
            raise ArgumentError(f"d must be at least 1, got {d}")
        defaults = {"lr": lr, "beta2_decay": beta2_decay, "eps": tuple(eps), "d": d, "weight_decay": weight_decay,
                    "maximize": maximize}
        super().__init__(params, defaults, max_grad_norm=max_grad_norm, max_grad_value=max_grad_value, **torch_only)

    def _hyper(self, group: dict[str, Any]) -> tuple[float, ...]:
        eps1, eps2 = group["eps"]
        if eps1 is None:
            eps1 = float(np.finfo(group["params"][0].dtype).eps)
        return (group["lr"], group["beta2_decay"], eps1, eps2, group["d"], group["weight_decay"],
                -1.0 if group["maximize"] else 1.0)

    def _state_shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        if len(shape) < 2:
            return shape if name == "variance" else None
        return {"row_var": (*shape[:-1], 1), "col_var": (*shape[:-2], 1, shape[-1])}.get(name)

    def _sizes(self, parameter: Tensor) -> Sequence[int]:
        shape = parameter.shape
        return (0, 0, 0) if len(shape) < 2 else (math.prod(shape[:-2]), *shape[-2:])
