"""Windows at random places: what is drawn, and what is refused. Numbers: `sampling_cases`."""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn
from tapegrad.errors import ArgumentError, ShapeError

IMAGE = np.random.default_rng(0).normal(size=(2, 3, 9, 7))


@pytest.mark.parametrize("layer", [nn.FractionalMaxPool2d(2, (5, 4), return_indices=True),
                                   nn.FractionalMaxPool2d((2, 3), output_ratio=0.5, return_indices=True)])
def test_indices_are_the_places_of_the_maxima_in_order(layer):
    tg.manual_seed(2)
    y, at = (t.numpy() for t in layer(tg.tensor(IMAGE)))
    np.testing.assert_array_equal(y, np.take_along_axis(IMAGE.reshape(2, 3, -1), at.reshape(2, 3, -1), 2).reshape(
        y.shape))
    assert (np.diff(at // 7, axis=2) >= 0).any()
    assert at.dtype == np.int64
    assert not np.array_equal(layer(tg.tensor(IMAGE))[1].numpy(), at)


def test_a_recording_draws_anew_at_each_replay_and_a_seed_gives_the_same_again():
    step = tg.compile(lambda x: F.fractional_max_pool2d(x, 2, (5, 4)))
    tg.manual_seed(3)
    drawn = [np.asarray(step(IMAGE)) for _ in range(3)]
    assert not np.array_equal(drawn[0], drawn[1])
    tg.manual_seed(3)
    for k in range(3):
        np.testing.assert_array_equal(np.asarray(step(IMAGE)), drawn[k])


def test_wrong_arguments_are_named():
    with pytest.raises(ArgumentError, match="FractionalMaxPool2d: give either output_size or output_ratio"):
        nn.FractionalMaxPool2d(2)
    with pytest.raises(ArgumentError, match="output_ratio must be a number between 0 and 1"):
        F.fractional_max_pool2d(IMAGE, 2, output_ratio=1.5)
    with pytest.raises(ShapeError, match=r"\[9, 4\] windows of \[2, 2\] do not fit"):
        F.fractional_max_pool2d(IMAGE, 2, (9, 4))
    with pytest.raises(ShapeError, match=r"random numbers of shape \[2, 3, 1\]"):
        F.fractional_max_pool2d(IMAGE, 2, (5, 4), _random_samples=np.zeros((2, 3, 1)))
