"""Which way a recording runs, on all threads or on one: by given times, and in a run."""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim
from tapegrad.engine.threads.team import MOST_NOW, _teams
from tapegrad.program.running.pace import LAST, Pace


def run(pace, stretches, seconds, noise=0.0, seed=0):
    """Seconds in all; `seconds` of (alone, stretch)."""
    rng, total = np.random.default_rng(seed), 0.0
    for k in range(stretches):
        taken = seconds(pace.alone, k) * (1.0 + noise * abs(rng.standard_normal()))
        pace.took(16, 16 * taken)
        total += taken
    return total


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_the_faster_way_is_found_at_once_and_the_other_costs_little(noise):
    for ways in ((1.0, 2.0), (2.0, 1.0)):
        pace = Pace()
        total = run(pace, 1000, lambda alone, k, ways=ways: ways[alone], noise)
        assert pace.alone == (ways[1] < ways[0])
        assert total < 1.03 * run(Pace(), 1000, lambda alone, k: 1.0, noise)


def test_ways_alike_stay_with_all_threads():
    pace = Pace()
    run(pace, 500, lambda alone, k: 1.0, noise=0.03)
    assert not pace.alone


def test_threads_that_become_slow_are_left_soon_and_taken_again():
    pace = Pace()
    run(pace, 400, lambda alone, k: 2.0 if alone else 1.0)
    assert not pace.alone
    run(pace, 12, lambda alone, k: 2.0 if alone else 4.0)
    assert pace.alone
    run(pace, 2 * LAST[0], lambda alone, k: 2.0 if alone else 1.0)
    assert not pace.alone


def test_a_machine_that_becomes_slow_as_a_whole_changes_nothing():
    pace = Pace()
    run(pace, 100, lambda alone, k: 2.0 if alone else 1.0)
    total = run(pace, 400, lambda alone, k: 6.0 if alone else 3.0)
    assert not pace.alone and total < 1.03 * 3.0 * 400


def test_one_step_that_takes_long_says_nothing():
    pace = Pace()
    for k in range(16 * 100):
        pace.took(1, 1e-4 if k % 50 == 49 else 2e-5 if not pace.alone else 4e-5)
    assert not pace.alone


@pytest.mark.compiled
def test_training_is_the_same_to_the_bit_whichever_way(monkeypatch):
    x = np.random.default_rng(0).normal(size=(512, 64)).astype(np.float32)
    y = np.random.default_rng(1).integers(0, 10, 512)
    before = tg.get_num_threads()
    tg.set_num_threads(2)

    def trained(alone):
        monkeypatch.setattr(Pace, "took", lambda self, steps, seconds: setattr(self, "alone", alone(self)))
        tg.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
        step = tg.TrainStep(lambda x, y: F.cross_entropy(model(x), y), optim.Adam(model.parameters(), lr=0.01))
        losses = step.run(x, y, batch_size=64, epochs=5, seed=0).loss
        return losses, [p.numpy().copy() for p in model.parameters()]

    try:
        (losses, weights), *others = map(trained, (lambda p: False, lambda p: True, lambda p: not p.alone))
    finally:
        tg.set_num_threads(before)
    for other_losses, other_weights in others:
        np.testing.assert_array_equal(losses, other_losses)
        for one, other in zip(weights, other_weights):
            np.testing.assert_array_equal(one, other)


@pytest.mark.compiled
def test_a_compiled_function_is_the_same_on_one_thread_and_a_short_one_is_not_watched():
    a = np.random.default_rng(0).standard_normal((200, 200))
    product = tg.compile(lambda a: a @ a)
    found = product(a).numpy()
    pace = product._last.pace
    assert isinstance(pace, Pace)
    pace.alone = True
    np.testing.assert_array_equal(product(a).numpy(), found)
    np.testing.assert_allclose(found, a @ a, rtol=1e-12, atol=1e-12)
    assert _teams[np.dtype(np.float64)][MOST_NOW] == 0
    short = tg.compile(lambda a: a + 1.0)
    short(a[0])
    assert short._last.pace is None
