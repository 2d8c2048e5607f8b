"""Random numbers in loops: what the forward sweep draws is what the reverse sweep has."""

import math

import numba
import numpy as np
import pytest

import tapegrad as tg

pytestmark = pytest.mark.compiled
P = np.array([1.0, 0.2, 0.5])


@numba.njit
def seeded(n):
    np.random.seed(n)


@numba.njit
def drawn():
    return np.random.random()


@tg.njit
def path(p, n):
    s, total = p[0], 0.0
    for _ in range(n):
        s *= math.exp(p[1] * np.random.normal() + 0.01 * np.random.uniform(p[2], 1.0))
        if np.random.random() < 0.3:
            s *= p[2]
        total += s * s
    return total / n


@tg.njit
def mixed(p, n):
    a = np.zeros(4)
    a[:] = p[0]
    for _ in range(n):
        z = np.random.normal(p[1], p[2], 4)
        k = np.random.randint(0, 4)
        tries = 0
        while np.random.random() < 0.5 and tries < 3:
            a[k] *= 1.0 + 0.1 * z[k]
            tries += 1
        a = np.sin(a + 0.1 * z) + np.random.exponential(p[0]) * 0.1
    order = np.random.permutation(4)
    return a[order[0]] * a[order[1]] + np.random.standard_gamma(2.0) * p[0]


@tg.njit
def with_its_own_seed(p, n):
    np.random.seed(n)
    s = p[0]
    for _ in range(5):
        s = s * s * np.random.laplace(p[1], p[2])
    return s


def differences(function, p, n, seed, step=1e-6):
    found = []
    for e in np.eye(len(p)) * step:
        seeded(seed)
        above = function(p + e, n)
        seeded(seed)
        found.append((above - function(p - e, n)) / (2 * step))
    return found


@pytest.mark.parametrize("function, n", [(path, 5), (path, 3000), (mixed, 6), (with_its_own_seed, 3)])
def test_the_gradient_is_that_of_the_numbers_of_a_plain_call(function, n):
    """3,000 draws need a longer tape than the first, and are drawn again from where the first run began."""
    seeded(4)
    value, after = function(P, n), drawn()
    seeded(4)
    found, g = tg.value_and_grad(function)(P, n)
    assert found == pytest.approx(value, rel=1e-12) and drawn() == after
    np.testing.assert_allclose(g, differences(function, P, n, 4), rtol=1e-6, atol=1e-8)


def test_to_ask_for_the_tapes_length_draws_nothing():
    seeded(1)
    first = drawn()
    seeded(1)
    assert path.memory(P, 10) > 0
    assert drawn() == first


def test_of_tensors_the_numbers_are_the_librarys_and_the_same_in_both_walks():
    def of(p):
        tg.manual_seed(3)
        return float(path(tg.tensor(p), 8))

    expected = [(of(P + e) - of(P - e)) / 2e-6 for e in np.eye(3) * 1e-6]
    seeded(1)
    first = drawn()
    seeded(1)
    tg.manual_seed(3)
    p = tg.tensor(P, requires_grad=True)
    loss = path(p, 8)
    loss.backward()
    assert float(loss) == of(P) and drawn() == first
    np.testing.assert_allclose(p.grad.numpy(), expected, rtol=1e-6)
    tg.manual_seed(3)
    fast = tg.compile(tg.value_and_grad(lambda p: path(p, 8)))
    values = []
    for _ in range(3):
        value, g = fast(P)
        values.append(value)
        if len(values) == 1:
            np.testing.assert_allclose(g, expected, rtol=1e-6)
    assert values[0] == of(P) and len(set(values)) == 3


def test_second_derivatives_are_of_the_same_numbers():
    def slope(p):
        tg.manual_seed(5)
        return tg.grad(lambda p: path(p * 1.0, 4) * 1.0)(p)

    tg.manual_seed(5)
    found = tg.hessian(lambda p: path(p, 4))(P)
    np.testing.assert_allclose(found, [(slope(P + e) - slope(P - e)) / 2e-6 for e in np.eye(3) * 1e-6], rtol=1e-6)


def noisy(x, y):
    for k in range(x.size):
        y[k] = x[k] * np.random.normal()


def test_a_forward_of_a_custom_op_may_not_draw():
    with pytest.raises(tg.GradientError, match=r"np\.random .*use tg\.njit, or give the random numbers"):
        tg.custom_op(noisy)(tg.tensor([1.0], requires_grad=True))


@tg.njit
def scaled(x):
    return np.random.normal() * x**3


def test_each_call_of_a_batch_has_numbers_of_its_own_and_its_derivative_the_same():
    x = np.array([0.8, 0.8, 1.1])
    value, slope = tg.vmap(tg.value_and_grad(scaled))(x)
    np.testing.assert_allclose(value / x**3, slope / (3 * x**2), rtol=1e-12)
    assert len(set(np.round(value / x**3, 12))) == 3
