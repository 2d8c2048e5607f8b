"""What is wrong with a network is named, at the right instruction and line."""

import inspect

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn


def line_of(function, text):
    lines, first = inspect.getsourcelines(function)
    return first + next(k for k, line in enumerate(lines) if text in line)


def test_a_planted_nan_is_named_where_it_was_born():
    def loss(x):
        y = tg.exp(x)
        z = tg.log(x - 1.0)
        return (y * z).sum()

    report = tg.explain(loss, np.array([2.0, 0.5])).local_errors()
    forward = report.births[0]
    assert (forward.walk, forward.what, forward.node.name) == ("forward", "NaN", "z")
    assert forward.node.where == (__file__, line_of(loss, "tg.log"))
    assert f"{__file__}:{line_of(loss, 'tg.log')}" in str(report)
    flags = {e.layer: e.flags for e in report}
    assert flags["z"] == ["1 NaN"] and not flags["y"]


def test_a_nan_that_is_born_in_reverse_is_named():
    def loss(x):
        r = tg.sqrt(x * x)
        return (r * 2.0).sum()

    report = tg.explain(loss, np.array([1.0, 0.0])).local_errors()
    assert [(b.walk, b.what, b.node.name) for b in report.births] == [("reverse", "infinity", "r")]
    assert report.births[0].node.where[1] == line_of(loss, "tg.sqrt")


def test_finite_programs_have_no_births():
    assert tg.explain(lambda x: tg.exp(x), 1.0).local_errors().births == []


def test_a_dead_layer_is_named():
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 1))
    model[2].bias.copy_(np.array([-100, -100, 0, 0, 0, 0], np.float32))
    x = np.abs(np.random.default_rng(0).normal(size=(32, 4))).astype(np.float32)
    report = {e.layer: e for e in tg.explain(lambda x: model(x).sum(), x).local_errors()}
    first, second = model[1](model[0](tg.tensor(x))), model(tg.tensor(x))
    assert second.shape == (32, 1)
    dead = int((first.numpy().max(axis=0) <= 0).sum())
    assert report["1"].flags == ([f"{dead} of 6 units dead"] if dead else [])
    assert report["3"].flags[0].endswith("of 6 units dead") and int(report["3"].flags[0].split()[0]) >= 2


def test_dead_channels_of_images_are_counted():
    tg.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU())
    model[0].bias.copy_(np.array([-100, 1, 1], np.float32))
    report = tg.explain(lambda x: model(x).sum(), np.ones((2, 1, 5, 5), np.float32)).local_errors()
    assert report[1].flags == ["1 of 3 units dead"]


@pytest.mark.parametrize("activation", [nn.Sigmoid, nn.Tanh])
def test_saturated_units_and_a_vanishing_gradient_are_named(activation):
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), activation(), nn.Linear(4, 4), activation(), nn.Linear(4, 1))
    model[2].bias.copy_(np.full(4, 30, np.float32))
    x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    report = {e.layer: e for e in tg.explain(lambda x: model(x).mean(), x).local_errors()}
    assert "100 % saturated" in report["3"].flags
    assert report["0"].flags[0].startswith("vanishing adjoint") and not report["4"].flags


def test_an_exploding_gradient_is_named():
    weights = [100.0 * np.eye(3)] * 3
    tg.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(3, 3, bias=False, dtype=np.float64) for _ in weights))
    for layer, w in zip(model, weights):
        layer.weight.copy_(w)
    report = tg.explain(lambda x: model(x).sum(), np.ones((2, 3))).local_errors()
    assert report[0].flags[0].startswith("exploding adjoint") and not report[1].flags and not report[2].flags


def test_norms_and_the_updates_ratio():
    model = nn.Linear(3, 2, dtype=np.float64)
    x, y = np.ones((4, 3)), np.array([0, 1, 1, 0])
    step = tg.TrainStep(lambda x, y: F.cross_entropy(model(x), y), tg.optim.SGD(model.parameters(), lr=0.25))
    figures = step.explain(x, y).local_errors()[0]
    F.cross_entropy(model(tg.tensor(x)), y).backward()
    w = np.concatenate([p.numpy().ravel() for p in model.parameters()])
    g = np.concatenate([p.grad.numpy().ravel() for p in model.parameters()])
    assert figures.layer == "Linear"
    assert figures.weight == pytest.approx(np.linalg.norm(w)) and figures.gradient == pytest.approx(np.linalg.norm(g))
    assert figures.update == pytest.approx(0.25 * np.linalg.norm(g) / np.linalg.norm(w))
