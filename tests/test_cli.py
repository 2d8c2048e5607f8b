"""The command line: training, predicting, and how bad input is refused."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("safetensors")

from typer.testing import CliRunner

import tapegrad
from tapegrad import TrainStep, io
from tapegrad.cli.app import app
from tapegrad.cli.network import SavedModel
from tapegrad.cli.settings import parse_hidden
from tapegrad.engine.jit import enabled

compiled = pytest.mark.skipif(not enabled(), reason="too many training steps for kernels that are not compiled")


def run(*arguments):
    """The result of a command in this process."""
    try:
        runner = CliRunner(mix_stderr=False)
    except TypeError:  # the streams are apart anyway since click 8.2
        runner = CliRunner()
    return runner.invoke(app, [str(argument) for argument in arguments], prog_name="tapegrad")


def succeed(*arguments):
    """The standard output of a command that must succeed."""
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def refuse(*arguments, status=2):
    """The one line on standard error of a command that must fail."""
    result = run(*arguments)
    assert result.exit_code == status, (result.stdout, result.stderr, result.exception)
    assert result.stdout == "" and result.stderr.count("\n") == 1 and "Traceback" not in result.stderr
    assert result.stderr.startswith("tapegrad: ")
    return result.stderr


def subprocess_run(*arguments, code=None):
    """A command in a process of its own."""
    start = ["-m", "tapegrad"] if code is None else ["-c", code]
    return subprocess.run([sys.executable, *start, *map(str, arguments)], capture_output=True, text=True)


def flowers(rows=150, seed=0):
    """Three kinds of flower, told apart by two lengths; a constant column and a place that says nothing."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(rows) % 3
    long = 3.0 + 2.0 * kinds + rng.normal(0, 0.4, rows)
    wide = 1.0 + 0.5 * kinds + rng.normal(0, 0.2, rows)
    names = np.array(["daisy", "rose", "tulip, red"])[kinds]
    places = np.array(["north", "south"])[rng.integers(0, 2, rows)]
    lines = ["long,wide,same,place,kind"]
    lines += [
        f'{a:.3f},{b:.3f},7,{place},"{name}"' for a, b, place, name in zip(long, wide, places, names, strict=True)
    ]
    return "\n".join(lines) + "\n"


@pytest.fixture
def file(tmp_path):
    """A function that writes text or bytes to a file and gives its path."""

    def write(content, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def flower_file(file):
    return file(flowers(), "flowers.csv")


FLOWER = ("--target", "kind", "--categorical", "place")
FAST = ("--epochs", 2, "--hidden", "8")


@pytest.fixture(scope="module")
def flower_model(tmp_path_factory):
    """A model trained on flowers, the file of its training, and what training printed as JSON."""
    folder = tmp_path_factory.mktemp("flowers")
    (folder / "flowers.csv").write_text(flowers())
    model = folder / "model.safetensors"
    text = succeed("train", folder / "flowers.csv", *FLOWER, "--save", model, "--json")
    return model, folder / "flowers.csv", json.loads(text)


def predictions(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


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
        assert result["steps"] == 60 * 2 and result["peak_bytes"] > 0
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

    def test_all_training_options_together(self, flower_file, tmp_path):
        text = succeed(
            "train", flower_file, *FLOWER, "--task", "classification", "--hidden", "16,8", "--activation", "gelu",
            "--epochs", 3, "--batch-size", 50, "--lr", 0.01, "--optimizer", "adamw", "--weight-decay", 0.01,
            "--dropout", 0.1, "--dtype", "float64", "--seed", 7, "--val-fraction", 0.3, "--freeze", "0",
            "--save", tmp_path / "m.safetensors", "--json",
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
        out = succeed("train", flower_file, *FLOWER, *FAST, "--val-fraction", 0)
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
        assert "interrupted after 3 of 60 epochs" in result.stdout and "test accuracy" in result.stdout
        monkeypatch.undo()
        succeed("predict", path, flower_file)


@compiled
class TestPredict:
    def test_predictions_agree_with_training(self, flower_model, tmp_path):
        model, data, _ = flower_model
        succeed("predict", model, data, "-o", tmp_path / "out.csv")
        rows = predictions(tmp_path / "out.csv")
        assert list(rows[0]) == ["prediction", "p(daisy)", "p(rose)", "p(tulip, red)"]
        with open(data, newline="") as file:
            kinds = [row["kind"] for row in csv.DictReader(file)]
        assert np.mean([row["prediction"] == kind for row, kind in zip(rows, kinds, strict=True)]) >= 0.9
        for row in rows:
            shares = {name[2:-1]: float(value) for name, value in row.items() if name != "prediction"}
            assert abs(sum(shares.values()) - 1) < 1e-6
            assert max(shares, key=shares.get) == row["prediction"]

    def test_prediction_is_the_networks_formula(self, flower_model, file):
        model, _, _ = flower_model
        out = succeed("predict", model, file("wide,long,place,same\n1.5,5,south,7\n"))
        saved, arrays = SavedModel.load(model), io.load(model)
        raw = np.array([5, 1.5, 7, 0, 1.0])
        x = (raw - saved.features.mean) / saved.features.scale
        for layer in ("0", "2"):
            x = np.maximum(arrays[f"{layer}.weight"] @ x + arrays[f"{layer}.bias"], 0)
        logits = arrays["4.weight"] @ x + arrays["4.bias"]
        expected = np.exp(logits) / np.exp(logits).sum()
        shown = [float(cell) for cell in list(csv.reader(out.splitlines()))[1][1:]]
        assert np.allclose(shown, expected, atol=1e-5)

    def test_column_order_and_the_target_do_not_matter(self, flower_model, file):
        model, _, _ = flower_model
        one = file("long,wide,same,place\n5,1.5,7,south\n", "one.csv")
        other = file("place,kind,same,wide,long\nsouth,?,7,1.5,5\n", "other.csv")
        assert succeed("predict", model, one) == succeed("predict", model, other)

    def test_extra_column_is_refused_unless_dropped(self, flower_model, file):
        model, _, _ = flower_model
        path = file("long,wide,same,place,id\n5,1.5,7,south,1\n")
        assert "--drop id" in refuse("predict", model, path)
        succeed("predict", model, path, "--drop", "id")

    def test_missing_value_is_refused_unless_filled(self, flower_model, file):
        model, _, _ = flower_model
        path = file("long,wide,same,place\n5,,7,south\n")
        assert "row 1 (line 2), column 'wide'" in refuse("predict", model, path)
        succeed("predict", model, path, "--missing", "mean")

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("long,wide,same\n1,2,7\n", "lacks column place"),
            ("long,wide,same,place\n1,2,7,moon\n", "row 1 (line 2), column 'place': 'moon' is a category"),
            ("long,wide,same,place\n1,x,7,south\n", "row 1 (line 2), column 'wide': 'x' is not a number"),
            ("1,2,7,5\n", "does not name its columns"),
            ("", "the file is empty"),
        ],
    )
    def test_table_that_does_not_fit_is_refused(self, flower_model, file, text, words):
        assert words in refuse("predict", flower_model[0], file(text))

    @pytest.mark.parametrize("content", [b"", b"not a model", bytes(64)])
    def test_model_file_that_is_not_one_is_refused(self, flower_model, file, content):
        path = file(content, "bad.safetensors")
        text = refuse("predict", path, flower_model[1])
        assert str(path) in text and "not a safetensors file" in text

    def test_safetensors_file_of_another_origin_is_refused(self, flower_model, tmp_path):
        io.save({"a": np.ones(3)}, tmp_path / "other.safetensors")
        assert "not saved by tapegrad train" in refuse("predict", tmp_path / "other.safetensors", flower_model[1])

    @pytest.mark.parametrize(
        "damage",
        [
            lambda text: text[:-3],
            lambda text: "[]",
            lambda text: text.replace('"hidden"', '"h"'),
            lambda text: text.replace('"inputs": 5', '"inputs": 4'),
            lambda text: text.replace('"relu"', '"no"'),
            lambda text: text.replace('"format": 1', '"format": 99'),
        ],
    )
    def test_damaged_description_is_refused(self, flower_model, tmp_path, damage):
        model, data, _ = flower_model
        text = io.load_metadata(model)["tapegrad"]
        assert damage(text) != text
        io.save(io.load(model), tmp_path / "bad.safetensors", metadata={"tapegrad": damage(text)})
        assert str(tmp_path / "bad.safetensors") in refuse("predict", tmp_path / "bad.safetensors", data)

    def test_missing_files_are_refused(self, flower_model, tmp_path):
        model, data, _ = flower_model
        assert "No such file" in refuse("predict", tmp_path / "none.safetensors", data)
        assert "No such file" in refuse("predict", model, tmp_path / "none.csv")
        assert "--output" in refuse("predict", model, data, "-o", tmp_path / "none" / "out.csv")
        assert "--output" in refuse("predict", model, data, "-o", tmp_path)


class TestBadInput:
    @pytest.mark.parametrize(
        ("option", "value", "words"),
        [
            ("--hidden", "a,b", "'a,b' is not a list of layer sizes"),
            ("--hidden", "64,0", "'64,0' is not"),
            ("--hidden", "", "'' is not"),
            ("--lr", "-1", "'-1' is not a positive number"),
            ("--lr", "0", "'0' is not a positive number"),
            ("--lr", "nan", "'nan' is not a positive number"),
            ("--lr", "fast", "'fast' is not a positive number"),
            ("--epochs", "0", "'0' is not a whole number of at least 1"),
            ("--epochs", "1.5", "'1.5' is not a whole"),
            ("--batch-size", "0", "'0' is not a whole"),
            ("--weight-decay", "-0.1", "'-0.1' is not zero or a positive number"),
            ("--dropout", "1", "'1' is not at least 0 and below 1"),
            ("--val-fraction", "1.5", "'1.5' is not at least 0 and below 1"),
            ("--activation", "foo", "'foo' is none of relu, leaky_relu"),
            ("--optimizer", "foo", "'foo' is none of adam, adamw"),
            ("--dtype", "int8", "'int8' is none of float32, float64"),
            ("--task", "foo", "'foo' is none of auto, classification, regression"),
            ("--missing", "foo", "'foo' is none of error, mean, drop"),
            ("--seed", "-1", "'-1' is not a whole number of at least 0"),
            ("--delimiter", "ab", "'ab' is not one character"),
            ("--decimal", "x", "'x' is none of"),
        ],
    )
    def test_bad_option_value_is_named(self, flower_file, option, value, words):
        text = refuse("train", flower_file, "--target", "kind", option, value)
        assert option in text and words in text

    @pytest.mark.parametrize(
        ("content", "options", "words"),
        [
            ("", (), "the file is empty"),
            ("a,y\n", (), "a header and no rows"),
            ("a,y\n1,2\n3\n", (), "row 2 (line 3) has 1 cells, the header has 2"),
            ("a,y\n1,2\n3,4,5\n", (), "row 2 (line 3) has 3 cells, the header has 2"),
            ("a,a,y\n1,2,3\n", (), "columns 1 and 2 are both called 'a'"),
            ("a,y\n1,2\nx,4\n5,6\n", (), "row 2 (line 3), column 'a': 'x' is not a number"),
            ("a,y\n1,2\n,4\n5,6\n", (), "row 2 (line 3), column 'a': the value is missing"),
            ("a,y\n1,2.5\n2,\n5,6\n", (), "row 2 (line 3), column 'y': the target is missing"),
            ("a,y\n1,2\ninf,4\n5,6\n", (), "row 2 (line 3), column 'a': inf is not a finite number"),
            ("a,y\n1,2\n2,nan\n5,6\n", (), "row 2 (line 3), column 'y': the target is missing"),
            ("a,y\n1,x\n2,x\n", (), "target 'y' is 'x' in every row"),
            ("a,y\n1,2\n1,3\n", (), "every column but the target is constant"),
            ("y\n1\n2\n", (), "no column is left"),
            ("a,y\n1,2\n", ("--task", "regression"), "every row"),
            ("a,y\n1,2\n2,3\n", ("--drop", "b"), "no column 'b'"),
            ("a,y\n1,2\n2,3\n", ("--drop", "y"), "cannot be both the target and left out"),
            ("a,y\n1,2\n2,3\n", ("--categorical", "y"), "'y' cannot be both"),
            ("a,y\n1,u\n2,v\n", ("--task", "regression"), "'u' is not a number"),
            (b"a,y\n1,\xff\xfe\n", (), "line 2 is not UTF-8 text"),
            ("a;y\n1,5;2\n2,5;3\n", (), "--decimal ,"),
        ],
    )  # fmt: skip
    def test_bad_table_is_refused_with_its_place(self, file, content, options, words):
        path = file(content)
        assert words in refuse("train", path, "--target", "y", *options)

    def test_target_must_be_a_column(self, flower_file):
        text = refuse("train", flower_file, "--target", "kinds")
        assert "'kinds'; did you mean 'kind'? (columns: long, wide, same, place, kind)" in text
        assert "long, wide, same, place, kind" in refuse("train", flower_file)

    def test_frozen_layer_must_exist_and_something_must_be_left(self, flower_file):
        text = refuse("train", flower_file, *FLOWER, "--freeze", "1")
        assert "--freeze 1: no such layer; those with parameters are 0, 2, 4" in text
        everything = ("--freeze", "0", "--freeze", "2", "--freeze", "4")
        assert "nothing is left to train" in refuse("train", flower_file, *FLOWER, *everything)

    def test_unwritable_save_path_is_refused_before_the_data_are_read(self, tmp_path):
        for path in (tmp_path, tmp_path / "none" / "m.safetensors", "/dev/null/m.safetensors"):
            text = refuse("train", tmp_path / "absent.csv", "--target", "y", "--save", path)
            assert f"--save {path}" in text

    def test_path_must_be_a_file(self, tmp_path):
        assert "No such file" in refuse("train", tmp_path / "absent.csv", "--target", "y")
        assert "Is a directory" in refuse("train", tmp_path, "--target", "y")
        assert "No such file" in refuse("train", tmp_path / "absent.npz")

    def test_archive_must_hold_both_arrays(self, tmp_path):
        path = tmp_path / "data.npz"
        np.savez(path, A=np.ones(3))
        assert "no array X (arrays: A (3,))" in refuse("train", path)
        np.savez(path, X=np.ones((3, 2)))
        assert "no target column 'y'" in refuse("train", path)
        path.write_bytes(b"not an archive")
        assert "not a .npz archive" in refuse("train", path)

    @pytest.mark.parametrize("option", [("--target", "y"), ("--val-fraction", "0.1"), ("--no-header",)])
    def test_table_options_need_a_table(self, option):
        assert "is for a data file" in refuse("train", *option)

    def test_unknown_command_and_option(self):
        assert "'fly'" in refuse("fly")
        assert "--fly" in refuse("train", "--fly")
        assert "data" in refuse("predict", "model.safetensors").lower()


class TestProgram:
    def test_version_and_help(self):
        assert succeed("--version") == f"tapegrad {tapegrad.__version__}\n"
        for arguments in ((), ("--help",)):
            assert "train" in succeed(*arguments) and "predict" in succeed(*arguments)
        assert "--weight-decay" in succeed("train", "--help")

    def test_module_and_bad_input_in_a_process_of_its_own(self, tmp_path):
        done = subprocess_run("train", tmp_path / "absent.csv", "--target", "y")
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr == f"tapegrad: {tmp_path / 'absent.csv'}: No such file or directory\n"

    @pytest.mark.parametrize("library", ["typer", "rich", "safetensors"])
    def test_missing_extra_is_one_line(self, tmp_path, library):
        code = (
            f"import sys; sys.modules[{library!r}] = None\n"
            "sys.argv[0] = 'tapegrad'\nfrom tapegrad.cli import main; main()"
        )
        done = subprocess_run("train", "--save", tmp_path / "m.safetensors", code=code)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert "pip install 'tapegrad[cli]'" in done.stderr

    @compiled
    @pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
    def test_closed_pipe_is_no_traceback(self, flower_model):
        model, data, _ = flower_model
        process = subprocess.Popen(
            [sys.executable, "-m", "tapegrad", "predict", str(model), str(data)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        process.stdout.close()
        error = process.stderr.read()
        process.wait()
        process.stderr.close()
        assert "Traceback" not in error

    @pytest.mark.parametrize(
        ("text", "widths"), [("128,64", (128, 64)), (" 8 , 4 ", (8, 4)), ("none", ()), ("1", (1,))]
    )
    def test_hidden_layers_are_parsed(self, text, widths):
        assert parse_hidden(text) == widths
