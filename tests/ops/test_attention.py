"""Scaled dot-product attention against its formula in NumPy: masks, blocks, dropout, memory."""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim
from tapegrad.errors import ArgumentError, DtypeError, ShapeError
from tapegrad.ops.attention import ATTENTION, BLOCK, LEAST_ROWS, MOST_ROWS, PARTS

from .contract import Case, OpContract, close, uniform
from .derivatives import Derivatives


def weights(q, k, mask=None, causal=False, scale=None):
    """softmax(scale q k^T + mask); a row without a key is zero."""
    scores = (q.shape[-1] ** -0.5 if scale is None else scale) * (q @ np.swapaxes(k, -1, -2))
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    if causal:
        scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -np.inf)
    top = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    e = np.exp(scores - np.where(top == -np.inf, 0.0, top))
    total = e.sum(axis=-1, keepdims=True)
    return e / np.where(total == 0.0, 1.0, total)


def attention(q, k, v, mask=None, causal=False, scale=None):
    return weights(q, k, mask, causal, scale) @ v


def gradients(q, k, v, g, mask=None, causal=False, dropped=1.0):
    """Of sum(g * attention) by q, k, v and the scores, from the formulas; `dropped` scales the weights."""
    scale, p = q.shape[-1] ** -0.5, weights(q, k, mask, causal)
    dp = g @ np.swapaxes(v, -1, -2) * dropped
    ds = p * (dp - (p * dp).sum(axis=-1, keepdims=True))
    return scale * ds @ k, scale * np.swapaxes(ds, -1, -2) @ q, np.swapaxes(p * dropped, -1, -2) @ g, ds


def draw(*shapes, seed=3):
    return tuple(uniform(s, -1.0, 1.5, seed + k) for k, s in enumerate(shapes))


HOLES = np.array([[1, 0, 1, 1, 0], [0, 1, 1, 0, 1], [1, 1, 1, 1, 1]], bool)
PADDED = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]], bool)[:, None, None, :]
SOME = HOLES & [[True], [False], [True]]
SDPA = F.scaled_dot_product_attention


def by_token(x):
    return x.swapaxes(-2, -3)


class TestAttention(OpContract, Derivatives):
    cases = [
        Case("plain", SDPA, attention, draw((3, 4), (5, 4), (5, 2))),
        Case("one batch axis", SDPA, attention, draw((2, 3, 4), (2, 5, 4), (2, 5, 3))),
        Case("causal", lambda q, k, v: SDPA(q, k, v, is_causal=True), lambda q, k, v: attention(q, k, v, causal=True),
             draw((2, 4, 3), (2, 4, 3), (2, 4, 3))),
        Case("causal with fewer queries", lambda q, k, v: SDPA(q, k, v, is_causal=True, scale=0.7),
             lambda q, k, v: attention(q, k, v, causal=True, scale=0.7), draw((2, 3), (5, 3), (5, 3))),
        Case("bool mask over heads", lambda q, k, v: SDPA(q, k, v, HOLES),
             lambda q, k, v: attention(q, k, v, HOLES), draw((2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 1))),
        Case("bool mask of keys, shared key and value", lambda q, k, v: SDPA(q, k, v, PADDED),
             lambda q, k, v: attention(q, k, v, PADDED), draw((2, 2, 3, 4), (1, 5, 4), (2, 1, 5, 2))),
        Case("float mask with a gradient", lambda q, k, v, mask: SDPA(q, k, v, mask),
             lambda q, k, v, mask: attention(q, k, v, mask), draw((2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 2), (2, 3, 5))),
        Case("float mask by query", lambda q, k, v, mask: SDPA(q, k, v, mask, is_causal=True),
             lambda q, k, v, mask: attention(q, k, v, mask, causal=True),
             draw((2, 3, 4), (2, 5, 4), (2, 5, 2), (3, 1))),
        Case("grouped queries", lambda q, k, v: SDPA(q, k, v, HOLES, enable_gqa=True),
             lambda q, k, v: attention(q, np.repeat(k, 2, axis=-3), np.repeat(v, 2, axis=-3), HOLES),
             draw((4, 3, 2), (2, 5, 2), (2, 5, 3))),
        Case("heads within tokens", lambda q, k, v: by_token(SDPA(*map(by_token, (q, k, v)), is_causal=True)),
             lambda q, k, v: by_token(attention(*map(by_token, (q, k, v)), causal=True)),
             draw((2, 3, 2, 4), (2, 5, 2, 4), (1, 5, 2, 1))),
        Case("grouped queries within tokens", lambda q, k, v: by_token(SDPA(*map(by_token, (q, k, v)),
                                                                            enable_gqa=True)),
             lambda q, k, v: by_token(attention(*(np.repeat(by_token(x), 4 // x.shape[1], axis=-3)
                                                  for x in (q, k, v)))), draw((3, 4, 2), (5, 2, 2), (5, 2, 3))),
        Case("a row that may attend to nothing", lambda q, k, v: SDPA(q, k, v, SOME),
             lambda q, k, v: attention(q, k, v, SOME), draw((3, 4), (5, 4), (5, 2))),
        Case("a float mask that hides", lambda q, k, v: SDPA(q, k, v, np.where(SOME, 0.5, -np.inf).astype(q.dtype)),
             lambda q, k, v: attention(q, k, v, np.where(SOME, 0.5, -np.inf)), draw((3, 4), (5, 4), (5, 2))),
        Case("one query, one key", SDPA, attention, draw((2, 1, 3), (2, 1, 3), (2, 1, 2))),
    ]  # fmt: skip


def rotated(x, positions, dim, base=10000.0):
    """Features k and dim/2 + k as the parts of a complex number, times e^(i angle)."""
    half = dim // 2
    angles = np.asarray(positions)[..., None] * base ** (-2 * np.arange(half) / dim)
    turned = (x[..., :half] + 1j * x[..., half:dim]) * np.exp(1j * angles)
    return np.concatenate([turned.real, turned.imag, x[..., dim:]], axis=-1)


PLACES = np.array([[3, 0, 7], [1, 1, 2]])


class TestRotation(OpContract, Derivatives):
    cases = [
        Case("rotary", F.rotary_embedding, lambda x: rotated(x, np.arange(3), 4), draw((2, 2, 3, 4))),
        Case("rotary of some features", lambda x: F.rotary_embedding(x, 5, base=100.0, dim=4),
             lambda x: rotated(x, np.arange(5, 8), 4, 100.0), draw((3, 5))),
        Case("rotary at places", lambda x: F.rotary_embedding(x, PLACES), lambda x: rotated(x, PLACES, 2),
             draw((2, 3, 2))),
        Case("rotary of heads within tokens", lambda x: by_token(F.rotary_embedding(by_token(x))),
             lambda x: by_token(rotated(by_token(x), np.arange(3), 4)), draw((2, 3, 2, 4))),
    ]  # fmt: skip


def test_products_of_turned_vectors_depend_on_the_distance_alone():
    q, k = draw((1, 8), (1, 8))
    products = [(F.rotary_embedding(q, n + 3).numpy() * F.rotary_embedding(k, n).numpy()).sum() for n in (0, 5, 1000)]
    np.testing.assert_allclose(products, products[0], rtol=1e-10)
    assert abs((q * k).sum() - products[0]) > 1e-3


def test_turned_heads_lie_as_they_lay():
    x = tg.tensor(*draw((2, 5, 3, 4))).swapaxes(1, 2)
    y = F.rotary_embedding(x)
    close(y.numpy(), rotated(x.numpy(), np.arange(5), 4), 1e-12)
    assert y.swapaxes(1, 2).is_contiguous


def test_sinusoids_are_those_of_the_paper():
    table = F.sinusoidal_positions(50, 6, dtype=np.float64).numpy()
    for p, i in ((0, 0), (7, 1), (49, 2)):
        angle = p / 10000 ** (2 * i / 6)
        np.testing.assert_allclose(table[p, 2 * i:2 * i + 2], [np.sin(angle), np.cos(angle)], atol=1e-14)
    assert F.sinusoidal_positions(3, 5).shape == (3, 5)


@pytest.mark.parametrize("kind", ["causal", "bool", "float", "none"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sequences_of_several_blocks(kind, dtype):
    tokens, keys = 300, 260
    assert tokens > 2 * MOST_ROWS
    q, k, v, g = draw((2, tokens, 4), (2, keys, 4), (2, keys, 6), (2, tokens, 6))
    q *= 3
    mask = {"bool": uniform((tokens, keys), 0, 1, 9) < 0.6, "float": uniform((tokens, keys), -2, 1, 9)}.get(kind)
    mask = mask.astype(dtype) if kind == "float" else mask
    q, k, v, g = (x.astype(dtype) for x in (q, k, v, g))
    leaves = [tg.tensor(x, requires_grad=True) for x in (q, k, v)]
    leaf = tg.tensor(mask, requires_grad=True) if kind == "float" else mask
    y = SDPA(*leaves, leaf, is_causal=kind == "causal")
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    wide = [x.astype(np.float64) for x in (q, k, v)]
    close(y.numpy(), attention(*wide, mask, kind == "causal"), tolerance)
    y.backward(gradient=g)
    *wanted, scores = gradients(*wide, g.astype(np.float64), mask, kind == "causal")
    for t, want in zip(leaves, wanted):
        close(t.grad.numpy(), want, tolerance)
    if kind == "float":
        close(leaf.grad.numpy(), scores.sum(axis=0), tolerance)


@pytest.mark.parametrize("kind", ["bool", "float"])
def test_a_row_that_may_attend_to_nothing_is_zero_and_has_no_gradient(kind):
    q, k, v, g = draw((2, 3, 4), (2, 5, 4), (2, 5, 2), (2, 3, 2))
    holes = HOLES.copy()
    holes[1] = False
    mask = holes if kind == "bool" else np.where(holes, 0.0, -np.inf)
    leaves = [tg.tensor(x, requires_grad=True) for x in (q, k, v)]
    y = SDPA(*leaves, mask)
    assert (y.numpy()[:, 1] == 0).all()
    close(y.numpy(), attention(q, k, v, holes), 1e-12)
    y.backward(gradient=g)
    assert (leaves[0].grad.numpy()[:, 1] == 0).all()
    for t, want in zip(leaves, gradients(q, k, v, g, holes)):
        close(t.grad.numpy(), want, 1e-12)


def test_what_a_mask_hides_may_be_anything():
    q, k, v = draw((3, 4), (5, 4), (5, 2))
    k[4] = np.nan
    hidden = np.array([1, 1, 1, 1, 0], bool)
    close(SDPA(q, k, v, hidden).numpy(), attention(q, k[:4], v[:4]), 1e-12)
    assert np.isnan(SDPA(q, k, v).numpy()).all()
    assert np.isnan(SDPA(np.where(np.arange(3)[:, None] == 1, np.nan, q), k, v, hidden).numpy()[1]).all()


def test_large_scores_do_not_overflow():
    q, k, v = draw((3, 4), (5, 4), (5, 2))
    for dtype, size in ((np.float32, 300.0), (np.float64, 1e4)):
        y = SDPA((size * q).astype(dtype), k.astype(dtype), v.astype(dtype)).numpy()
        close(y, attention(size * q, k, v), 1e-4 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize(("tokens", "keys", "width", "out"), [(0, 3, 2, 2), (3, 0, 2, 2), (3, 4, 0, 2), (3, 4, 2, 0)])
def test_empty_axes(tokens, keys, width, out):
    q, k, v = draw((2, tokens, width), (2, keys, width), (2, keys, out))
    leaves = [tg.tensor(x, requires_grad=True) for x in (q, k, v)]
    y = SDPA(*leaves, scale=1.0)
    close(y.numpy(), attention(q, k, v, scale=1.0), 1e-12)
    y.backward(gradient=np.ones(y.shape))
    assert all(t.grad is None or np.isfinite(t.grad.numpy()).all() for t in leaves)
    assert SDPA(np.ones((0, 3, 2)), np.ones((0, 4, 2)), np.ones((0, 4, 1))).shape == (0, 3, 1)


def test_heads_that_are_views_of_one_projection_are_not_copied():
    x, g = draw((2, 7, 3, 2, 4), (2, 2, 7, 4))
    x = tg.tensor(x, requires_grad=True)
    q, k, v = (x[:, :, n].swapaxes(1, 2) for n in range(3))
    with tg.Tape() as tape:
        y = SDPA(q, k, v, is_causal=True)
        merged = y.swapaxes(1, 2).reshape(2, 7, 8)
        ops = [line.split()[1] for line in str(tape).splitlines()[1:] if line.strip()]
        merged.backward(gradient=g.swapaxes(1, 2).reshape(2, 7, 8))
    assert ops == ["attention"]
    parts = [t.numpy() for t in (q, k, v)]
    close(y.numpy(), attention(*parts, causal=True), 1e-12)
    for n, want in enumerate(gradients(*parts, g, causal=True)[:3]):
        close(x.grad.numpy()[:, :, n].swapaxes(1, 2), want, 1e-12)


def test_one_tensor_as_query_key_and_value_receives_all_three_gradients():
    (x,) = draw((2, 300, 4))
    leaf = tg.tensor(x, requires_grad=True)
    y = SDPA(leaf, leaf, leaf)
    g = uniform(y.shape, -1, 1, 8)
    y.backward(gradient=g)
    close(leaf.grad.numpy(), sum(gradients(x, x, x, g)[:3]), 1e-12)


def test_a_mask_of_a_recording_is_an_input_like_others():
    q, k, v = draw((3, 4), (5, 4), (5, 2))
    recorded = tg.compile(lambda q, k, v, mask: SDPA(q, k, v, mask))
    for mask in (HOLES, ~HOLES, HOLES):
        close(np.asarray(recorded(q, k, v, mask)), attention(q, k, v, mask), 1e-12)


# ------------------------------------------------------------------ dropout


def dropped_weights(q, k, p, seed, **options):
    """The weights after dropout: the value is the identity."""
    tg.manual_seed(seed)
    return SDPA(q, k, np.broadcast_to(np.eye(k.shape[-2]), (*k.shape[:-1], k.shape[-2])), dropout_p=p,
                **options).numpy()  # fmt: skip


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("tokens", [40, 300])
def test_dropout_scales_what_it_keeps_and_the_gradients_follow_the_same_mask(tokens, causal):
    p = 0.3
    q, k, v, g = draw((2, tokens, 4), (2, tokens, 4), (2, tokens, 3), (2, tokens, 3))
    left = dropped_weights(q, k, p, 5, is_causal=causal)
    whole = weights(q, k, causal=causal)
    kept = left != 0
    close(left[kept], whole[kept] / (1 - p), 1e-12)
    share = kept[whole > 0].mean()
    assert abs(share - (1 - p)) < 5 * np.sqrt(p * (1 - p) / (whole > 0).sum())
    leaves = [tg.tensor(x, requires_grad=True) for x in (q, k, v)]
    tg.manual_seed(5)
    y = SDPA(*leaves, dropout_p=p, is_causal=causal)
    close(y.numpy(), left @ v, 1e-12)
    y.backward(gradient=g)
    for t, want in zip(leaves, gradients(q, k, v, g, causal=causal, dropped=kept / (1 - p))):
        close(t.grad.numpy(), want, 1e-12)


def test_dropout_follows_the_seed_and_differs_by_call_head_and_row():
    q, k = np.zeros((4, 64, 2)), np.zeros((4, 64, 2))
    first = dropped_weights(q, k, 0.5, 1)
    assert (first == dropped_weights(q, k, 0.5, 1)).all()
    assert (first != dropped_weights(q, k, 0.5, 2)).mean() > 0.4
    centred = (first.reshape(256, 64) > 0) - 0.5
    correlation = centred @ centred.T / 16
    np.fill_diagonal(correlation, 0.0)
    assert np.abs(correlation).max() < 5.5 / np.sqrt(64)
    assert not dropped_weights(q, k, 1.0, 1).any()


def test_a_recorded_step_draws_new_masks_and_its_gradient_has_the_mask_of_its_value():
    tg.manual_seed(1)
    q, k, v, g = draw((2, 70, 4), (2, 70, 4), (2, 70, 3), (2, 70, 3))
    step = tg.compile(tg.value_and_grad(lambda v: (SDPA(q, k, v, dropout_p=0.5) * g).sum()))
    values = []
    for _ in range(3):
        value, gradient = step(v)
        np.testing.assert_allclose(value, (gradient * v).sum(), rtol=1e-12)  # linear in v
        values.append(float(value))
    assert len(set(values)) == 3


@pytest.mark.parametrize("keys", [5, 64, 150])
@pytest.mark.parametrize("recorded", [False, True])
def test_derivatives_of_any_order_and_direction_have_the_mask_of_the_value(keys, recorded):
    q, k, v, g = draw((2, 3, 4, 2), (2, 1, keys, 2), (3, keys, keys), (2, 3, 4, keys))
    dq, dk, dv = draw(q.shape, k.shape, v.shape, seed=9)
    v[:] = np.eye(keys)

    def derivatives(q, k, v, dq, dk, dv, g):
        def loss(q, k, v):
            y = SDPA(q, k, v, dropout_p=0.5)
            return (y * g).sum(), y

        (_, y), tangent, _ = (*tg.jvp(lambda *a: loss(*a), (q, k, v), (dq, dk, dv)), None)
        first, along, same = tg.jvp(tg.grad(loss, (0, 1, 2), has_aux=True), (q, k, v), (dq, dk, dv), has_aux=True)
        return y, tangent[0], first, along, same

    run = tg.compile(derivatives) if recorded else derivatives
    for _ in range(2):
        y, tangent, first, along, same = run(q, k, v, dq, dk, dv, g)
        kept = np.asarray(y.numpy() if recorded else y) != 0.0
        assert 0.35 < kept.mean() < 0.65
        want = gradients(q, k, v, g, dropped=2.0 * kept)
        slope = sum((_summed(w, d.shape) * d).sum() for w, d in zip(want, (dq, dk, dv)))
        np.testing.assert_allclose(np.asarray(tangent.numpy() if recorded else tangent), slope, rtol=1e-10)
        kept = np.asarray(same.numpy() if recorded else same) != 0.0
        h = 1e-5
        sides = [gradients(q + s * dq, k + s * dk, v + s * dv, g, dropped=2.0 * kept) for s in (h, -h)]
        for found, moved, w, up, down in zip(first, along, gradients(q, k, v, g, dropped=2.0 * kept), *sides):
            found, moved = (np.asarray(t.numpy() if recorded else t) for t in (found, moved))
            close(found, _summed(w, found.shape), 1e-11)
            close(moved, _summed((up - down) / (2 * h), moved.shape), 1e-7, floor=1.0)


def _summed(x, shape):
    """Over the axes along which `shape` is broadcast to that of x."""
    x = x.sum(axis=tuple(range(x.ndim - len(shape))))
    return x.sum(axis=tuple(d for d, n in enumerate(shape) if n == 1 != x.shape[d]), keepdims=True)


@pytest.mark.parametrize("recorded", [False, True])
def test_each_of_a_batch_drops_weights_of_its_own_which_its_gradient_has(recorded):
    q, k, v, g = draw((3, 2, 40, 4), (2, 40, 4), (2, 40, 40), (3, 2, 40, 40))
    v[:] = np.eye(40)

    def one(q, g):
        return tg.value_and_grad(lambda v: (lambda y: ((y * g).sum(), y))(SDPA(q, k, v, dropout_p=0.5)),
                                 has_aux=True)(tg.tensor(v))

    run = tg.vmap(one)
    (_, left), slopes = (tg.compile(run) if recorded else run)(q, g)
    left, slopes = np.asarray(left), np.asarray(slopes)
    kept = left != 0.0
    close(left, 2.0 * kept * weights(q, k), 1e-12)
    close(slopes, np.swapaxes(left, -1, -2) @ g, 1e-12)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert 0.4 < (kept[a] != kept[b]).mean() < 0.6


@pytest.mark.parametrize(("tokens", "keys", "width", "out"), [(0, 3, 2, 2), (3, 0, 2, 2), (3, 4, 0, 2), (3, 4, 2, 0)])
def test_empty_axes_have_derivatives_of_higher_order(tokens, keys, width, out):
    inputs = draw((2, tokens, width), (2, keys, width), (2, keys, out))
    for found, x in zip(tg.hvp(lambda *a: (SDPA(*a, scale=1.0) ** 2).sum(), inputs, inputs), inputs):
        assert found.shape == x.shape and np.isfinite(found).all()


#: relative errors of dq and dk by PyTorch 2.13, float32, CPU, with the same operands: by the logits' deviation, whether
#: causal, and the less of those of its two ways (SDPBackend.MATH and FLASH_ATTENTION)
PYTORCH_ERRORS = {(10, False): (1.306e-06, 1.361e-06), (10, True): (1.089e-06, 1.119e-06),
                  (30, False): (3.700e-06, 3.697e-06), (30, True): (3.295e-06, 3.441e-06),
                  (100, False): (1.117e-05, 1.167e-05), (100, True): (1.099e-05, 1.072e-05)}


@pytest.mark.parametrize("size, causal", PYTORCH_ERRORS)
def test_slopes_by_query_and_key_are_as_exact_as_pytorchs_where_logits_are_large(size, causal):
    found = []
    for seed in range(4):
        draws = np.random.default_rng(seed).standard_normal
        q, k = (draws((2, 4, 64, 32)).astype(np.float32) * np.float32(size**0.5) for _ in "qk")
        v, g = (draws((2, 4, 64, 32)).astype(np.float32) for _ in "vg")
        wide = [x.astype(np.float64) for x in (q, k, v, g)]
        scores = wide[0] @ wide[1].swapaxes(-1, -2) / np.sqrt(32)
        if causal:
            scores = np.where(np.tri(64, dtype=bool), scores, -np.inf)
        p = np.exp(scores - scores.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        slope = wide[3] @ wide[2].swapaxes(-1, -2)
        slope = p * (slope - (p * slope).sum(-1, keepdims=True)) / np.sqrt(32)
        expected = slope @ wide[1], slope.swapaxes(-1, -2) @ wide[0]
        leaves = [tg.tensor(x, requires_grad=True) for x in (q, k, v)]
        SDPA(*leaves, is_causal=causal).backward(g)
        found.append([np.linalg.norm(t.grad.numpy() - e) / np.linalg.norm(e) for t, e in zip(leaves, expected)])
    assert (np.mean(found, axis=0) <= 1.5 * np.array(PYTORCH_ERRORS[size, causal])).all()


# ------------------------------------------------------------------ memory and errors


def test_a_recorded_step_keeps_no_matrix_of_scores():
    tokens, heads = 512, 4

    def peak(depth):
        layers = [nn.Linear(16, 16) for _ in range(depth)]

        def loss(x):
            for layer in layers:
                h = layer(x).reshape(1, tokens, heads, 4).swapaxes(1, 2)
                x = x + SDPA(h, h, h, is_causal=True).swapaxes(1, 2).reshape(1, tokens, 16)
            return x.square().mean()

        step = tg.TrainStep(loss, optim.SGD([p for layer in layers for p in layer.parameters()], lr=0.1))
        step(uniform((1, tokens, 16), -1, 1, 1).astype(np.float32))
        return step.memory().peak_bytes

    scores, activation = 4 * heads * tokens * tokens, 4 * tokens * 16
    scratch = 4 * 2 * min(heads, PARTS) * max(BLOCK, LEAST_ROWS * tokens)
    one, five = peak(1), peak(5)
    assert one < scratch + 12 * activation < scores / 4
    assert five - one < 4 * 4 * activation


def test_the_adjoint_needs_neither_the_output_nor_the_query_for_the_value_alone():
    assert 0 not in ATTENTION.saved_operands(0b11111)
    assert 3 not in ATTENTION.saved_operands(0b00100)


def test_shapes_and_arguments_that_do_not_fit_are_named():
    q, k, v = np.ones((2, 3, 4)), np.ones((2, 5, 4)), np.ones((2, 5, 6))
    with pytest.raises(ShapeError, match=r"\[2, 3, 4\].*\[2, 5, 3\]"):
        SDPA(q, k[..., :3], v)
    with pytest.raises(ShapeError, match=r"\[2, 5, 4\].*\[2, 4, 6\]"):
        SDPA(q, k, v[:, :4])
    with pytest.raises(ShapeError, match="broadcast"):
        SDPA(q, np.ones((3, 5, 4)), v)
    with pytest.raises(ShapeError, match=r"attn_mask.*\[5, 3\].*\[2, 3, 5\]"):
        SDPA(q, k, v, np.ones((5, 3), bool))
    with pytest.raises(ShapeError, match="attn_mask"):
        SDPA(q[0], k[0], v[0], np.ones((2, 3, 5), bool))
    with pytest.raises(DtypeError, match="int64"):
        SDPA(q, k, v, np.ones((3, 5), int))
    with pytest.raises(ArgumentError, match="dropout_p"):
        SDPA(q, k, v, dropout_p=1.5)
    with pytest.raises(ShapeError, match="enable_gqa"):
        SDPA(np.ones((3, 4, 2)), np.ones((2, 4, 2)), np.ones((2, 4, 2)), enable_gqa=True)
    with pytest.raises(ShapeError, match=r"rotary_embedding.*\[2, 5\]"):
        F.rotary_embedding(np.ones((2, 5)))
    with pytest.raises(ShapeError, match=r"positions.*\[4\].*\[2, 3\]"):
        F.rotary_embedding(np.ones((2, 3, 4)), np.arange(4))
    with pytest.raises(DtypeError, match="positions"):
        F.rotary_embedding(np.ones((3, 4)), np.ones(3))
    with pytest.raises(ArgumentError, match="negative"):
        F.sinusoidal_positions(-1, 4)
