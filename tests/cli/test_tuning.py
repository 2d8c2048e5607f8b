"""``tapegrad train --tune``."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.cli.problem import Problem
from tapegrad.cli.rows import Rows
from tapegrad.cli.settings import Settings
from tapegrad.cli.tuning import Candidate, _Together, drawn, preferred, tune
from tapegrad.data import Features, Target
from tapegrad.errors import DataError

from .commands import FLOWER, compiled, refuse, succeed

BASE = Settings(hidden=(8,), epochs=16, lr=1e-2, members=2, val_fraction=0.25, patience=16, dtype="float64",
                optimizer="adamw")  # fmt: skip


def waves(rows=120):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 2))
    y = np.sin(2 * X[:, :1]) + 0.1 * rng.normal(size=(rows, 1))
    return Problem("", Features.unscaled(["a", "b"]), Target("y", "regression"), X, y, X[:0], y[:0])


def test_drawn_candidates_begin_with_the_settings_and_leave_what_is_fixed():
    found = drawn(BASE, 40, ("dropout", "lr"), 128, np.random.default_rng(0))
    assert found[0] == BASE and len(found) == 40
    assert {each.dropout for each in found} == {BASE.dropout} and {each.lr for each in found} == {BASE.lr}
    assert len({each.weight_decay for each in found}) > 15
    assert {len(each.hidden) for each in found} == {1, 2, 3} and max(each.hidden[0] for each in found) == 128
    assert len({each.hidden for each in found}) < 12  # some share their shape


@compiled
class TestTune:
    def test_candidates_trained_together_learn_as_each_would_alone(self):
        problem = waves()
        rows = Rows(problem, BASE, masked=True, shared=True)
        found = []
        for others in ([], [replace(BASE, lr=1e-5, weight_decay=0.3), replace(BASE, lr=0.3)]):
            tg.manual_seed(0)
            candidates = [Candidate(each) for each in (BASE, *others)]
            _Together(problem, rows, candidates).train(candidates, 5)
            found.append([each.loss for each in candidates])
        assert found[0][0] == pytest.approx(found[1][0], rel=1e-9)

    def test_each_candidate_has_its_own_rate_and_decay(self):
        problem = waves()
        candidates = [Candidate(replace(BASE, lr=lr, weight_decay=decay)) for lr, decay in
                      ((1e-12, 0.0), (1e-2, 0.0), (1e-12, 1e11))]  # fmt: skip
        group = _Together(problem, Rows(problem, BASE, masked=True, shared=True), candidates)
        before = [committee.weights[0].numpy() for committee in group.committees]
        group.train(candidates, 2)
        still, moved, shrunk = (committee.weights[0].numpy() for committee in group.committees)
        np.testing.assert_allclose(still, before[0], atol=1e-9)
        assert np.abs(moved - before[1]).max() > 0.01
        steps = 2 * 2  # of 64 and of 56 rows; each shrinks by 1 - rate * decay
        np.testing.assert_allclose(shrunk, before[2] * (1 - 1e-12 * 1e11) ** steps, atol=1e-9)

    def test_training_goes_on_with_some_as_if_the_others_had_never_left(self):
        """Halving keeps moments and weights: two stretches with another candidate in the first."""
        problem = waves()
        rows = Rows(problem, BASE, masked=True, shared=True)
        losses = []
        for others in (0, 1):
            tg.manual_seed(0)
            candidates = [Candidate(BASE), *(Candidate(replace(BASE, lr=0.1)) for _ in range(others))]
            group = _Together(problem, rows, candidates)
            group.train(candidates, 4)
            group.train(candidates[:1], 12)
            losses.append(candidates[0].loss)
            assert [each.epochs for each in candidates] == [12, 4][:others + 1]
        assert losses[0] == pytest.approx(losses[1], rel=1e-9)

    def test_the_better_half_is_trained_for_longer_and_the_best_is_first(self):
        problem = waves()
        hopeless = replace(BASE, lr=1e-9)
        found = tune(problem, hopeless, 8, fixed=("hidden", "dropout"))
        assert [each.loss for each in found] == sorted(each.loss for each in found)
        assert sorted(each.epochs for each in found) == [2, 2, 2, 4, 4, 8, 16, 16]
        assert found[0].epochs == 16 and found[0].settings.lr > 1e-4
        assert next(each for each in found if each.settings.lr == 1e-9).epochs == 16  # trained as long, to be compared

    def test_settings_stay_unless_another_is_better_by_more_than_chance(self):
        first = Candidate(BASE, 1.0, losses=np.array([1.0, 1.1, 0.9]))
        luckier = Candidate(BASE, 0.98, losses=np.array([0.7, 1.2, 1.04]))  # 0.02 +- 0.14
        better = Candidate(BASE, 0.9, losses=np.array([0.91, 0.98, 0.81]))  # 0.1 +- 0.009
        assert preferred(first, luckier) is first and preferred(first, better) is better
        assert preferred(Candidate(BASE, losses=np.array([np.inf, 1.0, 1.0])), luckier) is luckier
        alone = [Candidate(BASE, loss, losses=np.array([loss])) for loss in (1.0, 0.99)]
        assert preferred(*alone) is alone[1]

    def test_it_needs_rows_to_choose_by(self):
        with pytest.raises(DataError, match="--val-fraction must not be 0"):
            tune(waves(), replace(BASE, val_fraction=0.0), 4)

    def test_the_command_trains_the_best_and_shows_what_was_tried(self, flower_file):
        arguments = ("train", flower_file, *FLOWER, "--epochs", 8, "--tune", 4, "--members", 2, "--hidden", "8")
        result = json.loads(succeed(*arguments, "--json"))
        tried = result["candidates"]
        assert len(tried) == 4 and {tuple(each["hidden"]) for each in tried} == {(8,)}
        assert [each["validation_loss"] for each in tried[1:]] == sorted(each["validation_loss"] for each in tried[1:])
        text = succeed(*arguments)
        assert "4 candidates, the chosen one first" in text and "validation loss" in text

    def test_layers_that_are_frozen_cannot_be_tuned(self, flower_file):
        assert "--freeze" in refuse("train", flower_file, *FLOWER, "--tune", 4, "--freeze", "0", "--quiet")
