"""Sums of millions of float32 numbers: the error of a few, whatever the op that adds them up.

Expectations are NumPy's in float64. The numbers are positive, for a sum that cancels has no relative error to speak of.
"""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn

ROWS = 4_000_000
LIMIT = 2e-7


@pytest.fixture(scope="module", params=["random", "equal"])
def data(request):
    if request.param == "equal":
        return np.full((ROWS, 2), 0.1, np.float32)
    return np.random.default_rng(3).random((ROWS, 2), np.float32)


def assert_near(actual, expected, limit=LIMIT):
    expected = np.asarray(expected, np.float64)
    error = np.abs(np.asarray(actual, np.float64) - expected) / np.abs(expected)
    assert error.max() <= limit


def leaf(values):
    return tg.tensor(np.asarray(values, np.float32), requires_grad=True)


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
        assert_near(batch.running_var.numpy(), exact.var(0, ddof=1), 1e-6)  # it is 1 + (var - 1)
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
