"""Recurrent layers: one instruction for all time steps of a layer in one direction.

The input's part of the gates is one matrix product for a block of steps; a step adds the hidden state's part to it and
makes the next state. The reverse walk goes block by block too: the gates' adjoints of a block (at most `BLOCK`
elements, or one step) are the only scratch, and from them come the input's and the weights' adjoints.

A step of few samples does without BLAS. Microseconds for one step's product, 64 units of an LSTM in float32, on an AMD
EPYC 7003: here 1.2, 1.9, 3.3 and 6.6 for 1, 4, 8 and 16 samples; with OpenBLAS, which copies the weights into an order
of its own every time, 11, 11, 14 and 17.

Loops read and write few arrays each, for others are not turned into vector code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..engine import vecmath as m
from ..engine.blas import gemm
from ..engine.jit import cast, device, wide
from ..engine.sums import sum_rows
from .table import Op

#: elements of the gates of a block of steps, about what a core's second cache holds
BLOCK = 1 << 16

# Words of all: 1 y, 2 g, 3 x, 4 dx, 5 w_ih, 6 dw_ih, 7 w_hh, 8 dw_hh, 9 b_ih, 10 db_ih, 11 b_hh, 12 db_hh, 13 h0,
# 14 dh0, 15 c0, 16 dc0, 17 scratch, 19 gates, 21 cells, 23 w_hh transposed, 25 gemm, 26 steps, 27 samples n, 28 inputs,
# 29 units h, 30 whether there are biases, 31 whether time runs backwards, 32 steps of a block, 33 whether gates and
# cells of all steps are kept (else of one block), 34 whether the nonlinearity of `rnn` is relu, 35 whether a step's
# products go without BLAS. A step is counted as it is computed, a time as it lies in memory. The scratch holds a
# block's gates' adjoints, then those of h and c.


def recurrence_products(shapes: Sequence[tuple[int, ...]]) -> int:
    """For every sample and step one with each weight."""
    steps, samples = shapes[1][:2]
    return steps * samples * (math.prod(shapes[2]) + math.prod(shapes[3]))


@device
def time_of(op: Any, step: int) -> int:
    """Where a step's values lie."""
    return op[26] - 1 - step if op[31] != 0 else step


@device
def lowest_time(op: Any, first: int, count: int) -> int:
    """The earliest time of the `count` steps from `first` on."""
    return op[26] - first - count if op[31] != 0 else first


@device
def state_before(op: Any, step: int) -> int:
    """The hidden state that a step begins with."""
    before = op[13]
    if step > 0:
        before = op[1] + time_of(op, step - 1) * op[27] * op[29]
    return before


@device
def input_part(op: Any, f: Any, to: int, width: int, column: int, row: int, rows: int, low: int, count: int) -> int:
    """Columns of the gates of a block += x w_ih^T, by `rows` of w_ih from `row` on."""
    n, inputs = op[27], op[28]
    return gemm(op[25], 0, 1, count * n, rows, inputs, op[3] + low * n * inputs, inputs, op[5] + row * inputs, inputs,
                1, to + column, width, f)


@device
def turn_weights(op: Any, f: Any, rows: int) -> int:
    """w_hh transposed, where `add_product` will read it."""
    h = op[29]
    if op[35] != 0:
        for row in range(rows):
            for k in range(h):
                f[op[23] + k * rows + row] = f[op[7] + row * h + k]
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
    """to (n, m) += a (n, k) w (k, m), two rows at a time: for few rows."""
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
def hidden_part(op: Any, f: Any, to: int, width: int, rows: int, before: int) -> int:
    """`rows` columns of the gates of a step += h w_hh^T."""
    n, h = op[27], op[29]
    if op[35] != 0:
        return add_product(f, to, width, before, h, op[23], n, h, rows)
    return gemm(op[25], 0, 1, n, rows, h, before, h, op[7], h, 1, to, width, f)


@device
def state_part(op: Any, f: Any, d: int, width: int, rows: int, dh: int, add: int) -> int:
    """dh = d w_hh, or += where `add`, for the `rows` columns from `d` on of a step's gates."""
    n, h = op[27], op[29]
    if op[35] == 0:
        return gemm(op[25], 0, 0, n, h, rows, d, width, op[7], h, add, dh, h, f)
    if add == 0:
        for k in range(n * h):
            f[dh + k] = 0.0
    return add_product(f, dh, h, d, width, op[7], n, rows, h)


@device
def begin_gates(op: Any, f: Any, to: int, rows: int, width: int) -> int:
    """Each row = b_ih + b_hh, or zeros."""
    for row in range(rows):
        at = to + row * width
        if op[30] != 0:
            for k in range(width):
                f[at + k] = f[op[9] + k] + f[op[11] + k]
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
def input_adjoint(op: Any, f: Any, d: int, width: int, row: int, rows: int, low: int, count: int, first_part: bool,
                  first_block: bool) -> int:
    """dx += d w_ih, dw_ih += d^T x, db_ih += sum of d, for `rows` of w_ih from `row` on; d: the gates of a block."""
    status = 0
    n, inputs = op[27], op[28]
    x = low * n * inputs
    if op[4] != 0:
        status |= gemm(op[25], 0, 0, count * n, inputs, rows, d, width, op[5] + row * inputs, inputs,
                       0 if first_part and op[0] & 2 != 0 else 1, op[4] + x, inputs, f)
    if op[6] != 0:
        status |= gemm(op[25], 1, 0, rows, inputs, count * n, d, width, op[3] + x, inputs,
                       0 if first_block and op[0] & 4 != 0 else 1, op[6] + row * inputs, inputs, f)
    if op[10] != 0:
        add_columns(f, op[10] + row, d, width, count * n, rows, first_block and op[0] & 16 != 0)
    return status


@device
def hidden_adjoint(op: Any, f: Any, d: int, width: int, rows: int, first: int, count: int, first_block: bool) -> int:
    """dw_hh += sum over the steps of d^T h_before, db_hh += sum of d; d: the gates of a block, from its first step."""
    status = 0
    n, h = op[27], op[29]
    low = lowest_time(op, first, count)
    if op[8] != 0:
        add, begin = 0 if first_block and op[0] & 8 != 0 else 1, first
        if first == 0:
            status |= gemm(op[25], 1, 0, rows, h, n, d + (time_of(op, 0) - low) * n * width, width, op[13], h, add,
                           op[8], h, f)
            add, begin = 1, 1
        rest = first + count - begin
        if rest > 0:
            at = lowest_time(op, begin, rest)
            status |= gemm(op[25], 1, 0, rows, h, rest * n, d + (at - low) * n * width, width,
                           op[1] + lowest_time(op, begin - 1, rest) * n * h, h, add, op[8], h, f)
    if op[12] != 0:
        add_columns(f, op[12], d, width, count * n, rows, first_block and op[0] & 32 != 0)
    return status


# ------------------------------------------------------------------ plain


def rnn_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """h_t = tanh(w_ih x_t + b_ih + w_hh h_(t-1) + b_hh), or relu; y = h of all times."""
    status = 0
    steps, n, h = op[26], op[27], op[29]
    turn_weights(op, f, h)
    begin_gates(op, f, op[1], steps * n, h)
    status |= input_part(op, f, op[1], h, 0, 0, h, 0, steps)
    for step in range(steps):
        y = op[1] + time_of(op, step) * n * h
        status |= hidden_part(op, f, y, h, h, state_before(op, step))
        if op[34] != 0:
            for k in range(y, y + n * h):
                v = f[k]
                f[k] = 0.0 if v < 0.0 else v
        else:
            for k in range(y, y + n * h):
                f[k] = m.tanh(f[k])
    return status


def rnn_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """d = (g_t + dh) (1 - h_t^2), or where h_t > 0; dh = d w_hh."""
    status = 0
    steps, n, h, block = op[26], op[27], op[29], op[32]
    d, dh, size = op[17], op[17] + block * n * h, n * h
    for k in range(size):
        f[dh + k] = 0.0
    blocks = (steps + block - 1) // block
    for back in range(blocks):
        first = (blocks - 1 - back) * block
        count = min(block, steps - first)
        low = lowest_time(op, first, count)
        for reverse in range(count):
            step = first + count - 1 - reverse
            t = time_of(op, step)
            y, g, at = op[1] + t * size, op[2] + t * size, d + (t - low) * size
            if op[34] != 0:
                for k in range(size):
                    total = f[g + k] + f[dh + k]
                    f[at + k] = total if f[y + k] > 0.0 else cast(0.0, f)
            else:
                for k in range(size):
                    f[at + k] = (f[g + k] + f[dh + k]) * (1.0 - f[y + k] * f[y + k])
            if step > 0 or op[14] != 0:
                status |= state_part(op, f, at, h, h, dh, 0)
        status |= input_adjoint(op, f, d, h, 0, h, low, count, True, back == 0)
        status |= hidden_adjoint(op, f, d, h, h, first, count, back == 0)
    if op[14] != 0:
        store_or_add(f, op[14], dh, size, op[0] & 64 != 0)
    return status


_RNN = (0, 3, 8)
RNN = Op("rnn", rnn_forward, rnn_adjoint,
         ((*_RNN, 2), (*_RNN, 1), (*_RNN, 6), _RNN, _RNN, _RNN, (), ()), stores=True,
         doc="tanh or relu recurrence over all steps", products=recurrence_products)


# ------------------------------------------------------------------ LSTM


@device
def lstm_cell(f: Any, gates: int, before: int, c: int, y: int, h: int) -> int:
    """i, f, o = sigmoid, g = tanh of the gates (i, f, g, o); c = f c_before + i g; y = o tanh(c)."""
    for k in range(gates, gates + 2 * h):
        f[k] = m.sigmoid(f[k])
    for k in range(gates + 2 * h, gates + 3 * h):
        f[k] = m.tanh(f[k])
    for k in range(gates + 3 * h, gates + 4 * h):
        f[k] = m.sigmoid(f[k])
    for k in range(h):
        f[c + k] = f[gates + h + k] * f[before + k] + f[gates + k] * f[gates + 2 * h + k]
    for k in range(h):
        f[y + k] = f[gates + 3 * h + k] * m.tanh(f[c + k])
    return 0


@device
def cells_of(op: Any, step: int) -> int:
    """The cells after a step, or the first ones before step 0."""
    at = op[21]
    if step < 0:
        at = op[15]
    elif op[33] != 0:
        at += time_of(op, step) * op[27] * op[29]
    return at


def lstm_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """(i, f, g, o) = w_ih x_t + b_ih + w_hh h_(t-1) + b_hh, `lstm_cell`; y = h of all times, then the last c."""
    status = 0
    steps, n, h, block = op[26], op[27], op[29], op[32]
    width = 4 * h
    turn_weights(op, f, width)
    for first in range(0, steps, block):
        count = min(block, steps - first)
        low = lowest_time(op, first, count)
        gates = op[19]
        if op[33] != 0:
            gates += low * n * width
        begin_gates(op, f, gates, count * n, width)
        status |= input_part(op, f, gates, width, 0, 0, width, low, count)
        for step in range(first, first + count):
            t = time_of(op, step)
            row, y = gates + (t - low) * n * width, op[1] + t * n * h
            c, before = cells_of(op, step), cells_of(op, step - 1)
            status |= hidden_part(op, f, row, width, width, state_before(op, step))
            for k in range(n):
                lstm_cell(f, row + k * width, before + k * h, c + k * h, y + k * h, h)
    store_or_add(f, op[1] + steps * n * h, cells_of(op, steps - 1), n * h, True)
    return status


@device
def lstm_cell_adjoint(f: Any, gates: int, before: int, c: int, g: int, dh: int, dc: int, d: int, h: int) -> int:
    """d = the gates' adjoints and dc = that of c_before, from g + dh, the adjoint of h, and dc, that of c."""
    o, do = gates + 3 * h, d + 3 * h
    for k in range(h):
        f[do + k] = m.tanh(f[c + k])
    for k in range(h):
        f[dc + k] += (f[g + k] + f[dh + k]) * f[o + k] * (1.0 - f[do + k] * f[do + k])
    for k in range(h):
        f[do + k] *= (f[g + k] + f[dh + k]) * f[o + k] * (1.0 - f[o + k])
    for k in range(h):
        f[d + k] = f[dc + k] * f[gates + 2 * h + k] * f[gates + k] * (1.0 - f[gates + k])
    for k in range(h):
        f[d + h + k] = f[dc + k] * f[before + k] * f[gates + h + k] * (1.0 - f[gates + h + k])
    for k in range(h):
        f[d + 2 * h + k] = f[dc + k] * f[gates + k] * (1.0 - f[gates + 2 * h + k] * f[gates + 2 * h + k])
    for k in range(h):
        f[dc + k] *= f[gates + h + k]
    return 0


def lstm_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """`lstm_cell_adjoint` from the last step to the first; dh = d w_hh."""
    status = 0
    steps, n, h, block = op[26], op[27], op[29], op[32]
    width, size = 4 * h, n * h
    d = op[17]
    dh = d + block * n * width
    dc = dh + size
    for k in range(size):
        f[dh + k] = 0.0
    store_or_add(f, dc, op[2] + steps * size, size, True)
    blocks = (steps + block - 1) // block
    for back in range(blocks):
        first = (blocks - 1 - back) * block
        count = min(block, steps - first)
        low = lowest_time(op, first, count)
        for reverse in range(count):
            step = first + count - 1 - reverse
            t = time_of(op, step)
            gates, row, g = op[19] + t * n * width, d + (t - low) * n * width, op[2] + t * size
            c, before = cells_of(op, step), cells_of(op, step - 1)
            for k in range(n):
                lstm_cell_adjoint(f, gates + k * width, before + k * h, c + k * h, g + k * h, dh + k * h, dc + k * h,
                                  row + k * width, h)
            if step > 0 or op[14] != 0:
                status |= state_part(op, f, row, width, width, dh, 0)
        status |= input_adjoint(op, f, d, width, 0, width, low, count, True, back == 0)
        status |= hidden_adjoint(op, f, d, width, width, first, count, back == 0)
    if op[14] != 0:
        store_or_add(f, op[14], dh, size, op[0] & 64 != 0)
    if op[16] != 0:
        store_or_add(f, op[16], dc, size, op[0] & 128 != 0)
    return status


_LSTM = (3, 7, 8, 9, 10)
LSTM = Op("lstm", lstm_forward, lstm_adjoint,
          ((*_LSTM, 2), (*_LSTM, 1), (*_LSTM, 0, 6), _LSTM, _LSTM, _LSTM, _LSTM, ()), stores=True,
          doc="long short-term memory over all steps", products=recurrence_products)


# ------------------------------------------------------------------ GRU

# A row of gates is (n, r, z, q), q = w_hn h + b_hn: so the hidden state's part, (r, z, q), is one matrix product.


@device
def begin_gru_gates(op: Any, f: Any, to: int, rows: int, h: int) -> int:
    """Each row = the biases: (b_in, b_ir + b_hr, b_iz + b_hz, b_hn), or zeros."""
    if op[30] == 0:
        for k in range(to, to + rows * 4 * h):
            f[k] = 0.0
        return 0
    for row in range(rows):
        at = to + row * 4 * h
        for k in range(h):
            f[at + k] = f[op[9] + 2 * h + k]
        for k in range(2 * h):
            f[at + h + k] = f[op[9] + k] + f[op[11] + k]
        for k in range(h):
            f[at + 3 * h + k] = f[op[11] + 2 * h + k]
    return 0


@device
def gru_cell(f: Any, gates: int, before: int, y: int, h: int) -> int:
    """r, z = sigmoid, n = tanh(n + r q) of the gates (n, r, z, q); y = n + z (h_before - n)."""
    for k in range(gates + h, gates + 3 * h):
        f[k] = m.sigmoid(f[k])
    for k in range(h):
        f[gates + k] = m.tanh(f[gates + k] + f[gates + h + k] * f[gates + 3 * h + k])
    for k in range(h):
        f[y + k] = f[gates + k] + f[gates + 2 * h + k] * (f[before + k] - f[gates + k])
    return 0


def gru_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """r, z, n of w_ih x_t + b_ih and w_hh h_(t-1) + b_hh by `gru_cell`; y = h of all times."""
    status = 0
    steps, n, h, block = op[26], op[27], op[29], op[32]
    width = 4 * h
    turn_weights(op, f, 3 * h)
    for first in range(0, steps, block):
        count = min(block, steps - first)
        low = lowest_time(op, first, count)
        gates = op[19]
        if op[33] != 0:
            gates += low * n * width
        begin_gru_gates(op, f, gates, count * n, h)
        status |= input_part(op, f, gates, width, 0, 2 * h, h, low, count)
        status |= input_part(op, f, gates, width, h, 0, 2 * h, low, count)
        for step in range(first, first + count):
            t = time_of(op, step)
            row, y, before = gates + (t - low) * n * width, op[1] + t * n * h, state_before(op, step)
            status |= hidden_part(op, f, row + h, width, 3 * h, before)
            for k in range(n):
                gru_cell(f, row + k * width, before + k * h, y + k * h, h)
    return status


@device
def gru_cell_adjoint(f: Any, gates: int, before: int, g: int, dh: int, d: int, h: int) -> int:
    """d = the gates' adjoints from g + dh, the adjoint of h; dh = what goes straight to h_before."""
    r, z, q = gates + h, gates + 2 * h, gates + 3 * h
    for k in range(h):
        f[d + k] = (f[g + k] + f[dh + k]) * (1.0 - f[z + k]) * (1.0 - f[gates + k] * f[gates + k])
    for k in range(h):
        f[d + h + k] = f[d + k] * f[q + k] * f[r + k] * (1.0 - f[r + k])
    for k in range(h):
        f[d + 2 * h + k] = (f[g + k] + f[dh + k]) * (f[before + k] - f[gates + k]) * f[z + k] * (1.0 - f[z + k])
    for k in range(h):
        f[d + 3 * h + k] = f[d + k] * f[r + k]
    for k in range(h):
        f[dh + k] = (f[g + k] + f[dh + k]) * f[z + k]
    return 0


def gru_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """`gru_cell_adjoint` from the last step to the first; dh += (dr, dz, dq) w_hh."""
    status = 0
    steps, n, h, block = op[26], op[27], op[29], op[32]
    width, size = 4 * h, n * h
    d = op[17]
    dh = d + block * n * width
    for k in range(size):
        f[dh + k] = 0.0
    blocks = (steps + block - 1) // block
    for back in range(blocks):
        first = (blocks - 1 - back) * block
        count = min(block, steps - first)
        low = lowest_time(op, first, count)
        for reverse in range(count):
            step = first + count - 1 - reverse
            t = time_of(op, step)
            gates, row, g = op[19] + t * n * width, d + (t - low) * n * width, op[2] + t * size
            before = state_before(op, step)
            for k in range(n):
                gru_cell_adjoint(f, gates + k * width, before + k * h, g + k * h, dh + k * h, row + k * width, h)
            status |= state_part(op, f, row + h, width, 3 * h, dh, 1)
        status |= input_adjoint(op, f, d + h, width, 0, 2 * h, low, count, True, back == 0)
        status |= input_adjoint(op, f, d, width, 2 * h, h, low, count, False, back == 0)
        status |= hidden_adjoint(op, f, d + h, width, 3 * h, first, count, back == 0)
    if op[14] != 0:
        store_or_add(f, op[14], dh, size, op[0] & 64 != 0)
    return status


_GRU = (0, 3, 6, 8, 9)
GRU = Op("gru", gru_forward, gru_adjoint,
         ((*_GRU, 2), (*_GRU, 1), _GRU, _GRU, _GRU, _GRU, (), ()), stores=True,
         doc="gated recurrent unit over all steps", products=recurrence_products)
