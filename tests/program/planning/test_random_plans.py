"""Random functions, planned in every way: in place, joined, checkpointed, within a budget; the numbers never change.

A function is a random list of actions on a pool of tensors, some of them within nested stretches of `tg.checkpoint`.
Its loss and gradients define by run without any checkpoint are what all other ways must give, to the bit.
"""

from __future__ import annotations

import numpy as np
import pytest
from actions import Actions

import tapegrad as tg
from tapegrad import nn, optim

SHAPE = (8, 16)
UNARY = [tg.tanh, tg.sin, tg.relu, tg.sigmoid, tg.square, tg.negative, tg.exp, lambda t: t * 0.5, lambda t: 1.5 - t,
         lambda t: tg.leaky_relu(t, 0.1), lambda t: tg.clip(t, -0.7, 0.7), lambda t: tg.softmax(t, axis=1)]
BINARY = [tg.add, tg.subtract, tg.multiply, tg.maximum, lambda a, b: a / (2.0 + tg.square(b))]
DEPTH = 3


class OnMatrices(Actions):
    """On matrices of one shape."""

    COUNT, STRETCHES, DEPTH = 30, 3, DEPTH
    KINDS = ["unary"] * 6 + ["binary"] * 4 + ["join", "view", "linear", "detach", "reduce"]

    def act(self, kind, a, b, number, other):
        if kind == "unary":
            return UNARY[number % len(UNARY)](a)
        if kind == "binary":
            return BINARY[number % len(BINARY)](a, b)
        if kind == "join":
            rows = 1 + number % (SHAPE[0] - 1)
            return tg.concatenate([tg.sin(a[:rows]), tg.tanh(b[rows:])], axis=0)
        if kind == "view":
            return tg.flip(a, axis=0) if number % 2 else a.T.reshape(SHAPE) * 1.0
        if kind == "linear":
            return tg.tanh(tg.linear(a, other))
        if kind == "detach":
            return a * tg.sigmoid(b.detach())
        return a - a.mean(axis=1, keepdims=True)

    def loss(self, x, weight, checkpoint):
        return self.loss_of([x, tg.sin(x)], weight, checkpoint)


def data(dtype):
    rng = np.random.default_rng(3)
    return rng.normal(size=SHAPE).astype(dtype), (rng.normal(size=(SHAPE[1],) * 2) / 4).astype(dtype)


@pytest.mark.parametrize("seed", range(30))
def test_checkpoints_and_recordings_give_the_same_numbers(seed):
    actions = OnMatrices(seed)
    x, w = data(np.float64 if seed % 2 else np.float32)
    want, slopes = tg.value_and_grad(lambda x, w: actions.loss(x, w, False), argnums=(0, 1))(x, w)
    for checkpoint in (False, True):
        def f(x, w, checkpoint=checkpoint):
            return actions.loss(x, w, checkpoint)

        for way in (tg.value_and_grad(f, argnums=(0, 1)), tg.compile(tg.value_and_grad(f, argnums=(0, 1)))):
            value, gradients = way(x, w)
            assert value == want
            for found, slope in zip(gradients, slopes):
                np.testing.assert_array_equal(found, slope)


@pytest.mark.parametrize("seed", range(0, 30, 2))
def test_a_budget_keeps_to_its_bytes_and_gives_the_same_numbers(seed):
    actions = OnMatrices(seed)
    x, w = data(np.float32)

    def trained(**options):
        weight = nn.Parameter(w.copy())
        step = tg.TrainStep(lambda x: actions.loss(x, weight, False), optim.SGD([weight], lr=0.1), **options)
        return step, [step(x) for _ in range(2)], weight.numpy()

    try:
        step, losses, weights = trained()
    except tg.GradientError:
        return  # no linear layer was drawn
    report = step.memory()
    for share in (0.7, 0.4):
        budget = int(report.standing_bytes + share * (report.peak_bytes - report.standing_bytes))
        try:
            tight, again, found = trained(memory_budget=budget)
        except tg.TapeMemoryError as error:
            budget = int(str(error).split("keep to is ")[1].split()[0].replace(",", ""))
            tight, again, found = trained(memory_budget=budget)
        assert tight.memory().peak_bytes <= budget
        assert again == losses
        np.testing.assert_array_equal(found, weights)
