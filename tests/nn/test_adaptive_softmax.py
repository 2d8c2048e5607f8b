"""Softmax in clusters: probabilities, targets that a recording is given, what is refused. Numbers: `sampling_cases`."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn
from tapegrad.errors import ArgumentError, IndexRangeError, ShapeError

TARGETS = np.array([0, 3, 4, 9, 11, 2])


def layer():
    tg.manual_seed(0)
    return nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 5], div_value=2, dtype=np.float64)


def test_probabilities_add_up_and_the_loss_is_that_of_the_targets():
    x, made = np.random.default_rng(0).normal(size=(6, 8)), layer()
    logs = made.log_prob(x).numpy()
    np.testing.assert_allclose(np.exp(logs).sum(1), 1.0, rtol=1e-12)
    output, loss = made(x, TARGETS)
    np.testing.assert_allclose(output.numpy(), logs[np.arange(6), TARGETS], rtol=1e-12)
    assert loss.item() == pytest.approx(-logs[np.arange(6), TARGETS].mean())
    np.testing.assert_array_equal(made.predict(x).numpy(), logs.argmax(1))
    np.testing.assert_allclose(made(x[1], np.array(3)).output.numpy(), logs[1, 3], rtol=1e-12)


def test_a_recording_is_given_its_targets():
    made, x = layer(), np.random.default_rng(1).normal(size=(6, 8))
    step = tg.compile(lambda x, t: made(x, t).output)
    for t in (TARGETS, TARGETS[::-1].copy(), np.zeros(6, np.int64)):
        np.testing.assert_allclose(np.asarray(step(x, t)), made(x, t).output.detach().numpy(), rtol=1e-12)
    for wrong in (12, -1, 1000):
        with pytest.raises(IndexRangeError):
            step(x, np.where(TARGETS == 4, wrong, TARGETS))


def test_wrong_arguments_are_named():
    for cutoffs in ([], [5, 3], [0, 3], [3, 12], [3, 3], [2.5]):
        with pytest.raises(ArgumentError, match="cutoffs"):
            nn.AdaptiveLogSoftmaxWithLoss(8, 12, cutoffs)
    with pytest.raises(ArgumentError, match="cluster 1 has no hidden features: .* lower div_value"):
        nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 5])
    with pytest.raises(IndexRangeError, match="target 12 is none of 12 classes"):
        layer()(np.ones((2, 8)), np.array([0, 12]))
    with pytest.raises(ShapeError, match=r"input of shape \[2, 8\] and targets of \[3\]"):
        layer()(np.ones((2, 8)), np.zeros(3, np.int64))
