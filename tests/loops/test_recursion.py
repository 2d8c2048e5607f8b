"""Functions that call themselves, and each other."""

import math

import numba
import numpy as np
import pytest

import tapegrad as tg

pytestmark = pytest.mark.compiled
X = np.array([0.3, -0.5, 0.8, 0.1, -0.2, 0.6, 0.4])


@tg.njit
def power(x, n):
    if n == 0:
        return 1.0
    if n % 2:
        return x * power(x, n - 1)
    half = power(x, n // 2)
    return half * half


@tg.njit
def tree(x, low, high, scale=0.5):
    if high - low == 1:
        return math.sin(x[low])
    middle = (low + high) // 2
    total = 0.0
    for k in range(low, high):
        total += x[k] ** 2
        if total > 0.5:
            total *= tree(x, low, middle)
    return scale * tree(x, low, middle) * total + math.exp(tree(x, middle, high, scale=scale * x[low])) * x[middle]


def even(x, n):
    if n == 0:
        return math.cos(x)
    return odd(x * 1.1, n - 1) * x


def odd(x, n):
    y = even(x + 0.1, n)
    return y * y + x


@tg.njit
def by_turns(x, n):
    return odd(x, n) + x


@tg.njit
def folded(x):
    if len(x) == 1:
        return x[0]
    half = len(x) // 2
    z = np.sin(x[:half]) * x[half:2 * half]
    return folded(z) + np.sum(x) * folded(x[half:])


@tg.njit
def halved(x, depth):
    if depth == 0:
        return 2.0 * x
    y = halved(x * x, depth - 1)
    return np.sin(y) + x


@numba.njit
def fibonacci(n, x):
    if n < 2:
        return x ** (n + 1)
    return fibonacci(n - 1, x) * 0.5 + fibonacci(n - 2, x)


@tg.njit
def of_fibonacci(x):
    s = 0.0
    for n in range(6):
        s = s * x + fibonacci(n, x)
    return s


def differences(f, x, step=1e-6):
    if np.ndim(x) == 0:
        return (f(x + step) - f(x - step)) / (2 * step)
    return [(f(x + e) - f(x - e)) / (2 * step) for e in np.eye(len(x)) * step]


def test_a_power_has_the_slope_of_its_formula():
    for n in (0, 1, 5, 12):
        value, g = tg.value_and_grad(power)(1.1, n)
        assert value == pytest.approx(1.1**n) and g == pytest.approx(n * 1.1**(n - 1))
    assert power.py_func(1.1, 5) == pytest.approx(power(1.1, 5))


@pytest.mark.parametrize("function, x, more", [
    pytest.param(tree, X, (0, 7), marks=pytest.mark.grid), (by_turns, 0.7, (3,)), (folded, X, ()),
    pytest.param(of_fibonacci, 0.8, (), marks=pytest.mark.grid)], ids=["of parts", "by turns", "of arrays", "of numba"])
def test_gradients_are_differences(function, x, more):
    found = tg.grad(function)(x, *more)
    np.testing.assert_allclose(found, differences(lambda x: function(x, *more), x), rtol=1e-6, atol=1e-8)


def test_by_several_arguments_and_as_an_op():
    """Its adjoints by one and by both arguments call each other."""
    to_x, to_scale = tg.grad(tree, argnums=(0, 3))(X, 0, 7, 0.5)
    np.testing.assert_allclose(to_scale, differences(lambda s: tree(X, 0, 7, s), 0.5), rtol=1e-6)
    x = tg.tensor(X, requires_grad=True)
    (2.0 * tree(x, 0, 7)).backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * to_x, rtol=1e-10)


@pytest.mark.grid
def test_a_result_that_is_an_array():
    jacobian = tg.jacobian(lambda x: halved(x, 2))(X[:3])
    np.testing.assert_allclose(jacobian, np.transpose(differences(lambda x: halved(x, 2), X[:3])), rtol=1e-6, atol=1e-8)


def test_second_derivatives():
    assert tg.grad(tg.grad(lambda x: power(x, 5)))(1.1) == pytest.approx(20 * 1.1**3)


def test_what_is_derived_says_the_adjoints_of_what_is_called():
    tg.grad(power)(1.1, 3)
    source = power.adjoint_source
    scope = {"np": np, "math": math}
    exec(source, scope)
    assert scope["power_adjoint"](1.1, 3, 1.0, 0.0, np.empty(9), np.empty(9, int))[3] == pytest.approx(3 * 1.1**2)
