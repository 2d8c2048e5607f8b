"""Tensors that are made, dropped, viewed and walked back from in random order.

A tape gives back what nobody can reach, uses its numbers again and closes its gaps; none of that may show. Each action
is done to a tensor and to its twin on the plain-Python tape of `naive`, and all values and gradients must stay equal.
"""

from __future__ import annotations

import gc

import naive
import numpy as np
import pytest

import tapegrad as tg

SHAPES = [(), (3,), (2, 3), (2, 1)]
KEYS = [np.s_[::-1], np.s_[0:1], np.s_[..., ::2], np.s_[..., 0:1]]
LARGEST = 5.0


class Twins:
    """Pairs (tensor, `naive.Var`) under random actions."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.leaves, self.pool, self.released = [], [], []
        self.gradients = {}
        for _ in range(3):
            self.make_leaf()

    def choose(self, items):
        return items[self.rng.integers(len(items))]

    def keep(self, tensor, var, recorded=True):
        """Take a pair into the pool; a view of a leaf is no instruction, so its twin counts as a leaf's part."""
        var.recorded = recorded
        if np.abs(var.value).max(initial=0.0) < LARGEST and var.value.ndim <= 2:
            self.pool.append((tensor, var))

    def make_leaf(self):
        x = self.rng.uniform(-1, 1, self.choose(SHAPES))
        pair = (tg.tensor(x, requires_grad=True), naive.Var(x))
        pair[1].recorded = False
        self.leaves.append(pair)
        self.gradients[pair[1]] = np.zeros(x.shape)
        self.pool.append(pair)

    def unary(self):
        t, v = self.choose(self.pool)
        name = self.choose(["sin", "tanh", "square", "negative"])
        self.keep(getattr(tg, name)(t), getattr(naive.TapeFunctions, name)(v))

    def binary(self):
        (t, v), (u, w) = self.choose(self.pool), self.choose(self.pool)
        name = self.choose(["add", "multiply", "subtract"])
        try:
            np.broadcast_shapes(v.value.shape, w.value.shape)
        except ValueError:
            return
        self.keep(getattr(tg, name)(t, u), getattr(naive.TapeFunctions, name)(v, w))

    def view(self):
        t, v = self.choose(self.pool)
        if v.value.ndim:
            key = self.choose(KEYS)
            self.keep(t[key], naive.TapeFunctions.index(v, key), recorded=v.recorded)

    def drop(self):
        for _ in range(self.rng.integers(1, 5)):
            if len(self.pool) > 3:
                self.pool.pop(self.rng.integers(len(self.pool)))
        if self.rng.integers(20) == 0:
            gc.collect()

    def backward(self):
        root, var = self.choose(self.pool)
        retain = bool(self.rng.integers(2))
        cotangent = self.rng.uniform(0.5, 1.5, var.value.shape)
        naive.TapeFunctions.sum(naive.TapeFunctions.multiply(var, naive.Var(cotangent))).backward()
        root.backward(gradient=cotangent, retain_graph=retain)
        walked = ancestors(var)
        for leaf, twin in self.leaves:
            if twin in walked:
                self.gradients[twin] += twin.adjoint
            gradient = np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy()
            np.testing.assert_allclose(gradient, self.gradients[twin], rtol=1e-9, atol=1e-9)
        if not retain:
            gone = {v for v in walked if v.recorded}
            self.released += [pair for pair in self.pool if gone & ancestors(pair[1])]
            self.pool = [pair for pair in self.pool if not gone & ancestors(pair[1])]
            while len(self.pool) < 3:
                self.pool.append(self.choose(self.leaves))

    def touch_released(self):
        """What was walked and given back has its value still, but never a silent gradient."""
        if self.released:
            tensor, var = self.choose(self.released)
            np.testing.assert_allclose(tensor.numpy(), var.value, rtol=1e-12, atol=1e-12)
            with pytest.raises(RuntimeError, match="retain_graph|detach"):
                tg.sum(tensor * 2.0).backward()
            self.released = self.released[-3:]

    def check_values(self):
        for t, v in self.pool:
            np.testing.assert_allclose(t.numpy(), v.value, rtol=1e-12, atol=1e-12)


def ancestors(var):
    found, waiting = set(), [var]
    while waiting:
        v = waiting.pop()
        if v not in found:
            found.add(v)
            waiting.extend(parent for parent, _ in v.parents)
    return found


@pytest.mark.parametrize("seed", range(40))
def test_values_and_gradients_survive_any_order_of_making_dropping_and_walking(seed):
    twins = Twins(seed)
    often = [twins.unary] * 5 + [twins.binary] * 4 + [twins.view] * 2 + [twins.drop, twins.backward]
    for _ in range(300):
        twins.choose([*often, twins.touch_released])()
        if len(twins.leaves) < 10 and twins.rng.integers(30) == 0:
            twins.make_leaf()
    twins.check_values()
