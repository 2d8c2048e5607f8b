"""The preprocessing between a table and a network."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusal import message

from tapegrad import datasets
from tapegrad.data import Features, Target, drop_incomplete, guess_task, read_csv, read_table, split_rows
from tapegrad.errors import DataError


class TestFeatures:
    def test_training_rows_get_mean_zero_and_deviation_one(self, file):
        rng = np.random.default_rng(0)
        values = rng.normal(5, [1e-6, 3, 1e9], (50, 3))
        path = file("a,b,c\n" + "\n".join(",".join(map(repr, row.tolist())) for row in values))
        table, rows = read_csv(path), np.arange(40)
        matrix = Features.fit(table, rows=rows).matrix(table)
        assert np.allclose(matrix[:40].mean(0), 0, atol=1e-9) and np.allclose(matrix[:40].std(0), 1)
        expected = (values - values[:40].mean(0)) / values[:40].std(0)
        assert np.allclose(matrix, expected, rtol=1e-9, atol=1e-9)

    @pytest.mark.parametrize("value", ["0", "0.1", "1e300", "-1e-300", "123456789.123"])
    def test_constant_column_becomes_exactly_zero(self, file, value):
        table = read_csv(file("a,b\n" + "".join(f"{value},{k}\n" for k in range(7))))
        features = Features.fit(table)
        assert features.constant_columns(table) == ["a"]
        assert (features.matrix(table)[:, 0] == 0).all() and np.isfinite(features.matrix(table)).all()

    def test_huge_and_tiny_columns_do_not_overflow(self, file):
        table = read_csv(file("a,b\n1e200,1e-200\n-1e200,3e-200\n"))
        assert np.allclose(Features.fit(table).matrix(table), [[1, -1], [-1, 1]])

    def test_missing_value_is_refused_or_becomes_the_training_mean(self, file):
        table = read_csv(file("a,b\n1,2\n,4\n5,6\n99,8\n"))
        text = message(Features.fit, table)
        assert "row 2 (line 3), column 'a'" in text and "--missing mean" in text
        features = Features.fit(table, rows=np.array([0, 1, 2]), fill_missing=True)
        assert features.mean[0] == 3.0
        assert features.matrix(table, fill_missing=True)[1, 0] == 0.0

    def test_column_without_values_is_refused(self, file):
        table = read_csv(file("a,b\n,2\n,4\n"))
        assert "column 'a' has no value" in message(Features.fit, table, fill_missing=True)
        assert "column 'a' has no value" in message(Features.fit, table, categorical=["a"])

    def test_text_column_is_refused_with_the_remedies(self, file):
        table = read_csv(file("a,place\n1,x\n2,y\n"))
        text = message(Features.fit, table)
        assert "row 1 (line 2), column 'place': 'x' is not a number" in text
        assert "--categorical place" in text and "--drop place" in text

    def test_categories_become_indicators_before_scaling(self, file):
        table = read_csv(file("place,n\nx,1\ny,2\nx,3\nz,4\n"))
        features = Features.fit(table, categorical=["place"])
        assert features.matrix_names == ["place=x", "place=y", "place=z", "n"] and features.width == 4
        indicators = features.matrix(table) * features.scale + features.mean
        assert np.allclose(indicators[:, :3], [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]])

    def test_numeric_categories_agree_however_written(self, file):
        features = Features.fit(read_csv(file("k\n1\n2\n")), categorical=["k"])
        again = read_csv(file("k\n1.0\n2e0\n", "other.csv"))
        assert features.columns == {"k": ["1", "2"]}
        assert np.array_equal(features.matrix(again), features.matrix(read_csv(file("k\n1\n2\n"))))

    def test_missing_category_becomes_the_frequencies(self, file):
        table = read_csv(file("k\nx\ny\nNA\nx\n"), header=True)
        features = Features.fit(table, categorical=["k"], fill_missing=True)
        assert features.columns == {"k": ["x", "y"]} and np.allclose(features.mean, [2 / 3, 1 / 3])
        assert (features.matrix(table, fill_missing=True)[2] == 0).all()

    def test_unknown_category_names_its_place(self, file):
        features = Features.fit(read_csv(file("k,a\nx,1\ny,2\n")), categorical=["k"])
        table = read_csv(file("k,a\nx,1\nw,2\n", "new.csv"))
        assert "row 2 (line 3), column 'k': 'w' is a category" in message(features.matrix, table)

    def test_columns_match_by_name_in_any_order(self, file):
        train = read_csv(file("a,b,y\n1,10,0\n2,30,1\n"))
        features = Features.fit(train, ignored=["y"])
        other = read_csv(file("y,b,a\n,30,2\n", "new.csv"))
        assert np.array_equal(features.matrix(other), features.matrix(train)[1:])

    def test_lacking_and_unknown_columns_are_refused(self, file):
        features = Features.fit(read_csv(file("a,b\n1,10\n2,30\n")))
        assert "lacks column b" in message(features.matrix, read_csv(file("a\n1\n", "new.csv")))
        assert "--drop c" in message(features.matrix, read_csv(file("a,b,c\n1,2,3\n", "new.csv")))
        assert "does not name its columns" in message(features.matrix, read_csv(file("1,2\n", "new.csv")))

    def test_nameless_columns_match_by_order(self, file):
        features = Features.fit(read_csv(file("0,10,1\n1,30,5\n")), ignored=["1"])
        new = read_csv(file("30,5\n", "new.csv"))
        assert np.allclose(features.matrix(new), [[1, 1]])

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"ignored": ["c"]}, "no column 'c'"),
            ({"categorical": ["c"]}, "no column 'c'"),
            ({"ignored": ["a"], "categorical": ["a"]}, "cannot be both"),
            ({"ignored": ["a", "b"]}, "no column is left"),
        ],
    )
    def test_bad_choice_of_columns_is_refused(self, file, options, words):
        assert words in message(Features.fit, read_csv(file("a,b\n1,2\n3,4\n")), **options)

    def test_json_round_trip(self, file):
        table = read_csv(file("k,a,y\nx,1,0\ny,2.5,1\n"))
        features = Features.fit(table, categorical=["k"], ignored=["y"])
        again = Features.from_json(features.to_json())
        assert np.array_equal(again.matrix(table), features.matrix(table)) and again.ignored == ["y"]
        for broken in ({}, features.to_json() | {"mean": [1.0]}, features.to_json() | {"columns": 3}):
            with pytest.raises((KeyError, TypeError, ValueError)):
                Features.from_json(broken)


class TestTarget:
    def table(self, file, cells):
        return read_csv(file("x,y\n" + "".join(f"0,{cell}\n" for cell in cells)))

    @pytest.mark.parametrize(
        ("cells", "task"),
        [
            (["a", "b", "a", "b"], "classification"),
            (["0", "1", "0", "1"], "classification"),
            (["1.0", "2.0", "1.0", "2.0"], "classification"),
            (["0.5", "1.5", "0.5", "1.5"], "regression"),
            (["1", "2", "3", "4"], "regression"),
            ([str(k % 21) for k in range(100)], "regression"),
            ([str(k % 20) for k in range(100)], "classification"),
            (["1", "2", "other"] * 5, "classification"),
        ],
    )
    def test_task_is_found(self, file, cells, task):
        assert guess_task(self.table(file, cells), "y") == task

    def test_typing_error_in_a_number_target_is_not_taken_for_a_label(self, file):
        cells = [f"{k}.5" for k in range(50)] + ["12,5x"]
        table = self.table(file, [*cells[:-1], '"12;5x"'])
        assert "row 51 (line 52), column 'y': '12;5x' is not a number" in message(Target.fit, table, "y")

    def test_labels_are_sorted_and_encoded(self, file):
        table = self.table(file, ["b", "a", "c", "a"])
        target = Target.fit(table, "y")
        assert target.labels == ["a", "b", "c"] and target.outputs == 3
        assert target.encoded(table).tolist() == [1, 0, 2, 0] and target.encoded(table).dtype == np.int64

    def test_numeric_labels_stay_numbers(self, file):
        target = Target.fit(self.table(file, ["10", "9", "10", "9"]), "y")
        assert target.labels == [9, 10]
        target = Target.fit(self.table(file, ["0.5", "1.5", "0.5", "1.5"]), "y", "classification")
        assert target.labels == [0.5, 1.5]

    def test_regression_is_scaled_by_the_training_rows(self, file):
        table = self.table(file, ["1", "3", "100"])
        target = Target.fit(table, "y", "regression", rows=np.array([0, 1]))
        assert (target.mean, target.scale, target.outputs) == (2.0, 1.0, 1)
        encoded = target.encoded(table)
        assert encoded.tolist() == [[-1.0], [1.0], [98.0]]
        assert target.decoded(encoded).tolist() == [1.0, 3.0, 100.0]

    @pytest.mark.parametrize(
        ("cells", "task", "words"),
        [
            (["a", "a"], "auto", "target 'y' is 'a' in every row"),
            (["2", "2"], "regression", "target 'y' is 2.0 in every row"),
            (["1", ""], "auto", "row 2 (line 3), column 'y': the target is missing"),
            (["1", "a"], "regression", "'a' is not a number; text labels need --task classification"),
            ([f"n{k}" for k in range(50)], "auto", "50 different values in 50 rows"),
            (["1", "inf", "2.5"], "auto", "row 2 (line 3), column 'y': inf is not a finite number"),
        ],
    )
    def test_bad_target_is_refused(self, file, cells, task, words):
        assert words in message(Target.fit, self.table(file, cells), "y", task)

    def test_unknown_target_lists_the_columns(self, file):
        text = message(Target.fit, self.table(file, ["1", "2"]), "Y")
        assert "no target column 'Y'; did you mean 'y'? (columns: x, y)" in text

    def test_json_round_trip(self, file):
        target = Target.fit(self.table(file, ["b", "a"]), "y")
        assert Target.from_json(target.to_json()) == target
        with pytest.raises(ValueError, match="unknown task"):
            Target.from_json(target.to_json() | {"task": "clustering"})


class TestRows:
    def test_incomplete_rows_are_dropped_and_places_kept(self, file):
        table = drop_incomplete(read_csv(file("a,b,c\n1,2,\n,4,5\n6,NA,7\n8,9,x\n")), ["a", "b"])
        assert table.columns["a"] == ["1", "8"]
        assert "row 4 (line 5), column 'c'" in message(table.numbers, "c")
        assert "every row" in message(drop_incomplete, read_csv(file("a,b\n1,\n,2\n")), ["a", "b"])

    def test_none_is_missing_among_numbers_and_may_be_a_word(self, file):
        table = read_csv(file("a,b,y\n1.5,x,2.5\nnone,x,1.5\n3,none,none\n"))
        assert drop_incomplete(table, ["a", "b"]).columns["b"] == ["x", "none"]
        assert len(drop_incomplete(table, ["a", "b"], words=["a"])) == 3
        assert "row 3 (line 4), column 'y': the target is missing" in message(Target.fit, table, "y", "regression")
        assert Target.fit(table, "y", "classification").labels == ["1.5", "2.5", "none"]

    @pytest.mark.parametrize("rows", [2, 5, 10, 101])
    @pytest.mark.parametrize("fraction", [0.01, 0.2, 0.5, 0.99])
    def test_split_divides_all_rows(self, rows, fraction):
        train, held = split_rows(rows, fraction, seed=0)
        assert sorted([*train, *held]) == list(range(rows))
        assert len(held) == min(max(1, round(fraction * rows)), rows - 1)

    def test_split_follows_the_seed(self):
        first, again, other = (split_rows(100, 0.2, seed)[1].tolist() for seed in (1, 1, 2))
        assert first == again != other

    def test_split_keeps_proportions_and_every_class_in_training(self):
        classes = np.repeat([0, 1, 2], [100, 50, 1])
        for seed in range(5):
            train, held = split_rows(151, 0.2, seed, classes)
            assert np.bincount(classes[held], minlength=3).tolist() in ([20, 10, 0], [19, 11, 0])
            assert set(classes[train]) == {0, 1, 2}

    def test_nothing_held_out_when_asked(self):
        train, held = split_rows(3, 0.0, seed=0)
        assert train.tolist() == [0, 1, 2] and len(held) == 0

    def test_too_few_rows_are_refused(self):
        assert "too few" in message(split_rows, 1, 0.2, 0)
        assert "too few" in message(split_rows, 2, 0.2, 0, np.array([0, 1]))


CELLS = [
    "1",
    "2",
    "-3.5",
    "1e308",
    "-1e308",
    "1e-310",
    "-0.0",
    "",
    "NA",
    "nan",
    "inf",
    "x",
    '"a,b"',
    '"q""q"',
    '"',
    " 7 ",
]


def test_numbers_too_far_from_the_training_rows_are_refused_by_place(tmp_path):
    path = tmp_path / "far.csv"
    path.write_text("a,b,y\n1e308,1,1\n1,2,2\n-1e308,3,3\n")
    table = read_csv(path)
    features = Features.fit(table, ignored=["y"], rows=np.array([0]))
    with pytest.raises(DataError, match="far.csv.*a.*too far from those of the training rows"):
        features.matrix(table)


class TestAnyTable:
    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        rows=st.lists(st.lists(st.sampled_from(CELLS), min_size=3, max_size=3), min_size=1, max_size=12),
        categorical=st.booleans(),
        fill=st.booleans(),
        task=st.sampled_from(["auto", "classification", "regression"]),
    )
    def test_is_refused_or_becomes_finite_numbers(self, tmp_path, rows, categorical, fill, task):
        path = tmp_path / "data.csv"
        path.write_text("".join(f"{','.join(row)}\n" for row in rows))
        try:
            table = read_csv(path, header=False)
            target = Target.fit(table, "3", task)
            train, _ = split_rows(len(table), 0.2, 0)
            features = Features.fit(
                table, categorical=["1"] if categorical else [], ignored=["3"], rows=train, fill_missing=fill
            )
            matrix = features.matrix(table, fill_missing=fill)
        except DataError as refusal:
            assert str(path) in str(refusal) or "rows are too few" in str(refusal)
            return
        assert matrix.shape == (len(table), features.width) and np.isfinite(matrix).all()  # quotes may join lines
        assert np.isfinite(target.encoded(table)).all()

    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        content=st.binary(max_size=100),
        start=st.sampled_from([b"", b"PK\x03\x04", b"\x1f\x8b\x08", b"a,b\n1,"]),
    )
    def test_any_bytes_are_read_or_refused(self, tmp_path, content, start):
        for name in ("data.csv", "data.csv.gz", "data.npz"):
            (tmp_path / name).write_bytes(start + content)
            try:
                read_table(tmp_path / name)
            except DataError as refusal:
                assert name in str(refusal)


class TestDigits:
    def test_shapes_types_and_range(self):
        X, y = datasets.load_digits()
        assert X.shape == (1797, 64) and X.dtype == np.float64 and (X.min(), X.max()) == (0.0, 1.0)
        assert y.shape == (1797,) and y.dtype == np.int64 and np.bincount(y).min() == 174

    def test_test_split_never_changes(self):
        X, y = datasets.load_digits("test")
        assert X.shape == (360, 64)
        assert np.bincount(y).tolist() == [27, 35, 36, 29, 30, 40, 44, 39, 39, 41]
        stored = (X * 16).astype(np.uint8).tobytes() + y.astype(np.uint8).tobytes()
        assert (
            hashlib.sha256(stored).hexdigest()
            == "b6a043cad3164e3dd8f92e1665413bb61a5a61177da12bd283f7e878783e2a0f"
        )

    def test_split_covers_all_and_shares_nothing(self):
        X, _ = datasets.load_digits()
        train, test = (datasets.load_digits(split)[0] for split in ("train", "test"))
        together = np.concatenate([train, test])
        assert np.array_equal(together[np.lexsort(together.T)], X[np.lexsort(X.T)])

    def test_same_images_as_scikit_learn(self):
        sklearn = pytest.importorskip("sklearn.datasets")
        X, y = sklearn.load_digits(return_X_y=True)
        ours, labels = datasets.load_digits()
        assert np.array_equal(ours * 16, X) and np.array_equal(labels, y)

    def test_unknown_split_is_refused(self):
        with pytest.raises(ValueError, match="all, train, test"):
            datasets.load_digits("validation")
