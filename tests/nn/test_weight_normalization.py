"""Weight normalisation, by the formulas of Salimans and Kingma (2016), equations 2 and 3."""

import copy
import pickle

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim

CASES = [(lambda dtype: nn.Linear(3, 2, dtype=dtype), (4, 3), 0),
         (lambda dtype: nn.Linear(3, 2, dtype=dtype), (4, 3), 1),
         (lambda dtype: nn.Linear(3, 2, dtype=dtype), (4, 3), None),
         (lambda dtype: nn.Conv2d(3, 2, 2, dtype=dtype), (2, 3, 4, 3), 0),
         (lambda dtype: nn.ConvTranspose2d(3, 2, 2, dtype=dtype), (2, 3, 4, 3), 1)]


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("make", "shape", "dim"), CASES)
def test_length_and_direction_get_the_gradients_of_the_paper(make, shape, dim, dtype, recorded):
    tg.manual_seed(1)
    plain = make(dtype)
    normed = nn.utils.weight_norm(copy.deepcopy(plain), dim=dim)
    x = np.random.default_rng(2).normal(size=shape).astype(dtype)
    w = plain.weight.numpy().astype(np.float64)
    axes = tuple(axis for axis in range(w.ndim) if axis != dim)
    norms = np.sqrt((w * w).sum(axis=axes, keepdims=True))
    tolerance = {"rtol": 2e-4, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-10}
    np.testing.assert_allclose(normed.weight_g.numpy(), norms if dim is not None else norms.reshape(()), **tolerance)
    np.testing.assert_allclose(normed(tg.tensor(x)).numpy(), plain(tg.tensor(x)).numpy(), **tolerance)
    (plain(tg.tensor(x)) ** 2).sum().backward()
    if recorded:
        optimizer = optim.SGD(normed.parameters(), lr=0.0)
        tg.TrainStep(lambda x: (normed(x) ** 2).sum(), optimizer)(x)
    else:
        (normed(tg.tensor(x)) ** 2).sum().backward()
    slope = plain.weight.grad.numpy().astype(np.float64)
    to_g = (slope * w / norms).sum(axis=axes, keepdims=True)
    to_v = slope - to_g * w / norms  # g = |v|
    np.testing.assert_allclose(normed.weight_g.grad.numpy(), to_g.reshape(normed.weight_g.shape), **tolerance)
    np.testing.assert_allclose(normed.weight_v.grad.numpy(), to_v, rtol=1e-4 if dtype == np.float32 else 1e-9,
                               atol=1e-4 if dtype == np.float32 else 1e-12)


def test_steps_follow_the_parameters_and_removal_keeps_the_values():
    layer = nn.utils.weight_norm(nn.Linear(3, 2, dtype=np.float64))
    assert list(layer.state_dict()) == ["bias", "weight_g", "weight_v"]
    x = np.random.default_rng(3).normal(size=(5, 3))
    step = tg.TrainStep(lambda x: (layer(x) - 1.0).square().mean(), optim.SGD(layer.parameters(), lr=0.1))
    losses = [step(x) for _ in range(20)]
    assert losses[-1] < 0.5 * losses[0]
    before = layer(tg.tensor(x)).numpy()
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(twin(tg.tensor(x)).numpy(), before)
    layer.weight_g.copy_(2.0 * layer.weight_g.numpy())
    bias = layer.bias.numpy()
    np.testing.assert_allclose(layer(tg.tensor(x)).numpy() - bias, 2.0 * (before - bias), rtol=1e-12)
    after = layer(tg.tensor(x)).numpy()
    nn.utils.remove_weight_norm(layer)
    assert [name for name, _ in layer.named_parameters()] == ["bias", "weight"]
    np.testing.assert_allclose(layer(tg.tensor(x)).numpy(), after, rtol=1e-12)


def test_what_cannot_be_is_named():
    layer = nn.Linear(3, 2)
    with pytest.raises(ValueError, match="no parameter 'kernel'"):
        nn.utils.weight_norm(layer, "kernel")
    with pytest.raises(ValueError, match="not normalised"):
        nn.utils.remove_weight_norm(layer)
    with pytest.raises(ValueError, match="axis 2 is out of range"):
        nn.utils.weight_norm(layer, dim=2)
    normed = nn.utils.weight_norm(nn.Linear(3, 2))
    with pytest.raises(ValueError, match="already has an attribute 'weight'"):
        normed.weight = nn.Parameter(np.ones((2, 3)))
    optim.SGD(layer.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="an optimiser holds weight"):
        nn.utils.weight_norm(layer)
