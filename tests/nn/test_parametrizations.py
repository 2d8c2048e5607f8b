"""Weights that are computed: against PyTorch's after some steps, and by what they must be."""

import copy
from functools import reduce
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.errors import ArgumentError, ShapeError
from tapegrad.nn.utils import parametrize
from tapegrad.nn.utils.parametrizations import orthogonal, spectral_norm

from .parametrization_cases import CASES, RATE, STEPS, given
from .reference import load

REFERENCE = load(Path(__file__).with_name("parametrization.npz"))


def of(prefix):
    return {key[len(prefix):]: value for key, value in REFERENCE.items() if key.startswith(prefix)}


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_states_and_results_after_some_steps_are_those_of_pytorch(name, dtype, recorded):
    layer, arguments, function, options = CASES[name]
    module = getattr(nn, layer)(*arguments, **({} if function else options), dtype=dtype)
    if function:
        reduce(getattr, function.split("."), nn.utils)(module, **options)
    state = of(f"{name}/before/")
    assert sorted(module.state_dict()) == sorted(state)
    module.load_state_dict({key: state[key].reshape(value.shape) for key, value in module.state_dict().items()})
    optimizer, x = optim.SGD(module.parameters(), lr=RATE), given(layer, arguments)
    x = x.astype(dtype) if x.dtype.kind == "f" else x

    def loss(x):
        return (module(x) ** 2).mean()

    step = tg.TrainStep(loss, optimizer)
    for _ in range(STEPS):
        if recorded:
            step(x)
        else:
            optimizer.zero_grad()
            loss(x).backward()
            optimizer.step()
    tolerance = 1e-10 if dtype == "float64" else 2e-5
    for key, value in module.state_dict().items():
        want = REFERENCE[f"{name}/after/{key}"]
        np.testing.assert_allclose(np.ravel(value), want, rtol=tolerance, atol=tolerance, err_msg=key)
    y = module.eval()(x).detach().numpy()
    np.testing.assert_allclose(y.ravel(), REFERENCE[f"{name}/output"], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("options", [
    {}, {"orthogonal_map": "cayley"}, {"orthogonal_map": "householder"},
    {"orthogonal_map": "householder", "use_trivialization": False}])
@pytest.mark.parametrize("shape", [(4, 4), (3, 6), (6, 3), (1, 3)])
def test_a_weight_begins_at_the_nearest_orthogonal_one_and_stays_orthogonal(shape, options):
    layer = nn.Linear(*shape, dtype="float64")
    values = layer.weight.numpy().copy()
    orthogonal(layer, **options)
    for _ in range(2):
        w = layer.weight.detach().numpy()
        tall = w if w.shape[0] >= w.shape[1] else w.T
        np.testing.assert_allclose(tall.T @ tall, np.eye(tall.shape[1]), atol=1e-12)
        if values is not None:  # Q of a QR factorization
            q = np.linalg.qr(values if w is tall else values.T)[0]
            np.testing.assert_allclose(np.abs(tall), np.abs(q), atol=1e-12)
            values = None
        optimizer = optim.SGD(layer.parameters(), lr=0.3)
        (layer(np.ones((2, shape[0]))) ** 3).sum().backward()
        optimizer.step()


def test_a_spectral_norm_is_near_one_and_iterates_in_training_only():
    tg.manual_seed(0)
    layer = spectral_norm(nn.Linear(20, 30, dtype="float64"), n_power_iterations=5)
    for _ in range(30):
        w = layer.weight.detach().numpy()
    assert abs(np.linalg.norm(w, 2) - 1.0) < 1e-3
    layer.eval()
    before = layer.parametrizations["weight"][0]._u.numpy().copy()
    layer(np.ones((1, 20)))
    tg.compile(layer)(np.ones((1, 20)))
    np.testing.assert_array_equal(layer.parametrizations["weight"][0]._u.numpy(), before)


class Doubled(nn.Module):
    def forward(self, x):
        return 2.0 * x

    def right_inverse(self, x):
        return 0.5 * x


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).T


def test_parametrizations_are_applied_in_turn_and_removed():
    layer = nn.Linear(3, 3, dtype="float64")
    values = layer.weight.numpy().copy()
    parametrize.register_parametrization(layer, "weight", Doubled())
    np.testing.assert_array_equal(layer.weight.detach().numpy(), values)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    w = np.triu(values) + np.triu(values, 1).T
    np.testing.assert_array_equal(layer.weight.detach().numpy(), w)
    assert parametrize.is_parametrized(layer) and parametrize.is_parametrized(layer, "weight")
    assert not parametrize.is_parametrized(layer, "bias")
    layer(np.ones((1, 3))).sum().backward()
    assert layer.parametrizations["weight"].original.grad is not None
    parametrize.remove_parametrizations(layer, "weight")
    np.testing.assert_array_equal(layer.weight.detach().numpy(), w)
    assert list(layer.state_dict()) == ["bias", "weight"]
    parametrize.register_parametrization(layer, "weight", Doubled())
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    np.testing.assert_array_equal(layer.weight.detach().numpy(), 0.5 * w)
    nn.utils.remove_spectral_norm(nn.utils.spectral_norm(layer))
    assert sorted(layer.state_dict()) == ["bias", "weight"]


def test_copies_are_computed_by_themselves():
    for function in (nn.utils.spectral_norm, spectral_norm, orthogonal):
        layer = function(nn.Linear(3, 3, dtype="float64"))
        other = copy.deepcopy(layer)
        state = {key: np.array(value) for key, value in layer.state_dict().items()}
        before = layer.weight.detach().numpy().copy() if function is orthogonal else None
        optimizer = optim.SGD(other.parameters(), lr=0.5)
        (other(np.ones((2, 3))) ** 2).sum().backward()
        optimizer.step()
        for key, value in layer.state_dict().items():
            np.testing.assert_array_equal(np.asarray(value), state[key])
        if before is not None:
            np.testing.assert_array_equal(layer.weight.detach().numpy(), before)
            assert not np.array_equal(other.weight.detach().numpy(), before)


def test_wrong_arguments_are_named():
    layer = nn.Linear(3, 2)
    with pytest.raises(nn.ModuleError, match="Linear has no parameter 'w'"):
        orthogonal(layer, "w")
    with pytest.raises(ArgumentError, match="orthogonal_map 'qr'; the maps are"):
        orthogonal(layer, orthogonal_map="qr")
    with pytest.raises(ArgumentError, match="cayley without use_trivialization"):
        orthogonal(layer, orthogonal_map="cayley", use_trivialization=False)
    with pytest.raises(ArgumentError, match=r"bias has shape \[2\]; expected 2 axes"):
        orthogonal(layer, "bias")
    with pytest.raises(ArgumentError, match="n_power_iterations must be 1"):
        spectral_norm(layer, n_power_iterations=0)
    with pytest.raises(ShapeError, match=r"weight is of shape \[2, 3\], its parametrization gives \[3, 2\]"):
        parametrize.register_parametrization(layer, "weight", Turned())
    with pytest.raises(nn.ModuleError, match="is not normalised"):
        nn.utils.remove_spectral_norm(layer)
    held = nn.Linear(3, 2)
    optim.SGD(held.parameters(), lr=0.1)
    for function in (spectral_norm, nn.utils.spectral_norm):
        with pytest.raises(nn.ModuleError, match="an optimiser holds weight"):
            function(held)
    assert list(layer.state_dict()) == ["weight", "bias"]


class Turned(nn.Module):
    def forward(self, x):
        return x.T
