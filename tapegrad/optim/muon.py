"""Muon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..engine.language import cast, wide
from ..engine.products.blas import gemm, scaled_gemm
from ..engine.products.product import gemm_address
from ..engine.row import double
from ..errors import ArgumentError, ShapeError
from ..ops.table import Op
from ..tensor.tensor import Tensor
from .checks import at_least_zero
from .optimizer import Optimizer, Params
from .rows import Scratch, State, Update

__all__ = ["Muon"]

_ADJUSTMENTS = {None: 0.0, "original": 0.0, "match_rms_adamw": 1.0}


class MuonRow(Update):
    momentum_buffer: State
    x: Scratch
    y: Scratch
    gram: Scratch
    polynomial: Scratch
    rows: int
    columns: int
    routine: int
    lr: double
    momentum: float
    weight_decay: double
    nesterov: double
    first: float
    second: float
    third: float
    eps: double
    iterations: double
    adjustment: double
    sign: float


def muon(op: MuonRow, f: Any, i: Any, b: Any) -> int:
    # g = sign dL/dp;  m += (1 - mu)(g - m);  x = m, Nesterov: g + mu (m - g), transposed if it is tall;  x /= |x|
    # iterate: G = x x^T, x = a x + (b G + c G G) x;  p = (1 - lr decay) p - lr adjustment x
    p, g, m, n, rows, columns = op.p, op.g, op.momentum_buffer, op.n, op.rows, op.columns
    x, y, gram, polynomial, routine = op.x, op.y, op.gram, op.polynomial, op.routine
    op.steps += 1
    if n == 0:
        return 0
    tall, status = rows > columns, 0
    short, long = min(rows, columns), max(rows, columns)
    mu, sign, fresh, nesterov = op.momentum, op.sign, 1.0 - op.momentum, op.nesterov != 0.0
    norm = wide(0.0 * mu)
    for j in range(rows):
        for k in range(columns):
            at = j * columns + k
            d = sign * f[g + at]
            f[m + at] += fresh * (d - f[m + at])
            d = d + mu * (f[m + at] - d) if nesterov else f[m + at]
            f[x + (k * rows + j if tall else at)] = d
            norm += wide(d) * wide(d)
    norm = math.sqrt(norm)
    scale = cast(1.0 / (norm if norm > op.eps or norm != norm else op.eps), f)
    for k in range(n):
        f[x + k] *= scale
    done = 0
    while done < op.iterations and status == 0:
        done += 1
        status = gemm(routine, 0, 1, short, short, long, x, long, x, long, 0, gram, short, f)
        status |= scaled_gemm(routine, 0, 0, short, short, short, op.third, gram, short, gram, short, 0, polynomial,
                              short, f)
        for k in range(short * short):
            f[polynomial + k] += op.second * f[gram + k]
        status |= gemm(routine, 0, 0, short, long, short, polynomial, short, x, long, 0, y, long, f)
        for k in range(n):
            f[x + k] = op.first * f[x + k] + f[y + k]
    ratio = math.sqrt(max(1.0, wide(cast(rows / columns, f)))) if op.adjustment == 0.0 else 0.2 * math.sqrt(long)
    rate, shrink = cast(op.lr * ratio, f), cast(1.0 - op.lr * op.weight_decay, f)
    for j in range(rows):
        for k in range(columns):
            at = j * columns + k
            f[p + at] = shrink * f[p + at] - rate * f[x + (k * rows + j if tall else at)]
    return status


class Muon(Optimizer):
    """Muon: steps along the momentum with its singular values made nearly equal, for matrices of hidden layers.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor), or of dict
        Matrices; give biases, tables and last layers to another optimiser, such as `AdamW`.
    lr : float, default 1e-3
    weight_decay : float, default 0.1
        Decoupled: the parameter shrinks by ``lr weight_decay`` each step.
    momentum : float, default 0.95
    nesterov : bool, default True
    ns_coefficients : tuple of three float, default (3.4445, -4.775, 2.0315)
        Of the Newton-Schulz polynomial ``a x + (b x x^T + c (x x^T)^2) x``.
    eps : float, default 1e-7
        The least norm by which the momentum is divided.
    ns_steps : int, default 5
        Iterations of the polynomial, fewer than 100.
    adjust_lr_fn : {None, "original", "match_rms_adamw"}
        Multiply the rate, for a matrix (A, B), by ``sqrt(max(1, A / B))`` or by ``0.2 sqrt(max(A, B))``.
    maximize : bool, default False
    max_grad_norm, max_grad_value : float, optional
        See `Optimizer`.

    Raises
    ------
    ArgumentError
        If the parameter list is empty or a hyper-parameter is out of its range.
    ShapeError
        If a parameter is no matrix.

    Notes
    -----
    Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024. PyTorch rounds the iteration to
    bfloat16; here it is computed in the parameter's dtype, so that results differ from PyTorch's by that rounding. The
    state is one array a parameter, and working memory of two more and of two squares of its shorter side.
    """

    op, row, whole = Op("muon", forward=muon), MuonRow, True

    def __init__(self, params: Params, lr: float = 1e-3, weight_decay: float = 0.1, momentum: float = 0.95,
                 nesterov: bool = True, ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
                 eps: float = 1e-7, ns_steps: int = 5, adjust_lr_fn: str | None = None, *, maximize: bool = False,
                 max_grad_norm: float | None = None, max_grad_value: float | None = None, **torch_only: Any) -> None:
        at_least_zero(lr=lr, weight_decay=weight_decay, momentum=momentum, eps=eps)
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
                    "ns_coefficients": tuple(ns_coefficients), "eps": eps, "ns_steps": ns_steps,
                    "adjust_lr_fn": adjust_lr_fn, "maximize": maximize}
        super().__init__(params, defaults, max_grad_norm=max_grad_norm, max_grad_value=max_grad_value, **torch_only)

    def _hyper(self, group: dict[str, Any]) -> tuple[float, ...]:
        if len(group["ns_coefficients"]) != 3:
            raise ArgumentError(f"ns_coefficients must be three numbers, got {group['ns_coefficients']}")
        if group["adjust_lr_fn"] not in _ADJUSTMENTS:
            raise ArgumentError(f'adjust_lr_fn must be "original", "match_rms_adamw" or None, got '
                                f"{group['adjust_lr_fn']!r}")
        if not 0 <= group["ns_steps"] < 100:
            raise ArgumentError(f"ns_steps must be at least 0 and below 100, got {group['ns_steps']}")
        for parameter in group["params"]:
            if parameter.ndim != 2:
                raise ShapeError(f"Muon updates matrices, and a parameter has shape {list(parameter.shape)}: give it "
                                 "to another optimiser, such as AdamW")
        return (group["lr"], group["momentum"], group["weight_decay"], 1.0 if group["nesterov"] else 0.0,
                *group["ns_coefficients"], group["eps"], group["ns_steps"], _ADJUSTMENTS[group["adjust_lr_fn"]],
                -1.0 if group["maximize"] else 1.0)

    def _state_shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        return (min(shape), min(shape)) if name in ("gram", "polynomial") else shape

    def _sizes(self, parameter: Tensor) -> Sequence[int]:
        return *parameter.shape, gemm_address(parameter.dtype)

    def _pack(self, k: int, copy: bool) -> dict[str, Any]:
        packed = super()._pack(k, copy)
        del packed["step"]
        return packed

    def _unpack(self, k: int, saved: dict[str, Any]) -> int:
        return 1
