"""Initialisers: bounds, variances, orthogonality, seeds."""

import math

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn
from tapegrad.nn import init


@pytest.fixture(autouse=True)
def _seeded():
    tg.manual_seed(0)


def _empty(*shape: int, dtype=np.float64) -> nn.Parameter:
    return nn.Parameter(np.full(shape, np.nan), dtype=dtype)


def _is_uniform(values: np.ndarray, bound: float) -> None:
    assert np.abs(values).max() <= bound * (1 + 1e-6)
    assert np.abs(values).max() > 0.99 * bound
    assert values.mean() == pytest.approx(0, abs=4 * bound / math.sqrt(3 * values.size))
    assert values.var() == pytest.approx(bound**2 / 3, rel=0.05)


def _is_normal(values: np.ndarray, std: float) -> None:
    assert values.mean() == pytest.approx(0, abs=4 * std / math.sqrt(values.size))
    assert values.std() == pytest.approx(std, rel=0.05)
    assert (np.abs(values) > std).mean() == pytest.approx(0.3173, abs=0.02)


def test_uniform_lies_in_its_interval():
    values = init.uniform_(_empty(100, 100), -1.0, 3.0).numpy()
    _is_uniform(values - 1.0, 2.0)


def test_normal_has_its_mean_and_deviation():
    _is_normal(init.normal_(_empty(100, 100), 5.0, 0.5).numpy() - 5.0, 0.5)


def test_constants():
    assert np.all(init.constant_(_empty(3, 2), 1.5).numpy() == 1.5)
    assert np.all(init.ones_(_empty(3)).numpy() == 1.0)
    assert np.all(init.zeros_(_empty(3)).numpy() == 0.0)
    assert np.array_equal(init.eye_(_empty(2, 3)).numpy(), np.eye(2, 3))


def test_xavier_follows_glorot_and_bengio():
    # fan_in 30 * 4, fan_out 50 * 4
    _is_uniform(init.xavier_uniform_(_empty(50, 30, 2, 2), gain=2.0).numpy(), 2.0 * math.sqrt(6 / 320))
    _is_normal(init.xavier_normal_(_empty(50, 30, 2, 2)).numpy(), math.sqrt(2 / 320))


@pytest.mark.parametrize(("mode", "fan"), [("fan_in", 120), ("fan_out", 200)])
def test_kaiming_follows_he(mode, fan):
    values = init.kaiming_uniform_(_empty(50, 30, 2, 2), mode=mode, nonlinearity="relu").numpy()
    _is_uniform(values, math.sqrt(2) * math.sqrt(3 / fan))
    values = init.kaiming_normal_(_empty(50, 30, 2, 2), a=0.5, mode=mode).numpy()
    _is_normal(values, math.sqrt(2 / 1.25) / math.sqrt(fan))


@pytest.mark.parametrize("shape", [(40, 20), (20, 40), (30, 30), (8, 3, 2, 2), (3, 8, 2, 2)])
def test_orthogonal_has_orthonormal_rows_or_columns(shape):
    matrix = init.orthogonal_(_empty(*shape), gain=3.0).numpy().reshape(shape[0], -1) / 3.0
    rows, columns = matrix.shape
    product = matrix @ matrix.T if rows <= columns else matrix.T @ matrix
    np.testing.assert_allclose(product, np.eye(min(rows, columns)), atol=1e-12)


def test_orthogonal_favours_no_sign():
    signs = [np.sign(init.orthogonal_(_empty(2, 2)).numpy()[0, 0]) for _ in range(400)]
    assert abs(np.sum(signs)) < 80  # four deviations of a fair coin


@pytest.mark.parametrize(
    ("mean", "std", "a", "b"), [(0, 1, -2, 2), (1, 2, 0, 1.5), (0, 1, 5, 9), (0, 1, -9, -5)]
)
def test_truncated_normal_has_the_moments_of_scipys(mean, std, a, b):
    from scipy.stats import truncnorm

    values = init.trunc_normal_(_empty(200, 100), mean, std, a, b).numpy()
    want = truncnorm((a - mean) / std, (b - mean) / std, loc=mean, scale=std)
    assert values.min() >= a and values.max() <= b
    assert values.mean() == pytest.approx(want.mean(), abs=4 * want.std() / math.sqrt(values.size))
    assert values.std() == pytest.approx(want.std(), rel=0.05)


def test_gains_are_those_of_pytorchs_table():
    for name, gain in {
        "linear": 1,
        "conv2d": 1,
        "conv_transpose3d": 1,
        "sigmoid": 1,
        "tanh": 5 / 3,
        "selu": 0.75,
    }.items():
        assert init.calculate_gain(name) == pytest.approx(gain)
    assert init.calculate_gain("relu") == pytest.approx(math.sqrt(2))
    assert init.calculate_gain("leaky_relu") == pytest.approx(math.sqrt(2 / (1 + 1e-4)))
    assert init.calculate_gain("leaky_relu", 1.0) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no gain is known for 'gelu'"):
        init.calculate_gain("gelu")


def test_linear_starts_from_pytorchs_distributions():
    layer = nn.Linear(400, 300)
    _is_uniform(layer.weight.numpy(), 1 / 20)
    assert np.abs(layer.bias.numpy()).max() <= 1 / 20 and layer.bias.numpy().std() > 0.02
    layer = nn.Bilinear(100, 20, 30)
    _is_uniform(layer.weight.numpy(), 1 / 10)
    assert np.abs(layer.bias.numpy()).max() <= 1 / 10


def test_the_seed_decides_and_the_dtype_only_rounds():
    tg.manual_seed(5)
    single = init.normal_(_empty(4, 4, dtype=np.float32)).numpy()
    tg.manual_seed(5)
    double = init.normal_(_empty(4, 4)).numpy()
    assert np.array_equal(single, double.astype(np.float32))
    mine = [init.normal_(_empty(4), generator=np.random.default_rng(3)).numpy() for _ in range(2)]
    assert np.array_equal(*mine)


def test_initialisers_fill_in_place_and_are_not_recorded():
    parameter = _empty(3, 3)
    assert init.ones_(parameter) is parameter
    assert parameter.is_leaf and parameter.requires_grad
    assert init.xavier_uniform_(_empty(0, 3)).shape == (0, 3)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"xavier_uniform_: needs at least 2 axes.*\[3\]"):
        init.xavier_uniform_(_empty(3))
    with pytest.raises(ValueError, match="mode must be 'fan_in' or 'fan_out', got 'fan'"):
        init.kaiming_normal_(_empty(3, 3), mode="fan")
    with pytest.raises(ValueError, match=r"a must not exceed b, got a=1.0, b=0.0"):
        init.uniform_(_empty(3), 1.0, 0.0)
    with pytest.raises(ValueError, match="std must not be negative"):
        init.normal_(_empty(3), 0.0, -1.0)
    with pytest.raises(ValueError, match="a must be below b"):
        init.trunc_normal_(_empty(3), a=1.0, b=1.0)
    with pytest.raises(ValueError, match="needs a matrix"):
        init.eye_(_empty(3))
    with pytest.raises(ValueError, match="orthogonal_: needs at least 2 axes"):
        init.orthogonal_(_empty(3))
