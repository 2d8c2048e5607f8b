"""A recorded relu keeps one bit an element where nobody else reads its output in reverse."""

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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(512,), (513,), (575,), (10, 64), (3, 5, 41), (1000, 3)])
def test_gradients_are_those_of_define_by_run_to_the_bit(shape, dtype):
    x = np.random.default_rng(4).normal(size=shape).astype(dtype)
    x.flat[:6] = [0.0, -0.0, np.inf, -np.inf, np.nan, -1e-40]
    weights = np.random.default_rng(5).normal(size=shape).astype(dtype)
    weights.flat[100:102] = np.inf, np.nan  # an adjoint that is not finite stays where the bit is set, 0 elsewhere
    value, (gradient,), other, (recorded,), listing = both(lambda t: tg.sum(tg.relu(t) * weights), x)
    assert "relu_mask" in listing
    np.testing.assert_array_equal(other, value)
    np.testing.assert_array_equal(recorded, gradient)
    expected = np.where(x > 0, weights, 0)
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
    lambda t: tg.sum(tg.relu(t.T) * 2.0),  # not contiguous: the plain kernel
    lambda t: tg.sum(tg.relu(t[:4, :4])),  # too small to gain
])
def test_where_the_output_is_kept_anyway_or_a_mask_gains_nothing_there_is_none(f):
    x = np.random.default_rng(4).normal(size=(40, 30))
    value, (gradient,), other, (recorded,), listing = both(f, x)
    np.testing.assert_allclose(other, value, rtol=1e-12)
    np.testing.assert_allclose(recorded, gradient, rtol=1e-12)
    assert "relu_mask" not in listing


def stack(trained):
    model = nn.Sequential(*[layer for _ in range(6) for layer in (nn.Linear(64, 64), nn.ReLU())])
    for k in range(0, 12, 2):
        if k // 2 not in trained:
            model[k].freeze()
    return model


def test_above_a_trained_layer_each_frozen_layer_costs_a_bit_an_element():
    x = np.random.default_rng(0).normal(size=(256, 64)).astype(np.float32)
    bits, whole = 256 * 64 // 8, 256 * 64 * 4

    def kept(trained):
        model = stack(trained)
        step = tg.TrainStep(lambda x: F.mse_loss(model(x), x * 0.0), optim.SGD(model.parameters(), lr=0.1))
        step(x)
        return {row["layer"]: row["kept bytes"] for row in step.memory().by_layer()}

    first = kept({0})
    assert [first[f"{k}"] for k in (1, 3, 5, 7, 9)] == [bits] * 5
    every = kept(set(range(6)))
    assert [every[f"{k}"] for k in (1, 3, 5, 7, 9)] == [whole] * 5  # the next weight's adjoint reads them


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
