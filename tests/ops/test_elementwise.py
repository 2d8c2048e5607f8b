"""Elementwise ops: one operand, two operands with broadcasting, and their values at the edges of the number line."""


import naive
import numpy as np
import pytest
import scipy.special

import tapegrad as tg
from tapegrad.errors import DtypeError
from tapegrad.functions.apply import apply_binary
from tapegrad.ops.elementwise import BINARY as ELEMENTWISE

from .contract import Case, OpContract, close, grid, same, uniform
from .derivatives import Derivatives

SHAPES = [(), (2, 3), (1, 3, 1), (0, 2)]
FEW = SHAPES[:2]
NUMPY_UNARY = [
    *["negative", "abs", "sign", "exp", "expm1", "log", "log1p", "sqrt", "square", "reciprocal", "sin", "cos", "tan"],
    *["arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "floor", "ceil", "trunc", "rint", "log2", "log10", "exp2"],
    *["cbrt", "arcsinh", "arccosh", "arctanh"],
]
NAIVE_UNARY = ["sigmoid", "softplus", "erf", "relu", "leaky_relu", "elu", "selu", "silu", "gelu", "hardtanh"]


def unary(name, reference, low, high, function=None, shapes=SHAPES, **options):
    """Cases of one unary op over all shapes, with inputs between low and high and off every tenth."""
    function = function or getattr(tg, name.split("(")[0])
    cases = []
    for seed, shape in enumerate(shapes):
        x = uniform(shape, low, high, seed)
        x = np.where(np.abs(x * 10 - np.round(x * 10)) < 0.1, x + 0.02, x)
        cases.append(Case(f"{name}-{shape}", function, reference, (x,), **options))
    return cases


UNARY_CASES = [
    *unary("negative", np.negative, -2, 2),
    *unary("floor", np.floor, -2.3, 2.3, shapes=FEW),
    *unary("ceil", np.ceil, -2.3, 2.3, shapes=FEW),
    *unary("trunc", np.trunc, -2.3, 2.3, shapes=FEW),
    *unary("rint", np.rint, -0.45, 0.45, shapes=FEW),
    *unary("frac", lambda x: x - np.trunc(x), 0.05, 0.9, shapes=FEW),
    *unary("log2", np.log2, 0.3, 3, shapes=FEW),
    *unary("log10", np.log10, 0.3, 3, shapes=FEW),
    *unary("exp2", np.exp2, -3, 3, shapes=FEW),
    *unary("cbrt", np.cbrt, 0.3, 3, shapes=FEW),
    *unary("rsqrt", lambda x: 1 / np.sqrt(x), 0.3, 3, shapes=FEW),
    *unary("arcsinh", np.arcsinh, -3, 3, shapes=FEW),
    *unary("arccosh", np.arccosh, 1.3, 3, shapes=FEW),
    *unary("arctanh", np.arctanh, -0.8, 0.8, shapes=FEW),
    *unary("logit", lambda x: np.log(x / (1 - x)), 0.1, 0.9, shapes=FEW),
    *unary("erfc", scipy.special.erfc, -2, 3, shapes=FEW),
    *unary("erfinv", scipy.special.erfinv, -0.85, 0.85, shapes=FEW),
    *unary("lgamma", scipy.special.gammaln, 0.4, 4, shapes=FEW),
    *unary("digamma", scipy.special.digamma, 0.4, 4, shapes=FEW),
    *unary("polygamma", lambda x: scipy.special.polygamma(2, x), 0.9, 4, function=lambda x: tg.polygamma(2, x),
           shapes=FEW),
    *unary("i0", scipy.special.i0, -3, 3, shapes=FEW),
    *unary("i0e", scipy.special.i0e, 0.1, 3, shapes=FEW),
    *unary("i1", scipy.special.i1, -3, 3, shapes=FEW),
    *unary("i1e", scipy.special.i1e, -3, -0.1, shapes=FEW),
    *unary("j0", scipy.special.j0, -9, 9, shapes=FEW),
    *unary("j1", scipy.special.j1, -9, 9, shapes=FEW),
    *unary("gammainc", lambda x: scipy.special.gammainc(1.7, x), 0.2, 5, function=lambda x: tg.gammainc(1.7, x),
           shapes=FEW),
    *unary("gammaincc", lambda x: scipy.special.gammaincc(0.4, x), 0.2, 5, function=lambda x: tg.gammaincc(0.4, x),
           shapes=FEW),
    *unary("sinc", np.sinc, -2.5, 2.5, shapes=FEW),
    *unary("abs", np.abs, -2, 2),
    *unary("sign", np.sign, -2, 2),
    *unary("exp", np.exp, -3, 3),
    *unary("expm1", np.expm1, -2, 2),
    *unary("log", np.log, 0.3, 3),
    *unary("log1p", np.log1p, -0.5, 3),
    *unary("sqrt", np.sqrt, 0.3, 4),
    *unary("square", np.square, -3, 3),
    *unary("reciprocal", np.reciprocal, 0.4, 3),
    *unary("sin", np.sin, -7, 7),
    *unary("cos", np.cos, -7, 7),
    *unary("tan", np.tan, -1.1, 1.1),
    *unary("arcsin", np.arcsin, -0.8, 0.8),
    *unary("arccos", np.arccos, -0.8, 0.8),
    *unary("arctan", np.arctan, -4, 4),
    *unary("sinh", np.sinh, -2, 2),
    *unary("cosh", np.cosh, -2, 2),
    *unary("tanh", np.tanh, -3, 3),
    *unary("sigmoid", naive.sigmoid, -5, 5),
    *unary("softplus", naive.softplus, -4, 4),
    *unary(
        "softplus(beta=3)",
        lambda x: naive.softplus(x, 3.0, 4.0),
        -4,
        4,
        function=lambda x: tg.softplus(x, beta=3.0, threshold=4.0),
    ),
    *unary("erf", naive.erf, -2.5, 2.5),
    *unary("relu", naive.relu, -2, 2),
    *unary("leaky_relu", naive.leaky_relu, -2, 2),
    *unary("leaky_relu(-0.3)", lambda x: naive.leaky_relu(x, -0.3), -2, 2, function=lambda x: tg.leaky_relu(x, -0.3)),
    *unary("leaky_relu(0.3)", lambda x: naive.leaky_relu(x, 0.3), -2, 2, function=lambda x: tg.leaky_relu(x, 0.3)),
    *unary("elu", naive.elu, -2, 2),
    *unary("elu(alpha=0.4)", lambda x: naive.elu(x, 0.4), -2, 2, function=lambda x: tg.elu(x, alpha=0.4)),
    *unary("selu", naive.selu, -2, 2),
    *unary("silu", naive.silu, -4, 4),
    *unary("gelu", naive.gelu, -3, 3),
    *unary(
        "gelu(tanh)",
        lambda x: naive.gelu(x, "tanh"),
        -3,
        3,
        function=lambda x: tg.gelu(x, approximate="tanh"),
    ),
    *unary("hardtanh", naive.hardtanh, -2, 2),
    *unary(
        "hardtanh(-0.4, 0.7)",
        lambda x: naive.hardtanh(x, -0.4, 0.7),
        -2,
        2,
        function=lambda x: tg.hardtanh(x, -0.4, 0.7),
    ),
    *unary("clip(-0.5, 1.5)", lambda x: np.clip(x, -0.5, 1.5), -2, 2, function=lambda x: tg.clip(x, -0.5, 1.5)),
    *unary("clip(None, 0.5)", lambda x: np.clip(x, None, 0.5), -2, 2, function=lambda x: tg.clip(x, None, 0.5)),
    *unary("power(x, 2)", lambda x: x**2, -2, 2, function=lambda x: x**2),
    *unary("power(x, 3)", lambda x: x**3, -2, 2, function=lambda x: x**3),
    *unary("power(x, 0)", lambda x: x**0, -2, 2, function=lambda x: x**0),
    *unary("power(x, 1)", lambda x: x**1, -2, 2, function=lambda x: x**1),
    *unary("power(x, -1)", lambda x: x**-1.0, 0.4, 2, function=lambda x: x**-1),
    *unary("power(x, 0.5)", lambda x: x**0.5, 0.4, 3, function=lambda x: x**0.5),
    *unary("power(x, 2.5)", lambda x: x**2.5, 0.4, 3, function=lambda x: x**2.5),
    *unary("power(3, x)", lambda x: 3.0**x, -2, 2, function=lambda x: 3**x),
    *unary("2 - x", lambda x: 2 - x, -2, 2, function=lambda x: 2 - x),
    *unary("2 / x", lambda x: 2 / x, 0.4, 2, function=lambda x: 2 / x),
    *unary("x / 4", lambda x: x / 4, -2, 2, function=lambda x: x / 4),
    *unary("x * x", lambda x: x * x, -2, 2, function=lambda x: x * x),
    *unary("x / x", lambda x: x / x, 0.5, 2, function=lambda x: x / x),
    *unary("x - x", lambda x: x - x, 0.5, 2, function=lambda x: x - x),
]

PAIRS = [
    ((), ()),
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (2, 3)),
    ((2, 1), (1, 3)),
    ((4, 1, 3), (2, 1)),
    ((), (2, 3)),
    ((2, 3), ()),
    ((1, 1), (1,)),
    ((0, 3), (1, 3)),
    ((2, 1, 2, 1), (3, 1, 2)),
]


FEW_PAIRS = [((2, 3), (3,)), ((), (2, 3)), ((4, 1, 3), (2, 1))]


def binary(name, reference, function=None, positive=(), pairs=PAIRS, **options):
    function = function or getattr(tg, name)
    cases = []
    for seed, (left, right) in enumerate(pairs):
        x, y = grid(left, seed, 0.02), grid(right, seed + 50, 0.07)
        x = np.abs(x) + 0.4 if 0 in positive else x
        y = np.abs(y) + 0.4 if 1 in positive else y
        cases.append(Case(f"{name}-{left}-{right}", function, reference, (x, y), **options))
    return cases


BINARY_CASES = [
    *binary("add", np.add),
    *binary("subtract", np.subtract),
    *binary("multiply", np.multiply),
    *binary("divide", np.divide, positive=(1,)),
    *binary("power", np.power, positive=(0,)),
    *binary("maximum", np.maximum),
    *binary("minimum", np.minimum),
    *binary("arctan2", np.arctan2, positive=(1,), pairs=FEW_PAIRS),
    *binary("hypot", np.hypot, pairs=FEW_PAIRS),
    *binary("logaddexp", np.logaddexp, pairs=FEW_PAIRS),
    *binary("logaddexp2", np.logaddexp2, pairs=FEW_PAIRS),
    *binary("fmin", np.fmin, pairs=FEW_PAIRS),
    *binary("fmax", np.fmax, pairs=FEW_PAIRS),
    *binary("copysign", np.copysign, pairs=FEW_PAIRS),
    *binary("heaviside", np.heaviside, pairs=FEW_PAIRS),
    *binary("xlogy", lambda x, y: x * np.log(y), positive=(1,), pairs=FEW_PAIRS),
    *binary("beta", scipy.special.beta, positive=(0, 1), pairs=FEW_PAIRS),
    *binary("betaln", scipy.special.betaln, positive=(0, 1), pairs=FEW_PAIRS, double=1e-12),
    *binary("xlog1py", lambda x, y: x * np.log1p(y), positive=(1,), pairs=FEW_PAIRS),
    *binary("fmod", lambda x, y: np.fmod(6.0 * x, 2.05 + y / 30.0), lambda x, y: tg.fmod(6.0 * x, 2.05 + y / 30.0),
            pairs=FEW_PAIRS),
    *binary("remainder", lambda x, y: (6.0 * x) % (2.05 + y / 30.0), lambda x, y: (6.0 * x) % (2.05 + y / 30.0),
            pairs=FEW_PAIRS),
    *binary("floor_divide", lambda x, y: x // (7.3 + y), lambda x, y: x // (7.3 + y), pairs=FEW_PAIRS),
    *binary("scaled product", lambda x, y: 0.3 * x * y,
            function=lambda x, y: apply_binary(ELEMENTWISE["scaled_product"], x, y, 0.3)),
    *binary("slope of tanh", lambda x, y: x * (1.0 - y * y),
            function=lambda x, y: apply_binary(ELEMENTWISE["tanh_slope"], x, y)),
    *binary("x + y", np.add, function=lambda x, y: x + y),
    *binary("x - y", np.subtract, function=lambda x, y: x - y),
    *binary("x * y", np.multiply, function=lambda x, y: x * y),
    *binary("x / y", np.divide, function=lambda x, y: x / y, positive=(1,)),
    *binary("x ** y", np.power, function=lambda x, y: x**y, positive=(0,)),
]

MASK = np.array([[True, False, True], [False, False, True]])
WHERE_CASES = [
    Case(
        f"where-{left}-{right}",
        lambda x, y: tg.where(MASK, x, y),
        lambda x, y: np.where(MASK, x, y),
        (grid(left, 1, 0.02), grid(right, 2, 0.07)),
    )
    for left, right in [((2, 3), (2, 3)), ((3,), (2, 1)), ((), (2, 3)), ((1, 3), ()), ((4, 2, 3), (3,))]
] + [
    Case(
        "where(x > y, x, y)",
        lambda x, y: tg.where(x > y, x * y, y),
        lambda x, y: np.where(x > y, x * y, y),
        (grid((2, 3), 1, 0.02), grid((3,), 2, 0.07)),
        ties=True,
    ),
    Case(
        "where(mask, x, 0)",
        lambda x: tg.where(MASK, x, 0.0),
        lambda x: np.where(MASK, x, 0.0),
        (grid((2, 3), 1),),
    ),
    Case(
        "where(mask, 1, x)",
        lambda x: tg.where(MASK, 1, x),
        lambda x: np.where(MASK, 1.0, x),
        (grid((2, 3), 1),),
    ),
    Case(
        "clip by tensors",
        lambda x, low, high: tg.clip(x, low, high),
        lambda x, low, high: np.minimum(np.maximum(x, low), high),
        (grid((2, 3), 1, 0.02), grid((3,), 2, 0.07) - 0.1, grid((2, 1), 3, 0.04) + 0.4),
    ),
]


class TestUnary(OpContract, Derivatives):
    cases = UNARY_CASES


class TestBinary(OpContract, Derivatives):
    cases = BINARY_CASES


class TestWhere(OpContract, Derivatives):
    cases = WHERE_CASES


# ------------------------------------------------------------------
# long arrays: vector bodies, tails, strips and threads

LONG = [
    ("exp", np.exp, -5, 5),
    ("tanh", np.tanh, -5, 5),
    ("sigmoid", naive.sigmoid, -8, 8),
    ("erf", naive.erf, -3, 3),
    ("log", np.log, 0.3, 5),
    ("sin", np.sin, -7, 7),
    ("gelu", naive.gelu, -4, 4),
    ("sqrt", np.sqrt, 0.3, 5),
]


@pytest.mark.compiled
@pytest.mark.parametrize("n", [7, 8, 15, 16, 17, 63, 65, 1000, 4097, 70001])
@pytest.mark.parametrize("name, reference, low, high", LONG, ids=[row[0] for row in LONG])
def test_every_length_of_array_is_covered_to_its_last_element(name, reference, low, high, n):
    x = uniform(n, low, high, n)
    leaf = tg.tensor(x, requires_grad=True)
    out = getattr(tg, name)(leaf)
    close(out.numpy(), reference(x), 1e-14)
    cotangent = uniform(n, 0.5, 1.5, 3)
    out.backward(gradient=cotangent)
    h = 1e-3
    slope = (8 * (reference(x + h) - reference(x - h)) - (reference(x + 2 * h) - reference(x - 2 * h))) / (12 * h)
    close(leaf.grad.numpy(), cotangent * slope, 1e-8)


@pytest.mark.compiled
@pytest.mark.parametrize("shape, other", [((300, 257), (257,)), ((300, 257), (300, 1)), ((41, 1, 67), (53, 1))])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_broadcast_products_sum_their_gradients_over_repeated_axes(shape, other, dtype):
    x, y = uniform(shape, -1, 1, 1).astype(dtype), uniform(other, -1, 1, 2).astype(dtype)
    a, b = tg.tensor(x, requires_grad=True), tg.tensor(y, requires_grad=True)
    out = a * b
    same(out.numpy(), x * y)
    g = uniform(out.shape, -1, 1, 3).astype(dtype)
    out.backward(gradient=g)
    wide = [v.astype(np.float64) for v in (x, y, g)]
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    close(a.grad.numpy(), naive.unbroadcast(wide[2] * wide[1], shape), tolerance)
    close(b.grad.numpy(), naive.unbroadcast(wide[2] * wide[0], other), tolerance)


# ------------------------------------------------------------------
# spellings and errors


@pytest.mark.parametrize("name", [n for n in NUMPY_UNARY if n != "abs"] + ["absolute"])
def test_a_numpy_function_is_reached_as_function_method_and_numpy_ufunc(name):
    x = tg.tensor(np.array([0.25, 0.5]), requires_grad=True)
    expected = getattr(np, name)(np.array([0.25, 0.5]))
    spellings = [getattr(tg, name)(x), getattr(np, name)(x)]
    if name != "absolute":
        spellings.append(getattr(x, name)())
    for out in spellings:
        assert isinstance(out, tg.Tensor)
        close(out.numpy(), expected, 1e-15)


@pytest.mark.parametrize("name", NAIVE_UNARY)
def test_an_activation_is_reached_as_function_and_as_method(name):
    x = tg.tensor(np.array([0.25, -0.5]))
    same(getattr(x, name)().numpy(), getattr(tg, name)(x).numpy())


def test_abs_is_reached_by_the_builtin_and_the_method():
    x = tg.tensor(np.array([-1.5, 2.0]))
    for out in (abs(x), x.abs(), tg.abs(x), tg.absolute(x)):
        assert out.numpy().tolist() == [1.5, 2.0]


def test_shapes_that_do_not_broadcast_raise_a_value_error_naming_both():
    a, b = tg.tensor(np.zeros((2, 3))), tg.tensor(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="2, 3.*4, 3") as caught:
        a + b
    assert isinstance(caught.value, tg.TapegradError)


def test_gelu_refuses_an_unknown_approximation():
    with pytest.raises(ValueError, match="approximate|none|tanh"):
        tg.gelu(tg.tensor(np.zeros(2)), approximate="exact")


def test_plain_arrays_and_python_numbers_take_the_dtype_of_the_tensor():
    x = tg.tensor(np.ones(3, dtype=np.float32))
    for out in (x + 1, 1.5 * x, x * np.ones(3), np.ones(3) * x, x + np.arange(3), x - True, np.float64(2.0) * x):
        assert out.dtype == np.float32


def test_kl_of_a_negative_target_is_nan_and_so_is_the_slope_by_it_as_in_pytorch():
    # torch.nn.functional.kl_div(a, t, reduction="none") of PyTorch 2.13, float64; only its slope at t = 0 is NaN
    a = tg.tensor([0.3, 0.4, 0.5, 0.6], dtype="float64", requires_grad=True)
    t = tg.tensor([-1.0, 0.0, 2.0, np.nan], dtype="float64", requires_grad=True)
    losses = tg.kl(a, t)
    np.testing.assert_allclose(losses.numpy(), [np.nan, 0.0, 0.38629436111989057, np.nan], rtol=1e-15)
    losses.backward(np.ones(4))
    np.testing.assert_array_equal(a.grad.numpy(), [1.0, 0.0, -2.0, np.nan])
    np.testing.assert_allclose(t.grad.numpy(), [np.nan, -0.4, np.log(2) + 0.5, np.nan], rtol=1e-15)


def test_x_log_x_below_zero_is_nan():
    x = tg.tensor([-1.0, 0.0, 1.0, np.nan], requires_grad=True)
    y = tg.x_log_x(x)
    np.testing.assert_array_equal(y.numpy(), [np.nan, 0.0, 0.0, np.nan])
    y.backward(np.ones(4))
    np.testing.assert_array_equal(x.grad.numpy(), [np.nan, 0.0, 1.0, np.nan])


@pytest.mark.parametrize("sign", [lambda t: -t, lambda t: +t, np.negative, np.positive, tg.negative, tg.positive])
def test_a_sign_before_a_bool_tensor_is_refused(sign):
    with pytest.raises(DtypeError, match="logical_not"):
        sign(tg.tensor([True, False]))


def test_minus_of_integers_keeps_their_digits():
    big = 2**53 + 1  # no float has it
    for minus in (tg.tensor([big]).__neg__(), np.negative(tg.tensor([big])), tg.negative([big])):
        assert minus.dtype == np.int64 and minus.tolist() == [-big]


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.float64])
def test_np_positive_is_the_tensor_itself_with_its_history(dtype):
    x = np.array([1, -2], dtype)
    assert np.positive(tg.tensor(x)).dtype == dtype
    np.testing.assert_array_equal(np.positive(tg.tensor(x)).numpy(), x)
    if dtype != np.int64:
        t = tg.tensor(x, requires_grad=True)
        np.positive(t * 3.0).backward(np.ones(2))
        np.testing.assert_array_equal(t.grad.numpy(), [3.0, 3.0])


def test_np_float_power_is_in_float64_unless_recorded():
    whole, single = np.array([1, -2, 3]), np.float32([1.1, 2.2, 3.3])
    for a, b in ((whole, np.array(-1)), (single, np.array(2)), (np.array(2), single), (whole, whole)):
        for given in ((tg.tensor(a), b), (a, tg.tensor(b)), (tg.tensor(a), tg.tensor(b))):
            out = np.float_power(*given)
            assert out.dtype == np.float64
            np.testing.assert_array_equal(out.numpy(), np.float_power(a, b))
    t = tg.tensor(single, requires_grad=True)
    out = np.float_power(t, 3)
    assert out.dtype == np.float32
    out.backward(np.ones(3))
    np.testing.assert_allclose(t.grad.numpy(), 3 * single**2, rtol=1e-6)
