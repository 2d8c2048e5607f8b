"""Random functions, planned in every way: in place, joined, checkpointed, within a budget; the numbers never change.

A function is a random list of actions on a pool of tensors, some of them within nested stretches of `tg.checkpoint`.
Its loss and gradients define by run without any checkpoint are what all other ways must give, to the bit.
"""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim

SHAPE = (8, 16)
UNARY = [tg.tanh, tg.sin, tg.relu, tg.sigmoid, tg.square, tg.negative, tg.exp, lambda t: t * 0.5, lambda t: 1.5 - t,
         lambda t: tg.leaky_relu(t, 0.1), lambda t: tg.clip(t, -0.7, 0.7), lambda t: tg.softmax(t, axis=1)]
BINARY = [tg.add, tg.subtract, tg.multiply, tg.maximum, lambda a, b: a / (2.0 + tg.square(b))]
DEPTH = 3


class Actions:
    """What a function does, drawn once: ``(kind, numbers)``, a stretch holding a list of its own."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.actions = self.draw(30, 0)

    def draw(self, count, depth):
        kinds = ["unary"] * 6 + ["binary"] * 4 + ["join", "view", "linear", "detach", "reduce"]
        kinds += ["stretch"] * 3 if depth < DEPTH else []
        found = []
        for _ in range(count):
            kind = self.rng.choice(kinds)
            numbers = self.rng.integers(1 << 30, size=3).tolist()
            found.append((kind, self.draw(int(self.rng.integers(1, 8)), depth + 1) if kind == "stretch" else numbers))
        return found

    def run(self, actions, pool, weight, checkpoint):
        """Do the actions on a pool of tensors of one shape; returns the pool."""
        pool = list(pool)
        for kind, what in actions:
            if kind == "stretch":
                if checkpoint:
                    pool += tg.checkpoint(lambda pool, what=what: self.run(what, pool, weight, True)[-2:], pool)
                else:
                    pool += self.run(what, pool, weight, False)[-2:]
                continue
            a, b = (pool[n % len(pool)] for n in what[:2])
            if kind == "unary":
                pool.append(UNARY[what[2] % len(UNARY)](a))
            elif kind == "binary":
                pool.append(BINARY[what[2] % len(BINARY)](a, b))
            elif kind == "join":
                rows = 1 + what[2] % (SHAPE[0] - 1)
                pool.append(tg.concatenate([tg.sin(a[:rows]), tg.tanh(b[rows:])], axis=0))
            elif kind == "view":
                pool.append(tg.flip(a, axis=0) if what[2] % 2 else a.T.reshape(SHAPE) * 1.0)
            elif kind == "linear":
                pool.append(tg.tanh(tg.linear(a, weight)))
            elif kind == "detach":
                pool.append(a * tg.sigmoid(b.detach()))
            else:
                pool.append(a - a.mean(axis=1, keepdims=True))
        return pool

    def loss(self, x, weight, checkpoint):
        pool = self.run(self.actions, [x, tg.sin(x)], weight, checkpoint)
        return sum((tg.tanh(t) ** 2).mean() for t in pool[-3:])


def data(dtype):
    rng = np.random.default_rng(3)
    return rng.normal(size=SHAPE).astype(dtype), (rng.normal(size=(SHAPE[1],) * 2) / 4).astype(dtype)


@pytest.mark.parametrize("seed", range(30))
def test_checkpoints_and_recordings_give_the_same_numbers(seed):
    actions = Actions(seed)
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
    actions = Actions(seed)
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
