"""Embedding layers."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.errors import ArgumentError


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
        nn.EmbeddingBag(5, 3, mode="max")
