"""Connectionist temporal classification: sums over all alignments of labels with steps, forwards and backwards."""

from __future__ import annotations

import math
from typing import Any

from ..engine import vecmath as m
from ..engine.jit import cast, device, plus, wide
from ..errors import ArgumentError, IndexRangeError
from .layout import outside
from .loss import MEAN, NONE
from .reduction import greatest
from .table import Op

_INFINITY = math.inf

# Words: 1 loss, 2 g, 3 log-probabilities x, 4 dx, 5 targets, 7 input lengths, 9 target lengths, 11 alphas, 13 losses of
# the samples, 15 scratch, 17 steps, 18 samples, 19 classes, 20 labels of a padded row or -1, 21 all labels, 22 blank,
# 23 reduction, 24 whether infinite losses count 0, 25 width of a row of the scratch, 26 whether the alphas of all steps
# are kept (else of two).
#
# A sample of S labels has 2 S + 1 states: blank, label, blank, ..., blank. Row t of its alphas holds the logarithms of
# the sums over the beginnings of alignments, less the greatest of the row, so that they do not grow with t; two entries
# of minus infinity stand before. The scratch holds four rows: where a state may be entered from that before the last
# (0, else minus infinity), emissions, and two of the backward pass.


@device
def enter_rows(op: Any, f: Any, i: Any, start: int, labels: int) -> int:
    """0 for labels that differ from the label before, minus infinity elsewhere."""
    for s in range(2 * labels + 3):
        f[op[15] + s] = -_INFINITY
    for k in range(1, labels):
        if i[op[5] + start + k] != i[op[5] + start + k - 1]:
            f[op[15] + 2 * k + 1] = 0.0
    return 0


@device
def emissions(op: Any, f: Any, i: Any, e: int, x: int, start: int, labels: int) -> int:
    """The log-probability of each state's class."""
    blank = f[x + op[22]]
    for k in range(labels):
        f[e + 2 * k] = blank
        f[e + 2 * k + 1] = f[x + i[op[5] + start + k]]
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
    """Take the greatest off a row, unless it is minus infinity; the greatest."""
    top = greatest(f, row, count)
    if top != -_INFINITY:
        for s in range(count):
            f[row + s] -= top
    return top


@device
def alphas_of(op: Any, sample: int, start: int) -> int:
    """Where the alphas of a sample lie whose labels begin at `start`."""
    return op[11] + op[17] * (2 * start + 3 * sample) if op[26] != 0 else op[11]


@device
def sample_loss(op: Any, f: Any, i: Any, sample: int, start: int, length: int, labels: int) -> Any:
    """-ln p(labels), the alphas on the way."""
    if length == 0:
        return cast(0.0 if labels == 0 else _INFINITY, f)
    count, samples, classes = 2 * labels + 1, op[18], op[19]
    e, row = op[15] + op[25], alphas_of(op, sample, start) + 2
    enter_rows(op, f, i, start, labels)
    level, before = cast(0.0, f), row
    for t in range(length):
        if op[26] != 0:
            row = alphas_of(op, sample, start) + t * (count + 2) + 2
        else:
            row = op[11] + t % 2 * op[25] + 2
        f[row - 2] = -_INFINITY
        f[row - 1] = -_INFINITY
        emissions(op, f, i, e, op[3] + (t * samples + sample) * classes, start, labels)
        if t == 0:
            for s in range(count):
                f[row + s] = 0.0 if s < 2 else -_INFINITY
        else:
            join(f, row, before, before - 1, before - 2, op[15], count)
        for s in range(count):
            f[row + s] += f[e + s]
        top = lower(f, row, count)
        if top == -_INFINITY:
            return cast(_INFINITY, f)
        level += top
        before = row
    u, v = f[before + count - 1], f[before + count - 2]
    return -(level + m.log(m.exp(u) + m.exp(v)))


def ctc_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """-ln of the sum over the alignments of the products of their probabilities; the mean of loss / labels, or sum."""
    start, total, zero = 0, wide(cast(0.0, f)), cast(0.0, f)
    for sample in range(op[18]):
        length, labels = i[op[7] + sample], i[op[9] + sample]
        if length < 0 or length > op[17]:
            return outside(length) + 2
        if labels < 0 or (op[20] >= 0 and labels > op[20]):
            return outside(labels) + 3
        if op[20] >= 0:
            start = sample * op[20]
        if start + labels > op[21]:
            return outside(start + labels) + 4
        for k in range(start, start + labels):
            at = i[op[5] + k]
            if at < 0 or at >= op[19]:
                return outside(at)
            if at == op[22]:
                return outside(at) + 1
        loss = sample_loss(op, f, i, sample, start, length, labels)
        f[op[13] + sample] = loss
        loss = zero if op[24] != 0 and loss == _INFINITY else loss
        if op[23] == NONE:
            f[op[1] + sample] = loss
        total += wide(loss) / wide(max(labels, 1)) if op[23] == MEAN else wide(loss)
        start += labels
    if op[23] != NONE:
        f[op[1]] = cast(total / wide(op[18]) if op[23] == MEAN else total, f)
    return 0


@device
def set_row(f: Any, dx: int, classes: int, value: Any, store: bool) -> int:
    """dx += value, or = value."""
    for c in range(classes):
        before = cast(0.0, f) if store else f[dx + c]
        f[dx + c] = before + value
    return 0


@device
def sample_adjoint(op: Any, f: Any, i: Any, sample: int, start: int, length: int, labels: int, g: Any,
                   store: bool) -> int:
    """dx_tc += g (e^x_tc - the posterior probability of class c at step t), betas on the way."""
    count, samples, classes = 2 * labels + 1, op[18], op[19]
    e, w, beta = op[15] + op[25], op[15] + 2 * op[25], op[15] + 3 * op[25]
    enter_rows(op, f, i, start, labels)
    for s in range(count):
        f[beta + s] = 0.0 if s >= count - 2 else -_INFINITY
    for back in range(length):
        t = length - 1 - back
        x, dx = op[3] + (t * samples + sample) * classes, op[4] + (t * samples + sample) * classes
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
            f[dx + op[22]] -= scale * f[w + 2 * k]
            f[dx + i[op[5] + start + k]] -= scale * f[w + 2 * k + 1]
        f[dx + op[22]] -= scale * f[w + 2 * labels]
        emissions(op, f, i, e, x, start, labels)
        for s in range(count):
            f[w + s] = f[beta + s] + f[e + s]
        f[w + count] = -_INFINITY
        f[w + count + 1] = -_INFINITY
        join(f, beta, w, w + 1, w + 2, op[15] + 2, count)
        lower(f, beta, count)
    return 0


def ctc_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """`sample_adjoint` for each sample; NaN for infinite losses, or zeros where these count 0."""
    start, samples, classes, store = 0, op[18], op[19], op[0] & 2 != 0
    zero, nothing = cast(0.0, f), cast(_INFINITY - _INFINITY, f)
    for sample in range(samples):
        length, labels = i[op[7] + sample], i[op[9] + sample]
        if op[20] >= 0:
            start = sample * op[20]
        g = f[op[2] + sample] if op[23] == NONE else f[op[2]]
        if op[23] == MEAN:
            g /= cast(samples * max(labels, 1), f)
        impossible = f[op[13] + sample] == _INFINITY
        if not impossible:
            sample_adjoint(op, f, i, sample, start, length, labels, g, store)
        for t in range(length if not impossible else 0, op[17]):
            value = nothing if t < length and op[24] == 0 else zero
            set_row(f, op[4] + (t * samples + sample) * classes, classes, value, store)
        start += labels
    return 0


CTC = Op("ctc_loss", ctc_forward, ctc_adjoint, ((1, 2, 3, 4, 5, 6, 7), (), (), ()), stores=True,
         errors={1: (IndexRangeError, "target index {index} lies outside the {words[19]} classes"),
                 2: (IndexRangeError, "target index {index} is the blank, which stands between labels by itself"),
                 3: (ArgumentError, "input length {index} lies outside 0 to {words[17]}, the number of steps"),
                 4: (ArgumentError, "target length {index} lies outside 0 to {words[20]}, the width of the targets"),
                 5: (ArgumentError, "the target lengths reach to {index}, but there are {words[21]} targets")},
         doc="-ln p(labels) over all alignments")
