"""Backward hooks of modules, by the formulas of what they must see."""

import gc

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.errors import ArgumentError, ShapeError
from tapegrad.functions import seen as registry

A, B = np.arange(6.0).reshape(2, 3) + 1.0, np.array([0.5, -1.0, 2.0])


class Mixed(nn.Module):
    """Two results of three arguments, of which one is a number."""

    def forward(self, a, factor, b):
        return a * b * factor, a + b


def calls_of(module):
    calls = []
    module.register_full_backward_hook(lambda module, into, out: calls.append(
        [None if g is None else np.array(g.detach().numpy()) for g in (*into, *out)]))
    return calls


def test_a_hook_sees_the_gradients_by_arguments_and_results():
    module = Mixed()
    calls = calls_of(module)
    a, b = tg.tensor(A, requires_grad=True), tg.tensor(B, requires_grad=True)
    product, total = module(a, 3.0, b)
    (2.0 * product).sum().backward()
    (into_a, number, into_b, by_product, by_total), = calls
    assert number is None
    np.testing.assert_array_equal(by_product, np.full((2, 3), 2.0))
    np.testing.assert_array_equal(by_total, np.zeros((2, 3)))  # nothing depends on it
    np.testing.assert_allclose(into_a, np.broadcast_to(6.0 * B, (2, 3)))
    np.testing.assert_allclose(into_b, 6.0 * A.sum(0))
    np.testing.assert_array_equal(a.grad.numpy(), into_a)
    np.testing.assert_array_equal(b.grad.numpy(), into_b)


def test_without_arguments_that_want_gradients_it_sees_those_of_the_results():
    layer = nn.Linear(3, 2, dtype="float64")
    calls = calls_of(layer)
    layer(A).sum().backward()
    assert calls[0][0] is None
    np.testing.assert_array_equal(calls[0][1], np.ones((2, 2)))
    layer.freeze()
    layer(A)
    with tg.no_grad():
        layer(A)
    assert len(calls) == 1


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_hooks_change_gradients_in_every_step(dtype, recorded):
    """The first layer's gradient is tripled, and halved before; as with a learning rate of 3/2."""
    def layers():
        tg.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4, dtype=dtype), nn.Tanh(), nn.Linear(4, 1, dtype=dtype))

    def trained(net, rates):
        optimizer = optim.SGD([{"params": net[k].parameters(), "lr": rate} for k, rate in rates.items()])
        step = tg.TrainStep(lambda x: (net(x) ** 2).mean(), optimizer)
        for k in range(4):
            x = (A + k).astype(dtype)
            if recorded:
                step(x)
            else:
                optimizer.zero_grad()
                (net(x) ** 2).mean().backward()
                optimizer.step()
        return {key: np.array(value) for key, value in net.state_dict().items()}

    hooked, order = layers(), []
    hooked[1].register_full_backward_hook(lambda module, into, out: order.append("seen"))
    hooked[1].register_full_backward_hook(lambda module, into, out: (into[0] * 3.0,), prepend=True)
    hooked[1].register_full_backward_pre_hook(lambda module, out: order.append("before"))
    hooked[1].register_full_backward_pre_hook(lambda module, out: (out[0] * 0.5,))
    found, want = trained(hooked, {0: 0.1, 2: 0.1}), trained(layers(), {0: 0.15, 2: 0.1})
    for key in want:
        np.testing.assert_allclose(found[key], want[key], rtol=1e-5 if dtype == "float32" else 1e-12, err_msg=key)
    assert order == ["before", "seen"] * 4


def test_a_removed_hook_is_not_called_and_a_recorded_step_takes_note():
    layer = nn.Linear(3, 1, dtype="float64")
    step = tg.TrainStep(lambda x: layer(x * tg.ones(3).double()).sum(), optim.SGD(layer.parameters(), lr=0.0))
    step(A)
    calls = []
    with layer.register_full_backward_hook(lambda module, into, out: calls.append(1)):
        step(A)
        step(A)
        step.run(A, batch_size=1, epochs=2)
    step(A)
    assert len(calls) == 6


def test_gradients_with_a_graph_go_through_hooks_too():
    layer = nn.Tanh()
    layer.register_full_backward_hook(lambda module, into, out: (into[0] ** 2,))
    first = tg.grad(lambda x: layer(x).sum())
    a = 0.2 * A
    slope = 1.0 - np.tanh(a) ** 2
    np.testing.assert_allclose(first(a), slope**2, rtol=1e-12)
    second = tg.grad(lambda x: tg.grad(lambda x: layer(x).sum())(x).sum())
    np.testing.assert_allclose(second(a), -4.0 * slope**2 * np.tanh(a), rtol=1e-12)


def test_what_a_hook_raises_is_raised_and_what_does_not_fit_is_named():
    layer = nn.Tanh()
    x = tg.tensor(A, requires_grad=True)
    with layer.register_full_backward_hook(lambda module, into, out: {}[3]), pytest.raises(KeyError, match="3"):
        layer(x).sum().backward()
    with layer.register_full_backward_hook(lambda module, into, out: (into[0][0],)):
        with pytest.raises(ShapeError, match=r"Tanh: a backward hook returned gradients of shapes \[\(3,\)\] for"):
            layer(x).sum().backward()

    class Named(nn.Module):
        def forward(self, x):
            return {"y": x}

    named = Named()
    named.register_full_backward_hook(lambda module, into, out: None)
    with pytest.raises(ArgumentError, match="Named: backward hooks need a forward that gives a tensor or a tuple"):
        named(x)
    layer(x).sum().backward()


def test_calls_are_forgotten_with_their_graphs():
    layer = nn.Tanh()
    layer.register_full_backward_hook(lambda module, into, out: None)
    gc.collect()
    before = len(registry._called)
    x = tg.tensor(A, requires_grad=True)
    for _ in range(5):
        layer(x).sum().backward()
        layer(x)
    gc.collect()
    layer(x)  # the tape gives back what nobody holds when it records
    assert len(registry._called) <= before + 4
