"""Layers that learn the number of their features from their first input."""

import copy
import pickle

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim

#: lazy layer, its arguments, those of the layer that it becomes, the input's shape
CASES = [
    ("Linear", {"out_features": 3}, 5, (4, 5)), ("Linear", {"out_features": 3, "bias": False}, 2, (2,)),
    ("Conv1d", {"out_channels": 4, "kernel_size": 3, "groups": 2}, 6, (2, 6, 5)),
    ("Conv2d", {"out_channels": 4, "kernel_size": 3, "padding": 1}, 3, (3, 6, 5)),
    ("Conv3d", {"out_channels": 2, "kernel_size": 2, "bias": False}, 3, (1, 3, 3, 4, 5)),
    ("ConvTranspose1d", {"out_channels": 4, "kernel_size": 3, "stride": 2}, 6, (2, 6, 5)),
    ("ConvTranspose2d", {"out_channels": 4, "kernel_size": 3}, 3, (2, 3, 6, 5)),
    ("BatchNorm1d", {}, 4, (3, 4)), ("BatchNorm1d", {"affine": False}, 4, (3, 4, 5)),
    ("BatchNorm2d", {}, 4, (3, 4, 5, 2)), ("BatchNorm3d", {"bias": False}, 4, (3, 4, 5, 2, 2)),
    ("InstanceNorm1d", {"eps": 0.1}, 4, (3, 4, 5)),
    ("InstanceNorm2d", {}, 4, (3, 4, 5, 2)), ("InstanceNorm3d", {"track_running_stats": False}, 4, (3, 4, 2, 2, 2)),
]


@pytest.mark.parametrize(("kind", "arguments", "features", "shape"), CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_lazy_layer_becomes_the_layer_at_its_first_call(kind, arguments, features, shape, dtype):
    lazy = getattr(nn, f"Lazy{kind}")(**arguments).to(dtype)
    if kind.startswith("Instance"):  # as in PyTorch, the lazy ones have parameters and statistics by default
        arguments = {"affine": True, "track_running_stats": True, **arguments}
    x = tg.tensor(np.random.default_rng(0).normal(size=shape).astype(dtype))
    tg.manual_seed(3)
    y = lazy(x)
    tg.manual_seed(3)
    want = getattr(nn, kind)(features, **arguments)
    want = want.to(dtype)
    assert type(lazy) is type(want) and repr(lazy) == repr(want)
    assert list(lazy.state_dict()) == list(want.state_dict())
    assert all(p.dtype == dtype for p in lazy.parameters())
    want.load_state_dict(lazy.state_dict())
    if hasattr(want, "reset_running_stats") and want.running_mean is not None:
        want.reset_running_stats()
    np.testing.assert_array_equal(y.numpy(), want(x).numpy())


def test_the_model_trains_after_a_first_call_and_keeps_what_was_said_before():
    model = nn.Sequential(nn.LazyLinear(4), nn.Tanh(), nn.LazyLinear(1))
    model[0].freeze()
    model.eval()
    x = np.random.default_rng(1).normal(size=(8, 3)).astype(np.float32)
    model(tg.tensor(x))
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, True]
    assert not model[0].training
    step = tg.TrainStep(lambda x: model(x).square().mean(), optim.SGD(model.parameters(), lr=0.1))
    losses = [step(x) for _ in range(5)]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_of_a_lazy_layer_is_lazy(duplicate):
    lazy = nn.LazyLinear(2)
    twin = duplicate(lazy)
    twin(tg.tensor(np.zeros((1, 7), np.float32)))
    assert twin.in_features == 7 and type(lazy) is nn.LazyLinear
    assert "out_features=2" in repr(lazy)


def test_what_needs_shapes_says_to_call_the_model_first():
    model = nn.Sequential(nn.LazyLinear(2))
    with pytest.raises(ValueError, match="call the model once on a batch before the optimiser"):
        optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(tg.TapegradError, match="call the model once on a batch"):
        model.state_dict()
    with pytest.raises(tg.CaptureError, match="first call, which cannot be recorded"):
        tg.compile(model)(np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match="LazyConv2d: an input of shape"):
        nn.LazyConv2d(2, 3)(tg.tensor(np.zeros((3, 3))))
    with pytest.raises(ValueError, match="out_features"):
        nn.LazyLinear(0)
