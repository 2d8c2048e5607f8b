"""Optimisers and schedules are copied with their state, and their copies go on as PyTorch's originals do."""

import copy
import pickle

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.optim import lr_scheduler

from . import cases
from .test_lr_scheduler import make as two_groups
from .test_lr_scheduler import walk
from .test_optimizers import assert_near, expected, fill, make, run, start, values


def pickled(thing):
    return pickle.loads(pickle.dumps(thing))


BOTH = pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled])
HALF = cases.STEPS // 2


@BOTH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", cases.EVERY)
def test_a_copy_made_half_way_ends_where_pytorch_ends(name, dtype, duplicate):
    parameters = start(dtype)
    optimizer = make(name, parameters)
    run(optimizer, parameters, range(HALF))
    twins, twin = duplicate((parameters, optimizer))
    held = values(parameters).copy()
    run(twin, twins, range(HALF, cases.STEPS))
    assert_near(values(twins), expected(name, dtype), dtype)
    np.testing.assert_array_equal(values(parameters), held)
    run(optimizer, parameters, range(HALF, cases.STEPS))
    np.testing.assert_array_equal(values(parameters), values(twins))


@BOTH
@pytest.mark.parametrize("name", cases.SCHEDULERS)
def test_a_copied_schedule_sets_the_copied_optimisers_rates(name, duplicate):
    if duplicate is pickled and name in ("lambda", "multiplicative", "cyclic_scaled", "sequence_multiplied", "chain"):
        with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
            pickled(cases.schedule(lr_scheduler, two_groups(), name))
        return
    optimizer = two_groups()
    scheduler = cases.schedule(lr_scheduler, optimizer, name)
    walk(optimizer, scheduler, name, range(23))
    twin, other = duplicate((scheduler, optimizer))
    assert twin.optimizer is other
    before = [dict(group) for group in optimizer.param_groups]
    rates = walk(other, twin, name, range(23, 50))
    assert [dict(group) for group in optimizer.param_groups] == before
    np.testing.assert_array_equal(rates, walk(optimizer, scheduler, name, range(23, 50)))


def test_a_shallow_copy_updates_the_same_parameters_with_state_of_its_own():
    parameters = start("float64")
    optimizer = make("sgd_momentum", parameters)
    schedule = lr_scheduler.ExponentialLR(optimizer, 0.5, interval="step")
    run(optimizer, parameters, range(3))
    other = copy.copy(optimizer)
    assert all(p is q for p, q in zip(other.param_groups[0]["params"], optimizer.param_groups[0]["params"]))
    momentum = [s["momentum_buffer"].copy() for s in optimizer.state.values()]
    run(other, parameters, [3])
    other.param_groups[0]["lr"] = 0.0
    other.advance("step")
    assert optimizer.param_groups[0]["lr"] == schedule.get_last_lr()[0] == 0.05
    for state, array in zip(optimizer.state.values(), momentum):
        np.testing.assert_array_equal(state["momentum_buffer"], array)
    assert copy.copy(schedule).optimizer is optimizer


@BOTH
def test_a_state_that_was_switched_off_is_copied_too(duplicate):
    results = []
    for copied in (False, True):
        parameters = start("float64")
        optimizer = make("sgd_momentum", parameters)
        run(optimizer, parameters, range(5))
        optimizer.param_groups[0]["momentum"] = 0.0
        if copied:
            parameters, optimizer = duplicate((parameters, optimizer))
        run(optimizer, parameters, range(5, 7))
        optimizer.param_groups[0]["momentum"] = 0.9
        run(optimizer, parameters, range(7, 9))
        results.append(values(parameters))
    np.testing.assert_array_equal(*results)


@BOTH
def test_frozen_parameters_bounds_and_names_are_copied(duplicate):
    model = nn.Linear(2, 1)
    model.bias.requires_grad_(False)
    optimizer = optim.AdamW(model.named_parameters(), lr=0.1, max_grad_norm=0.25, max_grad_value=0.5)
    twin, other = duplicate((model, optimizer))
    assert (other.max_grad_norm, other.max_grad_value) == (0.25, 0.5)
    assert other.param_groups[0]["param_names"] == ["weight", "bias"] and not other.state
    x = tg.tensor(np.ones((4, 2), np.float32))
    for m, o in ((model, optimizer), (twin, other)):
        for frozen in (True, False):
            m.bias.requires_grad_(not frozen)
            o.zero_grad()
            (m(x) ** 2).sum().backward()
            o.step()
    np.testing.assert_array_equal(twin.weight.numpy(), model.weight.numpy())
    np.testing.assert_array_equal(twin.bias.numpy(), model.bias.numpy())
    twin.weight.grad = np.full((1, 2), 3.0)
    other.zero_grad(set_to_none=False)
    assert not twin.weight.grad.numpy().any()


@BOTH
def test_two_optimisers_over_one_model_are_copied_over_one_model(duplicate):
    model = nn.Linear(2, 2)
    first, second = optim.SGD([model.weight], lr=0.1), optim.Adam(model.parameters())
    twin, one, two = duplicate((model, first, second))
    twin(tg.tensor(np.ones((1, 2), np.float32))).sum().backward()
    one.step()
    two.step()
    assert one.param_groups[0]["params"][0] is two.param_groups[0]["params"][0] is twin.weight
    assert (twin.weight.numpy() != model.weight.numpy()).all()


@BOTH
def test_lbfgs_is_copied_with_its_counts(duplicate):
    w = tg.tensor([3.0, -1.0], dtype="float64", requires_grad=True)
    optimizer = optim.LBFGS([w], max_iter=3)
    v, twin = duplicate((w, optimizer))

    def closure():
        twin.zero_grad()
        loss = ((v - 1.0) ** 2).sum()
        loss.backward()
        return loss

    twin.step(closure)
    np.testing.assert_allclose(v.numpy(), [1.0, 1.0], atol=1e-6)
    np.testing.assert_array_equal(w.numpy(), [3.0, -1.0])
    assert duplicate(twin).n_iter == twin.n_iter > 0


def test_rows_of_addresses_are_an_error_that_says_so():
    parameters = start("float32")
    rows = make("adam", parameters).update_rows()
    fill(parameters, 0)
    for how in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(tg.errors.CopyError, match="addresses"):
            how(rows)
