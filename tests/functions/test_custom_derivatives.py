"""Derivatives through `custom_op`: its adjoint serves wherever a gradient is taken once; what asks for more raises."""

import numpy as np
import pytest
from custom_ops import bent_formula, bent_slope, make_bend, make_distances, make_logistic, make_pick
from ops.contract import close, uniform

import tapegrad as tg

X, C = uniform(6, -1.0, 1.5, 1), uniform(6, 0.5, 1.5, 2)


def test_a_cotangent_is_pulled_through_the_authors_adjoint():
    bend = make_bend()
    value, pull = tg.vjp(lambda x: bend(x) * bend(x), X)
    close(value, bent_formula(X) ** 2, 1e-14)
    for g in (C, -C):
        close(pull(g)[0], g * 2 * bent_formula(X) * bent_slope(X), 1e-13)


@pytest.mark.parametrize("recorded", [False, True])
def test_a_gradient_within_a_recording_or_a_batch_is_the_adjoints(recorded):
    distances = make_distances()
    a, b = uniform((3, 4, 2), -1, 1, 1), uniform((5, 2), -1, 1, 2)
    w = uniform((4, 5), 0.5, 1.5, 3)

    def slopes(a):
        return tg.grad(lambda a, b: (distances(a, b) * w).sum(), (0, 1))(a, tg.tensor(b))

    of_each = tg.vmap(slopes)
    to_a, to_b = (tg.compile(of_each) if recorded else of_each)(a)
    apart = a[:, :, None] - b
    close(np.asarray(to_a), 2 * (w[..., None] * apart).sum(2), 1e-12)
    close(np.asarray(to_b), -2 * (w[..., None] * apart).sum(1), 1e-12)


def test_an_input_without_a_gradient_beside_one_with_it():
    pick, logistic = make_pick(), make_logistic()
    table, index = uniform((4, 3), -1, 1, 1), np.array([2, 0, 2])
    _, pull = tg.vjp(lambda table: pick(table, index), table)
    expected = np.zeros((4, 3))
    np.add.at(expected, index, 1.0)
    close(pull(np.ones((3, 3)))[0], expected, 1e-15)
    x, g = X.reshape(2, 3), C.reshape(2, 3)
    _, pull = tg.vjp(lambda x: logistic(x, rate=2.0), x)
    y = 1 / (1 + np.exp(-2.0 * x))
    close(pull(g)[0], 2.0 * g * y * (1 - y), 1e-13)
    stepped = tg.custom_op(step_of, nondiff=("x",))
    close(tg.vjp(lambda x: stepped(x) * x, X)[1](C)[0], C * (X > 0), 1e-15)


def step_of(x, y):
    for k in range(x.size):
        y[k] = 1.0 if x[k] > 0 else 0.0


def test_a_gradient_penalty_of_the_other_inputs_passes_by_a_custom_op():
    bend = make_bend()

    def penalty(w):
        return (tg.grad(lambda x: (w * x * x).sum() + bend(tg.stop_gradient(x)).sum())(tg.tensor(X)) ** 2).sum()

    close(tg.grad(penalty)(C), 8 * C * X**2, 1e-12)


MORE = {
    "gradient of a gradient": lambda f: tg.grad(lambda x: tg.grad(f)(x).sum())(X),
    "hvp": lambda f: tg.hvp(f, X, C),
    "hessian": lambda f: tg.hessian(f)(X),
    "jvp": lambda f: tg.jvp(f, (X,), (C,)),
    "hvp in a recording": lambda f: tg.compile(lambda x: tg.hvp(f, x, C))(X),
    "gradient in a recording's gradient": lambda f: tg.compile(tg.grad(lambda x: tg.grad(f)(x).sum()))(X),
    "of each of a batch": lambda f: tg.vmap(lambda x: tg.hvp(f, x, tg.tensor(C)))(np.stack([X, X])),
    "create_graph": lambda f: _twice(f),
}


def _twice(f):
    x = tg.tensor(X, requires_grad=True)
    g, = tg.autograd.grad(f(x), [x], create_graph=True)
    g.sum().backward()


@pytest.mark.parametrize("what", MORE)
def test_a_derivative_of_the_adjoint_is_an_error_that_names_the_op_and_the_remedy(what):
    bend = make_bend()
    with pytest.raises(tg.GradientError, match=r"(?s)bent.*custom_jvp or tg.custom_vjp.*detach"):
        MORE[what](lambda x: (bend(x) * x).sum())


def test_with_a_derivative_of_its_authors_it_has_higher_ones():
    bend = make_bend()

    @tg.custom_jvp
    def smooth(x):
        return bend(x)

    @smooth.defjvp
    def _(primals, tangents):
        (x,), (d,) = primals, tangents
        return smooth(x), d * tg.where(x > 0, 1.0 + x, 1.0)

    close(tg.hvp(lambda x: (smooth(x) * C).sum(), X, np.ones(6)), C * (X > 0), 1e-12)
