"""Threads that share functions, steps, models, leaves and tapes get what one thread would."""

import gc
import queue
import sys
import threading

import numpy as np
import pytest
from scipy.special import erf

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim
from tapegrad.engine.language import enabled

THREADS = 8
SECONDS = 120  # after which a thread hangs
SIZES = [1, 10, 1000, 20000, 100000]


@pytest.fixture(autouse=True)
def often():
    """Threads change as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def in_threads(work, count=THREADS):
    """Run ``work(k)`` for each k below `count` in a thread of its own, all at once; what they return."""
    found, failed, start = [None] * count, [], threading.Barrier(count)

    def run(k):
        try:
            start.wait(SECONDS)
            found[k] = work(k)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(k,), daemon=True) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive(), "a thread hangs"
    if failed:
        raise failed[0]
    return found


def wholes(k, n, dtype):
    """Small whole numbers, whose sums are exact in any order."""
    return np.random.default_rng(k).integers(-3, 4, n).astype(dtype)


# ------------------------------------------------------------------ compiled functions


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", SIZES)
def test_one_compiled_gradient_called_from_threads(n, dtype):
    fast = tg.compile(tg.value_and_grad(lambda w, x: tg.sum(w * w * x), argnums=(0, 1)))

    def work(k):
        for turn in range(20):
            w, x = wholes(2 * k + turn, n, dtype), wholes(99 + k - turn, n, dtype)
            value, (gw, gx) = fast(w, x)
            assert float(value) == float((w * w * x).sum())
            assert np.array_equal(gw, 2 * w * x) and np.array_equal(gx, w * w)
        return True

    assert in_threads(work) == [True] * THREADS
    assert fast.recordings == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", SIZES)
def test_one_compiled_function_called_from_threads(n, dtype):
    """The chain is long enough to run in strips at the larger sizes."""
    fast = tg.compile(lambda x, w: (tg.relu(x * w + 1.0) * 2.0 - x, tg.sum(x * w)))

    def work(k):
        for turn in range(20):
            x, w = wholes(k + turn, n, dtype), wholes(50 + k - turn, n, dtype)
            y, total = fast(x, w)
            assert np.array_equal(y.numpy(), np.maximum(x * w + 1, 0) * 2 - x)
            assert total.item() == (x * w).sum()
        return True

    assert in_threads(work) == [True] * THREADS


def test_a_module_compiled_once_serves_threads_with_different_batches():
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.LayerNorm(32), nn.Linear(32, 4)).eval()
    fast = tg.compile(model)
    weights = [p.numpy().astype(np.float64) for p in model.parameters()]

    def right(x):
        w1, b1, g, c, w2, b2 = weights
        h = np.tanh(x @ w1.T + b1)
        h = (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-5) * g + c
        return h @ w2.T + b2

    def work(k):
        for turn in range(30):
            x = np.random.default_rng(100 * k + turn).normal(size=(1 + (k + turn) % 5, 16)).astype(np.float32)
            assert np.allclose(fast(x).numpy(), right(x), rtol=1e-4, atol=1e-5)
            assert np.allclose(model(tg.tensor(x)).numpy(), right(x), rtol=1e-4, atol=1e-5)
        return True

    assert in_threads(work) == [True] * THREADS


def test_compiled_dropout_in_threads_draws_other_masks_in_each_call_and_the_same_in_reverse():
    n = 4096
    tg.manual_seed(0)
    fast = tg.compile(tg.value_and_grad(lambda x: tg.sum(F.dropout(x, 0.5) * 2.0)))
    ones = np.ones(n, np.float32)

    def work(k):
        masks = []
        for _ in range(20):
            value, gradient = fast(ones)
            assert set(np.unique(gradient)) == {0.0, 4.0}
            assert value == gradient.sum()  # what was kept is what has a gradient
            masks.append(gradient.tobytes())
        return masks

    masks = [mask for found in in_threads(work) for mask in found]
    assert len(set(masks)) == 20 * THREADS


def test_running_statistics_lose_no_batch_of_a_compiled_function():
    norm = nn.BatchNorm1d(3, momentum=None)  # the mean over all batches, whatever their order
    fast = tg.compile(norm)

    def work(k):
        for turn in range(10):
            fast(np.random.default_rng(10 * k + turn).normal(size=(64, 3)).astype(np.float32))

    in_threads(work)
    means = [np.random.default_rng(k).normal(size=(64, 3)).astype(np.float32).mean(0) for k in range(10 * THREADS)]
    assert norm.num_batches_tracked.item() == 10 * THREADS
    assert np.allclose(norm.running_mean.numpy(), np.mean(means, 0), atol=1e-5)


def test_running_statistics_lose_no_batch_of_a_model_called_from_threads():
    n, turns = 100_000 if enabled() else 100, 10
    norm = nn.BatchNorm1d(n, momentum=None)

    def work(k):
        for turn in range(turns):
            norm(tg.tensor(np.array([[0.0], [2.0]], np.float32) + np.full(n, k * turns + turn, np.float32)))

    in_threads(work)
    assert norm.num_batches_tracked.item() == turns * THREADS
    assert np.allclose(norm.running_mean.numpy(), (turns * THREADS - 1) / 2 + 1, rtol=1e-5)
    assert np.allclose(norm.running_var.numpy(), 2.0, rtol=1e-5)


def test_one_no_grad_entered_by_several_threads_gives_each_what_it_had_before():
    off = tg.no_grad()
    one, two, three = (threading.Barrier(2) for _ in range(3))

    def work(k):
        if k == 0:
            with off:
                one.wait(SECONDS)
                two.wait(SECONDS)  # the other has entered last
            three.wait(SECONDS)
            return tg.is_grad_enabled()
        with tg.no_grad():
            one.wait(SECONDS)
            with off:
                two.wait(SECONDS)
                three.wait(SECONDS)
            return tg.is_grad_enabled()

    assert in_threads(work, 2) == [True, False]


def test_a_twin_reads_large_arguments_where_they_are():
    n = 60000
    fast = tg.compile(tg.grad(lambda w, x: tg.sum(w * w * x)))
    w, x = wholes(0, n, np.float64), wholes(1, n, np.float64)
    fast(w, x)
    (recording,), = fast._kept.values()
    twin = recording.program.twin()
    twin.call([w + 1, x])
    recording.program.call([w, x])
    first, second = recording.program.gradient(twin.gradients_of[0]), twin.gradient(twin.gradients_of[0])
    assert np.array_equal(first, 2 * w * x) and np.array_equal(second, 2 * (w + 1) * x)
    assert twin.arena is not recording.program.arena and twin.tape._header_address != twin.capture.tape._header_address


def test_arenas_are_as_many_as_calls_at_a_time():
    fast = tg.compile(lambda x: x * 2.0)
    for _ in range(50):
        fast(np.ones(3))
    assert [len(r.idle) for kept in fast._kept.values() for r in kept] == [1]
    in_threads(lambda k: [fast(np.ones(3)) for _ in range(50)])
    assert all(1 <= len(r.idle) <= THREADS for kept in fast._kept.values() for r in kept)


def test_a_call_that_fails_gives_its_arena_back():
    fast = tg.compile(lambda x, i: tg.take(x, i))
    for _ in range(3):
        with pytest.raises(IndexError):
            fast(np.ones(3), np.array([5]))
    assert fast(np.arange(3.0), np.array([2])).tolist() == [2.0]
    assert [len(r.idle) for kept in fast._kept.values() for r in kept] == [1]


# ------------------------------------------------------------------ steps


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", SIZES)
def test_one_step_called_from_threads_makes_every_update(n, dtype):
    w = tg.tensor(np.zeros(n, dtype), requires_grad=True)
    step = tg.TrainStep(lambda x: (w * x).sum(), optim.SGD([w], lr=1.0))
    in_threads(lambda k: [step(wholes(k, n, dtype)) for _ in range(10)])
    assert np.array_equal(w.numpy(), -10 * sum(wholes(k, n, dtype) for k in range(THREADS)))
    assert step.recordings == 1


@pytest.mark.parametrize("accumulate", [1, 2])
def test_runs_and_steps_of_several_optimisers_over_one_parameter_lose_no_update(accumulate):
    n = 1000
    w = tg.tensor(np.zeros(n), requires_grad=True)
    steps = [tg.TrainStep(lambda x: (w * x).sum(), optim.SGD([w], lr=1.0), accumulate=accumulate) for _ in range(3)]
    total = np.zeros(n)
    batches = [np.stack([wholes(10 * k + j, n, np.float64) for j in range(4)]) for k in range(THREADS)]

    def work(k):
        for _ in range(5):
            if k % 2:
                steps[k % 3](batches[k])
            else:
                steps[k % 3].run(batches[k], batch_size=2, epochs=1, shuffle=False)

    in_threads(work)
    for batch in batches:
        total -= 5 * batch.sum(0) / accumulate
    assert np.array_equal(w.numpy(), total)


def test_steps_of_an_optimiser_from_threads_are_all_counted_and_made():
    w = tg.tensor(np.zeros(300), requires_grad=True)
    optimizer = optim.Adam([w], lr=1e-3)
    w.grad = np.ones(300)
    in_threads(lambda k: [optimizer.step() for _ in range(50)])
    assert optimizer.state[w]["step"] == 50 * THREADS
    # of a gradient that stays the same each step of Adam is lr / (1 + eps)
    assert np.allclose(w.numpy(), -1e-3 * 50 * THREADS, rtol=1e-5)


def test_several_models_train_in_threads_as_in_one():
    def train(k):
        rng = np.random.default_rng(k)
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
        for p in model.parameters():
            p.copy_(rng.normal(size=p.shape))
        step = tg.TrainStep(lambda x: (model(x) ** 2).mean(), optim.Adam(model.parameters(), lr=1e-2))
        X = rng.normal(size=(40, 8)).astype(np.float32)
        losses = [step(X[:8]) for _ in range(10)]
        return losses + step.run(X, batch_size=10, epochs=3, seed=k).loss.tolist()

    assert in_threads(train) == [train(k) for k in range(THREADS)]


# ------------------------------------------------------------------ define by run


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", SIZES)
def test_backward_into_one_leaf_from_threads_loses_nothing(n, dtype):
    w = tg.tensor(np.zeros(n, dtype), requires_grad=True)

    def work(k):
        for _ in range(10):
            (w * wholes(k, n, dtype)).sum().backward()

    in_threads(work)
    assert np.array_equal(w.grad.numpy(), 10 * sum(wholes(k, n, dtype) for k in range(THREADS)))


def test_backward_and_recorded_steps_take_turns():
    n = 20000
    w = tg.tensor(np.zeros(n), requires_grad=True)
    step = tg.TrainStep(lambda x: (w * x).sum(), optim.SGD([w], lr=1.0))
    step(np.zeros(n))

    def work(k):
        for _ in range(20):
            if k % 2:
                (w * float(k)).sum().backward()
            else:
                step(np.full(n, float(k)))

    in_threads(work)
    # what backward adds between steps is overwritten by the next one, and never used
    assert np.array_equal(w.numpy(), np.full(n, -20.0 * (0 + 2 + 4 + 6)))
    assert np.unique(w.grad.numpy()).size == 1


def test_a_leaf_that_calls_backward_itself_from_threads_loses_nothing():
    w = tg.tensor(np.zeros(3), requires_grad=True)
    in_threads(lambda k: [w.backward(np.ones(3)) for _ in range(50)])
    assert w.grad.tolist() == [50.0 * THREADS] * 3


def test_tensors_outlive_the_thread_that_made_them():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    losses = in_threads(lambda k: (x * x * float(k)).sum())
    gc.collect()
    assert [loss.item() for loss in losses] == [5.0 * k for k in range(THREADS)]
    for loss in losses:
        loss.backward()
    assert x.grad.tolist() == [2.0 * 28, 4.0 * 28]


def test_one_thread_walks_back_over_a_tape_on_which_its_own_thread_goes_on_recording():
    x = tg.tensor(np.arange(1.0, 5.0), requires_grad=True)
    losses, count, made = queue.Queue(), 600, tg.tensor([1.0], requires_grad=True)

    def work(k):
        if k == 0:
            for turn in range(count):
                products = [x * float(turn) for _ in range(turn % 7 + 1)]
                losses.put(sum(products[1:], products[0]).sum())
                (made * 2.0).backward()
        else:
            for _ in range(count // 2):
                losses.get(timeout=SECONDS).backward()

    in_threads(work, 3)
    assert x.grad.tolist() == [float(sum(turn * (turn % 7 + 1) for turn in range(count)))] * 4
    assert made.grad.tolist() == [2.0 * count]


def test_a_tape_is_entered_by_one_thread_at_a_time():
    with tg.Tape() as tape:
        def enters(k):
            with pytest.raises(tg.TapegradError, match="another thread"), tape:
                pass
            return True

        assert in_threads(enters, 1) == [True]
    assert in_threads(lambda k: tape.__enter__() is tape and tape.__exit__() is None, 1) == [True]


def test_tensors_die_in_other_threads_than_they_were_made_in():
    gc.collect()
    x = tg.tensor(np.ones(100), requires_grad=True)
    given = [(x * 2.0).exp() for _ in range(200)]
    tape = given[0].node.tape
    others = len(tape) - 2 * len(given)  # what earlier tests hold

    def work(k):
        for _ in range(100):
            if k == 0:
                (x * 3.0).sum().backward()
            if given:
                try:
                    given.pop()
                except IndexError:
                    pass

    in_threads(work)
    (x * 2.0).sum().backward()
    gc.collect()
    assert len(tape) == others
    assert x.grad.tolist() == [302.0] * 100


def test_threads_record_and_first_use_kernels_at_the_same_time():
    def work(k):
        x = np.linspace(0.1, 0.9, 7)
        fast = tg.compile(tg.value_and_grad(lambda t: tg.sum(tg.sinh(t) * tg.log1p(t) + tg.erf(t))))
        value, gradient = fast(x)
        t = tg.tensor(x, requires_grad=True)
        tg.sum(tg.sinh(t) * tg.log1p(t) + tg.erf(t)).backward()
        return float(value), gradient, t.grad.numpy()

    x = np.linspace(0.1, 0.9, 7)
    right = np.log1p(x) * np.cosh(x) + np.sinh(x) / (1 + x) + 2.0 / np.sqrt(np.pi) * np.exp(-x * x)
    for value, gradient, eager in in_threads(work):
        assert np.isclose(value, (np.sinh(x) * np.log1p(x) + erf(x)).sum(), rtol=1e-12)
        assert np.allclose(gradient, right, rtol=1e-12) and np.allclose(eager, right, rtol=1e-12)
