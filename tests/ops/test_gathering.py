"""Gathering and scattering by index, and what is said of an index that is out of range."""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad.errors import IndexRangeError

TABLE = np.arange(15.0).reshape(5, 3)
BY_INDEX = {
    "embedding": (lambda x, k: F.embedding(k, x), 5, "index 5 .* 5 rows"),
    "embedding_bag": (lambda x, k: tg.embedding_bag(k[None], x), -1, "index -1 .* 5 rows"),
    "one_hot": (lambda x, k: tg.one_hot_rows(k, 5) @ x, 70, "index 70 .* 5 classes"),
    "cross_entropy": (lambda x, k: F.cross_entropy(x[:4].T, k), 4, "index 4 .* 4 classes"),
    "nll_loss": (lambda x, k: F.nll_loss(x[:4].T, k), -3, "index -3 .* 4 classes"),
    "take": (lambda x, k: tg.take(x, k, axis=0), -6, "index -6 .* extent 5"),
    "getitem": (lambda x, k: x[k, 1], 5, "index 5 .* extent 5"),
    "at_add": (lambda x, k: x.at[k].add(1.0), 5, "index 5 .* extent 5"),
    "far": (lambda x, k: F.embedding(k, x), -(2**63), "index -.* or beyond .* 5 rows"),
}


@pytest.mark.parametrize("name", BY_INDEX)
def test_a_replayed_call_names_the_index_and_the_extent_and_goes_on_with_good_ones(name):
    function, bad, message = BY_INDEX[name]
    recorded = tg.compile(function)
    good = np.array([0, 2, 1])
    first = np.asarray(recorded(TABLE, good)).copy()
    with pytest.raises(IndexRangeError, match=message):
        recorded(TABLE, np.array([0, bad, 1]))
    np.testing.assert_array_equal(np.asarray(recorded(TABLE, good)), first)
    with pytest.raises(IndexError, match=str(bad) if name != "far" else "index -"):
        function(tg.tensor(TABLE), tg.tensor(np.array([0, bad, 1])))


def test_an_epoch_names_the_index_that_is_out_of_range():
    model = tg.nn.Embedding(5, 3)
    step = tg.TrainStep(lambda k: model(k).sum(), tg.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(IndexRangeError, match="index 77 .* 5 rows"):
        step.run(np.array([0, 1, 2, 77]), batch_size=2)
