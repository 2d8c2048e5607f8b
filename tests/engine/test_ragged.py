"""Rows of different lengths, against lists."""

import numpy as np

from tapegrad.engine.ragged import Ragged

ROWS = [(3, 1), (), (4,), (1, 5, 9), ()]


def test_rows_come_back_as_they_were_given():
    ragged = Ragged.of(ROWS)
    assert ragged.lists == ROWS
    assert ragged.owner.tolist() == [0, 0, 2, 3, 3, 3]
    assert Ragged.of([]).lists == []


def test_rows_are_chosen_by_number_in_any_order_and_more_than_once():
    assert Ragged.of(ROWS).rows(np.array([3, 1, 0, 3])).lists == [ROWS[3], (), ROWS[0], ROWS[3]]
    assert Ragged.of(ROWS).rows(np.zeros(0, np.int64)).lists == []


def test_values_are_chosen_and_rows_stay():
    ragged = Ragged.of(ROWS)
    assert ragged.where(ragged.values > 3).lists == [(), (), (4,), (5, 9), ()]


def test_rows_follow_those_of_another():
    assert Ragged.of(ROWS).joined(Ragged.of([(7, 8), ()])).lists == [*ROWS, (7, 8), ()]
