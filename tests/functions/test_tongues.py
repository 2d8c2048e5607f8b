"""Names that NumPy and PyTorch both have: ``dim=`` means PyTorch, whose numbers are recorded, ``axis=`` NumPy."""

from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim
from tapegrad.functions import two_meanings

from .pytorch_cases import ARRAYS, CASES, cotangent

with np.load(Path(__file__).with_name("pytorch.npz")) as file:
    PARTS = np.split(file["values"], np.cumsum(file["lengths"])[:-1])
    RECORDED = dict(zip(file["names"].tolist(), PARTS, strict=True))


def parts_of(expression, given):
    """The results of an expression, as a list."""
    results = eval(expression, {"T": tg, **given})
    return list(results) if isinstance(results, (tuple, list)) else [results]


def given_of(name, dtype):
    return {key: array.astype(dtype) if array.dtype.kind == "f" else array for key, array in ARRAYS[name].items()}


def weighted(parts):
    """The sum over what is differentiable, each element with its own weight."""
    return sum((part * cotangent(part.shape, k)).sum() for k, part in enumerate(parts)
               if isinstance(part, tg.Tensor) and part.is_floating)


def near(actual, expected, dtype):
    actual = np.asarray(actual, np.float64).ravel()
    tolerance = 1e-12 if dtype == np.float64 else 2e-5
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def has_gradient(expression, name):
    return f"{expression}|{name}|x" in RECORDED


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("expression, name", CASES, ids=[f"{e} of {n}" for e, n in CASES])
def test_results_and_gradients_are_those_of_pytorch(expression, name, dtype):
    arrays = given_of(name, dtype)
    given = {key: tg.tensor(array, requires_grad=key == "x") for key, array in arrays.items()}
    parts = parts_of(expression, given)
    for k, part in enumerate(parts):
        near(part.numpy() if isinstance(part, tg.Tensor) else part, RECORDED[f"{expression}|{name}|{k}"], dtype)
    assert f"{expression}|{name}|{len(parts)}" not in RECORDED
    if has_gradient(expression, name):
        weighted(parts).backward()
        near(given["x"].grad.numpy(), RECORDED[f"{expression}|{name}|x"], dtype)


RECORDABLE = [(e, n) for e, n in CASES if ".equal(" not in e and "select(y" not in e and has_gradient(e, n)]


@pytest.mark.parametrize("expression, name", RECORDABLE, ids=[f"{e} of {n}" for e, n in RECORDABLE])
def test_recordings_give_the_same_at_each_replay(expression, name):
    arrays = given_of(name, np.float64)
    others = {key: tg.tensor(array) for key, array in arrays.items() if key != "x"}
    values = tg.compile(lambda x: tuple(part for part in parts_of(expression, {"x": x, **others})))
    gradient = tg.compile(tg.grad(lambda x: weighted(parts_of(expression, {"x": x, **others}))))
    for x in (arrays["x"], arrays["x"][::-1].copy() if arrays["x"].ndim else arrays["x"], arrays["x"]):
        found = [np.asarray(part) for part in values(x)], gradient(x)
    for k, part in enumerate(found[0]):
        near(part, RECORDED[f"{expression}|{name}|{k}"], np.float64)
    near(found[1], RECORDED[f"{expression}|{name}|x"], np.float64)


@pytest.mark.parametrize("function", [
    lambda x: x.max(dim=0).values, lambda x: x.sort(dim=1).values ** 2, lambda x: x.median(dim=1).values ** 2,
    lambda x: x.cummax(dim=1).values ** 2, lambda x: x.var(dim=0) ** 2, lambda x: x.norm(p=3, dim=1),
    lambda x: tg.median(x, axis=1) ** 2, lambda x: tg.quantile(x, 0.3, axis=0) ** 2])
def test_derivatives_of_derivatives_and_batches(function):
    x = ARRAYS["(3, 2, 5)"]["x"][0]
    tg.gradcheck(lambda x: function(x).sum(), x, order=2, modes=("rev", "fwd"))
    stack = ARRAYS["(3, 2, 5)"]["x"]
    each = [np.asarray(function(tg.tensor(x))) for x in stack]
    np.testing.assert_allclose(np.asarray(tg.vmap(function)(stack)), each)


# ------------------------------------------------------------------ by position and axis, NumPy

X = np.random.default_rng(3).normal(size=(2, 4))


@pytest.mark.parametrize("mine, numpys", [
    (lambda x: x.max(1), lambda x: x.max(1)), (lambda x: x.min(axis=0), lambda x: x.min(axis=0)),
    (lambda x: x.var(0), lambda x: x.var(0)), (lambda x: x.std(axis=1), lambda x: x.std(axis=1)),
    (lambda x: x.var(0, correction=1), lambda x: x.var(0, ddof=1)), (lambda x: x.sort(0), lambda x: np.sort(x, 0)),
    (lambda x: tg.median(x), np.median), (lambda x: tg.median(x, (0, 1)), np.median),
    (lambda x: np.median(x, 1), lambda x: np.median(x, 1)), (lambda x: tg.norm(x, 1), lambda x: np.linalg.norm(x, 1)),
    (lambda x: np.quantile(x, [0.2, 0.5], 0, keepdims=True), lambda x: np.quantile(x, [0.2, 0.5], 0, keepdims=True)),
    (lambda x: np.percentile(x, 30, axis=1), lambda x: np.percentile(x, 30, axis=1)),
    (lambda x: tg.split(x, 2, 1)[1], lambda x: np.split(x, 2, 1)[1]),
    (lambda x: x.sum(axis=()), lambda x: x.sum(axis=())),
    (lambda x: tg.split(x, [1, 3], axis=1)[1], lambda x: np.split(x, [1, 3], axis=1)[1]),
    (lambda x: tg.equal(x, x), lambda x: np.equal(x, x)), (lambda x: np.moveaxis(x, (0, 1), (1, 0)), lambda x: x.T),
])  # fmt: skip
def test_positions_and_axis_mean_numpy(mine, numpys):
    np.testing.assert_allclose(mine(tg.tensor(X)).numpy(), numpys(X), rtol=1e-14)


def test_the_median_of_a_row_with_nan_is_nan_and_of_infinities_is_numpys():
    rows = np.array([[1.0, np.nan, 2.0], [np.inf, np.inf, 1.0], [-np.inf, -np.inf, np.inf]])
    np.testing.assert_array_equal(tg.median(tg.tensor(rows), 1).numpy(), np.median(rows, 1))
    even = np.array([[np.inf, np.inf, 1.0, 2.0], [-np.inf, -np.inf, -np.inf, 2.0]])
    np.testing.assert_array_equal(tg.median(tg.tensor(even), 1).numpy(), np.median(even, 1))


@pytest.mark.parametrize("call", [
    lambda x: x.max(1, keepdim=True), lambda x: x.max(axis=1, dim=1), lambda x: x.min(1, dim=1),
    lambda x: x.var(1, keepdim=True), lambda x: x.var(axis=1, dim=1), lambda x: x.std(dim=1, ddof=1),
    lambda x: x.var(dim=1, unbiased=True, correction=1), lambda x: tg.norm(x, 1, p=1), lambda x: tg.sort(x, 0, dim=0),
    lambda x: tg.split(x, 2, 1, dim=1), lambda x: x.squeeze(0, dim=0), lambda x: tg.median(x, 1, keepdim=True)])
def test_words_of_both_in_one_call_are_refused(call):
    with pytest.raises(tg.ArgumentError):
        call(tg.tensor(X))


@pytest.mark.parametrize("call, remedy", [
    (lambda x: x.squeeze(0), "squeeze\\(dim=0\\)"), (lambda x: tg.split(x, 3, 1), "split\\(3, dim=1\\)"),
    (lambda x: x.split([1, 2], dim=1), "sizes \\[1, 2\\] do not add up to the extent 4"),
    (lambda x: x.split(0, dim=1), "positive"), (lambda x: x[:, :0].max(dim=1), "no elements"),
    (lambda x: x.kthvalue(5), "k is 5"), (lambda x: x.norm("two"), "'two' is not supported")])
def test_what_cannot_be_done_says_what_can(call, remedy):
    with pytest.raises((tg.ShapeError, tg.ArgumentError), match=remedy):
        call(tg.tensor(X))


def test_pairs_have_names_and_survive_compilation():
    pair = tg.compile(lambda x: x.max(dim=1))(X)
    assert pair._fields == ("values", "indices")
    np.testing.assert_array_equal(pair.indices, X.argmax(1))
    assert tg.tensor([4, 1, 3]).sort(dim=0).indices.tolist() == [1, 2, 0]


def test_an_index_that_was_found_indexes_in_a_recorded_step():
    w = tg.tensor(np.ones(4), requires_grad=True)
    step = tg.TrainStep(lambda x: (w[x.max(dim=1).indices] * x.max(dim=1).values).sum(), optim.SGD([w], lr=1.0))
    for x in (X, -X, X):
        before = w.numpy()
        assert step(x) == pytest.approx((before[x.argmax(1)] * x.max(1)).sum())
        expected = before - np.bincount(x.argmax(1), x.max(1), minlength=4)
        np.testing.assert_allclose(w.numpy(), expected, rtol=1e-6)


# ------------------------------------------------------------------ the table


@pytest.mark.parametrize("row", two_meanings.NAMES, ids=[row.name for row in two_meanings.NAMES])
def test_both_spellings_of_the_table_run_and_differ(row):
    x, y = tg.tensor(X), tg.tensor(X + 1.0)
    found = [eval(code, {"tg": tg, "F": F, "x": x, "y": y}) for code in (row.numpys, row.pytorchs)]
    kinds = [type(value) for value in found]
    shapes = [[np.asarray(part).tolist() for part in v] if isinstance(v, (tuple, list)) else np.asarray(v).tolist()
              for v in found]
    assert kinds[0] != kinds[1] or shapes[0] != shapes[1]


def test_the_readme_has_the_table():
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert two_meanings.table() in readme


@pytest.mark.parametrize("data, dtype", [(np.zeros(3), "float64"), (np.zeros(3, np.float32), "float32"),
                                         ([0.0], "float32"), (np.zeros(3, int), "float32"),
                                         (np.zeros(3, np.float16), "float32"), ([np.float64(1)], "float64")])
def test_arrays_keep_their_float_dtype_everywhere(data, dtype):
    for made in (nn.Parameter(data), nn.ParameterList([data])[0]):
        assert made.dtype == dtype
    if np.asarray(data).dtype.kind == "f":
        assert tg.tensor(data).dtype == dtype == tg.exp(data).dtype


def test_a_nan_is_as_frequent_as_any_number_that_comes_once():
    x = np.array([[np.nan, 2.0, np.nan, 1.0], [np.nan, np.nan, 3.0, 3.0], [np.nan] * 4])
    for found in (tg.mode(x), tg.compile(lambda x: tuple(tg.mode(x)))(x)):
        values, indices = map(np.asarray, found)
        np.testing.assert_array_equal(values, [1.0, 3.0, np.nan])
        assert indices.tolist() == [3, 3, 0]


def test_what_cannot_be_shortened_or_has_no_mode_says_so():
    for call, message in ((lambda: tg.renorm(np.ones(3), 2, 0, 1.0), "two axes"), (
            lambda: tg.renorm(np.ones((2, 2)), 0, 0, 1.0), "greater than 0"), (
            lambda: tg.renorm(np.ones((2, 2)), 2, 0, -1.0), "not negative"), (
            lambda: tg.mode(np.ones((0, 2)), 0), "no elements")):
        with pytest.raises(ValueError, match=message):
            call()
