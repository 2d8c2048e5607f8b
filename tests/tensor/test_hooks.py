"""``t.register_hook``: what a hook sees and what becomes of what it gives, by differences and by PyTorch's rules."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim


def test_a_hook_on_a_leaf_sees_each_gradient_before_it_is_added():
    x, seen = tg.tensor([1.0, 2.0], requires_grad=True), []
    handle = x.register_hook(lambda g: (seen.append(g.numpy()), 10 * g)[1])
    (x * x).sum().backward()
    (3 * x).sum().backward()
    np.testing.assert_array_equal(seen, [[2.0, 4.0], [3.0, 3.0]])
    np.testing.assert_array_equal(x.grad.numpy(), [50.0, 70.0])
    handle.remove()
    handle.remove()
    x.grad = None
    (x * x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2.0, 4.0])


@pytest.mark.parametrize("keep", [False, True])
def test_a_hook_on_a_result_changes_what_flows_on_through_it_and_nothing_else(keep):
    a, b = (tg.tensor(v, requires_grad=True) for v in ([1.0, 2.0], [3.0, 5.0]))
    seen = {}
    with tg.Tape(keep=keep):
        h = a * b
        y = h + a
        h.register_hook(lambda g: seen.setdefault("h", g.numpy()) * 0 + 7.0)
        y.register_hook(lambda g: seen.update(y=g.numpy()))
        (y * y + h).sum().backward()
    value = np.array([4.0, 12.0])
    np.testing.assert_array_equal(seen["y"], 2 * value)
    np.testing.assert_array_equal(seen["h"], 2 * value + 1)  # over both of its uses
    np.testing.assert_array_equal(a.grad.numpy(), 2 * value + 7 * np.array([3.0, 5.0]))
    np.testing.assert_array_equal(b.grad.numpy(), 7 * np.array([1.0, 2.0]))


def test_several_hooks_are_called_in_order_on_the_loss_and_through_views():
    x, order = tg.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True), []
    h = tg.exp(x)
    h.T.register_hook(lambda g: order.append(g.shape))
    h.register_hook(lambda g: (order.append(g.shape), 2 * g)[1])
    h.register_hook(lambda g: order.append(float(g[0, 0])))
    loss = h.sum()
    loss.register_hook(lambda g: g * 5)
    with x.register_hook(lambda g: order.append("x")):
        loss.backward()
    assert order == [(3, 2), (2, 3), 10.0, "x"]
    np.testing.assert_allclose(x.grad.numpy(), 10 * np.exp(x.detach().numpy()))


@pytest.mark.parametrize("create_graph", [False, True])
def test_hooks_take_part_in_autograd_grad_and_in_second_derivatives(create_graph):
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    h = x**3
    h.register_hook(lambda g: g * 2)
    x.register_hook(lambda g: g * 3)
    dh, dx = tg.autograd.grad((h * h).sum(), [h, x], create_graph=create_graph)
    np.testing.assert_allclose(dh.detach().numpy(), [4.0, 32.0])
    np.testing.assert_allclose(dx.detach().numpy(), [36.0, 1152.0])
    if create_graph:
        again, = tg.autograd.grad(dx.sum(), x)  # of 36 x^5, by the same hooks once more
        assert np.isfinite(again.numpy()).all()
        g = tg.tensor([1.0, 2.0], requires_grad=True)
        g.register_hook(lambda g: g * 3)
        (g**2).sum().backward(create_graph=True)
        np.testing.assert_allclose(g.grad.detach().numpy(), [6.0, 12.0])


def test_gradients_are_clipped_in_the_memory_of_an_optimiser():
    tg.manual_seed(0)
    model = nn.Linear(3, 2)
    opt = optim.SGD(model.parameters(), lr=1.0)
    x = np.arange(12.0, dtype=np.float32).reshape(4, 3)
    for p in model.parameters():
        p.register_hook(lambda g: g.clip(-0.5, 0.5))
    for _ in range(2):
        before = model.weight.numpy()
        opt.zero_grad()
        (model(x) * 100).sum().backward()
        opt.step()
        np.testing.assert_allclose(before - model.weight.numpy(), 0.5, rtol=1e-6)


def test_a_recorded_step_refuses_hooks_also_those_that_come_later():
    model = nn.Linear(2, 1)
    step = tg.TrainStep(lambda x: model(x).sum(), optim.SGD(model.parameters(), lr=0.1))
    x = np.ones((3, 2), np.float32)
    step(x)
    handle = model.weight.register_hook(lambda g: g)
    with pytest.raises(tg.CaptureError, match=r"shape \[1, 2\] has hooks"):
        step(x)
    with pytest.raises(tg.CaptureError, match="has hooks"):
        step(np.ones((4, 2), np.float32))
    handle.remove()
    step(x)
    with pytest.raises(tg.CaptureError, match="register_hook in a recording"):
        tg.compile(lambda x: x.register_hook(print))(x)


def test_what_has_no_gradient_of_its_own_is_refused():
    x = tg.tensor(np.ones((2, 3)), requires_grad=True)
    with pytest.raises(tg.GradientError, match="requires no gradient"):
        tg.tensor(1.0).register_hook(print)
    with pytest.raises(tg.GradientError, match="tg.clone"):
        (x * 2)[0].register_hook(print)
    part = tg.clone((x * 2)[0])
    part.register_hook(lambda g: g * 4)
    part.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[8.0] * 3, [0.0] * 3])
    y = x * 2
    y.register_hook(lambda g: g[0])
    with pytest.raises(tg.ShapeError, match=r"the hook gave shape \[3\]; the gradient has \[2, 3\]"):
        y.sum().backward()
    h = tg.checkpoint(lambda x: tg.exp(tg.sin(x)), x) * 2
    h.register_hook(lambda g: g)
    with pytest.raises(tg.GradientError, match="tg.checkpoint"):
        h.sum().backward()
