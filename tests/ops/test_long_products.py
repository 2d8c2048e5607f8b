"""Products, convolutions and attention over millions of float32 terms: the error of a few.

Expectations are NumPy's in float64.
"""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim

from .long import assert_near, leaf


@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize("inputs, outputs", [(128, 10), (64, 64)])
def test_many_results_of_long_products(inputs, outputs, equal):
    # NumPy's error is 2.7e-6 where all terms are equal and 1.5e-6 where they are random
    rows, limit = 200_000, 2e-6 if equal else 5e-7
    rng = np.random.default_rng(2)
    x, y = (np.full((rows, n), 0.1, np.float32) if equal else rng.random((rows, n), np.float32)
            for n in (inputs, outputs))
    exact = x.T.astype(np.float64) @ y.astype(np.float64)
    assert_near((tg.tensor(x).T @ tg.tensor(y)).numpy(), exact, limit)
    long, other = np.ascontiguousarray(x.T), leaf(y)
    product = tg.tensor(long) @ other
    assert_near(product.numpy(), exact, limit)
    short = leaf(np.ones((inputs, outputs)))
    (tg.tensor(x) @ short).backward(gradient=y)
    assert_near(short.grad, exact, limit)
    bias = leaf(np.arange(outputs))
    z = F.linear(tg.tensor(long), tg.tensor(np.ascontiguousarray(y.T)), bias)
    assert_near(z.numpy(), exact + np.arange(outputs), limit)
    layer = nn.Linear(inputs, outputs)
    gradients = tg.compile(tg.grad(lambda w, x: (F.linear(x, w) * y).sum()))
    assert_near(gradients(layer.weight.numpy(), x), exact.T, limit)
    for times in (1, 2):
        layer(tg.tensor(x)).backward(gradient=y)
        assert_near(layer.weight.grad, times * exact.T, limit)


def test_a_matrix_that_is_multiplied_with_each_of_many():
    # added up matrix by matrix in float32: 7e-6
    rng = np.random.default_rng(4)
    x, g, w = rng.random((40_000, 3, 8), np.float32), rng.random((40_000, 3, 4), np.float32), leaf(np.ones((8, 4)))
    (tg.tensor(x) @ w).backward(gradient=g)
    assert_near(w.grad, x.reshape(-1, 8).T.astype(np.float64) @ g.reshape(-1, 4).astype(np.float64), 1e-6)


def test_the_scratch_of_long_products_is_planned():
    inputs, outputs = 64, 32
    layer = nn.Linear(inputs, outputs)

    def planned(rows):
        step = tg.TrainStep(lambda x: layer(x).sum(), optim.SGD(layer.parameters(), lr=0.1))
        step(np.ones((rows, inputs), np.float32))
        return step.memory().peak_bytes - 4 * rows * (inputs + outputs)

    assert planned(20_000) - planned(10_000) == 8 * inputs * outputs


def test_weights_of_a_convolution():
    # PyTorch 2.13's own error on this sum of 1.8 million terms is 1.6e-4
    rng = np.random.default_rng(0)
    x, g = rng.random((2000, 2, 32, 32), np.float32), rng.random((2000, 3, 30, 30), np.float32)
    w = leaf(np.zeros((3, 2, 3, 3)))
    F.conv2d(tg.tensor(x), w).backward(gradient=g)
    rows = g.astype(np.float64).transpose(1, 0, 2, 3).reshape(3, -1)
    for i in range(3):
        for j in range(3):
            part = x[:, :, i:i + 30, j:j + 30].astype(np.float64).transpose(1, 0, 2, 3).reshape(2, -1)
            assert_near(w.grad[:, :, i, j], rows @ part.T, 3e-6)


#: function, its x, its weight, keywords: by tiles, as a product with the image, with columns, directly
CONVOLUTIONS = [
    (F.conv2d, (2000, 2, 20, 20), (3, 2, 3, 3), {}), (F.conv2d, (3000, 16, 8, 8), (16, 16, 1, 1), {}),
    (F.conv2d, (4000, 8, 4, 4), (8, 8, 3, 3), {"padding": 1, "stride": 2}),
    (F.conv2d, (4000, 2, 8, 8), (2, 1, 3, 3), {"groups": 2}),
    (F.conv3d, (700, 4, 4, 4, 4), (5, 4, 2, 2, 2), {}), (F.conv1d, (3000, 6, 30), (8, 3, 3), {"groups": 2}),
    (F.conv_transpose2d, (3000, 8, 4, 4), (8, 4, 2, 2), {"stride": 2}),
]


def weight_gradient(image, response, kernel, stride=1, padding=0, groups=1):
    """Sum over samples and places of the response times what it sees of the image, in float64."""
    axes = tuple(range(2, image.ndim))
    image = np.pad(image.astype(np.float64), [(0, 0)] * 2 + [(padding, padding)] * len(axes))
    seen = np.lib.stride_tricks.sliding_window_view(image, kernel, axes)
    seen = seen[(slice(None), slice(None), *(slice(None, None, stride),) * len(axes))]
    return np.concatenate([np.tensordot(r, x, ((0, *axes), (0, *axes))) for r, x in zip(
        np.split(response.astype(np.float64), groups, 1), np.split(seen, groups, 1))])


@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize("function, shape, weight, keywords", CONVOLUTIONS)
def test_weights_of_convolutions_of_many_images(function, shape, weight, keywords, equal):
    # added up image by image in float32: up to 7e-5 and 3e-6
    rng = np.random.default_rng(7)
    x, w = np.full(shape, 0.1, np.float32) if equal else rng.random(shape, np.float32), leaf(np.zeros(weight))
    y = function(tg.tensor(x), w, **keywords)
    g = np.full(y.shape, 0.1, np.float32) if equal else rng.random(y.shape, np.float32)
    image, response = (g, x) if function is F.conv_transpose2d else (x, g)
    expected = weight_gradient(image, response, weight[2:], **keywords)
    for times in (1, 2):
        y.backward(gradient=g, retain_graph=True)
        assert_near(w.grad, times * expected, 2e-6 if equal else 3e-7)


def test_attention_over_many_keys():
    # PyTorch 2.13's own error is 1.3e-5
    rng = np.random.default_rng(0)
    q, k, v = rng.random((1, 2, 8), np.float32), rng.random((1, 200_000, 8), np.float32), rng.random(
        (1, 200_000, 8), np.float32)
    a, b, c = (x.astype(np.float64)[0] for x in (q, k, v))
    p = np.exp(a @ b.T / np.sqrt(8))
    p /= p.sum(1, keepdims=True)
    query = leaf(q)
    y = F.scaled_dot_product_attention(query, tg.tensor(k), tg.tensor(v))
    assert_near(y.numpy()[0], p @ c, 3e-7)
    y.backward(gradient=np.ones((1, 2, 8), np.float32))
    d = c.sum(1)
    expected = (p * (d - (p @ d)[:, None])) @ b / np.sqrt(8)
    np.testing.assert_allclose(query.grad[0], expected, atol=3e-7 * np.abs(p * d @ b).max())


@pytest.mark.parametrize("equal", [True, False])
def test_attention_of_many_queries(equal):
    # added up block by block in float32: 2.5e-6 and 8e-7
    rng = np.random.default_rng(0)
    q, k, v = (np.full((2, n, 8), 0.1, np.float32) if equal else rng.random((2, n, 8), np.float32)
               for n in (60_000, 40, 40))
    g = np.full(q.shape, 0.1, np.float32) if equal else rng.random(q.shape, np.float32)
    a, b, c, d = (x.astype(np.float64) for x in (q, k, v, g))
    p = np.exp(a @ b.swapaxes(1, 2) / np.sqrt(8))
    p /= p.sum(2, keepdims=True)
    slope = d @ c.swapaxes(1, 2)
    slope = p * (slope - (p * slope).sum(2, keepdims=True))
    key, value = leaf(k), leaf(v)
    y = F.scaled_dot_product_attention(tg.tensor(q), key, value)
    for times in (1, 2):
        y.backward(gradient=g, retain_graph=True)
        assert_near(value.grad, times * (p.swapaxes(1, 2) @ d), 1.5e-6 if equal else 3e-7)
        expected = times * (slope.swapaxes(1, 2) @ a / np.sqrt(8))
        if not equal:  # 0 otherwise
            np.testing.assert_allclose(key.grad, expected, rtol=0, atol=3e-7 * np.abs(expected).max())


def test_attention_of_one_tensor_to_itself_over_many_blocks():
    x = np.random.default_rng(3).random((16, 2200, 2)) / 10
    results = []
    for rows in (1, 16):
        with_totals = tg.tensor(x[:rows], requires_grad=True)
        F.scaled_dot_product_attention(with_totals, with_totals, with_totals).sum().backward()
        results.append(with_totals.grad[0])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-12)
