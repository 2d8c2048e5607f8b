"""Files of many formats, compressions and encodings, several at once, and from standard input."""

from __future__ import annotations

import bz2
import datetime
import gzip
import io
import lzma
import sys
import zipfile

import numpy as np
import pytest
from refusal import message

from tapegrad.data import Layout, read_csv, read_table
from tapegrad.data.csvfile import read_text
from tapegrad.data.sources import Source
from tapegrad.errors import MissingExtraError

CSV = b"a,b\n1,x\n2,y\n"


class TestSources:
    @pytest.mark.parametrize(
        ("ending", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)]
    )
    def test_compressed_files_are_read_whatever_their_name(self, file, ending, compress):
        for name in (f"data.csv.{ending}", "data.csv"):
            assert read_table(file(compress(CSV), name)).columns == {"a": ["1", "2"], "b": ["x", "y"]}
        assert "damaged" in message(read_table, file(compress(CSV * 99)[:-9], f"cut.csv.{ending}"))

    @pytest.mark.parametrize(("ending", "codec"), [("zst", "zstd"), ("lz4", "lz4")])
    def test_arrow_opens_other_compressions(self, tmp_path, ending, codec):
        pa = pytest.importorskip("pyarrow")
        with pa.CompressedOutputStream(str(tmp_path / f"data.csv.{ending}"), codec) as stream:
            stream.write(CSV)
        assert read_table(tmp_path / f"data.csv.{ending}").columns["b"] == ["x", "y"]

    def test_a_zip_archive_of_one_file_is_that_file(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
            archive.writestr("inner.csv", CSV)
        assert read_table(tmp_path / "data.zip").columns["b"] == ["x", "y"]
        with zipfile.ZipFile(tmp_path / "data.zip", "a") as archive:
            archive.writestr("other.csv", CSV)
        assert "zip archive of 2 files" in message(read_table, tmp_path / "data.zip")

    def test_standard_input(self, monkeypatch):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CSV)))
        table = read_table("-")
        assert table.columns["a"] == ["1", "2"] and table.where(0, "a").startswith("standard input: row 1 (line 2)")

    def test_several_files_are_one_table_and_errors_name_the_file(self, file):
        one, other = file("a,b\n1,2\n3,4\n", "p1.csv"), file("b,a\n6,x\n", "p2.csv")
        table = read_table(one.parent / "p*.csv")
        assert table.columns == {"a": ["1", "3", "x"], "b": ["2", "4", "6"]}
        assert f"{other}: row 1 (line 2), column 'a': 'x' is not a number" in message(table.numbers, "a")
        assert read_table([other, one]).columns["b"] == ["6", "2", "4"]
        assert "differ in their columns: only one has b, c" in message(read_table, [one, file("a,c\n1,2\n", "q.csv")])
        assert "does not" in message(read_table, [one, file("1,2\n", "q.csv")])

    def test_brackets_in_a_files_name_are_no_pattern_where_the_file_is_there(self, file):
        assert read_table(file(CSV, "run[a].csv")).names == ["a", "b"]
        assert "no file fits" in message(read_table, "none[a].csv")

    def test_encodings(self, file):
        path = file("name,n\nMüller,1\n".encode("latin-1"))
        assert read_csv(path, encoding="latin-1").columns["name"] == ["Müller"]
        assert "line 2 is not UTF-8 text; --encoding" in message(read_csv, path)
        assert read_csv(file("a,b\né,1\n".encode("utf-16-le")), encoding="utf-16-le").columns["a"] == ["é"]
        assert "line 3 is not ASCII text" in message(read_csv, file("a,b\n1,2\né,3\n"), encoding="ascii")


class TestFormats:
    def table(self):
        pa = pytest.importorskip("pyarrow")
        return pa.table(
            {
                "i": pa.array([1, None, 3]),
                "big": [2**53 + 1, 1, 2],
                "f": [1.5, float("nan"), None],
                "s": ["a", None, " b"],
                "yes": pa.array([True, None, False]),
                "day": [datetime.date(2024, 1, 2)] * 3,
                "at": pa.array([datetime.datetime(2024, 1, 2, 3, 4, 5)] * 3),
                "code": pa.array(["007", "x", "x"]).dictionary_encode(),
            }
        )

    @pytest.mark.parametrize("ending", ["parquet", "feather"])
    def test_columns_of_arrow(self, tmp_path, ending):
        table = self.table()
        if ending == "parquet":
            from pyarrow import parquet

            parquet.write_table(table, tmp_path / "data.parquet")
        else:
            from pyarrow import feather

            feather.write_feather(table, tmp_path / "data.feather")
        read = read_table(tmp_path / f"data.{ending}")
        assert np.isnan(read.columns["i"]).tolist() == [False, True, False] and read.columns["i"][2] == 3.0
        assert read.columns["big"] == ["9007199254740993", "1", "2"]
        assert np.isnan(read.columns["f"]).tolist() == [False, True, True]
        assert read.columns["s"] == ["a", "", "b"] and read.columns["yes"] == ["true", "", "false"]
        assert read.columns["day"][0] == "2024-01-02" and read.columns["at"][0] == "2024-01-02 03:04:05"
        assert read.columns["code"] == ["007", "x", "x"]
        assert list(read_table(tmp_path / f"data.{ending}", text=["i"]).columns["i"]) == ["1", "", "3"]

    def test_nanoseconds_need_no_pandas(self, tmp_path, monkeypatch):
        pa = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        at = pa.array(np.array(["2024-01-02T03:04:05.123456789", "NaT"], "M8[ns]"))
        parquet.write_table(pa.table({"at": at, "clock": pa.array([1_000_000_001, None], pa.time64("ns"))}),
                            tmp_path / "data.parquet")
        monkeypatch.setitem(sys.modules, "pandas", None)
        read = read_table(tmp_path / "data.parquet")
        assert read.columns["at"] == ["2024-01-02 03:04:05.123456", ""] and read.columns["clock"] == ["00:00:01", ""]

    def test_nested_columns_and_damaged_files_are_refused(self, file, tmp_path):
        pa = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pa.table({"a": [[1], [2]]}), tmp_path / "nested.parquet")
        assert "column 'a' holds list" in message(read_table, tmp_path / "nested.parquet")
        for name in ("data.parquet", "data.feather"):
            assert "not a" in message(read_table, file(b"a,b\n1,2\n", name))

    def test_json_lines(self, file):
        read = read_table(file('{"a":1,"b":"x","c":9007199254740993}\n\n{"a":2.5,"d":null,"b":true}\n', "data.jsonl"))
        assert read.columns["a"].tolist() == [1.0, 2.5] and read.columns["b"] == ["x", "true"]
        assert read.columns["c"] == ["9007199254740993", ""] and np.isnan(read.columns["d"]).all()
        assert "row 2 (line 3)" in read.where(1, "a")

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("{", "line 2 is not JSON"),
            ("[1]", "line 2 is not a JSON object"),
            ('{"a": [1]}', "key 'a': holds a list"),
            ('{"a": 1, "a": 2}', "same key twice"),
        ],
    )
    def test_bad_lines_are_named(self, file, line, words):
        assert words in message(read_table, file(f'{{"a": 1}}\n{line}\n', "data.jsonl"))


class TestLayout:
    @pytest.mark.parametrize(
        ("content", "layout", "columns"),
        [
            ("sep=;\na;b\n1;2\n", {}, {"a": ["1"], "b": ["2"]}),
            ("sep=|\na,x|b\n1|2\n", {}, {"a,x": ["1"], "b": ["2"]}),
            ("1,5;2,5\n3,5;4,5\n", {"decimal": ","}, {"1": ["1,5", "3,5"], "2": ["2,5", "4,5"]}),
            ("# note\na,b\n# more, and more\n1,2\n", {"comment": "#"}, {"a": ["1"], "b": ["2"]}),
            ("a b\nr1 1 2\nr2 3 4\n", {}, {"row names": ["r1", "r2"], "a": ["1", "3"], "b": ["2", "4"]}),
            ('"a","b"\n"1",5,6\n"2",7,8\n', {}, {"row names": ["1", "2"], "a": ["5", "7"], "b": ["6", "8"]}),
            ("  1   2\t3 \n 4  5   6\n", {}, {"1": ["1", "4"], "2": ["2", "5"], "3": ["3", "6"]}),
            ("'a','b'\n'x,y',1\n'z',2\n", {}, {"a": ["x,y", "z"], "b": ["1", "2"]}),
            ("it's,b\nx,1\n", {}, {"it's": ["x"], "b": ["1"]}),
            ("country,1990,1991\nFrance,5,6\n", {}, {"country": ["France"], "1990": ["5"], "1991": ["6"]}),
            ("1990,1991,1992\n5.5,6,7\n1,2,3\n", {}, {"1990": ["5.5", "1"], "1991": ["6", "2"], "1992": ["7", "3"]}),
            (
                "1990,1991,1992\n1993,1994,1995\n",
                {},
                {"1": ["1990", "1993"], "2": ["1991", "1994"], "3": ["1992", "1995"]},
            ),
        ],
    )
    def test_is_found_out_or_told(self, file, content, layout, columns):
        assert read_csv(file(content), **layout).columns == columns

    def test_what_cannot_be_found_out_is_refused_with_the_option(self, file):
        assert "--comment '#'" in message(read_csv, file("# note\na,b\n1,2\n"))
        assert "row 1 (line 2) has 3 cells" in message(read_csv, file("a,b\n1,2,\n3,4,\n"))

    @pytest.mark.parametrize(
        ("cell", "options", "value"),
        [
            ("1,234.5", {"thousands": ","}, 1234.5),
            ("1.234,5", {"decimal": ",", "thousands": "."}, 1234.5),
            ("1 234", {"thousands": " "}, 1234.0),
            ("1\u202f234", {"thousands": " "}, 1234.0),
            ("1'234", {"thousands": "'"}, 1234.0),
            ("-1,234,567", {"thousands": ","}, -1234567.0),
            ("12.5%", {"percent": True}, 0.125),
            ("50 %", {"percent": True}, 0.5),
            ("1.234", {"thousands": "."} | {"decimal": ","}, 1234.0),
        ],
    )
    def test_numbers_as_people_write_them(self, file, cell, options, value):
        assert read_csv(file(f"a;b\n{cell};1\n"), delimiter=";", header=True, **options).numbers("a").tolist() == [
            value
        ]

    @pytest.mark.parametrize(
        ("cell", "options", "words"),
        [
            ("1,234.5", {}, "--thousands ,"),
            ("12%", {}, "--percent"),
            ("1,5", {}, "--decimal ,"),
            ("1 234", {}, "--thousands ' '"),
            ("1.5", {"decimal": ","}, "--decimal ."),
            ("1,23,4.5", {"thousands": ","}, "not a number"),
            ("1.234.567,5", {}, "--decimal , and with points between thousands --thousands ."),
            ("1.234", {"decimal": ","}, "--thousands ."),
        ],
    )
    def test_a_number_written_otherwise_is_refused_with_the_option(self, file, cell, options, words):
        table = read_csv(file(f"a;b\n{cell};1\n2;1\n"), delimiter=";", header=True, **options)
        assert words in message(table.numbers, "a")

    def test_percent_signs_on_some_numbers_only_are_refused(self, file):
        table = read_csv(file("a,b\n12%,1\n7,1\n"), percent=True)
        assert "row 2 (line 3), column 'a': '7' has no percent sign" in message(table.numbers, "a")

    @pytest.mark.parametrize("first, other", [("12%", "7"), ("7", "12%")])
    def test_percent_signs_on_some_numbers_only_are_refused_in_other_blocks_too(self, file, first, other):
        path = file("a,b\n" + f"{first},1\n" * 100 + f"{other},1\n")
        table = read_text(Source(path), Layout(percent=True), block_bytes=256)
        assert "'7' has no percent sign" in message(table.numbers, "a")
        assert isinstance(table.columns["b"], np.ndarray)

    @pytest.mark.parametrize("cell", ["None", "-nan", "#N/A", "<NA>", "1.#QNAN", "NULL", "NaT", "nan(ind)"])
    def test_markers_of_missing_values(self, file, cell):
        table = read_csv(file(f"a,b\n{cell},x\n1,{cell}\n"))
        assert np.isnan(table.numbers("a")).tolist() == [True, False]
        assert table.missing("a").tolist() == [True, False] and table.missing("b").tolist() == [False, True]

    def test_a_layout_gives_all_at_once(self, file):
        layout = Layout(delimiter=";", decimal=",", thousands=".", percent=True)
        assert read_table(file("a;b\n1.234,5;50%\n"), layout=layout).numbers("b").tolist() == [0.5]


class TestWithoutArrow:
    def test_large_text_is_read_by_the_careful_reader_and_the_rest_refused(self, file, monkeypatch):
        for module in ("pyarrow", "pyarrow.csv"):
            monkeypatch.setitem(sys.modules, module, None)
        table = read_table(file("a,b\n" + "1.5,x\n" * 100_000))
        assert table.columns["a"].tolist() == [1.5] * 100_000 and list(table.columns["b"][-2:]) == ["x", "x"]
        for name in ("data.parquet", "data.feather"):
            with pytest.raises(MissingExtraError, match=r"need pyarrow: pip install 'tapegrad\[cli\]'"):
                read_table(file(b"", name))
