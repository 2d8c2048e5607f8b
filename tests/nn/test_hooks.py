"""Hooks of modules."""

import copy
import pickle

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim

X = np.arange(6.0).reshape(2, 3)


class Scale(nn.Module):
    """``factor * x``."""

    def forward(self, x, factor=2.0):
        return x * factor


def test_hooks_see_and_replace_arguments_and_outputs_in_their_order():
    layer, seen = Scale(), []
    layer.register_forward_pre_hook(lambda module, args: seen.append(("before", module is layer, args[0].shape)))
    layer.register_forward_pre_hook(lambda module, args: args[0] + 1.0)
    layer.register_forward_pre_hook(lambda module, args: (args[0] * 10.0,), prepend=True)
    layer.register_forward_hook(lambda module, args, output: seen.append(("after", args[0].numpy()[0, 1])))
    layer.register_forward_hook(lambda module, args, output: -output)
    np.testing.assert_array_equal(layer(tg.tensor(X)).numpy(), -2.0 * (10.0 * X + 1.0))
    assert seen == [("before", True, (2, 3)), ("after", 11.0)]


def test_hooks_take_keyword_arguments_if_asked():
    layer = Scale()
    layer.register_forward_pre_hook(lambda module, args, kwargs: (args, {"factor": kwargs["factor"] + 1.0}),
                                    with_kwargs=True)
    layer.register_forward_hook(lambda module, args, kwargs, output: output + kwargs["factor"], with_kwargs=True)
    np.testing.assert_array_equal(layer(tg.tensor(X), factor=4.0).numpy(), 5.0 * X + 5.0)


def test_a_removed_hook_is_not_called():
    layer = Scale()
    handle = layer.register_forward_hook(lambda module, args, output: output * 0.0)
    with layer.register_forward_hook(lambda module, args, output: output + 1.0):
        np.testing.assert_array_equal(layer(tg.tensor(X)).numpy(), 1.0)
    np.testing.assert_array_equal(layer(tg.tensor(X)).numpy(), 0.0)
    handle.remove()
    handle.remove()
    np.testing.assert_array_equal(layer(tg.tensor(X)).numpy(), 2.0 * X)


def test_a_hook_can_be_called_also_where_forward_raises():
    layer, seen = Scale(), []
    layer.register_forward_hook(lambda module, args, output: seen.append("other"))
    layer.register_forward_hook(lambda module, args, output: seen.append(output), always_call=True)
    with pytest.raises(TypeError):
        layer(tg.tensor(X), "no", "such")
    assert seen == [None]


def test_a_recorded_step_computes_what_hooks_compute_and_is_made_again_when_they_change():
    w = nn.Parameter(np.ones(3))
    layer = Scale()
    step = tg.TrainStep(lambda x: layer(x * w).sum(), optim.SGD([w], lr=0.0))
    assert step(X) == 30.0
    handle = layer.register_forward_hook(lambda module, args, output: output * w)
    w.copy_(np.array([1.0, 2.0, 3.0]))
    assert step(X) == (2.0 * X * w.numpy() ** 2).sum()
    handle.remove()
    assert step(X) == (2.0 * X * w.numpy()).sum()
    model = nn.Sequential(layer)
    layer.register_forward_pre_hook(lambda module, args: args[0] + 1.0)
    assert tg.compile(model)(X).tolist() == (2.0 * (X + 1.0)).tolist()


def add_one(module, args, output):
    return output + 1.0


@pytest.mark.parametrize("duplicate", [copy.deepcopy, copy.copy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_has_the_hooks_of_its_original_and_loses_none_with_it(duplicate):
    layer = Scale()
    handle = layer.register_forward_hook(add_one)
    twin = duplicate(layer)
    handle.remove()
    np.testing.assert_array_equal(layer(tg.tensor(X)).numpy(), 2.0 * X)
    np.testing.assert_array_equal(twin(tg.tensor(X)).numpy(), 2.0 * X + 1.0)
