"""The settings of a sweep."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from tapegrad.errors import ArgumentError
from tapegrad.sweeps.space import cell, grouped, identity, parsed, points


def test_lists_are_crossed_in_the_order_of_their_values():
    found = points({"a": [1, 2], "b": range(2), "c": "text", "d": np.array([0.5])}, 5, 0)
    assert found == [{"a": a, "b": b, "c": "text", "d": 0.5} for a in (1, 2) for b in (0, 1)]
    assert all(type(value) in (int, str, float) for settings in found for value in settings.values())


def test_each_combination_has_its_own_draws_and_they_fill_the_distribution():
    found = points({"a": [1, 2], "lr": scipy.stats.loguniform(1e-4, 1e-1)}, 200, 3)
    rates = np.array([settings["lr"] for settings in found])
    assert len(set(rates)) == 400
    assert scipy.stats.kstest(np.log(rates), "uniform", (np.log(1e-4), np.log(1e3))).pvalue > 0.001


def test_what_was_drawn_stays_when_a_space_grows():
    lr = scipy.stats.uniform()
    small = points({"a": [1], "lr": lr}, 2, 0)
    for grown in (points({"a": [2, 1], "lr": lr}, 3, 0), points({"lr": lr, "a": [1]}, 2, 0)):
        for settings in small:
            assert settings in grown
    assert not any(settings in points({"a": [1], "lr": lr}, 2, 1) for settings in small)


def test_repeats_share_their_draws():
    found = points({"seed": [0, 1], "a": [1, 2], "lr": scipy.stats.uniform()}, 3, 0, ["seed"])
    rates = {seed: [each["lr"] for each in found if each["seed"] == seed] for seed in (0, 1)}
    assert rates[0] == rates[1] and len(set(rates[0])) == 6


def test_numbers_that_are_drawn_again_are_run_once():
    found = points({"n": scipy.stats.randint(0, 3)}, 50, 0)
    assert sorted(settings["n"] for settings in found) == [0, 1, 2]


@pytest.mark.parametrize("space, said", [
    ({"a": []}, "a has no values"),
    ({"status": [1]}, "'status' cannot name a setting"),
    ({3: [1]}, "3 cannot name a setting"),
    ({"a": [1, 2, 1.0]}, "a has a value twice: 1.0"),
    ({"a": [1, "1"]}, "a has a value twice"),
    ({"a": [object()]}, "a has a value that a table cannot hold, of type object"),
])  # fmt: skip
def test_a_space_that_cannot_be_swept_is_refused_with_the_name(space, said):
    with pytest.raises(ArgumentError, match=said):
        points(space, 1, 0)


@pytest.mark.parametrize("value", [0, -3, 2**60, 1.0, 0.1, 1e-300, True, None, "relu", "1e-3", "None", (64, 32), [1.5],
                                   len, float("inf")])  # fmt: skip
def test_a_value_is_known_again_after_it_was_text(value):
    text = "" if cell(value) is None else str(cell(value))
    assert identity(parsed(text)) == identity(value)


def test_groups_differ_in_nothing_but_what_may_differ():
    settings = points({"width": [4, 8], "lr": [0.1, 0.2, 0.3]}, 1, 0)
    assert grouped(settings, range(6), ("lr",), 2) == [[0, 1], [2], [3, 4], [5]]
    assert grouped(settings, [5, 1], (), 9) == [[5], [1]]
