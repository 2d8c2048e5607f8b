"""Ops that move elements and compute nothing: shapes, axes, slices, indices, joins, padding."""

import numpy as np
import pytest

import tapegrad as tg

from .contract import Case, OpContract, close, uniform
from .derivatives import Derivatives


def same_code(name, function, *shapes, reference=None):
    """A case whose reference is the same expression evaluated by NumPy on arrays."""
    inputs = tuple(uniform(shape, -2, 2, seed) for seed, shape in enumerate(shapes))
    return Case(name, function, reference or function, inputs)


class TestShapes(OpContract, Derivatives):
    cases = [
        same_code("reshape(6)", lambda x: x.reshape(6), (2, 3)),
        same_code("reshape((3, 2))", lambda x: x.reshape((3, 2)), (2, 3)),
        same_code("reshape(3, 2)", lambda x: x.reshape(3, 2), (2, 3)),
        same_code("reshape(-1, 2)", lambda x: x.reshape(-1, 2), (2, 3)),
        same_code("reshape(-1)", lambda x: x.reshape(-1), (2, 3, 2)),
        same_code("reshape to scalar", lambda x: x.reshape(()), (1, 1)),
        same_code("reshape of scalar", lambda x: x.reshape(1, 1), ()),
        same_code("reshape of empty", lambda x: x.reshape(3, 0), (0, 2)),
        same_code("reshape of transposed", lambda x: x.T.reshape(2, 3), (2, 3)),
        same_code("reshape of slice", lambda x: x[:, 1:].reshape(-1), (3, 4)),
        same_code("np.reshape", lambda x: np.reshape(x, (3, 2)), (2, 3)),
        same_code("transpose()", lambda x: x.transpose(), (2, 3, 4)),
        same_code("transpose(1, 2, 0)", lambda x: x.transpose(1, 2, 0), (2, 3, 4)),
        same_code("transpose((2, 0, 1))", lambda x: x.transpose((2, 0, 1)), (2, 3, 4)),
        same_code("transpose(-1, 0, 1)", lambda x: x.transpose(-1, 0, 1), (2, 3, 4)),
        same_code(".T", lambda x: x.T, (2, 3)),
        same_code(".T of a vector", lambda x: x.T, (3,)),
        same_code("np.transpose", lambda x: np.transpose(x, (1, 0, 2)), (2, 3, 4)),
        same_code("permute", lambda x: x.permute(2, 0, 1), (2, 3, 4), reference=lambda x: np.transpose(x, (2, 0, 1))),
        same_code("swapaxes", lambda x: x.swapaxes(0, -1), (2, 3, 4)),
        same_code("np.swapaxes", lambda x: np.swapaxes(x, 1, 2), (2, 3, 4)),
        same_code("flatten", lambda x: x.flatten(), (2, 3, 4)),
        same_code("flatten of transposed", lambda x: x.T.flatten(), (2, 3)),
        same_code("flatten of scalar", lambda x: x.flatten(), ()),
        same_code("squeeze", lambda x: x.squeeze(), (1, 3, 1)),
        same_code("squeeze(axis=0)", lambda x: x.squeeze(axis=0), (1, 3, 1)),
        same_code("squeeze(axis=(0, -1))", lambda x: x.squeeze(axis=(0, -1)), (1, 3, 1)),
        same_code("np.squeeze", lambda x: np.squeeze(x), (1, 1)),
        same_code("np.expand_dims(0)", lambda x: np.expand_dims(x, 0), (2, 3)),
        same_code("np.expand_dims(-1)", lambda x: np.expand_dims(x, -1), (2, 3)),
        same_code("np.expand_dims((0, 2))", lambda x: np.expand_dims(x, (0, 2)), (2, 3)),
        same_code("np.broadcast_to(row)", lambda x: np.broadcast_to(x, (2, 3)), (3,)),
        same_code("np.broadcast_to(column)", lambda x: np.broadcast_to(x, (4, 2, 3)), (2, 1)),
        same_code("np.broadcast_to(scalar)", lambda x: np.broadcast_to(x, (2, 2)), ()),
        same_code("np.broadcast_to(empty)", lambda x: np.broadcast_to(x, (0, 3)), (1, 3)),
        same_code("sum of broadcast", lambda x: np.broadcast_to(x, (4, 3)).sum(axis=1), (3,)),
        same_code("flip", lambda x: np.flip(x), (2, 3)),
        same_code("flip(axis=1)", lambda x: np.flip(x, 1), (2, 3)),
        same_code("flip(axis=(0, 2))", lambda x: np.flip(x, (0, 2)), (2, 3, 2)),
        same_code("flip(axis=-1) of empty", lambda x: np.flip(x, -1), (2, 0)),
    ]


SLICES = {
    "[0]": (np.s_[0], (3, 4)),
    "[-1]": (np.s_[-1], (3, 4)),
    "[1, 2]": (np.s_[1, 2], (3, 4)),
    "[-1, -2]": (np.s_[-1, -2], (3, 4)),
    "[:]": (np.s_[:], (3, 4)),
    "[...]": (np.s_[...], (3, 4)),
    "[()] of scalar": (np.s_[()], ()),
    "[1:]": (np.s_[1:], (3, 4)),
    "[:-1]": (np.s_[:-1], (3, 4)),
    "[1:3]": (np.s_[1:3], (5,)),
    "[::2]": (np.s_[::2], (5,)),
    "[1::2]": (np.s_[1::2], (5,)),
    "[::-1]": (np.s_[::-1], (5,)),
    "[::-2]": (np.s_[::-2], (5,)),
    "[4:1:-1]": (np.s_[4:1:-1], (6,)),
    "[-2:0:-2]": (np.s_[-2:0:-2], (6,)),
    "[10:]": (np.s_[10:], (5,)),
    "[3:1]": (np.s_[3:1], (5,)),
    "[-100:100]": (np.s_[-100:100], (5,)),
    "[:, 1]": (np.s_[:, 1], (3, 4)),
    "[:, ::-1]": (np.s_[:, ::-1], (3, 4)),
    "[..., 0]": (np.s_[..., 0], (2, 3, 4)),
    "[0, ...]": (np.s_[0, ...], (2, 3, 4)),
    "[1, ..., ::2]": (np.s_[1, ..., ::2], (2, 3, 4)),
    "[None]": (np.s_[None], (3,)),
    "[:, None]": (np.s_[:, None], (3,)),
    "[None, :, None, 0]": (np.s_[None, :, None, 0], (3, 2)),
    "[..., None]": (np.s_[..., None], (2, 3)),
    "[0:0]": (np.s_[0:0], (3, 2)),
    "[np.int64(1)]": (np.s_[np.int64(1)], (3, 2)),
}

INDICES = {
    "[[0, 2]]": (([0, 2],), (3, 4)),
    "[[2, 0, 0, -1]]": (([2, 0, 0, -1],), (3, 2)),
    "[array]": ((np.array([1, 1, 1]),), (3,)),
    "[2-d array]": ((np.array([[0, 1], [2, 0]]),), (3, 2)),
    "[:, array]": ((slice(None), np.array([3, 0, 3])), (2, 4)),
    "[..., array]": ((..., np.array([0, 0])), (2, 3, 2)),
    "[array, array]": ((np.array([0, 1, 0]), np.array([1, 2, 1])), (2, 3)),
    "[column, row]": ((np.array([[0], [1]]), np.array([2, 0, 2])), (2, 3)),
    "[arange, labels]": ((np.arange(3), np.array([1, 0, 1])), (3, 2)),
    "[array, 1]": ((np.array([0, 2, 2]), 1), (3, 2)),
    "[array, slice]": ((np.array([0, 2, 2]), slice(1, None)), (3, 3)),
    "[array, ::-1]": ((np.array([1, 0]), slice(None, None, -1)), (2, 3)),
    "[array, :, array]": ((np.array([0, 1]), slice(None), np.array([1, 1])), (2, 3, 2)),
    "[:, array, array]": ((slice(None), np.array([0, 1]), np.array([1, 1])), (2, 3, 2)),
    "[0, :, array]": ((0, slice(None), np.array([1, 1, 0])), (2, 3, 2)),
    "[array, None]": ((np.array([1, 0]), None), (2, 3)),
    "[int32 array]": ((np.array([1, 0], dtype=np.int32),), (2, 3)),
    "[uint8 array]": ((np.array([1, 0], dtype=np.uint8),), (2, 3)),
    "[empty]": ((np.array([], dtype=np.int64),), (2, 3)),
    "[mask]": ((np.array([True, False, True]),), (3, 2)),
    "[2-d mask]": ((np.array([[True, False], [False, True], [True, True]]),), (3, 2)),
    "[:, mask]": ((slice(None), np.array([True, False, True])), (2, 3)),
    "[mask, 1]": ((np.array([True, False, True]), 1), (3, 2)),
    "[nothing chosen]": ((np.zeros(3, dtype=bool),), (3, 2)),
    "[all chosen]": ((np.ones((3, 2), dtype=bool),), (3, 2)),
}


class TestSlices(OpContract, Derivatives):
    cases = [same_code(name, lambda x, key=key: x[key], shape) for name, (key, shape) in SLICES.items()] + [
        same_code("slice of a slice", lambda x: x[1:][::2], (7,)),
        same_code("slice of a reversed slice", lambda x: x[::-1][1:3], (6,)),
        same_code("slice of a transpose", lambda x: x.T[1:, ::-1], (2, 3)),
        same_code("overlapping slices", lambda x: x[1:] * x[:-1] + x[1:], (6,)),
        same_code("row plus reversed row", lambda x: x + x[:, ::-1], (2, 3)),
    ]


class TestIndices(OpContract, Derivatives):
    cases = [
        same_code(name, lambda x, key=key: x[key[0] if len(key) == 1 else key], shape)
        for name, (key, shape) in INDICES.items()
    ] + [
        same_code("index of a slice", lambda x: x[:, 1:][np.array([1, 1, 0])], (2, 3)),
        same_code("mask from the values", lambda x: x * (x > 0), (2, 3)),
        same_code("take(flat)", lambda x: np.take(x, np.array([0, 5, 5, -1])), (2, 3)),
        same_code("take(axis=0)", lambda x: np.take(x, np.array([1, 1, 0]), axis=0), (2, 3)),
        same_code("take(axis=1)", lambda x: np.take(x, [2, 0], axis=1), (2, 3)),
        same_code("take(2-d, axis=-1)", lambda x: np.take(x, np.array([[2, 0], [1, 1]]), axis=-1), (2, 3)),
        same_code("take(int)", lambda x: np.take(x, 1, axis=0), (2, 3)),
        same_code("take(method)", lambda x: x.take(np.array([1, 0]), axis=1), (2, 3)),
    ]


class TestJoins(OpContract, Derivatives):
    cases = [
        same_code("concatenate", lambda x, y: np.concatenate([x, y]), (2, 3), (1, 3)),
        same_code("concatenate(axis=1)", lambda x, y: np.concatenate((x, y), axis=1), (2, 3), (2, 1)),
        same_code("concatenate(axis=-1)", lambda x, y: np.concatenate((x, y), axis=-1), (2, 2, 3), (2, 2, 2)),
        same_code("concatenate of three", lambda x, y, z: np.concatenate([x, y, z], 0), (1,), (3,), (2,)),
        same_code("concatenate with empty", lambda x, y: np.concatenate([x, y]), (0, 3), (2, 3)),
        same_code("concatenate of one", lambda x: np.concatenate([x]), (2, 3)),
        same_code("concatenate of itself", lambda x: np.concatenate([x, x], axis=1), (2, 3)),
        same_code("concatenate with slices", lambda x: np.concatenate([x[1:], x[:1]]), (4, 2)),
        same_code("concatenate with a transpose", lambda x: np.concatenate([x, x.T]), (3, 3)),
        same_code("concatenate(axis=None)", lambda x, y: np.concatenate([x, y], axis=None), (2, 3), (2,)),
        same_code("stack", lambda x, y: np.stack([x, y]), (2, 3), (2, 3)),
        same_code("stack(axis=1)", lambda x, y: np.stack([x, y], axis=1), (2, 3), (2, 3)),
        same_code("stack(axis=-1)", lambda x, y: np.stack([x, y], axis=-1), (2, 3), (2, 3)),
        same_code("stack of scalars", lambda x, y: np.stack([x, y]), (), ()),
        same_code("stack of itself", lambda x: np.stack([x, x, x], axis=1), (2, 3)),
        same_code("split in halves", lambda x: np.split(x, 2)[1], (4, 3)),
        same_code("split at indices", lambda x: np.split(x, [1, 3], axis=1)[1], (2, 5)),
        same_code("split, parts multiplied", lambda x: np.split(x, 3)[0] * np.split(x, 3)[2], (6,)),
        same_code("split, some parts unused", lambda x: np.concatenate(np.split(x, [1, 3], axis=-1)[::2], -1), (2, 5)),
        same_code("split with an empty part", lambda x: np.split(x, [2, 2])[1], (4,)),
    ]


class TestPad(OpContract, Derivatives):
    cases = [
        same_code("pad(1)", lambda x: np.pad(x, 1), (2, 3)),
        same_code("pad((1, 2))", lambda x: np.pad(x, (1, 2)), (3,)),
        same_code("pad(((0, 1), (2, 0)))", lambda x: np.pad(x, ((0, 1), (2, 0))), (2, 3)),
        same_code("pad(0)", lambda x: np.pad(x, 0), (2, 3)),
        same_code("pad a scalar axis", lambda x: np.pad(x, ((1, 1), (0, 0), (0, 2))), (1, 2, 1)),
        same_code("pad empty", lambda x: np.pad(x, ((1, 0), (0, 0))), (0, 2)),
        same_code("pad with a value", lambda x: np.pad(x, 1, mode="constant", constant_values=2.5), (2, 3)),
        same_code("tg.pad", lambda x: tg.pad(x, (1, 0)), (2, 3), reference=lambda x: np.pad(x, (1, 0))),
    ]


# ------------------------------------------------------------------
# views


VIEWS = {
    "a slice": lambda x: x[1:, ::2],
    "a negative step": lambda x: x[::-1],
    "an element": lambda x: x[1, 2],
    "a reshape": lambda x: x.reshape(4, 3),
    "a transpose": lambda x: x.T,
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "expand_dims": lambda x: tg.expand_dims(x, 1),
    "split": lambda x: tg.split(x, 2, axis=1)[1],
    "a new axis": lambda x: x[None],
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_appends_no_instruction(name):
    with tg.Tape() as tape:
        x = tg.tensor(uniform((3, 4), -1, 1, 0), requires_grad=True)
        y = x * 2.0
        before = len(tape)
        VIEWS[name](y)
        assert len(tape) == before


def test_a_view_of_a_leaf_sees_a_later_write_to_the_leaf():
    x = tg.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    row = x[1]
    x.copy_(np.arange(6.0).reshape(2, 3) + 10.0)
    assert row.numpy().tolist() == [13.0, 14.0, 15.0]


def test_numpy_of_a_tensor_is_a_copy():
    x = tg.tensor(np.zeros(3))
    x.numpy()[0] = 1.0
    assert x.numpy().tolist() == [0.0, 0.0, 0.0]


def test_gradients_of_many_overlapping_views_of_one_tensor_add_up():
    x = tg.tensor(np.zeros((4, 4)), requires_grad=True)
    y = x * 1.0
    total = y[0].sum() + y[:, 0].sum() + y.T[0].sum() + y[::-1][0].sum() + y.reshape(2, 8)[1].sum() + y[1:3, 1:3].sum()
    total.backward()
    expected = np.zeros((4, 4))
    expected[0] += 1
    expected[:, 0] += 2
    expected[3] += 1
    expected[2:] += 1
    expected[1:3, 1:3] += 1
    np.testing.assert_array_equal(x.grad.numpy(), expected)


# ------------------------------------------------------------------
# spellings and errors

FUNCTIONS = {
    "reshape": lambda f, x: f(x, (3, 2)),
    "transpose": lambda f, x: f(x, (1, 0)),
    "swapaxes": lambda f, x: f(x, 0, 1),
    "squeeze": lambda f, x: f(x[:1], 0),
    "expand_dims": lambda f, x: f(x, 1),
    "broadcast_to": lambda f, x: f(x, (2, 2, 3)),
    "concatenate": lambda f, x: f([x, x], 1),
    "stack": lambda f, x: f([x, x], 1),
    "take": lambda f, x: f(x, [1, 0], 0),
    "pad": lambda f, x: f(x, 1),
    "flip": lambda f, x: f(x, 1),
    "cumsum": lambda f, x: f(x, 1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_layout_function_is_reached_through_tapegrad_and_through_numpy(name):
    x = uniform((2, 3), -1, 1, 0)
    leaf = tg.tensor(x, requires_grad=True)
    expected = FUNCTIONS[name](getattr(np, name), x)
    for namespace in (tg, np):
        out = FUNCTIONS[name](getattr(namespace, name), leaf)
        assert isinstance(out, tg.Tensor) and out.requires_grad
        close(out.numpy(), expected, 1e-15)


def test_joins_take_tensors_and_plain_arrays_together():
    x = tg.tensor(np.ones((2, 2), dtype=np.float32), requires_grad=True)
    for out in (
        tg.concatenate([x, np.zeros((1, 2))]),
        np.concatenate([np.zeros((1, 2)), x]),
        tg.stack([x, np.zeros((2, 2))]),
    ):
        assert isinstance(out, tg.Tensor) and out.dtype == np.float32


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda x: x.reshape(4, 2), ["2, 3", "4, 2"]),
        (lambda x: x.reshape(-1, 4), ["2, 3"]),
        (lambda x: x.reshape(-1, -1), ["-1"]),
        (lambda x: tg.broadcast_to(x, (3, 3)), ["2, 3", "3, 3"]),
        (lambda x: tg.broadcast_to(x, (3,)), ["2, 3", "3"]),
        (lambda x: x.transpose(0, 0), ["0"]),
        (lambda x: x.transpose(0, 1, 2), ["2"]),
        (lambda x: x.squeeze(axis=0), ["2"]),
        (lambda x: tg.concatenate([x, x[:, :2]]), ["2, 3", "2, 2"]),
        (lambda x: tg.stack([x, x[:, :2]]), ["2, 3", "2, 2"]),
        (lambda x: tg.concatenate([]), []),
        (lambda x: tg.split(x, 2, axis=1), ["3"]),
        (lambda x: tg.pad(x, -1), []),
    ],
)
def test_a_layout_that_does_not_fit_is_an_error_that_names_the_shapes_or_axes(call, words):
    with pytest.raises((ValueError, IndexError)) as caught:
        call(tg.tensor(np.zeros((2, 3))))
    assert isinstance(caught.value, tg.TapegradError)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    "key, words",
    [
        (2, ["2"]),
        (-3, ["-3"]),
        ((0, 3), ["3"]),
        ((0, 0, 0), ["3", "2"]),
        (np.array([0, 2]), ["2"]),
        (np.array([0, -3]), ["-3"]),
        ((slice(None), np.array([5])), ["5", "3"]),
        (np.zeros(3, dtype=bool), ["3", "2"]),
        (np.array([0.5]), []),
        ("a", []),
        ((np.array([0, 1]), np.array([0, 1, 2])), ["2", "3"]),
    ],
)
def test_a_wrong_index_raises_an_index_error_that_names_it(key, words):
    with pytest.raises(IndexError) as caught:
        tg.tensor(np.zeros((2, 3)))[key]
    assert isinstance(caught.value, tg.TapegradError)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_take_out_of_range_raises_an_index_error():
    with pytest.raises(IndexError, match="7"):
        tg.take(tg.tensor(np.zeros(3)), [0, 7])


def test_writing_through_an_index_raises_and_names_the_functional_form():
    x = tg.tensor(np.zeros(3), requires_grad=True)
    with pytest.raises(tg.TapegradError, match=r"\.at\[|where"):
        (x * 2)[0] = 1.0


@pytest.mark.parametrize("key", [0, slice(1, None), np.array([0, 2]), np.array([True, False, True])])
def test_at_set_and_add_return_new_tensors_with_the_gradients_of_both(key):
    x, v = np.array([1.0, 2.0, 3.0]), np.float64(5.0)
    a, b = tg.tensor(x, requires_grad=True), tg.tensor(v, requires_grad=True)
    expected_set, expected_add = x.copy(), x.copy()
    expected_set[key] = v
    expected_add[key] += v
    chosen = np.zeros(3)
    chosen[key] = 1.0
    out = a.at[key].set(b)
    np.testing.assert_array_equal(out.numpy(), expected_set)
    out.sum().backward()
    np.testing.assert_array_equal(a.grad.numpy(), 1.0 - chosen)
    assert float(b.grad.numpy()) == chosen.sum()
    np.testing.assert_array_equal(a.at[key].add(b).numpy(), expected_add)
    np.testing.assert_array_equal(a.numpy(), x)


def test_at_add_with_equal_indices_adds_each():
    a = tg.tensor(np.zeros(3), requires_grad=True)
    out = a.at[np.array([1, 1, 2])].add(np.array([1.0, 2.0, 4.0]))
    assert out.numpy().tolist() == [0.0, 3.0, 4.0]


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (1, 2)])
def test_two_integers_swap_axes_whatever_the_number_of_axes(shape):
    x = np.arange(float(np.prod(shape))).reshape(shape)
    swapped = x.swapaxes(0, 1)
    for t in (tg.tensor(x).transpose(0, 1), tg.tensor(x).transpose(1, 0), tg.tensor(x).transpose(-x.ndim, 1)):
        np.testing.assert_array_equal(t.numpy(), swapped)
    order = (0, 1) + tuple(range(2, x.ndim))
    np.testing.assert_array_equal(tg.tensor(x).transpose(order).numpy(), x)
    np.testing.assert_array_equal(np.transpose(tg.tensor(x), order).numpy(), x)
    np.testing.assert_array_equal(np.transpose(tg.tensor(x)).numpy(), x.T)
