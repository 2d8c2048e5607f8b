"""A call of a function of NumPy's namespace held against NumPy's own: value, gradient, recording, batch."""

import numpy as np

import tapegrad as tg


def weights(y):
    return np.cos(np.arange(y.size)).reshape(y.shape)


def differences(call, x):
    """The gradient of the weighted sum of NumPy's result, by central differences; 0 at NaN."""
    found = np.zeros(x.shape)
    for at in np.ndindex(x.shape):
        ends = []
        for step in (1e-6, -1e-6):
            moved = x.copy()
            moved[at] += step
            y = call(np, moved)
            ends.append(np.nansum(y * weights(y)))
        found[at] = 0.0 if np.isnan(x[at]) else (ends[0] - ends[1]) / 2e-6
    return found


def value_holds(call, x, by_numpy=True):
    """Values and dtypes are NumPy's, of float64 and of float32, by ``tg.f`` and by ``np.f``."""
    want = np.asarray(call(np, x))
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 2e-5)):
        for spelt in (tg, np)[:1 + by_numpy]:
            y = call(spelt, tg.tensor(x.astype(dtype)))
            assert isinstance(y, tg.Tensor)
            assert y.dtype == (dtype if want.dtype.kind == "f" else want.dtype)
            assert y.shape == want.shape
            np.testing.assert_allclose(y.numpy(), want, rtol=tolerance, atol=tolerance)
    return want


def all_holds(call, x, by_numpy=True):
    """The same of gradients, of recordings and of batches."""
    want = value_holds(call, x, by_numpy)

    def loss(t):
        y = call(tg, t)
        return tg.nansum(y * weights(want))

    expected = differences(call, x)
    np.testing.assert_allclose(tg.grad(loss)(x), expected, rtol=1e-5, atol=1e-6)
    recorded = tg.compile(lambda t: call(tg, t)), tg.compile(tg.grad(loss))
    for other in (x[::-1].copy(), x):
        y, gradient = recorded[0](other), recorded[1](other)
    np.testing.assert_allclose(np.asarray(y), want, rtol=1e-12)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)
    batch = np.stack([x, x[::-1] * 0.7])
    each = np.stack([call(np, one) for one in batch])
    np.testing.assert_allclose(np.asarray(tg.vmap(lambda t: call(tg, t))(batch)), each, rtol=1e-12)
