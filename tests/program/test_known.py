"""A recording treats as constant only what nothing can change; everything else is read anew at each replay."""

import operator
import warnings

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim

ONES = np.ones(2)


def parameter(*values):
    return nn.Parameter(np.array(values), dtype=np.float64)


# ------------------------------------------------------------------
# functions of detached parameters


@pytest.mark.parametrize("in_a_run", [False, True])
def test_a_function_of_a_detached_parameter_follows_it(in_a_run):
    p = parameter(1.0, 2.0)
    step = tg.TrainStep(lambda x: (p * x + p.detach() * 3).sum(), optim.SGD([p], lr=0.5))
    if in_a_run:
        losses = step.run(np.ones((3, 2)), batch_size=1, epochs=1).loss
    else:
        losses = [step(ONES) for _ in range(3)]
    np.testing.assert_allclose(losses, [12.0, 8.0, 4.0])  # p falls by 0.5 a step, the loss is 4 * sum(p)


DETACHED = {
    "straight-through sign": lambda p, x: (p + tg.sign(p.detach()) - p.detach()) * x,
    "straight-through round": lambda p, x: (p + (tg.tanh(p * 3.0).detach() - p).detach()) * x,
    "gate by comparison": lambda p, x: tg.where(p.detach() > 0.5, p * x, p * p * x),
    "gate by truth": lambda p, x: tg.where(tg.maximum(p.detach(), 0.0), p * x, p * p * x),
    "norm": lambda p, x: p / tg.sqrt((p.detach() ** 2).sum()) * x,
    "under no_grad": lambda p, x: scaled_without_gradient(p) * p * x,
    "view": lambda p, x: p.detach()[1:] * p * x,
    "reversed view": lambda p, x: p[::-1].detach() * p * x,
    "order": lambda p, x: tg.sort(p.detach()) * p * x,
    "index": lambda p, x: p[tg.argsort(p.detach())] * x,
    "product of matrices": lambda p, x: (p.detach().reshape(2, 1) @ p.detach().reshape(1, 2)) @ p * x,
    "joined": lambda p, x: tg.concatenate([p.detach(), p.detach() * 2.0]).reshape(2, 2).sum(axis=0) * p * x,
    "softmax": lambda p, x: F.softmax(p.detach(), dim=0) * p * x,
    "layer norm": lambda p, x: F.layer_norm(p.detach(), (2,)) * p * x,
    "dropout of a frozen value": lambda p, x: F.dropout(p.detach(), 0.0) * p * x,
    "stop_gradient twice": lambda p, x: (p.detach() * p.detach().detach()) * p * x,
}


def scaled_without_gradient(p):
    with tg.no_grad():
        return tg.exp(p * 0.5)


@pytest.mark.parametrize("name", DETACHED)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_what_is_computed_from_a_detached_parameter_trains_as_define_by_run_does(name, accumulate):
    f = DETACHED[name]
    recorded, manual = parameter(0.9, -0.4), parameter(0.9, -0.4)
    X = np.random.default_rng(1).uniform(0.5, 1.5, (12, 2))
    step = tg.TrainStep(lambda x: f(recorded, x).sum(axis=-1).mean(), optim.SGD([recorded], lr=0.3),
                        accumulate=accumulate)
    optimizer = optim.SGD([manual], lr=0.3)
    for k in range(3):
        batch = X[4 * k:4 * k + 4]
        loss = f(manual, tg.tensor(batch)).sum(axis=-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert step(batch) == pytest.approx(float(loss), rel=1e-12)
    np.testing.assert_allclose(recorded.numpy(), manual.numpy(), rtol=1e-12)
    assert step.recordings == 1


def test_the_gradient_of_the_straight_through_estimator_is_that_of_the_identity():
    p = parameter(0.7, -0.2)
    step = tg.TrainStep(lambda x: ((p + tg.sign(p.detach()) - p.detach()) * x).sum(), optim.SGD([p], lr=0.5))
    assert step(np.array([2.0, 3.0])) == pytest.approx(2.0 - 3.0)
    np.testing.assert_allclose(p.grad.numpy(), [2.0, 3.0])
    np.testing.assert_allclose(p.numpy(), [-0.3, -1.7])
    assert step(np.array([2.0, 3.0])) == pytest.approx(-2.0 - 3.0)


def test_a_detached_parameter_is_followed_to_where_an_optimiser_moves_it():
    p = parameter(1.0, 2.0)
    q = nn.Parameter(np.zeros(2), dtype=np.float64)
    fast = tg.compile(lambda x: p.detach() * 3.0 * x)
    step = tg.TrainStep(lambda x: (p.detach() * q * x).sum(), optim.SGD([q], lr=1.0))
    fast(ONES), step(ONES)
    mover = optim.SGD([p], lr=1.0)
    p.grad = np.ones(2)
    mover.step()
    np.testing.assert_array_equal(p.numpy(), [0.0, 1.0])
    np.testing.assert_array_equal(fast(ONES).numpy(), [0.0, 3.0])
    assert step(ONES) == -2.0  # q is -[1, 2] after the first step, and -[1, 3] after this one
    p.copy_(np.array([5.0, 7.0]))
    np.testing.assert_array_equal(fast(ONES).numpy(), [15.0, 21.0])
    assert step(ONES) == -26.0


def test_a_detached_parameter_is_no_second_array_in_the_account():
    def bytes_of(function):
        p = parameter(*np.arange(1000.0))
        step = tg.TrainStep(lambda x: function(p, x), optim.SGD([p], lr=0.1))
        step(np.ones(1000))
        return step.memory()

    once, both = bytes_of(lambda p, x: (p * x).sum()), bytes_of(lambda p, x: (p * x + p.detach()).sum())
    assert both.data_bytes == once.data_bytes and both.parameter_bytes == once.parameter_bytes


# ------------------------------------------------------------------
# frozen parameters and buffers that are overwritten

OVERWRITE = {
    "copy_": lambda model, value: model.w.copy_(value),
    "load_state_dict": lambda model, value: model.load_state_dict({"w": value}, strict=False),
    "assignment": lambda model, value: model.w.__setitem__(slice(None), value),
    "assignment of an element": lambda model, value: [model.w.__setitem__(k, v) for k, v in enumerate(value)],
    "assignment to a view": lambda model, value: model.w[:].copy_(value),
}


class Holder(nn.Module):
    def __init__(self, kind):
        super().__init__()
        value = np.array([0.5, 1.5])
        if kind == "buffer":
            self.register_buffer("w", value)
        elif kind == "attribute":
            self.w = tg.tensor(value)
        else:
            self.w = nn.Parameter(value, dtype=np.float64, requires_grad=kind == "frozen later")
            self.w.requires_grad_(False)

    def load_state_dict(self, state, strict=True):
        return self.w.copy_(state["w"]) if not self.state_dict() else super().load_state_dict(state, strict)


@pytest.mark.parametrize("overwrite", OVERWRITE)
@pytest.mark.parametrize("kind", ["frozen", "frozen later", "buffer", "attribute"])
@pytest.mark.parametrize("compiled", [True, False])
def test_a_function_of_what_is_overwritten_later_follows_it_without_a_new_recording(kind, overwrite, compiled):
    model, p = Holder(kind), parameter(1.0, 1.0)

    def f(x):
        return (tg.exp(model.w) * p * x).sum()

    call = tg.compile(f) if compiled else tg.TrainStep(f, optim.SGD([p], lr=0.0))
    assert float(call(ONES)) == pytest.approx(np.exp([0.5, 1.5]).sum())
    for value in (np.array([-1.0, 2.0]), np.array([0.25, 0.0])):
        OVERWRITE[overwrite](model, value)
        assert float(call(ONES)) == pytest.approx(np.exp(value).sum())
    assert call.recordings == 1


def test_a_target_network_that_is_a_moving_average_is_followed():
    tg.manual_seed(0)
    online, target = nn.Linear(3, 2), nn.Linear(3, 2)
    target.freeze()
    step = tg.TrainStep(lambda x: ((online(x) - (target.weight * 2.0 + target.weight ** 2).sum(axis=1)) ** 2).mean(),
                        optim.SGD(online.parameters(), lr=0.1))
    x = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    for _ in range(4):
        w, t = online.weight.numpy(), target.weight.numpy()
        expected = ((x @ w.T + online.bias.numpy() - (2.0 * t + t**2).sum(1)) ** 2).mean()
        assert step(x) == pytest.approx(float(expected), rel=1e-5)
        target.weight.copy_(0.5 * t + 0.5 * w)
    assert step.recordings == 1


def test_running_statistics_used_by_hand_are_those_of_each_call():
    norm = nn.BatchNorm1d(2, dtype=np.float64)
    call = tg.compile(lambda x: norm(x).sum() * 0.0 + tg.sqrt(norm.running_var + 1.0).sum())
    X = np.random.default_rng(0).normal(size=(6, 8, 2)) * 3.0
    for x in X:
        call(x)
        norm.running_var.numpy()
    after = tg.compile(lambda: tg.sqrt(norm.running_var + 1.0).sum() + norm.num_batches_tracked.astype(float))
    after()
    recordings = after.recordings
    for x in X:
        call(x)
        expected = np.sqrt(norm.running_var.numpy() + 1.0).sum() + int(norm.num_batches_tracked)
        assert float(after()) == pytest.approx(expected)
    assert after.recordings == recordings


@pytest.mark.parametrize("index", [[1, 0, 2], [2, 2, 1]])
def test_index_and_mask_tensors_that_are_overwritten_are_followed(index):
    chosen, mask = tg.tensor(np.array([0, 1, 2])), tg.tensor(np.array([True, False, True]))
    calls = {
        "index": (tg.compile(lambda x: x[chosen]), lambda x: x[np.array(index)]),
        "sum of indices": (tg.compile(lambda x: x * (chosen * 2)), lambda x: x * (np.array(index) * 2)),
        "take": (tg.compile(lambda x: tg.take(x, chosen)), lambda x: x[np.array(index)]),
        "mask": (tg.compile(lambda x: x[mask]), lambda x: x[np.array([False, True, True])]),
        "where": (tg.compile(lambda x: tg.where(mask, x, 0.0)), lambda x: x * [0, 1, 1]),
        "not": (tg.compile(lambda x: tg.where(~mask, x, 0.0)), lambda x: x * [1, 0, 0]),
        "comparison": (tg.compile(lambda x: tg.where(chosen > 1, x, 0.0)), lambda x: x * (np.array(index) > 1)),
        "at": (tg.compile(lambda x: x.at[chosen].add(1.0)), lambda x: x + np.bincount(index, minlength=3)),
        "extreme": (tg.compile(lambda x: x[tg.argmax(chosen)]), lambda x: x[np.argmax(index)]),
        "float": (tg.compile(lambda x: x * chosen.astype(np.float64)), lambda x: x * index),
    }
    x = np.array([3.0, 5.0, 7.0])
    for call, _ in calls.values():
        call(x)
    chosen.copy_(np.array(index))
    mask[:] = np.array([False, True, True])
    for name, (call, expected) in calls.items():
        np.testing.assert_array_equal(call(x).numpy(), expected(x), err_msg=name)


def test_a_constant_of_another_dtype_is_followed():
    scale = tg.tensor(np.array([1.0, 2.0]))
    p = nn.Parameter(np.ones(2, np.float32))
    step = tg.TrainStep(lambda x: (tg.exp(scale) * p * x * scale).sum(), optim.SGD([p], lr=0.0))
    x = np.ones(2, np.float32)
    for value in ([1.0, 2.0], [0.5, -1.0]):
        scale.copy_(np.array(value))
        assert step(x) == pytest.approx(float((np.exp(value) * value).sum()), rel=1e-6)


def test_a_compiled_function_computes_in_the_dtype_of_trained_parameters_that_are_frozen_now():
    p = parameter(1.0, 2.0)
    tg.TrainStep(lambda x: (p * x).sum(), optim.SGD([p], lr=0.1))(ONES)
    p.requires_grad_(False)
    call = tg.compile(lambda x: tg.exp(p) * p * x)
    for value in ([1.0, 2.0], [0.1, 0.3]):
        p.copy_(np.array(value))
        np.testing.assert_allclose(call(np.ones(2, np.float32)).numpy(), np.exp(value) * value, rtol=1e-14)
    assert call.recordings == 2  # of which the first, in float32, was given up


# ------------------------------------------------------------------
# values that Python reads

READS = {
    "item": lambda t: t.sum().item(),
    "float": lambda t: float(tg.exp(t).sum()),
    "bool": lambda t: 2.0 if (t * 2.0).sum() > 3.0 else 5.0,
    "numpy": lambda t: t.numpy().sum(),
    "list": lambda t: sum((t + 1.0).tolist()),
    "chain": lambda t: float((tg.tanh(t) + tg.exp(t * 2.0).sum()).sum()),
}


@pytest.mark.parametrize("name", READS)
def test_a_value_that_python_reads_is_watched(name):
    read = READS[name]
    held = tg.tensor(np.array([0.5, 0.25]))
    call = tg.compile(lambda x: x * read(held))
    call(ONES), call(ONES)
    assert call.recordings == 1
    for value in ([2.0, 1.0], [0.0, -1.0]):
        held.copy_(np.array(value))
        for _ in range(2):
            np.testing.assert_allclose(call(ONES).numpy(), ONES * read(tg.tensor(np.array(value))), rtol=1e-14)
    assert call.recordings == 3


@pytest.mark.parametrize("name", READS)
def test_the_value_of_what_training_changes_is_not_read(name):
    p = parameter(0.5, 0.25)
    step = tg.TrainStep(lambda x: (p * x).sum() * READS[name](p.detach()), optim.SGD([p], lr=0.1))
    with pytest.raises(tg.CaptureError, match=r"test_known.py:\d+.*ops"):
        step(ONES)


@pytest.mark.parametrize("recorded", [False, True])
def test_running_statistics_are_not_read(recorded):
    norm = nn.BatchNorm1d(2, dtype=np.float64)
    train = tg.compile(lambda x: norm(x)) if recorded else norm
    x = np.random.default_rng(0).normal(size=(8, 2))
    read = tg.compile(lambda x: x * float(norm.running_mean.sum()))
    np.testing.assert_array_equal(read(ONES).numpy(), [0.0, 0.0])  # nothing writes to them yet
    train(tg.tensor(x))
    with pytest.raises(tg.CaptureError, match="test_known.py"):
        read(ONES)


def test_a_value_read_before_a_step_trains_it_is_not_kept():
    p, q = parameter(1.0, 1.0), parameter(1.0, 1.0)
    q.requires_grad_(False)
    read = tg.compile(lambda x: x * float(q.sum()))
    np.testing.assert_array_equal(read(ONES).numpy(), [2.0, 2.0])
    q.requires_grad_(True)
    tg.TrainStep(lambda x: (p * q * x).sum(), optim.SGD([p, q], lr=0.5))(ONES)
    q.requires_grad_(False)
    with pytest.raises(tg.CaptureError, match="test_known.py"):
        read(ONES)


# ------------------------------------------------------------------
# what nothing can change


def test_what_is_computed_from_numbers_and_arrays_alone_is_no_instruction():
    table = np.arange(4.0)

    def f(x):
        positions = tg.sin(tg.tensor(table) * 2.0) + tg.exp(tg.tensor([0.0, 1.0, 2.0, 3.0], dtype=np.float64))
        return x * tg.where(positions > 2.0, positions, 0.0)

    call = tg.compile(f)
    expected = np.sin(table * 2.0) + np.exp(table)
    np.testing.assert_allclose(call(np.ones(4)).numpy(), np.where(expected > 2.0, expected, 0.0), rtol=1e-6)
    assert len(call.tape) == 1


def test_a_tensor_made_while_recording_that_is_overwritten_later_is_followed():
    class Cached(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("table", None)

        def forward(self, x):
            if self.table is None:
                self.table = tg.tensor(np.array([1.0, 2.0]))
            return x * tg.exp(self.table)

    model = Cached()
    call = tg.compile(lambda x: model(x))
    call(ONES)
    np.testing.assert_allclose(call(ONES).numpy(), np.exp([1.0, 2.0]))
    model.table.copy_(np.array([0.0, -1.0]))
    np.testing.assert_allclose(call(ONES).numpy(), np.exp([0.0, -1.0]))


def test_overwriting_what_the_recording_has_read_is_refused():
    outside = tg.tensor(np.array([1.0, 1.0]))

    def inside(x):
        c = tg.tensor(np.array([1.0, 1.0]))
        y = x * c
        c[0] = 5.0
        return y + x * c

    def beyond(x):
        y = x * outside
        outside.copy_(np.array([2.0, 2.0]))
        return y + x * outside

    for f in (inside, beyond):
        with pytest.raises(tg.InPlaceError, match=r"test_known.py:\d+.*replays"):
            tg.compile(f)(ONES)


def test_a_tensor_written_to_before_it_is_read_is_as_it_was_written():
    def f(x):
        c = tg.tensor(np.array([1.0, 1.0]))
        c[0] = 5.0
        return x * tg.exp(c)

    call = tg.compile(f)
    for _ in range(2):
        np.testing.assert_allclose(call(ONES).numpy(), np.exp([5.0, 1.0]))


@pytest.mark.parametrize("write", [lambda t: t.copy_(np.full(2, 7.0)), lambda t: operator.setitem(t, ..., 7.0)])
def test_a_tensor_that_is_overwritten_while_recording_is_warned_of_unless_it_was_made_there(write):
    kept = tg.tensor(np.ones(2))

    def of_outside(x):
        write(kept)
        return (x * kept).sum()

    def of_its_own(x):
        made = tg.tensor(np.ones(2))
        write(made)
        return (x * made).sum()

    with pytest.warns(RuntimeWarning, match="overwritten .* which no replay does again"):
        tg.compile(of_outside)(np.ones(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fast = tg.compile(of_its_own)
        assert float(fast(np.ones(2))) == 14.0 and float(fast(np.array([1.0, 2.0]))) == 21.0
