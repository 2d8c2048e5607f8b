"""Pooling layers."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn

X = np.arange(2 * 3 * 6 * 8, dtype=np.float32).reshape(2, 3, 6, 8)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.MaxPool2d(2), (2, 3, 3, 4)),
        (nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True), (2, 3, 4, 5)),
        (nn.AvgPool2d((2, 4)), (2, 3, 3, 2)),
        (nn.AdaptiveAvgPool2d((1, None)), (2, 3, 1, 8)),
    ],
)
def test_shapes_of_results(layer, shape):
    assert layer(tg.tensor(X)).shape == shape
    assert np.asarray(tg.compile(lambda x: layer(x))(X)).shape == shape


def test_rows_are_pooled_along_their_axis():
    rows = tg.tensor(X[0])
    np.testing.assert_array_equal(nn.MaxPool1d(2)(rows).numpy(), X[0][..., 1::2])
    np.testing.assert_array_equal(nn.AvgPool1d(8)(rows).numpy(), X[0].mean(axis=-1, keepdims=True))
    np.testing.assert_array_equal(nn.AdaptiveAvgPool1d(1)(rows).numpy(), X[0].mean(axis=-1, keepdims=True))


def test_text_is_pytorchs():
    assert repr(nn.MaxPool2d(2)) == "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)"
    assert repr(nn.AvgPool2d(3, 1)) == "AvgPool2d(kernel_size=3, stride=1, padding=0)"
    assert repr(nn.AdaptiveAvgPool2d(1)) == "AdaptiveAvgPool2d(output_size=1)"
