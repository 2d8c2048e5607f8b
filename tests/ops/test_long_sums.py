"""Sums of millions of float32 numbers: the error of a few, whatever the op that adds them up.

Expectations are NumPy's in float64. The numbers are positive, for a sum that cancels has no relative error to speak of.
"""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim
from tapegrad.functions.embedding import spread_bags

from .long import LIMIT, assert_near, leaf

ROWS = 4_000_000

pytestmark = pytest.mark.optimised  # sums of as many parts as a vector has


@pytest.fixture(scope="module", params=["random", "equal"])
def data(request):
    if request.param == "equal":
        return np.full((ROWS, 2), 0.1, np.float32)
    return np.random.default_rng(3).random((ROWS, 2), np.float32)


def test_sums_along_any_axis(data):
    exact = data.astype(np.float64)
    for x, axis in ((data, 0), (data.T, 1), (np.ascontiguousarray(data.T), 1), (data, None),
                    (data.reshape(-1, 2, 20, 2), (0, 2)), (data.reshape(2, -1, 50, 2), (1, 3)), (data[:, :1], 0)):
        assert_near(tg.sum(tg.tensor(x), axis=axis).numpy(), np.sum(x, axis=axis, dtype=np.float64))
    assert_near(tg.mean(tg.tensor(data), axis=0).numpy(), exact.mean(0))


def test_a_recorded_sum_of_a_chain(data):
    f = tg.compile(lambda x: tg.mean(2.0 * x + 1.0))
    assert_near(f(data[:, 0].copy()), np.mean(2.0 * data[:, 0].astype(np.float64) + 1.0), 3e-7)


def test_running_sums(data):
    x = leaf(data[:, 0])
    y = tg.cumsum(x, axis=0)
    assert_near(y.numpy(), np.cumsum(data[:, 0], dtype=np.float64))
    y.backward(gradient=data[:, 1].copy())
    assert_near(x.grad, np.cumsum(data[::-1, 1], dtype=np.float64)[::-1])


def test_adjoints_of_broadcast_operands(data):
    exact = data.astype(np.float64)
    row, column, number, shift, chosen = leaf([1, 2]), leaf(np.ones((1, 1))), leaf(3), leaf([0, 0]), leaf(1)
    y = tg.tensor(data) * row * column * number - shift + tg.where(data > 0, chosen, 1.0)
    y.backward(gradient=np.ones_like(data))
    assert_near(row.grad, 3 * exact.sum(0))
    assert_near(column.grad, np.reshape(3 * (exact * [1, 2]).sum(), (1, 1)))
    assert_near(number.grad, (exact * [1, 2]).sum())
    assert_near(shift.grad, [-ROWS, -ROWS])
    assert_near(chosen.grad, np.count_nonzero(data > 0))
    repeated = leaf(np.ones((1, 2)))
    tg.broadcast_to(repeated, (ROWS, 2)).backward(gradient=data)
    assert_near(repeated.grad, exact.sum(0, keepdims=True))


@pytest.mark.parametrize("shape", [(1, 2), (1, 1)])
def test_adjoints_of_where_in_float64(shape):
    # a running sum of these is off by 1e-11 and 2e-11
    w, other = (tg.tensor(np.ones(shape), requires_grad=True) for _ in range(2))
    chosen = np.arange(2_000_000).reshape(-1, 2) % 10 < 8
    tg.where(chosen, w, other).backward(gradient=np.full(chosen.shape, 1 / 3))
    for x, holds in ((w, chosen), (other, ~chosen)):
        count = np.count_nonzero(holds, axis=0 if shape == (1, 2) else None, keepdims=True)
        assert_near(x.grad, count / 3, 2e-12)


def test_bias_of_a_linear_layer(data):
    layer = nn.Linear(1, 2)
    layer(tg.tensor(data[:, :1].copy())).backward(gradient=data)
    assert_near(layer.bias.grad, data.sum(0, dtype=np.float64))


def test_bias_of_a_convolution(data):
    weight, bias = leaf(np.ones((2, 1, 1, 1))), leaf([0, 0])
    y = F.conv2d(tg.tensor(np.ones((ROWS // 100, 1, 10, 10), np.float32)), weight, bias)
    y.backward(gradient=data.reshape(ROWS // 100, 2, 10, 10))
    assert_near(bias.grad, data.reshape(-1, 2, 100).sum((0, 2), dtype=np.float64))


@pytest.mark.parametrize("classes", [2, 40])
def test_means_of_losses(data, classes):
    rows = ROWS * 2 // classes
    x, target = data.reshape(rows, classes), np.zeros(rows, np.int64)
    exact = x.astype(np.float64)
    per_row = np.log(np.exp(exact).sum(1)) - exact[:, 0]
    if classes != 2 or not (data == data[0, 0]).all():
        assert_near(F.cross_entropy(tg.tensor(x), target).numpy(), per_row.mean(), 4e-7)
    assert_near(F.cross_entropy(tg.tensor(x), target, reduction="sum").numpy(), per_row.sum(), 4e-7)
    weight = np.full(classes, 0.1, np.float32)
    assert_near(-F.nll_loss(tg.tensor(x), target, tg.tensor(weight)).numpy(), exact[:, 0].mean())
    assert_near(F.mse_loss(tg.tensor(x), np.zeros_like(x)).numpy(), (exact ** 2).mean())


def test_statistics_and_gradients_of_norms(data):
    exact = data.astype(np.float64)
    g = data[:, ::-1].copy()
    w, b = leaf([1, 1]), leaf([0, 0])
    F.layer_norm(tg.tensor(data), (2,), w, b).backward(gradient=g)
    assert_near(b.grad, g.sum(0, dtype=np.float64))
    batch = nn.BatchNorm1d(2, momentum=1.0)
    batch(tg.tensor(data)).backward(gradient=g)
    assert_near(batch.running_mean.numpy(), exact.mean(0))
    assert_near(batch.bias.grad, g.sum(0, dtype=np.float64))
    if (data != data[0, 0]).any():
        assert_near(batch.running_var.numpy(), exact.var(0, ddof=1))
        w = leaf([1, 1])
        F.rms_norm(tg.tensor(data), (2,), w).backward(gradient=np.ones_like(data))
        expected = (exact / np.sqrt((exact ** 2).mean(1, keepdims=True) + np.finfo(np.float32).eps)).sum(0)
        assert_near(w.grad, expected)


def test_rows_of_millions(data):
    x = data.reshape(1, -1)
    exact = x.astype(np.float64)
    assert_near(tg.logsumexp(tg.tensor(x), axis=1).numpy(), np.log(np.exp(exact).sum(1)))
    share = np.exp(exact) / np.exp(exact).sum()
    assert_near(tg.softmax(tg.tensor(x), axis=1).numpy(), share, 4e-7)
    assert_near(tg.vector_norm(tg.tensor(x[0])).numpy(), np.linalg.norm(exact))
    if (data != data[0, 0]).any():
        assert_near(tg.var(tg.tensor(x)).numpy(), exact.var())
        assert_near(tg.std(tg.tensor(x)).numpy(), exact.std())


def test_the_norm_of_gradients(data):
    p = leaf(data)
    p.grad = data
    assert_near(nn.utils.clip_grad_norm_([p], 1.0).numpy(), np.linalg.norm(data.astype(np.float64)))


def test_the_norm_of_many_gradients_beside_a_large_one():
    ones = [leaf([1.0])] + [leaf(np.ones(1)) for _ in range(3000)]
    for k, p in enumerate(ones):
        p.grad = np.array([1.0 if k == 0 else 1e-4], np.float32)  # each adds 5e-9, which float32 loses beside 1
    small = float(np.float32(1e-4))
    assert_near(nn.utils.clip_grad_norm_(ones, 1e9).numpy(), np.sqrt(1 + 3000 * small ** 2), 6e-8)
    assert_near(nn.utils.clip_grad_norm_(ones, 1e9, norm_type=1.0).numpy(), 1 + 3000 * small, 6e-8)


#: in how many columns the sums of a table of so many rows are
TABLES = [(3, 2), (1, 2), (100, 32), (2000, 1), (97, 40)]


@pytest.mark.parametrize("rows, width", TABLES)
def test_many_contributions_to_few_rows(rows, width):
    rng = np.random.default_rng(rows)
    count = 2_000_000 // max(width, 2)
    index, g = rng.integers(0, rows, count), rng.random((count, width), np.float32)
    index[: count // 2] = rows - 1
    expected = np.zeros((rows, width))
    np.add.at(expected, index, g.astype(np.float64))
    w = leaf(np.ones((rows, width)))
    F.embedding(index, w).backward(gradient=g)
    assert_near(w.grad, expected)
    w = leaf(np.ones((rows, width)))
    tg.take(w, index, axis=0).backward(gradient=g)
    assert_near(w.grad, expected)
    assert_near(tg.index_add(leaf(np.zeros((rows, width))), 0, tg.tensor(index), tg.tensor(g)).numpy(), expected)
    w, lengths = leaf(np.ones((rows, width))), np.arange(0, count, 5)
    bagged = np.repeat(g[: len(lengths)], np.diff(np.append(lengths, count)), axis=0)
    expected = np.zeros((rows, width))
    np.add.at(expected, index, bagged.astype(np.float64))
    tg.embedding_bag(index, w, lengths, mode="sum").backward(gradient=g[: len(lengths)].copy())
    assert_near(w.grad, expected)


@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize("rows, width", [(50_000, 128), (300, 32)])
def test_many_contributions_to_some_rows_of_many(rows, width, equal):
    # running sums are off by 4e-5 where all are equal, and 8e-6
    rng = np.random.default_rng(rows)
    index, often = rng.integers(0, rows, 80_000), np.array([7, 8, 290, 291])
    index[::2] = often[rng.integers(0, 4, 40_000)]
    g = np.full((index.size, width), 0.1, np.float32) if equal else rng.random((index.size, width), np.float32)
    expected = np.zeros((rows, width))
    np.add.at(expected, index, g.astype(np.float64))
    w = leaf(np.ones((rows, width)))
    F.embedding(index, w).backward(gradient=g)
    assert_near(w.grad[often], expected[often])
    np.testing.assert_allclose(w.grad, expected, rtol=5e-6)
    F.embedding(index, w, padding_idx=290).backward(gradient=g)
    expected *= 2.0
    expected[290] /= 2.0
    np.testing.assert_allclose(w.grad, expected, rtol=5e-6)


def test_a_step_with_rows_that_get_many_contributions():
    rows, width, count = 4000, 8, 30_000
    rng = np.random.default_rng(1)
    index = np.where(rng.random(count) < 0.7, 3, rng.integers(0, rows, count))
    table = nn.Embedding(rows, width, sparse=True)
    before = table.weight.numpy().copy()
    step = tg.TrainStep(lambda i: 0.1 * table(i).sum(), optim.SGD(table.parameters(), lr=1.0))
    for _ in range(2):
        step(index)
    expected = before - 2 * float(np.float32(0.1)) * np.bincount(index, minlength=rows)[:, None]
    np.testing.assert_allclose(table.weight.numpy(), expected, rtol=1e-6, atol=1e-6)


def test_a_row_without_gradient_and_the_list_of_rows_when_sums_are_long():
    index = np.tile([0, 2, 2, 5], 500)
    w = leaf(np.ones((6, 3)))
    F.embedding(index, w, padding_idx=2).backward(gradient=np.full((2000, 3), 0.1, np.float32))
    expected = np.zeros((6, 3))
    expected[[0, 5]] = 500 * float(np.float32(0.1))
    np.testing.assert_allclose(w.grad, expected, rtol=LIMIT)


def test_many_maxima_in_few_rows():
    rng, count = np.random.default_rng(0), 200_000
    index, g = rng.integers(0, 3, (count, 2)), rng.random((count, 2), np.float32)
    values = rng.random((3, 2), np.float32)
    expected, chosen = np.zeros((3, 2)), values[index].argmax(1)
    for k in range(2):
        np.add.at(expected[:, k], index[np.arange(count), chosen[:, k]], g[:, k].astype(np.float64))
    w = leaf(values)
    tg.embedding_bag(index, w, mode="max").backward(gradient=g)
    found = w.grad.numpy()
    np.testing.assert_array_equal(found == 0.0, expected == 0.0)
    assert_near(found[expected > 0.0], expected[expected > 0.0])


def test_rows_that_are_spread_over_long_bags():
    count, width = 300_000, 3
    g, x = np.random.default_rng(0).random((count, width), np.float32), leaf(np.ones((3, width)))
    spread_bags(x, tg.tensor(np.array([0, 7, 7])), count).backward(gradient=g)
    found = x.grad.numpy()
    assert_near(found[[0, 2]], np.stack([g[:7].sum(0, dtype=np.float64), g[7:].sum(0, dtype=np.float64)]))
    np.testing.assert_array_equal(found[1], 0.0)


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_long_bags(data, mode):
    count = ROWS // 4
    bags = data[:count]
    table, weights = leaf(bags), np.full(count, 1.0, np.float32)
    y = tg.embedding_bag(np.arange(count), table, np.array([0, 7]), mode=mode)
    expected = np.stack([bags[:7].sum(0, dtype=np.float64), bags[7:].sum(0, dtype=np.float64)])
    assert_near(y.numpy(), expected / ([[1.0]] if mode == "sum" else [[7.0], [count - 7.0]]))
    if mode == "sum":
        y = tg.embedding_bag(np.arange(count), table, np.array([0, 7]), mode=mode,
                             per_sample_weights=tg.tensor(weights))
        assert_near(y.numpy(), expected)


@pytest.mark.parametrize("axis", [0, 1])
def test_elements_by_index(data, axis):
    count = ROWS // 4
    rng = np.random.default_rng(5)
    index, g = rng.integers(0, 50, (count, 2)), data[:count]
    expected = np.zeros((50, 2))
    for k in range(2):
        np.add.at(expected[:, k], index[:, k], g[:, k].astype(np.float64))
    if axis == 1:
        index, g, expected = index.T.copy(), g.T.copy(), expected.T.copy()
    x = leaf(np.ones(expected.shape))
    tg.gather(x, axis, tg.tensor(index)).backward(gradient=g)
    assert_near(x.grad, expected)
    assert_near(tg.scatter_add(leaf(np.zeros(expected.shape)), axis, tg.tensor(index), tg.tensor(g)).numpy(), expected)
    flat = leaf(np.ones(50))
    tg.gather(flat, 0, tg.tensor(index[:, 0].copy() if axis == 0 else index[0].copy())).backward(
        gradient=(g[:, 0] if axis == 0 else g[0]).copy())
    assert_near(flat.grad, expected[:, 0] if axis == 0 else expected[0])


def test_products_of_millions_of_terms(data):
    # of equal terms, which all round the same way, 512 at a time are added up in float32; NumPy's error is up to 8e-4
    x, y = data, data[:, ::-1].copy()
    exact = x.T.astype(np.float64) @ y.astype(np.float64)
    limit = 1e-5 if (data == data[0, 0]).all() else 1e-6
    assert_near((tg.tensor(x).T @ tg.tensor(y)).numpy(), exact, limit)
    layer = nn.Linear(2, 2)
    layer(tg.tensor(x)).backward(gradient=y)
    assert_near(layer.weight.grad, exact.T, limit)
    layer(tg.tensor(x)).backward(gradient=y)
    assert_near(layer.weight.grad, 2 * exact.T, limit)
    bias = leaf([1e4, 2e4])
    long = tg.tensor(np.ascontiguousarray(x.T))
    assert_near(F.linear(long, tg.tensor(np.ascontiguousarray(y.T)), bias).numpy(), exact + [1e4, 2e4], limit)


@pytest.mark.parametrize("ties", [20_000_000])
def test_more_equal_elements_than_float32_counts_share_a_gradient(ties):
    x = leaf(np.ones(ties))
    tg.max(x).backward()
    assert_near(x.grad[0], 1 / ties)


@pytest.mark.parametrize("name", ["std", "var"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_spread_of_equal_numbers_is_0_and_so_is_its_gradient(name, dtype):
    # PyTorch 2.13: torch.std(torch.full((n,), 0.1)) is 0 and its gradient 0
    for n in (2, 3, 7, 10, 100, 1000, 4097):
        for number in (0.1, 1 / 3, 1e6 + 0.3, -7.7, 1e30, 1e-30, 0.0):
            x = tg.tensor(np.full((2, n), number, dtype), requires_grad=True)
            y = getattr(tg, name)(x, axis=1)
            y.sum().backward()
            np.testing.assert_array_equal(y.numpy(), 0.0)
            np.testing.assert_array_equal(x.grad, 0.0)


def test_a_row_of_equal_numbers_leaves_the_other_rows_their_gradient():
    values = np.array([[0.1, 0.1, 0.1], [1.0, 2.0, 4.0]])
    x = tg.tensor(values, requires_grad=True)
    tg.std(x, axis=1).sum().backward()
    deviation = values[1] - values[1].mean()
    np.testing.assert_array_equal(x.grad[0], 0.0)
    np.testing.assert_allclose(x.grad[1], deviation / (3 * values[1].std()), rtol=1e-14)


def test_sums_norms_and_bias_gradients_are_the_same_for_any_number_of_threads():
    rng = np.random.default_rng(1)
    rows, wide = rng.standard_normal((20_000, 16), np.float32), rng.standard_normal((3000, 512), np.float32)
    image = rng.standard_normal((64, 8, 20, 20), np.float32)
    index = rng.integers(0, 7, 20_000)
    query = rng.standard_normal((8, 300, 16), np.float32)
    long, often = rng.standard_normal((20_000, 70), np.float32), np.where(index < 4, index, np.arange(20_000))
    images, queries = rng.standard_normal((300, 2, 12, 12), np.float32), rng.standard_normal((8, 20_000, 4), np.float32)

    def results():
        w, b, table = leaf(np.ones((512, 16)) / 7), leaf(np.zeros(512)), leaf(np.ones((7, 16)))
        scale, shift = leaf(np.ones(16)), leaf(np.zeros(16))
        F.linear(tg.tensor(wide), leaf(np.ones((40, 512)) / 3), None).sum()
        F.linear(tg.tensor(rows[:3000]), w, b).backward(gradient=wide)
        F.embedding(index, table).backward(gradient=rows)
        F.layer_norm(tg.tensor(rows), (16,), scale, shift).backward(gradient=rows)
        batch = nn.BatchNorm1d(16)
        batch(tg.tensor(rows)).backward(gradient=rows)
        kernel, channel = leaf(np.ones((4, 8, 3, 3)) / 9), leaf(np.zeros(4))
        F.conv2d(tg.tensor(image), kernel, channel).backward(gradient=image[:, :4, 1:-1, 1:-1].copy())
        q = leaf(query)
        F.scaled_dot_product_attention(q, q, q).backward(gradient=query)
        x, y, seen = tg.tensor(rows), tg.tensor(long), leaf(queries[:, :10])
        large, small = leaf(np.zeros((20_000, 16))), leaf(np.ones((3, 2, 3, 3)))
        F.embedding(often, large).backward(gradient=rows)
        F.conv2d(tg.tensor(images), small).sum().backward()
        F.scaled_dot_product_attention(tg.tensor(queries), seen, seen).backward(gradient=queries)
        total = nn.utils.clip_grad_norm_([w, b, table], 1e9).numpy()
        return [tg.sum(x).numpy(), tg.sum(x, axis=0).numpy(), tg.sum(tg.tensor(wide), axis=1).numpy(),
                tg.vector_norm(x).numpy(), tg.vector_norm(x, axis=1).numpy(), (x.T @ x).numpy(), w.grad, b.grad,
                table.grad, scale.grad, shift.grad, batch.weight.grad, batch.bias.grad, batch.running_var.numpy(),
                kernel.grad, channel.grad, q.grad, total, (y.T @ y).numpy(), large.grad, small.grad, seen.grad]

    before, found = tg.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            tg.set_num_threads(threads)
            found.append([np.array(x).tobytes() for x in results()])
    finally:
        tg.set_num_threads(before)
    for other in found[1:]:
        assert [k for k, (a, b) in enumerate(zip(found[0], other)) if a != b] == []
