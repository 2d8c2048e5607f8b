"""Permutation importance, and the page of a training run."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from tapegrad import nn
from tapegrad.cli.evaluation.importance import importance
from tapegrad.cli.problem import Problem
from tapegrad.data import Features, Target

from .commands import FAST, FLOWER, compiled, refuse, succeed


def linear_problem(rows=2000):
    """A value that is 3 a + b exactly, and a column that says nothing; two of the matrix's columns are one column."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 4))
    y = 3 * X[:, :1] + X[:, 2:3]
    features = Features({"a": None, "b": ["x", "y"], "c": None}, np.zeros(4), np.ones(4))
    problem = Problem("", features, Target("y", "regression"), X[:1], y[:1], X, y)
    layer = nn.Linear(4, 1, dtype="float64")
    layer.weight.copy_(np.array([[3.0, 0.0, 1.0, 0.0]]))
    layer.bias.copy_(np.zeros(1))
    return problem, nn.Sequential(layer)


def test_importance_is_what_shuffling_costs():
    problem, module = linear_problem()
    before = problem.held_inputs.copy()
    found = importance(problem, module, "float64")
    assert found.columns == ["a", "b", "c"] and found.score == "r2"
    # of independent columns, shuffling one gives an error of twice its variance: 2 * 9 of 10, 2 * 1 of 10
    np.testing.assert_allclose(found.mean, [1.8, 0.2, 0.0], atol=0.06)
    np.testing.assert_array_equal(problem.held_inputs, before)


def test_importance_of_very_many_rows_is_that_of_a_sample():
    problem, module = linear_problem(7000)
    np.testing.assert_allclose(importance(problem, module, "float64").mean, [1.8, 0.2, 0.0], atol=0.1)
    few = replace(problem, held_inputs=problem.held_inputs[:0], held_targets=problem.held_targets[:0])
    assert not importance(few, module, "float64").columns == []


class Page(HTMLParser):
    """The ids, links and text of a page, whose tags have to close."""

    VOID = {"meta", "br", "path", "use", "rect", "circle", "line", "image", "stop", "!doctype"}

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.words, self.loads = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.loads += [value for name, value in attrs if name in ("src", "href", "xlink:href") and value[:1] != "#"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@compiled
class TestPage:
    @pytest.fixture(autouse=True)
    def drawing(self):
        pytest.importorskip("matplotlib")

    def test_it_shows_scores_curves_errors_and_columns_and_loads_nothing(self, flower_file, tmp_path):
        path = tmp_path / "report.html"
        text = succeed("train", flower_file, *FLOWER, *FAST, "--folds", 2, "--report", path)
        assert "report written to" in text
        page = Page(path.read_text(encoding="utf-8"))
        assert page.open == [] and len(page.ids) == len(set(page.ids))
        assert not page.loads and not re.search(r"url\((?!#)|@import|<script", path.read_text(encoding="utf-8"))
        words = " ".join(" ".join(page.words).split())
        for part in ("linear model", "most frequent", "over 2 folds", "Learning curve", "Calibration", "tulip, red",
                     "Columns that matter", "Columns as understood", "north, south", "rise of the log loss",
                     "validation rows", "30 test rows", "prefers-color-scheme: dark", "constant in the training rows"):
            assert part in words, part

    def test_colours_of_pictures_are_those_of_the_theme(self, flower_file, tmp_path):
        path = tmp_path / "report.html"
        succeed("train", flower_file, *FLOWER, *FAST, "--report", path, "--quiet")
        svgs = re.findall(r"<svg.*?</svg>", path.read_text(encoding="utf-8"), re.DOTALL)
        assert len(svgs) == 3
        for svg in svgs:
            assert set(re.findall(r"(?:fill|stroke): *(#\w+)", svg)) <= {"#ffffff"} and "var(--ink)" in svg

    def test_values_are_shown_beside_their_predictions_and_names_are_text(self, file, tmp_path):
        rng = np.random.default_rng(0)
        rows = "\n".join(f"{a:.3f},{b:.3f},{a - b:.3f}" for a, b in rng.normal(size=(60, 2)))
        data, path = file(f"<b>a</b>,x[/i] $_$,y&amp\n{rows}\n"), tmp_path / "r.html"
        picture = tmp_path / "columns.svg"
        result = json.loads(succeed("train", data, "--target", "y&amp", *FAST, "--report", path, "--json",
                                    "--importance", picture))
        text = path.read_text(encoding="utf-8")
        assert "<b>a</b>" not in text and "&lt;b&gt;a&lt;/b&gt;" in text and "y&amp;amp" in text
        assert "Predicted and actual values" in text and "x[/i] $_$" in picture.read_text(encoding="utf-8")
        assert set(result["importance"]) == {"<b>a</b>", "x[/i] $_$"}
        table = succeed("train", data, "--target", "y&amp", *FAST, "--importance", picture)
        assert "x[/i] $_$" in table and "fall of R²" in table

    def test_dates_booleans_and_gaps_are_shown_as_they_are_read(self, file, tmp_path):
        rng = np.random.default_rng(0)
        rows = "\n".join(f"2021-{k % 12 + 1:02d}-{k % 27 + 1:02d},{'yes' if k % 4 == 0 else 'no'},"
                         f"{'' if k % 5 == 0 else k},{k + rng.normal():.3f}" for k in range(80))
        path = tmp_path / "r.html"
        succeed("train", file(f"day,paid,size,y\n{rows}\n"), "--target", "y", "--missing", "indicator", *FAST,
                "--report", path, "--quiet", "--test-fraction", 0, "--val-fraction", 0)  # fmt: skip
        words = " ".join(" ".join(Page(path.read_text(encoding="utf-8")).words).split())
        for part in ("date by days", "boolean true in 25%", "whether it is missing is a column of its own",
                     "on 80 training rows", "no test rows; no early stopping"):
            assert part in words, part

    @pytest.mark.parametrize(("option", "name"), [("--report", "r.txt"), ("--importance", "r.doc")])
    def test_a_file_that_cannot_be_written_is_refused_before_training(self, flower_file, tmp_path, option, name):
        assert "must end in" in refuse("train", flower_file, *FLOWER, option, tmp_path / name)
