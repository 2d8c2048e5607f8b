"""Integers stay integers, exactly, where nothing but integers is given; `test_recorded_integers` has recordings."""

import numpy as np
import pytest

import tapegrad as tg

BIG = 2**24 + 1  # no float32
A = np.array([[BIG, 5, -BIG], [-7, 2**53 + 1, 0]])
B = np.array([[3, -2, 2**40 + 1], [BIG, 1, 9]])
MASK = np.array([[True, False, True], [False, False, True]])
AT = np.array([1, 0, 1])


def written(values, axis, at, source, adds):
    """A copy of an array with slices of `source` along an axis at indices."""
    y = np.moveaxis(values.copy(), axis, 0)
    for k, row in zip(at, np.moveaxis(np.broadcast_to(source, np.moveaxis(y[at], 0, axis).shape), axis, 0)):
        y[k] = y[k] + row if adds else row
    return np.moveaxis(y, 0, axis)


CASES = {
    "where": (lambda x, y: tg.where(tg.tensor(MASK), x, y), np.where(MASK, A, B)),
    "where a number": (lambda x, y: tg.where(tg.tensor(MASK), x, 0), np.where(MASK, A, 0)),
    "concatenate": (lambda x, y: tg.concatenate([x, y.T.T, A], axis=1), np.concatenate([A, B, A], axis=1)),
    "concatenate many": (lambda x, y: tg.cat([x] * 300), np.concatenate([A] * 300)),
    "concatenate one": (lambda x, y: tg.cat([x]), A),
    "stack": (lambda x, y: tg.stack([x, y], axis=1), np.stack([A, B], axis=1)),
    "roll": (lambda x, y: tg.roll(x, 1, 0), np.roll(A, 1, 0)),
    "diff": (lambda x, y: tg.diff(x, prepend=0), np.diff(A, prepend=0)),
    "diagflat": (lambda x, y: tg.diagflat(x), np.diagflat(A)),
    "set": (lambda x, y: x.at[0, 1:].set([1, BIG]), np.array([[BIG, 1, BIG], A[1]])),
    "set of a transposed": (lambda x, y: x.T.at[1].set(4).T, np.array([[BIG, 4, -BIG], [-7, 4, 0]])),
    "add": (lambda x, y: x.at[[0, 0]].add(y[0]), np.array([A[0] + 2 * B[0], A[1]])),
    "scatter": (lambda x, y: tg.scatter(x, 0, tg.tensor([[1, 0]]), y), np.array([[BIG, -2, -BIG], [3, 2**53 + 1, 0]])),
    "scatter a number": (lambda x, y: x.scatter(1, tg.tensor([[2], [0]]), 1), np.array([[BIG, 5, 1], [1, *A[1, 1:]]])),
    "scatter_add": (lambda x, y: tg.scatter_add(x, 1, tg.tensor([[2, 2, 2], [0, 1, 0]]), y),
                    A + np.array([[0, 0, B[0].sum()], [BIG + 9, 1, 0]])),
    "index_add": (lambda x, y: tg.index_add(x, 0, AT, np.array([B[0]] * 3)), written(A, 0, AT, B[0], True)),
    "index_add of columns": (lambda x, y: tg.index_add(x, 1, [0, -1], B[:, :2], alpha=2),
                             written(A, 1, [0, 2], 2 * B[:, :2], True)),
    "index_copy": (lambda x, y: tg.index_copy(x, 1, tg.tensor([2]), y[:, :1]), written(A, 1, [2], B[:, :1], False)),
    "index_fill": (lambda x, y: tg.index_fill(x, 1, tg.tensor([2, 0]), BIG), written(A, 1, [2, 0], BIG, False)),
    "masked_scatter": (lambda x, y: tg.masked_scatter(x, tg.tensor(MASK), y),
                       np.array([[3, 5, -2], [-7, 2**53 + 1, B[0, 2]]])),
    "power": (lambda x, y: tg.power(x, 2), A**2),
    "fmod": (lambda x, y: tg.fmod(x, 7), np.fmod(A, 7)),
    "fmax": (lambda x, y: tg.fmax(x, y), np.fmax(A, B)),
    "fmin": (lambda x, y: tg.fmin(x, 0), np.fmin(A, 0)),
    "floor": (lambda x, y: x.floor(), A),
    "ceil": (lambda x, y: tg.ceil(x), A),
    "trunc": (lambda x, y: x.trunc(), A),
    "relu": (lambda x, y: x.relu(), np.maximum(A, 0)),
    "div": (lambda x, y: tg.div(x, y, rounding_mode="trunc"), np.sign(A) * np.sign(B) * (abs(A) // abs(B))),
    "and": (lambda x, y: x & y, A & B),
    "or": (lambda x, y: 12 | x, A | 12),
    "xor": (lambda x, y: x ^ B, A ^ B),
    "not": (lambda x, y: ~x, ~A),
}


@pytest.mark.parametrize("name", CASES)
def test_functions_of_integers_are_exact(name):
    function, expected = CASES[name]
    x, y = tg.tensor(A), tg.tensor(B)
    found = function(x, y)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found.numpy(), expected)
    np.testing.assert_array_equal(x.numpy(), A)


IN_PLACE = ["index_add_ index_add of columns", "index_fill_ index_fill", "scatter_ scatter a number", "pow_ power",
            "fmod_ fmod", "floor_ floor", "trunc_ trunc", "relu_ relu"]
ARGUMENTS = {"index_add_": (1, tg.tensor([0, -1]), tg.tensor(2 * B[:, :2])), "pow_": (2,), "fmod_": (7,),
             "index_fill_": (1, tg.tensor([2, 0]), BIG), "scatter_": (1, tg.tensor([[2], [0]]), 1)}


@pytest.mark.parametrize("names", IN_PLACE)
def test_integers_are_changed_in_place_exactly(names):
    name, _, case = names.partition(" ")
    x = tg.tensor(A)
    assert getattr(x, name)(*ARGUMENTS.get(name, ())) is x
    np.testing.assert_array_equal(x.numpy(), CASES[case][1])


@pytest.mark.parametrize("call", [
    lambda: tg.tensor([1, 2]).div_(2), lambda: tg.tensor([1, 2]).add_(1.5), lambda: tg.tensor([1, 2]).exp_(),
    lambda: tg.tensor([True]).mul_(2), lambda: tg.tensor([1, 2]).clamp_(0.5), lambda: tg.tensor([1, 2]).fmod_(0.5),
])
def test_a_result_that_would_be_cut_is_not_written_in_place(call):
    with pytest.raises(tg.DtypeError, match="would be cut"):
        call()


def test_truths_stay_truths_and_are_written_as_such():
    mask = tg.tensor([True, False])
    for found in (mask.at[1].set(True), tg.cat([mask]) | mask.flip(0), mask ^ mask.flip(0)):
        assert found.dtype == np.bool_
        np.testing.assert_array_equal(found.numpy(), [True, True])


def test_beside_floats_integers_become_floats():
    i, x = tg.tensor([1, 2]), tg.tensor([0.5, 0.25], requires_grad=True)
    assert tg.cat([i, x]).requires_grad and tg.where(tg.tensor([True, False]), i, x).dtype == np.float32


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("take", [lambda x, at: x[at], lambda x, at: x.take(at), lambda x, at: x.at[at].set(1.0),
                                  lambda x, at: x.at[at].add(1.0)])
def test_an_index_that_a_recording_computes_is_of_integers(take, dtype):
    x = np.arange(8.0, dtype=dtype)
    with pytest.raises(tg.CaptureError, match="a bool index that depends"):
        tg.compile(lambda x: take(x, x > 0.0))(x)
    for factor in (0.0, 0.5):
        with pytest.raises(tg.CaptureError, match=r"convert the index with \.long\(\)"):
            tg.compile(lambda x, i, factor=factor: take(x, factor * i))(x, np.array([2, 5]))
    found = tg.compile(lambda x, i: take(x, i // 2))(x, np.array([2, 5]))
    np.testing.assert_array_equal(found.numpy(), take(tg.tensor(x), tg.tensor([1, 2])).numpy())


def test_a_number_has_no_elements_to_write_to_at_an_index_of_a_recording():
    with pytest.raises(tg.ShapeError, match="a number has no elements"):
        tg.compile(lambda x, i: x.at[i].add(1.0))(np.array(1.0), np.array([0]))


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e19])
@pytest.mark.parametrize("call", [
    lambda v: tg.tensor([1, 2]).masked_fill(tg.tensor([True, False]), v), lambda v: tg.tensor([1, 2]).fill_(v),
    lambda v: tg.tensor([1, 2]).masked_fill_(tg.tensor([True, False]), v), lambda v: tg.full((2,), v, dtype=np.int64),
    lambda v: tg.full_like(tg.tensor([1, 2]), v), lambda v: tg.tensor([1]).new_full((2,), v),
    lambda v: tg.tensor([1, 2]).masked_fill(tg.tensor([True, False]), tg.tensor(v)),
])
def test_integers_are_not_filled_with_what_is_none_of_them(call, value):
    with pytest.raises(tg.DtypeError, match="is no number of int64"):
        call(value)


def test_integers_are_filled_without_the_fraction_and_truths_with_truths():
    assert tg.tensor([1, 2]).masked_fill(tg.tensor([True, False]), 3.5).tolist() == [3, 2]
    assert tg.full_like(tg.tensor([True, False]), np.inf).tolist() == [True, True]
    assert tg.full((1,), BIG, dtype=np.int64).tolist() == [BIG]


@pytest.mark.parametrize("index", [2, -1])
def test_an_index_outside_is_named(index):
    with pytest.raises(tg.IndexRangeError, match=f"index {index} lies outside the extent 2 of axis 0"):
        tg.scatter(tg.tensor(A), 0, tg.tensor([[index]]), 1)
