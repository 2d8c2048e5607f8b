"""Arrow's reading of text files against Python's csv, cell by cell, and what each refuses."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tapegrad.data.csvfile import read_text
from tapegrad.data.layout import Layout
from tapegrad.data.sources import Source
from tapegrad.errors import DataError

pytest.importorskip("pyarrow")

NUMBERS = [
    "0", "-0.0", "1", "-1", "+2", "007", "1.", ".5", "-.5", "1e5", "1E-5", "1e+3", "1e400", "5e-324",
    "2.4703282292062327e-324", "9007199254740993", "123456789012345678901234567890", "0.1", "0.30000000000000004",
    "1.7976931348623157e308", "1e-400", "3.14159265358979323846", "1_000", "0x10", "1d5", "inf", "-Infinity", "nan",
    "-nan", "NaN(1)", " 3 ", "\t4", "1 2", "-", "+", ".", "e5", "1e", "--1", "1,5", "\u0661", "\u22121", "\u00a07",
    "NA", " NA", "None", "none", "null", "n/a", "?", "<NA>", "", " ", '"5"', '" 6"', '""', '"NA"', "8\r", "true",
    "2024-01-01", "12:30",
]  # fmt: skip
WORDS = ["x", "y", "", " x ", "\u00e9", "\u00a0z\u2003", "x y", "'", "''", "\x1fq", '"a;b"', '"a,b"', '"a""b"', '""""',
         '"a\nb"', '"a\r\nb"', 'a"b', '"a"b', ' "a"', '"a" ', '"', '"unclosed', "\\", '\\"',
         "a\\nb", "#c", "\x00", "007", "NA"]  # fmt: skip


def outcome(path, fast, size, **layout):
    try:
        return read_text(Source(path), Layout(**layout), fast=fast, block_bytes=size)
    except DataError as error:
        return str(error)


def assert_same(fast, careful):
    """Every cell the same to the bit, every position, and every refusal."""
    if isinstance(careful, str) or isinstance(fast, str):
        assert fast == careful
        return
    assert fast.names == careful.names and fast.named == careful.named
    assert list(fast.rows) == list(careful.rows) and list(fast.lines) == list(careful.lines)
    for name in careful.names:
        one, other = fast.columns[name], careful.columns[name]
        assert type(one) is type(other)
        if isinstance(other, np.ndarray):
            assert np.isnan(one).tolist() == np.isnan(other).tolist()
            present = ~np.isnan(other)
            assert one[present].tobytes() == other[present].tobytes()
        else:
            assert list(one) == list(other)


def cell(rng, kind):
    """Mostly a plain number or word, so that Arrow reads blocks; some of what readers differ on."""
    if rng.random() < 1 / 40:
        if kind == "number":
            return rng.choice(NUMBERS)
        return rng.choice([*WORDS, "".join(chr(rng.choice([9, 10, 13, 34, 44, 59, rng.randrange(32, 0xD800)]))
                                           for _ in range(rng.randrange(5)))])
    if kind == "word":
        return rng.choice(["a", "b", "cc", "\u00e9"])
    if rng.random() < 0.5:
        return str(rng.randint(-99, 99))
    return repr(rng.uniform(-1, 1) * 10.0 ** rng.randint(-300, 300))


def drawn_file(rng):
    """A file of two to four columns and some dozen rows; the first rows are plain, so that kinds are found."""
    delimiter, end = rng.choice(",;\t"), rng.choice(["\n", "\n", "\r\n"])
    kinds = [rng.choice(["number", "number", "word"]) for _ in range(rng.randint(2, 4))]
    rows = [[f"n{k}" for k in range(len(kinds))]]
    rows += [["1.5" if kind == "number" else "w" for kind in kinds] for _ in range(12)]
    rows += [[cell(rng, kind) for kind in kinds] for _ in range(rng.randint(0, 40))]
    lines = [delimiter.join(row) for row in rows]
    if rng.random() < 1 / 4:
        lines.insert(rng.randint(1, len(lines)), rng.choice(["", " ", delimiter, delimiter * 9, "x", '"']))
    return end.join(lines) + rng.choice([end, "", end + end]), delimiter


class TestFastReading:
    @pytest.mark.parametrize("given", [False, True], ids=["found out", "given"])
    @pytest.mark.parametrize("size", [16, 64, 300])
    def test_every_cell_and_refusal_is_that_of_the_careful_reader(self, tmp_path, size, given):
        for seed in range(60):
            text, delimiter = drawn_file(random.Random(f"{size} {given} {seed}"))
            path = tmp_path / f"{seed}.csv"
            path.write_bytes(text.encode())
            layout = {"delimiter": delimiter, "header": True} if given else {}
            try:
                assert_same(outcome(path, True, size, **layout), outcome(path, False, size, **layout))
            except AssertionError as error:
                raise AssertionError(f"{text!r}: {error}") from error

    @pytest.mark.parametrize("cells", [NUMBERS, WORDS], ids=["numbers", "words"])
    def test_every_odd_spelling_is_read_alike_among_plain_cells(self, tmp_path, cells):
        plain = "1.5" if cells is NUMBERS else "w"
        path = tmp_path / "data.csv"
        for cell in cells:
            path.write_bytes(f"a,b\n{f'{plain},2{chr(10)}' * 20}{cell},3\n{plain},4\n".encode())
            assert_same(outcome(path, True, 64), outcome(path, False, 64))

    def test_numbers_are_those_nearest_to_what_is_written(self, tmp_path):
        values = np.random.default_rng(0).integers(0, 0x7FF << 52, 4000).view(np.float64)
        texts = list(map(repr, values.tolist()))
        path = tmp_path / "data.csv"
        path.write_text("a,b\n" + "".join(f"{text},1\n" for text in texts))
        column = read_text(Source(path), Layout(), block_bytes=4096).columns["a"]
        assert isinstance(column, np.ndarray)
        assert column.tolist() == values.tolist()
