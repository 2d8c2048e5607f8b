"""Dropout: its distribution, its seeds, and a mask that the reverse walk regenerates instead of keeping."""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F

from .contract import uniform


def ones(*shape, dtype=np.float64):
    return tg.tensor(np.ones(shape, dtype=dtype), requires_grad=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_elements_are_zeroed_with_probability_p_and_the_rest_scaled(p, dtype):
    out = F.dropout(ones(400, 500, dtype=dtype), p=p).numpy()
    kept = out != 0
    np.testing.assert_allclose(out[kept], 1 / (1 - p), rtol=1e-6)
    deviation = np.sqrt(p * (1 - p) / out.size)
    assert abs(kept.mean() - (1 - p)) < 5 * deviation


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_gradient_passes_exactly_where_the_forward_walk_kept_the_element(dtype):
    x = ones(301, 7, dtype=dtype)
    out = F.dropout(x, p=0.3)
    g = uniform((301, 7), 0.5, 1.5, 1).astype(dtype)
    out.backward(gradient=g)
    np.testing.assert_allclose(x.grad.numpy(), g * out.numpy(), rtol=1e-6)


def test_the_mask_of_a_non_contiguous_view_is_the_same_in_both_walks():
    x = ones(40, 30)
    out = F.dropout(x.T[::-1, 1::2], p=0.5)
    out.sum().backward()
    expected = np.zeros((40, 30))
    expected.T[::-1, 1::2] = out.numpy()
    np.testing.assert_array_equal(x.grad.numpy(), expected)


def test_the_same_seed_gives_the_same_mask_and_another_seed_another():
    masks = []
    for seed in (3, 3, 4):
        tg.manual_seed(seed)
        masks.append(F.dropout(ones(1000), p=0.5).numpy())
    np.testing.assert_array_equal(masks[0], masks[1])
    assert (masks[0] != masks[2]).any()


def test_two_calls_and_two_layers_draw_different_masks():
    a, b = F.dropout(ones(1000), p=0.5).numpy(), F.dropout(ones(1000), p=0.5).numpy()
    assert 300 < (a != b).sum() < 700


def test_masks_of_neighbouring_rows_and_calls_are_uncorrelated():
    out = np.stack([F.dropout(ones(100, 100), p=0.5).numpy().ravel() for _ in range(8)]) - 1.0
    correlation = out @ out.T / out.shape[1]
    np.fill_diagonal(correlation, 0.0)
    assert np.abs(correlation).max() < 0.06
    lagged = np.mean(out[:, 1:] * out[:, :-1])
    assert abs(lagged) < 0.02


def test_dropout_outside_training_or_with_p_zero_is_the_identity():
    x = tg.tensor(uniform(100, -1, 1, 0))
    np.testing.assert_array_equal(F.dropout(x, p=0.5, training=False).numpy(), x.numpy())
    np.testing.assert_array_equal(F.dropout(x, p=0.0).numpy(), x.numpy())


def test_dropout_with_p_one_gives_zeros_and_a_zero_gradient():
    x = tg.tensor(uniform(100, -1, 1, 0), requires_grad=True)
    out = F.dropout(x, p=1.0)
    assert not out.numpy().any()
    out.sum().backward()
    assert x.grad is None or not x.grad.numpy().any()


def test_a_recorded_dropout_draws_a_new_mask_at_every_call():
    fast = tg.compile(lambda x: F.dropout(x, p=0.5))
    a, b, c = (np.asarray(fast(np.ones(1000))) for _ in range(3))
    assert 300 < (a != b).sum() < 700 and 300 < (b != c).sum() < 700 and 300 < (a != c).sum() < 700


def test_a_recorded_gradient_uses_the_mask_of_its_own_forward_walk():
    def loss(x, c):
        y = F.dropout(x, p=0.5)
        return (y * c).sum() + (y * y).sum()

    fast = tg.compile(tg.value_and_grad(loss))
    c = uniform(1000, 1.0, 2.0, 1)
    for _ in range(3):
        value, gradient = fast(np.ones(1000), c)
        mask = np.where(gradient != 0, 2.0, 0.0)
        np.testing.assert_allclose(gradient, mask * (c + 2.0 * mask), rtol=1e-12)
        np.testing.assert_allclose(value, np.sum(mask * c + mask * mask), rtol=1e-12)


def test_recorded_masks_repeat_with_the_seed():
    fast = tg.compile(lambda x: F.dropout(x, p=0.5))
    runs = []
    for _ in range(2):
        tg.manual_seed(9)
        runs.append([np.asarray(fast(np.ones(100))) for _ in range(3)])
    np.testing.assert_array_equal(runs[0], runs[1])


@pytest.mark.parametrize("p", [-0.1, 1.5, np.nan])
def test_a_probability_out_of_range_is_an_error(p):
    with pytest.raises(ValueError, match="probability|p"):
        F.dropout(ones(3), p=p)


def test_dropout_keeps_no_mask():
    def held(function):
        with tg.Tape(keep=False) as tape:
            y = function(tg.tensor(np.ones((1000, 100), dtype=np.float32), requires_grad=True))
            assert y.requires_grad
            return tape.live_bytes

    assert held(lambda x: F.dropout(x, p=0.5)) == held(lambda x: -x)


# ------------------------------------------------------------------ derivatives and batches


def masks_of(values, p=0.5):
    """Of dropout's results at ones: what it multiplied by."""
    values = np.asarray(values)
    assert set(np.unique(values)) <= {0.0, 1 / (1 - p)}
    return values


@pytest.mark.parametrize("recorded", [False, True])
def test_derivatives_of_any_order_and_direction_have_the_mask_of_the_value(recorded):
    c = uniform(200, 1.0, 2.0, 1)

    def loss(x):
        return (F.dropout(x, p=0.5) ** 3 * c).sum()

    def every(x, d):
        value, pull = tg.vjp(loss, x)
        first, along = tg.jvp(tg.grad(loss), (x,), (d,))
        return value, pull(np.ones(()))[0], first, along, tg.jvp(loss, (x,), (d,))

    x, d = np.ones(200), uniform(200, -1.0, 1.0, 2)
    every = tg.compile(every) if recorded else every
    for _ in range(2):
        value, slope, first, along, (other, tangent) = (np.asarray(getattr(t, "data", t)) if not isinstance(t, tuple)
                                                        else [np.asarray(u) for u in t] for t in every(x, d))
        mask = masks_of(np.cbrt(slope / (3 * c)))
        assert 60 < (mask != 0).sum() < 140
        np.testing.assert_allclose(value, (mask**3 * c).sum(), rtol=1e-12)
        mask = masks_of(np.cbrt(first / (3 * c)).round(12))
        np.testing.assert_allclose(along, 6 * mask**3 * c * d, rtol=1e-12)
        assert abs(other - value) > 0 and abs(tangent) < 8 * 3 * (c * abs(d)).sum()


def test_the_second_walk_over_a_graph_has_the_mask_of_the_first():
    x = ones(300)
    y = F.dropout(x, p=0.5)
    mask = masks_of(y.numpy())
    g, = tg.autograd.grad((y**3).sum(), [x], create_graph=True)
    np.testing.assert_allclose(g.numpy(), 3 * mask**3, rtol=1e-12)
    (g * g).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * 3 * 6 * mask**6, rtol=1e-12)


@pytest.mark.parametrize("recorded", [False, True])
def test_each_of_a_batch_draws_its_own_mask_which_its_gradient_has(recorded):
    c, w = uniform((4, 500), 1.0, 2.0, 1), np.ones(500)

    def one(c):
        def loss(w):
            y = F.dropout(w, p=0.5)
            return (y**2 * c).sum() + (F.dropout(w * 1.0, p=0.5) * 0.0).sum()

        return tg.value_and_grad(loss)(tg.tensor(w))

    run = tg.vmap(one)
    run = tg.compile(run) if recorded else run
    found = [[np.asarray(t) for t in run(c)] for _ in range(2)]
    values, slopes = zip(*found)
    masks = masks_of(np.sqrt(np.stack(slopes) / (2 * c)).round(12)).reshape(8, 500)
    np.testing.assert_allclose(np.stack(values).ravel(), (masks**2 * np.tile(c, (2, 1))).sum(axis=1), rtol=1e-12)
    for j in range(8):
        for k in range(j):
            assert 150 < (masks[j] != masks[k]).sum() < 350


def test_a_batch_repeats_with_the_seed():
    runs = []
    for _ in range(2):
        tg.manual_seed(4)
        runs.append(tg.vmap(lambda x: F.dropout(x, p=0.5))(np.ones((3, 50))))
    np.testing.assert_array_equal(runs[0], runs[1])
