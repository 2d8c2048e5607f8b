"""custom_vjp and custom_jvp: derivatives by the author's rules, in every direction and order."""

import copy
import pickle

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import optim

A = np.arange(6.0).reshape(2, 3) / 3.0 - 0.7
B = np.array([0.5, -1.0, 2.0])
V = np.array([0.3, 0.2, -0.7])


def by_vjp():
    """sin(x) y, whose derivative by x is three times the right one, that it may be told from it."""
    @tg.custom_vjp
    def f(x, y):
        return tg.sin(x) * y

    f.defvjp(lambda x, y: (f(x, y), (x, y)),
             lambda kept, g: (3.0 * g * tg.cos(kept[0]) * kept[1], g * tg.sin(kept[0])))
    return f


def by_jvp():
    """The same by its tangent."""
    @tg.custom_jvp
    def f(x, y):
        return tg.sin(x) * y

    @f.defjvp
    def rule(primals, tangents):
        (x, y), (dx, dy) = primals, tangents
        return f(x, y), 3.0 * dx * tg.cos(x) * y + dy * tg.sin(x)

    return f


def by_arguments():
    """The same by a rule for each argument."""
    @tg.custom_jvp
    def f(x, y):
        return tg.sin(x) * y

    f.defjvps(lambda d, value, x, y: 3.0 * d * tg.cos(x) * y, lambda d, value, x, y: d * tg.sin(x))
    return f


MADE = pytest.mark.parametrize("make", [by_vjp, by_jvp, by_arguments])
WAYS = pytest.mark.parametrize("through", [lambda f: f, tg.compile], ids=["define by run", "recorded"])


@WAYS
@MADE
def test_derivatives_of_any_kind_follow_the_rule(make, through):
    f = make()
    total = lambda x, y: f(x, y).sum()  # noqa: E731
    first, second, tangent = (through(transformed) for transformed in (
        tg.grad(total, (0, 1)), tg.grad(lambda x, y: tg.grad(total)(x, y).sum(), (0, 1)),
        tg.jacfwd(lambda x, y: tg.jvp(f, (x, y), (np.ones(3), np.ones(3)))[1].sum())))
    for x, y in ((B, V), (V, B)):
        for found, expected in zip(first(x, y), (3 * np.cos(x) * y, np.sin(x))):
            np.testing.assert_allclose(found, expected, rtol=1e-14)
        for found, expected in zip(second(x, y), (-3 * np.sin(x) * y, 3 * np.cos(x))):
            np.testing.assert_allclose(found, expected, rtol=1e-14)
        np.testing.assert_allclose(tangent(x, y), -3 * np.sin(x) * y + np.cos(x), rtol=1e-14)


@MADE
def test_both_directions_have_the_whole_jacobian(make):
    for transform in (tg.jacfwd, tg.jacrev):
        by_x, by_y = transform(make(), (0, 1))(B, V)
        np.testing.assert_allclose(by_x, np.diag(3 * np.cos(B) * V), rtol=1e-14)
        np.testing.assert_allclose(by_y, np.diag(np.sin(B)), rtol=1e-14)


@WAYS
@MADE
def test_a_batch_has_the_rule_of_each(make, through):
    f = make()
    for axes, y in (((0, None), V), ((0, 0), A + 1.0)):
        mapped = through(tg.vmap(tg.grad(lambda x, y: f(x, y).sum(), (0, 1)), axes))
        by_x, by_y = mapped(A, y)
        np.testing.assert_allclose(by_x, 3 * np.cos(A) * y, rtol=1e-14)
        np.testing.assert_allclose(by_y, np.sin(A), rtol=1e-14)
    over = through(tg.grad(lambda x: tg.vmap(f, (0, None))(x, V).sum()))
    np.testing.assert_allclose(over(A), 3 * np.cos(A) * V, rtol=1e-14)
    twice = through(tg.vmap(lambda x, d: tg.jvp(f, (x, V), (d, x))[1]))
    np.testing.assert_allclose(twice(A, A + 1.0), 3 * np.cos(A) * V * (A + 1.0) + np.sin(A) * A, rtol=1e-13)


@MADE
def test_the_compiled_reverse_walk_follows_the_rule(make):
    f = make()
    x = tg.tensor(B, requires_grad=True)
    f(x, V).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 3 * np.cos(B) * V, rtol=1e-14)
    w = tg.tensor(B, requires_grad=True)
    step = tg.TrainStep(lambda y: f(w, y).sum(), optim.SGD([w], lr=0.1))
    expected = B
    for _ in range(3):
        np.testing.assert_allclose(step(V), (np.sin(expected) * V).sum(), rtol=1e-12)
        expected = expected - 0.1 * 3 * np.cos(expected) * V
    np.testing.assert_allclose(w.detach().numpy(), expected, rtol=1e-12)


def test_structures_of_arguments_and_results():
    @tg.custom_vjp
    def f(p, x):
        return {"a": p["w"] * x, "b": (p["v"] ** 2,)}

    f.defvjp(lambda p, x: (f(p, x), (p, x)), lambda kept, g: (
        {"w": 2.0 * g["a"] * kept[1], "v": 7.0 * g["b"][0] * kept[0]["v"]}, None))
    by_p, by_x = tg.grad(lambda p, x: (lambda y: (y["a"] ** 2).sum() + (3.0 * y["b"][0]).sum())(f(p, x)), (0, 1))(
        {"w": B, "v": V}, V)
    np.testing.assert_allclose(by_p["w"], 4 * B * V * V, rtol=1e-14)
    np.testing.assert_allclose(by_p["v"], 21 * V, rtol=1e-14)
    np.testing.assert_array_equal(by_x, np.zeros(3))


def test_arguments_that_are_not_differentiated():
    apply = tg.custom_vjp(lambda k, x: k(x), nondiff_argnums=0)
    apply.defvjp(lambda k, x: (apply(k, x), x), lambda k, x, g: (g * k(x),))
    np.testing.assert_allclose(tg.grad(lambda x: apply(tg.sin, x).sum())(B), np.sin(B))
    scaled = tg.custom_jvp(lambda x, k: x * k, nondiff_argnums=(1,))
    scaled.defjvp(lambda k, primals, tangents: (scaled(primals[0], k), 5.0 * k * tangents[0]))
    np.testing.assert_allclose(tg.grad(lambda x: scaled(x, 2.0).sum())(B), np.full(3, 10.0))


def test_a_root_by_implicit_differentiation_to_third_order():
    @tg.custom_vjp
    def root(a):
        x = a
        for _ in range(30):
            x = x - (x * x - a) / (2.0 * x)
        return x

    def forward(a):
        x = root(a)
        return x, x

    root.defvjp(forward, lambda x, g: (g / (2.0 * x),))
    first = tg.grad(root)
    second = tg.grad(first)
    assert first(4.0) == pytest.approx(0.25)
    assert second(4.0) == pytest.approx(-1 / 32)
    assert tg.grad(second)(4.0) == pytest.approx(3 / 256)
    np.testing.assert_allclose(tg.vmap(second)(np.array([4.0, 9.0])), [-1 / 32, -1 / 108], rtol=1e-12)


@MADE
def test_keywords_are_arguments_by_their_names(make):
    f = make()
    np.testing.assert_allclose(tg.grad(lambda x: f(y=V, x=x).sum())(B), 3 * np.cos(B) * V, rtol=1e-14)
    with pytest.raises(TypeError, match="z"):
        f(B, y=V, z=V)


@tg.custom_vjp
def straight(x):
    return tg.sign(x)


straight.defvjp(lambda x: (straight(x), None), lambda kept, g: (g,))


@MADE
def test_copies_have_the_rule(make):
    for f in (copy.copy(make()), copy.deepcopy(make())):
        np.testing.assert_allclose(tg.grad(lambda x, f=f: f(x, V).sum())(B), 3 * np.cos(B) * V)
    again = pickle.loads(pickle.dumps(straight))
    np.testing.assert_array_equal(tg.grad(lambda x: again(x).sum())(B), np.ones(3))


# ------------------------------------------------------------------ what is refused


def test_tensors_that_are_no_arguments_have_no_silent_zero():
    w = tg.tensor(V, requires_grad=True)
    f = tg.custom_vjp(lambda x: x * w)
    f.defvjp(lambda x: (f(x), None), lambda kept, g: (g,))
    with pytest.raises(tg.GradientError, match="test_rules.*not one of its arguments.*detach"):
        tg.grad(lambda x: f(x).sum())(B)
    with pytest.raises(tg.GradientError, match="not one of its arguments"):
        f(tg.tensor(B, requires_grad=True))


def vjp_of(bwd):
    f = tg.custom_vjp(lambda x: x * 2.0)
    f.defvjp(lambda x: (f(x), None), bwd)
    return f


def jvp_of(tangent):
    f = tg.custom_jvp(lambda x: x * 2.0)
    f.defjvp(lambda primals, tangents: (f(*primals), tangent(tangents[0])))
    return f


def forward_alone():
    f = tg.custom_vjp(lambda x: x * 2.0)
    f.defvjp(lambda x: x * 2.0, lambda kept, g: (g,))
    return f


@pytest.mark.parametrize("derivative", [lambda f: tg.grad(lambda x: f(x).sum()), tg.jacfwd, tg.jacrev,
                                        lambda f: tg.compile(tg.grad(lambda x: f(x).sum()))])
@pytest.mark.parametrize("make, message", [
    (lambda: vjp_of(lambda kept, g: (g.sum(),)), r"shape \[\], what it belongs to \[3\]"),
    (lambda: vjp_of(lambda kept, g: (g, g)), "a tuple of 1 cotangents"),
    (lambda: vjp_of(lambda kept, g: ([g, g],)), "1 leaves, not 2"),
    (lambda: jvp_of(lambda d: d.sum()), r"shape \[\], what it belongs to \[3\]"),
    (lambda: jvp_of(lambda d: (d, d)), "1 leaves, not 2"),
    (forward_alone, "value, residuals"),
    (lambda: tg.custom_vjp(lambda x: x * 2.0), "defvjp"),
    (lambda: tg.custom_jvp(lambda x: x * 2.0), "defjvp"),
])
def test_rules_that_return_something_else_are_refused_with_the_line(make, message, derivative):
    with pytest.raises(tg.GradientError, match=message) as caught:
        derivative(make())(B)
    assert "test_rules.py" in str(caught.value)
