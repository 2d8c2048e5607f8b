"""Activation modules: the formula of each, its arguments, its text."""

import math

import numpy as np
import pytest
from scipy import special

import tapegrad as tg
from tapegrad import nn

X = np.concatenate([np.linspace(-5, 5, 41), [-60.0, 60.0]])


def _gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


ACTIVATIONS = [
    (nn.ReLU(), lambda x: np.maximum(x, 0), "ReLU()"),
    (nn.ReLU6(), lambda x: np.clip(x, 0, 6), "ReLU6()"),
    (nn.LeakyReLU(0.2), lambda x: np.where(x > 0, x, 0.2 * x), "LeakyReLU(negative_slope=0.2)"),
    (nn.ELU(alpha=0.5), lambda x: _elu(x, 0.5), "ELU(alpha=0.5)"),
    (nn.SELU(), lambda x: 1.0507009873554805 * _elu(x, 1.6732632423543772), "SELU()"),
    (nn.SiLU(), lambda x: x * special.expit(x), "SiLU()"),
    (nn.GELU(), lambda x: x * special.ndtr(x), "GELU(approximate='none')"),
    (nn.GELU("tanh"), _gelu_tanh, "GELU(approximate='tanh')"),
    (nn.Tanh(), np.tanh, "Tanh()"),
    (nn.Sigmoid(), special.expit, "Sigmoid()"),
    (nn.LogSigmoid(), special.log_expit, "LogSigmoid()"),
    (nn.Softplus(), lambda x: np.logaddexp(0, x), "Softplus(beta=1.0, threshold=20.0)"),
    (nn.Softplus(beta=3), lambda x: np.logaddexp(0, 3 * x) / 3, "Softplus(beta=3, threshold=20.0)"),
    (nn.Hardtanh(-2, 0.5), lambda x: np.clip(x, -2, 0.5), "Hardtanh(min_val=-2, max_val=0.5)"),
    (nn.Softsign(), lambda x: x / (1 + np.abs(x)), "Softsign()"),
    (nn.CELU(alpha=2.0), lambda x: np.where(x > 0, x, 2 * np.expm1(np.minimum(x, 0) / 2)), "CELU(alpha=2.0)"),
    (nn.Mish(), lambda x: x * np.tanh(np.logaddexp(0, x)), "Mish()"),
    (nn.Hardswish(), lambda x: x * np.clip(x + 3, 0, 6) / 6, "Hardswish()"),
    (nn.Hardsigmoid(), lambda x: np.clip(x + 3, 0, 6) / 6, "Hardsigmoid()"),
    (nn.Hardshrink(0.3), lambda x: np.where(np.abs(x) > 0.3, x, 0), "Hardshrink(lambd=0.3)"),
    (nn.Softshrink(0.3), lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.3, 0), "Softshrink(lambd=0.3)"),
    (nn.Tanhshrink(), lambda x: x - np.tanh(x), "Tanhshrink()"),
    (nn.Threshold(0.5, -2.0), lambda x: np.where(x > 0.5, x, -2.0), "Threshold(threshold=0.5, value=-2.0)"),
    (nn.Softmin(dim=-1), lambda x: special.softmax(-x), "Softmin(dim=-1)"),
    (nn.Softmax(dim=-1), special.softmax, "Softmax(dim=-1)"),
    (nn.LogSoftmax(dim=0), special.log_softmax, "LogSoftmax(dim=0)"),
]


@pytest.mark.parametrize(("module", "formula", "text"), ACTIVATIONS, ids=[text for *_, text in ACTIVATIONS])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-8), (np.float32, 2e-6)])
def test_an_activation_is_its_formula(module, formula, text, dtype, tolerance):
    y = module(tg.tensor(X.astype(dtype)))
    assert y.dtype == dtype and y.shape == X.shape
    np.testing.assert_allclose(y.numpy(), formula(X), rtol=tolerance, atol=tolerance)
    assert repr(module) == text


@pytest.mark.parametrize(
    "module", [module for module, *_ in ACTIVATIONS], ids=[text for *_, text in ACTIVATIONS]
)
def test_an_activations_gradient_is_its_central_difference(module):
    points = np.array([-3.3, -1.1, -0.4, 0.2, 0.7, 2.9])  # away from the kinks
    weights = np.array([0.3, -1.0, 0.5, 2.0, 0.1, -0.7])
    x = tg.tensor(points, requires_grad=True)
    (module(x) * weights).sum().backward()
    step = 1e-6
    for k in range(points.size):
        ends = [
            module(tg.tensor(points + sign * step * (np.arange(points.size) == k))).numpy()
            for sign in (1, -1)
        ]
        want = np.sum((ends[0] - ends[1]) * weights) / (2 * step)
        assert x.grad.numpy()[k] == pytest.approx(want, rel=1e-6, abs=1e-8)


def test_hardsigmoid_is_flat_on_its_bounds():
    x = tg.tensor(np.array([-3.5, -3.0, -2.999, 0.0, 2.999, 3.0, 4.0]), requires_grad=True)
    nn.Hardsigmoid()(x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.array([0, 0, 1, 1, 1, 0, 0]) / 6)


def test_not_a_number_stays_one():
    for module, *_ in ACTIVATIONS:
        assert np.isnan(module(tg.tensor([math.nan])).numpy()[0]), module


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="Softmax: say along which axis"):
        nn.Softmax()
    with pytest.raises(ValueError, match="log_softmax: say along which axis"):
        nn.functional.log_softmax(tg.tensor([1.0]))
    with pytest.raises(ValueError, match="approximate must be 'none' or 'tanh', got 'erf'"):
        nn.GELU("erf")
    with pytest.raises(ValueError, match="beta must be positive"):
        nn.Softplus(beta=0)
    with pytest.raises(ValueError, match="celu: alpha must not be 0"):
        nn.functional.celu(tg.tensor([1.0]), 0.0)
    with pytest.raises(ValueError, match="softshrink: lambd must not be negative"):
        nn.functional.softshrink(tg.tensor([1.0]), -1.0)
    with pytest.raises(ValueError, match=r"glu: axis -1 of shape \[2, 3\] has 3 elements"):
        nn.GLU()(tg.tensor(np.ones((2, 3))))
    with pytest.raises(ValueError, match=r"prelu: a weight of shape \[2\] for an input of \[4, 3\]"):
        nn.functional.prelu(tg.tensor(np.ones((4, 3))), tg.tensor(np.ones(2)))
    with pytest.raises(ValueError, match=r"Softmax2d: an input of shape \[3, 2\]"):
        nn.Softmax2d()(tg.tensor(np.ones((3, 2))))
    with pytest.raises(ValueError, match="min_val must be below max_val"):
        nn.Hardtanh(1, -1)
