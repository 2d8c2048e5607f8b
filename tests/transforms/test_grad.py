"""grad and value_and_grad."""

import naive
import numpy as np
import pytest

import tapegrad as tg

A = np.array([[1.0, -2.0, 0.5], [0.25, 3.0, -1.5]])
B = np.array([0.5, -1.0, 2.0])


def quadratic(a, b):
    return (a * a * b).sum()


# ------------------------------------------------------------------
# grad and value_and_grad


def test_grad_of_a_scalar_function_of_a_scalar():
    derivative = tg.grad(lambda x: tg.sin(x) * x)
    result = derivative(2.0)
    np.testing.assert_allclose(result, np.cos(2.0) * 2.0 + np.sin(2.0), rtol=1e-6)


@pytest.mark.parametrize(
    "argnums, expected",
    [(0, 2 * A * B), (1, (A * A).sum(axis=0)), (-1, (A * A).sum(axis=0))],
)
def test_an_integer_argnums_gives_one_gradient(argnums, expected):
    value, gradient = tg.value_and_grad(quadratic, argnums=argnums)(A, B)
    np.testing.assert_allclose(value, np.sum(A * A * B), rtol=1e-14)
    assert isinstance(gradient, np.ndarray) and gradient.dtype == np.float64
    np.testing.assert_allclose(gradient, expected, rtol=1e-14)
    np.testing.assert_array_equal(tg.grad(quadratic, argnums=argnums)(A, B), gradient)


@pytest.mark.parametrize("argnums", [(0, 1), (1, 0), (1,), [0, 1]])
def test_a_sequence_of_argnums_gives_a_tuple_of_gradients_in_its_order(argnums):
    expected = [2 * A * B, (A * A).sum(axis=0)]
    _, gradients = tg.value_and_grad(quadratic, argnums=argnums)(A, B)
    assert isinstance(gradients, tuple) and len(gradients) == len(argnums)
    for k, gradient in zip(argnums, gradients):
        np.testing.assert_allclose(gradient, expected[k], rtol=1e-14)


def test_the_value_is_a_plain_number_or_array_and_not_a_tensor():
    value, _ = tg.value_and_grad(quadratic)(A, B)
    assert not isinstance(value, tg.Tensor)
    assert float(value) == np.sum(A * A * B)


def test_inputs_are_not_changed_and_keep_no_gradient():
    a = A.copy()
    x = tg.tensor(A, requires_grad=True)
    tg.grad(quadratic)(a, B)
    tg.grad(quadratic)(x, B)
    np.testing.assert_array_equal(a, A)
    assert x.grad is None


def test_float32_in_float32_out():
    value, gradient = tg.value_and_grad(quadratic)(A.astype(np.float32), B.astype(np.float32))
    assert gradient.dtype == np.float32 and np.asarray(value).dtype in (np.float32, np.float64)


def test_arguments_without_a_gradient_may_be_of_any_kind():
    labels = np.array([2, 0])

    def loss(w, labels, name, flag, nothing=None):
        assert name == "sum" and flag is True and nothing is None
        return w[np.arange(2), np.asarray(labels)].sum()

    gradient = tg.grad(loss)(A, labels, "sum", True)
    np.testing.assert_array_equal(gradient, [[0, 0, 1], [1, 0, 0]])


def test_keyword_arguments_are_passed_through():
    def f(x, *, scale, shift=0.0):
        return (x * scale + shift).sum()

    value, gradient = tg.value_and_grad(f)(A, scale=3.0, shift=1.0)
    np.testing.assert_allclose(value, 3 * A.sum() + 6, rtol=1e-14)
    np.testing.assert_array_equal(gradient, np.full((2, 3), 3.0))
    np.testing.assert_array_equal(tg.grad(f)(A, scale=B), np.broadcast_to(B, (2, 3)))


def test_nested_lists_tuples_and_dicts_come_back_in_the_same_structure():
    parameters = {
        "layers": [(A, B), (A + 1.0, B + 1.0)],
        "scale": np.float64(2.0),
        "nested": {"empty": [], "deep": ({"w": B},)},
    }

    def loss(p, x):
        total = 0.0
        for k, (w, b) in enumerate(p["layers"]):
            total = total + (k + 1) * (w * x + b).sum()
        return total * p["scale"] + (p["nested"]["deep"][0]["w"] * 3.0).sum()

    value, gradient = tg.value_and_grad(loss)(parameters, B)
    assert set(gradient) == {"layers", "scale", "nested"}
    assert isinstance(gradient["layers"], list) and isinstance(gradient["layers"][0], tuple)
    assert gradient["nested"]["empty"] == []
    x = np.broadcast_to(B, (2, 3))
    np.testing.assert_allclose(gradient["layers"][0][0], 2 * x)
    np.testing.assert_allclose(gradient["layers"][1][0], 4 * x)
    np.testing.assert_allclose(gradient["layers"][1][1], np.full(3, 8.0))
    np.testing.assert_allclose(gradient["nested"]["deep"][0]["w"], np.full(3, 3.0))
    inner = (A * B + B).sum() + 2 * ((A + 1) * B + B + 1).sum()
    np.testing.assert_allclose(gradient["scale"], inner)
    np.testing.assert_allclose(value, 2 * inner + 3 * B.sum())


def test_an_unused_argument_gets_zeros():
    gradients = tg.grad(lambda a, b: (a * 2.0).sum(), argnums=(0, 1))(A, B)
    np.testing.assert_array_equal(gradients[1], np.zeros(3))


def test_the_same_array_given_twice_has_two_separate_gradients():
    first, second = tg.grad(lambda a, b: (a * 2.0 + b * 3.0).sum(), argnums=(0, 1))(B, B)
    np.testing.assert_array_equal(first, np.full(3, 2.0))
    np.testing.assert_array_equal(second, np.full(3, 3.0))


def test_numpy_functions_work_inside_as_autograd_users_write_them():
    def loss(w):
        return np.sum(np.tanh(np.dot(A, w)) ** 2) + np.mean(np.exp(-w))

    gradient = tg.grad(loss)(B)
    np.testing.assert_allclose(gradient, naive.derivative(loss, [B], 0), rtol=1e-8)


def test_an_outside_tensor_does_not_receive_a_gradient_from_grad():
    outside = tg.tensor(B, requires_grad=True)
    gradient = tg.grad(lambda a: (a * outside).sum())(A)
    np.testing.assert_array_equal(gradient, np.broadcast_to(B, (2, 3)))
    assert outside.grad is None


def test_gradients_of_separate_calls_are_separate_arrays():
    f = tg.grad(quadratic)
    first = f(A, B)
    kept = first.copy()
    f(A + 1.0, B)
    np.testing.assert_array_equal(first, kept)


def test_under_no_grad_a_gradient_is_still_computed():
    with tg.no_grad():
        np.testing.assert_allclose(tg.grad(quadratic)(A, B), 2 * A * B)


# ------------------------------------------------------------------
# compiled transformations


@pytest.mark.parametrize("argnums", [0, 1, (0, 1)])
def test_a_compiled_value_and_grad_has_the_same_result_and_structure(argnums):
    plain = tg.value_and_grad(quadratic, argnums=argnums)
    fast = tg.compile(plain)
    for shift in (0.0, 1.0, -2.0):
        value, gradients = plain(A + shift, B)
        fast_value, fast_gradients = fast(A + shift, B)
        np.testing.assert_allclose(fast_value, value, rtol=1e-15)
        assert type(fast_gradients) is type(gradients)
        for a, b in zip(np.atleast_1d(*[gradients]) if isinstance(argnums, int) else gradients, fast_gradients):
            np.testing.assert_array_equal(a, b)


def test_a_compiled_grad_takes_nested_structures():
    def loss(p, x):
        return ((p["w"] * x + p["b"][0]) ** 2).sum()

    fast = tg.compile(tg.grad(loss))
    for scale in (1.0, 2.0):
        p = {"w": scale * A, "b": [scale * B]}
        gradient = fast(p, B)
        residual = 2 * (scale * A * B + scale * B)
        np.testing.assert_allclose(gradient["w"], residual * B, rtol=1e-14)
        np.testing.assert_allclose(gradient["b"][0], residual.sum(axis=0), rtol=1e-14)


def test_a_compiled_value_and_grad_drives_scipy_minimize():
    from scipy.optimize import minimize

    def rosenbrock(x):
        return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()

    result = minimize(tg.compile(tg.value_and_grad(rosenbrock)), np.full(5, -0.5), jac=True, method="BFGS")
    np.testing.assert_allclose(result.x, np.ones(5), atol=1e-4)


def test_results_of_a_compiled_call_are_not_overwritten_by_the_next():
    fast = tg.compile(tg.value_and_grad(quadratic))
    _, first = fast(A, B)
    kept = first.copy()
    fast(A + 5.0, B)
    np.testing.assert_array_equal(first, kept)


# ------------------------------------------------------------------
# errors


@pytest.mark.parametrize("make", [tg.grad, tg.value_and_grad])
def test_a_function_that_returns_more_than_a_scalar_is_an_error_with_its_shape(make):
    with pytest.raises((ValueError, TypeError, RuntimeError), match="2, 3|scalar") as caught:
        make(lambda a: a * 2.0)(A)
    assert isinstance(caught.value, tg.TapegradError)


def test_a_gradient_by_an_integer_argument_is_a_type_error_that_names_the_dtype():
    with pytest.raises(TypeError, match="int"):
        tg.grad(lambda a: a.sum())(np.arange(3))


def test_a_gradient_by_text_is_a_type_error():
    with pytest.raises(TypeError):
        tg.grad(lambda a: tg.tensor(1.0))("text")


@pytest.mark.parametrize("argnums", [2, -3, (0, 5)])
def test_argnums_out_of_range_are_an_error(argnums):
    with pytest.raises((ValueError, TypeError, IndexError), match="argnums|argument"):
        tg.grad(quadratic, argnums=argnums)(A, B)


@pytest.mark.parametrize("argnums", [(0, 0), (0, 1, 0), (0, -2)])
@pytest.mark.parametrize("make", [tg.grad, tg.value_and_grad])
@pytest.mark.parametrize("through", [lambda f: f, tg.compile])
def test_an_argument_named_twice_has_its_gradient_twice(make, through, argnums):
    function = through(make(lambda a, b: (a * a * b).sum(), argnums=argnums))
    for a in (A, 3.0 * A):  # also when it is called again
        result = function(a, np.ones_like(A))
        gradients = result if make is tg.grad else result[1]
        for gradient in (gradients[0], gradients[-1]):
            np.testing.assert_allclose(gradient, 2.0 * a, rtol=1e-12)
        assert not np.shares_memory(gradients[0], gradients[-1])


def test_a_function_that_returns_no_tensor_is_an_error():
    with pytest.raises(tg.TapegradError, match="str"):
        tg.grad(lambda a: "text")(A)


def test_a_function_that_does_not_depend_on_its_argument_has_a_zero_gradient():
    np.testing.assert_array_equal(tg.grad(lambda a: tg.tensor(np.float64(3.0)))(A), np.zeros((2, 3)))


def test_an_exception_inside_the_function_passes_through_and_leaves_the_state_clean():
    def broken(a):
        _ = a * 2.0
        raise KeyError("mine")

    for make in (tg.grad(broken), tg.compile(tg.grad(broken)), tg.compile(broken)):
        with pytest.raises(KeyError, match="mine"):
            make(A)
    np.testing.assert_allclose(tg.grad(quadratic)(A, B), 2 * A * B)
    x = tg.tensor(A, requires_grad=True)
    (x * 2.0).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.full((2, 3), 2.0))
