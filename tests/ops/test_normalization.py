"""Layer, group, instance, root-mean-square and batch normalisation, against their formulas."""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad.errors import ArgumentError, CaptureError, GradientError, ShapeError
from tapegrad.functions import normalization
from tapegrad.tensor.tensor import view

from .contract import Case, OpContract, close, uniform
from .derivatives import Derivatives


def rows_normalised(x, axes, eps, centred=True):
    mean = x.mean(axis=axes, keepdims=True) if centred else 0.0
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axis=axes, keepdims=True) + eps)


def layer(x, w=1.0, b=0.0, axes=(-1,), eps=1e-5):
    return rows_normalised(x, axes, eps) * w + b


def group(x, w=None, b=None, groups=1, eps=1e-5):
    y = rows_normalised(x.reshape(len(x), groups, -1), (2,), eps).reshape(x.shape)
    channel = (1, -1, *(1,) * (x.ndim - 2))
    y = y if w is None else y * w.reshape(channel)
    return y if b is None else y + b.reshape(channel)


def batch(x, w=None, b=None, eps=1e-5):
    y = rows_normalised(x, (0, *range(2, x.ndim)), eps)
    channel = (1, -1, *(1,) * (x.ndim - 2))
    y = y if w is None else y * w.reshape(channel)
    return y if b is None else y + b.reshape(channel)


def draw(*shapes):
    return tuple(uniform(s, -1.0, 2.0, 3 + k) for k, s in enumerate(shapes))


MEAN, VARIANCE = np.array([0.3, -0.2, 0.5]), np.array([0.8, 1.5, 2.0])


class TestNormalisation(OpContract, Derivatives):
    cases = [
        Case("layer", lambda x: F.layer_norm(x, 5), layer, draw((4, 5)), ties=False),
        Case("layer weight", lambda x, w: F.layer_norm(x, 5, w), layer, draw((4, 5), (5,))),
        Case("layer weight bias", lambda x, w, b: F.layer_norm(x, (5,), w, b, 0.1),
             lambda x, w, b: layer(x, w, b, eps=0.1), draw((2, 3, 5), (5,), (5,))),
        Case("layer bias alone", lambda x, b: F.layer_norm(x, (5,), None, b), lambda x, b: layer(x, b=b),
             draw((3, 5), (5,))),
        Case("layer two axes", lambda x, w, b: F.layer_norm(x, (3, 4), w, b),
             lambda x, w, b: layer(x, w, b, axes=(-2, -1)), draw((2, 3, 4), (3, 4), (3, 4))),
        Case("rms", lambda x, w: F.rms_norm(x, 5, w, 1e-3),
             lambda x, w: rows_normalised(x, (-1,), 1e-3, False) * w, draw((4, 5), (5,))),
        Case("rms plain", lambda x: F.rms_norm(x, 5, eps=1e-3), lambda x: rows_normalised(x, (-1,), 1e-3, False),
             draw((4, 5))),
        Case("group", lambda x, w, b: F.group_norm(x, 2, w, b), lambda x, w, b: group(x, w, b, 2),
             draw((2, 4, 3), (4,), (4,))),
        Case("group without affine", lambda x: F.group_norm(x, 2), lambda x: group(x, groups=2), draw((2, 4, 2, 2))),
        Case("group without space", lambda x, w: F.group_norm(x, 2, w), lambda x, w: group(x, w, groups=2),
             draw((3, 6), (6,))),
        Case("instance", lambda x, w, b: F.instance_norm(x, weight=w, bias=b), lambda x, w, b: group(x, w, b, 3),
             draw((2, 3, 2, 3), (3,), (3,))),
        Case("batch", lambda x, w, b: F.batch_norm(x, None, None, w, b, True), batch, draw((4, 3, 2), (3,), (3,)),
             ties=False),
        Case("batch of vectors", lambda x, w, b: F.batch_norm(x, None, None, w, b, True), batch,
             draw((5, 3), (3,), (3,)), ties=False),
        Case("batch without affine", lambda x: F.batch_norm(x, None, None, training=True), batch,
             draw((3, 2, 2, 2)), ties=False),
        Case("batch by running statistics",
             lambda x, w, b: F.batch_norm(x, tg.tensor(MEAN), tg.tensor(VARIANCE), w, b)
             if not x.dtype == np.float32 else
             F.batch_norm(x, tg.tensor(MEAN.astype(np.float32)), tg.tensor(VARIANCE.astype(np.float32)), w, b),
             lambda x, w, b: (x - MEAN[:, None]) / np.sqrt(VARIANCE[:, None] + 1e-5) * w[:, None] + b[:, None],
             draw((2, 3, 4), (3,), (3,))),
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_variance_is_stable_far_from_zero(dtype):
    offset = 1e4 if dtype == np.float32 else 1e8
    x = (uniform((4, 64), -1, 1, 1) + offset).astype(dtype)
    want = rows_normalised(x.astype(np.float64), (1,), 1e-5)
    close(F.layer_norm(tg.tensor(x), 64).numpy(), want, 5e-3 if dtype == np.float32 else 1e-6)
    want = rows_normalised(x.astype(np.float64), (0,), 1e-5)
    close(F.batch_norm(tg.tensor(x), None, None, training=True).numpy(), want, 5e-3 if dtype == np.float32 else 1e-6)


def test_long_rows_are_summed_in_blocks():
    x = uniform((2, 3, 5000), -1, 3, 5)
    close(F.group_norm(tg.tensor(x), 1).numpy(), group(x), 1e-12)
    close(F.group_norm(tg.tensor(x.astype(np.float32)), 1).numpy(), group(x), 1e-5)


def test_frozen_affine_keeps_nothing_when_the_input_needs_no_gradient():
    from tapegrad.ops.normalization import BATCH_NORM_FIXED
    from tapegrad.ops.row_normalization import ROW_NORM

    assert ROW_NORM.saved_operands(0b100) == ()
    assert BATCH_NORM_FIXED.saved_operands(0b001) == (2, 8)


def test_shapes_that_do_not_fit_are_named():
    x = tg.tensor(np.ones((2, 6, 3)))
    with pytest.raises(ShapeError, match=r"\[2, 6, 3\].*\[4\]"):
        F.layer_norm(x, 4)
    with pytest.raises(ShapeError, match="4 groups"):
        F.group_norm(x, 4)
    with pytest.raises(ShapeError, match="weight"):
        F.layer_norm(x, 3, np.ones(2))
    with pytest.raises(ShapeError, match="more than one value"):
        F.batch_norm(tg.tensor(np.ones((1, 3))), None, None, training=True)
    with pytest.raises(ArgumentError, match="running_mean"):
        F.batch_norm(x, None, None)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["layer", "rms", "group"])
def test_rows_and_channels_in_parts_give_the_same_bits(kind, dtype, monkeypatch):
    shape, own = ((37, 70), (70,)) if kind != "group" else ((9, 12, 7, 5), (12,))
    x, g, w, b = (uniform(s, -1.0, 2.0, 3 + k).astype(dtype) for k, s in enumerate((shape, shape, own, own)))
    functions = {"layer": lambda x, w, b: F.layer_norm(x, own, w, b), "rms": lambda x, w, b: F.rms_norm(x, own, w) + b,
                 "group": lambda x, w, b: F.group_norm(x, 3, w, b)}
    found = {}
    for elements in (1 << 40, 128):
        monkeypatch.setattr(normalization, "PART_ELEMENTS", elements)
        for wanted in ((0, 1, 2), (1, 2), (2,), (0,)):
            function = tg.value_and_grad(lambda *a: (functions[kind](*a) * g).sum(), argnums=wanted)
            found[elements, wanted] = function(x, w, b)
    for wanted in ((0, 1, 2), (1, 2), (2,), (0,)):
        (value, slopes), (want, want_slopes) = found[128, wanted], found[1 << 40, wanted]
        assert value == want
        for slope, wanted_slope in zip(slopes, want_slopes):
            np.testing.assert_array_equal(slope, wanted_slope)


EMPTY = {
    "layer_norm": ((0, 3), lambda x, w, b: F.layer_norm(x, (3,), w, b)),
    "layer_norm of bias": ((2, 0, 3), lambda x, w, b: F.layer_norm(x, (3,), None, b) + 0.0 * w),
    "rms_norm": ((0, 3), lambda x, w, b: F.rms_norm(x, (3,), w) + b),
    "group_norm": ((0, 3, 2), lambda x, w, b: F.group_norm(x, 3, w, b)),
    "group_norm of no elements": ((2, 3, 0), lambda x, w, b: F.group_norm(x, 1, w, b)),
    "instance_norm": ((0, 3, 2), lambda x, w, b: F.instance_norm(x, weight=w, bias=b)),
    "batch_norm": ((0, 3), lambda x, w, b: F.batch_norm(x, np.zeros(3), np.ones(3), w, b)),
    "batch_norm in training": ((0, 3, 2), lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True)),
    "batch_norm of no elements": ((2, 3, 0), lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True)),
}  # fmt: skip


@pytest.mark.parametrize("name", EMPTY)
def test_a_norm_of_an_empty_batch_keeps_its_graph_and_gives_zero_gradients(name):
    shape, norm = EMPTY[name]
    x, w, b = (tg.tensor(np.ones(s, np.float32), requires_grad=True) for s in (shape, 3, 3))
    out = norm(x, w, b)
    assert out.shape == shape
    out.sum().backward()
    assert x.grad.shape == shape
    np.testing.assert_array_equal(w.grad.numpy(), np.zeros(3))
    np.testing.assert_array_equal(b.grad.numpy(), np.zeros(3))


def test_an_empty_batch_is_counted_and_moves_no_running_statistics():
    # torch.nn.BatchNorm1d(3)(torch.zeros(0, 3)) of PyTorch 2.13 leaves them and counts one batch
    norm = tg.nn.BatchNorm1d(3)
    assert norm(np.zeros((0, 3), np.float32)).requires_grad
    np.testing.assert_array_equal(norm.running_mean.numpy(), np.zeros(3))
    np.testing.assert_array_equal(norm.running_var.numpy(), np.ones(3))
    assert int(norm.num_batches_tracked) == 1


@pytest.mark.parametrize("key", [slice(None, None, 2), slice(None, None, -2), slice(1, None, 2)])
@pytest.mark.parametrize("run", ["by hand", "recorded"])
def test_running_statistics_that_are_views_are_read_and_moved_where_they_lie(key, run):
    # torch.nn.functional.batch_norm of the same views, PyTorch 2.13
    x = np.arange(12.0).reshape(4, 3)
    mean, var = tg.tensor(np.full(6, 7.0)), tg.tensor(np.full(6, 5.0))
    mean[key], var[key] = np.array([0.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])
    before, spread = np.array([0.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])

    def call(training):
        def function(given):
            return F.batch_norm(given * 1.0, mean[key], var[key], training=training)

        return np.asarray((tg.compile(function) if run == "recorded" else function)(tg.tensor(x)))

    np.testing.assert_allclose(call(False), (x - before) / np.sqrt(spread + 1e-5))
    call(True)
    expected_mean, expected_var = np.full(6, 7.0), np.full(6, 5.0)
    expected_mean[key] = 0.9 * before + 0.1 * x.mean(0)
    expected_var[key] = 0.9 * spread + 0.1 * x.var(0, ddof=1)
    np.testing.assert_allclose(mean.numpy(), expected_mean)
    np.testing.assert_allclose(var.numpy(), expected_var)


def test_running_statistics_that_cannot_be_overwritten_are_refused():
    x, good = np.arange(12.0).reshape(4, 3), tg.tensor(np.ones(3))
    one = view(tg.tensor(np.ones(1)), 0, (3,), (0,))
    wanted = tg.tensor(np.ones(3), requires_grad=True)
    for mean in (one, wanted):
        with pytest.raises(ArgumentError, match="overw"):
            F.batch_norm(x, mean, good, training=True)
    with pytest.raises(ArgumentError, match="overwritten in training"):
        tg.compile(lambda x, m, v: F.batch_norm(x, m, v, training=True))(x, np.zeros(3), np.ones(3))
    with pytest.raises(ShapeError, match="one number"):
        F.batch_norm(x, good, tg.tensor(np.ones(3)), training=True, num_batches_tracked=tg.tensor([0, 0]))
    with pytest.raises(GradientError, match="no gradient"):
        F.batch_norm(x, wanted, good)


def test_second_derivatives_move_running_statistics_once():
    x, d = draw((6, 3), (6, 3))
    norm, plain = (tg.nn.BatchNorm1d(3, affine=False).to("float64") for _ in range(2))

    def loss(x):
        return (norm(x) ** 3).sum()

    plain(x)
    for way in (tg.hvp, tg.compile(lambda x, d: tg.hvp(loss, x, d))):
        norm.reset_running_stats()
        found = way(loss, x, d) if way is tg.hvp else way(x, d).numpy()
        close(norm.running_mean.numpy(), plain.running_mean.numpy(), 1e-15)
        close(norm.running_var.numpy(), plain.running_var.numpy(), 1e-15)
        assert int(norm.num_batches_tracked) == 1
        differences = [tg.grad(lambda x: (batch_of(x) ** 3).sum())(x + s * 1e-4 * d) for s in (1, -1)]
        close(found, (differences[0] - differences[1]) / 2e-4, 1e-6)


def batch_of(x):
    return F.batch_norm(x, None, None, training=True)


def test_a_derivative_by_statistics_that_have_moved_since_is_refused_or_right():
    x = draw((4, 3))[0]
    norm = tg.nn.BatchNorm1d(3, affine=False).to("float64")

    def slope(x):
        def both(u):
            norm.eval()
            y = (norm(u) ** 2).sum()
            norm.train()
            norm(u + 1.0)
            return y

        return tg.grad(both)(x)

    expected = 2 * x / (1 + 1e-5)
    close(slope(x), expected, 1e-12)
    with pytest.raises(GradientError, match="overwrites"):
        tg.compile(lambda x: slope(x) * 1.0)(x)


def test_a_batch_of_modules_in_training_is_refused_with_the_remedy():
    norm = tg.nn.BatchNorm1d(3).to("float64")
    with pytest.raises(CaptureError, match=r"running statistics.*\.eval\(\)"):
        tg.vmap(norm)(np.ones((2, 4, 3)))
    own = tg.nn.BatchNorm1d(3, affine=False, track_running_stats=False).to("float64")
    x = draw((2, 4, 3))[0]
    close(tg.vmap(own)(x), np.stack([batch(one) for one in x]), 1e-12)
