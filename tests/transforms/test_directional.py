"""Products of a Jacobian or Hessian with vectors: vjp, jvp, linearize, hvp, stop_gradient."""

from collections import namedtuple

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.tape.state import enable_grad
from tapegrad.transforms import graph, reading

B = np.array([0.5, -1.0, 2.0])
V = np.array([0.3, 0.2, -0.7])
W = np.array([-1.0, 0.4, 0.9])
Pair = namedtuple("Pair", "w b")


def curve(x):
    """sin(x) x0, whose Jacobian is below."""
    return tg.sin(x) * x[0]


def jacobian_of_curve(x):
    jacobian = np.diag(np.cos(x) * x[0])
    jacobian[:, 0] += np.sin(x)
    return jacobian


def plain(t):
    return t.detach().numpy() if isinstance(t, tg.Tensor) else t


# ------------------------------------------------------------------ values


def test_jvp_is_the_jacobian_times_the_tangent():
    value, tangent = tg.jvp(curve, (B,), (V,))
    np.testing.assert_allclose(value, np.sin(B) * B[0], rtol=1e-14)
    np.testing.assert_allclose(tangent, jacobian_of_curve(B) @ V, rtol=1e-14)
    assert type(value) is type(tangent) is np.ndarray


def test_vjp_is_the_cotangent_times_the_jacobian():
    value, pull = tg.vjp(curve, B)
    np.testing.assert_allclose(value, np.sin(B) * B[0], rtol=1e-14)
    for g in (V, W):  # one graph, walked twice
        found = pull(g)
        assert isinstance(found, tuple) and len(found) == 1
        np.testing.assert_allclose(found[0], g @ jacobian_of_curve(B), rtol=1e-14)


def test_linearize_evaluates_the_function_once():
    calls = []

    def counted(x):
        calls.append(1)
        return curve(x)

    _, push = tg.linearize(counted, B)
    for d in (V, W):
        np.testing.assert_allclose(push(d), jacobian_of_curve(B) @ d, rtol=1e-14)
    assert len(calls) == 1


@pytest.mark.parametrize("container", [tuple, list])
def test_hvp_comes_in_the_structure_of_its_primals(container):
    found = tg.hvp(lambda x, y: (x * x * y).sum(), container([B, V]), container([W, B]))
    assert type(found) is container
    np.testing.assert_allclose(found[0], 2 * V * W + 2 * B * B, rtol=1e-14)
    np.testing.assert_allclose(found[1], 2 * B * W, rtol=1e-14)


def test_hvp_of_a_dict():
    found = tg.hvp(lambda p: (p["x"] ** 3).sum(), {"x": B}, {"x": V})
    np.testing.assert_allclose(found["x"], 6 * B * V, rtol=1e-14)


def test_structures_of_arguments_and_results_are_kept():
    def f(p, x):
        return {"a": p.w * x, "b": [(p.b ** 2).sum(), None]}

    value, tangent = tg.jvp(f, (Pair(B, V), W), (Pair(V, W), B))
    assert isinstance(tangent["b"], list) and tangent["b"][1] is None
    np.testing.assert_allclose(tangent["a"], V * W + B * B, rtol=1e-14)
    np.testing.assert_allclose(tangent["b"][0], 2 * V @ W, rtol=1e-14)
    value, pull = tg.vjp(f, Pair(B, V), W)
    by_p, by_x = pull({"a": V, "b": [np.float64(2.0), None]})
    assert type(by_p) is Pair
    np.testing.assert_allclose(by_p.w, V * W, rtol=1e-14)
    np.testing.assert_allclose(by_p.b, 4 * V, rtol=1e-14)
    np.testing.assert_allclose(by_x, V * B, rtol=1e-14)


def test_what_is_returned_twice_or_as_it_came_adds_up():
    value, pull = tg.vjp(lambda x, y: (x, x, y[::-1], x * 2.0), B, V)
    by_x, by_y = pull((V, W, B, W))
    np.testing.assert_allclose(by_x, V + W + 2 * W, rtol=1e-14)
    np.testing.assert_allclose(by_y, B[::-1])
    value, tangent = tg.jvp(lambda x: (x, x[1], tg.tensor(np.ones(2))), (B,), (V,))
    np.testing.assert_array_equal(tangent[0], V)
    np.testing.assert_array_equal(tangent[1], V[1])
    np.testing.assert_array_equal(tangent[2], np.zeros(2))


@pytest.mark.parametrize("x", [np.zeros(0), np.zeros((0, 3)), np.ones((1, 1)), np.array(2.0), 2.0,
                               np.arange(6.0).reshape(2, 3).T[::-1], np.broadcast_to(B, (2, 3))])
def test_any_shape_and_layout(x):
    def f(z):
        return tg.sin(z) * z

    slope = np.cos(x) * x + np.sin(x)
    np.testing.assert_allclose(tg.jvp(f, (x,), (x,))[1], slope * x, rtol=1e-13)
    np.testing.assert_allclose(tg.vjp(f, x)[1](x)[0], slope * x, rtol=1e-13)


def test_float32_stays_float32():
    x = B.astype(np.float32)
    assert {a.dtype for a in (*tg.jvp(curve, (x,), (V,)), *tg.vjp(curve, x)[1](V))} == {np.dtype(np.float32)}


def test_auxiliary_results_come_last():
    value, tangent, aux = tg.jvp(lambda x: (x * x, {"s": tg.sin(x), "n": 3}), (B,), (V,), has_aux=True)
    np.testing.assert_allclose(tangent, 2 * B * V)
    assert aux["n"] == 3 and isinstance(aux["s"], np.ndarray)
    *_, aux = tg.vjp(lambda x: (x, "text"), B, has_aux=True)
    assert aux == "text"


# ------------------------------------------------------------------ products that are themselves transformed


@pytest.mark.parametrize("through", [lambda f: f, tg.compile], ids=["define by run", "recorded"])
def test_the_functions_that_vjp_and_linearize_return_are_functions_like_any_other(through):
    j = jacobian_of_curve(B)
    pull, push = tg.vjp(curve, B)[1], tg.linearize(curve, B)[1]
    for x in (V, W):
        np.testing.assert_allclose(plain(through(push)(x)), j @ x, rtol=1e-13)
        np.testing.assert_allclose(through(tg.grad(lambda x: (push(x) ** 2).sum()))(x), 2 * j.T @ (j @ x), rtol=1e-13)
        np.testing.assert_allclose(through(tg.grad(lambda g: (pull(g)[0] ** 2).sum()))(x), 2 * j @ (x @ j), rtol=1e-13)
    np.testing.assert_allclose(plain(through(tg.jacfwd(push))(V)), j, rtol=1e-13)
    np.testing.assert_allclose(plain(through(tg.vmap(lambda g: pull(g)[0]))(np.eye(3))), j, rtol=1e-13)


def test_perturbations_are_not_confused():
    inner = lambda x: tg.jvp(lambda y: x + y, (1.0,), (1.0,))[1]  # noqa: E731
    assert tg.jvp(lambda x: x * inner(x), (1.0,), (1.0,))[1] == 1.0


def test_a_tangent_has_a_history_by_tensors_outside():
    w = tg.tensor(W, requires_grad=True)
    tg.jvp(lambda x: (x * x * w).sum(), (B,), (V,))[1].backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * B * V, rtol=1e-14)


def test_under_no_grad_products_are_arrays():
    w = tg.tensor(W, requires_grad=True)
    with tg.no_grad():
        tangent = tg.jvp(lambda x: x * x * w, (B,), (V,))[1]
        np.testing.assert_allclose(tg.hvp(lambda x: (x ** 3).sum(), B, V), 6 * B * V)
    assert isinstance(tangent, np.ndarray)
    np.testing.assert_allclose(tangent, 2 * B * V * W)


def test_what_no_grad_and_detach_hide_is_constant():
    def hidden(x):
        with tg.no_grad():
            y = x * x
        return (x * y).sum()

    for f in (hidden, lambda x: (x * (x * x).detach()).sum(), lambda x: (x * tg.stop_gradient(x * x)).sum()):
        assert tg.jvp(f, (B,), (V,))[1] == pytest.approx((B * B * V).sum())
        np.testing.assert_array_equal(tg.hvp(f, B, V), np.zeros(3))


def test_stop_gradient_takes_structures():
    assert tg.stop_gradient(3.0) == 3.0 and tg.stop_gradient({"a": [None]}) == {"a": [None]}
    np.testing.assert_array_equal(tg.grad(lambda x: (x * tg.stop_gradient({"k": (x,)})["k"][0]).sum())(B), B)


def test_a_branch_on_a_value_is_taken_define_by_run_and_refused_in_a_recording():
    def f(x):
        return (x ** 3).sum() if x.sum() > 0 else (x ** 2).sum()

    assert tg.jvp(f, (B,), (V,))[1] == pytest.approx(3 * B ** 2 @ V)
    assert tg.jvp(f, (-B,), (V,))[1] == pytest.approx(-2 * B @ V)
    with pytest.raises(tg.CaptureError, match="test_directional"):
        tg.compile(lambda x: tg.jvp(f, (x,), (x,)))(B)


@pytest.mark.parametrize("f", [lambda x: tg.tensor(x.numpy()), lambda x: tg.tensor(float(x.sum())),
                               lambda x: np.asarray(x) * 2.0, lambda x: x.sum().item()])
def test_what_leaves_the_tape_raises_rather_than_have_no_derivative(f):
    for derivative in (lambda x: tg.jvp(f, (x,), (x,)), lambda x: tg.vjp(f, x), lambda x: tg.linearize(f, x)):
        with pytest.raises(tg.GradientError, match="test_directional"):
            derivative(B)


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize("call, message", [
    (lambda: tg.jvp(curve, B, V), "tuple or list"),
    (lambda: tg.jvp(curve, (B,), (V[:2],)), r"\[2\].*\[3\]"),
    (lambda: tg.jvp(curve, (B,), (V, V)), "2 tangents do not fit 1 primals"),
    (lambda: tg.jvp(lambda p: p["x"], ({"x": B},), ({"y": B},)), r"\{'x': \*\}, not \{'y': \*\}"),
    (lambda: tg.vjp(curve, B)[1]((V,)), r"\*, not \(\*,\)"),
    (lambda: tg.vjp(curve, B)[1](V[:, None]), r"\[3, 1\].*\[3\]"),
    (lambda: tg.vjp(lambda x: "text", B), "str"),
])
def test_errors_name_what_does_not_fit_and_the_line(call, message):
    with pytest.raises(tg.TapegradError, match=message) as caught:
        call()
    assert "test_directional.py" in str(caught.value)


def test_a_function_that_is_no_longer_on_the_tape_is_refused():
    x = tg.tensor(B, requires_grad=True)
    y = x * x
    y.sum().backward()
    with pytest.raises(tg.GraphReleasedError, match="retain_graph"):
        tg.jvp(lambda z: z * y, (B,), (V,))


@pytest.mark.parametrize("called_before", [False, True])
def test_a_product_that_would_read_what_was_overwritten_is_refused(called_before):
    w = tg.tensor(W.copy(), requires_grad=True)
    value, pull = tg.vjp(lambda x: tg.exp(x) * w + w, B)
    if called_before:
        np.testing.assert_allclose(plain(pull(V)[0]), np.exp(B) * W * V)
    with tg.no_grad():
        w.copy_(V)
    with pytest.raises(tg.InPlaceError, match=r"test_directional.*multiply of shape \[3\].*compute the function again"):
        pull(V)
    value, pull = tg.vjp(lambda x: tg.exp(x) + w, B)  # whose derivative does not read w
    with tg.no_grad():
        w.copy_(W)
    np.testing.assert_allclose(plain(pull(V)[0]), np.exp(B) * V)


def test_a_custom_rule_that_would_read_what_was_overwritten_is_refused():
    f = tg.custom_vjp(lambda x, y: x * y)
    f.defvjp(lambda x, y: (f(x, y), (x, y)), lambda kept, g: (g * kept[1], g * kept[0]))
    w = tg.tensor(W.copy(), requires_grad=True)
    value, pull = tg.vjp(lambda x: f(x, w), B)
    with tg.no_grad():
        w.copy_(V)
    with pytest.raises(tg.InPlaceError, match="test_directional"):
        pull(V)


def test_a_message_from_within_a_rule_has_the_line_of_the_user():
    w = 2.0 * tg.tensor(W, requires_grad=True)
    push = tg.linearize(lambda x: x * w, B)[1]
    with pytest.raises(tg.CaptureError, match="test_directional.*computed outside"):
        tg.compile(push)(V)


@pytest.mark.parametrize("through", [tg.compile, tg.vmap])
@pytest.mark.parametrize("used_within", [False, True])
def test_a_recording_that_is_over_has_no_products(through, used_within):
    kept = []

    def f(x):
        value, pull = tg.vjp(curve, x)
        kept.append(pull)
        return pull(value)[0] if used_within else value

    through(f)(np.stack([B, V]) if through is tg.vmap else B)
    with pytest.raises(tg.StaleTensorError, match="test_directional|recording"):
        kept[0](V)


def test_parts_of_a_variable_that_meet_touch_or_leave_gaps_each_get_their_own():
    parts = [slice(0, 2), slice(4, 7), slice(2, 3), slice(0, 2), slice(1, 5), slice(8, 9)]
    x, v = np.linspace(0.5, 1.5, 10), np.linspace(-1.0, 1.0, 10)

    def f(x):
        y = 1.0 * x
        return sum((y[part] ** (3 + k)).sum() for k, part in enumerate(parts))

    expected = np.zeros(10)
    for k, part in enumerate(parts):
        expected[part] += (3 + k) * (2 + k) * x[part] ** (1 + k) * v[part]
    for run in (lambda g: g, tg.compile):
        moved, = run(lambda x, v: tg.hvp(f, (x,), (v,)))(x, v)
        np.testing.assert_allclose(np.asarray(moved), expected, rtol=1e-12)


def test_a_variable_that_is_used_row_by_row_has_its_cotangent_made_once():
    counts = []
    for rows in (4, 8):
        x = np.ones((rows, 3))
        recorded = tg.compile(lambda x: tg.hvp(lambda x: sum((row ** 3).sum() for row in tg.sin(x)), (x,), (x,)))
        recorded(x)
        listing = str(recorded.tape).split("\n")
        counts.append(sum(" pad " in line for line in listing))
    assert counts == [0, 0]


def test_a_tangent_by_transposition_looks_at_its_own_instructions_alone(monkeypatch):
    """The adjoint of a product reads what has a long history, which its transpose by the cotangent has no part in."""
    read, taped = [], reading._taped

    def counted(*args):
        read.append(args[1])
        return taped(*args)

    leaf = tg.tensor(B, requires_grad=True)
    x = leaf
    for _ in range(200):
        x = tg.sin(x) * 1.001
    step = reading.steps_to([tg.prod(x)])[-1]
    monkeypatch.setattr(reading, "_taped", counted)
    with enable_grad():
        tangent = graph._transposed(step, {1: tg.tensor(V)})
    assert len(read) < 10
    others = np.array([np.prod(np.delete(x.numpy(), k)) for k in range(x.size)])
    np.testing.assert_allclose(tangent.numpy(), np.sum(others * V), rtol=1e-12)
    given = tg.autograd.grad(tangent, leaf, retain_graph=True)[0]  # its history goes on to all that it reads
    expected = tg.autograd.grad(tg.jvp(tg.prod, (x,), (tg.tensor(V),))[1], leaf)[0]
    np.testing.assert_allclose(given.numpy(), expected.numpy(), rtol=1e-12)
    assert np.abs(given.numpy()).max() > 0
