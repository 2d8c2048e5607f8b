"""A text file's store: the same table, mapped, and never an old or damaged one."""

from __future__ import annotations

import os

import numpy as np
import pytest
from refusal import message

from tapegrad.data import read_table
from tapegrad.data.store import store_of


@pytest.fixture
def large(tmp_path):
    """A file of more than one block, of numbers with gaps and of text."""
    path = tmp_path / "data.csv"
    rng = np.random.default_rng(0)
    path.write_text("a,k,b\n" + "".join(f"{x!r},{'uv'[k % 2]},{'' if k % 7 == 0 else k}\n"
                                        for k, x in enumerate(rng.normal(size=40_000).tolist())))  # fmt: skip
    return path


def assert_same(one, other):
    assert one.names == other.names and len(one) == len(other) and one.named == other.named
    for name in one.names:
        if isinstance(one.columns[name], np.ndarray):
            assert one.columns[name].tobytes() == np.asarray(other.columns[name]).tobytes()
        else:
            assert list(one.columns[name]) == list(other.columns[name])
    assert one.where(3, "a") == other.where(3, "a")


class TestStore:
    def test_the_table_is_that_of_the_file_and_mapped(self, large):
        plain = read_table(large)
        for _ in range(2):
            table = read_table(large, cache=True)
            assert_same(plain, table)
            assert isinstance(table.columns["a"], np.memmap) and not table.columns["a"].flags.writeable
        assert sorted(os.listdir(large.parent)) == ["data.csv", "data.csv.tapegrad"]
        assert list(table.text("b"))[:3] == ["", "1", "2"]

    def test_a_second_reading_does_not_write(self, large):
        read_table(large, cache=True)
        before = os.stat(store_of(large)).st_mtime_ns
        read_table(large, cache=True)
        assert os.stat(store_of(large)).st_mtime_ns == before

    def test_a_changed_file_or_layout_is_read_anew(self, large):
        read_table(large, cache=True)
        status = os.stat(large)
        text = large.read_text()
        large.write_text(text[:-8] + text[-8:].replace("9", "8"))  # as long as before, and as old
        os.utime(large, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert_same(read_table(large), read_table(large, cache=True))
        assert list(read_table(large, cache=True, text=["b"]).columns["b"])[1] == "1"
        assert read_table(large, cache=True, header=False).names == ["1", "2", "3"]

    @pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"x" + b[1:], lambda b: b[:20], lambda b: b"",
                                        lambda b: b[:8] + b"\xff" * 8 + b[16:]])  # fmt: skip
    def test_a_damaged_store_is_written_anew(self, large, damage):
        plain = read_table(large, cache=True)
        values = {name: np.array(plain.columns[name]) if name != "k" else None for name in plain.names}
        store = store_of(large)
        store.write_bytes(damage(store.read_bytes()))
        assert np.array_equal(read_table(large, cache=True).columns["a"], values["a"])

    def test_small_files_and_irregular_lines(self, file):
        path = file('a,b\n1,"x\ny"\n\n2,z\n')
        table = read_table(path, cache=True)
        assert list(table.columns["a"]) == ["1", "2"] and list(table.lines) == [2, 5]
        assert "row 2 (line 5), column 'b': 'z' is not a number" in message(
            read_table(path, cache=True).take(np.array([1])).numbers, "b"
        )

    def test_a_pattern_does_not_take_a_store_for_a_table(self, tmp_path):
        for k in range(2):
            (tmp_path / f"part-{k}.csv").write_text(f"a,b\n{k},1\n2,3\n")
        for _ in range(2):
            assert len(read_table(tmp_path / "part-*", cache=True)) == 4

    def test_standard_input_has_no_store(self, monkeypatch):
        import io
        import sys

        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a,b\n1,2\n")))
        assert "--cache is for files" in message(read_table, "-", cache=True)
