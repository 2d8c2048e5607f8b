"""Tensor: gradients, and what `backward` leaves behind."""

import threading

import numpy as np
import pytest

import tapegrad as tg

X = np.array([[1.5, -2.0, 0.5], [3.0, 0.25, -1.0]])


def leaf(values, dtype=np.float64):
    return tg.tensor(np.asarray(values, dtype=dtype), requires_grad=True)


def grad(tensor):
    return tensor.grad.numpy()


def test_gradients_accumulate_until_they_are_set_to_none():
    x = leaf([1.0, 2.0])
    for k in (1, 2, 3):
        (x * x).sum().backward()
        np.testing.assert_array_equal(grad(x), k * 2 * np.array([1.0, 2.0]))
    x.grad = None
    (3 * x).sum().backward()
    np.testing.assert_array_equal(grad(x), [3.0, 3.0])


def test_zero_grad_of_an_optimiser_starts_over():
    from tapegrad import nn, optim

    model = nn.Linear(2, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    x = np.ones((4, 2), dtype=np.float32)
    gradients = []
    for _ in range(2):
        optimizer.zero_grad()
        model(tg.tensor(x)).sum().backward()
        gradients.append(model.weight.grad.numpy())
    np.testing.assert_array_equal(gradients[0], [[4.0, 4.0]])
    np.testing.assert_array_equal(gradients[0], gradients[1])


def test_a_leaf_that_is_not_reached_has_no_gradient():
    x, y = leaf(X), leaf(X)
    (x * 2).sum().backward()
    assert y.grad is None


def test_a_gradient_has_the_shape_and_dtype_of_its_leaf():
    for dtype in (np.float32, np.float64):
        x = leaf(X, dtype)
        (x + np.zeros((5, 2, 3))).sum().backward()
        assert x.grad.shape == (2, 3) and x.grad.dtype == dtype
        assert not x.grad.requires_grad


def test_backward_of_a_leaf_itself_gives_one():
    x = leaf(2.0)
    x.backward()
    assert float(x.grad) == 1.0
    x.backward()
    assert float(x.grad) == 2.0


def test_backward_of_a_non_scalar_needs_a_gradient_of_its_shape():
    x = leaf(X)
    with pytest.raises(RuntimeError, match="gradient="):
        (x * 2).backward()
    with pytest.raises(ValueError, match="2, 3"):
        (x * 2).backward(gradient=np.ones(3))
    (x * 2).backward(gradient=X)
    np.testing.assert_array_equal(grad(x), 2 * X)
    y = leaf(X)
    (y * 2).backward(tg.tensor(X))
    np.testing.assert_array_equal(grad(y), 2 * X)


@pytest.mark.parametrize("shape", [(1,), (1, 1)])
def test_one_element_of_any_shape_counts_as_a_scalar(shape):
    x = leaf(np.full(shape, 3.0))
    (x * x).backward()
    np.testing.assert_array_equal(grad(x), np.full(shape, 6.0))


def test_backward_from_a_broadcast_view_of_a_recorded_tensor_sums_over_the_repetitions():
    x = leaf([1.0, 2.0, 3.0])
    g = np.arange(6.0).reshape(2, 3)
    tg.broadcast_to(x * 2.0, (2, 3)).backward(gradient=g)
    np.testing.assert_array_equal(grad(x), 2 * g.sum(axis=0))


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[1],
        lambda a: a[:, ::2],
        lambda a: a.T,
        lambda a: a[::-1, 1:],
        lambda a: a.reshape(3, 2),
        lambda a: a[None, 0],
    ],
)
def test_backward_from_a_view_of_a_recorded_tensor_reaches_its_elements_only(view):
    x = leaf(X)
    g = np.arange(1.0, view(X).size + 1.0).reshape(view(X).shape)
    view(x * 2.0).backward(gradient=g)
    expected = np.zeros((2, 3))
    view(expected)[...] += 2 * g
    np.testing.assert_array_equal(grad(x), expected)


def test_gradients_flow_through_views_and_what_is_computed_beside_them():
    x = leaf(X)
    y = tg.tanh(x)
    (y[0] * y[1]).sum().backward(retain_graph=True)
    t = np.tanh(X)
    np.testing.assert_allclose(grad(x), (1 - t * t) * t[::-1], rtol=1e-14)
    y.T[1:].sum().backward()
    np.testing.assert_allclose(grad(x), (1 - t * t) * (t[::-1] + [0, 1, 1]), rtol=1e-14)


def test_the_gradient_may_be_read_used_and_changed_like_any_tensor():
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    kept = grad(x)
    (x.grad * 10.0).numpy()
    (x * x).sum().backward()
    np.testing.assert_array_equal(kept, [2.0, 4.0])
    x.grad = np.array([5.0, 6.0])
    (x * 1.0).sum().backward()
    np.testing.assert_array_equal(grad(x), [6.0, 7.0])
    with pytest.raises(ValueError, match="3"):
        x.grad = np.zeros(3)


def test_interleaved_graphs_do_not_disturb_each_other():
    x, y = leaf([2.0]), leaf([3.0])
    a = x * x
    b = y * y
    c = a * 5.0
    d = b * 7.0
    d.backward()
    c.backward()
    assert float(x.grad) == 20.0 and float(y.grad) == 42.0


def test_two_losses_over_a_shared_trunk_need_the_first_to_retain():
    x = leaf([2.0])
    trunk = x * x
    a, b = trunk * 3.0, trunk * 4.0
    a.backward(retain_graph=True)
    b.backward()
    assert float(x.grad) == 28.0
    c, d = (lambda t: (t * 3.0, t * 4.0))(x * x)
    c.backward()
    with pytest.raises(RuntimeError, match="retain_graph"):
        d.backward()


def test_retain_graph_lets_backward_run_again_and_adds():
    x = leaf([2.0])
    y = x**3
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    y.backward()
    assert float(x.grad) == 36.0


def test_a_second_backward_raises_and_names_retain_graph():
    y = leaf([2.0]) ** 2
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph") as caught:
        y.backward()
    assert isinstance(caught.value, tg.TapegradError)


def test_the_value_of_a_tensor_stays_after_backward():
    x = leaf(X)
    y = tg.exp(x)
    y.sum().backward()
    for _ in range(50):
        (leaf(X) * 3.0).sum().backward()
    np.testing.assert_allclose(y.numpy(), np.exp(X), rtol=1e-15)


def test_a_tensor_used_after_its_backward_either_counts_as_data_or_raises_but_is_never_silently_wrong():
    x = leaf([2.0])
    y = x * x
    y.backward()
    z = y * 3.0
    assert float(z) == 12.0
    with pytest.raises(RuntimeError, match="retain_graph|detach"):
        z.backward()
    assert float(x.grad) == 4.0


def test_backward_without_a_record_raises():
    with pytest.raises(RuntimeError, match="require"):
        (tg.tensor(2.0) * 3.0).backward()


def test_detach_keeps_the_values_and_cuts_the_history():
    x = leaf([3.0])
    y = x * x
    cut = y.detach()
    assert not cut.requires_grad and float(cut) == 9.0
    (cut * x).backward()
    assert float(x.grad) == 9.0


def test_no_grad_records_nothing_as_context_and_as_decorator():
    x = leaf([3.0])
    with tg.no_grad():
        assert not tg.is_grad_enabled()
        y = x * x
    assert tg.is_grad_enabled() and not y.requires_grad

    @tg.no_grad()
    def f(a):
        return a * a

    assert not f(x).requires_grad
    assert (x * x).requires_grad


def test_no_grad_ends_when_an_exception_leaves_it():
    with pytest.raises(KeyError), tg.no_grad():
        raise KeyError
    assert tg.is_grad_enabled()


def test_no_grad_of_one_thread_does_not_reach_another():
    seen = []
    with tg.no_grad():
        thread = threading.Thread(target=lambda: seen.append((leaf([1.0]) * 2.0).requires_grad))
        thread.start()
        thread.join()
    assert seen == [True]
