"""`TrainStep.run`: whole epochs in compiled code."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim

RNG = np.random.default_rng(31)
X = RNG.normal(size=(50, 4)).astype(np.float32)
Y = RNG.integers(0, 3, 50)


def network(seed=0):
    tg.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def make_step(model, lr=0.1):
    return tg.TrainStep(lambda x, y: F.cross_entropy(model(x), y), optim.SGD(model.parameters(), lr=lr, momentum=0.9))


def values(model):
    return [p.numpy() for p in model.parameters()]


def row_reader():
    """A step whose loss is the sum of the batch's row numbers, so that a run tells which rows each step saw."""
    w = tg.tensor(np.float64(0.0), requires_grad=True)
    return tg.TrainStep(lambda rows: w * 0.0 + rows.sum(), optim.SGD([w], lr=1.0))


ROWS = np.arange(10.0)


# ------------------------------------------------------------------
# which rows


def test_without_shuffling_batches_come_in_order_with_a_smaller_last_one():
    history = row_reader().run(ROWS, batch_size=4, shuffle=False)
    assert history.loss.tolist() == [0 + 1 + 2 + 3, 4 + 5 + 6 + 7, 8 + 9]


def test_drop_last_leaves_out_the_smaller_batch():
    history = row_reader().run(ROWS, batch_size=4, shuffle=False, drop_last=True)
    assert history.loss.tolist() == [6.0, 22.0]


def test_a_batch_larger_than_the_data_is_one_smaller_batch():
    assert row_reader().run(ROWS, batch_size=100, shuffle=False).loss.tolist() == [45.0]
    with pytest.raises(ValueError, match="drop_last"):
        row_reader().run(ROWS, batch_size=100, drop_last=True)


@pytest.mark.parametrize("batch_size", [1, 3, 5, 10])
def test_every_epoch_sees_every_row_once_in_an_order_of_its_own(batch_size):
    history = row_reader().run(ROWS, batch_size=batch_size, epochs=3, seed=1)
    per_epoch = -(-10 // batch_size)
    epochs = history.loss.reshape(3, per_epoch)
    np.testing.assert_array_equal(epochs.sum(axis=1), [45.0] * 3)
    if batch_size == 1:
        assert all(sorted(e) == ROWS.tolist() for e in epochs)
        assert len({tuple(e) for e in epochs}) == 3 and tuple(ROWS) not in {tuple(e) for e in epochs}


def test_the_order_repeats_with_its_seed_and_differs_for_another():
    runs = [row_reader().run(ROWS, batch_size=1, epochs=2, seed=s).loss.tolist() for s in (4, 4, 5)]
    assert runs[0] == runs[1] != runs[2]


def test_without_a_seed_the_order_follows_manual_seed():
    runs = []
    for seed in (4, 4, 5):
        tg.manual_seed(seed)
        step = row_reader()
        runs.append([step.run(ROWS, batch_size=1).loss.tolist() for _ in range(2)])
    assert runs[0] == runs[1] != runs[2]
    assert runs[0][0] != runs[0][1]


def test_rows_of_several_inputs_stay_together():
    w = tg.tensor(np.float64(0.0), requires_grad=True)
    step = tg.TrainStep(
        lambda a, b, c: w * 0.0 + tg.abs(a.sum(axis=1) - b[:, 0, 0]).sum() + tg.abs(b[:, 0, 0] - c * 1.0).sum(),
        optim.SGD([w], lr=1.0),
    )
    rows = np.arange(20)
    a = np.stack([rows * 0.25, rows * 0.75], axis=1)
    b = np.broadcast_to(rows[:, None, None], (20, 2, 3)).astype(np.float64)
    history = step.run(a, b, rows, batch_size=6, epochs=2, seed=0)
    np.testing.assert_array_equal(history.loss, np.zeros(8))


def test_a_function_gives_the_order_of_each_epoch():
    orders = [[9, 8, 7, 6, 5, 4, 3, 2, 1, 0], [0, 0, 0, 0, 9], [1, 1]]
    history = row_reader().run(ROWS, batch_size=4, epochs=3, shuffle=orders.__getitem__)
    assert history.loss.tolist() == [30.0, 14.0, 1.0, 0.0, 9.0, 2.0]
    assert history.epoch.tolist() == [0, 0, 0, 1, 1, 2] and history.samples == 17


@pytest.mark.parametrize("order, error", [([], ValueError), ([[1]], ValueError), (np.arange(10.0), ValueError),
                                          (range(1, 11), IndexError), (range(-1, 9), IndexError)])
def test_an_order_that_no_loop_can_follow_is_refused(order, error):
    with pytest.raises(error, match="shuffle"):
        row_reader().run(ROWS, batch_size=4, shuffle=lambda epoch: order)


# ------------------------------------------------------------------
# the same numbers as single steps


@pytest.mark.parametrize("drop_last", [False, True])
def test_a_run_equals_the_same_batches_stepped_one_by_one(drop_last):
    whole, single = network(), network()
    history = make_step(whole).run(X, Y, batch_size=16, epochs=3, shuffle=False, drop_last=drop_last)
    step, losses = make_step(single), []
    for _ in range(3):
        for k in range(0, 48 if drop_last else 50, 16):
            losses.append(step(X[k : k + 16], Y[k : k + 16]))
    np.testing.assert_array_equal(history.loss, np.array(losses, dtype=history.loss.dtype))
    for a, b in zip(values(whole), values(single)):
        np.testing.assert_array_equal(a, b)


def test_a_run_equals_define_by_run_training():
    whole, manual = network(), network()
    history = make_step(whole).run(X, Y, batch_size=10, epochs=2, shuffle=False)
    optimizer, losses = optim.SGD(manual.parameters(), lr=0.1, momentum=0.9), []
    for _ in range(2):
        for k in range(0, 50, 10):
            loss = F.cross_entropy(manual(tg.tensor(X[k : k + 10])), Y[k : k + 10])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss))
    np.testing.assert_allclose(history.loss, losses, rtol=1e-5)
    for a, b in zip(values(whole), values(manual)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_shuffled_run_repeats_to_the_bit():
    runs = []
    for _ in range(2):
        model = network()
        make_step(model).run(X, Y, batch_size=16, epochs=3, seed=7)
        runs.append(values(model))
    for a, b in zip(*runs):
        np.testing.assert_array_equal(a, b)


def test_one_run_of_two_epochs_equals_two_runs_of_one_in_fixed_order():
    once, twice = network(), network()
    make_step(once).run(X, Y, batch_size=16, epochs=2, shuffle=False)
    step = make_step(twice)
    for _ in range(2):
        step.run(X, Y, batch_size=16, shuffle=False)
    for a, b in zip(values(once), values(twice)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.compiled
def test_a_long_run_over_several_chunks_loses_no_step():
    w = tg.tensor(np.float64(0.0), requires_grad=True)
    step = tg.TrainStep(lambda rows: w * 1.0 + 0.0 * rows.sum(), optim.SGD([w], lr=1.0))
    history = step.run(np.zeros(100_000), batch_size=1)
    assert len(history.loss) == 100_000 and float(w) == -100_000
    np.testing.assert_array_equal(history.loss, -np.arange(100_000.0))


def test_data_of_other_layouts_and_dtypes_give_the_same_run():
    runs = []
    for x, y in (
        (X, Y),
        (np.asfortranarray(X), Y.astype(np.int32)),
        (np.repeat(X, 2, axis=0)[::2], np.repeat(Y, 2)[::2]),
        (X.astype(np.float64), Y.astype(np.uint8)),
        (X.tolist(), Y.tolist()),
    ):
        model = network()
        make_step(model).run(x, y, batch_size=16, epochs=2, seed=3)
        runs.append(values(model))
    for run in runs[1:]:
        for a, b in zip(runs[0], run):
            np.testing.assert_array_equal(a, b)


def test_dropout_draws_a_new_mask_at_each_step_of_a_run():
    w = tg.tensor(np.float64(1.0), requires_grad=True)
    step = tg.TrainStep(lambda x: F.dropout(x * w, p=0.5).sum(), optim.SGD([w], lr=0.0))
    losses = step.run(np.ones((64, 500)), batch_size=1, shuffle=False).loss
    assert len(set(losses.tolist())) > 30
    assert abs(losses.mean() - 500) < 20


# ------------------------------------------------------------------
# history, callback, schedules


def test_the_history_has_one_loss_a_step_and_counts_epochs_and_samples():
    history = make_step(network()).run(X, Y, batch_size=16, epochs=3)
    assert isinstance(history, tg.History)
    assert history.loss.shape == (12,) and history.loss.dtype == np.float32
    assert history.epoch.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert history.samples == 150 and history.seconds > 0
    np.testing.assert_allclose(history.epoch_loss()[1], history.loss[4:8].mean(), rtol=1e-6)


def test_a_callback_sees_every_epoch_and_may_stop_the_run():
    seen = []

    def callback(epoch, history):
        seen.append((epoch, len(history.loss)))
        return epoch == 2

    history = make_step(network()).run(X, Y, batch_size=25, epochs=10, callback=callback)
    assert seen == [(0, 2), (1, 4), (2, 6)]
    assert len(history.loss) == 6


def test_a_callback_that_returns_nothing_does_not_stop_the_run():
    history = make_step(network()).run(X, Y, batch_size=25, epochs=3, callback=lambda epoch, history: None)
    assert len(history.loss) == 6


def test_an_exception_in_a_callback_passes_through():
    def callback(epoch, history):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        make_step(network()).run(X, Y, batch_size=25, epochs=3, callback=callback)


def test_a_callback_may_evaluate_and_change_the_mode():
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    step = make_step(model)
    accuracies = []

    def callback(epoch, history):
        model.eval()
        with tg.no_grad():
            accuracies.append((model(tg.tensor(X)).numpy().argmax(axis=1) == Y).mean())
        model.train()

    step.run(X, Y, batch_size=25, epochs=3, callback=callback)
    assert len(accuracies) == 3 and step.recordings == 1


def test_a_callback_may_freeze_a_layer_between_epochs():
    model = network()
    step = make_step(model)
    seen = []

    def callback(epoch, history):
        if epoch == 0:
            model[0].freeze()
            seen.append(model[0].weight.numpy())

    step.run(X, Y, batch_size=25, epochs=3, callback=callback)
    np.testing.assert_array_equal(model[0].weight.numpy(), seen[0])


def test_a_schedule_by_steps_works_inside_a_run():
    w = tg.tensor(np.float64(0.0), requires_grad=True)
    optimizer = optim.SGD([w], lr=1.0)
    optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5, interval="step")
    step = tg.TrainStep(lambda rows: w * 1.0 + 0.0 * rows.sum(), optimizer)
    step.run(np.zeros(6), batch_size=2)
    assert float(w) == -(1 + 0.5 + 0.25)
    step.run(np.zeros(2), batch_size=2)
    assert float(w) == -(1 + 0.5 + 0.25 + 0.125)


def test_a_schedule_by_epochs_works_inside_a_run():
    w = tg.tensor(np.float64(0.0), requires_grad=True)
    optimizer = optim.SGD([w], lr=1.0)
    optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5, interval="epoch")
    step = tg.TrainStep(lambda rows: w * 1.0 + 0.0 * rows.sum(), optimizer)
    step.run(np.zeros(4), batch_size=2, epochs=3)
    assert float(w) == -(2 * 1 + 2 * 0.5 + 2 * 0.25)


def test_training_on_separable_data_reaches_it():
    labels = (X[:, 0] > 0).astype(np.int64)
    model = network()
    step = make_step(model, lr=0.3)
    history = step.run(X, labels, batch_size=10, epochs=60, seed=0)
    assert history.loss[-5:].mean() < 0.1 < history.loss[0]
    assert (model(tg.tensor(X)).numpy().argmax(axis=1) == labels).mean() >= 0.98


# ------------------------------------------------------------------
# Ctrl-C

INTERRUPTED = """
import os, signal, threading, time
import numpy as np
import tapegrad as tg
from tapegrad import optim

signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background would hand down another
w = tg.tensor(np.zeros(1000), requires_grad=True)
step = tg.TrainStep(lambda rows: w.sum() + 0.0 * rows.sum(), optim.SGD([w], lr=1.0))
data = np.zeros(1_000_000)
step.run(data[:10], batch_size=1)
done = []
def interrupt():
    time.sleep(1.0)
    done.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
try:
    step.run(data, batch_size=1, epochs=1000, shuffle=False)
    print("not interrupted")
except KeyboardInterrupt:
    waited = time.perf_counter() - done[0]
    values = np.unique(w.numpy())
    steps = -values[0]
    after = step(data[:1])
    print(len(values), steps == round(steps), steps > 10, waited < 1.0, after == 1000 * values[0])
"""


@pytest.mark.compiled
@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_ctrl_c_stops_a_run_soon_with_whole_steps_done_and_the_step_usable():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["1", "True", "True", "True", "True"], done.stdout + done.stderr


# ------------------------------------------------------------------
# refusals


@pytest.mark.parametrize(
    "options",
    [{"batch_size": 0}, {"batch_size": -1}, {"batch_size": 2.5}, {"batch_size": 4, "epochs": 0}, {"batch_size": "4"}],
)
def test_wrong_counts_are_errors_that_name_the_argument(options):
    with pytest.raises(ValueError, match="batch_size|epochs"):
        make_step(network()).run(X, Y, **options)


def test_arrays_of_different_lengths_are_an_error_with_their_shapes():
    with pytest.raises(ValueError, match="50") as caught:
        make_step(network()).run(X, Y[:49], batch_size=10)
    assert "49" in str(caught.value)


@pytest.mark.parametrize("arrays", [(), (np.zeros((0, 4)), np.zeros(0, dtype=int)), (np.float64(1.0),)])
def test_nothing_to_run_over_is_an_error(arrays):
    with pytest.raises(ValueError):
        make_step(network()).run(*arrays, batch_size=2)


def test_a_wrong_label_stops_the_run_after_whole_steps():
    model = network()
    step = make_step(model)
    labels = Y.copy()
    labels[35] = 99
    with pytest.raises(IndexError, match="99|class|range"):
        step.run(X, labels, batch_size=10, shuffle=False)
    expected = network()
    single = make_step(expected)
    for k in (0, 10, 20):
        single(X[k : k + 10], Y[k : k + 10])
    for a, b in zip(values(model), values(expected)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.compiled
def test_threads_run_different_models_at_once_as_they_would_alone():
    def train(seed):
        rng = np.random.default_rng(seed)
        w = tg.tensor(rng.normal(size=(4, 3 + seed)), requires_grad=True)
        v = tg.tensor(rng.normal(size=(3 + seed, 1)), requires_grad=True)
        x, y = rng.normal(size=(200, 4)), rng.normal(size=(200, 1))
        step = tg.TrainStep(lambda a, b: F.mse_loss(tg.tanh(a @ w) @ v, b), optim.Adam([w, v], lr=1e-2))
        history = step.run(x, y, batch_size=10, epochs=30, seed=seed)
        return history.loss, w.numpy()

    alone = {seed: train(seed) for seed in range(4)}
    together = {}
    threads = [threading.Thread(target=lambda s=s: together.__setitem__(s, train(s))) for s in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for seed in range(4):
        np.testing.assert_array_equal(together[seed][0], alone[seed][0])
        np.testing.assert_array_equal(together[seed][1], alone[seed][1])
