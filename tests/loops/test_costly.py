"""What a reverse sweep computes again, and what is recorded in place of that."""

import math

import numpy as np
import pytest

import tapegrad as tg

pytestmark = pytest.mark.compiled


@tg.njit
def path(p, z):
    s, total = p[0], 0.0
    for t in range(len(z)):
        s = s * math.exp(p[1] + p[2] * z[t])
        if s < 0.8:
            break
        total += s
    return total


@tg.njit
def likelihood(p, y):
    s, total = 1.0, 0.0
    for t in range(len(y)):
        s = p[0] + p[1] * s
        total += math.log(s) + y[t] / s
    return total


@tg.njit
def square_roots(p, y):
    s = 1.0
    for t in range(len(y)):
        s = math.sqrt(p[0] + s * p[1]) * y[t] + (math.exp(p[2]) if y[t] > 0.5 else s)
    return s


P, Y = np.array([1.1, 0.1, 0.3]), np.array([0.4, -0.7, 1.2, 0.9, -3.0, 0.2])


def reverse_of(function):
    source = function.derive(P, Y, argnums=0)
    return source[source.index("# reverse sweep"):]


def test_exponentials_in_loops_are_recorded_and_square_roots_and_what_is_under_a_condition_computed_again():
    assert "exp" not in reverse_of(path) and path.memory(P, Y) <= 8 * (2 * len(Y) + 4)
    assert "sqrt" in reverse_of(square_roots) and "exp" in reverse_of(square_roots)


def test_a_reverse_sweep_divides_once_by_a_number_and_adds_once():
    reverse = reverse_of(likelihood)
    assert reverse.count(" / ") == 1 and reverse.count("s_b += ") == 1 and "log" not in reverse
    assert likelihood.memory(P, Y) == 8 * len(Y)


@pytest.mark.parametrize("function", [path, likelihood, square_roots])
def test_gradients_are_differences(function):
    expected = [(function(P + e, Y) - function(P - e, Y)) / 2e-6 for e in np.eye(3) * 1e-6]
    np.testing.assert_allclose(tg.grad(function)(P, Y), expected, rtol=1e-7)


def test_elements_before_the_present_one_are_read_again_and_not_recorded_whatever_other_loops_count():
    def summed(x):
        r = np.zeros(len(x) + 1)
        for i in range(len(x)):
            r[i] = 0.0
        for i in range(1, len(x) + 1):
            before = r[i - 1]
            r[i] = before * x[i - 1] + before * before + 1.0
        return r[len(x)]

    source = tg.njit(summed).derive(P)
    assert "floats[top] = before" not in source
    expected = [(summed(P + e) - summed(P - e)) / 2e-6 for e in np.eye(3) * 1e-6]
    np.testing.assert_allclose(tg.grad(tg.njit(summed))(P), expected, rtol=1e-7)
