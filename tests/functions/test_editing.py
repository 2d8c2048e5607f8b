"""Parts put in, left out, chosen, put together; places and counts; windows along vectors: NumPy is the judge."""

import numpy as np
import pytest
import scipy.linalg

import tapegrad as tg

from .against_numpy import all_holds, differences, value_holds, weights

X = np.random.default_rng(0).normal(size=(3, 4))
NUMBERS = np.array([[0, 2, 1, 1], [1, 0, 0, 2], [2, 2, 1, 0]])
AT, HEIGHTS = np.array([-1.0, -0.3, 0.4, 1.2]), np.array([4.0, 0.2, 2.1, 3.3])

CASES = {
    "append": lambda f, x: f.append(x, x[:1] * 2, axis=0),
    "append flat": lambda f, x: f.append(x, 1.5),
    "insert": lambda f, x: f.insert(x, 1, x[:, 0] * 2, axis=1),
    "insert a number": lambda f, x: f.insert(x, [0, 2], 9.0, axis=1),
    "insert at several": lambda f, x: f.insert(x, [1, 3], x[:, :2] * 3, axis=1),
    "insert flat": lambda f, x: f.insert(x, 2, np.array([1.0, 2.0, 3.0])),
    "insert by a slice": lambda f, x: f.insert(x, slice(0, 3, 2), 7.0, axis=0),
    "insert rows": lambda f, x: f.insert(x, -1, x[:2] * 2, axis=0),
    "delete": lambda f, x: f.delete(x, [0, -1], 1),
    "delete by a slice": lambda f, x: f.delete(x, slice(None, None, 3)),
    "delete by a mask": lambda f, x: f.delete(x, np.array([True, False, True, False]), axis=1),
    "select": lambda f, x: f.select([x < -0.5, x < 0.5], [-x, x**2], 3.0),
    "choose": lambda f, x: f.choose(NUMBERS, [x, 2 * x, -1.0]),
    "choose wrapped": lambda f, x: f.choose(NUMBERS + 1, [x, 2 * x, x * 3], mode="wrap"),
    "choose clipped": lambda f, x: f.choose(NUMBERS + 1, [x, 2 * x, x * 3], mode="clip"),
    "interp": lambda f, x: f.interp(x, AT, HEIGHTS),
    "interp beyond": lambda f, x: f.interp(x, AT, HEIGHTS, left=-5.0, right=7.0),
    "interp by heights": lambda f, x: f.interp(np.linspace(-3, 3, 9), np.linspace(-2, 2, 4), x[0]),
    "interp by points": lambda f, x: f.interp(np.array([-0.1, 0.3, 0.5]), np.linspace(-1, 1, 4) + x[1] / 9, HEIGHTS),
    "interp of a period": lambda f, x: f.interp(x, AT * 3, HEIGHTS, period=2.0),
    "interp of one": lambda f, x: f.interp(x, np.array([0.1]), np.array([3.0]), left=1.0),
    "convolve": lambda f, x: f.convolve(x[0], x[1, :3]),
    "convolve same": lambda f, x: f.convolve(x[0, :2], x[1], "same"),
    "convolve valid": lambda f, x: f.convolve(x[0], x[1, :2], "valid"),
    "correlate": lambda f, x: f.correlate(x[0], x[1, :3], "full"),
    "correlate same": lambda f, x: f.correlate(x[0, :2], x[1], "same"),
    "correlate same of even": lambda f, x: f.correlate(x[0], x[1], "same"),
    "correlate valid": lambda f, x: f.correlate(x[0, :2], x[1]),
    "meshgrid": lambda f, x: f.meshgrid(x[0], x[1, :2], x[2, :3])[0],
    "meshgrid ij": lambda f, x: f.meshgrid(x[0], x[1, :2], indexing="ij")[1],
    "meshgrid sparse": lambda f, x: f.meshgrid(x[0], x[1, :2], sparse=True)[1],
    "block": lambda f, x: f.block([[x, x[:, :1]], [np.ones((1, 4)), np.zeros((1, 1))]]),
    "resize": lambda f, x: f.resize(x, (2, 7)),
    "ediff1d": lambda f, x: f.ediff1d(x, to_begin=1.0, to_end=[2.0, 3.0]),
    "vander": lambda f, x: f.vander(x[0], 3),
    "compress": lambda f, x: f.compress([True, False, True], x, axis=0),
    "extract": lambda f, x: f.extract(NUMBERS > 0, x),
    "reshape in F order": lambda f, x: f.reshape(x, (2, 6), order="F"),
    "reshape a view in F order": lambda f, x: f.reshape(x.T, (-1, 3), order="F"),
    "ravel in F order": lambda f, x: f.ravel(x, order="F"),
    "transpose": lambda f, x: f.transpose(x, axes=(1, 0)),
    "broadcast_arrays": lambda f, x: f.broadcast_arrays(x, x[:, :1])[1],
    "partition": lambda f, x: f.sort(f.partition(x, 2, axis=1)[:, :2], 1),
    "bincount": lambda f, x: f.bincount(NUMBERS[0], x[0], minlength=5),
}
PLACES = {
    "searchsorted": lambda f, x: f.searchsorted(AT, x),
    "searchsorted behind": lambda f, x: f.searchsorted(AT, x, side="right"),
    "searchsorted in order": lambda f, x: f.searchsorted(AT[::-1], x, sorter=[3, 2, 1, 0]),
    "digitize": lambda f, x: f.digitize(x, AT),
    "digitize descending": lambda f, x: f.digitize(x, AT[::-1], right=True),
    "isin": lambda f, x: f.isin(x, x[0]),
}
OF_DATA = {
    "nonzero": lambda f, x: f.nonzero(x > 0)[1],
    "argwhere": lambda f, x: f.argwhere(x > 0),
    "flatnonzero": lambda f, x: f.flatnonzero(x > 0.2),
    "inverse": lambda f, x: f.unique(f.round(x, 0), return_index=True, return_inverse=True, return_counts=True)[2],
    "counts": lambda f, x: f.unique(f.round(x, 0), return_counts=True)[1],
    "histogram": lambda f, x: f.histogram(x, 5)[0],
    "triu_indices_from": lambda f, x: f.triu_indices_from(x)[1],
}


@pytest.mark.parametrize("name", CASES)
def test_values_gradients_recordings_and_batches_agree_with_numpy(name):
    all_holds(CASES[name], X)


@pytest.mark.parametrize("name", PLACES)
def test_places_agree_with_numpy_in_a_recording_too(name):
    want = value_holds(PLACES[name], X)
    recorded = tg.compile(lambda x: PLACES[name](tg, x))
    for x in (X[::-1].copy(), X):
        found = recorded(x)
    np.testing.assert_array_equal(np.asarray(found), want)


@pytest.mark.parametrize("name", OF_DATA)
def test_what_has_a_shape_by_its_values_agrees_with_numpy_and_is_refused_in_a_recording(name):
    value_holds(OF_DATA[name], X)
    if name != "triu_indices_from":
        with pytest.raises(tg.CaptureError, match="not known beforehand; "):
            tg.compile(lambda x: OF_DATA[name](tg, x))(X)


@pytest.mark.parametrize("axis", [None, 0])
def test_distinct_elements_have_the_gradient_of_where_they_stand_first(axis):
    x = np.array([[1.0, 3.0], [1.0, 3.0], [0.0, 2.0]])
    value_holds(lambda f, x: f.unique(x, axis=axis), x)
    weight = np.arange(1.0, 5.0).reshape(4 if axis is None else (2, 2))
    gradient = tg.grad(lambda x: (tg.unique(x, axis=axis) * weight).sum())(x)
    right = [[2, 4], [0, 0], [1, 3]] if axis is None else [[3, 4], [0, 0], [1, 2]]
    np.testing.assert_array_equal(gradient, right)


def test_places_of_nan_and_in_rows_of_their_own():
    table = np.array([0.0, 1.0, 1.0, np.inf, np.nan])
    x = np.array([1.0, np.nan, np.inf, -np.inf])
    for side in ("left", "right"):
        np.testing.assert_array_equal(tg.searchsorted(table, x, side).numpy(), np.searchsorted(table, x, side))
    rows, values = np.sort(X, 1), np.array([[0.0, 0.5], [-9.0, 9.0], [0.1, -0.1]])
    each = np.stack([np.searchsorted(r, v, "right") for r, v in zip(rows, values)])
    np.testing.assert_array_equal(tg.searchsorted(rows, values, right=True).numpy(), each)
    together = tg.vmap(lambda v: tg.searchsorted(AT, v))(values)
    np.testing.assert_array_equal(together, np.searchsorted(AT, values))


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("bins", [[0.0, 1.0, 2.0], [2.0, 1.0, 0.0], [1.0, 1.0, 0.0], [3, 2, 1]])
def test_an_edge_belongs_to_the_bin_that_numpy_gives_it(bins, right):
    for x in (np.array([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0]), np.array([3, 1, 0, 2])):
        np.testing.assert_array_equal(tg.digitize(tg.tensor(x), bins, right).numpy(), np.digitize(x, bins, right))


@pytest.mark.parametrize("place", [[1], slice(2, 3), np.array([False, True, False, False])])
def test_before_one_index_any_number_is_put_in(place):
    index = place.nonzero()[0] if isinstance(place, np.ndarray) else place  # NumPy 2.0 reads bool as 0 and 1
    for values in (X, X[0], X[:, :1]):
        np.testing.assert_array_equal(tg.insert(tg.tensor(X), place, values, 1).numpy(),
                                      np.insert(X, index, values, 1))
    assert tg.insert(tg.tensor(X[0]), place, []).shape == (4,)


def test_at_a_point_beside_what_is_not_finite_a_function_has_its_value():
    at, values = np.arange(5.0), np.array([1.0, np.inf, 2.0, np.nan, 3.0])
    x = np.array([0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0])
    for found in (tg.interp(tg.tensor(x), at, values), tg.compile(tg.interp)(x, at, values)):
        np.testing.assert_array_equal(found.numpy(), [1.0, np.inf, np.inf, 2.0, np.nan, 3.0, 3.0])


@pytest.mark.parametrize("expression", [
    "f.append(i, i)", "f.insert(i, 1, 5, axis=1)", "f.delete(i, 0, 0)", "f.choose(i % 2, [i, i * 2])",
    "f.bincount(i[0])", "f.searchsorted(i[0], [2, 5])", "f.convolve(i[0], i[1])", "f.correlate(i[0], i[1], 'full')",
    "f.unique(i % 2)", "f.vander(i[0])", "f.resize(i, 5)", "f.select([i > 2], [i])", "f.partition(i, 1)",
    "f.digitize(i, i[0])", "f.isin(i, [1, 2])", "f.reshape(i, (3, 2), order='F')", "f.ediff1d(i)",
    "f.meshgrid(i[0], i[1])[0]", "f.block([i, i])", "f.nonzero(i)[0]", "f.tril_indices(3, 1, 4)[0]",
    "f.diag_indices(3)[1]", "f.indices((2, 3))"])
def test_integers_stay_integers(expression):
    i = np.arange(6).reshape(2, 3)
    want, got = eval(expression, {"f": np, "i": i}), eval(expression, {"f": tg, "i": tg.tensor(i)})
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got.numpy(), want)


def test_blocks_stand_along_the_diagonal():
    parts = lambda x: (x, x[0] * 2, np.ones((2, 1)))  # noqa: E731
    want = scipy.linalg.block_diag(*parts(X))
    np.testing.assert_array_equal(tg.block_diag(*parts(tg.tensor(X))).numpy(), want)
    gradient = tg.grad(lambda x: (tg.block_diag(*parts(x)) * weights(want)).sum())(X)
    np.testing.assert_allclose(gradient, differences(lambda f, x: scipy.linalg.block_diag(*parts(x)), X), atol=1e-7)
    assert tg.block_diag(tg.tensor([[1, 2]]), 3).tolist() == [[1, 2, 0], [0, 0, 3]]


def test_two_tongues_keywords():
    x = tg.tensor(X)
    assert tg.tril_indices(2)[0].tolist() == [0, 1, 1]
    assert tg.tril_indices(row=2, col=3, offset=-1).tolist() == [[1], [0]]
    assert x.select(1, 2).tolist() == tg.select(x, dim=1, index=2).tolist() == X[:, 2].tolist()
    assert x.nonzero(as_tuple=False).shape == (12, 2)
    assert x.flatten("F").tolist() == X.ravel("F").tolist()
    with pytest.raises(tg.ArgumentError, match="write those of one"):
        tg.tril_indices(2, row=2)


def test_what_does_not_fit_is_named():
    with pytest.raises(tg.IndexRangeError, match="delete"):
        tg.delete(X, 7, axis=1)
    with pytest.raises(tg.IndexRangeError, match="number 2 of 2"):
        tg.choose([0, 2], [1.0, 2.0])
    with pytest.raises(tg.ArgumentError, match="kth 4"):
        tg.partition(X, 4)
    with pytest.raises(tg.ShapeError, match="interp"):
        tg.interp(X, [0.0, 1.0], [0.0])
    with pytest.raises(tg.ArgumentError, match="different depths"):
        tg.block([X, [X]])
    with pytest.raises(tg.ArgumentError, match="order='C' or order='F'"):
        tg.tensor(X).T.ravel(order="K")
    with pytest.raises(tg.CaptureError, match=r"bincount.*scatter_add"):
        tg.compile(lambda i: tg.bincount(i))(NUMBERS[0])
