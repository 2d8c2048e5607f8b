"""Rows of tables by index, bags of them, one-hot rows."""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad.errors import ArgumentError, DtypeError, IndexRangeError, ShapeError

from .contract import Case, OpContract, uniform
from .derivatives import Derivatives, agree_at

INDEX = np.array([[2, 0, 2], [3, 3, 2]])


def bag(w, mode, padding=None):
    rows = []
    for indices in INDEX:
        kept = [w[k] for k in indices if k != padding]
        total = np.sum(kept, axis=0) if kept else np.zeros(w.shape[1])
        greatest = np.max(kept, axis=0) if kept else total
        rows.append({"mean": total / max(len(kept), 1), "sum": total, "max": greatest}[mode])
    return np.array(rows)


LONG, STARTS, ENDS = np.array([4, 0, 0, 2, 4, 1]), np.array([0, 2, 2]), ((0, 2), (2, 2), (2, 6))
TABLE = (uniform((5, 3), -1, 1, 4),)


PADDED = (
    lambda w: F.embedding(INDEX, w, padding_idx=2) ** 2,
    lambda w: tg.embedding_bag(INDEX, w, mode="mean", padding_idx=2) ** 2,
    lambda w: tg.embedding_bag(INDEX, w, mode="max", padding_idx=2) ** 2,
    lambda w: tg.embedding_bag(LONG, w, STARTS, mode="sum", include_last_offset=True) ** 2,
    lambda w: tg.embedding_bag(LONG[:0], w, [0, 0], mode="mean") ** 2,
    lambda w: tg.embedding_bag(LONG[:0], w[:0], [0, 0], mode="max") ** 2,
)


@pytest.mark.parametrize("f", PADDED)
def test_rules_of_lookups_leave_padding_alone(f):
    (second,) = agree_at(f, TABLE[0])
    assert np.isfinite(second).all()


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_lookups_of_each_of_a_batch_are_those_of_one(mode):
    w, index = uniform((2, 5, 3), -1, 1, 4), np.stack([INDEX, INDEX[::-1]])
    for table_axis, index_axis in ((0, 0), (0, None), (None, 0)):
        def one(w, k):
            return tg.embedding_bag(k, w, mode=mode, padding_idx=3) * F.embedding(k[0, :2], w)

        tables, indices = w if table_axis == 0 else w[0], index if index_axis == 0 else index[0]
        for f in (one, tg.grad(lambda w, k: (one(w, k) ** 2).sum())):
            found = tg.vmap(f, (table_axis, index_axis))(tables, indices)
            for b in range(2):
                alone = f(tg.tensor(w[b] if table_axis == 0 else w[0]), index[b] if index_axis == 0 else index[0])
                np.testing.assert_allclose(found[b], alone.numpy() if isinstance(alone, tg.Tensor) else alone,
                                           atol=1e-14)


class TestEmbedding(OpContract, Derivatives):
    cases = [
        Case("rows", lambda w: F.embedding(INDEX, w), lambda w: w[INDEX], TABLE),
        Case("one row", lambda w: F.embedding(3, w), lambda w: w[3], TABLE),
        Case("no rows", lambda w: F.embedding(np.zeros((0, 2), int), w), lambda w: w[np.zeros((0, 2), int)], TABLE),
        *(Case(f"bag {mode} {padding}", lambda w, m=mode, p=padding: tg.embedding_bag(INDEX, w, mode=m, padding_idx=p),
               lambda w, m=mode, p=padding: bag(w, m, p), TABLE)
          for mode in ("mean", "sum", "max") for padding in (None, 2, 3)),
        Case("weighted bags", lambda w, c: tg.embedding_bag(LONG, w, STARTS, mode="sum", per_sample_weights=c),
             lambda w, c: np.stack([(c[a:b, None] * w[LONG[a:b]]).sum(axis=0) for a, b in ENDS]),
             (*TABLE, uniform((6,), -1, 1, 8))),
    ]  # fmt: skip


def test_padding_row_gets_no_gradient_but_is_read():
    w = tg.tensor(uniform((5, 3), -1, 1, 4), requires_grad=True)
    out = F.embedding(INDEX, w, padding_idx=-3)
    np.testing.assert_array_equal(out.numpy(), w.numpy()[INDEX])
    out.sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), np.array([1, 0, 0, 2, 0])[:, None] * np.ones(3))


def test_sparse_gradient_lists_the_rows_in_the_order_in_which_they_were_read():
    w = tg.tensor(uniform((5, 3), -1, 1, 4), requires_grad=True)
    home = np.zeros((5, 3))
    w.rehome(w.buffer.address, home.__array_interface__["data"][0], (home, w.buffer))
    for index, padding, listed in ((INDEX, 3, [2, 0]), (INDEX, None, [2, 0, 3]), ([], None, []), ([4, 4], 0, [4])):
        w.grad = None
        out = F.embedding(index, w, padding_idx=padding, sparse=True) if len(index) else F.embedding(
            np.zeros(0, int), w, sparse=True)
        out.sum().backward()
        assert w.node.touched.numbers.tolist() == listed
        counts = np.bincount(np.ravel(index).astype(int), minlength=5)
        counts[[] if padding is None else padding] = 0
        np.testing.assert_array_equal(w.grad.numpy(), counts[:, None] * np.ones(3))
    tg.embedding_bag(INDEX, w, mode="mean", padding_idx=2, sparse=True).sum().backward()
    assert w.node.touched.numbers.tolist() == [4, 0, 3]


@pytest.mark.parametrize("other", [
    lambda w: (F.embedding(INDEX, w[1:], sparse=True) ** 2).sum(),  # of a part of the table
    lambda w: (F.embedding(INDEX, 2.0 * w, sparse=True) ** 2).sum(),  # of what was computed from it
    lambda w: (F.embedding([1], w[::-1], sparse=True) ** 2).sum() + (w[2] ** 2).sum(),
    lambda w: (F.embedding(INDEX, w, sparse=True) @ w.T).sum(),  # tied weights
])
def test_gradient_is_right_where_rows_cannot_be_listed(other):
    values = uniform((5, 3), -1, 1, 4)
    dense = tg.tensor(values, requires_grad=True)
    other(dense).backward()
    w = tg.tensor(values, requires_grad=True)
    F.embedding([0, 4], w, sparse=True).sum().backward()
    for _ in range(2):
        w.grad = None
        other(w).backward()
        np.testing.assert_allclose(w.grad.numpy(), dense.grad.numpy(), rtol=1e-14)


def test_a_walk_over_a_part_of_a_retained_recording_lists_again():
    values = uniform((5, 3), -1, 1, 4)
    w = tg.tensor(values, requires_grad=True)
    rows = F.embedding([1, 3], w, sparse=True)
    few, all_rows = (rows ** 2).sum(), (rows @ w.T).sum()
    for loss in (few, all_rows, few):
        loss.backward(retain_graph=True)
    v = tg.tensor(values, requires_grad=True)
    rows = v[np.array([1, 3])]
    (2.0 * (rows ** 2).sum() + (rows @ v.T).sum()).backward()
    np.testing.assert_allclose(w.grad.numpy(), v.grad.numpy(), rtol=1e-14)


def test_indices_are_inputs_of_a_recording():
    w = uniform((5, 3), -1, 1, 4)
    fast = tg.compile(tg.value_and_grad(lambda w, k: (F.embedding(k, w) ** 2.0).sum(), argnums=0))
    for index in (INDEX, INDEX[::-1], 1 + 0 * INDEX):
        value, gradient = fast(w, index)
        np.testing.assert_allclose(value, (w[index] ** 2).sum())
        np.testing.assert_allclose(gradient, 2 * w * np.bincount(index.ravel(), minlength=5)[:, None])


def test_out_of_range_indices_name_index_and_size():
    w = np.ones((5, 3))
    for bad in (5, -1):
        with pytest.raises(IndexRangeError, match=f"{bad} .* 5 rows"):
            F.embedding([0, bad], w)
    fast = tg.compile(lambda k: F.embedding(k, w))
    with pytest.raises(IndexRangeError, match=r"\[5, 3\]"):
        fast(np.array([0, 5]))
    with pytest.raises(DtypeError, match="integers"):
        F.embedding(np.ones(2), w)
    with pytest.raises(ArgumentError, match="padding_idx 5"):
        F.embedding([0], w, padding_idx=5)


def test_one_hot_is_recorded_from_indices_that_are_inputs():
    weights = np.arange(12.0).reshape(3, 4)
    fast = tg.compile(lambda k: (F.one_hot(k, 4) * weights).sum(axis=1))
    for index in ([0, 1, 2], [3, 3, 3]):
        np.testing.assert_array_equal(np.asarray(fast(np.array(index))), weights[np.arange(3), index])
    with pytest.raises(IndexRangeError):
        fast(np.array([0, 4, 0]))
    np.testing.assert_array_equal(tg.one_hot_rows(INDEX, 4).numpy(), np.eye(4)[INDEX])


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("starts", [[1, 2], [0, 3, 2], [0, 7], [0, -1]])
def test_offsets_that_do_not_fit_are_refused_in_both_modes(mode, starts):
    w = tg.tensor(TABLE[0], requires_grad=True)
    with pytest.raises(ArgumentError, match="offsets must begin at 0.* 6 indices"):
        tg.embedding_bag(LONG, w, np.array(starts), mode=mode)
    compiled = tg.compile(lambda offsets: tg.embedding_bag(LONG, TABLE[0], offsets, mode=mode))
    with pytest.raises(ArgumentError, match="offsets must begin at 0"):
        compiled(np.array(starts))


def test_bags_say_which_arguments_do_not_go_together():
    w, factors = TABLE[0], np.ones(6)
    with pytest.raises(ArgumentError, match="per_sample_weights are for mode 'sum'"):
        tg.embedding_bag(LONG, w, STARTS, per_sample_weights=factors)
    with pytest.raises(ShapeError, match=r"\[6\] without offsets"):
        tg.embedding_bag(LONG, w)
    with pytest.raises(ShapeError, match=r"\[2, 3\] with offsets"):
        tg.embedding_bag(LONG.reshape(2, 3), w, STARTS)
    with pytest.raises(ShapeError, match=r"per_sample_weights of shape \[5\]"):
        tg.embedding_bag(LONG, w, STARTS, mode="sum", per_sample_weights=factors[:5])
