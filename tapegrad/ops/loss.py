"""Classification losses over rows of scores, each one op."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine.language import apart, cast, device, plus, read, wide, write
from ..engine.mathematics import vecmath as m
from ..engine.mathematics.sums import grown, restored, row_total
from ..engine.row import Aux, Input, Output, Row, absent, contiguous, fixed, int64
from ..engine.tiles.tile import stack
from ..errors import IndexRangeError
from .layout import outside
from .reduction import accumulate, exponential_sum, greatest
from .table import Errors, Op

#: classes up to which rows are processed together, and how many at once: together less than a `stack`
SHORT, AT_ONCE = 32, 64
NONE, MEAN, SUM = 0, 1, 2
REDUCTIONS = {"none": NONE, "mean": MEAN, "sum": SUM}
BAD_TARGET: Errors = {
    1: (IndexRangeError, "target index {index} lies outside the {classes} classes (and is not ignore_index)")}


class RowLoss(Row):
    loss: Output
    x: Input = contiguous  # scores
    targets: Input = contiguous | int64
    weights: Input = contiguous | absent | fixed  # of the classes
    log_sums: Aux  # ln sum e^x of each row, for `cross_entropy`
    rows: int
    classes: int
    ignored: int  # ignore_index
    smoothing: float
    reduction: int
    weighted: bool


@device
def weight_of(op: RowLoss, f: Any, target: int) -> Any:
    """Weight of a target's class, 0 where it is ignored."""
    weighted = f[op.weights + target] if op.weighted != 0 and target != op.ignored else cast(1.0, f)
    return cast(0.0, f) if target == op.ignored else weighted


@device
def divisor(op: RowLoss, f: Any, i: Any) -> Any:
    """The divisor of the sum of the losses, a float64."""
    if op.reduction != MEAN:
        return wide(cast(1.0, f))
    total = wide(cast(0.0, f))
    lost = total
    for row in range(op.rows):
        total, lost = grown(f, total, lost, wide(weight_of(op, f, i[op.targets + row])))
    return restored(f, total, lost)


@device
def exponentials(f: Any, to: int, x: int, n: int, rows: int, levels: int) -> int:
    """e^(x - level) of some rows in one loop, for a short row does not fill a vector."""
    for row in range(rows):
        level = f[levels + row]
        for k in range(row * n, row * n + n):
            f[to + k] = f[x + k] - level
    return exponentiate(f, to, rows * n)


@device
def exponentiate(f: Any, x: int, n: int) -> int:
    """x = e^x."""
    apart()
    for k in range(n):
        write(f, x + k, m.exp(read(f, x + k)))
    return 0


@device
def logarithms(f: Any, x: int, n: int) -> int:
    """x = ln x."""
    apart()
    for k in range(n):
        write(f, x + k, m.log(read(f, x + k)))
    return 0


@device
def log_sums(f: Any, to: int, x: int, n: int, rows: int, tops: int) -> int:
    """ln sum e^(x - top) of at most AT_ONCE rows, and their maxima; x is overwritten."""
    for row in range(rows):
        f[tops + row] = greatest(f, x + row * n, n)
    if n <= SHORT:
        own = to + AT_ONCE
        exponentials(f, own, x, n, rows, tops)
        for row in range(rows):
            s = cast(0.0, f)
            for k in range(n):
                s = plus(s, f[own + row * n + k])
            f[to + row] = s
    else:
        for row in range(rows):
            f[to + row] = cast(exponential_sum(f, x + row * n, n, f[tops + row]), f)
    return logarithms(f, to, rows)


def cross_entropy_forward(op: RowLoss, f: Any, i: Any, b: Any) -> int:
    """(1 - s) w_t (L - x_t) + s/n sum_c w_c (L - x_c), L = ln sum e^x kept in the auxiliary output."""
    n, smoothing, reduction, sums = op.classes, op.smoothing, op.reduction, stack(f)
    total = wide(cast(0.0, f))
    lost = total
    for row in range(op.rows):
        target, x, level = i[op.targets + row], op.x + row * n, op.log_sums + row
        if target != op.ignored and (target < 0 or target >= n):
            return outside(target)
        if row % AT_ONCE == 0:
            log_sums(f, sums, x, n, min(AT_ONCE, op.rows - row), level)
        top, log_sum = f[level], f[sums + row % AT_ONCE]
        f[level] = top + log_sum
        loss = cast(0.0, f)
        if target != op.ignored:
            loss = (1.0 - smoothing) * weight_of(op, f, target) * (log_sum - (f[x + target] - top))
            if smoothing != 0.0:
                spread = wide(cast(0.0, f))
                for k in range(n):
                    w = f[op.weights + k] if op.weighted != 0 else cast(1.0, f)
                    spread = plus(spread, wide(w * (log_sum - (f[x + k] - top))))
                loss += smoothing * cast(spread / wide(n), f)
        if reduction == NONE:
            f[op.loss + row] = loss
        total, lost = grown(f, total, lost, wide(loss))
    if reduction != NONE:
        f[op.loss] = cast(restored(f, total, lost) / divisor(op, f, i), f)
    return 0


@device
def add_probabilities(f: Any, dx: int, x: int, n: int, slope: Any, level: Any, store: bool) -> int:
    """dx += slope e^(x - level)."""
    zero = cast(0.0, f)
    for k in range(n):
        f[dx + k] = (zero if store else f[dx + k]) + slope * m.exp(f[x + k] - level)
    return 0


@device
def add_scaled(f: Any, dx: int, x: int, n: int, slope: Any, store: bool) -> int:
    """dx += slope x."""
    zero = cast(0.0, f)
    for k in range(n):
        f[dx + k] = (zero if store else f[dx + k]) + slope * f[x + k]
    return 0


def cross_entropy_adjoint(op: RowLoss, f: Any, i: Any, b: Any) -> int:
    """dx_c += g ((1 - s) w_t (p_c - [c = t]) + s/n (W p_c - w_c)), p = e^(x - L), W = sum w."""
    n, smoothing, reduction, store = op.classes, op.smoothing, op.reduction, op.stores.x
    classes, one = cast(n, f), cast(1.0, f)
    all_weights = classes
    if op.weighted != 0:
        all_weights = cast(row_total(f, op.weights, n), f)
    scale, own = cast(1.0 / divisor(op, f, i), f), stack(f)
    for row in range(op.rows):
        target, x, dx = i[op.targets + row], op.x + row * n, op.d.x + row * n
        if n <= SHORT and row % AT_ONCE == 0:
            exponentials(f, own, x, n, min(AT_ONCE, op.rows - row), op.log_sums + row)
        if target == op.ignored:
            if store:
                for k in range(n):
                    f[dx + k] = 0.0
            continue
        g = f[op.g + row] if reduction == NONE else f[op.g] * scale
        hard = g * (1.0 - smoothing) * weight_of(op, f, target)
        soft = g * smoothing / classes
        slope = hard + soft * all_weights
        if n <= SHORT:
            add_scaled(f, dx, own + row % AT_ONCE * n, n, slope, store)
        else:
            add_probabilities(f, dx, x, n, slope, f[op.log_sums + row], store)
        if smoothing != 0.0:
            for k in range(n):
                f[dx + k] -= soft * (f[op.weights + k] if op.weighted != 0 else one)
        f[dx + target] -= hard
    return 0


class Targets(Row):
    y: Output
    targets: Input = contiguous | int64
    weights: Input = contiguous | absent  # of the classes
    rows: int
    classes: int
    ignored: int  # ignore_index
    smoothing: float
    reduction: int
    weighted: bool


def targets_forward(op: Targets, f: Any, i: Any, b: Any) -> int:
    """Q_c = ((1 - s) w_t [c = t] + s/n w_c) / divisor, 0 in rows that are ignored: the loss is sum_c Q_c (L - x_c)."""
    n, smoothing, one = op.classes, op.smoothing, cast(1.0, f)
    total, soft = wide(cast(0.0, f)), smoothing / cast(n, f)
    lost = total
    for row in range(op.rows):
        target, y = i[op.targets + row], op.y + row * n
        for k in range(n):
            f[y + k] = 0.0
        if target != op.ignored:
            if target < 0 or target >= n:
                return outside(target)
            for k in range(n):
                f[y + k] = soft * (f[op.weights + k] if op.weighted != 0 else one)
            own = f[op.weights + target] if op.weighted != 0 else one
            f[y + target] += (1.0 - smoothing) * own
            total, lost = grown(f, total, lost, wide(own))
    total = restored(f, total, lost)
    if op.reduction == MEAN:
        for row in range(op.rows):
            if i[op.targets + row] != op.ignored:
                for k in range(op.y + row * n, op.y + row * n + n):
                    f[k] *= cast(1.0 / total, f)
    return 0


TARGETS = Op("targets", targets_forward, row=Targets, errors=BAD_TARGET,
             doc="what the scores of a classification are held against")


def row_loss_each(r: Any, t: Any) -> Any:
    """As many rows for each of the batch, and the reduction over those of each."""
    if r.has_axis("weights") or not r.has_axis("x"):
        return None
    weights, rows = r.weights if r.weighted else None, r.size * r.rows
    x, targets = t.reshape(r.x, (rows, r.classes)), t.reshape(r.whole("targets"), (rows,))
    if r.call.op is NLL:
        losses = t.nll_rows(x, targets, weights, r.ignored)
    else:
        losses = t.cross_entropy_rows(x, targets, weights, r.ignored, r.smoothing)
    if r.reduction == NONE:
        return losses
    total = t.sum(t.reshape(losses, (r.size, r.rows)), 1)
    if r.reduction == SUM:
        return total
    ones = t.nll_rows(np.full((rows, r.classes), -1.0, r.call.dtype), targets, weights, r.ignored)
    return total / t.sum(t.reshape(ones, (r.size, r.rows)), 1)


def held_against(r: Any, t: Any, smoothing: float) -> Any:
    """Q, of the targets."""
    return t.target_rows(r.targets, r.classes, r.weights if r.weighted else None, r.ignored, smoothing, r.reduction,
                         r.kinds[0][1])


def of_rows(r: Any, g: Any, t: Any) -> Any:
    """The adjoint of each row's loss, as a column."""
    return t.reshape(g, (r.rows, 1)) if r.reduction == NONE else g


def of_losses(r: Any, losses: Any, t: Any) -> Any:
    """The losses of the rows, reduced."""
    return t.sum(losses, 1) if r.reduction == NONE else t.sum(losses)


def cross_entropy_slopes(r: Any, t: Any) -> Any:
    """p sum Q - Q, p = softmax x."""
    q = held_against(r, t, r.smoothing)
    total = t.sum(q, 1, keepdims=True)
    return t.softmax(t.where(t.equal(total, 0.0), 0.0, r.x), 1) * total - q


def nll_slopes(r: Any, t: Any) -> Any:
    """-Q."""
    return -held_against(r, t, 0.0)


def row_loss_rules(slopes: Callable) -> dict[str, Any]:
    """dx = g w and its transpose, w the slopes; and the rule of batching."""
    return {"composition": {"x": lambda r, g, t: of_rows(r, g, t) * slopes(r, t)},
            "tangent": {"x": lambda r, d, t: of_losses(r, d * slopes(r, t), t)}, "batching": row_loss_each}


CROSS_ENTROPY = Op("cross_entropy", cross_entropy_forward, cross_entropy_adjoint, row=RowLoss, stores=True,
                   saves={"x": "x targets weights log_sums"}, errors=BAD_TARGET,
                   doc="-ln softmax(x)_t, weighted and smoothed", **row_loss_rules(cross_entropy_slopes))


def nll_forward(op: RowLoss, f: Any, i: Any, b: Any) -> int:
    """-w_t x_t."""
    n, reduction, total = op.classes, op.reduction, wide(cast(0.0, f))
    lost = total
    for row in range(op.rows):
        target = i[op.targets + row]
        if target != op.ignored and (target < 0 or target >= n):
            return outside(target)
        loss = cast(0.0, f)
        if target != op.ignored:
            loss = -weight_of(op, f, target) * f[op.x + row * n + target]
        if reduction == NONE:
            f[op.loss + row] = loss
        total, lost = grown(f, total, lost, wide(loss))
    if reduction != NONE:
        f[op.loss] = cast(restored(f, total, lost) / divisor(op, f, i), f)
    return 0


def nll_adjoint(op: RowLoss, f: Any, i: Any, b: Any) -> int:
    """dx_t -= g w_t."""
    n, reduction = op.classes, op.reduction
    scale = cast(1.0 / divisor(op, f, i), f)
    for row in range(op.rows):
        target = i[op.targets + row]
        if target != op.ignored:
            g = f[op.g + row] if reduction == NONE else f[op.g] * scale
            accumulate(f, op.d.x + row * n + target, -g * weight_of(op, f, target), False)
    return 0


NLL = Op("nll", nll_forward, nll_adjoint, row=RowLoss, saves={"x": "targets weights"}, errors=BAD_TARGET,
         doc="-x_t, weighted", **row_loss_rules(nll_slopes))
