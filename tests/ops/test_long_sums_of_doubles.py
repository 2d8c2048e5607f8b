"""Sums of a hundred thousand float64 numbers: the error of a few, also where all are equal and round the same way.

Expectations are `math.fsum`'s. A running sum of so many equal numbers is off by thousands of units in the last place.
"""

import math

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn

COUNT = 100_000
LIMIT = 10 * np.finfo(np.float64).eps


def terms(shape, equal):
    return np.full(shape, 1 / 3) if equal else np.random.default_rng(3).random(shape)


def leaf(values):
    return tg.tensor(np.asarray(values, np.float64), requires_grad=True)


def exact(terms):
    """Sums along axis 0."""
    columns = terms.reshape(len(terms), -1).T
    return np.array([math.fsum(column.tolist()) for column in columns]).reshape(terms.shape[1:])


def assert_near(actual, expected, limit=LIMIT):
    actual = actual.numpy() if isinstance(actual, tg.Tensor) else np.asarray(actual)
    assert actual.dtype == np.float64
    np.testing.assert_allclose(actual, expected, rtol=limit, atol=0)


pytestmark = [pytest.mark.compiled, pytest.mark.optimised]  # sums of as many parts as a vector has


@pytest.fixture(params=[True, False], ids=["equal", "random"])
def equal(request):
    return request.param


# ------------------------------------------------------------------ by index

#: rows and columns of a table, and the rows that get COUNT contributions, where others get one each
TABLES = {
    "all": (2, 2, [0, 1]), "narrow": (3, 1, [0, 2]), "some": (1500, 1, [3, 700]), "wide": (3, 40, [1]),
    "in strips": (100, 24, [99]), "large": (3000, 1, [7, 8, 2900]), "large of 4": (3000, 4, [7, 2900]),
    "large and wide": (2500, 20, [8]), "large with many": (3000, 1, list(range(0, 2000, 100))),
}


def contributions(table, equal, order):
    rows, width, often = TABLES[table]
    hits = COUNT if len(often) < 4 else COUNT // 10
    index = np.concatenate([np.repeat(often, hits), np.arange(rows)])
    index = np.sort(index) if order == "sorted" and hits == COUNT else np.random.default_rng(1).permutation(index)
    g = terms((index.size, width), equal)
    places = np.argsort(index, kind="stable")
    bounds = np.searchsorted(index[places], [[row, row + 1] for row in often])
    return index, g, often, np.stack([exact(g[places[low:high]]) for low, high in bounds])


@pytest.mark.parametrize("order", ["shuffled", "sorted"])
@pytest.mark.parametrize("table", TABLES)
def test_rows_by_index(table, order, equal):
    index, g, often, expected = contributions(table, equal, order)
    shape = TABLES[table][:2]
    w = leaf(np.zeros(shape))
    F.embedding(index, w).backward(gradient=g)
    assert_near(w.grad[often], expected)
    for mode in ("sum", "mean"):
        w = leaf(np.zeros(shape))
        tg.embedding_bag(index, w, np.arange(index.size), mode=mode).backward(gradient=g)
        assert_near(w.grad[often], expected)
    w = leaf(np.zeros(shape))
    tg.take(w, index, axis=0).backward(gradient=g)
    assert_near(w.grad[often], expected)
    zeros = tg.tensor(np.zeros(shape))
    assert_near(tg.index_add(zeros, 0, tg.tensor(index), tg.tensor(g)).numpy()[often], expected)
    assert_near(zeros.at[index].add(g).numpy()[often], expected)


@pytest.mark.parametrize("order", ["shuffled", "sorted"])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("table", TABLES)
def test_elements_by_index(table, axis, order, equal):
    index, g, often, expected = contributions(table, equal, order)
    shape = TABLES[table][:2]
    index = np.repeat(index[:, None], shape[1], 1)
    if axis == 1:
        index, g, expected, shape = index.T.copy(), g.T.copy(), expected.T, shape[::-1]
    x = leaf(np.zeros(shape))
    tg.gather(x, axis, tg.tensor(index)).backward(gradient=g)
    assert_near(x.grad.take(often, axis), expected)
    y = tg.scatter_add(tg.tensor(np.zeros(shape)), axis, tg.tensor(index), tg.tensor(g))
    assert_near(y.numpy().take(often, axis), expected)


def test_maxima_of_bags(equal):
    g, w = terms((COUNT, 2), equal), leaf([[3.0, 1.0], [2.0, 4.0]])
    tg.embedding_bag(np.tile([0, 1], COUNT), w, np.arange(0, 2 * COUNT, 2), mode="max").backward(gradient=g)
    np.testing.assert_array_equal(w.grad == 0.0, [[False, True], [True, False]])
    assert_near(w.grad.sum(0), exact(g))


def test_what_was_there_before_and_rows_without_gradient():
    index = np.tile([0, 1, 2, 2500], COUNT // 4)
    for rows in (3, 3000):
        own = index % rows
        w = leaf(np.zeros((rows, 2)))
        for _ in range(2):
            F.embedding(own, w, padding_idx=1).backward(gradient=np.full((COUNT, 2), 0.1))
        times = 2 * np.bincount(own, minlength=rows).astype(float)
        times[1] = 0
        assert_near(w.grad[:3], np.repeat([[math.fsum([0.1] * int(n))] for n in times[:3]], 2, axis=1))


def test_infinite_contributions():
    index, g = np.tile([0, 1, 2, 3], COUNT), np.ones(4 * COUNT)
    g[[0, 1, 5]] = np.inf, np.inf, -np.inf
    for rows in (4, 5000):
        w = leaf(np.zeros((rows, 1)))
        tg.take(w, index, axis=0).backward(gradient=g[:, None])
        np.testing.assert_array_equal(w.grad[:4, 0], [np.inf, np.nan, COUNT, COUNT])


def test_an_index_out_of_range_among_many_to_one_element():
    index = np.zeros(COUNT, np.int64)
    index[-1] = -1
    with pytest.raises(tg.errors.IndexRangeError, match="index -1"):
        tg.scatter_add(tg.tensor(np.zeros(3000)), 0, tg.tensor(index), tg.tensor(np.ones(COUNT)))


# ------------------------------------------------------------------ along axes

SUMS = {
    "along axis 0": lambda x: tg.sum(x, axis=0),
    "along the last axis": lambda x: tg.sum(tg.tensor(np.ascontiguousarray(x.numpy().T)), axis=1),
    "with strides": lambda x: tg.sum(x.T, axis=1),
    "over two axes": lambda x: tg.sum(tg.reshape(x, (-1, 50, 2)), axis=(0, 1)),
    "of a recorded chain": lambda x: tg.compile(lambda x: tg.sum(1.0 * x, axis=0))(x.numpy()),
    "running": lambda x: tg.cumsum(x, axis=0)[-1],
    "in a bag": lambda x: tg.embedding_bag(np.arange(len(x)), x, np.array([0]), mode="sum")[0],
    "as norms": lambda x: tg.vector_norm(x, 1, axis=0),
}


@pytest.mark.parametrize("name", SUMS)
def test_sums(name, equal):
    x = terms((COUNT, 2), equal)
    assert_near(SUMS[name](tg.tensor(x)), exact(x))


ONES, ZEROS = np.ones((COUNT, 2)), np.zeros((COUNT, 2))
SPREAD = np.random.default_rng(0).random((COUNT, 2))
ADJOINTS = {
    "added": lambda w: ONES + w, "multiplied": lambda w: ONES * w, "where": lambda w: tg.where(ONES > 0, w, ZEROS),
    "broadcast": lambda w: tg.broadcast_to(w, ONES.shape), "greater": lambda w: tg.maximum(w + 2.0, ONES),
    "bias": lambda w: F.linear(tg.tensor(ONES), tg.tensor(np.ones((2, 2))), w),
    "bias of a convolution": lambda w: F.conv1d(
        tg.tensor(np.ones((COUNT, 1, 1))), tg.tensor(np.ones((2, 1, 1))), w)[:, :, 0],
    "weight of a convolution": lambda w: F.conv1d(
        tg.tensor(np.ones((COUNT, 1, 1))), tg.reshape(w, (2, 1, 1)))[:, :, 0],
    "layer norm": lambda w: F.layer_norm(tg.tensor(SPREAD), (2,), tg.tensor(np.ones(2)), w),
    "batch norm": lambda w: F.batch_norm(tg.tensor(SPREAD), None, None, tg.tensor(np.ones(2)), w, True),
}


@pytest.mark.parametrize("name", ADJOINTS)
def test_adjoints(name, equal):
    w, g = leaf(np.zeros(2)), terms((COUNT, 2), equal)
    ADJOINTS[name](w).backward(gradient=g)
    assert_near(w.grad, exact(g))


@pytest.mark.parametrize("operation", [lambda w: ONES + w, lambda w: ONES * w,
                                       lambda w: tg.where(ONES > 0, w, ZEROS)])
def test_adjoints_of_a_number(operation, equal):
    w, g = leaf(0.0), terms((COUNT, 2), equal)
    operation(w).backward(gradient=g)
    assert_near(w.grad, exact(g.ravel()))


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_distances_of_a_point_to_many(p, equal):
    far, point = tg.tensor(SPREAD + [[1.0, 2.0]]), leaf([[0.0, 0.0]])
    distances, g = tg.cdist(point, far, p=p), terms((1, COUNT), equal)
    distances.backward(gradient=g)
    slopes = -((far.numpy() / distances.numpy().T) ** (p - 1))
    assert_near(point.grad[0], exact(g.T * slopes))
    other = leaf([[0.0, 0.0]])
    tg.cdist(far, other, p=p).backward(gradient=g.T)
    assert_near(other.grad, point.grad)


@pytest.mark.parametrize("order", [1.0, 2.0, 3.0])
def test_the_norm_of_a_gradient(order, equal):
    p, g = leaf(ZEROS), terms((COUNT, 2), equal)
    p.grad = g
    expected = math.fsum((g.ravel() ** order).tolist()) ** (1.0 / order)
    assert_near(nn.utils.clip_grad_norm_([p], 1e9, order), expected)


def test_losses(equal):
    x, target = terms((COUNT, 2), equal), np.zeros(COUNT, np.int64)
    total = exact(x[:, 0])
    assert_near(F.nll_loss(tg.tensor(-x), target, reduction="sum"), total)
    assert_near(F.nll_loss(tg.tensor(-x), target, tg.tensor([0.1, 0.1], dtype=np.float64)), total / COUNT)
    log_sums = np.logaddexp(x[:, 0].astype(np.longdouble), x[:, 1]) - x[:, 0]
    assert_near(F.cross_entropy(tg.tensor(x), target, reduction="sum"), np.float64(np.sum(log_sums)))
    assert_near(F.mse_loss(tg.tensor(x), ZEROS), exact(x.ravel() ** 2) / (2 * COUNT))


def test_products(equal):
    # 4096 at a time are added up as they come
    x, y = terms((COUNT, 8), equal), terms((8, COUNT), equal).T
    expected = np.array([[math.fsum((a * b).tolist()) for b in y.T] for a in x.T])
    assert_near(tg.tensor(x).T @ tg.tensor(y), expected, 4 * LIMIT)


def test_means_of_a_batch(equal):
    x = terms((COUNT, 2), equal)
    batch = nn.BatchNorm1d(2, momentum=1.0, dtype=np.float64)
    batch(tg.tensor(x))
    assert_near(batch.running_mean, exact(x) / COUNT)
