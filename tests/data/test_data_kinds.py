"""What columns hold is found out, fitted, kept in the model and applied again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from refusal import message

from tapegrad.data import Features, Target, read_csv


def rows(names, *columns):
    """A file of some columns."""
    return "\n".join([names, *(",".join(map(str, row)) for row in zip(*columns))]) + "\n"


def raw(features, table):
    """The columns of the matrix before scaling, by name."""
    matrix = features.matrix(table) * features.scale + features.mean
    return dict(zip(features.matrix_names, matrix.T, strict=True))


class TestKinds:
    def test_truth_values(self, file):
        table = read_csv(file("a,b,c\nyes,T,1\nno,f,2\nYes,t,4\n"))
        found = raw(Features.fit(table), table)
        assert found["a"].tolist() == [1, 0, 1] and found["b"].tolist() == [1, 0, 1]
        assert "neither true nor false" in message(
            Features.fit(table).matrix, read_csv(file("a,b,c\nmaybe,t,1\n", "n.csv"))
        )

    def test_dates_become_days_and_phases(self, file):
        days = ["1970-01-01", "2024-02-29", "2023-07-02", ""]
        table = read_csv(file(rows("d,x", days, [1, 2, 3, 4])))
        features = Features.fit(table, missing="mean")
        found = raw(features, table)
        expected = [(np.datetime64(day) - np.datetime64("1970-01-01")).astype(float) for day in days[:3]]
        assert np.allclose(found["d (days)"][:3], expected)
        # 1 January begins the year; 29 February 2024 is day 59 of 366, a Thursday, the third day after Monday
        assert np.allclose(found["d (year, sine)"][:2], [0, np.sin(2 * np.pi * 59 / 366)], atol=1e-9)
        assert np.allclose(found["d (week, cosine)"][:2], np.cos(2 * np.pi * 3 / 7))
        assert (features.matrix(table)[3, :5] == 0).all()
        assert any("d is read as date by days, year, week" in note for note in features.notes)

    def test_times_of_day_and_zones(self, file):
        table = read_csv(file("t,at,x\n06:00,2024-01-01T12:00:00Z,1\n18:30:00,2024-01-01T14:00:00+02:00,5\n"))
        found = raw(Features.fit(table), table)
        assert np.allclose(found["t (day, sine)"], [1, np.sin(2 * np.pi * 18.5 / 24)])
        assert np.ptp(found["at (days)"]) == 0 and found["at (days)"][0] % 1 == 0.5

    def test_days_and_months_that_cannot_be_told_apart_are_refused_with_the_option(self, file):
        table = read_csv(file("d,x\n1/2/2024,1\n3/5/2024,2\n"))
        assert "--dates dmy or --dates mdy" in message(Features.fit, table)
        gap = [np.ptp(raw(Features.fit(table, dates=way), table)["d (days)"]) for way in ("dmy", "mdy")]
        assert np.allclose(gap, [92, 63])  # 1 February to 3 May; 2 January to 5 March
        certain = read_csv(file("d,x\n1/2/2024,1\n13/4/2024,2\n"))
        assert Features.fit(certain).kinds["d"].form == "d/m/y"
        assert "'31.2.2024' is not a number" in message(Features.fit, read_csv(file("d,x\n31.2.2024,1\n1.2.2024,2\n")))

    def test_identifiers_are_left_out_with_a_word(self, file):
        n = range(30)
        table = read_csv(file(rows("PassengerId,name,t,x", n, [f"n{k}" for k in n], n, [k % 7 for k in n])))
        features = Features.fit(table)
        assert list(features.columns) == ["t", "x"] and features.ignored == ["PassengerId", "name"]
        assert any("--keep PassengerId" in note for note in features.notes)
        assert any("--categorical name" in note for note in features.notes)
        assert "PassengerId" in Features.fit(table, keep=["PassengerId"]).columns
        only = read_csv(file(rows("id,y", n, n), "only.csv"))
        assert list(Features.fit(only, ignored=["y"]).columns) == ["id"]

    def test_all_columns_of_text_are_named_at_once(self, file):
        table = read_csv(file(rows("a,b,c,x", "ppqqppqq", "uvuvuvuv", "12345678", range(8))))
        text = message(Features.fit, table)
        assert "columns a (2 values: p, q), b (2 values: u, v) hold text" in text and "--categorical auto" in text
        features = Features.fit(table, categorical=["auto"])
        assert features.columns == {"a": ["p", "q"], "b": ["u", "v"], "c": None, "x": None}

    def test_an_option_that_many_cells_need_is_named_once(self, file):
        table = read_csv(file(rows("a,b,x", "ppqq", ["1%", "2%", "3%", "4%"], range(4))))
        assert message(Features.fit, table).count("--percent") == 1
        halves = read_csv(file("a;x\n7,5%;1\n8,5%;2\n", "halves.csv"), percent=True)
        assert "need --decimal ," in message(Features.fit, halves)

    def test_text_and_gaps_are_told_together(self, file):
        table = read_csv(file("a,b,x,z\np,u,,1\nq,v,2,x\n3,4,3,4\n1,2,3,4\n"))
        text = message(Features.fit, table)
        assert "column 'z': 'x' is not a number" in text and "column 'a': 'p' is not a number" in text

    @pytest.mark.parametrize(
        "cells", [["007", "7", "07"], ["1e5", "100000", "1E5"], ["9007199254740993", "9007199254740992"]]
    )
    def test_labels_and_categories_stay_exact(self, file, cells):
        table = read_csv(file(rows("k,x", cells * 2, range(2 * len(cells)))))
        features = Features.fit(table, categorical=["k"])
        assert features.columns["k"] == sorted(cells)
        target = Target.fit(table, "k", "classification")
        assert target.labels == sorted(cells)
        assert [target.labels[k] for k in target.encoded(table)] == cells * 2

    def test_leading_zeros_are_codes_if_categories_are_looked_for_and_else_noted(self, file):
        table = read_csv(file(rows("zip,x", ["01234", "01235"] * 4, range(8))))
        assert Features.fit(table, categorical=["auto"]).columns["zip"] == ["01234", "01235"]
        features = Features.fit(table)
        assert raw(features, table)["zip"].tolist() == [1234, 1235] * 4
        assert any("leading zeros such as 01234" in note for note in features.notes)

    def test_exact_labels_of_a_large_file(self, tmp_path):
        path = tmp_path / "large.csv"
        codes = ["7"] * 120_000 + ["007", "1e1"]
        path.write_text(rows("code,x", codes, range(len(codes))))
        table = read_csv(path)
        assert isinstance(table.columns["code"], np.ndarray)
        assert Features.fit(table, categorical=["code"], ignored=["x"]).columns["code"] == ["007", "1e1", "7"]
        last = table.take(np.arange(len(codes) - 3, len(codes)))
        assert list(last.text("code")) == ["7", "007", "1e1"]


class TestGaps:
    def test_medians(self, file):
        table = read_csv(file("a,k\n1,x\n,y\n3,x\n100,\n"))
        found = raw(Features.fit(table, categorical=["k"], missing="median", rows=np.array([0, 1, 2])), table)
        assert found["a"].tolist() == [1, 2, 3, 100]
        assert np.allclose(found["k=x"][3], 2 / 3)

    def test_indicators(self, file):
        table = read_csv(file("a,b\n1,5\n,6\n3,9\n"))
        features = Features.fit(table, missing="indicator")
        found = raw(features, table)
        assert features.matrix_names == ["a", "a is missing", "b"]
        assert found["a is missing"].tolist() == [0, 1, 0] and found["a"].tolist() == [1, 2, 3]
        later = read_csv(file("a,b\n2,\n", "later.csv"))
        assert raw(features, later)["b"].tolist() == [20 / 3]

    def test_unseen_categories_are_none_of_the_known_if_asked(self, file):
        table = read_csv(file("k,x\na,1\nb,2\n"))
        later = read_csv(file("k,x\nc,1\n", "later.csv"))
        assert "--unseen ignore" in message(Features.fit(table, categorical=["k"]).matrix, later)
        features = Features.fit(table, categorical=["k"], unseen="ignore")
        assert raw(features, later)["k=a"].tolist() == [0] and raw(features, later)["k=b"].tolist() == [0]
        assert "'c' is a category" in message(features.matrix, later, unseen="error")


def test_everything_fitted_comes_back_from_json(file):
    content = (
        rows(
            "k,d,yes,x,zip",
            "abab",
            ["2024-01-01", "", "2024-03-05", "2024-04-01"],
            ["yes", "no", "yes", ""],
            ["1,5", "", "2,5", "9"],
            ["01", "02", "01", "02"],
        )
        .replace(",", ";")
        .replace(";5;", ",5;")
    )
    table = read_csv(file(content), delimiter=";", decimal=",")
    features = Features.fit(table, categorical=["k", "zip"], missing="indicator", unseen="ignore")
    again = Features.from_json(json.loads(json.dumps(features.to_json())))
    assert again.to_json() == features.to_json()
    assert np.array_equal(again.matrix(table), features.matrix(table))
    assert again.written == {"decimal": ",", "thousands": "", "percent": False}


def test_descriptions_of_older_models_are_read(file):
    state = {"columns": [["k", ["1", "2"]], ["a", None]], "mean": [0.5, 0.5, 0], "scale": [1, 1, 2], "named": True,
             "ignored": []}  # fmt: skip
    matrix = Features.from_json(state).matrix(read_csv(file("k,a\n1.0,4\n")))
    assert matrix.tolist() == [[0.5, -0.5, 2.0]]


def test_numbers_written_otherwise_are_no_identifiers_and_no_categories(file):
    table = read_csv(file(rows("a;b", *[[f"{k},{k}5;{k}" for k in range(1, 31)]])))
    for categorical in ((), ("auto",)):
        assert "'1,15' is not a number; numbers with a decimal comma need --decimal ," in message(
            Features.fit, table, categorical=categorical
        )


def test_a_fraction_is_not_taken_for_a_grouped_number(file):
    table = read_csv(file("a;b\n0.637;1\n"), decimal=",", thousands=".")
    assert "'0.637' is not a number" in message(table.numbers, "a")
