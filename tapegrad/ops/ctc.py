"""Connectionist temporal classification by forward and backward variables, summed over all alignments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine.language import cast, device, plus, wide
from ..engine.mathematics import vecmath as m
from ..engine.mathematics.sums import grown, restored
from ..engine.row import Aux, Input, Output, Row, contiguous, int64
from ..errors import ArgumentError, IndexRangeError
from .layout import outside
from .loss import MEAN, NONE
from .reduction import greatest
from .table import Op

_INFINITY = math.inf


class Ctc(Row):
    """A sample of S labels has 2 S + 1 states: blank, label, blank, ..., blank.

    Row t of its alphas holds the logarithms of the forward variables, less the maximum of the row, so that they do not
    grow with t; two entries of minus infinity come before. The scratch holds four rows: transitions that skip a state
    (0 if allowed, else minus infinity), emissions, and two of the backward pass.
    """

    loss: Output
    x: Input = contiguous  # log-probabilities
    targets: Input = contiguous | int64
    input_lengths: Input = contiguous | int64
    target_lengths: Input = contiguous | int64
    alphas: Aux
    losses: Aux  # of the samples
    scratch: Aux
    steps: int
    samples: int
    classes: int
    padded: int  # labels of a padded row, or -1
    labels: int  # all of them
    blank: int
    reduction: int
    zero_infinity: bool  # whether infinite losses are replaced by 0
    width: int  # of a row of the scratch
    keeps: bool  # whether the alphas of all steps are kept, else of two


@device
def enter_rows(op: Ctc, f: Any, i: Any, start: int, labels: int) -> int:
    """0 for labels that differ from the label before, minus infinity elsewhere."""
    for s in range(2 * labels + 3):
        f[op.scratch + s] = -_INFINITY
    for k in range(1, labels):
        if i[op.targets + start + k] != i[op.targets + start + k - 1]:
            f[op.scratch + 2 * k + 1] = 0.0
    return 0


@device
def emissions(op: Ctc, f: Any, i: Any, e: int, x: int, start: int, labels: int) -> int:
    """The log-probability of each state's class."""
    blank = f[x + op.blank]
    for k in range(labels):
        f[e + 2 * k] = blank
        f[e + 2 * k + 1] = f[x + i[op.targets + start + k]]
    f[e + 2 * labels] = blank
    return 0


@device
def join(f: Any, to: int, u: int, v: int, w: int, enter: int, count: int) -> int:
    """to = ln(e^u + e^v + e^(w + enter))."""
    for s in range(count):
        third = f[w + s] + f[enter + s]
        top = f[u + s] if f[u + s] > f[v + s] else f[v + s]
        top = top if top > third else third
        shift = cast(0.0, f) if top == -_INFINITY else top
        f[to + s] = shift + m.log(m.exp(f[u + s] - shift) + m.exp(f[v + s] - shift) + m.exp(third - shift))
    return 0


@device
def lower(f: Any, row: int, count: int) -> Any:
    """Subtract the maximum from a row, unless it is minus infinity; returns it."""
    top = greatest(f, row, count)
    if top != -_INFINITY:
        for s in range(count):
            f[row + s] -= top
    return top


@device
def alphas_of(op: Ctc, sample: int, start: int) -> int:
    """Address of the alphas of a sample whose labels start at `start`."""
    return op.alphas + op.steps * (2 * start + 3 * sample) if op.keeps != 0 else op.alphas


@device
def sample_loss(op: Ctc, f: Any, i: Any, sample: int, start: int, length: int, labels: int) -> Any:
    """-ln p(labels), computing the alphas."""
    if length == 0:
        return cast(0.0 if labels == 0 else _INFINITY, f)
    count, samples, classes = 2 * labels + 1, op.samples, op.classes
    e, row = op.scratch + op.width, alphas_of(op, sample, start) + 2
    enter_rows(op, f, i, start, labels)
    level, before = cast(0.0, f), row
    for t in range(length):
        if op.keeps != 0:
            row = alphas_of(op, sample, start) + t * (count + 2) + 2
        else:
            row = op.alphas + t % 2 * op.width + 2
        f[row - 2] = -_INFINITY
        f[row - 1] = -_INFINITY
        emissions(op, f, i, e, op.x + (t * samples + sample) * classes, start, labels)
        if t == 0:
            for s in range(count):
                f[row + s] = 0.0 if s < 2 else -_INFINITY
        else:
            join(f, row, before, before - 1, before - 2, op.scratch, count)
        for s in range(count):
            f[row + s] += f[e + s]
        top = lower(f, row, count)
        if top == -_INFINITY:
            return cast(_INFINITY, f)
        level += top
        before = row
    u, v = f[before + count - 1], f[before + count - 2]
    return -(level + m.log(m.exp(u) + m.exp(v)))


def ctc_forward(op: Ctc, f: Any, i: Any, b: Any) -> int:
    """-ln of the sum over the alignments of the products of their probabilities; the mean of loss / labels, or sum."""
    start, total, zero = 0, wide(cast(0.0, f)), cast(0.0, f)
    lost = total
    for sample in range(op.samples):
        length, labels = i[op.input_lengths + sample], i[op.target_lengths + sample]
        if length < 0 or length > op.steps:
            return outside(length) + 2
        if labels < 0 or (op.padded >= 0 and labels > op.padded):
            return outside(labels) + 3
        if op.padded >= 0:
            start = sample * op.padded
        if start + labels > op.labels:
            return outside(start + labels) + 4
        for k in range(start, start + labels):
            at = i[op.targets + k]
            if at < 0 or at >= op.classes:
                return outside(at)
            if at == op.blank:
                return outside(at) + 1
        loss = sample_loss(op, f, i, sample, start, length, labels)
        f[op.losses + sample] = loss
        loss = zero if op.zero_infinity != 0 and loss == _INFINITY else loss
        if op.reduction == NONE:
            f[op.loss + sample] = loss
        own = wide(loss) / wide(max(labels, 1)) if op.reduction == MEAN else wide(loss)
        total, lost = grown(f, total, lost, own)
        start += labels
    if op.reduction != NONE:
        total = restored(f, total, lost)
        f[op.loss] = cast(total / wide(op.samples) if op.reduction == MEAN else total, f)
    return 0


@device
def set_row(f: Any, dx: int, classes: int, value: Any, store: bool) -> int:
    """dx += value, or = value."""
    for c in range(classes):
        before = cast(0.0, f) if store else f[dx + c]
        f[dx + c] = before + value
    return 0


@device
def sample_adjoint(op: Ctc, f: Any, i: Any, sample: int, start: int, length: int, labels: int, g: Any,
                   store: bool) -> int:
    """dx_tc += g (e^x_tc - the posterior probability of class c at step t), betas on the way."""
    count, samples, classes = 2 * labels + 1, op.samples, op.classes
    e, w, beta = op.scratch + op.width, op.scratch + 2 * op.width, op.scratch + 3 * op.width
    enter_rows(op, f, i, start, labels)
    for s in range(count):
        f[beta + s] = 0.0 if s >= count - 2 else -_INFINITY
    for back in range(length):
        t = length - 1 - back
        x, dx = op.x + (t * samples + sample) * classes, op.d.x + (t * samples + sample) * classes
        alpha = alphas_of(op, sample, start) + t * (count + 2) + 2
        for s in range(count):
            f[w + s] = f[alpha + s] + f[beta + s]
        lower(f, w, count)
        total = cast(0.0, f)
        for s in range(count):
            share = m.exp(f[w + s])
            f[w + s] = share
            total = plus(total, share)
        for c in range(classes):
            before = cast(0.0, f) if store else f[dx + c]
            f[dx + c] = before + g * m.exp(f[x + c])
        scale = g / total
        for k in range(labels):
            f[dx + op.blank] -= scale * f[w + 2 * k]
            f[dx + i[op.targets + start + k]] -= scale * f[w + 2 * k + 1]
        f[dx + op.blank] -= scale * f[w + 2 * labels]
        emissions(op, f, i, e, x, start, labels)
        for s in range(count):
            f[w + s] = f[beta + s] + f[e + s]
        f[w + count] = -_INFINITY
        f[w + count + 1] = -_INFINITY
        join(f, beta, w, w + 1, w + 2, op.scratch + 2, count)
        lower(f, beta, count)
    return 0


def ctc_adjoint(op: Ctc, f: Any, i: Any, b: Any) -> int:
    """`sample_adjoint` for each sample; NaN for infinite losses, or zeros if these are replaced by 0."""
    start, samples, classes, store = 0, op.samples, op.classes, op.stores.x
    zero, nothing = cast(0.0, f), cast(_INFINITY - _INFINITY, f)
    for sample in range(samples):
        length, labels = i[op.input_lengths + sample], i[op.target_lengths + sample]
        if op.padded >= 0:
            start = sample * op.padded
        g = f[op.g + sample] if op.reduction == NONE else f[op.g]
        if op.reduction == MEAN:
            g /= cast(samples * max(labels, 1), f)
        impossible = f[op.losses + sample] == _INFINITY
        if not impossible:
            sample_adjoint(op, f, i, sample, start, length, labels, g, store)
        for t in range(length if not impossible else 0, op.steps):
            value = nothing if t < length and op.zero_infinity == 0 else zero
            set_row(f, op.d.x + (t * samples + sample) * classes, classes, value, store)
        start += labels
    return 0


# ------------------------------------------------------------------ the loss as a composition


class Lattice(Row):
    """What the labels and lengths say of the states, of which samples with fewer labels have more than they need."""

    y: Output
    targets: Input = contiguous | int64
    input_lengths: Input = contiguous | int64
    target_lengths: Input = contiguous | int64
    steps: int
    samples: int
    padded: int
    labels: int
    blank: int
    states: int


@device
def known_labels(op: Lattice, start: int, labels: int) -> int:
    """Labels of a sample, which `ctc_forward` has checked if it was run."""
    return max(min(labels, op.labels - start, op.states // 2), 0)


def classes_forward(op: Lattice, f: Any, i: Any, b: Any) -> int:
    """y[n, s] = the class of a state."""
    start = 0
    for sample in range(op.samples):
        if op.padded >= 0:
            start = sample * op.padded
        for s in range(op.states):
            i[op.y + sample * op.states + s] = op.blank
        labels = i[op.target_lengths + sample]
        for k in range(known_labels(op, start, labels)):
            i[op.y + sample * op.states + 2 * k + 1] = i[op.targets + start + k]
        start += labels
    return 0


def bounds_forward(op: Lattice, f: Any, i: Any, b: Any) -> int:
    """y[n] = where states may be entered from that before the last (0, else minus infinity), where an alignment may end
    (likewise), 1 / labels, and which steps count (1, else 0)."""
    start, states = 0, op.states
    for sample in range(op.samples):
        if op.padded >= 0:
            start = sample * op.padded
        y, labels = op.y + sample * (2 * states + 1 + op.steps), i[op.target_lengths + sample]
        count = known_labels(op, start, labels)
        for s in range(2 * states):
            f[y + s] = -_INFINITY
        for k in range(1, count):
            if i[op.targets + start + k] != i[op.targets + start + k - 1]:
                f[y + 2 * k + 1] = 0.0
        for s in range(max(2 * count - 1, 0), 2 * count + 1):
            f[y + states + s] = 0.0
        f[y + 2 * states] = 1.0 / cast(max(labels, 1), f)
        for t in range(op.steps):
            f[y + 2 * states + 1 + t] = 1.0 if t < i[op.input_lengths + sample] else 0.0
        start += labels
    return 0


CTC_CLASSES = Op("ctc_classes", classes_forward, row=Lattice, doc="classes of the states of alignments")
CTC_BOUNDS = Op("ctc_bounds", bounds_forward, row=Lattice, doc="where alignments may go")


def log_total(x: Any, axis: int, t: Any) -> Any:
    """ln of the sum of e^x, minus infinity of such alone, with slopes of 0 there."""
    top = t.max(x, axis, keepdims=True).detach()
    top = t.where(top > -_INFINITY, top, 0.0)
    total = t.sum(t.exp(x - top), axis)
    lives = total > 0.0
    return t.where(lives, t.log(t.where(lives, total, 1.0)) + t.reshape(top, total.shape), -_INFINITY)


def ctc_formula(r: Any, t: Any) -> Any:
    """Alphas of all samples from step to step, over as many states as the longest row of labels has.

    The sum of e^x is added, less 1 a step: that is nothing where x are log-probabilities, and has the slope that the
    adjoint gives.
    """
    classes, bounds = t.ctc.lattice(r)
    states = classes.shape[1]
    enter, end, share = bounds[:, :states], bounds[:, states:2 * states], bounds[:, 2 * states]
    running = t.swapaxes(bounds[:, 2 * states + 1:], 0, 1)
    emitted = t.take_along_axis(r.x, t.expand_dims(classes, 0), -1)

    def later(alphas: Any, by: int) -> Any:
        return t.pad(alphas[:, :states - by], ((0, 0), (by, 0)), constant_values=-_INFINITY)

    alphas = t.where(np.arange(states) == 0, t.zeros_like(end), -_INFINITY)
    for step in range(r.steps):
        before = t.stack([alphas, later(alphas, 1), later(alphas, 2) + enter])
        after = log_total(before, 0, t) + emitted[step]
        alphas = t.where(running[step][:, None] > 0.0, after, alphas)
    total = log_total(alphas + end, 1, t)
    possible = total > -_INFINITY
    excess = t.sum(t.sum(t.exp(r.x), 2) * running - running, 0)
    loss = t.where(possible, excess - total, 0.0)
    if not r.zero_infinity:
        nothing = t.where(possible, 0.0, t.where(running > 0.0, math.nan, 0.0))
        loss = loss + t.sum(t.sum(r.x, 2) * nothing, 0)
    if r.reduction == NONE:
        return loss
    return t.sum(loss * share) / r.samples if r.reduction == MEAN else t.sum(loss)


CTC = Op("ctc_loss", ctc_forward, ctc_adjoint, row=Ctc, stores=True,
         saves={"x": "x targets input_lengths target_lengths alphas losses scratch"},
         errors={1: (IndexRangeError, "target index {index} lies outside the {classes} classes"),
                 2: (IndexRangeError, "target index {index} is the blank, which stands between labels by itself"),
                 3: (ArgumentError, "input length {index} lies outside 0 to {steps}, the number of steps"),
                 4: (ArgumentError, "target length {index} lies outside 0 to {padded}, the width of the targets"),
                 5: (ArgumentError, "the target lengths reach to {index}, but there are {labels} targets")},
         doc="-ln p(labels) over all alignments", formula=ctc_formula)
