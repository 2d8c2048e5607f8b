"""Tensor: operators, NumPy's protocols, and what is refused."""

import copy
import operator

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn
from tapegrad.errors import GradientError, InPlaceError
from tapegrad.tensor.methods import METHODS

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
    with pytest.raises(TypeError, match="np.fft.fft"):
        np.fft.fft(leaf(X))
    with pytest.raises(TypeError, match="np.nextafter"):
        np.nextafter(leaf(X), 1.0)


def test_numpy_out_and_reduce_forms_do_not_silently_lose_the_record():
    x = leaf(X)
    with pytest.raises(TypeError):
        np.exp(x, out=np.zeros((2, 3)))
    target = np.zeros((2, 3))
    with pytest.raises(TypeError):
        target += x


def test_asarray_gives_a_copy_of_the_values():
    x = leaf(X).detach()
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


def test_a_number_is_formatted_as_pythons_and_a_tensor_as_its_text():
    loss = leaf(1.23456)
    assert f"{loss:.3f}" == "1.235" and f"{loss:>8.2e}" == "1.23e+00" and f"{tg.tensor(7):5d}" == "    7"
    assert f"{loss}" == str(loss) and f"{leaf(X)}" == str(leaf(X)) and f"{tg.tensor([2.5]):.1f}" == "2.5"
    with pytest.raises(ValueError, match="2, 3"):
        f"{leaf(X):.3f}"


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


def test_a_gradient_given_to_a_view_of_a_leaf_lies_as_the_view_does():
    w, g = tg.tensor(np.ones((2, 2)), requires_grad=True), np.array([[1.0, 2.0], [3.0, 4.0]])
    w.T.grad = g
    np.testing.assert_array_equal(w.grad.numpy(), g.T)
    w[::-1].grad = g
    np.testing.assert_array_equal(w.grad.numpy(), g[::-1])
    with pytest.raises(GradientError, match="part of a leaf"):
        w[:1].grad = g[:1]


# ------------------------------------------------------------------ augmented assignment


AUGMENTED = [operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ipow]


@pytest.mark.parametrize("change", AUGMENTED)
@pytest.mark.parametrize("make", [
    lambda w: tg.tensor(w, requires_grad=True), lambda w: nn.Parameter(tg.tensor(w)),
    lambda w: nn.Parameter(tg.tensor(w), requires_grad=False),
])
def test_under_no_grad_it_changes_a_parameter_for_all_who_hold_it(change, make):
    """As NumPy's and PyTorch's; a loop ``for p in model.parameters(): p -= step`` trains."""
    w = np.array([1.0, 2.0, 3.0])
    held = p = make(w)
    with tg.no_grad():
        p = change(p, np.array([0.5, 0.25, 2.0]))
    assert p is held
    np.testing.assert_allclose(held.numpy(), change(w, np.array([0.5, 0.25, 2.0])), rtol=1e-15)


def test_a_loop_of_plain_gradient_steps_trains_the_model():
    model, x = nn.Linear(3, 1, bias=False, dtype=np.float64), np.arange(6.0).reshape(2, 3)
    w = model.weight.numpy()
    for _ in range(3):
        model.zero_grad()
        (model(tg.tensor(x)) ** 2).sum().backward()
        with tg.no_grad():
            for p in model.parameters():
                p -= 0.01 * p.grad
        w = w - 0.01 * 2 * (x @ w.T).T @ x
    np.testing.assert_allclose(model.weight.numpy(), w, rtol=1e-12)


def test_where_it_would_lose_the_change_of_a_parameter_or_its_history_it_raises():
    p, x = nn.Parameter(tg.tensor(np.ones(2))), np.array([1.0, 2.0])
    frozen = nn.Parameter(tg.tensor(np.ones(2)), requires_grad=False)
    for target, step in ((p, 1.0), (frozen, p)):
        with pytest.raises(InPlaceError, match=r"test_tensor.py:\d+: -= changes a parameter in place.*no_grad"):
            operator.isub(target, step)

    def moving(x):
        with tg.no_grad():
            operator.imul(frozen, 0.5)
        return (frozen * x).sum()

    with pytest.raises(InPlaceError, match="a replay would not do"):
        tg.compile(moving)(x)
    np.testing.assert_array_equal(frozen.numpy(), np.ones(2))


def test_of_other_tensors_it_gives_the_name_a_new_one():
    def f(x):
        y = x
        y *= 3.0
        y += x
        return (x * y).sum()

    x = np.array([1.0, 2.0])
    np.testing.assert_array_equal(tg.grad(f)(x), 8 * x)
    np.testing.assert_array_equal(tg.compile(tg.grad(f))(x), 8 * x)
    t = tg.tensor(x, requires_grad=True)
    f(t).backward()
    np.testing.assert_array_equal(t.grad.numpy(), 8 * x)


@pytest.mark.parametrize("made", [lambda: tg.tensor(X), lambda: tg.tensor(X) * 2.0, lambda: nn.Parameter(X),
                                  lambda: copy.deepcopy(tg.tensor(X)), lambda: leaf(X.T).T])
@pytest.mark.parametrize("name, value, remedy", [("shape", (3, 2), "reshape"), ("dtype", np.float32, "astype"),
                                                 ("strides", (1, 2), "transpose")])
def test_what_lays_memory_out_cannot_be_assigned(made, name, value, remedy):
    t = made()
    before = getattr(t, name)
    with pytest.raises(InPlaceError, match=f"test_tensor.py:.* the {name} of a tensor .*{remedy}"):
        setattr(t, name, value)
    assert getattr(t, name) == before
