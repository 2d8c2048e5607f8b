"""Schedules against PyTorch 2.13 (recorded by `record_pytorch`), step by step and many steps at once."""

import copy
import json

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import optim
from tapegrad.optim import lr_scheduler

from . import cases
from .test_optimizers import RECORD

RECORDED = [key.split("/")[1:] for key in RECORD if key.startswith("rates/")]
ONE_CYCLE = [(name, kind) for name, kind in RECORDED if name.startswith("one_cycle")]
EACH_STEP = [(name, kind) for name, kind in RECORDED if not name.startswith("plateau")]


def make(kind="SGD", **arguments):
    parameters = [tg.tensor(np.zeros(1), requires_grad=True) for _ in cases.RATES]
    return getattr(optim, kind)([{"params": [p], "lr": lr} for p, lr in zip(parameters, cases.RATES)], **arguments)


def rates(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


def momenta(optimizer):
    return [group["betas"][0] if "betas" in group else group["momentum"] for group in optimizer.param_groups]


def walk(optimizer, scheduler, name, epochs):
    seen = []
    for epoch in epochs:
        seen.append([*rates(optimizer), *momenta(optimizer)])
        scheduler.step(*[cases.metric(epoch)] if name.startswith("plateau") else [])
        assert scheduler.get_last_lr() == rates(optimizer)
    return np.array(seen)


@pytest.mark.parametrize(("name", "kind"), RECORDED)
def test_rates_are_those_of_pytorch(name, kind):
    optimizer = make(kind)
    scheduler = cases.schedule(lr_scheduler, optimizer, name)
    seen = walk(optimizer, scheduler, name, range(cases.EPOCHS))
    np.testing.assert_allclose(seen[:, :2], RECORD[f"rates/{name}/{kind}"], rtol=1e-11, atol=1e-16)
    if f"momenta/{name}/{kind}" in RECORD:
        np.testing.assert_allclose(seen[:, 2:], RECORD[f"momenta/{name}/{kind}"], rtol=1e-13)


@pytest.mark.parametrize(("name", "kind"), EACH_STEP)
def test_upcoming_rates_are_those_of_pytorch_and_change_nothing(name, kind):
    optimizer = make(kind)
    scheduler = cases.schedule(lr_scheduler, optimizer, name, interval="step")
    groups, state = copy.deepcopy(optimizer.param_groups), copy.deepcopy(scheduler.state_dict())
    upcoming = optimizer.upcoming_lrs(cases.EPOCHS)
    np.testing.assert_allclose(upcoming[:, :2], RECORD[f"rates/{name}/{kind}"], rtol=1e-11, atol=1e-16)
    if scheduler.cycles_momentum:
        np.testing.assert_allclose(upcoming[:, 2:], RECORD[f"momenta/{name}/{kind}"], rtol=1e-13)
    for before, after in zip(groups, optimizer.param_groups):
        assert {k: v for k, v in before.items() if k != "params"} == {k: v for k, v in after.items() if k != "params"}
    assert scheduler.state_dict() == state


@pytest.mark.parametrize(("name", "kind"), EACH_STEP)
def test_leaps_end_where_steps_do(name, kind):
    one_by_one, leaping = make(kind), make(kind)
    scheduler = cases.schedule(lr_scheduler, one_by_one, name)
    leaper = cases.schedule(lr_scheduler, leaping, name, interval="step")
    at = 0
    for count in (1, 4, 0, 17, 9, 3):
        at += count
        leaping.advance_steps(count)
        for _ in range(count):
            scheduler.step()
        np.testing.assert_allclose(rates(leaping), rates(one_by_one), rtol=1e-12)
        np.testing.assert_allclose(momenta(leaping), momenta(one_by_one), rtol=1e-12)
        assert leaper.last_epoch == scheduler.last_epoch == at
    np.testing.assert_allclose(leaping.upcoming_lrs(8)[:, :2], RECORD[f"rates/{name}/{kind}"][at:at + 8], rtol=1e-11)


@pytest.mark.parametrize("name", cases.SCHEDULERS)
def test_state_resumes_a_schedule(name):
    optimizer = make()
    scheduler = cases.schedule(lr_scheduler, optimizer, name)
    walk(optimizer, scheduler, name, range(23))
    other = make()
    resumed = cases.schedule(lr_scheduler, other, name)
    resumed.load_state_dict(json.loads(json.dumps(scheduler.state_dict())))
    other.load_state_dict(optimizer.state_dict())
    np.testing.assert_array_equal(walk(other, resumed, name, range(23, 50)),
                                  walk(optimizer, scheduler, name, range(23, 50)))


@pytest.mark.parametrize("name", [n for n in cases.SCHEDULERS if not n.startswith(("sequence", "plateau", "chain"))])
def test_last_epoch_resumes_a_schedule(name):
    optimizer = make()
    scheduler = cases.schedule(lr_scheduler, optimizer, name)
    walk(optimizer, scheduler, name, range(8))  # epoch 8 changes none of the rates that are multiplied
    state = optimizer.state_dict()
    optimizer = make()
    optimizer.load_state_dict(state)
    kind, arguments = cases.SCHEDULERS[name]
    resumed = getattr(lr_scheduler, kind)(optimizer, **arguments, last_epoch=7)
    assert resumed.last_epoch == 8
    if name != "constant":  # there PyTorch, too, multiplies once more: epoch 8 is its last
        expected = RECORD[f"rates/{name}/SGD"][8:12]
        seen = walk(optimizer, resumed, name, range(8, 12))[:, :2]
        np.testing.assert_allclose(seen, expected, rtol=1e-11, atol=1e-16)


def test_multiplied_schedules_go_on_from_a_rate_that_was_set():
    optimizer = make()
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.5, interval="step")
    optimizer.param_groups[0]["lr"] = 8.0
    assert optimizer.upcoming_lrs(3)[:, 0].tolist() == [8.0, 4.0, 2.0]
    scheduler.step()
    assert rates(optimizer) == [4.0, 0.0125]


def test_restarts_can_be_stepped_by_fractions_of_an_epoch():
    optimizer = make()
    scheduler = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=2, T_mult=2)
    scheduler.step(3.5)  # the cycle from 2 to 6
    assert scheduler.last_epoch == 3 and scheduler.T_i == 4
    np.testing.assert_allclose(rates(optimizer)[0], 0.1 * (1 + np.cos(np.pi * 1.5 / 4)) / 2)
    scheduler.step()
    np.testing.assert_allclose(rates(optimizer)[0], 0.1 * (1 + np.cos(np.pi * 2.5 / 4)) / 2)


def test_registered_schedules_compose_in_their_order():
    by_hand, registered = make(), make()
    ours = [lr_scheduler.LinearLR(by_hand, total_iters=4), lr_scheduler.CosineAnnealingLR(by_hand, 20, eta_min=0.01)]
    lr_scheduler.LinearLR(registered, total_iters=4, interval="step")
    lr_scheduler.CosineAnnealingLR(registered, 20, eta_min=0.01, interval="step")
    upcoming = registered.upcoming_lrs(12)
    for row in upcoming:
        np.testing.assert_allclose(rates(by_hand), row, rtol=1e-12)
        np.testing.assert_allclose(rates(registered), row, rtol=1e-12)
        for scheduler in ours:
            scheduler.step()
        registered.advance("step")


def test_advance_steps_those_of_the_interval_and_gives_the_metric():
    optimizer = make()
    each_step = lr_scheduler.StepLR(optimizer, 1, interval="step")
    each_epoch = lr_scheduler.ExponentialLR(optimizer, 0.9, interval="epoch")
    plateau = lr_scheduler.ReduceLROnPlateau(optimizer, interval="epoch")
    by_hand = lr_scheduler.ConstantLR(optimizer)
    assert optimizer.schedulers == [each_step, each_epoch, plateau]
    optimizer.advance("step")
    assert (each_step.last_epoch, each_epoch.last_epoch, plateau.last_epoch) == (1, 0, 0)
    optimizer.advance("epoch", metric=0.5)
    assert (each_step.last_epoch, each_epoch.last_epoch, plateau.last_epoch) == (1, 1, 1)
    assert plateau.best == 0.5 and by_hand.last_epoch == 0
    with pytest.raises(ValueError, match="metric"):
        optimizer.advance("epoch")


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_a_table_of_rates_written_into_the_rows_trains_as_steps_do(kind):
    def run(table):
        w = tg.tensor(np.ones(3), requires_grad=True)
        v = tg.tensor(np.ones(2), requires_grad=True)
        optimizer = getattr(optim, kind)([{"params": [w]}, {"params": [v], "lr": 0.03}], lr=0.1)
        scheduler = lr_scheduler.OneCycleLR(optimizer, [0.2, 0.1], total_steps=30, interval="step")
        assert scheduler.cycles_momentum
        for chunk in (10, 15):
            if table:
                rows, upcoming = optimizer.update_rows(), optimizer.upcoming_lrs(chunk)
            for step in range(chunk):
                w.grad, v.grad = np.full(3, step - 4.0), np.full(2, 3.0 - step)
                if table:  # what a compiled loop does
                    rows.words.view(np.float64)[rows.lr_words] = upcoming[step][rows.lr_groups]
                    rows.run()
                else:
                    optimizer.step()
                    optimizer.advance("step")
            if table:
                optimizer.advance_steps(chunk)
        optimizer.step()
        return np.concatenate([w.numpy(), v.numpy()])

    np.testing.assert_allclose(run(table=True), run(table=False), rtol=1e-13)


@pytest.mark.parametrize(("make_one", "message"), [
    (lambda o: lr_scheduler.StepLR(o, 0), "step_size"),
    (lambda o: lr_scheduler.ConstantLR(o, 1.5), "factor"),
    (lambda o: lr_scheduler.LinearLR(o, 0.0), "start_factor"),
    (lambda o: lr_scheduler.LinearLR(o, 0.5, 1.5), "end_factor"),
    (lambda o: lr_scheduler.CosineAnnealingLR(o, 0), "T_max"),
    (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 0), "T_0"),
    (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3, 1.5), "T_mult"),
    (lambda o: lr_scheduler.OneCycleLR(o, 0.1), "total_steps"),
    (lambda o: lr_scheduler.OneCycleLR(o, 0.1, -3), "positive"),
    (lambda o: lr_scheduler.OneCycleLR(o, 0.1, 30, pct_start=1.5), "pct_start"),
    (lambda o: lr_scheduler.OneCycleLR(o, 0.1, 30, anneal_strategy="steps"), "anneal_strategy"),
    (lambda o: lr_scheduler.OneCycleLR(o, [0.1, 0.2, 0.3], 30), "3 entries for 2"),
    (lambda o: lr_scheduler.PolynomialLR(o, 0), "total_iters"),
    (lambda o: lr_scheduler.MultiplicativeLR(o, [abs]), "1 entries for 2"),
    (lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.2, mode="square"), "mode"),
    (lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.2, scale_mode="steps"), "scale_mode"),
    (lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.2, 0), "step_size_up"),
    (lambda o: lr_scheduler.CyclicLR(o, [0.1], 0.2), "1 entries for 2"),
    (lambda o: lr_scheduler.ChainedScheduler([]), "at least one"),
    (lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.ExponentialLR(make(), 0.9)], o), "another optimiser"),
    (lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=1.0), "factor"),
    (lambda o: lr_scheduler.ReduceLROnPlateau(o, "low"), "mode"),
    (lambda o: lr_scheduler.ReduceLROnPlateau(o, interval="step"), "metric"),
    (lambda o: lr_scheduler.LambdaLR(o, [abs]), "1 entries for 2"),
    (lambda o: lr_scheduler.ExponentialLR(o, 0.9, interval="batch"), "interval"),
    (lambda o: lr_scheduler.ExponentialLR(o, 0.9, last_epoch=3), "initial_lr"),
    (lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.ExponentialLR(o, 0.9)], [3]), "milestone"),
    (lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.ExponentialLR(make(), 0.9)], []), "another optimiser"),
    (lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.ExponentialLR(o, 0.9, interval="step")], []), "by itself"),
])
def test_arguments_out_of_range_are_refused(make_one, message):
    with pytest.raises(ValueError, match=message):
        make_one(make())


def test_what_is_no_optimizer_or_cannot_cycle_is_refused():
    with pytest.raises(TypeError, match="needs an Optimizer, not list"):
        lr_scheduler.StepLR([], 3)
    with pytest.raises(ValueError, match="Adagrad has no momentum to cycle"):
        lr_scheduler.OneCycleLR(make("Adagrad"), 0.1, 30)
    with pytest.raises(TypeError, match="scheduler 0 cannot take part in a chain: ReduceLROnPlateau"):
        lr_scheduler.ChainedScheduler([lr_scheduler.ReduceLROnPlateau(make())])


def test_a_cycle_does_not_go_past_its_end():
    optimizer = make()
    scheduler = lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=5, interval="step")
    assert optimizer.upcoming_lrs(6).shape == (6, 4)
    optimizer.advance_steps(5)
    with pytest.raises(ValueError, match="step 6 of a cycle of 5"):
        scheduler.step()


def trained(make_scheduler, epochs=5, callback=None, runs=1, kind="SGD"):
    """The optimiser, its scheduler and the history of a run of steps of 3 batches an epoch."""
    w = tg.tensor(np.ones(2), requires_grad=True)
    optimizer = getattr(optim, kind)([w], lr=0.1)
    scheduler = make_scheduler(optimizer)
    step = tg.TrainStep(lambda x: ((x * w) ** 2).mean(), optimizer)
    given = None if callback is None else lambda epoch, history: callback(scheduler)
    for _ in range(runs):
        history = step.run(np.ones((6, 2)), batch_size=2, epochs=epochs, callback=given)
    return optimizer, scheduler, history


COSINE = 0.1 * (1 + np.cos(np.pi * np.arange(6) / 5)) / 2


@pytest.mark.parametrize("interval", [None, "epoch"])
@pytest.mark.parametrize("combined", [False, True])
def test_a_run_of_epochs_steps_a_schedule_by_the_epoch_as_pytorchs_loops_do(interval, combined):
    def make_scheduler(optimizer):
        if not combined:
            return lr_scheduler.CosineAnnealingLR(optimizer, T_max=5, interval=interval)
        return lr_scheduler.ChainedScheduler([lr_scheduler.CosineAnnealingLR(optimizer, T_max=5)], interval=interval)

    optimizer, scheduler, history = trained(make_scheduler)
    np.testing.assert_allclose(history.lr, np.repeat(COSINE[:5], 3), rtol=1e-12)
    np.testing.assert_allclose(rates(optimizer), COSINE[5], atol=1e-15)
    assert scheduler.last_epoch == 5


def test_a_schedule_that_the_callback_steps_is_not_stepped_twice():
    _, scheduler, history = trained(lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=5), callback=lambda s: s.step())
    np.testing.assert_allclose(history.lr, np.repeat(COSINE[:5], 3), rtol=1e-12)
    assert scheduler.last_epoch == 5


def test_runs_of_one_epoch_leave_the_schedule_to_the_loop_around_them():
    assert trained(lambda o: lr_scheduler.ExponentialLR(o, 0.5), epochs=1, runs=3)[1].last_epoch == 0


def test_an_epoch_is_counted_where_the_callback_stops_the_run():
    assert trained(lambda o: lr_scheduler.ExponentialLR(o, 0.5), callback=lambda s: True)[1].last_epoch == 1


@pytest.mark.parametrize("runs", [1, 2])
def test_schedules_that_count_steps_are_stepped_by_the_step(runs):
    by_hand = make()
    scheduler = lr_scheduler.OneCycleLR(by_hand, 0.4, total_steps=12)
    expected = walk(by_hand, scheduler, "one_cycle", range(12))
    optimizer, scheduler, history = trained(lambda o: lr_scheduler.OneCycleLR(o, 0.4, total_steps=12), 2, runs=runs,
                                            kind="Adam")
    np.testing.assert_allclose(history.lr, expected[6 * runs - 6:6 * runs, 0], rtol=1e-12)
    assert scheduler.last_epoch == 6 * runs and scheduler.interval is None and optimizer.schedulers == []


def test_a_plateau_that_nobody_steps_is_named():
    with pytest.warns(UserWarning, match="ReduceLROnPlateau was not stepped in a run of 5 epochs") as caught:
        trained(lr_scheduler.ReduceLROnPlateau)
    assert caught[0].filename == __file__
    assert trained(lr_scheduler.ReduceLROnPlateau, callback=lambda s: s.step(1.0))[1].last_epoch == 5


@pytest.mark.parametrize("make_one", [lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=5),
                                      lambda o: lr_scheduler.OneCycleLR(o, 0.4, total_steps=15)])
def test_a_run_that_goes_on_from_a_checkpoint_goes_on_with_its_schedules(make_one, tmp_path):
    def parts(stop):
        w = tg.tensor(np.ones(2), requires_grad=True)
        optimizer = optim.SGD([w], lr=0.1, momentum=0.5)
        scheduler = make_one(optimizer)
        step = tg.TrainStep(lambda x: ((x * w) ** 2).mean(), optimizer)

        def callback(epoch, history):
            if epoch == stop:
                raise KeyboardInterrupt

        return w, scheduler, lambda **more: step.run(np.ones((6, 2)), batch_size=2, epochs=5, seed=1,
                                                     callback=callback, **more)

    whole, scheduler, run = parts(None)
    expected = run().lr
    _, _, run = parts(2)
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint=tg.Checkpoint(tmp_path, every=1e-9))
    resumed, again, run = parts(None)
    np.testing.assert_array_equal(run(checkpoint=tg.Checkpoint(tmp_path, every=1e-9, resume=True)).lr, expected)
    assert again.last_epoch == scheduler.last_epoch
    np.testing.assert_array_equal(resumed.numpy(), whole.numpy())


def test_a_copied_schedule_is_stepped_by_runs_of_the_copied_optimiser_alone():
    optimizer = make()
    scheduler = lr_scheduler.SequentialLR(optimizer, [lr_scheduler.ConstantLR(optimizer),
                                                      lr_scheduler.ExponentialLR(optimizer, 0.5)], [2])
    twin_optimizer, twin = copy.deepcopy((optimizer, scheduler))
    again = copy.copy(scheduler)
    for each, own in ((optimizer, scheduler), (twin_optimizer, twin)):
        with each.stepping(3) as schedules:
            schedules.before_callback()
            schedules.after_callback()
        assert own.last_epoch == 1
    assert again.last_epoch == 0


def test_a_group_added_later_joins_schedules_that_multiply_and_is_refused_by_others():
    optimizer = make()
    multiplied = lr_scheduler.ExponentialLR(optimizer, 0.5)
    plateau = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=0.1)
    closed = lr_scheduler.LambdaLR(optimizer, lambda epoch: 1.0)
    optimizer.add_param_group({"params": [tg.tensor(np.zeros(1), requires_grad=True)], "lr": 8.0})
    multiplied.step()
    assert rates(optimizer)[2] == 4.0
    plateau.step(1.0)
    plateau.step(2.0)
    assert rates(optimizer)[2] == pytest.approx(0.4)
    with pytest.raises(ValueError, match="made for 2 parameter groups, the optimiser has 3"):
        closed.step()
