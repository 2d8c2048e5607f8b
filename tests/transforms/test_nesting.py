"""Transformations within one another, of random functions: against hyper-dual numbers in plain NumPy."""

import itertools

import naive.hyperdual as dual
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tapegrad as tg

N = 3
MATRIX = np.random.default_rng(5).uniform(-1.0, 1.0, (N, N))

# what a random function does to a vector: over tensors, over hyper-dual numbers
STEPS = {
    "sin": (lambda x, y: tg.sin(x), lambda x, y: dual.sin(x)),
    "tanh": (lambda x, y: tg.tanh(x), lambda x, y: dual.tanh(x)),
    "exp": (lambda x, y: tg.exp(0.3 * x), lambda x, y: dual.exp(0.3 * x)),
    "times the argument": (lambda x, y: x * y, lambda x, y: x * y),
    "plus the argument": (lambda x, y: x + y * 0.5, lambda x, y: x + y * 0.5),
    "matrix": (lambda x, y: x @ MATRIX, lambda x, y: x @ dual.HyperDual(MATRIX)),
    "reversed": (lambda x, y: x[::-1] - y, lambda x, y: x[::-1] - y),
    "shifted": (lambda x, y: tg.concatenate([x[1:], x[:1]]), lambda x, y: x[np.array([*range(1, N), 0])]),
    "times its sum": (lambda x, y: x * x.sum() * 0.2, lambda x, y: x * x.sum() * 0.2),
    "its product": (lambda x, y: x * x[0], lambda x, y: x * x[0:1]),
}
PROGRAMS = st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=5)
VECTORS = st.lists(st.floats(-1.0, 1.0), min_size=N, max_size=N).map(np.array)


def scalar(program):
    """A scalar function of a vector, over tensors."""

    def f(x):
        value = x
        for step in program:
            value = STEPS[step][0](value, x)
        return (value * np.arange(1.0, N + 1.0)).sum()

    return f


def exact(program, x, v, w):
    """Value, derivative along v, second derivative along v and w."""
    x = dual.HyperDual(x, v, w)
    value = x
    for step in program:
        value = STEPS[step][1](value, x)
    total = (value * np.arange(1.0, N + 1.0)).sum()
    return total.a, total.b, total.d


def along(f, v):
    """The derivative along v, as a function, in each way that there is."""
    return {
        "grad": lambda x: (tg.grad(f)(x) * v).sum(),
        "jvp": lambda x: tg.jvp(f, (x,), (v,))[1],
        "vjp": lambda x: (tg.vjp(f, x)[1](np.ones(()))[0] * v).sum(),
        "linearize": lambda x: tg.linearize(f, x)[1](v),
        "jacobian": lambda x: (tg.jacobian(f)(x) * v).sum(),
        "vmap": lambda x: tg.vmap(lambda scale: tg.jvp(f, (x,), (scale * v,))[1])(np.array([1.0, 2.0]))[0],
        "vmapped grad": lambda x: (tg.vmap(lambda scale: tg.grad(lambda x: scale * f(x))(x))(
            np.array([1.0, 3.0]))[0] * v).sum(),
    }


WAYS = sorted(along(scalar(["sin"]), np.ones(N)))


def number(value):
    return float(value.detach().numpy() if isinstance(value, tg.Tensor) else value)


@settings(max_examples=60, deadline=None)
@given(PROGRAMS, VECTORS, VECTORS, VECTORS, st.sampled_from(WAYS), st.sampled_from(WAYS), st.booleans())
def test_derivatives_of_derivatives_in_any_order(program, x, v, w, inner, outer, compiled):
    f = scalar(program)
    first = along(f, v)[inner]
    second = along(first, w)[outer]
    expected = exact(program, x, v, w)
    scale = 1e-9 * (1.0 + max(map(abs, expected)))
    assert number(f(tg.tensor(x))) == pytest.approx(expected[0], abs=scale)
    assert number((tg.compile(first) if compiled else first)(x)) == pytest.approx(expected[1], abs=scale)
    assert number((tg.compile(second) if compiled else second)(x)) == pytest.approx(expected[2], abs=scale)


@settings(max_examples=25, deadline=None)
@given(PROGRAMS, VECTORS, VECTORS, VECTORS, VECTORS, st.tuples(*[st.sampled_from(WAYS)] * 3))
def test_third_derivatives_in_any_order_are_differences_of_second_ones(program, x, u, v, w, ways):
    g = scalar(program)
    for direction, way in zip((u, v, w), ways):
        g = along(g, direction)[way]
    step = 1e-4
    up, down = (exact(program, x + s * step * w, u, v)[2] for s in (1.0, -1.0))
    bound = 1e-5 * (1.0 + max(abs(up), abs(down)))
    assert number(g(x)) == pytest.approx((up - down) / (2 * step), abs=bound)


@settings(max_examples=25, deadline=None)
@given(PROGRAMS, VECTORS, VECTORS, VECTORS)
def test_the_hessian_and_its_products(program, x, v, w):
    f = scalar(program)
    expected = exact(program, x, v, w)[2]
    bound = 1e-9 * (1.0 + abs(expected))
    assert v @ tg.hessian(f)(x) @ w == pytest.approx(expected, abs=bound)
    assert v @ tg.compile(tg.hessian(f))(x) @ w == pytest.approx(expected, abs=bound)
    assert v @ tg.hvp(f, x, w) == pytest.approx(expected, abs=bound)
    assert v @ tg.sparse_hessian(f, check=True)(x) @ w == pytest.approx(expected, abs=bound)
    for inner, outer in itertools.product((tg.jacfwd, tg.jacrev), repeat=2):
        assert v @ outer(inner(f))(x) @ w == pytest.approx(expected, abs=bound)
