"""Early stopping, averaged networks, class weights and cross-validation."""

from __future__ import annotations

import json

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn
from tapegrad.cli.committee import Committee
from tapegrad.cli.network import Network, SavedModel, outputs
from tapegrad.cli.problem import TableOptions, load_problem
from tapegrad.cli.settings import Settings
from tapegrad.cli.stopping import Best
from tapegrad.cli.training import Run
from tapegrad.data import fold_rows
from tapegrad.errors import DataError

from .commands import FAST, FLOWER, compiled, refuse, succeed


def test_best_keeps_the_parameters_of_the_lowest_loss_and_stops_when_patience_ends():
    layer = nn.Linear(2, 1)
    best = Best(layer, 1, patience=2)
    stops, values = [], []
    for loss in (3.0, np.nan, 1.0, 2.0, 1.0):
        layer.weight.copy_(np.full((1, 2), loss, np.float32))
        values.append(layer.weight.numpy())
        stops.append(best.observe(np.array([loss])))
    assert stops == [False, False, False, False, True] and best.epoch.tolist() == [3] and best.loss.tolist() == [1.0]
    layer.weight.copy_(np.zeros((1, 2), np.float32))
    best.restore()
    np.testing.assert_array_equal(layer.weight.numpy(), values[2])


def test_each_member_keeps_its_own_best():
    members = Committee(Network(2, (3,), 1), 2)
    best = Best(members, 2, patience=1)
    for epoch, losses in enumerate(([2.0, 1.0], [1.0, 5.0], [4.0, 4.0])):
        members.biases[1].copy_(np.full((2, 1), epoch, np.float32))
        assert best.observe(np.array(losses)) == (epoch == 2)
    best.restore()
    assert best.epoch.tolist() == [2, 1]
    np.testing.assert_array_equal(members.biases[1].numpy(), [[1.0], [0.0]])


def test_a_loss_that_was_never_finite_restores_nothing():
    layer = nn.Linear(1, 1)
    best = Best(layer, 1, patience=1)
    layer.weight.copy_(np.full((1, 1), 7.0, np.float32))
    assert best.observe(np.array([np.nan]))
    best.restore()
    assert layer.weight.numpy() == 7.0


@pytest.mark.parametrize("hidden", [(), (4,), (4, 3), (5, 4, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_merged_network_gives_the_mean_of_the_members(hidden, dtype):
    tg.manual_seed(0)
    members = Committee(Network(3, hidden, 2, "tanh", 0.3, dtype), 4).eval()
    X = np.random.default_rng(0).normal(size=(9, 3)).astype(dtype)
    # layer by layer in NumPy, of each member by itself
    expected = np.zeros((9, 2))
    for m in range(4):
        x = X
        for k, (weight, bias) in enumerate(zip(members.weights, members.biases)):
            x = x @ weight.numpy()[m].T + bias.numpy()[m]
            x = np.tanh(x) if k < len(hidden) else x
        expected += x / 4
    network, module = members.merged()
    assert network.hidden == tuple(4 * units for units in hidden)
    np.testing.assert_allclose(outputs(module, X), expected, atol=1e-6)


def test_members_begin_apart_and_drop_other_units():
    tg.manual_seed(0)
    members = Committee(Network(3, (8,), 1, dropout=0.5), 3).train()
    assert len({w.tobytes() for w in members.weights[0].numpy()}) == 3
    members.weights[1].copy_(np.ones((3, 1, 8), np.float32))
    members.weights[0].copy_(np.ones((3, 8, 3), np.float32))
    out = members(tg.tensor(np.ones((40, 3), np.float32))).numpy()[..., 0]
    assert len({row.tobytes() for row in out}) == 3


@compiled
class TestRuns:
    def problem(self, flower_file, seed=0):
        options = TableOptions(target="kind", categorical=("place",))
        return load_problem(flower_file, options, seed)

    def test_training_stops_early_and_gives_the_best_weights_on_the_validation_rows(self, flower_file):
        problem = self.problem(flower_file)
        run = Run(problem, Settings(hidden=(64,), epochs=300, lr=0.05, val_fraction=0.3, patience=4))
        run.train()
        assert run.epochs_done == run.best.epoch[0] + 4 < 300
        assert run.rows_validated == 36 and len(run.given[0]) == 84
        losses = [loss for _, loss in run.history.validation]
        assert run.best.loss[0] == min(losses) < losses[-1]
        rows = run.rows.validation[0]
        logits = outputs(run.module, problem.inputs[rows].astype(np.float32))
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        assert -np.log(shares[np.arange(36), problem.targets[rows]]).mean() == pytest.approx(min(losses), rel=1e-3)
        # classes in equal shares, no row on both sides
        assert np.bincount(problem.targets[rows]).tolist() == [12, 12, 12]
        taught = {row.tobytes() for row in run.given[0]}
        assert not any(problem.inputs[row].astype(np.float32).tobytes() in taught for row in rows)

    def test_no_member_learns_from_the_rows_that_stop_it(self, flower_file):
        """What a member learns does not change with the labels of its validation rows."""
        problem = self.problem(flower_file)
        settings = Settings(hidden=(4,), epochs=3, members=3, val_fraction=0.2, patience=3)
        found = []
        for spoilt in (False, True):
            run = Run(problem, settings)
            if spoilt:
                rows = run.rows.validation[1]
                run.given[1] = run.given[1].copy()
                run.given[1][rows] = (run.given[1][rows] + 1) % 3
            run.best = None
            run.train()
            found.append(run.trained.weights[0].numpy())
        assert np.array_equal(found[0][1], found[1][1])
        assert not np.array_equal(found[0][0], found[1][0])

    def test_one_of_several_networks_learns_as_it_would_alone(self, flower_file):
        """The loss of several is the sum of theirs to the optimiser, and their mean to the reader."""
        problem = self.problem(flower_file)
        settings = Settings(hidden=(4,), epochs=2, optimizer="sgd", lr=0.5, members=3, dtype="float64")
        run = Run(problem, settings)
        first = [w.numpy()[0] for w in run.trained.weights], [b.numpy()[0] for b in run.trained.biases]
        run.train()
        alone = Run(problem, Settings(hidden=(4,), epochs=2, optimizer="sgd", lr=0.5, dtype="float64"))
        for k, layer in enumerate(layer for layer in alone.module if isinstance(layer, nn.Linear)):
            layer.weight.copy_(first[0][k])
            layer.bias.copy_(first[1][k])
        alone.train()
        np.testing.assert_allclose(run.trained.weights[0].numpy()[0], alone.module[0].weight.numpy(), rtol=1e-9)
        assert abs(run.losses[0] - alone.losses[0]) < 0.5 and run.losses[0] < 2.0

    def test_balanced_classes_find_more_of_the_rare_one(self, file):
        rng = np.random.default_rng(0)
        kind = (rng.random(600) < 0.08).astype(int)
        x = rng.normal(size=(600, 2)) + 1.2 * kind[:, None]
        path = file("a,b,kind\n" + "\n".join(f"{a:.4f},{b:.4f},{k}" for (a, b), k in zip(x, kind)))
        found = {}
        for way in ((), ("--class-weight", "balanced")):
            text = succeed("train", path, "--target", "kind", "--epochs", 30, "--json", *way)
            found[way] = json.loads(text)
        plain, balanced = found[()], found["--class-weight", "balanced"]
        assert balanced["balanced_accuracy"] > plain["balanced_accuracy"] + 0.1
        assert balanced["models"]["linear"]["balanced_accuracy"] > plain["models"]["linear"]["balanced_accuracy"] + 0.1

    def test_saved_model_of_several_networks_predicts_as_the_scores_say(self, flower_model):
        model, data, result = flower_model
        assert result["members"] == 5 and len(result["best_epochs"]) == 5 and result["rows_validated"] == 24
        problem = load_problem(data, TableOptions(target="kind", categorical=("place",)), 0)
        saved = SavedModel.load(model)
        right = outputs(saved.module, problem.held_inputs.astype(np.float32)).argmax(axis=1) == problem.held_targets
        assert right.mean() == result["accuracy"]

    def test_folds_and_simpler_models_are_in_table_and_json(self, flower_file):
        text = succeed("train", flower_file, *FLOWER, *FAST, "--folds", 3)
        for words in ("linear model", "most frequent", "3 folds", "±", "balanced accuracy", "ROC AUC", "log loss",
                      "rows to learn from", "to decide when to stop", "30 test rows"):
            assert words in " ".join(text.split()), words
        result = json.loads(succeed("train", flower_file, *FLOWER, *FAST, "--folds", 3, "--json"))
        assert [sorted(fold) for fold in result["folds"]] == [["baseline", "linear", "network"]] * 3
        assert result["models"]["baseline"]["accuracy"] == pytest.approx(1 / 3)
        assert result["models"]["linear"]["accuracy"] > 0.9

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--folds", 151), "150 rows are too few for 151 folds"),
            (("--members", 2, "--freeze", "0"), "leave --members out"),
            (("--class-weight", "rare"), "'rare' is none of balanced"),
            (("--class-weight", "balanced", "--target", "long", "--categorical", "kind"), "'long' holds values"),
            (("--patience", 0), "'0' is not a whole number of at least 1"),
        ],
    )
    def test_options_that_cannot_be_are_refused(self, flower_file, arguments, words):
        assert words in refuse("train", flower_file, *FLOWER, *FAST, "--quiet", "--json", *arguments)


def test_folds_hold_out_each_row_once_with_the_shares_of_classes():
    classes = np.array([0] * 60 + [1] * 30 + [2])
    folds = fold_rows(91, 3, 0, classes)
    assert sorted(np.concatenate([held for _, held in folds])) == list(range(90))  # not the only row of the third
    for training, held in folds:
        assert sorted([*training, *held]) == list(range(91)) and 90 in training
        assert np.bincount(classes[held]).tolist() == [20, 10]
    assert not np.array_equal(fold_rows(91, 3, 1, classes)[0][1], folds[0][1])
    with pytest.raises(DataError, match="too few for 10 folds"):
        fold_rows(9, 10, 0)
