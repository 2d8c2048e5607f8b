"""Elementwise ops at the edges of the number line and at kinks."""

import math

import naive
import numpy as np
import pytest

import tapegrad as tg

from .test_elementwise import NAIVE_UNARY, NUMPY_UNARY

EDGES = np.array(
    [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, np.inf, -np.inf, np.nan, 1e-300, -1e-300, 5e-324, 1e-8, -1e-8, 1e3, -1e3]
    + [88.0, -88.0, 104.0, -104.0, 709.0, -745.0, 746.0, 1e5, -1e5, 1e18, 1e300, -1e300, 1.7e308, 37.0, -37.0, math.pi]
)
EDGES32 = np.array(
    [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, np.inf, -np.inf, np.nan, 1e-38, -1e-38, 1e-44, 1e-4, -1e-4, 30.0, -30.0]
    + [88.0, -88.0, 104.0, -104.0, 1e5, -1e5, 3e38, -3e38, 9.0, -9.0, math.pi],
    dtype=np.float32,
)


def formula(name, x):
    with np.errstate(all="ignore"):
        return np.asarray(getattr(naive, name)(x.astype(np.float64)))


def domain(name, x):
    """Where the formula is defined: silu and gelu read inf * 0 at minus infinity."""
    return x[x != -np.inf] if name in ("silu", "gelu") else x


@pytest.mark.parametrize("name", NUMPY_UNARY)
def test_values_at_zeros_infinities_nan_and_extremes_are_those_of_numpy(name):
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(EDGES)
    out = getattr(tg, name)(tg.tensor(EDGES)).numpy()
    np.testing.assert_allclose(out, expected, rtol=2e-15, atol=1e-323, equal_nan=True)


@pytest.mark.parametrize("name", NAIVE_UNARY)
def test_activations_at_zeros_infinities_nan_and_extremes_follow_their_formula(name):
    x = domain(name, EDGES)
    out = getattr(tg, name)(tg.tensor(x)).numpy()
    np.testing.assert_allclose(out, formula(name, x), rtol=4e-15, atol=1e-300, equal_nan=True)


@pytest.mark.parametrize("name", NUMPY_UNARY)
def test_float32_values_at_zeros_infinities_nan_and_extremes_are_those_of_numpy(name):
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(EDGES32.astype(np.float64)).astype(np.float32)
    out = getattr(tg, name)(tg.tensor(EDGES32)).numpy()
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, expected, rtol=4e-7, atol=3e-45, equal_nan=True)


@pytest.mark.parametrize("name", NAIVE_UNARY)
def test_float32_activations_at_zeros_infinities_nan_and_extremes_follow_their_formula(name):
    x = domain(name, EDGES32)
    with np.errstate(all="ignore"):
        expected = formula(name, x).astype(np.float32)
    out = getattr(tg, name)(tg.tensor(x)).numpy()
    near_zero = 1e-16 if name == "gelu" else 1e-37  # the naive 1 + erf is 0 far below 0, where Phi is not
    np.testing.assert_allclose(out, expected, rtol=8e-7, atol=near_zero, equal_nan=True)


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum",
                                  "arctan2", "hypot", "logaddexp", "logaddexp2", "fmod", "remainder", "floor_divide",
                                  "fmin", "fmax", "copysign", "heaviside"])
def test_binary_values_over_all_pairs_of_edge_values_are_those_of_numpy(name):
    values = np.array([0.0, 1.0, -1.0, 2.0, -3.0, 0.5, np.inf, -np.inf, np.nan, 1e300, -1e300, 1e-300])
    x, y = values[:, None], values[None, :]
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x, y)
    out = getattr(tg, name)(tg.tensor(x), tg.tensor(y)).numpy()
    np.testing.assert_allclose(out, expected, rtol=2e-15, equal_nan=True)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus", "erf", "silu", "gelu", "elu", "selu"])
def test_gradients_of_saturating_functions_are_finite_at_huge_arguments(name):
    x = np.array([-1e300, -1e5, -745.0, -100.0, 100.0, 745.0, 1e5, 1e300])
    leaf = tg.tensor(x, requires_grad=True)
    getattr(tg, name)(leaf).sum().backward()
    right = {"sigmoid": 0.0, "tanh": 0.0, "erf": 0.0, "selu": naive.SELU_SCALE}.get(name, 1.0)
    np.testing.assert_allclose(leaf.grad.numpy(), [0.0] * 4 + [right] * 4, atol=1e-40)


# ------------------------------------------------------------------
# conventions at kinks


def gradient_at(function, *values):
    inputs = [tg.tensor(np.array(v, dtype=np.float64), requires_grad=True) for v in values]
    function(*inputs).sum().backward()
    return [leaf.grad.numpy().tolist() for leaf in inputs]


@pytest.mark.parametrize("name", ["fmod", "remainder"])
def test_slopes_of_remainders_count_as_their_values_do(name):
    a, b = [1.0, -1.0, 0.3, 7.3], [0.1, 0.1, 0.1, 2.0]  # 1.0 / 0.1 rounds to 10, but 0.1 is above 1 / 10
    slopes = gradient_at(getattr(tg, name), a, b)[1]
    value = getattr(tg, name)(tg.tensor(np.array(a)), tg.tensor(np.array(b))).numpy()
    np.testing.assert_allclose(slopes, np.round((value - a) / b), rtol=0)


def test_the_gradient_of_abs_and_sign_at_zero_is_zero():
    assert gradient_at(tg.abs, [0.0]) == [[0.0]]
    assert gradient_at(tg.sign, [0.0]) == [[0.0]]


def test_the_gradient_of_relu_at_zero_is_zero():
    assert gradient_at(tg.relu, [0.0, -0.0]) == [[0.0, 0.0]]


def test_tied_operands_of_maximum_and_minimum_share_the_gradient_equally():
    assert gradient_at(tg.maximum, [1.0, 2.0], [1.0, 3.0]) == [[0.5, 0.0], [0.5, 1.0]]
    assert gradient_at(tg.minimum, [1.0, 2.0], [1.0, 3.0]) == [[0.5, 1.0], [0.5, 0.0]]


def test_clip_passes_nothing_outside_its_bounds():
    assert gradient_at(lambda x: tg.clip(x, -1.0, 1.0), [-2.0, 0.5, 2.0]) == [[0.0, 1.0, 0.0]]


def test_a_constant_power_has_its_limit_gradient_at_a_zero_base():
    assert gradient_at(lambda x: x**2, [0.0]) == [[0.0]]
    assert gradient_at(lambda x: x**1, [0.0]) == [[1.0]]
    assert gradient_at(lambda x: x**0, [0.0]) == [[0.0]]
    assert gradient_at(lambda x: x**3, [-2.0, 0.0]) == [[12.0, 0.0]]


def test_a_tensor_power_with_a_zero_base_and_positive_exponent_has_zero_gradients():
    assert gradient_at(tg.power, [0.0], [2.0]) == [[0.0], [0.0]]


def test_where_passes_each_gradient_to_the_chosen_side_only():
    mask = np.array([True, False])
    assert gradient_at(lambda x, y: tg.where(mask, x, y), [np.nan, 1.0], [2.0, np.inf]) == [[1.0, 0.0], [0.0, 1.0]]


# ------------------------------------------------------------------
# clip


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("high", [0.0, np.zeros(4)], ids=["number", "array"])
@pytest.mark.parametrize("low", [2.0, np.full(4, 2.0)], ids=["number", "array"])
def test_clip_between_crossed_bounds_is_the_upper_one(low, high, dtype):
    values = np.array([-1.0, 0.0, 1.0, 3.0], dtype)
    x = tg.tensor(values, requires_grad=True)
    y = tg.clip(x, low, high)
    np.testing.assert_array_equal(y.numpy(), np.clip(values, low, high))
    y.sum().backward()
    # PyTorch 2.13: torch.clamp(x, 2., 0.).sum().backward() gives zeros
    np.testing.assert_array_equal(x.grad.numpy(), np.zeros(4))


@pytest.mark.parametrize("compiled", [False, True])
def test_clip_between_arrays_has_slope_one_on_a_bound_as_between_numbers(compiled):
    values, low, high = np.array([-2.0, -1.0, 0.5, 1.0, 2.0]), np.full(5, -1.0), np.full(5, 1.0)
    f = tg.grad(lambda x, low, high: tg.clip(x, low, high).sum(), (0, 1, 2))
    gradients = (tg.compile(f) if compiled else f)(values, low, high)
    # PyTorch 2.13, torch.clamp with tensors as bounds
    for gradient, expected in zip(gradients, ([0, 1, 1, 1, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1])):
        np.testing.assert_array_equal(gradient, expected)
    np.testing.assert_array_equal(tg.grad(lambda x: tg.clip(x, -1.0, 1.0).sum())(values), [0, 1, 1, 1, 0])
    np.testing.assert_array_equal(tg.grad(lambda x: tg.clip(x, None, high).sum())(values), [1, 1, 1, 1, 0])


@pytest.mark.parametrize(
    "low, high", [(np.nan, 1.0), (0.0, np.nan), (np.array([np.nan, 0.0]), 1.0), (0.0, np.full(2, np.nan))]
)
def test_clip_by_nan_is_nan(low, high):
    x = np.array([0.5, np.nan])
    np.testing.assert_array_equal(tg.clip(tg.tensor(x), low, high).numpy(), np.clip(x, low, high))
