"""Layers that came later: in recorded steps, what dropout draws, what is refused. Numbers: `further_cases`."""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim

from .further_cases import maxima

RNG = np.random.default_rng(7)
IMAGE, VOLUME = RNG.normal(size=(2, 4, 6, 4)), RNG.normal(size=(2, 2, 5, 4, 6))
SCORES, LABELS = RNG.normal(size=(6, 4)), np.array([0, 3, 1, 1, 2, 0])

FLOATS = np.dtype("float32"), np.dtype("float64")
LSTM = {d: nn.LSTM(4, 3, proj_size=2, dtype=d) for d in FLOATS}
CLUSTERS = {d: nn.AdaptiveLogSoftmaxWithLoss(4, 6, [1, 3], div_value=2, dtype=d) for d in FLOATS}

#: a layer or function, its input, and what else it is given
RECORDED = {
    "celu": (F.celu, IMAGE), "mish": (F.mish, IMAGE), "hardswish": (F.hardswish, IMAGE), "glu": (F.glu, IMAGE),
    "hardsigmoid": (F.hardsigmoid, IMAGE), "hardshrink": (F.hardshrink, IMAGE), "softshrink": (F.softshrink, IMAGE),
    "tanhshrink": (F.tanhshrink, IMAGE), "threshold": (lambda x: F.threshold(x, 0.1, 2.0), IMAGE),
    "softmin": (lambda x: F.softmin(x, 1), IMAGE), "softmax2d": (nn.Softmax2d(), IMAGE),
    "prelu": (lambda x: F.prelu(x, x[0, :, 0, 0]), IMAGE),
    "max_unpool3d": (lambda x: nn.MaxUnpool3d(2)(*nn.MaxPool3d(2, return_indices=True)(x), VOLUME.shape), VOLUME),
    "max_unpool2d": (lambda x: nn.MaxUnpool2d(2)(*nn.MaxPool2d(2, return_indices=True)(x)), IMAGE),
    "max_pool3d": (nn.MaxPool3d(2, padding=1), VOLUME), "avg_pool3d": (nn.AvgPool3d((2, 3, 1)), VOLUME),
    "adaptive_avg_pool3d": (nn.AdaptiveAvgPool3d((2, None, 4)), VOLUME),
    "adaptive_max_pool3d": (nn.AdaptiveMaxPool3d((3, 1, 4)), VOLUME),
    "adaptive_max_pool2d": (nn.AdaptiveMaxPool2d((4, 3)), IMAGE),
    "lp_pool2d": (lambda x: F.lp_pool2d(x * x + 1.0, 3, 2), IMAGE),
    "local_response_norm": (nn.LocalResponseNorm(3, alpha=0.3), IMAGE),
    "cross_map": (nn.CrossMapLRN2d(3, alpha=0.3), IMAGE),
    "linear_cross_entropy": (lambda x: F.linear_cross_entropy(x, x[:5], LABELS % 5, linear_bias=x[:5, 0]), SCORES),
    "pixel_shuffle": (nn.PixelShuffle(2), IMAGE), "pixel_unshuffle": (nn.PixelUnshuffle(2), IMAGE),
    "channel_shuffle": (nn.ChannelShuffle(2), IMAGE),
    "bicubic": (lambda x: F.interpolate(x, (7, 3), mode="bicubic"), IMAGE),
    "antialias": (lambda x: F.interpolate(x, (2, 5), mode="bilinear", antialias=True), IMAGE),
    "trilinear": (lambda x: F.interpolate(x, 5, mode="trilinear"), VOLUME),
    "grid_sample": (lambda x: F.grid_sample(x, 0.7 * x[:, :2, :, :2], padding_mode="reflection"), IMAGE),
    "grid_sample bicubic": (lambda x: F.grid_sample(IMAGE, x[:, :2, :, :2], "bicubic"), IMAGE),
    "affine_grid": (lambda x: F.grid_sample(x, F.affine_grid(0.2 * x[:, 0, :2, :3], (2, 1, 3, 3))), IMAGE),
    "conv_transpose3d": (lambda x: F.conv_transpose3d(x, VOLUME[:, :, :2, :2, :2], stride=2), VOLUME),
    "fractional": (lambda x: F.fractional_max_pool2d(x, 2, (3, 2), _random_samples=np.full((2, 4, 2), 0.3)), IMAGE),
    "projected lstm": (lambda x: LSTM[x.dtype](x[:, 0])[0], IMAGE),
    "adaptive softmax": (lambda x: CLUSTERS[x.dtype](x, LABELS).output, SCORES),
    "gaussian_nll": (lambda x: F.gaussian_nll_loss(x, 0.5 * x, x * x), SCORES),
    "poisson_nll": (lambda x: F.poisson_nll_loss(x, np.abs(SCORES) * 3, full=True), SCORES),
    "soft_margin": (lambda x: F.soft_margin_loss(x, np.sign(SCORES[::-1])), SCORES),
    "multilabel_soft_margin": (lambda x: F.multilabel_soft_margin_loss(x, SCORES > 0.2), SCORES),
    "multi_margin": (lambda x: F.multi_margin_loss(x, LABELS, weight=np.arange(4.0)), SCORES),
    "multilabel_margin": (lambda x: F.multilabel_margin_loss(x, np.argsort(SCORES)), SCORES),
}


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_step_ends_where_define_by_run_does(name, dtype, frozen):
    function, given = RECORDED[name]

    def trained(recorded):
        scale = tg.tensor(np.linspace(0.5, 1.5, given.shape[-1]).astype(dtype), requires_grad=True)
        shift = tg.tensor(np.linspace(0.2, -0.2, given.shape[-1]).astype(dtype), requires_grad=not frozen)
        optimizer = optim.SGD([scale, shift], lr=0.05)

        def loss(x):
            y = function(x * scale + shift)
            return (y * y).mean()

        step, found = tg.TrainStep(loss, optimizer), []
        for k in range(3):
            x = (given + 0.1 * k).astype(dtype)
            if recorded:
                found.append(step(x))
            else:
                optimizer.zero_grad()
                value = loss(tg.tensor(x))
                value.backward()
                optimizer.step()
                found.append(value.item())
        return [np.array(found), scale.numpy(), shift.numpy()]

    for ours, theirs in zip(trained(True), trained(False), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5 if dtype == "float32" else 1e-11, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "padding"), [(2, 0), (3, 1)])
def test_indices_are_the_places_of_the_maxima(axes, kernel, padding, dtype):
    x = np.random.default_rng(axes).normal(size=(2, 3, 7, 6, 5)[:axes + 2]).astype(dtype)
    want, places = maxima(x, axes, kernel, padding)
    layer = getattr(nn, f"MaxPool{axes}d")(kernel, padding=padding, return_indices=True)
    for y, at in (layer(tg.tensor(x)), tg.compile(layer)(x)):
        np.testing.assert_array_equal(y.numpy() if isinstance(y, tg.Tensor) else y, want)
        at = at.numpy() if isinstance(at, tg.Tensor) else at
        assert at.dtype == np.int64
        np.testing.assert_array_equal(at, places)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("sizes", [(3, 4, 2), (2, 3, 6), (7, 6, 5)])
def test_indices_of_adaptive_windows_are_the_places_of_their_maxima(axes, sizes, dtype):
    x = np.random.default_rng(axes).normal(size=(2, 7, 6, 5)[:axes + 1]).astype(dtype)
    sizes, given = sizes[:axes], x.shape[1:]
    layer = getattr(nn, f"AdaptiveMaxPool{axes}d")(sizes, return_indices=True)
    want = np.zeros((2, *sizes), np.int64)
    for place in np.ndindex(want.shape):
        ends = [(k * n // m, -(-(k + 1) * n // m)) for k, n, m in zip(place[1:], given, sizes)]
        window = x[(place[0], *(slice(*end) for end in ends))]
        inside = np.unravel_index(window.argmax(), window.shape)
        want[place] = np.ravel_multi_index([i + end[0] for i, end in zip(inside, ends)], given)
    for y, at in (layer(tg.tensor(x)), tg.compile(layer)(x)):
        at = at.numpy() if isinstance(at, tg.Tensor) else at
        np.testing.assert_array_equal(at, want)
        np.testing.assert_array_equal(y.numpy() if isinstance(y, tg.Tensor) else y,
                                      np.take_along_axis(x.reshape(2, -1), want.reshape(2, -1), 1).reshape(want.shape))


@pytest.mark.parametrize(("kind", "shape", "axes"), [
    ("Dropout1d", (300, 4, 5), 1), ("Dropout2d", (300, 4, 3, 2), 2), ("Dropout3d", (300, 4, 2, 1, 3), 3)])
def test_dropout_of_channels_zeroes_whole_channels_and_scales_the_others(kind, shape, axes):
    tg.manual_seed(1)
    layer = getattr(nn, kind)(0.25)
    x = tg.tensor(np.ones(shape), requires_grad=True)
    y = layer(x)
    flat = y.numpy().reshape(shape[0] * shape[1], -1)
    assert (flat == flat[:, :1]).all()
    assert set(np.unique(flat)) == {0.0, 1 / 0.75}
    assert abs((flat[:, 0] == 0).mean() - 0.25) < 0.05  # of 1200: 4 standard deviations
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.numpy())
    layer.eval()
    assert layer(x) is x or (layer(x).numpy() == 1.0).all()


@pytest.mark.parametrize(("kind", "shape"), [("AlphaDropout", (40, 50)), ("FeatureAlphaDropout", (40, 50, 3))])
def test_alpha_dropout_keeps_mean_and_variance_and_drops_to_one_value(kind, shape):
    tg.manual_seed(2)
    p = 0.3
    x = np.random.default_rng(3).normal(size=shape)
    y = getattr(nn, kind)(p)(tg.tensor(x)).numpy()
    lowest = -1.0507009873554805 * 1.6732632423543772  # of SELU
    a = 1 / np.sqrt((lowest**2 * p + 1) * (1 - p))
    dropped = np.isclose(y, a * lowest * (1 - p))
    np.testing.assert_allclose(y[~dropped], (a * x - a * lowest * p)[~dropped], rtol=1e-6)
    assert abs(dropped.mean() - p) < 0.05
    assert abs(y.mean()) < 0.1 and abs(y.std() - 1) < 0.1
    if kind == "FeatureAlphaDropout":
        assert (dropped == dropped[..., :1]).all()


@pytest.mark.parametrize("kind", ["Dropout2d", "AlphaDropout", "FeatureAlphaDropout"])
def test_a_recorded_step_draws_new_channels_each_time(kind):
    w = tg.tensor(np.ones((8, 6, 1, 1)), requires_grad=True)
    layer = getattr(nn, kind)(0.5)
    step = tg.TrainStep(lambda x: (layer(x * w)).sum(), optim.SGD([w], lr=0.0))
    assert len({step(np.ones((8, 6, 2, 2))) for _ in range(6)}) > 3


@pytest.mark.parametrize(("call", "message"), [
    (lambda: nn.Dropout2d(1.5), "Dropout2d: p must be from 0 to 1"),
    (lambda: F.dropout2d(tg.tensor(np.ones(3))), r"dropout2d: an input of shape \[3\]; expected \(N, C, H, W\)"),
    (lambda: F.alpha_dropout(tg.tensor(np.ones(3)), -1.0), "alpha_dropout: p is a probability"),
    (lambda: F.feature_alpha_dropout(tg.tensor(np.ones(3)), 0.5, True), r"expected \(N, C, \.\.\.\)"),
    (lambda: F.max_pool3d(tg.tensor(np.ones((2, 3))), 2), r"max_pool3d: an input of shape \[2, 3\]"),
    (lambda: F.adaptive_max_pool2d(tg.tensor(IMAGE), (1, 2, 3)), "output_size must be one number or 2"),
    (lambda: F.max_unpool2d(IMAGE, np.zeros(3, int), 2), r"indices of \[3\]; expected what max_pool2d gives"),
    (lambda: F.max_unpool2d(IMAGE, np.zeros(IMAGE.shape, int), 2, output_size=(20, 8)), "output_size"),
    (lambda: F.local_response_norm(tg.tensor(SCORES), 2), r"expected \(N, C, L, \.\.\.\)"),
    (lambda: F.pixel_shuffle(tg.tensor(IMAGE), 3), "C a multiple of 9"),
    (lambda: F.pixel_unshuffle(tg.tensor(IMAGE), 4), "multiples of 4"),
    (lambda: F.channel_shuffle(tg.tensor(IMAGE), 3), "C a multiple of 3"),
    (lambda: F.gaussian_nll_loss(SCORES, SCORES, -SCORES**2), "var has negative entries"),
    (lambda: F.gaussian_nll_loss(SCORES, SCORES, SCORES[:2]), r"input has shape \[6, 4\] and var \[2, 4\]"),
    (lambda: F.multi_margin_loss(SCORES, LABELS, p=3), "p must be 1 or 2"),
    (lambda: F.multi_margin_loss(SCORES, LABELS[:2]), r"input has shape \[6, 4\] and target \[2\]"),
    (lambda: F.multilabel_margin_loss(SCORES, SCORES), "target must be integers"),
    (lambda: F.multilabel_margin_loss(SCORES, np.full((6, 4), 4)), "label 4 is out of range for 4 classes"),
])
def test_what_cannot_be_is_named(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_a_soft_margin_far_off_does_not_overflow():
    x = tg.tensor(np.array([-2000.0, 2000.0]), requires_grad=True)
    loss = F.soft_margin_loss(x, np.array([1.0, 1.0]), reduction="sum")
    loss.backward()
    assert loss.item() == 2000.0
    np.testing.assert_array_equal(x.grad.numpy(), [-1.0, 0.0])


def test_rrelu_draws_slopes_between_its_bounds():
    tg.manual_seed(5)
    layer = nn.RReLU(0.1, 0.4)
    x = tg.tensor(np.linspace(-3.0, 3.0, 2000), requires_grad=True)
    y = layer(x)
    y.sum().backward()
    slopes = y.numpy()[:1000] / x.numpy()[:1000]
    assert 0.1 <= slopes.min() < 0.11 and 0.39 < slopes.max() <= 0.4
    np.testing.assert_allclose(x.grad.numpy()[:1000], slopes)
    np.testing.assert_array_equal(y.numpy()[1000:], x.numpy()[1000:])
    np.testing.assert_allclose(layer.eval()(x).numpy()[:1000], 0.25 * x.numpy()[:1000])
    step = tg.TrainStep(lambda t: layer.train()(t * x).sum(), optim.SGD([x], lr=0.0))
    assert len({step(np.full(2000, -1.0)) for _ in range(4)}) == 4
    with pytest.raises(ValueError, match="lower must not exceed upper"):
        nn.functional.rrelu(x, 1.0, 0.5)


@pytest.mark.parametrize("dim", [-1, 0])
def test_gumbel_softmax_samples_the_categories_by_their_probabilities(dim):
    tg.manual_seed(6)
    probabilities = np.array([0.1, 0.2, 0.7])
    logits = np.tile(np.log(probabilities), (4000, 1))
    given = tg.tensor(logits if dim == -1 else logits.T.copy(), requires_grad=True)
    y = F.gumbel_softmax(given, tau=0.7, hard=True, dim=dim)
    samples = y.numpy() if dim == -1 else y.numpy().T
    np.testing.assert_allclose(samples.sum(axis=1), 1.0, rtol=1e-12)
    assert np.allclose(np.sort(samples, axis=1), [0.0, 0.0, 1.0])
    assert np.abs(samples.mean(axis=0) - probabilities).max() < 0.03  # 4 standard deviations
    (y * np.arange(3.0)[:, None] if dim == 0 else y * np.arange(3.0)).sum().backward()
    slope = given.grad.numpy()
    np.testing.assert_allclose(slope.sum(axis=dim), 0.0, atol=1e-12)  # as a softmax's
    assert np.abs(slope).max() > 0.1
    soft = F.gumbel_softmax(given, tau=0.7, dim=dim).numpy()
    np.testing.assert_allclose(soft.sum(axis=dim), 1.0)
    w = tg.tensor(np.zeros(3), requires_grad=True)
    step = tg.TrainStep(lambda t: (F.gumbel_softmax(t + w, hard=True) * np.arange(3.0)).sum(), optim.SGD([w], lr=0.0))
    assert len({step(logits[:40]) for _ in range(5)}) > 2
    with pytest.raises(ValueError, match="tau must be positive"):
        F.gumbel_softmax(given, tau=0.0)


def test_channels_leave_the_mean_of_a_cross_map_normalisation():
    x = RNG.normal(size=(2, 7, 3, 2))
    padded = np.pad(x * x, ((0, 0), (2, 2), (0, 0), (0, 0)))
    mean = sum(padded[:, k: k + 7] for k in range(5)) / 5
    layer = nn.CrossMapLRN2d(5, alpha=0.4, beta=0.6, k=2.0)
    np.testing.assert_allclose(layer(tg.tensor(x)).numpy(), x / (2.0 + 0.4 * mean) ** 0.6, rtol=1e-13)
    tg.gradcheck(layer, tg.tensor(x[:1]))
    for refused, given, message in ((lambda: nn.CrossMapLRN2d(4), None, "odd"), (layer, tg.tensor(x[0]), "N, C, H, W")):
        with pytest.raises(ValueError, match=message):
            refused(given) if given is not None else refused()


def test_a_linear_cross_entropy_says_what_does_not_fit():
    with pytest.raises(ValueError, match=r"input of shape \[6, 4\] and a weight of \[2, 3\]"):
        F.linear_cross_entropy(SCORES, np.ones((2, 3)), LABELS)
    with pytest.raises(ValueError, match=r"bias of shape \[3\]; expected \[4\]"):
        F.linear_cross_entropy(SCORES, np.ones((4, 4)), LABELS, linear_bias=np.ones(3))
    with pytest.raises(ValueError, match="2 classes"):
        nn.LinearCrossEntropyLoss(4, 2, weight=np.ones(3))
    layer = nn.LinearCrossEntropyLoss(4, 3, bias=True)
    assert list(layer.state_dict()) == ["linear.weight", "linear.bias"]
