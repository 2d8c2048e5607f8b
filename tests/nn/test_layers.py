"""Layers against NumPy and closed forms."""

import math

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn


def test_linear_is_x_times_weight_transposed_plus_bias(rng):
    layer = nn.Linear(3, 4, dtype=np.float64)
    for shape in ((3,), (5, 3), (2, 5, 3)):
        x = rng.standard_normal(shape)
        y = layer(tg.tensor(x))
        np.testing.assert_allclose(y.numpy(), x @ layer.weight.numpy().T + layer.bias.numpy(), rtol=1e-12)


def test_linear_has_the_gradients_of_the_lectures(rng):
    layer = nn.Linear(3, 4, dtype=np.float64)
    x = tg.tensor(rng.standard_normal((5, 3)), requires_grad=True)
    g = rng.standard_normal((5, 4))
    layer(x).backward(g)
    np.testing.assert_allclose(layer.weight.grad.numpy(), g.T @ x.numpy(), rtol=1e-12)
    np.testing.assert_allclose(layer.bias.grad.numpy(), g.sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(x.grad.numpy(), g @ layer.weight.numpy(), rtol=1e-12)


def test_linear_without_bias_has_one_parameter():
    layer = nn.Linear(3, 4, bias=False)
    assert layer.bias is None and [name for name, _ in layer.named_parameters()] == ["weight"]
    assert repr(layer) == "Linear(in_features=3, out_features=4, bias=False)  # 12 parameters"
    assert layer(np.ones((2, 3), np.float32)).shape == (2, 4)


def test_linear_takes_plain_arrays_in_its_own_dtype():
    assert nn.Linear(3, 4)(np.ones((2, 3))).dtype == np.float32
    assert nn.Linear(3, 4, dtype="float64")(np.ones((2, 3), np.float32)).dtype == np.float64


def test_an_input_that_does_not_fit_names_both_shapes():
    with pytest.raises(ValueError, match=r"linear.*2, 5.*4, 3"):
        nn.Linear(3, 4)(np.ones((2, 5), np.float32))


@pytest.mark.parametrize("size", [0, -1, 2.0, "3", None, True])
def test_sizes_are_positive_integers(size):
    with pytest.raises(ValueError, match="Linear: in_features must be an integer of at least 1"):
        nn.Linear(size, 3)
    with pytest.raises(ValueError, match="Bilinear: out_features must be"):
        nn.Bilinear(3, 3, size)


def test_bilinear_is_the_double_sum(rng):
    layer = nn.Bilinear(3, 2, 4, dtype=np.float64)
    x, y = rng.standard_normal((5, 3)), rng.standard_normal((5, 2))
    want = np.einsum("ni,oij,nj->no", x, layer.weight.numpy(), y) + layer.bias.numpy()
    np.testing.assert_allclose(layer(tg.tensor(x), tg.tensor(y)).numpy(), want, rtol=1e-12)
    assert repr(layer).startswith("Bilinear(in1_features=3, in2_features=2, out_features=4, bias=True)")
    with pytest.raises(ValueError, match=r"bilinear: inputs of shape \[5, 2\] and \[5, 2\].*\[4, 3, 2\]"):
        layer(y, y)


def test_identity_flatten_and_unflatten_keep_the_numbers(rng):
    x = rng.standard_normal((2, 3, 4))
    t = tg.tensor(x)
    assert nn.Identity(54, unused=True)(t) is t
    assert np.array_equal(nn.Flatten()(t).numpy(), x.reshape(2, 12))
    assert np.array_equal(nn.Flatten(0, 1)(t).numpy(), x.reshape(6, 4))
    assert np.array_equal(F.flatten(t).numpy(), x.ravel())
    assert F.flatten(tg.tensor(3.0)).shape == (1,)
    assert np.array_equal(nn.Unflatten(2, (2, -1))(t).numpy(), x.reshape(2, 3, 2, 2))
    assert repr(nn.Flatten()) == "Flatten(start_dim=1, end_dim=-1)"
    with pytest.raises(IndexError, match=r"flatten: axis 3 is out of range"):
        F.flatten(t, 3)
    with pytest.raises(ValueError, match="lies behind"):
        F.flatten(t, 2, 1)
    with pytest.raises(
        ValueError, match=r"unflatten: axis 1 of shape \[2, 3, 4\] has 3 elements, not \(2, -1\)"
    ):
        F.unflatten(t, 1, (2, -1))


def test_dropout_zeroes_a_share_and_scales_the_rest():
    layer = nn.Dropout(0.25)
    y = layer(tg.tensor(np.ones((200, 200), np.float32))).numpy()
    kept = y != 0
    assert kept.mean() == pytest.approx(0.75, abs=4 * math.sqrt(0.25 * 0.75 / y.size))
    np.testing.assert_allclose(y[kept], 1 / 0.75, rtol=1e-6)


def test_dropouts_gradient_has_the_mask_of_its_output():
    x = tg.tensor(np.ones((30, 40)), requires_grad=True)
    y = F.dropout(x, 0.5)
    y.sum().backward()
    assert np.array_equal(x.grad.numpy(), y.numpy())  # d(x m / (1 - p))/dx is what multiplied 1


def test_dropout_draws_anew_each_time_and_the_same_after_seeding():
    x = tg.tensor(np.ones(100, np.float32))
    tg.manual_seed(3)
    first, second = F.dropout(x).numpy(), F.dropout(x).numpy()
    tg.manual_seed(3)
    assert np.array_equal(F.dropout(x).numpy(), first) and not np.array_equal(first, second)


def test_dropout_does_nothing_in_evaluation_and_at_its_ends():
    x = tg.tensor(np.ones(100, np.float32))
    assert np.all(nn.Dropout(0.9).eval()(x).numpy() == 1.0)
    assert np.all(F.dropout(x, 0.0).numpy() == 1.0)
    assert np.all(F.dropout(x, 1.0).numpy() == 0.0)
    for p in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="p must be from 0 to 1"):
            nn.Dropout(p)
    assert repr(nn.Dropout(0.3)) == "Dropout(p=0.3, inplace=False)"


def test_one_hot_has_one_one_a_row():
    assert F.one_hot(np.array([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert F.one_hot(tg.tensor([1]), 3).tolist() == [[0, 1, 0]]
    assert F.one_hot(np.zeros((2, 3), int), 4).shape == (2, 3, 4)
    with pytest.raises(TypeError, match="must be integers, got float64"):
        F.one_hot(np.ones(2))
    with pytest.raises(ValueError, match="index 5 is out of range for 3 classes"):
        F.one_hot(np.array([5]), 3)
    with pytest.raises(ValueError, match="index -1 is out of range"):
        F.one_hot(np.array([-1]), 3)
    with pytest.raises(ValueError, match="give num_classes"):
        F.one_hot(np.zeros(0, int))


def test_normalize_and_cosine_similarity_are_finite_at_zero():
    x = tg.tensor(np.zeros((2, 3)), requires_grad=True)
    for p in (1.0, 2.0, 3.0, math.inf):
        y = F.normalize(x, p=p)
        y.sum().backward()
        assert np.all(y.numpy() == 0.0) and np.all(np.isfinite(x.grad.numpy()))
    F.cosine_similarity(x, tg.tensor(np.ones((2, 3)))).sum().backward()
    assert np.all(np.isfinite(x.grad.numpy()))


def test_parameters_travel_through_one_vector(rng):
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    vector = nn.utils.parameters_to_vector(model.parameters())
    assert vector.shape == (13,)
    assert np.array_equal(vector.numpy()[:6], model[0].weight.numpy().ravel())
    values = rng.standard_normal(13).astype(np.float32)
    nn.utils.vector_to_parameters(values, model.parameters())
    assert np.array_equal(nn.utils.parameters_to_vector(model.parameters()).numpy(), values)
    with pytest.raises(ValueError, match=r"vec has shape \[12\], the parameters need \[13\]"):
        nn.utils.vector_to_parameters(values[:12], model.parameters())
    assert callable(nn.utils.clip_grad_norm_) and callable(nn.utils.clip_grad_value_)
