"""``tapegrad train``."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tapegrad import TrainStep
from tapegrad.io import files as io

from .commands import FAST, FLOWER, compiled, flowers, predictions, refuse, run, succeed


@compiled
class TestTrain:
    def test_digits_reach_97_per_cent_and_the_table_says_so(self):
        result = run("train")
        assert result.exit_code == 0, result.stderr
        rows = {
            cells[0].strip(): cells[1].strip()
            for line in result.stdout.splitlines()
            if len(cells := line.strip("│ ").split("│")) == 2
        }
        assert float(rows["test accuracy"]) >= 0.97
        assert rows["rows trained on / held out"] == "1,437 / 360"
        assert float(rows["training steps a second"].replace(",", "")) > 0
        assert float(rows["samples a second"].replace(",", "")) > 0
        assert float(rows["peak planned memory"].removesuffix("MiB").replace(",", "")) > 0
        assert float(rows["time spent compiling"].removesuffix("s")) >= 0
        assert "690/690" in result.stdout + result.stderr

    def test_csv_with_labels_and_categories_is_learned(self, flower_model):
        _, _, result = flower_model
        assert result["task"] == "classification" and result["target"] == "kind" and result["held_out"]
        assert result["accuracy"] >= 0.9
        assert (result["rows"], result["rows_held_out"]) == (120, 30)
        assert result["steps"] == 2 * result["epochs"] and result["peak_bytes"] > 0
        assert any("same" in note for note in result["notes"])

    def test_archive_of_values_is_a_regression(self, tmp_path):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(400, 3))
        y = 1000 + 50 * np.tanh(X[:, 0]) - 20 * X[:, 1]
        np.savez(tmp_path / "data.npz", X=X, y=y)
        model = tmp_path / "m.safetensors"
        result = json.loads(succeed("train", tmp_path / "data.npz", "--dtype", "float64", "--save", model, "--json"))
        assert result["task"] == "regression" and result["r2"] > 0.98 and result["rmse"] < 6
        np.savez(tmp_path / "new.npz", X=X[:5])
        succeed("predict", model, tmp_path / "new.npz", "-o", tmp_path / "out.csv")
        predicted = [float(row["prediction"]) for row in predictions(tmp_path / "out.csv")]
        assert np.allclose(predicted, y[:5], atol=25)

    def test_losses_are_drawn_with_those_on_held_out_rows(self, flower_file, tmp_path):
        pytest.importorskip("matplotlib")
        text = succeed("train", flower_file, *FLOWER, *FAST, "--plot", tmp_path / "curves.svg")
        assert "drawn to" in text
        assert "<!-- validation -->" in (tmp_path / "curves.svg").read_text(encoding="utf-8")
        succeed("train", flower_file, *FLOWER, *FAST, "--val-fraction", 0, "--plot", tmp_path / "no.svg", "--quiet")
        assert "<!-- validation -->" not in (tmp_path / "no.svg").read_text(encoding="utf-8")

    def test_a_picture_that_cannot_be_drawn_is_refused_before_training(self, flower_file, tmp_path):
        pytest.importorskip("matplotlib")
        message = refuse("train", flower_file, *FLOWER, *FAST, "--plot", tmp_path / "curves.doc")
        assert "must end in .png, .svg or .pdf" in message
        assert "cannot write" in refuse("train", flower_file, *FLOWER, "--plot", tmp_path / "no" / "curves.png")

    def test_all_training_options_together(self, flower_file, tmp_path):
        text = succeed(
            "train", flower_file, *FLOWER, "--task", "classification", "--hidden", "16,8", "--activation", "gelu",
            "--epochs", 3, "--batch-size", 50, "--lr", 0.01, "--optimizer", "adamw", "--weight-decay", 0.01,
            "--dropout", 0.1, "--dtype", "float64", "--seed", 7, "--test-fraction", 0.3, "--val-fraction", 0,
            "--freeze", "0", "--save", tmp_path / "m.safetensors", "--json",
        )  # fmt: skip
        result = json.loads(text)
        assert result["rows_held_out"] == 45 and result["steps"] == 3 * 3
        assert result["parameters"] - result["parameters_trained"] == 5 * 16 + 16
        arrays = io.load(tmp_path / "m.safetensors")
        assert {name: array.shape for name, array in arrays.items()} == {
            "0.weight": (16, 5), "0.bias": (16,), "3.weight": (8, 16), "3.bias": (8,),
            "6.weight": (3, 8), "6.bias": (3,),
        }  # fmt: skip
        assert all(array.dtype == np.float64 for array in arrays.values())

    @pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh", "sigmoid"])
    def test_activations(self, flower_file, name):
        succeed("train", flower_file, *FLOWER, *FAST, "--activation", name, "--quiet")

    @pytest.mark.parametrize("name", ["adam", "adamw", "nadam", "sgd", "rmsprop", "adagrad", "adadelta"])
    def test_optimizers(self, flower_file, name):
        succeed("train", flower_file, *FLOWER, *FAST, "--optimizer", name, "--quiet")

    def test_same_seed_same_model(self, flower_file, tmp_path):
        models = []
        for seed in (1, 1, 2):
            path = tmp_path / "m.safetensors"
            succeed(
                "train",
                flower_file,
                *FLOWER,
                *FAST,
                "--dropout",
                0.2,
                "--seed",
                seed,
                "--save",
                path,
                "--quiet",
            )
            models.append(io.load(path)["0.weight"])
        assert np.array_equal(models[0], models[1]) and not np.array_equal(models[0], models[2])

    def test_frozen_parameter_keeps_its_values(self, flower_file, tmp_path):
        saved = []
        for epochs in (1, 3):
            path = tmp_path / "m.safetensors"
            succeed(
                "train", flower_file, *FLOWER, "--hidden", "8", "--epochs", epochs, "--freeze", "0.weight",
                "--save", path, "--quiet",
            )  # fmt: skip
            saved.append(io.load(path))
        assert np.array_equal(saved[0]["0.weight"], saved[1]["0.weight"])
        assert not np.array_equal(saved[0]["0.bias"], saved[1]["0.bias"])

    def test_missing_values_are_filled_or_dropped_when_asked(self, file):
        text = flowers(60).replace("\n", "\n,0.9,7,north,daisy\n", 1)
        path = file(text)
        assert "row 1 (line 2), column 'long': the value is missing" in refuse("train", path, *FLOWER)
        filled = json.loads(succeed("train", path, *FLOWER, *FAST, "--missing", "mean", "--json"))
        dropped = json.loads(succeed("train", path, *FLOWER, *FAST, "--missing", "drop", "--json"))
        assert filled["rows"] + filled["rows_held_out"] == 61
        assert dropped["rows"] + dropped["rows_held_out"] == 60
        assert "1 of 61 rows have a missing value and are left out" in dropped["notes"]

    def test_no_rows_held_out(self, flower_file):
        out = succeed("train", flower_file, *FLOWER, *FAST, "--test-fraction", 0, "--val-fraction", 0)
        assert "training accuracy" in out and "150 / 0" in out

    def test_linear_model_and_batch_larger_than_the_data(self, flower_file):
        text = succeed("train", flower_file, *FLOWER, "--hidden", "none", "--batch-size", 1000, "--epochs", 3, "--json")
        assert json.loads(text)["steps"] == 3

    def test_headerless_file_names_columns_by_number(self, file, tmp_path):
        lines = [",".join(line.split(",")[i] for i in (0, 1)) for line in flowers(60).splitlines()[1:]]
        path = file("\n".join(f"{k % 3},{line}" for k, line in enumerate(lines)))
        model = tmp_path / "m.safetensors"
        succeed("train", path, "--target", "1", *FAST, "--save", model, "--quiet")
        bare = file("\n".join(lines), "bare.csv")
        assert succeed("predict", model, bare) == succeed("predict", model, path)

    def test_quiet_prints_nothing(self, flower_file):
        result = run("train", flower_file, *FLOWER, *FAST, "--quiet")
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")

    def test_diverging_loss_is_reported_and_not_saved(self, flower_file, tmp_path):
        path = tmp_path / "m.safetensors"
        text = refuse(
            "train",
            flower_file,
            *FLOWER,
            "--optimizer",
            "sgd",
            "--lr",
            1e30,
            "--save",
            path,
            "--quiet",
            status=1,
        )
        assert "--lr" in text and not path.exists()

    def test_ctrl_c_reports_saves_and_exits_130(self, flower_file, tmp_path, monkeypatch):
        original = TrainStep.run

        def interrupted(self, *arrays, callback, **options):
            def stop(epoch, history):
                callback(epoch, history)
                if epoch == 2:
                    raise KeyboardInterrupt

            return original(self, *arrays, callback=stop, **options)

        monkeypatch.setattr(TrainStep, "run", interrupted)
        path = tmp_path / "m.safetensors"
        result = run("train", flower_file, *FLOWER, "--hidden", "8", "--save", path)
        assert result.exit_code == 130
        assert "interrupted after 3 of 200 epochs" in result.stdout and "test accuracy" in result.stdout
        monkeypatch.undo()
        succeed("predict", path, flower_file)

    def test_a_store_beside_the_file_changes_nothing_but_where_data_lie(self, tmp_path):
        path = tmp_path / "data.csv"
        rng = np.random.default_rng(0)
        X = rng.normal(size=(20_000, 4))
        np.savetxt(path, np.column_stack([X, X[:, 0] - X[:, 1]]), delimiter=",", header="a,b,c,d,y", comments="")
        plain, *cached = [
            json.loads(succeed("train", path, "--target", "y", *FAST, "--batch-size", 1000, "--json", *extra))
            for extra in ((), ("--cache",), ("--cache",))
        ]
        assert (tmp_path / "data.csv.tapegrad").exists()
        for result in cached:
            assert (result["loss"], result["r2"]) == (plain["loss"], plain["r2"])
