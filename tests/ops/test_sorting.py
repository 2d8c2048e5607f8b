"""sort, argsort, topk, argmax and argmin against NumPy; their gradients; their indices in a recording."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.errors import ArgumentError, IndexRangeError, ShapeError
from tapegrad.functions.reductions import exclusive_prod

from .contract import Case, OpContract, grid, uniform
from .derivatives import Derivatives


def best(x, k, axis, sign=-1.0):
    return np.take(np.sort(sign * x, axis=axis), range(k), axis) * sign


def others(x):
    return np.stack([np.prod(np.delete(x, k, -1), -1) for k in range(x.shape[-1])], -1)


class TestOrder(OpContract, Derivatives):
    cases = [
        Case("sort", tg.sort, lambda x: np.sort(x), (grid((3, 5), 1),), ties=False),
        Case("sort first axis", lambda x: tg.sort(x, 0), lambda x: np.sort(x, 0), (grid((14, 2), 2),), ties=False),
        Case("sort flattened", lambda x: tg.sort(x, None), lambda x: np.sort(x, None), (grid((3, 9), 3),), ties=False),
        Case("sort descending", lambda x: tg.sort(x, descending=True), lambda x: -np.sort(-x), (grid((2, 3, 13), 4),),
             ties=False),
        Case("topk", lambda x: tg.topk(x, 2)[0], lambda x: best(x, 2, -1), (grid((3, 9), 5),), ties=False),
        Case("topk of most", lambda x: tg.topk(x, 4, 0)[0], lambda x: best(x, 4, 0), (grid((5, 3), 6),), ties=False),
        Case("topk least", lambda x: tg.topk(x, 1, 1, largest=False)[0], lambda x: best(x, 1, 1, 1.0),
             (grid((2, 6, 2), 7),), ties=False),
        Case("cumprod", lambda x: tg.cumprod(x, 1), lambda x: np.cumprod(x, 1), (uniform((3, 5), -1.5, 1.5, 8),)),
        Case("products of all but one", exclusive_prod, others, (uniform((2, 5), -1.5, 1.5, 8),)),
        Case("products of all but one of one", exclusive_prod, others, (uniform((2, 1), 0.5, 1.5, 8),)),
        Case("products of all but one with zeros", exclusive_prod, others,
             (np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 4.0]]),)),
        Case("cumprod first axis", lambda x: tg.cumprod(x, axis=0), lambda x: np.cumprod(x, 0),
             (uniform((4, 2, 2), 0.5, 1.5, 9),)),
        Case("cumprod flattened", tg.cumprod, np.cumprod, (uniform((2, 3), 0.5, 1.5, 10),)),
        Case("cumprod with zeros", lambda x: tg.cumprod(x, -1), lambda x: np.cumprod(x, -1),
             (np.array([[1.5, 0.0, 2.0, -1.0], [0.0, 0.0, 3.0, 0.5], [2.0, -1.0, 0.5, 0.0]]),)),
    ]  # fmt: skip


def with_edges(dtype, n, seed=0):
    """Three rows of few different values, with NaN and infinities where there is room."""
    x = np.random.default_rng(seed).integers(0, 9, (3, n)).astype(dtype)
    if n > 3:
        x[0, [1, 3]], x[1, 2], x[2, 0] = np.nan, np.inf, -np.inf
    return x


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("n", [0, 1, 2, 12, 13, 25, 300])
def test_order_is_that_of_numpy_with_ties_nan_and_infinities(n, dtype):
    x = with_edges(dtype, n) if dtype != np.int64 else np.random.default_rng(1).integers(-5, 5, (3, n))
    t = tg.tensor(x)
    for axis in (0, 1, None):
        np.testing.assert_array_equal(tg.argsort(t, axis).numpy(), np.argsort(x, axis, kind="stable"))
        np.testing.assert_array_equal(np.sort(t, axis=axis).numpy(), np.sort(x, axis))


@pytest.mark.parametrize("n", [1, 7, 40, 200])
def test_descending_order_begins_with_nan_and_keeps_equal_elements_in_order(n):
    x = with_edges(np.float64, n)
    rank = np.where(np.isnan(x), np.inf, 2.0 * np.clip(x, -100, 100))  # NaN beyond inf
    want = np.argsort(-rank, axis=1, kind="stable")
    np.testing.assert_array_equal(tg.argsort(x, descending=True).numpy(), want)
    for k in {0, 1, n // 5, n}:  # by insertion and by sorting
        values, indices = tg.topk(x, k)
        np.testing.assert_array_equal(indices.numpy(), want[:, :k])
        np.testing.assert_array_equal(values.numpy(), np.take_along_axis(x, want[:, :k], 1))
        least = tg.topk(x, k, largest=False)[1].numpy()
        np.testing.assert_array_equal(least, np.argsort(x, axis=1, kind="stable")[:, :k])
    integers = np.random.default_rng(2).integers(0, 4, (2, n))
    np.testing.assert_array_equal(tg.argsort(integers, descending=True).numpy(),
                                  np.argsort(-integers, axis=1, kind="stable"))


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("keepdims", [False, True])
def test_argmax_and_argmin_are_those_of_numpy(axis, keepdims):
    x = with_edges(np.float32, 6)
    for array in (x, np.nan_to_num(x), np.arange(6).reshape(2, 3) % 4):
        for name in ("argmax", "argmin"):
            found = getattr(tg.tensor(array), name)(axis, keepdims)
            assert found.dtype == np.int64
            np.testing.assert_array_equal(found.numpy(), getattr(np, name)(array, axis, keepdims=keepdims))


def test_indices_of_a_recording_select_in_it_and_its_gradient_follows():
    w = np.arange(12.0).reshape(4, 3)

    def loss(x, w):
        chosen = tg.topk(x, 2, axis=0)[1]
        return (w[chosen[:, 1]] * 2.0).sum() + tg.take(w, tg.argmax(x[:, 0]), 0).sum()

    recorded = tg.compile(tg.value_and_grad(loss, argnums=1))
    for seed in (1, 2, 3):
        x = grid((4, 3), seed)
        rows = [*np.argsort(-x[:, 1])[:2], np.argmax(x[:, 0])]
        value, gradient = recorded(x, w)
        want = np.zeros((4, 3))
        np.add.at(want, rows, [[2.0], [2.0], [1.0]])
        assert value == pytest.approx((want * w).sum())
        np.testing.assert_allclose(gradient, want)


def test_arguments_that_do_not_fit_are_named():
    x = tg.tensor(np.ones((2, 3)))
    with pytest.raises(ShapeError, match=r"k is 4.*\[2, 3\]"):
        tg.topk(x, 4)
    with pytest.raises(IndexRangeError, match="argsort: axis 2"):
        tg.argsort(x, 2)
    with pytest.raises(ArgumentError, match="'stable'"):
        tg.sort(x, -1, "stable")
    with pytest.raises(ShapeError, match=r"argmax.*\[2, 0\]"):
        tg.argmax(np.ones((2, 0)), 1)
