"""The history's learning rates, validation losses and picture."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.errors import ArgumentError, MissingExtraError
from tapegrad.program.running.curves import smoothed

X = np.random.default_rng(0).normal(size=(64, 3))


def trained(schedule=None, epochs=6, **options):
    tg.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    if schedule is not None:
        schedule(optimizer)
    step = tg.TrainStep(lambda x: (model(x) ** 2).mean(), optimizer)
    return step.run(X, batch_size=20, epochs=epochs, seed=0, **options)


def test_learning_rates_are_those_of_every_step():
    assert trained().lr.tolist() == [0.1] * 24
    by_epoch = trained(lambda o: optim.lr_scheduler.StepLR(o, 2, 0.5, interval="epoch"))
    np.testing.assert_allclose(by_epoch.lr, 0.1 * 0.5 ** (by_epoch.epoch // 2))
    by_step = trained(lambda o: optim.lr_scheduler.OneCycleLR(o, max_lr=0.2, total_steps=24, interval="step"))
    assert len(by_step.lr) == len(by_step) == 24
    assert by_step.lr.max() == pytest.approx(0.2, rel=0.01) and by_step.lr[-1] < 1e-5 < by_step.lr[0]


def test_a_callback_adds_validation_losses():
    history = trained(callback=lambda epoch, history: history.validated(epoch + 0.5), epochs=3)
    assert history.validation == [(4, 0.5), (8, 1.5), (12, 2.5)]


def test_smoothing_is_a_weighted_mean_of_neighbours():
    loss = np.random.default_rng(0).uniform(1.0, 2.0, 40)
    loss[7] = np.nan
    known, weights = np.isfinite(loss), 0.8 ** np.arange(40)  # 0.8 = 1 - 1/5
    for k in range(40):
        w = weights[abs(np.arange(40) - k)] * known
        assert smoothed(loss)[k] == pytest.approx((w * np.nan_to_num(loss)).sum() / w.sum())
    assert np.isnan(smoothed(np.array([np.nan]))).all()


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_the_picture_is_drawn(tmp_path, ending):
    pytest.importorskip("matplotlib")
    history = trained(callback=lambda epoch, history: history.validated(1.0))
    history.plot(tmp_path / f"curves.{ending}", "A title")
    assert (tmp_path / f"curves.{ending}").stat().st_size > 5000


def test_awkward_histories_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    one = tg.History(np.array([1.0]), np.array([0]), lr=np.array([0.1]))
    broken = tg.History(np.array([1.0, np.nan, np.inf]), np.zeros(3, int), lr=np.full(3, np.nan))
    nothing = tg.History(np.full(2, np.nan), np.zeros(2, int), lr=np.zeros(2))
    long = tg.History(np.random.default_rng(0).uniform(size=5000), np.arange(5000) // 50, lr=np.ones(5000))
    for k, history in enumerate((one, broken, nothing, long)):
        history.plot(tmp_path / f"{k}.png")
        assert (tmp_path / f"{k}.png").stat().st_size > 5000


def test_without_steps_or_matplotlib_it_says_so(tmp_path, monkeypatch):
    with pytest.raises(ArgumentError, match="no steps"):
        tg.History().plot(tmp_path / "curves.png")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match="viz"):
        trained(epochs=1).plot(tmp_path / "curves.png")
