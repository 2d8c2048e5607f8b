"""Classification losses over rows."""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError, DtypeError, ShapeError
from ..ops.loss import CROSS_ENTROPY, NLL, REDUCTIONS, TARGETS
from ..ops.table import Op
from ..tensor.arrays import INT64
from ..tensor.recording import as_tensor, lift, lift_to, recorder
from ..tensor.tensor import Tensor

__all__ = ["cross_entropy_rows", "nll_rows"]


def _rows(op: Op, x: Any, target: Any, weight: Any, ignore_index: int, smoothing: float, reduction: str) -> Tensor:
    x = lift(x)[0]
    t = as_tensor(target)
    if t.dtype != INT64:
        raise DtypeError(f"{op.name}: class indices must be integers, not {t.dtype}")
    if x.ndim != 2 or t.shape != x.shape[:1]:
        raise ShapeError(f"{op.name}: scores {list(x.shape)} and targets {list(t.shape)}: expected (rows, classes) "
                         "and (rows,)")
    if reduction not in REDUCTIONS:
        raise ArgumentError(f"{op.name}: reduction must be 'none', 'mean' or 'sum', not {reduction!r}")
    rows, classes = x.shape
    w = None if weight is None else lift_to(weight, x.dtype)
    if w is not None and w.shape != (classes,):
        raise ShapeError(f"{op.name}: class weights {list(w.shape)} do not fit {classes} classes")
    size = x.dtype.itemsize
    return recorder(op)((rows,) if reduction == "none" else (), dtype=x.dtype, x=x, targets=t, weights=w,
                        log_sums=(rows * size, size), rows=rows, classes=classes, ignored=int(ignore_index),
                        smoothing=float(smoothing), reduction=REDUCTIONS[reduction], weighted=w is not None)


def cross_entropy_rows(x: Any, target: Any, weight: Any = None, ignore_index: int = -100,
                       label_smoothing: float = 0.0, reduction: str = "none") -> Tensor:
    """Cross-entropy of softmax scores `x` (rows, classes) with class indices `target` (rows,), one op.

    ``reduction="mean"`` divides by the sum of the targets' weights, as PyTorch does.
    """
    if not 0.0 <= label_smoothing <= 1.0:
        raise ArgumentError(f"cross_entropy: label_smoothing must lie in [0, 1], not {label_smoothing}")
    return _rows(CROSS_ENTROPY, x, target, weight, ignore_index, label_smoothing, reduction)


def nll_rows(x: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "none") -> Tensor:
    """``-weight[t] * x[row, t]`` for log-probabilities `x` (rows, classes) and class indices (rows,)."""
    return _rows(NLL, x, target, weight, ignore_index, 0.0, reduction)


def target_rows(targets: Tensor, classes: int, weight: Tensor | None, ignore_index: int, smoothing: float,
                reduction: int, dtype: Any) -> Tensor:
    """What the scores (rows, classes) of a classification loss are held against, divided as its reduction has it."""
    return recorder(TARGETS)((targets.size, classes), dtype=dtype, targets=targets, weights=weight, rows=targets.size,
                             classes=classes, ignored=ignore_index, smoothing=smoothing, reduction=reduction,
                             weighted=weight is not None)
