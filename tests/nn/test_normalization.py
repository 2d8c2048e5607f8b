"""Normalisation layers: parameters, running statistics, modes, recorded steps."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.errors import ArgumentError, InPlaceError, ShapeError

ROWS = np.random.default_rng(3).normal(2.0, 3.0, (8, 4)).astype(np.float32)


def running(batches, momentum=0.1, size=4):
    """Mean and unbiased variance as moving averages, from NumPy."""
    mean, var = np.zeros(size), np.ones(size)
    for x in batches:
        mean = (1 - momentum) * mean + momentum * x.mean(axis=0)
        var = (1 - momentum) * var + momentum * x.var(axis=0, ddof=1)
    return mean, var


def test_names_and_shapes_in_the_state_dict_are_pytorchs():
    keys = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert list(nn.BatchNorm2d(3).state_dict()) == keys
    assert nn.BatchNorm1d(3).state_dict()["num_batches_tracked"].dtype == np.int64
    assert list(nn.BatchNorm1d(3, affine=False).state_dict()) == keys[2:]
    assert list(nn.BatchNorm1d(3, track_running_stats=False).state_dict()) == keys[:2]
    assert nn.LayerNorm((2, 3)).weight.shape == (2, 3)
    assert list(nn.LayerNorm(3, bias=False).state_dict()) == ["weight"]
    assert list(nn.RMSNorm(3).state_dict()) == ["weight"]
    assert list(nn.GroupNorm(2, 4).state_dict()) == ["weight", "bias"]
    assert not nn.InstanceNorm2d(3).state_dict()


def test_training_moves_the_running_statistics_and_evaluation_uses_them():
    layer = nn.BatchNorm1d(4)
    layer(tg.tensor(ROWS))
    layer(tg.tensor(2 * ROWS))
    mean, var = running([ROWS, 2 * ROWS])
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(layer.running_var.numpy(), var, rtol=1e-5)
    assert layer.num_batches_tracked.item() == 2
    out = layer.eval()(tg.tensor(ROWS)).numpy()
    np.testing.assert_allclose(out, (ROWS - mean) / np.sqrt(var + 1e-5), rtol=1e-4, atol=1e-5)
    assert layer.num_batches_tracked.item() == 2


def test_momentum_none_averages_over_all_batches():
    layer = nn.BatchNorm1d(4, momentum=None)
    for scale in (1, 2, 3):
        layer(tg.tensor(scale * ROWS))
    np.testing.assert_allclose(layer.running_mean.numpy(), 2 * ROWS.mean(axis=0), rtol=1e-5)


def test_every_replay_of_a_recorded_step_moves_the_running_statistics():
    tg.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 1))
    step = tg.TrainStep(lambda x: model(x).square().mean(), optim.SGD(model.parameters(), lr=0.0))
    for scale in (1, 2, 3):
        step(np.float32(scale) * ROWS)
    mean, var = running([ROWS, 2 * ROWS, 3 * ROWS])
    np.testing.assert_allclose(model[0].running_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(model[0].running_var.numpy(), var, rtol=1e-5)
    assert model[0].num_batches_tracked.item() == 3


def test_a_whole_recorded_epoch_moves_them_once_a_batch():
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 1))
    step = tg.TrainStep(lambda x: model(x).square().mean(), optim.SGD(model.parameters(), lr=0.0))
    step.run(ROWS, batch_size=4, epochs=2, shuffle=False)
    mean, var = running([ROWS[:4], ROWS[4:]] * 2)
    np.testing.assert_allclose(model[0].running_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(model[0].running_var.numpy(), var, rtol=1e-5)


def test_a_recorded_step_follows_the_mode_of_the_layer():
    layer = nn.BatchNorm1d(4)
    run = tg.compile(lambda x: layer(x))
    trained = np.asarray(run(ROWS))
    np.testing.assert_allclose(trained.mean(axis=0), 0.0, atol=1e-6)
    layer.eval()
    mean, var = running([ROWS])
    np.testing.assert_allclose(np.asarray(run(ROWS)), (ROWS - mean) / np.sqrt(var + 1e-5), rtol=1e-4, atol=1e-5)
    assert layer.num_batches_tracked.item() == 1


def test_loading_and_resetting_statistics_reaches_recordings_made_before():
    layer = nn.BatchNorm1d(4).eval()
    run = tg.compile(lambda x: layer(x))
    run(ROWS)
    state = layer.state_dict()
    state["running_mean"] = np.full(4, 5.0, np.float32)
    layer.load_state_dict(state)
    np.testing.assert_allclose(np.asarray(run(ROWS)), (ROWS - 5) / np.sqrt(1 + 1e-5), rtol=1e-5)
    layer.reset_running_stats()
    np.testing.assert_allclose(np.asarray(run(ROWS)), ROWS / np.sqrt(1 + 1e-5), rtol=1e-5)


def test_frozen_layers_train_what_lies_below_and_keep_their_parameters():
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    model[1].freeze()
    model[2].freeze().eval()
    step = tg.TrainStep(lambda x: model(x).square().mean(), optim.SGD(model.parameters(), lr=0.1))
    before = model.state_dict()
    first = step(ROWS)
    for _ in range(20):
        last = step(ROWS)
    after = model.state_dict()
    assert last < first
    assert all((before[k] == after[k]).all() for k in after if k[0] in "12")
    assert not (before["0.weight"] == after["0.weight"]).all()


def test_stacked_frozen_evaluated_batch_norm_keeps_no_activation():
    def kept(depth):
        layers = [nn.BatchNorm1d(64).eval().freeze() for _ in range(depth)]
        model = nn.Sequential(nn.Linear(64, 64), *layers, nn.Linear(64, 1))
        step = tg.TrainStep(lambda x: model(x).sum(), optim.SGD(model.parameters(), lr=0.0))
        step(np.ones((256, 64), np.float32))
        return step.memory().peak_bytes

    assert kept(9) - kept(3) < 256 * 64 * 4


def test_a_product_with_statistics_that_training_has_moved_since_has_no_gradient():
    rng = np.random.default_rng(3)
    norm, x = nn.BatchNorm1d(3), tg.tensor(np.ones((2, 3), np.float32), requires_grad=True)
    y = (x * norm.running_var).sum()
    norm(tg.tensor(rng.normal(size=(8, 3)).astype(np.float32)))
    with pytest.raises(InPlaceError, match="changed in place"):
        y.backward()


@pytest.mark.parametrize("stretch", [lambda f, x: f(x), tg.checkpoint])
def test_several_batches_before_one_backward_have_the_gradient_of_their_sum(stretch):
    """Each is normalised by its own statistics, so that the running ones may move in between."""
    rng = np.random.default_rng(5)
    norm, w = nn.BatchNorm1d(3, dtype=np.float64), np.array([1.0, -2.0, 0.5])
    norm.weight.copy_(w)
    batches = [rng.normal(size=(8, 3)) for _ in range(3)]
    inputs = [tg.tensor(x, requires_grad=True) for x in batches]
    tg.stack([stretch(lambda x: (norm(x) ** 3).sum(), t) for t in inputs]).sum().backward()

    def loss(x, w):
        return ((w * (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)) ** 3).sum()

    for t, x in zip(inputs, batches):
        for at in np.ndindex(x.shape):
            step = np.zeros(x.shape)
            step[at] = 1e-6
            assert np.isclose(t.grad.numpy()[at], (loss(x + step, w) - loss(x - step, w)) / 2e-6, rtol=1e-5, atol=1e-5)
    step = np.diag([1e-6] * 3)
    expected = [sum(loss(x, w + s) - loss(x, w - s) for x in batches) / 2e-6 for s in step]
    np.testing.assert_allclose(norm.weight.grad.numpy(), expected, rtol=1e-6)
    mean = np.zeros(3)
    for x in batches:
        mean = 0.9 * mean + 0.1 * x.mean(0)
    np.testing.assert_allclose(norm.running_mean.numpy(), mean, rtol=1e-10)


def test_wrong_inputs_name_the_layer_and_the_shape():
    with pytest.raises(ShapeError, match=r"BatchNorm2d\(3\).*\[2, 3\]"):
        nn.BatchNorm2d(3)(tg.tensor(np.ones((2, 3), np.float32)))
    with pytest.raises(ShapeError, match=r"InstanceNorm1d\(3\).*\[2, 4, 5\]"):
        nn.InstanceNorm1d(3)(tg.tensor(np.ones((2, 4, 5), np.float32)))
    with pytest.raises(ArgumentError, match="5 channels"):
        nn.GroupNorm(2, 5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_replay_moves_the_running_statistics_of_instances(dtype):
    layer = nn.InstanceNorm1d(3, affine=True, track_running_stats=True, momentum=0.3, dtype=dtype)
    step = tg.TrainStep(lambda x: layer(x).square().mean(), optim.SGD(layer.parameters(), lr=0.0))
    mean, var = np.zeros(3), np.ones(3)
    for k in range(3):
        x = np.random.default_rng(k).normal(k + 1.0, 2.0, (4, 3, 5)).astype(dtype)
        step(x)
        mean = 0.7 * mean + 0.3 * x.mean(axis=(0, 2))
        var = 0.7 * var + 0.3 * x.var(axis=2, ddof=1).mean(axis=0)
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(layer.running_var.numpy(), var, rtol=1e-5)
    want = (x - mean[:, None]) / np.sqrt(var + 1e-5)[:, None]
    np.testing.assert_allclose(layer.eval()(tg.tensor(x)).numpy(), want, rtol=1e-4, atol=1e-5)
    assert list(layer.state_dict()) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]


def test_a_norm_without_bias_has_a_weight_alone():
    for layer in (nn.BatchNorm3d(4, bias=False), nn.GroupNorm(2, 4, bias=False),
                  nn.InstanceNorm3d(4, affine=True, bias=False)):
        assert [name for name, _ in layer.named_parameters()] == ["weight"] and layer.bias is None
    with pytest.raises(ShapeError, match=r"expected \(N, C, D, H, W\) with C = 4"):
        nn.BatchNorm3d(4)(tg.tensor(np.ones((2, 4, 3))))


def test_a_recorded_step_moves_statistics_of_a_layer_whose_result_is_not_used():
    watching, w = nn.BatchNorm1d(4), tg.tensor(np.ones(4, np.float32), requires_grad=True)

    def loss(x):
        watching(x)
        return (x * w).square().mean()

    step = tg.TrainStep(loss, optim.SGD([w], lr=0.0))
    step(ROWS)
    step(2 * ROWS)
    mean, var = running([ROWS, 2 * ROWS])
    np.testing.assert_allclose(watching.running_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(watching.running_var.numpy(), var, rtol=1e-5)
    assert watching.num_batches_tracked.item() == 2
