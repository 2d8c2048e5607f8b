"""``tapegrad predict``."""

from __future__ import annotations

import csv
import importlib
import io as io_module

import numpy as np
import pytest

from tapegrad.cli.network import SavedModel
from tapegrad.io import files as io

from .commands import FAST, FLOWER, compiled, predictions, refuse, succeed

predicting = importlib.import_module("tapegrad.cli.predict")


def predictions_of(text):
    return list(csv.DictReader(io_module.StringIO(text)))


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

    def test_identifiers_and_other_columns_are_written_as_they_stand(self, flower_model, file, tmp_path):
        model, _, _ = flower_model
        path = file("key,long,wide,same,place,note\n007,5,1.5,7,south,[/b]\n1e5,3,1,7,north,\"a, b\"\n")
        out = tmp_path / "out.csv"
        succeed("predict", model, path, "--id", "key", "--carry", "note", "--carry", "long", "-o", out)
        rows = predictions(out)
        assert list(rows[0])[:4] == ["key", "note", "long", "prediction"]
        assert [list(row.values())[:3] for row in rows] == [["007", "[/b]", "5"], ["1e5", "a, b", "3"]]
        plain = predictions_of(succeed("predict", model, path, "--drop", "key", "--drop", "note"))
        assert [row["prediction"] for row in rows] == [row["prediction"] for row in plain]
        assert "no column 'name'" in refuse("predict", model, path, "--id", "name")
        path = file("key,long,wide,same,place,prediction\n1,5,1.5,7,south,rose\n")
        assert "called 'prediction' too" in refuse("predict", model, path, "--id", "key", "--carry", "prediction")

    def test_probabilities_can_be_left_out(self, flower_model):
        model, data, _ = flower_model
        rows = predictions_of(succeed("predict", model, data, "--no-proba"))
        assert [list(row) for row in rows] == [["prediction"]] * 150
        assert [row["prediction"] for row in rows] == [
            row["prediction"] for row in predictions_of(succeed("predict", model, data))
        ]

    def test_a_column_left_out_of_training_need_not_be_dropped_again(self, flower_file, tmp_path):
        lines = flower_file.read_text().splitlines()
        flower_file.write_text("\n".join(["key," + lines[0], *(f"k{n},{line}" for n, line in enumerate(lines[1:]))]))
        model = tmp_path / "model.safetensors"
        succeed("train", flower_file, *FLOWER, *FAST, "--drop", "key", "--save", model, "--quiet")
        rows = predictions_of(succeed("predict", model, flower_file, "--id", "key"))
        assert [row["key"] for row in rows] == [f"k{n}" for n in range(150)]
        assert len(predictions_of(succeed("predict", model, flower_file))) == 150

    def test_some_rows_at_a_time_are_the_same_predictions(self, flower_model, tmp_path, monkeypatch):
        model, data, _ = flower_model
        whole = succeed("predict", model, data, "--id", "long")
        monkeypatch.setattr(predicting, "_ROWS_AT_ONCE", 7)
        in_parts = succeed("predict", model, data, "--id", "long")
        for one, other in zip(predictions_of(whole), predictions_of(in_parts), strict=True):
            assert one["prediction"] == other["prediction"] and one["long"] == other["long"]
            assert abs(float(one["p(rose)"]) - float(other["p(rose)"])) < 1e-6

    def test_parts_of_a_file_whose_labels_are_whole_in_some_are_of_one_type(self, file, tmp_path, monkeypatch):
        parquet = pytest.importorskip("pyarrow.parquet")
        monkeypatch.setattr(predicting, "_ROWS_AT_ONCE", 20)
        rows = "".join(f"{n},{1 if n < 50 else 2.5}\n" for n in range(100))
        data, model, out = file(f"x,y\n{rows}"), tmp_path / "m.safetensors", tmp_path / "out.parquet"
        succeed("train", data, "--target", "y", "--task", "classification", *FAST, "--save", model, "--quiet")
        succeed("predict", model, data, "-o", out)
        assert set(parquet.read_table(out)["prediction"].to_pylist()) <= {1.0, 2.5}

    @pytest.mark.parametrize("ending", [".parquet", ".feather"])
    def test_columns_of_other_formats_are_those_of_csv(self, flower_model, tmp_path, ending, monkeypatch):
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import feather, parquet

        monkeypatch.setattr(predicting, "_ROWS_AT_ONCE", 64)
        model, data, _ = flower_model
        out = tmp_path / f"out{ending}"
        succeed("predict", model, data, "--id", "long", "-o", out)
        table = (parquet.read_table if ending == ".parquet" else feather.read_table)(out)
        rows = predictions_of(succeed("predict", model, data, "--id", "long"))
        assert table.column_names == list(rows[0]) and len(table) == 150
        assert table["prediction"].to_pylist() == [row["prediction"] for row in rows]
        assert table["p(daisy)"].type == pyarrow.float64()
        assert table["p(daisy)"].to_pylist() == [float(row["p(daisy)"]) for row in rows]
        assert [path.name for path in tmp_path.iterdir()] == [out.name]

    def test_a_file_that_cannot_be_finished_is_left_as_it_was(self, flower_model, file, tmp_path, monkeypatch):
        monkeypatch.setattr(predicting, "_ROWS_AT_ONCE", 1)
        path = file("long,wide,same,place\n5,1.5,7,south\n5,x,7,south\n")
        out = tmp_path / "out.csv"
        out.write_text("before")
        assert "'x' is not a number" in refuse("predict", flower_model[0], path, "-o", out)
        assert out.read_text() == "before" and {p.name for p in tmp_path.iterdir()} == {"out.csv", path.name}

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
