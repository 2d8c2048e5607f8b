"""A recording goes on only as long as all that it can see is as it was."""

import copy
import pickle
import random
import warnings

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim

RNG = np.random.default_rng(11)
X = RNG.normal(size=(12, 4)).astype(np.float32)


class Net(nn.Module):
    """Reads everything that a module may hold."""

    gain = 1.0

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.norm = nn.BatchNorm1d(6)
        self.drop = nn.Dropout(0.0)
        self.parts = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6)])
        self.named = nn.ModuleDict({"a": nn.Linear(6, 6)})
        self.chain = nn.Sequential(nn.Linear(6, 6), nn.Tanh())
        self.shifts = nn.ParameterList([np.zeros(6, np.float32)])
        self.register_buffer("offset", np.full(6, 0.5, np.float32))
        self.scale, self.mode, self.powers = 1.0, "tanh", (1, 2)
        self.register_buffer("extra", None)

    def forward(self, x):
        h = self.drop(self.norm(self.first(x))) * self.gain
        for part in self.parts:
            h = h + part(h) * 0.1
        for part in self.named.values():
            h = h + part(h) * 0.1
        h = self.chain(h + self.offset)
        for shift in self.shifts:
            h = h + shift
        if self.extra is not None:
            h = h + self.extra
        h = tg.tanh(h) if self.mode == "tanh" else tg.exp(h)
        return sum((h ** n for n in self.powers), 0.0) * self.scale


def fresh(inputs, outputs, seed):
    tg.manual_seed(seed)
    return nn.Linear(inputs, outputs)


def dropped(model):
    model.drop.p = 1.0


def eps(model):
    model.norm.eps = 2.0


def attribute(model):
    model.scale = 3.0


def text(model):
    model.mode = "exp"


def a_tuple(model):
    model.powers = (1, 3)


def of_the_class(model):
    model.gain = 2.0


def evaluation_of_one_layer(model):
    model.norm.eval()


def layer(model):
    model.first = fresh(4, 6, 5)


def part(model):
    model.parts[0] = fresh(6, 6, 5)


def part_of_the_dict(model):
    model.named["a"] = fresh(6, 6, 5)


def behind_the_back(model):
    model.chain._modules["0"] = fresh(6, 6, 5)


def appended(model):
    model.parts.append(fresh(6, 6, 5))


def inserted(model):
    model.chain.insert(0, fresh(6, 6, 5))


def extended(model):
    model.parts.extend([fresh(6, 6, 5), nn.ReLU()])


def popped(model):
    model.parts.pop()


def removed(model):
    del model.parts[0]


def emptied(model):
    model.named.clear()


def taken_out(model):
    model.named.pop("a")


def added(model):
    model.named.update({"b": fresh(6, 6, 5)})


def turned(model):
    first = model.chain._modules.pop("0")
    model.chain._modules["0"] = first


def bias(model):
    model.chain[0].bias = None


def bias_deleted(model):
    del model.chain[0].bias
    model.chain[0].register_parameter("bias", None)


def parameter(model):
    model.first.weight = nn.Parameter(np.full((6, 4), 0.25, np.float32))


def shift(model):
    model.shifts[0] = np.ones(6, np.float32)


def shift_appended(model):
    model.shifts.append(np.ones(6, np.float32))


def buffer(model):
    model.offset = tg.tensor(np.full(6, -0.5, np.float32))


def buffer_that_was_absent(model):
    model.extra = tg.tensor(np.ones(6, np.float32))


def running_mean(model):
    model.norm.eval()
    model.norm.running_mean = tg.tensor(np.full(6, 4.0, np.float32))


def forward_of_one_layer(model):
    model.first.forward = lambda x: x @ np.ones((4, 6))


CHANGES = [dropped, eps, attribute, text, a_tuple, of_the_class, evaluation_of_one_layer, layer, part, part_of_the_dict,
           behind_the_back, appended, inserted, extended, popped, removed, emptied, taken_out, added, turned, bias,
           bias_deleted, parameter, shift, shift_appended, buffer, buffer_that_was_absent, running_mean,
           forward_of_one_layer]


def made():
    tg.manual_seed(3)
    return Net()


def compiled(model):
    return tg.compile(lambda x: model(x).sum())


def a_method(model):
    model.objective = None  # so that assigning below is a change of its own
    return tg.compile(model.forward)


def a_step(model):
    bystander = nn.Parameter(np.zeros((), np.float32))
    return tg.TrainStep(lambda x: model(x).sum() + bystander, optim.SGD([bystander], lr=0.0))


def total(value):
    return float(value.sum()) if isinstance(value, tg.Tensor) else float(value)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("recorded", [compiled, a_method, a_step])
def test_a_change_that_the_call_can_see_is_seen(recorded, change):
    model, plain = made(), made()
    call = recorded(model)
    before = total(plain(tg.tensor(X)).sum())
    assert total(call(X)) == pytest.approx(before, rel=1e-5)
    change(model)
    change(plain)
    after = total(plain(tg.tensor(X)).sum())
    assert abs(after - before) > 1e-3 or change is turned
    assert total(call(X)) == pytest.approx(after, rel=1e-5)


def test_momentum_of_the_running_statistics_is_followed():
    model = nn.BatchNorm1d(4)
    call = tg.compile(lambda x: model(x))
    call(X)
    model.momentum = 1.0
    call(X)
    np.testing.assert_allclose(model.running_mean.numpy(), X.mean(0), rtol=1e-5)


def test_changing_back_takes_up_the_earlier_recording():
    model = made()
    call = compiled(model)
    layers = [model.first, fresh(4, 6, 9)]
    for k in range(6):
        model.drop.p, model.mode, model.first = 0.5 * (k % 2), "exp" if k % 2 else "tanh", layers[k % 2]
        call(X)
    assert call.recordings == 2


@pytest.mark.parametrize("recorded", [compiled, a_step])
def test_what_does_not_change_the_call_needs_no_new_recording(recorded):
    model = made()
    call = recorded(model)
    call(X)
    model.drop.p = 0.0
    model.train()
    made()
    model.load_state_dict(made().state_dict())
    model.first.weight.copy_(np.zeros((6, 4)))
    other = nn.Dropout(0.5)
    other.p = 0.1
    call(X)
    assert call.recordings == 1


def test_minus_zero_and_true_are_other_values_than_zero_and_one():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor, self.negated = 0.0, 1

        def forward(self, x):
            return (-x if self.negated is True else x) * self.factor

    model = Scaled()
    call = tg.compile(lambda x: model(x))
    assert not np.signbit(call(np.ones(1)).numpy())
    model.factor = -0.0
    assert np.signbit(call(np.ones(1)).numpy())
    model.negated = True
    assert not np.signbit(call(np.ones(1)).numpy())


def test_a_schedule_of_an_attribute_keeps_a_few_recordings_only():
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.0))
    call = tg.compile(lambda x: model(x))
    step = tg.TrainStep(lambda x: model(x).sum(), optim.SGD(model.parameters(), lr=0.0))
    for k in range(30):
        model[1].p = k / 100
        call(X)
        step(X)
    assert call.recordings == step.recordings == 30
    assert len(next(iter(call._kept.values()))) < 10 and len(next(iter(step._steps.values()))) < 10


def test_an_attribute_that_only_the_loss_function_reads_counts():
    class Weighted(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.weight = nn.Linear(4, 1, bias=False), 1.0

        def loss(self, x):
            return (self.layer(x) * self.weight).sum()

    model = Weighted()
    functions = [lambda x: (model.layer(x) * model.weight).sum(), model.loss]
    for function in functions:
        model.weight = 1.0
        step = tg.TrainStep(function, optim.SGD(model.parameters(), lr=0.0))
        once = step(X)
        model.weight = 2.0
        assert step(X) == pytest.approx(2 * once, rel=1e-6)
        model.layer = nn.Linear(4, 1, bias=False)
        expected = 2 * float((X @ model.layer.weight.numpy().T).sum())
        assert tg.compile(function)(X).item() == pytest.approx(expected, rel=1e-4)


def test_a_parameter_that_was_made_frozen_and_is_unfrozen_is_trained():
    w, b = nn.Parameter(np.ones(4, np.float32)), nn.Parameter(np.zeros(4, np.float32), requires_grad=False)
    step = tg.TrainStep(lambda x: ((w + b) * x).sum(), optim.SGD([w, b], lr=1.0))
    step(np.ones(4, np.float32))
    b.requires_grad_(True)
    step(np.ones(4, np.float32))
    np.testing.assert_array_equal(b.numpy(), np.full(4, -1.0))


def test_another_dtype_of_the_module_is_followed():
    model = nn.Linear(4, 2)
    model.requires_grad_(False)
    call = tg.compile(lambda x: model(x))
    call(X.astype(np.float64))
    model.to(np.float64)
    model.weight.copy_(np.full((2, 4), 0.1))
    model.bias.copy_(np.zeros(2))
    result = call(X.astype(np.float64)).numpy()
    np.testing.assert_allclose(result, np.repeat(X.astype(np.float64).sum(1, keepdims=True) * 0.1, 2, 1), rtol=1e-13)


def test_runs_see_what_a_callback_changes():
    model = nn.Sequential(nn.Linear(4, 1), nn.Dropout(0.0))
    step = tg.TrainStep(lambda x: model(x).sum() * 0.0 + (1.0 if model[1].p else 2.0),
                        optim.SGD(model.parameters(), lr=0.0))

    def callback(epoch, history):
        model[1].p = 0.5

    losses = step.run(X, batch_size=12, epochs=3, callback=callback).loss
    np.testing.assert_array_equal(losses, [2.0, 1.0, 1.0])


# ------------------------------------------------------------------
# what a replay would not do again is said


@pytest.mark.parametrize("draw", [
    lambda: np.random.normal(size=4), lambda: np.random.rand(), lambda: np.random.randint(3), random.random,
    lambda: random.gauss(0.0, 1.0), lambda: np.random.permutation(4),
])
def test_global_random_numbers_drawn_while_recording_are_warned_of_with_an_input_as_the_remedy(draw):
    with pytest.warns(RuntimeWarning, match="input") as caught:
        tg.compile(lambda x: x * float(np.sum(draw())))(X)
    assert caught[0].filename == __file__
    w = nn.Parameter(np.ones(4, np.float32))
    with pytest.warns(RuntimeWarning, match="every replay has the same"):
        tg.TrainStep(lambda x: (w * x).sum() * float(np.sum(draw())), optim.SGD([w], lr=0.0))(X)


@pytest.mark.parametrize("source", [np.random.default_rng(0), np.random.RandomState(0), random.Random(0)])
def test_random_numbers_of_a_generator_in_reach_are_warned_of(source):
    def helper():
        return source.uniform(0.0, 1.0)

    class Noise(nn.Module):
        def __init__(self):
            super().__init__()
            self.source = source

        def forward(self, x):
            return x + self.source.uniform(0.0, 1.0)

    model = Noise()
    with pytest.warns(RuntimeWarning, match=type(source).__name__):
        tg.compile(lambda x: x + helper())(X)
    with pytest.warns(RuntimeWarning, match=type(source).__name__):
        tg.compile(lambda x: model(x))(X)


def test_a_recording_that_draws_as_ops_do_or_not_at_all_gives_no_warning():
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    np.random.rand()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call = tg.compile(lambda x: model(x))
        call(X)
        np.random.rand()
        call(X)


def test_an_attribute_that_the_recorded_call_changes_is_warned_of():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls, self.state, self.fixed = 0, None, 3

        def forward(self, x):
            self.calls += 1
            self.fixed = 3
            self.fresh = x
            return x * 2.0

    model = Counting()
    with pytest.warns(RuntimeWarning, match="Counting.calls.*input") as caught:
        tg.compile(lambda x: model(x))(X)
    assert len(caught) == 1


def test_signatures_whose_recording_assigns_attributes_take_turns_without_new_recordings():
    class Shaped(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 2)

        def forward(self, x):
            self.rows, self.last = len(x), self.linear(x)
            return self.last

    model = Shaped()
    call = tg.compile(lambda x: model(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for rows in (12, 5, 12, 5, 12, 5):
            call(X[:rows])
    assert call.recordings == 2


def test_a_buffer_replaced_by_what_the_recording_computes_is_refused():
    class Running(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", np.zeros(4, np.float32))

        def forward(self, x):
            self.mean = self.mean * 0.9 + x.mean(axis=0).detach() * 0.1
            return x - self.mean

    model = Running()
    with pytest.raises(tg.CaptureError, match=r"test_conditions.py:\d+.*mean.*copy_"):
        tg.compile(lambda x: model(x))(X)
    np.testing.assert_array_equal(model.mean.numpy(), np.zeros(4))


def test_copies_of_a_module_count_their_own_changes():
    model = made()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        calls = [compiled(model), compiled(other)]
        values = [total(call(X)) for call in calls]
        other.scale, other.parts[0] = 0.0, nn.ReLU()
        assert total(calls[0](X)) == values[0] and calls[0].recordings == 1
        assert total(calls[1](X)) == 0.0 and calls[1].recordings == 2


def test_the_loss_of_dropout_follows_p():
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    step = tg.TrainStep(lambda x: F.mse_loss(model(x), np.zeros((12, 2), np.float32)),
                        optim.SGD(model.parameters(), lr=0.0))
    step(X)
    model[1].p = 0.0
    first, second = model[0], model[2]
    expected = (X @ first.weight.numpy().T + first.bias.numpy()) @ second.weight.numpy().T + second.bias.numpy()
    assert step(X) == pytest.approx(float((expected**2).mean()), rel=1e-5)
