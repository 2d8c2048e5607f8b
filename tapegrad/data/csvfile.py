"""Text files of rows, such as CSV.

A file is read block by block. The first block tells the layout, the columns' names and which of them hold numbers. The
others are read by Arrow, where it is installed; a block that Arrow refuses, or that readers may differ on, is read once
more by Python's csv, which alone decides what is a number and what is wrong with a file, and says where.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections import Counter, deque
from collections.abc import Container, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import ArgumentError, DataError
from .arrow import BlockReader, Cells
from .blocks import BLOCK_BYTES, Block, blocks
from .growing import Column, NotNumbers, NumberColumn, SkippedColumn, TextColumn, positions
from .layout import Layout, found, has_header, is_comment, row_names
from .numbers import Numerals
from .sources import Source
from .table import Table

__all__ = ["as_numbers", "read_csv", "read_text", "read_text_parts"]

_Records = tuple[list[list[str]], list[int]]
#: numbers whose text says more: codes such as 007, and integers that float64 does not hold
_EXACT = re.compile(r"^[+-]?(?:0\d+|\d{16,})$", re.MULTILINE)


def read_csv(
    path: str | os.PathLike[str],
    *,
    header: bool | None = None,
    delimiter: str | None = None,
    decimal: str = ".",
    thousands: str = "",
    percent: bool = False,
    quote: str | None = None,
    comment: str = "",
    encoding: str | None = None,
    text: Iterable[str] = (),
) -> Table:
    """Read a text file of rows, one record a line.

    Parameters
    ----------
    path : path_like
        UTF-8 (or UTF-16 with its mark), compressed or not; ``-`` is standard input.
    header : bool, optional
        Whether the first row names the columns. By default it does if it is all text, has text above a number, or has
        text beside years above what is no year. Without a header the columns are called 1, 2, 3, ... A header that
        lacks one name names all columns but the first, which holds the rows' names.
    delimiter : str, optional
        One character; a blank stands for any number of blanks and tabs. By default what a line ``sep=;`` at the
        beginning states, or the one of comma, semicolon, tab, bar and blank that splits the first rows most evenly.
    decimal : str
        The decimal mark, "." or ",".
    thousands : str
        The mark between groups of three digits.
    percent : bool
        Whether numbers may end in a percent sign, and then are divided by 100.
    quote : str, optional
        What encloses cells with delimiters; found out by default.
    comment : str
        Lines that start with it are left out.
    encoding : str, optional
        As Python calls it.
    text : iterable of str
        Columns to keep as text even if they hold numbers.

    Returns
    -------
    Table
        Text columns; in files of more than half a megabyte, columns of numbers as numbers.

    Raises
    ------
    DataError
        Not text, empty, no row beneath the header, a row with too few or too many cells, quotes that do
        not close, or two columns of one name; says where.
    OSError
        The file cannot be read.
    """
    layout = Layout(header, delimiter, decimal, thousands, percent, quote, comment, encoding)
    return read_text(Source(path), layout, text)


def read_text(source: Source, layout: Layout, text: Iterable[str] = (), *, only: Container[str] | None = None,
              fast: bool = True, block_bytes: int = BLOCK_BYTES, folder: Path | None = None) -> Table:
    """The table of a text file; see `read_csv`.

    Parameters
    ----------
    source : Source
    layout : Layout
    text : iterable of str
        Columns to keep as text.
    only : container of str, optional
        The columns to read; by default all.
    fast : bool
        Whether Arrow may read what it can.
    block_bytes : int
        Size of the blocks.
    folder : Path, optional
        Where columns lie in unnamed files, if they may be larger than memory.
    """
    _check_encoding(layout)
    kept = set(text)
    while True:
        try:
            return source.read(_File(source, layout, kept, only, fast, block_bytes, folder).read)
        except NotNumbers as found_out:
            kept |= found_out.columns


def read_text_parts(source: Source, layout: Layout, text: Iterable[str] = (), *, part_bytes: int,
                    block_bytes: int = BLOCK_BYTES) -> Iterator[Table]:
    """The table of a text file in parts of about `part_bytes`, at least a block; see `read_text`.

    A column of numbers in one part may be text in a later one, if it holds some there and is not among `text`.
    """
    _check_encoding(layout)
    kept, given = set(text), 0
    while True:
        file = _File(source, layout, kept, None, True, block_bytes)
        try:
            for k, part in enumerate(source.each(partial(file.parts, part_bytes=part_bytes))):
                if k >= given:
                    given = k + 1
                    yield part
            return
        except NotNumbers as found_out:
            kept |= found_out.columns


def _check_encoding(layout: Layout) -> None:
    if layout.encoding is not None:
        try:
            codecs.lookup(layout.encoding)
        except LookupError:
            raise ArgumentError(f"encoding {layout.encoding!r} is not known to Python") from None


class _File:
    """The state of reading a text file."""

    def __init__(self, source: Source, layout: Layout, text: set[str], only: Container[str] | None, fast: bool,
                 size: int, folder: Path | None = None) -> None:
        self.folder = folder
        self.source, self.given, self.layout, self.size = source, layout, layout, size
        self.text, self.only, self.fast = text, only, fast
        self.names: list[str] = []
        self.columns: list[Column] = []
        self.width = self.rows = self.given_rows = 0
        self.header = False
        self.lines: list[range | list[int]] = []

    def read(self, raw: IO[bytes]) -> Table:
        """The whole table."""
        (table,) = self.parts(raw)
        return table

    def parts(self, raw: IO[bytes], part_bytes: int | None = None) -> Iterator[Table]:
        """The table in parts of about so many bytes; by default as one."""
        stream = _utf8(self.source, raw, self.layout.encoding)
        beginning = stream.read(max(self.size, 1 << 12))
        head = beginning.decode("utf-8", "replace").replace("\0", "?")
        self.layout, start = found(self.layout, head)
        line = 1 + head.count("\n", 0, start)
        rest: Any = _Rest(beginning[len(head[:start].encode()) :], stream)
        parts = blocks(rest, self.layout.delimiter or ",", self.layout.quote or '"', self.size, line)

        data, regular = b"", True  # the first blocks with a record below the first one
        records: list[list[str]] = []
        for block in parts:
            data, regular = data + block.data, regular and block.regular
            records, lines = self._records(Block(data, line, regular))
            if len(records) > 1:
                break
        if not records:
            raise DataError(f"{self.source.name}: the file is empty")
        self._begin(records, lines)
        second = next(parts, None)
        if self.header:
            records, lines = records[1:], lines[1:]
        if second is None:
            yield self._small(records, lines)
            return
        self._make_columns(records, len(data) if part_bytes is None else max(len(data), part_bytes))
        self._add(records, lines)
        taken = len(data)
        for size in self._add_all(chain((second,), parts)):
            taken += size
            if part_bytes is not None and taken >= part_bytes and self.rows > self.given_rows:
                yield self._part(False)
                taken = 0
        if self.rows > self.given_rows:
            yield self._part(part_bytes is None)

    def _part(self, whole: bool) -> Table:
        """The table of what has been read since the last part."""
        table = self._table(dict(zip(self.names, (column.finished() for column in self.columns), strict=True)))
        if not whole:
            table = replace(table, rows=range(self.given_rows + 1, self.rows + 1), reread=None)
            room = self.rows - self.given_rows
            self.columns = [type(column)() if isinstance(column, SkippedColumn) else type(column)(room)
                            for column in self.columns]
            self.lines, self.given_rows = [], self.rows
        return table

    def _records(self, block: Block) -> _Records:
        """The records of a block that are not blank, stripped, and the line on which each starts."""
        source, layout = self.source, self.layout
        text = _text_of(source, block, layout.encoding)
        reader = csv.reader(
            _lines(text, layout), delimiter=layout.delimiter or ",", quotechar=layout.quote or '"',
            skipinitialspace=True, strict=True,
        )  # fmt: skip
        records: list[list[str]] = []
        lines: list[int] = []
        line = block.line
        try:
            for record in reader:
                if record and (len(record) > 1 or record[0].strip()):
                    if self.width and len(record) != self.width:
                        raise DataError(self._ragged(len(record), line, self.rows + len(records)))
                    records.append([cell.strip() for cell in record])
                    lines.append(line)
                line = block.line + reader.line_num
        except csv.Error as error:
            raise DataError(
                f"{source.name}: the record that starts on line {line} cannot be read ({error})"
            ) from error
        return records, lines

    def _ragged(self, width: int, line: int, rows: int, first: str = "") -> str:
        what = "header" if self.header else "first row"
        hint = "; if lines that start with '#' are comments, --comment '#'" if first.startswith("#") else ""
        return f"{self.source.name}: row {rows + 1} (line {line}) has {width} cells, the {what} has {self.width}{hint}"

    def _begin(self, records: list[list[str]], lines: list[int]) -> None:
        """Take the columns' names from the first records."""
        name, layout = self.source.name, self.layout
        numerals = layout.numerals
        named = has_header(records, numerals) if layout.header is None else layout.header
        if named and row_names(records) and not has_header(records[1:], numerals):
            records[0].insert(0, "row names")
        first = records[0]
        self.header, self.width = named, len(first)
        for place, (record, line) in enumerate(zip(records, lines, strict=True)):
            if len(record) != self.width:
                raise DataError(self._ragged(len(record), line, place - named, first[0]))
        if named:
            self.names = [cell or f"column {place}" for place, cell in enumerate(first, 1)]
            if len(records) == 1:
                raise DataError(f"{name}: a header and no rows")
        else:
            self.names = [str(place) for place in range(1, self.width + 1)]
        repeated = [own for own, count in Counter(self.names).items() if count > 1]
        if repeated:
            places = [str(place) for place, own in enumerate(self.names, 1) if own == repeated[0]]
            raise DataError(f"{name}: columns {' and '.join(places)} are both called {repeated[0]!r}")

    def _small(self, records: list[list[str]], lines: list[int]) -> Table:
        """The table of a file that is read at once; all cells stay text."""
        self.lines, self.rows = [lines], len(records)
        return self._table(dict(zip(self.names, map(list, zip(*records, strict=True)), strict=True)))

    def _table(self, columns: dict[str, Any]) -> Table:
        columns = {name: cells for name, cells in columns.items() if cells is not None}
        numbers = range(1, self.rows + 1)
        return Table(self.source.name, columns, numbers, positions(self.lines), self.header, self.layout.decimal,
                     numerals=self.layout.numerals,
                     reread=partial(text_again, self.source, self.given, self.rows, size=self.size))

    def _make_columns(self, records: list[list[str]], size: int) -> None:
        """What each column becomes, by its first cells."""
        numerals = self.layout.numerals
        path = self.source.path
        whole = 0 if path is None or self.source.compression or not path.is_file() else path.stat().st_size
        room = int(1.05 * len(records) * whole / size) + len(records)
        for name, cells in zip(self.names, zip(*records, strict=True), strict=True):
            if self.only is not None and name not in self.only:
                self.columns.append(SkippedColumn())
            elif name in self.text or as_numbers(cells, numerals) is None:
                self.columns.append(TextColumn(room, self.folder))
            else:
                self.columns.append(NumberColumn(room, self.folder))

    def _add(self, records: list[list[str]], lines: list[int]) -> None:
        """Append records read with care."""
        if not records:
            return
        numerals, bad, cells = self.layout.numerals, set(), list(zip(*records, strict=True))
        numbers: dict[int, np.ndarray] = {}
        for place, column in enumerate(self.columns):
            if isinstance(column, NumberColumn):
                values = _numbers(cells[place], numerals)
                if values is None:
                    bad.add(self.names[place])
                else:
                    numbers[place] = values
        if bad:
            raise NotNumbers(bad)
        for place, column in enumerate(self.columns):
            if isinstance(column, NumberColumn):
                column.extend(numbers[place])
            elif isinstance(column, TextColumn):
                column.extend(cells[place])
        self.rows += len(records)
        self.lines.append(lines)

    def _add_cells(self, block: Block, cells: list[Cells]) -> None:
        """Append what Arrow read."""
        rows = 0
        for column, part in zip(self.columns, cells, strict=True):
            if isinstance(column, NumberColumn):
                assert isinstance(part, np.ndarray)
                column.extend(part)
                rows = len(part)
            elif isinstance(column, TextColumn):
                assert isinstance(part, tuple)
                column.extend_coded(*part)
                rows = len(part[0])
        self.rows += rows
        self.lines.append(range(block.line, block.line + rows))

    def _add_all(self, parts: Iterator[Block]) -> Iterator[int]:
        """Append blocks; yields the bytes of each."""
        if not (self.fast and BlockReader.can(self.layout, self.columns)):
            for block in parts:
                self._add(*self._records(block))
                yield len(block.data)
            return
        read, waiting = BlockReader(self.layout, self.columns), deque[tuple[Block, Future[list[Cells] | None]]]()
        threads = max(1, min(4, os.cpu_count() or 1))
        with ThreadPoolExecutor(threads) as pool:
            try:
                for block in parts:
                    waiting.append((block, pool.submit(read, block)))
                    if len(waiting) > threads:
                        yield self._add_read(*waiting.popleft())
                while waiting:
                    yield self._add_read(*waiting.popleft())
            finally:
                for _, cells in waiting:
                    cells.cancel()

    def _add_read(self, block: Block, cells: Future[list[Cells] | None]) -> int:
        """Append what Arrow made of a block; returns its bytes."""
        read = cells.result()
        if read is None:
            self._add(*self._records(block))
        else:
            self._add_cells(block, read)
        return len(block.data)


def text_again(source: Source, layout: Layout, rows: int, name: str, *, size: int = BLOCK_BYTES) -> Any:
    """A column as text, read once more."""
    table = read_text(source, layout, [name], only={name}, block_bytes=size)
    if len(table) != rows or name not in table.columns:
        raise DataError(f"{source.name}: the file has changed while it was read")
    return table.columns[name]


def as_numbers(cells: Iterable[str], numerals: Numerals) -> np.ndarray | None:
    """Cells as numbers; None if one is text, or holds what only text holds exactly."""
    cells = list(cells)
    values = _numbers(cells, numerals)
    return None if values is None or _EXACT.search("\n".join(cells)) else values


def _numbers(cells: Iterable[str], numerals: Numerals) -> np.ndarray | None:
    """Cells as numbers; None if one is text, or has a percent sign, which all or none of the column's must have."""
    cells = list(cells)
    if numerals.percent and any(cell.endswith("%") for cell in cells):
        return None
    if numerals.plain and not any("_" in cell for cell in cells):
        with suppress(ValueError):
            return np.fromiter(map(float, cells), np.float64, len(cells))
    values = [numerals.parse(cell) for cell in cells]
    return None if None in values else np.array(values, np.float64)


class _Rest:
    """A stream some of which has been read already."""

    def __init__(self, beginning: bytes, stream: Any) -> None:
        self._beginning, self._stream = beginning, stream

    def read(self, size: int = -1) -> bytes:
        """The next bytes; none at the end."""
        fresh, self._beginning = self._beginning, b""
        if size < 0:
            return fresh + self._stream.read()
        fresh, self._beginning = fresh[:size], fresh[size:]
        return fresh + self._stream.read(size - len(fresh)) if len(fresh) < size else fresh


class _Recoded:
    """A stream in another encoding, as UTF-8."""

    def __init__(self, source: Source, stream: Any, encoding: str) -> None:
        self._source, self._stream, self._encoding = source, stream, encoding
        self._decoder, self._line = codecs.getincrementaldecoder(encoding)(), 1

    def read(self, size: int = -1) -> bytes:
        """The next text, in about as many bytes; none at the end."""
        text = ""
        while not text:
            fresh = self._stream.read(size)
            try:
                text = self._decoder.decode(fresh, final=size < 0 or not fresh)
            except UnicodeError as error:
                lines = getattr(error, "object", b"")[: getattr(error, "start", 0)].count(b"\n")
                line = self._line + lines
                raise DataError(f"{self._source.name}: line {line} is not {self._encoding.upper()} text") from error
            if not fresh:
                break
        self._line += text.count("\n")
        return text.encode("utf-8", "surrogatepass")


def _utf8(source: Source, raw: IO[bytes], encoding: str | None) -> Any:
    """The content as UTF-8 without a mark at its beginning."""
    beginning = raw.read(4)
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and encoding is None:
        return _Recoded(source, _Rest(beginning, raw), "utf-16")
    if encoding is None or codecs.lookup(encoding).name in ("utf-8", "utf-8-sig"):
        return _Rest(beginning.removeprefix(codecs.BOM_UTF8), raw)
    return _Recoded(source, _Rest(beginning, raw), encoding)


def _text_of(source: Source, block: Block, encoding: str | None) -> str:
    try:
        text = block.data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = block.line + block.data.count(b"\n", 0, error.start)
        advice = "" if encoding else "; --encoding names another, such as latin-1"
        raise DataError(f"{source.name}: line {line} is not UTF-8 text{advice}") from error
    if "\0" in text:
        raise DataError(f"{source.name}: line {block.line + text.count(chr(10), 0, text.index(chr(0)))} is not text")
    return text


def _lines(text: str, layout: Layout) -> Iterator[str]:
    """The lines, those of comments blank."""
    lines = iter(io.StringIO(text, newline=""))
    if layout.comment:
        lines = ("\n" if is_comment(line, layout.comment) else line for line in lines)
    if layout.delimiter == " ":
        lines = (_single_blanks(line, layout.quote or '"') for line in lines)
    return lines


def _single_blanks(line: str, quote: str) -> str:
    if quote in line:
        return line.rstrip(" \t\r\n") + "\n"
    return " ".join(re.split(r"[ \t]+", line.strip(" \t\r\n"))) + "\n"
