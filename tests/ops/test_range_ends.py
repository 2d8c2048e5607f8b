"""float32 from 1e-30 to 1e30: formulas mean what they say, against NumPy in float64, rounded."""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F

SIZES = (1e-30, 1e-20, 1e-10, 1.0, 1e10, 1e20, 1e30)
ROWS = np.array([[1.0, 2.0, 4.0], [3.0, -1.0, 2.5], [-1.0, -5.0, 2.0]])
LARGEST = float(np.finfo(np.float32).max)


def taken(f, *arrays, g=1.0):
    leaves = [tg.tensor(np.asarray(a, np.float32), requires_grad=True) for a in arrays]
    y = f(*leaves)
    y.backward(gradient=np.full(y.shape, g, np.float32))
    return y.numpy(), [np.asarray(leaf.grad) for leaf in leaves]


def assert_is(actual, expected):
    expected = np.asarray(expected)
    held = np.abs(expected) <= LARGEST
    assert held.any() or not expected.size
    np.testing.assert_allclose(np.asarray(actual)[held], expected[held], rtol=2e-6, atol=2e-38)


#: f, its formula and its slopes
RULES = {
    "square": (tg.square, lambda x: x * x, [lambda g, x: 2 * g * x]),
    "reciprocal": (lambda x: 1.0 / x, lambda x: 1 / x, [lambda g, x: -g / x / x]),
    "multiply": (tg.multiply, lambda a, b: a * b, [lambda g, a, b: g * b, lambda g, a, b: g * a]),
    "divide": (tg.divide, lambda a, b: a / b, [lambda g, a, b: g / b, lambda g, a, b: -g * a / b / b]),
    "huber": (lambda a, b: F.huber_loss(a, b, reduction="none"),
              lambda a, b: np.where(abs(a - b) <= 1, 0.5 * (a - b) ** 2, abs(a - b) - 0.5),
              [lambda g, a, b: g * np.clip(a - b, -1, 1), lambda g, a, b: -g * np.clip(a - b, -1, 1)]),
    "mse": (lambda a, b: F.mse_loss(a, b, reduction="none"), lambda a, b: (a - b) ** 2,
            [lambda g, a, b: 2 * g * (a - b), lambda g, a, b: -2 * g * (a - b)]),
}


@pytest.mark.parametrize("name", RULES)
def test_elementwise(name):
    f, formula, slopes = RULES[name]
    both = np.array([s * size for size in SIZES for s in (1.5, -1.25)], np.float32)
    arrays = [both] if len(slopes) == 1 else [a.ravel() for a in np.meshgrid(both, both)]
    exact = [a.astype(np.float64) for a in arrays]
    y = formula(*exact)
    for g in (1e-20, 1.0, 1e20):
        value, gradients = taken(f, *arrays, g=g)
        assert_is(value, y)
        for gradient, slope in zip(gradients, slopes):
            expected = slope(np.float64(np.float32(g)), *exact)
            representable = (np.abs(y) <= LARGEST) & ((np.abs(y) >= 1e-37) | (y == 0))  # it is read
            if name in ("divide", "reciprocal"):
                b = exact[-1]
                step = np.where(np.abs(b) < 1, g * y, y / b)  # what is computed on the way
                representable &= (np.abs(step) <= LARGEST) & (np.abs(step) >= 1e-37)
            assert_is(gradient[representable], expected[representable])
            assert representable.sum() > len(y) // 4


@pytest.mark.parametrize("shape", [(), (9,)])
def test_the_slope_of_arctan_where_squares_overflow(shape):
    for size in (*SIZES, 1.8e19, 1.9e19, 9e18, 1e19, 3e38):
        for g in (1e-10, 1.0, 1e20, 1e38):
            x = np.full(shape, size, np.float32)
            _, (gradient,) = taken(tg.arctan, x, g=g)
            exact = x.astype(np.float64)
            assert_is(gradient, np.float64(np.float32(g)) / (1 + exact * exact))


def test_gelu_by_tanh_far_out():
    for size, slope in ((1e10, 1.0), (-1e10, 0.0), (1e20, 1.0), (-1e20, 0.0), (1e30, 1.0), (-1e30, 0.0)):
        _, (gradient,) = taken(lambda x: F.gelu(x, approximate="tanh"), [size])
        np.testing.assert_array_equal(gradient, [slope])


@pytest.mark.parametrize("size", SIZES)
def test_spread_and_norm_of_rows(size):
    x = (ROWS * size).astype(np.float32)
    exact = x.astype(np.float64)
    value, (gradient,) = taken(lambda t: tg.std(t, axis=1), x)
    deviation = exact - exact.mean(1, keepdims=True)
    assert_is(value, exact.std(1))
    assert_is(gradient, deviation / (3 * exact.std(1, keepdims=True)))
    value, (gradient,) = taken(lambda t: tg.vector_norm(t, axis=1), x)
    assert_is(value, np.linalg.norm(exact, axis=1))
    assert_is(gradient, exact / np.linalg.norm(exact, axis=1, keepdims=True))


@pytest.mark.parametrize("size", SIZES)
def test_normalised_rows_and_batches(size):
    x, w = (ROWS * size).astype(np.float32), np.array([1.0, 2.0, 3.0])

    def normalised(f, values, axis, centred):
        d = values - values.mean(axis, keepdims=True) if centred else values
        r = 1 / np.sqrt((d * d).mean(axis, keepdims=True))
        z, h = d * r, np.broadcast_to(w, (3, 3)) if axis == 1 else np.broadcast_to(w[None], (3, 3))
        total = h.mean(axis, keepdims=True) if centred else 0.0
        y, (gradient,) = taken(f, x)
        np.testing.assert_allclose(y, z * h, rtol=3e-6, atol=1e-6)
        expected = r * (h - total - z * (h * z).mean(axis, keepdims=True))
        np.testing.assert_allclose(gradient / r, expected / r, rtol=1e-5, atol=3e-6)

    exact = x.astype(np.float64)
    weights = tg.tensor(w.astype(np.float32))
    normalised(lambda t: F.layer_norm(t, (3,), eps=0.0) * weights, exact, 1, True)
    normalised(lambda t: F.rms_norm(t, (3,), eps=0.0) * weights, exact, 1, False)
    normalised(lambda t: F.batch_norm(t, None, None, training=True, eps=0.0) * weights, exact, 0, True)


def test_products_whose_parts_leave_the_range():
    x = np.array([1e30, 2e30, 1e-30, 0.5e-30], np.float32)
    value, (gradient,) = taken(lambda t: tg.prod(t), x)
    exact = x.astype(np.float64)
    assert_is(value, exact.prod())
    assert_is(gradient, exact.prod() / exact)
    assert_is(tg.cumprod(tg.tensor(x), axis=0).numpy(), np.cumprod(exact))


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, np.inf])
@pytest.mark.parametrize("size", SIZES)
def test_distances_of_rows(size, p):
    a, b = (ROWS * size).astype(np.float32), (ROWS[::-1] * (0.3 * size)).astype(np.float32)
    d = a.astype(np.float64)[:, None] - b.astype(np.float64)[None]

    def slopes(d):  # of a p-norm along the last axis
        r = np.linalg.norm(d, p, axis=-1, keepdims=True)
        if p == np.inf:
            return np.where(np.abs(d) == r, np.sign(d), 0.0)
        return np.sign(d) * (np.abs(d) / r) ** (p - 1)

    value, (left, right) = taken(lambda x, z: tg.cdist(x, z, p=p), a, b)
    assert_is(value, np.linalg.norm(d, p, axis=-1))
    np.testing.assert_allclose(left, slopes(d).sum(1), rtol=3e-6, atol=2e-6)
    np.testing.assert_allclose(right, -slopes(d).sum(0), rtol=3e-6, atol=2e-6)
    value, (left, _) = taken(lambda x, z: F.pairwise_distance(x, z, p=p, eps=0.0), a, b)
    pairs = a.astype(np.float64) - b.astype(np.float64)
    assert_is(value, np.linalg.norm(pairs, p, axis=-1))
    np.testing.assert_allclose(left, slopes(pairs), rtol=3e-6, atol=2e-6)


@pytest.mark.parametrize("size", SIZES[2:-1])
def test_cosines(size):
    a, b = (ROWS * size).astype(np.float32), ROWS[::-1].astype(np.float32)
    x, z = a.astype(np.float64), b.astype(np.float64)
    n, m = np.linalg.norm(x, axis=1, keepdims=True), np.linalg.norm(z, axis=1, keepdims=True)
    cosine = (x * z).sum(1, keepdims=True) / n / m
    value, (left, right) = taken(lambda s, t: F.cosine_similarity(s, t, dim=1, eps=1e-37), a, b)
    np.testing.assert_allclose(value, cosine[:, 0], rtol=2e-6, atol=2e-7)
    np.testing.assert_allclose(left * n, (z / m - cosine * x / n), rtol=5e-6, atol=1e-6)
    np.testing.assert_allclose(right * m, (x / n - cosine * z / m), rtol=5e-6, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_attention_of_large_and_small_logits_and_values(size):
    q, k, v = ROWS.astype(np.float32), ROWS[::-1].astype(np.float32), (ROWS * size).astype(np.float32)
    w = np.array([1.0, 2.0, 3.0])
    weights = tg.tensor(w.astype(np.float32))
    for logits in (size, 1.0):  # sizes of the logits, beside those of the values
        key = (k * logits).astype(np.float32)
        a, b, c = (x.astype(np.float64) for x in (q, key, v))
        s = a @ b.T / np.sqrt(3)
        p = np.exp(s - s.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        value, (dq, dk, dv) = taken(lambda x, y, z: F.scaled_dot_product_attention(x[None], y[None], z[None])[0]
                                    * weights, q, key, v)
        np.testing.assert_allclose(value / size, p @ c * w / size, rtol=5e-6, atol=2e-6)
        dp = w * np.ones((3, 3)) @ c.T
        ds = p * (dp - (p * dp).sum(1, keepdims=True)) / np.sqrt(3)
        np.testing.assert_allclose(dv, p.T @ (w * np.ones((3, 3))), rtol=5e-6, atol=1e-6)
        for got, exact in ((dq, ds @ b), (dk, ds.T @ a)):
            held = np.abs(exact) <= LARGEST / 10
            scale = max(np.abs(exact[held]).max(initial=0.0), 1e-30)
            np.testing.assert_allclose(got[held] / scale, exact[held] / scale, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("size", SIZES)
def test_pooling(size):
    x = (np.arange(1.0, 17.0).reshape(1, 1, 4, 4) * size).astype(np.float32)
    blocks = x.astype(np.float64).reshape(2, 2, 2, 2)
    value, (gradient,) = taken(lambda t: F.avg_pool2d(t, 2), x)
    assert_is(value[0, 0], blocks.mean((1, 3)))
    assert_is(gradient, np.full(x.shape, 0.25))
    value, (gradient,) = taken(lambda t: F.max_pool2d(t, 2), x)
    assert_is(value[0, 0], blocks.max((1, 3)))
    assert_is(gradient.sum(), 4.0)
    value, (gradient,) = taken(lambda t: F.adaptive_avg_pool2d(t, 1), x)
    assert_is(value.ravel(), [x.astype(np.float64).mean()])


#: loss of scores and targets, its formula by element, its slope
LOSSES = {
    "l1": (F.l1_loss, lambda x, t: abs(x - t), lambda x, t: np.sign(x - t)),
    "smooth_l1": (F.smooth_l1_loss, lambda x, t: np.where(abs(x - t) < 1, 0.5 * (x - t) ** 2, abs(x - t) - 0.5),
                  lambda x, t: np.clip(x - t, -1, 1)),
    "binary_cross_entropy_with_logits": (
        F.binary_cross_entropy_with_logits, lambda x, t: np.maximum(x, 0) - x * t + np.log1p(np.exp(-abs(x))),
        lambda x, t: np.where(x > 0, 1 / (1 + np.exp(-abs(x))), np.exp(-abs(x)) / (1 + np.exp(-abs(x)))) - t),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("size", SIZES)
def test_losses_of_elements(name, size):
    f, formula, slope = LOSSES[name]
    x = (np.array([1.5, -1.25, 0.5, -3.0]) * size).astype(np.float32)
    target = np.array([0.0, 1.0, 1.0, 0.0])
    exact = x.astype(np.float64)
    value, (gradient,) = taken(lambda s: f(s, tg.tensor(target.astype(np.float32)), reduction="none"), x)
    np.testing.assert_allclose(value, formula(exact, target), rtol=3e-6, atol=2e-38)
    np.testing.assert_allclose(gradient, slope(exact, target), rtol=3e-6, atol=1e-7)
    mean, _ = taken(lambda s: f(s, tg.tensor(target.astype(np.float32))), x)
    np.testing.assert_allclose(mean, formula(exact, target).mean(), rtol=3e-6, atol=2e-38)


@pytest.mark.parametrize("size", SIZES)
def test_losses_of_classes(size):
    x, target = (ROWS * size).astype(np.float32), np.array([0, 1, 2])
    exact = x.astype(np.float64)
    shifted = exact - exact.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    value, (gradient,) = taken(lambda s: F.cross_entropy(s, target), x)
    np.testing.assert_allclose(value, -log_p[range(3), target].mean(), rtol=3e-6, atol=1e-7)
    np.testing.assert_allclose(gradient, (np.exp(log_p) - np.eye(3)) / 3, rtol=3e-6, atol=1e-7)
    value, (gradient,) = taken(lambda s: F.nll_loss(s, target), x)
    np.testing.assert_allclose(value, -exact[range(3), target].mean(), rtol=3e-6)
    np.testing.assert_allclose(gradient, -np.eye(3) / 3, rtol=3e-7)


@pytest.mark.parametrize("size", SIZES)
def test_groups_of_channels(size):
    x = (np.arange(1.0, 25.0).reshape(2, 4, 3) ** 2 * size).astype(np.float32)
    w = np.arange(1.0, 25.0).reshape(2, 4, 3)
    d = x.astype(np.float64).reshape(2, 2, 6)
    d = d - d.mean(2, keepdims=True)
    r = 1 / np.sqrt((d * d).mean(2, keepdims=True))
    z, h = d * r, w.reshape(2, 2, 6)
    expected = h - h.mean(2, keepdims=True) - z * (h * z).mean(2, keepdims=True)
    value, (gradient,) = taken(lambda t: F.group_norm(t, 2, eps=0.0) * tg.tensor(w.astype(np.float32)), x)
    np.testing.assert_allclose(value, (z * h).reshape(x.shape), rtol=5e-6, atol=1e-5)
    np.testing.assert_allclose(gradient.reshape(2, 2, 6) / r, expected, rtol=2e-5, atol=2e-5)
