"""`tg.custom_op` of a forward alone: its adjoint is derived from its source."""

from functools import partial

import numpy as np
import pytest
from custom_ops import (
    bent,
    bent_formula,
    bent_slope,
    logistic,
    picked,
    squared_distances,
    squared_distances_formula,
)

import tapegrad as tg
from tapegrad.engine.language import enabled

pytestmark = pytest.mark.compiled
X = np.array([-1.0, 0.5, 2.0, -0.3])


def distances():
    return tg.custom_op(squared_distances, shape=lambda a, b: (a[0], b[0]))


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_gradients_are_those_of_the_formula_in_both_dtypes_define_by_run_and_recorded(dtype, tolerance):
    draw = np.random.default_rng(0)
    a_, b_, w = (draw.normal(size=shape).astype(dtype) for shape in ((3, 2), (4, 2), (3, 4)))
    apart = a_[:, None, :] - b_[None, :, :]
    to_a, to_b = 2 * (w[..., None] * apart).sum(1), -2 * (w[..., None] * apart).sum(0)
    op = distances()
    a, b = (tg.tensor(t, dtype=dtype, requires_grad=True) for t in (a_, b_))
    y = op(a, b)
    assert y.dtype == dtype
    np.testing.assert_allclose(y.numpy(), squared_distances_formula(a_, b_), rtol=10 * tolerance)
    (y * w).sum().backward()
    recorded = tg.compile(tg.grad(lambda a, b: (op(a, b) * w).sum(), argnums=(0, 1)))(a_, b_)
    for found in ((a.grad.numpy(), b.grad.numpy()), recorded):
        np.testing.assert_allclose(found[0], to_a, rtol=tolerance, atol=10 * tolerance)
        np.testing.assert_allclose(found[1], to_b, rtol=tolerance, atol=10 * tolerance)


def test_only_the_inputs_that_require_a_gradient_have_one():
    op = distances()
    a, b = tg.tensor(np.ones((3, 2)), requires_grad=True), tg.tensor(np.zeros((4, 2)))
    op(a, b).sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), np.full((3, 2), 8.0))
    assert b.grad is None
    table, pick = np.arange(6.0).reshape(3, 2), tg.custom_op(picked, shape=lambda table, index: (index[0], table[1]))
    slope = tg.grad(lambda table: (pick(table, np.array([1, 1, 0])) ** 2).sum())(table)
    np.testing.assert_allclose(slope, [[0, 2], [8, 12], [0, 0]])


def test_derivatives_of_second_order_and_forward_mode_with_a_scalar():
    squash = tg.custom_op(logistic)
    x, d = X.reshape(2, 2), np.array([[0.3, -1.0], [0.5, 2.0]])
    for rate in (0.7, 1.3):
        s = 1 / (1 + np.exp(-rate * x))
        slope, bend = rate * s * (1 - s), rate**2 * s * (1 - s) * (1 - 2 * s)
        f = partial(squash, rate=rate)
        np.testing.assert_allclose(tg.jvp(f, (x,), (d,))[1], slope * d, rtol=1e-12)
        hessian = tg.hessian(lambda x, f=f: f(x).sum())
        for found in (hessian(x), tg.compile(hessian)(x)):
            np.testing.assert_allclose(found.reshape(4, 4), np.diag(bend.ravel()), rtol=1e-11, atol=1e-15)
    assert tg.gradcheck(tg.custom_op(bent), X, order=2)


def test_of_each_of_a_batch():
    bend = tg.custom_op(bent)
    many = np.stack([X, 2 * X, 3 * X])
    np.testing.assert_allclose(tg.vmap(tg.grad(lambda x: (bend(x) ** 2).sum()))(many),
                               2 * bent_formula(many) * bent_slope(many), rtol=1e-12)


def total_of_cubes(x, scale, y):
    total = 0.0
    for k in range(x.size):
        total += x[k] ** 3
    y[()] = total * scale[()]


def test_arrays_without_axes_are_numbers():
    cubes = tg.custom_op(total_of_cubes, shape=lambda x, scale: ())
    to_x, to_scale = tg.grad(lambda x, scale: 2 * cubes(x, scale), argnums=(0, 1))(X, np.array(3.0))
    np.testing.assert_allclose(to_x, 18 * X**2, rtol=1e-13)
    np.testing.assert_allclose(to_scale, 2 * (X**3).sum(), rtol=1e-13)
    np.testing.assert_allclose(tg.hessian(lambda x: cubes(x, 3.0))(X), np.diag(18 * X), rtol=1e-13)


@pytest.mark.skipif(not enabled(), reason="nothing is compiled with the JIT disabled")
def test_another_size_compiles_nothing():
    from numba.core import event

    bend = tg.custom_op(bent)
    for n in (3, 4, 50):
        x = tg.tensor(np.ones(n), requires_grad=True)
        with event.install_recorder("numba:compile") as compiled:
            bend(x).sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), np.full(n, 2.0))
        assert n == 3 or not compiled.buffer


def changes_its_input(x, y):
    x[0] = 2.0 * x[0]
    y[0] = x[0] * x[1]


def binds_its_output(x, y):
    y = 2.0 * x  # noqa: F841


@pytest.mark.parametrize("forward, words", [(changes_its_input, "writes to its input x.*copy"),
                                            (binds_its_output, r"bound to another array; .* y\[\.\.\.\] = ")])
def test_a_forward_that_changes_an_input_or_has_another_output_is_refused(forward, words):
    with pytest.raises(tg.GradientError, match=words):
        tg.custom_op(forward)(tg.tensor([1.0, 2.0], requires_grad=True))
