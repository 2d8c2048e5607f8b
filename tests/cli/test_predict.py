"""``tapegrad predict``."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from tapegrad.cli.network import SavedModel
from tapegrad.io import files as io

from .commands import compiled, predictions, refuse, succeed


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
