"""Steps after the first: what a step that takes its arguments as they are must still notice."""

from functools import partial

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.engine.walks import walk


class Model(nn.Module):
    """Scales by a weight; in evaluation mode by twice as much."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(np.full((2, 3), 2.0), dtype="float64")
        self.shift = nn.Parameter(np.zeros(3), dtype="float64")

    def forward(self, x):
        return (x * self.weight + self.shift).sum() * (1.0 if self.training else 2.0)


X = np.arange(6.0).reshape(2, 3)


def stepped(lr=0.0, **options):
    model = Model()
    optimizer = optim.SGD(model.parameters(), lr=lr, **options)
    step = tg.TrainStep(model, optimizer)
    assert [step(X), step(X)][0] == 2.0 * X.sum()
    return model, optimizer, step


def test_a_mode_that_is_assigned_directly_is_noticed():
    model, _, step = stepped()
    model.training = False
    assert step(X) == 4.0 * X.sum()
    model.training = True
    assert step(X) == 2.0 * X.sum()
    assert step.recordings == 2


def test_a_frozen_leaf_is_noticed_and_changing_back_too():
    model, _, step = stepped(lr=1.0)
    for frozen in (True, False, True):
        model.weight.requires_grad_(not frozen)
        before = model.weight.numpy()
        step(X)
        assert (model.weight.numpy() == before).all() == frozen
    assert step.recordings == 2


@pytest.mark.parametrize("other", [X.astype(np.float32), X.astype(int), X.tolist(), X.T.copy().T, X[::-1], tg.tensor(X),
                                   np.ma.masked_array(X), np.repeat(X, 2, axis=1)[:, ::2]])
def test_whatever_holds_the_same_numbers_gives_the_same_loss(other):
    assert stepped()[2](other) == 2.0 * X.sum()


@pytest.mark.parametrize("shape", [(1, 3), (3,), (), (2, 1)])
def test_an_argument_that_would_broadcast_is_another_signature(shape):
    _, _, step = stepped()
    x = np.full(shape, 3.0)
    assert step(x) == np.broadcast_to(x, (2, 3)).sum() * 2.0
    assert step.recordings == 2


def test_another_number_of_arguments_reaches_the_function():
    _, _, step = stepped()
    for arguments in ((), (X, X)):
        with pytest.raises(TypeError, match="argument"):
            step(*arguments)


def test_a_step_inside_a_recording_is_refused_with_arrays_too():
    _, _, step = stepped()
    with pytest.raises(tg.CaptureError, match="test_step.py"):
        tg.compile(lambda x: x * step(X))(X)


def test_every_hyper_parameter_and_bound_counts_from_the_next_step():
    model, optimizer, step = stepped()
    group = optimizer.param_groups[0]

    def moved():
        before = model.shift.numpy()
        step(X)
        return (model.shift.numpy() - before).tolist()

    assert moved() == [0.0] * 3
    group["lr"] = 0.5
    assert moved() == [-1.0] * 3  # the slope by the shift is 2, for it is added to two rows
    group["maximize"] = True
    assert moved() == [1.0] * 3
    optimizer.max_grad_value = 0.25
    assert moved() == [0.125] * 3
    optimizer.max_grad_value = None
    assert moved() == [1.0] * 3
    group["momentum"] = 0.5
    assert [moved()[0], moved()[0]] == [1.0, 1.5]


def test_a_schedule_that_is_taken_away_leaves_the_rate_where_it_was():
    model, optimizer, step = stepped(lr=1.0)
    before = model.shift.numpy()[0]
    optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5, interval="step")
    step(X)
    step(X)
    optimizer.schedulers.clear()
    step(X)
    assert before - model.shift.numpy()[0] == 2.0 * (1.0 + 0.5 + 0.25)


def test_single_steps_and_runs_take_turns():
    model, _, step = stepped(lr=1.0)
    rows = np.repeat(X[None], 3, axis=0).reshape(6, 3)
    for _ in range(2):
        before = model.shift.numpy()[0]
        assert len(step.run(rows, batch_size=2, shuffle=False)) == 3
        step(X)
        assert before - model.shift.numpy()[0] == 2.0 * 4


def test_a_graph_that_read_a_parameter_before_a_step_is_refused_after_it():
    model, _, step = stepped(lr=1.0)
    early = (model.weight * model.weight).sum()
    step(X)
    with pytest.raises(tg.TapegradError, match="in place"):
        early.backward()


def test_the_gradient_is_there_again_after_zero_grad():
    model, optimizer, step = stepped()
    optimizer.zero_grad()
    step(X)
    assert model.weight.grad.numpy().tolist() == X.tolist()


def test_a_parameter_is_frozen_by_its_attribute_too():
    """``p.requires_grad = False``, as PyTorch's users write it, is noticed by a recording and by the tape."""
    model = nn.Linear(3, 2)
    step = tg.TrainStep(lambda x: model(x).square().mean(), optim.SGD(model.parameters(), lr=0.1))
    x = np.ones((4, 3), np.float32)
    step(x)
    model.weight.requires_grad = False
    weight, bias = model.weight.numpy(), model.bias.numpy()
    step(x)
    assert step.recordings == 2
    np.testing.assert_array_equal(model.weight.numpy(), weight)
    assert (model.bias.numpy() != bias).all()
    model.weight.grad = None
    model(x).sum().backward()
    assert model.weight.grad is None
    model.weight.requires_grad = True
    step(x)
    assert step.recordings == 2 and (model.weight.numpy() != weight).any()


@pytest.mark.parametrize("options", [{}, {"max_grad_norm": 0.1}], ids=["plain", "clipped"])
@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.NAdam, partial(optim.SGD, momentum=0.9)])
def test_threads_share_the_updates_of_large_parameters(kind, options):
    """Every parameter is updated once, whatever part it is in, after the norm of all gradients is known."""
    before = tg.get_num_threads()
    x = np.random.default_rng(0).normal(size=(8, 90)).astype(np.float32)
    results = []
    try:
        for threads in (1, 3, None):
            tg.set_num_threads(threads or 1)
            tg.manual_seed(0)
            model = nn.Sequential(nn.Linear(90, 300), nn.Tanh(), nn.Linear(300, 30), nn.Linear(30, 200))
            optimizer = kind(model.parameters(), lr=0.1, **options)
            step = tg.TrainStep(lambda x: model(x).square().mean(), optimizer)  # noqa: B023 (called within the turn)
            for _ in range(4):
                if threads:
                    step(x)
                else:
                    optimizer.zero_grad()
                    model(tg.tensor(x)).square().mean().backward()
                    optimizer.step()
            assert not threads or step._last.update_header[walk.PARTS] == 5  # of which the first parameter takes three
            states = [state for _, state in sorted(optimizer.state_dict()["state"].items())]
            results.append([p.numpy() for p in model.parameters()]
                           + [np.asarray(value) for state in states for value in state.values()])
    finally:
        tg.set_num_threads(before)
    for one, *others in zip(*results):
        for other in others:
            np.testing.assert_array_equal(one, other)


def test_a_gradient_that_was_set_to_none_is_there_again_after_the_next_step():
    model, _, step = stepped()
    model.weight.grad = None
    assert model.weight.grad is None
    step(X)
    assert np.array_equal(model.weight.grad.numpy(), X)


def test_a_hyper_parameter_that_is_changed_within_a_list_counts_from_the_next_step():
    model = Model()
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    optimizer.param_groups[0]["betas"] = [0.5, 0.9]
    step = tg.TrainStep(model, optimizer)
    step(X)
    optimizer.param_groups[0]["betas"][0] = 0.0
    optimizer.state[model.shift]["exp_avg"][...] = 100.0  # forgotten where the first beta is 0
    before = model.shift.numpy()
    step(X)
    assert np.abs(model.shift.numpy() - before).max() < 0.2
