"""Gathering and scattering by index, and what is said of an index that is out of range."""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad.errors import ArgumentError, DtypeError, IndexRangeError, ShapeError

from .contract import Case, OpContract, uniform
from .derivatives import Derivatives, agree_at

TABLE = np.arange(15.0).reshape(5, 3)
BY_INDEX = {
    "embedding": (lambda x, k: F.embedding(k, x), 5, "index 5 .* 5 rows"),
    "embedding_bag": (lambda x, k: tg.embedding_bag(k[None], x), -1, "index -1 .* 5 rows"),
    "one_hot": (lambda x, k: tg.one_hot_rows(k, 5) @ x, 70, "index 70 .* 5 classes"),
    "cross_entropy": (lambda x, k: F.cross_entropy(x[:4].T, k), 4, "index 4 .* 4 classes"),
    "nll_loss": (lambda x, k: F.nll_loss(x[:4].T, k), -3, "index -3 .* 4 classes"),
    "take": (lambda x, k: tg.take(x, k, axis=0), -6, "index -6 .* extent 5"),
    "getitem": (lambda x, k: x[k, 1], 5, "index 5 .* extent 5"),
    "at_add": (lambda x, k: x.at[k].add(1.0), 5, "index 5 .* extent 5"),
    "gather": (lambda x, k: tg.gather(x, 0, k[None]), -1, "index -1 .* extent 5"),
    "take_along_axis": (lambda x, k: tg.take_along_axis(x[:, 0], k, 0), -6, "index -6 .* extent 5"),
    "scatter": (lambda x, k: tg.scatter(x, 0, k[None], 0.0), 5, "index 5 .* extent 5"),
    "scatter_add": (lambda x, k: tg.scatter_add(x, 0, k[None], x), -2, "index -2 .* extent 5"),
    "index_add": (lambda x, k: tg.index_add(x, 0, k, x[:3]), 9, "index 9 .* extent 5"),
    "index_select": (lambda x, k: tg.index_select(x, 0, k), 6, "index 6 .* extent 5"),
    "far": (lambda x, k: F.embedding(k, x), -(2**63), "index -.* or beyond .* 5 rows"),
}


@pytest.mark.parametrize("name", BY_INDEX)
def test_a_replayed_call_names_the_index_and_the_extent_and_goes_on_with_good_ones(name):
    function, bad, message = BY_INDEX[name]
    recorded = tg.compile(function)
    good = np.array([0, 2, 1])
    first = np.asarray(recorded(TABLE, good)).copy()
    with pytest.raises(IndexRangeError, match=message):
        recorded(TABLE, np.array([0, bad, 1]))
    np.testing.assert_array_equal(np.asarray(recorded(TABLE, good)), first)
    with pytest.raises(IndexError, match=str(bad) if name != "far" else "index -"):
        function(tg.tensor(TABLE), tg.tensor(np.array([0, bad, 1])))


def test_an_epoch_names_the_index_that_is_out_of_range():
    model = tg.nn.Embedding(5, 3)
    step = tg.TrainStep(lambda k: model(k).sum(), tg.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(IndexRangeError, match="index 77 .* 5 rows"):
        step.run(np.array([0, 1, 2, 77]), batch_size=2)


def gathered(x, index, axis):
    places = list(np.ogrid[tuple(slice(n) for n in index.shape)])
    places[axis] = index
    return x[tuple(places)]


def scattered(x, index, s, axis, adds):
    y = x.copy()
    for place in np.ndindex(index.shape):
        to = (*place[:axis], index[place], *place[axis + 1:])
        y[to] = y[to] * adds + s[place]
    return y


def added(x, index, s, axis, alpha=1.0):
    y = x.copy()
    for j, at in enumerate(index):
        np.moveaxis(y, axis, 0)[at] += alpha * np.moveaxis(s, axis, 0)[j]
    return y


I0 = np.array([[0, 3, 3], [2, 2, 0]])  # rows of (4, 3), or fewer columns
I1 = np.array([[0, 0, 2, 1, 1], [2, 2, 2, 0, 0]])
WRAPPED = np.array([[-1], [0], [1], [-3]])


def draw(*shapes):
    return tuple(uniform(s, -1.0, 2.0, 20 + k) for k, s in enumerate(shapes))


class TestByIndex(OpContract, Derivatives):
    cases = [
        Case("gather rows", lambda x: tg.gather(x, 0, I0), lambda x: gathered(x, I0, 0), draw((4, 3))),
        Case("gather columns", lambda x: tg.gather(x, -1, I1), lambda x: gathered(x, I1, 1), draw((4, 3))),
        Case("take_along_axis", lambda x: tg.take_along_axis(x, WRAPPED, 1),
             lambda x: np.take_along_axis(x, WRAPPED, 1), draw((4, 3))),
        Case("take_along_axis broadcast", lambda x: tg.take_along_axis(x, I1[None], 2),
             lambda x: np.take_along_axis(x, np.broadcast_to(I1, (3, 2, 5)), 2), draw((3, 1, 3))),
        Case("scatter_add", lambda x, s: tg.scatter_add(x, 0, I0, s), lambda x, s: scattered(x, I0, s, 0, 1),
             draw((4, 3), (3, 4))),
        Case("scatter_add columns", lambda x, s: tg.scatter_add(x, 1, I1, s), lambda x, s: scattered(x, I1, s, 1, 1),
             draw((3, 3), (2, 5))),
        Case("scatter", lambda x, s: tg.scatter(x, 0, I0, s), lambda x, s: scattered(x, I0, s, 0, 0),
             draw((4, 3), (2, 3))),
        Case("scatter repeated", lambda x, s: tg.scatter(x, 1, I1, s), lambda x, s: scattered(x, I1, s, 1, 0),
             draw((3, 4), (2, 6))),
        Case("index_add", lambda x, s: tg.index_add(x, 0, [2, 0, 2], s, alpha=2.0),
             lambda x, s: added(x, [2, 0, 2], s, 0, 2.0), draw((3, 2), (3, 2))),
        Case("index_add columns", lambda x, s: tg.index_add(x, 1, [1, 1], s), lambda x, s: added(x, [1, 1], s, 1),
             draw((2, 3, 2), (2, 2, 2))),
        Case("index_select", lambda x: tg.index_select(x, 1, [2, 0, 2]), lambda x: x[:, [2, 0, 2]], draw((2, 3))),
        Case("tril", tg.tril, np.tril, draw((3, 4))),
        Case("triu above", lambda x: tg.triu(x, diagonal=1), lambda x: np.triu(x, 1), draw((2, 4, 3))),
        Case("diagonal", lambda x: tg.diagonal(x, 1) * 3.0, lambda x: np.diagonal(x, 1) * 3.0, draw((3, 4))),
        Case("diagonal of stack", lambda x: tg.diagonal(x, -1, 2, 0) * 3.0, lambda x: np.diagonal(x, -1, 2, 0) * 3.0,
             draw((3, 2, 3))),
        Case("trace", tg.trace, lambda x: np.trace(x), draw((3, 4))),
    ]  # fmt: skip


def test_numpy_finds_them_and_integers_stay_integers():
    x = np.arange(12).reshape(3, 4)
    for k in (-2, 0, 3):
        for function in (np.tril, np.triu, np.diagonal):
            found = function(tg.tensor(x), k)
            assert found.dtype == np.int64
            np.testing.assert_array_equal(found.numpy(), function(x, k))
    np.testing.assert_array_equal(np.diagonal(tg.tensor(x), 7).numpy(), [])
    order = np.argsort(-x, axis=1)
    np.testing.assert_array_equal(np.take_along_axis(tg.tensor(x), order, axis=1).numpy(), -np.sort(-x))
    np.testing.assert_array_equal(tg.gather(x.T, 0, I0).numpy(), gathered(x.T, I0, 0))


def test_triangles_replace_infinities_by_zeros():
    x = np.full((2, 2), np.inf)
    np.testing.assert_array_equal(tg.tril(x).numpy(), [[np.inf, 0.0], [np.inf, np.inf]])
    leaf = tg.tensor(x, requires_grad=True)
    tg.triu(leaf).backward(np.ones((2, 2)))
    np.testing.assert_array_equal(leaf.grad.numpy(), [[1.0, 1.0], [0.0, 1.0]])


def test_of_several_writes_to_an_element_the_last_has_the_derivatives_in_both_directions():
    x, v = uniform((3, 2), 1, 2, 1), uniform((4, 2), 1, 2, 2)
    where = np.array([0, -1, 0, 2])
    for f in (lambda x, v: x.at[where].set(v) ** 2, lambda x, v: x.at[tg.tensor(where)].set(v) ** 2,
              lambda x, v: tg.scatter(x, 0, np.repeat(where % 3, 2).reshape(4, 2), v) ** 2):
        by_x, by_v = agree_at(f, x, v)
        assert not by_x[[0, 2]].any() and by_x[1].all()
        assert not by_v[:2].any() and by_v[2:].all()


def test_scatter_of_a_number_and_of_nothing():
    x = tg.tensor(np.ones((2, 3)), requires_grad=True)
    y = tg.scatter(x, 1, [[2], [0]], 7.0)
    np.testing.assert_array_equal(y.numpy(), [[1.0, 1.0, 7.0], [7.0, 1.0, 1.0]])
    y.backward(np.ones((2, 3)))
    np.testing.assert_array_equal(x.grad.numpy(), [[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    nothing = np.zeros((0, 3), int)
    np.testing.assert_array_equal(tg.scatter_add(x, 0, nothing, nothing * 1.0).numpy(), np.ones((2, 3)))
    np.testing.assert_array_equal(tg.gather(np.zeros((2, 0)), 0, np.zeros((2, 0), int)).shape, (2, 0))


@pytest.mark.parametrize("dtype, limit", [(np.float32, 3e-5), (np.float64, 1e-14)])
@pytest.mark.parametrize("rows, width", [(3, 1), (3, 20), (130, 20), (2600, 2)])
def test_many_contributions_to_one_row(rows, width, dtype, limit):
    rng, count = np.random.default_rng(0), 1200
    index, g = rng.integers(0, rows, count), rng.random((count, width)).astype(dtype)
    index[::2] = 1
    each, expected = np.repeat(index[:, None], width, 1), np.zeros((rows, width))
    np.add.at(expected, index, g)
    for f in (lambda x: F.embedding(index, x), lambda x: tg.take(x, index, axis=0),
              lambda x: tg.embedding_bag(index, x, np.arange(count), mode="sum"), lambda x: tg.gather(x, 0, each),
              lambda x: tg.gather(x.T, 1, each.T).T):
        x = tg.tensor(np.zeros((rows, width), dtype), requires_grad=True)
        f(x).backward(gradient=g)
        np.testing.assert_allclose(x.grad.numpy(), expected, rtol=limit)
    for y in (tg.scatter_add(x, 0, each, g), tg.index_add(x, 0, index, g), x.at[index].add(g)):
        np.testing.assert_allclose(y.detach().numpy(), expected, rtol=limit)


def test_shapes_that_do_not_fit_are_named():
    x = tg.tensor(np.ones((4, 3)))
    with pytest.raises(ShapeError, match=r"gather.*\[4, 3\].*\[2\]"):
        tg.gather(x, 0, [0, 1])
    with pytest.raises(ShapeError, match=r"gather.*\[4, 3\].*\[5, 1\]"):
        tg.gather(x, 1, np.zeros((5, 1), int))
    with pytest.raises(ShapeError, match=r"scatter_add.*\[4, 3\].*\[2, 3\].*\[1, 3\]"):
        tg.scatter_add(x, 0, I0, np.ones((1, 3)))
    with pytest.raises(ShapeError, match=r"index_add.*\[4, 3\].*\[2\].*\[3, 3\]"):
        tg.index_add(x, 0, [0, 1], np.ones((3, 3)))
    with pytest.raises(ShapeError, match=r"take_along_axis.*\[4, 3\].*\[3, 3\]"):
        tg.take_along_axis(x, np.zeros((3, 3), int), 1)
    with pytest.raises(DtypeError, match="gather: indices must be integers, not float64"):
        tg.gather(x, 0, np.zeros((2, 3)))
    with pytest.raises(ShapeError, match=r"tril.*\[3\]"):
        tg.tril(np.ones(3))
    with pytest.raises(ArgumentError, match="axis 1"):
        tg.diagonal(x, 0, 1, -1)
