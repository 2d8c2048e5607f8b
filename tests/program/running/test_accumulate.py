"""Gradient accumulation in a recorded step, against the large batch at once."""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim

RNG = np.random.default_rng(5)
X = RNG.normal(size=(96, 12))
Y = RNG.integers(0, 4, 96)


class Tied(nn.Module):
    """A weight that is used three times, and one through a transposed view and a slice."""

    def __init__(self, dtype="float64"):
        super().__init__()
        self.inner = nn.Linear(12, 12, dtype=dtype)
        self.table = nn.Parameter(np.random.default_rng(2).normal(size=(4, 12)) * 0.3, dtype=dtype)

    def forward(self, x):
        x = tg.tanh(self.inner(x))
        x = tg.tanh(self.inner(x))
        return x @ self.table.T + (x * self.table[1]).sum(axis=1, keepdims=True)


def sequential(dtype="float64"):
    return nn.Sequential(nn.Linear(12, 16, dtype=dtype), nn.ReLU(), nn.Linear(16, 4, dtype=dtype))


MODELS = {"sequential": sequential, "tied": Tied}


def pair(make, k, optimizer=lambda p: optim.SGD(p, lr=0.1), frozen=False):
    """The same model twice, stepped at once and in `k` micro-batches."""
    steps = []
    for accumulate in (1, k):
        tg.manual_seed(3)
        model = make()
        if frozen:
            next(iter(model.children())).freeze()
        steps.append((model, tg.TrainStep(lambda x, y, m=model: F.cross_entropy(m(x), y),
                                          optimizer(model.parameters()), accumulate=accumulate)))
    return steps


def same_parameters(a, b):
    for (name, p), (_, q) in zip(a.named_parameters(), b.named_parameters()):
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("k", [2, 3, 8, 96])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_step_equals_that_of_the_large_batch(name, k, frozen):
    (large, at_once), (small, split) = pair(MODELS[name], k, frozen=frozen)
    for _ in range(3):
        np.testing.assert_allclose(split(X, Y), at_once(X, Y), rtol=1e-12)
        for p, q in zip(small.parameters(), large.parameters()):
            if p.requires_grad:
                np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-9, atol=1e-13)
    same_parameters(small, large)


@pytest.mark.parametrize("optimizer", [lambda p: optim.Adam(p, lr=1e-2),
                                       lambda p: optim.SGD(p, lr=0.5, momentum=0.9, max_grad_norm=0.1)])
def test_run_equals_the_run_of_large_batches(optimizer):
    (large, at_once), (small, split) = pair(sequential, 4, optimizer)
    one = at_once.run(X, Y, batch_size=32, epochs=4, seed=9)
    two = split.run(X, Y, batch_size=32, epochs=4, seed=9)
    np.testing.assert_allclose(two.loss, one.loss, rtol=1e-8)
    assert two.samples == one.samples == 4 * 96
    assert len(two) == 12
    same_parameters(small, large)


def test_a_last_smaller_batch_is_split_too():
    (large, at_once), (small, split) = pair(sequential, 4)
    at_once.run(X[:88], Y[:88], batch_size=32, epochs=2, seed=1)
    split.run(X[:88], Y[:88], batch_size=32, epochs=2, seed=1)
    same_parameters(small, large)


def test_memory_is_that_of_a_micro_batch():
    (_, at_once), (_, split) = pair(sequential, 8)
    at_once(X, Y)
    split(X, Y)
    one, eighth = at_once.memory(), split.memory()
    assert 8 * eighth.activation_bytes <= one.activation_bytes + 8 * 64
    assert eighth.peak_bytes < one.peak_bytes
    tg.manual_seed(3)
    model = sequential()
    alone = tg.TrainStep(lambda x, y: F.cross_entropy(model(x), y), optim.SGD(model.parameters(), lr=0.1))
    alone(X[:12], Y[:12])
    assert alone.memory().peak_bytes == eighth.peak_bytes


def test_dropout_draws_anew_in_every_micro_batch():
    w = nn.Parameter(np.ones(64, np.float32))
    step = tg.TrainStep(lambda x: (F.dropout(w * x[0], 0.5, training=True)).sum(), optim.SGD([w], lr=0.0),
                        accumulate=2)
    step(np.ones((2, 64), np.float32))
    levels = set(w.grad.numpy().tolist())  # kept in none, one or both of the two
    assert levels == {0.0, 1.0, 2.0}


def test_gradients_of_an_earlier_step_are_not_added():
    model = sequential()
    step = tg.TrainStep(lambda x, y: F.cross_entropy(model(x), y), optim.SGD(model.parameters(), lr=0.0), accumulate=3)
    step(X, Y)
    first = [p.grad.numpy() for p in model.parameters()]
    step(X, Y)
    for p, before in zip(model.parameters(), first):
        np.testing.assert_array_equal(p.grad.numpy(), before)


def test_a_batch_that_does_not_split_is_refused_with_what_would():
    _, (model, split) = pair(sequential, 5)
    before = [p.numpy() for p in model.parameters()]
    with pytest.raises(tg.ShapeError, match="96 rows.*5 equal micro-batches; use 95 or 100"):
        split(X, Y)
    with pytest.raises(tg.ShapeError, match="batch_size.*32 rows"):
        split.run(X, Y, batch_size=32)
    with pytest.raises(tg.ShapeError, match="last batch of 96 rows by 25 .*drop_last"):
        split.run(X[:96], Y[:96], batch_size=25)
    with pytest.raises(tg.ShapeError, match="same length"):
        split(X, Y[:90])
    for p, values in zip(model.parameters(), before):
        np.testing.assert_array_equal(p.numpy(), values)
    split.run(X, Y, batch_size=25, drop_last=True)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "2", None])
def test_accumulate_is_a_positive_integer(value):
    model = sequential()
    with pytest.raises(tg.errors.ArgumentError, match="accumulate must be a positive integer"):
        tg.TrainStep(lambda x, y: F.cross_entropy(model(x), y), optim.SGD(model.parameters(), lr=0.1),
                     accumulate=value)
