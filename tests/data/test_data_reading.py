"""Reading tables from files."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from refusal import message

from tapegrad.data import Features, read_csv, read_npz, read_table


class TestReadCsv:
    def test_header_and_cells_stay_as_in_the_file(self, file):
        table = read_csv(file("a,b,kind\n1,2.5,x\n-3e2, 4 ,y\n"))
        assert table.columns == {"a": ["1", "-3e2"], "b": ["2.5", "4"], "kind": ["x", "y"]}
        assert table.named and len(table) == 2
        assert table.numbers("a").tolist() == [1.0, -300.0]

    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    def test_delimiter_is_found(self, file, delimiter):
        text = "a,b,c\n1,2,3\n4,5,6\n".replace(",", delimiter)
        assert read_csv(file(text)).names == ["a", "b", "c"]

    def test_delimiter_inside_quotes_or_text_does_not_mislead(self, file):
        table = read_csv(file('name;size\n"a;b, c";1\n"d, e, f";2\n'))
        assert table.columns == {"name": ["a;b, c", "d, e, f"], "size": ["1", "2"]}

    def test_delimiter_can_be_given(self, file):
        assert read_csv(file("a:b\n1:2\n"), delimiter=":").names == ["a", "b"]

    def test_single_column(self, file):
        assert read_csv(file("a\n1\n2\n")).columns == {"a": ["1", "2"]}

    @pytest.mark.parametrize(
        "content",
        [
            b"\xef\xbb\xbfa,b\r\n1,2\r\n",
            "a,b\n1,2\n".encode("utf-16"),
            b"\n\na,b\n\n1,2\n\n",
            b"a,b\n1,2",
            b"a,b\r1,2\r",
        ],
        ids=["bom-crlf", "utf-16", "blank-lines", "no-last-newline", "cr"],
    )
    def test_byte_level_variants_read_the_same(self, file, content):
        assert read_csv(file(content)).columns == {"a": ["1"], "b": ["2"]}

    def test_gzip(self, file):
        assert read_csv(file(gzip.compress(b"a,b\n1,2\n"), "data.csv.gz")).names == ["a", "b"]

    def test_quotes_hold_delimiters_newlines_and_quotes(self, file):
        table = read_csv(file('a,b\n"x, ""y""\nz",1\nw,2\n'))
        assert table.columns["a"] == ['x, "y"\nz', "w"]
        assert table.lines.tolist() == [2, 4]

    @pytest.mark.parametrize(
        ("text", "names"),
        [
            ("1,2\n3,4\n", ["1", "2"]),
            ("5.1,setosa\n4.9,setosa\n", ["1", "2"]),
            ("1,2\n", ["1", "2"]),
            ("a,b\n1,2\n", ["a", "b"]),
            ("a,1990\n1,2\n", ["a", "1990"]),
            ("a,b\nx,y\n", ["a", "b"]),
            (",b\n0,1\n", ["column 1", "b"]),
        ],
    )
    def test_header_is_found(self, file, text, names):
        assert read_csv(file(text)).names == names

    def test_header_can_be_given(self, file):
        assert read_csv(file("a,b\nx,y\n"), header=False).columns == {"1": ["a", "x"], "2": ["b", "y"]}
        assert read_csv(file("1,2\n3,4\n"), header=True).columns == {"1": ["3"], "2": ["4"]}

    @pytest.mark.parametrize("cell", ["", "NA", "n/a", "NaN", "nan", "null", "?", "None"])
    def test_missing_numbers_are_nan(self, file, cell):
        assert np.isnan(read_csv(file(f"a,b\n1,2\n{cell},3\n")).numbers("a")).tolist() == [False, True]

    def test_decimal_comma(self, file):
        path = file("a;b\n1,5;2\n-0,25;3\n")
        assert read_csv(path, decimal=",").numbers("a").tolist() == [1.5, -0.25]
        assert "--decimal ," in message(read_csv(path).numbers, "a")

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "empty"),
            (b" \n\n", "empty"),
            (b"a,b\n", "a header and no rows"),
            (b"a,b,c\n1,2,3\n4,5\n", "row 2 (line 3) has 2 cells, the header has 3"),
            (b"a,b,c\n1,2,3\n\n4,5,6,7\n", "row 2 (line 4) has 4 cells, the header has 3"),
            (b"1,2\n3\n", "row 2 (line 2) has 1 cells, the first row has 2"),
            (b"a,b,a\n1,2,3\n", "columns 1 and 3 are both called 'a'"),
            (b'a,b\n1,"2\n3,4\n', "starts on line 2"),
            (b"a,b\n1,\xff\n", "line 2 is not UTF-8 text"),
            (b"a,b\n1,\0\n", "line 2 is not text"),
            (b"PK\x03\x04rest", "zip archive or spreadsheet"),
        ],
    )
    def test_bad_file_is_refused_with_its_place(self, file, content, words):
        path = file(content)
        text = message(read_csv, path)
        assert words in text and str(path) in text

    def test_damaged_gzip_is_refused(self, file):
        assert "gzip" in message(read_csv, file(b"a,b\n1,2\n", "data.csv.gz"))
        assert "gzip" in message(read_csv, file(gzip.compress(b"a,b\n1,2\n" * 99)[:-9], "cut.csv.gz"))

    @pytest.mark.parametrize("cell", ["abc", "12a", "1_000", "0x1f"])
    def test_text_among_numbers_names_row_and_column(self, file, cell):
        table = read_csv(file(f"a,b\n1,2\n3,{cell}\n"))
        assert f"row 2 (line 3), column 'b': '{cell}' is not a number" in message(table.numbers, "b")

    @pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e999"])
    def test_infinity_names_row_and_column(self, file, cell):
        assert "row 1 (line 2), column 'a'" in message(read_csv(file(f"a,b\n{cell},2\n")).numbers, "a")

    def test_missing_file_raises_the_system_error(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            read_table(tmp_path / "none.csv")

    def test_unknown_column_is_refused_with_the_nearest_name(self, file):
        table = read_csv(file("length,width\n1,2\n"))
        text = message(table.require, ["lenght"])
        assert "did you mean 'length'?" in text and "length, width" in text


class TestReadNpz:
    def write(self, tmp_path, **arrays):
        np.savez(tmp_path / "data.npz", **arrays)
        return tmp_path / "data.npz"

    def test_features_and_target(self, tmp_path):
        table = read_table(self.write(tmp_path, X=np.arange(6).reshape(3, 2), y=[0.5, 1.5, 2.5]))
        assert table.names == ["1", "2", "y"] and not table.named
        assert table.numbers("2").tolist() == [1, 3, 5] and table.numbers("y").tolist() == [0.5, 1.5, 2.5]

    def test_images_are_flattened_and_a_column_of_targets_is_accepted(self, tmp_path):
        table = read_npz(self.write(tmp_path, X=np.ones((4, 2, 3)), y=np.ones((4, 1))))
        assert len(table.names) == 7 and len(table) == 4

    def test_target_by_another_name(self, tmp_path):
        path = self.write(tmp_path, X=np.ones((2, 1)), label=np.array(["a", "b"]))
        assert read_npz(path, target="label").columns["label"] == ["a", "b"]

    def test_whole_numbers_that_float64_does_not_hold_stay_apart(self, tmp_path):
        path = self.write(tmp_path, X=np.ones((2, 1)), y=np.array([2**53, 2**53 + 1]))
        assert read_npz(path).columns["y"] == ["9007199254740992", "9007199254740993"]

    def test_text_and_boolean_targets_are_labels(self, tmp_path):
        path = self.write(tmp_path, X=np.ones((2, 1)), y=np.array([True, False]))
        assert read_npz(path).columns["y"] == ["True", "False"]

    @pytest.mark.parametrize(
        ("arrays", "words"),
        [
            ({"Y": [1.0]}, "no array X (arrays: Y (1,))"),
            (
                {"X": np.ones((2, 2)), "y": [1, 2, 3]},
                "one value for each of the 2 rows of X; its shape is (3,)",
            ),
            ({"X": np.ones((2, 2)), "y": np.ones((2, 2))}, "its shape is (2, 2)"),
            ({"X": np.ones((0, 2)), "y": []}, "X is empty (shape (0, 2))"),
            ({"X": 1.0}, "X is empty (shape ())"),
            ({"X": ["a"]}, "X holds <U1, not real numbers"),
            ({"X": [1j]}, "X holds complex128"),
            ({"X": [1.0], "y": [1j]}, "y holds complex128"),
            ({"X": np.array([None])}, "cannot be read"),
        ],
    )
    def test_bad_arrays_are_refused(self, tmp_path, arrays, words):
        assert words in message(read_npz, self.write(tmp_path, **arrays))

    @pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"PK\x03\x04" + bytes(40)])
    def test_file_of_another_kind_is_refused(self, file, content):
        assert "npz" in message(read_npz, file(content, "data.npz"))

    def test_damaged_archive_is_refused(self, tmp_path):
        path = self.write(tmp_path, X=np.arange(1000.0))
        data = bytearray(path.read_bytes())
        data[500] ^= 0xFF
        path.write_bytes(data)
        assert "cannot be read" in message(read_npz, path)

    def test_gap_and_infinity_name_the_element(self, tmp_path):
        X = np.ones((3, 2))
        X[2, 1] = np.nan
        table = read_npz(self.write(tmp_path, X=X, y=[1, 2, 3]))
        assert "X[2, 1]: the value is missing" in message(Features.fit, table, ignored=["y"])
        X[2, 1] = np.inf
        table = read_npz(self.write(tmp_path, X=X, y=[1, 2, 3]))
        assert "X[2, 1]: inf" in message(Features.fit, table, ignored=["y"])
