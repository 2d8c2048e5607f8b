"""The works of compare.py that are multilayer perceptrons, as one function written for them and compiled by numba.

Forward, reverse and update stand one after the other in plain loops: no tape, no dispatch, no plan. BLAS, the vector
mathematics and numba's options are those of tapegrad's kernels, so what remains between the two is the engine.
"""

from __future__ import annotations

import math
from typing import Any

from worker import CHECKED_STEPS, Way, load_works

from tapegrad.engine.kernels import Kernel
from tapegrad.engine.language import bits, cast, device, real, real64, words_at
from tapegrad.engine.mathematics import vecmath as m
from tapegrad.engine.products.blas import gemm
from tapegrad.engine.products.product import gemm_address

works = load_works()

# Words: 1 batch, 2 layers, 3 whether relu, 4 whether classes, 5 gemm, 6 first step, 7 last step, 8 index of rows
# (int64), 9 X, 10 Y, 11 x, 12 y of the batch, 13 losses, 14 whether Adam, 15 parameters, 16 gradients, 17 and 18 Adam's
# averages, 19 number of parameters, 20 steps done, 21 lr, 22 inputs of the first layer, 23 where this row lies; from
# LAYERS on of each layer: weight, dweight, bias, dbias, output, its adjoint, inputs, outputs.
LAYERS, WORDS = 32, 8


@device
def gather(op: Any, f: Any, i: Any, step: int) -> int:
    """The batch's rows."""
    n, width, x, y = op[1], op[22], op[11], op[12]
    for row in range(n):
        at = i[op[8] + step * n + row]
        source, to = op[9] + at * width, x + row * width
        for k in range(width):
            f[to + k] = f[source + k]
        if op[4] != 0:
            i[y + row] = i[op[10] + at]
        else:
            f[y + row] = f[op[10] + at]
    return 0


@device
def forward(op: Any, layer: Any, f: Any, x: int, last: bool) -> int:
    """z = act(x W^T + b)."""
    n, fan_in, fan_out, bias, z = op[1], layer[6], layer[7], layer[2], layer[4]
    for row in range(n):
        for k in range(fan_out):
            f[z + row * fan_out + k] = f[bias + k]
    gemm(op[5], 0, 1, n, fan_out, fan_in, x, fan_in, layer[0], fan_in, 1, z, fan_out, f)
    if not last:
        if op[3] != 0:
            for k in range(z, z + n * fan_out):
                f[k] = f[k] if f[k] > 0.0 else cast(0.0, f)
        else:
            for k in range(z, z + n * fan_out):
                f[k] = m.tanh(f[k])
    return 0


@device
def squares(f: Any, z: int, y: int, dz: int, count: int) -> Any:
    """The mean of (z - y)^2; dz = 2 (z - y) / count."""
    total, share = cast(0.0, f), 2.0 / cast(count, f)
    for k in range(count):
        d = f[z + k] - f[y + k]
        total += d * d
        f[dz + k] = share * d
    return total / cast(count, f)


@device
def entropies(f: Any, i: Any, z: int, y: int, dz: int, rows: int, classes: int) -> Any:
    """The mean of ln(sum e^z) - z_y; dz = (softmax - [k = y]) / rows."""
    total, share = cast(0.0, f), 1.0 / cast(rows, f)
    for row in range(rows):
        u, v, top, s = z + row * classes, dz + row * classes, f[z + row * classes], cast(0.0, f)
        for k in range(classes):
            top = f[u + k] if f[u + k] > top else top
        for k in range(classes):
            e = m.exp(f[u + k] - top)
            f[v + k] = e
            s += e
        target = i[y + row]
        total += m.log(s) + top - f[u + target]
        scale = share / s
        for k in range(classes):
            f[v + k] *= scale
        f[v + target] -= share
    return total * share


@device
def reverse(op: Any, layer: Any, f: Any, x: int, dx: int) -> int:
    """dW = dz^T x, db = the sum of dz; where there is a layer before, dx = (dz W) act'(x)."""
    n, fan_in, fan_out, dbias, dz = op[1], layer[6], layer[7], layer[3], layer[5]
    gemm(op[5], 1, 0, fan_out, fan_in, n, dz, fan_out, x, fan_in, 0, layer[1], fan_in, f)
    for k in range(fan_out):
        f[dbias + k] = 0.0
    for row in range(n):
        for k in range(fan_out):
            f[dbias + k] += f[dz + row * fan_out + k]
    if dx != 0:
        gemm(op[5], 0, 0, n, fan_in, fan_out, dz, fan_out, layer[0], fan_in, 0, dx, fan_in, f)
        if op[3] != 0:
            for k in range(n * fan_in):
                f[dx + k] = f[dx + k] if f[x + k] > 0.0 else cast(0.0, f)
        else:
            for k in range(n * fan_in):
                f[dx + k] *= 1.0 - f[x + k] * f[x + k]
    return 0


@device
def update(op: Any, f: Any) -> int:
    """p -= lr g, or Adam's step."""
    p, g, u, v, n, lr = op[15], op[16], op[17], op[18], op[19], real(op, 21, f)
    if op[14] == 0:
        for k in range(n):
            f[p + k] -= lr * f[g + k]
        return 0
    op[20] += 1
    rate = cast(real64(op, 21) / (1.0 - math.pow(0.9, op[20])), f)
    root = cast(math.sqrt(1.0 - math.pow(0.999, op[20])), f)
    for k in range(n):
        f[u + k] += 0.1 * (f[g + k] - f[u + k])
        f[v + k] = 0.999 * f[v + k] + 0.001 * f[g + k] * f[g + k]
        f[p + k] -= rate * f[u + k] / (math.sqrt(f[v + k]) / root + 1e-8)
    return 0


def train(op: Any, f: Any, i: Any, b: Any) -> int:
    """The steps."""
    layers = op[2]
    for step in range(op[6], op[7]):
        gather(op, f, i, step)
        x = op[11]
        for k in range(layers):
            layer = words_at(op[23] + LAYERS + k * WORDS)
            forward(op, layer, f, x, k == layers - 1)
            x = layer[4]
        top = words_at(op[23] + LAYERS + (layers - 1) * WORDS)
        if op[4] != 0:
            f[op[13] + step] = entropies(f, i, top[4], op[12], top[5], op[1], top[7])
        else:
            f[op[13] + step] = squares(f, top[4], op[12], top[5], op[1] * top[7])
        for back in range(layers):
            k = layers - 1 - back
            layer = words_at(op[23] + LAYERS + k * WORDS)
            x, dx = op[11], 0
            if k > 0:
                before = words_at(op[23] + LAYERS + (k - 1) * WORDS)
                x, dx = before[4], before[5]
            reverse(op, layer, f, x, dx)
        update(op, f)
    return 0


TRAIN = Kernel("handwritten", train, own=False)


def begin(threads: int) -> str:
    """The version of numba."""
    import numba

    return numba.__version__


def multilayer(work: Any) -> Way:
    """Parameters in one flat array, one row of words that says where everything lies."""
    import numpy as np

    values, (X, Y), n = work.parameters(), work.data(), work.batch
    sizes = [-(-v.size // 16) * 16 for v in values.values()]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    flat, gradients, u, v = (np.zeros(int(offsets[-1]), np.float32) for _ in range(4))
    places = dict(zip(values, offsets.tolist()))
    for name, value in values.items():
        flat[places[name]:places[name] + value.size] = value.ravel()
    layers = len(work.widths) - 1
    outputs = [np.zeros((2, n * width), np.float32) for width in work.widths]
    x, y = outputs[0][0], np.zeros(n, Y.dtype)
    index = np.arange(len(X), dtype=np.int64)
    losses = np.zeros(len(X) // n, np.float32)
    row = np.zeros(LAYERS + layers * WORDS, np.int64)

    def at(array: Any) -> int:
        return array.ctypes.data // array.itemsize

    row[1:24] = (n, layers, work.activation == "relu", work.classes, gemm_address(np.dtype(np.float32)), 0, 0,
                 at(index), at(X), at(Y), at(x), at(y), at(losses), work.optimizer == "Adam", at(flat), at(gradients),
                 at(u), at(v), len(flat), 0, bits(work.lr), work.widths[0], at(row))
    for k in range(layers):
        weight, bias = places[f"{2 * k}.weight"], places[f"{2 * k}.bias"]
        row[LAYERS + k * WORDS:LAYERS + (k + 1) * WORDS] = (
            at(flat) + weight, at(gradients) + weight, at(flat) + bias, at(gradients) + bias, at(outputs[k + 1][0]),
            at(outputs[k + 1][1]), *work.widths[k:k + 2])

    def steps(count: int) -> float:
        row[6:8] = 0, count
        TRAIN(row.ctypes.data, np.dtype(np.float32))
        return float(losses[0])

    first, of_first = [], {}
    for _ in range(CHECKED_STEPS):
        first.append(steps(1))
        of_first = of_first or {name: gradients[places[name]:places[name] + value.size].reshape(value.shape).copy()
                                for name, value in values.items()}
    rng = np.random.default_rng(0)

    def run(count: int) -> None:
        for _ in range(count // work.batches):
            index[:] = rng.permutation(len(X))
            steps(work.batches)

    run.keeps = X, Y, y, flat, gradients, u, v, outputs  # type: ignore[attr-defined]
    return Way(first, of_first, run, work.batches)


WAYS = {"handwritten": (lambda work: isinstance(work, works.Network) and work.family == "multilayer", multilayer)}
