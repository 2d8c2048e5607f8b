"""Pooling, against windows cut out in NumPy."""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim
from tapegrad.errors import ArgumentError, ShapeError

from .contract import Case, OpContract, grid, uniform
from .derivatives import Derivatives


def pair(value):
    return (value, value) if np.isscalar(value) else tuple(value)


def count(n, k, s, p, d, ceil):
    free = n + 2 * p - d * (k - 1) - 1
    out = (-(-free // s) if ceil else free // s) + 1
    return out - 1 if ceil and (out - 1) * s >= n + p else out


def naive_pool(x, kernel, stride=None, padding=0, dilation=1, ceil_mode=False, mean=None):
    """Each window as a masked array; ``mean(values, rows, columns)`` where it is not the greatest."""
    (kh, kw), (ph, pw), (dh, dw) = pair(kernel), pair(padding), pair(dilation)
    sh, sw = pair(kernel if stride is None else stride)
    h, w = x.shape[-2:]
    ho, wo = count(h, kh, sh, ph, dh, ceil_mode), count(w, kw, sw, pw, dw, ceil_mode)
    out = np.zeros((*x.shape[:-2], ho, wo))
    for r in range(ho):
        for c in range(wo):
            rows, columns = r * sh - ph + dh * np.arange(kh), c * sw - pw + dw * np.arange(kw)
            inside = [k for k in rows if 0 <= k < h], [k for k in columns if 0 <= k < w]
            values = x[..., inside[0], :][..., inside[1]].reshape(*x.shape[:-2], -1)
            if mean is None:
                out[..., r, c] = values.max(axis=-1)
            else:
                size = sum(k < h + ph for k in rows), sum(k < w + pw for k in columns)
                out[..., r, c] = values.sum(axis=-1) / mean(values.shape[-1], size[0] * size[1])
    return out


def naive_adaptive(x, size):
    (m, n), (h, w) = size, x.shape[-2:]
    out = np.zeros((*x.shape[:-2], m, n))
    for r in range(m):
        for c in range(n):
            rows = slice(r * h // m, -(-(r + 1) * h // m))
            out[..., r, c] = x[..., rows, c * w // n : -(-(c + 1) * w // n)].mean(axis=(-2, -1))
    return out


WINDOWS = [
    ("plain", (2, 3, 4, 6), {"kernel_size": 2}),
    ("one sample", (3, 5, 6), {"kernel_size": (3, 2)}),
    ("overlapping", (1, 2, 6, 5), {"kernel_size": 3, "stride": (1, 2)}),
    ("padded", (1, 2, 6, 5), {"kernel_size": (3, 4), "stride": 2, "padding": (1, 2)}),
    ("ceil", (2, 2, 6, 7), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ("ceil over the edge", (1, 1, 5, 5), {"kernel_size": 2, "stride": 2, "padding": 1, "ceil_mode": True}),
]


def _max(name, shape, options):
    given = {("kernel" if k == "kernel_size" else k): v for k, v in options.items()}
    return Case(f"max {name}", lambda x: F.max_pool2d(x, **options), lambda x: naive_pool(x, **given),
                (grid(shape, 3),), ties=False)  # fmt: skip


def _avg(name, shape, options, rule, **more):
    given = {("kernel" if k == "kernel_size" else k): v for k, v in options.items()}
    return Case(f"avg {name} {more}", lambda x: F.avg_pool2d(x, **options, **more),
                lambda x: naive_pool(x, **given, mean=rule), (uniform(shape, -1, 1, 4),))  # fmt: skip


class TestPooling(OpContract, Derivatives):
    cases = [
        *(_max(*row) for row in WINDOWS),
        _max("dilated", (1, 2, 7, 8), {"kernel_size": (3, 2), "stride": 2, "dilation": (2, 3), "padding": 1}),
        _max("large windows", (2, 18, 19), {"kernel_size": (16, 17), "stride": 2}),
        *(_avg(*row, lambda inside, window: window) for row in WINDOWS),
        *(_avg(*row, lambda inside, window: inside, count_include_pad=False) for row in WINDOWS[3:]),
        _avg(*WINDOWS[4], lambda inside, window: 5, divisor_override=5),
        Case("max row", lambda x: F.max_pool1d(x, 3, 2, 1), lambda x: naive_pool(
            x[..., None, :], (1, 3), (1, 2), (0, 1))[..., 0, :], (grid((2, 3, 7), 6),), ties=False),
        Case("avg row", lambda x: F.avg_pool1d(x, 3), lambda x: naive_pool(
            x[..., None, :], (1, 3), mean=lambda a, b: a)[..., 0, :], (uniform((2, 3, 8), -1, 1, 2),)),
        *(Case(f"adaptive {size}", lambda x, size=size: F.adaptive_avg_pool2d(x, size),
               lambda x, size=size: naive_adaptive(x, size), (uniform((2, 2, 5, 6), -1, 1, 3),))
          for size in ((1, 1), (2, 3), (3, 4), (5, 6), (7, 8))),
        Case("adaptive kept extent", lambda x: F.adaptive_avg_pool2d(x, (None, 2)),
             lambda x: naive_adaptive(x, (5, 2)), (uniform((2, 5, 6), -1, 1, 3),)),
        Case("adaptive row", lambda x: F.adaptive_avg_pool1d(x, 3),
             lambda x: naive_adaptive(x[:, :, None], (1, 3))[:, :, 0], (uniform((2, 2, 7), -1, 1, 3),)),
    ]  # fmt: skip


def test_max_of_a_window_with_nan_is_nan_and_infinities_are_kept():
    x = np.array([[[1.0, np.nan, -np.inf, -np.inf], [2.0, 3.0, -np.inf, -np.inf]]])
    out = F.max_pool2d(tg.tensor(x), 2).numpy()
    np.testing.assert_array_equal(out, [[[np.nan, -np.inf]]])


def test_the_first_of_equal_elements_gets_the_gradient():
    x = tg.tensor(np.ones((1, 2, 4)), requires_grad=True)
    F.max_pool2d(x, 2).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[[1, 0, 1, 0], [0, 0, 0, 0]]])


def test_of_several_nan_the_last_gets_the_gradient_as_in_pytorch():
    x = tg.tensor(np.array([[[1.0, np.nan, 3.0], [np.nan, 2.0, 0.0], [9.0, 9.0, 9.0]]]), requires_grad=True)
    F.max_pool2d(x, 2, 1).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[[0, 1, 0], [2, 0, 0], [0, 1, 0]]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (2, 1), (3, 3), (3, 2)])
@pytest.mark.parametrize("size", [(6, 70), (5, 71), (4, 9)])
def test_ties_nan_and_infinities_in_long_rows_find_their_place(size, kernel, stride, ceil_mode, dtype):
    rng = np.random.default_rng(8)
    values = rng.choice([0.0, 1.0, 2.0, -np.inf, np.inf, np.nan], (2, *size), p=[0.3, 0.3, 0.2, 0.1, 0.05, 0.05])
    values = values.astype(dtype)
    x = tg.tensor(values, requires_grad=True)
    out = F.max_pool2d(x, kernel, stride, ceil_mode=ceil_mode)
    g = rng.standard_normal(out.shape).astype(dtype)
    expected, slopes = np.empty(out.shape, dtype), np.zeros_like(values)
    for plane, row, column in np.ndindex(*out.shape):
        top, left = row * stride, column * stride
        window = values[plane, top:top + kernel, left:left + kernel]
        nan = np.flatnonzero(np.isnan(window))  # the last of them, else the first of the greatest
        at = np.unravel_index(nan[-1] if len(nan) else np.argmax(window), window.shape)
        expected[plane, row, column] = window[at]
        slopes[plane, top + at[0], left + at[1]] += g[plane, row, column]
    np.testing.assert_array_equal(out.numpy(), expected)
    out.backward(g, retain_graph=True)
    np.testing.assert_allclose(x.grad.numpy(), slopes, rtol=1e-5, atol=1e-6)
    out.backward(g)  # now added to what is there
    np.testing.assert_allclose(x.grad.numpy(), 2 * slopes, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kernel", [2, 3, (4, 3)])
def test_a_window_of_nothing_but_minus_infinity_gives_its_first_element_inside_the_gradient(kernel):
    x = tg.tensor(np.full((1, 3, 3), -np.inf), requires_grad=True)
    F.max_pool2d(x, kernel, stride=3, padding=1).sum().backward()
    assert np.argwhere(x.grad.numpy()[0]).tolist()[0] == [0, 0]


@pytest.mark.parametrize("kernel", [(16, 16), (257, 1), (40, 40)])
def test_windows_of_any_number_of_elements_find_their_place(kernel):
    x = tg.tensor(grid((1, 300, 42), 5), requires_grad=True)
    out = F.max_pool2d(x, kernel)
    out.sum().backward()
    places = np.argwhere(x.grad.numpy()[0])
    assert len(places) == out.size
    np.testing.assert_array_equal(np.sort(x.numpy()[0][tuple(places.T)]), np.sort(out.numpy().ravel()))


@pytest.mark.compiled
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("kernel", "nbytes"), [(2, 1), (16, 1), (17, 2)])
def test_a_max_pool_keeps_a_byte_an_element_of_its_result_or_two_for_large_windows(kernel, nbytes, dtype):
    x = np.zeros((4, 4, 136, 136), dtype)
    size = 16 * (136 // kernel) ** 2
    with tg.Tape(keep=False) as tape:
        before = tape.storage.live_bytes
        out = F.max_pool2d(tg.tensor(x, requires_grad=True) * 1.0, kernel).sum()
        kept = tape.storage.live_bytes - before
        assert out.size == 1
    assert size * nbytes <= kept < 1.25 * size * nbytes + 1024  # blocks come in a few sizes

    scale = nn.Parameter(np.ones((), dtype))
    recorded = tg.TrainStep(lambda x: F.max_pool2d(scale * x, kernel).mean(), optim.SGD([scale], lr=0.1))
    recorded(x)
    assert [life.nbytes for life in recorded.memory().buffers if "max_pool" in life.why] == [size * nbytes]


def frozen(layers):
    """A trained scale beneath layers of which none is trained."""
    model = nn.Sequential(*layers)
    scale = nn.Parameter(np.ones((), np.float32))
    x = np.random.default_rng(0).normal(size=(8, 4, 16, 16)).astype(np.float32)
    step = tg.TrainStep(lambda x: model(x * scale).mean(), optim.SGD([scale], lr=0.1))
    step(x)
    return {row["layer"]: row["kept bytes"] for row in step.memory().by_layer()}


def test_between_frozen_layers_pools_keep_their_places_and_means_and_dropout_nothing():
    kept = frozen([nn.MaxPool2d(2), nn.Dropout(0.5), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(2), nn.Dropout(0.1)])
    assert kept.pop("0") == 8 * 4 * 8 * 8
    assert not any(kept.get(layer, 0) for layer in "1234")


def test_a_window_whose_taps_step_over_the_input_is_minus_infinity_and_passes_nothing_back():
    x = tg.tensor(np.ones((1, 2, 2)), requires_grad=True)
    out = F.max_pool2d(x, 2, padding=1, dilation=3)
    np.testing.assert_array_equal(out.numpy(), [[[-np.inf]]])
    out.backward(gradient=np.ones((1, 1, 1)))
    assert not x.grad.numpy().any()


@pytest.mark.parametrize("function", [F.max_pool2d, F.avg_pool2d])
def test_a_batch_is_pooled_at_once(function):
    batch = tg.compile(tg.vmap(lambda x: function(x, 2)))
    batch(np.ones((3, 2, 4, 4)))
    assert len(batch.tape) == 1 and "of each" not in str(batch.tape)


def test_second_derivatives_go_where_the_first_went_as_jax_and_pytorch_have_it():
    x = np.array([[[1.0, 1.0], [1.0, 0.0]]])  # a tie
    hessian = tg.hessian(lambda x: (F.max_pool2d(x, 2) ** 3).sum())(x)
    np.testing.assert_array_equal(hessian.reshape(4, 4), np.diag([6.0, 0.0, 0.0, 0.0]))
    nothing = tg.hessian(lambda x: (F.max_pool2d(x, 2, padding=1, dilation=3) * x).sum())(np.ones((1, 2, 2)))
    assert not nothing.any()


def test_pooling_keeps_no_input():
    from tapegrad.ops.pooling import AVG_POOL, MAX_POOL

    assert MAX_POOL.saved_operands(1) == (2,)
    assert AVG_POOL.saved_operands(1) == ()


def test_arguments_that_do_not_fit_are_named():
    x = np.ones((1, 3, 5, 5))
    with pytest.raises(ArgumentError, match="half"):
        F.max_pool2d(x, 2, padding=2)
    with pytest.raises(ShapeError, match="smaller"):
        F.avg_pool2d(x, 6)
    with pytest.raises(ShapeError, match=r"\[5, 5\]"):
        F.max_pool2d(x[0, 0], 2)
