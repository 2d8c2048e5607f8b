"""Reductions with where=, initial= and dtype=; what is not NaN; covariances, slopes and areas: NumPy is the judge."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.errors import DtypeError

from .against_numpy import all_holds, value_holds

X = np.random.default_rng(0).normal(size=(3, 4))
HOLES = np.where(np.isin(np.arange(12), [1, 6]).reshape(3, 4), np.nan, X)
MASK = X > -0.3
MASK[:, 0] = True
W = np.array([0.5, 1.5, 1.0, 2.0])
AT = np.array([0.0, 1.0, 1.5, 4.0])

CASES = {
    "sum": lambda f, x: f.sum(x, axis=1, where=MASK, initial=2.0),
    "sum of rows": lambda f, x: f.sum(x, where=MASK[:1]),
    "mean": lambda f, x: f.mean(x, axis=0, where=MASK, keepdims=True),
    "prod": lambda f, x: f.prod(x, axis=1, where=MASK, initial=0.5),
    "max": lambda f, x: f.max(x, axis=1, where=MASK, initial=-0.2),
    "min": lambda f, x: f.min(x, 1, initial=-0.1),
    "var": lambda f, x: f.var(x, axis=1, where=MASK, ddof=1),
    "std": lambda f, x: f.std(x, axis=1, where=MASK),
    "average": lambda f, x: f.average(x, 1, W),
    "average of all": lambda f, x: f.average(x, weights=x * x),
    "cov": lambda f, x: f.cov(x),
    "cov of columns": lambda f, x: f.cov(x, rowvar=False, bias=True),
    "cov of two": lambda f, x: f.cov(x, 2 * x[:2] + 1, ddof=0),
    "cov counted": lambda f, x: f.cov(x, fweights=np.array([1, 2, 1, 3])),
    "cov weighted": lambda f, x: f.cov(x, aweights=W, fweights=np.array([1, 2, 1, 3])),
    "cov of one": lambda f, x: f.cov(x[0]),
    "corrcoef": lambda f, x: f.corrcoef(x[0], x[1]),
    "gradient": lambda f, x: f.gradient(x, 0.3)[1],
    "gradient at points": lambda f, x: f.gradient(x, 2.0, AT, edge_order=2)[1],
    "gradient of three": lambda f, x: f.gradient(x, 2.0, AT, edge_order=2)[0],
    "gradient along one": lambda f, x: f.gradient(x, AT, axis=1),
    "trapezoid": lambda f, x: f.trapezoid(x, axis=0),
    "trapezoid at points": lambda f, x: f.trapezoid(x, x**2, axis=0),
    "ptp": lambda f, x: f.ptp(x, 0),
}
OF_NUMBERS = {
    "nansum": lambda f, x: f.nansum(x, axis=1, initial=1.0),
    "nanprod": lambda f, x: f.nanprod(x, 0),
    "nanmean": lambda f, x: f.nanmean(x, 1, keepdims=True),
    "nanvar": lambda f, x: f.nanvar(x, 0, ddof=1),
    "nanstd": lambda f, x: f.nanstd(x, 1),
    "nanmax": lambda f, x: f.nanmax(x, 0),
    "nanmin": lambda f, x: f.nanmin(x),
    "nanmedian": lambda f, x: f.nanmedian(x, 1),
    "nanmedian of columns": lambda f, x: f.nanmedian(x, 0),
    "nanquantile": lambda f, x: f.nanquantile(x, [0.2, 0.7, 1.0], 1),
    "nanpercentile": lambda f, x: f.nanpercentile(x, 30, 0, method="lower"),
    "nanpercentile between": lambda f, x: f.nanpercentile(x, 30, 0, method="midpoint"),
    "nanquantile nearest": lambda f, x: f.nanquantile(x, [0.3, 0.55], method="nearest"),
    "nancumsum": lambda f, x: f.nancumsum(x, 1),
    "nancumprod": lambda f, x: f.nancumprod(x),
}


@pytest.mark.parametrize("name", CASES)
def test_values_gradients_recordings_and_batches_agree_with_numpy(name):
    all_holds(CASES[name], X)


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_what_is_nan_is_left_out_and_gets_no_gradient(name):
    all_holds(OF_NUMBERS[name], HOLES)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["nanmean", "nanmax", "nanmin", "nanvar", "nanmedian", "nansum", "nanprod"])
def test_of_nan_alone_the_result_is_numpys(name):
    x = np.array([[np.nan, np.nan], [1.0, np.nan]])
    value_holds(lambda f, x: getattr(f, name)(x, 1), x)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "far"), [("nanmax", -np.inf), ("nanmin", np.inf)])
def test_an_infinity_beside_nan_has_the_whole_gradient(name, far, dtype):
    x = np.array([[far, np.nan, np.nan], [far, np.nan, far], [1.0, far, np.nan], [np.nan] * 3], dtype)
    gradient = tg.grad(lambda x: (getattr(tg, name)(x, 1)[:3] * np.array([1, 2, 3], dtype)).sum())
    for found in (gradient(x), tg.compile(gradient)(x)):
        np.testing.assert_array_equal(found, [[1, 0, 0], [1, 0, 1], [3, 0, 0], [0, 0, 0]])
    value_holds(lambda f, x: getattr(f, name)(x, 1), x)


@pytest.mark.parametrize("call", [
    lambda f, x: f.all(x > 0, axis=1, where=MASK), lambda f, x: f.any(x > 0, where=~MASK),
    lambda f, x: f.nanargmax(x, 1), lambda f, x: f.nanargmin(x), lambda f, x: f.count_nonzero(x, 0)])
def test_truths_and_indices_agree_with_numpy(call):
    value_holds(call, HOLES)


@pytest.mark.parametrize("expression", [
    "f.sum(i, where=i > 2, initial=1)", "f.max(i, 1, initial=3)", "f.max(i, 0, initial=0, where=i > 1)",
    "f.prod(i, dtype=float)", "f.sum(i > 2, dtype=int)", "f.nansum(i)", "f.nanmax(i, 0)", "f.nancumsum(i, 1)",
    "f.sum(f.zeros((0, 3)), 0, initial=2.0)", "f.max(f.zeros((0, 3)), 0, initial=2.0)",
    "f.cumsum(i, 1, dtype=float)", "f.mean(i, 0, dtype=float)"])
def test_integers_and_empty_arrays_are_numpys(expression):
    i = np.arange(6).reshape(2, 3)
    want, got = eval(expression, {"f": np, "i": i}), eval(expression, {"f": tg, "i": tg.tensor(i)})
    np.testing.assert_array_equal(got.numpy(), want)
    assert got.dtype.kind == want.dtype.kind


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "cumsum", "nansum"])
def test_truths_are_no_dtype_to_sum_in(name):
    with pytest.raises(DtypeError, match="tg.any"):
        getattr(tg, name)(tg.tensor([2, 0]), dtype=bool)


def test_scans_may_begin_with_what_they_start_from():
    x = tg.tensor(X, requires_grad=True)
    y = tg.cumulative_sum(x, axis=1, include_initial=True)
    np.testing.assert_allclose(y.detach().numpy(), np.concatenate([np.zeros((3, 1)), np.cumsum(X, 1)], 1))
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.broadcast_to([4.0, 3.0, 2.0, 1.0], (3, 4)))
    np.testing.assert_allclose(tg.cumulative_prod(X[0], include_initial=True).numpy(), [1.0, *np.cumprod(X[0])])
    areas = tg.cumulative_trapezoid(X, dx=2.0, initial=0)
    np.testing.assert_allclose(areas[:, -1].numpy(), np.trapezoid(X, dx=2.0))


@pytest.mark.parametrize("axis", [0, 1])
def test_logcumsumexp_is_the_logarithm_of_the_running_sum_without_overflow(axis):
    x = X * 3 + np.where(MASK, 0.0, 700.0)
    with np.errstate(all="ignore"):
        want = np.logaddexp.accumulate(x, axis=axis)
    np.testing.assert_allclose(tg.logcumsumexp(x, axis).numpy(), want, rtol=1e-14)
    np.testing.assert_allclose(np.asarray(tg.compile(lambda t: tg.logcumsumexp(t, dim=axis))(x)), want, rtol=1e-14)
    edges = tg.tensor([[-np.inf, 1.0, 2.0], [3.0, -np.inf, np.inf], [1.0, np.nan, 0.0]], requires_grad=True)
    y = tg.logcumsumexp(edges, 1)
    with np.errstate(invalid="ignore"):
        running = np.logaddexp.accumulate(edges.detach().numpy(), axis=1)
    np.testing.assert_allclose(y.detach().numpy(), running, rtol=1e-6)
    y[0].sum().backward()
    assert edges.grad.numpy()[0, 0] == 0.0
    assert np.isfinite(edges.grad.numpy()[0]).all()


@pytest.mark.parametrize("function", [
    lambda x: tg.logcumsumexp(x, 1) ** 2, lambda x: tg.std(x, axis=1, where=MASK),
    lambda x: tg.nanquantile(x, 0.3) ** 2, lambda x: tg.corrcoef(x), lambda x: tg.average(x, weights=tg.exp(x)) ** 2])
def test_derivatives_of_second_order(function):
    tg.gradcheck(lambda x: function(x).sum(), X, order=2, modes=("rev", "fwd"))


def test_where_all_chosen_are_equal_the_slope_of_the_deviation_is_zero():
    x = tg.tensor([2.0, 2.0, 5.0], requires_grad=True)
    tg.std(x, where=np.array([True, True, False])).backward()
    assert x.grad.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "var", "std", "nansum", "any", "all"])
@pytest.mark.parametrize("x", [X[0], X[:1]], ids=["fewer axes", "an extent of 1"])
def test_a_choice_that_is_larger_than_the_array_is_refused(name, x):
    for call in (getattr(tg, name), tg.compile(lambda x, where: getattr(tg, name)(x, where=where))):
        with pytest.raises(tg.ShapeError, match=r"\[3, 4\] does not broadcast to"):
            call(tg.tensor(x), where=MASK)


def test_one_row_of_columns_is_one_observation_of_each():
    assert tg.cov(X[:1], rowvar=False, ddof=0).tolist() == np.zeros((4, 4)).tolist()
    np.testing.assert_allclose(tg.cov(X, X[0, :3], rowvar=False).numpy(), np.cov(X, X[0, :3], rowvar=False), rtol=1e-12)


def test_arguments_that_mean_nothing_are_named():
    with pytest.raises(tg.ArgumentError, match="where= needs initial="):
        tg.max(X, where=MASK)
    with pytest.raises(ZeroDivisionError, match="sum to zero"):
        tg.average(X, 1, np.zeros(4))
    with pytest.raises(tg.ArgumentError, match="dim= is PyTorch's and initial="):
        tg.max(X, dim=1, initial=0.0)
    with pytest.raises(tg.ArgumentError, match="all elements along an axis are NaN"):
        tg.nanargmax(np.full((2, 2), np.nan), 1)
    with pytest.raises(tg.ShapeError, match="differences need 3"):
        tg.gradient(X[:, :2], axis=1, edge_order=2)
    with pytest.raises(tg.CaptureError, match="isnan"):
        tg.compile(lambda x: tg.nanargmax(x, 1))(X)
