"""Convolution layers: parameters, memory, training."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.errors import ArgumentError, ShapeError


def test_parameters_have_pytorchs_shapes_and_bounds():
    tg.manual_seed(2)
    layer = nn.Conv2d(4, 6, (3, 5), groups=2)
    assert layer.weight.shape == (6, 2, 3, 5) and layer.bias.shape == (6,)
    assert np.abs(layer.weight.numpy()).max() <= 1 / np.sqrt(30)
    assert np.abs(layer.weight.numpy()).max() > 0.8 / np.sqrt(30)
    assert list(nn.Conv1d(4, 6, 3, bias=False).state_dict()) == ["weight"]
    text = "Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))"
    assert repr(nn.Conv2d(1, 2, 3, padding=1)).startswith(text)


def test_shapes_of_results():
    x = tg.tensor(np.ones((2, 4, 9, 8), np.float32))
    assert nn.Conv2d(4, 6, 3, stride=2, padding=1)(x).shape == (2, 6, 5, 4)
    assert nn.Conv2d(4, 8, 3, padding="same", groups=4)(x).shape == (2, 8, 9, 8)
    assert nn.Conv1d(9, 3, 3, dilation=2)(x[0]).shape == (4, 3, 4)
    assert nn.Conv2d(4, 6, 3)(x[0]).shape == (6, 7, 6)


def test_transposed_layers_have_pytorchs_parameters_and_shapes():
    layer = nn.ConvTranspose2d(4, 6, (3, 5), stride=2, padding=1, output_padding=1, groups=2)
    assert layer.weight.shape == (4, 3, 3, 5) and layer.bias.shape == (6,)
    assert 0.8 / np.sqrt(45) < np.abs(layer.weight.numpy()).max() <= 1 / np.sqrt(45)
    text = "ConvTranspose2d(4, 6, kernel_size=(3, 5), stride=(2, 2), padding=(1, 1), output_padding=(1, 1), groups=2)"
    assert repr(layer).startswith(text)
    x = tg.tensor(np.ones((2, 4, 5, 7), np.float32))
    assert layer(x).shape == (2, 6, 10, 16)
    assert layer(x, output_size=(9, 15)).shape == (2, 6, 9, 15)
    assert layer(x[0], output_size=[6, 9, 16]).shape == (6, 9, 16)
    assert nn.Conv3d(4, 2, 3, padding=1, stride=2)(tg.tensor(np.ones((1, 4, 5, 6, 7)))).shape == (1, 2, 3, 3, 4)
    assert "padding_mode=circular" in repr(nn.Conv1d(2, 2, 3, padding=1, padding_mode="circular"))


def test_an_autoencoder_of_strided_layers_steps_as_it_runs():
    tg.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(2, 6, 4, stride=2, padding=1, padding_mode="reflect"), nn.Tanh(),
                          nn.ConvTranspose2d(6, 3, 4, stride=2, padding=1), nn.Upsample(scale_factor=0.5),
                          nn.Upsample(scale_factor=2, mode="bilinear"), nn.ReplicationPad2d((1, 0, 0, 1)),
                          nn.Unfold(2)).to(np.float64)  # fmt: skip
    x = np.random.default_rng(3).normal(size=(3, 2, 8, 8))
    step = tg.TrainStep(lambda x: (model(x) ** 2).mean(), optim.SGD(model.parameters(), lr=0.5))
    loss = (model(tg.tensor(x)) ** 2).mean()
    loss.backward()
    expected = [p.numpy() - 0.5 * p.grad.numpy() for p in model.parameters()]
    step.optimizer.zero_grad()
    assert abs(step(x) - loss.item()) < 1e-12
    for p, want in zip(model.parameters(), expected):
        np.testing.assert_allclose(p.numpy(), want, rtol=1e-11, atol=1e-13)


@pytest.mark.compiled
def test_a_small_network_learns_to_tell_horizontal_from_vertical_bars():
    tg.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.1, (64, 1, 8, 8)).astype(np.float32)
    y = np.arange(64) % 2
    for k in range(64):
        at = rng.integers(8)
        x[k, 0, at if y[k] else slice(None), slice(None) if y[k] else at] += 1
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 8, 3, stride=2), nn.ReLU(),
                          nn.Flatten(), nn.Linear(72, 2))  # fmt: skip
    loss = nn.CrossEntropyLoss()
    step = tg.TrainStep(lambda x, y: loss(model(x), y), optim.Adam(model.parameters(), lr=0.01))
    for _ in range(60):
        last = step(x, y)
    assert last < 0.05


@pytest.mark.compiled
@pytest.mark.parametrize("layer", [nn.Conv2d, nn.ConvTranspose2d])
def test_the_peak_of_frozen_convolutions_does_not_grow_with_depth(layer):
    def peak(depth):
        first = nn.Conv2d(8, 8, 3, padding=1)
        frozen = [layer(8, 8, 3, padding=1).freeze() for _ in range(depth)]
        model = nn.Sequential(first, *frozen)
        step = tg.TrainStep(lambda x: model(x).sum(), optim.SGD(model.parameters(), lr=0.0))
        step(np.ones((16, 8, 16, 16), np.float32))
        return step.memory().activation_bytes + step.memory().temporary_bytes

    activation = 16 * 8 * 16 * 16 * 4
    assert peak(12) - peak(4) < activation


def test_wrong_arguments_name_the_layer():
    with pytest.raises(ArgumentError, match="Conv2d: 3 input"):
        nn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(ArgumentError, match="kernel_size"):
        nn.Conv2d(3, 4, (3, 3, 3))
    with pytest.raises(ArgumentError, match="same"):
        nn.Conv1d(3, 4, 3, stride=2, padding="same")
    with pytest.raises(ArgumentError, match="Conv2d: padding_mode .* 'mirror'"):
        nn.Conv2d(3, 4, 3, padding_mode="mirror")
    with pytest.raises(ArgumentError, match="ConvTranspose2d: padding_mode"):
        nn.ConvTranspose2d(3, 4, 3, padding_mode="circular")


def test_inputs_that_do_not_fit_name_the_layer_and_both_shapes():
    x = np.ones((1, 3, 5, 5), np.float32)
    with pytest.raises(ShapeError, match=r"^Conv2d: .*\[1, 3, 5, 5\].*\[2, 4, 3, 3\]"):
        nn.Conv2d(4, 2, 3)(x)
    with pytest.raises(ShapeError, match=r"^ConvTranspose2d: .*\[1, 3, 5, 5\].*\[4, 2, 3, 3\]"):
        nn.ConvTranspose2d(4, 2, 3)(x)
    with pytest.raises(ShapeError, match=r"^Conv1d: .*\[1, 3, 5, 5\].*\[2, 3, 3\]"):
        nn.Conv1d(3, 2, 3, padding=1, padding_mode="reflect")(x)
    with pytest.raises(ShapeError, match=r"^Conv2d: widths \[5, 5\].*\[1, 3, 5, 5\]; at most 4 in mode 'reflect'"):
        nn.Conv2d(3, 2, 11, padding="same", padding_mode="reflect")(x)
    with pytest.raises(ShapeError, match=r"^ConvTranspose2d: output_size \[12, 9\].*\[9, 9\] to \[10, 10\]"):
        nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1)(x, output_size=(12, 9))
