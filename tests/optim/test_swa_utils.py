"""Averages of weights against PyTorch 2.13's (recorded by `record_swa`)."""

import copy
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.optim import swa_utils

from . import swa_cases as cases

RECORD = dict(np.load(Path(__file__).with_name("swa.npz")))


def model_of(dtype):
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).to(dtype)


def update(model, averaged, step, dtype):
    for p, values in zip(model.parameters(), cases.values(step)):
        p.copy_(values.astype(dtype))
    model(tg.tensor(cases.batch(step).astype(dtype)))
    averaged.update_parameters(model)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", cases.AVERAGES)
def test_averages_are_those_of_pytorch(name, dtype):
    maker, decay = cases.AVERAGES[name]
    given = {}
    if maker is not None:
        keyword = "multi_avg_fn" if "multi" in maker else "avg_fn"
        given[keyword] = getattr(swa_utils, maker)(*[] if decay is None else [decay])
    model = model_of(dtype)
    averaged = swa_utils.AveragedModel(model, **given)
    for step in range(cases.STEPS // 2):
        update(model, averaged, step, dtype)
    again = swa_utils.AveragedModel(model, **given)  # goes on from the state
    again.load_state_dict(averaged.state_dict())
    averaged = copy.deepcopy(again)
    for step in range(cases.STEPS // 2, cases.STEPS):
        update(model, averaged, step, dtype)
    # PyTorch has the weight of get_swa_multi_avg_fn in float32
    tolerance = 1e-5 if dtype == "float32" else 1e-6 if name == "swa_lists" else 1e-12
    state = averaged.state_dict()
    want = {key.split("/")[2]: value for key, value in RECORD.items() if key.startswith(f"{name}/{dtype}/")}
    found = want.pop("bn")
    assert set(state) == set(want)
    for key, value in want.items():
        np.testing.assert_allclose(state[key], value, rtol=tolerance, atol=tolerance, err_msg=key)
    modes = [m.training for m in averaged.modules()]
    swa_utils.update_bn([cases.batch(k) if k else (cases.batch(k), None) for k in range(3)], averaged)
    np.testing.assert_allclose(averaged.module[1].running_var.numpy(), found, rtol=tolerance)
    assert averaged.module[1].momentum == 0.1 and [m.training for m in averaged.modules()] == modes


@pytest.mark.parametrize("name", cases.RATES)
@pytest.mark.parametrize("ahead", [False, True])
def test_rates_are_those_of_pytorch(name, ahead):
    parameters = [tg.tensor(np.zeros(1), requires_grad=True) for _ in range(2)]
    optimizer = optim.SGD([{"params": [p], "lr": lr} for p, lr in zip(parameters, (0.1, 0.025))])
    scheduler = swa_utils.SWALR(optimizer, **cases.RATES[name], interval="step" if ahead else None)
    if ahead:
        rates = optimizer.upcoming_lrs(20)
    else:
        rates = []
        for _ in range(20):
            rates.append([group["lr"] for group in optimizer.param_groups])
            scheduler.step()
    np.testing.assert_allclose(rates, RECORD[f"rates/{name}"], rtol=1e-11)


@pytest.mark.parametrize("ahead", [False, True])
def test_in_a_sequence_it_anneals_from_the_rate_that_it_meets(ahead):
    optimizer = optim.SGD([tg.tensor([0.0], requires_grad=True)], lr=0.5)
    sequence = optim.lr_scheduler.SequentialLR(optimizer, [
        optim.lr_scheduler.ExponentialLR(optimizer, 0.5), swa_utils.SWALR(optimizer, 0.05, 2, "linear")], [3],
        interval="step" if ahead else None)
    rates = optimizer.upcoming_lrs(8).ravel() if ahead else []
    for _ in range(0 if ahead else 8):
        rates.append(optimizer.param_groups[0]["lr"])
        sequence.step()
    np.testing.assert_allclose(rates, [0.5, 0.25, 0.125, 0.125, 0.0875, 0.05, 0.05, 0.05], rtol=1e-12)


def test_buffers_are_averaged_if_wanted_and_counts_copied():
    model = model_of("float64")
    averaged = swa_utils.AveragedModel(model, use_buffers=True)
    seen = []
    for step in range(4):
        update(model, averaged, step, "float64")
        seen.append(model[1].running_mean.numpy())
    np.testing.assert_allclose(averaged.module[1].running_mean.numpy(), np.mean(seen, axis=0), rtol=1e-12)
    assert averaged.module[1].num_batches_tracked.item() == 4


def test_a_run_averages_after_each_epoch_by_its_callback():
    model = nn.Linear(2, 1, bias=False, dtype="float64")
    averaged, seen = swa_utils.AveragedModel(model), []

    def callback(epoch, history):
        averaged.update_parameters(model)
        seen.append(model.weight.numpy())

    x = np.random.default_rng(0).normal(size=(12, 2))
    step = tg.TrainStep(lambda x: (model(x) - 1.0).square().mean(), optim.SGD(model.parameters(), lr=0.1))
    step.run(x, batch_size=4, epochs=5, callback=callback)
    np.testing.assert_allclose(averaged.module.weight.numpy(), np.mean(seen, axis=0), rtol=1e-12)
    np.testing.assert_array_equal(averaged(tg.tensor(x)).numpy(), averaged.module(tg.tensor(x)).numpy())
    assert averaged.n_averaged == 5 and len({tuple(w.ravel()) for w in seen}) == 5


def steps_of(dtype, average, kind="Adam"):
    """A model with a buffer and a frozen layer, its step, its average in the steps, and one by hand."""
    tg.manual_seed(4)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1), nn.Linear(1, 1)).to(dtype)
    model[3].freeze()
    optimizer = getattr(optim, kind)(model.parameters(), lr=0.05)
    given = {} if average is None else {"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(average)}
    inside = swa_utils.AveragedModel(model, **given, optimizer=optimizer)
    by_hand = swa_utils.AveragedModel(model, **given)
    return model, tg.TrainStep(lambda x: (model(x) - 1.0).square().mean(), optimizer), inside, by_hand


def assert_same(inside, by_hand, dtype):
    ours, theirs = inside.state_dict(), by_hand.state_dict()
    assert list(ours) == list(theirs)
    for key, value in theirs.items():
        np.testing.assert_allclose(ours[key], value, rtol=1e-5 if dtype == "float32" else 1e-12, err_msg=key)


X = np.random.default_rng(3).normal(size=(24, 3))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("average", [None, 0.8])
def test_an_average_in_the_steps_is_that_by_hand(dtype, average):
    model, step, inside, by_hand = steps_of(dtype, average)
    x = X.astype(dtype)
    for k in range(6):
        if k == 3:
            step.optimizer.zero_grad()
            (model(tg.tensor(x)) - 1.0).square().mean().backward()
            step.optimizer.step()
        else:
            step(x)
        by_hand.update_parameters(model)
        assert_same(inside, by_hand, dtype)
    assert inside.n_averaged == 6
    assert not np.array_equal(inside.module[0].weight.numpy(), model[0].weight.numpy())


@pytest.mark.parametrize("average", [None, 0.8])
def test_a_compiled_run_averages_after_every_step(average):
    model, step, inside, _ = steps_of("float64", average)
    step.run(X, batch_size=4, epochs=3, shuffle=False)
    other, single, _, by_hand = steps_of("float64", average)
    for _ in range(3):
        for first in range(0, 24, 4):
            single(X[first:first + 4])
            by_hand.update_parameters(other)
    assert_same(inside, by_hand, "float64")
    assert inside.n_averaged == 18


def layers_of():
    tg.manual_seed(5)
    return nn.Sequential(nn.Linear(3, 4, dtype="float64"), nn.Tanh(), nn.Linear(4, 1, dtype="float64"))


@pytest.mark.parametrize("plan", ["ftt", "fftff", "tftf"])
@pytest.mark.parametrize("average", [None, 0.8])
@pytest.mark.parametrize("recorded", [False, True])
def test_layers_that_are_frozen_for_a_while_are_averaged_in_every_step(plan, average, recorded):
    model = layers_of()
    if plan[0] == "f":
        model[0].freeze()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    given = {} if average is None else {"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(average)}
    inside = swa_utils.AveragedModel(model, **given, optimizer=optimizer)
    by_hand = swa_utils.AveragedModel(model, **given)
    step = tg.TrainStep(lambda x: (model(x) - 1.0).square().mean(), optimizer)
    for now in plan:
        model[0].freeze() if now == "f" else model[0].unfreeze()
        if recorded:
            step(X)
        else:
            optimizer.zero_grad()
            (model(tg.tensor(X)) - 1.0).square().mean().backward()
            optimizer.step()
        by_hand.update_parameters(model)
        assert_same(inside, by_hand, "float64")


def test_parameters_of_a_group_that_comes_later_are_averaged():
    model = layers_of()
    optimizer = optim.SGD(model[0].parameters(), lr=0.1)
    inside, by_hand = swa_utils.AveragedModel(model, optimizer=optimizer), swa_utils.AveragedModel(model)
    for k in range(4):
        if k == 2:
            optimizer.add_param_group({"params": list(model[2].parameters())})
        optimizer.zero_grad()
        (model(tg.tensor(X)) - 1.0).square().mean().backward()
        optimizer.step()
        by_hand.update_parameters(model)
        assert_same(inside, by_hand, "float64")


def test_averages_that_the_steps_write_to_keep_their_dtype():
    model = nn.Linear(2, 1)
    inside = swa_utils.AveragedModel(model, optimizer=optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(nn.ModuleError, match="deepcopy"):
        inside.double()
    assert copy.deepcopy(inside.module).double().weight.dtype == np.float64


@pytest.mark.parametrize("joined", [False, True])
def test_averaged_models_are_recorded(joined):
    model = layers_of()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    averaged = swa_utils.AveragedModel(model, optimizer=optimizer if joined else None)
    step = tg.TrainStep(lambda x: (model(x) - 1.0).square().mean(), optimizer)
    functions = [tg.compile(averaged), tg.compile(lambda x: averaged(x))]
    for _ in range(3):
        step(X)
        if not joined:
            averaged.update_parameters(model)
        for function in functions:
            np.testing.assert_allclose(function(X), averaged(tg.tensor(X)).detach().numpy(), rtol=1e-12)


def test_a_recording_refuses_an_averaged_model_that_copies_buffers():
    _, step, inside, _ = steps_of("float64", None)
    step(X)
    inside.eval()
    with pytest.raises(tg.CaptureError, match="take averaged.module outside"):
        tg.compile(inside)(X)
    np.testing.assert_allclose(tg.compile(inside.module)(X), inside(tg.tensor(X)).detach().numpy(), rtol=1e-12)


def test_updates_shared_among_threads_are_averaged_when_all_are_done():
    w = [nn.Parameter(np.random.default_rng(k).normal(size=(150, 130))) for k in range(2)]
    model = nn.ParameterList(w)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    inside = swa_utils.AveragedModel(model, optimizer=optimizer)
    step, seen = tg.TrainStep(lambda x: ((x @ w[0]) * (x @ w[1])).mean(), optimizer), []
    for _ in range(3):
        step(np.ones((4, 150)))
        seen.append([p.numpy() for p in w])
    for k, average in enumerate(inside.module):
        np.testing.assert_allclose(average.numpy(), np.mean([s[k] for s in seen], axis=0), rtol=1e-12)


def test_copies_of_the_optimiser_keep_the_average_and_go_on_alike():
    model, step, inside, _ = steps_of("float64", 0.8)
    step(X)
    twin_model, twin_optimizer, twin_inside = copy.deepcopy((model, step.optimizer, inside))
    assert twin_optimizer.schedulers == [twin_inside]
    for optimizer, each in ((step.optimizer, model), (twin_optimizer, twin_model)):
        optimizer.zero_grad()
        (each(tg.tensor(X)) - 1.0).square().mean().backward()
        optimizer.step()
    assert_same(inside, twin_inside, "float64")
    assert inside.n_averaged == twin_inside.n_averaged == 2
    step(X)
    assert (inside.n_averaged, twin_inside.n_averaged) == (3, 2)


def test_a_run_goes_on_from_a_checkpoint_with_its_average(tmp_path):
    _, step, whole, _ = steps_of("float64", 0.8)
    step.run(X, batch_size=4, epochs=4, seed=2)

    def stop(epoch, history):
        if epoch == 1:
            raise KeyboardInterrupt

    _, step, _, _ = steps_of("float64", 0.8)
    with pytest.raises(KeyboardInterrupt):
        step.run(X, batch_size=4, epochs=4, seed=2, callback=stop, checkpoint=tg.Checkpoint(tmp_path, every=0.0))
    _, step, resumed, _ = steps_of("float64", 0.8)
    step.run(X, batch_size=4, epochs=4, seed=2, checkpoint=tg.Checkpoint(tmp_path, every=0.0, resume=True))
    for key, value in whole.state_dict().items():
        np.testing.assert_array_equal(resumed.state_dict()[key], value, err_msg=key)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: steps_of("float32", None)[2].update_parameters(None), "the optimiser's steps keep this average"),
    (lambda: swa_utils.AveragedModel(nn.Linear(2, 1), optimizer=optim.SGD([nn.Parameter([1.0])])), "none of the model"),
    (lambda: swa_utils.AveragedModel(nn.Linear(2, 1), optimizer=optim.LBFGS([nn.Parameter([1.0])])), "LBFGS"),
    (lambda: swa_utils.AveragedModel(nn.Linear(2, 1), avg_fn=swa_utils.get_ema_avg_fn(),
                                     optimizer=optim.SGD([nn.Parameter([1.0])])), "get_ema_multi_avg_fn"),
    (lambda: swa_utils.get_ema_avg_fn(1.5), "decay"),
    (lambda: swa_utils.AveragedModel(nn.Tanh(), avg_fn=max, multi_avg_fn=max), "not both"),
    (lambda: swa_utils.AveragedModel(nn.Tanh(), "cuda"), "only the CPU"),
    (lambda: swa_utils.AveragedModel(nn.Linear(2, 1)).update_parameters(nn.Linear(3, 1)), "shapes"),
    (lambda: swa_utils.AveragedModel(nn.Tanh()).load_state_dict({}), "n_averaged"),
    (lambda: swa_utils.SWALR(optim.SGD([tg.tensor([1.0], requires_grad=True)]), 0.1, -1), "anneal_epochs"),
    (lambda: swa_utils.SWALR(optim.SGD([tg.tensor([1.0], requires_grad=True)]), 0.1, 3, "up"), "anneal_strategy"),
])
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
