"""``tapegrad show``."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from tapegrad import __version__
from tapegrad.io import files as io

from .commands import FLOWER, compiled, refuse, succeed

pytestmark = compiled


def test_the_card_says_what_is_predicted_from_what_and_how_well(flower_model, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    model, data, told = flower_model
    text = succeed("show", model)
    for words in ("kind, one of 3 classes: daisy, rose, tulip, red", "5 - ", "float32", f"tapegrad {__version__}",
                  "category: north, south", "120 / 30"):  # fmt: skip
        assert words in text, words
    assert re.search(rf"test accuracy\W+{told['accuracy']:.4f}", text)


def test_the_command_of_the_card_trains_the_same_model(flower_model, tmp_path):
    model, _, told = flower_model
    card = json.loads(succeed("show", model, "--json"))
    words = shlex.split(card["command"])
    assert words[:2] == ["tapegrad", "train"] and "--save" not in words
    succeed(*words[1:], "--save", tmp_path / "again.safetensors", "--quiet")
    one, other = io.load(model), io.load(tmp_path / "again.safetensors")
    assert all(one[name].tobytes() == other[name].tobytes() for name in one)
    assert card["scores"]["accuracy"] == told["accuracy"] and card["labels"] == ["daisy", "rose", "tulip, red"]
    assert [column["column"] for column in card["columns"]] == ["long", "wide", "same", "place"]
    assert card["columns"][3]["categories"] == ["north", "south"] and card["columns"][2]["mean"] == 7.0


def test_kinds_of_columns_are_told(file, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    rows = "\n".join(f"2024-0{1 + n % 9}-1{n % 7},{'yes' if n % 3 else 'no'},{'' if n % 5 == 0 else n},k{n},{n % 2}"
                     for n in range(60))  # fmt: skip
    path, model = file(f"day,is_open,n,key,y\n{rows}\n"), tmp_path / "model.safetensors"
    succeed("train", path, "--target", "y", "--missing", "median", "--epochs", 2, "--save", model, "--quiet")
    text = succeed("show", model)
    assert re.search(r"day +│ date by ", text) and re.search(r"is_open +│ boolean", text)
    assert "the column's median" in text and "not read: key" in text


def test_names_with_brackets_are_shown_as_they_are(file, tmp_path):
    rows = "\n".join(f"{n},{n % 7},{n % 2}" for n in range(40))
    path = file(f"x[/i],[bold]z,y[red]\n{rows}\n", "run[a].csv")
    model = tmp_path / "m[b].safetensors"
    succeed("train", path, "--target", "y[red]", "--hidden", "4", "--epochs", 2, "--save", model)
    text = succeed("show", model)
    assert "x[/i]" in text and "[bold]z" in text and "y[red]" in text


@pytest.mark.parametrize("drop", [("--drop", "place")])
def test_columns_left_out_and_files_of_earlier_versions(flower_file, tmp_path, drop):
    model = tmp_path / "model.safetensors"
    succeed("train", flower_file, "--target", "kind", *drop, "--epochs", 2, "--save", model, "--quiet")
    assert "not read: place" in succeed("show", model)
    description = json.loads(io.load_metadata(model)["tapegrad"])
    del description["card"]
    io.save(io.load(model), model, metadata={"tapegrad": json.dumps(description)})
    assert "kept no more" in succeed("show", model)
    assert FLOWER[1] in succeed("show", model, "--json")


def test_what_is_no_model_is_refused(flower_file):
    assert "not a safetensors file" in refuse("show", flower_file)
