"""The lectures' custom layer, and what a stack of layers stores; see `test_lectures.py`.

Each test states the formula of the notes, computes it in plain NumPy, and reads the same quantity off the
tape. An adjoint is read by the name that was given to the tensor: ``tape.adjoint("q")`` is dJ/dq for the J on
which `backward` was called.
"""

import math

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import optim


def variable(value, name):
    """A leaf of the graph with the letter that the notes give it."""
    return tg.tensor(np.asarray(value, dtype=np.float64), requires_grad=True).named(name)


def sigma(a):
    """The logistic function in NumPy."""
    return 1.0 / (1.0 + np.exp(-a))


# ------------------------------------------------------------------
# the custom layer


def radial(x, c, y):
    """y_nj = exp(-sum_i (x_ni - c_ji)^2): how near example n is to centre j."""
    for n in range(x.shape[0]):
        for j in range(c.shape[0]):
            distance = 0.0
            for i in range(x.shape[1]):
                distance += (x[n, i] - c[j, i]) ** 2
            y[n, j] = math.exp(-distance)


def radial_adjoint(g, x, c, y, dx, dc):
    """With g = dL/dy: dL/dx_ni = -2 sum_j g_nj y_nj (x_ni - c_ji), dL/dc_ji = 2 sum_n g_nj y_nj (x_ni - c_ji)."""
    for n in range(x.shape[0]):
        for j in range(c.shape[0]):
            for i in range(x.shape[1]):
                share = 2.0 * g[n, j] * y[n, j] * (x[n, i] - c[j, i])
                dx[n, i] -= share
                dc[j, i] += share


def radial_shape(x, c):
    """One output for each example and centre."""
    return (x[0], c[0])


@pytest.fixture(scope="module")
def radial_layer():
    return tg.custom_op(radial, radial_adjoint, shape=radial_shape)


def test_the_custom_layer_has_the_gradients_of_its_formula(radial_layer):
    """L = sum (y - t)^2 for a layer of radial units: the adjoints against the closed forms, by NumPy's broadcasting."""
    rng = np.random.default_rng(10)
    x_, c_, t = rng.normal(size=(5, 2)), rng.normal(size=(3, 2)), rng.uniform(size=(5, 3))
    with tg.Tape() as tape:
        x, c = variable(x_, "x"), variable(c_, "c")
        y = radial_layer(x, c).named("y")
        loss = ((y - t) ** 2).sum()
    loss.backward()
    apart = x_[:, None, :] - c_[None, :, :]
    y_ = np.exp(-(apart**2).sum(axis=2))
    g = 2 * (y_ - t)
    np.testing.assert_allclose(tape.value("y"), y_, rtol=1e-13)
    np.testing.assert_allclose(tape.adjoint("y"), g, rtol=1e-12)
    np.testing.assert_allclose(tape.adjoint("x"), -2 * ((g * y_)[:, :, None] * apart).sum(axis=1), rtol=1e-11)
    np.testing.assert_allclose(tape.adjoint("c"), 2 * ((g * y_)[:, :, None] * apart).sum(axis=0), rtol=1e-11)
    assert tg.gradcheck(radial_layer, x_, c_)


def test_a_network_with_the_custom_layer_learns_what_a_linear_one_cannot(radial_layer):
    """Inside or outside of a ring: the classes are not separable by a line, but by the distance to a centre."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=(200, 2))
    y = (np.hypot(x[:, 0], x[:, 1]) < 1.0).astype(np.float64)
    c = tg.tensor(rng.normal(size=(4, 2)), requires_grad=True)
    v = tg.tensor(rng.normal(size=4), requires_grad=True)
    b = tg.tensor(np.zeros(1), requires_grad=True)

    def loss(x, y):
        return F.binary_cross_entropy_with_logits(radial_layer(x, c) @ v + b, y)

    step = tg.TrainStep(loss, optim.Adam([c, v, b], lr=0.05))
    step.run(x, y, batch_size=20, epochs=60, seed=0)
    scores = (radial_layer(x, c) @ v + b).numpy()
    assert np.mean((scores > 0) == (y == 1)) > 0.95


def radial_values(x, c):
    """The layer as a function that returns its outputs; its adjoint is derived from these lines."""
    y = np.empty((x.shape[0], c.shape[0]))
    for n in range(x.shape[0]):
        for j in range(c.shape[0]):
            distance = 0.0
            for i in range(x.shape[1]):
                distance += (x[n, i] - c[j, i]) ** 2
            y[n, j] = math.exp(-distance)
    return y


@pytest.mark.compiled
def test_the_custom_layer_needs_no_adjoint_by_hand(radial_layer):
    """L = sum (y - t)^2 by `tg.njit`, and by `tg.custom_op` of the forward alone: the adjoints are the closed forms
    above, and recorded steps are those of the layer with its adjoint by hand."""
    derived = tg.njit(radial_values, shape=radial_shape)
    rng = np.random.default_rng(10)
    x_, c_, t = rng.normal(size=(5, 2)), rng.normal(size=(3, 2)), rng.uniform(size=(5, 3))
    apart = x_[:, None, :] - c_[None, :, :]
    y_ = np.exp(-(apart**2).sum(axis=2))
    g = 2 * (y_ - t)
    by_forward = tg.custom_op(radial, shape=radial_shape)
    for layer in (derived, by_forward):
        x, c = variable(x_, "x"), variable(c_, "c")
        loss = ((layer(x, c) - t) ** 2).sum()
        loss.backward()
        assert float(loss) == pytest.approx(((y_ - t) ** 2).sum(), rel=1e-12)
        np.testing.assert_allclose(x.grad.numpy(), -2 * ((g * y_)[:, :, None] * apart).sum(axis=1), rtol=1e-11)
        np.testing.assert_allclose(c.grad.numpy(), 2 * ((g * y_)[:, :, None] * apart).sum(axis=0), rtol=1e-11)

    trained = []
    for layer in (derived, by_forward, radial_layer):
        centres = tg.tensor(c_, requires_grad=True)
        step = tg.TrainStep(lambda x, layer=layer, centres=centres: ((layer(x, centres) - t) ** 2).sum(),
                            optim.SGD([centres], lr=0.1))
        trained.append([step(x_) for _ in range(4)])
    np.testing.assert_allclose(trained[0], trained[2], rtol=1e-12)
    np.testing.assert_allclose(trained[1], trained[2], rtol=1e-12)
    assert trained[0][-1] < trained[0][0]


@pytest.mark.compiled
def test_the_derived_layer_has_second_derivatives():
    """d2L/dc2 of L = sum (y - t)^2 against differences of the closed form of dL/dc."""
    derived = tg.njit(radial_values, shape=radial_shape)
    rng = np.random.default_rng(11)
    x, c, t = rng.normal(size=(3, 2)), rng.normal(size=(2, 2)), rng.uniform(size=(3, 2))

    def slope(c):
        apart = x[:, None, :] - c[None, :, :]
        y = np.exp(-(apart**2).sum(axis=2))
        return 2 * ((2 * (y - t) * y)[:, :, None] * apart).sum(axis=0)

    found = tg.hessian(lambda c: ((derived(x, c) - t) ** 2).sum())(c)
    h = 1e-5
    for k in np.ndindex(c.shape):
        along = np.zeros(c.shape)
        along[k] = h
        np.testing.assert_allclose(found[k], (slope(c + along) - slope(c - along)) / (2 * h), rtol=1e-6, atol=1e-8)


# ------------------------------------------------------------------
# what must be stored


def stack_of_layers(frozen_below, depth=6, width=8, batch=16):
    """A stack of sigmoid layers of which those below ``frozen_below`` do not train; its tape, and their weights."""
    rng = np.random.default_rng(9)
    weights = [tg.tensor(rng.normal(size=(width, width)), requires_grad=k >= frozen_below) for k in range(depth)]
    tape = tg.Tape(keep=False)
    with tape:
        h = tg.tensor(rng.normal(size=(batch, width)))
        for w in weights:
            h = tg.sigmoid(h @ w)
        loss = h.sum()
    return tape, weights, loss


def test_each_layer_stores_what_its_adjoint_will_read():
    """dL/dW_k = h_{k-1}^T delta_k reads the layer's input; f'(a_k) = h_k (1 - h_k) reads its output, but not a_k.

    So a stack of D trained layers holds D + 1 arrays of the batch (x, and each h_k), not 2 D + 1.
    """
    array = 16 * 8 * 8
    shallow, deep = stack_of_layers(0, depth=3), stack_of_layers(0, depth=6)
    assert deep[0].live_bytes - shallow[0].live_bytes == 3 * array


def test_frozen_lower_layers_discard_their_activations():
    """Below the lowest trained layer no adjoint is walked, so nothing has to stay: the tape begins at that layer."""
    whole, _, whole_loss = stack_of_layers(0)
    tape, weights, loss = stack_of_layers(4)
    assert len(whole) == 2 * 6 + 1
    assert len(tape) == 2 * 2 + 1
    h0_h1_h2 = 3 * 16 * 8 * 8
    assert whole.live_bytes - tape.live_bytes == h0_h1_h2
    assert float(whole_loss) == float(loss)
    loss.backward()
    assert all(w.grad is None for w in weights[:4])
    assert all(w.grad is not None for w in weights[4:])


def test_freezing_changes_no_gradient_of_the_layers_above():
    """The closed forms of the upper layers do not contain whether the lower ones train."""
    _, all_trained, loss = stack_of_layers(0)
    loss.backward()
    _, partly, loss = stack_of_layers(4)
    loss.backward()
    for k in (4, 5):
        np.testing.assert_array_equal(partly[k].grad.numpy(), all_trained[k].grad.numpy())
