"""Arrow's reading of text files against Python's csv, cell by cell, and what each refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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


def cells(kind):
    """Mostly plain numbers or words, so that Arrow reads blocks; some of what readers differ on."""
    if kind == "number":
        plain = st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.integers(-99, 99).map(str)
        odd = st.sampled_from(NUMBERS)
    else:
        plain, odd = st.sampled_from(["a", "b", "cc", "\u00e9"]), st.sampled_from(WORDS) | st.text(max_size=4)
    return st.integers(0, 39).flatmap(lambda k: odd if k == 0 else plain)


@st.composite
def files(draw):
    """A file of two to four columns and some dozen rows; the first rows are plain, so that kinds are found."""
    delimiter = draw(st.sampled_from(",;\t"))
    kinds = draw(st.lists(st.sampled_from(["number", "number", "word"]), min_size=2, max_size=4))
    end = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    rows = [[f"n{k}" for k in range(len(kinds))]]
    rows += [["1.5" if kind == "number" else "w" for kind in kinds] for _ in range(12)]
    rows += [[draw(cells(kind)) for kind in kinds] for _ in range(draw(st.integers(0, 40)))]
    lines = [delimiter.join(row) for row in rows]
    for _ in range(draw(st.sampled_from([0, 0, 0, 1]))):
        at = draw(st.integers(1, len(lines)))
        lines.insert(at, draw(st.sampled_from(["", " ", delimiter, delimiter * 9, "x", '"'])))
    return end.join(lines) + draw(st.sampled_from([end, "", end + end])), delimiter


class TestFastReading:
    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(made=files(), size=st.sampled_from([16, 64, 300]), given=st.booleans())
    def test_every_cell_and_refusal_is_that_of_the_careful_reader(self, tmp_path, made, size, given):
        text, delimiter = made
        path = tmp_path / "data.csv"
        path.write_bytes(text.encode())
        layout = {"delimiter": delimiter, "header": True} if given else {}
        assert_same(outcome(path, True, size, **layout), outcome(path, False, size, **layout))

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
