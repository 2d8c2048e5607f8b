"""Reductions over any axes, and cumulative sums."""

import warnings

import naive
import numpy as np
import pytest

import tapegrad as tg

from .contract import Case, OpContract, close, grid, leaves, same, uniform
from .derivatives import Derivatives, agree_at

AXES = [
    ((), None),
    ((5,), None),
    ((5,), 0),
    ((5,), -1),
    ((2, 3, 4), None),
    ((2, 3, 4), 0),
    ((2, 3, 4), 1),
    ((2, 3, 4), -1),
    ((2, 3, 4), (0, 2)),
    ((2, 3, 4), (2, 0)),
    ((2, 3, 4), (0, 1)),
    ((2, 3, 4), (1, 2)),
    ((2, 3, 4), (0, 1, 2)),
    ((1, 3, 1), (0, 2)),
    ((1, 1), None),
    ((2, 3, 2, 2), (0, 2)),
    ((2, 3), ()),
]
EMPTY = [((0,), None), ((0, 3), 0), ((0, 3), 1), ((2, 0), 1), ((2, 0), None)]


def reduction(name, reference, make=uniform, axes=AXES, **options):
    function = getattr(tg, name)
    cases = []
    for seed, (shape, axis) in enumerate(axes):
        for keepdims in (False, True):
            x = make(shape, seed)
            cases.append(
                Case(
                    f"{name}-{shape}-axis={axis}-keepdims={keepdims}",
                    lambda x, axis=axis, keepdims=keepdims: function(x, axis=axis, keepdims=keepdims),
                    lambda x, axis=axis, keepdims=keepdims: reference(x, axis=axis, keepdims=keepdims),
                    (x,),
                    **options,
                )
            )
    return cases


def values(shape, seed):
    return uniform(shape, -2, 2, seed)


def positive(shape, seed):
    return uniform(shape, 0.5, 1.7, seed)


SPREAD = [row for row in AXES if row[1] != ()]


class TestReductions(OpContract, Derivatives):
    cases = [
        *reduction("sum", np.sum, values, AXES + EMPTY),
        *reduction("mean", np.mean, values),
        *reduction("prod", np.prod, positive, AXES + EMPTY, single=1e-5),
        *reduction("max", np.max, grid, ties=False),
        *reduction("min", np.min, grid, ties=False),
        *reduction("var", np.var, values, SPREAD, ties=False),
        *reduction("logsumexp", naive.logsumexp, values),
        *reduction("max", np.max, grid, [((0, 3), 1), ((2, 0), 0)], ties=False),
    ] + [
        # the standard deviation of a single element has no slope, so only shapes with a spread
        case
        for case in reduction(
            "std", np.std, values, [((5,), None), ((2, 3, 4), 1), ((2, 3, 4), (0, 2)), ((4, 3), -1)], ties=False
        )
    ]


class TestDegreesOfFreedom(OpContract, Derivatives):
    cases = [
        Case(
            f"{name}-ddof={ddof}-axis={axis}",
            lambda x, name=name, ddof=ddof, axis=axis: getattr(tg, name)(x, axis=axis, ddof=ddof),
            lambda x, name=name, ddof=ddof, axis=axis: getattr(np, name)(x, axis=axis, ddof=ddof),
            (values((3, 4), 5),),
            ties=False,
        )
        for name in ("var", "std")
        for ddof in (0, 1, 2)
        for axis in (None, 0, 1)
    ]


class TestCumsum(OpContract, Derivatives):
    cases = [
        Case(
            f"cumsum-{shape}-axis={axis}",
            lambda x, axis=axis: tg.cumsum(x, axis=axis),
            lambda x, axis=axis: np.cumsum(x, axis=axis),
            (values(shape, 3),),
        )
        for shape, axis in [
            ((5,), 0),
            ((5,), None),
            ((2, 3, 4), 0),
            ((2, 3, 4), 1),
            ((2, 3, 4), -1),
            ((2, 3), None),
            ((1, 4, 1), 0),
            ((0, 3), 0),
            ((2, 0), 1),
            ((1,), 0),
        ]
    ]


# ------------------------------------------------------------------
# ties, zeros and edge values


@pytest.mark.parametrize("name", ["max", "min"])
@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1)])
def test_equal_extremes_share_the_gradient_equally(name, axis):
    x = np.array([[2.0, 5.0, 5.0], [5.0, 1.0, 5.0], [1.0, 1.0, 2.0]])
    leaf = tg.tensor(x, requires_grad=True)
    out = getattr(tg, name)(leaf, axis=axis, keepdims=True)
    cotangent = uniform(out.shape, 0.5, 1.5, 2)
    out.backward(gradient=cotangent)
    sign = 1.0 if name == "max" else -1.0
    close(leaf.grad.numpy(), naive.max_adjoint(sign * x, axis, cotangent), 1e-15)


@pytest.mark.parametrize(
    "x",
    [[2.0, 0.0, 3.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0], [[0.0, 2.0], [3.0, 4.0]], [[0.0], [1.0]], [-1.0, 0.0]],
)
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_the_gradient_of_prod_is_right_where_factors_are_zero(x, axis):
    x = np.array(x)
    leaf = tg.tensor(x, requires_grad=True)
    out = tg.prod(leaf, axis=axis)
    cotangent = uniform(out.shape, 0.5, 1.5, 1)
    out.backward(gradient=cotangent)
    expected = naive.derivative(lambda a: np.prod(a, axis=axis), [x], 0, cotangent)
    np.testing.assert_allclose(leaf.grad.numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "max", "min"])
@pytest.mark.parametrize(
    "column", [[np.nan, 1.0], [1.0, np.nan], [np.inf, 1.0], [-np.inf, np.inf], [-0.0, 0.0], [np.inf, np.nan]]
)
def test_infinities_and_nan_reduce_as_in_numpy(name, column):
    x = np.array([column, [3.0, 4.0]])
    for axis in (None, 0, 1):
        with np.errstate(all="ignore"):
            expected = getattr(np, name)(x, axis=axis)
        np.testing.assert_array_equal(getattr(tg, name)(tg.tensor(x), axis=axis).numpy(), expected)


@pytest.mark.parametrize("n", [3, 5, 17, 1001])
@pytest.mark.parametrize("place", [0, 1, -1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_nan_anywhere_is_the_maximum_and_the_minimum(n, place, dtype):
    x = uniform(n, -1, 1, n).astype(dtype)
    x[place] = np.nan
    assert np.isnan(tg.tensor(x).max().numpy())
    assert np.isnan(tg.tensor(x).min().numpy())


@pytest.mark.parametrize(
    "row, expected",
    [
        ([1000.0, 1000.0], 1000.0 + np.log(2.0)),
        ([-1000.0, -1000.0], -1000.0 + np.log(2.0)),
        ([-np.inf, 0.0], 0.0),
        ([-np.inf, -np.inf], -np.inf),
        ([np.inf, 0.0], np.inf),
        ([np.nan, 0.0], np.nan),
        ([1e300, -1e300], 1e300),
    ],
)
def test_logsumexp_neither_overflows_nor_loses_infinities(row, expected):
    np.testing.assert_allclose(tg.logsumexp(tg.tensor(np.array(row))).numpy(), expected, rtol=1e-15)


def test_the_gradient_of_logsumexp_is_zero_at_minus_infinity():
    x = tg.tensor(np.array([-np.inf, 0.0, 0.0]), requires_grad=True)
    tg.logsumexp(x).backward()
    assert x.grad.numpy().tolist() == [0.0, 0.5, 0.5]


EDGE_ROWS = [
    [1.0, 2.0, 2.0], [np.nan, 1.0, 0.0], [np.nan, np.nan, 3.0], [np.inf, np.inf, 1.0], [-np.inf] * 3, [0.0, -0.0, 0.0],
    [-np.inf, 0.0, 1.0],
]  # fmt: skip


@pytest.mark.parametrize("row", EDGE_ROWS)
@pytest.mark.parametrize("name", ["max", "min", "logsumexp"])
def test_rules_of_reductions_at_ties_and_infinities_are_those_of_the_adjoint(name, row):
    (second,) = agree_at(lambda x: getattr(tg, name)(x, 1), [row, [1.0, 2.0, 3.0]])
    if name != "logsumexp" or np.isnan(row).any() or np.inf in row:
        np.testing.assert_array_equal(second, 0.0 if name != "logsumexp" else second)
    else:
        np.testing.assert_allclose(second.sum(axis=1), 0.0, atol=1e-15)  # shares of a whole


def test_second_derivatives_of_products_are_exact_at_zeros():
    a, b, c = 2.0, 3.0, 5.0
    for x, hessian in (
        ([a, b, c], [[0, c, b], [c, 0, a], [b, a, 0]]),
        ([0.0, b, c], [[0, c, b], [c, 0, 0], [b, 0, 0]]),
        ([0.0, 0.0, c], [[0, c, 0], [c, 0, 0], [0, 0, 0]]),
        ([0.0, 0.0, 0.0], np.zeros((3, 3))),
    ):
        agree_at(lambda x: tg.prod(x), x)
        for function in (tg.prod, lambda x: tg.cumprod(x)[2]):
            np.testing.assert_array_equal(tg.hessian(function)(np.array(x)), hessian)
    third = tg.jacobian(tg.hessian(lambda x: tg.prod(x)))(np.zeros(3))
    np.testing.assert_array_equal(third, np.abs(np.linalg.det(np.eye(3)[np.indices((3, 3, 3)).transpose(1, 2, 3, 0)])))


def test_derivatives_of_products_are_within_the_range_of_numbers_where_the_product_is():
    a, b = np.float32(1e30), np.float32(1e-30)
    x, expected = np.array([a, a, b, b]), np.array([b, b, a, a])
    for function in (tg.grad, tg.jacrev, tg.jacfwd):
        for through in (lambda f: f, tg.compile):
            np.testing.assert_allclose(through(function(tg.prod))(x), expected, rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 7, 256, 257])
def test_products_of_all_but_one_whether_multiplied_out_or_not(n):
    x = np.random.default_rng(n).uniform(0.9, 1.1, (2, n)) * np.where(np.arange(n) % 2, 1.0, -1.0)
    for zero in (None, 0, n - 1):
        if zero is not None:
            x[0, zero] = 0.0
        others = [[np.prod(np.delete(row, k)) for k in range(n)] for row in x]
        np.testing.assert_allclose(tg.jacrev(lambda x: tg.prod(x, 1))(x)[[0, 1], [0, 1]], others, rtol=1e-12)
        if n < 20:
            expected = [[[0.0 if j == k else np.prod(np.delete(row, [j, k])) for j in range(n)] for k in range(n)]
                        for row in x]
            for row, hessian in zip(x, expected):
                np.testing.assert_allclose(tg.hessian(tg.prod)(row), hessian, rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("ddof", [0, 3])
@pytest.mark.parametrize("name", ["var", "std"])
def test_rules_of_spreads_of_equal_numbers_and_of_none_are_those_of_the_adjoint(name, ddof):
    for x in ([[2.0, 2.0, 2.0], [1.0, 2.0, 4.0]], np.zeros((2, 0))):
        (second,) = agree_at(lambda x: getattr(tg, name)(x, 1, ddof=ddof), x)
        assert name != "std" or ddof or not second[:1].any()


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_the_variance_of_values_with_a_large_mean_keeps_its_digits(dtype, tolerance):
    x = (4096.0 + np.round(uniform(1000, -8, 8, 3)) / 4.0).astype(dtype)
    expected = np.var(x.astype(np.float64))
    np.testing.assert_allclose(tg.var(tg.tensor(x)).numpy(), expected, rtol=tolerance)


@pytest.mark.compiled
@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 31, 33, 127, 1025, 100_003])
def test_sums_of_every_length_reach_the_last_element(n):
    x = np.arange(1.0, n + 1.0)
    assert float(tg.tensor(x).sum()) == n * (n + 1) / 2


@pytest.mark.compiled
def test_a_float32_sum_of_a_million_elements_keeps_six_digits():
    x = uniform(1_000_003, 0, 1, 8).astype(np.float32)
    np.testing.assert_allclose(float(tg.tensor(x).sum()), x.astype(np.float64).sum(), rtol=1e-6)
    np.testing.assert_allclose(float(tg.tensor(x).mean()), x.astype(np.float64).mean(), rtol=1e-6)


@pytest.mark.compiled
@pytest.mark.parametrize("axis", [0, 1, (0, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_reductions_agree_with_numpy_on_each_axis(axis, dtype):
    x = uniform((513, 777), -1, 1, 4).astype(dtype)
    leaf = tg.tensor(x, requires_grad=True)
    out = leaf.sum(axis=axis)
    close(out.numpy(), x.astype(np.float64).sum(axis=axis), 1e-12 if dtype == np.float64 else 3e-6)
    g = uniform(out.shape, -1, 1, 5).astype(dtype)
    out.backward(gradient=g)
    same(leaf.grad.numpy(), np.broadcast_to(np.expand_dims(g, axis), x.shape))


def test_mean_of_nothing_is_nan_and_the_maximum_of_nothing_is_an_error():
    empty = tg.tensor(np.zeros(0))
    assert np.isnan(empty.mean().numpy())
    for name in ("max", "min"):
        with pytest.raises(ValueError):
            getattr(empty, name)()


# ------------------------------------------------------------------
# spellings and errors


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "max", "min", "var", "std"])
def test_a_reduction_is_reached_as_function_method_and_numpy_function(name):
    x = uniform((3, 4), 0.5, 2, 1)
    (leaf,) = leaves([x])
    expected = getattr(np, name)(x, axis=1, keepdims=True)
    for out in (
        getattr(tg, name)(leaf, axis=1, keepdims=True),
        getattr(leaf, name)(axis=1, keepdims=True),
        getattr(np, name)(leaf, axis=1, keepdims=True),
        getattr(leaf, name)(1, keepdims=True),
        *([getattr(leaf, name)(dim=1, keepdims=True)] if name in ("sum", "mean", "prod") else []),
    ):
        assert isinstance(out, tg.Tensor)
        close(out.numpy(), expected, 1e-14)


def test_amax_and_amin_of_numpy_are_max_and_min():
    x = tg.tensor(np.array([1.0, 3.0, 2.0]))
    assert float(np.amax(x)) == 3.0 and float(np.amin(x)) == 1.0


@pytest.mark.parametrize("name", ["sum", "mean", "max", "cumsum", "logsumexp"])
@pytest.mark.parametrize("axis", [2, -3])
def test_an_axis_out_of_range_is_named(name, axis):
    with pytest.raises((ValueError, IndexError), match=str(axis)) as caught:
        getattr(tg, name)(tg.tensor(np.zeros((2, 3))), axis=axis)
    assert isinstance(caught.value, tg.TapegradError)


def test_an_axis_given_twice_is_an_error():
    with pytest.raises(ValueError, match="axis|axes|dup|twice"):
        tg.sum(tg.tensor(np.zeros((2, 3))), axis=(0, -2))


@pytest.mark.parametrize("ddof", [3, 4, 9])
@pytest.mark.parametrize("name", ["var", "std"])
def test_var_and_std_without_degrees_of_freedom_are_numpys(name, ddof):
    x = np.array([[1.0, 2.0, 4.0], [3.0, 3.0, 3.0]])
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = getattr(np, name)(x, axis=1, ddof=ddof)
    assert np.isposinf(expected[0]) and np.isnan(expected[1])
    np.testing.assert_array_equal(getattr(tg, name)(tg.tensor(x), axis=1, ddof=ddof).numpy(), expected)
