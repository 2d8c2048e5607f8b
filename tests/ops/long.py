"""What tests of long sums share."""

import numpy as np

import tapegrad as tg

LIMIT = 2e-7


def assert_near(actual, expected, limit=LIMIT):
    expected = np.asarray(expected, np.float64)
    error = np.abs(np.asarray(actual, np.float64) - expected) / np.abs(expected)
    assert error.max() <= limit


def leaf(values):
    return tg.tensor(np.asarray(values, np.float32), requires_grad=True)
