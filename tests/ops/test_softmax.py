"""softmax and log_softmax along any axis."""

import naive
import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F

from .contract import Case, OpContract, close, same, uniform
from .derivatives import Derivatives, agree_at

SHAPES = [
    ((5,), 0),
    ((5,), -1),
    ((3, 4), 0),
    ((3, 4), 1),
    ((2, 3, 4), 1),
    ((2, 3, 4), -1),
    ((1, 1), 0),
    ((3, 1), 1),
    ((0, 3), 1),
]


class TestSoftmax(OpContract, Derivatives):
    cases = [
        Case(
            f"{name}-{shape}-axis={axis}",
            lambda x, name=name, axis=axis: getattr(tg, name)(x, axis=axis),
            lambda x, name=name, axis=axis: getattr(naive, name)(x, axis=axis),
            (uniform(shape, -3, 3, 4),),
        )
        for name in ("softmax", "log_softmax")
        for shape, axis in SHAPES
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [1, 2, 3, 7, 8, 10, 33, 1000, 5003])
def test_rows_of_any_width_sum_to_one(classes, dtype):
    x = uniform((6, classes), -20, 20, classes).astype(dtype)
    out = tg.softmax(tg.tensor(x), axis=1).numpy()
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    close(out, naive.softmax(x.astype(np.float64), axis=1), tolerance)
    np.testing.assert_allclose(out.sum(axis=1), 1.0, rtol=tolerance)


def test_softmax_neither_overflows_nor_underflows_to_nan():
    x = np.array([[1e300, -1e300], [1e5, 1e5 - 1], [-1e5, -1e5 - 1], [-np.inf, 0.0]])
    out = tg.softmax(tg.tensor(x), axis=1).numpy()
    e = np.exp(1.0)
    np.testing.assert_allclose(
        out, [[1, 0], [e / (1 + e), 1 / (1 + e)], [e / (1 + e), 1 / (1 + e)], [0, 1]], rtol=1e-14
    )
    logs = tg.log_softmax(tg.tensor(x[1:]), axis=1).numpy()
    np.testing.assert_allclose(logs, [[-np.log1p(1 / e), -1 - np.log1p(1 / e)]] * 2 + [[-np.inf, 0.0]], rtol=1e-12)


def test_log_softmax_is_exact_where_one_class_dominates():
    out = tg.log_softmax(tg.tensor(np.array([[40.0, 0.0]])), axis=1).numpy()
    np.testing.assert_allclose(out, [[-np.exp(-40.0), -40.0]], rtol=1e-14, atol=1e-16)


def test_a_nan_makes_its_row_nan_and_no_other():
    x = np.array([[np.nan, 1.0, 2.0], [1.0, 2.0, 3.0]])
    for name in ("softmax", "log_softmax"):
        out = getattr(tg, name)(tg.tensor(x), axis=1).numpy()
        assert np.isnan(out[0]).all() and np.isfinite(out[1]).all()


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("row", [[-np.inf, 0.0, 1.0], [1e300, -1e300, 0.0], [np.nan, 1.0, 2.0], [np.inf, 0.0, 0.0]])
def test_rules_of_softmax_at_infinities_are_those_of_the_adjoint(name, row):
    (second,) = agree_at(lambda x: getattr(tg, name)(x, 1)[:, 1:], [row, [1.0, 2.0, 3.0]])
    assert np.isfinite(second[1]).all() and np.isfinite(second[0]).all() == (-np.inf in row or 1e300 in row)


def test_softmax_is_reached_as_function_method_and_in_functional():
    x = tg.tensor(uniform((2, 3), -1, 1, 0))
    expected = naive.softmax(x.numpy(), axis=1)
    for out in (tg.softmax(x, axis=1), tg.softmax(x, dim=1), x.softmax(axis=1), F.softmax(x, dim=1), F.softmax(x, 1)):
        close(out.numpy(), expected, 1e-14)
    same(F.log_softmax(x, dim=0).numpy(), tg.log_softmax(x, axis=0).numpy())


def test_softmax_over_an_axis_out_of_range_is_an_error():
    with pytest.raises((ValueError, IndexError), match="2"):
        tg.softmax(tg.tensor(np.zeros((2, 3))), axis=2)
