"""Images read at places: places without a number, whole shifts, what is refused. Numbers: `sampling_cases`."""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad.errors import ArgumentError, ShapeError

IMAGE = np.random.default_rng(0).normal(size=(1, 2, 3, 4))


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_places_without_a_number_read_nothing_and_the_others_are_not_touched(mode):
    places = F.affine_grid(np.eye(2, 3)[None], (1, 2, 3, 4)).numpy()
    places[0, 0, 1], places[0, 2, 3] = (np.nan, 0.1), (np.inf, -0.3)
    x, grid = tg.tensor(IMAGE, requires_grad=True), tg.tensor(places, requires_grad=True)
    y = F.grid_sample(x, grid, mode)
    y.sum().backward()
    want = IMAGE.copy()
    want[:, :, 0, 1] = want[:, :, 2, 3] = 0.0
    np.testing.assert_allclose(y.numpy(), want, atol=1e-12)
    assert np.isfinite(x.grad.numpy()).all()


def test_places_are_trained_through():
    """A shift is found by the gradient of the places."""
    bump = np.exp(-((np.arange(24) - 12.0) ** 2) / 20)
    image = (bump[:, None] * bump)[None, None]
    wanted = np.array([[[1.0, 0.0, 0.2], [0.0, 1.0, -0.1]]])
    target = F.grid_sample(image, F.affine_grid(wanted, image.shape)).numpy()
    shift = tg.tensor(np.zeros(2), requires_grad=True)

    def loss():
        theta = tg.concatenate([np.eye(2), shift.reshape(2, 1)], 1).reshape(1, 2, 3)
        return ((F.grid_sample(image, F.affine_grid(theta, image.shape)) - target) ** 2).sum()

    step = tg.TrainStep(loss, tg.optim.Adam([shift], lr=0.02))
    for _ in range(150):
        step()
    np.testing.assert_allclose(shift.numpy(), [0.2, -0.1], atol=0.01)


def test_wrong_arguments_are_named():
    grid = np.zeros((1, 2, 2, 2))
    with pytest.raises(ShapeError, match=r"input of shape \[1, 2, 3, 4\] and a grid of \[1, 2, 2, 3\]; expected"):
        F.grid_sample(IMAGE, np.zeros((1, 2, 2, 3)))
    with pytest.raises(ShapeError, match="has no elements to read"):
        F.grid_sample(np.zeros((1, 2, 0, 4)), grid)
    for options in ({"mode": "linear"}, {"padding_mode": "wrap"}):
        with pytest.raises(ArgumentError, match="the modes are 'bilinear'"):
            F.grid_sample(IMAGE, grid, **options)
    with pytest.raises(ArgumentError, match="for images 'bicubic'"):
        F.grid_sample(np.ones((1, 1, 2, 2, 2)), np.zeros((1, 1, 1, 1, 3)), "bicubic")
    with pytest.raises(ShapeError, match=r"affine_grid: maps of shape \[1, 2, 2\]"):
        F.affine_grid(np.zeros((1, 2, 2)), (1, 1, 2, 2))
