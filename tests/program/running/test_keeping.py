"""Runs that are cut off at any batch and go on from a checkpoint, against runs that nothing has stopped."""

import gc
import os
import random
import sys

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim
from tapegrad.data import ArrayDataset, Dataset
from tapegrad.errors import ArgumentError, DataError
from tapegrad.optim import lr_scheduler as schedules
from tapegrad.program.running import epochs
from tapegrad.tape.state import state

pytest.importorskip("safetensors")
pytestmark = pytest.mark.compiled

RNG = np.random.default_rng(16)
X = RNG.normal(size=(42, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 42)


@pytest.fixture(autouse=True)
def _each_batch_is_a_chunk(monkeypatch):
    """A checkpoint can be written after every batch, not only every 50 ms."""
    monkeypatch.setattr(epochs, "_CHUNK_SECONDS", 0.0)
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # most of the time; what dies here is no machine


class Killed(BaseException):
    """The process ends without another word, as by kill -9."""


class Dying(tg.Checkpoint):
    """Writes at every occasion; the process dies after so many writings."""

    def __init__(self, path, lives, **options):
        super().__init__(path, every=0.0, **options)
        self.lives = lives

    def write(self, state, last):
        super().write(state, last)
        self.lives -= 1
        if self.lives == 0:
            raise Killed


class Setting:
    """A model, its optimiser and step, made anew as in a new process."""

    def __init__(self, optimizer, schedule=None, layers=(), accumulate=1, dtype=np.float32, seed=3):
        tg.manual_seed(5)
        self.model = nn.Sequential(nn.Linear(6, 8, dtype=dtype), *[make() for make in layers], nn.Tanh(),
                                   nn.Linear(8, 3, dtype=dtype))
        self.optimizer = optimizer(self.model.parameters())
        self.schedule = None if schedule is None else schedule(self.optimizer)
        self.step = tg.TrainStep(lambda x, y: F.cross_entropy(self.model(x), y), self.optimizer, accumulate=accumulate)
        self.seed = seed

    def run(self, checkpoint=None, data=(X, Y), epochs=3, **options):
        options = {"batch_size": 8, "seed": self.seed, **options}
        return self.step.run(*data, epochs=epochs, checkpoint=checkpoint, **options)

    def state(self):
        saved = self.optimizer.state_dict()
        arrays = dict(self.model.state_dict())
        arrays |= {f"{k}.{name}": value for k, state in saved["state"].items() for name, value in state.items()}
        lr = [(group["lr"], group.get("momentum"), group.get("betas")) for group in saved["param_groups"]]
        return arrays, lr


def same(one, other):
    """Whether two states are equal to the bit."""
    (arrays, lr), (others, other_lr) = one, other
    assert arrays.keys() == others.keys() and lr == other_lr
    for name, values in arrays.items():
        assert np.asarray(values).tobytes() == np.asarray(others[name]).tobytes(), name


def cut_off(make, folder, lives, **options):
    """The state and history of a run that dies after so many writings, again and again until it comes to its end."""
    deaths = 0
    while True:
        setting = make()
        tg.manual_seed(deaths + 100)  # where the new process's random state would be otherwise
        RNG.normal(size=3)
        try:
            return setting, setting.run(Dying(folder, lives, resume=True), **options), deaths
        except Killed:
            deaths += 1
            assert deaths < 100


CASES = {
    "sgd": dict(optimizer=lambda p: optim.SGD(p, lr=0.1)),
    "momentum": dict(optimizer=lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.1)),
    "adam": dict(optimizer=lambda p: optim.Adam(p, lr=0.01, amsgrad=True)),
    "nadam": dict(optimizer=lambda p: optim.NAdam(p, lr=0.01)),
    "rmsprop": dict(optimizer=lambda p: optim.RMSprop(p, lr=0.01, centered=True, momentum=0.5)),
    "adadelta": dict(optimizer=optim.Adadelta),
    "adagrad": dict(optimizer=lambda p: optim.Adagrad(p, initial_accumulator_value=0.1, lr_decay=0.1)),
    "asgd": dict(optimizer=lambda p: optim.ASGD(p, lr=0.1, t0=5)),
    "rprop": dict(optimizer=optim.Rprop),
    "radam": dict(optimizer=optim.RAdam),
    "adafactor": dict(optimizer=optim.Adafactor),
    "muon": dict(optimizer=lambda p: optim.Muon([q for q in p if q.ndim == 2], lr=0.02)),
    "clipped": dict(optimizer=lambda p: optim.AdamW(p, lr=0.01, max_grad_norm=0.1)),
    "doubles": dict(optimizer=lambda p: optim.Adam(p, lr=0.01), dtype=np.float64),
    "dropout": dict(optimizer=lambda p: optim.Adam(p, lr=0.01), layers=[lambda: nn.Dropout(0.4)]),
    "statistics": dict(optimizer=lambda p: optim.Adam(p, lr=0.01), layers=[lambda: nn.BatchNorm1d(8)]),
    "accumulated": dict(optimizer=lambda p: optim.Adam(p, lr=0.01), accumulate=2, layers=[lambda: nn.Dropout(0.4)]),
    "unseeded": dict(optimizer=lambda p: optim.Adam(p, lr=0.01), layers=[lambda: nn.Dropout(0.4)], seed=None),
    "one cycle": dict(optimizer=lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
                      schedule=lambda o: schedules.OneCycleLR(o, 0.5, total_steps=20, interval="step")),
    "cosine": dict(optimizer=lambda p: optim.Adam(p, lr=0.1),
                   schedule=lambda o: schedules.CosineAnnealingLR(o, 7, eta_min=1e-3, interval="step")),
    "restarts": dict(optimizer=lambda p: optim.Adam(p, lr=0.1), schedule=lambda o:
                     schedules.CosineAnnealingWarmRestarts(o, 4, T_mult=2, interval="step")),
    "milestones": dict(optimizer=lambda p: optim.Adam(p, lr=0.1),
                       schedule=lambda o: schedules.MultiStepLR(o, [1, 2], interval="epoch")),
    "plateau": dict(optimizer=lambda p: optim.Adam(p, lr=0.1),
                    schedule=lambda o: schedules.ReduceLROnPlateau(o, patience=0, threshold=0.5, interval="epoch")),
    "in turn": dict(optimizer=lambda p: optim.Adam(p, lr=0.1), schedule=lambda o: schedules.SequentialLR(
        o, [schedules.LinearLR(o, 0.1, total_iters=4), schedules.ExponentialLR(o, 0.9)], [4], interval="step")),
}


@pytest.mark.parametrize("name", CASES)
def test_a_run_that_dies_again_and_again_ends_in_the_same_bits(name, tmp_path):
    make = lambda: Setting(**CASES[name])
    whole = make()
    tg.manual_seed(100)
    history = whole.run()
    setting, resumed, deaths = cut_off(make, tmp_path, 3)
    assert deaths > 5
    same(whole.state(), setting.state())
    for field in ("loss", "lr", "epoch"):
        np.testing.assert_array_equal(getattr(history, field), getattr(resumed, field))
    assert history.samples == resumed.samples == 3 * 42


class Counting:
    """A callback with a state of its own, which validates."""

    def __init__(self):
        self.epochs, self.best = [], np.zeros(2)

    def __call__(self, epoch, history):
        self.epochs.append(epoch)
        self.best = self.best + history.loss[-1]
        history.validated(float(self.best[0]))
        return epoch == 3

    def state_dict(self):
        return {"epochs": self.epochs, "best": self.best}

    def load_state_dict(self, state):
        self.epochs, self.best = state["epochs"], state["best"]


def test_a_callback_with_a_state_goes_on_too_and_its_stop_is_kept(tmp_path):
    make = lambda: Setting(lambda p: optim.Adam(p, lr=0.01))
    whole, told = make(), Counting()
    history = whole.run(callback=told, epochs=9)
    callbacks = []

    def counting():
        callbacks.append(Counting())
        return callbacks[-1]

    deaths = 0
    while True:
        setting = make()
        try:
            resumed = setting.run(Dying(tmp_path, 3, resume=True), callback=counting(), epochs=9)
            break
        except Killed:
            deaths += 1
    assert deaths > 3 and callbacks[-1].epochs == told.epochs == [0, 1, 2, 3]
    assert callbacks[-1].best.tobytes() == told.best.tobytes() and resumed.validation == history.validation
    same(whole.state(), setting.state())
    again = make()
    assert len(again.run(tg.Checkpoint(tmp_path, resume=True), callback=counting(), epochs=9)) == len(history) == 24
    same(whole.state(), again.state())


def test_rows_of_a_dataset_are_drawn_as_if_nothing_had_happened(tmp_path):
    noisy = lambda x, rng: x + rng.normal(size=x.shape).astype(x.dtype)
    make = lambda: Setting(lambda p: optim.Adam(p, lr=0.01))
    for seed in (3, None):
        whole = make()
        tg.manual_seed(100)
        whole.run(data=[ArrayDataset(X, Y, transform=noisy)], seed=seed)
        setting, _, deaths = cut_off(make, tmp_path / str(seed), 2, data=[ArrayDataset(X, Y, transform=noisy)],
                                     seed=seed)
        assert deaths > 5
        same(whole.state(), setting.state())


class Noisy(Dataset):
    """Rows with noise of NumPy's and Python's shared generators and of one of its own, which it hands out."""

    def __init__(self):
        super().__init__()
        self.own = np.random.default_rng(1)

    def __len__(self):
        return len(X)

    def fetch(self, index):
        noise = np.random.normal(size=(len(index), 6)) + random.gauss(0, 1) + self.own.normal()
        return X[index] + noise, Y[index]

    def state_dict(self):
        return {"own": self.own.bit_generator.state}

    def load_state_dict(self, state):
        self.own.bit_generator.state = state["own"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shuffle", [True, lambda epoch: np.random.permutation(42)], ids=["keys", "a function"])
@pytest.mark.parametrize("in_memory", [False, True], ids=["dataset", "arrays"])
def test_what_is_drawn_from_generators_that_all_share_is_drawn_as_if_nothing_had_happened(in_memory, shuffle, tmp_path):
    def make():
        np.random.seed(1), random.seed(1)
        return Setting(lambda p: optim.Adam(p, lr=0.01))

    def draw_in_callback(epoch, history):
        history.validation.append(float(np.random.normal()) + random.random())

    def options():
        return {"data": (X, Y) if in_memory else [Noisy()], "shuffle": shuffle, "callback": draw_in_callback}

    whole = make()
    tg.manual_seed(100)
    history = whole.run(**options())
    drawn = np.random.normal(), random.gauss(0, 1)
    deaths = 0
    while True:
        setting = make()
        tg.manual_seed(100)
        if deaths:
            np.random.seed(deaths), np.random.normal(), random.seed(deaths)
        try:
            resumed = setting.run(Dying(tmp_path, 2, resume=True), **options())
            break
        except Killed:
            deaths += 1
    assert deaths > 5
    same(whole.state(), setting.state())
    assert history.validation == resumed.validation
    assert drawn == (np.random.normal(), random.gauss(0, 1))
    again = make()
    again.run(tg.Checkpoint(tmp_path, resume=True), **options())  # is over
    assert drawn == (np.random.normal(), random.gauss(0, 1))


def test_another_shared_generator_than_then_is_named(tmp_path):
    make = lambda: Setting(lambda p: optim.SGD(p, lr=0.1))
    make().run(tg.Checkpoint(tmp_path), epochs=1)
    before = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.PCG64(1))
    try:
        with pytest.raises(DataError, match="numpy.random's MT19937 .* here are PCG64 .*set_bit_generator"):
            make().run(tg.Checkpoint(tmp_path, resume=True), epochs=2)
    finally:
        np.random.set_bit_generator(before)


def test_a_monitor_goes_on_looking_at_the_steps_that_it_would_have_looked_at(tmp_path):
    make = lambda: Setting(lambda p: optim.Adam(p, lr=0.01), layers=[lambda: nn.Dropout(0.4)])
    whole, monitor, seen = make(), tg.Monitor(every=4), []
    whole.run(monitor=monitor)
    deaths = 0
    while True:
        setting, watching = make(), tg.Monitor(every=4)
        try:
            setting.run(Dying(tmp_path, 4, resume=True), monitor=watching)
            break
        except Killed:
            deaths += 1
        finally:
            seen += watching.samples
    assert deaths > 3
    same(whole.state(), setting.state())
    losses = {sample.step: sample.loss for sample in seen}
    assert losses == {sample.step: sample.loss for sample in monitor.samples}


def test_an_order_given_by_a_function_must_depend_on_the_epoch_alone(tmp_path):
    by_epoch = lambda epoch: np.random.default_rng(epoch).permutation(42)[:30 + 2 * epoch]
    make = lambda: Setting(lambda p: optim.Adam(p, lr=0.01))
    whole = make()
    whole.run(shuffle=by_epoch)
    setting, _, deaths = cut_off(make, tmp_path / "same", 3, shuffle=by_epoch)
    assert deaths > 3
    same(whole.state(), setting.state())
    with pytest.raises(DataError, match="let its order depend on the epoch's number alone"):
        cut_off(make, tmp_path / "other", 3, shuffle=lambda epoch: RNG.permutation(42))


def test_a_run_that_is_over_returns_at_once_and_can_be_given_more_epochs(tmp_path):
    make = lambda: Setting(lambda p: optim.Adam(p, lr=0.01),
                           layers=[lambda: nn.BatchNorm1d(8), lambda: nn.Dropout(0.2)],
                           schedule=lambda o: schedules.ExponentialLR(o, 0.9, interval="epoch"))
    first = make()
    history = first.run(tg.Checkpoint(tmp_path), epochs=2)
    again = make()
    seen = again.run(tg.Checkpoint(tmp_path, resume=True), epochs=2)
    np.testing.assert_array_equal(seen.loss, history.loss)
    same(first.state(), again.state())
    longer = make()
    resumed = longer.run(tg.Checkpoint(tmp_path, resume=True), epochs=5)
    whole = make()
    np.testing.assert_array_equal(whole.run(epochs=5).loss, resumed.loss)
    same(whole.state(), longer.state())


def test_ctrl_c_leaves_a_checkpoint_of_the_last_whole_step(tmp_path):
    class Interrupted(tg.Checkpoint):
        asked = 0

        def due(self):
            self.asked += 1
            if self.asked == 10:
                raise KeyboardInterrupt
            return super().due()

    make = lambda: Setting(lambda p: optim.SGD(p, lr=0.1, momentum=0.9))
    whole, cut, resumed = make(), make(), make()
    whole.run()
    with pytest.raises(KeyboardInterrupt):
        cut.run(Interrupted(tmp_path, every=1e6))
    done = len(cut.step.history)
    assert 6 < done < 12
    seen = []
    resumed.run(tg.Checkpoint(tmp_path, resume=True), callback=lambda epoch, history: seen.append(len(history)))
    assert seen[0] == 12
    same(whole.state(), resumed.state())


@pytest.mark.parametrize("monitored", [False, True])
def test_ctrl_c_between_any_two_lines_of_python_loses_nothing_and_repeats_nothing(monitored, tmp_path):
    make = lambda: Setting(lambda p: optim.Adam(p, lr=0.01),
                           layers=[lambda: nn.Dropout(0.4), lambda: nn.BatchNorm1d(8)],
                           schedule=lambda o: schedules.OneCycleLR(o, 0.5, total_steps=20, interval="step"))
    options = lambda: {"monitor": tg.Monitor(every=4)} if monitored else {}
    whole = make()
    whole.run(**options())
    of_run = ("epochs.py", "keeping.py", "step.py", "source.py", "rates.py", "scheduled.py")

    def interrupted(number, folder):
        """Run until the so many-th line of a run is to be executed; how many lines there were."""
        lines = 0

        def trace(frame, event, argument):
            nonlocal lines
            if frame.f_code.co_filename.endswith(of_run):
                if event == "line":
                    lines += 1
                    if lines == number:
                        sys.settrace(None)
                        raise KeyboardInterrupt
                return trace

        before, setting = sys.gettrace(), make()
        sys.settrace(trace)
        try:
            setting.run(tg.Checkpoint(folder, every=1e6), **options())
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        return lines

    every = interrupted(0, tmp_path / "all")
    assert every > 1000
    for number in np.random.default_rng(16).choice(np.arange(1, every), 60, replace=False).tolist():
        interrupted(number, tmp_path / str(number))
        assert state.capture is None and gc.isenabled()
        resumed = make()
        resumed.run(tg.Checkpoint(tmp_path / str(number), resume=True), **options())
        same(whole.state(), resumed.state())


def test_ctrl_c_in_a_callback_has_the_callback_called_again(tmp_path):
    make = lambda: Setting(lambda p: optim.Adam(p, lr=0.1), schedule=lambda o: schedules.StepLR(o, 1, interval="epoch"))

    def interrupting(epoch, history):
        if epoch == 1:
            raise KeyboardInterrupt

    whole, cut, resumed = make(), make(), make()
    whole.run()
    with pytest.raises(KeyboardInterrupt):
        cut.run(tg.Checkpoint(tmp_path), callback=interrupting)
    seen = []
    resumed.run(tg.Checkpoint(tmp_path, resume=True), callback=lambda epoch, history: seen.append(epoch))
    assert seen == [1, 2]
    same(whole.state(), resumed.state())


def test_what_was_unfrozen_and_changed_from_outside_is_kept(tmp_path):
    """A callback unfreezes a layer, changes rate and momentum, and overwrites a constant that the loss reads."""

    def make():
        setting = Setting(lambda p: optim.SGD(p, lr=0.1, dampening=0.5))
        setting.model[0].freeze()
        teacher = tg.tensor(np.zeros(3, np.float32))
        setting.step = tg.TrainStep(lambda x, y: F.cross_entropy(setting.model(x) + teacher, y), setting.optimizer)

        def change(epoch, history):
            if epoch == 1:
                setting.model[0].unfreeze()
            setting.optimizer.param_groups[0]["lr"] *= 0.5
            setting.optimizer.param_groups[0]["momentum"] = 0.9
            teacher.copy_(teacher.numpy() + 1)

        return setting, change

    whole, change = make()
    whole.run(callback=change, epochs=4)
    deaths = 0
    while True:
        setting, change = make()
        try:
            setting.run(Dying(tmp_path, 4, resume=True), callback=change, epochs=4)
            break
        except Killed:
            deaths += 1
            assert deaths < 50
    assert deaths > 3
    same(whole.state(), setting.state())


OTHER_RUNS = {
    "batch_size": (dict(), dict(batch_size=6), "other settings: batch_size is 8 there, 6 here"),
    "seed": (dict(), dict(seed=4), "other settings: seed is 3 there, 4 here"),
    "rows": (dict(), dict(data=(X[:40], Y[:40])), r"other data: argument 1, shape is \[42, 6\] there, \[40, 6\] here"),
    "values": (dict(), dict(data=(X, np.roll(Y, 1))), "other data: argument 2 has other values"),
    "class": (dict(optimizer=lambda p: optim.AdamW(p, lr=0.01)), dict(),
              "another optimiser: class is Adam there, AdamW here"),
    "rate": (dict(optimizer=lambda p: optim.Adam(p, lr=0.02)), dict(),
             "another optimiser: group 0, lr is 0.01 there, 0.02 here"),
    "bound": (dict(optimizer=lambda p: optim.Adam(p, lr=0.01, max_grad_norm=1.0)), dict(),
              "another optimiser: max_grad_norm is None there, 1.0 here"),
    "schedule": (dict(schedule=lambda o: schedules.StepLR(o, 1, interval="epoch")), dict(),
                 "other schedules|another optimiser"),
    "layer": (dict(layers=[lambda: nn.Dropout(0.5)]), dict(), r"another model or loss: modules"),
}


@pytest.mark.parametrize("name", OTHER_RUNS)
def test_another_run_is_refused_and_what_differs_is_named(name, tmp_path):
    setting, options, words = OTHER_RUNS[name]
    given = dict(optimizer=lambda p: optim.Adam(p, lr=0.01))
    Setting(**given).run(tg.Checkpoint(tmp_path), epochs=1)
    other = Setting(**{**given, **setting})
    with pytest.raises(DataError, match=words) as error:
        other.run(tg.Checkpoint(tmp_path, resume=True), **options)
    assert str(tmp_path) in str(error.value)
    Setting(**given).run(tg.Checkpoint(tmp_path, resume=True), epochs=2)  # the folder is free again, and unharmed


def test_another_frozen_parameter_is_refused(tmp_path):
    def make(shift):
        setting = Setting(lambda p: optim.Adam(list(p)[2:], lr=0.01))
        setting.model[0].freeze()
        setting.model[0].weight.copy_(setting.model[0].weight.numpy() + np.float32(shift))
        return setting

    make(0.0).run(tg.Checkpoint(tmp_path), epochs=1)
    with pytest.raises(DataError, match="other frozen parameters or constants"):
        make(1.0).run(tg.Checkpoint(tmp_path, resume=True), epochs=2)


def test_a_checkpoint_serves_one_run_and_is_not_overwritten_unasked(tmp_path):
    setting = Setting(lambda p: optim.Adam(p, lr=0.01))
    checkpoint = tg.Checkpoint(tmp_path)
    setting.run(checkpoint, epochs=1)
    with pytest.raises(ArgumentError, match="serves one run"):
        setting.run(checkpoint, epochs=1)
    with pytest.raises(ArgumentError, match="resume=True"):
        setting.run(tg.Checkpoint(tmp_path), epochs=1)
