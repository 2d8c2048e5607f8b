"""Recurrent layers by their cells: the plain one, the LSTM and the GRU, each one instruction for all time steps.

Loops read and write few arrays each; with more LLVM does not vectorise them.
"""

from __future__ import annotations

from typing import Any

from ..engine.language import cast, device
from ..engine.mathematics import vecmath as m
from .recurrence import (
    Recurrence,
    all_samples,
    begin_gates,
    hidden_adjoint,
    hidden_part,
    input_adjoint,
    input_part,
    lowest_time,
    over_steps,
    parts_of,
    recurrence_products,
    state_before,
    state_part,
    store_or_add,
    time_of,
    turn_weights,
)
from .table import Op


def saves(read: str) -> dict[str, str]:
    """The save rule of a cell whose reverse walk reads `read`."""
    rule = dict.fromkeys(("b_ih", "b_hh", "h0"), read)
    return {"x": f"{read} w_ih", "w_ih": f"{read} x", "w_hh": read, **rule}


# ------------------------------------------------------------------ plain


def rnn_forward(op: Recurrence, f: Any, i: Any, b: Any) -> int:
    """h_t = tanh(w_ih x_t + b_ih + w_hh h_(t-1) + b_hh), or relu; y = h of all times."""
    status = 0
    steps, n, h = op.steps, op.samples, op.units
    turn_weights(op, f, h)
    begin_gates(op, f, op.y, steps * n, h)
    status |= input_part(op, f, op.y, h, 0, 0, h, 0, steps)
    for step in range(steps):
        y = op.y + time_of(op, step) * n * h
        status |= hidden_part(op, f, y, h, h, state_before(op, step))
        if op.relu != 0:
            for k in range(y, y + n * h):
                v = f[k]
                f[k] = 0.0 if v < 0.0 else v
        else:
            for k in range(y, y + n * h):
                f[k] = m.tanh(f[k])
    return status


def rnn_adjoint(op: Recurrence, f: Any, i: Any, b: Any) -> int:
    """d = (g_t + dh) (1 - h_t^2), or where h_t > 0; dh = d w_hh."""
    status = 0
    steps, n, h, block = op.steps, op.samples, op.units, op.block
    d, dh, size = op.scratch, op.scratch + block * n * h, n * h
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
            y, g, at = op.y + t * size, op.g + t * size, d + (t - low) * size
            if op.relu != 0:
                for k in range(size):
                    total = f[g + k] + f[dh + k]
                    f[at + k] = total if f[y + k] > 0.0 else cast(0.0, f)
            else:
                for k in range(size):
                    f[at + k] = (f[g + k] + f[dh + k]) * (1.0 - f[y + k] * f[y + k])
            if step > 0 or op.d.h0 != 0:
                status |= state_part(op, f, at, h, h, dh, 0)
        status |= input_adjoint(op, f, d, h, 0, h, low, count, True, back == 0)
        status |= hidden_adjoint(op, f, d, h, h, first, count, back == 0)
    if op.d.h0 != 0:
        store_or_add(f, op.d.h0, dh, size, op.stores.h0)
    return status


def rnn_step(r: Any, inner: Any, outer: Any, h: Any, c: Any, t: Any) -> Any:
    """h = tanh(inner + outer), or relu."""
    return t.relu(inner + outer) if r.relu else t.tanh(inner + outer), None


RNN = Op("rnn", rnn_forward, rnn_adjoint, row=Recurrence,
         saves={**saves("y w_hh scratch"), "w_hh": "y w_hh h0 scratch"}, stores=True,
         doc="tanh or relu recurrence over all steps", products=recurrence_products, formula=over_steps(rnn_step),
         batching=all_samples)


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
def cells_of(op: Recurrence, step: int) -> int:
    """The cells after a step, or the first ones before step 0."""
    at = op.cells
    if step < 0:
        at = op.c0
    elif op.keeps != 0:
        at += time_of(op, step) * op.samples * op.units
    return at


def lstm_forward(op: Recurrence, f: Any, i: Any, b: Any) -> int:
    """(i, f, g, o) = w_ih x_t + b_ih + w_hh h_(t-1) + b_hh, `lstm_cell`; y = h of all times, then the last c."""
    status = 0
    steps, n, h, block = op.steps, op.samples, op.units, op.block
    width = 4 * h
    turn_weights(op, f, width)
    for first in range(0, steps, block):
        count = min(block, steps - first)
        low = lowest_time(op, first, count)
        gates = op.gates
        if op.keeps != 0:
            gates += low * n * width
        begin_gates(op, f, gates, count * n, width)
        status |= input_part(op, f, gates, width, 0, 0, width, low, count)
        for step in range(first, first + count):
            t = time_of(op, step)
            row, y = gates + (t - low) * n * width, op.y + t * n * h
            c, before = cells_of(op, step), cells_of(op, step - 1)
            status |= hidden_part(op, f, row, width, width, state_before(op, step))
            for k in range(n):
                lstm_cell(f, row + k * width, before + k * h, c + k * h, y + k * h, h)
    store_or_add(f, op.y + steps * n * h, cells_of(op, steps - 1), n * h, True)
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


def lstm_adjoint(op: Recurrence, f: Any, i: Any, b: Any) -> int:
    """`lstm_cell_adjoint` from the last step to the first; dh = d w_hh."""
    status = 0
    steps, n, h, block = op.steps, op.samples, op.units, op.block
    width, size = 4 * h, n * h
    d = op.scratch
    dh = d + block * n * width
    dc = dh + size
    for k in range(size):
        f[dh + k] = 0.0
    store_or_add(f, dc, op.g + steps * size, size, True)
    blocks = (steps + block - 1) // block
    for back in range(blocks):
        first = (blocks - 1 - back) * block
        count = min(block, steps - first)
        low = lowest_time(op, first, count)
        for reverse in range(count):
            step = first + count - 1 - reverse
            t = time_of(op, step)
            gates, row, g = op.gates + t * n * width, d + (t - low) * n * width, op.g + t * size
            c, before = cells_of(op, step), cells_of(op, step - 1)
            for k in range(n):
                lstm_cell_adjoint(f, gates + k * width, before + k * h, c + k * h, g + k * h, dh + k * h, dc + k * h,
                                  row + k * width, h)
            if step > 0 or op.d.h0 != 0:
                status |= state_part(op, f, row, width, width, dh, 0)
        status |= input_adjoint(op, f, d, width, 0, width, low, count, True, back == 0)
        status |= hidden_adjoint(op, f, d, width, width, first, count, back == 0)
    if op.d.h0 != 0:
        store_or_add(f, op.d.h0, dh, size, op.stores.h0)
    if op.d.c0 != 0:
        store_or_add(f, op.d.c0, dc, size, op.stores.c0)
    return status


def lstm_step(r: Any, inner: Any, outer: Any, h: Any, c: Any, t: Any) -> Any:
    """`lstm_cell`."""
    i, f, g, o = parts_of(inner + outer, r.units)
    c = t.sigmoid(f) * c + t.sigmoid(i) * t.tanh(g)
    return t.sigmoid(o) * t.tanh(c), c


_READ = "w_hh c0 scratch gates cells"
LSTM = Op("lstm", lstm_forward, lstm_adjoint, row=Recurrence,
          saves={**saves(_READ), "w_hh": f"y h0 {_READ}", "c0": _READ}, stores=True,
          doc="long short-term memory over all steps", products=recurrence_products,
          formula=over_steps(lstm_step, has_cells=True), batching=all_samples)


# ------------------------------------------------------------------ GRU

# A row of gates is (n, r, z, q), q = w_hn h + b_hn, so that the hidden state's part, (r, z, q), is one matrix product.


@device
def begin_gru_gates(op: Recurrence, f: Any, to: int, rows: int, h: int) -> int:
    """Each row = the biases: (b_in, b_ir + b_hr, b_iz + b_hz, b_hn), or zeros."""
    if op.has_biases == 0:
        for k in range(to, to + rows * 4 * h):
            f[k] = 0.0
        return 0
    for row in range(rows):
        at = to + row * 4 * h
        for k in range(h):
            f[at + k] = f[op.b_ih + 2 * h + k]
        for k in range(2 * h):
            f[at + h + k] = f[op.b_ih + k] + f[op.b_hh + k]
        for k in range(h):
            f[at + 3 * h + k] = f[op.b_hh + 2 * h + k]
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


def gru_forward(op: Recurrence, f: Any, i: Any, b: Any) -> int:
    """r, z, n of w_ih x_t + b_ih and w_hh h_(t-1) + b_hh by `gru_cell`; y = h of all times."""
    status = 0
    steps, n, h, block = op.steps, op.samples, op.units, op.block
    width = 4 * h
    turn_weights(op, f, 3 * h)
    for first in range(0, steps, block):
        count = min(block, steps - first)
        low = lowest_time(op, first, count)
        gates = op.gates
        if op.keeps != 0:
            gates += low * n * width
        begin_gru_gates(op, f, gates, count * n, h)
        status |= input_part(op, f, gates, width, 0, 2 * h, h, low, count)
        status |= input_part(op, f, gates, width, h, 0, 2 * h, low, count)
        for step in range(first, first + count):
            t = time_of(op, step)
            row, y, before = gates + (t - low) * n * width, op.y + t * n * h, state_before(op, step)
            status |= hidden_part(op, f, row + h, width, 3 * h, before)
            for k in range(n):
                gru_cell(f, row + k * width, before + k * h, y + k * h, h)
    return status


@device
def gru_cell_adjoint(f: Any, gates: int, before: int, g: int, dh: int, d: int, h: int) -> int:
    """d = the gates' adjoints from g + dh, the adjoint of h; dh = the direct contribution to h_before."""
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


def gru_adjoint(op: Recurrence, f: Any, i: Any, b: Any) -> int:
    """`gru_cell_adjoint` from the last step to the first; dh += (dr, dz, dq) w_hh."""
    status = 0
    steps, n, h, block = op.steps, op.samples, op.units, op.block
    width, size = 4 * h, n * h
    d = op.scratch
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
            gates, row, g = op.gates + t * n * width, d + (t - low) * n * width, op.g + t * size
            before = state_before(op, step)
            for k in range(n):
                gru_cell_adjoint(f, gates + k * width, before + k * h, g + k * h, dh + k * h, row + k * width, h)
            status |= state_part(op, f, row + h, width, 3 * h, dh, 1)
        status |= input_adjoint(op, f, d + h, width, 0, 2 * h, low, count, True, back == 0)
        status |= input_adjoint(op, f, d, width, 2 * h, h, low, count, False, back == 0)
        status |= hidden_adjoint(op, f, d + h, width, 3 * h, first, count, back == 0)
    if op.d.h0 != 0:
        store_or_add(f, op.d.h0, dh, size, op.stores.h0)
    return status


def gru_step(r: Any, inner: Any, outer: Any, h: Any, c: Any, t: Any) -> Any:
    """`gru_cell`."""
    (xr, xz, xn), (hr, hz, hn) = parts_of(inner, r.units), parts_of(outer, r.units)
    n = t.tanh(xn + t.sigmoid(xr + hr) * hn)
    return n + t.sigmoid(xz + hz) * (h - n), None


GRU = Op("gru", gru_forward, gru_adjoint, row=Recurrence, saves=saves("y w_hh h0 scratch gates"), stores=True,
         doc="gated recurrent unit over all steps", products=recurrence_products, formula=over_steps(gru_step),
         batching=all_samples)
