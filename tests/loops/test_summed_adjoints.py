"""What a reverse sweep adds up in variables, and what it assigns in place of adding."""

import math

import numpy as np
import pytest

import tapegrad as tg

pytestmark = pytest.mark.compiled


@tg.njit
def far(p, y, n):
    total = 0.0
    for t in range(n):
        total += p[5] * y[t]
    return total + p[0]


@tg.njit
def one_memory(p, y):
    whole = np.empty(3)
    for k in range(3):
        whole[k] = p[k] * p[k]
    part = whole[1:]
    for t in range(len(y)):
        part[0] = part[0] * 0.5 + whole[1] * y[t] + whole[-1] * part[1]
    return part[0]


@tg.njit
def sometimes(p, y, gamma):
    s, last, total = 1.0, 0.0, 0.0
    for t in range(len(y)):
        if y[t] > 0.5:
            last = s * p[0]
        else:
            for _ in range(3):
                s = math.sin(s * p[1]) / gamma + p[-1] / (3.0 * gamma)
        total += last * s / gamma
        if total > 5.0:
            break
    return total


def differences(f, p, *more):
    steps = 1e-6 * np.eye(len(p))
    return np.array([(f.py_func(p + h, *more) - f.py_func(p - h, *more)) / 2e-6 for h in steps])


@pytest.mark.parametrize(("f", "more"), [(one_memory, ()), (sometimes, (1.7,))], ids=["one memory", "sometimes"])
def test_elements_that_a_loop_adds_to_have_the_derivatives_of_differences(f, more):
    y = np.random.default_rng(3).uniform(size=9)
    p = np.array([0.7, 1.3, 0.4])
    value, gradient = tg.value_and_grad(f)(p, y, *more)
    assert value == pytest.approx(f.py_func(p, y, *more), rel=1e-12)
    np.testing.assert_allclose(gradient, differences(f, p, y, *more), rtol=1e-7, atol=1e-9)


def test_an_element_that_no_iteration_reads_is_not_written_to():
    """p[5] lies beyond p: the loop that reads it is not run, and neither may its adjoint be written to."""
    memory = np.arange(1.0, 9.0)
    _, gradient = tg.value_and_grad(far)(memory, np.ones(4), 2)
    np.testing.assert_array_equal(gradient, [1, 0, 0, 0, 0, 2, 0, 0])
    guarded = far.adjoint_source.split("reverse sweep")[1].split("p_b[5] +=")
    assert len(guarded) == 2 and guarded[0].rstrip().endswith("!= 0.0:")
    _, gradient = tg.value_and_grad(far)(memory[:2].copy(), np.ones(4), 0)
    np.testing.assert_array_equal(gradient, [1, 0])


def test_a_sum_that_is_no_number_reaches_its_element():
    _, gradient = tg.value_and_grad(far)(np.ones(6), np.array([1.0, np.nan]), 2)
    assert np.isnan(gradient[5]) and gradient[0] == 1
