"""Every op of several operands, given the same tensor for all of them, or views that overlap.

An adjoint kernel may add to its operands in an order of its own, and on several threads; the gradient of what they are
parts of is the sum of all in any case. Expectations are central differences of the op's own value in float64.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim
from tapegrad.functions.apply import apply_binary
from tapegrad.functions.distances import pair_dots, pair_sums
from tapegrad.functions.recurrence import gru_layer, lstm_layer, rnn_layer
from tapegrad.ops.elementwise import BINARY

INDEX = np.array([2, 0, 2, 1])
ODD = np.arange(40) % 2 == 1


def add_products(a, b, y):
    for k in range(y.size):
        y[k] = a[k] * b[k] * b[k]


def add_products_adjoint(g, a, b, da, db):
    for k in range(g.size):
        db[k] += 2.0 * g[k] * a[k] * b[k]
    for k in range(g.size):
        da[k] += g[k] * b[k] * b[k]


USERS = tg.custom_op(add_products, add_products_adjoint)

STEPPED = {"floor_divide", "fmod", "remainder"}  # differences meet their steps
#: by name: the op, and the shapes of its operands
OPS = {
    **{name: (getattr(tg, name), [(3, 4), (3, 4)]) for name in BINARY if hasattr(tg, name) and name not in STEPPED},
    **{name: (partial(lambda name, a, b: apply_binary(BINARY[name], a, b, 0.3), name), [(3, 4), (3, 4)])
       for name in ("scaled_product", "tanh_slope")},
    "broadcast": (tg.multiply, [(3, 4), (4,)]),
    "broadcast column": (tg.divide, [(3, 1), (3, 4)]),
    "scalars": (tg.multiply, [(), ()]),
    "where": (lambda a, b: tg.where(ODD[:12].reshape(3, 4), a, b), [(3, 4), (3, 4)]),
    "concatenate": (lambda a, b, c: tg.concatenate([a, b, c], axis=0), [(2, 4), (3, 4), (2, 4)]),
    "concatenate last": (lambda a, b: tg.concatenate([a, b], axis=1), [(3, 4), (3, 4)]),
    "stack": (lambda a, b, c: tg.stack([a, b, c], axis=1), [(3, 4)] * 3),
    "stack of scalars": (lambda a, b, c: tg.softmax(tg.stack([a, b, c]), axis=0), [()] * 3),
    "sum of scalars": (lambda a, b, c: (a + b + c) * 0.5, [()] * 3),
    "matmul": (tg.matmul, [(3, 3), (3, 3)]),
    "matmul transposed": (lambda a, b: a @ b.T, [(3, 4), (3, 4)]),
    "matmul batched": (tg.matmul, [(3, 2, 2), (3, 2, 2)]),
    "matmul broadcast": (tg.matmul, [(2, 2), (3, 2, 2)]),
    "matmul turned": (lambda a, b: a @ b[::-1], [(3, 2, 2), (3, 2, 2)]),
    "linear": (tg.linear, [(4, 4), (4, 4), (4,)]),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, 4, w, b), [(3, 4), (4,), (4,)]),
    "layer_norm of one row": (lambda x, w, b: F.layer_norm(x, 4, w, b), [(4,)] * 3),
    "rms_norm": (lambda x, w: F.rms_norm(x, 4, w), [(3, 4), (4,)]),
    "group_norm": (lambda x, w, b: F.group_norm(x, 2, w, b), [(2, 4, 3), (4,), (4,)]),
    "instance_norm": (lambda x, w, b: F.instance_norm(x, weight=w, bias=b), [(2, 3, 4), (3,), (3,)]),
    "batch_norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), [(3, 4), (4,), (4,)]),
    "batch_norm of images": (lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), [(2, 3, 4), (3,), (3,)]),
    "batch_norm fixed": (lambda x, w, b: F.batch_norm(x, tg.tensor(np.full(4, 0.2)), tg.tensor(np.full(4, 0.5)), w, b),
                         [(3, 4), (4,), (4,)]),
    "conv": (F.conv1d, [(1, 3, 4), (3, 3, 2), (3,)]),
    "conv of images": (lambda x, w, b: F.conv2d(x, w, b, padding=1), [(2, 2, 3, 3), (2, 2, 2, 2), (2,)]),
    "conv in groups": (lambda x, w: F.conv2d(x, w, groups=2), [(2, 2, 3, 3), (2, 1, 2, 2)]),
    "conv_transpose": (F.conv_transpose1d, [(1, 3, 4), (3, 2, 2), (2,)]),
    "attention": (F.scaled_dot_product_attention, [(2, 3, 2)] * 3),
    "attention of one": (F.scaled_dot_product_attention, [(1, 2)] * 3),
    "attention with a mask": (lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m), [(3, 3)] * 4),
    "rnn": (lambda *a: rnn_layer(*a)[0], [(3, 2, 2), (2, 2), (2, 2), (2,), (2,), (2, 2)]),
    "lstm": (lambda *a: lstm_layer(*a)[0], [(3, 2, 2), (8, 2), (8, 2), (8,), (8,), (2, 2), (2, 2)]),
    "gru": (lambda *a: gru_layer(*a)[0], [(3, 2, 2), (6, 2), (6, 2), (6,), (6,), (2, 2)]),
    "bag": (lambda w, c: F.embedding_bag(INDEX.reshape(2, 2), w, mode="sum", per_sample_weights=c), [(3, 4), (2, 2)]),
    "cdist": (tg.cdist, [(3, 2), (2, 2)]),
    "pair sums": (pair_sums, [(3, 3), (3, 3), (3, 3)]),
    "pair dots": (pair_dots, [(3, 3), (3, 3), (3, 3)]),
    "cdist p": (lambda a, b: tg.cdist(a, b, p=3.0), [(3, 2), (2, 2)]),
    "at.set": (lambda x, v: x.at[[0, 2]].set(v), [(3, 4), (2, 4)]),
    "at.add": (lambda x, v: x.at[INDEX].add(v), [(3, 4), (4, 4)]),
    "mse": (F.mse_loss, [(3, 4), (3, 4)]),
    "huber": (F.huber_loss, [(3, 4), (3, 4)]),
    "cross entropy": (F.cross_entropy, [(3, 4), (3, 4)]),
    "bce": (F.binary_cross_entropy, [(3, 4), (3, 4)]),
    "bce with logits": (F.binary_cross_entropy_with_logits, [(3, 4), (3, 4)]),
    "kl_div": (F.kl_div, [(3, 4), (3, 4)]),
    "user's": (USERS, [(12,), (12,)]),
}
KINKED = {"maximum", "minimum", "fmax", "fmin", "absolute_error", "cdist"}  # where operands are equal
CASES = [(name, layout) for name in OPS for layout in ("same", "shifted", "turned")
         if layout == "shifted" or name not in KINKED]


def operands_of(z, shapes, layout):
    """Views of the vector `z`: beginning all at its first element, one after the other, or from its last one back."""
    found = []
    for k, shape in enumerate(shapes):
        size = math.prod(shape)
        first = k if layout == "shifted" else 0
        part = z[first:first + size]
        found.append((part[::-1] if layout == "turned" and k else part).reshape(shape))
    return found


def cotangent(shape):
    return np.random.default_rng(3).uniform(0.5, 1.5, shape)


def case(name, layout):
    """The loss as a function of the vector, the vector, and its gradient."""
    op, shapes = OPS[name]
    ends = [math.prod(shape) + k * (layout == "shifted") for k, shape in enumerate(shapes)]
    z = np.random.default_rng(len(name)).permutation(np.linspace(0.15, 0.95, max(ends)))

    def loss(z):
        y = op(*operands_of(z, shapes, layout))
        return (y * cotangent(y.shape)).sum()

    def value(z):
        with tg.no_grad():
            return float(loss(tg.tensor(z)))

    gradient, step = np.zeros_like(z), 1e-6
    for k in range(len(z)):
        e = step * (np.arange(len(z)) == k)
        gradient[k] = (value(z + e) - value(z - e)) / (2 * step)
    return loss, z, gradient


@pytest.mark.parametrize(("name", "layout"), CASES)
def test_operands_may_be_one_tensor_or_overlapping_views(name, layout):
    loss, z, gradient = case(name, layout)
    checked = {"rtol": 2e-7, "atol": 2e-7 * max(np.abs(gradient).max(), 1.0)}
    leaf = tg.tensor(z, requires_grad=True)
    loss(leaf).backward()
    np.testing.assert_allclose(leaf.grad.numpy(), gradient, **checked, err_msg="a leaf, define by run")
    between = tg.grad(lambda z: loss(2.0 * (0.5 * z)))
    np.testing.assert_allclose(between(z), gradient, **checked, err_msg="computed, define by run")
    np.testing.assert_allclose(tg.compile(between)(z), gradient, **checked, err_msg="computed, recorded")
    np.testing.assert_allclose(tg.compile(tg.grad(loss))(z), gradient, **checked, err_msg="an input, recorded")
    parameter = nn.Parameter(z, dtype="float64")
    tg.TrainStep(lambda: loss(parameter), optim.SGD([parameter], lr=1.0))()
    np.testing.assert_allclose(z - parameter.numpy(), gradient, **checked, err_msg="a parameter, recorded")
