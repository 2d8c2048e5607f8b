"""Recurrent layers: the row of all time steps of a layer in one direction, and its matrix products.

The input's part of the gates is one matrix product for a block of steps; a step accumulates the hidden state's part
into it and computes the next state. The reverse walk goes block by block too: the gates' adjoints of a block (at most
`BLOCK` elements, or one step) are the only scratch, and yield the input's and the weights' adjoints.

Steps of few samples do not use BLAS. Microseconds for one step's product, 64 units of an LSTM in float32, on an AMD
EPYC 7003: here 1.2, 1.9, 3.3 and 6.6 for 1, 4, 8 and 16 samples; with OpenBLAS, which packs the weights every time, 11,
11, 14 and 17.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..engine.language import cast, device, wide
from ..engine.mathematics.sums import sum_rows
from ..engine.products.blas import gemm
from ..engine.row import Aux, Input, Output, Row, absent, contiguous

#: elements of the gates of a block of steps, about the size of the L2 cache
BLOCK = 1 << 16


class Recurrence(Row):
    """Steps are in the order of computation, times in the order of memory."""

    y: Output  # the hidden states of all times; of an LSTM, then the last cells
    x: Input = contiguous
    w_ih: Input = contiguous
    w_hh: Input = contiguous
    b_ih: Input = contiguous | absent
    b_hh: Input = contiguous | absent
    h0: Input = contiguous
    c0: Input = contiguous | absent  # of an LSTM
    scratch: Input = contiguous | absent  # a block's gates' adjoints, then those of h and c
    gates: Aux
    cells: Aux
    turned: Aux  # w_hh transposed
    gemm: int
    steps: int
    samples: int
    features: int
    units: int
    has_biases: bool
    backwards: bool  # whether time runs backwards
    block: int  # steps of a block
    keeps: bool  # whether gates and cells of all steps are kept, else of one block
    relu: bool  # whether that is the nonlinearity of an RNN
    direct: bool  # whether a step's products do not use BLAS


def recurrence_products(shapes: Sequence[tuple[int, ...]]) -> int:
    """Multiply-adds: for every sample and step one with each weight."""
    steps, samples = shapes[1][:2]
    return steps * samples * (math.prod(shapes[2]) + math.prod(shapes[3]))


def over_steps(cell: Callable, has_cells: bool = False) -> Callable:
    """A recurrence as a composition: ``cell(r, inner, outer, h, c, t)`` gives the states after a step.

    `inner` is ``w_ih x_t + b_ih``, `outer` ``w_hh h_(t-1) + b_hh``.
    """

    def formula(r: Any, t: Any) -> Any:
        b_ih, b_hh = (r.b_ih, r.b_hh) if r.has_biases else (None, None)
        inner, h, c = t.linear(r.x, r.w_ih, b_ih), r.h0, r.c0 if has_cells else None
        hidden = {}
        for step in range(r.steps):
            time = r.steps - 1 - step if r.backwards else step
            h, c = cell(r, inner[time], t.linear(h, r.w_hh, b_hh), h, c, t)
            hidden[time] = h
        return t.stack([*(hidden[time] for time in range(r.steps)), *([c] if has_cells else [])])

    return formula


def parts_of(gates: Any, units: int) -> list[Any]:
    """Of each gate its columns."""
    return [gates[:, k:k + units] for k in range(0, gates.shape[1], units)]


def all_samples(r: Any, t: Any) -> Any:
    """The batch as so many samples, where the weights are the same for all of it."""
    weights = ("w_ih", "w_hh", "b_ih", "b_hh")
    if any(r.has_axis(name) for name in weights):
        return None
    shape = r.size * r.samples, r.units
    x = t.reshape(t.moveaxis(r.whole("x"), 0, 1), (r.steps, shape[0], r.features))
    h0, c0 = (t.reshape(r.whole(name), shape) if name == "h0" or r.call.op.name == "lstm" else None
              for name in ("h0", "c0"))
    b_ih, b_hh = (r.b_ih, r.b_hh) if r.has_biases else (None, None)
    y = t.recurrence.layer(r.call.op, x, r.w_ih, r.w_hh, b_ih, b_hh, h0, c0, r.backwards, r.relu)
    return t.moveaxis(t.reshape(y, (y.shape[0], r.size, r.samples, r.units)), 1, 0)


@device
def time_of(op: Recurrence, step: int) -> int:
    """Where a step's values are."""
    return op.steps - 1 - step if op.backwards != 0 else step


@device
def lowest_time(op: Recurrence, first: int, count: int) -> int:
    """The earliest time of the `count` steps from `first` on."""
    return op.steps - first - count if op.backwards != 0 else first


@device
def state_before(op: Recurrence, step: int) -> int:
    """The hidden state that a step starts from."""
    before = op.h0
    if step > 0:
        before = op.y + time_of(op, step - 1) * op.samples * op.units
    return before


@device
def input_part(op: Recurrence, f: Any, to: int, width: int, column: int, row: int, rows: int, low: int,
               count: int) -> int:
    """Columns of the gates of a block += x w_ih^T, by `rows` of w_ih from `row` on."""
    n, inputs = op.samples, op.features
    return gemm(op.gemm, 0, 1, count * n, rows, inputs, op.x + low * n * inputs, inputs, op.w_ih + row * inputs, inputs,
                1, to + column, width, f)


@device
def turn_weights(op: Recurrence, f: Any, rows: int) -> int:
    """Transpose w_hh, if `add_product` will read it."""
    h = op.units
    if op.direct != 0:
        for row in range(rows):
            for k in range(h):
                f[op.turned + k * rows + row] = f[op.w_hh + row * h + k]
    return 0


@device
def add_row(f: Any, c: int, x: int, w: int, k: int, m: int) -> int:
    """c (m) += x (k) w (k, m)."""
    whole = k // 8 * 8
    for q in range(0, whole, 8):
        u, v = x + q, w + q * m
        a0, a1, a2, a3, a4, a5, a6, a7 = f[u], f[u + 1], f[u + 2], f[u + 3], f[u + 4], f[u + 5], f[u + 6], f[u + 7]
        for j in range(m):
            f[c + j] += (a0 * f[v + j] + a1 * f[v + m + j] + a2 * f[v + 2 * m + j] + a3 * f[v + 3 * m + j]
                         + a4 * f[v + 4 * m + j] + a5 * f[v + 5 * m + j] + a6 * f[v + 6 * m + j]
                         + a7 * f[v + 7 * m + j])
    for q in range(whole, k):
        a0, v = f[x + q], w + q * m
        for j in range(m):
            f[c + j] += a0 * f[v + j]
    return 0


@device
def add_product(f: Any, to: int, width: int, a: int, lda: int, w: int, n: int, k: int, m: int) -> int:
    """to (n, m) += a (n, k) w (k, m), register-blocked over two rows: for few rows."""
    whole = k // 3 * 3
    for row in range(0, n - 1, 2):
        c, x = to + row * width, a + row * lda
        d, y = c + width, x + lda
        for q in range(0, whole, 3):
            a0, a1, a2, b0, b1, b2 = f[x + q], f[x + q + 1], f[x + q + 2], f[y + q], f[y + q + 1], f[y + q + 2]
            v = w + q * m
            for j in range(m):
                w0, w1, w2 = f[v + j], f[v + m + j], f[v + 2 * m + j]
                f[c + j] += a0 * w0 + a1 * w1 + a2 * w2
                f[d + j] += b0 * w0 + b1 * w1 + b2 * w2
        for q in range(whole, k):
            a0, b0, v = f[x + q], f[y + q], w + q * m
            for j in range(m):
                f[c + j] += a0 * f[v + j]
                f[d + j] += b0 * f[v + j]
    if n % 2 != 0:
        add_row(f, to + (n - 1) * width, a + (n - 1) * lda, w, k, m)
    return 0


@device
def hidden_part(op: Recurrence, f: Any, to: int, width: int, rows: int, before: int) -> int:
    """`rows` columns of the gates of a step += h w_hh^T."""
    n, h = op.samples, op.units
    if op.direct != 0:
        return add_product(f, to, width, before, h, op.turned, n, h, rows)
    return gemm(op.gemm, 0, 1, n, rows, h, before, h, op.w_hh, h, 1, to, width, f)


@device
def state_part(op: Recurrence, f: Any, d: int, width: int, rows: int, dh: int, add: int) -> int:
    """dh = d w_hh, or += where `add`, for the `rows` columns from `d` on of a step's gates."""
    n, h = op.samples, op.units
    if op.direct == 0:
        return gemm(op.gemm, 0, 0, n, h, rows, d, width, op.w_hh, h, add, dh, h, f)
    if add == 0:
        for k in range(n * h):
            f[dh + k] = 0.0
    return add_product(f, dh, h, d, width, op.w_hh, n, rows, h)


@device
def begin_gates(op: Recurrence, f: Any, to: int, rows: int, width: int) -> int:
    """Each row = b_ih + b_hh, or zeros."""
    for row in range(rows):
        at = to + row * width
        if op.has_biases != 0:
            for k in range(width):
                f[at + k] = f[op.b_ih + k] + f[op.b_hh + k]
        else:
            for k in range(width):
                f[at + k] = 0.0
    return 0


@device
def store_or_add(f: Any, to: int, source: int, count: int, store: bool) -> int:
    """to = source, or +=."""
    if store:
        for k in range(count):
            f[to + k] = f[source + k]
    else:
        for k in range(count):
            f[to + k] += f[source + k]
    return 0


@device
def add_columns(f: Any, to: int, d: int, width: int, rows: int, columns: int, store: bool) -> int:
    """to += the sums of the first `columns` columns of d."""
    return sum_rows(f, to, d, width, rows, columns, wide(cast(1.0, f)), not store)


@device
def input_adjoint(op: Recurrence, f: Any, d: int, width: int, row: int, rows: int, low: int, count: int,
                  first_part: bool, first_block: bool) -> int:
    """dx += d w_ih, dw_ih += d^T x, db_ih += sum of d, for `rows` of w_ih from `row` on; d: the gates of a block."""
    status = 0
    n, inputs = op.samples, op.features
    x = low * n * inputs
    if op.d.x != 0:
        status |= gemm(op.gemm, 0, 0, count * n, inputs, rows, d, width, op.w_ih + row * inputs, inputs,
                       0 if first_part and op.stores.x else 1, op.d.x + x, inputs, f)
    if op.d.w_ih != 0:
        status |= gemm(op.gemm, 1, 0, rows, inputs, count * n, d, width, op.x + x, inputs,
                       0 if first_block and op.stores.w_ih else 1, op.d.w_ih + row * inputs, inputs, f)
    if op.d.b_ih != 0:
        add_columns(f, op.d.b_ih + row, d, width, count * n, rows, first_block and op.stores.b_ih)
    return status


@device
def hidden_adjoint(op: Recurrence, f: Any, d: int, width: int, rows: int, first: int, count: int,
                   first_block: bool) -> int:
    """dw_hh += sum over the steps of d^T h_before, db_hh += sum of d; d: the gates of a block, from its first step."""
    status = 0
    n, h = op.samples, op.units
    low = lowest_time(op, first, count)
    if op.d.w_hh != 0:
        add, begin = 0 if first_block and op.stores.w_hh else 1, first
        if first == 0:
            status |= gemm(op.gemm, 1, 0, rows, h, n, d + (time_of(op, 0) - low) * n * width, width, op.h0, h, add,
                           op.d.w_hh, h, f)
            add, begin = 1, 1
        rest = first + count - begin
        if rest > 0:
            at = lowest_time(op, begin, rest)
            status |= gemm(op.gemm, 1, 0, rows, h, rest * n, d + (at - low) * n * width, width,
                           op.y + lowest_time(op, begin - 1, rest) * n * h, h, add, op.d.w_hh, h, f)
    if op.d.b_hh != 0:
        add_columns(f, op.d.b_hh, d, width, count * n, rows, first_block and op.stores.b_hh)
    return status
