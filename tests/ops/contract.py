"""What every op must satisfy, stated once and driven by a table of cases.

A module of this folder lists its cases and subclasses `OpContract`; ``conftest.pytest_generate_tests`` runs
every test of the contract on every case. The expectation always comes from outside: NumPy or `naive` for
values, finite differences of those for adjoints. Each test runs define by run and recorded, where the inputs are
leaves that the recording reads where they lie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import naive
import numpy as np
import pytest

import tapegrad as tg
from tapegrad import optim


@dataclass
class Case:
    """One op on one set of inputs.

    Attributes
    ----------
    name
        How pytest shows the case.
    function
        The op over Tensors.
    reference
        The same over float64 arrays, in NumPy.
    inputs
        float64 arrays. None lies within 3e-3 of a kink of the op, so that differences over 2e-3 are smooth.
    single
        Tolerance in float32, relative to the largest magnitude of the result.
    double
        The same in float64.
    ties
        False where equal elements among the inputs would put a kink at the point (max, min).
    slope
        Tolerance of gradients against finite differences in float64.
    """

    name: str
    function: Callable
    reference: Callable
    inputs: tuple
    single: float = 3e-6
    double: float = 1e-13
    ties: bool = True
    slope: float = 1e-7

    def __str__(self):
        return self.name

    @cached_property
    def output(self) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(self.reference(*self.inputs))

    @cached_property
    def cotangent(self) -> np.ndarray:
        return np.random.default_rng(7).uniform(0.5, 1.5, self.output.shape)

    @cached_property
    def gradients(self) -> list[np.ndarray]:
        """Finite differences of sum(cotangent * reference(inputs)) by each input."""
        with np.errstate(all="ignore"):
            return [naive.derivative(self.reference, self.inputs, k, self.cotangent) for k in range(len(self.inputs))]

    @cached_property
    def other_inputs(self) -> tuple:
        """Other values from the same domain: each input's elements in another order."""
        shuffle = np.random.default_rng(11).permutation
        return tuple(shuffle(x.ravel()).reshape(x.shape) for x in self.inputs)


def uniform(shape, low, high, seed):
    """Values between ``low`` and ``high``; the same seed gives the same values."""
    return np.random.default_rng(seed).uniform(low, high, shape)


def grid(shape, seed, offset=0.02, step=0.1):
    """All different, ``step`` apart, in random order: none is 0, and two grids of other offsets have no ties."""
    n = int(np.prod(shape))
    return ((np.random.default_rng(seed).permutation(n) - n // 2) * step + offset).reshape(shape)


def close(actual, expected, tolerance, floor=0.0):
    """Shapes are equal, values within ``tolerance`` of the largest finite magnitude expected; inf and nan match.

    ``floor`` is the least magnitude that counts, for gradients in which terms of that size cancel.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    finite = np.abs(expected[np.isfinite(expected)])
    scale = max(float(finite.max()), floor) if finite.size else floor
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * scale, equal_nan=True)


def same(actual, expected):
    """Equal to the bit, or within 1e-15 relative (1e-7 in float32)."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype
    close(actual, expected, 1e-15 if actual.dtype == np.float64 else 1e-7)


def shown(shape):
    """A shape as messages print it, whatever the brackets."""
    return ", ".join(map(str, shape))


def leaves(inputs, dtype=np.float64):
    return [tg.tensor(np.asarray(x, dtype=dtype), requires_grad=True) for x in inputs]


def gradient_of(leaf):
    """The leaf's gradient; None counts as zero where nothing was asked of an empty array."""
    return np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy()


def by_run(function, inputs, cotangent):
    """The value of ``function(*inputs)``; the leaves among the inputs receive the gradients of its product."""
    out = function(*inputs)
    out.backward(gradient=cotangent)
    return out.numpy()


def recorded(function, inputs, cotangent):
    """The same by `compile` and, twice, by `TrainStep`."""
    value = tg.compile(lambda: function(*inputs))().numpy()
    trained = [t for t in inputs if t.requires_grad]
    step = tg.TrainStep(lambda: (function(*inputs) * cotangent).sum(), optim.SGD(trained, lr=0.0))
    for _ in range(2):
        step()
    return value


WAYS = [by_run, recorded]


def transposed(x):
    return x.T.copy(), lambda a: a.T


def strided(x):
    big = np.full([2 * n + 1 for n in x.shape], 1e30)
    key = tuple(slice(1, None, 2) for _ in x.shape)
    big[key] = x
    return big, lambda a: a[key]


def reversed_(x):
    key = tuple(slice(None, None, -1) for _ in x.shape)
    return x[key].copy(), lambda a: a[key]


def embedded(x):
    """A block of a larger array: rows are contiguous, the whole is not."""
    big = np.full([n + 2 for n in x.shape], 1e30)
    key = tuple(slice(1, -1) for _ in x.shape)
    big[key] = x
    return big, lambda a: a[key]


VIEWS = {"transposed": transposed, "strided": strided, "reversed": reversed_, "embedded": embedded}


class OpContract:
    """The tests of every op; a subclass gives ``cases``.

    Those marked ``grid`` say for more dtypes, layouts and uses what the others say for one.
    """

    cases: list[Case] = []

    @pytest.mark.parametrize("way", WAYS)
    def test_value_and_adjoint_agree_with_the_reference_and_finite_differences(self, case, way):
        inputs = leaves(case.inputs)
        value = way(case.function, inputs, case.cotangent)
        assert value.dtype == np.float64
        close(value, case.output, case.double)
        for leaf, expected in zip(inputs, case.gradients):
            assert leaf.grad is None or leaf.grad.dtype == np.float64
            close(gradient_of(leaf), expected, case.slope, floor=1.0)

    @pytest.mark.parametrize("way", WAYS)
    def test_leaves_beside_computed_operands_receive_their_gradients(self, case, way):
        """A computed operand's adjoint may lie over the result's, which a leaf's has still to be made of."""
        if len(case.inputs) < 2:
            return
        for computed in range(len(case.inputs)):
            inputs = leaves(case.inputs)

            def of_one_computed(*leaves, computed=computed):
                return case.function(*[tg.negative(tg.negative(leaf)) if k == computed else leaf
                                       for k, leaf in enumerate(leaves)])

            close(way(of_one_computed, inputs, case.cotangent), case.output, case.double)
            for leaf, expected in zip(inputs, case.gradients):
                close(gradient_of(leaf), expected, case.slope, floor=1.0)

    @pytest.mark.grid
    @pytest.mark.parametrize("way", WAYS)
    def test_value_and_adjoint_agree_in_float32_too(self, case, way):
        single = [x.astype(np.float32) for x in case.inputs]
        inputs = leaves(single, np.float32)
        value = way(case.function, inputs, case.cotangent.astype(np.float32))
        assert value.dtype == np.float32
        with np.errstate(all="ignore"):
            expected = case.reference(*[x.astype(np.float64) for x in single])
        close(value, expected, case.single)
        for leaf, expected in zip(inputs, case.gradients):
            assert leaf.grad is None or leaf.grad.dtype == np.float32
            close(gradient_of(leaf), expected, 20 * case.single, floor=1.0)

    @pytest.mark.grid
    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("kind", VIEWS)
    def test_non_contiguous_views_give_the_same_value_and_gradient(self, case, kind, way):
        made = [VIEWS[kind](x) for x in case.inputs]
        inputs = leaves([array for array, _ in made])

        def of_views(*leaves):
            return case.function(*[view(leaf) for leaf, (_, view) in zip(leaves, made)])

        close(way(of_views, inputs, case.cotangent), case.output, case.double)
        for leaf, (array, view), expected in zip(inputs, made, case.gradients):
            scattered = np.zeros(array.shape)
            places = view(np.arange(array.size).reshape(array.shape))
            np.add.at(scattered.ravel(), places, expected)
            close(gradient_of(leaf), scattered, case.slope, floor=1.0)

    @pytest.mark.grid
    @pytest.mark.parametrize("way", WAYS)
    def test_repeated_rows_of_a_broadcast_view_add_up_their_gradients(self, case, way):
        if not case.ties:
            return
        rows = [x[:1] if x.ndim else x for x in case.inputs]

        def repeat(array_or_tensor, x):
            return np.broadcast_to(array_or_tensor, x.shape)

        def reference(*arrays):
            return case.reference(*[repeat(a, x) for a, x in zip(arrays, case.inputs)])

        with np.errstate(all="ignore"):
            value = reference(*rows)
            expected = [naive.derivative(reference, rows, k, case.cotangent) for k in range(len(rows))]
        inputs = leaves(rows)

        def of_rows(*leaves):
            return case.function(*[tg.broadcast_to(leaf, x.shape) for leaf, x in zip(leaves, case.inputs)])

        close(way(of_rows, inputs, case.cotangent), value, case.double)
        for leaf, gradient in zip(inputs, expected):
            close(gradient_of(leaf), gradient, case.slope, floor=1.0)

    @pytest.mark.grid
    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("first", ["op_first", "other_use_first"])
    def test_adjoint_adds_to_what_another_use_of_the_input_gives(self, case, first, way):
        inputs = leaves(case.inputs)
        others = [np.linspace(-1.0, 1.0, x.size).reshape(x.shape) for x in case.inputs]

        def other_use(leaves):
            total = 0.0
            for leaf, c in zip(leaves, others):
                total = total + (leaf * c).sum()
            return total

        def loss(*leaves):
            if first == "op_first":
                return (case.function(*leaves) * case.cotangent).sum() + other_use(leaves)
            used = other_use(leaves)
            return used + (case.function(*leaves) * case.cotangent).sum()

        way(loss, inputs, np.ones(()))
        for leaf, c, expected in zip(inputs, others, case.gradients):
            close(gradient_of(leaf), expected + c, case.slope, floor=1.0)

    @pytest.mark.grid
    @pytest.mark.parametrize("way", WAYS)
    def test_one_input_alone_gets_its_gradient_and_the_others_get_none(self, case, way):
        for k, expected in enumerate(case.gradients):
            inputs = [tg.tensor(x, requires_grad=(j == k)) for j, x in enumerate(case.inputs)]
            way(case.function, inputs, case.cotangent)
            close(gradient_of(inputs[k]), expected, case.slope, floor=1.0)
            assert all(leaf.grad is None for j, leaf in enumerate(inputs) if j != k)

    @pytest.mark.grid
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_recorded_call_equals_define_by_run(self, case, dtype):
        recorded = tg.compile(case.function)
        for arrays in (case.inputs, case.other_inputs, case.inputs):
            arrays = [np.asarray(x, dtype=dtype) for x in arrays]
            same(np.asarray(recorded(*arrays)), case.function(*map(tg.tensor, arrays)).numpy())

    @pytest.mark.parametrize("dtype", [np.float64, pytest.param(np.float32, marks=pytest.mark.grid)])
    def test_recorded_gradient_equals_define_by_run(self, case, dtype):
        cotangent = case.cotangent.astype(dtype)

        def loss(*args):
            return (case.function(*args) * cotangent).sum()

        recorded = tg.compile(tg.value_and_grad(loss, argnums=tuple(range(len(case.inputs)))))
        for arrays in (case.inputs, case.other_inputs, case.inputs):
            arrays = [np.asarray(x, dtype=dtype) for x in arrays]
            inputs = leaves(arrays, dtype)
            value = loss(*inputs)
            value.backward()
            recorded_value, gradients = recorded(*arrays)
            same(np.asarray(recorded_value, dtype=dtype), value.numpy())
            for gradient, leaf in zip(gradients, inputs):
                same(gradient, gradient_of(leaf).astype(dtype))
