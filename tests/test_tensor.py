"""Tensor: operators, NumPy's protocols, gradients, and what is refused."""

import operator
import threading

import numpy as np
import pytest

import tapegrad as tg

X = np.array([[1.5, -2.0, 0.5], [3.0, 0.25, -1.0]])


def leaf(values, dtype=np.float64):
    return tg.tensor(np.asarray(values, dtype=dtype), requires_grad=True)


def grad(tensor):
    return tensor.grad.numpy()


# ------------------------------------------------------------------
# operators

OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv]
OTHERS = [
    2,
    -3,
    0.5,
    True,
    np.float64(2.5),
    np.float32(0.5),
    np.int64(3),
    np.array([1.0, 2.0, 4.0]),
    np.arange(1, 4),
    np.array(2.0),
]


@pytest.mark.parametrize("other", OTHERS, ids=repr)
@pytest.mark.parametrize("op", OPERATORS, ids=lambda op: op.__name__)
def test_an_operator_takes_numbers_and_arrays_on_both_sides(op, other):
    x = leaf(X)
    for out, expected in ((op(x, other), op(X, other)), (op(other, x), op(other, X))):
        assert isinstance(out, tg.Tensor) and out.requires_grad
        np.testing.assert_allclose(out.numpy(), expected, rtol=1e-15)


def test_power_takes_numbers_and_arrays_on_both_sides():
    x = leaf(np.abs(X))
    for out, expected in (
        (x**2, X**2),
        (x**0.5, np.abs(X) ** 0.5),
        (x ** np.array([1.0, 2.0, 3.0]), np.abs(X) ** np.array([1.0, 2.0, 3.0])),
        (2**x, 2 ** np.abs(X)),
        (np.array([1.0, 2.0, 3.0]) ** x, np.array([1.0, 2.0, 3.0]) ** np.abs(X)),
        (pow(x, 3), np.abs(X) ** 3),
    ):
        np.testing.assert_allclose(out.numpy(), expected, rtol=1e-14)


def test_unary_operators():
    x = leaf(X)
    np.testing.assert_array_equal((-x).numpy(), -X)
    np.testing.assert_array_equal((+x).numpy(), X)
    np.testing.assert_array_equal(abs(x).numpy(), np.abs(X))


@pytest.mark.parametrize(
    "op", [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne], ids=lambda op: op.__name__
)
@pytest.mark.parametrize("other", [0.5, 1, np.array([1.5, 0.0, 0.5]), X[::-1]], ids=["float", "int", "row", "array"])
def test_comparisons_are_those_of_numpy_and_are_not_recorded(op, other):
    x = leaf(X)
    for right in (other, tg.tensor(other) if isinstance(other, np.ndarray) else other):
        out = op(x, right)
        values = np.asarray(out)
        assert values.dtype == bool
        assert not getattr(out, "requires_grad", False)
        np.testing.assert_array_equal(values, op(X, other))


def test_a_comparison_with_nan_is_false_and_unequal():
    x = tg.tensor(np.array([np.nan, 1.0]))
    assert np.asarray(x == x).tolist() == [False, True]
    assert np.asarray(x != x).tolist() == [True, False]
    assert np.asarray(x < 2.0).tolist() == [False, True]


def test_augmented_assignment_rebinds_the_name_and_leaves_the_old_tensor_alone():
    x = leaf(X)
    y = x
    y += 1.0
    y *= 2.0
    y -= 1.0
    y /= 4.0
    np.testing.assert_array_equal(x.numpy(), X)
    np.testing.assert_allclose(y.numpy(), ((X + 1) * 2 - 1) / 4)
    y.sum().backward()
    np.testing.assert_array_equal(grad(x), np.full((2, 3), 0.5))


# ------------------------------------------------------------------
# NumPy's protocols


def test_numpy_ufuncs_record_whatever_side_the_tensor_is_on():
    x = leaf(X)
    for out, expected in (
        (np.exp(x), np.exp(X)),
        (np.add(X, x), X + X),
        (np.multiply(x, X), X * X),
        (X * x, X * X),
        (X @ x.T, X @ X.T),
        (np.subtract(1.0, x), 1 - X),
        (np.maximum(x, 0.0), np.maximum(X, 0)),
        (np.negative(x), -X),
        (np.float64(2.0) * x, 2 * X),
        (np.power(2.0, x), 2.0**X),
    ):
        assert isinstance(out, tg.Tensor) and out.requires_grad
        np.testing.assert_allclose(out.numpy(), expected, rtol=1e-14)


def test_numpy_functions_record():
    x = leaf(X)
    for out, expected in (
        (np.sum(x, axis=0), X.sum(axis=0)),
        (np.mean(x), X.mean()),
        (np.where(X > 0, x, 0.0), np.where(X > 0, X, 0.0)),
        (np.concatenate([x, X]), np.concatenate([X, X])),
        (np.stack([x, x]), np.stack([X, X])),
        (np.clip(x, -1, 1), np.clip(X, -1, 1)),
        (np.reshape(x, (3, 2)), X.reshape(3, 2)),
        (np.einsum("ij->j", x), X.sum(axis=0)),
    ):
        assert isinstance(out, tg.Tensor) and out.requires_grad
        np.testing.assert_allclose(out.numpy(), expected, rtol=1e-14)


def test_shape_functions_of_numpy_answer():
    x = leaf(X)
    assert np.shape(x) == (2, 3) and np.ndim(x) == 2 and np.size(x) == 6


def test_every_method_that_type_checkers_know_is_there_and_no_function_that_takes_no_array_first():
    assert [name for name in METHODS if not hasattr(tg.Tensor, name)] == []
    assert not {"concatenate", "stack", "where", "einsum", "conv2d", "layer_norm"} & set(dir(tg.Tensor))


def test_an_unsupported_numpy_function_raises_a_type_error_that_names_it():
    with pytest.raises(TypeError, match="median|fft"):
        np.median(leaf(X))
    with pytest.raises(TypeError, match="bitwise_and|hypot|floor_divide|arctan2"):
        np.hypot(leaf(X), 1.0)


def test_numpy_out_and_reduce_forms_do_not_silently_lose_the_record():
    x = leaf(X)
    with pytest.raises(TypeError):
        np.exp(x, out=np.zeros((2, 3)))
    target = np.zeros((2, 3))
    with pytest.raises(TypeError):
        target += x


def test_asarray_gives_a_copy_of_the_values():
    x = leaf(X)
    a = np.asarray(x)
    assert type(a) is np.ndarray and a.dtype == np.float64
    a[0, 0] = 100.0
    assert x.numpy()[0, 0] == 1.5
    assert np.asarray(x, dtype=np.float32).dtype == np.float32
    np.testing.assert_array_equal(np.array([x[0], x[1]]), X)


# ------------------------------------------------------------------
# as a Python object


def test_length_and_iteration_go_along_the_first_axis_and_are_recorded():
    x = leaf(X)
    assert len(x) == 2
    total = tg.tensor(np.float64(0.0))
    for k, row in enumerate(x):
        assert row.shape == (3,)
        total = total + (k + 1) * row.sum()
    total.backward()
    np.testing.assert_array_equal(grad(x), [[1.0] * 3, [2.0] * 3])
    a, b = x
    assert b.numpy().tolist() == X[1].tolist()


def test_a_scalar_tensor_has_neither_length_nor_iteration():
    x = leaf(1.0)
    with pytest.raises(TypeError):
        len(x)
    with pytest.raises(TypeError):
        iter(x)


def test_conversions_to_python_numbers():
    x = tg.tensor(np.array([2.5]))
    assert float(x) == 2.5 and int(x) == 2 and bool(x) and x.item() == 2.5 and type(x.item()) is float
    assert not bool(tg.tensor(0.0))
    assert round(float(tg.tensor(np.float32(0.1))), 6) == 0.1
    assert [10, 20][tg.tensor(1)] == 20
    assert f"{float(x):.2f}" == "2.50"


@pytest.mark.parametrize("convert", [float, int, bool, lambda x: x.item()])
def test_conversion_of_many_elements_is_an_error_with_the_shape(convert):
    with pytest.raises((ValueError, TypeError), match="2, 3"):
        convert(leaf(X))


def test_tensors_can_be_keys_of_a_dictionary():
    a, b = leaf(X), leaf(X)
    assert {a: 1, b: 2}[a] == 1


def test_repr_shows_values_dtype_and_that_a_gradient_is_wanted():
    shown = repr(leaf([1.0, 2.5]))
    assert "1." in shown and "2.5" in shown and "float64" in shown and "requires_grad" in shown


def test_facts_of_a_tensor():
    x = tg.tensor(np.zeros((2, 3), dtype=np.float32))
    assert (x.shape, x.ndim, x.size, x.dtype, x.nbytes) == ((2, 3), 2, 6, np.float32, 24)
    assert x.is_leaf and not x.requires_grad and x.grad is None
    assert not (leaf(X) * 2).is_leaf


def test_dtypes_of_new_tensors():
    assert tg.tensor(np.zeros(2)).dtype == np.float64
    assert tg.tensor(np.zeros(2, dtype=np.float32)).dtype == np.float32
    assert tg.tensor([1.0, 2.0]).dtype == np.float32
    assert tg.tensor([1.0, 2.0], dtype=np.float64).dtype == np.float64
    assert tg.tensor([1, 2]).dtype == np.int64
    assert tg.tensor([True]).dtype == bool
    assert tg.tensor(np.zeros(2, dtype=np.float16)).dtype == np.float32
    assert tg.tensor(np.array([1, 2], dtype=np.uint8)).dtype == np.int64


@pytest.mark.parametrize("data", ["text", [object()], np.zeros(2, dtype=complex), None, {"a": 1}])
def test_data_that_is_not_numbers_raises_a_type_error(data):
    with pytest.raises(TypeError) as caught:
        tg.tensor(data)
    assert isinstance(caught.value, tg.TapegradError)


def test_ragged_data_raises_a_value_error():
    with pytest.raises(ValueError):
        tg.tensor([[1.0, 2.0], [3.0]])


def test_the_data_of_a_tensor_are_copied():
    a = np.zeros(3)
    x = tg.tensor(a)
    a[0] = 1.0
    assert x.numpy()[0] == 0.0


@pytest.mark.parametrize(
    "make",
    [
        lambda a: a[::2],
        lambda a: a[::-1],
        lambda a: a.reshape(2, 4).T,
        lambda a: np.broadcast_to(a[:1], (3,)),
        lambda a: a.astype(">f8"),
        np.asfortranarray,
    ],
)
def test_strided_and_foreign_arrays_become_tensors_of_the_same_values(make):
    a = make(np.arange(8.0))
    np.testing.assert_array_equal(tg.tensor(a).numpy(), a)


def test_a_read_only_array_becomes_a_tensor():
    a = np.arange(3.0)
    a.flags.writeable = False
    np.testing.assert_array_equal((tg.tensor(a) + a).numpy(), 2 * a)


# ------------------------------------------------------------------
# gradients


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


# ------------------------------------------------------------------
# what is refused


@pytest.mark.parametrize(
    "change",
    [
        lambda y: y.__setitem__(0, 1.0),
        lambda y: y.__setitem__(slice(None), 0.0),
        lambda y: y.copy_(np.zeros(2)),
    ],
)
def test_an_in_place_change_of_a_recorded_tensor_raises_and_says_what_to_use(change):
    x = leaf([1.0, 2.0])
    y = x * 2.0
    with pytest.raises(RuntimeError, match=r"\.at\[|tg\.where"):
        change(y)
    np.testing.assert_array_equal(y.numpy(), [2.0, 4.0])


def test_requires_grad_of_a_computed_tensor_cannot_be_changed():
    with pytest.raises(RuntimeError, match="leaf|detach"):
        (leaf([1.0]) * 2.0).requires_grad_(False)


def test_requires_grad_of_a_leaf_can_be_changed():
    x = leaf([1.0])
    x.requires_grad_(False)
    assert not (x * 2.0).requires_grad
    x.requires_grad_()
    (x * 2.0).backward()
    assert float(x.grad) == 2.0


def test_a_gradient_of_integers_is_refused():
    with pytest.raises(TypeError, match="int64"):
        tg.tensor([1, 2], requires_grad=True)


@pytest.mark.parametrize(
    "mix",
    [
        lambda a, b: a + b,
        lambda a, b: a @ b,
        lambda a, b: tg.where(np.array([True, False]), a, b),
        lambda a, b: tg.concatenate([a, b]),
        lambda a, b: tg.stack([a, b]),
        lambda a, b: np.multiply(a, b),
        lambda a, b: tg.maximum(a, b),
        lambda a, b: tg.einsum("i,i", a, b),
    ],
)
def test_two_recorded_tensors_of_different_dtypes_raise_a_type_error_that_names_both(mix):
    a, b = leaf([1.0, 2.0], np.float32), leaf([1.0, 2.0], np.float64)
    with pytest.raises(TypeError) as caught:
        mix(a, b)
    assert isinstance(caught.value, tg.TapegradError)
    assert "float32" in str(caught.value) and "float64" in str(caught.value)


def test_a_tensor_that_is_not_recorded_is_cast_to_the_dtype_of_the_recorded_one():
    a = leaf([1.0, 2.0], np.float32)
    for out in (a + tg.tensor(np.ones(2)), tg.tensor(np.ones(2)) * a, a + tg.tensor([1, 2])):
        assert out.dtype == np.float32
