"""relu and its like keep one bit an element in a recording where nobody else reads what they would keep."""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim


def both(f, *arrays):
    """Values and gradients, define-by-run and recorded."""
    tensors = [tg.tensor(a, requires_grad=True) for a in arrays]
    value = f(*tensors)
    value.backward()
    recorded = tg.compile(tg.value_and_grad(f, argnums=tuple(range(len(arrays)))))
    other, gradients = recorded(*arrays)
    return value.numpy(), [t.grad.numpy() for t in tensors], other, gradients, str(recorded.tape)


#: the op, its slope where it is not 1, and where it is
OPS = {
    "relu": (tg.relu, 0.0, lambda x: x > 0),
    "leaky_relu": (lambda t: F.leaky_relu(t, 0.25), 0.25, lambda x: x > 0),
    "clip": (lambda t: tg.clip(t, -0.5, 0.75), 0.0, lambda x: (x >= -0.5) & (x <= 0.75)),
    "hardtanh": (lambda t: F.hardtanh(t, -0.5, 0.75), 0.0, lambda x: (x > -0.5) & (x < 0.75)),
}


def awkward(shape, dtype):
    x = np.random.default_rng(4).normal(size=shape).astype(dtype)
    x.flat[:8] = [0.0, -0.0, np.inf, -np.inf, np.nan, -1e-40, -0.5, 0.75]
    weights = np.random.default_rng(5).normal(size=shape).astype(dtype)
    weights.flat[100:102] = np.inf, np.nan  # an adjoint that is not finite stays so where it passes
    return x, weights


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(512,), (513,), (575,), (3, 5, 41), (1000, 3)])
@pytest.mark.parametrize("name", OPS)
def test_gradients_are_those_of_define_by_run_to_the_bit(name, shape, dtype):
    op, outside, passes = OPS[name]
    x, weights = awkward(shape, dtype)
    value, (gradient,), other, (recorded,), listing = both(lambda t: tg.sum(op(t) * weights), x)
    assert f" {name}_mask " in listing
    np.testing.assert_array_equal(other, value)
    np.testing.assert_array_equal(recorded, gradient)
    np.testing.assert_array_equal(recorded, np.where(passes(x), weights, outside * weights if outside else 0))


@pytest.mark.parametrize("view", [
    lambda t: t[:, 7:57],  # rows with gaps between them
    lambda t: t[::-1, ::2],
    lambda t: tg.transpose(t, (1, 0)),
    lambda t: tg.transpose(tg.reshape(t, (4, 10, 3, 30)), (2, 0, 1, 3)),  # rows of 30, in another order
], ids=["columns", "steps", "transposed", "axes"])
@pytest.mark.parametrize("name", OPS)
def test_strided_inputs_have_masks_too(name, view):
    op, outside, passes = OPS[name]
    x, _ = awkward((40, 90), np.float64)
    shape = view(tg.tensor(x)).shape
    weights = np.random.default_rng(6).normal(size=shape)
    value, (gradient,), other, (recorded,), listing = both(lambda t: tg.sum(op(view(t * 1.0)) * weights), x)
    assert f" {name}_mask " in listing
    np.testing.assert_array_equal(other, value)
    np.testing.assert_array_equal(recorded, gradient)
    places = view(tg.tensor(np.arange(x.size, dtype=float).reshape(x.shape))).numpy().astype(int)
    expected = np.zeros(x.size)
    expected[places] = weights
    expected = np.where(passes(x), expected.reshape(x.shape), outside * expected.reshape(x.shape))
    np.testing.assert_array_equal(recorded, expected)


def test_a_second_contribution_is_added():
    x = np.random.default_rng(4).normal(size=(40, 30))
    _, (gradient,), _, (recorded,), listing = both(lambda t: tg.sum(t + 3.0 * tg.relu(t) + 2.0 * tg.relu(t)), x)
    assert listing.count("relu_mask") == 2
    np.testing.assert_allclose(recorded, 1.0 + 5.0 * (x > 0), rtol=1e-14)
    np.testing.assert_allclose(recorded, gradient, rtol=1e-14)


@pytest.mark.parametrize("f", [
    lambda t: tg.sum(tg.relu(t) * tg.relu(t)),  # multiply reads both
    lambda t: tg.sum(tg.relu(t) ** 2),
    lambda t: tg.sum(tg.relu(t.T[:, :8]) * 2.0),  # rows of 8: a word each is as much as they are
    lambda t: tg.sum(F.leaky_relu(t) * tg.square(t)),  # square reads the argument, multiply the results
    lambda t: tg.sum(tg.relu(t[:4, :4])),  # too small to gain
])
def test_where_the_output_is_kept_anyway_or_a_mask_gains_nothing_there_is_none(f):
    x = np.random.default_rng(4).normal(size=(40, 30))
    value, (gradient,), other, (recorded,), listing = both(f, x)
    np.testing.assert_allclose(other, value, rtol=1e-12)
    np.testing.assert_allclose(recorded, gradient, rtol=1e-12)
    assert "_mask" not in listing


def test_ops_that_read_the_same_argument_all_keep_masks_or_none():
    x = np.random.default_rng(4).normal(size=(40, 30))
    functions = {2: lambda u: tg.clip(u, -0.5, 2.0) + 2.0 * F.hardtanh(u),
                 0: lambda u: tg.clip(u, -0.5, 2.0) + 2.0 * F.hardtanh(u) + tg.square(u)}
    for count, f in functions.items():
        _, (gradient,), _, (recorded,), listing = both(lambda t, f=f: tg.sum(f(t * 3.0)), x)
        assert listing.count("_mask") == count
        np.testing.assert_array_equal(recorded, gradient)


def test_what_a_frozen_leaf_holds_needs_no_mask():
    x = nn.Parameter(np.random.default_rng(4).normal(size=(40, 30)).astype(np.float32))
    step = tg.TrainStep(lambda s: tg.sum(tg.clip(x, -0.5, 0.5) * s), optim.SGD([x], lr=0.1))
    step(np.ones((40, 30), np.float32))
    assert "_mask" not in str(step.tape)


def stack(trained, activation=nn.ReLU):
    model = nn.Sequential(*[layer for _ in range(6) for layer in (nn.Linear(64, 64), activation())])
    for k in range(0, 12, 2):
        if k // 2 not in trained:
            model[k].freeze()
    return model


@pytest.mark.parametrize(("activation", "beside"), [(nn.ReLU, 0), (nn.LeakyReLU, 0), (nn.Hardtanh, 1), (nn.ReLU6, 1)])
def test_above_a_trained_layer_each_frozen_layer_costs_a_bit_an_element(activation, beside):
    x = np.random.default_rng(0).normal(size=(256, 64)).astype(np.float32)
    bits, whole = 256 * 64 // 8, 256 * 64 * 4

    def kept(trained):
        model = stack(trained, activation)
        step = tg.TrainStep(lambda x: F.mse_loss(model(x), x * 0.0), optim.SGD(model.parameters(), lr=0.1))
        step(x)
        return {row["layer"]: row["kept bytes"] for row in step.memory().by_layer()}

    first = kept({0})
    assert [first[f"{k}"] for k in (1, 3, 5, 7, 9)] == [bits] * 5
    assert all(first.get(f"{k}", 0) == 0 for k in (0, 2, 4, 6, 8))
    every = kept(set(range(6)))  # the next weight's adjoint reads the results; those who read the argument add a mask
    assert [every[f"{k}"] for k in (1, 3, 5, 7, 9)] == [whole + beside * bits] * 5
    assert all(every.get(f"{k}", 0) == 0 for k in (0, 2, 4, 6, 8))


def test_training_is_the_same_as_define_by_run():
    x = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    losses = []
    for recorded in (True, False):
        tg.manual_seed(1)
        model = stack({1, 3})
        optimizer = optim.SGD(model.parameters(), lr=0.05)
        loss_fn = lambda x, model=model: F.mse_loss(model(x), x)  # noqa: E731
        step = tg.TrainStep(loss_fn, optimizer, accumulate=2 if recorded else 1)
        of_run = []
        for _ in range(5):
            if recorded:
                of_run.append(step(x))
                assert "relu_mask" in str(step.tape)
            else:
                optimizer.zero_grad()
                loss = loss_fn(tg.tensor(x))
                loss.backward()
                optimizer.step()
                of_run.append(loss.item())
        losses.append(of_run)
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-5)
