"""Embedding layers."""

import copy

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim
from tapegrad.errors import ArgumentError, IndexRangeError


def test_padding_row_starts_at_zero_and_stays_there():
    tg.manual_seed(1)
    layer = nn.Embedding(6, 3, padding_idx=2)
    assert not layer.weight.numpy()[2].any() and layer.weight.numpy()[[0, 1, 3, 4, 5]].all()
    step = tg.TrainStep(lambda k: (layer(k) - 1.0).square().sum(), optim.SGD(layer.parameters(), lr=0.1))
    index = np.array([[2, 0], [4, 2]])
    for _ in range(60):
        step(index)
    after = layer.weight.numpy()
    assert not after[2].any()
    np.testing.assert_allclose(after[[0, 4]], 1.0, atol=1e-3)


def test_rows_that_are_not_read_do_not_move():
    layer = nn.Embedding(10, 4)
    before = layer.weight.numpy()
    step = tg.TrainStep(lambda k: layer(k).square().sum(), optim.SGD(layer.parameters(), lr=0.1))
    step(np.array([1, 3]))
    step(np.array([3, 7]))
    moved = (before != layer.weight.numpy()).any(axis=1)
    assert np.flatnonzero(moved).tolist() == [1, 3, 7]


def test_pretrained_table_is_frozen_by_default():
    table = np.arange(6.0, dtype=np.float32).reshape(3, 2)
    layer = nn.Embedding.from_pretrained(table)
    assert not layer.weight.requires_grad
    np.testing.assert_array_equal(layer([2, 0]).numpy(), table[[2, 0]])
    assert nn.EmbeddingBag.from_pretrained(table, freeze=False, mode="sum").weight.requires_grad


def test_bag_of_padding_alone_is_zero():
    layer = nn.EmbeddingBag(4, 3, mode="mean", padding_idx=1)
    out = layer(np.array([[1, 1], [1, 2]])).numpy()
    np.testing.assert_array_equal(out, [[0, 0, 0], layer.weight.numpy()[2]])


def test_wrong_arguments_name_the_layer():
    with pytest.raises(ArgumentError, match="Embedding: num_embeddings"):
        nn.Embedding(0, 3)
    with pytest.raises(ArgumentError, match="padding_idx 7"):
        nn.Embedding(5, 3, padding_idx=7)
    with pytest.raises(ArgumentError, match="mode"):
        nn.EmbeddingBag(5, 3, mode="median")
    for options in ({"mode": "max"}, {"sparse": True}):
        with pytest.raises(ArgumentError, match="scale_grad_by_freq is for sums and means"):
            nn.EmbeddingBag(5, 3, scale_grad_by_freq=True, **options)(np.array([[1]]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sparse_table_trains_as_the_dense_one_through_freezing_and_saving(dtype):
    def trained(sparse):
        tg.manual_seed(2)
        table, top = nn.Embedding(20, 4, padding_idx=3, sparse=sparse, dtype=dtype), nn.Linear(4, 1, dtype=dtype)
        model = nn.Sequential(table, top)
        optimizer = optim.Adagrad(model.parameters(), lr=0.1)
        rng = np.random.default_rng(5)
        losses = []
        for part in range(4):
            table.requires_grad_(part != 1)
            step = tg.TrainStep(lambda k, model=model: (model(k) - 1.0).square().mean(), optimizer,
                                accumulate=1 + part % 2)
            losses.append(step.run(rng.integers(0, 20, (32, 2)), batch_size=8, epochs=2, seed=part).loss)
            if part == 2:
                other = nn.Sequential(nn.Embedding(20, 4, padding_idx=3, sparse=sparse, dtype=dtype),
                                      nn.Linear(4, 1, dtype=dtype))
                other.load_state_dict(model.state_dict())
                again = optim.Adagrad(other.parameters(), lr=0.1)
                again.load_state_dict(optimizer.state_dict())
                model, optimizer, table = other, again, other[0]
        return np.concatenate(losses), table

    (losses, table), (expected, dense) = trained(True), trained(False)
    np.testing.assert_allclose(losses, expected, rtol=1e-6 if dtype == "float32" else 1e-13)
    np.testing.assert_allclose(table.weight.numpy(), dense.weight.numpy(), rtol=1e-5, atol=1e-7)
    assert not table.weight.numpy()[3].any()
    assert table.weight.node.touched.numbers is not None


def test_sparse_survives_copies_and_conversion():
    layer = nn.Embedding(6, 2, sparse=True)
    assert "sparse=True" in repr(layer)
    for other in (copy.deepcopy(layer), layer.to("float64"),
                  nn.Embedding.from_pretrained(np.ones((6, 2)), freeze=False, sparse=True)):
        optimizer = optim.SGD(other.parameters(), lr=0.5)
        step = tg.TrainStep(lambda k, other=other: other(k).sum(), optimizer)
        before = other.weight.numpy()
        step([1, 1])
        step([4])
        assert other.weight.node.touched.numbers.tolist() == [4]
        np.testing.assert_allclose((before - other.weight.numpy())[:, 0], [0, 1, 0, 0, 0.5, 0], rtol=1e-6, atol=1e-7)


def test_filling_the_gradients_of_a_model_with_zeros_empties_the_list():
    layer = nn.Embedding(6, 2, sparse=True)
    optim.SGD(layer.parameters())
    layer([5, 1]).sum().backward()
    layer.zero_grad(set_to_none=False)
    assert not layer.weight.grad.numpy().any() and layer.weight.node.touched.numbers.tolist() == []
    layer([2]).sum().backward()
    assert layer.weight.grad.numpy()[:, 0].tolist() == [0, 0, 1, 0, 0, 0]
    assert layer.weight.node.touched.numbers.tolist() == [2]


def test_memory_report_counts_the_list():
    reports = []
    for sparse in (False, True):
        layer = nn.Embedding(800, 2, sparse=sparse)
        step = tg.TrainStep(lambda k, layer=layer: layer(k).sum(), optim.SGD(layer.parameters()))
        step([1, 2])
        reports.append(step.memory())
    dense, sparse = reports
    assert sparse.gradient_bytes == dense.gradient_bytes + 8 * 803 + 800


@pytest.mark.parametrize("order", [2.0, 1.0])
def test_rows_that_are_read_are_scaled_to_a_norm(order):
    values = np.arange(12.0).reshape(4, 3) / 4.0
    layer = nn.Embedding(4, 3, max_norm=1.0, norm_type=order, dtype=np.float64)
    layer.weight.copy_(values)
    out = layer(np.array([[1, 3], [0, 1]])).numpy()
    norms = np.linalg.norm(values, ord=order, axis=1)
    want = values.copy()
    want[[1, 3]] *= (1.0 / (norms[[1, 3]] + 1e-7))[:, None]  # row 0 is short, row 2 is not read
    np.testing.assert_allclose(layer.weight.numpy(), want, rtol=1e-12)
    np.testing.assert_allclose(out, want[[[1, 3], [0, 1]]], rtol=1e-12)
    step = tg.TrainStep(lambda i: layer(i).sum(), optim.SGD(layer.parameters(), lr=0.1))
    step(np.array([2]))
    want[2] = want[2] / (norms[2] + 1e-7) - 0.1
    np.testing.assert_allclose(layer.weight.numpy(), want, rtol=1e-12)
    with pytest.raises(IndexRangeError, match="index 4 lies outside the 4 rows"):
        step(np.array([4]))
    for weight in (values, tg.tensor(values, requires_grad=True) * 1.0):
        with pytest.raises(tg.InPlaceError, match="max_norm overwrites rows of the table"):
            F.embedding(np.array([1]), weight, max_norm=1.0)
    for options in ({"max_norm": -1.0}, {"max_norm": 1.0, "norm_type": 0}):
        with pytest.raises(ArgumentError, match="the one is at least 0"):
            F.embedding(np.array([1]), layer.weight, **options)


def test_a_recorded_step_divides_gradients_by_the_frequencies_of_its_batch():
    layer = nn.Embedding(4, 2, scale_grad_by_freq=True, dtype=np.float64)
    layer.weight.copy_(np.zeros((4, 2)))
    step = tg.TrainStep(lambda i: layer(i).sum(), optim.SGD(layer.parameters(), lr=1.0))
    step(np.array([0, 1, 1, 1]))
    np.testing.assert_allclose(layer.weight.numpy()[:, 0], [-1, -1, 0, 0], rtol=1e-12)
    step(np.array([2, 2, 1, 0]))
    np.testing.assert_allclose(layer.weight.numpy()[:, 0], [-2, -2, -1, 0], rtol=1e-12)
    with pytest.raises(ValueError, match="needs a dense gradient"):
        nn.Embedding(4, 2, scale_grad_by_freq=True, sparse=True)(np.array([1]))


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("padding", [None, 2])
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_bags_divide_gradients_by_the_frequencies_of_the_indices(mode, flat, padding, recorded):
    """By the formula: PyTorch 2.13 takes the counts of other indices."""
    index = np.random.default_rng(2).integers(0, 6, (4, 5))
    starts = np.array([0, 3, 3, 9]) if flat else np.arange(4) * 5
    layer = nn.EmbeddingBag(6, 2, mode=mode, scale_grad_by_freq=True, padding_idx=padding, dtype=np.float64)
    g = np.random.default_rng(3).normal(size=(4, 2))
    want = np.zeros((6, 2))
    for bag, (begin, end) in enumerate(zip(starts, [*starts[1:], 20])):
        own = [k for k in index.ravel()[begin:end] if k != padding]
        for k in own:
            want[k] += g[bag] / (index == k).sum() / (len(own) if mode == "mean" else 1)
    before = layer.weight.numpy().copy()
    step = tg.TrainStep(lambda *of: (layer(*of) * g).sum(), optim.SGD(layer.parameters(), lr=1.0))
    given = (index.ravel(), starts) if flat else (index,)
    plain = F.embedding_bag(given[0], before, *given[1:], mode=mode, padding_idx=padding).numpy()
    np.testing.assert_array_equal(layer(*given).numpy(), plain)
    if recorded and not flat:
        step(*given)
        found = before - layer.weight.numpy()
    else:
        (layer(*given) * g).sum().backward()
        found = layer.weight.grad.numpy()
    np.testing.assert_allclose(found, want, rtol=1e-11, atol=1e-12)
