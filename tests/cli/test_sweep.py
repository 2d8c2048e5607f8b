"""``tapegrad sweep``."""

from __future__ import annotations

import csv
import json
import shlex
from dataclasses import replace

import numpy as np
import pytest

from tapegrad.cli import together
from tapegrad.cli.settings import Settings
from tapegrad.cli.sweep_config import parsed_options, read_config
from tapegrad.cli.training import Run
from tapegrad.data import Target
from tapegrad.errors import DataError
from tapegrad.sweeps.space import points

from .commands import compiled, refuse, run, succeed
from .test_tuning import waves

HEAD = 'data = "flowers.csv"\ntarget = "kind"\ncategorical = ["place"]\nepochs = 4\n'


@pytest.fixture
def config(flower_file):
    """A function that writes a configuration beside the flowers."""

    def write(text, head=HEAD):
        path = flower_file.with_name("sweep.toml")
        path.write_text(head + text)
        return path

    return write


def test_options_are_read_as_the_command_line_reads_them(config):
    found = read_config(config("""
        seed = 3
        repeats = 2
        samples = 40
        [grid]
        hidden = [[16, 8], "none", "4"]
        batch-size = [16, 32]
        [random]
        lr = { low = 1e-4, high = 1e-2, log = true }
        members = { low = 1, high = 3 }
        optimizer = { choice = ["sgd", "adam"] }
    """))
    space = found.space
    assert space["hidden"] == ["16,8", "none", "4"] and space["batch_size"] == [16, 32] and space["seed"] == [3, 4]
    assert space["data"] == str(config("").with_name("flowers.csv")) and found.samples == 40
    drawn = points(space, found.samples, found.seed)
    assert len(drawn) == 3 * 2 * 2 * 40
    rates = np.array([each["lr"] for each in drawn])
    assert 1e-4 <= rates.min() < 1.2e-4 and 0.9e-2 < rates.max() <= 1e-2
    assert abs(np.median(np.log10(rates)) + 3) < 0.15
    counts = np.bincount([each["members"] for each in drawn], minlength=4)
    assert counts[0] == 0 and counts[1:].min() > 120
    assert {each["optimizer"] for each in drawn} == {"sgd", "adam"}
    options = parsed_options(drawn[0])
    assert options["hidden"] == "16,8" and options["categorical"] == ["place"] and options["epochs"] == 4
    assert options["lr"] == drawn[0]["lr"] and options["patience"] is None


@pytest.mark.parametrize("text, said", [
    ("lr = 0.1", "names one run; give values to try, such as [grid]"),
    ("[grid]\nlr = [0.1, -1.0]", "[grid] lr = -1.0: '-1.0' is not a positive number"),
    ("[grid]\nlr = 0.1", "[grid] lr = 0.1: is not a list of values to try, such as [0.1]"),
    ("[grid]\noptimizer = ['adma']", "[grid] optimizer = 'adma': 'adma' is none of adam,"),
    ("[grid]\nlearning_rates = [1]", "[grid] learning_rates: no option of tapegrad train has this name"),
    ("[grid]\npatiense = [1]", "did you mean patience?"),
    ("save = 'a'\n[grid]\nlr = [1]", "save: is for a single run; leave it out"),
    ("mpi = true\n[grid]\nlr = [1]", "mpi: is for a single run; leave it out"),
    ("lr = 0.1\n[grid]\nlr = [1]", "[grid] lr = [1]: is given as lr already; leave one out"),
    ("samples = 3\n[grid]\nlr = [1]", "samples = 3: is how often to draw from [random], and there is none"),
    ("repeats = 0\n[grid]\nlr = [1]", "repeats = 0: is not a whole number of at least 1"),
    ("repeats = 2\n[grid]\nseed = [1]", "repeats = 2: seeds follow from the first one, and [grid] seed gives several"),
    ("[random]\nlr = 0.1", "[random] lr = 0.1: is not of the form { low = 0.001"),
    ("[random]\nlr = {low = 0.0, high = 1.0}", "'0.0' is not a positive number"),
    ("[random]\nweight-decay = {low = 0.0, high = 1.0, log = true}", "has no logarithm at low = 0.0"),
    ("[random]\nlr = {low = 2, high = 1}", "low and high are numbers, low the smaller one"),
    ("[random]\nmembers = {low = 1, high = 2.5}", "'2.5' is not a whole number"),
    ("cache = 1\n[grid]\nlr = [1]", "cache = 1: 1 is neither true nor false"),
    ("dropout = [0.1]\n[grid]\nlr = [1]", "dropout = [0.1]: is a list, and one value is taken"),
    ("lr = {a = 1}\n[grid]\nepochs = [1]", "lr: is a table; ranges stand below [random]"),
    ("[grid]\nlr = [1", "is not TOML"),
    ("[grid]\nlr = [1]\n[gird]", "no option of tapegrad train has this name; did you mean grid?"),
])  # fmt: skip
def test_a_mistake_is_one_line_with_key_value_and_remedy(text, said, config):
    with pytest.raises(DataError) as caught:
        read_config(config(text))
    line = " ".join(str(caught.value).split())
    assert line.startswith(f"{config('')}: ") and said in line


@compiled
class TestTogether:
    @pytest.mark.parametrize("members, val_fraction, optimizer, class_weight", [
        (1, 0.25, "adam", None), (3, 0.25, "adamw", None), (1, 0.0, "sgd", None), (2, 0.25, "rmsprop", "balanced"),
    ])  # fmt: skip
    def test_each_of_several_learns_as_it_would_alone(self, members, val_fraction, optimizer, class_weight):
        problem = waves()
        if class_weight is not None:
            classes = (problem.targets[:, 0] > 0.5).astype(np.int64)
            problem = replace(problem, target=Target("y", "classification", [0, 1]), targets=classes,
                              held_targets=classes[:0])
        base = dict(hidden=(8, 4), epochs=12, members=members, val_fraction=val_fraction, patience=2,
                    optimizer=optimizer, dtype="float64", class_weight=class_weight, seed=5)
        settings = [Settings(**base, lr=lr, weight_decay=decay) for lr, decay in ((3e-3, 0.0), (0.2, 0.0), (0.02, 0.1))]
        runs = [Run(problem, each, stacked=True) for each in settings]
        assert all(map(together.can_be_together, runs)) and together.train_together(runs) == [True] * 3
        stopped = set()
        for each, beside in zip(settings, runs, strict=True):
            alone = Run(problem, each)
            alone.train()
            assert alone.epochs_done == beside.epochs_done
            stopped.add(alone.epochs_done)
            if alone.best is not None:
                np.testing.assert_allclose(beside.best.loss, alone.best.loss, rtol=1e-9)
                np.testing.assert_array_equal(beside.best.epoch, alone.best.epoch)
            assert beside.score() == pytest.approx(alone.score(), rel=1e-7)
        assert len(stopped) > 1 or val_fraction == 0.0 or class_weight

    def test_what_has_masks_or_frozen_layers_is_trained_alone(self):
        problem = waves()
        for changed in ({"dropout": 0.1}, {"frozen": ("0",)}):
            assert not together.can_be_together(Run(problem, Settings(hidden=(4,), **changed), stacked=True))

    def test_a_run_that_diverges_leaves_the_others_as_they_are(self):
        problem = waves()
        settings = [Settings(hidden=(8,), epochs=6, lr=lr, optimizer="sgd", val_fraction=0.25) for lr in (1e-2, 1e9)]
        runs = [Run(problem, each, stacked=True) for each in settings]
        assert together.train_together(runs) == [True, False]
        alone = Run(problem, settings[0])
        alone.train()
        assert runs[0].best.loss[0] == pytest.approx(alone.best.loss[0], rel=1e-4)


@compiled
def test_runs_are_those_of_the_train_command_and_the_best_one_is_named(config, monkeypatch):
    text = 'members = 2\n[grid]\nlr = [0.001, 0.03]\nhidden = ["8", "6"]\n'
    path = config(text)
    monkeypatch.chdir(path.parent)
    found = json.loads(succeed("sweep", path, "--workers", 1, "--json"))
    assert [(row["lr"], row["hidden"]) for row in found["runs"]] == [
        (0.001, "8"), (0.001, "6"), (0.03, "8"), (0.03, "6")]
    assert found["metric"] == "validation_loss"
    losses = [row["validation_loss"] for row in found["runs"]]
    assert found["best"]["run"] == 1 + int(np.argmin(losses))
    name, *words = shlex.split(found["command"])
    alone = json.loads(succeed(*words, "--json"))
    assert name == "tapegrad" and alone["accuracy"] == found["best"]["test_accuracy"]
    assert alone["log_loss"] == pytest.approx(found["best"]["test_log_loss"], rel=1e-4)
    with open(path.with_suffix(".csv"), newline="") as file:
        assert len(list(csv.DictReader(file))) == 4

    monkeypatch.setattr(Run, "train", None)
    monkeypatch.setattr("tapegrad.cli.sweep.train_together", None)
    printed = succeed("sweep", path, "--workers", 1, "--metric", "test_accuracy")  # nothing is trained again
    assert printed.splitlines()[0].split() == ["run", "lr", "hidden", "test_accuracy", "validation_loss",
                                               "test_log_loss", "seconds"]
    assert "partly the luckiest" in printed and "the best: tapegrad train" in printed
    path.with_name("flowers.csv").write_text(path.with_name("flowers.csv").read_text().replace("7", "8"))
    assert "is of another sweep" in refuse("sweep", path, "--quiet")


@compiled
def test_a_run_that_diverges_is_marked_and_all_that_fail_are_an_error(config, tmp_path):
    path = config('hidden = "4"\noptimizer = "sgd"\nval_fraction = 0.2\n[grid]\nlr = [0.01, 1e30]\n')
    table = tmp_path / "runs.csv"
    printed = succeed("sweep", path, "-o", table, "--workers", 1)
    assert "run 2 failed: the loss is nan after" in printed and "try a learning rate below 1e+30" in printed
    assert "all 1 runs failed; the first: the loss is nan" in refuse(
        "sweep", config('hidden = "4"\noptimizer = "sgd"\n[grid]\nlr = [1e30]\n'), "-o", tmp_path / "b.csv", "--quiet",
        status=1)


@compiled
def test_after_ctrl_c_the_same_command_goes_on_from_the_file(config, monkeypatch):
    path = config("repeats = 3\n[random]\nmissing = { choice = ['mean', 'drop'] }\n")
    train, trained = Run.train, []

    def interrupting(self, **given):
        trained.append(self.settings.seed)
        if len(trained) == 3:
            raise KeyboardInterrupt
        train(self, **given)

    monkeypatch.setattr(Run, "train", interrupting)
    stopped = run("sweep", path, "--workers", 0, "--quiet")
    table = path.with_suffix(".csv")
    assert stopped.exit_code == 130
    said = f"tapegrad: interrupted; finished runs are in {table}, from where the same command goes on\n"
    assert stopped.stderr == said
    found = json.loads(succeed("sweep", path, "--workers", 0, "--json"))
    assert trained == [0, 1, 2, 2] and [row["seed"] for row in found["runs"]] == [0, 1, 2]
    assert found["best"]["runs"] == 3 and found["command"].endswith("--seed=0")


@compiled
def test_options_of_the_command_are_checked_before_anything_is_trained(config, tmp_path):
    path = config("[grid]\nlr = [0.1]\n")
    assert "must end in .csv or .parquet" in refuse("sweep", path, "-o", tmp_path / "a.txt")
    assert "those of these data are validation_loss, test_accuracy" in refuse("sweep", path, "--metric", "r2")
    assert "'-1' is not a whole number of at least 0" in refuse("sweep", path, "--workers", "-1")
    assert "No such file" in refuse("sweep", tmp_path / "none.toml")
    assert "--target must say" in refuse("sweep", config("[grid]\nlr = [0.1]\n", 'data = "flowers.csv"\n'))
    assert run("sweep", path, "--workers", 1, "--quiet").stdout == ""
