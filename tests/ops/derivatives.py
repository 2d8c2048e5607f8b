"""What the derivatives of every op must satisfy: higher order, forward mode, batching; part of the contract.

First order is the reference: the compiled adjoint, which the rest of the contract holds against finite differences.
"""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg

STEP = 1e-4  # of central differences of first derivatives


def directions(case, seed=3):
    """A tangent for each input, of elements up to 1."""
    rng = np.random.default_rng(seed)
    return tuple(rng.uniform(-1.0, 1.0, np.shape(x)) for x in case.inputs)


def weighted(case):
    """A scalar of the op's result, in which second derivatives do not cancel."""
    return lambda *inputs: (case.function(*inputs) * case.cotangent).sum()


def gradients(f, inputs):
    return tg.grad(f, tuple(range(len(inputs))))(*inputs)


def near(actual, expected, tolerance, floor=1.0):
    """Within `tolerance` of the largest magnitude expected, and of `floor` at least; NaN and inf match."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    finite = np.abs(expected[np.isfinite(expected)])
    scale = max(float(finite.max(initial=0.0)), floor)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * scale, equal_nan=True)


def agree_at(f, *inputs):
    """Composition and tangent are those of the compiled adjoint, also at points where differences say nothing.

    Returns
    -------
    list of numpy.ndarray
        A second derivative along a direction, by each input.
    """
    inputs = [np.asarray(x, np.float64) for x in inputs]
    y, pull = tg.vjp(f, *inputs)
    g = np.random.default_rng(5).uniform(0.5, 1.5, y.shape)

    def total(*inputs):
        return (f(*inputs) * g).sum()

    first = gradients(total, inputs)
    for actual, expected in zip(pull(g), first):
        near(actual, expected, 1e-12)
    moves = tuple(np.random.default_rng(6).uniform(0.5, 1.5, x.shape) for x in inputs)
    near(np.sum(tg.jvp(f, inputs, moves)[1] * g), sum(np.sum(a * d) for a, d in zip(first, moves)), 1e-12)
    return tg.hvp(total, inputs, moves)


class Derivatives:
    """The tests; `smooth` is the tolerance of second derivatives against differences of first ones."""

    smooth = 1e-5

    @pytest.mark.grid
    def test_the_composition_is_the_adjoint(self, case):
        value, pull = tg.vjp(case.function, *case.inputs)
        assert value.dtype == np.float64
        for actual, expected in zip(pull(case.cotangent), gradients(weighted(case), case.inputs)):
            near(actual, expected, 1e-11)

    @pytest.mark.grid
    def test_forward_mode_is_the_transpose_of_reverse_mode(self, case):
        moves = directions(case)
        _, tangent = tg.jvp(case.function, case.inputs, moves)
        expected = sum(float(np.sum(g * d)) for g, d in zip(gradients(weighted(case), case.inputs), moves))
        near(np.sum(tangent * case.cotangent), expected, 1e-10)

    def test_second_derivatives_are_those_of_the_first(self, case):
        moves = directions(case)
        f, up, down = weighted(case), *(
            [np.asarray(x + sign * STEP * d) for x, d in zip(case.inputs, moves)] for sign in (1.0, -1.0))
        expected = [(a - b) / (2.0 * STEP) for a, b in zip(gradients(f, up), gradients(f, down))]
        recorded = tg.compile(lambda *inputs: tg.hvp(f, inputs, moves))(*case.inputs)
        for forward, replayed, difference in zip(tg.hvp(f, case.inputs, moves), recorded, expected):
            near(forward, difference, self.smooth)
            near(replayed.numpy(), forward, 1e-12)

    @pytest.mark.grid
    def test_reverse_over_reverse_equals_forward_over_reverse(self, case):
        moves = directions(case)
        every = tuple(range(len(case.inputs)))

        def along(*inputs):
            return sum((g * d).sum() for g, d in zip(tg.grad(weighted(case), every)(*inputs), moves))

        for reverse, forward in zip(gradients(along, case.inputs), tg.hvp(weighted(case), case.inputs, moves)):
            near(reverse, forward, 1e-10)

    @pytest.mark.grid
    def test_gradients_with_a_graph_read_only_what_was_saved(self, case):
        moves = directions(case)
        inputs = [tg.tensor(x, requires_grad=True) for x in case.inputs]
        loss = (case.function(*inputs) * case.cotangent).sum()
        if not loss.requires_grad:
            return
        first = tg.autograd.grad(loss, inputs, create_graph=True, allow_unused=True)
        total = sum((g * d).sum() for g, d in zip(first, moves) if g is not None)
        for expected, leaf in zip(tg.hvp(weighted(case), case.inputs, moves), inputs):
            found = None
            if isinstance(total, tg.Tensor) and total.requires_grad:
                found, = tg.autograd.grad(total, [leaf], retain_graph=True, allow_unused=True)
            near(np.zeros(leaf.shape) if found is None else found.numpy(), expected, 1e-10)

    @pytest.mark.parametrize("recorded", [False, pytest.param(True, marks=pytest.mark.grid)])
    def test_a_batch_is_each_of_it(self, case, recorded):
        pairs = [np.stack([x, y]) for x, y in zip(case.inputs, case.other_inputs)]
        count = len(pairs)
        for which in {tuple(k == j for k in range(count)) for j in range(count)} | {(True,) * count}:
            arguments = [pair if is_mapped else x for pair, x, is_mapped in zip(pairs, case.inputs, which)]
            axes = tuple(0 if is_mapped else None for is_mapped in which)
            for f, tolerance in ((case.function, 1e-12), (tg.grad(weighted(case), tuple(range(count))), 1e-10)):
                mapped = tg.vmap(f, axes)
                found = (tg.compile(mapped) if recorded else mapped)(*arguments)
                for b in range(2):
                    one = [a[b] if is_mapped else a for a, is_mapped in zip(arguments, which)]
                    expected = f(*map(tg.tensor, one)) if f is case.function else f(*one)
                    for actual, wanted in zip(found, expected) if isinstance(expected, tuple) else [(found, expected)]:
                        near(np.asarray(actual)[b], wanted.numpy() if isinstance(wanted, tg.Tensor) else wanted,
                             tolerance)

    @pytest.mark.grid
    def test_derivatives_of_a_batch_are_those_of_each(self, case):
        pairs = [np.stack([x, y]) for x, y in zip(case.inputs, case.other_inputs)]
        count = len(pairs)
        moves = directions(case)
        for which in {tuple(k == j for k in range(count)) for j in range(count)} | {(True,) * count}:
            mapped = tg.vmap(case.function, tuple(0 if is_mapped else None for is_mapped in which))
            inputs = [pair if is_mapped else x for pair, x, is_mapped in zip(pairs, case.inputs, which)]
            along = [np.stack([d, d]) if is_mapped else d for d, is_mapped in zip(moves, which)]
            first, second = tg.jvp(tg.grad(lambda *xs, f=mapped: (f(*xs) ** 2 * case.cotangent).sum(),
                                           tuple(range(count))), inputs, along)
            each = [tg.jvp(tg.grad(lambda *xs: (case.function(*xs) ** 2 * case.cotangent).sum(), tuple(range(count))),
                           [x[b] if is_mapped else x for x, is_mapped in zip(inputs, which)], moves) for b in range(2)]
            for k, is_mapped in enumerate(which):
                for found, one in ((first, 0), (second, 1)):
                    both = [np.asarray(result[one][k]) for result in each]
                    near(found[k], np.stack(both) if is_mapped else both[0] + both[1], 1e-10)
