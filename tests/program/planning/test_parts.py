"""Elementwise instructions whose parts threads share give what the same gives define by run, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim
from tapegrad.ops.elementwise import COSTS, UNARY
from tapegrad.program.planning import parts

ROWS, WIDTH = 62, 67  # 4,154 elements: the last part is no multiple of anything


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def shared_by(compiled):
    return sum(map(len, compiled._last.program.tasks.shared))


FUNCTIONS = {
    "tanh": tg.tanh, "gelu": F.gelu, "relu with a mask": lambda t: tg.sin(F.relu(t * 1.5)), "hardtanh": F.hardtanh,
    "product": lambda t: t * tg.sigmoid(t), "by a scalar": lambda t: (t * 0.3 - 1.5) / 2.5,
    "by one element": lambda t: t.detach()[0, 0] * tg.exp(t), "summed into one element": lambda t: t[:1, :1] * t,
    "rows": lambda t: t * tg.exp(t[0]), "transposed": lambda t: tg.tanh(t.T).T + t,
    "strided": lambda t: tg.exp(t[:, ::2]),
    "greatest": lambda t: tg.maximum(t, 0.5 - t), "constant times": lambda t: tg.exp(t.detach()) * t,
}


@pytest.mark.compiled
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_parts_give_the_bits_of_the_whole(name, dtype, monkeypatch):
    monkeypatch.setattr(parts, "PART_COST", 1 << 10)
    monkeypatch.setattr(parts, "WAKING_COST", 1 << 10)
    function = tg.value_and_grad(lambda x: (FUNCTIONS[name](x) * 0.5).sum())
    x = draw(ROWS, WIDTH).astype(dtype)
    compiled = tg.compile(function)
    want, slope = function(x)
    for _ in range(2):
        value, found = compiled(x)
        assert value == want
        np.testing.assert_array_equal(found, slope)
    assert shared_by(compiled)


@pytest.mark.compiled
def test_a_layer_of_costly_elements_is_shared_where_products_keep_helpers_awake():
    weight = draw(64, 64).astype(np.float32)

    def function(x, products):
        y = tg.tanh(x @ weight.T if products else x)
        return (y * y).sum()

    for products in (False, True):
        compiled = tg.compile(tg.value_and_grad(lambda x, products=products: function(x, products)))
        compiled(draw(64, 64).astype(np.float32))
        assert shared_by(compiled) == products


@pytest.mark.compiled
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU, nn.GELU])
def test_steps_with_parts_train_as_those_without(activation, monkeypatch):
    x, y = draw(4 * ROWS, WIDTH).astype(np.float32), draw(4 * ROWS, 3, seed=1).astype(np.float32)

    def trained(least, **options):
        monkeypatch.setattr(parts, "PART_COST", least)
        tg.manual_seed(0)
        model = nn.Sequential(nn.Linear(WIDTH, WIDTH), activation(), nn.Linear(WIDTH, 3))
        step = tg.TrainStep(lambda x, y: F.mse_loss(model(x), y), optim.SGD(model.parameters(), lr=0.1), **options)
        losses = step.run(x, y, batch_size=ROWS, epochs=2, seed=0).loss
        assert bool(step._last.program.tasks.shared) == (least < 1 << 20)
        return losses, [p.numpy() for p in model.parameters()]

    for options in ({}, {"accumulate": 2}):
        (losses, weights), (want, want_weights) = trained(1 << 9, **options), trained(1 << 40, **options)
        np.testing.assert_array_equal(losses, want)
        for found, wanted in zip(weights, want_weights):
            np.testing.assert_array_equal(found, wanted)


def test_functions_cost_more_than_additions():
    assert COSTS[UNARY["tanh"].opcode][0] > COSTS[UNARY["tanh"].opcode][1] == COSTS[UNARY["relu"].opcode][0] == 1


@pytest.mark.compiled
def test_parts_never_add_to_the_same_element(monkeypatch):
    # at the border of two parts both would add to what lies 500 elements behind, at the same time
    monkeypatch.setattr(parts, "PART_COST", 1 << 10)
    monkeypatch.setattr(parts, "WAKING_COST", 1 << 10)
    x = np.abs(draw(ROWS * WIDTH)) + 0.5
    a, b = x[500:], x[:-500]
    want = np.zeros_like(x)
    want[500:] += b * a ** (b - 1)
    want[:-500] += a**b * np.log(a)
    compiled = tg.compile(tg.grad(lambda x: tg.power(x[500:], x[:-500]).sum()))
    np.testing.assert_allclose(compiled(x), want, rtol=1e-12)
    assert shared_by(compiled) == 1  # the value, and not the adjoint
