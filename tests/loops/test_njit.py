"""`tg.njit` among the other transformations: define by run, recorded, batches, derivatives of any order."""

import copy
import inspect
import math

import numba
import numpy as np
import pytest

import tapegrad as tg


def garch_value(p, y):
    s, total = y[0] ** 2, 0.0
    for t in range(1, len(y)):
        s = p[0] + p[1] * y[t - 1] ** 2 + p[2] * s
        total += math.log(s) + y[t] ** 2 / s
    return 0.5 * total


garch = tg.njit(garch_value)


@tg.njit
def running(x, n):
    out = np.zeros(n)
    s = 0.0
    for i in range(n):
        s += x[i] ** 2
        out[i] = math.sin(s)
    return out, s


@numba.njit
def half(x):
    return 0.5 * x * x


@tg.njit
def called(x, scale=2.0):
    return half(x) * scale + half(scale * x)


def garch_by_hand(p, y):
    """The adjoint of GARCH, written by hand."""
    n = len(y)
    s = np.empty(n)
    s[0] = y[0] ** 2
    for t in range(1, n):
        s[t] = p[0] + p[1] * y[t - 1] ** 2 + p[2] * s[t - 1]
    g, bar = np.zeros(3), 0.0
    for t in range(n - 1, 0, -1):
        bar += 0.5 * (1 / s[t] - y[t] ** 2 / s[t] ** 2)
        g += bar * np.array([1.0, y[t - 1] ** 2, s[t - 1]])
        bar *= p[2]
    return g


@pytest.fixture
def data():
    return np.array([0.1, 0.2, 0.7]), np.random.default_rng(0).normal(size=50)


def test_of_arrays_it_is_the_function(data):
    assert garch(*data) == pytest.approx(garch_value(*data), rel=1e-14)
    assert isinstance(garch(*data), float) and garch.__name__ == "garch_value"
    assert garch.py_func is garch_value


def test_value_and_gradient_are_those_of_the_adjoint_by_hand(data):
    value, g = tg.value_and_grad(garch)(*data)
    assert value == pytest.approx(garch_value(*data), rel=1e-14)
    np.testing.assert_allclose(g, garch_by_hand(*data), rtol=1e-12)
    np.testing.assert_allclose(tg.grad(garch)(*data), g, rtol=0)
    gp, gy = tg.grad(garch, argnums=(0, 1))(*data)
    np.testing.assert_allclose(gp, g, rtol=1e-14)
    assert gy.shape == (50,)
    assert tg.gradcheck(lambda y: garch(data[0], y), data[1])


def test_another_length_derives_and_compiles_nothing(data):
    tg.grad(garch)(*data)
    derived = dict(garch._derived)
    compiled = [len(d.function.signatures) for d in derived.values() if hasattr(d.function, "signatures")]
    for n in (2, 3, 1000):
        y = np.random.default_rng(n).normal(size=n)
        np.testing.assert_allclose(tg.grad(garch)(data[0], y), garch_by_hand(data[0], y), rtol=1e-9)
    assert garch._derived == derived
    assert [len(d.function.signatures) for d in derived.values() if hasattr(d.function, "signatures")] == compiled


def test_of_a_tensor_it_is_an_op(data):
    p = tg.tensor(data[0], requires_grad=True)
    loss = garch(tg.exp(tg.log(p)), data[1]) * 2.0
    loss.backward()
    np.testing.assert_allclose(p.grad.numpy(), 2 * garch_by_hand(*data), rtol=1e-10)
    assert not garch(tg.tensor(data[0]), data[1]).requires_grad


def test_recorded(data):
    fast = tg.compile(tg.value_and_grad(lambda p, y: garch(p * p, y)))
    for scale in (1.0, 0.9, 1.1):
        p = scale * data[0]
        value, g = fast(p, data[1])
        assert value == pytest.approx(garch_value(p * p, data[1]), rel=1e-12)
        np.testing.assert_allclose(g, 2 * p * garch_by_hand(p * p, data[1]), rtol=1e-10)
    raw = tg.nn.Parameter(np.log(data[0]))
    step = tg.TrainStep(lambda y: garch(tg.exp(raw), y), tg.optim.SGD([raw], lr=1e-3))
    before = step(data[1])
    for _ in range(20):
        after = step(data[1])
    assert after < before


@pytest.mark.grid
def test_derivatives_of_every_kind(data):
    p, y = data
    step = 1e-5
    differences = np.array([(tg.grad(garch)(p + step * e, y) - tg.grad(garch)(p - step * e, y)) / (2 * step)
                            for e in np.eye(3)])
    for hessian in (tg.hessian(garch)(p, y), tg.compile(tg.hessian(lambda p: garch(p, y)))(p),
                    tg.jacrev(tg.grad(lambda p: garch(p, y)))(p), tg.jacfwd(tg.jacfwd(lambda p: garch(p, y)))(p)):
        np.testing.assert_allclose(hessian, differences, rtol=1e-6, atol=1e-4)
        np.testing.assert_allclose(hessian, hessian.T, rtol=1e-10)
    d = np.array([0.3, -1.0, 0.5])
    value, tangent = tg.jvp(lambda p: garch(p, y), (p,), (d,))
    assert tangent == pytest.approx(garch_by_hand(p, y) @ d, rel=1e-10)
    np.testing.assert_allclose(tg.hvp(lambda p: garch(p, y), (p,), (d,))[0], tg.hessian(garch)(p, y) @ d, rtol=1e-9)
    third = tg.jvp(lambda p: tg.hvp(lambda p: garch(p, y), (p,), (d,))[0], (p,), (d,))[1]
    near = [tg.hvp(lambda p: garch(p, y), (p + e * d,), (d,))[0] for e in (1e-5, -1e-5)]
    np.testing.assert_allclose(third, (near[0] - near[1]) / 2e-5, rtol=1e-5)


@pytest.mark.grid
def test_batches(data):
    p, y = data
    many = np.stack([p, 0.9 * p, 1.1 * p])
    np.testing.assert_allclose(tg.vmap(lambda p: garch(p, y))(many), [garch_value(q, y) for q in many], rtol=1e-12)
    np.testing.assert_allclose(tg.vmap(tg.grad(lambda p: garch(p, y)))(many), [garch_by_hand(q, y) for q in many],
                               rtol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.grid)])
def test_both_dtypes(data, dtype):
    p, y = (a.astype(dtype) for a in data)
    value, g = tg.value_and_grad(garch)(p, y)
    assert g.dtype == dtype
    tolerance = 1e-4 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(g, garch_by_hand(*data), rtol=tolerance)
    t = tg.tensor(p, requires_grad=True)
    loss = garch(t, y)
    assert loss.dtype == dtype
    loss.backward()
    np.testing.assert_allclose(t.grad.numpy(), garch_by_hand(*data), rtol=tolerance)


@pytest.mark.grid
def test_several_results_of_which_one_is_an_array():
    x = np.array([0.5, -1.0, 2.0, 0.25])
    t = tg.tensor(x, requires_grad=True)
    out, s = running(t, 4)
    assert out.shape == (4,) and s.shape == ()
    weights = np.array([1.0, 2.0, 3.0, 4.0])
    ((out * weights).sum() + 3.0 * s).backward()
    sums = np.cumsum(x**2)
    expected = 2 * x * (np.cumsum((weights * np.cos(sums))[::-1])[::-1] + 3.0)
    np.testing.assert_allclose(t.grad.numpy(), expected, rtol=1e-12)
    jacobian = tg.jacobian(lambda x: running(x, 4)[0])(x)
    np.testing.assert_allclose(jacobian, np.tril(np.cos(sums)[:, None] * 2 * x), rtol=1e-12)


def test_a_recording_needs_the_shape_of_an_array():
    def doubled(x):
        out = np.empty(len(x))
        for i in range(len(x)):
            out[i] = 2.0 * x[i] * x[i]
        return out

    with pytest.raises(tg.CaptureError, match="shape=lambda"):
        tg.compile(tg.njit(doubled))(np.ones(3))
    told = tg.njit(doubled, shape=lambda x: x)
    np.testing.assert_allclose(tg.compile(tg.grad(lambda x: told(x).sum()))(np.array([1.0, 2.0])), [4, 8])


def test_functions_that_are_called_are_written_out():
    value, g = tg.value_and_grad(called)(3.0)
    assert (value, g) == (9.0 + 18.0, 6.0 + 12.0)
    assert tg.grad(called, argnums=1)(3.0, 2.0) == pytest.approx(4.5 + 2.0 * 9.0)
    assert called(3.0, scale=1.0) == 9.0
    np.testing.assert_allclose(tg.njit(half).py_func(2.0), 2.0)


def test_the_derived_source_is_python_that_can_be_read_and_run(data):
    source = garch.derive(*data, argnums=0)
    assert source == garch.adjoint_source and source.startswith("def garch_value_adjoint(p, y, ")
    assert "floats[top] = s" in source and "for t in range(len(y) - 1, 0, -1):" in source
    scope = {"np": np, "math": math}
    exec(source, scope)
    floats, integers, g = np.empty(100), np.empty(100, np.int64), np.zeros(3)
    scope["garch_value_adjoint"](*data, 1.0, g, floats, integers)
    np.testing.assert_allclose(g, garch_by_hand(*data), rtol=1e-12)
    fresh = tg.njit(lambda_free)
    with pytest.raises(tg.TapegradError, match="take a gradient first"):
        print(fresh.adjoint_source)


def lambda_free(x):
    return x * x


def test_the_tape_takes_eight_bytes_an_iteration(data):
    assert garch.memory(*data) == 8 * 49
    limited = tg.njit(garch_value, max_bytes=1000)
    tg.grad(limited)(*data)
    with pytest.raises(tg.TapeMemoryError, match="79,992 bytes, more than max_bytes=1,000"):
        tg.grad(limited)(data[0], np.ones(10000))


def test_arguments_stay_as_they_are():
    @tg.njit
    def overwriting(x):
        for i in range(1, len(x)):
            x[i] = x[i] * x[i - 1]
        return x[len(x) - 1]

    x = np.array([2.0, 3.0, 4.0])
    g = tg.grad(overwriting)(x)
    np.testing.assert_array_equal(x, [2, 3, 4])
    np.testing.assert_allclose(g, [12, 8, 6])
    np.testing.assert_allclose(tg.grad(overwriting)(x[::-1]), [6, 8, 12])


def adds_to_elements():
    def f(x):
        a = x.copy()
        b = a[:]
        a += 1.0
        return np.sum(b * a)
    return f


def binds_again():
    def f(x):
        a = x.copy()
        b = a[:]
        a = a + 1.0
        return np.sum(b * a)
    return f


def test_what_is_kept_of_an_assignment_to_elements_does_not_serve_a_name_that_is_bound_again():
    x = np.array([1.0, 2.0])
    np.testing.assert_allclose(tg.grad(tg.njit(adds_to_elements()))(x), [4, 6])
    with pytest.raises(tg.CompileError, match="bound again while b names elements of it"):
        tg.grad(tg.njit(binds_again()))(x)


def test_views_of_what_is_changed_in_place_move_with_it():
    def f(x):
        a = x.copy()
        b = a[1:]
        for _ in range(2):
            a *= x
            a[0] += a[1]
        return np.sum(b) + a[0]

    x, d, step = np.array([1.5, 2.0, -0.5]), np.array([0.3, -1.0, 0.7]), 1e-6
    g = tg.njit(f)
    slope = (f(x + step * d) - f(x - step * d)) / (2 * step)
    assert tg.jvp(g, (x,), (d,))[1] == pytest.approx(slope, rel=1e-8)
    assert tg.grad(g)(x) @ d == pytest.approx(slope, rel=1e-8)
    near = [tg.grad(g)(x + e * d) for e in (step, -step)]
    np.testing.assert_allclose(tg.hessian(g)(x) @ d, (near[0] - near[1]) / (2 * step), rtol=1e-7)


def test_tensors_stay_as_they_are():
    def overwriting(x, scale):
        for i in range(1, len(x)):
            x[i] = scale[0] * x[i] * x[i - 1]
        return x[len(x) - 1]

    f = tg.njit(overwriting)
    x = tg.tensor([2.0, 3.0, 4.0], dtype=np.float64, requires_grad=True)
    y = x * 1.0
    f(y, np.ones(1)).backward()
    np.testing.assert_array_equal(y.numpy(), [2, 3, 4])
    np.testing.assert_array_equal(x.numpy(), [2, 3, 4])
    np.testing.assert_allclose(x.grad.numpy(), [12, 8, 6])
    fast = tg.compile(tg.value_and_grad(lambda x: f(x, np.ones(1)) + x.sum()))
    for _ in range(2):
        value, g = fast(np.array([2.0, 3.0, 4.0]))
        assert value == 33
        np.testing.assert_allclose(g, [13, 9, 7])
    with pytest.raises(tg.CompileError, match="x, which is written to, and scale share memory; give a copy"):
        f(x, x)
    with pytest.raises(tg.CompileError, match="share memory"):
        tg.compile(lambda x: f(x * 1.0, x) + f(x, x))(np.array([2.0, 3.0]))


def test_wrong_calls(data):
    with pytest.raises(tg.TapegradError, match="njit takes a function"):
        tg.njit(3)
    with pytest.raises(tg.TapegradError, match="missing a required argument"):
        tg.grad(garch)(data[0])
    with pytest.raises(tg.GradientError, match="does not return one number"):
        tg.grad(running)(np.ones(3), 3)
    assert inspect.signature(garch) == inspect.signature(garch_value)
    np.testing.assert_array_equal(tg.grad(copy.deepcopy(garch))(*data), tg.grad(garch)(*data))


@tg.njit
def leaves_early(x, h):
    if h > 1:
        return x * h
    for v in x:
        if v > 0.2:
            return x * x * v
    return x


def test_second_derivatives_of_arrays_that_are_returned_early():
    x = np.array([0.1, 0.5, -0.3])
    hessian = tg.jacobian(tg.jacobian(lambda x: leaves_early(x, 0.5)))(x)
    expected = np.zeros((3, 3, 3))
    for i in range(3):
        expected[i, i, i] += 2 * x[1]
        expected[i, i, 1] += 2 * x[i]
        expected[i, 1, i] += 2 * x[i]
    assert np.allclose(hessian, expected)


@tg.njit
def polynomial(x):
    s = x**0
    for k in range(5):
        s += (k + 1.0) * x**k
    return s


@pytest.mark.parametrize("x", [0.0, 0.7])
def test_derivatives_of_powers_whose_exponent_is_a_variable(x):
    function = polynomial
    for order in (1, 2):
        function = tg.grad(function)
        expected = sum((k + 1) * math.perm(k, order) * x ** (k - order) for k in range(order, 5))
        assert function(x) == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(tg.jvp(polynomial, (x,), (1.0,))[1], tg.grad(polynomial)(x), rtol=1e-12)


@tg.njit
def power(p):
    return p[0] ** p[1]


@pytest.mark.parametrize("p, expected", [
    ((0.0, 3.0), [[0.0, 0.0], [0.0, 0.0]]), ((2.0, 0.0), [[0.0, 0.5], [0.5, math.log(2) ** 2]]),
    ((1.0, 2.0), [[2.0, 1.0], [1.0, 0.0]]),
])  # fmt: skip
def test_second_derivatives_of_powers_by_base_and_exponent(p, expected):
    np.testing.assert_allclose(tg.hessian(power)(np.array(p)), expected, rtol=1e-12)
