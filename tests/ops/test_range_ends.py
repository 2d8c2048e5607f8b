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
            # y, and its product with g, are steps on the way of a slope
            representable = (np.abs(y) <= LARGEST) & ((np.abs(y) >= 1e-37) | (y == 0))
            representable &= (np.abs(g * y) <= LARGEST) & ((np.abs(g * y) >= 1e-37) | (y == 0))
            assert_is(gradient[representable], expected[representable])
            assert representable.sum() > len(y) // 4


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
