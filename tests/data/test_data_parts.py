"""Tables that are read in parts, against the same table read at once."""

from __future__ import annotations

import gzip
import json
import tracemalloc

import numpy as np
import pytest

from tapegrad.data import Layout
from tapegrad.data.csvfile import read_text, read_text_parts
from tapegrad.data.formats import read_format_parts
from tapegrad.data.jsonlines import read_json_lines, read_json_lines_parts
from tapegrad.data.sources import Source
from tapegrad.errors import DataError

RNG = np.random.default_rng(16)


def lines(rows, name="a,b,c", ending="\n"):
    text = [name]
    for n in range(rows):
        quoted = '"x, y"' if n % 5 else '"two\nlines"'
        text.append(f"{RNG.normal():.6g},{quoted},{n:04}")
    return (ending.join(text) + ending).encode()


def parts_of(path, part_bytes, text=("b", "c")):
    return list(read_text_parts(Source(path), Layout(), text, part_bytes=part_bytes, block_bytes=256))


@pytest.mark.parametrize("part_bytes", [1, 700, 3000, 1 << 20])
@pytest.mark.parametrize("compressed", [False, True])
def test_parts_in_order_are_the_table(part_bytes, compressed, file):
    content = lines(200)
    path = file(gzip.compress(content) if compressed else content, "t.csv.gz" if compressed else "t.csv")
    whole = read_text(Source(path), Layout(), ["b", "c"], block_bytes=256)
    parts = parts_of(path, part_bytes)
    assert len(parts) == 1 if part_bytes == 1 << 20 else len(parts) > 1
    assert all(part.names == ["a", "b", "c"] and part.named and len(part) > 0 for part in parts)
    np.testing.assert_array_equal(np.concatenate([part.numbers("a") for part in parts]), whole.numbers("a"))
    for name in ("b", "c"):
        assert [cell for part in parts for cell in part.text(name)] == list(whole.text(name))
    for places in ("rows", "lines"):
        joined = np.concatenate([np.asarray(getattr(part, places)) for part in parts])
        np.testing.assert_array_equal(joined, np.asarray(getattr(whole, places)))


def test_text_far_below_numbers_is_named_with_its_place_and_no_row_comes_twice(file):
    text = "a,b\n" + "".join(f"{n},1\n" for n in range(300)) + "zero,1\n" + "".join(f"{n},1\n" for n in range(50))
    path = file(text)
    seen = 0
    with pytest.raises(DataError, match=r"row 301 \(line 302\), column 'a': 'zero' is not a number"):
        for part in parts_of(path, 300, text=()):
            values = part.numbers("a")
            np.testing.assert_array_equal(values, np.arange(seen, seen + len(part)))
            seen += len(part)
    assert 200 < seen <= 300


def test_parts_of_parquet_are_its_table(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"a": RNG.normal(size=100), "n": np.arange(100), "t": [f"r{n % 7}" for n in range(100)]})
    parquet.write_table(table, tmp_path / "t.parquet", row_group_size=30)
    parts = list(read_format_parts(Source(tmp_path / "t.parquet"), ["n"], rows=40))
    assert len(parts) > 1 and [row for part in parts for row in part.rows] == list(range(1, 101))
    np.testing.assert_array_equal(np.concatenate([part.numbers("a") for part in parts]), table["a"].to_numpy())
    assert [cell for part in parts for cell in part.text("n")] == [str(n) for n in range(100)]
    assert [cell for part in parts for cell in part.text("t")] == table["t"].to_pylist()
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="bad.parquet: not a Parquet file, or a damaged one"):
        list(read_format_parts(Source(tmp_path / "bad.parquet")))


def test_a_row_with_too_few_cells_and_a_damaged_file_are_refused_where_they_are(file):
    path = file("a,b\n" + "1,2\n" * 300 + "3\n")
    with pytest.raises(DataError, match=r"row 301 \(line 302\) has 1 cells, the header has 2"):
        parts_of(path, 300)
    content = gzip.compress(lines(3000))
    path = file(content[:-50], "t.csv.gz")
    with pytest.raises(DataError, match="not a gzip file, or a damaged one"):
        parts_of(path, 300)


@pytest.mark.parametrize("part_bytes", [1, 2000, 1 << 20])
def test_parts_of_json_lines_are_its_table_with_the_keys_and_kinds_of_the_whole_file(part_bytes, file):
    numbers = RNG.normal(size=300).tolist()
    rows = [{"a": number, "b": f"x{n % 7}", "code": n} for n, number in enumerate(numbers)]
    del rows[10]["a"]
    rows[250] |= {"late": 2.5, "code": "n/a", "b": None}
    text = "".join(json.dumps(row) + "\n" * (1 + (n == 30)) for n, row in enumerate(rows))
    source = Source(file(text.replace('"code": 7}', '"code": 7.50}', 1), "data.jsonl"))
    whole = read_json_lines(source, block_bytes=512)
    parts = list(read_json_lines_parts(source, part_bytes=part_bytes, block_bytes=512))
    assert len(parts) == 1 if part_bytes == 1 << 20 else len(parts) > 3
    for table in (whole, *parts):
        assert table.names == ["a", "b", "code", "late"]
    for read in ([whole], parts):
        a, late = (np.concatenate([part.columns[name] for part in read]) for name in ("a", "late"))
        np.testing.assert_array_equal(a, [*numbers[:10], np.nan, *numbers[11:]])
        np.testing.assert_array_equal(late, [2.5 if n == 250 else np.nan for n in range(300)])
        assert [cell for part in read for cell in part.columns["b"]] == [row["b"] or "" for row in rows]
        codes = [cell for part in read for cell in part.columns["code"]]
        assert codes == ["7.50" if n == 7 else str(row["code"]) for n, row in enumerate(rows)]
        assert np.concatenate([np.asarray(part.rows) for part in read]).tolist() == list(range(1, 301))
        assert np.concatenate([np.asarray(part.lines) for part in read]).tolist() == [*range(1, 32), *range(33, 302)]


def test_json_lines_are_not_held_whole_while_they_are_read(file):
    source = Source(file("".join(f'{{"a": {n}.5, "b": {n}, "c": "x{n % 9}"}}\n' for n in range(20_000)), "data.jsonl"))
    tracemalloc.start()
    try:
        table = read_json_lines(source, block_bytes=1 << 14)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert table.columns["a"].sum() == 20_000**2 / 2
    assert peak < 3_000_000  # two columns of float64 and one of codes are 400,000, the rows as objects 10,000,000
