"""Clipping against PyTorch 2.13, by function and inside the optimiser's step."""

import math

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import optim
from tapegrad.errors import ArgumentError

from . import cases
from .test_optimizers import RECORD, assert_near, fill, run, start, values


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("homed", [False, True])
@pytest.mark.parametrize("name", cases.NORMS)
def test_norms_and_clipped_gradients_are_those_of_pytorch(name, homed, dtype):
    parameters = start(dtype)
    if homed:
        optim.SGD(parameters)
    fill(parameters, 0)
    total = optim.clip_grad_norm_(parameters, *cases.NORMS[name])
    expected = RECORD[f"norm/{name}/{dtype}"]
    assert total.dtype == dtype and total.shape == ()
    assert_near(total.item(), expected[-1], dtype)
    assert_near(values(p.grad for p in parameters), expected[:-1], dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_clipping_by_value_is_that_of_pytorch(dtype):
    parameters = start(dtype)
    fill(parameters, 0)
    optim.clip_grad_value_(parameters, cases.CLIP_VALUE)
    np.testing.assert_array_equal(values(p.grad for p in parameters), RECORD[f"value/{dtype}"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("later", [False, True])
def test_clipping_inside_the_step_is_clipping_before_it(dtype, later):
    parameters = start(dtype)
    optimizer = optim.SGD(parameters, lr=0.05, momentum=0.9, max_grad_norm=None if later else cases.MAX_NORM)
    if later:
        optimizer.update_rows()
        optimizer.max_grad_norm = cases.MAX_NORM
    run(optimizer, parameters, range(cases.STEPS))
    assert_near(values(parameters), RECORD[f"clipped_run/{dtype}"], dtype)


def test_bounds_can_be_changed_and_lifted():
    w = tg.tensor(np.zeros(2), requires_grad=True)
    optimizer = optim.SGD([w], lr=1.0, max_grad_value=0.5)
    w.grad = [3.0, -0.25]
    optimizer.step()
    np.testing.assert_array_equal(w.numpy(), [-0.5, 0.25])
    layout = optimizer.layout
    optimizer.max_grad_value = 0.125
    assert optimizer.layout == layout  # the rows are the same, only a word of theirs has changed
    w.grad = [3.0, -0.25]
    optimizer.step()
    np.testing.assert_array_equal(w.numpy(), [-0.625, 0.375])
    optimizer.max_grad_value = None
    assert optimizer.layout != layout
    w.grad = [3.0, -0.25]
    optimizer.step()
    np.testing.assert_array_equal(w.numpy(), [-3.625, 0.625])


def test_value_is_clipped_before_the_norm():
    w = tg.tensor(np.zeros(2), requires_grad=True)
    optimizer = optim.SGD([w], lr=1.0, max_grad_value=3.0, max_grad_norm=2.5)
    w.grad = [3.0, -400.0]
    optimizer.step()
    np.testing.assert_allclose(w.numpy(), 2.5 / np.sqrt(18.0) * np.array([-3.0, 3.0]), rtol=1e-6)


def test_only_gradients_of_the_step_count_towards_the_norm():
    w, frozen = tg.tensor(np.zeros(1), requires_grad=True), tg.tensor(np.zeros(1), requires_grad=True)
    optimizer = optim.SGD([w, frozen], lr=1.0, max_grad_norm=1.0)
    w.grad, frozen.grad = [2.0], [1000.0]
    frozen.requires_grad_(False)
    optimizer.step()
    np.testing.assert_allclose(w.numpy(), -1.0, rtol=1e-6)


def test_squares_of_large_float32_gradients_do_not_overflow():
    w = tg.tensor(np.zeros(3, np.float32), requires_grad=True)
    w.grad = np.array([3e30, 4e30, 0.0], np.float32)
    assert optim.clip_grad_norm_(w, 1.0).item() == pytest.approx(5e30)
    np.testing.assert_allclose(w.grad.numpy(), [0.6, 0.8, 0.0], rtol=1e-6)


@pytest.mark.parametrize("order", [1.0, 2.0, 3.0, math.inf])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_gradients_that_are_not_finite_are_reported(order, bad):
    w, v = tg.tensor(np.zeros(2), requires_grad=True), tg.tensor(np.zeros(2), requires_grad=True)
    w.grad, v.grad = [1.0, bad], [1.0, 2.0]
    with pytest.raises(RuntimeError, match="cannot be clipped"):
        optim.clip_grad_norm_([w, v], 1.0, order, error_if_nonfinite=True)
    np.testing.assert_array_equal(v.grad.numpy(), [1.0, 2.0])
    total = optim.clip_grad_norm_([w, v], 1.0, order).item()
    assert math.isnan(total) if math.isnan(bad) else total == math.inf
    np.testing.assert_array_equal(v.grad.numpy(), [bad, bad] if math.isnan(bad) else [0.0, 0.0])


def test_no_gradient_has_norm_zero():
    w = tg.tensor(np.zeros(2), requires_grad=True)
    assert optim.clip_grad_norm_([w, tg.tensor(1.0)], 1.0).item() == 0.0
    optim.clip_grad_value_([w], 1.0)
    assert w.grad is None


def test_bad_bounds_are_refused():
    w = tg.tensor(np.zeros(2), requires_grad=True)
    with pytest.raises(ValueError, match="norm_type"):
        optim.clip_grad_norm_(w, 1.0, 0.0)
    with pytest.raises(ValueError, match="max_norm"):
        optim.clip_grad_norm_(w, -1.0)
    with pytest.raises(ValueError, match="clip_value"):
        optim.clip_grad_value_(w, -1.0)
    v = tg.tensor(np.zeros(2, np.float32), requires_grad=True)
    w.grad, v.grad = [1.0, 1.0], [1.0, 1.0]
    with pytest.raises(TypeError, match="float32 and float64"):
        optim.clip_grad_norm_([w, v], 1.0)


@pytest.mark.parametrize("clip", [optim.clip_grad_norm_, optim.clip_grad_value_])
def test_the_gradient_of_a_part_of_a_leaf_is_not_clipped(clip):
    w = tg.tensor(np.ones((4, 4)), requires_grad=True)
    (w * 3.0).sum().backward()
    for part in (w[2:], w[::2], w[::-1], w.T):
        with pytest.raises(ArgumentError, match="view of a leaf"):
            clip([part], 1.0)
    np.testing.assert_array_equal(w.grad.numpy(), np.full((4, 4), 3.0))
